#include "optim.h"
#include "base/pool.h"
#include <math.h>

enum { PIECE = 1 << 14 }; /* parameters per piece of work; also the fixed unit of the norm's summation */

struct step {
    float *p, *m, *v;
    const float *g;
    double decay, rate, b1, b2, root2, eps, scale; /* rate: lr / (1-b1^t); root2: 1 / sqrt(1-b2^t) */
};

static void step_piece(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct step *s = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        double g = (double)s->g[i] * s->scale;
        double m = s->b1 * (double)s->m[i] + (1.0 - s->b1) * g;
        double v = s->b2 * (double)s->v[i] + (1.0 - s->b2) * g * g;
        s->m[i] = (float)m;
        s->v[i] = (float)v;
        s->p[i] = (float)((double)s->p[i] * s->decay - s->rate * m / (sqrt(v) * s->root2 + s->eps));
    }
}

void adamw_step(float *p, float *m, float *v, const float *g, size_t n, const struct adamw *adamw, double lr,
                uint64_t t, double scale)
{
    struct step s = {.p = p, .m = m, .v = v, .g = g, .scale = scale};
    s.b1 = adamw->beta1;
    s.b2 = adamw->beta2;
    s.eps = adamw->eps;
    s.decay = 1.0 - lr * adamw->weight_decay;
    s.rate = lr / (1.0 - pow(s.b1, (double)t));
    s.root2 = 1.0 / sqrt(1.0 - pow(s.b2, (double)t));
    pool_run(n, PIECE, step_piece, &s);
}

double grad_square_sum(const float *g, size_t n)
{
    double sum = 0.0;
    for (size_t begin = 0; begin < n; begin += PIECE) {
        size_t end = n - begin < PIECE ? n : begin + PIECE;
        double lane[8] = {0}; /* eight sums, so that the loop is not one chain of additions */
        for (size_t i = begin; i < end; i++)
            lane[i & 7] += (double)g[i] * (double)g[i];
        for (int l = 0; l < 8; l++)
            sum += lane[l];
    }
    return sum;
}

double clip_factor(double norm, double max_norm)
{
    double factor = max_norm > 0.0 ? max_norm / (norm + 1e-6) : 1.0;
    return factor < 1.0 ? factor : 1.0;
}

double schedule_lr(const struct schedule *schedule, uint64_t step)
{
    const double warmup = (double)schedule->warmup, total = (double)schedule->total, t = (double)step;
    if (step < schedule->warmup)
        return schedule->lr * t / warmup;
    double left = schedule->total > schedule->warmup ? (total - t) / (total - warmup) : 0.0;
    switch (schedule->kind) {
    case SCHEDULE_CONSTANT:
        return schedule->lr;
    case SCHEDULE_LINEAR:
        return schedule->lr * fmax(0.0, left);
    case SCHEDULE_COSINE:
        return schedule->lr * fmax(0.0, 0.5 * (1.0 + cos(3.14159265358979323846 * (1.0 - left))));
    }
    return schedule->lr;
}
