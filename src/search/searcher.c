/*
 * The searcher. A batch goes in three steps: vectors are given or encoded, together; the dense side is searched for all
 * queries at once, threads sharing the rows; then each query's lexical side and its fusion are one piece of work of a
 * thread. Where documents are split into passages, more rows are asked for until there are enough documents, so the
 * lists of documents are exact.
 */
#include "search.h"
#include "base/mem.h"
#include "base/log.h"
#include "base/pool.h"
#include "flat.h"
#include "fuse.h"
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BYTES = 64 << 20 }; /* of hits held at once */

/* What one thread searches with. */
struct worker {
    struct lexical_searcher *lexical;
    size_t lexical_k; /* the most it can be asked for */
    struct index_hit *rows;
    size_t rows_cap;
    struct fuser fuser;
};

struct failure {
    pthread_mutex_t lock;
    size_t query; /* the first one that failed, so that the message does not depend on threads */
    enum trawl_status status;
    char message[1024];
};

struct searcher {
    const struct index *ix;
    struct search_options options;
    enum search_mode mode;
    size_t lexical_field, dense_field; /* SIZE_MAX: not searched */
    size_t n_rows, D, batch;
    size_t wanted; /* documents wanted of each side */
    size_t rows;   /* rows asked for to get them */
    bool split;    /* documents have several rows */
    struct flat *flat;
    struct encoder *encoder;
    struct worker *workers;
    size_t n_workers;
    /* of the batch under way, room for `batch` queries */
    float *vectors;             /* (m,D) of those that are searched densely */
    size_t place[SEARCH_BATCH]; /* of each query in them, SIZE_MAX: none */
    struct text_view texts[SEARCH_BATCH];
    bool asked[SEARCH_BATCH];
    struct index_hit *dense; /* (m, dense_rows) */
    size_t dense_cap, dense_rows;
    size_t n_dense[SEARCH_BATCH]; /* (m) */
    struct failure failure;
};

struct search_options search_defaults(void)
{
    return (struct search_options){.k = 10, .rrf_k = 60.0, .weight = 0.5, .k1 = -1.0, .b = -1.0};
}

const char *search_mode_name(enum search_mode mode)
{
    static const char *const names[] = {"auto", "bm25", "dense", "hybrid"};
    return names[mode];
}

/* ---- what is searched ---- */

static size_t count_fields(const struct index *ix, enum index_field_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < index_n_fields(ix); i++)
        n += index_field(ix, i)->kind == kind;
    return n;
}

static enum trawl_status choose_mode(struct searcher *s)
{
    const struct search_options *o = &s->options;
    bool lexical = count_fields(s->ix, INDEX_LEXICAL) > 0 && !o->no_text, dense = count_fields(s->ix, INDEX_DENSE) > 0;
    s->mode = o->mode;
    if (s->mode == SEARCH_AUTO && o->lexical_field && !o->dense_field)
        s->mode = SEARCH_BM25;
    else if (s->mode == SEARCH_AUTO && o->dense_field && !o->lexical_field)
        s->mode = SEARCH_DENSE;
    else if (s->mode == SEARCH_AUTO)
        s->mode = lexical && dense ? SEARCH_HYBRID : dense ? SEARCH_DENSE : SEARCH_BM25;
    if (o->no_text && s->mode != SEARCH_DENSE)
        return fail(TRAWL_USAGE, "mode %s needs the text of the queries, and only vectors are given%s",
                    search_mode_name(s->mode), dense ? " (search with --mode dense)" : "");
    if (o->vectors && s->mode == SEARCH_BM25)
        return fail(TRAWL_USAGE, "'%s': query vectors are of no use to mode bm25", index_path(s->ix));
    return TRAWL_OK;
}

static enum trawl_status find_fields(struct searcher *s)
{
    s->lexical_field = s->dense_field = SIZE_MAX;
    if (s->mode != SEARCH_DENSE)
        TRY(index_find_field(s->ix, &s->lexical_field, INDEX_LEXICAL, s->options.lexical_field));
    if (s->mode != SEARCH_BM25)
        TRY(index_find_field(s->ix, &s->dense_field, INDEX_DENSE, s->options.dense_field));
    if (s->dense_field != SIZE_MAX)
        s->D = index_field(s->ix, s->dense_field)->D;
    return TRAWL_OK;
}

static enum trawl_status check_options(const struct search_options *o)
{
    if (o->k == 0)
        return fail(TRAWL_USAGE, "0 hits are wanted: give --k 1 or more");
    if (!isfinite(o->rrf_k) || o->rrf_k < 0.0)
        return fail(TRAWL_USAGE, "the constant of reciprocal rank fusion is %g: it cannot be negative", o->rrf_k);
    if (!(o->weight >= 0.0 && o->weight <= 1.0))
        return fail(TRAWL_USAGE, "the weight of the dense side is %g: it lies between 0 and 1", o->weight);
    if (isnan(o->k1) || isnan(o->b) || isinf(o->k1) || o->b > 1.0)
        return fail(TRAWL_USAGE, "k1 is %g and b is %g: k1 is a number, b at most 1", o->k1, o->b);
    return TRAWL_OK;
}

/* ---- the model of the queries ---- */

/* The record that queries must have, with what the encoder cannot choose taken from the encoder. */
static enum trawl_status check_model(const struct searcher *s, const struct index_field *field, const char *model)
{
    struct contract given = field->query;
    const struct contract *own = encoder_contract(s->encoder, ENCODER_QUERY);
    memcpy(given.model, own->model, sizeof given.model);
    memcpy(given.tokenizer, own->tokenizer, sizeof given.tokenizer);
    if (s->options.force)
        return TRAWL_OK;
    enum trawl_status status = contract_check(&field->query, &given, model);
    return status
               ? fail_context(status, "'%s' field '%s' (--force searches all the same)", index_path(s->ix), field->name)
               : TRAWL_OK;
}

static enum trawl_status open_model(struct searcher *s)
{
    const struct index_field *field = index_field(s->ix, s->dense_field);
    const char *model = s->options.model;
    if (!model && field->has_contract)
        model = field->query.model_name;
    if (!model || !*model)
        return fail(TRAWL_USAGE,
                    "'%s' field '%s' does not say which model made its vectors: give --model, query "
                    "vectors, or --mode bm25",
                    index_path(s->ix), field->name);
    struct encoder_options options = {.precision = s->options.precision ? s->options.precision : "auto"};
    enum trawl_status status = encoder_open(&s->encoder, model, &options);
    if (status && model != s->options.model)
        return fail_context(status, "'%s' field '%s' needs its model (--model says where it is now)", index_path(s->ix),
                            field->name);
    TRY(status);
    if (field->has_contract) {
        TRY(check_model(s, field, model));
        TRY(encoder_set_contract(s->encoder, ENCODER_QUERY, &field->query));
    } else
        log_warn("'%s' field '%s' has no contract: queries are encoded as '%s' does by default, unchecked",
                 index_path(s->ix), field->name, model);
    size_t dims = encoder_contract(s->encoder, ENCODER_QUERY)->dims;
    if (dims != s->D)
        return fail(TRAWL_MISMATCH, "'%s' field '%s' has %zu dimensions, queries of '%s' have %zu", index_path(s->ix),
                    field->name, s->D, model, dims);
    return TRAWL_OK;
}

/* ---- life ---- */

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void measure(struct searcher *s)
{
    for (size_t i = 0; i < index_n_segments(s->ix); i++) {
        s->n_rows += index_segment(s->ix, i)->n;
        s->split |= index_segment(s->ix, i)->documents != NULL;
    }
    size_t k = s->options.k, depth = s->options.depth;
    s->wanted = k;
    if (s->mode == SEARCH_HYBRID) {
        size_t preset = k > 100 ? k : 100;
        s->wanted = depth ? depth : preset;
    }
    s->wanted = at_most(s->wanted, s->n_rows ? s->n_rows : 1);
    s->rows = at_most(s->split ? 2 * s->wanted : s->wanted, s->n_rows ? s->n_rows : 1);
    assert(s->rows > 0);
    size_t fit = LIST_BYTES / sizeof(struct index_hit) / s->rows;
    s->batch = fit < 1 ? 1 : at_most(fit, SEARCH_BATCH);
}

/* Rows that are scored again by f32 so that the best `rows` of them are right. */
static size_t rescored(const struct searcher *s, size_t rows)
{
    size_t preset = flat_default_depth(rows);
    if (s->mode == SEARCH_HYBRID || s->options.depth == 0)
        return preset;
    return s->options.depth > rows ? s->options.depth : rows;
}

static enum trawl_status open_flat(struct searcher *s)
{
    size_t n = index_n_segments(s->ix);
    struct flat_part *parts = mem_array(n, sizeof *parts);
    enum trawl_status status = parts ? TRAWL_OK : mem_status();
    for (size_t i = 0; i < n && status == TRAWL_OK; i++) {
        const struct index_segment *segment = index_segment(s->ix, i);
        parts[i].deleted = segment->deleted;
        parts[i].ordinals = segment->ordinals;
        status = index_vectors(&parts[i].vectors, s->ix, i, s->dense_field);
    }
    if (status == TRAWL_OK)
        status = flat_new(&s->flat, parts, n, s->D, s->batch, at_most(rescored(s, s->rows), s->n_rows));
    free(parts);
    if (status != TRAWL_OK)
        return status;
    s->vectors = mem_aligned(s->batch * s->D, sizeof *s->vectors);
    return s->vectors ? TRAWL_OK : mem_status();
}

static enum trawl_status reserve_lexical(struct searcher *s, struct worker *w, size_t rows)
{
    if (s->lexical_field == SIZE_MAX || rows <= w->lexical_k)
        return TRAWL_OK;
    lexical_searcher_free(w->lexical);
    w->lexical = NULL;
    w->lexical_k = 0;
    TRY(lexical_searcher_new(&w->lexical, s->ix, s->lexical_field, rows));
    w->lexical_k = rows;
    return mem_grow((void **)&w->rows, &w->rows_cap, rows, sizeof *w->rows);
}

enum trawl_status searcher_new(struct searcher **out, const struct index *ix, const struct search_options *options)
{
    enum trawl_status status = TRAWL_OK;
    *out = NULL;
    struct searcher *s = mem_array(1, sizeof *s);
    if (!s)
        return mem_status();
    s->ix = ix;
    s->options = *options;
    pthread_mutex_init(&s->failure.lock, NULL);
    TRY_OUT(check_options(options));
    TRY_OUT(choose_mode(s));
    TRY_OUT(find_fields(s));
    measure(s);
    if (s->dense_field != SIZE_MAX && !options->vectors)
        TRY_OUT(open_model(s));
    if (s->dense_field != SIZE_MAX)
        TRY_OUT(open_flat(s));
    s->workers = mem_array(pool_threads(), sizeof *s->workers);
    if (!s->workers) {
        status = mem_status();
        goto out;
    }
    s->n_workers = pool_threads();
    for (size_t i = 0; i < s->n_workers; i++) {
        fuser_init(&s->workers[i].fuser, ix);
        TRY_OUT(reserve_lexical(s, &s->workers[i], s->rows));
        TRY_OUT(fuser_reserve(&s->workers[i].fuser, s->rows, options->k < s->n_rows ? options->k : s->n_rows));
    }
    *out = s;
    return TRAWL_OK;
out:
    searcher_free(s);
    return status;
}

void searcher_free(struct searcher *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->workers && i < s->n_workers; i++) {
        lexical_searcher_free(s->workers[i].lexical);
        free(s->workers[i].rows);
        fuser_release(&s->workers[i].fuser);
    }
    free(s->workers);
    flat_free(s->flat);
    encoder_close(s->encoder);
    free(s->vectors);
    free(s->dense);
    pthread_mutex_destroy(&s->failure.lock);
    free(s);
}

enum search_mode searcher_mode(const struct searcher *s)
{
    return s->mode;
}

size_t searcher_lexical_field(const struct searcher *s)
{
    return s->lexical_field;
}

size_t searcher_dense_field(const struct searcher *s)
{
    return s->dense_field;
}

const struct encoder_counts *searcher_counts(const struct searcher *s)
{
    return s->encoder ? encoder_counts(s->encoder) : NULL;
}

/* ---- dense side ---- */

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!memchr(" \t\r\n\f\v", text[i], 6))
            return false;
    return true;
}

static enum trawl_status check_vector(const float *x, size_t D, size_t query, bool *zero)
{
    *zero = true;
    for (size_t d = 0; d < D; d++) {
        if (!isfinite(x[d]))
            return fail(TRAWL_FORMAT, "the vector of query %zu holds a number that is not finite (dimension %zu)",
                        query + 1, d);
        *zero &= x[d] == 0.0f;
    }
    return TRAWL_OK;
}

/* Gathers the vectors of the batch, without zero ones; *m: how many. */
static enum trawl_status gather_vectors(struct searcher *s, const struct search_query *queries, size_t n, size_t *m)
{
    size_t n_texts = 0;
    bool zero;
    if (s->encoder) {
        for (size_t q = 0; q < n; q++)
            if (s->asked[q])
                s->texts[n_texts++] = (struct text_view){queries[q].text, queries[q].n};
        TRY(encoder_encode(s->encoder, s->vectors, s->texts, n_texts, ENCODER_QUERY));
    }
    *m = 0;
    for (size_t q = 0, encoded = 0; q < n; q++) {
        s->place[q] = SIZE_MAX;
        if (!s->asked[q])
            continue;
        const float *x = s->encoder ? s->vectors + encoded++ * s->D : queries[q].vector;
        TRY(check_vector(x, s->D, q, &zero));
        if (zero)
            continue;
        memmove(s->vectors + *m * s->D, x, s->D * sizeof *x);
        s->place[q] = (*m)++;
    }
    return TRAWL_OK;
}

static bool too_few_documents(const struct searcher *s, size_t m, const size_t *n_rows, size_t rows)
{
    for (size_t q = 0; q < m; q++)
        if (s->n_dense[q] < s->wanted && n_rows[q] == rows)
            return true;
    return false;
}

static enum trawl_status search_dense(struct searcher *s, const struct search_query *queries, size_t n)
{
    size_t m, n_rows[SEARCH_BATCH];
    TRY(gather_vectors(s, queries, n, &m));
    for (size_t rows = s->rows;; rows = at_most(2 * rows, s->n_rows)) {
        TRY(mem_grow((void **)&s->dense, &s->dense_cap, s->batch * rows, sizeof *s->dense));
        TRY(fuser_reserve(&s->workers[0].fuser, rows, 0));
        TRY(flat_search(s->flat, s->dense, n_rows, s->vectors, m, rows, rescored(s, rows)));
        s->dense_rows = rows;
        for (size_t q = 0; q < m; q++) {
            size_t documents = fuser_documents(&s->workers[0].fuser, s->dense + q * rows, n_rows[q]);
            s->n_dense[q] = at_most(documents, s->wanted);
        }
        if (rows >= s->n_rows || !too_few_documents(s, m, n_rows, rows))
            return TRAWL_OK;
    }
}

/* ---- lexical side and fusion: one query, one thread ---- */

static enum trawl_status search_lexical(struct searcher *s, struct worker *w, const struct search_query *query,
                                        size_t *n)
{
    const struct index_field *field = index_field(s->ix, s->lexical_field);
    double k1 = s->options.k1 < 0.0 ? field->k1 : s->options.k1, b = s->options.b < 0.0 ? field->b : s->options.b;
    for (size_t rows = s->rows;; rows = at_most(2 * rows, s->n_rows)) {
        size_t found;
        TRY(reserve_lexical(s, w, rows));
        TRY(fuser_reserve(&w->fuser, rows, 0));
        TRY(lexical_search(w->lexical, w->rows, &found, query->text, query->n, rows, k1, b, false));
        *n = at_most(fuser_documents(&w->fuser, w->rows, found), s->wanted);
        if (*n == s->wanted || found < rows || rows >= s->n_rows)
            return TRAWL_OK;
    }
}

struct batch {
    struct searcher *s;
    struct index_hit *hits;
    size_t *n_hits;
    const struct search_query *queries;
};

static enum trawl_status search_one(struct batch *batch, size_t q, struct worker *w)
{
    struct searcher *s = batch->s;
    struct index_hit *out = batch->hits + q * s->options.k;
    size_t n_lexical = 0, n_dense = 0, place = s->dense_field != SIZE_MAX ? s->place[q] : SIZE_MAX;
    const struct index_hit *dense = NULL;
    if (!s->asked[q])
        return TRAWL_OK;
    if (s->lexical_field != SIZE_MAX)
        TRY(search_lexical(s, w, &batch->queries[q], &n_lexical));
    if (place != SIZE_MAX) {
        dense = s->dense + place * s->dense_rows;
        n_dense = s->n_dense[place];
    }
    if (s->mode == SEARCH_HYBRID) {
        size_t k = at_most(s->options.k, s->n_rows);
        batch->n_hits[q] = fuser_fuse(&w->fuser, out, k, w->rows, n_lexical, dense, n_dense, &s->options);
        return TRAWL_OK;
    }
    const struct index_hit *hits = s->mode == SEARCH_BM25 ? w->rows : dense;
    batch->n_hits[q] = s->mode == SEARCH_BM25 ? n_lexical : n_dense;
    if (batch->n_hits[q])
        memcpy(out, hits, batch->n_hits[q] * sizeof *out);
    return TRAWL_OK;
}

static void note_failure(struct failure *f, size_t query, enum trawl_status status)
{
    pthread_mutex_lock(&f->lock);
    if (!f->status || query < f->query) {
        f->status = status;
        f->query = query;
        size_t n = strnlen(trawl_message(), sizeof f->message - 1);
        memcpy(f->message, trawl_message(), n);
        f->message[n] = '\0';
    }
    pthread_mutex_unlock(&f->lock);
}

static void search_some(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct batch *batch = ctx;
    for (size_t q = begin; q < end; q++) {
        batch->n_hits[q] = 0;
        enum trawl_status status = search_one(batch, q, &batch->s->workers[worker]);
        if (status != TRAWL_OK)
            note_failure(&batch->s->failure, q, status);
    }
}

static enum trawl_status search_together(struct searcher *s, struct index_hit *hits, size_t *n_hits,
                                         const struct search_query *queries, size_t n)
{
    for (size_t q = 0; q < n; q++) {
        bool given = s->options.vectors && s->dense_field != SIZE_MAX;
        assert(!given || queries[q].vector);
        s->asked[q] = given || !is_blank(queries[q].text, queries[q].n);
    }
    if (s->dense_field != SIZE_MAX)
        TRY(search_dense(s, queries, n));
    struct batch batch = {.s = s, .hits = hits, .n_hits = n_hits, .queries = queries};
    s->failure.status = TRAWL_OK;
    pool_run(n, 1, search_some, &batch);
    return s->failure.status ? fail(s->failure.status, "%s", s->failure.message) : TRAWL_OK;
}

enum trawl_status searcher_batch(struct searcher *s, struct index_hit *hits, size_t *n_hits,
                                 const struct search_query *queries, size_t n)
{
    for (size_t q = 0; q < n; q += s->batch)
        TRY(search_together(s, hits + q * s->options.k, n_hits + q, queries + q, at_most(s->batch, n - q)));
    return TRAWL_OK;
}
