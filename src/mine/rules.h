/*
 * Positive-aware hard-negative mining: which candidates of a teacher's ranking may serve as negatives (NV-Retriever,
 * Moreira et al. 2024, section 3; equality with a threshold is kept). Works on one query at a time; scores are compared
 * as double.
 */
#ifndef MINE_RULES_H
#define MINE_RULES_H
#include "base/rng.h"
#include "base/status.h"
#include <stdbool.h>

enum mine_rule {
    MINE_NAIVE,   /* every candidate */
    MINE_SHIFTED, /* without the first `shift` places of the raw ranking; positives and their copies count as places */
    MINE_ABS,     /* score <= value */
    MINE_MARGIN,  /* score <= anchor - value */
    MINE_PERC,    /* score <= anchor - (1 - value) |anchor|: value times the anchor where that is not negative */
};
struct mine_rule_options {
    enum mine_rule rule;
    double value;
    size_t shift;
};
/* Highest score that a negative may have; infinite for rules without a threshold. `anchor`: a score of the query's
 * positives. */
double mine_threshold(const struct mine_rule_options *options, double anchor);

/* A candidate of a ranking: score descending, ties by lower index first. `excluded`: a positive, or a copy of one. */
struct mine_candidate {
    uint32_t index;
    float score;
    bool excluded;
};
/* Indices of the first K candidates that the rule keeps, best first; returns how many there are (at most K). */
size_t mine_pick(uint32_t *picks, const struct mine_candidate *ranking, size_t n, size_t K,
                 const struct mine_rule_options *options, double anchor);
/*
 * Samples K of the first `pool` kept candidates without replacement, with probabilities softmax(score / temperature)
 * (Gumbel top-k, so one pass); `best` of them are taken from the top first (best + sampled). Returns how many.
 */
size_t mine_sample(uint32_t *picks, const struct mine_candidate *ranking, size_t n, size_t K, size_t best, size_t pool,
                   double temperature, const struct mine_rule_options *options, double anchor, struct rng *rng);

#endif
