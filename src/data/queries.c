/* Queries, held in memory in file order: JSON lines or TSV, plain or compressed, or a BEIR folder. */
#include "base/mem.h"
#include "base/utf8.h"
#include "data.h"
#include "jsonl.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct query_reader {
    struct queries *q;
    struct line_reader *lines;
    size_t cap;
    bool strict;
    struct buf id, text, scratch;
};

static enum trawl_status refuse(const struct query_reader *r, const char *reason)
{
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": %s", line_path(r->lines), line_number(r->lines), reason);
}

static enum trawl_status repair(struct query_reader *r, struct buf *text)
{
    if (!text->n || utf8_invalid(text->data, text->n) == text->n)
        return TRAWL_OK;
    if (r->strict)
        return refuse(r, "invalid UTF-8 (without --strict it is replaced by U+FFFD)");
    if (!r->q->invalid_utf8++)
        r->q->first_invalid_line = line_number(r->lines);
    buf_reset(&r->scratch);
    TRY(utf8_repair(&r->scratch, text->data, text->n));
    struct buf swap = *text;
    *text = r->scratch;
    r->scratch = swap;
    return TRAWL_OK;
}

/* The query in r->id and r->text joins the list. */
static enum trawl_status put_query(struct query_reader *r)
{
    struct queries *q = r->q;
    bool is_new;
    uint32_t number;
    TRY(repair(r, &r->id));
    TRY(repair(r, &r->text));
    if (!r->id.n || memchr(r->id.data, '\0', r->id.n))
        return refuse(r, "the query has no id, or one with a NUL character");
    TRY(mem_grow((void **)&q->items, &r->cap, q->n + 1, sizeof *q->items));
    TRY(map_put(&q->by_id, r->id.data, r->id.n, q->n, &number, &is_new));
    if (!is_new)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": the query id '%.200s' comes twice", line_path(r->lines),
                    line_number(r->lines), r->id.data);
    struct query *item = &q->items[q->n];
    item->id = mem_text(r->id.data, r->id.n);
    item->text = mem_text(r->text.data ? r->text.data : "", r->text.n);
    item->text_bytes = r->text.n;
    q->n++;
    return item->id && item->text ? TRAWL_OK : mem_status();
}

static enum trawl_status take_json(struct query_reader *r, const char *line, size_t n)
{
    enum { IDS = 4, TEXTS = 3 };
    struct jsonl_member m[IDS + TEXTS] = {{.name = "_id"},  {.name = "id"},    {.name = "query_id"}, {.name = "qid"},
                                          {.name = "text"}, {.name = "query"}, {.name = "title"}};
    const struct jsonl_member *id = NULL, *text = NULL;
    TRY(jsonl_scan(m, IDS + TEXTS, line, n, line_path(r->lines), line_number(r->lines)));
    for (int i = 0; i < IDS && !id; i++)
        id = m[i].kind == JSONL_ABSENT ? NULL : &m[i];
    for (int i = IDS; i < IDS + TEXTS && !text; i++)
        text = m[i].kind == JSONL_ABSENT ? NULL : &m[i];
    if (!id)
        return refuse(r, "no id: member '_id', 'id', 'query_id' or 'qid' is needed");
    if (!text || text->kind != JSONL_STRING)
        return refuse(r, "no text: member 'text' or 'query' with a string is needed");
    if (id->kind == JSONL_NUMBER)
        TRY(buf_append(&r->id, id->raw, id->n));
    else if (id->kind == JSONL_STRING)
        TRY(jsonl_text(&r->id, id));
    else
        return refuse(r, "the id must be a string or a number");
    return jsonl_text(&r->text, text);
}

static enum trawl_status take_tsv(struct query_reader *r, const char *line, size_t n)
{
    const char *tab = memchr(line, '\t', n);
    if (!tab)
        return refuse(r, "no TAB; 'id TAB text' or JSON lines are needed");
    TRY(buf_append(&r->id, line, (size_t)(tab - line)));
    return buf_append(&r->text, tab + 1, n - (size_t)(tab - line) - 1);
}

static enum trawl_status read_lines(struct query_reader *r)
{
    bool json = false, first = true;
    const char *line;
    size_t n;
    for (;;) {
        TRY(line_next(r->lines, &line, &n));
        if (!line)
            break;
        size_t i = 0;
        while (i < n && (line[i] == ' ' || line[i] == '\t'))
            i++;
        if (i == n)
            continue;
        if (first)
            json = line[i] == '{' || line[i] == '[';
        first = false;
        buf_reset(&r->id);
        buf_reset(&r->text);
        TRY(json ? take_json(r, line, n) : take_tsv(r, line, n));
        TRY(put_query(r));
    }
    return r->q->n ? TRAWL_OK : fail(TRAWL_FORMAT, "'%s': no queries", line_path(r->lines));
}

/* queries.jsonl of a BEIR folder, or the path itself. */
static enum trawl_status find_file(char **file, const char *path)
{
    static const char *const names[] = {"queries.jsonl", "queries.jsonl.gz", "queries.jsonl.zst"};
    if (strcmp(path, "-") == 0 || !file_is_folder(path)) {
        *file = mem_text(path, strlen(path));
        return *file ? TRAWL_OK : mem_status();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *file = file_join(path, names[i]);
        if (!*file)
            return mem_status();
        if (file_exists(*file))
            return TRAWL_OK;
        free(*file);
    }
    *file = NULL;
    return fail(TRAWL_NOT_FOUND, "no queries.jsonl in folder '%s'", path);
}

enum trawl_status queries_read(struct queries *q, const char *path, bool strict)
{
    struct query_reader r = {.q = q, .strict = strict};
    char *file;
    *q = (struct queries){0};
    TRY(find_file(&file, path));
    enum trawl_status status = line_reader_open(&r.lines, file);
    free(file);
    TRY(status);
    status = read_lines(&r);
    line_reader_close(r.lines);
    buf_release(&r.id);
    buf_release(&r.text);
    buf_release(&r.scratch);
    if (status != TRAWL_OK)
        queries_release(q);
    return status;
}

void queries_release(struct queries *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->n; i++) {
        free(q->items[i].id);
        free(q->items[i].text);
    }
    free(q->items);
    map_release(&q->by_id);
    *q = (struct queries){0};
}
