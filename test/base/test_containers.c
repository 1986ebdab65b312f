/* Map, top-k, UTF-8 and random numbers against slow twins and published values. */
#include "scratch.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/topk.h"
#include "base/utf8.h"
#include <math.h>

/* ---- map ---- */

static void map_gives_ids_in_order_of_insertion(void **state)
{
    (void)state;
    struct map map = {0};
    char key[32];
    uint32_t id;
    bool is_new;
    for (uint32_t i = 0; i < 20011; i++) {
        int n = snprintf(key, sizeof key, "key-%u", i * 7919);
        assert_ok(map_put(&map, key, (size_t)n, i * 3, &id, &is_new));
        assert_true(is_new);
        assert_int_equal(id, i);
    }
    for (uint32_t i = 0; i < 20011; i++) {
        size_t length;
        int n = snprintf(key, sizeof key, "key-%u", i * 7919);
        assert_int_equal(map_find(&map, key, (size_t)n), i);
        assert_int_equal(map.values[i], i * 3);
        assert_memory_equal(map_key(&map, i, &length), key, n);
        assert_int_equal(length, n);
    }
    assert_int_equal(map_find(&map, "key-", 4), MAP_NONE);
    map_release(&map);
}

static void map_keeps_the_first_value_of_a_key(void **state)
{
    (void)state;
    struct map map = {0};
    uint32_t id;
    bool is_new;
    assert_ok(map_put(&map, "a", 1, 1, &id, NULL));
    assert_ok(map_put(&map, "a", 1, 2, &id, &is_new));
    assert_false(is_new);
    assert_int_equal(map.values[id], 1);
    assert_int_equal(map.n, 1);
    map_release(&map);
}

static void map_takes_empty_keys_and_keys_with_nul(void **state)
{
    (void)state;
    struct map map = {0};
    uint32_t empty, one, two;
    assert_int_equal(map_find(&map, "", 0), MAP_NONE);
    assert_ok(map_put(&map, NULL, 0, 0, &empty, NULL));
    assert_ok(map_put(&map, "\0", 1, 0, &one, NULL));
    assert_ok(map_put(&map, "\0\0", 2, 0, &two, NULL));
    assert_int_equal(map_find(&map, "", 0), empty);
    assert_int_equal(map_find(&map, "\0", 1), one);
    assert_int_equal(map_find(&map, "\0\0", 2), two);
    assert_int_equal(map.n, 3);
    map_release(&map);
}

static void map_is_empty_after_reset(void **state)
{
    (void)state;
    struct map map = {0};
    uint32_t id;
    map_reset(&map);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(map_find(&map, "x", 1), MAP_NONE);
        assert_ok(map_put(&map, "y", 1, 0, &id, NULL));
        assert_ok(map_put(&map, "x", 1, 0, &id, NULL));
        assert_int_equal(id, 1);
        map_reset(&map);
    }
    map_release(&map);
}

/* ---- top-k ---- */

static int by_rank(const void *a, const void *b)
{
    const struct topk_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->ordinal > y->ordinal ? 1 : x->ordinal < y->ordinal ? -1 : 0;
}

/* Few different scores, so that ties are many; ordinals come in no order. */
static void topk_equals_a_full_sort(void **state)
{
    (void)state;
    static struct topk_hit all[2003];
    const size_t ks[] = {0, 1, 2, 3, 10, 1000, 2002, 2003, 5000};
    struct rng rng = rng_stream(1, 2, 3);
    for (size_t i = 0; i < 2003; i++)
        all[i] = (struct topk_hit){(float)rng_below(&rng, 50) - 25.0f, (uint32_t)i, (i * 1009) % 2003};
    for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
        struct topk top;
        struct topk_hit sorted[2003];
        assert_ok(topk_init(&top, 5000));
        topk_reset(&top, ks[j]);
        for (size_t i = 0; i < 2003; i++) {
            float floor = topk_floor(&top);
            bool entered = topk_push(&top, all[i].score, all[i].id, all[i].ordinal);
            assert_false(entered && all[i].score < floor);
        }
        memcpy(sorted, all, sizeof all);
        qsort(sorted, 2003, sizeof *sorted, by_rank);
        size_t n = topk_sort(&top);
        assert_int_equal(n, ks[j] < 2003 ? ks[j] : 2003);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(top.heap[i].ordinal, sorted[i].ordinal);
        topk_release(&top);
    }
}

/* ---- UTF-8 ---- */

static void utf8_round_trips_every_code_point(void **state)
{
    (void)state;
    char text[4];
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        size_t n = utf8_put(text, c), i = 0;
        assert_int_equal(utf8_invalid(text, n), n);
        assert_int_equal(utf8_next(text, n, &i), c);
        assert_int_equal(i, n);
    }
}

/* Tables 3-8 to 3-11 of the Unicode standard, version 15. */
static void utf8_replaces_maximal_subparts(void **state)
{
    (void)state;
    static const struct {
        const char *bad, *repaired;
    } cases[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFDA"},
        {"abcdefgh\xE2\x82", "abcdefgh\uFFFD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        assert_ok(utf8_repair(&out, cases[i].bad, strlen(cases[i].bad)));
        assert_string_equal(out.data, cases[i].repaired);
        assert_int_equal(utf8_invalid(out.data, out.n), out.n);
        buf_release(&out);
    }
}

static void utf8_names_the_first_malformed_byte_at_any_place(void **state)
{
    (void)state;
    char text[40];
    for (size_t n = 1; n < sizeof text; n++)
        for (size_t at = 0; at < n; at++) {
            memset(text, 'a', n);
            text[at] = (char)0xFF;
            assert_int_equal(utf8_invalid(text, n), at);
        }
}

/* ---- random numbers ---- */

/* Vectors of the Random123 distribution (kat_vectors, philox4x32, 10 rounds). */
static void rng_is_philox(void **state)
{
    (void)state;
    struct rng zero = rng_stream(0, 0, 0);
    assert_int_equal(rng_next(&zero), UINT64_C(0xe169c58d6627e8d5));
    assert_int_equal(rng_next(&zero), UINT64_C(0x9b00dbd8bc57ac4c));
}

static void rng_numbers_do_not_depend_on_draws_before(void **state)
{
    (void)state;
    struct rng a = rng_stream(42, 7, 1), b = rng_stream(42, 7, 1);
    for (int i = 0; i < 5; i++)
        (void)rng_next(&a);
    b.counter = 5;
    assert_int_equal(rng_next(&a), rng_next(&b));
    struct rng other = rng_stream(42, 7, 2);
    other.counter = 6;
    assert_int_not_equal(rng_next(&a), rng_next(&other));
}

static void rng_below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng rng = rng_stream(9, 0, 0);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_true(abs(counts[i] - 10000) < 500); /* 5 standard deviations are 463 */
    for (int i = 0; i < 100; i++)
        assert_true(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
    assert_int_equal(rng_below(&rng, 1), 0);
}

static void rng_normal_has_its_moments(void **state)
{
    (void)state;
    struct rng rng = rng_stream(5, 0, 0);
    double sum = 0, squares = 0, fourth = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&rng);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / N) < 0.012);         /* 5 / sqrt(N) */
    assert_true(fabs(squares / N - 1) < 0.016); /* 5 sqrt(2 / N) */
    assert_true(fabs(fourth / N - 3) < 0.11);   /* 5 sqrt(96 / N) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_gives_ids_in_order_of_insertion),
        cmocka_unit_test(map_keeps_the_first_value_of_a_key),
        cmocka_unit_test(map_takes_empty_keys_and_keys_with_nul),
        cmocka_unit_test(map_is_empty_after_reset),
        cmocka_unit_test(topk_equals_a_full_sort),
        cmocka_unit_test(utf8_round_trips_every_code_point),
        cmocka_unit_test(utf8_replaces_maximal_subparts),
        cmocka_unit_test(utf8_names_the_first_malformed_byte_at_any_place),
        cmocka_unit_test(rng_is_philox),
        cmocka_unit_test(rng_numbers_do_not_depend_on_draws_before),
        cmocka_unit_test(rng_below_stays_below_and_reaches_all),
        cmocka_unit_test(rng_normal_has_its_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
