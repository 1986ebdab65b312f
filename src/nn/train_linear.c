/*
 * A role's product forward and backward for one tile, its LoRA update included, and gradients of whole matrices.
 *
 *   y = x W^T + b + z Bs^T     z = drop(x) A^T     Bs = scale * B
 *   dz = dy Bs    dx = dy W + drop(dz A)    dA += dz^T drop(x)    dB += scale * dy^T z    db += dy    dW += dy^T x
 *
 * A lane holds dB transposed and without the scale: rows of it are then as
 * long as dy's.
 */
#include "base/pool.h"
#include "base/rng.h"
#include "train_int.h"
#include <string.h>

/* x as the kind's element type: itself, or rounded into scratch. */
static const void *narrow(const struct train_tile *s, void *scratch, const float *x, size_t n)
{
    if (s->t->kind == MATMUL_F32)
        return x;
    s->t->k->to_bf16(scratch, x, n);
    return scratch;
}

static enum trawl_status product(const struct train_tile *s, enum nn_role role, enum train_product p, float *y,
                                 const void *x)
{
    const struct train_linear *linear = &s->t->linear[s->l * NN_ROLES + role];
    return matmul_run(s->w->exec[role][p], y, x, linear->packed[p], s->rows);
}

/* Mask of a row: x * keep / (1 - p), four elements of each draw; y may be x. */
static void drop_row(const struct train_tile *s, enum nn_role role, float *y, const float *x, size_t token, size_t n)
{
    const struct nn_train *t = s->t;
    struct rng rng =
        rng_stream(t->options.seed, t->step, TRAIN_DRAW_DROPOUT + (uint32_t)(s->l * NN_ROLES) + (uint32_t)role);
    uint64_t bits = 0, limit = (uint64_t)(t->lora.dropout * 65536 + 0.5);
    float scale = 65536.0f / (float)(65536 - limit);
    rng.counter = token * ((n + 3) / 4);
    for (size_t i = 0; i < n; i++, bits >>= 16) {
        if (i % 4 == 0)
            bits = rng_next(&rng);
        y[i] = (bits & 0xffff) >= limit ? x[i] * scale : 0;
    }
}

static void drop(const struct train_tile *s, enum nn_role role, float *y, const float *x, size_t n)
{
    for (size_t r = 0; r < s->rows; r++)
        drop_row(s, role, y + r * n, x + r * n, s->begin + r, n);
}

/* z (TILE,R) of x, where it is kept. */
static float *z_of(const struct train_tile *s, enum nn_role role)
{
    return s->t->kept[s->l % s->t->n_kept].z[role] + s->begin * s->t->role[role].R;
}

enum trawl_status train_linear_forward(struct train_tile *s, enum nn_role role, float *y, const float *x,
                                       const void *x_narrow)
{
    const struct train_role *r = &s->t->role[role];
    const float *bias = s->t->linear[s->l * NN_ROLES + role].bias;
    const void *in = x_narrow ? x_narrow : narrow(s, s->w->narrow, x, s->rows * r->K);
    TRY(product(s, role, TRAIN_Y, y, in));
    if (r->R) {
        float *z = z_of(s, role);
        if (s->t->lora.dropout > 0 && s->t->step != NN_TRAIN_NO_DROPOUT) {
            drop(s, role, s->w->drop, x, r->K);
            in = narrow(s, s->w->narrow, s->w->drop, s->rows * r->K);
        }
        TRY(product(s, role, TRAIN_Z, z, in));
        TRY(product(s, role, TRAIN_YZ, y, narrow(s, s->w->narrow_z, z, s->rows * r->R)));
    }
    for (size_t i = 0; bias && i < s->rows; i++)
        s->t->k->add(y + i * r->N, bias, r->N);
    return TRAWL_OK;
}

/*
 * Without rotary embedding a bias of the keys moves all scores of a query alike, which the softmax ignores: its
 * gradient is exactly 0, and rounding noise must not take its place (Adam would scale it up).
 */
static bool bias_is_free(const struct nn_config *c, enum nn_tensor bias)
{
    return bias == NN_T_K_BIAS && c->encoder && !c->qk_norm && !(c->attention_cap > 0);
}

static void bias_gradients(const struct train_tile *s, enum nn_role role, const float *dy)
{
    const struct train_role *r = &s->t->role[role];
    for (size_t p = 0; p < r->n_parts; p++) {
        const struct train_part *part = &r->parts[p];
        bool none = part->bias == NN_T_COUNT || bias_is_free(&s->t->config, part->bias);
        float *db = none ? NULL : train_lane(s->t, s->lane, s->l, part->bias, false);
        for (size_t i = 0; db && i < s->rows; i++)
            s->t->k->add(db, dy + i * r->N + part->begin, part->rows);
    }
}

static void lora_gradients(const struct train_tile *s, enum nn_role role, const float *dy, const float *x)
{
    const struct train_role *r = &s->t->role[role];
    const float *z = z_of(s, role);
    size_t rank = s->t->lora.rank;
    for (size_t p = 0; p < r->n_parts; p++) {
        const struct train_part *part = &r->parts[p];
        if (part->r == TRAIN_NONE)
            continue;
        float *dA = train_lane(s->t, s->lane, s->l, part->weight, false);
        float *dB = train_lane(s->t, s->lane, s->l, part->weight, true);
        s->t->g->outer(dA, r->K, s->w->dz + part->r, 1, r->R, x, r->K, s->rows, r->K, rank);
        s->t->g->outer(dB, part->rows, z + part->r, 1, r->R, dy + part->begin, r->N, s->rows, part->rows, rank);
    }
}

/* What dropout leaves out must not be added: the update's share is made apart then. */
static enum trawl_status lora_dx(struct train_tile *s, enum nn_role role, float *dx)
{
    const struct train_role *r = &s->t->role[role];
    const void *dz = narrow(s, s->w->narrow_z, s->w->dz, s->rows * r->R);
    if (!(s->t->lora.dropout > 0 && s->t->step != NN_TRAIN_NO_DROPOUT))
        return product(s, role, TRAIN_DXZ, dx, dz);
    memset(s->w->wide, 0, s->rows * r->K * sizeof(float));
    TRY(product(s, role, TRAIN_DXZ, s->w->wide, dz));
    drop(s, role, s->w->wide, s->w->wide, r->K);
    s->t->k->add(dx, s->w->wide, s->rows * r->K);
    return TRAWL_OK;
}

enum trawl_status train_linear_dx(struct train_tile *s, enum nn_role role, float *dx, const float *dy)
{
    const struct train_role *r = &s->t->role[role];
    const void *in = narrow(s, s->w->narrow, dy, s->rows * r->N);
    if (dx)
        TRY(product(s, role, TRAIN_DX, dx, in));
    if (!r->R)
        return TRAWL_OK;
    TRY(product(s, role, TRAIN_DZ, s->w->dz, in));
    return dx ? lora_dx(s, role, dx) : TRAWL_OK;
}

void train_linear_gradients(struct train_tile *s, enum nn_role role, const float *dy, const float *x)
{
    const struct train_role *r = &s->t->role[role];
    bias_gradients(s, role, dy);
    if (!r->R)
        return;
    if (s->t->lora.dropout > 0 && s->t->step != NN_TRAIN_NO_DROPOUT) {
        drop(s, role, s->w->drop, x, r->K);
        x = s->w->drop;
    }
    lora_gradients(s, role, dy, x);
}

/* A block of rows of one projection's gradient over all tokens, tile after tile. */
struct matrix_job {
    struct nn_train *t;
    size_t layer, role, blocks;
};

static void matrix_blocks(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct matrix_job *job = ctx;
    struct nn_train *t = job->t;
    const struct train_role *r = &t->role[job->role];
    (void)worker;
    for (size_t block = begin; block < end; block++)
        for (size_t p = 0; p < r->n_parts; p++) {
            const struct train_part *part = &r->parts[p];
            size_t from = block * TRAIN_BLOCK, to = from + TRAIN_BLOCK;
            from = from > part->begin ? from : part->begin;
            to = to < part->begin + part->rows ? to : part->begin + part->rows;
            if (from >= to)
                continue;
            float *dW = t->grads + train_place(t, job->layer, part->weight, false)->value + (from - part->begin) * r->K;
            for (size_t i = 0; i < t->T; i += TRAIN_TILE) {
                size_t rows = t->T - i < TRAIN_TILE ? t->T - i : TRAIN_TILE;
                t->g->outer(dW, r->K, t->role_dy[job->role] + i * r->N + from, 1, r->N, t->role_x[job->role] + i * r->K,
                            r->K, rows, r->K, to - from);
            }
        }
}

void train_matrix_gradients(struct nn_train *t, size_t layer)
{
    for (size_t role = 0; role < NN_ROLES && !t->lora.rank; role++) {
        struct matrix_job job = {t, layer, role, (t->role[role].N + TRAIN_BLOCK - 1) / TRAIN_BLOCK};
        pool_run(job.blocks, 1, matrix_blocks, &job);
    }
}

static void reduce_param(struct nn_train *t, const struct nn_param *p, size_t lane_at)
{
    float *grads = t->grads + p->offset;
    size_t n = p->rows * p->cols;
    if (p->part != NN_LORA_B) {
        for (size_t lane = 0; lane < t->n_lanes; lane++)
            t->k->add(grads, t->lanes + lane * t->lane_floats + lane_at, n);
        return;
    }
    float *sum = t->lanes + lane_at; /* the first lane takes the others, then is transposed */
    for (size_t lane = 1; lane < t->n_lanes; lane++)
        t->k->add(sum, t->lanes + lane * t->lane_floats + lane_at, n);
    for (size_t i = 0; i < p->rows; i++)
        for (size_t j = 0; j < p->cols; j++)
            grads[i * p->cols + j] += t->lora_scale * sum[j * p->rows + i];
}

struct reduce_job {
    struct nn_train *t;
    size_t group;
};

static void reduce_params(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct reduce_job *job = ctx;
    struct nn_train *t = job->t;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const struct nn_param *p = &t->table[i];
        size_t group = train_group(t, p->tensor, p->layer);
        size_t lane = train_place(t, group, p->tensor, p->part == NN_LORA_B)->lane;
        if (group == job->group && lane != TRAIN_NONE)
            reduce_param(t, p, lane);
    }
}

void train_lanes_reduce(struct nn_train *t, size_t group)
{
    struct reduce_job job = {t, group};
    pool_run(t->n_table, 1, reduce_params, &job);
}
