/*
 * Examples by number: the file is mapped, the first byte of every line that is not blank is kept, and an order over
 * them is drawn. A line's number is counted only when it has to be named.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "spool.h"
#include "training_int.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SHUFFLE_PURPOSE = 0x73687566 };

/* ---- messages ---- */

static uint64_t line_of(const struct training *t, uint64_t begin)
{
    uint64_t line = 1;
    const unsigned char *p = t->map.data, *end = t->map.data + begin;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        line++;
        p++;
    }
    return line;
}

/* Number of the current example. */
static size_t current(const struct training *t)
{
    size_t at = t->position - 1;
    return t->order ? t->order[at] : at;
}

/* "'file' line 7", in t->where. */
static enum trawl_status say_where(struct training *t)
{
    buf_reset(&t->where);
    return buf_printf(&t->where, "'%s' line %" PRIu64, t->path, line_of(t, t->begins[current(t)]));
}

enum trawl_status training_refuse(struct training *t, const char *format, ...)
{
    va_list args;
    char reason[512];
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    TRY(say_where(t));
    return fail(TRAWL_FORMAT, "%s: %s", t->where.data, reason);
}

enum trawl_status training_add(struct training_list *list, const struct training_passage *passage)
{
    TRY(mem_grow((void **)&list->items, &list->cap, list->n + 1, sizeof *list->items));
    list->items[list->n++] = *passage;
    return TRAWL_OK;
}

/* ---- opening ---- */

static bool is_blank(const unsigned char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static size_t line_bytes(const struct training *t, uint64_t begin)
{
    const unsigned char *line = t->map.data + begin, *end = memchr(line, '\n', t->map.bytes - begin);
    size_t n = end ? (size_t)(end - line) : t->map.bytes - begin;
    return n && line[n - 1] == '\r' ? n - 1 : n;
}

static enum trawl_status index_lines(struct training *t)
{
    size_t at = t->map.bytes >= 3 && !memcmp(t->map.data, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < t->map.bytes) {
        const unsigned char *line = t->map.data + at, *end = memchr(line, '\n', t->map.bytes - at);
        size_t n = end ? (size_t)(end - line) : t->map.bytes - at;
        if (!is_blank(line, n)) {
            TRY(mem_grow((void **)&t->begins, &t->cap, t->n + 1, sizeof *t->begins));
            t->begins[t->n++] = at;
        }
        at += n + 1;
    }
    if (t->n == 0)
        return fail(TRAWL_FORMAT, "'%s': there are no training examples in it", t->path);
    if (t->n >= UINT32_MAX)
        return fail(TRAWL_LIMIT, "'%s': more than %u examples", t->path, UINT32_MAX);
    const unsigned char *first = t->map.data + t->begins[0];
    while (*first == ' ' || *first == '\t')
        first++;
    t->tsv = *first != '{' && *first != '[';
    return TRAWL_OK;
}

/* gzip, zstd and standard input cannot be mapped: their lines go to a nameless file. */
static enum trawl_status spool_lines(struct training *t)
{
    struct line_reader *lines;
    const char *line;
    size_t n;
    t->spool = mem_array(1, sizeof *t->spool);
    if (!t->spool)
        return mem_status();
    TRY(spool_begin(t->spool));
    TRY(line_reader_open(&lines, t->path));
    enum trawl_status status;
    for (;;) {
        TRY_OUT(line_next(lines, &line, &n));
        if (!line)
            break;
        TRY_OUT(spool_write(t->spool, line, n));
        TRY_OUT(spool_write(t->spool, "\n", 1));
    }
    TRY_OUT(spool_end(t->spool));
    t->map = t->spool->map;
out:
    line_reader_close(lines);
    return status;
}

static enum trawl_status open_file(struct training *t)
{
    if (strcmp(t->path, "-") != 0) {
        TRY(file_map_open(&t->map, t->path));
        const unsigned char *m = t->map.data;
        bool gzip = t->map.bytes >= 2 && !memcmp(m, "\x1f\x8b", 2);
        bool zstd = t->map.bytes >= 4 && !memcmp(m, "\x28\xb5\x2f\xfd", 4);
        if (!gzip && !zstd)
            return index_lines(t);
        file_map_close(&t->map);
        t->map = (struct file_map){0};
    }
    TRY(spool_lines(t));
    return index_lines(t);
}

enum trawl_status training_open(struct training **out, const char *path, const struct training_options *options)
{
    enum trawl_status status;
    const struct training_options o = options ? *options : (struct training_options){0};
    struct corpus_options corpus = {.strict = o.strict};
    struct training *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    t->strict = o.strict;
    t->path = mem_text(path, strlen(path));
    if (!t->path) {
        status = mem_status();
        goto out;
    }
    if (strcmp(path, "-") != 0 && file_is_folder(path)) {
        TRY_OUT(training_open_beir(t, o.split ? o.split : "train"));
    } else {
        if (o.corpus)
            TRY_OUT(doc_set_open(&t->docs, o.corpus, &corpus));
        if (o.queries) {
            TRY_OUT(queries_read(&t->queries, o.queries, o.strict));
            t->has_queries = true;
        }
        TRY_OUT(open_file(t));
    }
    *out = t;
    return TRAWL_OK;
out:
    training_close(t);
    return status;
}

void training_close(struct training *t)
{
    if (!t)
        return;
    if (t->spool) {
        spool_close(t->spool);
        free(t->spool);
    } else
        file_map_close(&t->map);
    doc_set_close(t->docs);
    if (t->has_queries)
        queries_release(&t->queries);
    if (t->beir)
        qrels_release(&t->qrels);
    json_decref(t->json);
    buf_release(&t->line);
    buf_release(&t->where);
    buf_release(&t->scratch);
    free(t->example.positives.items);
    free(t->example.negatives.items);
    free(t->example.candidates.items);
    free(t->begins);
    free(t->order);
    free(t->judged);
    free(t->qrels_path);
    free(t->path);
    free(t);
}

size_t training_n(const struct training *t)
{
    return t->n;
}

size_t training_without_positives(const struct training *t)
{
    return t->without_positives;
}

/* ---- order ---- */

enum trawl_status training_shuffle(struct training *t, uint64_t seed, uint32_t epoch)
{
    struct rng rng = rng_stream(seed, epoch, SHUFFLE_PURPOSE);
    if (!t->order)
        t->order = mem_array(t->n, sizeof *t->order);
    if (!t->order)
        return mem_status();
    for (size_t i = 0; i < t->n; i++)
        t->order[i] = (uint32_t)i;
    for (size_t i = t->n; i > 1; i--) {
        size_t j = rng_below(&rng, i);
        uint32_t swap = t->order[i - 1];
        t->order[i - 1] = t->order[j];
        t->order[j] = swap;
    }
    t->position = 0;
    return TRAWL_OK;
}

void training_seek(struct training *t, size_t position)
{
    t->position = position < t->n ? position : t->n;
}

/* ---- reading ---- */

static enum trawl_status take_line(struct training *t, size_t number)
{
    const char *line = (const char *)t->map.data + t->begins[number];
    size_t n = line_bytes(t, t->begins[number]);
    buf_reset(&t->line);
    if (utf8_invalid(line, n) == n)
        return buf_append(&t->line, line, n);
    if (t->strict)
        return training_refuse(t, "invalid UTF-8 (without --strict it is replaced by U+FFFD)");
    return utf8_repair(&t->line, line, n);
}

enum trawl_status training_next(struct training *t, const struct training_example **out)
{
    struct training_example *e = &t->example;
    *out = NULL;
    if (t->position == t->n)
        return TRAWL_OK;
    t->position++;
    size_t number = current(t);
    struct training_list positives = e->positives, negatives = e->negatives, candidates = e->candidates;
    positives.n = negatives.n = candidates.n = 0;
    *e = (struct training_example){.query_id = "",
                                   .query = "",
                                   .source = "",
                                   .instruction = "",
                                   .positives = positives,
                                   .negatives = negatives,
                                   .candidates = candidates,
                                   .target = SIZE_MAX};
    if (t->beir)
        TRY(training_take_judged(t, t->judged[number]));
    else {
        TRY(take_line(t, number));
        TRY(t->tsv ? training_parse_tsv(t) : training_parse_json(t));
    }
    *out = e;
    return TRAWL_OK;
}

enum trawl_status training_check(struct training *t)
{
    const struct training_example *e;
    uint32_t *order = t->order;
    enum trawl_status status;
    t->order = NULL;
    training_seek(t, 0);
    do
        status = training_next(t, &e);
    while (status == TRAWL_OK && e);
    t->order = order;
    training_seek(t, 0);
    return status;
}
