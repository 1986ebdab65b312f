/* Runs: what a search system returned, read and written. */
#include "base/json.h"
#include "base/mem.h"
#include "doc_list.h"
#include "number.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The list of the query of the line before is kept: lines nearly always come query by query. */
struct last_query {
    struct doc_list *list;
    const char *id;
    size_t n;
};

static enum trawl_status add(struct run *r, struct last_query *last, struct column query, struct column doc,
                             float score, bool *is_new)
{
    struct doc_entry *entry;
    if (!last->list || last->n != query.n || memcmp(last->id, query.text, query.n) != 0) {
        TRY(doc_lists_query(&last->list, &r->queries, &r->items, &r->cap, query.text, query.n));
        last->id = map_key(&r->queries, (uint32_t)(last->list - r->items), &last->n);
    }
    TRY(doc_list_put(last->list, &r->ids, doc.text, doc.n, &entry, is_new));
    if (*is_new)
        entry->score = score;
    return TRAWL_OK;
}

enum trawl_status run_add_query(struct run *r, const char *query)
{
    struct doc_list *list;
    return doc_lists_query(&list, &r->queries, &r->items, &r->cap, query, strlen(query));
}

enum trawl_status run_add(struct run *r, const char *query, const char *doc, float score)
{
    struct last_query last = {0};
    bool is_new;
    if (isnan(score))
        return fail(TRAWL_FORMAT, "query '%s', document '%s': the score is not a number", query, doc);
    TRY(add(r, &last, (struct column){query, strlen(query)}, (struct column){doc, strlen(doc)}, score, &is_new));
    return is_new ? TRAWL_OK : fail(TRAWL_FORMAT, "query '%s' has document '%s' twice", query, doc);
}

/* ---- TREC ---- */

static enum trawl_status take_line(struct run *r, struct last_query *last, const char *line, size_t n, const char *path,
                                   uint64_t number)
{
    struct column c[6];
    double score;
    bool is_new;
    size_t found = split_columns(c, 6, line, n);
    if (found == 0)
        return TRAWL_OK;
    if (found != 6)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": %zu columns; 'query Q0 document rank score tag' is needed",
                    path, number, found);
    if (!number_parse(&score, c[4].text, c[4].n) || isnan(score))
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": score '%.*s' is not a number", path, number,
                    (int)(c[4].n < 40 ? c[4].n : 40), c[4].text);
    if (memchr(c[0].text, '\0', c[0].n) || memchr(c[2].text, '\0', c[2].n))
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": an id holds a NUL character", path, number);
    if (!r->tag && !(r->tag = mem_text(c[5].text, c[5].n)))
        return mem_status();
    TRY(add(r, last, c[0], c[2], (float)score, &is_new));
    if (is_new)
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": query '%.*s' has document '%.*s' twice", path, number,
                (int)c[0].n, c[0].text, (int)c[2].n, c[2].text);
}

/* ---- JSON ---- */

static enum trawl_status take_object(struct run *r, const char *query, const json_t *docs, const char *path)
{
    const char *doc;
    json_t *score;
    if (!json_is_object(docs))
        return fail(TRAWL_FORMAT, "'%s': query '%s' must hold an object of documents and scores", path, query);
    TRY(run_add_query(r, query));
    json_object_foreach((json_t *)docs, doc, score)
    {
        if (!json_is_number(score))
            return fail(TRAWL_FORMAT, "'%s': query '%s', document '%s': the score is not a number", path, query, doc);
        TRY(run_add(r, query, doc, (float)json_number_value(score)));
    }
    return TRAWL_OK;
}

static enum trawl_status read_json(struct run *r, const char *text, size_t n, const char *path)
{
    json_t *root;
    const char *query;
    json_t *docs;
    enum trawl_status status = TRAWL_OK;
    struct buf where = {0};
    TRY(buf_printf(&where, "'%s'", path));
    status = json_parse(&root, text, n, where.data);
    buf_release(&where);
    TRY(status);
    if (!json_is_object(root))
        status = fail(TRAWL_FORMAT, "'%s': a JSON run is an object {query: {document: score}}", path);
    else
        json_object_foreach(root, query, docs) if (status == TRAWL_OK) status = take_object(r, query, docs, path);
    json_decref(root);
    return status;
}

/* All lines that are left, for formats that are not made of lines. */
static enum trawl_status read_rest(struct buf *text, struct line_reader *lines, const char *line, size_t n)
{
    while (line) {
        TRY(buf_append(text, line, n));
        TRY(buf_append(text, "\n", 1));
        TRY(line_next(lines, &line, &n));
    }
    return TRAWL_OK;
}

/* ---- files ---- */

static enum trawl_status read_lines(struct run *r, struct line_reader *lines)
{
    struct last_query last = {0};
    struct buf text = {0};
    const char *line;
    size_t n;
    TRY(line_next(lines, &line, &n));
    while (line && n == 0)
        TRY(line_next(lines, &line, &n));
    struct column first[1];
    if (line && split_columns(first, 1, line, n) && first[0].text[0] == '{') {
        enum trawl_status status = read_rest(&text, lines, line, n);
        if (status == TRAWL_OK)
            status = read_json(r, text.data, text.n, line_path(lines));
        buf_release(&text);
        return status;
    }
    while (line) {
        TRY(take_line(r, &last, line, n, line_path(lines), line_number(lines)));
        TRY(line_next(lines, &line, &n));
    }
    return TRAWL_OK;
}

enum trawl_status run_read(struct run *r, const char *path)
{
    struct line_reader *lines;
    *r = (struct run){0};
    TRY(line_reader_open(&lines, path));
    enum trawl_status status = read_lines(r, lines);
    if (status == TRAWL_OK && r->queries.n == 0)
        status = fail(TRAWL_FORMAT, "'%s': the run is empty", path);
    line_reader_close(lines);
    if (status != TRAWL_OK)
        run_release(r);
    return status;
}

static enum trawl_status check_trec_id(const char *id, size_t n)
{
    struct column c[1];
    if (split_columns(c, 1, id, n) == 1 && c[0].n == n && !memchr(id, '\n', n))
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "the id '%s' has white space and cannot stand in a TREC run (write JSON instead)", id);
}

static enum trawl_status write_trec(const struct run *r, struct file_writer *w)
{
    const char *tag = r->tag && *r->tag ? r->tag : "trawl";
    for (uint32_t q = 0; q < r->queries.n; q++) {
        size_t n;
        const char *query = map_key(&r->queries, q, &n);
        TRY(check_trec_id(query, n));
        for (uint32_t i = 0; i < r->items[q].n; i++) {
            const struct doc_entry *hit = &r->items[q].items[i];
            TRY(check_trec_id(run_doc(r, hit), hit->id_bytes));
            TRY(file_printf(w, "%.*s Q0 %s %u %.9g %s\n", (int)n, query, run_doc(r, hit), i + 1, (double)hit->score,
                            tag));
        }
    }
    return TRAWL_OK;
}

static enum trawl_status write_json(const struct run *r, struct file_writer *w, struct buf *text)
{
    TRY(file_printf(w, "{"));
    for (uint32_t q = 0; q < r->queries.n; q++) {
        size_t n;
        const char *query = map_key(&r->queries, q, &n);
        buf_reset(text);
        TRY(json_quote(text, query, n));
        TRY(file_printf(w, "%s\n%s: {", q ? "," : "", text->data));
        for (uint32_t i = 0; i < r->items[q].n; i++) {
            const struct doc_entry *hit = &r->items[q].items[i];
            if (isinf(hit->score))
                return fail(TRAWL_FORMAT, "query '%.*s': an infinite score cannot stand in JSON", (int)n, query);
            buf_reset(text);
            TRY(json_quote(text, run_doc(r, hit), hit->id_bytes));
            TRY(file_printf(w, "%s%s: %.9g", i ? ", " : "", text->data, (double)hit->score));
        }
        TRY(file_printf(w, "}"));
    }
    return file_printf(w, "\n}\n");
}

enum trawl_status run_write(const struct run *r, const char *path, const char *format)
{
    struct file_writer w;
    struct buf text = {0};
    bool json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "trec") != 0)
        return fail(TRAWL_USAGE, "unknown run format '%s' (known: trec, json)", format);
    TRY(file_writer_open(&w, path));
    enum trawl_status status = json ? write_json(r, &w, &text) : write_trec(r, &w);
    buf_release(&text);
    if (status == TRAWL_OK)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

void run_release(struct run *r)
{
    if (!r)
        return;
    doc_lists_release(&r->queries, &r->items, &r->ids);
    free(r->tag);
    *r = (struct run){0};
}
