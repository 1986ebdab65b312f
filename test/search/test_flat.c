/* Flat search: the fast way finds what the plain one finds, hit by hit, ties included. */
#include "../heap_calls.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "math/dot.h"
#include "math/format.h"
#include "search/flat.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PARTS = 3, Q = FLAT_QUERIES };
static const size_t sizes[PARTS] = {701, 1, 2333};
enum { ROWS = 701 + 1 + 2333 };

/* A field in three parts. `coarse` rows hold few different numbers, so that many scores are equal. */
struct field {
    size_t D;
    float *rows, *queries, *scales;
    uint16_t *halves;
    int8_t *bytes;
    uint64_t *ordinals, *deleted, *zero;
    struct flat_part parts[PARTS];
};

static float draw(struct rng *rng, bool coarse)
{
    return coarse ? (float)rng_below(rng, 3) - 1.0f : (float)rng_normal(rng);
}

static void field_init(struct field *f, size_t D, enum index_vector_format format, bool coarse, bool rescore)
{
    struct rng rng = rng_stream(11, (uint32_t)D, coarse);
    *f = (struct field){.D = D};
    f->rows = mem_array(ROWS * D, sizeof *f->rows);
    f->queries = mem_array(Q * D, sizeof *f->queries);
    f->scales = mem_array(ROWS, sizeof *f->scales);
    f->halves = mem_array(ROWS * D, sizeof *f->halves);
    f->bytes = mem_array(ROWS * D, 1);
    f->ordinals = mem_array(ROWS, sizeof *f->ordinals);
    f->deleted = mem_array(ROWS / 64 + PARTS, sizeof *f->deleted);
    f->zero = mem_array(ROWS / 64 + PARTS, sizeof *f->zero);
    for (size_t i = 0; i < ROWS * D; i++) {
        f->rows[i] = draw(&rng, coarse);
        f->halves[i] = bf16_from_f32(f->rows[i]);
    }
    for (size_t i = 0; i < Q * D; i++)
        f->queries[i] = draw(&rng, coarse);
    for (size_t i = 0; i < ROWS; i++) {
        f->scales[i] = dot_quantise(f->bytes + i * D, f->rows + i * D, D);
        f->ordinals[i] = (ROWS - i) * 7 % ROWS; /* not the order of the rows; ROWS and 7 have no common factor */
    }
    for (size_t p = 0, first = 0, word = 0; p < PARTS; first += sizes[p], word += sizes[p] / 64 + 1, p++) {
        for (size_t i = 0; i < sizes[p] / 64 + 1; i++) {
            f->deleted[word + i] = rng_next(&rng) & rng_next(&rng);
            f->zero[word + i] = rng_next(&rng) & rng_next(&rng) & rng_next(&rng);
        }
        const void *rows = f->rows + first * D;
        if (format != INDEX_VEC_F32)
            rows = format == INDEX_VEC_BF16 ? (const void *)(f->halves + first * D) : f->bytes + first * D;
        f->parts[p] = (struct flat_part){.vectors = {.n = sizes[p],
                                                     .D = D,
                                                     .format = format,
                                                     .rows = rows,
                                                     .scales = f->scales + first,
                                                     .rescore = rescore ? f->rows + first * D : NULL,
                                                     .zero = p == 2 ? f->zero + word : NULL},
                                         .deleted = p != 1 ? f->deleted + word : NULL,
                                         .ordinals = f->ordinals + first};
    }
}

static void field_release(struct field *f)
{
    void *all[] = {f->rows, f->queries, f->scales, f->halves, f->bytes, f->ordinals, f->deleted, f->zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void assert_same_hits(const struct index_hit *a, size_t n_a, const struct index_hit *b, size_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        assert_true(a[i].score == b[i].score);
        assert_int_equal(a[i].ordinal, b[i].ordinal);
        assert_int_equal(a[i].segment, b[i].segment);
        assert_int_equal(a[i].row, b[i].row);
    }
}

/* Searches n_queries at a time, so that batches of any size are compared with the plain twin. */
static void compare(size_t D, enum index_vector_format format, bool coarse, bool rescore, size_t k, size_t n_queries)
{
    struct field field;
    struct flat *flat;
    field_init(&field, D, format, coarse, rescore);
    size_t depth = rescore ? 2 * k + 5 : 0, n[Q], n_plain[Q];
    struct index_hit *hits = mem_array(Q * k, sizeof *hits), *plain = mem_array(Q * k, sizeof *plain);
    assert_int_equal(flat_new(&flat, field.parts, PARTS, D, n_queries, 1), TRAWL_OK);
    for (size_t q = 0; q < Q; q += n_queries) {
        size_t some = Q - q < n_queries ? Q - q : n_queries;
        assert_int_equal(flat_search(flat, hits + q * k, n + q, field.queries + q * D, some, k, depth), TRAWL_OK);
    }
    assert_int_equal(flat_search_plain(plain, n_plain, field.parts, PARTS, D, field.queries, Q, k, depth), TRAWL_OK);
    for (size_t q = 0; q < Q; q++)
        assert_same_hits(hits + q * k, n[q], plain + q * k, n_plain[q]);
    flat_free(flat);
    free(hits);
    free(plain);
    field_release(&field);
}

static void for_all_formats(size_t D, bool coarse, size_t k, size_t n_queries)
{
    compare(D, INDEX_VEC_F32, coarse, false, k, n_queries);
    compare(D, INDEX_VEC_BF16, coarse, true, k, n_queries);
    compare(D, INDEX_VEC_BF16, coarse, false, k, n_queries);
    compare(D, INDEX_VEC_INT8, coarse, true, k, n_queries);
    compare(D, INDEX_VEC_INT8, coarse, false, k, n_queries);
}

static void batches_of_any_size_equal_the_twin(void **unused)
{
    (void)unused;
    const size_t batches[] = {1, 2, 5, 16, 63, 64};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        for_all_formats(37, false, 10, batches[i]);
}

static void ties_go_by_ordinal(void **unused)
{
    (void)unused;
    for_all_formats(5, true, 100, 64);
    for_all_formats(3, true, 7, 1);
}

static void more_hits_than_rows_are_all_rows(void **unused)
{
    (void)unused;
    for_all_formats(8, false, ROWS + 10, 64);
}

static void every_level_finds_the_same(void **unused)
{
    (void)unused;
    const char *const levels[] = {"ref", "avx2", "avx512-base", "avx512-vnni", "avx512"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (isa_select(levels[i]) == TRAWL_OK)
            for_all_formats(129, false, 10, 64);
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

static void any_number_of_threads_finds_the_same(void **unused)
{
    (void)unused;
    for (size_t threads = 1; threads <= 5; threads += 2) {
        pool_set_threads(threads);
        for_all_formats(16, true, 50, 64);
        for_all_formats(384, false, 10, 64);
    }
    pool_set_threads(0);
}

static void search_makes_no_heap_calls_after_the_first(void **unused)
{
    (void)unused;
    if (!HEAP_CALLS_COUNTED)
        skip(); /* the sanitizer has its own allocator */
    struct field field;
    struct flat *flat;
    static struct index_hit hits[Q * 10];
    size_t n[Q];
    field_init(&field, 64, INDEX_VEC_INT8, false, true);
    assert_int_equal(flat_new(&flat, field.parts, PARTS, 64, Q, 100), TRAWL_OK);
    assert_int_equal(flat_search(flat, hits, n, field.queries, Q, 10, 100), TRAWL_OK);
    size_t before = heap_calls;
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(flat_search(flat, hits, n, field.queries, Q - i, 10, 100), TRAWL_OK);
    assert_int_equal(heap_calls, before);
    flat_free(flat);
    field_release(&field);
}

static void rows_too_long_are_refused(void **unused)
{
    (void)unused;
    struct flat *flat;
    assert_int_equal(flat_new(&flat, NULL, 0, DOT_D_MAX + 1, 1, 1), TRAWL_LIMIT);
    assert_null(flat);
}

static void no_rows_give_no_hits(void **unused)
{
    (void)unused;
    struct flat *flat;
    struct index_hit hit;
    size_t n = 9;
    const float query[4] = {1.0f};
    assert_int_equal(flat_new(&flat, NULL, 0, 4, 1, 1), TRAWL_OK);
    assert_int_equal(flat_search(flat, &hit, &n, query, 1, 1, 0), TRAWL_OK);
    assert_int_equal(n, 0);
    flat_free(flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_of_any_size_equal_the_twin),
        cmocka_unit_test(ties_go_by_ordinal),
        cmocka_unit_test(more_hits_than_rows_are_all_rows),
        cmocka_unit_test(every_level_finds_the_same),
        cmocka_unit_test(any_number_of_threads_finds_the_same),
        cmocka_unit_test(search_makes_no_heap_calls_after_the_first),
        cmocka_unit_test(rows_too_long_are_refused),
        cmocka_unit_test(no_rows_give_no_hits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
