/*
 * Attention of whole rows, forward and backward. A piece of work is one row with one key/value head: all query heads of
 * the group add to the same keys and values, so a piece owns its columns of the gradient of q, k and v. Queries go in
 * blocks whose score rows are kept whole; the backward pass takes the scores and their softmax again.
 *
 *   dV = P^T dO    dP = dO V^T    dS = P (dP - sum P dP)    dQ = dS K    dK = dS^T Q
 */
#include "base/pool.h"
#include "train_int.h"
#include <string.h>

struct row_head {
    const struct nn_train *t;
    struct train_worker *w;
    size_t n, ld, ld_out; /* tokens of the row; floats between tokens of q, k, v and of outputs */
    size_t group;         /* query heads of the piece */
    const float *q, *k, *v;
    float *dq, *dk, *dv;
    float *out;         /* forward */
    const float *d_out; /* backward */
    uint32_t window;
    bool causal;
};

static void visible(const struct row_head *p, size_t i, size_t *begin, size_t *end)
{
    *begin = p->window && i + 1 > p->window ? i + 1 - p->window : 0;
    *end = p->causal ? i + 1 : p->window && i + p->window < p->n ? i + p->window : p->n;
}

static void pack_panels(float *panels, const float *x, size_t ld, size_t n, size_t D)
{
    for (size_t j = 0; j < n; j += NN_PANEL, panels += NN_PANEL * D)
        for (size_t lane = 0; lane < NN_PANEL; lane++)
            for (size_t d = 0; d < D; d++)
                panels[d * NN_PANEL + lane] = j + lane < n ? x[(j + lane) * ld + d] : 0;
}

static struct row_head piece_of(const struct nn_train *t, struct train_worker *w, size_t row, size_t head)
{
    const struct nn_config *c = &t->config;
    size_t first = t->batch->begin[row] - t->batch->begin[0], N = t->role[NN_QKV].N, group = c->H / c->K;
    const struct train_kept *kept = &t->kept[t->layer % t->n_kept];
    const float *qkv = t->qkv ? t->qkv : kept->qkv;
    float *attn = t->attn ? t->attn : kept->attn;
    size_t q = first * N + head * group * c->D, k = first * N + (c->H + head) * c->D, v = k + c->K * c->D;
    size_t out = first * c->H * c->D + head * group * c->D;
    return (struct row_head){.t = t,
                             .w = w,
                             .n = t->batch->begin[row + 1] - t->batch->begin[row],
                             .ld = N,
                             .ld_out = c->H * c->D,
                             .group = group,
                             .q = qkv + q,
                             .k = qkv + k,
                             .v = qkv + v,
                             .dq = t->d_qkv + q,
                             .dk = t->d_qkv + k,
                             .dv = t->d_qkv + v,
                             .out = attn + out,
                             .d_out = t->d_attn + out,
                             .window = c->window[t->layer],
                             .causal = t->batch->attention == NN_CAUSAL && !c->encoder};
}

/* A block of queries [begin, begin + rows) of query head h against keys [low, high); scores are n wide. */
struct block {
    size_t h, begin, rows, low, high, n;
    float inverse[NN_QUERIES];
};

static struct block block_of(const struct row_head *p, size_t h, size_t begin)
{
    struct block b = {.h = h, .begin = begin, .rows = p->n - begin < NN_QUERIES ? p->n - begin : NN_QUERIES};
    size_t unused;
    visible(p, begin, &b.low, &unused);
    visible(p, begin + b.rows - 1, &unused, &b.high);
    b.low = b.low / NN_PANEL * NN_PANEL;
    b.n = (b.high - b.low + NN_PANEL - 1) / NN_PANEL * NN_PANEL;
    return b;
}

static void cap_scores(float *s, size_t n, float scale, float cap)
{
    for (size_t j = 0; j < n; j++)
        s[j] = cap * __builtin_tanhf(s[j] * scale / cap);
}

/* Exponentials of the block's scores into w->scores; capped scores are kept in w->capped. */
static void score_block(const struct row_head *p, struct block *b)
{
    const struct nn_train *t = p->t;
    const struct nn_config *c = &t->config;
    float *s = p->w->scores, scale = c->attention_scale;
    t->k->scores(s, b->n, p->q + b->begin * p->ld + b->h * c->D, p->ld, p->w->k_panels + b->low * c->D, b->n / NN_PANEL,
                 c->D, b->rows);
    if (c->attention_cap > 0) {
        cap_scores(s, b->rows * b->n, scale, c->attention_cap);
        memcpy(p->w->capped, s, b->rows * b->n * sizeof *s);
        scale = 1;
    }
    for (size_t r = 0; r < b->rows; r++) {
        size_t from, to;
        visible(p, b->begin + r, &from, &to);
        b->inverse[r] = t->k->softmax(s + r * b->n, from - b->low, to - b->low, b->n, scale);
    }
}

static void forward_block(const struct row_head *p, size_t h, size_t begin)
{
    const struct nn_train *t = p->t;
    size_t D = t->config.D;
    struct block b = block_of(p, h, begin);
    float *out = p->out + begin * p->ld_out + h * D;
    score_block(p, &b);
    for (size_t r = 0; r < b.rows; r++)
        memset(out + r * p->ld_out, 0, D * sizeof *out);
    t->k->weigh(out, p->ld_out, p->w->scores, b.n, p->v + b.low * p->ld, p->ld, b.high - b.low, D, b.rows);
    for (size_t r = 0; r < b.rows; r++)
        t->k->multiply(out + r * p->ld_out, b.inverse[r], D);
}

/* dP in w->dscores -> dS there, P in w->scores. */
static void softmax_backward(const struct row_head *p, const struct block *b)
{
    const struct nn_config *c = &p->t->config;
    float cap = c->attention_cap;
    for (size_t r = 0; r < b->rows; r++) {
        size_t from, to, at = r * b->n;
        visible(p, b->begin + r, &from, &to);
        p->t->g->softmax(p->w->scores + at, p->w->dscores + at, b->inverse[r], from - b->low, to - b->low, b->n,
                         c->attention_scale);
    }
    for (size_t i = 0; cap > 0 && i < b->rows * b->n; i++) {
        float s = p->w->capped[i] / cap;
        p->w->dscores[i] *= 1 - s * s;
    }
}

static void backward_block(const struct row_head *p, size_t h, size_t begin)
{
    const struct nn_train *t = p->t;
    size_t D = t->config.D, ld = p->ld;
    struct block b = block_of(p, h, begin);
    const float *q = p->q + begin * ld + h * D, *d_out = p->d_out + begin * p->ld_out + h * D;
    float *dq = p->dq + begin * ld + h * D;
    size_t keys = b.high - b.low;
    score_block(p, &b);
    t->k->scores(p->w->dscores, b.n, d_out, p->ld_out, p->w->v_panels + b.low * D, b.n / NN_PANEL, D, b.rows);
    softmax_backward(p, &b);
    for (size_t r = 0; r < b.rows; r++)
        memset(dq + r * ld, 0, D * sizeof *dq);
    t->k->weigh(dq, ld, p->w->dscores, b.n, p->k + b.low * ld, ld, keys, D, b.rows);
    t->g->outer(p->dk + b.low * ld, ld, p->w->dscores, 1, b.n, q, ld, b.rows, D, keys);
    t->g->outer(p->dv + b.low * ld, ld, p->w->scores, 1, b.n, d_out, p->ld_out, b.rows, D, keys);
}

static void attend(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct nn_train *t = ctx;
    for (size_t i = begin; i < end; i++) {
        struct row_head p = piece_of(t, &t->workers[worker], i / t->config.K, i % t->config.K);
        pack_panels(p.w->k_panels, p.k, p.ld, p.n, t->config.D);
        for (size_t h = 0; h < p.group; h++)
            for (size_t q = 0; q < p.n; q += NN_QUERIES)
                forward_block(&p, h, q);
    }
}

static void attend_backward(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct nn_train *t = ctx;
    size_t D = t->config.D;
    for (size_t i = begin; i < end; i++) {
        struct row_head p = piece_of(t, &t->workers[worker], i / t->config.K, i % t->config.K);
        pack_panels(p.w->k_panels, p.k, p.ld, p.n, D);
        pack_panels(p.w->v_panels, p.v, p.ld, p.n, D);
        for (size_t r = 0; r < p.n; r++) {
            memset(p.dk + r * p.ld, 0, D * sizeof *p.dk);
            memset(p.dv + r * p.ld, 0, D * sizeof *p.dv);
        }
        for (size_t h = 0; h < p.group; h++)
            for (size_t q = 0; q < p.n; q += NN_QUERIES)
                backward_block(&p, h, q);
    }
}

void train_attend(struct nn_train *t)
{
    pool_run(t->batch->B * t->config.K, 1, attend, t);
}

void train_attend_backward(struct nn_train *t)
{
    pool_run(t->batch->B * t->config.K, 1, attend_backward, t);
}
