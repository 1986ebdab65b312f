/*
 * A teacher whose scores are dots of vectors. A block of queries goes over the mapped documents once, tile by tile; the
 * threads share out the queries, 64 at a time, so that every query's candidates have one writer and results do not
 * depend on the number of threads. A tile stays in the last-level cache while all queries pass over it.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "data/vectors.h"
#include "math/dot.h"
#include "mine_int.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUERIES = 64,           /* scored together */
    ROWS_BYTES = 24 * 1024, /* of rows scored together: first-level cache */
    ROWS_MAX = 192,
    TILE_BYTES = 4 * 1024 * 1024,
    PARALLEL_GRAIN = 1,
};

struct worker {
    float *scores;   /* (rows, QUERIES) */
    uint32_t *where; /* (rows, QUERIES) */
    float floors[QUERIES];
};

struct vector_teacher {
    struct mine_teacher base;
    struct vectors documents, queries;
    uint32_t *row_of_doc, *doc_of_row; /* NULL: in the documents' order */
    size_t *row_of_query;              /* (set->n) */
    const struct dot_kernels *kernels;
    struct worker *workers;
    size_t n_workers, rows, tile;
    /* of the block under way */
    float *asked; /* (MINE_BLOCK, D) */
    struct collector *collectors;
    size_t n, begin, tile_begin, tile_end;
};

/* ---- which row is whose ---- */

static const char *id_of(const struct vectors *v, size_t row, size_t *n)
{
    *n = strlen(v->ids + v->id_begin[row]);
    return v->ids + v->id_begin[row];
}

static enum trawl_status match_documents(struct vector_teacher *t, const char *path)
{
    const struct vectors *v = &t->documents;
    const struct doc_set *docs = t->base.set->docs;
    size_t n = doc_set_n(docs);
    bool in_order = true;
    if (v->N != n)
        return fail(TRAWL_MISMATCH,
                    "'%s' has %zu vectors, but the corpus has %zu documents (vectors of another corpus?)", path, v->N,
                    n);
    if (!v->ids)
        return TRAWL_OK;
    t->row_of_doc = mem_array(n, sizeof *t->row_of_doc);
    t->doc_of_row = mem_array(n, sizeof *t->doc_of_row);
    if (!t->row_of_doc || !t->doc_of_row)
        return mem_status();
    memset(t->row_of_doc, 0xff, n * sizeof *t->row_of_doc);
    for (size_t row = 0; row < n; row++) {
        size_t bytes;
        const char *id = id_of(v, row, &bytes);
        uint32_t doc = doc_set_find(docs, id, bytes);
        if (doc == MAP_NONE)
            return fail(TRAWL_MISMATCH,
                        "'%s': row %zu is of document '%.200s', which is not in the corpus (vectors of "
                        "another corpus?)",
                        path, row, id);
        if (t->row_of_doc[doc] != UINT32_MAX)
            return fail(TRAWL_FORMAT, "'%s': document '%.200s' has two vectors", path, id);
        t->row_of_doc[doc] = (uint32_t)row;
        t->doc_of_row[row] = doc;
        in_order &= doc == row;
    }
    if (in_order) {
        free(t->row_of_doc);
        free(t->doc_of_row);
        t->row_of_doc = t->doc_of_row = NULL;
    }
    return TRAWL_OK;
}

/* Rows without ids: one for each query of the file, or one for each that is mined. */
static enum trawl_status count_queries(struct vector_teacher *t, const char *path)
{
    const struct mine_set *set = t->base.set;
    size_t n = t->queries.N;
    if (n != set->queries.n && n != set->n)
        return fail(TRAWL_MISMATCH, "'%s' has %zu vectors, but there are %zu queries, %zu of them with positives", path,
                    n, set->queries.n, set->n);
    for (size_t q = 0; q < set->n; q++)
        t->row_of_query[q] = n == set->queries.n ? set->asked[q] : q;
    return TRAWL_OK;
}

static enum trawl_status match_queries(struct vector_teacher *t, const char *path)
{
    const struct mine_set *set = t->base.set;
    const struct vectors *v = &t->queries;
    struct map rows = {0};
    enum trawl_status status = TRAWL_OK;
    t->row_of_query = mem_array(set->n, sizeof *t->row_of_query);
    if (!t->row_of_query)
        return mem_status();
    if (!v->ids)
        return count_queries(t, path);
    for (size_t row = 0; row < v->N; row++) {
        size_t n;
        uint32_t number;
        const char *id = id_of(v, row, &n);
        TRY_OUT(map_put(&rows, id, n, row, &number, NULL));
    }
    for (size_t q = 0; q < set->n; q++) {
        uint32_t found = map_find(&rows, set->items[q].id, strlen(set->items[q].id));
        if (found == MAP_NONE) {
            status = fail(TRAWL_MISMATCH, "'%s' has no vector of query '%.200s'", path, set->items[q].id);
            goto out;
        }
        t->row_of_query[q] = rows.values[found];
    }
out:
    map_release(&rows);
    return status;
}

/* ---- ranking ---- */

static const float *query_row(const struct vector_teacher *t, size_t query)
{
    return t->queries.rows + t->row_of_query[query] * t->documents.D;
}

static enum trawl_status score(struct mine_teacher *base, float *out, size_t query, const uint32_t *docs, size_t n)
{
    struct vector_teacher *t = (struct vector_teacher *)base;
    size_t D = t->documents.D;
    for (size_t i = 0; i < n; i++) {
        size_t row = t->row_of_doc ? t->row_of_doc[docs[i]] : docs[i];
        t->kernels->f32(&out[i], t->documents.rows + row * D, 1, query_row(t, query), 1, D, false);
    }
    return TRAWL_OK;
}

/* The rows of one piece against Q queries, those that may enter are pushed. */
static void scan_rows(const struct vector_teacher *t, struct worker *w, size_t group, size_t Q, size_t row, size_t n)
{
    size_t D = t->documents.D;
    struct collector *collectors = t->collectors + group * QUERIES;
    t->kernels->f32(w->scores, t->documents.rows + row * D, n, t->asked + group * QUERIES * D, Q, D, true);
    size_t found = t->kernels->reach(w->where, w->scores, w->floors, n, Q);
    for (size_t i = 0; i < found; i++) {
        size_t at = w->where[i], q = at % Q, hit = row + at / Q;
        if (w->scores[at] < w->floors[q])
            continue; /* the floor rose since */
        collector_push(&collectors[q], t->doc_of_row ? t->doc_of_row[hit] : (uint32_t)hit, w->scores[at]);
        w->floors[q] = collectors[q].floor;
    }
}

/* Groups of 64 queries over the tile. */
static void scan_tile(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct vector_teacher *t = ctx;
    struct worker *w = &t->workers[worker];
    for (size_t group = begin; group < end; group++) {
        size_t left = t->n - group * QUERIES, Q = left < QUERIES ? left : QUERIES;
        for (size_t q = 0; q < Q; q++)
            w->floors[q] = t->collectors[group * QUERIES + q].floor;
        for (size_t row = t->tile_begin; row < t->tile_end; row += t->rows)
            scan_rows(t, w, group, Q, row, t->tile_end - row < t->rows ? t->tile_end - row : t->rows);
    }
}

static void begin_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct vector_teacher *t = ctx;
    const struct mine_set *set = t->base.set;
    size_t D = t->documents.D;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const struct mine_query *query = &set->items[t->begin + i];
        memcpy(t->asked + i * D, query_row(t, t->begin + i), D * sizeof *t->asked);
        if (score(&t->base, t->collectors[i].positives, t->begin + i, query->positives, query->n_positives) == TRAWL_OK)
            collector_begin(&t->collectors[i]);
    }
}

static enum trawl_status rank(struct mine_teacher *base, struct collector *collectors, size_t begin, size_t n,
                              void (*step)(void *ctx, double share), void *ctx)
{
    struct vector_teacher *t = (struct vector_teacher *)base;
    size_t N = t->documents.N;
    t->collectors = collectors;
    t->begin = begin;
    t->n = n;
    pool_run(n, QUERIES, begin_queries, t);
    for (size_t row = 0; row < N; row += t->tile) {
        t->tile_begin = row;
        t->tile_end = N - row < t->tile ? N : row + t->tile;
        pool_run((n + QUERIES - 1) / QUERIES, PARALLEL_GRAIN, scan_tile, t);
        step(ctx, (double)t->tile_end / (double)N);
    }
    return TRAWL_OK;
}

/* ---- life ---- */

static void close_teacher(struct mine_teacher *base)
{
    struct vector_teacher *t = (struct vector_teacher *)base;
    for (size_t i = 0; i < t->n_workers; i++) {
        free(t->workers[i].scores);
        free(t->workers[i].where);
    }
    vectors_close(&t->documents);
    vectors_close(&t->queries);
    free(t->workers);
    free(t->asked);
    free(t->row_of_doc);
    free(t->doc_of_row);
    free(t->row_of_query);
    free(t);
}

static enum trawl_status make_workers(struct vector_teacher *t)
{
    size_t D = t->documents.D;
    t->kernels = dot_kernels();
    t->rows = ROWS_BYTES / (D * sizeof(float)) / 4 * 4;
    t->rows = t->rows < 4 ? 4 : t->rows > ROWS_MAX ? ROWS_MAX : t->rows;
    t->tile = (TILE_BYTES / (D * sizeof(float)) / t->rows + 1) * t->rows;
    t->asked = mem_aligned(MINE_BLOCK * D, sizeof *t->asked);
    t->workers = mem_array(pool_threads(), sizeof *t->workers);
    if (!t->asked || !t->workers)
        return mem_status();
    t->n_workers = pool_threads();
    for (size_t i = 0; i < t->n_workers; i++) {
        t->workers[i].scores = mem_aligned(t->rows * QUERIES, sizeof(float));
        t->workers[i].where = mem_aligned(t->rows * QUERIES, sizeof(uint32_t));
        if (!t->workers[i].scores || !t->workers[i].where)
            return mem_status();
    }
    return TRAWL_OK;
}

enum trawl_status mine_teacher_vectors(struct mine_teacher **out, const struct mine_set *set, const char *name,
                                       const char *documents, const char *queries)
{
    enum trawl_status status;
    struct vector_teacher *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    t->base.rank = rank;
    t->base.score = score;
    t->base.close = close_teacher;
    TRY_OUT(mine_teacher_begin(&t->base, set, name));
    TRY_OUT(vectors_open(&t->documents, documents));
    TRY_OUT(vectors_open(&t->queries, queries));
    if (t->documents.D != t->queries.D || t->documents.D > DOT_D_MAX) {
        status = fail(TRAWL_MISMATCH, "'%s' has %zu dimensions and '%s' has %zu", documents, t->documents.D, queries,
                      t->queries.D);
        goto out;
    }
    if (t->documents.has_contract && t->queries.has_contract)
        TRY_OUT(contract_check(&t->documents.query, &t->queries.query, queries));
    TRY_OUT(match_documents(t, documents));
    TRY_OUT(match_queries(t, queries));
    TRY_OUT(make_workers(t));
    *out = &t->base;
    return TRAWL_OK;
out:
    mine_teacher_close(&t->base);
    return status;
}
