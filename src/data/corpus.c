/*
 * Corpora: files are found, their format is told from name and content, and records are streamed one by one. What is
 * common to all formats happens here: ids must be there and unique, malformed UTF-8 is repaired or refused, and what
 * was met is counted.
 */
#include "corpus_int.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAX_ID_BYTES 4096

/* ---- ids seen ---- */

static enum trawl_status id_set_grow(struct id_set *set)
{
    size_t slots = set->mask ? (set->mask + 1) * 2 : 1024;
    struct id_hash *wide = mem_array(slots, sizeof *wide);
    if (!wide)
        return mem_status();
    for (size_t i = 0; set->slots && i <= set->mask; i++) {
        struct id_hash h = set->slots[i];
        size_t at = h.low & (slots - 1);
        if (!h.low && !h.high)
            continue;
        while (wide[at].low || wide[at].high)
            at = (at + 1) & (slots - 1);
        wide[at] = h;
    }
    free(set->slots);
    set->slots = wide;
    set->mask = slots - 1;
    return TRAWL_OK;
}

enum trawl_status id_set_put(struct id_set *set, const char *id, size_t n, bool *is_new)
{
    XXH128_hash_t hash = XXH3_128bits(id, n);
    struct id_hash h = {.low = hash.low64, .high = hash.high64 | 1};
    if (!set->slots || set->n * 4 >= (set->mask + 1) * 3)
        TRY(id_set_grow(set));
    size_t at = h.low & set->mask;
    for (; set->slots[at].low || set->slots[at].high; at = (at + 1) & set->mask)
        if (set->slots[at].low == h.low && set->slots[at].high == h.high) {
            *is_new = false;
            return TRAWL_OK;
        }
    set->slots[at] = h;
    set->n++;
    *is_new = true;
    return TRAWL_OK;
}

void id_set_release(struct id_set *set)
{
    free(set->slots);
    *set = (struct id_set){0};
}

/* ---- opening ---- */

/* corpus.jsonl of a BEIR folder, plain or compressed; NULL in *path when there is none. */
static enum trawl_status find_beir(char **path, const char *folder)
{
    static const char *const names[] = {"corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"};
    *path = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *candidate = file_join(folder, names[i]);
        if (!candidate)
            return mem_status();
        if (file_exists(candidate)) {
            *path = candidate;
            return TRAWL_OK;
        }
        free(candidate);
    }
    return TRAWL_OK;
}

static enum trawl_status add_file(struct corpus *c, const char *path)
{
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) == 0)
        c->bytes_total += (uint64_t)st.st_size;
    TRY(buf_append(&c->files, path, strlen(path) + 1));
    c->n_files++;
    return TRAWL_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

/* A name without .gz or .zst ends as one of the list. */
static bool has_ending(const char *name, const char *const *endings)
{
    for (; *endings; endings++) {
        size_t n = strlen(*endings);
        const char *at = strrchr(name, '.');
        if (ends_with(name, *endings))
            return true;
        if (at && (strcmp(at, ".gz") == 0 || strcmp(at, ".zst") == 0) && (size_t)(at - name) > n &&
            memcmp(at - n, *endings, n) == 0)
            return true;
    }
    return false;
}

static const char *const text_endings[] = {".txt", ".md", ".markdown", NULL};
static const char *const record_endings[] = {".jsonl", ".json", ".tsv", ".trec", ".sgml", NULL};

/* Files below `folder`, depth first in bytewise order of names, that end as wanted. */
static enum trawl_status list_tree(struct corpus *c, const char *folder, const char *const *endings, int depth)
{
    struct buf names = {0};
    size_t n;
    enum trawl_status status;
    if (depth > 64)
        return fail(TRAWL_LIMIT, "'%s': folders are nested more than 64 deep (a link in a circle?)", folder);
    TRY_OUT(file_list(&names, &n, folder));
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        char *path = name[0] == '.' ? NULL : file_join(folder, name);
        if (name[0] == '.')
            continue;
        if (!path) {
            status = mem_status();
            goto out;
        }
        if (file_is_folder(path))
            status = list_tree(c, path, endings, depth + 1);
        else if (has_ending(name, endings))
            status = add_file(c, path);
        free(path);
        if (status != TRAWL_OK)
            goto out;
    }
out:
    buf_release(&names);
    return status;
}

static enum trawl_status open_folder(struct corpus *c, const char *wanted)
{
    char *beir = NULL;
    bool any = strcmp(wanted, "auto") == 0, texts = strcmp(wanted, "folder") == 0;
    if (!texts)
        TRY(find_beir(&beir, c->path));
    if (beir) {
        enum trawl_status status = add_file(c, beir);
        free(beir);
        return status;
    }
    c->root_bytes = strlen(c->path);
    if (!texts)
        TRY(list_tree(c, c->path, record_endings, 0));
    if (c->n_files == 0 && (any || texts)) {
        c->format = &corpus_folder;
        TRY(list_tree(c, c->path, text_endings, 0));
    }
    if (c->n_files == 0)
        return fail(TRAWL_NOT_FOUND,
                    "no corpus in folder '%s': no corpus.jsonl, no .jsonl, .tsv or .trec file and no "
                    ".txt or .md file",
                    c->path);
    return TRAWL_OK;
}

static enum trawl_status set_format(struct corpus *c, const char *name)
{
    static const struct {
        const char *name;
        const struct corpus_format *format; /* NULL: seen from the content */
    } formats[] = {{"auto", NULL},           {"beir", &corpus_jsonl},   {"anserini", &corpus_jsonl},
                   {"jsonl", &corpus_jsonl}, {"msmarco", &corpus_tsv},  {"tsv", &corpus_tsv},
                   {"trec", &corpus_trec},   {"folder", &corpus_folder}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(name, formats[i].name) == 0) {
            c->format = formats[i].format;
            return TRAWL_OK;
        }
    return fail(TRAWL_USAGE, "unknown corpus format '%s' (known: auto, beir, anserini, msmarco, tsv, trec, folder)",
                name);
}

static enum trawl_status check_join(const char *join)
{
    if (strcmp(join, "space") == 0 || strcmp(join, "newline") == 0 || strcmp(join, "text") == 0)
        return TRAWL_OK;
    return fail(TRAWL_USAGE, "unknown way to join title and text '%s' (known: space, newline, text)", join);
}

enum trawl_status corpus_open(struct corpus **out, const char *path, const struct corpus_options *options)
{
    const char *format = options && options->format ? options->format : "auto";
    enum trawl_status status;
    struct corpus *c = mem_array(1, sizeof *c);
    *out = NULL;
    if (!c)
        return mem_status();
    c->strict = options && options->strict;
    c->path = mem_text(path, strlen(path));
    if (!c->path) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(set_format(c, format));
    if (options && options->join)
        TRY_OUT(check_join(options->join));
    if (strcmp(path, "-") != 0 && file_is_folder(path)) {
        TRY_OUT(open_folder(c, format));
    } else {
        if (c->format == &corpus_folder) {
            status = fail(TRAWL_USAGE, "'%s' is not a folder of .txt and .md files", path);
            goto out;
        }
        TRY_OUT(add_file(c, path));
        /* opened now, so that a missing file is told before anything else is done */
        TRY_OUT(line_reader_open(&c->lines, path));
    }
    *out = c;
    return TRAWL_OK;
out:
    corpus_close(c);
    return status;
}

void corpus_close(struct corpus *c)
{
    if (!c)
        return;
    line_reader_close(c->lines);
    buf_release(&c->files);
    buf_release(&c->id);
    buf_release(&c->title);
    buf_release(&c->text);
    buf_release(&c->scratch);
    id_set_release(&c->seen);
    free(c->path);
    free(c);
}

/* ---- records ---- */

enum trawl_status corpus_fail(const struct corpus *c, const char *reason)
{
    const char *path = c->lines ? line_path(c->lines) : c->path;
    if (c->format == &corpus_folder)
        return fail(TRAWL_FORMAT, "'%s': %s", path, reason);
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": %s", path, c->record_line, reason);
}

enum trawl_status corpus_line(struct corpus *c)
{
    if (c->held) {
        c->held = false;
        return TRAWL_OK;
    }
    return line_next(c->lines, &c->line, &c->line_bytes);
}

/* Told from the first byte that is not white: '{' JSON lines, '<' TREC, else TSV. */
static enum trawl_status see_format(struct corpus *c)
{
    size_t i;
    do {
        TRY(corpus_line(c));
        if (!c->line)
            return TRAWL_OK;
        i = 0;
        while (i < c->line_bytes && (c->line[i] == ' ' || c->line[i] == '\t'))
            i++;
    } while (i == c->line_bytes);
    c->held = true;
    if (!c->format)
        c->format = c->line[i] == '{' || c->line[i] == '[' ? &corpus_jsonl
                    : c->line[i] == '<'                    ? &corpus_trec
                                                           : &corpus_tsv;
    return TRAWL_OK;
}

static enum trawl_status next_file(struct corpus *c, bool *found)
{
    *found = false;
    if (c->file == c->n_files)
        return TRAWL_OK;
    const char *path = c->files.data + c->file_at;
    if (!c->lines)
        TRY(line_reader_open(&c->lines, path));
    c->file_at += strlen(path) + 1;
    c->file++;
    c->held = false;
    c->columns = 0;
    *found = true;
    return c->format == &corpus_folder ? TRAWL_OK : see_format(c);
}

static void end_file(struct corpus *c)
{
    uint64_t done, total;
    line_position(c->lines, &done, &total);
    c->bytes_done += total ? total : done;
    line_reader_close(c->lines);
    c->lines = NULL;
}

static enum trawl_status read_record(struct corpus *c, bool *found)
{
    *found = false;
    for (;;) {
        bool file = c->file > 0 && c->lines;
        if (!file)
            TRY(next_file(c, &file));
        if (!file)
            return TRAWL_OK;
        buf_reset(&c->id);
        buf_reset(&c->title);
        buf_reset(&c->text);
        if (c->format)
            TRY(c->format->read(c, found));
        if (*found)
            return TRAWL_OK;
        end_file(c);
    }
}

/* Malformed UTF-8 replaced, *bad set; in strict corpora refused. */
static enum trawl_status repair(struct corpus *c, struct buf *text, const char *what, bool *bad)
{
    size_t at = text->n ? utf8_invalid(text->data, text->n) : 0;
    if (at == text->n)
        return TRAWL_OK;
    if (c->strict) {
        char reason[160];
        snprintf(reason, sizeof reason, "invalid UTF-8 in the %s, byte %zu (without --strict it is replaced by U+FFFD)",
                 what, at + 1);
        return corpus_fail(c, reason);
    }
    buf_reset(&c->scratch);
    TRY(utf8_repair(&c->scratch, text->data, text->n));
    struct buf swap = *text;
    *text = c->scratch;
    c->scratch = swap;
    *bad = true;
    return TRAWL_OK;
}

static enum trawl_status check_id(struct corpus *c)
{
    bool is_new;
    if (c->id.n == 0)
        return corpus_fail(c, "the document has no id");
    if (memchr(c->id.data, '\0', c->id.n))
        return corpus_fail(c, "the id holds a NUL character");
    if (c->id.n > MAX_ID_BYTES)
        return corpus_fail(c, "the id is longer than 4096 bytes");
    TRY(id_set_put(&c->seen, c->id.data, c->id.n, &is_new));
    if (is_new)
        return TRAWL_OK;
    struct buf reason = {0};
    enum trawl_status status = buf_printf(&reason, "the id '%.200s' comes twice in this corpus", c->id.data);
    if (status == TRAWL_OK)
        status = corpus_fail(c, reason.data);
    buf_release(&reason);
    return status;
}

static enum trawl_status count_record(struct corpus *c, bool bad_text)
{
    struct corpus_counts *counts = &c->counts;
    counts->documents++;
    counts->empty += c->title.n == 0 && c->text.n == 0;
    if (bad_text && counts->invalid_utf8++ == 0) {
        counts->first_invalid_line = c->record_line;
        snprintf(counts->first_invalid_id, sizeof counts->first_invalid_id, "%.*s",
                 (int)sizeof counts->first_invalid_id - 1, c->id.data);
    }
    return TRAWL_OK;
}

/* An empty buffer has data NULL; documents have "". */
static void expose(const char **text, size_t *n, const struct buf *buf)
{
    *text = buf->data ? buf->data : "";
    *n = buf->n;
}

enum trawl_status corpus_next(struct corpus *c, struct document *doc)
{
    bool found, bad = false;
    *doc = (struct document){0};
    TRY(read_record(c, &found));
    if (!found) {
        if (c->counts.documents == 0)
            return fail(TRAWL_FORMAT, "'%s': the corpus is empty", c->path);
        return TRAWL_OK;
    }
    TRY(repair(c, &c->id, "id", &bad));
    TRY(repair(c, &c->title, "title", &bad));
    TRY(repair(c, &c->text, "text", &bad));
    TRY(check_id(c));
    TRY(count_record(c, bad));
    expose(&doc->id, &doc->id_bytes, &c->id);
    expose(&doc->title, &doc->title_bytes, &c->title);
    expose(&doc->text, &doc->text_bytes, &c->text);
    return TRAWL_OK;
}

const struct corpus_counts *corpus_counts(const struct corpus *c)
{
    return &c->counts;
}

void corpus_position(const struct corpus *c, uint64_t *done, uint64_t *total)
{
    uint64_t here = 0, size = 0;
    if (c->lines)
        line_position(c->lines, &here, &size);
    *done = c->bytes_done + here;
    *total = c->bytes_total;
}

enum trawl_status document_join(struct buf *out, const struct document *doc, const char *join)
{
    TRY(check_join(join));
    if (strcmp(join, "text") != 0 && doc->title_bytes) {
        TRY(buf_append(out, doc->title, doc->title_bytes));
        if (doc->text_bytes)
            TRY(buf_append(out, strcmp(join, "newline") == 0 ? "\n" : " ", 1));
    }
    return buf_append(out, doc->text, doc->text_bytes);
}
