/*
 * The forward pass of training: the computation of nn_forward, layer by layer over the whole batch, keeping what the
 * backward pass reads. A layer is tiles up to q, k, v; attention; tiles to the end.
 */
#include "base/pool.h"
#include "train_int.h"
#include <string.h>

struct tiles_job {
    struct nn_train *t;
    size_t layer;
    train_tile_fn fn;
    enum train_order order;
};

/* Item i: a tile, or the consecutive tiles of lane i. */
static void run_tiles(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct tiles_job *job = ctx;
    struct nn_train *t = job->t;
    bool lanes = job->order != TRAIN_TILES;
    for (size_t i = begin; i < end; i++) {
        size_t first = lanes ? i * t->tiles / t->n_lanes : i;
        size_t last = lanes ? (i + 1) * t->tiles / t->n_lanes : i + 1;
        if (job->order == TRAIN_FRESH_LANES)
            memset(t->lanes + i * t->lane_floats, 0, t->lane_floats * sizeof *t->lanes);
        for (size_t tile = first; tile < last && t->status == TRAWL_OK; tile++) {
            size_t at = tile * TRAIN_TILE;
            struct train_tile s = {.t = t,
                                   .w = &t->workers[worker],
                                   .l = job->layer,
                                   .begin = at,
                                   .rows = t->T - at < TRAIN_TILE ? t->T - at : TRAIN_TILE,
                                   .lane = lanes ? t->lanes + i * t->lane_floats : NULL};
            train_fail(t, job->fn(&s));
        }
    }
}

enum trawl_status train_tiles(struct nn_train *t, size_t layer, train_tile_fn fn, enum train_order order)
{
    struct tiles_job job = {t, layer, fn, order};
    t->status = TRAWL_OK;
    pool_run(order != TRAIN_TILES ? t->n_lanes : t->tiles, 1, run_tiles, &job);
    return train_result(t);
}

void train_norm(const struct nn_train *t, float *y, const float *x, size_t group, enum nn_tensor weight,
                enum nn_tensor bias, size_t n)
{
    const float *w = train_vector(t, group, weight);
    if (t->config.norm == NN_LAYER_NORM && bias != NN_T_COUNT)
        t->k->layer_norm(y, x, w, train_vector(t, group, bias), n, t->config.norm_eps);
    else
        t->k->rms_norm(y, x, w, n, t->config.norm_eps);
}

void train_keep(const struct train_tile *s, void *kept, const float *x, size_t n)
{
    if (s->t->kind == MATMUL_BF16)
        s->t->k->to_bf16((uint16_t *)kept + s->begin * n, x, s->rows * n);
    else if ((float *)kept + s->begin * n != x)
        memcpy((float *)kept + s->begin * n, x, s->rows * n * sizeof *x);
}

const float *train_kept(const struct train_tile *s, const void *kept, float *scratch, size_t n)
{
    if (s->t->kind == MATMUL_F32)
        return (const float *)kept + s->begin * n;
    s->t->k->from_bf16(scratch, (const uint16_t *)kept + s->begin * n, s->rows * n);
    return scratch;
}

static void norms_and_rope(const struct train_tile *s, float *row, size_t position)
{
    const struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    const float *angles = t->rope[c->rope_table[s->l]] + position * c->D;
    for (size_t h = 0; h < c->H + c->K; h++) {
        float *x = row + h * c->D;
        if (c->qk_norm)
            train_norm(t, x, x, s->l, h < c->H ? NN_T_Q_NORM : NN_T_K_NORM, NN_T_COUNT, c->D);
        t->k->rope(x, angles, angles + c->D / 2, c->D);
    }
}

static enum trawl_status tile_qkv(struct train_tile *s)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    struct train_kept *kept = &t->kept[s->l % t->n_kept];
    size_t N = t->role[NN_QKV].N, heads = (c->H + c->K) * c->D;
    const float *x = train_in(t, s->l) + s->begin * c->C;
    float *qkv = (t->qkv ? t->qkv : (float *)kept->qkv) + s->begin * N;
    if (!c->encoder) {
        for (size_t r = 0; r < s->rows; r++)
            train_norm(t, s->w->x + r * c->C, x + r * c->C, s->l, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS, c->C);
        x = s->w->x;
    }
    TRY(train_linear_forward(s, NN_QKV, qkv, x, NULL));
    for (size_t r = 0; r < s->rows && c->qk_norm; r++) {
        struct train_tile one = *s;
        one.begin = s->begin + r;
        one.rows = 1;
        train_keep(&one, kept->raw, qkv + r * N, heads);
    }
    for (size_t r = 0; r < s->rows && !c->encoder; r++)
        norms_and_rope(s, qkv + r * N, t->position[s->begin + r]);
    train_keep(s, kept->qkv, qkv, N);
    return TRAWL_OK;
}

/* y (rows,C) through the norm before its residual sum, where the family has one; its input is kept. */
static void sandwich(const struct train_tile *s, void *kept, float *y, enum nn_tensor weight)
{
    size_t C = s->t->config.C;
    if (!s->t->config.sandwich_norm)
        return;
    train_keep(s, kept, y, C);
    for (size_t r = 0; r < s->rows; r++)
        train_norm(s->t, y + r * C, y + r * C, s->l, weight, NN_T_COUNT, C);
}

static enum trawl_status tile_mlp(struct train_tile *s, const float *h)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    struct train_kept *kept = &t->kept[s->l % t->n_kept];
    size_t C = c->C, F = c->F, N = t->role[NN_UP].N;
    float *next = train_in(t, s->l + 1) + s->begin * C;
    const float *x = h;
    for (size_t r = 0; r < s->rows && !c->encoder; r++, x = s->w->x)
        train_norm(t, s->w->x + r * C, h + r * C, s->l, NN_T_MLP_NORM, NN_T_MLP_NORM_BIAS, C);
    TRY(train_linear_forward(s, NN_UP, s->w->up, x, NULL));
    train_keep(s, kept->up, s->w->up, N);
    /* Dropout wants the middle in f32; else bf16 products take it as soon as it is there. */
    bool direct = t->kind == MATMUL_BF16 && !(t->role[NN_DOWN].R && t->lora.dropout > 0);
    for (size_t r = 0; r < s->rows; r++) {
        const struct nn_acc gate = {.acc = s->w->up + r * N};
        size_t up_at = c->gated ? F : 0;
        if (direct)
            t->k->middle_bf16((uint16_t *)s->w->narrow + r * F, &gate, up_at, F, c->activation);
        else
            t->k->activate(s->w->mid + r * F, &gate, up_at, F, c->activation);
    }
    TRY(train_linear_forward(s, NN_DOWN, s->w->y, s->w->mid, direct ? s->w->narrow : NULL));
    sandwich(s, kept->post[1], s->w->y, NN_T_POST_MLP_NORM);
    t->k->add(s->w->y, h, s->rows * C);
    if (!c->encoder) {
        memcpy(next, s->w->y, s->rows * C * sizeof *next);
        return TRAWL_OK;
    }
    memcpy(kept->sum2 + s->begin * C, s->w->y, s->rows * C * sizeof *next);
    for (size_t r = 0; r < s->rows; r++)
        train_norm(t, next + r * C, s->w->y + r * C, s->l, NN_T_MLP_NORM, NN_T_MLP_NORM_BIAS, C);
    return TRAWL_OK;
}

static enum trawl_status tile_rest(struct train_tile *s)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    struct train_kept *kept = &t->kept[s->l % t->n_kept];
    size_t C = c->C, HD = t->role[NN_O].K;
    float *attn = (t->attn ? t->attn : (float *)kept->attn) + s->begin * HD, *sum = kept->sum1 + s->begin * C;
    train_keep(s, kept->attn, attn, HD);
    const void *narrow = t->kind == MATMUL_BF16 ? (uint16_t *)kept->attn + s->begin * HD : NULL;
    TRY(train_linear_forward(s, NN_O, s->w->y, attn, narrow));
    sandwich(s, kept->post[0], s->w->y, NN_T_POST_ATTN_NORM);
    memcpy(sum, train_in(t, s->l) + s->begin * C, s->rows * C * sizeof *sum);
    t->k->add(sum, s->w->y, s->rows * C);
    if (!c->encoder)
        return tile_mlp(s, sum);
    for (size_t r = 0; r < s->rows; r++)
        train_norm(t, s->w->h + r * C, sum + r * C, s->l, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS, C);
    return tile_mlp(s, s->w->h);
}

enum trawl_status train_forward_layer(struct nn_train *t, size_t l)
{
    t->layer = l;
    TRY(train_tiles(t, l, tile_qkv, TRAIN_TILES));
    train_attend(t);
    return train_tiles(t, l, tile_rest, TRAIN_TILES);
}

static enum trawl_status tile_final(struct train_tile *s)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C, n = s->rows * C;
    const float *x = train_in(t, t->config.L) + s->begin * C;
    float *y = t->hidden + s->begin * C;
    if (t->config.encoder)
        memcpy(y, x, n * sizeof *y);
    else
        for (size_t r = 0; r < s->rows; r++)
            train_norm(t, y + r * C, x + r * C, t->config.L, NN_T_FINAL_NORM, NN_T_FINAL_NORM_BIAS, C);
    return TRAWL_OK;
}

static enum trawl_status check_row(const struct nn_train *t, const struct nn_batch *b, size_t row)
{
    const struct nn_config *c = &t->config;
    size_t begin = b->begin[row], end = b->begin[row + 1];
    if (begin > end || end - begin > c->positions)
        return fail(TRAWL_LIMIT, "row %zu has %zu tokens: the model knows %zu positions", row, end - begin,
                    c->positions);
    for (size_t i = begin; i < end; i++) {
        if (b->ids[i] >= c->V)
            return fail(TRAWL_FORMAT, "row %zu: token id %u is beyond the vocabulary of %zu", row, b->ids[i], c->V);
        if (b->types && c->token_types && b->types[i] >= c->token_types)
            return fail(TRAWL_FORMAT, "row %zu: token type %u is beyond the %zu of the model", row, b->types[i],
                        c->token_types);
    }
    return TRAWL_OK;
}

static enum trawl_status begin_batch(struct nn_train *t, const struct nn_batch *b, uint32_t step)
{
    size_t T = b->begin[b->B] - b->begin[0];
    if (b->kv)
        return fail(TRAWL_UNSUPPORTED, "training rows cannot continue a prefix");
    if (T > t->options.tokens_max)
        return fail(TRAWL_LIMIT, "a batch of %zu tokens exceeds the %zu of this training", T, t->options.tokens_max);
    if (pool_threads() > t->n_workers)
        return fail(TRAWL_LIMIT, "the number of threads grew from %zu to %zu after this training was made",
                    t->n_workers, pool_threads());
    for (size_t row = 0; row < b->B; row++) {
        TRY(check_row(t, b, row));
        for (uint32_t i = b->begin[row]; i < b->begin[row + 1]; i++)
            t->position[i - b->begin[0]] = i - b->begin[row];
    }
    t->batch = b;
    t->step = step;
    t->T = T;
    t->tiles = (T + TRAIN_TILE - 1) / TRAIN_TILE;
    t->n_lanes = t->tiles < TRAIN_LANES ? t->tiles : TRAIN_LANES;
    return TRAWL_OK;
}

enum trawl_status nn_train_forward_only(struct nn_train *t, float *hidden, const struct nn_batch *batch, uint32_t step)
{
    t->ready = false;
    TRY(begin_batch(t, batch, step));
    t->hidden = hidden;
    TRY(train_embed(t));
    for (size_t l = 0; l < t->config.L; l++)
        TRY(train_forward_layer(t, l));
    return train_tiles(t, t->config.L, tile_final, TRAIN_TILES);
}

enum trawl_status nn_train_forward(struct nn_train *t, float *hidden, const struct nn_batch *batch, uint32_t step)
{
    TRY(nn_train_forward_only(t, hidden, batch, step));
    t->ready = true;
    return TRAWL_OK;
}
