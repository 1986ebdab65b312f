/*
 * AdamW (Loshchilov and Hutter 2019), clipping by the global norm, and learning rate schedules, as torch and
 * transformers define them. All work is split over parameters, so results do not depend on the number of threads.
 */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H
#include "base/status.h"

struct adamw {
    double beta1, beta2, eps, weight_decay;
};

/*
 * One step t (from 1) on n parameters p with gradient g * scale:
 *   p -= lr wd p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
 * p, m, v (n) in place; g is left alone.
 */
void adamw_step(float *p, float *m, float *v, const float *g, size_t n, const struct adamw *adamw, double lr,
                uint64_t t, double scale);

/* Sum of squares of g (n) in double, summed in a fixed order; the global norm is the root over all tensors' sums. */
double grad_square_sum(const float *g, size_t n);
/* min(1, max_norm / (norm + 1e-6)); max_norm 0: no clipping, 1. */
double clip_factor(double norm, double max_norm);

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };
struct schedule {
    enum schedule_kind kind;
    double lr;
    uint64_t warmup, total; /* steps */
};
/* Learning rate used in step `step`, counted from 0. Rises linearly for `warmup` steps, then stays, or falls to 0 at
 * `total`. */
double schedule_lr(const struct schedule *schedule, uint64_t step);

#endif
