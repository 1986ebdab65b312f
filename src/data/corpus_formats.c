/*
 * Corpora of one record per line (JSON lines of BEIR and Anserini, TSV of MS MARCO and others) or one per file (folders
 * of .txt and .md). TREC's markup has a file of its own.
 */
#include "corpus_int.h"
#include "jsonl.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The next line that is not blank; its number becomes the record's. */
static enum trawl_status next_record_line(struct corpus *c)
{
    do
        TRY(corpus_line(c));
    while (c->line && c->line_bytes == 0);
    c->record_line = line_number(c->lines);
    return TRAWL_OK;
}

/* ---- JSON lines ---- */

enum { JSON_ID, JSON_ID_ANSERINI, JSON_ID_DOC, JSON_TITLE, JSON_TEXT, JSON_CONTENTS, JSON_MEMBERS };

static enum trawl_status wrong_kind(const struct corpus *c, const struct jsonl_member *m)
{
    char reason[128];
    snprintf(reason, sizeof reason, "member '%s' must be a string, not %s", m->name, jsonl_kind_name(m->kind));
    return corpus_fail(c, reason);
}

/* Strings as they are; numbers, which some collections have as ids, as they are written. */
static enum trawl_status take_id(struct corpus *c, const struct jsonl_member *m)
{
    if (m->kind == JSONL_NUMBER)
        return buf_append(&c->id, m->raw, m->n);
    return m->kind == JSONL_STRING ? jsonl_text(&c->id, m) : wrong_kind(c, m);
}

static enum trawl_status take_text(struct corpus *c, struct buf *out, const struct jsonl_member *m)
{
    return m->kind == JSONL_STRING ? jsonl_text(out, m) : wrong_kind(c, m);
}

static enum trawl_status take_members(struct corpus *c, const struct jsonl_member *m)
{
    const struct jsonl_member *id = NULL, *text = &m[JSON_TEXT];
    for (int i = JSON_ID; i <= JSON_ID_DOC && !id; i++)
        id = m[i].kind == JSONL_ABSENT ? NULL : &m[i];
    if (!id)
        return corpus_fail(c, "no id: member '_id', 'id' or 'docid' is needed");
    TRY(take_id(c, id));
    if (text->kind == JSONL_ABSENT)
        text = &m[JSON_CONTENTS];
    bool titled = m[JSON_TITLE].kind != JSONL_ABSENT && m[JSON_TITLE].kind != JSONL_NULL;
    if (text->kind == JSONL_ABSENT && !titled)
        return corpus_fail(c, "no text: member 'text', 'contents' or 'title' is needed");
    if (titled)
        TRY(take_text(c, &c->title, &m[JSON_TITLE]));
    return text->kind == JSONL_ABSENT ? TRAWL_OK : take_text(c, &c->text, text);
}

static enum trawl_status read_jsonl(struct corpus *c, bool *found)
{
    struct jsonl_member members[JSON_MEMBERS] = {
        [JSON_ID] = {.name = "_id"},      [JSON_ID_ANSERINI] = {.name = "id"}, [JSON_ID_DOC] = {.name = "docid"},
        [JSON_TITLE] = {.name = "title"}, [JSON_TEXT] = {.name = "text"},      [JSON_CONTENTS] = {.name = "contents"}};
    *found = false;
    TRY(next_record_line(c));
    if (!c->line)
        return TRAWL_OK;
    TRY(jsonl_scan(members, JSON_MEMBERS, c->line, c->line_bytes, line_path(c->lines), c->record_line));
    TRY(take_members(c, members));
    *found = true;
    return TRAWL_OK;
}

const struct corpus_format corpus_jsonl = {"jsonl", read_jsonl};

/* ---- TSV ---- */

struct column {
    const char *text;
    size_t n;
};

/* Splits at TABs; returns how many columns there are, also beyond `max`. */
static size_t split_tabs(struct column *columns, size_t max, const char *line, size_t n)
{
    size_t found = 0;
    const char *end = line + n;
    for (;;) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        if (found < max)
            columns[found] = (struct column){line, (size_t)((tab ? tab : end) - line)};
        found++;
        if (!tab)
            return found;
        line = tab + 1;
    }
}

static bool column_is(const struct column *column, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == column->n && strncasecmp(column->text, *names, column->n) == 0)
            return true;
    return false;
}

/* A first line that names the columns, such as "id TAB text". */
static bool is_header(const struct column *columns, size_t n)
{
    static const char *const ids[] = {"id", "_id", "docid", "doc_id", "pid", "docno", NULL};
    static const char *const texts[] = {"text", "contents", "passage", "body", NULL};
    static const char *const seconds[] = {"text", "contents", "passage", "title", "url", NULL};
    return column_is(&columns[0], ids) && column_is(&columns[1], seconds) &&
           (n == 2 || column_is(&columns[n - 1], texts) || column_is(&columns[n - 1], seconds));
}

static enum trawl_status wrong_columns(const struct corpus *c, size_t found)
{
    char reason[192];
    if (c->columns)
        snprintf(reason, sizeof reason, "%zu columns, but the lines before have %zu (a TAB inside a text?)", found,
                 c->columns);
    else
        snprintf(reason, sizeof reason,
                 "%zu columns; 'id TAB text', 'id TAB title TAB text' or "
                 "'id TAB url TAB title TAB body' is needed",
                 found);
    return corpus_fail(c, reason);
}

static enum trawl_status read_tsv(struct corpus *c, bool *found)
{
    struct column columns[4];
    *found = false;
    for (;;) {
        TRY(next_record_line(c));
        if (!c->line)
            return TRAWL_OK;
        size_t n = split_tabs(columns, 4, c->line, c->line_bytes);
        if (n < 2 || n > 4 || (c->columns && n != c->columns))
            return wrong_columns(c, n);
        bool first = c->columns == 0;
        c->columns = n;
        if (!first || !is_header(columns, n))
            break;
    }
    TRY(buf_append(&c->id, columns[0].text, columns[0].n));
    if (c->columns > 2)
        TRY(buf_append(&c->title, columns[c->columns - 2].text, columns[c->columns - 2].n));
    TRY(buf_append(&c->text, columns[c->columns - 1].text, columns[c->columns - 1].n));
    *found = true;
    return TRAWL_OK;
}

const struct corpus_format corpus_tsv = {"tsv", read_tsv};

/* ---- folders of texts ---- */

static bool is_white(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}

/* A line without its '#'s (one to six and a space, as CommonMark has it) and white space; false when no heading. */
static bool heading(const char **begin, size_t *n)
{
    size_t level = 0;
    while (level < *n && (*begin)[level] == '#')
        level++;
    if (level == 0 || level > 6 || (level < *n && !is_white((*begin)[level])))
        return false;
    *begin += level;
    *n -= level;
    while (*n && ((*begin)[*n - 1] == '#' || is_white((*begin)[*n - 1])))
        (*n)--;
    while (*n && is_white(**begin)) {
        (*begin)++;
        (*n)--;
    }
    return *n > 0;
}

static void trim(const char **begin, size_t *n)
{
    while (*n && is_white((*begin)[*n - 1]))
        (*n)--;
    while (*n && is_white(**begin)) {
        (*begin)++;
        (*n)--;
    }
}

enum trawl_status markdown_title(struct buf *title, struct buf *text)
{
    size_t begin = 0, next, cut_begin = 0, cut_end = 0;
    const char *best = NULL;
    size_t best_bytes = 0;
    for (; begin < text->n; begin = next) {
        const char *line = text->data + begin, *stop = memchr(line, '\n', text->n - begin);
        size_t n = stop ? (size_t)(stop - line) : text->n - begin;
        next = begin + n + (stop != NULL);
        const char *words = line;
        size_t words_bytes = n;
        bool is_heading = heading(&words, &words_bytes);
        if (!is_heading) {
            words = line;
            words_bytes = n;
            trim(&words, &words_bytes);
        }
        if (words_bytes && (is_heading || !best)) {
            best = words;
            best_bytes = words_bytes;
            cut_begin = begin;
            cut_end = next;
        }
        if (is_heading)
            break;
    }
    if (!best)
        return TRAWL_OK;
    TRY(buf_append(title, best, best_bytes));
    memmove(text->data + cut_begin, text->data + cut_end, text->n - cut_end + 1);
    text->n -= cut_end - cut_begin;
    return TRAWL_OK;
}

static bool is_markdown(const char *name)
{
    const char *dot = strstr(name, ".md");
    return (dot && (dot[3] == '\0' || dot[3] == '.')) || strstr(name, ".markdown");
}

static void drop_end_space(struct buf *text)
{
    while (text->n && is_white(text->data[text->n - 1]))
        text->data[--text->n] = '\0';
}

/* The whole file is one record; its name below the folder is the id. */
static enum trawl_status read_folder(struct corpus *c, bool *found)
{
    const char *path = line_path(c->lines), *name = path + c->root_bytes;
    bool first = true;
    *found = false;
    if (line_number(c->lines) || c->columns) /* read before */
        return TRAWL_OK;
    c->columns = 1;
    c->record_line = 1;
    while (*name == '/')
        name++;
    TRY(buf_text(&c->id, name));
    for (;; first = false) {
        TRY(corpus_line(c));
        if (!c->line)
            break;
        if (!first)
            TRY(buf_append(&c->text, "\n", 1));
        TRY(buf_append(&c->text, c->line, c->line_bytes));
    }
    const char *base = strrchr(name, '/');
    drop_end_space(&c->text);
    if (is_markdown(base ? base : name))
        TRY(markdown_title(&c->title, &c->text));
    *found = true;
    return TRAWL_OK;
}

const struct corpus_format corpus_folder = {"folder", read_folder};
