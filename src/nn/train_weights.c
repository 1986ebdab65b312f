/*
 * The four roles of a layer, their plans, and weights packed for both directions. A role's projections stand below each
 * other in one matrix W (N,K). Its LoRA updates become two matrices: all A below each other (R,K), and the B, each
 * times the scale, as blocks of one (N,R) with zeros elsewhere, so that a role needs one product each way however many
 * of its projections are targets.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "train_int.h"
#include <stdlib.h>
#include <string.h>

static void add_part(struct nn_train *t, enum nn_role role, enum nn_tensor weight, enum nn_tensor bias, size_t rows)
{
    struct train_role *r = &t->role[role];
    bool target = t->lora.rank && t->lora.targets >> weight & 1u;
    r->parts[r->n_parts++] = (struct train_part){weight, bias, r->N, rows, target ? r->R : TRAIN_NONE};
    r->N += rows;
    r->R += target ? t->lora.rank : 0;
}

void train_roles_init(struct nn_train *t)
{
    const struct nn_config *c = &t->config;
    add_part(t, NN_QKV, NN_T_Q, NN_T_Q_BIAS, c->H * c->D);
    add_part(t, NN_QKV, NN_T_K, NN_T_K_BIAS, c->K * c->D);
    add_part(t, NN_QKV, NN_T_V, NN_T_V_BIAS, c->K * c->D);
    add_part(t, NN_O, NN_T_O, NN_T_O_BIAS, c->C);
    if (c->gated)
        add_part(t, NN_UP, NN_T_GATE, NN_T_COUNT, c->F);
    add_part(t, NN_UP, NN_T_UP, NN_T_UP_BIAS, c->F);
    add_part(t, NN_DOWN, NN_T_DOWN, NN_T_DOWN_BIAS, c->C);
    t->role[NN_QKV].K = c->C;
    t->role[NN_O].K = c->H * c->D;
    t->role[NN_UP].K = c->C;
    t->role[NN_DOWN].K = c->F;
}

/* Rows of the result and of the reduction of a product: y (T,n) from x (T,k). */
static void product_shape(const struct train_role *r, enum train_product product, size_t *n, size_t *k)
{
    const size_t shapes[TRAIN_PRODUCTS][2] = {
        [TRAIN_Y] = {r->N, r->K},  [TRAIN_DX] = {r->K, r->N}, [TRAIN_Z] = {r->R, r->K},
        [TRAIN_YZ] = {r->N, r->R}, [TRAIN_DZ] = {r->R, r->N}, [TRAIN_DXZ] = {r->K, r->R},
    };
    *n = shapes[product][0];
    *k = shapes[product][1];
}

/* The matrices as they are stacked, W (N,K), A (R,K), B (N,R), serve one product as (n,k) and another as (k,n). */
static bool transposed(enum train_product product)
{
    return product == TRAIN_DX || product == TRAIN_DZ || product == TRAIN_DXZ;
}

static enum trawl_status plan_role(struct nn_train *t, struct train_role *r)
{
    for (int p = 0; p < (r->R ? TRAIN_PRODUCTS : TRAIN_Z); p++) {
        size_t n, k;
        product_shape(r, (enum train_product)p, &n, &k);
        if (p == TRAIN_YZ || p == TRAIN_DXZ)
            TRY(matmul_plan_new_sum(&r->plan[p], t->kind, TRAIN_TILE, n, k));
        else
            TRY(matmul_plan_new(&r->plan[p], t->kind, TRAIN_TILE, n, k));
    }
    return TRAWL_OK;
}

static enum trawl_status linear_init(struct nn_train *t, size_t layer, enum nn_role role)
{
    struct train_role *r = &t->role[role];
    struct train_linear *linear = &t->linear[layer * NN_ROLES + role];
    for (int p = 0; p < TRAIN_PRODUCTS; p++) {
        if (!r->plan[p])
            continue;
        TRY(matmul_weights_new(&linear->packed[p], r->plan[p], NULL));
        t->bytes += matmul_weights_bytes(linear->packed[p]);
    }
    for (size_t i = 0; i < r->n_parts && !linear->bias; i++)
        if (r->parts[i].bias != NN_T_COUNT && train_vector(t, layer, r->parts[i].bias)) {
            linear->bias = train_take(t, r->N, sizeof *linear->bias);
            if (!linear->bias)
                return mem_status();
        }
    return TRAWL_OK;
}

enum trawl_status train_weights_init(struct nn_train *t)
{
    t->linear = mem_array(t->config.L * NN_ROLES, sizeof *t->linear);
    if (!t->linear)
        return mem_status();
    for (int role = 0; role < NN_ROLES; role++)
        TRY(plan_role(t, &t->role[role]));
    for (size_t l = 0; l < t->config.L; l++)
        for (int role = 0; role < NN_ROLES; role++)
            TRY(linear_init(t, l, (enum nn_role)role));
    return TRAWL_OK;
}

enum trawl_status train_worker_products(struct nn_train *t, struct train_worker *w)
{
    size_t most = 0;
    for (int role = 0; role < NN_ROLES; role++) {
        struct train_role *r = &t->role[role];
        for (int p = 0; p < TRAIN_PRODUCTS; p++) {
            if (!r->plan[p])
                continue;
            TRY(matmul_exec_new(&w->exec[role][p], r->plan[p]));
            TRY(matmul_packer_new(&w->packer[role][p], r->plan[p], transposed((enum train_product)p)));
            t->bytes += matmul_exec_bytes(w->exec[role][p]);
        }
        most = r->N * r->K > most ? r->N * r->K : most;
    }
    w->stack = train_take(t, most, sizeof *w->stack);
    w->stack_narrow = t->kind == MATMUL_F32 ? w->stack : train_take(t, most, 2);
    return w->stack && w->stack_narrow ? TRAWL_OK : mem_status();
}

/* A part's rows of W: trained values or from the source. */
static enum trawl_status stack_part(const struct nn_train *t, float *W, size_t layer, const struct train_part *part,
                                    size_t K)
{
    if (t->lora.rank)
        return train_read(t, W, layer, part->weight, 0, part->rows);
    memcpy(W, t->values + train_place(t, layer, part->weight, false)->value, part->rows * K * sizeof *W);
    return TRAWL_OK;
}

static enum trawl_status pack_both(const struct nn_train *t, struct train_worker *w, size_t layer, enum nn_role role,
                                   enum train_product first, enum train_product second, size_t n)
{
    struct train_linear *linear = &t->linear[layer * NN_ROLES + role];
    if (t->kind == MATMUL_BF16)
        t->k->to_bf16(w->stack_narrow, w->stack, n);
    TRY(matmul_pack(w->packer[role][first], linear->packed[first], w->stack_narrow));
    return matmul_pack(w->packer[role][second], linear->packed[second], w->stack_narrow);
}

/* W for both directions, and the biases. */
static enum trawl_status pack_whole(struct nn_train *t, struct train_worker *w, size_t layer, enum nn_role role)
{
    const struct train_role *r = &t->role[role];
    struct train_linear *linear = &t->linear[layer * NN_ROLES + role];
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct train_part *part = &r->parts[i];
        TRY(stack_part(t, w->stack + part->begin * r->K, layer, part, r->K));
        const float *bias = part->bias == NN_T_COUNT ? NULL : train_vector(t, layer, part->bias);
        if (bias)
            memcpy(linear->bias + part->begin, bias, part->rows * sizeof *bias);
        else if (linear->bias)
            memset(linear->bias + part->begin, 0, part->rows * sizeof *bias);
    }
    return pack_both(t, w, layer, role, TRAIN_Y, TRAIN_DX, r->N * r->K);
}

static enum trawl_status pack_lora(struct nn_train *t, struct train_worker *w, size_t layer, enum nn_role role)
{
    const struct train_role *r = &t->role[role];
    size_t rank = t->lora.rank;
    if (!r->R)
        return TRAWL_OK;
    for (size_t i = 0; i < r->n_parts; i++)
        if (r->parts[i].r != TRAIN_NONE)
            memcpy(w->stack + r->parts[i].r * r->K, t->values + train_place(t, layer, r->parts[i].weight, false)->value,
                   rank * r->K * sizeof *w->stack);
    TRY(pack_both(t, w, layer, role, TRAIN_Z, TRAIN_DXZ, r->R * r->K));
    memset(w->stack, 0, r->N * r->R * sizeof *w->stack);
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct train_part *part = &r->parts[i];
        if (part->r == TRAIN_NONE)
            continue;
        const float *B = t->values + train_place(t, layer, part->weight, true)->value;
        for (size_t n = 0; n < part->rows; n++)
            for (size_t j = 0; j < rank; j++)
                w->stack[(part->begin + n) * r->R + part->r + j] = t->lora_scale * B[n * rank + j];
    }
    return pack_both(t, w, layer, role, TRAIN_YZ, TRAIN_DZ, r->N * r->R);
}

static void pack_wholes(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_train *t = ctx;
    for (size_t i = begin; i < end; i++)
        train_fail(t, pack_whole(t, &t->workers[worker], i / NN_ROLES, (enum nn_role)(i % NN_ROLES)));
}

static void pack_loras(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_train *t = ctx;
    for (size_t i = begin; i < end; i++)
        train_fail(t, pack_lora(t, &t->workers[worker], i / NN_ROLES, (enum nn_role)(i % NN_ROLES)));
}

enum trawl_status train_pack_frozen(struct nn_train *t)
{
    t->status = TRAWL_OK;
    pool_run(t->config.L * NN_ROLES, 1, pack_wholes, t);
    return train_result(t);
}

enum trawl_status nn_train_update(struct nn_train *t)
{
    t->ready = false;
    if (!t->lora.rank) {
        TRY(train_pack_frozen(t));
        return train_head_update(t);
    }
    t->status = TRAWL_OK;
    pool_run(t->config.L * NN_ROLES, 1, pack_loras, t);
    return train_result(t);
}

void train_weights_free(struct nn_train *t)
{
    for (size_t i = 0; t->linear && i < t->config.L * NN_ROLES; i++) {
        for (int p = 0; p < TRAIN_PRODUCTS; p++)
            matmul_weights_free(t->linear[i].packed[p]);
        free(t->linear[i].bias);
    }
    free(t->linear);
    for (int role = 0; role < NN_ROLES; role++)
        for (int p = 0; p < TRAIN_PRODUCTS; p++)
            matmul_plan_free(t->role[role].plan[p]);
}
