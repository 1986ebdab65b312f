/*
 * Checkpoints (docs/formats/train-checkpoint.md): everything that the next step depends on, written atomically. A run
 * that goes on from one ends with the same bits as one that was never interrupted.
 */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H
#include "batch.h"

struct train_state {
    uint64_t step; /* done */
    struct batch_place place;
    double log_tau, tau_m, tau_v;
    double best; /* dev nDCG@10, < 0: none yet */
    uint64_t best_step, evaluations_since_best;
    uint64_t tokens;
    double seconds, loss; /* loss of the last step */
    size_t n;             /* parameters */
    float *values, *m, *v;
};
/* `key` says what the numbers belong to; a checkpoint with another one is MISMATCH. */
MUST_USE enum trawl_status train_state_save(const struct train_state *s, const char *path, const char *key);
MUST_USE enum trawl_status train_state_load(struct train_state *s, const char *path, const char *key);
/* The values alone, of the best step. */
MUST_USE enum trawl_status train_values_save(const float *values, size_t n, const char *path, const char *key);
MUST_USE enum trawl_status train_values_load(float *values, size_t n, const char *path, const char *key);

#endif
