/* One row per kind of input; texts without an id are called by their place, from 0. */
#include "texts.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "records.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct texts {
    const struct source *source;
    struct texts_options options;
    struct corpus *corpus;
    struct queries queries;
    struct records *records;
    struct line_reader *lines;
    struct buf text;
    char number[24];
    uint64_t n;
    struct corpus_counts counts; /* of lines and queries */
};

struct source {
    enum trawl_status (*open)(struct texts *t, const char *path);
    enum trawl_status (*next)(struct texts *t, struct text_item *item);
    const struct corpus_counts *(*counts)(const struct texts *t);
    void (*position)(const struct texts *t, uint64_t *done, uint64_t *total);
};

static void number_item(struct texts *t, struct text_item *item)
{
    snprintf(t->number, sizeof t->number, "%" PRIu64, t->n);
    item->id = t->number;
    item->id_bytes = strlen(t->number);
}

static const struct corpus_counts *own_counts(const struct texts *t)
{
    return &t->counts;
}

/* ---- corpora ---- */

static enum trawl_status corpus_begin(struct texts *t, const char *path)
{
    struct corpus_options options = {.format = t->options.format, .join = t->options.join, .strict = t->options.strict};
    return corpus_open(&t->corpus, path, &options);
}

static enum trawl_status corpus_item(struct texts *t, struct text_item *item)
{
    struct document doc;
    TRY(corpus_next(t->corpus, &doc));
    if (!doc.id)
        return TRAWL_OK;
    buf_reset(&t->text);
    TRY(buf_append(&t->text, "", 0));
    TRY(document_join(&t->text, &doc, t->options.join));
    *item = (struct text_item){doc.id, t->text.data, doc.id_bytes, t->text.n};
    return TRAWL_OK;
}

static const struct corpus_counts *corpus_met(const struct texts *t)
{
    return corpus_counts(t->corpus);
}

static void corpus_at(const struct texts *t, uint64_t *done, uint64_t *total)
{
    corpus_position(t->corpus, done, total);
}

static const struct source corpus_source = {corpus_begin, corpus_item, corpus_met, corpus_at};

/* ---- queries: in memory ---- */

static enum trawl_status queries_begin(struct texts *t, const char *path)
{
    TRY(queries_read(&t->queries, path, t->options.strict));
    t->counts.invalid_utf8 = t->queries.invalid_utf8;
    return TRAWL_OK;
}

static enum trawl_status queries_item(struct texts *t, struct text_item *item)
{
    if (t->n >= t->queries.n)
        return TRAWL_OK;
    const struct query *q = &t->queries.items[t->n];
    *item = (struct text_item){q->id, q->text, strlen(q->id), q->text_bytes};
    t->counts.documents++;
    t->counts.empty += !q->text_bytes;
    return TRAWL_OK;
}

static void queries_at(const struct texts *t, uint64_t *done, uint64_t *total)
{
    *done = t->n;
    *total = t->queries.n;
}

static const struct source queries_source = {queries_begin, queries_item, own_counts, queries_at};

/* ---- JSON lines, ids or not ---- */

static enum trawl_status records_begin(struct texts *t, const char *path)
{
    return records_open(&t->records, path, t->options.strict);
}

static enum trawl_status records_item(struct texts *t, struct text_item *item)
{
    const struct record *rec;
    TRY(records_next(t->records, &rec));
    if (!rec)
        return TRAWL_OK;
    if (!rec->has_text)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": no text: member 'text' is needed", records_path(t->records),
                    records_line(t->records));
    struct document doc = {
        .title = rec->title.data, .text = rec->text.data, .title_bytes = rec->title.n, .text_bytes = rec->text.n};
    buf_reset(&t->text);
    TRY(buf_append(&t->text, "", 0));
    TRY(document_join(&t->text, &doc, t->options.join));
    number_item(t, item);
    if (rec->has_id) {
        item->id = rec->id.data;
        item->id_bytes = rec->id.n;
    }
    item->text = t->text.data;
    item->text_bytes = t->text.n;
    return TRAWL_OK;
}

static const struct corpus_counts *records_met(const struct texts *t)
{
    return records_counts(t->records);
}

static void records_at(const struct texts *t, uint64_t *done, uint64_t *total)
{
    records_position(t->records, done, total);
}

static const struct source records_source = {records_begin, records_item, records_met, records_at};

/* ---- plain lines: every line is a text, an empty one an empty text ---- */

static enum trawl_status lines_begin(struct texts *t, const char *path)
{
    return line_reader_open(&t->lines, path);
}

static enum trawl_status lines_item(struct texts *t, struct text_item *item)
{
    const char *line;
    size_t n;
    TRY(line_next(t->lines, &line, &n));
    if (!line)
        return TRAWL_OK;
    size_t good = utf8_invalid(line, n);
    if (good < n && t->options.strict)
        return fail(TRAWL_FORMAT,
                    "'%s' line %" PRIu64 ": invalid UTF-8 at byte %zu (leave out '--strict' to replace it)",
                    line_path(t->lines), line_number(t->lines), good + 1);
    buf_reset(&t->text);
    TRY(good < n ? utf8_repair(&t->text, line, n) : buf_append(&t->text, line, n));
    number_item(t, item);
    item->text = t->text.data;
    item->text_bytes = t->text.n;
    t->counts.documents++;
    t->counts.empty += !n;
    if (good < n && !t->counts.invalid_utf8++) {
        t->counts.first_invalid_line = line_number(t->lines);
        memcpy(t->counts.first_invalid_id, t->number, sizeof t->number);
    }
    return TRAWL_OK;
}

static void lines_at(const struct texts *t, uint64_t *done, uint64_t *total)
{
    line_position(t->lines, done, total);
}

static const struct source lines_source = {lines_begin, lines_item, own_counts, lines_at};

/* ---- choosing ---- */

static bool ends_in_txt(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".txt");
}

static enum trawl_status choose(struct texts *t, const char *path)
{
    const char *format = t->options.format;
    bool automatic = !strcmp(format, "auto"), bare = false, stdin_ = !strcmp(path, "-");
    if (!strcmp(format, "lines") || (automatic && !stdin_ && !file_is_folder(path) && ends_in_txt(path))) {
        t->source = &lines_source;
        return TRAWL_OK;
    }
    if (automatic && !stdin_ && !file_is_folder(path))
        TRY(records_are_bare(&bare, path));
    if (automatic && (stdin_ || bare))
        t->source = &records_source;
    else
        t->source = t->options.queries && automatic ? &queries_source : &corpus_source;
    return TRAWL_OK;
}

enum trawl_status texts_open(struct texts **out, const char *path, const struct texts_options *options)
{
    enum trawl_status status;
    *out = NULL;
    struct texts *t = mem_array(1, sizeof *t);
    if (!t)
        return mem_status();
    t->options = *options;
    if (!t->options.format)
        t->options.format = "auto";
    TRY_OUT(choose(t, path));
    TRY_OUT(t->source->open(t, path));
out:
    if (status != TRAWL_OK) {
        texts_close(t);
        return status;
    }
    *out = t;
    return TRAWL_OK;
}

enum trawl_status texts_next(struct texts *t, struct text_item *item)
{
    *item = (struct text_item){0};
    TRY(t->source->next(t, item));
    t->n += item->id != NULL;
    return TRAWL_OK;
}

const struct corpus_counts *texts_counts(const struct texts *t)
{
    return t->source->counts(t);
}

void texts_position(const struct texts *t, uint64_t *done, uint64_t *total)
{
    t->source->position(t, done, total);
}

void texts_close(struct texts *t)
{
    if (!t)
        return;
    corpus_close(t->corpus);
    queries_release(&t->queries);
    records_close(t->records);
    line_reader_close(t->lines);
    buf_release(&t->text);
    free(t);
}
