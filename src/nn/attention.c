/*
 * Attention of packed rows. A piece of work is up to NN_CHUNK queries of one row with one key/value head: its keys are
 * packed into panels once and used by all query heads of the group. Queries go in small blocks whose score rows are
 * kept whole (a block of 24 by 512 keys is 48 KiB): two passes, no running rescale.
 *
 * Keys are numbered from the beginning of the sequence, its prefix in a nn_kv included. Score rows begin at a multiple
 * of the panel width, sums run over keys in order, and masked keys add exact zeros: so a query's bits do not depend on
 * how many queries are computed with it or whether its prefix came from a nn_kv.
 */
#include "nn_int.h"
#include <string.h>

/* One piece: where its keys lie. Keys [0,prefix) are the nn_kv's, then the row's own. */
struct piece {
    const struct nn_run *run;
    size_t head;              /* key/value head */
    size_t n_own, prefix;     /* tokens of the row, of the kv */
    size_t q_begin, q_end;    /* own tokens */
    const float *q, *k, *v;   /* own token 0: first query head of the group, this key/value head */
    const float *kv_k, *kv_v; /* prefix token 0 */
    size_t ld, kv_ld;
    float *out; /* own token 0, first query head of the group */
    size_t ld_out;
    uint32_t window;
    bool causal;
};

/* Keys that query i (counted with the prefix) sees: [*begin, *end). */
static void visible(const struct piece *p, size_t i, size_t *begin, size_t *end)
{
    size_t keys = p->prefix + p->n_own;
    *begin = p->window && i + 1 > p->window ? i + 1 - p->window : 0;
    *end = p->causal ? i + 1 : p->window && i + p->window < keys ? i + p->window : keys;
}

/* Panels of keys [begin,end), begin a multiple of NN_PANEL; the last panel is filled up with zeros. */
static void pack_keys(float *panels, const struct piece *p, size_t begin, size_t end, size_t D)
{
    for (size_t j = begin; j < end; j += NN_PANEL, panels += NN_PANEL * D)
        for (size_t lane = 0; lane < NN_PANEL; lane++) {
            size_t i = j + lane;
            if (i >= end) {
                for (size_t d = 0; d < D; d++)
                    panels[d * NN_PANEL + lane] = 0;
                continue;
            }
            const float *k = i < p->prefix ? p->kv_k + i * p->kv_ld : p->k + (i - p->prefix) * p->ld;
            for (size_t d = 0; d < D; d++)
                panels[d * NN_PANEL + lane] = k[d];
        }
}

static void cap_scores(float *s, size_t n, float scale, float cap)
{
    for (size_t j = 0; j < n; j++)
        s[j] = cap * __builtin_tanhf(s[j] * scale / cap);
}

/* Queries [begin,end) of own tokens, one query head; panels hold keys from `packed` on. */
static void attend_block(const struct piece *p, struct worker *w, size_t h, size_t begin, size_t end, size_t packed)
{
    const struct nn_config *c = &p->run->model->config;
    const struct nn_kernels *k = p->run->kernels;
    size_t low, high, unused, rows = end - begin, D = c->D;
    visible(p, p->prefix + begin, &low, &unused);
    visible(p, p->prefix + end - 1, &unused, &high);
    low = low / NN_PANEL * NN_PANEL;
    size_t panels = (high - low + NN_PANEL - 1) / NN_PANEL, n = panels * NN_PANEL;
    float inverse[NN_QUERIES], scale = c->attention_scale;
    k->scores(w->scores, n, p->q + begin * p->ld + h * D, p->ld, w->panels + (low - packed) * D, panels, D, rows);
    for (size_t r = 0; r < rows; r++) {
        size_t from, to;
        visible(p, p->prefix + begin + r, &from, &to);
        if (c->attention_cap > 0) {
            cap_scores(w->scores + r * n, n, scale, c->attention_cap);
            inverse[r] = k->softmax(w->scores + r * n, from - low, to - low, n, 1.0f);
        } else {
            inverse[r] = k->softmax(w->scores + r * n, from - low, to - low, n, scale);
        }
    }
    float *out = p->out + begin * p->ld_out + h * D;
    for (size_t r = 0; r < rows; r++)
        memset(out + r * p->ld_out, 0, D * sizeof *out);
    size_t shared = p->prefix > low ? (p->prefix < high ? p->prefix : high) - low : 0;
    if (shared)
        k->weigh(out, p->ld_out, w->scores, n, p->kv_v + low * p->kv_ld, p->kv_ld, shared, D, rows);
    if (high - low > shared)
        k->weigh(out, p->ld_out, w->scores + shared, n, p->v + (low + shared - p->prefix) * p->ld, p->ld,
                 high - low - shared, D, rows);
    for (size_t r = 0; r < rows; r++)
        k->multiply(out + r * p->ld_out, inverse[r], D);
}

static struct piece piece_of(const struct nn_run *run, const struct attn_item *item, size_t head)
{
    const struct nn_config *c = &run->model->config;
    const struct nn_batch *batch = run->batch;
    const struct nn_kv *kv = batch->kv ? batch->kv[item->row] : NULL;
    size_t token = batch->begin[item->row] - run->first_token, group = c->H / c->K, ld = qkv_width(c);
    const float *own = run->qkv + token * ld;
    struct piece p = {.run = run,
                      .head = head,
                      .n_own = batch->begin[item->row + 1] - batch->begin[item->row],
                      .q_begin = item->q_begin,
                      .q_end = item->q_end,
                      .q = own + head * group * c->D,
                      .k = own + (c->H + head) * c->D,
                      .v = own + (c->H + c->K + head) * c->D,
                      .ld = ld,
                      .out = run->attn + token * c->H * c->D + head * group * c->D,
                      .ld_out = c->H * c->D,
                      .window = c->window[run->layer],
                      .causal = batch->attention == NN_CAUSAL && !c->encoder};
    if (kv) {
        size_t at = run->layer * kv->tokens_max * c->K * c->D + head * c->D;
        p.prefix = kv->tokens;
        p.kv_k = kv->k + at;
        p.kv_v = kv->v + at;
        p.kv_ld = c->K * c->D;
    }
    return p;
}

void nn_attend(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_run *run = ctx;
    const struct nn_config *c = &run->model->config;
    struct worker *w = &run->workers[worker];
    for (size_t i = begin; i < end; i++) {
        struct piece p = piece_of(run, &run->items[i / c->K], i % c->K);
        size_t low, high, unused;
        visible(&p, p.prefix + p.q_begin, &low, &unused);
        visible(&p, p.prefix + p.q_end - 1, &unused, &high);
        low = low / NN_PANEL * NN_PANEL;
        pack_keys(w->panels, &p, low, high, c->D);
        for (size_t h = 0; h < c->H / c->K; h++)
            for (size_t q = p.q_begin; q < p.q_end; q += NN_QUERIES)
                attend_block(&p, w, h, q, q + NN_QUERIES < p.q_end ? q + NN_QUERIES : p.q_end, low);
    }
}
