/*
 * BM25 as a teacher. Candidates are documents that share a term with the query; the others score 0. A short search is
 * enough for most queries; where it finds too little, every document is ranked.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "index/index.h"
#include "mine_int.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST_HITS = 1000 };

struct worker {
    struct lexical_searcher *searcher;
    struct index_hit *hits;
    size_t room;
    enum trawl_status status;
};

struct lexical_teacher {
    struct mine_teacher base;
    struct index *index;
    size_t field;
    double k1, b;
    uint32_t **doc_of_row; /* (segments) (rows) */
    struct worker *workers;
    size_t n_workers;
    /* of the block under way */
    struct collector *collectors;
    size_t begin;
    size_t scored, n_scored; /* the query whose hits the first worker holds, SIZE_MAX: none */
};

static uint32_t doc_of(const struct lexical_teacher *t, const struct index_hit *hit)
{
    return t->doc_of_row[hit->segment][hit->row];
}

static enum trawl_status search(struct lexical_teacher *t, struct worker *w, size_t query, size_t k, size_t *n)
{
    const struct mine_query *q = &t->base.set->items[query];
    if (k > w->room) {
        free(w->hits);
        lexical_searcher_free(w->searcher);
        w->searcher = NULL;
        w->room = 0;
        w->hits = mem_array(k, sizeof *w->hits);
        if (!w->hits)
            return mem_status();
        TRY(lexical_searcher_new(&w->searcher, t->index, t->field, k));
        w->room = k;
    }
    return lexical_search(w->searcher, w->hits, n, q->text, q->text_bytes, k, t->k1, t->b, false);
}

/* Scores of documents among the hits; `rest` for those that are not. Returns how many are not. */
static size_t look_up(const struct lexical_teacher *t, float *out, const uint32_t *docs, size_t n,
                      const struct index_hit *hits, size_t n_hits, float rest)
{
    size_t missing = n;
    for (size_t i = 0; i < n; i++)
        out[i] = rest;
    for (size_t h = 0; h < n_hits && missing; h++)
        for (size_t i = 0; i < n; i++)
            if (docs[i] == doc_of(t, &hits[h])) {
                out[i] = hits[h].score;
                missing--;
            }
    return missing;
}

static void collect(const struct lexical_teacher *t, struct collector *c, const struct index_hit *hits, size_t n)
{
    collector_begin(c);
    for (size_t h = 0; h < n; h++)
        if (hits[h].score >= c->floor)
            collector_push(c, doc_of(t, &hits[h]), hits[h].score);
}

static enum trawl_status rank_query(struct lexical_teacher *t, struct worker *w, size_t i)
{
    struct collector *c = &t->collectors[i];
    const struct mine_query *q = &t->base.set->items[t->begin + i];
    size_t n, all = doc_set_n(t->base.set->docs), k = all < FIRST_HITS ? all : FIRST_HITS;
    TRY(search(t, w, t->begin + i, k, &n));
    if (n == k && k < all) {
        size_t missing = look_up(t, c->positives, q->positives, q->n_positives, w->hits, n, NAN);
        if (!missing) {
            collect(t, c, w->hits, n);
            if (collector_is_full(c))
                return TRAWL_OK;
        }
        collector_clear(c);
        TRY(search(t, w, t->begin + i, all, &n));
    }
    look_up(t, c->positives, q->positives, q->n_positives, w->hits, n, 0.0f);
    collect(t, c, w->hits, n);
    return TRAWL_OK;
}

static void rank_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct lexical_teacher *t = ctx;
    struct worker *w = &t->workers[worker];
    for (size_t i = begin; i < end && w->status == TRAWL_OK; i++)
        w->status = rank_query(t, w, i);
}

static enum trawl_status rank(struct mine_teacher *base, struct collector *collectors, size_t begin, size_t n,
                              void (*step)(void *ctx, double share), void *ctx)
{
    struct lexical_teacher *t = (struct lexical_teacher *)base;
    t->collectors = collectors;
    t->begin = begin;
    t->scored = SIZE_MAX;
    pool_run(n, 4, rank_queries, t);
    for (size_t i = 0; i < t->n_workers; i++)
        if (t->workers[i].status != TRAWL_OK)
            return fail(t->workers[i].status, "'%s': BM25 could not rank the corpus", t->base.name);
    step(ctx, 1.0);
    return TRAWL_OK;
}

static enum trawl_status score(struct mine_teacher *base, float *out, size_t query, const uint32_t *docs, size_t n)
{
    struct lexical_teacher *t = (struct lexical_teacher *)base;
    if (t->scored != query) {
        t->scored = SIZE_MAX;
        TRY(search(t, &t->workers[0], query, doc_set_n(base->set->docs), &t->n_scored));
        t->scored = query;
    }
    look_up(t, out, docs, n, t->workers[0].hits, t->n_scored, 0.0f);
    return TRAWL_OK;
}

/* ---- life ---- */

static void close_teacher(struct mine_teacher *base)
{
    struct lexical_teacher *t = (struct lexical_teacher *)base;
    for (size_t i = 0; i < t->n_workers; i++) {
        lexical_searcher_free(t->workers[i].searcher);
        free(t->workers[i].hits);
    }
    for (size_t s = 0; t->doc_of_row && s < index_n_segments(t->index); s++)
        free(t->doc_of_row[s]);
    free(t->doc_of_row);
    free(t->workers);
    index_close(t->index);
    free(t);
}

static enum trawl_status match_rows(struct lexical_teacher *t)
{
    size_t n_segments = index_n_segments(t->index);
    const struct doc_set *docs = t->base.set->docs;
    if (index_n_documents(t->index) != doc_set_n(docs) || index_n_rows(t->index) != doc_set_n(docs))
        return fail(TRAWL_MISMATCH, "'%s' is not an index of this corpus, a row for each document",
                    index_path(t->index));
    t->doc_of_row = mem_array(n_segments, sizeof *t->doc_of_row);
    if (!t->doc_of_row)
        return mem_status();
    for (size_t s = 0; s < n_segments; s++) {
        uint32_t rows = index_segment(t->index, s)->n;
        t->doc_of_row[s] = mem_array(rows, sizeof **t->doc_of_row);
        if (!t->doc_of_row[s])
            return mem_status();
        for (uint32_t row = 0; row < rows; row++) {
            const char *id;
            size_t n;
            TRY(index_document_id(t->index, &id, &n, s, row));
            t->doc_of_row[s][row] = doc_set_find(docs, id, n);
            if (t->doc_of_row[s][row] == MAP_NONE)
                return fail(TRAWL_MISMATCH, "'%s' has document '%.*s', which is not in the corpus",
                            index_path(t->index), (int)n, id);
        }
    }
    return TRAWL_OK;
}

enum trawl_status mine_teacher_lexical(struct mine_teacher **out, const struct mine_set *set, const char *name,
                                       const char *index)
{
    enum trawl_status status;
    struct lexical_teacher *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    t->base.rank = rank;
    t->base.score = score;
    t->base.close = close_teacher;
    t->scored = SIZE_MAX;
    TRY_OUT(mine_teacher_begin(&t->base, set, name));
    TRY_OUT(index_open(&t->index, index));
    TRY_OUT(index_find_field(t->index, &t->field, INDEX_LEXICAL, NULL));
    t->k1 = index_field(t->index, t->field)->k1;
    t->b = index_field(t->index, t->field)->b;
    TRY_OUT(match_rows(t));
    t->workers = mem_array(pool_threads(), sizeof *t->workers);
    status = t->workers ? TRAWL_OK : mem_status();
    t->n_workers = t->workers ? pool_threads() : 0;
    if (status == TRAWL_OK) {
        *out = &t->base;
        return TRAWL_OK;
    }
out:
    mine_teacher_close(&t->base);
    return status;
}
