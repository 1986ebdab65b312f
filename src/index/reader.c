/* An opened index: every file of one manifest, mapped. What a writer removes later stays readable through the maps. */
#include "index_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static enum trawl_status open_field(struct segment *s, const char *path, const struct index_field *field, size_t i)
{
    uint64_t n_rows;
    if (field->kind == INDEX_LEXICAL) {
        TRY(lex_open(&s->lex[i], path));
        n_rows = s->lex[i].n_rows;
    } else {
        TRY(dense_open(&s->dense[i], path, field));
        n_rows = s->dense[i].vectors.n;
    }
    return n_rows == s->docs.n_rows
               ? TRAWL_OK
               : fail(TRAWL_CORRUPT, "'%s' has another number of rows than its documents (build the index again)",
                      path);
}

static enum trawl_status open_parts(struct segment *s, const char *folder, const struct manifest *m,
                                    const struct manifest_segment *ms, struct buf *path)
{
    TRY(part_path(path, folder, ms->number, NULL));
    TRY(docs_open(&s->docs, path->data));
    if (s->docs.n_rows != ms->n_rows || s->docs.n_docs != ms->n_documents)
        return fail(TRAWL_CORRUPT, "'%s' has another number of rows than the manifest says (build the index again)",
                    path->data);
    for (size_t i = 0; i < m->n_fields; i++) {
        TRY(part_path(path, folder, ms->number, &m->fields[i]));
        TRY(open_field(s, path->data, &m->fields[i], i));
    }
    if (ms->del) {
        TRY(tomb_path(path, folder, ms->number, ms->del));
        TRY(tomb_open(&s->tomb, path->data, s->docs.n_rows, m->n_fields));
    }
    s->number = ms->number;
    s->seen = (struct index_segment){.n = (uint32_t)s->docs.n_rows,
                                     .deleted = s->tomb.bitmap,
                                     .ordinals = s->docs.ordinals,
                                     .documents = s->docs.row_doc};
    return TRAWL_OK;
}

enum trawl_status segment_open(struct segment *s, const char *folder, const struct manifest *m,
                               const struct manifest_segment *ms)
{
    struct buf path = {0};
    *s = (struct segment){0};
    s->lex = mem_array(m->n_fields, sizeof *s->lex);
    s->dense = mem_array(m->n_fields, sizeof *s->dense);
    enum trawl_status status = s->lex && s->dense ? open_parts(s, folder, m, ms, &path) : mem_status();
    if (status)
        segment_close(s, m->n_fields);
    buf_release(&path);
    return status;
}

void segment_close(struct segment *s, size_t n_fields)
{
    for (size_t i = 0; s->lex && i < n_fields; i++)
        lex_close(&s->lex[i]);
    for (size_t i = 0; s->dense && i < n_fields; i++)
        dense_close(&s->dense[i]);
    docs_close(&s->docs);
    tomb_close(&s->tomb);
    free(s->lex);
    free(s->dense);
    *s = (struct segment){0};
}

static void close_segments(struct index *ix)
{
    for (size_t i = 0; i < ix->n_segments; i++)
        segment_close(&ix->segments[i], ix->manifest.n_fields);
    free(ix->segments);
    ix->segments = NULL;
    ix->n_segments = 0;
    manifest_release(&ix->manifest);
}

static enum trawl_status open_segments(struct index *ix)
{
    ix->segments = mem_array(ix->manifest.n_segments, sizeof *ix->segments);
    if (!ix->segments)
        return mem_status();
    for (; ix->n_segments < ix->manifest.n_segments; ix->n_segments++)
        TRY(segment_open(&ix->segments[ix->n_segments], ix->path, &ix->manifest,
                         &ix->manifest.segments[ix->n_segments]));
    return TRAWL_OK;
}

/* Did a writer replace the manifest while its files were being opened? */
static bool was_replaced(const struct index *ix)
{
    struct manifest now;
    if (manifest_read(&now, ix->path) != TRAWL_OK)
        return false;
    bool replaced = now.generation != ix->manifest.generation;
    manifest_release(&now);
    return replaced;
}

enum trawl_status index_open(struct index **out, const char *path)
{
    *out = NULL;
    struct index *ix = mem_array(1, sizeof *ix);
    if (!ix)
        return mem_status();
    ix->path = mem_text(path, strlen(path));
    enum trawl_status status = ix->path ? TRAWL_OK : mem_status();
    for (bool again = true; !status && again;) {
        again = false;
        status = manifest_read(&ix->manifest, path);
        if (!status)
            status = open_segments(ix);
        if (status && ix->segments && was_replaced(ix)) {
            close_segments(ix);
            again = true;
            status = TRAWL_OK;
        }
    }
    if (status)
        index_close(ix);
    else
        *out = ix;
    return status;
}

void index_close(struct index *ix)
{
    if (!ix)
        return;
    close_segments(ix);
    free(ix->path);
    free(ix);
}

const char *index_path(const struct index *ix)
{
    return ix->path;
}

size_t index_n_fields(const struct index *ix)
{
    return ix->manifest.n_fields;
}

const struct index_field *index_field(const struct index *ix, size_t i)
{
    return &ix->manifest.fields[i];
}

static enum trawl_status no_field(const struct index *ix, enum index_field_kind kind, const char *name, size_t n)
{
    struct buf known = {0};
    enum trawl_status status = buf_text(&known, "");
    for (size_t i = 0; !status && i < ix->manifest.n_fields; i++) {
        const struct index_field *f = &ix->manifest.fields[i];
        status =
            buf_printf(&known, "%s%s (%s)", known.n ? ", " : "", f->name, f->kind == INDEX_DENSE ? "dense" : "bm25");
    }
    const char *what = kind == INDEX_DENSE ? "dense" : "BM25", *have = known.n ? known.data : "none";
    if (!status && name)
        status = fail(TRAWL_NOT_FOUND, "'%s' has no %s field '%s' (fields: %s)", ix->path, what, name, have);
    else if (!status && n == 0)
        status = fail(TRAWL_NOT_FOUND, "'%s' has no %s field (fields: %s)", ix->path, what, have);
    else if (!status)
        status = fail(TRAWL_NOT_FOUND, "'%s' has %zu %s fields: name one with --field (fields: %s)", ix->path, n, what,
                      have);
    buf_release(&known);
    return status;
}

enum trawl_status index_find_field(const struct index *ix, size_t *out, enum index_field_kind kind, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < ix->manifest.n_fields; i++) {
        const struct index_field *f = &ix->manifest.fields[i];
        if (f->kind != kind || (name && strcmp(f->name, name) != 0))
            continue;
        *out = i;
        n++;
    }
    return n == 1 ? TRAWL_OK : no_field(ix, kind, name, n);
}

const struct index_settings *index_settings(const struct index *ix)
{
    return &ix->manifest.settings;
}

uint64_t index_n_documents(const struct index *ix)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ix->n_segments; i++)
        n += ix->segments[i].docs.n_docs - ix->segments[i].tomb.n_documents;
    return n;
}

uint64_t index_n_rows(const struct index *ix)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ix->n_segments; i++)
        n += ix->segments[i].docs.n_rows - ix->segments[i].tomb.n_rows;
    return n;
}

uint64_t index_generation(const struct index *ix)
{
    return ix->manifest.generation;
}

size_t index_n_segments(const struct index *ix)
{
    return ix->n_segments;
}

const struct index_segment *index_segment(const struct index *ix, size_t segment)
{
    return &ix->segments[segment].seen;
}

void index_lexical_statistics(const struct index *ix, size_t field, uint64_t *n_rows, uint64_t *total_length)
{
    *n_rows = index_n_rows(ix);
    *total_length = 0;
    for (size_t i = 0; i < ix->n_segments; i++)
        *total_length += ix->segments[i].lex[field].total_length - ix->segments[i].tomb.total_length[field];
}

enum trawl_status index_document_frequency(const struct index *ix, uint64_t *df, size_t field, const char *term,
                                           size_t n)
{
    *df = 0;
    if (field >= ix->manifest.n_fields || ix->manifest.fields[field].kind != INDEX_LEXICAL)
        return fail(TRAWL_USAGE, "field %zu of '%s' holds no terms", field, ix->path);
    for (size_t i = 0; i < ix->n_segments; i++) {
        const struct lex_field *f = &ix->segments[i].lex[field];
        uint64_t t = lex_find(f, term, n);
        if (t < f->n_terms)
            *df += f->terms[t].df - tomb_df(&ix->segments[i].tomb, field, t);
    }
    return TRAWL_OK;
}

bool index_has(const struct index *ix, const char *id, size_t n)
{
    for (size_t i = 0; i < ix->n_segments; i++) {
        const struct segment *s = &ix->segments[i];
        uint32_t begin, end;
        uint64_t doc = docs_find(&s->docs, id, n);
        if (doc == s->docs.n_docs)
            continue;
        docs_rows(&s->docs, doc, &begin, &end);
        if (begin < end && !bit_get(s->tomb.bitmap, begin))
            return true;
    }
    return false;
}

enum trawl_status index_vectors(struct index_vectors *v, const struct index *ix, size_t segment, size_t field)
{
    if (field >= ix->manifest.n_fields || ix->manifest.fields[field].kind != INDEX_DENSE)
        return fail(TRAWL_USAGE, "field %zu of '%s' holds no vectors", field, ix->path);
    return dense_vectors(&ix->segments[segment].dense[field], v);
}

enum trawl_status index_document(const struct index *ix, struct buf *buf, struct stored_document *doc, size_t segment,
                                 uint32_t row)
{
    return docs_read(&ix->segments[segment].docs, buf, doc, row);
}

enum trawl_status index_document_id(const struct index *ix, const char **id, size_t *n, size_t segment, uint32_t row)
{
    const struct docs *d = &ix->segments[segment].docs;
    return docs_id(d, docs_of_row(d, row), id, n);
}

enum trawl_status index_verify(struct index *ix)
{
    for (size_t i = 0; i < ix->n_segments; i++) {
        struct segment *s = &ix->segments[i];
        TRY(pack_verify_all(s->docs.pack));
        for (size_t f = 0; f < ix->manifest.n_fields; f++)
            TRY(pack_verify_all(ix->manifest.fields[f].kind == INDEX_LEXICAL ? s->lex[f].pack : s->dense[f].pack));
        if (s->tomb.pack)
            TRY(pack_verify_all(s->tomb.pack));
    }
    return TRAWL_OK;
}
