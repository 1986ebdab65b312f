/*
 * The forward pass over packed tokens. A batch is cut into groups of whole rows; a group goes through all layers with
 * two parallel loops a layer: attention over (row, key/value head), then tiles of tokens through everything between one
 * attention and the next, while the tile's states are in the nearest cache:
 *
 *   output projection - residual - norm - gate and up - activation - down - residual - norm - q, k, v of layer l+1
 *
 * Matrix products see a fixed number of rows, everything else works row by row, so a token's bits are its own.
 */
#include "base/pool.h"
#include "nn_int.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void nn_run_fail(struct nn_run *run, enum trawl_status status)
{
    pthread_mutex_lock(&run->lock);
    if (run->status == TRAWL_OK) {
        run->status = status;
        snprintf(run->message, sizeof run->message, "%s", trawl_message());
    }
    pthread_mutex_unlock(&run->lock);
}

void nn_emit(const struct nn_kernels *k, enum matmul_kind kind, void *y, float *scale, const float *x, size_t n,
             float top)
{
    if (kind == MATMUL_INT8) {
        if (top < 0)
            top = k->top(x, n);
        k->to_u8(y, x, n, top);
        *scale = top / 127.0f;
    } else if (kind == MATMUL_BF16) {
        k->to_bf16(y, x, n);
    } else if (y != (const void *)x) {
        memcpy(y, x, n * sizeof *x);
    }
}

struct nn_acc nn_acc_of(enum matmul_kind kind, const struct linear *linear, size_t begin, const void *acc,
                        float row_scale)
{
    bool ints = kind == MATMUL_INT8;
    return (struct nn_acc){.acc = acc,
                           .zero = ints ? linear->zero + begin : NULL,
                           .scale = ints ? linear->scale + begin : NULL,
                           .bias = linear->bias ? linear->bias + begin : NULL,
                           .row_scale = row_scale};
}

/* A tile on its way through a layer. */
struct tile {
    struct nn_run *run;
    struct worker *w;
    const struct nn_kernels *k;
    const struct nn_config *c;
    const struct layer *layer;
    size_t l, begin, rows; /* tokens of the group */
};

static float *x_row(const struct tile *t, size_t r)
{
    return t->run->x + (t->begin + r) * t->c->C;
}

static void *in_row(const struct tile *t, enum nn_role role, size_t r)
{
    const struct linear_shape *s = &t->run->model->shape[role];
    return (char *)t->w->in + r * s->K * kind_bytes(s->kind);
}

/* Returns the largest |y|. */
static float normalise(const struct tile *t, float *y, const float *x, const float *weight, const float *bias, size_t n)
{
    if (t->c->norm == NN_LAYER_NORM)
        return t->k->layer_norm(y, x, weight, bias, n, t->c->norm_eps);
    return t->k->rms_norm(y, x, weight, n, t->c->norm_eps);
}

/* Keeps the largest magnitudes of a role's input channels [begin, begin+n). */
static void note(const struct tile *t, size_t l, enum nn_role role, size_t begin, const float *x, size_t n)
{
    float *record = t->run->record;
    if (!record)
        return;
    record += l * nn_inputs(t->c) + nn_inputs_before(t->c, role) + begin;
    for (size_t i = 0; i < n; i++)
        record[i] = x[i] < 0 ? (-x[i] > record[i] ? -x[i] : record[i]) : x[i] > record[i] ? x[i] : record[i];
}

/* Writes norm(x) as input of a role's product; encoders x, which is normalised already, with top the largest |x|. */
static void enter(const struct tile *t, enum nn_role role, size_t r, const float *weight, const float *bias, float top)
{
    enum matmul_kind kind = t->run->model->shape[role].kind;
    const float *x = x_row(t, r);
    float *y = kind == MATMUL_F32 ? in_row(t, role, r) : t->w->row;
    if (!t->c->encoder) {
        top = normalise(t, y, x, weight, bias, t->c->C);
        x = y;
    }
    const float *factor = role == NN_QKV ? t->layer->qkv_factor : t->layer->up_factor;
    if (factor) {
        for (size_t i = 0; i < t->c->C; i++)
            y[i] = x[i] * factor[i];
        x = y, top = -1;
    }
    note(t, (size_t)(t->layer - t->run->model->layers), role, 0, x, t->c->C);
    nn_emit(t->k, kind, in_row(t, role, r), &t->w->in_scale[r], x, t->c->C, top);
}

static enum trawl_status product(const struct tile *t, enum nn_role role, size_t slice, void *y, const void *x)
{
    return matmul_run(t->w->exec[role], y, x, t->layer->linear[role].slices[slice], t->rows);
}

static void head_norms_and_rope(const struct tile *t, float *row, size_t position)
{
    const struct nn_config *c = t->c;
    size_t D = c->D;
    const float *angles = nn_rope_at(t->run->model, c->rope_table[t->l], position, t->w->rope);
    for (size_t h = 0; h < c->H + c->K; h++) {
        float *x = row + h * D;
        if (c->qk_norm)
            t->k->rms_norm(x, x, h < c->H ? t->layer->q_norm : t->layer->k_norm, D, c->norm_eps);
        t->k->rope(x, angles, angles + D / 2, D);
    }
}

/* The nn_kv that keeps a token's keys and values, if any, and where its layer begins there. */
static struct nn_kv *keeper(const struct tile *t, size_t token)
{
    const struct nn_batch *batch = t->run->batch;
    return batch->kv && batch->kv_append ? batch->kv[t->run->row_of[token]] : NULL;
}

static void keep_keys(const struct tile *t, const float *row, size_t token)
{
    const struct nn_config *c = t->c;
    size_t n = c->K * c->D;
    struct nn_kv *kv = keeper(t, token);
    if (!kv)
        return;
    size_t at = (t->l * kv->tokens_max + t->run->position[token]) * n;
    memcpy(kv->k + at, row + c->H * c->D, n * sizeof *row);
    memcpy(kv->v + at, row + c->H * c->D + n, n * sizeof *row);
}

/* Heads of a row into their planes of bf16, keys and values also where they are kept. */
static void spread_heads(const struct tile *t, const float *row, size_t token)
{
    const struct nn_config *c = t->c;
    size_t width = nn_head_width(c->D);
    struct nn_kv *kv = keeper(t, token);
    const struct nn_acc a = {.acc = row};
    t->k->take_heads(nn_plane(t->run, 0, token), t->run->plane_rows * width, &a, c->H + 2 * c->K, c->D);
    for (size_t h = 0; kv && h < c->K; h++) {
        size_t at = ((t->l * c->K + h) * kv->tokens_max + t->run->position[token]) * width;
        memcpy(kv->tile_k + at, nn_plane(t->run, c->H + h, token), width * sizeof *kv->tile_k);
        memcpy(kv->tile_v + at, nn_plane(t->run, c->H + c->K + h, token), width * sizeof *kv->tile_v);
    }
}

/* The input rows are there. */
static enum trawl_status tile_qkv(const struct tile *t)
{
    const struct linear_shape *s = &t->run->model->shape[NN_QKV];
    bool tiles = t->run->tiles != NULL;
    float *rows = tiles ? t->w->out : t->run->qkv + t->begin * s->N;
    /* Whole tiles may write in place: what a part-filled last one overwrites is spare. */
    bool direct = !tiles && s->kind != MATMUL_INT8 && t->run->tile == NN_TILE && t->begin * s->N * 4 % 64 == 0;
    const char *out = direct ? (char *)rows : (char *)t->w->out;
    TRY(product(t, NN_QKV, 0, (void *)out, t->w->in));
    for (size_t r = 0; r < t->rows; r++) {
        float *row = rows + r * s->N;
        const struct nn_acc a = nn_acc_of(s->kind, &t->layer->linear[NN_QKV], 0, out + r * s->N * 4, t->w->in_scale[r]);
        if (tiles && t->c->encoder) {
            t->k->take_heads(nn_plane(t->run, 0, t->begin + r), t->run->plane_rows * nn_head_width(t->c->D), &a,
                             t->c->H + 2 * t->c->K, t->c->D);
            continue;
        }
        if (row != a.acc || a.zero || a.bias)
            t->k->take(row, &a, s->N);
        if (!t->c->encoder)
            head_norms_and_rope(t, row, t->run->position[t->begin + r]);
        if (tiles)
            spread_heads(t, row, t->begin + r);
        else
            keep_keys(t, row, t->begin + r);
    }
    return TRAWL_OK;
}

/* x += the product's row (C), normed on the way as the family wants; encoders: returns the largest |x|. */
static float join(const struct tile *t, enum nn_role role, size_t r, const float *post_norm, const float *weight,
                  const float *bias)
{
    const struct linear_shape *s = &t->run->model->shape[role];
    float *x = x_row(t, r), *y = t->w->out + r * s->N;
    const struct nn_acc a = nn_acc_of(s->kind, &t->layer->linear[role], 0, y, t->w->in_scale[r]);
    if (post_norm) {
        t->k->take(y, &a, t->c->C);
        normalise(t, y, y, post_norm, NULL, t->c->C);
        t->k->add(x, y, t->c->C);
    } else {
        t->k->join(x, &a, t->c->C);
    }
    return t->c->encoder ? normalise(t, x, x, weight, bias, t->c->C) : 0;
}

/* Attention's result of a token as input of the output projection. */
static void enter_attention(const struct tile *t, size_t r, size_t token)
{
    const struct linear_shape *s = &t->run->model->shape[NN_O];
    const float *x = t->w->row;
    if (!t->run->tiles)
        x = t->run->attn + token * s->K;
    else if (s->kind == MATMUL_BF16)
        memcpy(in_row(t, NN_O, r), t->run->narrow_attn + token * s->K, s->K * sizeof *t->run->narrow_attn);
    else
        t->k->from_bf16(t->w->row, t->run->narrow_attn + token * s->K, s->K);
    note(t, t->l, NN_O, 0, x, s->K);
    if (!t->run->tiles || s->kind != MATMUL_BF16)
        nn_emit(t->k, s->kind, in_row(t, NN_O, r), &t->w->in_scale[r], x, s->K, -1);
}

/* States of tokens that come soon: they were last touched a layer ago. */
static void prefetch(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        __builtin_prefetch(x + i, 1);
}

/* A row whose layer is done (encoders: its largest magnitude is top): input of the next layer's q, k, v, or out after
 * the last one. */
static void depart(const struct tile *t, size_t r, float top)
{
    const struct nn_model *m = t->run->model;
    size_t next = t->run->layer, C = t->c->C;
    if (next < t->c->L) {
        const struct layer *layer = &m->layers[next];
        struct tile then = *t;
        then.layer = layer;
        enter(&then, NN_QKV, r, layer->attn_norm, layer->attn_norm_bias, top);
        return;
    }
    float *y = t->run->hidden + (t->run->first_token + t->begin + r) * C;
    if (m->final_norm)
        normalise(t, y, x_row(t, r), m->final_norm, m->final_norm_bias, C);
    else
        memcpy(y, x_row(t, r), C * sizeof *y);
}

static enum trawl_status tile_output(const struct tile *t)
{
    const struct linear_shape *s = &t->run->model->shape[NN_O];
    const struct layer *layer = t->layer;
    const void *in = t->w->in;
    if (t->run->tiles && s->kind == MATMUL_BF16 && t->run->tile == NN_TILE && t->begin * s->K * 2 % 64 == 0)
        in = t->run->narrow_attn + t->begin * s->K;
    for (size_t r = 0; in == t->w->in && r < t->rows; r++)
        enter_attention(t, r, t->begin + r);
    TRY(product(t, NN_O, 0, t->w->out, in));
    for (size_t r = 0; r < t->rows; r++) {
        prefetch(x_row(t, r + 3), t->c->C);
        float top = join(t, NN_O, r, layer->post_attn_norm, layer->attn_norm, layer->attn_norm_bias);
        enter(t, NN_UP, r, layer->mlp_norm, layer->mlp_norm_bias, top);
    }
    return TRAWL_OK;
}

/* One slice of gate and up -> activations in DOWN's type, INT8 in f32 first, as the row's largest must be known. */
static void activate_slice(const struct tile *t, size_t slice, const struct linear_shape *s, enum matmul_kind down)
{
    const struct linear *linear = &t->layer->linear[NN_UP];
    size_t F = t->c->F, f = t->c->gated ? s->N / 2 : s->N, up_at = t->c->gated ? f : 0;
    enum nn_activation activation = t->c->activation;
    for (size_t r = 0; r < t->rows; r++) {
        size_t at = r * F + slice * f;
        const struct nn_acc a = nn_acc_of(s->kind, linear, slice * s->N, t->w->out + r * s->N, t->w->in_scale[r]);
        if (down == MATMUL_F32)
            t->k->activate(t->w->mid + at, &a, up_at, f, activation);
        else if (down == MATMUL_BF16)
            t->k->middle_bf16((uint16_t *)t->w->down + at, &a, up_at, f, activation);
        else
            t->w->top[r] = t->k->middle_f32(t->w->mid + at, &a, up_at, f, activation, t->w->top[r]);
        note(t, t->l, NN_DOWN, slice * f, t->w->mid + at, f);
    }
}

static enum trawl_status tile_mlp(const struct tile *t)
{
    const struct linear_shape *up = &t->run->model->shape[NN_UP], *down = &t->run->model->shape[NN_DOWN];
    const struct layer *layer = t->layer;
    const void *x = down->kind == MATMUL_F32 ? (void *)t->w->mid : t->w->down;
    for (size_t r = 0; r < t->rows; r++)
        t->w->top[r] = 0;
    for (size_t s = 0; s < up->n; s++) {
        TRY(product(t, NN_UP, s, t->w->out, t->w->in));
        activate_slice(t, s, up, down->kind);
    }
    if (down->kind == MATMUL_INT8)
        for (size_t r = 0; r < t->rows; r++) {
            t->k->to_u8((uint8_t *)t->w->down + r * down->K, t->w->mid + r * down->K, down->K, t->w->top[r]);
            t->w->in_scale[r] = t->w->top[r] / 127.0f;
        }
    TRY(product(t, NN_DOWN, 0, t->w->out, x));
    for (size_t r = 0; r < t->rows; r++) {
        prefetch(x_row(t, r + 3), t->c->C);
        depart(t, r, join(t, NN_DOWN, r, layer->post_mlp_norm, layer->mlp_norm, layer->mlp_norm_bias));
    }
    return TRAWL_OK;
}

static enum trawl_status embed_token(const struct tile *t, size_t r)
{
    const struct nn_run *run = t->run;
    const struct nn_model *m = run->model;
    const struct nn_config *c = t->c;
    size_t token = run->first_token + t->begin + r;
    uint32_t id = run->batch->ids[token];
    float *x = x_row(t, r);
    TRY(m->source.read(m->source.ctx, x, 0, NN_T_EMBED, id, id + 1));
    if (c->embedding_scale != 1.0f)
        t->k->multiply(x, c->embedding_scale, c->C);
    if (m->position_embed)
        t->k->add(x, m->position_embed + (c->position_begin + run->position[t->begin + r]) * c->C, c->C);
    if (m->type_embed)
        t->k->add(x, m->type_embed + (run->batch->types ? run->batch->types[token] : 0) * c->C, c->C);
    if (m->embed_norm)
        normalise(t, x, x, m->embed_norm, m->embed_norm_bias, c->C);
    return TRAWL_OK;
}

/* Everything between two attentions; run->layer is the layer whose attention comes next (L: none). */
static enum trawl_status tile_step(struct tile *t)
{
    size_t next = t->run->layer;
    const struct layer *layers = t->run->model->layers;
    if (next == 0) {
        for (size_t r = 0; r < t->rows; r++) {
            TRY(embed_token(t, r));
            depart(t, r, -1);
        }
    } else {
        t->l = next - 1;
        t->layer = &layers[t->l];
        TRY(tile_output(t));
        TRY(tile_mlp(t));
    }
    if (next == t->c->L)
        return TRAWL_OK;
    t->l = next;
    t->layer = &layers[next];
    return tile_qkv(t);
}

static void run_tiles(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_run *run = ctx;
    for (size_t i = begin; i < end && run->status == TRAWL_OK; i++) {
        size_t first = i * run->tile;
        struct tile tile = {.run = run,
                            .w = &run->workers[worker],
                            .k = run->kernels,
                            .c = &run->model->config,
                            .begin = first,
                            .rows = first + run->tile < run->T ? run->tile : run->T - first};
        enum trawl_status status = tile_step(&tile);
        if (status)
            nn_run_fail(run, status);
    }
}

/* Tokens of rows [first_row, end_row): their positions, and attention cut into pieces, the long ones first in a row. */
static void plan_group(struct nn_run *run)
{
    const struct nn_batch *b = run->batch;
    size_t n = 0, threads = pool_threads();
    run->first_token = b->begin[run->first_row];
    run->T = b->begin[run->end_row] - run->first_token;
    for (size_t row = run->first_row; row < run->end_row; row++) {
        uint32_t begin = b->begin[row], tokens = b->begin[row + 1] - begin;
        uint32_t prefix = b->kv && b->kv[row] ? (uint32_t)b->kv[row]->tokens : 0;
        for (uint32_t i = 0; i < tokens; i++) {
            run->position[begin - run->first_token + i] = prefix + i;
            run->row_of[begin - run->first_token + i] = (uint32_t)row;
        }
        for (uint32_t i = 0; i < tokens; i += NN_CHUNK, n++)
            run->items[n] = (struct attn_item){(uint32_t)row, i, i + NN_CHUNK < tokens ? i + NN_CHUNK : tokens};
    }
    assert(n <= run->items_max);
    run->n_items = n;
    run->tile = NN_TILE;
    while (!run->record && run->tile > 16 && (run->T + run->tile - 1) / run->tile < threads)
        run->tile = run->tile > 64 ? 64 : 16;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void attend(struct nn_run *run)
{
    double begin = now();
    pool_run(run->n_items * run->model->config.K, 1, nn_attend, run);
    run->attention_seconds += now() - begin;
}

static enum trawl_status run_group(struct nn_run *run)
{
    const struct nn_config *c = &run->model->config;
    plan_group(run);
    size_t tiles = (run->T + run->tile - 1) / run->tile;
    for (run->layer = 0; run->status == TRAWL_OK; run->layer++) {
        pool_run(tiles, 1, run_tiles, run);
        if (run->tap && run->status == TRAWL_OK)
            run->tap(run->tap_ctx, run->layer, run->x, run->T);
        if (run->layer == c->L)
            break;
        if (run->status == TRAWL_OK)
            attend(run);
    }
    return run->status ? fail(run->status, "%s", run->message) : TRAWL_OK;
}

static enum trawl_status check_row(const struct nn_run *run, const struct nn_batch *b, size_t row)
{
    const struct nn_config *c = &run->model->config;
    const struct nn_kv *kv = b->kv ? b->kv[row] : NULL;
    size_t begin = b->begin[row], end = b->begin[row + 1], prefix = kv ? kv->tokens : 0;
    if (begin > end || end - begin > run->group_max)
        return fail(TRAWL_LIMIT, "row %zu has %zu tokens: at most %zu fit into this run", row, end - begin,
                    run->group_max);
    if (prefix + (end - begin) > c->positions)
        return fail(TRAWL_LIMIT, "row %zu has %zu tokens after a prefix of %zu: the model knows %zu positions", row,
                    end - begin, prefix, c->positions);
    if (kv && (kv->model != run->model || c->encoder || b->attention != NN_CAUSAL))
        return fail(TRAWL_MISMATCH, "row %zu: a prefix serves causal attention of the model that made it", row);
    if (kv && b->kv_append && prefix + (end - begin) > kv->tokens_max)
        return fail(TRAWL_LIMIT, "row %zu: %zu tokens more do not fit into a prefix of at most %zu", row, end - begin,
                    kv->tokens_max);
    for (size_t i = begin; i < end; i++) {
        if (b->ids[i] >= c->V)
            return fail(TRAWL_FORMAT, "row %zu: token id %u is beyond the vocabulary of %zu", row, b->ids[i], c->V);
        if (b->types && c->token_types && b->types[i] >= c->token_types)
            return fail(TRAWL_FORMAT, "row %zu: token type %u is beyond the %zu of the model", row, b->types[i],
                        c->token_types);
    }
    return TRAWL_OK;
}

enum trawl_status nn_forward(struct nn_run *run, float *hidden, const struct nn_batch *batch)
{
    if (batch->begin[batch->B] - batch->begin[0] > run->tokens_max)
        return fail(TRAWL_LIMIT, "a batch of %u tokens exceeds the %zu of this run",
                    batch->begin[batch->B] - batch->begin[0], run->tokens_max);
    if (pool_threads() > run->n_workers)
        return fail(TRAWL_LIMIT, "the number of threads grew from %zu to %zu after this run was made", run->n_workers,
                    pool_threads());
    for (size_t row = 0; row < batch->B; row++)
        TRY(check_row(run, batch, row));
    run->batch = batch;
    run->hidden = hidden - (size_t)batch->begin[0] * run->model->config.C;
    run->status = TRAWL_OK;
    for (run->first_row = 0; run->first_row < batch->B; run->first_row = run->end_row) {
        size_t begin = batch->begin[run->first_row], limit = run->group_max < NN_GROUP ? run->group_max : NN_GROUP;
        run->end_row = run->first_row + 1;
        while (run->end_row < batch->B && batch->begin[run->end_row + 1] - begin <= limit)
            run->end_row++;
        if (batch->begin[run->end_row] > begin)
            TRY(run_group(run));
    }
    for (size_t row = 0; batch->kv && batch->kv_append && row < batch->B; row++)
        if (batch->kv[row])
            batch->kv[row]->tokens += batch->begin[row + 1] - batch->begin[row];
    return TRAWL_OK;
}
