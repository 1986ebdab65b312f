/*
 * Inverting texts in memory. Rows come in batches; a batch goes through two parallel steps:
 *
 *   1. groups of rows are analysed; each term goes to one of 16 shards by its hash (tokens: row, hash, bytes);
 *   2. each shard takes its tokens, group after group, into its own table of terms and postings.
 *
 * A shard sees its tokens in the order of the rows whatever the threads do, so the result is always the same. Postings
 * are varints in slices of a shard's pool, each slice twice as long as the one before; the last four bytes of a slice
 * name the next one.
 */
#include "index_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include "text/analyzer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { N_SHARDS = 16, GROUP_ROWS = 64, MAX_GROUPS = 256, SLICE_FIRST = 16, SLICE_MOST = 4096, LINK_BYTES = 4 };

struct token {
    uint32_t row, hash, offset, n; /* bytes at `offset` of the group's text */
};
struct tokens {
    struct token *items;
    size_t n, cap;
};
struct group {
    struct tokens shards[N_SHARDS];
    struct buf text;
    enum trawl_status status;
    char message[256];
};

struct term {
    uint32_t hash, name, name_bytes; /* in the shard's names */
    uint32_t first, at, end;         /* slices: the first, where to write, where the link begins */
    uint32_t slice_bytes;
    uint32_t previous, row, count; /* the open posting and the row before it */
};
struct shard {
    uint32_t *slots; /* number of a term + 1 */
    size_t slot_mask;
    struct term *terms;
    size_t n_terms, terms_cap;
    struct buf names;
    unsigned char *pool;
    size_t pool_n, pool_cap;
    uint32_t *order; /* terms by name, at a flush */
    enum trawl_status status;
    char message[256];
};

struct inverter {
    char analyzer[32];
    struct analyzer **analyzers; /* by worker */
    size_t n_analyzers;
    struct group *groups; /* (MAX_GROUPS) */
    struct shard shards[N_SHARDS];
    uint32_t *lengths;
    size_t n_rows, lengths_cap;
    uint64_t empty;
    /* the present batch */
    const struct text_piece *pieces;
    size_t n_pieces;
};

enum trawl_status inverter_new(struct inverter **out, const char *analyzer)
{
    *out = NULL;
    struct inverter *v = mem_array(1, sizeof *v);
    if (!v)
        return mem_status();
    enum trawl_status status = TRAWL_OK;
    snprintf(v->analyzer, sizeof v->analyzer, "%s", analyzer);
    v->n_analyzers = pool_threads();
    v->analyzers = mem_array(v->n_analyzers, sizeof *v->analyzers);
    v->groups = mem_array(MAX_GROUPS, sizeof *v->groups);
    if (!v->analyzers || !v->groups)
        status = mem_status();
    for (size_t i = 0; !status && i < v->n_analyzers; i++)
        status = analyzer_new(&v->analyzers[i], analyzer);
    if (status)
        inverter_free(v);
    else
        *out = v;
    return status;
}

static void shard_clear(struct shard *s)
{
    free(s->slots);
    free(s->terms);
    free(s->pool);
    free(s->order);
    buf_release(&s->names);
    *s = (struct shard){0};
}

void inverter_free(struct inverter *v)
{
    if (!v)
        return;
    for (size_t i = 0; v->analyzers && i < v->n_analyzers; i++)
        analyzer_free(v->analyzers[i]);
    for (size_t g = 0; v->groups && g < MAX_GROUPS; g++) {
        for (size_t s = 0; s < N_SHARDS; s++)
            free(v->groups[g].shards[s].items);
        buf_release(&v->groups[g].text);
    }
    for (size_t s = 0; s < N_SHARDS; s++)
        shard_clear(&v->shards[s]);
    free(v->analyzers);
    free(v->groups);
    free(v->lengths);
    free(v);
}

size_t inverter_bytes(const struct inverter *v)
{
    size_t bytes = v->n_rows * sizeof *v->lengths;
    for (size_t s = 0; s < N_SHARDS; s++) {
        const struct shard *shard = &v->shards[s];
        bytes += shard->pool_n + shard->names.n + shard->n_terms * sizeof *shard->terms;
        bytes += shard->slots ? (shard->slot_mask + 1) * sizeof *shard->slots : 0;
    }
    return bytes;
}

uint64_t inverter_empty(const struct inverter *v)
{
    return v->empty;
}

/* ---- step 1: analysis ---- */

struct analysis {
    struct group *group;
    uint32_t row, length;
};

static enum trawl_status take_term(void *ctx, const char *term, size_t n, uint32_t position, size_t begin, size_t end)
{
    struct analysis *a = ctx;
    (void)position, (void)begin, (void)end;
    uint32_t hash = (uint32_t)XXH3_64bits(term, n);
    struct tokens *to = &a->group->shards[hash % N_SHARDS];
    if (to->n == to->cap)
        TRY(mem_grow((void **)&to->items, &to->cap, to->n + 1, sizeof *to->items));
    if (a->group->text.n + n > UINT32_MAX)
        return fail(TRAWL_LIMIT, "a document of more than 4 GB cannot be indexed");
    to->items[to->n++] = (struct token){a->row, hash, (uint32_t)a->group->text.n, (uint32_t)n};
    a->length++;
    return buf_append(&a->group->text, term, n);
}

static enum trawl_status analyse_group(struct inverter *v, size_t g, struct analyzer *analyzer)
{
    struct group *group = &v->groups[g];
    size_t begin = g * GROUP_ROWS, end = begin + GROUP_ROWS < v->n_pieces ? begin + GROUP_ROWS : v->n_pieces;
    for (size_t s = 0; s < N_SHARDS; s++)
        group->shards[s].n = 0;
    buf_reset(&group->text);
    for (size_t i = begin; i < end; i++) {
        struct analysis a = {.group = group, .row = (uint32_t)(v->n_rows + i)};
        TRY(analyzer_run(analyzer, v->pieces[i].text, v->pieces[i].n, take_term, &a));
        v->lengths[v->n_rows + i] = a.length;
    }
    return TRAWL_OK;
}

static void analyse(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct inverter *v = ctx;
    for (size_t g = begin; g < end; g++) {
        struct group *group = &v->groups[g];
        group->status = analyse_group(v, g, v->analyzers[worker]);
        if (group->status)
            snprintf(group->message, sizeof group->message, "%s", trawl_message());
    }
}

/* ---- step 2: shards ---- */

static enum trawl_status grow_slots(struct shard *s)
{
    size_t n = s->slots ? (s->slot_mask + 1) * 2 : 1024;
    uint32_t *slots = mem_array(n, sizeof *slots);
    if (!slots)
        return mem_status();
    for (size_t t = 0; t < s->n_terms; t++) {
        size_t i = s->terms[t].hash / N_SHARDS & (n - 1);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)t + 1;
    }
    free(s->slots);
    s->slots = slots;
    s->slot_mask = n - 1;
    return TRAWL_OK;
}

static enum trawl_status take_slice(struct shard *s, uint32_t bytes, uint32_t *at)
{
    if (s->pool_n + bytes > UINT32_MAX)
        return fail(TRAWL_LIMIT, "more than 4 GB of postings in memory (index with a smaller --memory)");
    TRY(mem_grow((void **)&s->pool, &s->pool_cap, s->pool_n + bytes, 1));
    *at = (uint32_t)s->pool_n;
    s->pool_n += bytes;
    return TRAWL_OK;
}

static enum trawl_status put_byte(struct shard *s, struct term *t, unsigned char byte)
{
    if (t->at == t->end) {
        uint32_t bytes = t->slice_bytes < SLICE_MOST ? t->slice_bytes * 2 : SLICE_MOST, next = 0;
        TRY(take_slice(s, bytes, &next));
        memcpy(s->pool + t->end, &next, LINK_BYTES);
        t->slice_bytes = bytes;
        t->at = next;
        t->end = next + bytes - LINK_BYTES;
    }
    s->pool[t->at++] = byte;
    return TRAWL_OK;
}

/* The open posting as varints: (gap << 1 | count is 1), count where it is not. */
static enum trawl_status close_posting(struct shard *s, struct term *t)
{
    unsigned char bytes[20];
    size_t n = varint_put(bytes, (uint64_t)(uint32_t)(t->row - t->previous - 1) << 1 | (t->count == 1));
    if (t->count != 1)
        n += varint_put(bytes + n, t->count);
    for (size_t i = 0; i < n; i++)
        TRY(put_byte(s, t, bytes[i]));
    t->previous = t->row;
    return TRAWL_OK;
}

static enum trawl_status new_term(struct shard *s, const struct token *token, const char *text, uint32_t *number)
{
    if (s->names.n + token->n > UINT32_MAX)
        return fail(TRAWL_LIMIT, "more than 4 GB of distinct terms in memory (index with a smaller --memory)");
    TRY(mem_grow((void **)&s->terms, &s->terms_cap, s->n_terms + 1, sizeof *s->terms));
    uint32_t at = 0, name = (uint32_t)s->names.n;
    TRY(take_slice(s, SLICE_FIRST, &at));
    TRY(buf_append(&s->names, text, token->n));
    *number = (uint32_t)s->n_terms++;
    s->terms[*number] = (struct term){.hash = token->hash,
                                      .name = name,
                                      .name_bytes = token->n,
                                      .first = at,
                                      .at = at,
                                      .end = at + SLICE_FIRST - LINK_BYTES,
                                      .slice_bytes = SLICE_FIRST,
                                      .previous = UINT32_MAX,
                                      .row = token->row,
                                      .count = 0};
    return TRAWL_OK;
}

static enum trawl_status find_term(struct shard *s, const struct token *token, const char *text, struct term **out)
{
    if (!s->slots || s->n_terms * 2 > s->slot_mask)
        TRY(grow_slots(s));
    size_t i = token->hash / N_SHARDS & s->slot_mask;
    for (; s->slots[i]; i = (i + 1) & s->slot_mask) {
        struct term *t = &s->terms[s->slots[i] - 1];
        if (t->hash == token->hash && t->name_bytes == token->n &&
            memcmp(s->names.data + t->name, text, token->n) == 0) {
            *out = t;
            return TRAWL_OK;
        }
    }
    uint32_t number = 0;
    TRY(new_term(s, token, text, &number));
    s->slots[i] = number + 1;
    *out = &s->terms[number];
    return TRAWL_OK;
}

static enum trawl_status take_tokens(struct shard *s, const struct tokens *tokens, const char *text)
{
    for (size_t i = 0; i < tokens->n; i++) {
        const struct token *token = &tokens->items[i];
        struct term *t;
        TRY(find_term(s, token, text + token->offset, &t));
        if (t->row != token->row) {
            TRY(close_posting(s, t));
            t->row = token->row;
            t->count = 0;
        }
        t->count++;
    }
    return TRAWL_OK;
}

static void fill_shards(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct inverter *v = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct shard *s = &v->shards[i];
        for (size_t g = 0; !s->status && g * GROUP_ROWS < v->n_pieces; g++)
            s->status = take_tokens(s, &v->groups[g].shards[i], v->groups[g].text.data);
        if (s->status)
            snprintf(s->message, sizeof s->message, "%s", trawl_message());
    }
}

static enum trawl_status add_batch(struct inverter *v)
{
    size_t n_groups = (v->n_pieces + GROUP_ROWS - 1) / GROUP_ROWS;
    TRY(mem_grow((void **)&v->lengths, &v->lengths_cap, v->n_rows + v->n_pieces, sizeof *v->lengths));
    pool_run(n_groups, 1, analyse, v);
    for (size_t g = 0; g < n_groups; g++)
        if (v->groups[g].status)
            return fail(v->groups[g].status, "%s", v->groups[g].message);
    pool_run(N_SHARDS, 1, fill_shards, v);
    for (size_t s = 0; s < N_SHARDS; s++)
        if (v->shards[s].status)
            return fail(v->shards[s].status, "%s", v->shards[s].message);
    for (size_t i = 0; i < v->n_pieces; i++)
        v->empty += v->lengths[v->n_rows + i] == 0;
    v->n_rows += v->n_pieces;
    return TRAWL_OK;
}

enum trawl_status inverter_add(struct inverter *v, const struct text_piece *rows, size_t n)
{
    if (pool_threads() > v->n_analyzers)
        return fail(TRAWL_USAGE, "the number of threads grew while indexing");
    if (n > ROWS_MAX - v->n_rows)
        return fail(TRAWL_LIMIT, "more than %u rows in a segment", (unsigned)ROWS_MAX);
    for (size_t done = 0; done < n; done += v->n_pieces) {
        v->pieces = rows + done;
        v->n_pieces = n - done < (size_t)MAX_GROUPS * GROUP_ROWS ? n - done : (size_t)MAX_GROUPS * GROUP_ROWS;
        TRY(add_batch(v));
    }
    return TRAWL_OK;
}

/* ---- flushing ---- */

static int compare_names(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

static int compare_in_shard(const void *a, const void *b, void *ctx)
{
    const struct shard *s = ctx;
    const struct term *x = &s->terms[*(const uint32_t *)a], *y = &s->terms[*(const uint32_t *)b];
    return compare_names(s->names.data + x->name, x->name_bytes, s->names.data + y->name, y->name_bytes);
}

static void sort_shards(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct inverter *v = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct shard *s = &v->shards[i];
        for (size_t t = 0; t < s->n_terms; t++)
            s->order[t] = (uint32_t)t;
        qsort_r(s->order, s->n_terms, sizeof *s->order, compare_in_shard, s);
    }
}

/* Reads the bytes of a term's slices, the way they were written. */
struct slices {
    const struct shard *shard;
    uint32_t at, end, bytes;
};

static unsigned char get_byte(struct slices *r)
{
    if (r->at == r->end) {
        uint32_t next;
        memcpy(&next, r->shard->pool + r->end, LINK_BYTES);
        r->bytes = r->bytes < SLICE_MOST ? r->bytes * 2 : SLICE_MOST;
        r->at = next;
        r->end = next + r->bytes - LINK_BYTES;
    }
    return r->shard->pool[r->at++];
}

static uint64_t get_varint(struct slices *r)
{
    uint64_t x = 0;
    for (unsigned shift = 0;; shift += 7) {
        unsigned char c = get_byte(r);
        x |= (uint64_t)(c & 127) << shift;
        if (c < 128)
            return x;
    }
}

static enum trawl_status write_term(struct lex_writer *w, struct shard *s, struct term *t)
{
    uint32_t last = t->row, row = UINT32_MAX;
    TRY(close_posting(s, t));
    TRY(lex_writer_term(w, s->names.data + t->name, t->name_bytes));
    struct slices r = {s, t->first, t->first + SLICE_FIRST - LINK_BYTES, SLICE_FIRST};
    do {
        uint64_t head = get_varint(&r);
        row += (uint32_t)(head >> 1) + 1;
        TRY(lex_writer_posting(w, row, head & 1 ? 1 : (uint32_t)get_varint(&r)));
    } while (row != last);
    return lex_writer_term_end(w);
}

/* The shards' sorted terms, merged. */
static enum trawl_status write_terms(struct inverter *v, struct lex_writer *w)
{
    size_t next[N_SHARDS] = {0};
    for (;;) {
        size_t best = N_SHARDS;
        const char *name = NULL;
        size_t n_name = 0;
        for (size_t i = 0; i < N_SHARDS; i++) {
            struct shard *s = &v->shards[i];
            if (next[i] == s->n_terms)
                continue;
            const struct term *t = &s->terms[s->order[next[i]]];
            if (best == N_SHARDS || compare_names(s->names.data + t->name, t->name_bytes, name, n_name) < 0) {
                best = i;
                name = s->names.data + t->name;
                n_name = t->name_bytes;
            }
        }
        if (best == N_SHARDS)
            return TRAWL_OK;
        struct shard *s = &v->shards[best];
        TRY(write_term(w, s, &s->terms[s->order[next[best]++]]));
    }
}

enum trawl_status inverter_flush(struct inverter *v, const char *path)
{
    struct lex_writer *w;
    for (size_t i = 0; i < N_SHARDS; i++) {
        v->shards[i].order = mem_array(v->shards[i].n_terms, sizeof *v->shards[i].order);
        if (!v->shards[i].order)
            return mem_status();
    }
    pool_run(N_SHARDS, 1, sort_shards, v);
    TRY(lex_writer_new(&w, path, v->lengths, (uint32_t)v->n_rows));
    enum trawl_status status = write_terms(v, w);
    if (status)
        lex_writer_abort(&w);
    else
        status = lex_writer_commit(&w);
    for (size_t i = 0; i < N_SHARDS; i++)
        shard_clear(&v->shards[i]);
    v->n_rows = 0;
    return status;
}
