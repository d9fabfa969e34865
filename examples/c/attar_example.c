/* Scores two passages and a pair of sentences, then asks a folder. Usage: attar_example [FOLDER [BUNDLE]] */
#include <stdio.h>
#include <stdlib.h>

#include "attar.h"

/* Ends the program with what the library says if a call failed. */
static void must(attar_status status) {
    if (status != ATTAR_OK) {
        fprintf(stderr, "attar_example: %s (%s)\n", attar_last_error(), attar_status_name(status));
        exit(2);
    }
}

static void print_text(attar_text text) { fwrite(text.data, 1, text.length, stdout); }

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "examples/docs";
    attar_model *model = NULL;
    must(argc > 2 ? attar_model_open(argv[2], NULL, &model) : attar_model_default(NULL, &model));

    attar_session *session = NULL;
    must(attar_session_create(model, NULL, &session));

    /* Which passage answers the question? */
    attar_text question = ATTAR_TEXT("How long should I cool a burn under running water?");
    attar_text passages[] = {
        ATTAR_TEXT("Cool the burn under cool running water for 20 minutes."),
        ATTAR_TEXT("Let the dough rest for an hour before you bake it."),
    };
    float relevance[2];
    must(attar_session_relevance(session, question, passages, 2, relevance, 2));
    for (int i = 0; i < 2; i++) {
        printf("%.2f  ", relevance[i]);
        print_text(passages[i]);
        printf("\n");
    }

    /* Does one sentence follow from the other? For a head with other labels only the names below change. */
    for (size_t head = 0; head < attar_model_head_count(model); head++) {
        if (strcmp(attar_model_head(model, head), "nli") != 0) continue;
        attar_pair pair = { ATTAR_TEXT("A man is playing a guitar on the stage."), ATTAR_TEXT("Somebody makes music.") };
        float probabilities[8];
        attar_scores scores = ATTAR_SCORES_INIT;
        scores.probabilities = probabilities;
        scores.probabilities_length = attar_model_label_count(model, head);
        if (scores.probabilities_length > 8) continue;
        must(attar_session_score(session, "nli", &pair, 1, &scores));
        for (size_t label = 0; label < scores.probabilities_length; label++) {
            printf("%.2f  %s\n", probabilities[label], attar_model_label(model, head, label));
        }
    }

    /* What do the documents say? */
    attar_library *library = NULL;
    must(attar_library_in_memory(&library));
    must(attar_library_update(library, &folder, 1, NULL));

    attar_ask_options options = ATTAR_ASK_OPTIONS_INIT;
    options.top = 1;
    attar_results *results = NULL;
    must(attar_library_ask(library, session, question, &options, &results));
    for (size_t i = 0; i < attar_results_count(results); i++) {
        attar_answer answer = ATTAR_ANSWER_INIT;
        must(attar_results_answer(results, i, &answer));
        print_text(answer.text);
        printf("\n  ");
        print_text(answer.source);
        printf(":%llu\n", (unsigned long long)answer.line);
    }
    if (attar_results_count(results) == 0) printf("no answer\n");

    /* In any order, and NULL afterwards. */
    attar_results_destroy(&results);
    attar_library_destroy(&library);
    attar_session_destroy(&session);
    attar_model_destroy(&model);
    return 0;
}
