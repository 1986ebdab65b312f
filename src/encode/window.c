/*
 * The encoder at work. Texts are taken in windows: all of a window are tokenised in parallel, each into its slot; rows
 * are ordered by length, longest first, and packed one behind the other into batches without padding; a batch goes
 * through the model and its rows are pooled in parallel into the places of their texts. Rows do not see each other, so
 * neither window nor order nor batch shows in the result.
 *
 * Everything is allocated at the first text for the longer of the two sides' max_length.
 */
#include "encode_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_TOKENS = 4096,
    WINDOW_TEXTS = 1024,
    WINDOW_IDS = 4 << 20, /* ids of all slots, while that leaves WINDOW_TEXTS_MIN */
    WINDOW_TEXTS_MIN = 64,
};

static size_t widest_dense(const struct encoder *e)
{
    size_t widest = e->config->C;
    for (size_t i = 0; i < e->modules->n_dense; i++)
        if (e->modules->dense[i].out > widest)
            widest = e->modules->dense[i].out;
    return widest;
}

static enum trawl_status make_workers(struct encoder *e)
{
    size_t widest = widest_dense(e);
    e->n_workers = pool_threads();
    e->workers = mem_array(e->n_workers, sizeof *e->workers);
    if (!e->workers)
        return mem_status();
    for (size_t i = 0; i < e->n_workers; i++) {
        struct worker *w = &e->workers[i];
        w->sum = mem_array(e->config->C, sizeof *w->sum);
        w->dense[0] = mem_array(widest, sizeof(float));
        w->dense[1] = mem_array(widest, sizeof(float));
        if (!w->sum || !w->dense[0] || !w->dense[1])
            return mem_status();
        TRY(tokenizer_scratch_new(&w->scratch));
    }
    e->workspace_bytes += e->n_workers * (e->config->C * sizeof(double) + 2 * widest * sizeof(float));
    return TRAWL_OK;
}

enum trawl_status window_make(struct encoder *e)
{
    size_t longest = e->sides[0].contract.max_length, floats;
    if (e->sides[1].contract.max_length > longest)
        longest = e->sides[1].contract.max_length;
    e->tokens_max = e->batch_tokens ? e->batch_tokens : BATCH_TOKENS;
    if (e->tokens_max < longest)
        e->tokens_max = longest;
    e->stride = longest;
    e->window = WINDOW_IDS / longest;
    e->window = e->window > WINDOW_TEXTS ? WINDOW_TEXTS : e->window < WINDOW_TEXTS_MIN ? WINDOW_TEXTS_MIN : e->window;
    if (__builtin_mul_overflow(e->tokens_max, e->config->C, &floats))
        return fail(TRAWL_LIMIT, "a batch of %zu tokens is too large for this model", e->tokens_max);

    e->ids = mem_array(e->window * e->stride, sizeof *e->ids);
    e->rows = mem_array(e->window, sizeof *e->rows);
    e->order = mem_array(e->window, sizeof *e->order);
    e->starts = mem_array(e->stride + 2, sizeof *e->starts);
    e->packed = mem_array(e->tokens_max, sizeof *e->packed);
    e->begin = mem_array(e->window + 1, sizeof *e->begin);
    e->hidden = mem_aligned(floats, sizeof *e->hidden);
    if (!e->ids || !e->rows || !e->order || !e->starts || !e->packed || !e->begin || !e->hidden)
        return mem_status();
    TRY(make_workers(e));
    TRY(nn_run_new(&e->run, e->model, e->tokens_max));
    e->workspace_bytes += e->window * (e->stride * sizeof *e->ids + sizeof *e->rows + sizeof *e->order) +
                          e->stride * sizeof *e->starts + e->tokens_max * sizeof *e->packed +
                          e->window * sizeof *e->begin + floats * sizeof *e->hidden + nn_run_bytes(e->run);
    return TRAWL_OK;
}

void worker_release(struct worker *w)
{
    tokenizer_scratch_free(w->scratch);
    ids_release(&w->ids);
    buf_release(&w->text);
    free(w->sum);
    free(w->dense[0]);
    free(w->dense[1]);
}

void window_release(struct encoder *e)
{
    nn_run_free(e->run);
    for (size_t i = 0; e->workers && i < e->n_workers; i++)
        worker_release(&e->workers[i]);
    free(e->workers);
    free(e->ids);
    free(e->rows);
    free(e->order);
    free(e->starts);
    free(e->packed);
    free(e->begin);
    free(e->hidden);
    e->run = NULL;
    e->workers = NULL;
    e->ids = e->order = e->starts = e->packed = e->begin = NULL;
    e->rows = NULL;
    e->hidden = NULL;
    e->workspace_bytes = 0;
}

/* One window of a call. */
struct pass {
    struct encoder *e;
    const struct side *side;
    const struct text_view *texts;
    float *out; /* (n, dims) */
    size_t n;
    size_t first, end; /* of order[]: the batch in work */
};

static void tokenise(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct pass *p = ctx;
    struct worker *w = &p->e->workers[worker];
    for (size_t i = begin; i < end; i++) {
        enum trawl_status status =
            side_encode(&p->e->rows[i], p->e->ids + i * p->e->stride, p->side, p->e, w, &p->texts[i]);
        if (status == TRAWL_OK || (w->status != TRAWL_OK && w->failed < i))
            continue;
        w->status = status;
        w->failed = i;
        snprintf(w->message, sizeof w->message, "%s", trawl_message());
    }
}

/* The failure on the earliest text, whichever worker met it. */
static enum trawl_status first_failure(struct encoder *e, size_t base)
{
    const struct worker *worst = NULL;
    for (size_t i = 0; i < e->n_workers; i++) {
        const struct worker *w = &e->workers[i];
        if (w->status != TRAWL_OK && (!worst || w->failed < worst->failed))
            worst = w;
    }
    if (!worst)
        return TRAWL_OK;
    e->failed = base + worst->failed;
    return fail(worst->status, "%s", worst->message);
}

/* order[] of rows that have tokens, longest first, among equals in text order; returns how many. */
static size_t sort_rows(struct encoder *e, size_t n)
{
    uint32_t *starts = e->starts;
    size_t longest = e->stride;
    memset(starts, 0, (longest + 2) * sizeof *starts);
    for (size_t i = 0; i < n; i++)
        starts[longest - e->rows[i].n + 1]++;
    for (size_t k = 1; k < longest + 2; k++)
        starts[k] += starts[k - 1];
    size_t with_tokens = starts[longest];
    for (size_t i = 0; i < n; i++)
        e->order[starts[longest - e->rows[i].n]++] = (uint32_t)i;
    return with_tokens;
}

static void pool_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct pass *p = ctx;
    struct encoder *e = p->e;
    for (size_t b = begin; b < end; b++) {
        size_t i = e->order[p->first + b];
        pool_row(p->out + i * p->side->contract.dims, e->hidden + (size_t)e->begin[b] * e->config->C, &e->rows[i],
                 p->side, e, &e->workers[worker]);
    }
}

/* Packs rows from order[p->first] on until the batch is full, sets p->end. */
static size_t pack_batch(struct pass *p, size_t n)
{
    struct encoder *e = p->e;
    size_t T = 0, i = p->first;
    for (; i < n && e->rows[e->order[i]].n <= e->tokens_max - T; i++) {
        size_t row = e->order[i];
        e->begin[i - p->first] = (uint32_t)T;
        memcpy(e->packed + T, e->ids + row * e->stride, e->rows[row].n * sizeof *e->packed);
        T += e->rows[row].n;
    }
    e->begin[i - p->first] = (uint32_t)T;
    p->end = i;
    return T;
}

static enum trawl_status run_batches(struct pass *p, size_t n)
{
    struct encoder *e = p->e;
    for (p->first = 0; p->first < n; p->first = p->end) {
        e->counts.tokens += pack_batch(p, n);
        struct nn_batch batch = {
            .ids = e->packed, .begin = e->begin, .B = p->end - p->first, .attention = p->side->attention};
        TRY(nn_forward(e->run, e->hidden, &batch));
        pool_run(batch.B, 1, pool_rows, p);
    }
    return TRAWL_OK;
}

static enum trawl_status encode_window(struct pass *p, size_t base)
{
    struct encoder *e = p->e;
    for (size_t i = 0; i < e->n_workers; i++)
        e->workers[i].status = TRAWL_OK;
    pool_run(p->n, 4, tokenise, p);
    TRY(first_failure(e, base));
    for (size_t i = 0; i < p->n; i++) {
        e->counts.cut += e->rows[i].cut;
        if (e->rows[i].n)
            continue;
        e->counts.empty++;
        memset(p->out + i * p->side->contract.dims, 0, p->side->contract.dims * sizeof *p->out);
    }
    TRY(run_batches(p, sort_rows(e, p->n)));
    e->counts.texts += p->n;
    return TRAWL_OK;
}

enum trawl_status encoder_encode(struct encoder *e, float *out, const struct text_view *texts, size_t n,
                                 enum encoder_side which)
{
    const struct side *side = &e->sides[which];
    e->failed = SIZE_MAX;
    if (!e->run || pool_threads() > e->n_workers) {
        window_release(e); /* of fewer threads, or of an attempt that failed half-way */
        TRY(window_make(e));
    }
    for (size_t i = 0; i < n; i += e->window) {
        struct pass p = {.e = e, .side = side, .texts = texts + i, .out = out + i * side->contract.dims};
        p.n = n - i < e->window ? n - i : e->window;
        TRY(encode_window(&p, i));
    }
    return TRAWL_OK;
}

enum trawl_status encoder_tokenize(struct encoder *e, struct encoder_row *out, uint32_t *ids,
                                   const struct text_view *text, enum encoder_side which)
{
    struct row row;
    if (!e->single) {
        struct worker *w = mem_array(1, sizeof *w);
        if (!w)
            return mem_status();
        e->single = w;
        TRY(tokenizer_scratch_new(&w->scratch));
    }
    TRY(side_encode(&row, ids, &e->sides[which], e, e->single, text));
    *out = (struct encoder_row){.n = row.n, .shape = side_pool_shape(&e->sides[which], &row), .cut = row.cut};
    return TRAWL_OK;
}
