/*
 * The writer. Documents go into a segment in the making; it is closed and a new one begun when the inverted texts
 * outgrow the memory allowed. Nothing of it is seen before the manifest names it. The order of a commit:
 *
 *   1. files of new segments, files of new tombstones (each written aside, synced, renamed);
 *   2. the manifest (the same way): the moment of the change;
 *   3. files that no manifest names any more are removed, neighbouring small segments are merged.
 *
 * Killed before 2, the old state stands and the next writer sweeps up; killed after it, the new one does.
 */
#include "index_int.h"
#include "base/map.h"
#include "base/mem.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PENDING_ROWS = 8192, PENDING_BYTES = 8 << 20 };
#define DEFAULT_MEMORY ((size_t)512 << 20)

struct index_writer {
    char *path;
    int lock;
    size_t memory;
    struct manifest manifest; /* the next one */
    struct index *base;       /* what is appended to, NULL: nothing */
    size_t base_segments;
    uint64_t **deleted; /* (base_segments) all deleted rows, NULL while unchanged */
    struct map added;   /* ids of this writer's documents */
    struct index_counts counts;
    /* the segment in the making; writers are NULL between segments */
    struct docs_writer *docs;
    struct inverter *inverters[FIELDS_MAX];
    struct dense_writer *dense[FIELDS_MAX];
    uint64_t n_rows, n_documents;
    struct buf texts; /* joined texts that wait for being inverted */
    size_t *ends;     /* where each of them ends */
    struct text_piece *pieces;
    size_t n_pending, ends_cap, pieces_cap;
    struct buf scratch;
    bool done; /* committed */
};

/* ---- opening ---- */

static enum trawl_status check_field(const struct index_writer *w, size_t i)
{
    const struct index_field *f = &w->manifest.fields[i];
    size_t n = strlen(f->name);
    bool good = n > 0;
    for (size_t c = 0; c < n; c++)
        good &= isalnum((unsigned char)f->name[c]) || f->name[c] == '_' || f->name[c] == '-';
    if (!good)
        return fail(TRAWL_USAGE, "a field's name is made of letters, digits, '-' and '_', not '%s'", f->name);
    for (size_t other = 0; other < i; other++)
        if (strcmp(w->manifest.fields[other].name, f->name) == 0)
            return fail(TRAWL_USAGE, "two fields have the name '%s'", f->name);
    if (f->kind == INDEX_DENSE && (f->D == 0 || f->D > 1 << 20))
        return fail(TRAWL_USAGE, "field '%s': vectors of %zu numbers cannot be indexed", f->name, f->D);
    if (f->kind == INDEX_LEXICAL && !(f->k1 >= 0.0 && f->k1 <= 1e6 && f->b >= 0.0 && f->b <= 1.0))
        return fail(TRAWL_USAGE, "field '%s': k1 must not be negative and b lie between 0 and 1", f->name);
    return TRAWL_OK;
}

static enum trawl_status set_fields(struct index_writer *w, const struct index_field *fields, size_t n)
{
    if (n > FIELDS_MAX)
        return fail(TRAWL_LIMIT, "an index has at most %d fields", FIELDS_MAX);
    w->manifest.fields = mem_array(n, sizeof *fields);
    if (!w->manifest.fields)
        return mem_status();
    if (n)
        memcpy(w->manifest.fields, fields, n * sizeof *fields);
    w->manifest.n_fields = n;
    for (size_t i = 0; i < n; i++)
        TRY(check_field(w, i));
    return TRAWL_OK;
}

/* A folder that holds anything but an index is not ours to write into. */
static enum trawl_status check_folder(const char *path)
{
    struct buf names = {0};
    size_t n;
    TRY(file_list(&names, &n, path));
    const char *name = names.data;
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; !status && i < n; i++, name += strlen(name) + 1)
        if (strcmp(name, "lock") != 0 && strncmp(name, "resume.", 7) != 0 && strncmp(name, "manifest.tmp", 12) != 0 &&
            !(strspn(name, "0123456789") >= 8))
            status =
                fail(TRAWL_USAGE, "'%s' holds other files than an index, such as '%s' (name an empty or new folder)",
                     path, name);
    buf_release(&names);
    return status;
}

static enum trawl_status open_new(struct index_writer *w, const struct index_field *fields, size_t n_fields,
                                  const struct index_writer_options *options)
{
    struct manifest old;
    enum trawl_status status = manifest_read(&old, w->path);
    if (status == TRAWL_NOT_FOUND)
        TRY(check_folder(w->path));
    else if (status) /* a damaged index is replaced, but only what certainly was one */
        old = (struct manifest){0};
    if (!status) {
        w->manifest.generation = old.generation;
        w->manifest.next_segment = old.next_segment;
        status = manifest_sweep(&old, w->path);
        manifest_release(&old);
        TRY(status);
    }
    w->manifest.settings = options->settings;
    if (!w->manifest.settings.join[0])
        memcpy(w->manifest.settings.join, "space", 6);
    return set_fields(w, fields, n_fields);
}

static enum trawl_status open_append(struct index_writer *w)
{
    TRY(index_open(&w->base, w->path));
    TRY(manifest_copy(&w->manifest, &w->base->manifest));
    w->base_segments = w->base->n_segments;
    w->deleted = mem_array(w->base_segments, sizeof *w->deleted);
    return w->deleted ? manifest_sweep(&w->manifest, w->path) : mem_status();
}

enum trawl_status index_writer_open(struct index_writer **out, const char *path, const struct index_field *fields,
                                    size_t n_fields, const struct index_writer_options *options)
{
    *out = NULL;
    enum trawl_status status = TRAWL_OK;
    if (options->append && !file_is_folder(path))
        return fail(TRAWL_NOT_FOUND, "there is no index '%s' to change", path);
    struct index_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return mem_status();
    w->lock = -1;
    w->memory = options->memory_bytes ? options->memory_bytes : DEFAULT_MEMORY;
    w->path = mem_text(path, strlen(path));
    if (!w->path)
        TRY_OUT(mem_status());
    if (!options->append)
        TRY_OUT(file_make_folder(path));
    TRY_OUT(folder_lock(&w->lock, path));
    status = options->append ? open_append(w) : open_new(w, fields, n_fields, options);
out:
    if (status)
        index_abort(&w);
    *out = w;
    return status;
}

/* ---- the segment in the making ---- */

static enum trawl_status begin_segment(struct index_writer *w)
{
    struct manifest *m = &w->manifest;
    TRY(part_path(&w->scratch, w->path, m->next_segment, NULL));
    TRY(docs_writer_new(&w->docs, w->scratch.data, m->settings.split > 0));
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct index_field *f = &m->fields[i];
        if (f->kind == INDEX_LEXICAL && !w->inverters[i])
            TRY(inverter_new(&w->inverters[i], f->analyzer));
        if (f->kind == INDEX_DENSE) {
            TRY(part_path(&w->scratch, w->path, m->next_segment, f));
            TRY(dense_writer_new(&w->dense[i], w->scratch.data, f->D, f->format));
        }
    }
    w->n_rows = w->n_documents = 0;
    return TRAWL_OK;
}

static enum trawl_status invert_pending(struct index_writer *w)
{
    TRY(mem_grow((void **)&w->pieces, &w->pieces_cap, w->n_pending, sizeof *w->pieces));
    for (size_t i = 0, begin = 0; i < w->n_pending; begin = w->ends[i++])
        w->pieces[i] = (struct text_piece){w->texts.data + begin, w->ends[i] - begin};
    for (size_t i = 0; i < w->manifest.n_fields; i++)
        if (w->inverters[i])
            TRY(inverter_add(w->inverters[i], w->pieces, w->n_pending));
    w->n_pending = 0;
    buf_reset(&w->texts);
    return TRAWL_OK;
}

static enum trawl_status end_segment(struct index_writer *w)
{
    struct manifest *m = &w->manifest;
    if (!w->docs)
        return TRAWL_OK;
    TRY(invert_pending(w));
    TRY(docs_writer_commit(&w->docs));
    for (size_t i = 0; i < m->n_fields; i++) {
        TRY(part_path(&w->scratch, w->path, m->next_segment, &m->fields[i]));
        if (m->fields[i].kind == INDEX_LEXICAL)
            TRY(inverter_flush(w->inverters[i], w->scratch.data));
        else
            TRY(dense_writer_commit(&w->dense[i]));
    }
    struct manifest_segment s = {.number = m->next_segment++, .n_rows = w->n_rows, .n_documents = w->n_documents};
    return manifest_add(m, &s);
}

static size_t memory_used(const struct index_writer *w)
{
    size_t bytes = 0;
    for (size_t i = 0; i < w->manifest.n_fields; i++)
        bytes += w->inverters[i] ? inverter_bytes(w->inverters[i]) : 0;
    return bytes;
}

/* ---- adding and removing ---- */

/* Marks the rows of a document in base as deleted. */
static enum trawl_status remove_from_base(struct index_writer *w, const char *id, size_t n, bool *found)
{
    *found = false;
    for (size_t i = 0; i < w->base_segments && !*found; i++) {
        const struct segment *s = &w->base->segments[i];
        uint32_t begin, end;
        uint64_t doc = docs_find(&s->docs, id, n);
        if (doc == s->docs.n_docs)
            continue;
        docs_rows(&s->docs, doc, &begin, &end);
        if (begin == end || bit_get(w->deleted[i] ? w->deleted[i] : s->tomb.bitmap, begin))
            continue;
        if (!w->deleted[i]) {
            size_t words = ((size_t)s->seen.n + 63) / 64;
            w->deleted[i] = mem_array(words, sizeof **w->deleted);
            if (!w->deleted[i])
                return mem_status();
            if (s->tomb.bitmap)
                memcpy(w->deleted[i], s->tomb.bitmap, words * sizeof **w->deleted);
        }
        for (uint32_t row = begin; row < end; row++)
            bit_set(w->deleted[i], row);
        *found = true;
    }
    return TRAWL_OK;
}

static enum trawl_status add_row(struct index_writer *w, const struct index_passage *p)
{
    TRY(buf_append(&w->texts, p->joined, p->joined_bytes));
    TRY(mem_grow((void **)&w->ends, &w->ends_cap, w->n_pending + 1, sizeof *w->ends));
    w->ends[w->n_pending++] = w->texts.n;
    for (size_t i = 0; i < w->manifest.n_fields; i++)
        if (w->dense[i])
            TRY(dense_writer_add(w->dense[i], p->vectors[i]));
    w->n_rows++;
    return TRAWL_OK;
}

static enum trawl_status add_document(struct index_writer *w, const struct document *doc,
                                      const struct index_passage *passages, size_t n)
{
    struct manifest *m = &w->manifest;
    struct buf ordinals = {0}, ranges = {0};
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; i < n; i++) {
        uint64_t ordinal = m->next_ordinal + i;
        TRY_OUT(buf_append(&ordinals, &ordinal, sizeof ordinal));
        TRY_OUT(buf_append(&ranges, &(uint32_t[2]){passages[i].begin, passages[i].end}, 2 * sizeof(uint32_t)));
    }
    TRY_OUT(docs_writer_add(w->docs, doc, (const uint64_t *)(const void *)ordinals.data,
                            (const uint32_t *)(const void *)ranges.data, (uint32_t)n));
    for (size_t i = 0; i < n; i++)
        TRY_OUT(add_row(w, &passages[i]));
    m->next_ordinal += n;
    w->n_documents++;
    w->counts.rows += n;
out:
    buf_release(&ordinals);
    buf_release(&ranges);
    return status;
}

enum trawl_status index_add_passages(struct index_writer *w, const struct document *doc,
                                     const struct index_passage *passages, size_t n)
{
    bool is_new, replaced;
    uint32_t number;
    if (n == 0 || n > UINT32_MAX / 2 || (n > 1 && !w->manifest.settings.split))
        return fail(TRAWL_USAGE, "document '%s': an index of whole documents takes one row for each", doc->id);
    if (memchr(doc->id, '\0', doc->id_bytes) || doc->id_bytes == 0)
        return fail(TRAWL_FORMAT, "a document's id is empty or holds a NUL byte");
    TRY(map_put(&w->added, doc->id, doc->id_bytes, 0, &number, &is_new));
    if (!is_new)
        return fail(TRAWL_FORMAT, "the id '%s' comes twice", doc->id);
    TRY(remove_from_base(w, doc->id, doc->id_bytes, &replaced));
    if (w->docs && w->n_rows + n > ROWS_MAX)
        TRY(end_segment(w));
    if (!w->docs)
        TRY(begin_segment(w));
    TRY(add_document(w, doc, passages, n));
    w->counts.added++;
    w->counts.replaced += replaced;
    if (w->n_pending >= PENDING_ROWS || w->texts.n >= PENDING_BYTES) {
        TRY(invert_pending(w));
        if (memory_used(w) >= w->memory)
            TRY(end_segment(w));
    }
    return TRAWL_OK;
}

enum trawl_status index_add(struct index_writer *w, const struct document *doc, const char *joined, size_t joined_bytes,
                            const float *const *vectors)
{
    if (doc->text_bytes > UINT32_MAX)
        return fail(TRAWL_LIMIT, "document '%s' is larger than 4 GB", doc->id);
    struct index_passage whole = {joined, joined_bytes, 0, (uint32_t)doc->text_bytes, vectors};
    return index_add_passages(w, doc, &whole, 1);
}

enum trawl_status index_remove(struct index_writer *w, const char *id, size_t n, bool *found)
{
    if (map_find(&w->added, id, n) != MAP_NONE)
        return fail(TRAWL_USAGE, "'%.*s' was added by the same writer and cannot be removed by it", (int)n, id);
    TRY(remove_from_base(w, id, n, found));
    w->counts.removed += *found;
    return TRAWL_OK;
}

const struct index_counts *index_writer_counts(const struct index_writer *w)
{
    return &w->counts;
}

const struct index *index_writer_base(const struct index_writer *w)
{
    return w->base;
}

/* ---- the end ---- */

/* Tombstones of changed segments; a segment without a live row is dropped. */
static enum trawl_status write_tombs(struct index_writer *w)
{
    struct manifest *m = &w->manifest;
    size_t kept = 0;
    for (size_t i = 0; i < m->n_segments; i++) {
        struct manifest_segment ms = m->segments[i];
        if (i < w->base_segments && w->deleted[i]) {
            const struct segment *s = &w->base->segments[i];
            uint32_t live = 0;
            for (uint32_t row = 0; row < s->seen.n; row++)
                live += !bit_get(w->deleted[i], row);
            if (!live)
                continue;
            ms.del = m->generation;
            TRY(tomb_path(&w->scratch, w->path, ms.number, ms.del));
            TRY(tomb_write(w->scratch.data, s, m, w->deleted[i]));
        }
        m->segments[kept++] = ms;
    }
    m->n_segments = kept;
    return TRAWL_OK;
}

enum trawl_status index_flush(struct index_writer *w)
{
    TRY(end_segment(w));
    w->counts.empty = 0;
    for (size_t i = 0; i < w->manifest.n_fields; i++)
        w->counts.empty += w->inverters[i] ? inverter_empty(w->inverters[i]) : 0;
    return TRAWL_OK;
}

static enum trawl_status commit(struct index_writer *w)
{
    TRY(index_flush(w));
    w->manifest.generation++;
    TRY(write_tombs(w));
    TRY(manifest_write(&w->manifest, w->path));
    index_close(w->base);
    w->base = NULL;
    TRY(manifest_sweep(&w->manifest, w->path));
    return merge_segments(w->path, false);
}

enum trawl_status index_commit(struct index_writer **w)
{
    enum trawl_status status = commit(*w);
    (*w)->done = status == TRAWL_OK;
    index_abort(w);
    return status;
}

/* Best effort: files of a writer that gave up, and a folder that never became an index. The message stays. */
static void clean_up(const struct index_writer *w)
{
    char message[1024];
    struct manifest m;
    snprintf(message, sizeof message, "%s", trawl_message());
    enum trawl_status status = manifest_read(&m, w->path);
    if (status == TRAWL_OK || status == TRAWL_NOT_FOUND)
        (void)!manifest_sweep(&m, w->path);
    if (status == TRAWL_NOT_FOUND) {
        char *lock = file_join(w->path, "lock");
        if (lock)
            unlink(lock);
        rmdir(w->path); /* refused where something else is in it */
        free(lock);
    }
    manifest_release(&m);
    (void)fail(TRAWL_OK, "%s", message);
}

void index_abort(struct index_writer **out)
{
    struct index_writer *w = *out;
    if (!w)
        return;
    docs_writer_abort(&w->docs);
    for (size_t i = 0; i < FIELDS_MAX; i++) {
        inverter_free(w->inverters[i]);
        dense_writer_abort(&w->dense[i]);
    }
    for (size_t i = 0; w->deleted && i < w->base_segments; i++)
        free(w->deleted[i]);
    free(w->deleted);
    index_close(w->base);
    if (w->lock >= 0 && !w->done)
        clean_up(w);
    manifest_release(&w->manifest);
    map_release(&w->added);
    buf_release(&w->texts);
    buf_release(&w->scratch);
    free(w->ends);
    free(w->pieces);
    if (w->lock >= 0)
        close(w->lock); /* and with it the lock */
    free(w->path);
    free(w);
    *out = NULL;
}
