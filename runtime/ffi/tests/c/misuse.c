/*
 * Everything that a program can get wrong and a library can notice gives a code and a text, and leaves every handle usable.
 * Usage: misuse FOLDER [BUNDLE]; FOLDER is empty and may be written to.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "attar.h"

static int claims;

static void claim(int holds, const char *what, int line) {
    if (!holds) {
        fprintf(stderr, "misuse.c:%d: not true: %s (last error: %s)\n", line, what, attar_last_error());
        exit(1);
    }
    claims++;
}
#define CLAIM(condition) claim(condition, #condition, __LINE__)

static void expect(attar_status got, attar_status expected, const char *text, const char *call, int line) {
    if (got != expected || (expected != ATTAR_OK && !strstr(attar_last_error(), text))) {
        fprintf(stderr, "misuse.c:%d: %s\n  got      %s: %s\n  expected %s: ...%s...\n", line, call, attar_status_name(got),
                attar_last_error(), attar_status_name(expected), text);
        exit(1);
    }
    claims++;
}
#define EXPECT(call, status, text) expect(call, status, text, #call, __LINE__)
#define OK(call) expect(call, ATTAR_OK, "", #call, __LINE__)

#define JUNK ((void *)(uintptr_t)0x5eed)

static attar_text text_of(const char *data, size_t length) {
    attar_text text;
    text.data = data;
    text.length = length;
    return text;
}

static int released;
static void release(void *context) { released += *(int *)context; }

/* A whole file; the caller frees it. */
static void *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(3);
    long size = ftell(file);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) exit(3);
    fclose(file);
    *length = (size_t)size;
    return data;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file)) exit(3);
}

static void models(const char *bundle) {
    attar_model *model = JUNK;
    CLAIM(attar_version()[0] >= '0' && attar_version()[0] <= '9');
    CLAIM(strcmp(attar_status_name(ATTAR_ERROR_PANIC), "ATTAR_ERROR_PANIC") == 0);
    CLAIM(strcmp(attar_status_name(INT_MAX), "unknown status") == 0);
    CLAIM(attar_last_error()[0] == 0);

    EXPECT(attar_model_open("x", NULL, NULL), ATTAR_ERROR_ARGUMENT, "out is NULL");
    EXPECT(attar_model_open(NULL, NULL, &model), ATTAR_ERROR_ARGUMENT, "path is NULL");
    CLAIM(model == NULL);
    model = JUNK;
    EXPECT(attar_model_open("\xff", NULL, &model), ATTAR_ERROR_UTF8, "path: not UTF-8 at byte 0");
    CLAIM(model == NULL);
    EXPECT(attar_model_open("no/such/file", NULL, &model), ATTAR_ERROR_NOT_FOUND, "no/such/file");
    EXPECT(attar_model_open("", NULL, &model), ATTAR_ERROR_NOT_FOUND, "");
    EXPECT(attar_model_open("/", NULL, &model), ATTAR_ERROR_IO, "/");

    attar_model_options options = ATTAR_MODEL_OPTIONS_INIT;
    options.struct_size = 0;
    EXPECT(attar_model_default(&options, &model), ATTAR_ERROR_ARGUMENT, "attar_model_options: struct_size is 0");
    options.struct_size = sizeof options - 1;
    EXPECT(attar_model_default(&options, &model), ATTAR_ERROR_ARGUMENT, "struct_size");
    options.struct_size = SIZE_MAX;
    EXPECT(attar_model_default(&options, &model), ATTAR_ERROR_ARGUMENT, "struct_size");
    options.struct_size = sizeof options;
    options.verify = 2;
    EXPECT(attar_model_default(&options, &model), ATTAR_ERROR_ARGUMENT, "verify is 2");
    options.verify = 0;
    options.reserved = 1;
    EXPECT(attar_model_default(&options, &model), ATTAR_ERROR_ARGUMENT, "reserved is 1");

    char bytes[256] = "no bundle";
    EXPECT(attar_model_from_memory(NULL, 10, NULL, NULL, NULL, &model), ATTAR_ERROR_ARGUMENT, "data is NULL");
    EXPECT(attar_model_from_memory(NULL, 0, NULL, NULL, NULL, &model), ATTAR_ERROR_MODEL, "0 bytes");
    EXPECT(attar_model_from_memory(bytes, SIZE_MAX, NULL, NULL, NULL, &model), ATTAR_ERROR_ARGUMENT, "out of range");
    int one = 1;
    EXPECT(attar_model_from_memory(bytes, sizeof bytes, release, &one, NULL, &model), ATTAR_ERROR_MODEL, "");
    CLAIM(released == 0 && model == NULL);

    CLAIM(attar_model_head_count(NULL) == 0);
    CLAIM(strstr(attar_last_error(), "model is NULL") != NULL);
    CLAIM(attar_model_head(NULL, 0) == NULL && attar_model_label_count(NULL, 0) == 0 && attar_model_label(NULL, 0, 0) == NULL);
    attar_model_destroy(NULL);
    attar_model_destroy(&model);

    if (!bundle) return;
    /* Memory of ours, at every alignment that matters, is given back once, when the last session is gone. */
    size_t length;
    char *data = read_file(bundle, &length);
    char *moved = malloc(length + 1);
    if (!moved) exit(3);
    memcpy(moved + 1, data, length);
    for (int shift = 0; shift < 2; shift++) {
        attar_session *session = NULL;
        released = 0;
        OK(attar_model_from_memory(shift ? moved + 1 : data, length, release, &one, NULL, &model));
        CLAIM(released == shift);
        OK(attar_session_create(model, NULL, &session));
        attar_model_destroy(&model);
        CLAIM(released == shift);
        attar_session_destroy(&session);
        CLAIM(released == 1);
    }
    /* Damage that only checksums see. */
    data[length - 4096] ^= 1;
    options.reserved = 0;
    options.verify = 1;
    released = 0;
    EXPECT(attar_model_from_memory(data, length, release, &one, &options, &model), ATTAR_ERROR_MODEL, "");
    for (size_t cut = 0; cut < 200; cut++) {
        CLAIM(attar_model_from_memory(data, cut * (length / 200), release, &one, NULL, &model) != ATTAR_OK && model == NULL);
    }
    CLAIM(released == 0);
    free(data);
    free(moved);
}

static void sessions(const attar_model *model) {
    attar_session *session = JUNK;
    EXPECT(attar_session_create(NULL, NULL, &session), ATTAR_ERROR_ARGUMENT, "model is NULL");
    CLAIM(session == NULL);
    EXPECT(attar_session_create(model, NULL, NULL), ATTAR_ERROR_ARGUMENT, "out is NULL");
    attar_session_options options = ATTAR_SESSION_OPTIONS_INIT;
    options.threads = UINT32_MAX;
    EXPECT(attar_session_create(model, &options, &session), ATTAR_ERROR_ARGUMENT, "threads is 4294967295");
    /* A program that is newer than the library: what it does not use is no trouble, what it uses is refused. */
    struct {
        attar_session_options known;
        uint64_t newer;
    } larger = { ATTAR_SESSION_OPTIONS_INIT, 0 };
    larger.known.struct_size = sizeof larger;
    OK(attar_session_create(model, &larger.known, &session));
    attar_session_destroy(&session);
    larger.newer = 1;
    EXPECT(attar_session_create(model, &larger.known, &session), ATTAR_ERROR_UNAVAILABLE, "a member is set");
    options.threads = 2;
    OK(attar_session_create(model, &options, &session));

    CLAIM(attar_model_head(model, SIZE_MAX) == NULL && attar_model_label_count(model, SIZE_MAX) == 0);
    CLAIM(attar_model_label(model, 0, SIZE_MAX) == NULL && attar_model_head(model, attar_model_head_count(model)) == NULL);

    attar_text question = ATTAR_TEXT("How much current does the board need?");
    attar_text passages[2] = { ATTAR_TEXT("The board needs 3 A."), ATTAR_TEXT("The case is red.") };
    float first[2], again[2];
    OK(attar_session_relevance(session, question, passages, 2, first, 2));
    CLAIM(first[0] >= 0 && first[0] <= 1 && first[1] >= 0 && first[1] <= 1);

    EXPECT(attar_session_relevance(NULL, question, passages, 2, again, 2), ATTAR_ERROR_ARGUMENT, "session is NULL");
    EXPECT(attar_session_relevance(session, question, NULL, 2, again, 2), ATTAR_ERROR_ARGUMENT, "passages is NULL");
    EXPECT(attar_session_relevance(session, question, passages, 2, NULL, 2), ATTAR_ERROR_ARGUMENT, "relevance is NULL");
    EXPECT(attar_session_relevance(session, question, passages, 2, again, 1), ATTAR_ERROR_BUFFER, "relevance holds 1 values, expected 2");
    EXPECT(attar_session_relevance(session, question, passages, SIZE_MAX, again, SIZE_MAX), ATTAR_ERROR_ARGUMENT, "passages: a length");
    EXPECT(attar_session_relevance(session, question, (attar_text *)((char *)passages + 1), 1, again, 1), ATTAR_ERROR_ARGUMENT,
           "passages is not aligned");
    EXPECT(attar_session_relevance(session, text_of(NULL, 3), passages, 2, again, 2), ATTAR_ERROR_ARGUMENT, "question is NULL");
    EXPECT(attar_session_relevance(session, text_of("\xc3(", 2), passages, 2, again, 2), ATTAR_ERROR_UTF8, "question: not UTF-8 at byte 0");
    EXPECT(attar_session_relevance(session, text_of("", 0), passages, 2, again, 2), ATTAR_ERROR_INPUT, "");
    EXPECT(attar_session_relevance(session, text_of(NULL, 0), passages, 2, again, 2), ATTAR_ERROR_INPUT, "");
    EXPECT(attar_session_relevance(session, text_of("x", SIZE_MAX), passages, 2, again, 2), ATTAR_ERROR_ARGUMENT, "out of range");
    attar_text bad[2] = { passages[0], text_of("ab\xed\xa0\x80", 5) };
    EXPECT(attar_session_relevance(session, question, bad, 2, again, 2), ATTAR_ERROR_UTF8, "passages[1]: not UTF-8 at byte 2");
    bad[1] = text_of(" \t\n", 3);
    EXPECT(attar_session_relevance(session, question, bad, 2, again, 2), ATTAR_ERROR_INPUT, "passage 1");
    OK(attar_session_relevance(session, question, NULL, 0, NULL, 0));

    attar_pair pairs[2];
    for (int i = 0; i < 2; i++) {
        pairs[i].a = question;
        pairs[i].b = passages[i];
    }
    float probabilities[4], logits[4];
    uint32_t windows[2];
    attar_scores scores = ATTAR_SCORES_INIT;
    OK(attar_session_score(session, "relevance", pairs, 2, &scores));
    scores.probabilities = probabilities;
    scores.probabilities_length = 4;
    scores.logits = logits;
    scores.logits_length = 4;
    scores.windows = windows;
    scores.windows_length = 2;
    OK(attar_session_score(session, "relevance", pairs, 2, &scores));
    CLAIM(fabsf(probabilities[1] - first[0]) < 1e-6f && fabsf(probabilities[3] - first[1]) < 1e-6f);
    CLAIM(fabsf(probabilities[0] + probabilities[1] - 1) < 1e-5f && windows[0] == 1 && windows[1] == 1);
    EXPECT(attar_session_score(session, "no such head", pairs, 2, &scores), ATTAR_ERROR_NOT_FOUND, "no such head");
    EXPECT(attar_session_score(session, NULL, pairs, 2, &scores), ATTAR_ERROR_ARGUMENT, "head is NULL");
    EXPECT(attar_session_score(session, "relevance", pairs, 2, NULL), ATTAR_ERROR_ARGUMENT, "attar_scores is NULL");
    EXPECT(attar_session_score(session, "relevance", pairs, SIZE_MAX / sizeof(attar_pair), &scores), ATTAR_ERROR_ARGUMENT, "pairs: a length");
    scores.logits_length = 3;
    EXPECT(attar_session_score(session, "relevance", pairs, 2, &scores), ATTAR_ERROR_BUFFER, "scores.logits holds 3 values, expected 4");
    scores.logits_length = 4;
    scores.windows = NULL;
    EXPECT(attar_session_score(session, "relevance", pairs, 2, &scores), ATTAR_ERROR_ARGUMENT, "scores.windows is NULL");
    scores.struct_size = 8;
    EXPECT(attar_session_score(session, "relevance", pairs, 2, &scores), ATTAR_ERROR_ARGUMENT, "attar_scores: struct_size is 8");

    /* After all of that it still works, and says the same. */
    OK(attar_session_relevance(session, question, passages, 2, again, 2));
    CLAIM(memcmp(first, again, sizeof first) == 0);
    attar_session_destroy(&session);
    CLAIM(session == NULL);
    attar_session_destroy(&session);
}

static void libraries(const attar_model *model, const char *folder) {
    char file[1024], document[1024], other[1024];
    snprintf(file, sizeof file, "%s/notes.library", folder);
    snprintf(document, sizeof document, "%s/board.md", folder);
    snprintf(other, sizeof other, "%s/other.library", folder);
    write_file(document, "# Power\n\nThe board needs a supply of 3 A. It is white.\n");
    write_file(other, "This is no library, and long enough to look at: ......................................................");

    attar_library *library = JUNK;
    EXPECT(attar_library_open(NULL, &library), ATTAR_ERROR_ARGUMENT, "path is NULL");
    CLAIM(library == NULL);
    EXPECT(attar_library_in_memory(NULL), ATTAR_ERROR_ARGUMENT, "out is NULL");
    EXPECT(attar_library_open("\xff", &library), ATTAR_ERROR_UTF8, "path");
    EXPECT(attar_library_open(other, &library), ATTAR_ERROR_LIBRARY, "other.library");
    OK(attar_library_open(file, &library));

    attar_session *session = NULL;
    OK(attar_session_create(model, NULL, &session));

    attar_report *report = JUNK;
    const char *paths[2] = { document, NULL };
    EXPECT(attar_library_update(library, paths, 2, &report), ATTAR_ERROR_ARGUMENT, "paths[1] is NULL");
    CLAIM(report == NULL);
    EXPECT(attar_library_update(library, NULL, 1, &report), ATTAR_ERROR_ARGUMENT, "paths is NULL");
    EXPECT(attar_library_update(NULL, paths, 1, &report), ATTAR_ERROR_ARGUMENT, "library is NULL");
    paths[1] = "no/such/folder";
    EXPECT(attar_library_update(library, paths, 2, &report), ATTAR_ERROR_NOT_FOUND, "no/such/folder");
    size_t documents = 9, passages = 9;
    OK(attar_library_size(library, &documents, &passages));
    CLAIM(documents == 0 && passages == 0);
    OK(attar_library_update(library, paths, 1, &report));

    attar_counts counts = ATTAR_COUNTS_INIT;
    OK(attar_report_counts(report, &counts));
    CLAIM(counts.added == 1 && counts.updated == 0 && counts.skipped == 0 && counts.struct_size == sizeof counts);
    counts.struct_size = 1;
    EXPECT(attar_report_counts(report, &counts), ATTAR_ERROR_ARGUMENT, "attar_counts: struct_size is 1");
    EXPECT(attar_report_counts(report, NULL), ATTAR_ERROR_ARGUMENT, "attar_counts is NULL");
    EXPECT(attar_report_counts(NULL, &counts), ATTAR_ERROR_ARGUMENT, "report is NULL");
    EXPECT(attar_report_skipped(report, 0, NULL, NULL), ATTAR_ERROR_ARGUMENT, "skipped file 0");
    attar_report_destroy(&report);
    attar_report_destroy(&report);
    attar_report_destroy(NULL);
    OK(attar_library_update(library, paths, 1, NULL));

    attar_text source = ATTAR_TEXT("memo"), text = ATTAR_TEXT("The board is green.\n");
    EXPECT(attar_library_add_text(library, source, 3, text), ATTAR_ERROR_ARGUMENT, "format is 3");
    EXPECT(attar_library_add_text(library, text_of(NULL, 0), ATTAR_FORMAT_TEXT, text), ATTAR_ERROR_ARGUMENT, "source is empty");
    EXPECT(attar_library_add_text(library, source, ATTAR_FORMAT_TEXT, text_of("\xff", 1)), ATTAR_ERROR_UTF8, "text");
    EXPECT(attar_library_add_text(library, source, ATTAR_FORMAT_HTML, text_of("", 0)), ATTAR_ERROR_INPUT, "memo");
    OK(attar_library_add_text(library, source, ATTAR_FORMAT_TEXT, text));
    OK(attar_library_size(library, &documents, NULL));
    CLAIM(documents == 2);
    EXPECT(attar_library_size(NULL, &documents, NULL), ATTAR_ERROR_ARGUMENT, "library is NULL");

    attar_results *results = JUNK;
    attar_text question = ATTAR_TEXT("How much current does the board need?");
    attar_ask_options options = ATTAR_ASK_OPTIONS_INIT;
    EXPECT(attar_library_ask(library, NULL, question, NULL, &results), ATTAR_ERROR_ARGUMENT, "session is NULL");
    CLAIM(results == NULL);
    EXPECT(attar_library_ask(NULL, session, question, NULL, &results), ATTAR_ERROR_ARGUMENT, "library is NULL");
    EXPECT(attar_library_ask(library, session, text_of("\xff", 1), NULL, &results), ATTAR_ERROR_UTF8, "question");
    EXPECT(attar_library_ask(library, session, ATTAR_TEXT("?!"), NULL, &results), ATTAR_ERROR_INPUT, "");
    options.threshold = NAN;
    EXPECT(attar_library_ask(library, session, question, &options, &results), ATTAR_ERROR_ARGUMENT, "threshold");
    options.threshold = -1;
    options.reserved = 7;
    EXPECT(attar_library_ask(library, session, question, &options, &results), ATTAR_ERROR_ARGUMENT, "reserved is 7");
    options.reserved = 0;
    options.top = options.candidates = UINT32_MAX;
    OK(attar_library_ask(library, session, question, &options, &results));
    CLAIM(attar_results_count(results) >= 1);
    CLAIM(attar_results_no_answer_probability(results) >= 0 && attar_results_no_answer_probability(results) <= 1);
    int cited = 0;
    for (size_t i = 0; i < attar_results_count(results); i++) {
        attar_answer answer = ATTAR_ANSWER_INIT;
        OK(attar_results_answer(results, i, &answer));
        CLAIM(answer.text.length > 0 && answer.passage.length >= answer.text.length && answer.score >= 0 && answer.score <= 1);
        cited |= answer.source.length == strlen(document) && memcmp(answer.source.data, document, strlen(document)) == 0 && answer.line == 3;
    }
    CLAIM(cited);
    attar_answer answer = ATTAR_ANSWER_INIT;
    EXPECT(attar_results_answer(results, SIZE_MAX, &answer), ATTAR_ERROR_ARGUMENT, "there are");
    EXPECT(attar_results_answer(results, 0, NULL), ATTAR_ERROR_ARGUMENT, "attar_answer is NULL");
    EXPECT(attar_results_answer(NULL, 0, &answer), ATTAR_ERROR_ARGUMENT, "results is NULL");
    answer.struct_size = 3;
    EXPECT(attar_results_answer(results, 0, &answer), ATTAR_ERROR_ARGUMENT, "attar_answer: struct_size is 3");
    CLAIM(attar_results_count(NULL) == 0 && attar_results_no_answer_probability(NULL) == -1);

    /* Results outlive what they came from. */
    attar_library_destroy(&library);
    attar_session_destroy(&session);
    answer.struct_size = sizeof answer;
    OK(attar_results_answer(results, 0, &answer));
    CLAIM(answer.text.data[0] != 0);
    attar_results_destroy(&results);
    attar_results_destroy(&results);
    attar_results_destroy(NULL);
    attar_library_destroy(&library);
    attar_library_destroy(NULL);
    attar_session_destroy(NULL);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const char *bundle = argc > 2 ? argv[2] : NULL;
    models(bundle);
    attar_model *model = NULL;
    OK(bundle ? attar_model_open(bundle, NULL, &model) : attar_model_default(NULL, &model));
    sessions(model);
    libraries(model, argv[1]);
    attar_model_destroy(&model);
    printf("misuse: %d claims hold\n", claims);
    return 0;
}
