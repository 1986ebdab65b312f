/* The encoder as the files of this module see it: sides (contracts made ready), the window of tokenised texts, pooling.
 */
#ifndef ENCODE_INT_H
#define ENCODE_INT_H
#include "encode.h"
#include "pooling.h"

enum { SPECIAL_MAX = 8 };

/* A contract made ready for use. */
struct side {
    struct contract contract;
    enum pooling pooling;
    enum nn_attention attention;
    bool l2;
    uint32_t head[SPECIAL_MAX], tail[SPECIAL_MAX]; /* special tokens in front and behind, EOS included */
    size_t n_head, n_tail;
    size_t n_prompt; /* tokens of the prompt alone */
};

/* A tokenised text: its ids lie in its slot of the window; rows begin .. end are pooled. */
struct row {
    uint32_t n; /* 0: no tokens of its own */
    uint32_t pool_begin, pool_end;
    bool cut;
};

/* Scratch of one worker of the pool. */
struct worker {
    struct tokenizer_scratch *scratch;
    struct ids ids;
    struct buf text;          /* prompt and text, repaired */
    double *sum;              /* (C) */
    float *dense[2];          /* (widest Dense) */
    enum trawl_status status; /* first failure, and on which text */
    size_t failed;
    char message[512];
};

struct encoder {
    struct model_files *files;
    const struct tokenizer *tokenizer;
    const struct nn_config *config;
    const struct model_modules *modules;
    struct nn_model *model;
    struct nn_run *run;
    struct side sides[2];
    enum nn_precision precision;
    size_t D;            /* dimensions before truncation */
    size_t batch_tokens; /* as asked */
    bool refuse_long;
    struct worker *single; /* of encoder_tokenize, made at its first call */
    struct encoder_counts counts;
    size_t failed;

    /* Made at the first text for the longer of the two sides, see window.c. */
    size_t tokens_max; /* of a batch */
    size_t window;     /* texts tokenised at a time */
    size_t stride;     /* ids of a slot: the longest max_length */
    uint32_t *ids;     /* (window, stride) */
    struct row *rows;  /* (window) */
    uint32_t *order;   /* (window) by length, longest first */
    uint32_t *starts;  /* (stride + 2) counting sort */
    uint32_t *packed;  /* (tokens_max) */
    uint32_t *begin;   /* (window + 1) */
    float *hidden;     /* (tokens_max, C) */
    struct worker *workers;
    size_t n_workers;
    size_t workspace_bytes;
};

/* Special tokens that the contract puts around a text, and the prompt's length. */
MUST_USE enum trawl_status side_tokens(struct side *side, const struct encoder *e);
/* Ids of one text into `out` (max_length), its row described; a text that is too long is cut. */
MUST_USE enum trawl_status side_encode(struct row *row, uint32_t *out, const struct side *side, const struct encoder *e,
                                       struct worker *worker, const struct text_view *text);
/* out (dims) from the states (n,C) of one row: pooled, through the Dense modules, cut to dims, normalised. */
void pool_row(float *out, const float *hidden, const struct row *row, const struct side *side, const struct encoder *e,
              struct worker *worker);

struct pool_shape side_pool_shape(const struct side *side, const struct row *row);

/* Also of what failed half-way; NULL is fine. */
void worker_release(struct worker *worker);
MUST_USE enum trawl_status window_make(struct encoder *e);
void window_release(struct encoder *e);

#endif
