#include "cache.h"
#include "base/mem.h"
#include "base/pool.h"
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

void text_rows_reset(struct text_rows *rows)
{
    rows->n = rows->n_ids = 0;
    rows->cut = 0;
}

void text_rows_release(struct text_rows *rows)
{
    free(rows->ids);
    free(rows->begin);
    free(rows->shapes);
    *rows = (struct text_rows){0};
}

static enum trawl_status rows_grow(struct text_rows *rows, size_t more_ids)
{
    size_t cap = rows->cap;
    TRY(mem_grow((void **)&rows->ids, &rows->cap_ids, rows->n_ids + more_ids, sizeof *rows->ids));
    TRY(mem_grow((void **)&rows->begin, &cap, rows->n + 2, sizeof *rows->begin));
    return mem_grow((void **)&rows->shapes, &rows->cap, rows->n + 2, sizeof *rows->shapes);
}

enum trawl_status text_rows_add(struct text_rows *rows, struct encoder *e, const struct text_view *text,
                                enum encoder_side side)
{
    struct encoder_row row = {0};
    TRY(rows_grow(rows, encoder_contract(e, side)->max_length));
    if (text)
        TRY(encoder_tokenize(e, &row, rows->ids + rows->n_ids, text, side));
    rows->begin[rows->n] = rows->n_ids;
    rows->shapes[rows->n++] = row.shape;
    rows->n_ids += row.n;
    rows->begin[rows->n] = rows->n_ids;
    rows->cut += row.cut;
    return TRAWL_OK;
}

/* ---- passes ---- */

struct cache {
    struct nn_train *train;
    size_t tokens_max, C, D;
    enum nn_attention attention;
    float *hidden, *d_hidden; /* (tokens_max,C) */
    uint32_t *begin;          /* (tokens_max + 1) of a pass */
    size_t *texts;            /* (tokens_max) of a pass: which rows */
    float *wide;              /* (workers,C) */
    double *sum;              /* (workers,C) */
    size_t n_workers;
    /* the last forward half */
    uint32_t step;
    size_t last_first; /* row that its last pass began with */
    uint32_t n_passes;
    /* the pass in work */
    struct nn_batch batch;
    const struct text_rows *rows;
    float *out;     /* (n,D) */
    const float *d; /* (n,D) */
};

enum trawl_status cache_new(struct cache **out, struct nn_train *train, size_t tokens_max, size_t D,
                            enum nn_attention attention)
{
    struct cache *c = mem_array(1, sizeof *c);
    *out = NULL;
    if (!c)
        return mem_status();
    *c = (struct cache){.train = train, .tokens_max = tokens_max, .C = nn_train_config(train)->C, .D = D};
    c->attention = attention;
    c->n_workers = pool_threads();
    c->hidden = mem_aligned(tokens_max * c->C, sizeof *c->hidden);
    c->d_hidden = mem_aligned(tokens_max * c->C, sizeof *c->d_hidden);
    c->begin = mem_array(tokens_max + 1, sizeof *c->begin);
    c->texts = mem_array(tokens_max, sizeof *c->texts);
    c->wide = mem_array(c->n_workers * c->C, sizeof *c->wide);
    c->sum = mem_array(c->n_workers * c->C, sizeof *c->sum);
    if (!c->hidden || !c->d_hidden || !c->begin || !c->texts || !c->wide || !c->sum) {
        cache_free(c);
        return mem_status();
    }
    *out = c;
    return TRAWL_OK;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    free(c->hidden);
    free(c->d_hidden);
    free(c->begin);
    free(c->texts);
    free(c->wide);
    free(c->sum);
    free(c);
}

/* Gathers rows from `first` on into c->batch until the pass is full; returns the row after the last. */
static enum trawl_status take_pass(struct cache *c, size_t first, size_t *end)
{
    const struct text_rows *rows = c->rows;
    size_t T = 0, B = 0, i = first;
    for (; i < rows->n; i++) {
        size_t n = rows->begin[i + 1] - rows->begin[i];
        if (n > c->tokens_max)
            return fail(TRAWL_LIMIT, "a text of %zu tokens in passes of %zu (make '--chunk' larger)", n, c->tokens_max);
        if (n > c->tokens_max - T)
            break;
        if (!n)
            continue;
        c->texts[B] = i;
        c->begin[B++] = (uint32_t)T;
        T += n;
    }
    c->begin[B] = (uint32_t)T;
    c->batch =
        (struct nn_batch){.ids = rows->ids + rows->begin[first], .begin = c->begin, .B = B, .attention = c->attention};
    *end = i;
    return TRAWL_OK;
}

static void pool_texts(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct cache *c = ctx;
    float *wide = c->wide + worker * c->C;
    for (size_t b = begin; b < end; b++) {
        size_t row = c->texts[b];
        pool_forward(wide, c->sum + worker * c->C, c->hidden + (size_t)c->begin[b] * c->C, &c->rows->shapes[row], c->C);
        memcpy(c->out + row * c->D, wide, c->D * sizeof *wide);
    }
}

static void pool_texts_backward(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct cache *c = ctx;
    float *wide = c->wide + worker * c->C;
    for (size_t b = begin; b < end; b++) {
        size_t row = c->texts[b];
        memset(wide, 0, c->C * sizeof *wide);
        memcpy(wide, c->d + row * c->D, c->D * sizeof *wide);
        pool_backward(c->d_hidden + (size_t)c->begin[b] * c->C, wide, &c->rows->shapes[row],
                      c->begin[b + 1] - c->begin[b], c->C);
    }
}

static enum trawl_status take_room(struct cache *c)
{
    size_t n = pool_threads();
    if (n <= c->n_workers)
        return TRAWL_OK;
    free(c->wide);
    free(c->sum);
    c->n_workers = n;
    c->wide = mem_array(n * c->C, sizeof *c->wide);
    c->sum = mem_array(n * c->C, sizeof *c->sum);
    return c->wide && c->sum ? TRAWL_OK : mem_status();
}

/* Masks of dropout differ from pass to pass, and are the same when a pass is taken again. */
static uint32_t pass_step(uint32_t step, uint32_t pass)
{
    return step == NN_TRAIN_NO_DROPOUT ? step : step << 12 ^ pass;
}

static enum trawl_status embed(struct cache *c, bool keep_last)
{
    size_t first = 0, end;
    memset(c->out, 0, c->rows->n * c->D * sizeof *c->out);
    TRY(take_room(c));
    for (c->n_passes = 0; first < c->rows->n; first = end, c->n_passes++) {
        TRY(take_pass(c, first, &end));
        uint32_t step = pass_step(c->step, c->n_passes);
        c->last_first = first;
        if (!c->batch.B)
            continue;
        if (keep_last && end == c->rows->n)
            TRY(nn_train_forward(c->train, c->hidden, &c->batch, step));
        else
            TRY(nn_train_forward_only(c->train, c->hidden, &c->batch, step));
        pool_run(c->batch.B, 1, pool_texts, c);
    }
    return TRAWL_OK;
}

enum trawl_status cache_embed(struct cache *c, float *out, const struct text_rows *rows, uint32_t step)
{
    c->rows = rows;
    c->out = out;
    c->step = step;
    return embed(c, false);
}

enum trawl_status cache_forward(struct cache *c, float *out, const struct text_rows *rows, uint32_t step)
{
    c->rows = rows;
    c->out = out;
    c->step = step;
    return embed(c, true);
}

static enum trawl_status propagate(struct cache *c)
{
    if (!c->batch.B)
        return TRAWL_OK;
    pool_run(c->batch.B, 1, pool_texts_backward, c);
    return nn_train_backward(c->train, c->d_hidden);
}

enum trawl_status cache_backward(struct cache *c, const float *d, const struct text_rows *rows)
{
    size_t end;
    c->rows = rows;
    c->d = d;
    if (!c->n_passes)
        return TRAWL_OK;
    TRY(propagate(c)); /* the pass that was kept */
    size_t first = 0;
    for (uint32_t pass = 0; first < c->last_first; first = end, pass++) {
        TRY(take_pass(c, first, &end));
        if (!c->batch.B)
            continue;
        TRY(nn_train_forward(c->train, c->hidden, &c->batch, pass_step(c->step, pass)));
        TRY(propagate(c));
    }
    return TRAWL_OK;
}
