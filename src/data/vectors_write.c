/*
 * Files of vectors, written row by row in bounded memory (ids of a .vecs file are kept until the end). The header of an
 * .npy file holds the number of rows, which is known last: it is written into its place before the file gets its name.
 */
#include "base/mem.h"
#include "base/pack.h"
#include "vectors.h"
#include "vectors_int.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NPY_HEADER = 128 };

struct vectors_writer {
    enum vectors_kind kind;
    size_t N, D;
    struct file_writer file; /* npy, jsonl */
    bool file_open;
    struct pack_writer *pack; /* vecs */
    struct buf ids, text;
    bool has_contract;
    struct contract document, query;
};

static enum trawl_status choose_kind(enum vectors_kind *kind, const char *path, const char *format)
{
    size_t n = strlen(path);
    const char *dot = strrchr(path, '.');
    if (strcmp(format, "npy") == 0)
        *kind = VECTORS_NPY;
    else if (strcmp(format, "jsonl") == 0)
        *kind = VECTORS_JSONL;
    else if (strcmp(format, "vecs") == 0)
        *kind = VECTORS_VECS;
    else if (strcmp(format, "auto") != 0)
        return fail(TRAWL_USAGE, "unknown format of vectors '%s' (known: auto, npy, jsonl, vecs)", format);
    else if (dot && strcmp(dot, ".npy") == 0)
        *kind = VECTORS_NPY;
    else
        *kind = (dot && strcmp(dot, ".jsonl") == 0) || (n == 1 && *path == '-') ? VECTORS_JSONL : VECTORS_VECS;
    return TRAWL_OK;
}

static void npy_header(char out[NPY_HEADER + 1], size_t N, size_t D)
{
    memcpy(out, "\x93NUMPY\x01\x00\x76\x00", 10); /* version 1.0, 118 bytes follow */
    int n =
        snprintf(out + 10, NPY_HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", N, D);
    memset(out + 10 + n, ' ', (size_t)(NPY_HEADER - 10 - n));
    out[NPY_HEADER - 1] = '\n';
}

static enum trawl_status begin_npy(struct vectors_writer *w, const char *path)
{
    char header[NPY_HEADER + 1];
    if (!w->file.tmp)
        return fail(TRAWL_USAGE, "cannot write .npy to '%s': it must be a file (use the format jsonl for streams)",
                    path);
    npy_header(header, 0, w->D);
    return file_write(&w->file, header, NPY_HEADER);
}

static enum trawl_status begin(struct vectors_writer *w, const char *path)
{
    if (w->kind == VECTORS_VECS) {
        if (strcmp(path, "-") == 0)
            return fail(TRAWL_USAGE, "cannot write .vecs to standard output (use the format jsonl)");
        TRY(pack_create(&w->pack, path, VECS_KIND, VECS_VERSION));
        return pack_chunk_begin(w->pack, "rows");
    }
    TRY(file_writer_open(&w->file, path));
    w->file_open = true;
    return w->kind == VECTORS_NPY ? begin_npy(w, path) : TRAWL_OK;
}

enum trawl_status vectors_create(struct vectors_writer **out, const char *path, const char *format, size_t D,
                                 const struct contract *document, const struct contract *query)
{
    struct vectors_writer *w = mem_array(1, sizeof *w);
    *out = NULL;
    if (!w)
        return mem_status();
    w->D = D;
    w->has_contract = document && query;
    if (w->has_contract) {
        w->document = *document;
        w->query = *query;
    }
    enum trawl_status status = choose_kind(&w->kind, path, format);
    if (status == TRAWL_OK)
        status = begin(w, path);
    *out = w;
    if (status != TRAWL_OK)
        vectors_abort(out);
    return status;
}

static enum trawl_status add_jsonl(struct vectors_writer *w, const char *id, const float *row)
{
    char number[32];
    buf_reset(&w->text);
    TRY(buf_text(&w->text, "{\"id\": "));
    TRY(json_quote(&w->text, id, strlen(id)));
    TRY(buf_text(&w->text, ", \"vector\": ["));
    for (size_t d = 0; d < w->D; d++) {
        int n = snprintf(number, sizeof number, "%s%.9g", d ? ", " : "", (double)row[d]);
        TRY(buf_append(&w->text, number, (size_t)n));
    }
    TRY(buf_text(&w->text, "]}\n"));
    return file_write(&w->file, w->text.data, w->text.n);
}

enum trawl_status vectors_add(struct vectors_writer *w, const char *id, const float *row)
{
    for (size_t d = 0; d < w->D; d++)
        if (!isfinite(row[d]))
            return fail(TRAWL_FORMAT, "the vector of '%s' holds a value that is not finite", id ? id : "a text");
    if (w->kind != VECTORS_NPY && (!id || !*id))
        return fail(TRAWL_USAGE, "row %zu has no id, which this format of vectors needs", w->N);
    w->N++;
    if (w->kind == VECTORS_JSONL)
        return add_jsonl(w, id, row);
    if (w->kind == VECTORS_NPY)
        return file_write(&w->file, row, w->D * sizeof *row);
    TRY(buf_append(&w->ids, id, strlen(id) + 1));
    return pack_write(w->pack, row, w->D * sizeof *row);
}

static enum trawl_status set_member(json_t *meta, const char *name, json_t *value)
{
    return json_object_set_new(meta, name, value) ? fail(TRAWL_NOMEM, "no memory for a header") : TRAWL_OK;
}

static enum trawl_status fill_meta(const struct vectors_writer *w, json_t *meta)
{
    json_t *contract;
    TRY(set_member(meta, "N", json_integer((json_int_t)w->N)));
    TRY(set_member(meta, "D", json_integer((json_int_t)w->D)));
    if (!w->has_contract)
        return TRAWL_OK;
    TRY(contract_to_json(&contract, &w->document));
    TRY(set_member(meta, "document", contract));
    TRY(contract_to_json(&contract, &w->query));
    return set_member(meta, "query", contract);
}

static enum trawl_status commit_vecs(struct vectors_writer *w)
{
    TRY(pack_chunk_end(w->pack));
    TRY(pack_add(w->pack, "ids", w->ids.data ? w->ids.data : "", w->ids.n));
    json_t *meta = json_object();
    if (!meta)
        return fail(TRAWL_NOMEM, "no memory for a header");
    enum trawl_status status = fill_meta(w, meta);
    char *text = status == TRAWL_OK ? json_dumps(meta, JSON_COMPACT) : NULL;
    json_decref(meta);
    if (status == TRAWL_OK && !text)
        status = fail(TRAWL_NOMEM, "no memory for a header");
    if (status == TRAWL_OK)
        status = pack_add(w->pack, "meta", text, strlen(text));
    free(text);
    return status == TRAWL_OK ? pack_commit(&w->pack) : status;
}

static enum trawl_status commit_npy(struct vectors_writer *w)
{
    char header[NPY_HEADER + 1];
    npy_header(header, w->N, w->D);
    TRY(file_writer_flush(&w->file));
    if (pwrite(w->file.fd, header, NPY_HEADER, 0) != NPY_HEADER)
        return fail_errno("cannot write the header of '%s'", w->file.path);
    return TRAWL_OK;
}

enum trawl_status vectors_commit(struct vectors_writer **out)
{
    struct vectors_writer *w = *out;
    enum trawl_status status = TRAWL_OK;
    if (w->kind == VECTORS_VECS) {
        status = commit_vecs(w);
    } else {
        if (w->kind == VECTORS_NPY)
            status = commit_npy(w);
        if (status == TRAWL_OK) {
            w->file_open = false; /* a failed commit cleans up after itself */
            status = file_writer_commit(&w->file);
        }
    }
    vectors_abort(out);
    return status;
}

void vectors_abort(struct vectors_writer **out)
{
    struct vectors_writer *w = *out;
    if (!w)
        return;
    if (w->file_open)
        file_writer_abort(&w->file);
    if (w->pack)
        pack_abort(&w->pack);
    buf_release(&w->ids);
    buf_release(&w->text);
    free(w);
    *out = NULL;
}
