/* metrics.jsonl (a line a step and a line an evaluation) and the page of curves made from it. */
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H
#include "base/file.h"
#include <stdio.h>

struct metrics_step {
    uint64_t step, epoch, tokens;
    double loss, lr, grad_norm, tau, tokens_per_second, seconds;
    double positive_cosine; /* mean over the batch */
    double mean_cosine;     /* between the positives of different queries: near 1 when the space collapses */
};
struct metrics {
    FILE *file;
};
/* Opens for appending; lines of steps beyond `step` (of a run that was cut off) are dropped. */
MUST_USE enum trawl_status metrics_open(struct metrics *m, const char *path, uint64_t step);
MUST_USE enum trawl_status metrics_add_step(struct metrics *m, const struct metrics_step *s);
MUST_USE enum trawl_status metrics_add_dev(struct metrics *m, uint64_t step, double ndcg);
void metrics_close(struct metrics *m);
/* A self-contained page: curves of everything in the metrics, and `configuration` as text. */
MUST_USE enum trawl_status report_write(const char *path, const char *metrics_path, const char *configuration);

#endif
