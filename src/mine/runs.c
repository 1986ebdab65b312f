/*
 * Teachers that were asked elsewhere: a run (the documents that it has are candidates, others have no score) or a
 * matrix with a score of every document for every query.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "data/vectors.h"
#include "mine_int.h"
#include <stdlib.h>
#include <string.h>

struct run_teacher {
    struct mine_teacher base;
    struct run run;
    uint32_t *list_of_query; /* (set->n) MAP_NONE: the run lacks the query */
    bool has_run;
    struct vectors matrix;
    /* of the block under way */
    struct collector *collectors;
    size_t begin;
};

/* ---- runs ---- */

static const struct doc_list *list_of(const struct run_teacher *t, size_t query)
{
    static const struct doc_list none;
    uint32_t list = t->list_of_query[query];
    return list == MAP_NONE ? &none : &t->run.items[list];
}

static enum trawl_status score_run(struct mine_teacher *base, float *out, size_t query, const uint32_t *docs, size_t n)
{
    const struct run_teacher *t = (const struct run_teacher *)base;
    const struct doc_list *list = list_of(t, query);
    for (size_t i = 0; i < n; i++) {
        struct document doc;
        doc_set_get(base->set->docs, docs[i], &doc);
        uint32_t hit = list->n ? doc_list_find(list, &t->run.ids, doc.id, doc.id_bytes) : MAP_NONE;
        out[i] = hit == MAP_NONE ? NAN : list->items[hit].score;
    }
    return TRAWL_OK;
}

static enum trawl_status rank_run(struct mine_teacher *base, struct collector *collectors, size_t begin, size_t n,
                                  void (*step)(void *ctx, double share), void *ctx)
{
    const struct run_teacher *t = (const struct run_teacher *)base;
    for (size_t i = 0; i < n; i++) {
        const struct mine_query *query = &base->set->items[begin + i];
        const struct doc_list *list = list_of(t, begin + i);
        TRY(score_run(base, collectors[i].positives, begin + i, query->positives, query->n_positives));
        collector_begin(&collectors[i]);
        for (uint32_t h = 0; h < list->n; h++) {
            const struct doc_entry *hit = &list->items[h];
            collector_push(&collectors[i], doc_set_find(base->set->docs, t->run.ids.data + hit->id, hit->id_bytes),
                           hit->score);
        }
        step(ctx, (double)(i + 1) / (double)n);
    }
    return TRAWL_OK;
}

static enum trawl_status open_run(struct run_teacher *t, const char *path)
{
    const struct mine_set *set = t->base.set;
    size_t missing = 0, unscored = 0;
    TRY(run_read(&t->run, path));
    t->has_run = true;
    t->list_of_query = mem_array(set->n, sizeof *t->list_of_query);
    if (!t->list_of_query)
        return mem_status();
    for (size_t q = 0; q < set->n; q++) {
        t->list_of_query[q] = map_find(&t->run.queries, set->items[q].id, strlen(set->items[q].id));
        const struct doc_list *list = list_of(t, q);
        missing += t->list_of_query[q] == MAP_NONE;
        for (uint32_t h = 0; h < list->n; h++) {
            const char *doc = t->run.ids.data + list->items[h].id;
            if (doc_set_find(set->docs, doc, list->items[h].id_bytes) == MAP_NONE)
                return fail(TRAWL_MISMATCH,
                            "'%s': query '%.200s' has document '%.200s', which is not in the corpus (a run over "
                            "another corpus?)",
                            path, set->items[q].id, doc);
        }
        for (size_t p = 0; p < set->items[q].n_positives && t->list_of_query[q] != MAP_NONE; p++) {
            float score;
            TRY(score_run(&t->base, &score, q, &set->items[q].positives[p], 1));
            unscored += isnan(score);
        }
    }
    if (missing == set->n)
        return fail(TRAWL_MISMATCH, "'%s' has none of the %zu queries that are mined (a run of another split?)", path,
                    set->n);
    if (missing)
        log_warn("'%s' lacks %zu of %zu queries: they get no negatives from it", path, missing, set->n);
    if (unscored)
        log_warn("'%s' has no score of %zu positives: they are left out of the anchors", path, unscored);
    return TRAWL_OK;
}

/* ---- matrices ---- */

static const float *matrix_row(const struct run_teacher *t, size_t query)
{
    const struct mine_set *set = t->base.set;
    return t->matrix.rows + (t->matrix.N == set->queries.n ? set->asked[query] : query) * t->matrix.D;
}

static enum trawl_status score_matrix(struct mine_teacher *base, float *out, size_t query, const uint32_t *docs,
                                      size_t n)
{
    const float *row = matrix_row((const struct run_teacher *)base, query);
    for (size_t i = 0; i < n; i++)
        out[i] = row[docs[i]];
    return TRAWL_OK;
}

static void scan_matrix(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct run_teacher *t = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct collector *c = &t->collectors[i];
        const struct mine_query *query = &t->base.set->items[t->begin + i];
        const float *row = matrix_row(t, t->begin + i);
        for (size_t p = 0; p < query->n_positives; p++)
            c->positives[p] = row[query->positives[p]];
        collector_begin(c);
        for (uint32_t doc = 0; doc < t->matrix.D; doc++)
            if (row[doc] >= c->floor)
                collector_push(c, doc, row[doc]);
    }
}

static enum trawl_status rank_matrix(struct mine_teacher *base, struct collector *collectors, size_t begin, size_t n,
                                     void (*step)(void *ctx, double share), void *ctx)
{
    struct run_teacher *t = (struct run_teacher *)base;
    t->collectors = collectors;
    t->begin = begin;
    pool_run(n, 16, scan_matrix, t);
    step(ctx, 1.0);
    return TRAWL_OK;
}

static enum trawl_status open_matrix(struct run_teacher *t, const char *path)
{
    const struct mine_set *set = t->base.set;
    TRY(vectors_open(&t->matrix, path));
    if (t->matrix.D != doc_set_n(set->docs))
        return fail(TRAWL_MISMATCH, "'%s' has scores of %zu documents, but the corpus has %zu", path, t->matrix.D,
                    doc_set_n(set->docs));
    if (t->matrix.N != set->queries.n && t->matrix.N != set->n)
        return fail(TRAWL_MISMATCH, "'%s' has scores of %zu queries, but there are %zu, %zu of them with positives",
                    path, t->matrix.N, set->queries.n, set->n);
    t->base.rank = rank_matrix;
    t->base.score = score_matrix;
    return TRAWL_OK;
}

/* ---- life ---- */

static void close_teacher(struct mine_teacher *base)
{
    struct run_teacher *t = (struct run_teacher *)base;
    if (t->has_run)
        run_release(&t->run);
    vectors_close(&t->matrix);
    free(t->list_of_query);
    free(t);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

enum trawl_status mine_teacher_run(struct mine_teacher **out, const struct mine_set *set, const char *name,
                                   const char *path)
{
    enum trawl_status status;
    struct run_teacher *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    t->base.rank = rank_run;
    t->base.score = score_run;
    t->base.close = close_teacher;
    TRY_OUT(mine_teacher_begin(&t->base, set, name));
    TRY_OUT(ends_with(path, ".npy") ? open_matrix(t, path) : open_run(t, path));
    *out = &t->base;
    return TRAWL_OK;
out:
    mine_teacher_close(&t->base);
    return status;
}
