/* The manifest: JSON in a pack, so that it is checksummed like everything else; swapped by rename. */
#include "index_int.h"
#include "base/json.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { MANIFEST_BYTES_MAX = 64 << 20 };
static const char *const formats[] = {"f32", "bf16", "int8"};

void manifest_release(struct manifest *m)
{
    if (!m)
        return;
    free(m->fields);
    free(m->segments);
    *m = (struct manifest){0};
}

enum trawl_status manifest_add(struct manifest *m, const struct manifest_segment *segment)
{
    TRY(mem_grow((void **)&m->segments, &m->cap, m->n_segments + 1, sizeof *m->segments));
    m->segments[m->n_segments++] = *segment;
    return TRAWL_OK;
}

enum trawl_status manifest_copy(struct manifest *out, const struct manifest *in)
{
    *out = *in;
    out->segments = NULL;
    out->n_segments = out->cap = 0;
    out->fields = mem_array(in->n_fields, sizeof *out->fields);
    if (!out->fields)
        return mem_status();
    if (in->n_fields)
        memcpy(out->fields, in->fields, in->n_fields * sizeof *out->fields);
    for (size_t i = 0; i < in->n_segments; i++)
        TRY(manifest_add(out, &in->segments[i]));
    return TRAWL_OK;
}

/* ---- JSON ---- */

static enum trawl_status field_to_json(json_t **out, const struct index_field *f)
{
    json_t *document = NULL, *query = NULL;
    if (f->kind == INDEX_LEXICAL)
        *out = json_pack("{s:s, s:s, s:s, s:f, s:f}", "name", f->name, "kind", "lexical", "analyzer", f->analyzer, "k1",
                         f->k1, "b", f->b);
    else
        *out = json_pack("{s:s, s:s, s:I, s:s, s:b}", "name", f->name, "kind", "dense", "D", (json_int_t)f->D, "format",
                         formats[f->format], "from_vectors", (int)f->from_vectors);
    if (!*out)
        return fail(TRAWL_NOMEM, "no memory for the manifest");
    if (f->kind != INDEX_DENSE || !f->has_contract)
        return TRAWL_OK;
    enum trawl_status status = contract_to_json(&document, &f->document);
    if (!status)
        status = contract_to_json(&query, &f->query);
    if (!status && (json_object_set(*out, "document", document) || json_object_set(*out, "query", query)))
        status = fail(TRAWL_NOMEM, "no memory for the manifest");
    json_decref(document);
    json_decref(query);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

static enum trawl_status to_json(json_t *root, const struct manifest *m)
{
    json_t *fields = json_array(), *segments = json_array();
    if (json_object_set_new(root, "fields", fields) || json_object_set_new(root, "segments", segments))
        return fail(TRAWL_NOMEM, "no memory for the manifest");
    for (size_t i = 0; i < m->n_fields; i++) {
        json_t *field;
        TRY(field_to_json(&field, &m->fields[i]));
        if (json_array_append_new(fields, field))
            return fail(TRAWL_NOMEM, "no memory for the manifest");
    }
    for (size_t i = 0; i < m->n_segments; i++) {
        const struct manifest_segment *s = &m->segments[i];
        json_t *segment =
            json_pack("{s:I, s:I, s:I, s:I}", "number", (json_int_t)s->number, "deleted", (json_int_t)s->del, "rows",
                      (json_int_t)s->n_rows, "documents", (json_int_t)s->n_documents);
        if (json_array_append_new(segments, segment))
            return fail(TRAWL_NOMEM, "no memory for the manifest");
    }
    return TRAWL_OK;
}

enum trawl_status manifest_write(const struct manifest *m, const char *folder)
{
    struct pack_writer *p = NULL;
    char *path = file_join(folder, "manifest"), *text = NULL;
    json_t *root =
        json_pack("{s:I, s:I, s:I, s:s, s:I, s:I}", "generation", (json_int_t)m->generation, "next_segment",
                  (json_int_t)m->next_segment, "next_ordinal", (json_int_t)m->next_ordinal, "join", m->settings.join,
                  "split", (json_int_t)m->settings.split, "overlap", (json_int_t)m->settings.overlap);
    enum trawl_status status = path && root ? to_json(root, m) : fail(TRAWL_NOMEM, "no memory for the manifest");
    if (!status && !(text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(17))))
        status = fail(TRAWL_NOMEM, "no memory for the manifest");
    if (!status)
        status = pack_create(&p, path, "MANI", MANIFEST_VERSION);
    if (!status)
        status = pack_add(p, "json", text, strlen(text));
    if (!status)
        status = pack_commit(&p);
    pack_abort(&p);
    json_decref(root);
    free(text);
    free(path);
    return status;
}

static enum trawl_status copy_text(char *out, size_t room, const json_t *object, const char *key, const char *where)
{
    const char *text;
    size_t n;
    TRY(json_get_text(&text, &n, object, key, where));
    if (!text || n >= room)
        return fail(TRAWL_CORRUPT, "%s: '%s' is missing or too long", where, key);
    memcpy(out, text, n + 1);
    return TRAWL_OK;
}

static enum trawl_status dense_from_json(struct index_field *f, const json_t *json, const char *where)
{
    char format[8];
    TRY(json_get_count(&f->D, json, "D", 0, where));
    TRY(json_get_bool(&f->from_vectors, json, "from_vectors", false, where));
    TRY(copy_text(format, sizeof format, json, "format", where));
    size_t i = 0;
    while (i < 3 && strcmp(format, formats[i]) != 0)
        i++;
    if (i == 3 || f->D == 0 || f->D > 1 << 20)
        return fail(TRAWL_CORRUPT, "%s: field '%s' has an unknown format or no dimensions", where, f->name);
    f->format = (enum index_vector_format)i;
    const json_t *document = json_object_get(json, "document"), *query = json_object_get(json, "query");
    f->has_contract = document && query;
    if (!f->has_contract)
        return TRAWL_OK;
    TRY(contract_from_json(&f->document, document, where));
    return contract_from_json(&f->query, query, where);
}

static enum trawl_status field_from_json(struct index_field *f, const json_t *json, const char *where)
{
    char kind[16];
    TRY(copy_text(f->name, sizeof f->name, json, "name", where));
    TRY(copy_text(kind, sizeof kind, json, "kind", where));
    if (strcmp(kind, "dense") == 0) {
        f->kind = INDEX_DENSE;
        return dense_from_json(f, json, where);
    }
    if (strcmp(kind, "lexical") != 0)
        return fail(TRAWL_CORRUPT, "%s: field '%s' is of an unknown kind '%s'", where, f->name, kind);
    f->kind = INDEX_LEXICAL;
    TRY(copy_text(f->analyzer, sizeof f->analyzer, json, "analyzer", where));
    TRY(json_get_number(&f->k1, json, "k1", 0.9, where));
    return json_get_number(&f->b, json, "b", 0.4, where);
}

static enum trawl_status get64(uint64_t *out, const json_t *json, const char *key, const char *where)
{
    size_t n;
    TRY(json_get_count(&n, json, key, 0, where));
    *out = n;
    return TRAWL_OK;
}

static enum trawl_status from_json(struct manifest *m, const json_t *root, const char *where)
{
    TRY(get64(&m->generation, root, "generation", where));
    TRY(get64(&m->next_segment, root, "next_segment", where));
    TRY(get64(&m->next_ordinal, root, "next_ordinal", where));
    TRY(copy_text(m->settings.join, sizeof m->settings.join, root, "join", where));
    TRY(json_get_count(&m->settings.split, root, "split", 0, where));
    TRY(json_get_count(&m->settings.overlap, root, "overlap", 0, where));
    const json_t *fields = json_object_get(root, "fields"), *segments = json_object_get(root, "segments");
    if (!json_is_array(fields) || json_array_size(fields) > FIELDS_MAX || !json_is_array(segments))
        return fail(TRAWL_CORRUPT, "%s: no list of fields or of segments", where);
    m->fields = mem_array(json_array_size(fields), sizeof *m->fields);
    if (!m->fields)
        return mem_status();
    for (; m->n_fields < json_array_size(fields); m->n_fields++)
        TRY(field_from_json(&m->fields[m->n_fields], json_array_get(fields, m->n_fields), where));
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *json = json_array_get(segments, i);
        struct manifest_segment s = {0};
        TRY(get64(&s.number, json, "number", where));
        TRY(get64(&s.del, json, "deleted", where));
        TRY(get64(&s.n_rows, json, "rows", where));
        TRY(get64(&s.n_documents, json, "documents", where));
        TRY(manifest_add(m, &s));
    }
    return TRAWL_OK;
}

enum trawl_status manifest_read(struct manifest *m, const char *folder)
{
    struct pack *p = NULL;
    struct buf where = {0};
    json_t *root = NULL;
    const void *data;
    size_t n;
    enum trawl_status status = TRAWL_OK;
    *m = (struct manifest){0};
    char *path = file_join(folder, "manifest");
    if (!path)
        return mem_status();
    if (!file_exists(path))
        TRY_OUT(fail(TRAWL_NOT_FOUND, "'%s' holds no index (no manifest in it; make one with 'trawl index')", folder));
    TRY_OUT(pack_open(&p, path, "MANI", MANIFEST_VERSION));
    TRY_OUT(pack_chunk(p, "json", &data, &n));
    TRY_OUT(buf_printf(&where, "'%s'", path));
    TRY_OUT(json_parse(&root, data, n, where.data));
    status = from_json(m, root, where.data);
out:
    if (status)
        manifest_release(m);
    json_decref(root);
    pack_close(p);
    buf_release(&where);
    free(path);
    return status;
}

/* ---- files ---- */

enum trawl_status part_path(struct buf *out, const char *folder, uint64_t segment, const struct index_field *field)
{
    buf_reset(out);
    if (!field)
        return buf_printf(out, "%s/%08llu.docs", folder, (unsigned long long)segment);
    return buf_printf(out, "%s/%08llu.%s.%s", folder, (unsigned long long)segment, field->name,
                      field->kind == INDEX_LEXICAL ? "lex" : "dense");
}

enum trawl_status tomb_path(struct buf *out, const char *folder, uint64_t segment, uint64_t generation)
{
    buf_reset(out);
    return buf_printf(out, "%s/%08llu.%08llu.del", folder, (unsigned long long)segment, (unsigned long long)generation);
}

enum trawl_status folder_lock(int *fd, const char *folder)
{
    char *path = file_join(folder, "lock");
    if (!path)
        return mem_status();
    enum trawl_status status = TRAWL_OK;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) {
        status = fail_errno("cannot open '%s'", path);
    } else if (flock(*fd, LOCK_EX | LOCK_NB)) {
        status = errno == EWOULDBLOCK
                     ? fail(TRAWL_MISMATCH, "another process is writing to the index '%s' (wait for it)", folder)
                     : fail_errno("cannot lock '%s'", path);
        close(*fd);
        *fd = -1;
    }
    free(path);
    return status;
}

/* Is it a file of ours that a manifest may name: digits, a dot, a known ending (or one of work in progress)? */
static bool is_ours(const char *name)
{
    static const char *const endings[] = {".docs", ".lex", ".dense", ".del", ".raw"};
    if (strncmp(name, "manifest.tmp", 12) == 0)
        return true;
    size_t digits = strspn(name, "0123456789"), n = strlen(name);
    if (digits < 8 || name[digits] != '.')
        return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return strstr(name, ".tmp.") != NULL;
}

static enum trawl_status is_wanted(const struct manifest *m, const char *folder, const char *name, struct buf *path,
                                   bool *wanted)
{
    size_t skip = strlen(folder) + 1;
    *wanted = false;
    for (size_t s = 0; s < m->n_segments && !*wanted; s++) {
        const struct manifest_segment *segment = &m->segments[s];
        TRY(part_path(path, folder, segment->number, NULL));
        *wanted |= strcmp(path->data + skip, name) == 0;
        for (size_t f = 0; f < m->n_fields; f++) {
            TRY(part_path(path, folder, segment->number, &m->fields[f]));
            *wanted |= strcmp(path->data + skip, name) == 0;
        }
        TRY(tomb_path(path, folder, segment->number, segment->del));
        *wanted |= segment->del && strcmp(path->data + skip, name) == 0;
    }
    return TRAWL_OK;
}

enum trawl_status manifest_sweep(const struct manifest *m, const char *folder)
{
    struct buf names = {0}, path = {0};
    size_t n;
    enum trawl_status status = file_list(&names, &n, folder);
    const char *name = names.data;
    for (size_t i = 0; !status && i < n; i++, name += strlen(name) + 1) {
        bool wanted;
        if (!is_ours(name))
            continue;
        status = is_wanted(m, folder, name, &path, &wanted);
        if (status || wanted)
            continue;
        char *full = file_join(folder, name);
        if (!full)
            status = mem_status();
        else if (unlink(full) && errno != ENOENT)
            status = fail_errno("cannot remove '%s'", full);
        free(full);
    }
    buf_release(&names);
    buf_release(&path);
    return status;
}
