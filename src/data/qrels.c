/* Relevance judgements. */
#include "doc_list.h"
#include "number.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GRADE 1000000

static enum trawl_status add(struct qrels *q, struct column query, struct column doc, int32_t grade, bool *is_new)
{
    struct doc_list *list;
    struct doc_entry *entry;
    TRY(doc_lists_query(&list, &q->queries, &q->items, &q->cap, query.text, query.n));
    TRY(doc_list_put(list, &q->ids, doc.text, doc.n, &entry, is_new));
    if (*is_new)
        entry->grade = grade;
    return TRAWL_OK;
}

enum trawl_status qrels_add(struct qrels *q, const char *query, const char *doc, int32_t grade)
{
    bool is_new;
    TRY(add(q, (struct column){query, strlen(query)}, (struct column){doc, strlen(doc)}, grade, &is_new));
    return is_new ? TRAWL_OK : fail(TRAWL_FORMAT, "query '%s' has document '%s' judged twice", query, doc);
}

/* TABs separate, so that ids may hold spaces. */
static size_t split_tabs3(struct column columns[3], const char *line, size_t n)
{
    const char *end = line + n;
    for (size_t i = 0;; i++) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        if (i < 3)
            columns[i] = (struct column){line, (size_t)((tab ? tab : end) - line)};
        if (!tab)
            return i + 1;
        line = tab + 1;
    }
}

/* How the lines of a file are cut; seen from the first one. */
enum layout { LAYOUT_UNSEEN, LAYOUT_TREC, LAYOUT_BEIR };

struct qrels_line {
    struct column query, doc, grade;
    bool header;
};

static enum trawl_status cut_line(struct qrels_line *cut, enum layout *layout, const char *line, size_t n,
                                  const char *path, uint64_t number)
{
    struct column tabs[3], words[4];
    int64_t grade;
    cut->header = false;
    if (*layout == LAYOUT_UNSEEN) {
        *layout = split_tabs3(tabs, line, n) == 3 ? LAYOUT_BEIR : LAYOUT_TREC;
        cut->header = *layout == LAYOUT_BEIR && !number_parse_int(&grade, tabs[2].text, tabs[2].n) &&
                      memchr("0123456789+-.", tabs[2].n ? tabs[2].text[0] : 'x', 13) == NULL;
        if (cut->header)
            return TRAWL_OK;
    }
    if (*layout == LAYOUT_BEIR) {
        if (split_tabs3(tabs, line, n) != 3)
            return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": 'query TAB document TAB grade' is needed", path, number);
        cut->query = tabs[0];
        cut->doc = tabs[1];
        cut->grade = tabs[2];
    } else {
        size_t found = split_columns(words, 4, line, n);
        if (found != 4)
            return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": %zu columns; 'query iteration document grade' is needed",
                        path, number, found);
        cut->query = words[0];
        cut->doc = words[2];
        cut->grade = words[3];
    }
    return TRAWL_OK;
}

static enum trawl_status take_line(struct qrels *q, const struct qrels_line *cut, const char *path, uint64_t number)
{
    int64_t grade;
    bool is_new;
    if (!cut->query.n || !cut->doc.n)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": an empty id", path, number);
    if (memchr(cut->query.text, '\0', cut->query.n) || memchr(cut->doc.text, '\0', cut->doc.n))
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": an id holds a NUL character", path, number);
    if (!number_parse_int(&grade, cut->grade.text, cut->grade.n) || grade > MAX_GRADE || grade < -MAX_GRADE)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": grade '%.*s' is not a whole number between -%d and %d", path,
                    number, (int)(cut->grade.n < 40 ? cut->grade.n : 40), cut->grade.text, MAX_GRADE, MAX_GRADE);
    TRY(add(q, cut->query, cut->doc, (int32_t)grade, &is_new));
    if (is_new)
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": query '%.*s' has document '%.*s' judged twice", path, number,
                (int)cut->query.n, cut->query.text, (int)cut->doc.n, cut->doc.text);
}

static bool is_blank(const char *line, size_t n)
{
    struct column none[1];
    return split_columns(none, 1, line, n) == 0;
}

static enum trawl_status read_lines(struct qrels *q, struct line_reader *lines)
{
    enum layout layout = LAYOUT_UNSEEN;
    struct qrels_line cut = {0};
    const char *line;
    size_t n;
    for (;;) {
        TRY(line_next(lines, &line, &n));
        if (!line)
            break;
        if (is_blank(line, n))
            continue;
        TRY(cut_line(&cut, &layout, line, n, line_path(lines), line_number(lines)));
        if (!cut.header)
            TRY(take_line(q, &cut, line_path(lines), line_number(lines)));
    }
    return q->queries.n ? TRAWL_OK : fail(TRAWL_FORMAT, "'%s': no judgements", line_path(lines));
}

enum trawl_status qrels_read(struct qrels *q, const char *path)
{
    struct line_reader *lines;
    *q = (struct qrels){0};
    TRY(line_reader_open(&lines, path));
    enum trawl_status status = read_lines(q, lines);
    line_reader_close(lines);
    if (status != TRAWL_OK)
        qrels_release(q);
    return status;
}

uint64_t qrels_line(const char *path, const char *query, const char *doc)
{
    struct line_reader *lines;
    struct qrels_line cut = {0};
    enum layout layout = LAYOUT_UNSEEN;
    const char *line;
    size_t n;
    uint64_t number = 0;
    if (line_reader_open(&lines, path) != TRAWL_OK)
        return 0;
    while (number == 0 && line_next(lines, &line, &n) == TRAWL_OK && line) {
        if (is_blank(line, n) || cut_line(&cut, &layout, line, n, path, line_number(lines)) != TRAWL_OK || cut.header)
            continue;
        if (cut.query.n == strlen(query) && !memcmp(cut.query.text, query, cut.query.n) && cut.doc.n == strlen(doc) &&
            !memcmp(cut.doc.text, doc, cut.doc.n))
            number = line_number(lines);
    }
    line_reader_close(lines);
    return number;
}

void qrels_release(struct qrels *q)
{
    if (!q)
        return;
    doc_lists_release(&q->queries, &q->items, &q->ids);
    *q = (struct qrels){0};
}
