/*
 * Dense field of a segment: rows as search wants them, and beside rows of less precision the f32 rows that they were
 * made from. The f32 rows are streamed into the pack; the others wait in a file "<path>.raw" until the pack's next
 * chunk.
 */
#include "index_int.h"
#include "base/mem.h"
#include "math/format.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dense_meta {
    uint64_t n_rows, D, format;
};

/* ---- reading ---- */

static enum trawl_status wrong(const struct dense_field *f, const char *what)
{
    return fail(TRAWL_CORRUPT, "'%s': %s (build the index again)", pack_path(f->pack), what);
}

static size_t item_bytes(enum index_vector_format format)
{
    return format == INDEX_VEC_F32 ? 4 : format == INDEX_VEC_BF16 ? 2 : 1;
}

enum trawl_status dense_open(struct dense_field *f, const char *path, const struct index_field *field)
{
    const void *data;
    size_t n;
    *f = (struct dense_field){0};
    TRY(pack_open(&f->pack, path, "DENS", DENS_VERSION));
    enum trawl_status status = pack_chunk(f->pack, "meta", &data, &n);
    const struct dense_meta *meta = data;
    if (!status &&
        (n != sizeof *meta || meta->n_rows > ROWS_MAX || meta->D != field->D || meta->format != field->format))
        status = wrong(f, "size or format of the vectors is not that of the field");
    if (status) {
        dense_close(f);
        return status;
    }
    f->vectors = (struct index_vectors){.n = (size_t)meta->n_rows, .D = (size_t)meta->D, .format = field->format};
    return TRAWL_OK;
}

void dense_close(struct dense_field *f)
{
    if (!f)
        return;
    pack_close(f->pack);
    *f = (struct dense_field){0};
}

static enum trawl_status chunk(const struct dense_field *f, const char *name, const void **data, size_t wanted)
{
    size_t n;
    TRY(pack_chunk(f->pack, name, data, &n));
    return n == wanted ? TRAWL_OK : wrong(f, "a chunk has another size than promised");
}

enum trawl_status dense_vectors(const struct dense_field *f, struct index_vectors *out)
{
    const void *data;
    *out = f->vectors;
    TRY(chunk(f, "rows", &out->rows, out->n * out->D * item_bytes(out->format)));
    if (out->format != INDEX_VEC_F32) {
        TRY(chunk(f, "rescore", &data, out->n * out->D * sizeof(float)));
        out->rescore = data;
    }
    if (out->format == INDEX_VEC_INT8) {
        TRY(chunk(f, "scales", &data, out->n * sizeof(float)));
        out->scales = data;
    }
    TRY(chunk(f, "zero", &data, (out->n + 63) / 64 * sizeof(uint64_t)));
    out->zero = data;
    return TRAWL_OK;
}

enum trawl_status dense_f32(const struct dense_field *f, const float **rows)
{
    const void *data;
    const char *name = f->vectors.format == INDEX_VEC_F32 ? "rows" : "rescore";
    TRY(chunk(f, name, &data, f->vectors.n * f->vectors.D * sizeof(float)));
    *rows = data;
    return TRAWL_OK;
}

/* ---- writing ---- */

struct dense_writer {
    struct pack_writer *pack;
    struct dense_meta meta;
    FILE *raw; /* rows of less precision, NULL for f32 */
    char *raw_path;
    void *row; /* (D) of them */
    struct buf scales, zero;
};

enum trawl_status dense_writer_new(struct dense_writer **out, const char *path, size_t D,
                                   enum index_vector_format format)
{
    *out = NULL;
    struct buf raw = {0};
    struct dense_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return mem_status();
    enum trawl_status status = TRAWL_OK;
    w->meta = (struct dense_meta){0, D, format};
    if (format != INDEX_VEC_F32) {
        TRY_OUT(buf_printf(&raw, "%s.raw", path));
        w->raw_path = raw.data;
        raw = (struct buf){0};
        w->row = mem_array(D, 2);
        if (!w->row)
            TRY_OUT(mem_status());
        w->raw = fopen(w->raw_path, "w+b");
        if (!w->raw)
            TRY_OUT(fail_errno("cannot create '%s'", w->raw_path));
    }
    TRY_OUT(pack_create(&w->pack, path, "DENS", DENS_VERSION));
    status = pack_chunk_begin(w->pack, w->raw ? "rescore" : "rows");
out:
    buf_release(&raw);
    if (status)
        dense_writer_abort(&w);
    *out = w;
    return status;
}

static enum trawl_status write_int8(struct dense_writer *w, const float *row)
{
    size_t D = (size_t)w->meta.D;
    int8_t *q = w->row;
    float most = 0.0f;
    for (size_t i = 0; i < D; i++)
        most = fmaxf(most, fabsf(row[i]));
    float scale = most / 127.0f;
    for (size_t i = 0; i < D; i++)
        q[i] = (int8_t)(scale > 0.0f ? fminf(fmaxf(rintf(row[i] / scale), -127.0f), 127.0f) : 0.0f);
    TRY(buf_append(&w->scales, &scale, sizeof scale));
    return fwrite(q, 1, D, w->raw) == D ? TRAWL_OK : fail_errno("cannot write '%s'", w->raw_path);
}

static enum trawl_status write_bf16(struct dense_writer *w, const float *row)
{
    size_t D = (size_t)w->meta.D;
    uint16_t *out = w->row;
    for (size_t i = 0; i < D; i++)
        out[i] = bf16_from_f32(row[i]);
    return fwrite(out, 2, D, w->raw) == D ? TRAWL_OK : fail_errno("cannot write '%s'", w->raw_path);
}

enum trawl_status dense_writer_add(struct dense_writer *w, const float *row)
{
    size_t D = (size_t)w->meta.D, n = (size_t)w->meta.n_rows;
    bool zero = true;
    for (size_t i = 0; i < D; i++) {
        if (!isfinite(row[i]))
            return fail(TRAWL_FORMAT, "row %zu of the vectors holds a number that is not finite", n);
        zero &= row[i] == 0.0f;
    }
    if (n % 64 == 0)
        TRY(buf_append(&w->zero, &(uint64_t){0}, sizeof(uint64_t)));
    if (zero) {
        uint64_t word;
        memcpy(&word, w->zero.data + n / 64 * sizeof word, sizeof word);
        word |= UINT64_C(1) << (n % 64);
        memcpy(w->zero.data + n / 64 * sizeof word, &word, sizeof word);
    }
    if (w->meta.format == INDEX_VEC_INT8)
        TRY(write_int8(w, row));
    else if (w->meta.format == INDEX_VEC_BF16)
        TRY(write_bf16(w, row));
    w->meta.n_rows++;
    return pack_write(w->pack, row, D * sizeof *row);
}

static enum trawl_status copy_raw(struct dense_writer *w)
{
    char bytes[1 << 16];
    if (fflush(w->raw) || fseek(w->raw, 0, SEEK_SET))
        return fail_errno("cannot write '%s'", w->raw_path);
    TRY(pack_chunk_begin(w->pack, "rows"));
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, w->raw)) > 0;)
        TRY(pack_write(w->pack, bytes, n));
    if (ferror(w->raw))
        return fail_errno("cannot read '%s'", w->raw_path);
    return pack_chunk_end(w->pack);
}

static enum trawl_status put_chunks(struct dense_writer *w)
{
    TRY(pack_chunk_end(w->pack));
    if (w->raw)
        TRY(copy_raw(w));
    if (w->meta.format == INDEX_VEC_INT8)
        TRY(pack_add(w->pack, "scales", w->scales.data, w->scales.n));
    TRY(pack_add(w->pack, "zero", w->zero.data, w->zero.n));
    return pack_add(w->pack, "meta", &w->meta, sizeof w->meta);
}

enum trawl_status dense_writer_commit(struct dense_writer **w)
{
    enum trawl_status status = put_chunks(*w);
    if (!status)
        status = pack_commit(&(*w)->pack);
    dense_writer_abort(w);
    return status;
}

void dense_writer_abort(struct dense_writer **out)
{
    struct dense_writer *w = *out;
    if (!w)
        return;
    pack_abort(&w->pack);
    if (w->raw) {
        fclose(w->raw);
        unlink(w->raw_path);
    }
    free(w->raw_path);
    free(w->row);
    buf_release(&w->scales);
    buf_release(&w->zero);
    free(w);
    *out = NULL;
}
