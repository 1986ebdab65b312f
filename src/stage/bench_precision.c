/*
 * bench precision: the same texts in f32 and in each other precision. Vectors are compared one by one (cosine); with a
 * dataset, its queries are searched exhaustively among the same documents and scored by nDCG@10, so that what a
 * precision costs is seen where it matters.
 */
#include "bench_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/topk.h"
#include "eval/eval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 10 };

/* Documents, queries and judgements of the measurement. */
struct collection {
    struct bench_texts docs;
    struct queries queries;
    size_t n_queries; /* the judged ones come first in `queries` */
    struct qrels qrels;
    const char **ids; /* (docs.n) */
    bool judged;
};

/* What one precision gave. */
struct outcome {
    float *docs, *queries; /* (docs.n, D), (n_queries, D) */
    size_t D;
    double texts_per_second, ndcg;
};

/* ---- the collection ---- */

static enum trawl_status read_judged(struct collection *c, const char *folder)
{
    char *path = file_join(folder, "qrels/test.tsv");
    if (!path)
        return mem_status();
    enum trawl_status status = qrels_read(&c->qrels, path);
    free(path);
    TRY(status);
    c->judged = true;
    TRY(queries_read(&c->queries, folder, false));
    for (size_t q = 0; q < c->queries.n; q++) {
        struct query item = c->queries.items[q];
        if (map_find(&c->qrels.queries, item.id, strlen(item.id)) == MAP_NONE)
            continue;
        c->queries.items[q] = c->queries.items[c->n_queries];
        c->queries.items[c->n_queries++] = item;
    }
    return TRAWL_OK;
}

static bool is_judged(const struct map *judged, const char *id)
{
    return map_find(judged, id, strlen(id)) != MAP_NONE;
}

static enum trawl_status judged_ids(struct map *judged, const struct qrels *qrels)
{
    uint32_t id;
    for (size_t q = 0; q < qrels->queries.n; q++)
        for (size_t i = 0; i < qrels->items[q].n; i++) {
            const struct doc_entry *doc = &qrels->items[q].items[i];
            TRY(map_put(judged, qrels->ids.data + doc->id, doc->id_bytes, 0, &id, NULL));
        }
    return TRAWL_OK;
}

/* Keeps judged documents and the first others, `limit` in all, in the order of the corpus. */
static enum trawl_status keep_judged(struct collection *c, size_t limit)
{
    struct map judged = {0};
    enum trawl_status status;
    size_t n_judged = 0, kept = 0, others = 0;
    TRY_OUT(judged_ids(&judged, &c->qrels));
    for (size_t i = 0; i < c->docs.n; i++)
        n_judged += is_judged(&judged, c->ids[i]);
    size_t room = limit > n_judged ? limit - n_judged : 0;
    for (size_t i = 0; i < c->docs.n; i++) {
        if (!is_judged(&judged, c->ids[i]) && others++ >= room)
            continue;
        c->docs.views[kept] = c->docs.views[i];
        c->ids[kept++] = c->ids[i];
    }
    c->docs.n = kept;
out:
    map_release(&judged);
    return status;
}

static enum trawl_status read_collection(struct collection *c, const struct trawl_bench_options *o)
{
    if (!o->corpus && !o->dataset)
        return fail(TRAWL_USAGE, "give texts with '--corpus', or a collection with '--dataset'");
    TRY(bench_texts_read(&c->docs, o->dataset ? o->dataset : o->corpus, o->dataset ? 0 : o->texts));
    c->ids = mem_array(c->docs.n, sizeof *c->ids);
    if (!c->ids)
        return mem_status();
    const char *id = c->docs.ids.data;
    for (size_t i = 0; i < c->docs.n; i++, id += strlen(id) + 1)
        c->ids[i] = id;
    if (!o->dataset)
        return TRAWL_OK;
    TRY(read_judged(c, o->dataset));
    return o->texts ? keep_judged(c, o->texts) : TRAWL_OK;
}

static void release_collection(struct collection *c)
{
    bench_texts_release(&c->docs);
    queries_release(&c->queries);
    qrels_release(&c->qrels);
    free(c->ids);
}

/* ---- searching ---- */

struct search {
    const struct outcome *vectors;
    size_t n_docs;
    struct topk *hits; /* (n_queries) */
};

static void search_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct search *s = ctx;
    size_t D = s->vectors->D;
    (void)worker;
    for (size_t q = begin; q < end; q++) {
        const float *query = s->vectors->queries + q * D;
        for (size_t d = 0; d < s->n_docs; d++) {
            double dot = 0.0;
            for (size_t k = 0; k < D; k++)
                dot += (double)query[k] * (double)s->vectors->docs[d * D + k];
            topk_push(&s->hits[q], (float)dot, (uint32_t)d, d);
        }
        topk_sort(&s->hits[q]);
    }
}

static enum trawl_status fill_run(struct run *run, const struct collection *c, const struct topk *hits)
{
    for (size_t q = 0; q < c->n_queries; q++)
        for (size_t i = 0; i < hits[q].n; i++)
            TRY(run_add(run, c->queries.items[q].id, c->ids[hits[q].heap[i].id], hits[q].heap[i].score));
    return TRAWL_OK;
}

static enum trawl_status measure_ndcg(double *ndcg, const struct collection *c, const struct run *run)
{
    struct measures measures = {0};
    struct eval_result result = {0};
    struct eval_options options = {0};
    enum trawl_status status;
    TRY_OUT(measures_parse(&measures, "ndcg_cut_10"));
    TRY_OUT(eval_run(&result, &c->qrels, run, &measures, &options));
    *ndcg = result.all[0];
out:
    eval_result_release(&result);
    measures_release(&measures);
    return status;
}

static enum trawl_status score(struct outcome *o, const struct collection *c)
{
    struct search s = {.vectors = o, .n_docs = c->docs.n, .hits = mem_array(c->n_queries, sizeof *s.hits)};
    struct run run = {0};
    enum trawl_status status = TRAWL_OK;
    if (!s.hits)
        return mem_status();
    for (size_t q = 0; q < c->n_queries; q++)
        TRY_OUT(topk_init(&s.hits[q], TOP));
    pool_run(c->n_queries, 1, search_queries, &s);
    TRY_OUT(fill_run(&run, c, s.hits));
    TRY_OUT(measure_ndcg(&o->ndcg, c, &run));
out:
    for (size_t q = 0; q < c->n_queries; q++)
        topk_release(&s.hits[q]);
    free(s.hits);
    run_release(&run);
    return status;
}

/* ---- one precision ---- */

static enum trawl_status encode_queries(struct outcome *o, struct encoder *e, const struct collection *c)
{
    struct text_view *views = mem_array(c->n_queries, sizeof *views);
    o->queries = mem_array(c->n_queries, o->D * sizeof *o->queries);
    if (!views || !o->queries) {
        free(views);
        return mem_status();
    }
    for (size_t q = 0; q < c->n_queries; q++)
        views[q] = (struct text_view){c->queries.items[q].text, c->queries.items[q].text_bytes};
    enum trawl_status status = encoder_encode(e, o->queries, views, c->n_queries, ENCODER_QUERY);
    free(views);
    return status;
}

static enum trawl_status encode_with(struct outcome *o, struct encoder *e, const struct collection *c,
                                     const struct trawl_bench_options *options)
{
    struct encoder_choices choices = {
        .max_length = options->max_length, .prompt_pooled = -1, .special_pooled = -1, .append_eos = -1};
    for (int side = 0; side < 2; side++) {
        struct contract contract;
        TRY(encoder_choose(&contract, e, (enum encoder_side)side, &choices));
        TRY(encoder_set_contract(e, (enum encoder_side)side, &contract));
    }
    o->D = encoder_contract(e, ENCODER_DOCUMENT)->dims;
    o->docs = mem_array(c->docs.n, o->D * sizeof *o->docs);
    if (!o->docs)
        return mem_status();
    double begun = bench_now();
    TRY(encoder_encode(e, o->docs, c->docs.views, c->docs.n, ENCODER_DOCUMENT));
    o->texts_per_second = (double)c->docs.n / (bench_now() - begun);
    if (!c->judged)
        return TRAWL_OK;
    TRY(encode_queries(o, e, c));
    return score(o, c);
}

static enum trawl_status measure(struct outcome *o, const char *precision, const struct collection *c,
                                 const struct trawl_bench_options *options)
{
    struct encoder_options encoder_options = {.precision = precision, .batch_tokens = options->batch_tokens};
    struct encoder *e;
    TRY(encoder_open(&e, options->model, &encoder_options));
    enum trawl_status status = encode_with(o, e, c, options);
    encoder_close(e);
    return status;
}

/* ---- comparing ---- */

static double cosine(const float *a, const float *b, size_t D)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t d = 0; d < D; d++) {
        ab += (double)a[d] * (double)b[d];
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : aa == bb ? 1.0 : 0.0;
}

static enum trawl_status print_row(const char *name, const struct outcome *o, const struct outcome *f32,
                                   const struct collection *c, const char *model, struct file_writer *out)
{
    double sum = 0.0, least = 1.0;
    for (size_t i = 0; i < c->docs.n; i++) {
        double cos = cosine(o->docs + i * o->D, f32->docs + i * o->D, o->D);
        sum += cos;
        least = cos < least ? cos : least;
    }
    TRY(file_printf(out, "%s\t%s\t%zu\t%.7f\t%.7f\t%.2f", model, name, c->docs.n, sum / (double)c->docs.n, least,
                    o->texts_per_second));
    if (c->judged)
        TRY(file_printf(out, "\t%zu\t%.4f\t%+.4f", c->n_queries, o->ndcg, o->ndcg - f32->ndcg));
    return file_printf(out, "\n");
}

static enum trawl_status run(const struct trawl_bench_options *o, struct file_writer *out)
{
    struct collection c = {0};
    struct outcome outcomes[3] = {0};
    struct trawl_bench_options all = *o;
    const char *names[3];
    size_t n = 0;
    enum trawl_status status;
    all.precision = NULL;
    TRY(bench_precisions(names, &n, &all));
    TRY_OUT(read_collection(&c, o));
    TRY_OUT(file_printf(out, "model\tprecision\ttexts\tmean cosine\tleast cosine\ttexts/s%s\n",
                        c.judged ? "\tqueries\tnDCG@10\tdifference" : ""));
    for (size_t i = 0; i < n; i++) {
        if (i && o->precision && strcmp(o->precision, names[i]) != 0)
            continue;
        TRY_OUT(measure(&outcomes[i], names[i], &c, o));
        TRY_OUT(print_row(names[i], &outcomes[i], &outcomes[0], &c, o->model, out));
        TRY_OUT(file_writer_flush(out));
    }
out:
    for (size_t i = 0; i < n; i++) {
        free(outcomes[i].docs);
        free(outcomes[i].queries);
    }
    release_collection(&c);
    return status;
}

const struct bench bench_precision = {"precision", "distance of each precision from f32", run};
