/*
 * One example from one line (JSON of three toolkits, TSV) or from one judged query of a BEIR folder. JSON objects are
 * told apart by what holds the positives: "positive_passages" (Tevatron), "pos" (FlagEmbedding), "positive"
 * (sentence-transformers); arrays are sentence-transformers' rows without names.
 */
#include "base/mem.h"
#include "training_int.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces of JSON ---- */

static bool has_nul(const char *text, size_t n)
{
    return memchr(text, '\0', n) != NULL;
}

/* A string member; "" where it is absent or null. Integers become text, as ids often are. */
static enum trawl_status take_text(struct training *t, const char **out, size_t *n, json_t *object, const char *key)
{
    char digits[32];
    json_t *value = json_object_get(object, key);
    *out = "";
    *n = 0;
    if (!value || json_is_null(value))
        return TRAWL_OK;
    if (json_is_integer(value)) {
        snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        if (json_object_set_new(object, key, json_string(digits)))
            return mem_status();
        value = json_object_get(object, key);
    }
    if (!json_is_string(value))
        return training_refuse(t, "'%s' is not a text", key);
    *out = json_string_value(value);
    *n = json_string_length(value);
    return has_nul(*out, *n) ? training_refuse(t, "'%s' holds a NUL character", key) : TRAWL_OK;
}

/* The passage's title and text by its id, where it has no text of its own. */
static enum trawl_status look_up(struct training *t, struct training_passage *p, const char *where)
{
    struct document doc;
    if (!p->docid_bytes)
        return training_refuse(t, "a passage of '%s' has neither 'text' nor 'docid'", where);
    if (!t->docs)
        return training_refuse(t, "passage '%.200s' of '%s' has no text (give the corpus that it is in)", p->docid,
                               where);
    uint32_t i = doc_set_find(t->docs, p->docid, p->docid_bytes);
    if (i == MAP_NONE)
        return training_refuse(t, "'%s' names document '%.200s', which is not in the corpus", where, p->docid);
    doc_set_get(t->docs, i, &doc);
    p->title = doc.title;
    p->title_bytes = doc.title_bytes;
    p->text = doc.text;
    p->text_bytes = doc.text_bytes;
    return TRAWL_OK;
}

static enum trawl_status take_passage(struct training *t, struct training_passage *p, json_t *value, const char *where)
{
    *p = (struct training_passage){.docid = "", .title = "", .text = ""};
    if (json_is_string(value)) {
        p->text = json_string_value(value);
        p->text_bytes = json_string_length(value);
        return has_nul(p->text, p->text_bytes) ? training_refuse(t, "a text of '%s' holds a NUL character", where)
                                               : TRAWL_OK;
    }
    if (!json_is_object(value))
        return training_refuse(t, "a passage of '%s' is neither a text nor an object", where);
    TRY(take_text(t, &p->docid, &p->docid_bytes, value, "docid"));
    TRY(take_text(t, &p->title, &p->title_bytes, value, "title"));
    TRY(take_text(t, &p->text, &p->text_bytes, value, "text"));
    json_t *score = json_object_get(value, "score");
    if (score && !json_is_null(score) && !json_is_number(score))
        return training_refuse(t, "a 'score' in '%s' is not a number", where);
    p->has_score = json_is_number(score);
    p->score = json_number_value(score);
    return json_object_get(value, "text") ? TRAWL_OK : look_up(t, p, where);
}

/* All passages of a member; one text alone will do. Absent: none. */
static enum trawl_status take_list(struct training *t, struct training_list *list, json_t *object, const char *key)
{
    struct training_passage passage;
    json_t *value = json_object_get(object, key), *item;
    size_t i;
    if (!value || json_is_null(value))
        return TRAWL_OK;
    if (!json_is_array(value)) {
        TRY(take_passage(t, &passage, value, key));
        return training_add(list, &passage);
    }
    json_array_foreach(value, i, item)
    {
        TRY(take_passage(t, &passage, item, key));
        TRY(training_add(list, &passage));
    }
    return TRAWL_OK;
}

/* ---- the three toolkits ---- */

static enum trawl_status take_target(struct training *t, json_t *object)
{
    struct training_example *e = &t->example;
    json_t *target = json_object_get(object, "target");
    if (!target || json_is_null(target))
        return TRAWL_OK;
    if (!json_is_integer(target) || json_integer_value(target) < 0 ||
        (uint64_t)json_integer_value(target) >= e->candidates.n)
        return training_refuse(t, "'target' is not the place of one of the %zu candidates", e->candidates.n);
    e->target = (size_t)json_integer_value(target);
    return TRAWL_OK;
}

static enum trawl_status take_tevatron(struct training *t, json_t *object)
{
    struct training_example *e = &t->example;
    TRY(take_list(t, &e->positives, object, "positive_passages"));
    TRY(take_list(t, &e->negatives, object, "negative_passages"));
    TRY(take_list(t, &e->candidates, object, "candidates"));
    return take_target(t, object);
}

static enum trawl_status take_scores(struct training *t, struct training_list *list, json_t *object, const char *key)
{
    json_t *scores = json_object_get(object, key);
    if (!scores || json_is_null(scores) || json_array_size(scores) == 0)
        return TRAWL_OK;
    if (json_array_size(scores) != list->n)
        return training_refuse(t, "'%s' has %zu numbers for %zu passages", key, json_array_size(scores), list->n);
    for (size_t i = 0; i < list->n; i++) {
        const json_t *score = json_array_get(scores, i);
        if (!json_is_number(score))
            return training_refuse(t, "'%s' holds something that is not a number", key);
        list->items[i].has_score = true;
        list->items[i].score = json_number_value(score);
    }
    return TRAWL_OK;
}

static enum trawl_status take_flag(struct training *t, json_t *object)
{
    struct training_example *e = &t->example;
    TRY(take_list(t, &e->positives, object, "pos"));
    TRY(take_list(t, &e->negatives, object, "neg"));
    TRY(take_scores(t, &e->positives, object, "pos_scores"));
    TRY(take_scores(t, &e->negatives, object, "neg_scores"));
    return e->instruction_bytes ? TRAWL_OK : take_text(t, &e->instruction, &e->instruction_bytes, object, "prompt");
}

/* "positive", and every member whose name begins with "negative", in their order. */
static enum trawl_status take_sentence_transformers(struct training *t, json_t *object)
{
    struct training_example *e = &t->example;
    const char *key;
    json_t *value;
    TRY(take_list(t, &e->positives, object, "positive"));
    json_object_foreach(object, key, value) if (!strncmp(key, "negative", 8))
        TRY(take_list(t, &e->negatives, object, key));
    return TRAWL_OK;
}

static enum trawl_status take_row(struct training *t, json_t *row)
{
    struct training_example *e = &t->example;
    struct training_passage passage;
    json_t *item;
    size_t i;
    if (json_array_size(row) < 2)
        return training_refuse(t, "a row needs a query and a positive at least, this has %zu texts",
                               json_array_size(row));
    json_array_foreach(row, i, item)
    {
        if (!json_is_string(item))
            return training_refuse(t, "item %zu of the row is not a text", i + 1);
        TRY(take_passage(t, &passage, item, "row"));
        if (i == 0) {
            e->query = passage.text;
            e->query_bytes = passage.text_bytes;
        } else
            TRY(training_add(i == 1 ? &e->positives : &e->negatives, &passage));
    }
    return TRAWL_OK;
}

/* ---- what all have ---- */

static enum trawl_status take_query(struct training *t, json_t *object)
{
    static const char *const names[] = {"query", "anchor", "query_text", "question"};
    struct training_example *e = &t->example;
    TRY(take_text(t, &e->query_id, &e->query_id_bytes, object, "query_id"));
    TRY(take_text(t, &e->source, &e->source_bytes, object, "source"));
    TRY(take_text(t, &e->instruction, &e->instruction_bytes, object, "instruction"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_object_get(object, names[i]))
            return take_text(t, &e->query, &e->query_bytes, object, names[i]);
    return training_refuse(t, "no query (a member 'query' or 'anchor' is needed)");
}

/* The names of a few members, for a message. */
static enum trawl_status no_positives_member(struct training *t, json_t *object)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    buf_reset(&t->scratch);
    TRY(buf_reserve(&t->scratch, 0));
    json_object_foreach(object, key, value) if (n++ < 8)
        TRY(buf_printf(&t->scratch, "%s'%.40s'", n > 1 ? ", " : "", key));
    return training_refuse(t, "no positives: 'positive_passages', 'pos' or 'positive' is needed, the line has %s",
                           n ? t->scratch.data : "nothing");
}

static enum trawl_status check_example(struct training *t)
{
    const struct training_example *e = &t->example;
    if (!e->query_bytes)
        return training_refuse(t, "the query is empty");
    if (!e->positives.n && !e->candidates.n)
        return training_refuse(t, "there are no positives");
    for (size_t i = 0; i < e->positives.n; i++)
        if (!e->positives.items[i].text_bytes && !e->positives.items[i].title_bytes)
            return training_refuse(t, "positive %zu is empty", i + 1);
    return TRAWL_OK;
}

static enum trawl_status take_object(struct training *t, json_t *object)
{
    TRY(take_query(t, object));
    if (json_object_get(object, "positive_passages") || json_object_get(object, "candidates"))
        return take_tevatron(t, object);
    if (json_object_get(object, "pos"))
        return take_flag(t, object);
    return json_object_get(object, "positive") ? take_sentence_transformers(t, object) : no_positives_member(t, object);
}

enum trawl_status training_parse_json(struct training *t)
{
    json_decref(t->json);
    t->json = NULL;
    TRY(buf_reserve(&t->line, 0));
    enum trawl_status status = json_parse(&t->json, t->line.data, t->line.n, "");
    if (status == TRAWL_FORMAT) {
        char reason[256];
        const char *message = trawl_message();
        snprintf(reason, sizeof reason, "%s", strncmp(message, ": ", 2) ? message : message + 2);
        return training_refuse(t, "%s", reason);
    }
    TRY(status);
    if (json_is_array(t->json))
        TRY(take_row(t, t->json));
    else if (json_is_object(t->json))
        TRY(take_object(t, t->json));
    else
        return training_refuse(t, "neither an object nor an array");
    return check_example(t);
}

/* ---- TSV: texts, or ids where corpus and queries are given ---- */

static enum trawl_status take_column(struct training *t, size_t column, const char *text, size_t n)
{
    struct training_example *e = &t->example;
    struct training_passage passage = {.docid = "", .title = "", .text = text, .text_bytes = n};
    bool ids = t->docs && t->has_queries;
    if (column == 0) {
        uint32_t query = ids ? map_find(&t->queries.by_id, text, n) : 0;
        if (query == MAP_NONE)
            return training_refuse(t, "query '%.200s' is not among the queries", text);
        e->query = ids ? t->queries.items[query].text : text;
        e->query_bytes = ids ? t->queries.items[query].text_bytes : n;
        e->query_id = ids ? text : "";
        e->query_id_bytes = ids ? n : 0;
        return TRAWL_OK;
    }
    if (ids) {
        passage.docid = text;
        passage.docid_bytes = n;
        TRY(look_up(t, &passage, column == 1 ? "positive" : "negative"));
    }
    return training_add(column == 1 ? &e->positives : &e->negatives, &passage);
}

enum trawl_status training_parse_tsv(struct training *t)
{
    size_t column = 0;
    TRY(buf_reserve(&t->line, 0));
    char *at = t->line.data, *end = at + t->line.n;
    if (has_nul(at, t->line.n))
        return training_refuse(t, "a NUL character in a text");
    if (!memchr(at, '\t', t->line.n))
        return training_refuse(t, "one column; 'query TAB positive TAB negative ...' is needed");
    for (;; column++) {
        char *tab = memchr(at, '\t', (size_t)(end - at)), *stop = tab ? tab : end;
        *stop = '\0';
        TRY(take_column(t, column, at, (size_t)(stop - at)));
        if (!tab)
            break;
        at = tab + 1;
    }
    return check_example(t);
}

/* ---- BEIR ---- */

static enum trawl_status check_judgement(const struct training *t, const char *query, const char *doc)
{
    if (doc_set_find(t->docs, doc, strlen(doc)) != MAP_NONE)
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": query '%.200s' has document '%.200s', which is not in the corpus",
                t->qrels_path, qrels_line(t->qrels_path, query, doc), query, doc);
}

/* Every judgement points somewhere; those with a positive are kept. */
static enum trawl_status take_judgements(struct training *t)
{
    struct buf query = {0};
    enum trawl_status status = TRAWL_OK;
    t->judged = mem_array(t->qrels.queries.n, sizeof *t->judged);
    if (!t->judged)
        return mem_status();
    for (uint32_t q = 0; q < t->qrels.queries.n; q++) {
        const struct doc_list *list = &t->qrels.items[q];
        size_t n, n_positives = 0;
        const char *key = map_key(&t->qrels.queries, q, &n);
        buf_reset(&query);
        TRY_OUT(buf_append(&query, key, n));
        if (map_find(&t->queries.by_id, key, n) == MAP_NONE) {
            const char *doc = t->qrels.ids.data + list->items[0].id;
            status = fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": query '%.200s' is not among the queries", t->qrels_path,
                          qrels_line(t->qrels_path, query.data, doc), query.data);
            goto out;
        }
        for (uint32_t i = 0; i < list->n; i++) {
            TRY_OUT(check_judgement(t, query.data, t->qrels.ids.data + list->items[i].id));
            n_positives += list->items[i].grade > 0;
        }
        if (n_positives)
            t->judged[t->n++] = q;
        else
            t->without_positives++;
    }
    if (t->n == 0)
        status = fail(TRAWL_FORMAT, "'%s': no query has a positive (a grade above 0)", t->qrels_path);
out:
    buf_release(&query);
    return status;
}

enum trawl_status training_open_beir(struct training *t, const char *split)
{
    struct buf path = {0};
    struct corpus_options corpus = {.strict = t->strict};
    enum trawl_status status = buf_printf(&path, "%s/qrels/%s.tsv", t->path, split);
    t->qrels_path = path.data;
    TRY(status);
    TRY(qrels_read(&t->qrels, t->qrels_path));
    t->beir = true;
    TRY(queries_read(&t->queries, t->path, t->strict));
    t->has_queries = true;
    TRY(doc_set_open(&t->docs, t->path, &corpus));
    return take_judgements(t);
}

enum trawl_status training_take_judged(struct training *t, uint32_t query)
{
    struct training_example *e = &t->example;
    const struct doc_list *list = &t->qrels.items[query];
    size_t n;
    const char *key = map_key(&t->qrels.queries, query, &n);
    const struct query *q = &t->queries.items[map_find(&t->queries.by_id, key, n)];
    e->query_id = q->id;
    e->query_id_bytes = n;
    e->query = q->text;
    e->query_bytes = q->text_bytes;
    for (uint32_t i = 0; i < list->n; i++) {
        struct document doc;
        const char *id = t->qrels.ids.data + list->items[i].id;
        if (list->items[i].grade < 0)
            continue;
        doc_set_get(t->docs, doc_set_find(t->docs, id, list->items[i].id_bytes), &doc);
        const struct training_passage passage = {.docid = doc.id,
                                                 .title = doc.title,
                                                 .text = doc.text,
                                                 .docid_bytes = doc.id_bytes,
                                                 .title_bytes = doc.title_bytes,
                                                 .text_bytes = doc.text_bytes};
        TRY(training_add(list->items[i].grade > 0 ? &e->positives : &e->negatives, &passage));
    }
    return TRAWL_OK;
}
