/* One lexical field of a segment: terms in order, postings in blocks, exact lengths, bounds of blocks. */
#include "index_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

struct lex_meta {
    uint64_t n_rows, n_terms, n_postings, total_length;
};

static enum trawl_status wrong(const struct lex_field *f, const char *what)
{
    return fail(TRAWL_CORRUPT, "'%s': %s (build the index again)", pack_path(f->pack), what);
}

static enum trawl_status open_chunks(struct lex_field *f)
{
    size_t n;
    const void *data;
    const struct lex_meta *meta;
    TRY(pack_chunk(f->pack, "meta", &data, &n));
    if (n != sizeof *meta)
        return wrong(f, "the chunk 'meta' has another size");
    meta = data;
    f->n_rows = meta->n_rows;
    f->n_terms = meta->n_terms;
    f->n_postings = meta->n_postings;
    f->total_length = meta->total_length;
    TRY(pack_chunk(f->pack, "lengths", &data, &n));
    f->lengths = data;
    if (f->n_rows > ROWS_MAX || n != f->n_rows * sizeof *f->lengths)
        return wrong(f, "the number of lengths is not the number of rows");
    TRY(pack_chunk(f->pack, "terms", &data, &n));
    f->terms = data;
    if (f->n_terms >= UINT32_MAX || n != (f->n_terms + 1) * sizeof *f->terms)
        return wrong(f, "the number of terms differs from what is promised");
    TRY(pack_chunk(f->pack, "term_bytes", &data, &f->n_term_bytes));
    f->term_bytes = data;
    TRY(pack_chunk(f->pack, "blocks", &data, &n));
    f->blocks = data;
    f->n_blocks = n / sizeof *f->blocks;
    TRY(pack_chunk(f->pack, "bounds", &data, &f->n_bounds));
    f->bounds = data;
    TRY(pack_chunk_lazy(f->pack, "postings", &data, &f->n_postings_bytes));
    f->postings = data;
    return TRAWL_OK;
}

enum trawl_status lex_open(struct lex_field *f, const char *path)
{
    *f = (struct lex_field){0};
    TRY(pack_open(&f->pack, path, "LEXF", LEXF_VERSION));
    enum trawl_status status = open_chunks(f);
    if (status)
        lex_close(f);
    return status;
}

void lex_close(struct lex_field *f)
{
    if (!f)
        return;
    pack_close(f->pack);
    *f = (struct lex_field){0};
}

const char *lex_term_text(const struct lex_field *f, uint64_t term, size_t *n)
{
    uint32_t begin = f->terms[term].bytes, end = f->terms[term + 1].bytes;
    if (begin > end || end > f->n_term_bytes)
        begin = end = 0; /* an altered table: an empty term, which no text has */
    *n = end - begin;
    return f->term_bytes + begin;
}

static int compare_terms(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = n_a < n_b ? n_a : n_b;
    int order = n ? memcmp(a, b, n) : 0;
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

uint64_t lex_find(const struct lex_field *f, const char *term, size_t n)
{
    uint64_t low = 0, high = f->n_terms;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        size_t n_text;
        const char *text = lex_term_text(f, middle, &n_text);
        int order = compare_terms(text, n_text, term, n);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return f->n_terms;
}

enum trawl_status lex_list(struct lex_list *list, const struct lex_field *f, uint64_t term)
{
    const struct lex_term *t = &f->terms[term], *next = t + 1;
    *list = (struct lex_list){.field = f, .df = t->df};
    if (t->postings > next->postings || next->postings > f->n_postings_bytes || t->df == 0 || t->df > f->n_rows)
        return wrong(f, "a term's postings lie outside the file");
    list->postings = f->postings + t->postings;
    list->bytes = (size_t)(next->postings - t->postings);
    list->n_blocks = (t->df + POSTINGS_BLOCK - 1) / POSTINGS_BLOCK;
    if (list->n_blocks > 1) {
        if (t->block > f->n_blocks || list->n_blocks > f->n_blocks - t->block || t->bound > next->bound ||
            next->bound > f->n_bounds)
            return wrong(f, "a term's blocks lie outside the file");
        list->blocks = f->blocks + t->block;
        list->bounds = f->bounds + t->bound;
        list->bounds_end = f->bounds + next->bound;
    }
    return pack_verify_range(f->pack, list->postings, list->bytes);
}

enum trawl_status lex_block(const struct lex_list *list, uint32_t i, struct postings_block *out)
{
    uint32_t n = i + 1 < list->n_blocks ? POSTINGS_BLOCK : list->df - i * POSTINGS_BLOCK;
    uint32_t previous = i ? list->blocks[i - 1].last_row : UINT32_MAX;
    size_t offset = list->blocks ? list->blocks[i].offset : 0;
    if (offset > list->bytes ||
        !postings_decode(out, list->postings + offset, list->bytes - offset, n, previous, (uint32_t)list->field->n_rows,
                         NULL) ||
        (list->blocks && out->rows[n - 1] != list->blocks[i].last_row))
        return wrong(list->field, "a block of postings makes no sense");
    return TRAWL_OK;
}

bool lex_bound(const struct lex_list *list, uint32_t i, struct pareto *out)
{
    const unsigned char *in = list->bounds, *end = list->bounds_end;
    if (i != UINT32_MAX) {
        if (list->blocks[i].bound > (size_t)(end - in))
            return false;
        in += list->blocks[i].bound;
    }
    uint64_t n, x, count = 0, length = 0;
    if (!varint_get(&n, &in, end) || n == 0 || n > PARETO_MAX)
        return false;
    out->n = (uint32_t)n;
    for (uint32_t j = 0; j < n; j++) {
        if (!varint_get(&x, &in, end) || x > UINT32_MAX)
            return false;
        count += x;
        if (!varint_get(&x, &in, end) || x > UINT32_MAX)
            return false;
        length += x;
        out->count[j] = (uint32_t)count;
        out->length[j] = (uint32_t)length;
    }
    return true;
}

/* ---- writing ---- */

/*
 * The best length of every count met, kept as a list in which counts and lengths both ascend. When it is full, two
 * neighbours become one that is at least as good as both.
 */
static void pareto_join_closest(struct pareto *p)
{
    uint32_t best = 0;
    double cost = 0.0;
    for (uint32_t i = 0; i + 1 < p->n; i++) {
        double c = ((double)p->count[i + 1] / p->count[i]) * ((p->length[i + 1] + 1.0) / (p->length[i] + 1.0));
        if (i == 0 || c < cost) {
            best = i;
            cost = c;
        }
    }
    p->count[best] = p->count[best + 1];
    memmove(p->count + best + 1, p->count + best + 2, (p->n - best - 2) * sizeof *p->count);
    memmove(p->length + best + 1, p->length + best + 2, (p->n - best - 2) * sizeof *p->length);
    p->n--;
}

static void pareto_add(struct pareto *p, uint32_t count, uint32_t length, uint32_t limit)
{
    uint32_t at = 0; /* first entry with at least this count */
    while (at < p->n && p->count[at] < count)
        at++;
    if (at < p->n && p->length[at] <= length)
        return;
    uint32_t from = at; /* entries before `at` that are no shorter are beaten, and one of equal count */
    while (from > 0 && p->length[from - 1] >= length)
        from--;
    uint32_t to = at < p->n && p->count[at] == count ? at + 1 : at;
    if (from == to && p->n == limit) {
        pareto_join_closest(p);
        pareto_add(p, count, length, limit);
        return;
    }
    memmove(p->count + from + 1, p->count + to, (p->n - to) * sizeof *p->count);
    memmove(p->length + from + 1, p->length + to, (p->n - to) * sizeof *p->length);
    p->count[from] = count;
    p->length[from] = length;
    p->n = p->n - (to - from) + 1;
}

enum { BLOCK_PARETO = 6, TERM_PARETO = PARETO_MAX - 1 };

struct lex_writer {
    struct pack_writer *pack;
    const uint32_t *lengths;
    uint32_t n_rows;
    struct lex_meta meta;
    struct buf terms, term_bytes, blocks, bounds; /* chunks in the making */
    uint64_t postings;                            /* bytes written */
    /* the present term */
    struct lex_term term;
    size_t term_name; /* where its bytes begin */
    struct buf bytes, term_blocks, sets;
    struct postings_block block;
    struct pareto set, term_set;
    uint32_t previous;
};

enum trawl_status lex_writer_new(struct lex_writer **out, const char *path, const uint32_t *lengths, uint32_t n_rows)
{
    *out = NULL;
    struct lex_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return mem_status();
    w->lengths = lengths;
    w->n_rows = n_rows;
    w->meta.n_rows = n_rows;
    for (uint32_t i = 0; i < n_rows; i++)
        w->meta.total_length += lengths[i];
    enum trawl_status status = pack_create(&w->pack, path, "LEXF", LEXF_VERSION);
    if (!status)
        status = pack_chunk_begin(w->pack, "postings");
    if (status)
        lex_writer_abort(&w);
    *out = w;
    return status;
}

enum trawl_status lex_writer_term(struct lex_writer *w, const char *term, size_t n)
{
    if (w->term_bytes.n + n > UINT32_MAX || w->meta.n_terms >= UINT32_MAX - 1)
        return fail(TRAWL_LIMIT, "more distinct terms than a segment can hold (index with a smaller --memory)");
    w->term = (struct lex_term){.postings = w->postings,
                                .bytes = (uint32_t)w->term_bytes.n,
                                .block = (uint32_t)(w->blocks.n / sizeof(struct lex_block)),
                                .bound = (uint32_t)w->bounds.n};
    w->term_name = w->term_bytes.n;
    w->previous = UINT32_MAX;
    w->block.n = 0;
    w->set.n = w->term_set.n = 0;
    buf_reset(&w->bytes);
    buf_reset(&w->term_blocks);
    buf_reset(&w->sets);
    return buf_append(&w->term_bytes, term, n);
}

static enum trawl_status put_set(struct buf *out, const struct pareto *set)
{
    unsigned char bytes[10 * (1 + 2 * PARETO_MAX)];
    size_t n = varint_put(bytes, set->n);
    for (uint32_t i = 0; i < set->n; i++) {
        n += varint_put(bytes + n, set->count[i] - (i ? set->count[i - 1] : 0));
        n += varint_put(bytes + n, set->length[i] - (i ? set->length[i - 1] : 0));
    }
    return buf_append(out, bytes, n);
}

static enum trawl_status end_block(struct lex_writer *w)
{
    struct postings_block *b = &w->block;
    struct lex_block entry = {b->rows[b->n - 1], (uint32_t)w->bytes.n, (uint32_t)w->sets.n};
    if (w->bytes.n > UINT32_MAX - POSTINGS_BYTES * 2)
        return fail(TRAWL_LIMIT, "a term has more than 4 GB of postings (index with a smaller --memory)");
    for (uint32_t i = 0; i < w->set.n; i++)
        pareto_add(&w->term_set, w->set.count[i], w->set.length[i], TERM_PARETO);
    TRY(buf_append(&w->term_blocks, &entry, sizeof entry));
    TRY(put_set(&w->sets, &w->set));
    TRY(postings_encode(&w->bytes, b, w->previous));
    w->previous = entry.last_row;
    b->n = 0;
    w->set.n = 0;
    return TRAWL_OK;
}

enum trawl_status lex_writer_posting(struct lex_writer *w, uint32_t row, uint32_t count)
{
    struct postings_block *b = &w->block;
    if (count > POSTINGS_COUNT_MAX)
        count = POSTINGS_COUNT_MAX;
    b->rows[b->n] = row;
    b->counts[b->n++] = count;
    w->term.df++;
    pareto_add(&w->set, count, w->lengths[row], BLOCK_PARETO);
    return b->n == POSTINGS_BLOCK ? end_block(w) : TRAWL_OK;
}

/* Blocks and bounds of the term; the whole term's set comes first, so the blocks' offsets move by its size. */
static enum trawl_status put_blocks(struct lex_writer *w)
{
    size_t begin = w->bounds.n;
    TRY(put_set(&w->bounds, &w->term_set));
    uint32_t shift = (uint32_t)(w->bounds.n - begin);
    for (size_t at = 0; at < w->term_blocks.n; at += sizeof(struct lex_block)) {
        struct lex_block entry;
        memcpy(&entry, w->term_blocks.data + at, sizeof entry);
        entry.bound += shift;
        TRY(buf_append(&w->blocks, &entry, sizeof entry));
    }
    if (w->bounds.n + w->sets.n > UINT32_MAX)
        return fail(TRAWL_LIMIT, "more than 4 GB of bounds (index with a smaller --memory)");
    return buf_append(&w->bounds, w->sets.data, w->sets.n);
}

enum trawl_status lex_writer_term_end(struct lex_writer *w)
{
    if (w->term.df == 0) {
        w->term_bytes.n = w->term_name;
        return TRAWL_OK;
    }
    if (w->block.n)
        TRY(end_block(w));
    if (w->term.df > POSTINGS_BLOCK)
        TRY(put_blocks(w));
    TRY(pack_write(w->pack, w->bytes.data, w->bytes.n));
    w->postings += w->bytes.n;
    w->meta.n_postings += w->term.df;
    w->meta.n_terms++;
    return buf_append(&w->terms, &w->term, sizeof w->term);
}

static enum trawl_status put_chunks(struct lex_writer *w)
{
    struct lex_term end = {.postings = w->postings,
                           .bytes = (uint32_t)w->term_bytes.n,
                           .block = (uint32_t)(w->blocks.n / sizeof(struct lex_block)),
                           .bound = (uint32_t)w->bounds.n};
    TRY(pack_chunk_end(w->pack));
    TRY(buf_append(&w->terms, &end, sizeof end));
    TRY(pack_add(w->pack, "meta", &w->meta, sizeof w->meta));
    TRY(pack_add(w->pack, "lengths", w->lengths, w->n_rows * sizeof *w->lengths));
    TRY(pack_add(w->pack, "terms", w->terms.data, w->terms.n));
    TRY(pack_add(w->pack, "term_bytes", w->term_bytes.data, w->term_bytes.n));
    TRY(pack_add(w->pack, "blocks", w->blocks.data, w->blocks.n));
    return pack_add(w->pack, "bounds", w->bounds.data, w->bounds.n);
}

enum trawl_status lex_writer_commit(struct lex_writer **w)
{
    enum trawl_status status = put_chunks(*w);
    if (!status)
        status = pack_commit(&(*w)->pack);
    lex_writer_abort(w);
    return status;
}

void lex_writer_abort(struct lex_writer **out)
{
    struct lex_writer *w = *out;
    if (!w)
        return;
    pack_abort(&w->pack);
    buf_release(&w->terms);
    buf_release(&w->term_bytes);
    buf_release(&w->blocks);
    buf_release(&w->bounds);
    buf_release(&w->bytes);
    buf_release(&w->term_blocks);
    buf_release(&w->sets);
    free(w);
    *out = NULL;
}
