/*
 * Exact flat search. Rows are cut into blocks that fit the first-level cache; a worker scores a block against all
 * queries, compares the scores with each query's floor (the worst score that would still enter its k best), and only
 * what reaches it is looked at one by one. Each worker has its own k best; they are put together at the end.
 */
#include "flat.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/topk.h"
#include "math/dot.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 24 * 1024, /* of rows, in the form in which they are scored */
    BLOCK_ROWS_MAX = 192,
    GRAIN_BYTES = 1024 * 1024, /* of rows as f32, taken by a worker at a time */
};

/* What one thread writes to. */
struct worker {
    struct topk best[FLAT_QUERIES];
    float floors[FLAT_QUERIES];
    float *scores;   /* (block, FLAT_QUERIES) */
    uint32_t *where; /* (block, FLAT_QUERIES) */
    float *wide;     /* (block, D) bf16 rows as f32 */
};

struct flat {
    struct flat_part *parts;
    uint32_t *first_row; /* (n_parts + 1) number of the first row of each part among all */
    size_t n_parts, D, block, grain, queries_max, candidates_max;
    const struct dot_kernels *kernels;
    struct worker *workers;
    size_t n_workers;
    struct topk rescored[FLAT_QUERIES];
    struct dot_queries int8;
    bool any_int8, any_rescore;
    /* of the search under way */
    const struct flat_part *part;
    const float *queries;
    size_t Q, k;
    uint32_t base;
};

size_t flat_default_depth(size_t k)
{
    size_t more = k / 2 > 90 ? k / 2 : 90;
    return k > SIZE_MAX - more ? k : k + more;
}

static bool bit_is_set(const uint64_t *bits, size_t i)
{
    return bits && bits[i / 64] >> i % 64 & 1;
}

static bool is_gone(const struct flat_part *part, size_t row)
{
    return bit_is_set(part->deleted, row) || bit_is_set(part->vectors.zero, row);
}

/* ---- life ---- */

static enum trawl_status worker_init(struct worker *w, const struct flat *f)
{
    w->scores = mem_aligned(f->block * f->queries_max, sizeof *w->scores);
    w->where = mem_aligned(f->block * f->queries_max, sizeof *w->where);
    w->wide = mem_aligned(f->block * f->D, sizeof *w->wide);
    return w->scores && w->where && w->wide ? TRAWL_OK : mem_status();
}

static enum trawl_status grow_heaps(struct flat *f, size_t k)
{
    if (k <= f->candidates_max)
        return TRAWL_OK;
    for (size_t i = 0; i < f->n_workers + 1; i++) {
        struct topk *best = i < f->n_workers ? f->workers[i].best : f->rescored;
        for (size_t q = 0; q < f->queries_max; q++) {
            topk_release(&best[q]);
            TRY(topk_init(&best[q], k));
        }
    }
    f->candidates_max = k;
    return TRAWL_OK;
}

static enum trawl_status take_parts(struct flat *f, const struct flat_part *parts, size_t n_parts)
{
    f->parts = mem_array(n_parts, sizeof *parts);
    f->first_row = mem_array(n_parts + 1, sizeof *f->first_row);
    if (!f->parts || !f->first_row)
        return mem_status();
    f->n_parts = n_parts;
    for (size_t p = 0; p < n_parts; p++) {
        f->parts[p] = parts[p];
        if (__builtin_add_overflow(f->first_row[p], parts[p].vectors.n, &f->first_row[p + 1]))
            return fail(TRAWL_LIMIT, "more than %u rows in a dense field cannot be searched", UINT32_MAX);
        f->any_int8 |= parts[p].vectors.format == INDEX_VEC_INT8;
        f->any_rescore |= parts[p].vectors.rescore && parts[p].vectors.format != INDEX_VEC_F32;
    }
    return TRAWL_OK;
}

static enum trawl_status take_int8_queries(struct flat *f)
{
    if (!f->any_int8)
        return TRAWL_OK;
    size_t packed = 0;
    for (size_t Q = 1; Q <= f->queries_max; Q++)
        packed = f->kernels->packed_bytes(Q, f->D) > packed ? f->kernels->packed_bytes(Q, f->D) : packed;
    f->int8.rows = mem_aligned(f->queries_max * f->D, 1);
    f->int8.scales = mem_aligned(f->queries_max, sizeof *f->int8.scales);
    f->int8.sums = mem_aligned(f->queries_max, sizeof *f->int8.sums);
    f->int8.packed = mem_aligned(packed, 1);
    return f->int8.rows && f->int8.scales && f->int8.sums && f->int8.packed ? TRAWL_OK : mem_status();
}

enum trawl_status flat_new(struct flat **out, const struct flat_part *parts, size_t n_parts, size_t D,
                           size_t queries_max, size_t candidates_max)
{
    enum trawl_status status = TRAWL_OK;
    *out = NULL;
    if (D == 0 || D > DOT_D_MAX)
        return fail(TRAWL_LIMIT, "vectors of %zu dimensions cannot be searched: 1 to %d can", D, DOT_D_MAX);
    struct flat *f = mem_array(1, sizeof *f);
    if (!f)
        return mem_status();
    f->D = D;
    f->kernels = dot_kernels();
    f->block = BLOCK_BYTES / (D * sizeof(float)) / 4 * 4;
    f->block = f->block < 4 ? 4 : f->block > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : f->block;
    f->grain = (GRAIN_BYTES / (D * sizeof(float)) / f->block + 1) * f->block;
    f->queries_max = queries_max < FLAT_QUERIES ? queries_max : FLAT_QUERIES;
    TRY_OUT(take_parts(f, parts, n_parts));
    TRY_OUT(take_int8_queries(f));
    f->workers = mem_array(pool_threads(), sizeof *f->workers);
    if (!f->workers) {
        status = mem_status();
        goto out;
    }
    f->n_workers = pool_threads();
    for (size_t i = 0; i < f->n_workers; i++)
        TRY_OUT(worker_init(&f->workers[i], f));
    TRY_OUT(grow_heaps(f, candidates_max ? candidates_max : 1));
    *out = f;
    return TRAWL_OK;
out:
    flat_free(f);
    return status;
}

void flat_free(struct flat *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n_workers; i++) {
        struct worker *w = &f->workers[i];
        for (size_t q = 0; q < FLAT_QUERIES; q++)
            topk_release(&w->best[q]);
        free(w->scores);
        free(w->where);
        free(w->wide);
    }
    for (size_t q = 0; q < FLAT_QUERIES; q++)
        topk_release(&f->rescored[q]);
    free(f->workers);
    free(f->parts);
    free(f->first_row);
    free(f->int8.rows);
    free(f->int8.scales);
    free(f->int8.sums);
    free(f->int8.packed);
    free(f);
}

/* ---- search ---- */

/* Scores rows [row, row + n) of the part under way into w->scores (n,Q). */
static void score_block(const struct flat *f, struct worker *w, size_t row, size_t n)
{
    const struct index_vectors *v = &f->part->vectors;
    size_t D = f->D;
    switch (v->format) {
    case INDEX_VEC_F32:
        f->kernels->f32(w->scores, (const float *)v->rows + row * D, n, f->queries, f->Q, D, true);
        break;
    case INDEX_VEC_BF16:
        f->kernels->widen(w->wide, (const uint16_t *)v->rows + row * D, n * D);
        f->kernels->f32(w->scores, w->wide, n, f->queries, f->Q, D, false);
        break;
    case INDEX_VEC_INT8:
        f->kernels->int8(w->scores, (const int8_t *)v->rows + row * D, v->scales + row, n, &f->int8);
        break;
    }
}

static void search_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct flat *f = ctx;
    struct worker *w = &f->workers[worker];
    for (size_t row = begin; row < end; row += f->block) {
        size_t n = end - row < f->block ? end - row : f->block;
        score_block(f, w, row, n);
        size_t found = f->kernels->reach(w->where, w->scores, w->floors, n, f->Q);
        for (size_t i = 0; i < found; i++) {
            size_t at = w->where[i], q = at % f->Q, hit = row + at / f->Q;
            if (w->scores[at] < w->floors[q] || is_gone(f->part, hit))
                continue; /* the floor rose since, or the row does not count */
            topk_push(&w->best[q], w->scores[at], f->base + (uint32_t)hit, f->part->ordinals[hit]);
            w->floors[q] = topk_floor(&w->best[q]);
        }
    }
}

/* All workers' best of query q into that of the first worker, sorted. */
static struct topk *gather(const struct flat *f, size_t q)
{
    struct topk *best = &f->workers[0].best[q];
    for (size_t i = 1; i < f->n_workers; i++) {
        const struct topk *other = &f->workers[i].best[q];
        for (size_t j = 0; j < other->n; j++)
            topk_push(best, other->heap[j].score, other->heap[j].id, other->heap[j].ordinal);
    }
    topk_sort(best);
    return best;
}

static size_t part_of(const uint32_t *first_row, size_t n_parts, uint32_t row)
{
    size_t low = 0, high = n_parts; /* first_row[low] <= row < first_row[high] */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (first_row[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Score of a row by its f32 numbers where they are kept, else the one it has. */
static float score_again(const struct flat *f, const struct topk_hit *hit, const float *query)
{
    size_t p = part_of(f->first_row, f->n_parts, hit->id), row = hit->id - f->first_row[p];
    const struct index_vectors *v = &f->parts[p].vectors;
    if (v->format == INDEX_VEC_F32 || !v->rescore)
        return hit->score;
    float score;
    f->kernels->f32(&score, v->rescore + row * f->D, 1, query, 1, f->D, false);
    return score;
}

struct finish {
    struct flat *f;
    struct index_hit *hits;
    size_t *n_hits;
    size_t k;
};

static void finish_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct finish *job = ctx;
    struct flat *f = job->f;
    (void)worker;
    for (size_t q = begin; q < end; q++) {
        struct topk *best = gather(f, q);
        if (f->any_rescore) {
            struct topk *again = &f->rescored[q];
            topk_reset(again, job->k);
            for (size_t i = 0; i < best->n; i++)
                topk_push(again, score_again(f, &best->heap[i], f->queries + q * f->D), best->heap[i].id,
                          best->heap[i].ordinal);
            topk_sort(again);
            best = again;
        }
        struct index_hit *out = job->hits + q * job->k;
        for (size_t i = 0; i < best->n; i++) {
            size_t p = part_of(f->first_row, f->n_parts, best->heap[i].id);
            out[i] = (struct index_hit){.score = best->heap[i].score,
                                        .segment = (uint32_t)p,
                                        .row = best->heap[i].id - f->first_row[p],
                                        .ordinal = best->heap[i].ordinal};
        }
        job->n_hits[q] = best->n;
    }
}

enum trawl_status flat_search(struct flat *f, struct index_hit *hits, size_t *n_hits, const float *queries, size_t Q,
                              size_t k, size_t depth)
{
    assert(Q <= f->queries_max);
    size_t rows = f->first_row[f->n_parts], wanted = f->any_rescore && depth > k ? depth : k;
    wanted = wanted < rows ? wanted : rows;
    TRY(grow_heaps(f, wanted));
    f->queries = queries;
    f->Q = Q;
    f->k = wanted;
    for (size_t i = 0; i < f->n_workers; i++)
        for (size_t q = 0; q < Q; q++) {
            topk_reset(&f->workers[i].best[q], wanted);
            f->workers[i].floors[q] = topk_floor(&f->workers[i].best[q]);
        }
    if (f->any_int8) {
        f->int8.Q = Q;
        f->int8.D = f->D;
        dot_int8_prepare(&f->int8, queries, f->kernels);
    }
    for (size_t p = 0; p < f->n_parts && wanted; p++) {
        f->part = &f->parts[p];
        f->base = f->first_row[p];
        pool_run(f->part->vectors.n, f->grain, search_rows, f);
    }
    struct finish job = {.f = f, .hits = hits, .n_hits = n_hits, .k = k};
    pool_run(Q, 1, finish_queries, &job);
    return TRAWL_OK;
}

/* ---- the twin ---- */

static int by_rank(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->ordinal != y->ordinal)
        return x->ordinal < y->ordinal ? -1 : 1;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* One row's score by the plain kernels; `wide` (D) and `one` are scratch. */
static float plain_score(const struct index_vectors *v, size_t row, size_t D, const float *query,
                         const struct dot_queries *one, float *wide, bool again)
{
    float score = 0.0f;
    const struct dot_kernels *plain = &dot_kernels_ref;
    if (v->format == INDEX_VEC_F32 || (again && v->rescore))
        plain->f32(&score, (v->format == INDEX_VEC_F32 ? (const float *)v->rows : v->rescore) + row * D, 1, query, 1, D,
                   false);
    else if (v->format == INDEX_VEC_INT8)
        plain->int8(&score, (const int8_t *)v->rows + row * D, v->scales + row, 1, one);
    else {
        plain->widen(wide, (const uint16_t *)v->rows + row * D, D);
        plain->f32(&score, wide, 1, query, 1, D, false);
    }
    return score;
}

static size_t plain_query(struct index_hit *all, const struct flat_part *parts, size_t n_parts, size_t D,
                          const float *query, size_t k, size_t depth, struct dot_queries *one, float *wide)
{
    size_t n = 0;
    bool rescore = false;
    *one = (struct dot_queries){.Q = 1, .D = D, .rows = one->rows, .scales = one->scales, .sums = one->sums};
    dot_int8_prepare(one, query, &dot_kernels_ref);
    for (size_t p = 0; p < n_parts; p++) {
        rescore |= parts[p].vectors.rescore && parts[p].vectors.format != INDEX_VEC_F32;
        for (size_t row = 0; row < parts[p].vectors.n; row++)
            if (!is_gone(&parts[p], row))
                all[n++] = (struct index_hit){.score = plain_score(&parts[p].vectors, row, D, query, one, wide, false),
                                              .segment = (uint32_t)p,
                                              .row = (uint32_t)row,
                                              .ordinal = parts[p].ordinals[row]};
    }
    qsort(all, n, sizeof *all, by_rank);
    if (rescore) {
        size_t wanted = depth > k ? depth : k;
        n = n < wanted ? n : wanted;
        for (size_t i = 0; i < n; i++)
            all[i].score = plain_score(&parts[all[i].segment].vectors, all[i].row, D, query, one, wide, true);
        qsort(all, n, sizeof *all, by_rank);
    }
    return n < k ? n : k;
}

enum trawl_status flat_search_plain(struct index_hit *hits, size_t *n_hits, const struct flat_part *parts,
                                    size_t n_parts, size_t D, const float *queries, size_t Q, size_t k, size_t depth)
{
    enum trawl_status status = TRAWL_OK;
    size_t rows = 0;
    for (size_t p = 0; p < n_parts; p++)
        rows += parts[p].vectors.n;
    float scale;
    int32_t sum;
    struct index_hit *all = mem_array(rows, sizeof *all);
    float *wide = mem_array(D, sizeof *wide);
    struct dot_queries one = {.rows = mem_array(D, 1), .scales = &scale, .sums = &sum};
    if (!all || !wide || !one.rows) {
        status = mem_status();
        goto out;
    }
    for (size_t q = 0; q < Q; q++) {
        n_hits[q] = plain_query(all, parts, n_parts, D, queries + q * D, k, depth, &one, wide);
        memcpy(hits + q * k, all, n_hits[q] * sizeof *all);
    }
out:
    free(all);
    free(wide);
    free(one.rows);
    return status;
}
