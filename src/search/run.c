/* Whole runs: queries in file order, a group of batches at a time, hits named by their ids. */
#include "search.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HIT_BYTES = 256 << 20 }; /* of hits held at once */

struct job {
    const struct index *ix;
    const struct queries *queries;
    const struct vectors *vectors;
    struct searcher *searcher;
    size_t k, n, group; /* queries searched together */
    struct search_query batch[SEARCH_BATCH];
    struct index_hit *hits; /* (group,k) */
    size_t n_hits[SEARCH_BATCH];
    search_result_fn fn;
    void *ctx;
    struct search_counts counts;
};

/* Id of query q; `number` (24) holds it where it is only a number. */
static const char *query_id(const struct job *j, size_t q, char *number)
{
    if (j->queries)
        return j->queries->items[q].id;
    if (j->vectors->ids)
        return j->vectors->ids + j->vectors->id_begin[q];
    snprintf(number, 24, "%zu", q);
    return number;
}

static enum trawl_status check_ids(const struct queries *queries, const struct vectors *vectors)
{
    if (queries->n != vectors->N)
        return fail(TRAWL_MISMATCH,
                    "%zu queries and %zu query vectors: there must be a vector for each query, in order", queries->n,
                    vectors->N);
    for (size_t q = 0; vectors->ids && q < queries->n; q++) {
        const char *id = vectors->ids + vectors->id_begin[q];
        if (strcmp(id, queries->items[q].id) != 0)
            return fail(TRAWL_MISMATCH, "query %zu is '%s', its vector is that of '%s': they must be in the same order",
                        q + 1, queries->items[q].id, id);
    }
    return TRAWL_OK;
}

static enum trawl_status check_vectors(const struct job *j, const struct search_options *options)
{
    size_t dense = searcher_dense_field(j->searcher);
    if (!j->vectors || dense == SIZE_MAX)
        return TRAWL_OK;
    const struct index_field *field = index_field(j->ix, dense);
    if (j->vectors->D != field->D)
        return fail(TRAWL_MISMATCH, "'%s' field '%s' has %zu dimensions, the query vectors have %zu", index_path(j->ix),
                    field->name, field->D, j->vectors->D);
    if (!j->vectors->has_contract || !field->has_contract || options->force)
        return TRAWL_OK;
    enum trawl_status status = contract_check(&field->query, &j->vectors->query, "the query vectors");
    return status
               ? fail_context(status, "'%s' field '%s' (--force searches all the same)", index_path(j->ix), field->name)
               : TRAWL_OK;
}

static void take_batch(struct job *j, size_t begin, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        j->batch[i] = (struct search_query){0};
        if (j->queries) {
            j->batch[i].text = j->queries->items[begin + i].text;
            j->batch[i].n = j->queries->items[begin + i].text_bytes;
        }
        if (j->vectors)
            j->batch[i].vector = j->vectors->rows + (begin + i) * j->vectors->D;
    }
}

static enum trawl_status hand_out(struct job *j, size_t query, size_t i)
{
    char number[24];
    struct search_result result = {.query_id = query_id(j, query, number),
                                   .query = j->queries ? j->queries->items[query].text : "",
                                   .query_bytes = j->queries ? j->queries->items[query].text_bytes : 0,
                                   .hits = j->hits + i * j->k,
                                   .n_hits = j->n_hits[i]};
    j->counts.hits += result.n_hits;
    j->counts.without_hits += result.n_hits == 0;
    return j->fn(j->ctx, &result);
}

static enum trawl_status search_all(struct job *j)
{
    struct progress progress;
    if (j->n > 1)
        progress_begin(&progress, "search", j->n, "queries");
    for (size_t begin = 0; begin < j->n; begin += j->group) {
        size_t n = j->n - begin < j->group ? j->n - begin : j->group;
        take_batch(j, begin, n);
        enum trawl_status status = searcher_batch(j->searcher, j->hits, j->n_hits, j->batch, n);
        if (status != TRAWL_OK)
            return fail_context(status, "queries %zu to %zu", begin + 1, begin + n);
        for (size_t i = 0; i < n; i++)
            TRY(hand_out(j, begin + i, i));
        if (j->n > 1)
            progress_set(&progress, begin + n);
    }
    if (j->n > 1)
        progress_end(&progress);
    return TRAWL_OK;
}

static bool is_blank(const struct query *query)
{
    return strspn(query->text, " \t\r\n\f\v") == query->text_bytes;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static enum trawl_status search_with(struct job *j, struct search_options *options)
{
    uint64_t n_documents = index_n_documents(j->ix);
    if (options->k > n_documents)
        options->k = n_documents ? (size_t)n_documents : 1;
    j->k = options->k;
    options->vectors = j->vectors != NULL;
    options->no_text = j->queries == NULL;
    if (j->queries && j->vectors)
        TRY(check_ids(j->queries, j->vectors));
    TRY(searcher_new(&j->searcher, j->ix, options));
    TRY(check_vectors(j, options));
    size_t fit = HIT_BYTES / sizeof *j->hits / j->k;
    j->group = fit < 1 ? 1 : fit < SEARCH_BATCH ? fit : SEARCH_BATCH;
    j->hits = mem_array(j->group * j->k, sizeof *j->hits);
    if (!j->hits)
        return mem_status();
    j->counts.queries = j->n;
    j->counts.mode = searcher_mode(j->searcher);
    for (size_t q = 0; j->queries && !j->vectors && q < j->n; q++)
        j->counts.empty += is_blank(&j->queries->items[q]);
    double begun = now();
    TRY(search_all(j));
    j->counts.seconds = now() - begun;
    const struct encoder_counts *encoded = searcher_counts(j->searcher);
    j->counts.cut = encoded ? encoded->cut : 0;
    return TRAWL_OK;
}

enum trawl_status search_each(const struct index *ix, const struct queries *queries, const struct vectors *vectors,
                              const struct search_options *options, search_result_fn fn, void *ctx,
                              struct search_counts *counts)
{
    assert(queries || vectors);
    struct search_options own = *options;
    struct job *j = mem_array(1, sizeof *j);
    if (!j)
        return mem_status();
    *j = (struct job){.ix = ix, .queries = queries, .vectors = vectors, .fn = fn, .ctx = ctx};
    j->n = queries ? queries->n : vectors->N;
    enum trawl_status status = search_with(j, &own);
    if (counts)
        *counts = j->counts;
    searcher_free(j->searcher);
    free(j->hits);
    free(j);
    return status;
}

struct run_maker {
    struct run *run;
    const struct index *ix;
    struct buf id; /* of a document, NUL-terminated */
};

static enum trawl_status add_to_run(void *ctx, const struct search_result *result)
{
    struct run_maker *m = ctx;
    TRY(run_add_query(m->run, result->query_id));
    for (size_t i = 0; i < result->n_hits; i++) {
        const struct index_hit *hit = &result->hits[i];
        const char *id;
        size_t n;
        TRY(index_document_id(m->ix, &id, &n, hit->segment, hit->row));
        buf_reset(&m->id);
        TRY(buf_append(&m->id, id, n));
        TRY(run_add(m->run, result->query_id, m->id.data, hit->score));
    }
    return TRAWL_OK;
}

enum trawl_status search_run_vectors(struct run *out, const struct index *ix, const struct queries *queries,
                                     const struct vectors *vectors, const struct search_options *options,
                                     struct search_counts *counts)
{
    struct run_maker maker = {.run = out, .ix = ix};
    *out = (struct run){0};
    enum trawl_status status = search_each(ix, queries, vectors, options, add_to_run, &maker, counts);
    buf_release(&maker.id);
    if (status != TRAWL_OK)
        run_release(out);
    return status;
}

enum trawl_status search_run(struct run *out, const struct index *ix, const struct queries *queries,
                             const struct search_options *options)
{
    return search_run_vectors(out, ix, queries, NULL, options, NULL);
}
