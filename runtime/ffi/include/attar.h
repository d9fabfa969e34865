/*
 * Attar: question answering and natural-language inference on the device.
 *
 *     attar_model *model = NULL;
 *     attar_session *session = NULL;
 *     if (attar_model_open("student.attar", NULL, &model) != ATTAR_OK ||
 *         attar_session_create(model, NULL, &session) != ATTAR_OK) {
 *         fprintf(stderr, "%s\n", attar_last_error());
 *         exit(2);
 *     }
 *     attar_text question = ATTAR_TEXT("How much current does the board need?");
 *     attar_text passages[] = { ATTAR_TEXT("Use a 3 A supply."), ATTAR_TEXT("The case is red.") };
 *     float relevance[2];
 *     attar_session_relevance(session, question, passages, 2, relevance, 2);
 *     attar_session_destroy(&session);
 *     attar_model_destroy(&model);
 *
 * Rules that hold for every function
 *
 * - Handles (attar_model, attar_session, ...) are opaque. Whoever receives one through an `out` parameter owns it and ends it with
 *   the matching `_destroy`, which takes the address of the handle, sets it to NULL, and accepts NULL and the address of NULL.
 *   A handle that was destroyed must not be used again. Handles may be destroyed in any order: a session keeps its model alive.
 * - A function that returns attar_status returns ATTAR_OK or says what went wrong; attar_last_error() then has the whole story.
 *   On failure, `out` handles are set to NULL, output buffers may be partly written, and every handle stays usable.
 * - Text goes in and comes out as UTF-8. An attar_text is a pointer and a length and need not end in NUL; `data` may be NULL where
 *   `length` is 0. `const char *` parameters end in NUL. Arguments are only borrowed for the call, unless a function says otherwise.
 * - Structures that may grow begin with `struct_size`: set it to sizeof the structure (the _INIT macros do). Members that a program
 *   does not know get their defaults, and a library that is older than the program refuses members that it does not know and that
 *   are not zero.
 * - The library never ends the process, never prints, and lets no exception or panic out: a caught panic is ATTAR_ERROR_PANIC.
 *   It does not install signal handlers. It reads one environment variable, ATTAR_KERNEL.
 *
 * Threads
 *
 * - attar_model, attar_results and attar_report do not change: any number of threads may use one at the same time.
 * - attar_session and attar_library may be used from any thread; calls on the same one wait for each other. For parallel scoring,
 *   give each thread its own session of the shared model, or let one session use several threads.
 * - No handle may be destroyed while another thread is in a call on it.
 */
#ifndef ATTAR_H
#define ATTAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------ status */

/* What became of a call. The numbers never change; new ones may be added. */
typedef int32_t attar_status;
enum {
    /* Done. */
    ATTAR_OK = 0,
    /* A pointer is NULL that must not be, a length or an index is out of range, or a struct_size is wrong. */
    ATTAR_ERROR_ARGUMENT = 1,
    /* A text, path or name is not UTF-8. */
    ATTAR_ERROR_UTF8 = 2,
    /* There is no such file, folder or head. */
    ATTAR_ERROR_NOT_FOUND = 3,
    /* A file could not be read or written. */
    ATTAR_ERROR_IO = 4,
    /* The bytes are no Attar bundle, or a damaged one. */
    ATTAR_ERROR_MODEL = 5,
    /* The bundle or the library file was written by a newer version. */
    ATTAR_ERROR_VERSION = 6,
    /* A text that nothing can be said about: an empty one, a question without words, a document that is no text. */
    ATTAR_ERROR_INPUT = 7,
    /* An output buffer has another length than expected; attar_last_error() says which. */
    ATTAR_ERROR_BUFFER = 8,
    /* The file is no Attar library, or a damaged one. */
    ATTAR_ERROR_LIBRARY = 9,
    /* Another process is writing to the library file. */
    ATTAR_ERROR_BUSY = 10,
    /* This build, or this processor, cannot do it. */
    ATTAR_ERROR_UNAVAILABLE = 11,
    /* Something failed that should not have; the text says what. */
    ATTAR_ERROR_INTERNAL = 12,
    /* A panic was caught. The handles involved can be destroyed, and used again. Please report it. */
    ATTAR_ERROR_PANIC = 13
};

/* The version of the library, such as "0.1.0". Static; never freed. */
const char *attar_version(void);

/* The name of a status, such as "ATTAR_ERROR_IO"; "unknown status" for any other number. Static; never freed. */
const char *attar_status_name(attar_status status);

/*
 * What the last call that failed on this thread said: one line of text, empty if there was none.
 * Never NULL. Belongs to the library; valid until the next call into it on the same thread.
 */
const char *attar_last_error(void);

/* -------------------------------------------------------------------------------------------------------------- text */

/* UTF-8 text, borrowed; not NUL-terminated. */
typedef struct attar_text {
    const char *data;
    /* Bytes. */
    size_t length;
} attar_text;

/* A NUL-terminated string as attar_text. */
static inline attar_text attar_text_of(const char *string) {
    attar_text text;
    text.data = string;
    text.length = string ? strlen(string) : 0;
    return text;
}
#define ATTAR_TEXT(string) (attar_text_of(string))

/* ------------------------------------------------------------------------------------------------------------- model */

/* A student: read-only, shared by its sessions. */
typedef struct attar_model attar_model;

typedef struct attar_model_options {
    size_t struct_size;
    /*
     * 0: check the structure (well under a millisecond), which is enough for safety.
     * 1: check the checksum of every tensor too, which reads the whole file.
     */
    uint32_t verify;
    /* 0: always. */
    uint32_t reserved;
} attar_model_options;
#define ATTAR_MODEL_OPTIONS_INIT { sizeof(attar_model_options), 0, 0 }

/*
 * Opens a bundle and maps it into memory. `path` is NUL-terminated UTF-8; `options` may be NULL.
 * The file must not be truncated while the model is in use; replacing it by renaming another over it is fine.
 */
attar_status attar_model_open(const char *path, const attar_model_options *options, attar_model **out);

/*
 * Opens a bundle that lies in memory, such as an asset of an app.
 *
 * Bytes that begin on a 4-byte boundary are used where they are; others are copied once. Either way they must stay valid and
 * unchanged until `release(context)` is called, once, by whatever thread ends the last handle that needs them; `release` must not
 * call back into this library or throw. With `release` NULL they must outlive the model and all its sessions. If the call fails,
 * `release` is not called.
 */
attar_status attar_model_from_memory(const void *data, size_t length, void (*release)(void *context), void *context,
                                     const attar_model_options *options, attar_model **out);

/* The bundle that is compiled into the library; ATTAR_ERROR_UNAVAILABLE in a build without one. `options` may be NULL. */
attar_status attar_model_default(const attar_model_options *options, attar_model **out);

/* Ends a model. */
void attar_model_destroy(attar_model **model);

/* The number of heads; 0 if `model` is NULL. */
size_t attar_model_head_count(const attar_model *model);

/*
 * The name of a head, such as "relevance"; NULL if there is no such head.
 * NUL-terminated UTF-8; belongs to the model and lives as long as it.
 */
const char *attar_model_head(const attar_model *model, size_t head);

/* The number of labels of a head; 0 if there is no such head. */
size_t attar_model_label_count(const attar_model *model, size_t head);

/*
 * The name of a label, such as "entailment", in the order of the probabilities; NULL if there is no such label.
 * NUL-terminated UTF-8; belongs to the model and lives as long as it.
 */
const char *attar_model_label(const attar_model *model, size_t head, size_t label);

/* ----------------------------------------------------------------------------------------------------------- session */

/* Scores pairs of texts with a model; holds the memory that this takes. */
typedef struct attar_session attar_session;

typedef struct attar_session_options {
    size_t struct_size;
    /* Threads that share the pairs of one call, or the work on a single pair of 32 tokens or more; 0 means 1, more than the machine
     * has count as what it has. They sleep between calls. The results do not depend on it. At most 256. */
    uint32_t threads;
    /* 0: always. */
    uint32_t reserved;
} attar_session_options;
#define ATTAR_SESSION_OPTIONS_INIT { sizeof(attar_session_options), 0, 0 }

/* Begins a session. `options` may be NULL. The session keeps what it needs of the model: the model may be destroyed first. */
attar_status attar_session_create(const attar_model *model, const attar_session_options *options, attar_session **out);

/* Ends a session. */
void attar_session_destroy(attar_session **session);

/* Two texts: premise and hypothesis for "nli" and "rte", question and passage for "relevance". */
typedef struct attar_pair {
    attar_text a;
    attar_text b;
} attar_pair;

/*
 * Where attar_session_score puts its results: buffers of the caller, each with the number of its elements. A buffer that is NULL,
 * with length 0, is not wanted. `labels` is the head's number of labels.
 */
typedef struct attar_scores {
    size_t struct_size;
    /* [pairs][labels]: probabilities at the head's temperature, which sum to 1. */
    float *probabilities;
    size_t probabilities_length;
    /* [pairs][labels]: the head's outputs, before temperature and soft-max. */
    float *logits;
    size_t logits_length;
    /* [pairs]: how many overlapping windows the pair was split into because it was too long; 1 if it was not. */
    uint32_t *windows;
    size_t windows_length;
} attar_scores;
#define ATTAR_SCORES_INIT { sizeof(attar_scores), NULL, 0, NULL, 0, NULL, 0 }

/*
 * Scores `count` pairs with the head of that name. Nothing is cut: an overlong pair is split into windows, and the most telling one
 * counts. An empty text is ATTAR_ERROR_INPUT; `count` may be 0.
 */
attar_status attar_session_score(attar_session *session, const char *head, const attar_pair *pairs, size_t count,
                                 const attar_scores *scores);

/*
 * For each of `count` passages the probability, by the head "relevance", that it answers the question.
 * `relevance` holds `length` values, which must be `count`.
 */
attar_status attar_session_relevance(attar_session *session, attar_text question, const attar_text *passages, size_t count,
                                     float *relevance, size_t length);

/* ----------------------------------------------------------------------------------------------------------- library */
/* From here on: builds with the feature "library". */

/* Documents cut into passages, with a full-text index over them. */
typedef struct attar_library attar_library;

/* What an update did. */
typedef struct attar_report attar_report;

/* Answers to a question. */
typedef struct attar_results attar_results;

/* How a document is read. */
typedef int32_t attar_format;
enum {
    ATTAR_FORMAT_TEXT = 0,
    ATTAR_FORMAT_MARKDOWN = 1,
    ATTAR_FORMAT_HTML = 2
};

/* Opens the library file at `path` (NUL-terminated UTF-8), or makes an empty one where there is none. */
attar_status attar_library_open(const char *path, attar_library **out);

/* An empty library that lives as long as its handle. */
attar_status attar_library_in_memory(attar_library **out);

/* Ends a library; what was stored in a file stays there. */
void attar_library_destroy(attar_library **library);

/*
 * Brings a library up to date with `count` files and folders (NUL-terminated UTF-8): new and changed documents are read, unchanged
 * ones left alone, and those that vanished from one of the folders dropped. All or nothing: after a failure the library is as before.
 *
 * A file that is named and cannot be read is an error. Files inside a folder that are no text are skipped, and the report says so.
 * `report` may be NULL; otherwise it receives a handle to end with attar_report_destroy.
 */
attar_status attar_library_update(attar_library *library, const char *const *paths, size_t count, attar_report **report);

/* Adds one document that the program holds as text, or replaces it; `source` is its name in answers. */
attar_status attar_library_add_text(attar_library *library, attar_text source, attar_format format, attar_text text);

/* The number of documents and of passages; either pointer may be NULL. */
attar_status attar_library_size(const attar_library *library, size_t *documents, size_t *passages);

typedef struct attar_counts {
    size_t struct_size;
    /* Documents. */
    size_t added;
    size_t updated;
    size_t unchanged;
    size_t removed;
    /* Files that were not read; attar_report_skipped says which and why. */
    size_t skipped;
} attar_counts;
#define ATTAR_COUNTS_INIT { sizeof(attar_counts), 0, 0, 0, 0, 0 }

/* What an update did, in numbers. */
attar_status attar_report_counts(const attar_report *report, attar_counts *counts);

/* The path of a skipped file, and why it was skipped. Both belong to the report and live as long as it; either pointer may be NULL. */
attar_status attar_report_skipped(const attar_report *report, size_t index, attar_text *path, attar_text *reason);

/* Ends a report. */
void attar_report_destroy(attar_report **report);

typedef struct attar_ask_options {
    size_t struct_size;
    /* How many answers at most; 0 for the default. */
    uint32_t top;
    /* How many passages the full-text search hands to the model; 0 for the default. */
    uint32_t candidates;
    /* Answers below this relevance (0 to 1) are not given; 0 for the default, a negative number to give all. */
    float threshold;
    /* 0: always. */
    uint32_t reserved;
} attar_ask_options;
#define ATTAR_ASK_OPTIONS_INIT { sizeof(attar_ask_options), 0, 0, 0.0f, 0 }

/*
 * Answers a question from a library; `options` may be NULL. The session's model needs the head "relevance".
 * That there is no answer is a result, not an error: ATTAR_OK, and attar_results_count is 0.
 */
attar_status attar_library_ask(attar_library *library, attar_session *session, attar_text question, const attar_ask_options *options,
                               attar_results **out);

/* The number of answers; 0 if there is none or `results` is NULL. */
size_t attar_results_count(const attar_results *results);

/* 1 - the relevance of the best answer considered, given or not: 0 to 1, or -1 if `results` is NULL. */
float attar_results_no_answer_probability(const attar_results *results);

/* An answer. Its texts belong to the results and live as long as they. */
typedef struct attar_answer {
    size_t struct_size;
    /* The sentence or sentences that answer. */
    attar_text text;
    /* The passage that they stand in. */
    attar_text passage;
    /* The document, as it was named when it was added. */
    attar_text source;
    /* The line of the document on which the answer begins, counted from 1. */
    uint64_t line;
    /* The relevance of the answer to the question, 0 to 1. */
    float score;
    uint32_t reserved;
} attar_answer;
#define ATTAR_ANSWER_INIT { sizeof(attar_answer), { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, 0, 0.0f, 0 }

/* An answer, the best first. */
attar_status attar_results_answer(const attar_results *results, size_t index, attar_answer *answer);

/* Ends results. */
void attar_results_destroy(attar_results **results);

#ifdef __cplusplus
}
#endif

#endif /* ATTAR_H */
