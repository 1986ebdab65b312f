/*
 * Scoring of a whole run. Each query's hits are put in order, its judged documents are looked up among them (not the
 * other way round: judgements are few), and every measure is computed from that short list. Queries are independent, so
 * they are split over threads; averages are summed afterwards, in the order of queries.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "eval_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Room for one query, per worker; sized by the largest query. */
struct scratch {
    uint32_t *order, *rank_of, *rel_ranks; /* (hits), (hits), (judged) */
    struct place *judged;                  /* (judged) */
    int32_t *ideal;                        /* (judged) */
    double *ideal_dcg, *ideal_cost;        /* (judged + 1) */
    enum trawl_status status;
};

struct job {
    const struct qrels *qrels;
    const struct run *run;
    const struct measures *measures;
    struct eval_options options;
    const struct eval_result *result;
    uint32_t *run_queries; /* (n_queries) numbers in the run */
    double *log2s;
    struct scratch *scratch; /* (threads) */
    size_t max_hits, max_judged;
};

/* ---- one query ---- */

/* Order of the hits that count: without the query itself, cut at the cutoff. Sets rank_of, returns how many. */
static enum trawl_status rank_hits(size_t *n_ret, struct scratch *s, const struct job *job, const struct doc_list *hits,
                                   const char *query, size_t query_bytes)
{
    size_t n = 0;
    TRY(eval_order(s->order, hits, &job->run->ids));
    uint32_t self = job->options.drop_self ? doc_list_find(hits, &job->run->ids, query, query_bytes) : MAP_NONE;
    for (uint32_t i = 0; i < hits->n; i++) {
        uint32_t hit = s->order[i];
        bool counts = hit != self && (job->options.cutoff == 0 || n < job->options.cutoff);
        s->rank_of[hit] = counts ? (uint32_t)n++ : MAP_NONE;
    }
    *n_ret = n;
    return TRAWL_OK;
}

static int by_rank(const void *a, const void *b)
{
    uint32_t x = ((const struct place *)a)->rank, y = ((const struct place *)b)->rank;
    return (x > y) - (x < y);
}

static int descending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x < y) - (x > y);
}

/* The ideal ranking: grades above 0, best first, and what it would have gained by every place. */
static void make_ideal(struct ranking *r, struct scratch *s, const double *log2s)
{
    qsort(s->ideal, r->n_ideal, sizeof *s->ideal, descending);
    s->ideal_dcg[0] = s->ideal_cost[0] = 0.0;
    for (size_t i = 0; i < r->n_ideal; i++) {
        s->ideal_dcg[i + 1] = s->ideal_dcg[i] + (double)s->ideal[i] / log2s[i + 2];
        s->ideal_cost[i + 1] = s->ideal_cost[i] + (double)s->ideal[i];
    }
    r->ideal = s->ideal;
    r->ideal_dcg = s->ideal_dcg;
    r->ideal_cost = s->ideal_cost;
}

/* Documents with a grade, and where they came. */
static void place_judgements(struct ranking *r, struct scratch *s, const struct job *job, const struct doc_list *hits,
                             const struct doc_list *grades)
{
    for (uint32_t i = 0; i < grades->n; i++) {
        const struct doc_entry *j = &grades->items[i];
        uint32_t hit = doc_list_find(hits, &job->run->ids, job->qrels->ids.data + j->id, j->id_bytes);
        if (j->grade > 0)
            s->ideal[r->n_ideal++] = j->grade;
        r->n_rel += j->grade >= r->relevance;
        r->n_nonrel += j->grade >= 0 && j->grade < r->relevance;
        if (hit != MAP_NONE && s->rank_of[hit] != MAP_NONE)
            s->judged[r->n_judged++] = (struct place){s->rank_of[hit], j->grade};
    }
    qsort(s->judged, r->n_judged, sizeof *s->judged, by_rank);
}

/* Takes hits that nobody judged out of the ranking. */
static void close_ranks(struct ranking *r, struct scratch *s)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_judged; i++)
        if (s->judged[i].grade >= 0) {
            s->judged[n] = (struct place){(uint32_t)n, s->judged[i].grade};
            n++;
        }
    r->n_judged = r->n_ret = n;
}

static enum trawl_status rank_query(struct ranking *r, struct scratch *s, const struct job *job, uint32_t query,
                                    uint32_t run_query)
{
    const struct doc_list *hits = &job->run->items[run_query];
    size_t n;
    const char *id = map_key(&job->qrels->queries, query, &n);
    *r = (struct ranking){.relevance = job->options.relevance, .log2s = job->log2s};
    TRY(rank_hits(&r->n_ret, s, job, hits, id, n));
    place_judgements(r, s, job, hits, &job->qrels->items[query]);
    if (job->options.judged_only)
        close_ranks(r, s);
    for (size_t i = 0; i < r->n_judged; i++) {
        if (s->judged[i].grade >= r->relevance)
            s->rel_ranks[r->n_rel_ret++] = s->judged[i].rank;
        else
            r->n_nonrel_ret += s->judged[i].grade >= 0;
    }
    make_ideal(r, s, job->log2s);
    r->judged = s->judged;
    r->rel_ranks = s->rel_ranks;
    return TRAWL_OK;
}

static void score_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct job *job = ctx;
    const struct measures *m = job->measures;
    struct scratch *s = &job->scratch[worker];
    for (size_t q = begin; q < end && s->status == TRAWL_OK; q++) {
        struct ranking r;
        s->status = rank_query(&r, s, job, job->result->queries[q], job->run_queries[q]);
        for (size_t i = 0; i < m->n && s->status == TRAWL_OK; i++) {
            const struct measure_family *family = m->items[i].family;
            job->result->values[q * m->n + i] = family->score ? family->score(&r, m->items[i].param) : 1.0;
        }
    }
}

/* ---- all queries ---- */

struct pair {
    uint32_t query, run_query;
};

static int by_id(const void *a, const void *b, void *ctx)
{
    const struct map *queries = ctx;
    size_t n, m;
    const char *x = map_key(queries, ((const struct pair *)a)->query, &n);
    const char *y = map_key(queries, ((const struct pair *)b)->query, &m);
    int order = memcmp(x, y, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* Queries in both files, by id. */
static enum trawl_status pair_queries(struct eval_result *result, struct job *job)
{
    const struct map *judged = &job->qrels->queries, *found = &job->run->queries;
    struct pair *pairs = mem_array(found->n, sizeof *pairs);
    result->queries = mem_array(found->n, sizeof *result->queries);
    job->run_queries = mem_array(found->n, sizeof *job->run_queries);
    if (!pairs || !result->queries || !job->run_queries) {
        free(pairs);
        return mem_status();
    }
    for (uint32_t i = 0; i < found->n; i++) {
        size_t n;
        const char *id = map_key(found, i, &n);
        uint32_t query = map_find(judged, id, n);
        if (query == MAP_NONE)
            result->n_unjudged++;
        else
            pairs[result->n_queries++] = (struct pair){query, i};
    }
    qsort_r(pairs, result->n_queries, sizeof *pairs, by_id, (void *)judged);
    for (size_t i = 0; i < result->n_queries; i++) {
        result->queries[i] = pairs[i].query;
        job->run_queries[i] = pairs[i].run_query;
        uint32_t n_hits = job->run->items[pairs[i].run_query].n, n_judged = job->qrels->items[pairs[i].query].n;
        job->max_hits = n_hits > job->max_hits ? n_hits : job->max_hits;
        job->max_judged = n_judged > job->max_judged ? n_judged : job->max_judged;
    }
    free(pairs);
    result->n_judged = judged->n;
    return TRAWL_OK;
}

static enum trawl_status make_scratch(struct job *job)
{
    size_t most = (job->max_hits > job->max_judged ? job->max_hits : job->max_judged) + 3, n = job->max_judged + 1;
    job->log2s = mem_array(most, sizeof *job->log2s);
    job->scratch = mem_array(pool_threads(), sizeof *job->scratch);
    if (!job->log2s || !job->scratch)
        return mem_status();
    for (size_t i = 1; i < most; i++)
        job->log2s[i] = log2((double)i);
    for (size_t w = 0; w < pool_threads(); w++) {
        struct scratch *s = &job->scratch[w];
        s->order = mem_array(job->max_hits, sizeof *s->order);
        s->rank_of = mem_array(job->max_hits, sizeof *s->rank_of);
        s->rel_ranks = mem_array(n, sizeof *s->rel_ranks);
        s->judged = mem_array(n, sizeof *s->judged);
        s->ideal = mem_array(n, sizeof *s->ideal);
        s->ideal_dcg = mem_array(n, sizeof *s->ideal_dcg);
        s->ideal_cost = mem_array(n, sizeof *s->ideal_cost);
        if (!s->order || !s->rank_of || !s->rel_ranks || !s->judged || !s->ideal || !s->ideal_dcg || !s->ideal_cost)
            return mem_status();
    }
    return TRAWL_OK;
}

static void free_job(struct job *job)
{
    for (size_t w = 0; job->scratch && w < pool_threads(); w++) {
        struct scratch *s = &job->scratch[w];
        void *const all[] = {s->order, s->rank_of, s->rel_ranks, s->judged, s->ideal, s->ideal_dcg, s->ideal_cost};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    free(job->scratch);
    free(job->log2s);
    free(job->run_queries);
}

static enum trawl_status run_job(struct job *job)
{
    pool_run(job->result->n_queries, 16, score_queries, job);
    for (size_t w = 0; w < pool_threads(); w++)
        if (job->scratch[w].status != TRAWL_OK) /* the message is the worker's own: only memory can lack */
            return fail(job->scratch[w].status, "no memory to evaluate");
    return TRAWL_OK;
}

/* Column i over all queries; with `complete` the missing ones count as the worst there is. */
static double aggregate(const struct eval_result *r, const struct measures *m, size_t i, bool complete)
{
    const struct measure_family *family = m->items[i].family;
    double sum = 0.0, n = (double)(complete ? r->n_judged : r->n_queries);
    for (size_t q = 0; q < r->n_queries; q++)
        sum += r->values[q * m->n + i];
    switch (family->aggregate) {
    case AGGREGATE_SUM:
        return sum;
    case AGGREGATE_QUERIES:
        return n;
    case AGGREGATE_GEOMETRIC:
        sum += (n - (double)r->n_queries) * log(LEAST_GEOMETRIC);
        return n > 0 ? exp(sum / n) : 0.0;
    default:
        return n > 0 ? sum / n : 0.0;
    }
}

enum trawl_status eval_run(struct eval_result *result, const struct qrels *qrels, const struct run *run,
                           const struct measures *measures, const struct eval_options *options)
{
    struct job job = {.qrels = qrels, .run = run, .measures = measures, .result = result};
    enum trawl_status status;
    *result = (struct eval_result){0};
    if (options)
        job.options = *options;
    if (job.options.relevance == 0)
        job.options.relevance = 1;
    TRY_OUT(pair_queries(result, &job));
    result->values = mem_array(result->n_queries * measures->n, sizeof *result->values);
    result->all = mem_array(measures->n, sizeof *result->all);
    if (!result->values || !result->all) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(make_scratch(&job));
    TRY_OUT(run_job(&job));
    for (size_t i = 0; i < measures->n; i++)
        result->all[i] = aggregate(result, measures, i, job.options.complete);
out:
    free_job(&job);
    if (status != TRAWL_OK)
        eval_result_release(result);
    return status;
}

void eval_result_release(struct eval_result *result)
{
    if (!result)
        return;
    free(result->queries);
    free(result->values);
    free(result->all);
    *result = (struct eval_result){0};
}
