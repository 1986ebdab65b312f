/*
 * Trawl: a causal language model as a text retriever, on plain CPUs. The one public header of libtrawl.
 *
 * Conventions. Every function that can fail returns an enum trawl_status; trawl_message() then says, for this thread,
 * which file, which place, what was wrong and what to do. Structs of options begin with `size`, the number of bytes
 * that the caller knows of (trawl_options_init sets it), so that a newer library serves older callers. Handles are
 * opaque; destroyers take NULL. Opened models and indexes are immutable and may be shared by threads; a searcher or an
 * encoder belongs to one thread at a time. Strings are UTF-8. No varargs: everything is callable from ctypes.
 */
#ifndef TRAWL_H
#define TRAWL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TRAWL_API __attribute__((visibility("default")))
#define TRAWL_MUST_USE __attribute__((warn_unused_result))

/* One row per status: X(identifier, what it means). The program exits 2 for USAGE, 1 for every other failure. */
#define TRAWL_STATUS_TABLE(X)                                                                                          \
    X(OK, "ok")                                                                                                        \
    X(USAGE, "wrong use")                                                                                              \
    X(IO, "input/output")                                                                                              \
    X(FORMAT, "malformed input")                                                                                       \
    X(CORRUPT, "altered or truncated file")                                                                            \
    X(MISMATCH, "parts that do not belong together")                                                                   \
    X(UNSUPPORTED, "unsupported")                                                                                      \
    X(NOT_FOUND, "not found")                                                                                          \
    X(LIMIT, "limit exceeded")                                                                                         \
    X(NOMEM, "out of memory")                                                                                          \
    X(CANCELLED, "cancelled")

enum trawl_status {
#define X(id, text) TRAWL_##id,
    TRAWL_STATUS_TABLE(X)
#undef X
};

/* Why the last failing call on this thread failed; "" before the first failure. Valid until the next failure. */
TRAWL_API const char *trawl_message(void);
/* The short text of a status, as in the table above. */
TRAWL_API const char *trawl_status_text(enum trawl_status status);
/* "major.minor.patch" of the library. */
TRAWL_API const char *trawl_version(void);

/*
 * Options. Each stage (encode, index, search, ...) has one options struct and one table of rows, from which the
 * program's parser, --help, man pages and completions are made. A row writes one member of the struct.
 */
enum trawl_option_kind {
    TRAWL_OPTION_FLAG,   /* bool */
    TRAWL_OPTION_STRING, /* const char *, NULL when absent */
    TRAWL_OPTION_LIST,   /* struct trawl_list: may be given more than once */
    TRAWL_OPTION_COUNT,  /* size_t; suffixes k, m, g (powers of 1000) are understood */
    TRAWL_OPTION_NUMBER, /* double */
    TRAWL_OPTION_CHOICE, /* const char *, one of the row's choices */
};

struct trawl_list {
    const char **items;
    size_t n_items;
};

struct trawl_option {
    const char *name; /* long name without dashes; NULL for a positional argument */
    enum trawl_option_kind kind;
    size_t offset;       /* of the member in the options struct */
    const char *arg;     /* placeholder in --help, such as FILE; for positionals its name */
    const char *preset;  /* default as text, NULL: none (flags: false) */
    const char *choices; /* "a|b|c" for CHOICE */
    const char *help;    /* one sentence, lower case, no full stop */
    int required;        /* 1: the parser refuses its absence */
    char letter;         /* short option, or 0 */
};

struct trawl_stage {
    const char *name;     /* subcommand, such as "encode" */
    const char *summary;  /* one line, lower case */
    const char *details;  /* paragraphs for --help and the man page, or NULL */
    const char *examples; /* lines of shell, one example each; "# " lines explain */
    size_t options_bytes;
    const struct trawl_option *options;
    size_t n_options;
};

/* All stages, in the order of the two lines (learning, then serving). */
TRAWL_API const struct trawl_stage *const *trawl_stages(size_t *n_stages);
TRAWL_API const struct trawl_stage *trawl_stage_find(const char *name);
/* Zeroes the struct, sets `size` and every preset. Strings point into the table. */
TRAWL_API void trawl_options_init(void *options, const struct trawl_stage *stage);
/* Sets one option from text; name as in the table. Strings are kept by reference. USAGE names what is accepted. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_options_set(void *options, const struct trawl_stage *stage,
                                                             const char *name, const char *value);
/* Frees what LIST options grew. */
TRAWL_API void trawl_options_release(void *options, const struct trawl_stage *stage);

/* Threads used by all calls of the process; 0: as many as the machine has. To be called before other work. */
TRAWL_API void trawl_set_threads(size_t n_threads);

/* Long work reports here (rate and time left are the caller's to derive); NULL: silent, the default of the library. */
typedef void (*trawl_progress_fn)(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit);
TRAWL_API void trawl_set_progress(trawl_progress_fn fn, void *ctx);
/* Warnings (a text cut, a line skipped) are written here; NULL: to standard error. */
typedef void (*trawl_log_fn)(void *ctx, const char *message);
TRAWL_API void trawl_set_log(trawl_log_fn fn, void *ctx);

/*
 * Stages: each has an options struct, a report of what was done (counts for the closing line), and one function that does
 * the whole job from files to files. The rows of struct trawl_stage are made in src/stage/.
 */

/* ---- tokenize ---- */

/* ---- score ---- */

/* ---- generate ---- */

/* ---- encode ---- */

/* ---- index ---- */
struct trawl_index_options {
    size_t size;
    const char *corpus, *output;
    const char *format, *join; /* of the corpus; join NULL: the index's own, "space" for a new one */
    bool append, strict, merge;
    /* fields: BM25 (also when none is named), and dense ones: those of `model` come first, then those of `vectors` */
    bool bm25;
    const char *analyzer;
    double k1, b;
    struct trawl_list dense, model, vectors; /* names of fields; models; files of vectors */
    const char *dense_format;
    /* passages */
    size_t split, overlap;
    size_t memory;
};
struct trawl_index_report {
    uint64_t n_documents, n_replaced; /* given, of these already there */
    uint64_t n_rows;                  /* passages where documents are split */
    uint64_t n_empty, n_invalid_utf8;
    uint64_t first_invalid_line; /* 0: none */
    char first_invalid_id[128];
    uint64_t n_total;       /* documents of the index now */
    uint64_t n_segments;    /* of the index now */
    uint64_t index_bytes;   /* of its files */
    double seconds;
};
/* Makes an index of a corpus, or adds to one; ids that are there are replaced. All is seen at once, at the end. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_index(const struct trawl_index_options *options,
                                                       struct trawl_index_report *report);

/* ---- delete ---- */
struct trawl_delete_options {
    size_t size;
    const char *index;
    struct trawl_list ids;
    const char *input; /* a file of ids, one a line; "-": standard input */
    bool missing_ok, merge;
};
struct trawl_delete_report {
    uint64_t n_deleted, n_missing, n_total;
};
/* Removes documents by id. An id that is not there is NOT_FOUND and nothing changes, unless missing_ok. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_delete(const struct trawl_delete_options *options,
                                                        struct trawl_delete_report *report);

/* ---- search ---- */

/* ---- eval ---- */
struct trawl_eval_options {
    size_t size;
    /* judgements: a file, or the split of a BEIR folder */
    const char *qrels, *dataset, *split;
    struct trawl_list run; /* files of runs */
    /* what is measured, and how */
    struct trawl_list measures, more_measures;
    bool complete, drop_self, judged_only;
    size_t cutoff, relevance;
    /* the second and later runs are compared with the first */
    const char *significance;
    size_t draws, seed;
    /* what is written */
    bool per_query, list_measures;
    const char *format, *output;
};
struct trawl_eval_report {
    size_t n_runs, n_measures;
    size_t n_judged;  /* queries with judgements */
    size_t n_queries; /* of these, found in the first run */
};
/* Scores runs against judgements and writes a table, trec_eval's lines, JSON or LaTeX. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_eval(const struct trawl_eval_options *options,
                                                      struct trawl_eval_report *report);

/* ---- inspect ---- */

/* Explains a file or folder of any kind that Trawl reads. */
struct trawl_inspect_options {
    size_t size;
    const char *path;   /* file, folder, or name of a model */
    const char *output; /* where the description goes; "-": standard output */
    bool verify;        /* read all of it: checksums, values that are not finite, every line */
    bool tensors;       /* list the tensors of models */
    bool json;          /* one JSON object instead of text */
};
struct trawl_inspect_report {
    char kind[32]; /* what it is: "model", "index", "vectors", "corpus", ... */
};
/* Fails, with the place, where the thing is damaged. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_inspect(const struct trawl_inspect_options *options,
                                                         struct trawl_inspect_report *report);

/* ---- bench ---- */

/*
 * Handles, for programs that keep things open: models, tokenizers, encoders, indexes, searchers.
 */

/* ---- model and tokenizer ---- */

/* ---- encoder ---- */

/* ---- index and searcher ---- */

#ifdef __cplusplus
}
#endif
#endif
