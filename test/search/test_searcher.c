/*
 * The searcher on small indexes made here: documents split into passages, some replaced, some deleted, in several
 * segments. Expected hits come from slow twins in this file: all rows scored, everything sorted.
 */
#include "../heap_calls.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "search/flat.h"
#include "search/search.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { D = 24, DOCUMENTS = 400, PASSAGES_MAX = 4, QUERIES = 70, ROWS_MAX = 2 * DOCUMENTS * PASSAGES_MAX };

static char folder[] = "/tmp/trawl-searcher-XXXXXX";
static const char *const words[] = {"iron",  "lead",  "gold",  "zinc", "salt", "acid",  "heat",   "light",
                                    "sound", "cell",  "gene",  "drug", "dose", "risk",  "trial",  "rat",
                                    "mouse", "yeast", "virus", "host", "rare", "rarer", "rarest", "odd"};
enum { WORDS = sizeof words / sizeof *words };

struct scene {
    struct index *ix;
    char texts[QUERIES][256];
    float vectors[QUERIES][D];
    struct search_query queries[QUERIES];
    struct index_hit *hits, *expected, *lexical, *dense;
};

/* Low words are frequent, high ones rare. */
static size_t draw_text(char *out, struct rng *rng, size_t n)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        uint64_t a = rng_below(rng, WORDS), b = rng_below(rng, WORDS);
        used += (size_t)sprintf(out + used, "%s%s", i ? " " : "", words[a < b ? a : b]);
    }
    return used;
}

static void draw_vector(float *x, struct rng *rng)
{
    for (size_t d = 0; d < D; d++)
        x[d] = (float)rng_below(rng, 5) - 2.0f; /* whole numbers: many equal scores */
}

static void add_document(struct index_writer *w, size_t i, struct rng *rng, size_t passages)
{
    char id[16], text[PASSAGES_MAX * 256];
    float vectors[PASSAGES_MAX][D];
    const float *rows[PASSAGES_MAX][2];
    struct index_passage parts[PASSAGES_MAX];
    size_t used = 0, n = passages ? 1 + rng_below(rng, passages) : 1;
    for (size_t p = 0; p < n; p++) {
        size_t begin = used;
        used += draw_text(text + used, rng, rng_below(rng, 12));
        draw_vector(vectors[p], rng);
        if (rng_below(rng, 20) == 0)
            memset(vectors[p], 0, sizeof vectors[p]);
        rows[p][0] = NULL;
        rows[p][1] = vectors[p];
        parts[p] = (struct index_passage){text + begin, used - begin, (uint32_t)begin, (uint32_t)used, rows[p]};
    }
    struct document doc = {.id = id, .title = "", .text = text, .text_bytes = used};
    doc.id_bytes = (size_t)sprintf(id, "d%zu", i);
    if (passages)
        assert_int_equal(index_add_passages(w, &doc, parts, n), TRAWL_OK);
    else
        assert_int_equal(index_add(w, &doc, text, used, rows[0]), TRAWL_OK);
}

/* Two commits: the second replaces some documents, adds others and deletes a few. */
static void build(const char *path, enum index_vector_format format, size_t passages)
{
    struct index_field fields[2] = {
        {.name = "words", .kind = INDEX_LEXICAL, .analyzer = "ascii", .k1 = 0.9, .b = 0.4},
        {.name = "dots", .kind = INDEX_DENSE, .D = D, .format = format, .from_vectors = true}};
    struct index_writer_options options = {.settings = {.join = "space", .split = passages ? 10 : 0}};
    struct index_writer *w;
    struct rng rng = rng_stream(5, (uint32_t)passages, 2);
    bool found;
    assert_int_equal(index_writer_open(&w, path, fields, 2, &options), TRAWL_OK);
    for (size_t i = 0; i < DOCUMENTS; i++)
        add_document(w, i, &rng, passages);
    assert_int_equal(index_commit(&w), TRAWL_OK);
    options.append = true;
    assert_int_equal(index_writer_open(&w, path, NULL, 0, &options), TRAWL_OK);
    for (size_t i = DOCUMENTS - 40; i < DOCUMENTS + 60; i++)
        add_document(w, i, &rng, passages);
    for (size_t i = 3; i < 90; i += 9) {
        char id[16];
        assert_int_equal(index_remove(w, id, (size_t)sprintf(id, "d%zu", i), &found), TRAWL_OK);
        assert_true(found);
    }
    assert_int_equal(index_commit(&w), TRAWL_OK);
}

static void scene_open(struct scene *s, enum index_vector_format format, size_t passages)
{
    char path[96];
    struct rng rng = rng_stream(6, 1, 2);
    sprintf(path, "%s/%d-%zu", folder, (int)format, passages);
    if (access(path, F_OK) != 0)
        build(path, format, passages);
    assert_int_equal(index_open(&s->ix, path), TRAWL_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        size_t n = draw_text(s->texts[q], &rng, rng_below(&rng, 5));
        draw_vector(s->vectors[q], &rng);
        s->queries[q] = (struct search_query){s->texts[q], n, s->vectors[q]};
    }
    s->hits = mem_array(QUERIES * ROWS_MAX, sizeof *s->hits);
    s->expected = mem_array(ROWS_MAX, sizeof *s->expected);
    s->lexical = mem_array(ROWS_MAX, sizeof *s->lexical);
    s->dense = mem_array(ROWS_MAX, sizeof *s->dense);
}

static void scene_close(struct scene *s)
{
    free(s->hits);
    free(s->expected);
    free(s->lexical);
    free(s->dense);
    index_close(s->ix);
}

/* ---- slow twins ---- */

static int by_rank(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

static bool same_document(const struct index *ix, const struct index_hit *a, const struct index_hit *b)
{
    const char *x, *y;
    size_t n, m;
    assert_int_equal(index_document_id(ix, &x, &n, a->segment, a->row), TRAWL_OK);
    assert_int_equal(index_document_id(ix, &y, &m, b->segment, b->row), TRAWL_OK);
    return n == m && !memcmp(x, y, n);
}

/* First row of each document of a sorted list, at most `depth`. */
static size_t documents(const struct index *ix, struct index_hit *hits, size_t n, size_t depth)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < kept && !same_document(ix, &hits[j], &hits[i]))
            j++;
        if (j == kept)
            hits[kept++] = hits[i];
    }
    return kept < depth ? kept : depth;
}

static size_t lexical_twin(const struct scene *s, const struct search_query *query, size_t depth)
{
    struct lexical_searcher *lexical;
    size_t n;
    assert_int_equal(lexical_searcher_new(&lexical, s->ix, 0, ROWS_MAX), TRAWL_OK);
    assert_int_equal(lexical_search(lexical, s->lexical, &n, query->text, query->n, ROWS_MAX, 0.9, 0.4, true),
                     TRAWL_OK);
    lexical_searcher_free(lexical);
    return documents(s->ix, s->lexical, n, depth);
}

static size_t dense_twin(const struct scene *s, const struct search_query *query, size_t depth)
{
    struct flat_part parts[8];
    size_t n, n_parts = index_n_segments(s->ix);
    assert_true(n_parts <= 8);
    for (size_t i = 0; i < n_parts; i++) {
        const struct index_segment *segment = index_segment(s->ix, i);
        parts[i] = (struct flat_part){.deleted = segment->deleted, .ordinals = segment->ordinals};
        assert_int_equal(index_vectors(&parts[i].vectors, s->ix, i, 1), TRAWL_OK);
    }
    assert_int_equal(flat_search_plain(s->dense, &n, parts, n_parts, D, query->vector, 1, ROWS_MAX, 0), TRAWL_OK);
    return documents(s->ix, s->dense, n, depth);
}

static double part_of_side(const struct index_hit *hits, size_t n, size_t i, const struct search_options *o,
                           double weight)
{
    if (o->fusion == SEARCH_RRF)
        return 1.0 / (o->rrf_k + (double)(i + 1));
    double least = (double)hits[n - 1].score, most = (double)hits[0].score;
    return weight * (most == least ? 1.0 : ((double)hits[i].score - least) / (most - least));
}

/* Document by document of both lists: what each side gives it. */
static size_t fusion_twin(const struct scene *s, size_t n_lexical, size_t n_dense, const struct search_options *o)
{
    size_t n = 0;
    for (size_t i = 0; i < n_lexical + n_dense; i++) {
        bool second = i >= n_lexical;
        const struct index_hit *one = second ? &s->dense[i - n_lexical] : &s->lexical[i];
        size_t a = 0, b = 0;
        while (a < n_lexical && !same_document(s->ix, &s->lexical[a], one))
            a++;
        while (b < n_dense && !same_document(s->ix, &s->dense[b], one))
            b++;
        if (second && a < n_lexical)
            continue; /* was met in the first list */
        double score = a < n_lexical ? part_of_side(s->lexical, n_lexical, a, o, 1.0 - o->weight) : 0.0;
        score += b < n_dense ? part_of_side(s->dense, n_dense, b, o, o->weight) : 0.0;
        bool shows_dense = a == n_lexical || (b < n_dense && b < a);
        s->expected[n] = shows_dense ? s->dense[b] : s->lexical[a];
        s->expected[n++].score = (float)score;
    }
    qsort(s->expected, n, sizeof *s->expected, by_rank);
    return n < o->k ? n : o->k;
}

static void assert_hits(const struct index_hit *hits, size_t n, const struct index_hit *expected, size_t wanted)
{
    assert_int_equal(n, wanted);
    for (size_t i = 0; i < n; i++) {
        assert_true(hits[i].score == expected[i].score);
        assert_int_equal(hits[i].ordinal, expected[i].ordinal);
        assert_int_equal(hits[i].row, expected[i].row);
        assert_int_equal(hits[i].segment, expected[i].segment);
    }
}

static void compare(struct scene *s, struct search_options o)
{
    struct searcher *searcher;
    size_t n[QUERIES];
    o.vectors = o.mode != SEARCH_BM25;
    assert_int_equal(searcher_new(&searcher, s->ix, &o), TRAWL_OK);
    assert_int_equal(searcher_batch(searcher, s->hits, n, s->queries, QUERIES), TRAWL_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        const struct search_query *query = &s->queries[q];
        const struct index_hit *hits = s->hits + q * o.k;
        size_t preset = o.k > 100 ? o.k : 100, depth = o.mode != SEARCH_HYBRID ? o.k : o.depth ? o.depth : preset;
        size_t n_lexical = o.mode != SEARCH_DENSE ? lexical_twin(s, query, depth) : 0;
        size_t n_dense = o.mode != SEARCH_BM25 ? dense_twin(s, query, depth) : 0;
        if (o.mode == SEARCH_HYBRID)
            assert_hits(hits, n[q], s->expected, fusion_twin(s, n_lexical, n_dense, &o));
        else
            assert_hits(hits, n[q], o.mode == SEARCH_BM25 ? s->lexical : s->dense, n_lexical + n_dense);
    }
    searcher_free(searcher);
}

static void for_each_mode(size_t passages, size_t k, size_t depth)
{
    struct scene s;
    struct search_options o = search_defaults();
    scene_open(&s, INDEX_VEC_F32, passages);
    o.k = k;
    o.depth = depth;
    for (o.mode = SEARCH_BM25; o.mode <= SEARCH_HYBRID; o.mode++)
        compare(&s, o);
    o.mode = SEARCH_HYBRID;
    o.fusion = SEARCH_WEIGHTED;
    o.weight = 0.3;
    compare(&s, o);
    scene_close(&s);
}

static void documents_are_found_as_by_the_twins(void **unused)
{
    (void)unused;
    for_each_mode(0, 10, 0);
    for_each_mode(0, 7, 5);
    for_each_mode(0, DOCUMENTS + 60, 0);
}

static void split_documents_are_found_by_their_best_passage(void **unused)
{
    (void)unused;
    for_each_mode(PASSAGES_MAX, 10, 0);
    for_each_mode(PASSAGES_MAX, 1, 1);
    for_each_mode(PASSAGES_MAX, DOCUMENTS, 0);
}

static void one_query_finds_what_the_batch_finds(void **unused)
{
    (void)unused;
    struct scene s;
    struct searcher *searcher;
    struct search_options o = search_defaults();
    size_t n[QUERIES], n_one;
    scene_open(&s, INDEX_VEC_F32, PASSAGES_MAX);
    o.vectors = true;
    assert_int_equal(searcher_new(&searcher, s.ix, &o), TRAWL_OK);
    assert_int_equal(searcher_mode(searcher), SEARCH_HYBRID);
    assert_int_equal(searcher_batch(searcher, s.hits, n, s.queries, QUERIES), TRAWL_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        assert_int_equal(searcher_batch(searcher, s.expected, &n_one, &s.queries[q], 1), TRAWL_OK);
        assert_hits(s.hits + q * o.k, n[q], s.expected, n_one);
    }
    searcher_free(searcher);
    scene_close(&s);
}

static void any_number_of_threads_finds_the_same(void **unused)
{
    (void)unused;
    for (size_t threads = 1; threads <= 3; threads += 2) {
        pool_set_threads(threads);
        for_each_mode(PASSAGES_MAX, 10, 0);
    }
    pool_set_threads(0);
}

/* One searcher, warmed up by a batch, then batches and single queries. */
static void count_heap_calls(struct scene *s, enum search_mode mode)
{
    struct searcher *searcher;
    struct search_options o = search_defaults();
    size_t n[QUERIES];
    o.mode = mode;
    o.vectors = mode != SEARCH_BM25;
    assert_int_equal(searcher_new(&searcher, s->ix, &o), TRAWL_OK);
    assert_int_equal(searcher_mode(searcher), mode);
    assert_int_equal(searcher_batch(searcher, s->hits, n, s->queries, QUERIES), TRAWL_OK);
    assert_int_equal(searcher_batch(searcher, s->hits, n, s->queries, 1), TRAWL_OK);
    size_t before = heap_calls;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(searcher_batch(searcher, s->hits, n, s->queries, QUERIES - i), TRAWL_OK);
    for (size_t q = 0; q < QUERIES; q++)
        assert_int_equal(searcher_batch(searcher, s->hits, n, &s->queries[q], 1), TRAWL_OK);
    assert_int_equal(heap_calls, before);
    searcher_free(searcher);
}

static void no_mode_makes_heap_calls_after_warm_up(void **unused)
{
    (void)unused;
    if (!HEAP_CALLS_COUNTED)
        skip(); /* the sanitizer has its own allocator */
    struct scene s;
    pool_set_threads(1); /* so that the first batch warms up every worker */
    scene_open(&s, INDEX_VEC_F32, PASSAGES_MAX);
    for (enum search_mode mode = SEARCH_BM25; mode <= SEARCH_HYBRID; mode++)
        count_heap_calls(&s, mode);
    scene_close(&s);
    pool_set_threads(0);
}

static void int8_rescored_is_near_f32(void **unused)
{
    (void)unused;
    struct scene s;
    struct searcher *searcher;
    struct search_options o = search_defaults();
    size_t n[QUERIES], same = 0;
    o.vectors = true;
    o.mode = SEARCH_DENSE;
    scene_open(&s, INDEX_VEC_INT8, 0);
    assert_int_equal(searcher_new(&searcher, s.ix, &o), TRAWL_OK);
    assert_int_equal(searcher_batch(searcher, s.hits, n, s.queries, QUERIES), TRAWL_OK);
    searcher_free(searcher);
    for (size_t q = 0; q < QUERIES; q++) {
        size_t all = dense_twin(&s, &s.queries[q], ROWS_MAX); /* every candidate scored again: f32 order */
        assert_true(all >= 10);
        for (size_t i = 0; i < n[q]; i++)
            same += s.hits[q * o.k + i].ordinal == s.dense[i].ordinal;
    }
    assert_true(same >= QUERIES * 10 * 99 / 100);
    scene_close(&s);
}

static void empty_text_and_zero_vector_have_no_hits(void **unused)
{
    (void)unused;
    struct scene s;
    struct searcher *searcher;
    struct search_options o = search_defaults();
    static const float zero[D];
    size_t n = 9;
    scene_open(&s, INDEX_VEC_F32, 0);
    o.mode = SEARCH_BM25;
    assert_int_equal(searcher_new(&searcher, s.ix, &o), TRAWL_OK);
    assert_int_equal(searcher_batch(searcher, s.hits, &n, &(struct search_query){.text = " \n", .n = 2}, 1), TRAWL_OK);
    assert_int_equal(n, 0);
    searcher_free(searcher);
    o.mode = SEARCH_DENSE;
    o.vectors = o.no_text = true;
    assert_int_equal(searcher_new(&searcher, s.ix, &o), TRAWL_OK);
    n = 9;
    assert_int_equal(searcher_batch(searcher, s.hits, &n, &(struct search_query){.vector = zero}, 1), TRAWL_OK);
    assert_int_equal(n, 0);
    searcher_free(searcher);
    scene_close(&s);
}

static void refused(const struct index *ix, struct search_options o, enum trawl_status status, const char *says)
{
    struct searcher *searcher;
    assert_int_equal(searcher_new(&searcher, ix, &o), status);
    assert_null(searcher);
    assert_non_null(strstr(trawl_message(), says));
}

static void wrong_wishes_are_refused(void **unused)
{
    (void)unused;
    struct scene s;
    struct search_options o = search_defaults(), bad;
    scene_open(&s, INDEX_VEC_F32, 0);
    bad = o;
    bad.k = 0;
    refused(s.ix, bad, TRAWL_USAGE, "--k");
    bad = o;
    bad.weight = 1.5;
    refused(s.ix, bad, TRAWL_USAGE, "1.5");
    bad = o;
    bad.rrf_k = NAN;
    refused(s.ix, bad, TRAWL_USAGE, "fusion");
    bad = o;
    bad.lexical_field = "nothing";
    refused(s.ix, bad, TRAWL_NOT_FOUND, "words");
    bad = o;
    bad.vectors = bad.no_text = true;
    bad.mode = SEARCH_HYBRID;
    refused(s.ix, bad, TRAWL_USAGE, "text");
    refused(s.ix, o, TRAWL_USAGE, "--model"); /* the dense field says no model */
    scene_close(&s);
}

static void vector_that_is_not_finite_is_refused(void **unused)
{
    (void)unused;
    struct scene s;
    struct searcher *searcher;
    struct search_options o = search_defaults();
    size_t n[3];
    scene_open(&s, INDEX_VEC_F32, 0);
    o.vectors = true;
    s.vectors[1][5] = NAN;
    assert_int_equal(searcher_new(&searcher, s.ix, &o), TRAWL_OK);
    assert_int_equal(searcher_batch(searcher, s.hits, n, s.queries, 3), TRAWL_FORMAT);
    assert_non_null(strstr(trawl_message(), "query 2"));
    searcher_free(searcher);
    scene_close(&s);
}

static int set_up(void **unused)
{
    (void)unused;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **unused)
{
    (void)unused;
    return file_remove_tree(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_found_as_by_the_twins),
        cmocka_unit_test(split_documents_are_found_by_their_best_passage),
        cmocka_unit_test(one_query_finds_what_the_batch_finds),
        cmocka_unit_test(any_number_of_threads_finds_the_same),
        cmocka_unit_test(no_mode_makes_heap_calls_after_warm_up),
        cmocka_unit_test(int8_rescored_is_near_f32),
        cmocka_unit_test(empty_text_and_zero_vector_have_no_hits),
        cmocka_unit_test(wrong_wishes_are_refused),
        cmocka_unit_test(vector_that_is_not_finite_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
