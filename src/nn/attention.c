/*
 * Attention of packed rows. A piece of work is up to NN_CHUNK queries of one row with one key/value head: its keys are
 * packed into panels once and used by all query heads of the group. Queries go in small blocks whose score rows are
 * kept whole (a block of 24 by 512 keys is 48 KiB): two passes, no running rescale.
 *
 * Keys are numbered from the beginning of the sequence, its prefix in a nn_kv included. Score rows begin at a multiple
 * of the panel width, sums run over keys in order, and masked keys add exact zeros: so a query's bits do not depend on
 * how many queries are computed with it or whether its prefix came from a nn_kv. In bf16 and int8 the products run in
 * bf16 on tiles where the processor has them; the same order holds there.
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
    struct {
        const uint16_t *q, *k, *v, *kv_k, *kv_v; /* the same with tiles; rows of nn_head_width(D) ... */
        uint16_t *out;
    } narrow;
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
    size_t token = batch->begin[item->row] - run->first_token, group = c->H / c->K;
    struct piece p = {.run = run,
                      .head = head,
                      .n_own = batch->begin[item->row + 1] - batch->begin[item->row],
                      .prefix = kv ? kv->tokens : 0,
                      .q_begin = item->q_begin,
                      .q_end = item->q_end,
                      .ld = qkv_width(c),
                      .kv_ld = c->K * c->D,
                      .ld_out = c->H * c->D,
                      .window = c->window[run->layer],
                      .causal = batch->attention == NN_CAUSAL && !c->encoder};
    size_t out = token * p.ld_out + head * group * c->D;
    if (run->tiles) {
        p.narrow.q = nn_plane(run, head * group, token);
        p.narrow.k = nn_plane(run, c->H + head, token);
        p.narrow.v = nn_plane(run, c->H + c->K + head, token);
        p.narrow.out = run->narrow_attn + out;
        size_t at = kv ? (run->layer * c->K + head) * kv->tokens_max * nn_head_width(c->D) : 0;
        p.narrow.kv_k = kv ? kv->tile_k + at : NULL;
        p.narrow.kv_v = kv ? kv->tile_v + at : NULL;
        return p;
    }
    p.q = run->qkv + token * p.ld + head * group * c->D;
    p.k = run->qkv + token * p.ld + (c->H + head) * c->D;
    p.v = p.k + c->K * c->D;
    p.out = run->attn + out;
    size_t at = kv ? run->layer * kv->tokens_max * p.kv_ld + head * c->D : 0;
    p.kv_k = kv ? kv->k + at : NULL;
    p.kv_v = kv ? kv->v + at : NULL;
    return p;
}

/* Keys and values [begin,end) into blocks of bf16; begin a multiple of the block, the last block filled up. */
static void pack_tiles(struct worker *w, const struct piece *p, size_t begin, size_t end, size_t D)
{
    const struct nn_tile_kernels *tiles = p->run->tiles;
    size_t step = nn_packed_block(D), width = nn_head_width(D), block = 0;
    for (size_t j = begin; j < end; j += NN_KEY_BLOCK, block++) {
        const uint16_t *k[NN_KEY_BLOCK], *v[NN_KEY_BLOCK];
        for (size_t i = 0; i < NN_KEY_BLOCK; i++) {
            size_t key = j + i, own = key - p->prefix;
            bool before = key < p->prefix;
            k[i] = key >= end ? NULL : before ? p->narrow.kv_k + key * width : p->narrow.k + own * width;
            v[i] = key >= end ? NULL : before ? p->narrow.kv_v + key * width : p->narrow.v + own * width;
        }
        tiles->pack_k(w->tile_k + block * step, k, D);
        tiles->pack_v(w->tile_v + block * step, v, D);
    }
}

static void attend_tile(const struct piece *p, struct worker *w, size_t h, size_t begin, size_t end, size_t packed)
{
    const struct nn_config *c = &p->run->model->config;
    const struct nn_tile_kernels *tiles = p->run->tiles;
    size_t low, high, unused, rows = end - begin, D = c->D, step = nn_packed_block(D);
    visible(p, p->prefix + begin, &low, &unused);
    visible(p, p->prefix + end - 1, &unused, &high);
    low = low / NN_KEY_BLOCK * NN_KEY_BLOCK;
    size_t blocks = (high - low + NN_KEY_BLOCK - 1) / NN_KEY_BLOCK, n = blocks * NN_KEY_BLOCK;
    size_t ld = n + NN_KEY_BLOCK; /* rows a power of two apart would fight for the same cache sets */
    size_t first = (low - packed) / NN_KEY_BLOCK * step;
    float inverse[NN_QUERY_BLOCK], scale = c->attention_scale;
    const uint16_t *q = p->narrow.q + (h * p->run->plane_rows + begin) * nn_head_width(D);
    tiles->scores(w->scores, ld, q, w->tile_k + first, blocks, D);
    for (size_t r = 0; r < rows; r++) {
        size_t from, to;
        float *s = w->scores + r * ld;
        visible(p, p->prefix + begin + r, &from, &to);
        if (c->attention_cap > 0)
            cap_scores(s, n, scale, c->attention_cap);
        inverse[r] = tiles->softmax(w->tile_p + r * ld, s, from - low, to - low, n, c->attention_cap > 0 ? 1 : scale);
    }
    tiles->weigh(p->narrow.out + begin * p->ld_out + h * D, p->ld_out, rows, w->tile_p, ld, w->tile_v + first, blocks,
                 D, inverse, w->scores);
}

static void attend_piece(const struct piece *p, struct worker *w, size_t low, size_t high)
{
    const struct nn_config *c = &p->run->model->config;
    low = low / NN_PANEL * NN_PANEL;
    pack_keys(w->panels, p, low, high, c->D);
    for (size_t h = 0; h < c->H / c->K; h++)
        for (size_t q = p->q_begin; q < p->q_end; q += NN_QUERIES)
            attend_block(p, w, h, q, q + NN_QUERIES < p->q_end ? q + NN_QUERIES : p->q_end, low);
}

static void attend_piece_tiles(const struct piece *p, struct worker *w, size_t low, size_t high)
{
    const struct nn_config *c = &p->run->model->config;
    low = low / NN_KEY_BLOCK * NN_KEY_BLOCK;
    pack_tiles(w, p, low, high, c->D);
    for (size_t h = 0; h < c->H / c->K; h++)
        for (size_t q = p->q_begin; q < p->q_end; q += NN_QUERY_BLOCK)
            attend_tile(p, w, h, q, q + NN_QUERY_BLOCK < p->q_end ? q + NN_QUERY_BLOCK : p->q_end, low);
}

void nn_attend(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_run *run = ctx;
    const struct nn_config *c = &run->model->config;
    struct worker *w = &run->workers[worker];
    if (run->tiles)
        run->tiles->begin();
    for (size_t i = begin; i < end; i++) {
        struct piece p = piece_of(run, &run->items[i / c->K], i % c->K);
        size_t low, high, unused;
        visible(&p, p.prefix + p.q_begin, &low, &unused);
        visible(&p, p.prefix + p.q_end - 1, &unused, &high);
        if (run->tiles)
            attend_piece_tiles(&p, w, low, high);
        else
            attend_piece(&p, w, low, high);
    }
    if (run->tiles)
        run->tiles->end();
}
