#include "dev.h"
#include "base/mem.h"
#include "data/data.h"
#include "eval/eval.h"
#include "search/flat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HITS = 100 };

struct dev {
    struct dev_options o;
    struct qrels qrels;
    struct text_rows documents, queries;
    struct map document_ids, query_ids;
    float *document_vectors, *query_vectors;
    uint64_t *ordinals;
    struct flat *flat;
    struct measures measures;
};

static enum trawl_status find_qrels(char **path, const char *folder, const char *split)
{
    static const char *const tried[] = {"dev", "test"};
    struct buf name = {0};
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; !status && i < (split ? 1 : 2); i++) {
        buf_reset(&name);
        status = buf_printf(&name, "%s/qrels/%s.tsv", folder, split ? split : tried[i]);
        if (!status && file_exists(name.data))
            break;
    }
    *path = name.data;
    return status;
}

static enum trawl_status read_queries(struct dev *d, const char *folder, struct encoder *e)
{
    struct queries queries = {0};
    enum trawl_status status = queries_read(&queries, folder, false);
    for (size_t i = 0; !status && i < queries.n; i++) {
        const struct query *q = &queries.items[i];
        struct text_view text = {q->text, q->text_bytes};
        uint32_t id;
        if (map_find(&d->qrels.queries, q->id, strlen(q->id)) == MAP_NONE)
            continue;
        status = map_put(&d->query_ids, q->id, strlen(q->id), 0, &id, NULL);
        if (!status)
            status = text_rows_add(&d->queries, e, &text, ENCODER_QUERY);
    }
    queries_release(&queries);
    if (!status && !d->queries.n)
        status = fail(TRAWL_MISMATCH, "'%s': none of its queries is judged", folder);
    return status;
}

static bool is_judged(const struct map *judged, const struct document *doc)
{
    return map_find(judged, doc->id, doc->id_bytes) != MAP_NONE;
}

static enum trawl_status judged_documents(struct map *out, const struct qrels *q)
{
    uint32_t id;
    for (size_t i = 0; i < q->queries.n; i++)
        for (size_t k = 0; k < q->items[i].n; k++) {
            const struct doc_entry *doc = &q->items[i].items[k];
            TRY(map_put(out, q->ids.data + doc->id, doc->id_bytes, 0, &id, NULL));
        }
    return TRAWL_OK;
}

static enum trawl_status read_documents(struct dev *d, struct corpus *corpus, struct encoder *e)
{
    struct map judged = {0};
    struct buf text = {0};
    struct document doc;
    size_t others = 0;
    enum trawl_status status = judged_documents(&judged, &d->qrels);
    size_t room = d->o.documents_max > judged.n ? d->o.documents_max - judged.n : 0;
    const char *join = encoder_contract(e, ENCODER_DOCUMENT)->join;
    while (!status && !(status = corpus_next(corpus, &doc)) && doc.id) {
        uint32_t id;
        bool wanted = !d->o.documents_max || is_judged(&judged, &doc) || others++ < room;
        if (!wanted)
            continue;
        buf_reset(&text);
        status = document_join(&text, &doc, join);
        if (!status)
            status = map_put(&d->document_ids, doc.id, doc.id_bytes, 0, &id, NULL);
        struct text_view view = {text.n ? text.data : "", text.n};
        if (!status)
            status = text_rows_add(&d->documents, e, &view, ENCODER_DOCUMENT);
    }
    map_release(&judged);
    buf_release(&text);
    return status;
}

static enum trawl_status read_all(struct dev *d, const char *folder, struct encoder *e)
{
    char *path;
    struct corpus *corpus = NULL;
    enum trawl_status status = find_qrels(&path, folder, d->o.split);
    if (!status)
        status = qrels_read(&d->qrels, path);
    free(path);
    TRY(status);
    TRY(read_queries(d, folder, e));
    TRY(corpus_open(&corpus, folder, NULL));
    status = read_documents(d, corpus, e);
    corpus_close(corpus);
    return status;
}

static enum trawl_status make_search(struct dev *d)
{
    size_t n = d->documents.n, D = d->o.dims;
    d->document_vectors = mem_aligned(n * D, sizeof(float));
    d->query_vectors = mem_aligned(d->queries.n * D, sizeof(float));
    d->ordinals = mem_array(n, sizeof *d->ordinals);
    if (!d->document_vectors || !d->query_vectors || !d->ordinals)
        return mem_status();
    for (size_t i = 0; i < n; i++)
        d->ordinals[i] = i;
    struct flat_part part = {.vectors = {.n = n, .D = D, .format = INDEX_VEC_F32, .rows = d->document_vectors},
                             .ordinals = d->ordinals};
    TRY(flat_new(&d->flat, &part, 1, D, FLAT_QUERIES, HITS));
    return measures_parse(&d->measures, "ndcg_cut_10");
}

enum trawl_status dev_open(struct dev **out, const char *folder, struct encoder *e, const struct dev_options *options)
{
    struct dev *d = mem_array(1, sizeof *d);
    *out = NULL;
    if (!d)
        return mem_status();
    d->o = *options;
    enum trawl_status status = read_all(d, folder, e);
    if (!status)
        status = make_search(d);
    if (status)
        dev_close(d);
    else
        *out = d;
    return status;
}

void dev_close(struct dev *d)
{
    if (!d)
        return;
    flat_free(d->flat);
    measures_release(&d->measures);
    qrels_release(&d->qrels);
    map_release(&d->document_ids);
    map_release(&d->query_ids);
    text_rows_release(&d->documents);
    text_rows_release(&d->queries);
    free(d->document_vectors);
    free(d->query_vectors);
    free(d->ordinals);
    free(d);
}

size_t dev_documents(const struct dev *d)
{
    return d->documents.n;
}

size_t dev_queries(const struct dev *d)
{
    return d->queries.n;
}

static enum trawl_status embed(struct dev *d, float *out, struct cache *cache, const struct text_rows *rows)
{
    TRY(cache_embed(cache, out, rows, NN_TRAIN_NO_DROPOUT));
    for (size_t i = 0; d->o.normalize && i < rows->n; i++)
        unit_forward(out + i * d->o.dims, d->o.dims);
    return TRAWL_OK;
}

static enum trawl_status search_all(struct dev *d, struct run *run)
{
    struct index_hit hits[FLAT_QUERIES * HITS];
    size_t n_hits[FLAT_QUERIES], bytes;
    for (size_t first = 0; first < d->queries.n; first += FLAT_QUERIES) {
        size_t Q = d->queries.n - first < FLAT_QUERIES ? d->queries.n - first : FLAT_QUERIES;
        TRY(flat_search(d->flat, hits, n_hits, d->query_vectors + first * d->o.dims, Q, HITS, HITS));
        for (size_t q = 0; q < Q; q++) {
            const char *query = map_key(&d->query_ids, (uint32_t)(first + q), &bytes);
            char id[4096], doc[4096];
            snprintf(id, sizeof id, "%.*s", (int)bytes, query);
            TRY(run_add_query(run, id));
            for (size_t k = 0; k < n_hits[q]; k++) {
                const struct index_hit *hit = &hits[q * HITS + k];
                const char *key = map_key(&d->document_ids, hit->row, &bytes);
                snprintf(doc, sizeof doc, "%.*s", (int)bytes, key);
                TRY(run_add(run, id, doc, hit->score));
            }
        }
    }
    return TRAWL_OK;
}

enum trawl_status dev_evaluate(struct dev *d, double *ndcg, struct cache *cache)
{
    struct run run = {0};
    struct eval_result result = {0};
    const struct eval_options options = {.drop_self = true};
    TRY(embed(d, d->document_vectors, cache, &d->documents));
    TRY(embed(d, d->query_vectors, cache, &d->queries));
    enum trawl_status status = search_all(d, &run);
    if (!status)
        status = eval_run(&result, &d->qrels, &run, &d->measures, &options);
    if (!status)
        *ndcg = result.all[0];
    eval_result_release(&result);
    run_release(&run);
    return status;
}
