/* Lines of JSON with a text or ids. */
#include "records.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "data/jsonl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Members in order of preference within a group. */
enum { ID_FIRST, ID_END = 6, TITLE = ID_END, TEXT_FIRST, TEXT_END = TEXT_FIRST + 4, IDS = TEXT_END, MEMBERS };

static const char *const names[MEMBERS] = {"_id",   "id",   "docid",    "doc_id", "query_id", "docno",
                                           "title", "text", "contents", "query",  "prompt",   "ids"};

struct records {
    struct line_reader *lines;
    struct record record;
    struct buf raw;
    bool strict;
    struct corpus_counts counts;
};

static void name_members(struct jsonl_member *m)
{
    for (size_t i = 0; i < MEMBERS; i++)
        m[i] = (struct jsonl_member){.name = names[i]};
}

static const struct jsonl_member *first_present(const struct jsonl_member *m, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        if (m[i].kind != JSONL_ABSENT && m[i].kind != JSONL_NULL)
            return &m[i];
    return NULL;
}

enum trawl_status records_open(struct records **out, const char *path, bool strict)
{
    *out = NULL;
    struct records *r = mem_array(1, sizeof *r);
    if (!r)
        return mem_status();
    r->strict = strict;
    enum trawl_status status = line_reader_open(&r->lines, path);
    if (status != TRAWL_OK) {
        free(r);
        return status;
    }
    *out = r;
    return TRAWL_OK;
}

void records_close(struct records *r)
{
    if (!r)
        return;
    line_reader_close(r->lines);
    buf_release(&r->record.id);
    buf_release(&r->record.title);
    buf_release(&r->record.text);
    buf_release(&r->raw);
    ids_release(&r->record.ids);
    free(r);
}

static enum trawl_status refuse(const struct records *r, const char *name, const char *wanted,
                                const struct jsonl_member *m)
{
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": member '%s' must be %s, not %s", line_path(r->lines),
                line_number(r->lines), name, wanted, jsonl_kind_name(m->kind));
}

/* A string member, repaired; *invalid is set when it had to be. */
static enum trawl_status take_string(struct records *r, struct buf *out, const struct jsonl_member *m, bool *invalid)
{
    buf_reset(out);
    if (!m)
        return buf_append(out, "", 0);
    if (m->kind != JSONL_STRING)
        return refuse(r, m->name, "a string", m);
    buf_reset(&r->raw);
    TRY(jsonl_text(&r->raw, m));
    size_t good = utf8_invalid(r->raw.data, r->raw.n);
    if (good == r->raw.n)
        return buf_append(out, r->raw.data, r->raw.n);
    if (r->strict)
        return fail(TRAWL_FORMAT,
                    "'%s' line %" PRIu64 ": member '%s' is invalid UTF-8 at byte %zu (leave out '--strict' "
                    "to replace it)",
                    line_path(r->lines), line_number(r->lines), m->name, good + 1);
    *invalid = true;
    return utf8_repair(out, r->raw.data, r->raw.n);
}

static enum trawl_status take_id(struct records *r, const struct jsonl_member *m, bool *invalid)
{
    r->record.has_id = m != NULL;
    if (m && m->kind == JSONL_NUMBER) {
        buf_reset(&r->record.id);
        return buf_append(&r->record.id, m->raw, m->n);
    }
    return take_string(r, &r->record.id, m, invalid);
}

/* An array of whole numbers below 2^32, as the scanner left it: valid JSON. */
static enum trawl_status take_ids(struct records *r, const struct jsonl_member *m)
{
    struct ids *ids = &r->record.ids;
    ids->n = 0;
    r->record.has_ids = m->kind == JSONL_ARRAY;
    if (!r->record.has_ids)
        return m->kind == JSONL_ABSENT || m->kind == JSONL_NULL ? TRAWL_OK : refuse(r, m->name, "an array", m);
    for (size_t i = 1; i < m->n;) {
        char c = m->raw[i];
        if (c == ' ' || c == ',' || c == ']' || c == '\t') {
            i++;
            continue;
        }
        uint64_t value = 0;
        size_t begin = i;
        for (; i < m->n && m->raw[i] >= '0' && m->raw[i] <= '9' && value <= UINT32_MAX; i++)
            value = value * 10 + (uint64_t)(m->raw[i] - '0');
        bool ended = i < m->n && strchr(" ,]\t", m->raw[i]);
        if (i == begin || value > UINT32_MAX || !ended)
            return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": entry %zu of 'ids' is no token id", line_path(r->lines),
                        line_number(r->lines), ids->n + 1);
        TRY(mem_grow((void **)&ids->ids, &ids->cap, ids->n + 1, sizeof *ids->ids));
        ids->ids[ids->n++] = (uint32_t)value;
    }
    return TRAWL_OK;
}

static void count(struct records *r, bool invalid)
{
    struct corpus_counts *c = &r->counts;
    c->documents++;
    c->empty += r->record.has_text && !r->record.text.n && !r->record.title.n;
    if (!invalid)
        return;
    if (!c->invalid_utf8++) {
        c->first_invalid_line = line_number(r->lines);
        snprintf(c->first_invalid_id, sizeof c->first_invalid_id, "%s", r->record.id.data);
    }
}

static enum trawl_status next_line(struct line_reader *lines, const char **line, size_t *n)
{
    do
        TRY(line_next(lines, line, n));
    while (*line && *n == 0);
    return TRAWL_OK;
}

enum trawl_status records_next(struct records *r, const struct record **rec)
{
    struct jsonl_member m[MEMBERS];
    const char *line;
    size_t n;
    bool invalid = false;
    *rec = NULL;
    TRY(next_line(r->lines, &line, &n));
    if (!line)
        return TRAWL_OK;
    name_members(m);
    TRY(jsonl_scan(m, MEMBERS, line, n, line_path(r->lines), line_number(r->lines)));
    const struct jsonl_member *title = first_present(m, TITLE, TITLE + 1);
    const struct jsonl_member *text = first_present(m, TEXT_FIRST, TEXT_END);
    TRY(take_id(r, first_present(m, ID_FIRST, ID_END), &invalid));
    TRY(take_string(r, &r->record.title, title, &invalid));
    TRY(take_string(r, &r->record.text, text, &invalid));
    TRY(take_ids(r, &m[IDS]));
    r->record.has_text = text || title;
    if (!r->record.has_text && !r->record.has_ids)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": no text: member 'text' or 'ids' is needed",
                    line_path(r->lines), line_number(r->lines));
    count(r, invalid);
    *rec = &r->record;
    return TRAWL_OK;
}

uint64_t records_line(const struct records *r)
{
    return line_number(r->lines);
}

const char *records_path(const struct records *r)
{
    return line_path(r->lines);
}

const struct corpus_counts *records_counts(const struct records *r)
{
    return &r->counts;
}

void records_position(const struct records *r, uint64_t *done, uint64_t *total)
{
    line_position(r->lines, done, total);
}

enum trawl_status records_are_bare(bool *bare, const char *path)
{
    struct line_reader *lines = NULL;
    struct jsonl_member m[MEMBERS];
    const char *line;
    size_t n;
    enum trawl_status status;
    *bare = false;
    TRY(line_reader_open(&lines, path));
    TRY_OUT(next_line(lines, &line, &n));
    if (!line || !n || line[0] != '{')
        goto out;
    name_members(m);
    TRY_OUT(jsonl_scan(m, MEMBERS, line, n, line_path(lines), line_number(lines)));
    *bare = !first_present(m, ID_FIRST, ID_END);
out:
    line_reader_close(lines);
    return status;
}
