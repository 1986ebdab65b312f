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
 * Stages: each has an options struct, a report of what was done (counts for the closing line), and one function that
 * does the whole job from files to files. The rows of struct trawl_stage are made in src/stage/.
 */

/* ---- tokenize: texts to ids and back ---- */

/* Texts to ids and back, JSON lines to JSON lines, in their order. */
struct trawl_tokenize_options {
    size_t size;
    const char *model;         /* folder, GGUF file or name; a folder with only a tokenizer.json will do */
    bool parse_special;        /* strings of special tokens become their ids; else they are text */
    bool add_special;          /* add what the tokenizer puts around a text ([CLS] .. [SEP], BOS) */
    bool decode, skip_special; /* {"ids"} to {"text"}; without special tokens */
    bool chat;                 /* {"messages","tools","add_generation_prompt"} to {"text","ids"} */
    const char *chat_template; /* name of a template instead of the model's own */
    bool strict;               /* refuse text that is not UTF-8 */
    const char *input, *output;
};
struct trawl_tokenize_report {
    size_t n_texts, n_tokens, n_empty;
    size_t n_repaired; /* texts with malformed UTF-8, replaced by U+FFFD */
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_tokenize(const struct trawl_tokenize_options *options,
                                                          struct trawl_tokenize_report *report);

/* ---- score: log-probabilities of tokens ---- */
struct trawl_score_options {
    size_t size;
    const char *model;
    const char *input, *output; /* JSON lines; "-": standard input and output */
    const char *precision;
    size_t batch_tokens; /* 0: default */
    bool strict;         /* refuse invalid UTF-8 */
};
struct trawl_score_report {
    uint64_t texts, tokens, invalid_utf8, first_invalid_line;
    double seconds, mean_nll; /* negative mean of all log-probabilities */
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_score(const struct trawl_score_options *options,
                                                       struct trawl_score_report *report);

/* ---- generate: greedy continuations ---- */
struct trawl_generate_options {
    size_t size;
    const char *model;
    const char *prompt; /* NULL: lines of `input` */
    const char *input, *output;
    const char *precision;
    const char *chat_template; /* name of a template, NULL: the model's */
    size_t max_tokens;
    bool chat, ignore_eos, json;
    size_t batch_tokens;
    bool strict; /* refuse invalid UTF-8 */
};
struct trawl_generate_report {
    uint64_t prompts, tokens; /* made */
    uint64_t invalid_utf8, first_invalid_line;
    double seconds;
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_generate(const struct trawl_generate_options *options,
                                                          struct trawl_generate_report *report);

/* ---- train: a retriever out of pairs of queries and passages ---- */
struct trawl_train_options {
    size_t size;
    const char *objective; /* infonce, gist, margin-mse, kl, cosent, or a sum such as infonce+0.5*kl */
    const char *model, *data, *output;
    const char *split, *corpus, *queries; /* of the data: qrels/<split>.tsv of a folder; texts of ids in JSON lines */
    const char *config;                   /* JSON file of options by name, below those given here */
    bool resume;
    /* what is trained */
    bool full;
    size_t lora_rank;
    double lora_alpha, lora_dropout;
    const char *lora_targets;
    bool rslora;
    const char *precision; /* auto, f32, bf16 */
    bool checkpointing;
    /* how */
    double lr, weight_decay, clip, warmup;
    const char *schedule; /* constant, linear, cosine */
    size_t steps, epochs, batch, negatives, accumulate, chunk, seed;
    /* the loss */
    double temperature, margin, kl_temperature, cosent_scale;
    bool learn_temperature, symmetric, margin_relative, gist_wide, kl_reverse;
    const char *similarity, *candidates, *guide, *matryoshka;
    /* the contract, over the model's own */
    const char *pooling, *attention, *query_prompt, *document_prompt;
    bool no_pool_prompt, no_pool_special, append_eos;
    size_t max_length, dims;
    /* watching */
    const char *dev, *dev_split;
    size_t dev_documents, eval_every, patience, save_every;
};
struct trawl_train_report {
    uint64_t steps, resumed_from, tokens, examples, parameters;
    uint64_t dev_documents, dev_queries, best_step;
    size_t memory_bytes;
    double loss, first_loss, best_dev, seconds; /* best_dev < 0: there was no dev set */
    bool stopped_early;
};
/* Writes the run folder `output`: config.json, metrics.jsonl, checkpoints/, report.html, model/. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_train(const struct trawl_train_options *options,
                                                       struct trawl_train_report *report);

/* ---- merge: an adapter and its base as one model folder ---- */
struct trawl_merge_options {
    size_t size;
    const char *model; /* NULL: the base that the adapter names */
    const char *adapter, *output;
};
struct trawl_merge_report {
    size_t width;
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_merge(const struct trawl_merge_options *options,
                                                       struct trawl_merge_report *report);

/* ---- encode: texts to vectors ---- */
struct trawl_encode_options {
    size_t size;
    const char *model;
    const char *input, *output;
    const char *format;       /* auto, npy, jsonl, vecs */
    const char *input_format; /* auto, beir, anserini, msmarco, tsv, trec, folder, lines */
    const char *side;         /* document, query */
    const char *join;         /* space, newline, text; NULL: as the contract */
    /* Over the model's contract; NULL and 0: as it says. */
    const char *pooling, *attention, *normalize;
    const char *prompt, *prompt_name;
    size_t max_length, dims;
    bool append_eos, no_append_eos;
    bool pool_prompt, no_pool_prompt;
    bool pool_special, no_pool_special;
    const char *precision;
    const char *too_long; /* cut, refuse */
    size_t batch_tokens;
    bool strict, restart;
};
struct trawl_encode_report {
    uint64_t texts, resumed; /* of these, from an interrupted run */
    uint64_t tokens, cut, empty, invalid_utf8;
    uint64_t first_invalid_line; /* 0: none, or not a file of lines */
    char first_invalid_id[128];
    size_t dims, max_length;
    size_t workspace_bytes; /* beside the weights */
    double seconds;         /* of encoding, without opening the model */
    char precision[8], isa[16];
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_encode(const struct trawl_encode_options *options,
                                                        struct trawl_encode_report *report);

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
    /* how models encode; NULL and 0: as the model's own contract says */
    const char *precision, *pooling, *attention, *normalize, *prompt, *query_prompt, *too_long;
    size_t max_length, dims;
    bool append_eos;
    /* passages */
    size_t split, overlap;
    size_t memory;
};
struct trawl_index_report {
    uint64_t n_documents, n_replaced; /* given, of these already there */
    uint64_t n_rows;                  /* passages where documents are split */
    uint64_t n_empty, n_invalid_utf8;
    uint64_t n_cut, n_resumed;   /* texts cut at a model's maximum; vectors taken from an interrupted run */
    uint64_t first_invalid_line; /* 0: none */
    char first_invalid_id[128];
    uint64_t n_total;     /* documents of the index now */
    uint64_t n_segments;  /* of the index now */
    uint64_t index_bytes; /* of its files */
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

/* ---- search: one query for a reader, or a run of many ---- */
struct trawl_search_options {
    size_t size;
    const char *index;
    struct trawl_list words;   /* one query, its words joined by spaces; or */
    const char *queries;       /* a file of them, with or without */
    const char *query_vectors; /* a vector for each */
    const char *output;        /* "-": standard output */
    const char *format;        /* auto, text, trec, json, jsonl */
    const char *tag;           /* last column of a TREC run */
    size_t k;
    const char *mode;        /* auto, bm25, dense, hybrid */
    struct trawl_list field; /* names, where the index has several of a kind */
    const char *fusion;      /* rrf, weighted */
    size_t depth;            /* 0: default */
    double rrf_k, weight;
    double k1, b; /* negative: the field's */
    const char *model, *precision;
    bool force, strict;
    /* Set by callers, no options of the command line. */
    bool terminal;      /* text output is for a terminal: matches are bold and underlined */
    bool given_vectors; /* of a trawl_searcher: queries come as vectors, no model is opened */
};
struct trawl_search_report {
    uint64_t queries, empty, without_hits, hits;
    uint64_t cut;                              /* queries beyond the model's maximum length */
    uint64_t invalid_utf8, first_invalid_line; /* line 0: the query on the command line */
    const char *mode;                          /* what was searched: bm25, dense, hybrid */
    double seconds;                            /* without opening index and model */
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_search(const struct trawl_search_options *options,
                                                        struct trawl_search_report *report);

/* ---- eval ---- */
struct trawl_eval_options {
    size_t size;
    /* judgements: a file, or the split of a BEIR folder */
    const char *qrels, *dataset, *split;
    struct trawl_list run; /* files of runs; and, or */
    /* an index, searched in one or more modes with the judged queries of the dataset */
    const char *index;
    struct trawl_list mode, field;
    const char *model, *precision, *save_run;
    size_t k;
    bool force;
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

/* ---- mine: hard negatives ---- */
struct trawl_mine_options {
    size_t size;
    const char *dataset, *split; /* BEIR folder; qrels/<split>.tsv */
    const char *output;          /* Tevatron's JSON lines */
    /* teachers: models or "bm25", runs or matrices of scores, vectors with vectors of the queries */
    struct trawl_list teacher, run, vectors, query_vectors;
    const char *rule;  /* naive, shifted, abs, margin, perc */
    const char *value; /* of the rule, a number; NULL: the rule's own */
    size_t negatives;
    const char *select; /* top, sample, best-sample */
    size_t pool;
    double temperature;
    const char *anchor;   /* min, mean, max */
    const char *ensemble; /* cross, intra */
    bool dedup, curated;
    const char *short_rows; /* keep, drop */
    size_t seed;
    const char *report, *judge, *judge_run;
    size_t depth;
    const char *work, *precision;
    size_t max_length;
    bool strict;
};
struct trawl_mine_report {
    uint64_t queries, rows, dropped;
    uint64_t negatives, missing; /* written; fewer than wanted */
    uint64_t without_positives;  /* judged queries that are no examples */
    uint64_t copies;             /* of positives, kept from being negatives */
    uint64_t resumed;            /* rankings taken from an interrupted run */
    uint64_t judged, suspected;  /* negatives; those that the judge scores at or above the positive */
    double seconds;
};
/* Ranks the documents by the teachers and writes a row for every query with positives. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_mine(const struct trawl_mine_options *options,
                                                      struct trawl_mine_report *report);

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

/* ---- bench: measurements, one row of a table each ---- */
struct trawl_bench_options {
    size_t size;
    const char *name; /* which */
    const char *model;
    const char *corpus;    /* texts */
    const char *dataset;   /* folder of corpus, queries and judgements */
    const char *precision; /* one of them, NULL: all that this processor has */
    const char *output;    /* table, "-": standard output */
    size_t texts;          /* the first so many, 0: all */
    size_t max_length, batch_tokens;
    size_t repeat;
};
struct trawl_bench_report {
    double seconds;
};
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_bench(const struct trawl_bench_options *options,
                                                       struct trawl_bench_report *report);

/*
 * Handles, for programs that keep things open: models, tokenizers, encoders, indexes, searchers.
 */

/* ---- model and tokenizer ---- */
struct trawl_model;
/* A model folder, GGUF file or name: opened and checked, no weights read. Immutable, shared by threads. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_model_open(struct trawl_model **model, const char *path_or_name);
TRAWL_API void trawl_model_close(struct trawl_model *model);
TRAWL_API const char *trawl_model_family(const struct trawl_model *model); /* "llama", "qwen2", "bert", ... */
TRAWL_API size_t trawl_model_width(const struct trawl_model *model);       /* of its token states */
TRAWL_API size_t trawl_model_vocabulary(const struct trawl_model *model);
/* 16 hex digits and a NUL over the content of weights and adapter; the first call may read all of them. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_model_fingerprint(struct trawl_model *model, char out[17]);

struct trawl_tokenizer;
/* The tokenizer of a model; a folder with nothing but a tokenizer.json is fine. Immutable, shared by threads. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_tokenizer_open(struct trawl_tokenizer **tokenizer,
                                                                const char *path_or_name);
TRAWL_API void trawl_tokenizer_close(struct trawl_tokenizer *tokenizer);
TRAWL_API size_t trawl_tokenizer_vocabulary(const struct trawl_tokenizer *tokenizer);
/*
 * Ids of a text of text_bytes bytes, *n of them. The first `room` are written to ids (NULL for room 0), so a call that
 * finds *n above room is repeated with a larger array; it is no failure. parse_special: strings of special tokens in
 * the text become these tokens. add_special: what the tokenizer file puts around a text is put there.
 */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_tokenizer_encode(const struct trawl_tokenizer *tokenizer,
                                                                  uint32_t *ids, size_t *n, size_t room,
                                                                  const char *text, size_t text_bytes,
                                                                  bool parse_special, bool add_special);
/* Text of n ids, *text_bytes bytes and a NUL where there is room for it; as above. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_tokenizer_decode(const struct trawl_tokenizer *tokenizer, char *text,
                                                                  size_t *text_bytes, size_t room, const uint32_t *ids,
                                                                  size_t n, bool skip_special);

/* ---- encoder ---- */
struct trawl_encoder;
/* `size` first: sizeof of the struct as the caller knows it; members left 0 or NULL mean the model's contract. */
struct trawl_encoder_options {
    size_t size;
    const char *precision; /* auto, f32, bf16, int8 */
    const char *pooling, *attention,
        *normalize; /* mean | last | weighted-mean | first, causal | bidirectional, l2 | none */
    const char *document_prompt, *query_prompt;
    size_t max_length, dims, batch_tokens;
    bool append_eos, no_append_eos;
    bool pool_prompt, no_pool_prompt;
    bool pool_special, no_pool_special;
    bool refuse_long; /* a text beyond max_length is LIMIT instead of cut */
};
/* options may be NULL. The encoder belongs to one thread at a time; its memory does not grow with what it encodes. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_encoder_open(struct trawl_encoder **encoder, const char *path_or_name,
                                                              const struct trawl_encoder_options *options);
TRAWL_API void trawl_encoder_close(struct trawl_encoder *encoder);
TRAWL_API size_t trawl_encoder_dims(const struct trawl_encoder *encoder);
/*
 * vectors (n, dims) of n texts, in their order; `query`: as queries, else as documents. text_bytes (n) may be NULL: the
 * texts end at their NUL. A text without tokens gives a zero vector; the bits of a vector depend on its text alone.
 */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_encoder_encode(struct trawl_encoder *encoder, float *vectors,
                                                                const char *const *texts, const size_t *text_bytes,
                                                                size_t n, bool query);

/* ---- index and searcher ---- */
struct trawl_index;
/* The state of the folder when it was opened, whatever is added or deleted afterwards. */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_index_open(struct trawl_index **index, const char *path);
/* After its searchers were freed. */
TRAWL_API void trawl_index_close(struct trawl_index *index);
TRAWL_API uint64_t trawl_index_documents(const struct trawl_index *index);

struct trawl_searcher;
/*
 * Of the options those count that say what is searched and how: k, mode, field, fusion, depth, rrf_k, weight, k1, b,
 * model, precision, force, terminal, given_vectors. trawl_options_init(&options, trawl_stage_find("search")) presets
 * them.
 */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_searcher_new(struct trawl_searcher **searcher,
                                                              const struct trawl_index *index,
                                                              const struct trawl_search_options *options);
TRAWL_API void trawl_searcher_free(struct trawl_searcher *searcher);

/* A document found. Strings are UTF-8, NUL-terminated, and live until the searcher's next call. */
struct trawl_hit {
    const char *id, *title, *text;
    size_t passage_begin, passage_end; /* bytes of text: the passage that was found, or all of it */
    const char *snippet;               /* the best stretch of it on one line, the query's words marked */
    float score;
};
/* hits (n_hits) best first, at most k. An empty query has none. */
TRAWL_API TRAWL_MUST_USE enum trawl_status
trawl_search_text(struct trawl_searcher *searcher, const struct trawl_hit **hits, size_t *n_hits, const char *query);
/* By a vector of `dims` numbers (options.given_vectors); `query`, NULL or text, is for the lexical side and snippets.
 */
TRAWL_API TRAWL_MUST_USE enum trawl_status trawl_search_vector(struct trawl_searcher *searcher,
                                                               const struct trawl_hit **hits, size_t *n_hits,
                                                               const float *vector, size_t dims, const char *query);

#ifdef __cplusplus
}
#endif
#endif
