/*
 * Tombstones of a segment: the rows that are gone, and what that takes away from the statistics of each lexical field,
 * counted once when they are written, so that a query needs only look up a term's decrement.
 */
#include "index_int.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>

struct tomb_meta {
    uint64_t n_rows, n_documents; /* deleted */
};

static enum trawl_status wrong(const struct tomb *t)
{
    return fail(TRAWL_CORRUPT, "'%s': a chunk has another size than promised (build the index again)",
                pack_path(t->pack));
}

static enum trawl_status open_field(struct tomb *t, size_t field)
{
    char name[32];
    const void *data;
    size_t n;
    snprintf(name, sizeof name, "length.%zu", field);
    TRY(pack_chunk(t->pack, name, &data, &n));
    if (n != sizeof(uint64_t))
        return wrong(t);
    t->total_length[field] = *(const uint64_t *)data;
    snprintf(name, sizeof name, "terms.%zu", field);
    TRY(pack_chunk(t->pack, name, &data, &n));
    if (n % (2 * sizeof(uint32_t)))
        return wrong(t);
    t->terms[field] = data;
    t->n_terms[field] = n / (2 * sizeof(uint32_t));
    return TRAWL_OK;
}

static enum trawl_status open_chunks(struct tomb *t, uint64_t n_rows, size_t n_fields)
{
    const void *data;
    size_t n;
    TRY(pack_chunk(t->pack, "meta", &data, &n));
    if (n != sizeof(struct tomb_meta))
        return wrong(t);
    const struct tomb_meta *meta = data;
    t->n_rows = meta->n_rows;
    t->n_documents = meta->n_documents;
    TRY(pack_chunk(t->pack, "rows", &data, &n));
    if (n != (n_rows + 63) / 64 * sizeof(uint64_t) || t->n_rows > n_rows)
        return wrong(t);
    t->bitmap = data;
    for (size_t i = 0; i < n_fields; i++)
        TRY(open_field(t, i));
    return TRAWL_OK;
}

enum trawl_status tomb_open(struct tomb *t, const char *path, uint64_t n_rows, size_t n_fields)
{
    *t = (struct tomb){0};
    TRY(pack_open(&t->pack, path, "TOMB", TOMB_VERSION));
    enum trawl_status status = open_chunks(t, n_rows, n_fields);
    if (status)
        tomb_close(t);
    return status;
}

void tomb_close(struct tomb *t)
{
    if (!t)
        return;
    pack_close(t->pack);
    *t = (struct tomb){0};
}

uint32_t tomb_df(const struct tomb *t, size_t field, uint64_t term)
{
    const uint32_t *pairs = t->terms[field];
    size_t low = 0, high = t->n_terms[field];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pairs[middle * 2] < term)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->n_terms[field] && pairs[low * 2] == term ? pairs[low * 2 + 1] : 0;
}

static enum trawl_status count_deleted(const struct lex_field *f, uint64_t term, const uint64_t *deleted, uint32_t *n)
{
    struct lex_list list;
    struct postings_block block;
    *n = 0;
    TRY(lex_list(&list, f, term));
    for (uint32_t i = 0; i < list.n_blocks; i++) {
        TRY(lex_block(&list, i, &block));
        for (uint32_t j = 0; j < block.n; j++)
            *n += bit_get(deleted, block.rows[j]);
    }
    return TRAWL_OK;
}

static enum trawl_status write_field(struct pack_writer *p, const struct segment *s, const struct index_field *field,
                                     size_t i, const uint64_t *deleted)
{
    char name[32];
    struct buf pairs = {0};
    uint64_t length = 0;
    enum trawl_status status = TRAWL_OK;
    const struct lex_field *f = &s->lex[i];
    for (uint64_t t = 0; field->kind == INDEX_LEXICAL && t < f->n_terms; t++) {
        uint32_t pair[2] = {(uint32_t)t, 0};
        TRY_OUT(count_deleted(f, t, deleted, &pair[1]));
        if (pair[1])
            TRY_OUT(buf_append(&pairs, pair, sizeof pair));
    }
    for (uint64_t row = 0; field->kind == INDEX_LEXICAL && row < f->n_rows; row++)
        length += bit_get(deleted, row) ? f->lengths[row] : 0;
    snprintf(name, sizeof name, "length.%zu", i);
    TRY_OUT(pack_add(p, name, &length, sizeof length));
    snprintf(name, sizeof name, "terms.%zu", i);
    status = pack_add(p, name, pairs.data, pairs.n);
out:
    buf_release(&pairs);
    return status;
}

enum trawl_status tomb_write(const char *path, const struct segment *s, const struct manifest *m,
                             const uint64_t *deleted)
{
    struct pack_writer *p;
    struct tomb_meta meta = {0};
    uint32_t last = UINT32_MAX;
    for (uint32_t row = 0; row < s->seen.n; row++) {
        uint32_t doc = (uint32_t)docs_of_row(&s->docs, row);
        if (!bit_get(deleted, row))
            continue;
        meta.n_rows++;
        meta.n_documents += doc != last;
        last = doc;
    }
    TRY(pack_create(&p, path, "TOMB", TOMB_VERSION));
    enum trawl_status status = pack_add(p, "meta", &meta, sizeof meta);
    if (!status)
        status = pack_add(p, "rows", deleted, ((size_t)s->seen.n + 63) / 64 * sizeof *deleted);
    for (size_t i = 0; !status && i < m->n_fields; i++)
        status = write_field(p, s, &m->fields[i], i, deleted);
    if (status)
        pack_abort(&p);
    else
        status = pack_commit(&p);
    return status;
}
