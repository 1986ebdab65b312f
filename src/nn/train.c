/* Making and freeing of a nn_train: checks, plans, weights, and everything that the passes need, allocated once. */
#include "base/mem.h"
#include "base/pool.h"
#include "train_int.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed, on a 64-byte boundary, counted. */
void *train_take(struct nn_train *t, size_t n, size_t size)
{
    void *p = mem_aligned(n, size);
    if (p) {
        t->bytes += n * size;
        memset(p, 0, n * size);
    }
    return p;
}

void train_fail(struct nn_train *t, enum trawl_status status)
{
    if (status == TRAWL_OK)
        return;
    pthread_mutex_lock(&t->lock);
    if (t->status == TRAWL_OK) {
        t->status = status;
        snprintf(t->message, sizeof t->message, "%s", trawl_message());
    }
    pthread_mutex_unlock(&t->lock);
}

enum trawl_status train_result(struct nn_train *t)
{
    return t->status ? fail(t->status, "%s", t->message) : TRAWL_OK;
}

static enum trawl_status check_lora(const struct nn_train *t, const struct nn_lora *lora)
{
    const uint32_t all =
        1u << NN_T_Q | 1u << NN_T_K | 1u << NN_T_V | 1u << NN_T_O | 1u << NN_T_GATE | 1u << NN_T_UP | 1u << NN_T_DOWN;
    if (!lora->rank || !lora->targets || lora->targets & ~all)
        return fail(TRAWL_USAGE, "LoRA needs a rank above 0 and targets among q, k, v, o, gate, up, down");
    if (!(lora->dropout >= 0 && lora->dropout < 1) || !isfinite(lora->alpha))
        return fail(TRAWL_USAGE, "LoRA dropout %g is not in [0,1), or alpha %g is not a number", lora->dropout,
                    lora->alpha);
    for (int tensor = 0; tensor < NN_T_COUNT; tensor++)
        if (lora->targets >> tensor & 1u && nn_tensor_presence(&t->config, (enum nn_tensor)tensor) == NN_ABSENT)
            return fail(TRAWL_UNSUPPORTED, "LoRA cannot be put on %s: the model has no such projection",
                        nn_tensor_name((enum nn_tensor)tensor));
    return TRAWL_OK;
}

static enum trawl_status options_init(struct nn_train *t, const struct nn_train_options *options)
{
    t->options = *options;
    t->options.lora = NULL;
    if (options->precision == NN_INT8)
        return fail(TRAWL_UNSUPPORTED, "training runs in f32 or bf16, not in int8");
    if (options->precision == NN_BF16 && !matmul_supports(MATMUL_BF16))
        return fail(TRAWL_UNSUPPORTED, "this processor cannot compute in bf16 (it needs AVX-512): train in f32");
    if (!options->tokens_max || options->tokens_max > UINT32_MAX - TRAIN_TILE)
        return fail(TRAWL_USAGE, "a batch of at most %zu tokens cannot be trained", options->tokens_max);
    t->kind = options->precision == NN_BF16 ? MATMUL_BF16 : MATMUL_F32;
    t->rows_max = (options->tokens_max + TRAIN_TILE - 1) / TRAIN_TILE * TRAIN_TILE;
    if (!options->lora)
        return TRAWL_OK;
    TRY(check_lora(t, options->lora));
    t->lora = *options->lora;
    double root = t->lora.rslora ? sqrt((double)t->lora.rank) : (double)t->lora.rank;
    t->lora_scale = (float)(t->lora.alpha / root);
    return TRAWL_OK;
}

static bool take_into(struct nn_train *t, void *slot, size_t n, size_t size)
{
    void *p = train_take(t, n, size);
    memcpy(slot, &p, sizeof p);
    return p != NULL;
}

static enum trawl_status kept_init(struct nn_train *t)
{
    const struct nn_config *c = &t->config;
    size_t rows = t->rows_max, size = kind_bytes(t->kind), C = rows * c->C;
    t->n_kept = t->options.checkpoint ? 1 : c->L;
    t->kept = mem_array(t->n_kept, sizeof *t->kept);
    if (!t->kept)
        return mem_status();
    for (size_t l = 0; l < t->n_kept; l++) {
        struct train_kept *kept = &t->kept[l];
        bool good = take_into(t, &kept->qkv, rows * t->role[NN_QKV].N, size) &&
                    take_into(t, &kept->attn, rows * t->role[NN_O].K, size) &&
                    take_into(t, &kept->up, rows * t->role[NN_UP].N, size) &&
                    take_into(t, &kept->sum1, C, sizeof *kept->sum1);
        if (good && c->qk_norm)
            good = take_into(t, &kept->raw, rows * (c->H + c->K) * c->D, size);
        if (good && c->sandwich_norm)
            good = take_into(t, &kept->post[0], C, size) && take_into(t, &kept->post[1], C, size);
        if (good && c->encoder)
            good = take_into(t, &kept->sum2, C, sizeof *kept->sum2);
        for (int role = 0; good && t->lora.rank && role < NN_ROLES; role++)
            good = take_into(t, &kept->z[role], rows * t->role[role].R, sizeof *kept->z[role]);
        if (!good)
            return mem_status();
    }
    return TRAWL_OK;
}

static enum trawl_status states_init(struct nn_train *t)
{
    const struct nn_config *c = &t->config;
    size_t rows = t->rows_max;
    bool good =
        take_into(t, &t->in, (c->L + 1) * rows * c->C, sizeof *t->in) &&
        take_into(t, &t->d_x, rows * c->C, sizeof *t->d_x) &&
        take_into(t, &t->d_attn, rows * t->role[NN_O].K, sizeof *t->d_attn) &&
        take_into(t, &t->d_qkv, rows * t->role[NN_QKV].N, sizeof *t->d_qkv) &&
        take_into(t, &t->position, rows, sizeof *t->position) && take_into(t, &t->targets, rows, sizeof *t->targets) &&
        take_into(t, &t->row_lse, rows, sizeof *t->row_lse) && take_into(t, &t->row_loss, rows, sizeof *t->row_loss);
    if (good && t->kind != MATMUL_F32)
        good = take_into(t, &t->qkv, rows * t->role[NN_QKV].N, sizeof *t->qkv) &&
               take_into(t, &t->attn, rows * t->role[NN_O].K, sizeof *t->attn);
    for (int role = 0; good && !t->lora.rank && role < NN_ROLES; role++)
        good = take_into(t, &t->role_x[role], rows * t->role[role].K, sizeof(float)) &&
               (role == NN_QKV || take_into(t, &t->role_dy[role], rows * t->role[role].N, sizeof(float)));
    if (!t->lora.rank)
        t->role_dy[NN_QKV] = t->d_qkv;
    return good ? kept_init(t) : mem_status();
}

static enum trawl_status worker_init(struct nn_train *t, struct train_worker *w)
{
    const struct nn_config *c = &t->config;
    size_t most = 0, R = 1, state = c->C > c->H * c->D ? c->C : c->H * c->D, F = t->role[NN_UP].N;
    size_t longest = c->positions < t->options.tokens_max ? c->positions : t->options.tokens_max;
    size_t keys = (longest / NN_PANEL + 2) * NN_PANEL;
    for (int role = 0; role < NN_ROLES; role++) {
        const struct train_role *r = &t->role[role];
        most = r->N > most ? r->N : most;
        most = r->K > most ? r->K : most;
        R = r->R > R ? r->R : R;
    }
    TRY(train_worker_products(t, w));
    bool good = true;
    float **const states[] = {&w->x, &w->y, &w->g, &w->h};
    for (size_t i = 0; good && i < sizeof states / sizeof *states; i++)
        good = take_into(t, states[i], TRAIN_TILE * state, sizeof(float));
    good =
        good && take_into(t, &w->narrow, TRAIN_TILE * most, 2) && take_into(t, &w->narrow_z, TRAIN_TILE * R, 2) &&
        take_into(t, &w->up, TRAIN_TILE * F, sizeof(float)) && take_into(t, &w->dup, TRAIN_TILE * F, sizeof(float)) &&
        take_into(t, &w->mid, TRAIN_TILE * c->F, sizeof(float)) &&
        take_into(t, &w->dmid, TRAIN_TILE * c->F, sizeof(float)) &&
        take_into(t, &w->wide, TRAIN_TILE * most, sizeof(float)) &&
        take_into(t, &w->drop, t->lora.dropout > 0 ? TRAIN_TILE * most : 1, sizeof(float)) &&
        take_into(t, &w->dz, TRAIN_TILE * R, sizeof(float)) && take_into(t, &w->k_panels, keys * c->D, sizeof(float)) &&
        take_into(t, &w->v_panels, keys * c->D, sizeof(float)) &&
        take_into(t, &w->scores, keys * NN_QUERIES, sizeof(float)) &&
        take_into(t, &w->dscores, keys * NN_QUERIES, sizeof(float)) &&
        take_into(t, &w->capped, c->attention_cap > 0 ? keys * NN_QUERIES : 1, sizeof(float));
    return good ? TRAWL_OK : mem_status();
}

static enum trawl_status rope_init(struct nn_train *t)
{
    const struct nn_config *c = &t->config;
    size_t n = c->positions < t->options.tokens_max ? c->positions : t->options.tokens_max;
    for (size_t l = 0; l < c->L && !c->encoder; l++) {
        size_t table = c->rope_table[l];
        if (table > 1)
            return fail(TRAWL_FORMAT, "layer %zu asks for rotary table %zu of 2", l, table);
        if (t->rope[table])
            continue;
        if (!take_into(t, &t->rope[table], n * c->D, sizeof(float)))
            return mem_status();
        for (size_t p = 0; p < n; p++)
            nn_rope_fill(t->rope[table] + p * c->D, c, table, p);
    }
    return TRAWL_OK;
}

enum trawl_status nn_train_new(struct nn_train **out, const struct nn_source *source,
                               const struct nn_train_options *options)
{
    enum trawl_status status = TRAWL_OK;
    struct nn_train *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    pthread_mutex_init(&t->lock, NULL);
    t->config = *source->config;
    t->source = *source;
    t->source.config = &t->config;
    t->k = nn_kernels();
    t->g = nn_grad_kernels();
    t->n_workers = pool_threads();
    t->workers = mem_array(t->n_workers, sizeof *t->workers);
    if (!t->workers) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(nn_config_check(&t->config));
    TRY_OUT(options_init(t, options));
    train_roles_init(t);
    TRY_OUT(train_params_init(t));
    TRY_OUT(train_weights_init(t));
    TRY_OUT(rope_init(t));
    TRY_OUT(states_init(t));
    for (size_t i = 0; i < t->n_workers; i++)
        TRY_OUT(worker_init(t, &t->workers[i]));
    TRY_OUT(train_pack_frozen(t));
    if (t->lora.rank)
        TRY_OUT(nn_train_update(t));
out:
    if (status)
        nn_train_free(t);
    else
        *out = t;
    return status;
}

static void worker_free(struct train_worker *w)
{
    for (int role = 0; role < NN_ROLES; role++)
        for (int p = 0; p < TRAIN_PRODUCTS; p++) {
            matmul_exec_free(w->exec[role][p]);
            matmul_packer_free(w->packer[role][p]);
        }
    if (w->stack_narrow != w->stack)
        free(w->stack_narrow);
    free(w->stack), free(w->narrow), free(w->narrow_z), free(w->x), free(w->y), free(w->g), free(w->h);
    free(w->up), free(w->dup), free(w->mid), free(w->dmid), free(w->wide), free(w->drop), free(w->dz);
    free(w->k_panels), free(w->v_panels), free(w->scores), free(w->dscores), free(w->capped);
}

void nn_train_free(struct nn_train *t)
{
    if (!t)
        return;
    train_head_free(t);
    for (size_t i = 0; t->workers && i < t->n_workers; i++)
        worker_free(&t->workers[i]);
    train_weights_free(t);
    for (size_t i = 0; t->kept && i < t->n_kept; i++) {
        struct train_kept *kept = &t->kept[i];
        free(kept->qkv), free(kept->raw), free(kept->attn), free(kept->up), free(kept->post[0]), free(kept->post[1]);
        free(kept->sum1), free(kept->sum2);
        for (int role = 0; role < NN_ROLES; role++)
            free(kept->z[role]);
    }
    for (size_t i = 0; t->vectors && t->owned && i < (t->config.L + 1) * NN_T_COUNT; i++)
        if (t->owned[i])
            free(t->vectors[i]);
    for (int role = 0; role < NN_ROLES; role++) {
        free(t->role_x[role]);
        if (t->role_dy[role] != t->d_qkv)
            free(t->role_dy[role]);
    }
    free(t->workers), free(t->vectors), free(t->owned), free(t->table), free(t->places), free(t->values);
    free(t->grads), free(t->lanes), free(t->rope[0]), free(t->rope[1]), free(t->in), free(t->kept), free(t->qkv);
    free(t->attn), free(t->d_x), free(t->d_attn), free(t->d_qkv), free(t->position), free(t->targets);
    free(t->row_lse), free(t->row_loss);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

const struct nn_config *nn_train_config(const struct nn_train *t)
{
    return &t->config;
}

size_t nn_train_bytes(const struct nn_train *t)
{
    return t->bytes;
}

struct nn_params nn_train_params(struct nn_train *t)
{
    return (struct nn_params){t->table, t->n_table, t->values, t->grads, t->n};
}
