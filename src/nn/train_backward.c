/*
 * The backward pass, layer by layer from the last: tiles from the layer's output back to attention's result, attention,
 * tiles back through q, k, v to the layer's input. d_x (T,C) holds the gradient of the residual stream between them.
 * What the forward pass did not keep (inputs of the products after a norm, the MLP's middle) is computed again by tile.
 */
#include "base/pool.h"
#include "train_int.h"
#include <string.h>

void train_norm_back(const struct train_tile *s, float *dx, const float *dy, const float *x, size_t group,
                     enum nn_tensor weight, enum nn_tensor bias, size_t n)
{
    const struct nn_train *t = s->t;
    const float *w = train_vector(t, group, weight);
    float *dw = train_lane(t, s->lane, group, weight, false), eps = t->config.norm_eps;
    if (t->config.norm == NN_LAYER_NORM && bias != NN_T_COUNT)
        t->g->layer_norm(dx, dw, train_lane(t, s->lane, group, bias, false), dy, x, w, n, eps);
    else
        t->g->rms_norm(dx, dw, dy, x, w, n, eps);
}

/* Rows of C: dx (rows,C) += gradient through a norm of x. dx must not be dy. */
static void norm_rows_add(const struct train_tile *s, float *dx, const float *dy, const float *x, enum nn_tensor weight,
                          enum nn_tensor bias)
{
    size_t C = s->t->config.C;
    for (size_t r = 0; r < s->rows; r++)
        train_norm_back(s, dx + r * C, dy + r * C, x + r * C, s->l, weight, bias, C);
}

static void norm_rows_back(const struct train_tile *s, float *dx, const float *dy, const float *x,
                           enum nn_tensor weight, enum nn_tensor bias)
{
    memset(dx, 0, s->rows * s->t->config.C * sizeof *dx);
    norm_rows_add(s, dx, dy, x, weight, bias);
}

static void norm_rows(const struct train_tile *s, float *y, const float *x, enum nn_tensor weight, enum nn_tensor bias)
{
    size_t C = s->t->config.C;
    for (size_t r = 0; r < s->rows; r++)
        train_norm(s->t, y + r * C, x + r * C, s->l, weight, bias, C);
}

/* A role's input or output gradient of this tile: in the layer's own array where weight gradients need all of it. */
static float *place(const struct train_tile *s, float *whole, float *scratch, size_t n)
{
    return whole ? whole + s->begin * n : scratch;
}

/* Gradient of what a projection gave, from that of the residual sum: through the sandwich norm where there is one. */
static const float *leave_sum(const struct train_tile *s, enum nn_role role, const float *dsum, const void *post,
                              enum nn_tensor weight)
{
    const struct nn_train *t = s->t;
    size_t C = t->config.C;
    float *dy = place(s, t->role_dy[role], s->w->y, C);
    if (t->config.sandwich_norm)
        norm_rows_back(s, dy, dsum, train_kept(s, post, s->w->wide, C), weight, NN_T_COUNT);
    else
        memcpy(dy, dsum, s->rows * C * sizeof *dy);
    return dy;
}

/* From the gradient dsum (rows,C) of x + MLP(h) to that of the MLP's input, dx (rows,C); x: input of gate and up. */
static enum trawl_status mlp_back(struct train_tile *s, float *dx, const float *dsum, const float *x)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    struct train_kept *kept = &t->kept[s->l % t->n_kept];
    size_t F = c->F, N = t->role[NN_UP].N;
    const float *dy = leave_sum(s, NN_DOWN, dsum, kept->post[1], NN_T_POST_MLP_NORM);
    const float *up = train_kept(s, kept->up, s->w->up, N);
    float *mid = place(s, t->role_x[NN_DOWN], s->w->mid, F), *dup = place(s, t->role_dy[NN_UP], s->w->dup, N);
    TRY(train_linear_dx(s, NN_DOWN, s->w->dmid, dy));
    for (size_t r = 0; r < s->rows; r++) {
        const float *gate = up + r * N;
        t->g->activate(dup + r * N, c->gated ? dup + r * N + F : NULL, mid + r * F, s->w->dmid + r * F, gate,
                       c->gated ? gate + F : NULL, F, c->activation);
    }
    train_linear_gradients(s, NN_DOWN, dy, mid);
    TRY(train_linear_dx(s, NN_UP, dx, dup));
    train_linear_gradients(s, NN_UP, dup, x);
    return TRAWL_OK;
}

/* d_x: gradient of the layer's output -> of the residual stream at attention; d_attn. */
static enum trawl_status tile_rest_back(struct train_tile *s)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    struct train_kept *kept = &t->kept[s->l % t->n_kept];
    size_t C = c->C, HD = t->role[NN_O].K, n = s->rows * C;
    float *d_x = t->d_x + s->begin * C, *x = place(s, t->role_x[NN_UP], s->w->x, C);
    const float *sum1 = kept->sum1 + s->begin * C;
    if (c->encoder) {
        norm_rows(s, x, sum1, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS);
        norm_rows_back(s, s->w->h, d_x, kept->sum2 + s->begin * C, NN_T_MLP_NORM, NN_T_MLP_NORM_BIAS);
        TRY(mlp_back(s, s->w->g, s->w->h, x));
        t->k->add(s->w->h, s->w->g, n);
        norm_rows_back(s, d_x, s->w->h, sum1, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS);
    } else {
        norm_rows(s, x, sum1, NN_T_MLP_NORM, NN_T_MLP_NORM_BIAS);
        TRY(mlp_back(s, s->w->g, d_x, x));
        norm_rows_add(s, d_x, s->w->g, sum1, NN_T_MLP_NORM, NN_T_MLP_NORM_BIAS);
    }
    const float *dy = leave_sum(s, NN_O, d_x, kept->post[0], NN_T_POST_ATTN_NORM);
    float *attn = t->attn ? t->attn + s->begin * HD : (float *)kept->attn + s->begin * HD;
    train_kept(s, kept->attn, attn, HD);
    if (t->role_x[NN_O])
        memcpy(t->role_x[NN_O] + s->begin * HD, attn, s->rows * HD * sizeof *attn);
    if (t->qkv) /* what attention's backward pass reads */
        train_kept(s, kept->qkv, t->qkv + s->begin * t->role[NN_QKV].N, t->role[NN_QKV].N);
    TRY(train_linear_dx(s, NN_O, t->d_attn + s->begin * HD, dy));
    train_linear_gradients(s, NN_O, dy, attn);
    return TRAWL_OK;
}

/* Turns the gradients of q and k back by their positions, then through their norms. */
static void heads_back(const struct train_tile *s, float *row, const float *raw, size_t position)
{
    const struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    const float *angles = t->rope[c->rope_table[s->l]] + position * c->D;
    float minus[NN_HEAD_DIM_MAX / 2], d[NN_HEAD_DIM_MAX];
    for (size_t i = 0; i < c->D / 2; i++)
        minus[i] = -angles[c->D / 2 + i];
    for (size_t h = 0; h < c->H + c->K; h++) {
        float *x = row + h * c->D;
        t->k->rope(x, angles, minus, c->D);
        if (!c->qk_norm)
            continue;
        memset(d, 0, c->D * sizeof *d);
        train_norm_back(s, d, x, raw + h * c->D, s->l, h < c->H ? NN_T_Q_NORM : NN_T_K_NORM, NN_T_COUNT, c->D);
        memcpy(x, d, c->D * sizeof *d);
    }
}

static enum trawl_status tile_qkv_back(struct train_tile *s)
{
    struct nn_train *t = s->t;
    const struct nn_config *c = &t->config;
    size_t C = c->C, N = t->role[NN_QKV].N, heads = (c->H + c->K) * c->D;
    const float *in = train_in(t, s->l) + s->begin * C, *raw = NULL;
    float *d_qkv = t->d_qkv + s->begin * N, *d_x = t->d_x + s->begin * C;
    float *x = place(s, t->role_x[NN_QKV], s->w->x, C);
    bool needed = s->l > 0 || !t->lora.rank; /* nothing below the first layer's updates is trained */
    if (c->qk_norm)
        raw = train_kept(s, t->kept[s->l % t->n_kept].raw, s->w->wide, heads);
    for (size_t r = 0; r < s->rows && !c->encoder; r++)
        heads_back(s, d_qkv + r * N, raw ? raw + r * heads : NULL, t->position[s->begin + r]);
    if (c->encoder)
        memcpy(x, in, s->rows * C * sizeof *x);
    else
        norm_rows(s, x, in, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS);
    TRY(train_linear_dx(s, NN_QKV, needed ? s->w->g : NULL, d_qkv));
    train_linear_gradients(s, NN_QKV, d_qkv, x);
    if (!needed)
        return TRAWL_OK;
    if (c->encoder) {
        t->k->add(d_x, s->w->g, s->rows * C);
        return TRAWL_OK;
    }
    norm_rows_add(s, d_x, s->w->g, in, NN_T_ATTN_NORM, NN_T_ATTN_NORM_BIAS);
    return TRAWL_OK;
}

static enum trawl_status backward_layer(struct nn_train *t, size_t l)
{
    if (t->options.checkpoint)
        TRY(train_forward_layer(t, l));
    t->layer = l;
    TRY(train_tiles(t, l, tile_rest_back, TRAIN_FRESH_LANES));
    train_attend_backward(t);
    TRY(train_tiles(t, l, tile_qkv_back, TRAIN_BY_LANES));
    train_lanes_reduce(t, l);
    train_matrix_gradients(t, l);
    return TRAWL_OK;
}

/* d_x from the gradient of hidden. */
static enum trawl_status tile_final_back(struct train_tile *s)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C, L = t->config.L;
    const float *dy = t->d_hidden + s->begin * C, *x = train_in(t, L) + s->begin * C;
    float *dx = t->d_x + s->begin * C;
    if (t->config.encoder) {
        memcpy(dx, dy, s->rows * C * sizeof *dx);
        return TRAWL_OK;
    }
    memset(dx, 0, s->rows * C * sizeof *dx);
    for (size_t r = 0; r < s->rows; r++)
        train_norm_back(s, dx + r * C, dy + r * C, x + r * C, L, NN_T_FINAL_NORM, NN_T_FINAL_NORM_BIAS, C);
    return TRAWL_OK;
}

enum trawl_status nn_train_backward(struct nn_train *t, const float *d_hidden)
{
    if (!t->ready)
        return fail(TRAWL_USAGE, "a backward pass needs a forward pass that kept its states just before it");
    t->ready = false;
    if (!t->T)
        return TRAWL_OK;
    t->d_hidden = d_hidden;
    TRY(train_tiles(t, t->config.L, tile_final_back, TRAIN_FRESH_LANES));
    train_lanes_reduce(t, t->config.L);
    for (size_t l = t->config.L; l-- > 0;)
        TRY(backward_layer(t, l));
    return t->lora.rank ? TRAWL_OK : train_embed_backward(t);
}
