#include "base/mem.h"
#include "mine.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- judgements ---- */

static enum trawl_status refuse(const char *path, const char *query, const char *doc, const char *what,
                                const char *where)
{
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": %s '%.200s' is not %s", path, qrels_line(path, query, doc), what,
                what[0] == 'q' ? query : doc, where);
}

static enum trawl_status put(struct mine_set *set, uint32_t doc)
{
    TRY(mem_grow((void **)&set->lists, &set->lists_cap, set->n_lists + 1, sizeof *set->lists));
    set->lists[set->n_lists++] = doc;
    return TRAWL_OK;
}

/* Documents of a list whose grade is above 0 (or is 0) go to set->lists. */
static enum trawl_status put_judged(struct mine_set *set, const struct qrels *qrels, const struct doc_list *list,
                                    bool positive, size_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        const struct doc_entry *judged = &list->items[i];
        if (positive ? judged->grade <= 0 : judged->grade != 0)
            continue;
        TRY(put(set, doc_set_find(set->docs, qrels->ids.data + judged->id, judged->id_bytes)));
        ++*n;
    }
    return TRAWL_OK;
}

/* ---- copies ---- */

struct by_hash {
    struct doc_hash hash;
    uint32_t doc;
};

static int compare_hashes(const void *a, const void *b)
{
    const struct by_hash *x = a, *y = b;
    if (x->hash.low != y->hash.low)
        return x->hash.low < y->hash.low ? -1 : 1;
    if (x->hash.high != y->hash.high)
        return x->hash.high < y->hash.high ? -1 : 1;
    return x->doc < y->doc ? -1 : x->doc > y->doc;
}

/* First place among the sorted that is not below the hash. */
static size_t lower_bound(const struct by_hash *sorted, size_t n, struct doc_hash hash)
{
    const struct by_hash wanted = {hash, 0};
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_hashes(&sorted[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t unique(uint32_t *items, size_t n)
{
    size_t kept = 0;
    qsort(items, n, sizeof *items, ascending);
    for (size_t i = 0; i < n; i++)
        if (!kept || items[kept - 1] != items[i])
            items[kept++] = items[i];
    return kept;
}

/* Positives and everything with a positive's text. A document without text is nobody's copy, and nobody's negative. */
static enum trawl_status put_excluded(struct mine_set *set, const struct by_hash *sorted, size_t begin, size_t n,
                                      const uint32_t *empty, size_t n_empty, size_t *n_excluded)
{
    size_t first = set->n_lists, n_docs = doc_set_n(set->docs);
    for (size_t i = begin; i < begin + n; i++) {
        struct doc_hash hash = doc_set_hash(set->docs, set->lists[i]);
        for (size_t at = lower_bound(sorted, n_docs, hash);
             at < n_docs && !memcmp(&sorted[at].hash, &hash, sizeof hash); at++)
            TRY(put(set, sorted[at].doc));
    }
    size_t with_copies = unique(set->lists + first, set->n_lists - first);
    set->copies += with_copies - n;
    set->n_lists = first + with_copies;
    for (size_t i = 0; i < n_empty; i++)
        TRY(put(set, empty[i]));
    *n_excluded = unique(set->lists + first, set->n_lists - first);
    set->n_lists = first + *n_excluded;
    return TRAWL_OK;
}

/* ---- opening ---- */

struct opening {
    struct mine_set *set;
    const struct qrels *qrels;
    const char *path;
    struct by_hash *sorted; /* (documents) */
    uint32_t *empty;
    size_t n_empty;
    size_t *begins; /* (n,3) where each query's lists begin, as set->lists still moves */
};

static enum trawl_status sort_documents(struct opening *o)
{
    const struct mine_set *set = o->set;
    size_t n = doc_set_n(set->docs);
    struct document doc;
    o->sorted = mem_array(n, sizeof *o->sorted);
    o->empty = mem_array(n, sizeof *o->empty);
    if (!o->sorted || !o->empty)
        return mem_status();
    for (uint32_t i = 0; i < n; i++) {
        doc_set_get(set->docs, i, &doc);
        o->sorted[i] = (struct by_hash){doc_set_hash(set->docs, i), i};
        if (!doc.title_bytes && !doc.text_bytes)
            o->empty[o->n_empty++] = i;
    }
    qsort(o->sorted, n, sizeof *o->sorted, compare_hashes);
    return TRAWL_OK;
}

static enum trawl_status check_query(const struct opening *o, const char *id, const struct doc_list *list)
{
    const struct mine_set *set = o->set;
    if (map_find(&set->queries.by_id, id, strlen(id)) == MAP_NONE)
        return refuse(o->path, id, o->qrels->ids.data + list->items[0].id, "query", "among the queries");
    for (uint32_t i = 0; i < list->n; i++) {
        const char *doc = o->qrels->ids.data + list->items[i].id;
        if (doc_set_find(set->docs, doc, list->items[i].id_bytes) == MAP_NONE)
            return refuse(o->path, id, doc, "document", "in the corpus");
    }
    return TRAWL_OK;
}

static enum trawl_status take_query(struct opening *o, uint32_t number, struct buf *id)
{
    struct mine_set *set = o->set;
    const struct doc_list *list = &o->qrels->items[number];
    struct mine_query *q = &set->items[set->n];
    size_t n, *begins = o->begins + 3 * set->n;
    const char *key = map_key(&o->qrels->queries, number, &n);
    buf_reset(id);
    TRY(buf_append(id, key, n));
    TRY(check_query(o, id->data, list));
    begins[0] = set->n_lists;
    TRY(put_judged(set, o->qrels, list, true, &q->n_positives));
    if (!q->n_positives) {
        set->without_positives++;
        return TRAWL_OK;
    }
    begins[1] = set->n_lists;
    TRY(put_judged(set, o->qrels, list, false, &q->n_curated));
    begins[2] = set->n_lists;
    TRY(put_excluded(set, o->sorted, begins[0], q->n_positives, o->empty, o->n_empty, &q->n_excluded));
    set->asked[set->n] = (uint32_t)set->queries.by_id.values[map_find(&set->queries.by_id, key, n)];
    const struct query *asked = &set->queries.items[set->asked[set->n]];
    q->id = asked->id;
    q->text = asked->text;
    q->text_bytes = asked->text_bytes;
    set->n++;
    return TRAWL_OK;
}

static enum trawl_status take_queries(struct opening *o)
{
    struct mine_set *set = o->set;
    struct buf id = {0};
    enum trawl_status status = TRAWL_OK;
    size_t n = o->qrels->queries.n;
    set->items = mem_array(n, sizeof *set->items);
    set->asked = mem_array(n, sizeof *set->asked);
    o->begins = mem_array(3 * n, sizeof *o->begins);
    if (!set->items || !set->asked || !o->begins)
        return mem_status();
    for (uint32_t q = 0; q < n && status == TRAWL_OK; q++)
        status = take_query(o, q, &id);
    buf_release(&id);
    TRY(status);
    if (set->n == 0)
        return fail(TRAWL_FORMAT, "'%s': no query has a positive (a grade above 0)", o->path);
    for (size_t q = 0; q < set->n; q++) {
        set->items[q].positives = set->lists + o->begins[3 * q];
        set->items[q].curated = set->lists + o->begins[3 * q + 1];
        set->items[q].excluded = set->lists + o->begins[3 * q + 2];
    }
    return TRAWL_OK;
}

enum trawl_status mine_set_open(struct mine_set *set, const char *folder, const char *split, bool strict)
{
    enum trawl_status status;
    struct buf path = {0};
    struct qrels qrels = {0};
    struct opening o = {.set = set, .qrels = &qrels};
    struct corpus_options corpus = {.strict = strict};
    bool have_qrels = false;
    *set = (struct mine_set){0};
    if (!file_is_folder(folder))
        return fail(TRAWL_NOT_FOUND, "'%s' is not a folder (corpus.jsonl, queries.jsonl and qrels/%s.tsv are needed)",
                    folder, split);
    TRY_OUT(buf_printf(&path, "%s/qrels/%s.tsv", folder, split));
    o.path = path.data;
    TRY_OUT(qrels_read(&qrels, path.data));
    have_qrels = true;
    TRY_OUT(queries_read(&set->queries, folder, strict));
    TRY_OUT(doc_set_open(&set->docs, folder, &corpus));
    if (doc_set_n(set->docs) > INT32_MAX) {
        status = fail(TRAWL_LIMIT, "'%s': more than %d documents cannot be mined", folder, INT32_MAX);
        goto out;
    }
    TRY_OUT(sort_documents(&o));
    status = take_queries(&o);
out:
    if (have_qrels)
        qrels_release(&qrels);
    buf_release(&path);
    free(o.sorted);
    free(o.empty);
    free(o.begins);
    return status; /* the caller closes the set, also after a failure */
}

void mine_set_close(struct mine_set *set)
{
    doc_set_close(set->docs);
    queries_release(&set->queries);
    free(set->items);
    free(set->lists);
    free(set->asked);
    *set = (struct mine_set){0};
}

uint64_t mine_set_fingerprint(const struct mine_set *set)
{
    uint64_t sum = doc_set_fingerprint(set->docs);
    for (size_t q = 0; q < set->n; q++) {
        const struct mine_query *query = &set->items[q];
        sum = XXH3_64bits_withSeed(query->id, strlen(query->id), sum);
        sum = XXH3_64bits_withSeed(query->text, query->text_bytes, sum);
        sum = XXH3_64bits_withSeed(query->positives, query->n_positives * sizeof *query->positives, sum);
        sum = XXH3_64bits_withSeed(query->curated, query->n_curated * sizeof *query->curated, sum);
    }
    return sum;
}
