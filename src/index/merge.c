/*
 * Merging neighbouring segments into one: rows keep their order and their ordinals, deleted rows go. The merged segment
 * is written aside and takes its parts' place in a new manifest, so a reader sees one or the other.
 *
 * When: segments are put into levels by their live rows (powers of 8 above 1,024). As soon as 8 neighbours are of one
 * level or lower they are merged, so a document is rewritten about log8(N) times; a segment with more than half of its
 * rows deleted is rewritten by itself.
 */
#include "index_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAN = 8, LEVEL_ROWS = 1024 };

struct merge {
    const struct index *ix;
    const struct segment *parts;
    size_t n_parts;
    uint32_t **rows; /* (n_parts)(rows of the part): new row, UINT32_MAX for deleted ones */
    uint32_t n_rows;
    uint64_t n_documents;
    uint64_t number;
};

static enum trawl_status map_rows(struct merge *m)
{
    m->rows = mem_array(m->n_parts, sizeof *m->rows);
    if (!m->rows)
        return mem_status();
    for (size_t p = 0; p < m->n_parts; p++) {
        const struct segment *s = &m->parts[p];
        m->rows[p] = mem_array(s->seen.n, sizeof **m->rows);
        if (!m->rows[p])
            return mem_status();
        for (uint32_t row = 0; row < s->seen.n; row++)
            m->rows[p][row] = bit_get(s->seen.deleted, row) ? UINT32_MAX : m->n_rows++;
    }
    return TRAWL_OK;
}

static enum trawl_status merge_one_document(struct merge *m, struct docs_writer *w, const struct segment *s,
                                            uint64_t doc, struct buf *buf)
{
    uint32_t begin, end;
    struct stored_document stored;
    docs_rows(&s->docs, doc, &begin, &end);
    if (begin == end || bit_get(s->seen.deleted, begin))
        return TRAWL_OK;
    buf_reset(buf);
    TRY(docs_read(&s->docs, buf, &stored, begin));
    struct document d = {stored.id, stored.title, stored.text, stored.id_bytes, stored.title_bytes, stored.text_bytes};
    m->n_documents++;
    return docs_writer_add(w, &d, s->docs.ordinals + begin,
                           s->docs.passages ? s->docs.passages + begin * (size_t)2 : NULL, end - begin);
}

static enum trawl_status merge_documents(struct merge *m, const char *path)
{
    struct docs_writer *w;
    struct buf buf = {0};
    TRY(docs_writer_new(&w, path, m->ix->manifest.settings.split > 0));
    enum trawl_status status = TRAWL_OK;
    for (size_t p = 0; !status && p < m->n_parts; p++)
        for (uint64_t doc = 0; !status && doc < m->parts[p].docs.n_docs; doc++)
            status = merge_one_document(m, w, &m->parts[p], doc, &buf);
    buf_release(&buf);
    if (status)
        docs_writer_abort(&w);
    else
        status = docs_writer_commit(&w);
    return status;
}

static enum trawl_status copy_postings(const struct merge *m, struct lex_writer *w, size_t p, size_t field,
                                       uint64_t term)
{
    struct lex_list list;
    struct postings_block block;
    TRY(lex_list(&list, &m->parts[p].lex[field], term));
    for (uint32_t i = 0; i < list.n_blocks; i++) {
        TRY(lex_block(&list, i, &block));
        for (uint32_t j = 0; j < block.n; j++) {
            uint32_t row = m->rows[p][block.rows[j]];
            if (row != UINT32_MAX)
                TRY(lex_writer_posting(w, row, block.counts[j]));
        }
    }
    return TRAWL_OK;
}

static int compare_terms(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = n_a < n_b ? n_a : n_b;
    int order = n ? memcmp(a, b, n) : 0;
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

/* The smallest term that the parts have not yet given; false when all are used up. */
static bool next_term(const struct merge *m, size_t field, const uint64_t *at, const char **term, size_t *n)
{
    *term = NULL;
    for (size_t p = 0; p < m->n_parts; p++) {
        const struct lex_field *f = &m->parts[p].lex[field];
        if (at[p] == f->n_terms)
            continue;
        size_t n_text;
        const char *text = lex_term_text(f, at[p], &n_text);
        if (!*term || compare_terms(text, n_text, *term, *n) < 0) {
            *term = text;
            *n = n_text;
        }
    }
    return *term != NULL;
}

static enum trawl_status merge_terms(const struct merge *m, struct lex_writer *w, size_t field)
{
    const char *term;
    size_t n;
    uint64_t *at = mem_array(m->n_parts, sizeof *at);
    enum trawl_status status = at ? TRAWL_OK : mem_status();
    while (!status && next_term(m, field, at, &term, &n)) {
        TRY_OUT(lex_writer_term(w, term, n));
        for (size_t p = 0; p < m->n_parts; p++) {
            const struct lex_field *f = &m->parts[p].lex[field];
            size_t n_text;
            const char *text = at[p] < f->n_terms ? lex_term_text(f, at[p], &n_text) : NULL;
            if (text && compare_terms(text, n_text, term, n) == 0)
                TRY_OUT(copy_postings(m, w, p, field, at[p]++));
        }
        TRY_OUT(lex_writer_term_end(w));
    }
out:
    free(at);
    return status;
}

static enum trawl_status merge_lexical(const struct merge *m, const char *path, size_t field)
{
    struct lex_writer *w = NULL;
    uint32_t *lengths = mem_array(m->n_rows, sizeof *lengths);
    if (!lengths)
        return mem_status();
    for (size_t p = 0; p < m->n_parts; p++)
        for (uint32_t row = 0; row < m->parts[p].seen.n; row++)
            if (m->rows[p][row] != UINT32_MAX)
                lengths[m->rows[p][row]] = m->parts[p].lex[field].lengths[row];
    enum trawl_status status = lex_writer_new(&w, path, lengths, m->n_rows);
    if (!status)
        status = merge_terms(m, w, field);
    if (!status)
        status = lex_writer_commit(&w);
    lex_writer_abort(&w);
    free(lengths);
    return status;
}

static enum trawl_status merge_dense(const struct merge *m, const char *path, size_t field)
{
    const struct index_field *f = &m->ix->manifest.fields[field];
    struct dense_writer *w;
    TRY(dense_writer_new(&w, path, f->D, f->format));
    enum trawl_status status = TRAWL_OK;
    for (size_t p = 0; !status && p < m->n_parts; p++) {
        const float *rows;
        status = dense_f32(&m->parts[p].dense[field], &rows);
        for (uint32_t row = 0; !status && row < m->parts[p].seen.n; row++)
            if (m->rows[p][row] != UINT32_MAX)
                status = dense_writer_add(w, rows + row * f->D);
    }
    if (status)
        dense_writer_abort(&w);
    else
        status = dense_writer_commit(&w);
    return status;
}

static enum trawl_status merge_parts(struct merge *m)
{
    struct buf path = {0};
    const struct manifest *manifest = &m->ix->manifest;
    enum trawl_status status = map_rows(m);
    if (!status)
        status = part_path(&path, m->ix->path, m->number, NULL);
    if (!status)
        status = merge_documents(m, path.data);
    for (size_t i = 0; !status && i < manifest->n_fields; i++) {
        status = part_path(&path, m->ix->path, m->number, &manifest->fields[i]);
        if (!status)
            status = manifest->fields[i].kind == INDEX_LEXICAL ? merge_lexical(m, path.data, i)
                                                               : merge_dense(m, path.data, i);
    }
    buf_release(&path);
    for (size_t p = 0; m->rows && p < m->n_parts; p++)
        free(m->rows[p]);
    free(m->rows);
    return status;
}

/* Segments [begin,end) of the index become one, or none when nothing in them lives. */
static enum trawl_status merge_range(const struct index *ix, size_t begin, size_t end)
{
    struct manifest next = {0};
    struct merge m = {.ix = ix, .parts = ix->segments + begin, .n_parts = end - begin};
    enum trawl_status status = manifest_copy(&next, &ix->manifest);
    if (status)
        goto out;
    m.number = next.next_segment++;
    next.generation++;
    TRY_OUT(merge_parts(&m));
    next.n_segments = 0;
    for (size_t i = 0; i < ix->n_segments; i++) {
        if (i < begin || i >= end)
            TRY_OUT(manifest_add(&next, &ix->manifest.segments[i]));
        else if (i == begin && m.n_rows)
            TRY_OUT(manifest_add(&next, &(struct manifest_segment){
                                            .number = m.number, .n_rows = m.n_rows, .n_documents = m.n_documents}));
    }
    TRY_OUT(manifest_write(&next, ix->path));
    status = manifest_sweep(&next, ix->path);
out:
    manifest_release(&next);
    return status;
}

static uint64_t live_rows(const struct segment *s)
{
    return s->docs.n_rows - s->tomb.n_rows;
}

static unsigned level_of(const struct segment *s)
{
    unsigned level = 0;
    for (uint64_t rows = live_rows(s); rows > LEVEL_ROWS; rows /= FAN)
        level++;
    return level;
}

/* What to merge next; false when nothing needs to be. */
static bool choose(const struct index *ix, size_t *begin, size_t *end)
{
    for (unsigned level = 0; level < 24; level++)
        for (size_t i = 0; i < ix->n_segments; i = *end + 1) {
            uint64_t rows = 0;
            *begin = *end = i;
            while (*end < ix->n_segments && level_of(&ix->segments[*end]) <= level &&
                   rows + live_rows(&ix->segments[*end]) <= ROWS_MAX)
                rows += live_rows(&ix->segments[(*end)++]);
            if (*end - *begin >= FAN)
                return true;
        }
    for (size_t i = 0; i < ix->n_segments; i++)
        if (ix->segments[i].tomb.n_rows * 2 > ix->segments[i].docs.n_rows) {
            *begin = i;
            *end = i + 1;
            return true;
        }
    return false;
}

static bool choose_all(const struct index *ix, size_t *begin, size_t *end)
{
    *begin = 0;
    *end = ix->n_segments;
    uint64_t rows = 0;
    for (size_t i = 0; i < ix->n_segments; i++)
        rows += live_rows(&ix->segments[i]);
    return rows <= ROWS_MAX && (ix->n_segments > 1 || (ix->n_segments == 1 && ix->segments[0].tomb.n_rows > 0));
}

enum trawl_status merge_segments(const char *folder, bool all)
{
    for (;;) {
        struct index *ix;
        size_t begin, end;
        TRY(index_open(&ix, folder));
        bool wanted = all ? choose_all(ix, &begin, &end) : choose(ix, &begin, &end);
        enum trawl_status status = wanted ? merge_range(ix, begin, end) : TRAWL_OK;
        index_close(ix);
        if (status || !wanted)
            return status;
    }
}

enum trawl_status index_merge(const char *path)
{
    int lock;
    struct manifest m;
    if (!file_is_folder(path))
        return fail(TRAWL_NOT_FOUND, "there is no index '%s' to merge", path);
    TRY(manifest_read(&m, path));
    enum trawl_status status = folder_lock(&lock, path);
    manifest_release(&m);
    TRY(status);
    status = merge_segments(path, true);
    close(lock);
    return status;
}
