/* Scratch of a forward pass: allocated once, sized by the model and the largest call. Untouched pages cost nothing. */
#include "base/mem.h"
#include "base/pool.h"
#include "nn_int.h"
#include <stdlib.h>
#include <string.h>

static void *take(struct nn_run *run, size_t n, size_t size)
{
    void *p = mem_aligned(n, size);
    if (p)
        run->bytes += n * size;
    return p;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static enum trawl_status keys_init(struct nn_run *run, struct worker *w, size_t keys)
{
    size_t D = run->model->config.D, packed = keys / NN_KEY_BLOCK * nn_packed_block(D);
    if (!run->tiles) {
        w->panels = take(run, keys * D, sizeof *w->panels);
        return w->panels ? TRAWL_OK : mem_status();
    }
    w->tile_k = take(run, packed, sizeof *w->tile_k);
    w->tile_v = take(run, packed, sizeof *w->tile_v);
    w->tile_p = take(run, NN_QUERY_BLOCK * keys, sizeof *w->tile_p);
    if (!w->tile_k || !w->tile_v || !w->tile_p)
        return mem_status();
    memset(w->tile_p, 0, NN_QUERY_BLOCK * keys * sizeof *w->tile_p);
    return TRAWL_OK;
}

static enum trawl_status worker_init(struct nn_run *run, struct worker *w)
{
    const struct nn_model *m = run->model;
    const struct nn_config *c = &m->config;
    size_t in = 0, out = NN_HEAD_SLICE, keys = (c->positions / NN_KEY_BLOCK + 3) * NN_KEY_BLOCK;
    for (int r = 0; r < NN_ROLES; r++) {
        if (r != NN_DOWN)
            in = larger(in, m->shape[r].K * 4);
        out = larger(out, m->shape[r].N);
        TRY(matmul_exec_new(&w->exec[r], m->shape[r].plan));
        run->bytes += matmul_exec_bytes(w->exec[r]);
    }
    w->in = take(run, NN_TILE, in);
    w->out = take(run, NN_TILE * out, sizeof *w->out);
    w->mid = take(run, NN_TILE * c->F, sizeof *w->mid);
    w->down = take(run, NN_TILE * c->F, kind_bytes(m->shape[NN_DOWN].kind));
    w->top = take(run, NN_TILE, sizeof *w->top);
    w->in_scale = take(run, NN_TILE, sizeof *w->in_scale);
    w->row = take(run, larger(larger(c->C, c->F), c->H * c->D), sizeof *w->row);
    w->rope = take(run, c->D, sizeof *w->rope);
    w->scores = take(run, larger(keys, c->D) * NN_QUERIES, sizeof *w->scores);
    if (!w->in || !w->out || !w->mid || !w->down || !w->in_scale || !w->top || !w->row || !w->rope || !w->scores)
        return mem_status();
    TRY(keys_init(run, w, keys));
    memset(w->in, 0, NN_TILE * in); /* the rows of an unfilled tile are computed too: no stray NaN slows them */
    memset(w->mid, 0, NN_TILE * c->F * sizeof *w->mid);
    memset(w->down, 0, NN_TILE * c->F * kind_bytes(m->shape[NN_DOWN].kind));
    return TRAWL_OK;
}

static enum trawl_status states_init(struct nn_run *run, size_t rows)
{
    const struct nn_config *c = &run->model->config;
    if (!run->tiles) {
        run->qkv = take(run, rows * qkv_width(c), sizeof *run->qkv);
        run->attn = take(run, rows * c->H * c->D, sizeof *run->attn);
        return run->qkv && run->attn ? TRAWL_OK : mem_status();
    }
    run->plane_rows = rows | 1; /* an even distance would put a token's heads into few sets of the cache */
    size_t n = (c->H + 2 * c->K) * run->plane_rows * nn_head_width(c->D);
    run->planes = take(run, n, sizeof *run->planes);
    if (run->planes)
        memset(run->planes, 0, n * sizeof *run->planes);
    run->narrow_attn = take(run, rows * c->H * c->D, sizeof *run->narrow_attn);
    return run->planes && run->narrow_attn ? TRAWL_OK : mem_status();
}

enum trawl_status nn_run_new(struct nn_run **out, const struct nn_model *model, size_t tokens_max)
{
    enum trawl_status status = TRAWL_OK;
    const struct nn_config *c = &model->config;
    struct nn_run *run = mem_array(1, sizeof *run);
    *out = NULL;
    if (!run)
        return mem_status();
    run->model = (struct nn_model *)model; /* the head is packed on first use, under its lock */
    run->kernels = nn_kernels();
    run->tiles = model->tiles;
    run->tokens_max = larger(tokens_max, 1);
    run->group_max =
        larger(c->positions, NN_GROUP) < run->tokens_max ? larger(c->positions, NN_GROUP) : run->tokens_max;
    run->n_workers = pool_threads();
    run->items_max = run->group_max;
    pthread_mutex_init(&run->lock, NULL);
    run->workers = mem_array(run->n_workers, sizeof *run->workers);
    size_t rows = run->group_max + NN_TILE;
    run->x = take(run, rows * c->C, sizeof *run->x);
    run->position = take(run, rows, sizeof *run->position);
    run->row_of = take(run, rows, sizeof *run->row_of);
    run->items = take(run, run->items_max, sizeof *run->items);
    if (!run->workers || !run->x || !run->position || !run->row_of || !run->items) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(states_init(run, rows));
    for (size_t i = 0; i < run->n_workers; i++)
        TRY_OUT(worker_init(run, &run->workers[i]));
out:
    if (status)
        nn_run_free(run);
    else
        *out = run;
    return status;
}

void nn_run_free(struct nn_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; run->workers && i < run->n_workers; i++) {
        struct worker *w = &run->workers[i];
        for (int r = 0; r < NN_ROLES; r++)
            matmul_exec_free(w->exec[r]);
        matmul_exec_free(w->head);
        free(w->in), free(w->out), free(w->mid), free(w->down), free(w->in_scale), free(w->top);
        free(w->row), free(w->rope), free(w->panels), free(w->scores);
        free(w->tile_k), free(w->tile_v), free(w->tile_p);
    }
    free(run->workers);
    free(run->planes), free(run->narrow_attn);
    free(run->x), free(run->qkv), free(run->attn), free(run->position), free(run->row_of), free(run->items);
    pthread_mutex_destroy(&run->lock);
    free(run);
}

size_t nn_run_bytes(const struct nn_run *run)
{
    return run->bytes;
}

void nn_run_tap(struct nn_run *run, nn_tap_fn tap, void *ctx)
{
    run->tap = tap;
    run->tap_ctx = ctx;
}
