#include "doc_set.h"
#include "base/log.h"
#include "base/mem.h"
#include "spool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct place {
    uint64_t begin; /* of the title in the spool, its NUL, the text, its NUL */
    size_t title_bytes, text_bytes;
    struct doc_hash hash;
};
struct doc_set {
    struct map ids; /* number of the id = number of the document */
    struct buf id_text;
    size_t *id_begin;
    struct place *places;
    size_t n, cap, id_cap;
    struct spool spool;
    uint64_t fingerprint;
    struct corpus_counts counts;
    struct buf words;
};

/* Appends the words of a text, one space behind each. */
static enum trawl_status append_words(struct buf *out, const char *text, size_t n)
{
    TRY(buf_reserve(out, n + 1));
    for (size_t i = 0; i < n; i++) {
        bool white = text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r');
        if (!white)
            out->data[out->n++] = text[i];
        else if (out->n && out->data[out->n - 1] != ' ')
            out->data[out->n++] = ' ';
    }
    if (out->n && out->data[out->n - 1] != ' ')
        out->data[out->n++] = ' ';
    return TRAWL_OK;
}

static enum trawl_status hash_document(struct doc_set *d, const struct document *doc, struct doc_hash *hash)
{
    buf_reset(&d->words);
    TRY(append_words(&d->words, doc->title, doc->title_bytes));
    TRY(append_words(&d->words, doc->text, doc->text_bytes));
    XXH128_hash_t sum = XXH3_128bits(d->words.data, d->words.n);
    *hash = (struct doc_hash){sum.low64, sum.high64};
    return TRAWL_OK;
}

static enum trawl_status add_document(struct doc_set *d, const struct document *doc, XXH3_state_t *all)
{
    uint32_t number;
    TRY(mem_grow((void **)&d->places, &d->cap, d->n + 1, sizeof *d->places));
    TRY(mem_grow((void **)&d->id_begin, &d->id_cap, d->n + 1, sizeof *d->id_begin));
    if (d->n == MAP_NONE)
        return fail(TRAWL_LIMIT, "more than %u documents", MAP_NONE);
    TRY(map_put(&d->ids, doc->id, doc->id_bytes, 0, &number, NULL));
    struct place *place = &d->places[d->n];
    *place = (struct place){spool_bytes(&d->spool), doc->title_bytes, doc->text_bytes, {0}};
    TRY(hash_document(d, doc, &place->hash));
    d->id_begin[d->n++] = d->id_text.n;
    TRY(buf_append(&d->id_text, doc->id, doc->id_bytes + 1));
    TRY(spool_write(&d->spool, doc->title, doc->title_bytes + 1));
    TRY(spool_write(&d->spool, doc->text, doc->text_bytes + 1));
    XXH3_64bits_update(all, doc->id, doc->id_bytes + 1);
    XXH3_64bits_update(all, doc->title, doc->title_bytes + 1);
    XXH3_64bits_update(all, doc->text, doc->text_bytes + 1);
    return TRAWL_OK;
}

static enum trawl_status read_all(struct doc_set *d, struct corpus *corpus, XXH3_state_t *all)
{
    struct document doc;
    struct progress progress;
    uint64_t done, total;
    corpus_position(corpus, &done, &total);
    progress_begin(&progress, "reading the corpus", total, "bytes");
    for (;;) {
        TRY(corpus_next(corpus, &doc));
        if (!doc.id)
            break;
        TRY(add_document(d, &doc, all));
        corpus_position(corpus, &done, &total);
        progress_set(&progress, done);
    }
    progress_end(&progress);
    d->counts = *corpus_counts(corpus);
    d->fingerprint = XXH3_64bits_digest(all);
    buf_release(&d->words);
    return spool_end(&d->spool);
}

enum trawl_status doc_set_open(struct doc_set **out, const char *path, const struct corpus_options *options)
{
    enum trawl_status status;
    struct corpus *corpus = NULL;
    XXH3_state_t *all = XXH3_createState();
    struct doc_set *d = mem_array(1, sizeof *d);
    *out = NULL;
    status = d && all ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for a corpus");
    if (status)
        goto out;
    XXH3_64bits_reset(all);
    TRY_OUT(corpus_open(&corpus, path, options));
    TRY_OUT(spool_begin(&d->spool));
    TRY_OUT(read_all(d, corpus, all));
    *out = d;
    d = NULL;
out:
    corpus_close(corpus);
    XXH3_freeState(all);
    doc_set_close(d);
    return status;
}

void doc_set_close(struct doc_set *d)
{
    if (!d)
        return;
    map_release(&d->ids);
    buf_release(&d->id_text);
    buf_release(&d->words);
    spool_close(&d->spool);
    free(d->id_begin);
    free(d->places);
    free(d);
}

size_t doc_set_n(const struct doc_set *d)
{
    return d->n;
}

uint32_t doc_set_find(const struct doc_set *d, const char *id, size_t n)
{
    return map_find(&d->ids, id, n);
}

void doc_set_get(const struct doc_set *d, size_t i, struct document *doc)
{
    const struct place *place = &d->places[i];
    const char *title = (const char *)d->spool.map.data + place->begin;
    const char *id = d->id_text.data + d->id_begin[i];
    *doc = (struct document){.id = id,
                             .title = title,
                             .text = title + place->title_bytes + 1,
                             .id_bytes = strlen(id),
                             .title_bytes = place->title_bytes,
                             .text_bytes = place->text_bytes};
}

struct doc_hash doc_set_hash(const struct doc_set *d, size_t i)
{
    return d->places[i].hash;
}

uint64_t doc_set_fingerprint(const struct doc_set *d)
{
    return d->fingerprint;
}

const struct corpus_counts *doc_set_counts(const struct doc_set *d)
{
    return &d->counts;
}
