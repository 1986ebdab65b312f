/*
 * Files of vectors, read. What is mapped stays mapped; what has to be converted is owned. Every value is looked at
 * once: a vector that is not finite would silently spoil every search, so it is refused here, by row.
 */
#include "vectors.h"
#include "base/mem.h"
#include "base/pack.h"
#include "jsonl.h"
#include "number.h"
#include "vectors_int.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct vectors_owner {
    struct npy npy;
    struct pack *pack;
    float *rows;
    struct buf ids;
    size_t *id_begin;
    size_t rows_cap, ids_cap; /* while JSON lines are read */
};

static enum trawl_status check_finite(const struct vectors *v, const char *path)
{
    for (size_t n = 0; n < v->N; n++) {
        const float *row = v->rows + n * v->D;
        float sum = 0.0f;
        for (size_t d = 0; d < v->D; d++)
            sum += row[d] * 0.0f; /* 0, or NaN as soon as one is not finite */
        if (sum != 0.0f || isnan(sum))
            return fail(TRAWL_FORMAT, "'%s': row %zu holds a value that is not finite", path, n);
    }
    return TRAWL_OK;
}

/* ---- .npy ---- */

static enum trawl_status open_npy(struct vectors *v, struct vectors_owner *o, const char *path)
{
    struct npy *a = &o->npy;
    TRY(npy_open(a, path));
    if (a->n_dims != 2 || a->shape[1] == 0)
        return fail(TRAWL_FORMAT, "'%s': vectors must be a matrix (rows, dimensions), this has %zu dimensions", path,
                    a->n_dims);
    v->N = a->shape[0];
    v->D = a->shape[1];
    if (a->kind == 'f' && a->item_bytes == 4 && !a->fortran && (uintptr_t)a->data % sizeof(float) == 0) {
        v->rows = a->data;
        return TRAWL_OK;
    }
    o->rows = mem_aligned(a->n, sizeof *o->rows);
    if (!o->rows)
        return mem_status();
    for (size_t i = 0; i < a->n; i++)
        o->rows[i] = (float)npy_get(a, i);
    v->rows = o->rows;
    return TRAWL_OK;
}

/* ---- JSON lines ---- */

/* The numbers of an array as it is written, appended to the rows; *n of them. */
static enum trawl_status take_row(struct vectors_owner *o, size_t used, size_t *n, const struct jsonl_member *m)
{
    const char *p = m->raw + 1, *end = m->raw + m->n - 1;
    *n = 0;
    for (;;) {
        double value;
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        if (p == end)
            return TRAWL_OK;
        const char *begin = p;
        while (p < end && *p != ',' && *p != ' ' && *p != '\t')
            p++;
        if (!number_parse(&value, begin, (size_t)(p - begin)) || !isfinite((float)value))
            return fail(TRAWL_FORMAT, "item %zu of the vector is not a finite number", *n);
        TRY(mem_grow((void **)&o->rows, &o->rows_cap, used + *n + 1, sizeof *o->rows));
        o->rows[used + (*n)++] = (float)value;
    }
}

static enum trawl_status take_id(struct vectors *v, struct vectors_owner *o, const struct jsonl_member *m)
{
    TRY(mem_grow((void **)&o->id_begin, &o->ids_cap, v->N + 2, sizeof *o->id_begin));
    o->id_begin[v->N] = o->ids.n;
    if (m->kind == JSONL_NUMBER)
        TRY(buf_append(&o->ids, m->raw, m->n));
    else if (m->kind == JSONL_STRING)
        TRY(jsonl_text(&o->ids, m));
    if (o->ids.n == o->id_begin[v->N] || memchr(o->ids.data + o->id_begin[v->N], '\0', o->ids.n - o->id_begin[v->N]))
        return fail(TRAWL_FORMAT, "member 'id' with a text is needed");
    TRY(buf_append(&o->ids, "", 1));
    o->id_begin[v->N + 1] = o->ids.n;
    return TRAWL_OK;
}

static enum trawl_status take_line(struct vectors *v, struct vectors_owner *o, const char *line, size_t n,
                                   const char *path, uint64_t number)
{
    struct jsonl_member m[4] = {{.name = "id"}, {.name = "_id"}, {.name = "vector"}, {.name = "embedding"}};
    size_t D = 0;
    TRY(jsonl_scan(m, 4, line, n, path, number));
    const struct jsonl_member *vector = m[2].kind == JSONL_ABSENT ? &m[3] : &m[2];
    if (vector->kind != JSONL_ARRAY)
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": member 'vector' with an array is needed", path, number);
    enum trawl_status status = take_id(v, o, m[0].kind == JSONL_ABSENT ? &m[1] : &m[0]);
    if (status == TRAWL_OK)
        status = take_row(o, v->N * v->D, &D, vector);
    if (status != TRAWL_OK)
        return fail_context(status, "'%s' line %" PRIu64, path, number);
    if (D == 0 || (v->N && D != v->D))
        return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ": a vector of %zu dimensions, %zu wanted as before", path,
                    number, D, v->D);
    v->D = D;
    v->N++;
    return TRAWL_OK;
}

static enum trawl_status open_jsonl(struct vectors *v, struct vectors_owner *o, const char *path)
{
    struct line_reader *lines;
    const char *line;
    size_t n;
    TRY(line_reader_open(&lines, path));
    enum trawl_status status = line_next(lines, &line, &n);
    while (status == TRAWL_OK && line) {
        if (n)
            status = take_line(v, o, line, n, line_path(lines), line_number(lines));
        if (status == TRAWL_OK)
            status = line_next(lines, &line, &n);
    }
    line_reader_close(lines);
    if (status == TRAWL_OK && v->N == 0)
        status = fail(TRAWL_FORMAT, "'%s': no vectors", path);
    v->rows = o->rows;
    v->ids = o->ids.data;
    v->id_begin = o->id_begin;
    return status;
}

/* ---- .vecs ---- */

static enum trawl_status open_contract(struct vectors *v, const json_t *meta, const char *path)
{
    const json_t *document = json_object_get(meta, "document"), *query = json_object_get(meta, "query");
    if (!document && !query)
        return TRAWL_OK;
    v->has_contract = true;
    TRY(contract_from_json(&v->document, document, path));
    TRY(contract_from_json(&v->query, query, path));
    if (v->document.dims != v->D)
        return fail(TRAWL_FORMAT, "'%s': the contract says %zu dimensions, the rows have %zu", path, v->document.dims,
                    v->D);
    return TRAWL_OK;
}

static enum trawl_status open_meta(struct vectors *v, struct vectors_owner *o, const char *path)
{
    const void *data;
    size_t n;
    json_t *meta;
    TRY(pack_chunk(o->pack, "meta", &data, &n));
    TRY(json_parse(&meta, data, n, path));
    enum trawl_status status = json_get_count(&v->N, meta, "N", 0, path);
    if (status == TRAWL_OK)
        status = json_get_count(&v->D, meta, "D", 0, path);
    if (status == TRAWL_OK)
        status = open_contract(v, meta, path);
    json_decref(meta);
    return status;
}

/* N ids, each followed by a NUL, and nothing else. */
static enum trawl_status open_ids(struct vectors *v, struct vectors_owner *o, const char *path)
{
    const void *data;
    size_t bytes, at = 0;
    TRY(pack_chunk(o->pack, "ids", &data, &bytes));
    v->ids = data;
    if (v->N > bytes) /* every id has a NUL: refused before memory is asked for */
        return fail(TRAWL_CORRUPT, "'%s': %zu rows, but only %zu bytes of ids", path, v->N, bytes);
    o->id_begin = mem_array(v->N + 1, sizeof *o->id_begin);
    if (!o->id_begin)
        return mem_status();
    v->id_begin = o->id_begin;
    for (size_t i = 0; i < v->N; i++) {
        const char *stop = memchr(v->ids + at, '\0', bytes - at);
        if (!stop)
            return fail(TRAWL_CORRUPT, "'%s': %zu rows, but only %zu ids", path, v->N, i);
        at = (size_t)(stop + 1 - v->ids);
        o->id_begin[i + 1] = at;
    }
    return at == bytes ? TRAWL_OK : fail(TRAWL_CORRUPT, "'%s': more ids than rows", path);
}

static enum trawl_status open_vecs(struct vectors *v, struct vectors_owner *o, const char *path)
{
    const void *data;
    size_t n, bytes, wanted;
    TRY(pack_open(&o->pack, path, VECS_KIND, VECS_VERSION));
    TRY(open_meta(v, o, path));
    TRY(pack_chunk(o->pack, "rows", &data, &bytes));
    if (v->D == 0 || __builtin_mul_overflow(v->N, v->D, &n) || __builtin_mul_overflow(n, sizeof(float), &wanted) ||
        wanted != bytes)
        return fail(TRAWL_CORRUPT, "'%s': %zu rows of %zu dimensions do not make %zu bytes", path, v->N, v->D, bytes);
    v->rows = data;
    return open_ids(v, o, path);
}

/* ---- opening ---- */

static enum trawl_status see_kind(enum vectors_kind *kind, const char *path)
{
    struct file_map map;
    *kind = VECTORS_JSONL;
    if (strcmp(path, "-") == 0)
        return TRAWL_OK;
    TRY(file_map_open(&map, path));
    if (map.bytes >= 6 && memcmp(map.data, "\x93NUMPY", 6) == 0)
        *kind = VECTORS_NPY;
    file_map_close(&map);
    char pack[5];
    if (*kind == VECTORS_JSONL && pack_kind(pack, path) == TRAWL_OK)
        *kind = VECTORS_VECS;
    return TRAWL_OK;
}

enum trawl_status vectors_open(struct vectors *v, const char *path)
{
    static enum trawl_status (*const openers[])(struct vectors *, struct vectors_owner *, const char *) = {
        [VECTORS_NPY] = open_npy, [VECTORS_JSONL] = open_jsonl, [VECTORS_VECS] = open_vecs};
    enum vectors_kind kind;
    *v = (struct vectors){0};
    TRY(see_kind(&kind, path));
    struct vectors_owner *o = mem_array(1, sizeof *o);
    if (!o)
        return mem_status();
    v->owner = o;
    enum trawl_status status = openers[kind](v, o, path);
    if (status == TRAWL_OK)
        status = check_finite(v, path);
    if (status != TRAWL_OK)
        vectors_close(v);
    return status;
}

void vectors_close(struct vectors *v)
{
    if (!v)
        return;
    struct vectors_owner *o = v->owner;
    if (o) {
        npy_close(&o->npy);
        pack_close(o->pack);
        free(o->rows);
        buf_release(&o->ids);
        free(o->id_begin);
        free(o);
    }
    *v = (struct vectors){0};
}
