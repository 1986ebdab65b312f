/*
 * Next-token loss through the LM head. Logits of a tile of tokens and a slice of the vocabulary exist at a time, and
 * are computed again for each use: once for the logarithms of the sums, once for d_hidden (tiles are the pieces of
 * work, slices in order), and, where the head is trained, once for its gradient (slices are the pieces, tiles in
 * order).
 */
#include "base/mem.h"
#include "base/pool.h"
#include "train_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum nn_tensor head_tensor(const struct nn_train *t)
{
    return t->config.tied_head ? NN_T_EMBED : NN_T_HEAD;
}

/* One slice of the head into both layouts; the last one is filled up with zeros. */
static enum trawl_status pack_slice(struct nn_train *t, struct train_worker *w, size_t slice)
{
    size_t C = t->config.C, V = t->config.V, begin = slice * t->head_slice;
    size_t end = begin + t->head_slice < V ? begin + t->head_slice : V;
    float *W = w->logits + TRAIN_TILE * t->head_slice;
    void *narrow = W;
    memset(W, 0, t->head_slice * C * sizeof *W);
    if (t->lora.rank)
        TRY(train_read(t, W, 0, head_tensor(t), begin, end));
    else
        memcpy(W, t->values + train_place(t, t->config.L, head_tensor(t), false)->value + begin * C,
               (end - begin) * C * sizeof *W);
    if (t->kind == MATMUL_BF16) {
        narrow = (uint16_t *)w->logits_narrow + TRAIN_TILE * t->head_slice;
        t->k->to_bf16(narrow, W, t->head_slice * C);
    }
    TRY(matmul_pack(w->head_packer[0], t->head[0][slice], narrow));
    return matmul_pack(w->head_packer[1], t->head[1][slice], narrow);
}

static void pack_slices(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_train *t = ctx;
    for (size_t i = begin; i < end; i++)
        train_fail(t, pack_slice(t, &t->workers[worker], i));
}

static enum trawl_status head_plans(struct nn_train *t)
{
    size_t V = t->config.V, C = t->config.C, slice = V < TRAIN_HEAD_SLICE ? V : TRAIN_HEAD_SLICE;
    size_t n = (V + slice - 1) / slice;
    t->head_slice = slice;
    t->n_head = n;
    TRY(matmul_plan_new(&t->head_plan[0], t->kind, TRAIN_TILE, slice, C));
    TRY(matmul_plan_new(&t->head_plan[1], t->kind, TRAIN_TILE, C, slice));
    for (int i = 0; i < 2; i++) {
        t->head[i] = mem_array(n, sizeof *t->head[i]);
        if (!t->head[i])
            return mem_status();
        for (size_t s = 0; s < n; s++) {
            TRY(matmul_weights_new(&t->head[i][s], t->head_plan[i], NULL));
            t->bytes += matmul_weights_bytes(t->head[i][s]);
        }
    }
    for (size_t i = 0; i < t->n_workers; i++) {
        struct train_worker *w = &t->workers[i];
        for (int p = 0; p < 2; p++) {
            TRY(matmul_exec_new(&w->head_exec[p], t->head_plan[p]));
            TRY(matmul_packer_new(&w->head_packer[p], t->head_plan[p], p == 1));
        }
        w->logits = train_take(t, (TRAIN_TILE + C) * slice, sizeof *w->logits);
        w->logits_narrow = t->kind == MATMUL_F32 ? w->logits : train_take(t, (TRAIN_TILE + C) * slice, 2);
        if (!w->logits || !w->logits_narrow)
            return mem_status();
    }
    return TRAWL_OK;
}

enum trawl_status train_head_update(struct nn_train *t)
{
    if (!t->head_ready)
        return TRAWL_OK;
    t->status = TRAWL_OK;
    pool_run(t->n_head, 1, pack_slices, t);
    return train_result(t);
}

static enum trawl_status head_prepare(struct nn_train *t)
{
    if (t->head_ready)
        return TRAWL_OK;
    if (!t->config.has_head)
        return fail(TRAWL_UNSUPPORTED, "this model is an encoder: it has no language-model head");
    train_head_free(t);
    TRY(head_plans(t));
    t->head_ready = true;
    enum trawl_status status = train_head_update(t);
    t->head_ready = status == TRAWL_OK;
    return status;
}

void train_head_free(struct nn_train *t)
{
    for (int i = 0; i < 2; i++) {
        for (size_t s = 0; t->head[i] && s < t->n_head; s++)
            matmul_weights_free(t->head[i][s]);
        free(t->head[i]);
        matmul_plan_free(t->head_plan[i]);
        t->head[i] = NULL;
        t->head_plan[i] = NULL;
    }
    for (size_t i = 0; t->workers && i < t->n_workers; i++) {
        struct train_worker *w = &t->workers[i];
        for (int p = 0; p < 2; p++) {
            matmul_exec_free(w->head_exec[p]);
            matmul_packer_free(w->head_packer[p]);
            w->head_exec[p] = NULL;
            w->head_packer[p] = NULL;
        }
        if (w->logits_narrow != w->logits)
            free(w->logits_narrow);
        free(w->logits);
        w->logits = NULL;
        w->logits_narrow = NULL;
    }
}

/* Logits (rows, head_slice) of a tile and a slice into w->logits, capped; the number that are real. */
static enum trawl_status slice_logits(struct train_tile *s, size_t slice, size_t *width)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C, begin = slice * t->head_slice;
    float cap = t->config.logit_cap;
    const void *x = s->w->x;
    if (t->kind == MATMUL_BF16) {
        t->k->to_bf16(s->w->narrow, s->w->x, s->rows * C);
        x = s->w->narrow;
    }
    *width = t->config.V - begin < t->head_slice ? t->config.V - begin : t->head_slice;
    TRY(matmul_run(s->w->head_exec[0], s->w->logits, x, t->head[0][slice], s->rows));
    for (size_t i = 0; cap > 0 && i < s->rows * t->head_slice; i++)
        s->w->logits[i] = cap * __builtin_tanhf(s->w->logits[i] / cap);
    return TRAWL_OK;
}

static void load_states(const struct train_tile *s)
{
    size_t C = s->t->config.C;
    memcpy(s->w->x, s->t->const_hidden + s->begin * C, s->rows * C * sizeof *s->w->x);
}

/* The logarithm of the sum of exponentials and the loss of each row: slices in order, sums rescaled as the top rises.
 */
static enum trawl_status tile_sums(struct train_tile *s)
{
    struct nn_train *t = s->t;
    double sum[TRAIN_TILE] = {0};
    float top[TRAIN_TILE], target[TRAIN_TILE] = {0};
    load_states(s);
    for (size_t slice = 0; slice < t->n_head; slice++) {
        size_t width, begin = slice * t->head_slice;
        TRY(slice_logits(s, slice, &width));
        for (size_t r = 0; r < s->rows; r++) {
            float *z = s->w->logits + r * t->head_slice, high = t->g->top(z, width);
            size_t wanted = t->targets[s->begin + r];
            if (wanted >= begin && wanted < begin + width)
                target[r] = z[wanted - begin];
            if (slice == 0 || high > top[r]) {
                sum[r] *= slice == 0 ? 0 : exp((double)top[r] - (double)high);
                top[r] = high;
            }
            sum[r] += (double)t->g->exp_sum(z, z, width, top[r]);
        }
    }
    for (size_t r = 0; r < s->rows; r++) {
        double lse = (double)top[r] + log(sum[r]);
        t->row_lse[s->begin + r] = (float)lse;
        t->row_loss[s->begin + r] = t->targets[s->begin + r] == UINT32_MAX ? 0 : lse - (double)target[r];
    }
    return TRAWL_OK;
}

/* Gradients of the logits in place of the logits: weight * (softmax - one at the target), 0 for rows without target. */
static void logit_gradients(const struct train_tile *s, size_t slice, size_t width)
{
    const struct nn_train *t = s->t;
    float cap = t->config.logit_cap, weight = (float)t->loss_weight;
    for (size_t r = 0; r < s->rows; r++) {
        float *z = s->w->logits + r * t->head_slice;
        size_t target = t->targets[s->begin + r], begin = slice * t->head_slice;
        if (target == UINT32_MAX) {
            memset(z, 0, t->head_slice * sizeof *z);
            continue;
        }
        for (size_t i = 0; cap > 0 && i < width; i++) {
            float p = expf(z[i] - t->row_lse[s->begin + r]), u = z[i] / cap;
            z[i] = weight * (p - (float)(begin + i == target)) * (1 - u * u);
        }
        memset(z + width, 0, (t->head_slice - width) * sizeof *z);
        if (cap > 0)
            continue;
        t->g->exp_sum(z, z, width, t->row_lse[s->begin + r]);
        if (target >= begin && target < begin + width)
            z[target - begin] -= 1;
        t->k->multiply(z, weight, width);
    }
}

static enum trawl_status tile_d_hidden(struct train_tile *s)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C, width;
    load_states(s);
    memset(s->w->g, 0, s->rows * C * sizeof(float));
    for (size_t slice = 0; slice < t->n_head; slice++) {
        TRY(slice_logits(s, slice, &width));
        logit_gradients(s, slice, width);
        const void *dz = s->w->logits;
        if (t->kind == MATMUL_BF16) {
            t->k->to_bf16(s->w->logits_narrow, s->w->logits, s->rows * t->head_slice);
            dz = s->w->logits_narrow;
        }
        TRY(matmul_run(s->w->head_exec[1], s->w->y, dz, t->head[1][slice], s->rows));
        t->k->add(s->w->g, s->w->y, s->rows * C);
    }
    memcpy(t->hidden + s->begin * C, s->w->g, s->rows * C * sizeof(float));
    return TRAWL_OK;
}

static enum trawl_status slice_gradient(struct nn_train *t, struct train_worker *w, size_t slice)
{
    size_t C = t->config.C, width;
    float *dW = t->grads + train_place(t, t->config.L, head_tensor(t), false)->value + slice * t->head_slice * C;
    for (size_t i = 0; i < t->T; i += TRAIN_TILE) {
        struct train_tile s = {.t = t, .w = w, .begin = i, .rows = t->T - i < TRAIN_TILE ? t->T - i : TRAIN_TILE};
        load_states(&s);
        TRY(slice_logits(&s, slice, &width));
        logit_gradients(&s, slice, width);
        t->g->outer(dW, C, w->logits, 1, t->head_slice, w->x, C, s.rows, C, width);
    }
    return TRAWL_OK;
}

static void slice_gradients(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_train *t = ctx;
    for (size_t i = begin; i < end; i++)
        train_fail(t, slice_gradient(t, &t->workers[worker], i));
}

/* The token after each one in its row; the number of them. */
static size_t find_targets(struct nn_train *t, const struct nn_batch *b)
{
    size_t n = 0;
    for (size_t row = 0; row < b->B; row++)
        for (uint32_t i = b->begin[row]; i < b->begin[row + 1]; i++) {
            bool last = i + 1 == b->begin[row + 1];
            t->targets[i - b->begin[0]] = last ? UINT32_MAX : b->ids[i + 1];
            n += !last;
        }
    return n;
}

enum trawl_status nn_train_next_token(struct nn_train *t, double *loss, float *d_hidden, const float *hidden,
                                      const struct nn_batch *batch)
{
    TRY(head_prepare(t));
    if (!t->batch || batch->begin[batch->B] - batch->begin[0] != t->T)
        return fail(TRAWL_USAGE, "a next-token loss needs the forward pass of the same batch before it");
    size_t n = find_targets(t, batch);
    if (!n)
        return fail(TRAWL_USAGE, "no row of the batch has two tokens: there is nothing to predict");
    t->const_hidden = hidden;
    t->hidden = d_hidden;
    t->loss_weight = 1.0 / (double)n;
    TRY(train_tiles(t, 0, tile_sums, TRAIN_TILES));
    TRY(train_tiles(t, 0, tile_d_hidden, TRAIN_TILES));
    *loss = 0;
    for (size_t i = 0; i < t->T; i++)
        *loss += t->row_loss[i];
    *loss /= (double)n;
    if (t->lora.rank)
        return TRAWL_OK;
    t->status = TRAWL_OK;
    pool_run(t->n_head, 1, slice_gradients, t);
    return train_result(t);
}
