/*
 * Documents of a segment: ids, ordinals, passages, and the texts, each a zstd frame of its own made with a dictionary
 * that was trained on the segment's first documents. A text is: varint of the title's bytes, title, text.
 */
#include "index_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zdict.h>
#include <zstd.h>

enum { ZSTD_LEVEL = 3, DICTIONARY_BYTES = 112640, SAMPLE_BYTES = 16384, FRAME_BYTES_MAX = 1 << 30 };
#define TRAIN_BYTES ((size_t)4 << 20)
#define BATCH_BYTES ((size_t)8 << 20)

struct docs_meta {
    uint64_t n_docs, n_rows, raw_bytes, passages; /* passages: 1 when documents are split */
};

/* ---- reading ---- */

static enum trawl_status wrong(const struct docs *d, const char *what)
{
    return fail(TRAWL_CORRUPT, "'%s': %s (build the index again)", pack_path(d->pack), what);
}

/* A chunk that must hold n items of `size` bytes. */
static enum trawl_status open_array(const struct docs *d, const char *name, const void *out, uint64_t n, size_t size)
{
    const void *data;
    size_t bytes;
    TRY(pack_chunk(d->pack, name, &data, &bytes));
    if (n > SIZE_MAX / size || bytes != n * size)
        return fail(TRAWL_CORRUPT, "'%s': chunk '%s' has another size than promised (build the index again)",
                    pack_path(d->pack), name);
    memcpy((void *)(uintptr_t)out, &data, sizeof data);
    return TRAWL_OK;
}

static enum trawl_status open_passages(struct docs *d)
{
    TRY(open_array(d, "row_doc", &d->row_doc, d->n_rows, sizeof *d->row_doc));
    TRY(open_array(d, "doc_row", &d->doc_row, d->n_docs + 1, sizeof *d->doc_row));
    TRY(open_array(d, "passages", &d->passages, d->n_rows, 2 * sizeof *d->passages));
    for (uint64_t i = 0; i < d->n_rows; i++)
        if (d->row_doc[i] >= d->n_docs)
            return wrong(d, "a row belongs to no document");
    for (uint64_t i = 0; i < d->n_docs; i++)
        if (d->doc_row[i] > d->doc_row[i + 1] || d->doc_row[i + 1] > d->n_rows)
            return wrong(d, "a document's rows lie outside the segment");
    return TRAWL_OK;
}

static enum trawl_status open_chunks(struct docs *d)
{
    const void *data;
    const struct docs_meta *meta = NULL;
    size_t n;
    TRY(open_array(d, "meta", &meta, 1, sizeof *meta));
    d->n_docs = meta->n_docs;
    d->n_rows = meta->n_rows;
    d->raw_bytes = meta->raw_bytes;
    if (d->n_docs > ROWS_MAX || d->n_rows > ROWS_MAX || (!meta->passages && d->n_docs != d->n_rows))
        return wrong(d, "the number of documents makes no sense");
    TRY(open_array(d, "ordinals", &d->ordinals, d->n_rows, sizeof *d->ordinals));
    TRY(open_array(d, "id_begin", &d->id_begin, d->n_docs + 1, sizeof *d->id_begin));
    TRY(open_array(d, "frame_begin", &d->frame_begin, d->n_docs + 1, sizeof *d->frame_begin));
    TRY(open_array(d, "id_hash", &d->id_hash, d->n_docs, sizeof *d->id_hash));
    TRY(open_array(d, "id_doc", &d->id_doc, d->n_docs, sizeof *d->id_doc));
    TRY(pack_chunk(d->pack, "ids", &data, &d->n_id_bytes));
    d->ids = data;
    TRY(pack_chunk_lazy(d->pack, "frames", &data, &d->n_frame_bytes));
    d->frames = data;
    TRY(pack_chunk(d->pack, "dictionary", &data, &n));
    if (n && !(d->dictionary = ZSTD_createDDict(data, n)))
        return fail(TRAWL_NOMEM, "'%s': no memory for the dictionary", pack_path(d->pack));
    return meta->passages ? open_passages(d) : TRAWL_OK;
}

enum trawl_status docs_open(struct docs *d, const char *path)
{
    *d = (struct docs){0};
    TRY(pack_open(&d->pack, path, "DOCS", DOCS_VERSION));
    enum trawl_status status = open_chunks(d);
    if (status)
        docs_close(d);
    return status;
}

void docs_close(struct docs *d)
{
    if (!d)
        return;
    ZSTD_freeDDict(d->dictionary);
    pack_close(d->pack);
    *d = (struct docs){0};
}

enum trawl_status docs_id(const struct docs *d, uint64_t doc, const char **id, size_t *n)
{
    uint64_t begin = d->id_begin[doc], end = d->id_begin[doc + 1];
    if (begin >= end || end > d->n_id_bytes)
        return wrong(d, "an id lies outside the file");
    *id = d->ids + begin; /* a NUL follows it */
    *n = (size_t)(end - begin) - 1;
    return TRAWL_OK;
}

uint64_t docs_find(const struct docs *d, const char *id, size_t n)
{
    uint64_t hash = XXH3_64bits(id, n), low = 0, high = d->n_docs;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (d->id_hash[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < d->n_docs && d->id_hash[low] == hash; low++) {
        const char *other = NULL;
        size_t n_other = 0;
        if (d->id_doc[low] < d->n_docs && docs_id(d, d->id_doc[low], &other, &n_other) == TRAWL_OK && n_other == n &&
            memcmp(other, id, n) == 0)
            return d->id_doc[low];
    }
    return d->n_docs;
}

uint64_t docs_of_row(const struct docs *d, uint32_t row)
{
    return d->row_doc ? d->row_doc[row] : row;
}

void docs_rows(const struct docs *d, uint64_t doc, uint32_t *begin, uint32_t *end)
{
    *begin = d->doc_row ? d->doc_row[doc] : (uint32_t)doc;
    *end = d->doc_row ? d->doc_row[doc + 1] : (uint32_t)doc + 1;
}

/* One context per thread: made at the first document that it reads, kept until the thread ends. */
static _Thread_local ZSTD_DCtx *thread_context;
static pthread_key_t context_key;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

static void free_context(void *context)
{
    ZSTD_freeDCtx(context);
}

static void make_key(void)
{
    pthread_key_create(&context_key, free_context);
}

static enum trawl_status take_context(void)
{
    if (thread_context)
        return TRAWL_OK;
    thread_context = ZSTD_createDCtx();
    if (!thread_context)
        return fail(TRAWL_NOMEM, "no memory to decompress documents");
    pthread_once(&context_once, make_key);
    pthread_setspecific(context_key, thread_context);
    return TRAWL_OK;
}

static enum trawl_status decompress(const struct docs *d, struct buf *buf, uint64_t doc)
{
    uint64_t begin = d->frame_begin[doc], end = d->frame_begin[doc + 1];
    if (begin > end || end > d->n_frame_bytes)
        return wrong(d, "a document lies outside the file");
    const unsigned char *frame = d->frames + begin;
    size_t bytes = (size_t)(end - begin);
    TRY(pack_verify_range(d->pack, frame, bytes));
    unsigned long long raw = ZSTD_getFrameContentSize(frame, bytes);
    if (raw > FRAME_BYTES_MAX)
        return wrong(d, "a document's size makes no sense");
    TRY(take_context());
    TRY(buf_reserve(buf, (size_t)raw + 2));
    char *to = buf->data + buf->n;
    size_t got = d->dictionary
                     ? ZSTD_decompress_usingDDict(thread_context, to, (size_t)raw, frame, bytes, d->dictionary)
                     : ZSTD_decompressDCtx(thread_context, to, (size_t)raw, frame, bytes);
    if (ZSTD_isError(got) || got != raw)
        return wrong(d, "a document cannot be decompressed");
    buf->n += got;
    return TRAWL_OK;
}

enum trawl_status docs_read(const struct docs *d, struct buf *buf, struct stored_document *out, uint32_t row)
{
    *out = (struct stored_document){0};
    uint64_t doc = docs_of_row(d, row), title_bytes;
    TRY(docs_id(d, doc, &out->id, &out->id_bytes));
    size_t start = buf->n;
    TRY(decompress(d, buf, doc));
    const unsigned char *in = (const unsigned char *)buf->data + start,
                        *end = (const unsigned char *)buf->data + buf->n;
    if (!varint_get(&title_bytes, &in, end) || title_bytes > (size_t)(end - in))
        return wrong(d, "a document's title lies outside of it");
    /* The varint's place is used to put a NUL between title and text: the title moves one byte to the left. */
    size_t text_bytes = (size_t)(end - in) - (size_t)title_bytes;
    char *title = buf->data + ((const char *)in - buf->data) - 1;
    memmove(title, in, (size_t)title_bytes);
    title[title_bytes] = '\0';
    buf->data[buf->n] = '\0';
    out->title = title;
    out->title_bytes = (size_t)title_bytes;
    out->text = title + title_bytes + 1;
    out->text_bytes = text_bytes;
    out->passage_end = text_bytes;
    if (d->passages) {
        out->passage_begin = d->passages[row * (size_t)2];
        out->passage_end = d->passages[row * (size_t)2 + 1];
        if (out->passage_begin > out->passage_end || out->passage_end > text_bytes)
            return wrong(d, "a passage lies outside its document");
    }
    buf->n++; /* the text's NUL is part of what was used */
    return TRAWL_OK;
}

/* ---- writing ---- */

struct docs_writer {
    struct pack_writer *pack;
    struct docs_meta meta;
    struct buf ids, id_begin, frame_begin, ordinals, row_doc, doc_row, passages; /* chunks in the making */
    uint64_t frames;                                                             /* bytes written */
    /* documents that wait for being compressed */
    struct buf raw, raw_begin;
    struct compressed {
        struct buf frame;
        size_t error;
    } * compressed;
    size_t compressed_cap;
    struct buf dictionary;
    bool trained;
    ZSTD_CDict *cdict;
    ZSTD_CCtx **contexts; /* by worker */
    size_t n_contexts;
};

enum trawl_status docs_writer_new(struct docs_writer **out, const char *path, bool passages)
{
    *out = NULL;
    struct docs_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return mem_status();
    enum trawl_status status = TRAWL_OK;
    w->meta.passages = passages;
    w->n_contexts = pool_threads();
    w->contexts = mem_array(w->n_contexts, sizeof *w->contexts);
    if (!w->contexts)
        status = mem_status();
    for (size_t i = 0; !status && i < w->n_contexts; i++)
        if (!(w->contexts[i] = ZSTD_createCCtx()))
            status = fail(TRAWL_NOMEM, "no memory to compress documents");
    if (!status)
        status = pack_create(&w->pack, path, "DOCS", DOCS_VERSION);
    if (!status)
        status = pack_chunk_begin(w->pack, "frames");
    if (status)
        docs_writer_abort(&w);
    *out = w;
    return status;
}

static uint64_t get64(const struct buf *b, size_t i)
{
    uint64_t x;
    memcpy(&x, b->data + i * sizeof x, sizeof x);
    return x;
}

static enum trawl_status put64(struct buf *b, uint64_t x)
{
    return buf_append(b, &x, sizeof x);
}

static enum trawl_status put32(struct buf *b, uint32_t x)
{
    return buf_append(b, &x, sizeof x);
}

/* The dictionary, from the first documents. Too few or too uniform ones give none, which is fine. */
static enum trawl_status train(struct docs_writer *w)
{
    size_t n = w->raw_begin.n / sizeof(uint64_t), n_samples = 0, bytes = 0;
    size_t *sizes = mem_array(n, sizeof *sizes);
    struct buf samples = {0};
    enum trawl_status status = sizes ? TRAWL_OK : mem_status();
    for (size_t i = 0; !status && i < n && bytes < TRAIN_BYTES; i++) {
        size_t begin = (size_t)get64(&w->raw_begin, i);
        size_t end = i + 1 < n ? (size_t)get64(&w->raw_begin, i + 1) : w->raw.n;
        size_t take = end - begin < SAMPLE_BYTES ? end - begin : SAMPLE_BYTES;
        status = buf_append(&samples, w->raw.data + begin, take);
        sizes[n_samples++] = take;
        bytes += take;
    }
    size_t wanted = bytes / 16 < DICTIONARY_BYTES ? bytes / 16 : DICTIONARY_BYTES;
    if (!status && n_samples >= 16 && wanted >= 1024)
        status = buf_reserve(&w->dictionary, wanted);
    if (!status && w->dictionary.data) {
        size_t got = ZDICT_trainFromBuffer(w->dictionary.data, wanted, samples.data, sizes, (unsigned)n_samples);
        w->dictionary.n = ZDICT_isError(got) ? 0 : got;
        if (w->dictionary.n && !(w->cdict = ZSTD_createCDict(w->dictionary.data, w->dictionary.n, ZSTD_LEVEL)))
            status = fail(TRAWL_NOMEM, "no memory for the dictionary of documents");
    }
    w->trained = true;
    free(sizes);
    buf_release(&samples);
    return status;
}

static void compress_some(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct docs_writer *w = ctx;
    size_t n = w->raw_begin.n / sizeof(uint64_t);
    for (size_t i = begin; i < end; i++) {
        const char *raw = w->raw.data + get64(&w->raw_begin, i);
        size_t bytes = (i + 1 < n ? (size_t)get64(&w->raw_begin, i + 1) : w->raw.n) - (size_t)get64(&w->raw_begin, i);
        struct compressed *c = &w->compressed[i];
        buf_reset(&c->frame);
        if (buf_reserve(&c->frame, ZSTD_compressBound(bytes))) {
            c->error = (size_t)-1;
            continue;
        }
        ZSTD_CCtx *context = w->contexts[worker];
        c->error = w->cdict ? ZSTD_compress_usingCDict(context, c->frame.data, c->frame.cap, raw, bytes, w->cdict)
                            : ZSTD_compressCCtx(context, c->frame.data, c->frame.cap, raw, bytes, ZSTD_LEVEL);
        if (!ZSTD_isError(c->error)) {
            c->frame.n = c->error;
            c->error = 0;
        }
    }
}

static enum trawl_status compress_pending(struct docs_writer *w)
{
    size_t n = w->raw_begin.n / sizeof(uint64_t), before = w->compressed_cap;
    if (!w->trained)
        TRY(train(w));
    if (pool_threads() > w->n_contexts)
        return fail(TRAWL_USAGE, "the number of threads grew while indexing");
    TRY(mem_grow((void **)&w->compressed, &w->compressed_cap, n, sizeof *w->compressed));
    if (w->compressed_cap > before)
        memset(w->compressed + before, 0, (w->compressed_cap - before) * sizeof *w->compressed);
    pool_run(n, 16, compress_some, w);
    for (size_t i = 0; i < n; i++) {
        if (w->compressed[i].error)
            return fail(TRAWL_NOMEM, "no memory to compress a document");
        TRY(put64(&w->frame_begin, w->frames));
        TRY(pack_write(w->pack, w->compressed[i].frame.data, w->compressed[i].frame.n));
        w->frames += w->compressed[i].frame.n;
    }
    buf_reset(&w->raw);
    buf_reset(&w->raw_begin);
    return TRAWL_OK;
}

static enum trawl_status add_rows(struct docs_writer *w, const uint64_t *ordinals, const uint32_t *passages,
                                  uint32_t n_rows)
{
    TRY(buf_append(&w->ordinals, ordinals, n_rows * sizeof *ordinals));
    if (w->meta.passages) {
        TRY(put32(&w->doc_row, (uint32_t)w->meta.n_rows));
        TRY(buf_append(&w->passages, passages, n_rows * 2 * sizeof *passages));
        for (uint32_t i = 0; i < n_rows; i++)
            TRY(put32(&w->row_doc, (uint32_t)w->meta.n_docs));
    }
    w->meta.n_docs++;
    w->meta.n_rows += n_rows;
    return TRAWL_OK;
}

enum trawl_status docs_writer_add(struct docs_writer *w, const struct document *doc, const uint64_t *ordinals,
                                  const uint32_t *passages, uint32_t n_rows)
{
    unsigned char title[10];
    size_t n = varint_put(title, doc->title_bytes);
    if (doc->title_bytes + doc->text_bytes > FRAME_BYTES_MAX - sizeof title)
        return fail(TRAWL_LIMIT, "document '%s' is larger than 1 GB (split it)", doc->id);
    TRY(put64(&w->id_begin, w->ids.n));
    TRY(buf_append(&w->ids, doc->id, doc->id_bytes));
    TRY(buf_append(&w->ids, "", 1));
    TRY(put64(&w->raw_begin, w->raw.n));
    TRY(buf_append(&w->raw, title, n));
    TRY(buf_append(&w->raw, doc->title, doc->title_bytes));
    TRY(buf_append(&w->raw, doc->text, doc->text_bytes));
    w->meta.raw_bytes += n + doc->title_bytes + doc->text_bytes;
    TRY(add_rows(w, ordinals, passages, n_rows));
    return w->raw.n >= BATCH_BYTES ? compress_pending(w) : TRAWL_OK;
}

struct id_entry {
    uint64_t hash;
    uint32_t doc;
};

static int compare_entries(const void *a, const void *b)
{
    const struct id_entry *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->doc > y->doc) - (x->doc < y->doc);
}

static enum trawl_status put_id_table(struct docs_writer *w)
{
    size_t n = (size_t)w->meta.n_docs;
    struct id_entry *entries = mem_array(n, sizeof *entries);
    struct buf hashes = {0}, docs = {0};
    enum trawl_status status = entries ? TRAWL_OK : mem_status();
    for (size_t i = 0; !status && i < n; i++) {
        size_t begin = (size_t)get64(&w->id_begin, i), end = (size_t)get64(&w->id_begin, i + 1);
        entries[i] = (struct id_entry){XXH3_64bits(w->ids.data + begin, end - begin - 1), (uint32_t)i};
    }
    if (!status && n)
        qsort(entries, n, sizeof *entries, compare_entries);
    for (size_t i = 0; !status && i < n; i++) {
        TRY_OUT(put64(&hashes, entries[i].hash));
        TRY_OUT(put32(&docs, entries[i].doc));
    }
    if (status)
        goto out;
    TRY_OUT(pack_add(w->pack, "id_hash", hashes.data, hashes.n));
    status = pack_add(w->pack, "id_doc", docs.data, docs.n);
out:
    free(entries);
    buf_release(&hashes);
    buf_release(&docs);
    return status;
}

static enum trawl_status put_chunks(struct docs_writer *w)
{
    TRY(compress_pending(w));
    TRY(pack_chunk_end(w->pack));
    TRY(put64(&w->frame_begin, w->frames));
    TRY(put64(&w->id_begin, w->ids.n));
    TRY(pack_add(w->pack, "meta", &w->meta, sizeof w->meta));
    TRY(pack_add(w->pack, "dictionary", w->dictionary.data, w->dictionary.n));
    TRY(pack_add(w->pack, "frame_begin", w->frame_begin.data, w->frame_begin.n));
    TRY(pack_add(w->pack, "ids", w->ids.data, w->ids.n));
    TRY(pack_add(w->pack, "id_begin", w->id_begin.data, w->id_begin.n));
    TRY(pack_add(w->pack, "ordinals", w->ordinals.data, w->ordinals.n));
    if (w->meta.passages) {
        TRY(put32(&w->doc_row, (uint32_t)w->meta.n_rows));
        TRY(pack_add(w->pack, "row_doc", w->row_doc.data, w->row_doc.n));
        TRY(pack_add(w->pack, "doc_row", w->doc_row.data, w->doc_row.n));
        TRY(pack_add(w->pack, "passages", w->passages.data, w->passages.n));
    }
    return put_id_table(w);
}

enum trawl_status docs_writer_commit(struct docs_writer **w)
{
    enum trawl_status status = put_chunks(*w);
    if (!status)
        status = pack_commit(&(*w)->pack);
    docs_writer_abort(w);
    return status;
}

void docs_writer_abort(struct docs_writer **out)
{
    struct docs_writer *w = *out;
    if (!w)
        return;
    pack_abort(&w->pack);
    struct buf *bufs[] = {&w->ids,     &w->id_begin, &w->frame_begin, &w->ordinals,  &w->row_doc,
                          &w->doc_row, &w->passages, &w->raw,         &w->raw_begin, &w->dictionary};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_release(bufs[i]);
    for (size_t i = 0; i < w->compressed_cap; i++)
        buf_release(&w->compressed[i].frame);
    for (size_t i = 0; w->contexts && i < w->n_contexts; i++)
        ZSTD_freeCCtx(w->contexts[i]);
    free(w->contexts);
    free(w->compressed);
    ZSTD_freeCDict(w->cdict);
    free(w);
    *out = NULL;
}
