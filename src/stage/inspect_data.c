/*
 * Texts and judgements. The first line that is not empty tells the format; the same readers that the other stages use
 * then go through the whole file, so what is counted here is what they will see.
 */
#include "inspect_int.h"
#include "base/mem.h"
#include "data/jsonl.h"
#include "data/data.h"
#include "data/vectors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *new_description(const char *kind, const char *path)
{
    json_t *o = json_object();
    inspect_put(o, "kind", "%s", kind);
    inspect_put(o, "path", "%s", path);
    return o;
}

/* ---- the four kinds ---- */

static enum trawl_status describe_corpus(json_t **out, const char *path)
{
    const struct corpus_options options = {.format = "auto", .join = "space"};
    struct corpus *c;
    struct document doc;
    uint64_t title_bytes = 0, text_bytes = 0, titled = 0;
    TRY(corpus_open(&c, path, &options));
    enum trawl_status status;
    while (!(status = corpus_next(c, &doc)) && doc.id) {
        title_bytes += doc.title_bytes;
        text_bytes += doc.text_bytes;
        titled += doc.title_bytes > 0;
    }
    if (!status) {
        const struct corpus_counts *n = corpus_counts(c);
        *out = new_description("corpus", path);
        inspect_count(*out, "documents", n->documents);
        inspect_count(*out, "with_a_title", titled);
        inspect_count(*out, "empty", n->empty);
        inspect_count(*out, "title_bytes", title_bytes);
        inspect_count(*out, "text_bytes", text_bytes);
        inspect_count(*out, "invalid_utf8", n->invalid_utf8);
        if (n->first_invalid_line)
            inspect_put(*out, "first_invalid", "document '%s', line %llu", n->first_invalid_id,
                        (unsigned long long)n->first_invalid_line);
    }
    corpus_close(c);
    return status;
}

static enum trawl_status describe_queries(json_t **out, const char *path)
{
    struct queries q = {0};
    uint64_t bytes = 0;
    TRY(queries_read(&q, path, false));
    for (size_t i = 0; i < q.n; i++)
        bytes += q.items[i].text_bytes;
    *out = new_description("queries", path);
    inspect_count(*out, "queries", q.n);
    inspect_count(*out, "text_bytes", bytes);
    inspect_count(*out, "invalid_utf8", q.invalid_utf8);
    if (q.n)
        inspect_put(*out, "first", "%s: %.200s", q.items[0].id, q.items[0].text);
    queries_release(&q);
    return TRAWL_OK;
}

static enum trawl_status describe_qrels(json_t **out, const char *path)
{
    struct qrels q = {0};
    uint64_t n = 0, relevant = 0;
    int64_t lowest = INT64_MAX, highest = INT64_MIN;
    TRY(qrels_read(&q, path));
    for (size_t i = 0; i < q.queries.n; i++)
        for (size_t d = 0; d < q.items[i].n; d++) {
            int64_t grade = q.items[i].items[d].grade;
            n++;
            relevant += grade > 0;
            lowest = grade < lowest ? grade : lowest;
            highest = grade > highest ? grade : highest;
        }
    *out = new_description("judgements", path);
    inspect_count(*out, "queries", q.queries.n);
    inspect_count(*out, "judgements", n);
    inspect_count(*out, "relevant", relevant);
    if (n)
        inspect_put(*out, "grades", "%lld to %lld", (long long)lowest, (long long)highest);
    qrels_release(&q);
    return TRAWL_OK;
}

static enum trawl_status describe_run(json_t **out, const char *path)
{
    struct run r = {0};
    uint64_t hits = 0;
    size_t most = 0;
    TRY(run_read(&r, path));
    for (size_t i = 0; i < r.queries.n; i++) {
        hits += r.items[i].n;
        most = r.items[i].n > most ? r.items[i].n : most;
    }
    *out = new_description("run", path);
    inspect_put(*out, "tag", "%s", r.tag ? r.tag : "");
    inspect_count(*out, "queries", r.queries.n);
    inspect_count(*out, "hits", hits);
    inspect_count(*out, "most_hits_of_a_query", most);
    run_release(&r);
    return TRAWL_OK;
}

/* ---- which of them ---- */

enum lines_kind { LINES_UNKNOWN, LINES_CORPUS, LINES_QUERIES, LINES_QRELS, LINES_RUN, LINES_VECTORS };

static size_t count_fields(const char *line, const char *separators)
{
    size_t n = 0;
    for (const char *p = line + strspn(line, separators); *p; p += strspn(p, separators)) {
        p += strcspn(p, separators);
        n++;
    }
    return n;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether an object on one line is {query: {document: score}}. */
static bool is_run(const char *line, size_t n, const char *path)
{
    json_t *o = NULL;
    bool run = !json_parse(&o, line, n, path) && json_is_object(json_object_iter_value(json_object_iter(o)));
    json_decref(o);
    return run;
}

/* By its members, with the scanner of the readers: what they repair (invalid UTF-8, NUL) is no reason to refuse. */
static enum lines_kind kind_of_object(const char *line, size_t n, const char *path)
{
    enum { VECTOR, EMBEDDING, QUERY, QUERY_ID, TEXT, CONTENTS, MEMBERS };
    struct jsonl_member m[MEMBERS] = {{.name = "vector"},   {.name = "embedding"}, {.name = "query"},
                                      {.name = "query_id"}, {.name = "text"},      {.name = "contents"}};
    const bool named_queries = strstr(base_name(path), "quer") || strstr(base_name(path), "topic");
    if (jsonl_scan(m, MEMBERS, line, n, path, 1))
        return LINES_RUN; /* an object over several lines: {query: {document: score}} */
    if (m[VECTOR].kind || m[EMBEDDING].kind)
        return LINES_VECTORS;
    if (m[QUERY].kind || m[QUERY_ID].kind)
        return LINES_QUERIES;
    if (m[TEXT].kind || m[CONTENTS].kind)
        return named_queries ? LINES_QUERIES : LINES_CORPUS;
    return is_run(line, n, path) ? LINES_RUN : LINES_UNKNOWN;
}

static enum lines_kind kind_of_line(const char *line, size_t n, const char *path)
{
    if (line[0] == '{')
        return kind_of_object(line, n, path);
    if (line[0] == '<')
        return LINES_CORPUS;
    if (!strncmp(line, "query-id\tcorpus-id", 18))
        return LINES_QRELS;
    size_t words = count_fields(line, " \t"), tabs = count_fields(line, "\t");
    if (words == 6 && tabs != 2 && tabs != 3)
        return LINES_RUN;
    if (words == 4 && tabs != 2 && tabs != 3)
        return LINES_QRELS;
    if (tabs >= 2)
        return strstr(base_name(path), "quer") || strstr(base_name(path), "topic") ? LINES_QUERIES : LINES_CORPUS;
    return LINES_UNKNOWN;
}

enum trawl_status inspect_lines(json_t **out, const char *path)
{
    struct line_reader *r;
    const char *line;
    size_t n;
    enum lines_kind kind = LINES_UNKNOWN;
    *out = NULL;
    TRY(line_reader_open(&r, path));
    enum trawl_status status;
    do
        status = line_next(r, &line, &n);
    while (!status && line && !n);
    char *first = !status && line ? mem_text(line, n) : NULL; /* with a NUL behind it */
    if (first)
        kind = kind_of_line(first, n, path);
    free(first);
    line_reader_close(r);
    TRY(status);
    switch (kind) {
    case LINES_CORPUS:
        return describe_corpus(out, path);
    case LINES_QUERIES:
        return describe_queries(out, path);
    case LINES_QRELS:
        return describe_qrels(out, path);
    case LINES_RUN:
        return describe_run(out, path);
    case LINES_VECTORS:
        return inspect_vectors(out, path, true);
    default:
        return fail(TRAWL_UNSUPPORTED,
                    "'%s' is of no kind that trawl reads (its first line is no JSON object, TREC run, judgement or "
                    "tab-separated text)",
                    path);
    }
}

enum trawl_status inspect_texts(json_t **out, const char *folder)
{
    return describe_corpus(out, folder);
}

/* ---- BEIR folders ---- */

static enum trawl_status add_part(json_t *o, const char *key, json_t *part, enum trawl_status status)
{
    if (!status) {
        json_object_del(part, "kind");
        json_object_set_new(o, key, part);
    }
    return status;
}

static enum trawl_status add_judgements(json_t *o, const char *folder)
{
    char *qrels = file_join(folder, "qrels");
    struct buf names = {0};
    size_t n = 0;
    enum trawl_status status = qrels ? TRAWL_OK : mem_status();
    if (!status && file_is_folder(qrels))
        status = file_list(&names, &n, qrels);
    const char *name = names.data;
    for (size_t i = 0; i < n && !status; i++, name += strlen(name) + 1) {
        char *path = file_join(qrels, name), key[300];
        json_t *part = NULL;
        snprintf(key, sizeof key, "qrels/%.280s", name);
        status = path ? describe_qrels(&part, path) : mem_status();
        status = add_part(o, key, part, status);
        free(path);
    }
    buf_release(&names);
    free(qrels);
    return status;
}

enum trawl_status inspect_dataset(json_t **out, const char *folder)
{
    static const char *const endings[] = {"queries.jsonl", "queries.jsonl.gz", "queries.jsonl.zst"};
    json_t *o = new_description("data set", folder), *part = NULL;
    *out = NULL;
    enum trawl_status status = describe_corpus(&part, folder);
    status = add_part(o, "corpus", part, status);
    for (size_t i = 0; i < 3 && !status; i++) {
        char *path = file_join(folder, endings[i]);
        status = path ? TRAWL_OK : mem_status();
        if (!status && file_exists(path)) {
            status = describe_queries(&part, path);
            status = add_part(o, "queries", part, status);
        }
        free(path);
    }
    if (!status)
        status = add_judgements(o, folder);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}

/* ---- vectors ---- */

enum trawl_status inspect_npy(json_t **out, const char *path, bool verify)
{
    struct npy a;
    char shape[200] = "";
    size_t at = 0;
    TRY(npy_open(&a, path));
    for (size_t i = 0; i < a.n_dims && at < sizeof shape; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, i ? ", %zu" : "%zu", a.shape[i]);
    *out = new_description("array", path);
    inspect_put(*out, "format", "NumPy .npy");
    inspect_put(*out, "shape", "(%s%s)", shape, a.n_dims == 1 ? "," : "");
    inspect_put(*out, "type", "%s%zu",
                a.kind == 'f' ? "float" : (a.kind == 'i' ? "int" : (a.kind == 'u' ? "unsigned " : "bool")),
                8 * a.item_bytes);
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; verify && i < a.n && !status; i++)
        if (!isfinite(npy_get(&a, i)))
            status = fail(TRAWL_CORRUPT, "'%s': element %zu is not finite", path, i);
    if (verify && !status)
        inspect_put(*out, "verified", "%zu values, all finite", a.n);
    npy_close(&a);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

static enum trawl_status check_rows(const struct vectors *v, const char *path)
{
    for (size_t i = 0; i < v->N; i++)
        for (size_t d = 0; d < v->D; d++)
            if (!isfinite(v->rows[i * v->D + d]))
                return fail(TRAWL_CORRUPT, "'%s': vector %zu%s%s is not finite at dimension %zu", path, i,
                            v->ids ? ", of " : "", v->ids ? v->ids + v->id_begin[i] : "", d);
    return TRAWL_OK;
}

enum trawl_status inspect_vectors(json_t **out, const char *path, bool verify)
{
    struct vectors v;
    json_t *contract;
    TRY(vectors_open(&v, path));
    json_t *o = new_description("vectors", path);
    inspect_count(o, "vectors", v.N);
    inspect_count(o, "dimensions", v.D);
    inspect_put(o, "ids", "%s", v.ids ? "yes" : "none");
    enum trawl_status status = TRAWL_OK;
    if (v.has_contract) {
        status = contract_to_json(&contract, &v.document);
        if (!status) {
            json_object_set_new(o, "document_contract", contract);
            status = contract_to_json(&contract, &v.query);
        }
        if (!status)
            json_object_set_new(o, "query_contract", contract);
    } else {
        inspect_put(o, "contract", "none");
    }
    if (!status && verify)
        status = check_rows(&v, path);
    if (!status && verify)
        inspect_put(o, "verified", "all values finite");
    vectors_close(&v);
    if (status)
        json_decref(o);
    *out = status ? NULL : o;
    return status;
}
