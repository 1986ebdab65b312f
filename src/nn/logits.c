/* The language-model head: slices of the vocabulary times tiles of rows, each piece independent. */
#include "base/pool.h"
#include "nn_int.h"
#include <string.h>

struct logits {
    struct nn_run *run;
    float *logits;
    const float *hidden;
    size_t n, tiles;
};

static void cap_logits(float *y, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cap * __builtin_tanhf(y[i] / cap);
}

static enum trawl_status logits_piece(const struct logits *l, struct worker *w, size_t slice, size_t tile)
{
    const struct nn_model *m = l->run->model;
    const struct linear_shape *s = &m->head_shape;
    size_t first = tile * NN_TILE, rows = l->n - first < NN_TILE ? l->n - first : NN_TILE, C = m->config.C;
    size_t begin = slice * s->N, width = m->config.V - begin < s->N ? m->config.V - begin : s->N;
    for (size_t r = 0; r < rows; r++)
        nn_emit(l->run->kernels, s->kind, (char *)w->in + r * C * kind_bytes(s->kind), &w->in_scale[r],
                l->hidden + (first + r) * C, C, -1);
    TRY(matmul_run(w->head, w->out, w->in, m->head.slices[slice], rows));
    for (size_t r = 0; r < rows; r++) {
        float *y = l->logits + (first + r) * m->config.V + begin;
        memcpy(y, w->out + r * s->N, width * sizeof *y);
        if (m->config.logit_cap > 0)
            cap_logits(y, width, m->config.logit_cap);
    }
    return TRAWL_OK;
}

static void run_pieces(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct logits *l = ctx;
    for (size_t i = begin; i < end && l->run->status == TRAWL_OK; i++) {
        enum trawl_status status = logits_piece(l, &l->run->workers[worker], i / l->tiles, i % l->tiles);
        if (status)
            nn_run_fail(l->run, status);
    }
}

enum trawl_status nn_logits(struct nn_run *run, float *logits, const float *hidden, size_t n)
{
    struct nn_model *m = run->model;
    TRY(nn_head_prepare(m));
    if (pool_threads() > run->n_workers)
        return fail(TRAWL_LIMIT, "the number of threads grew from %zu to %zu after this run was made", run->n_workers,
                    pool_threads());
    for (size_t i = 0; i < run->n_workers; i++)
        if (!run->workers[i].head) {
            TRY(matmul_exec_new(&run->workers[i].head, m->head_shape.plan));
            run->bytes += matmul_exec_bytes(run->workers[i].head);
        }
    struct logits l = {run, logits, hidden, n, (n + NN_TILE - 1) / NN_TILE};
    run->status = TRAWL_OK;
    pool_run(l.tiles * m->head_shape.n, 1, run_pieces, &l);
    return run->status ? fail(run->status, "%s", run->message) : TRAWL_OK;
}
