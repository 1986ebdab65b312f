/* The session as the files of this module see it. */
#ifndef LM_INT_H
#define LM_INT_H
#include "lm.h"

struct lm {
    struct model_files *files;
    struct nn_model *model;
    struct nn_run *run;
    struct tokenizer_scratch *scratch;
    const struct nn_config *config;
    size_t batch_tokens; /* of one forward pass; longer sequences go through it in pieces of this size */
    size_t tile;         /* rows of logits at a time */
    uint32_t *ids;       /* (batch_tokens) */
    uint32_t *begin;     /* (batch_tokens + 1) */
    struct nn_kv **kv;   /* (batch_tokens) */
    float *hidden;       /* (batch_tokens, C) */
    float *logits;       /* (tile, V) */
    float *prefix_row;   /* (C) last state of a shared prefix: predicts the first token after it */
    uint32_t *targets;   /* (batch_tokens) tokens that came ... */
    double **places;     /* (batch_tokens) ... and where their log-probabilities go */
};

/* Runs a sequence through the model in pieces of batch_tokens, its keys and values appended to kv. `hidden` of the last
 * piece stays in lm->hidden; *rows is how many rows that is. */
MUST_USE enum trawl_status lm_feed(struct lm *lm, struct nn_kv *kv, const struct lm_tokens *seq, size_t *rows);

#endif
