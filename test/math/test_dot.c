/*
 * Scoring kernels: every instruction set gives the bits of the plain twin, on sizes that fit no tile; the twin is near
 * the sum in double.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "math/dot.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_MAX = 19, Q_MAX = 83, D_MAX = 1024 };
static const size_t Qs[] = {1, 2, 3, 5, 6, 7, 8, 16, 17, 31, 33, 64, 70, 83};
static const char *const levels[] = {"ref", "avx2", "avx512-base", "avx512-vnni", "avx512"};

static struct scene {
    float *rows, *queries, *scores, *expected, *row_scales;
    int8_t *bytes;
    uint16_t *halves;
    struct dot_queries prepared;
} s;

static int set_up(void **unused)
{
    (void)unused;
    s.rows = mem_aligned(N_MAX * D_MAX + 1, sizeof(float));
    s.queries = mem_aligned(Q_MAX * D_MAX + 1, sizeof(float));
    s.scores = mem_aligned(N_MAX * Q_MAX, sizeof(float));
    s.expected = mem_aligned(N_MAX * Q_MAX, sizeof(float));
    s.row_scales = mem_aligned(N_MAX, sizeof(float));
    s.bytes = mem_aligned(N_MAX * D_MAX + 1, 1);
    s.halves = mem_aligned(N_MAX * D_MAX, sizeof(uint16_t));
    s.prepared.rows = mem_aligned(Q_MAX * D_MAX, 1);
    s.prepared.scales = mem_aligned(Q_MAX, sizeof(float));
    s.prepared.sums = mem_aligned(Q_MAX, sizeof(int32_t));
    s.prepared.packed = mem_aligned(16 * Q_MAX * D_MAX, 1);
    struct rng rng = rng_stream(3, 0, 1);
    for (size_t i = 0; i < N_MAX * D_MAX + 1; i++) {
        s.rows[i] = (float)rng_normal(&rng);
        s.bytes[i] = (int8_t)(rng_below(&rng, 256) - 128); /* -128 too: a file may hold it */
    }
    for (size_t i = 0; i < Q_MAX * D_MAX + 1; i++)
        s.queries[i] = (float)rng_normal(&rng);
    for (size_t i = 0; i < N_MAX; i++)
        s.row_scales[i] = (float)rng_uniform(&rng);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    void *all[] = {s.rows,   s.queries,       s.scores,          s.expected,      s.row_scales,     s.bytes,
                   s.halves, s.prepared.rows, s.prepared.scales, s.prepared.sums, s.prepared.packed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    return 0;
}

typedef void (*compare_fn)(const struct dot_kernels *kernels, size_t n, size_t Q, size_t D);

/* Exactly sized copies, so that AddressSanitizer sees any read beyond a row. */
static void *tight(const void *data, size_t bytes)
{
    void *copy = malloc(bytes);
    memcpy(copy, data, bytes);
    return copy;
}

static void compare_f32(const struct dot_kernels *kernels, size_t n, size_t Q, size_t D)
{
    float *rows = tight(s.rows + 1, n * D * sizeof(float)), *queries = tight(s.queries + 1, Q * D * sizeof(float));
    dot_kernels_ref.f32(s.expected, rows, n, queries, Q, D, false);
    kernels->f32(s.scores, rows, n, queries, Q, D, D % 2);
    assert_memory_equal(s.scores, s.expected, n * Q * sizeof(float));
    free(rows);
    free(queries);
}

static void compare_int8(const struct dot_kernels *kernels, size_t n, size_t Q, size_t D)
{
    int8_t *rows = tight(s.bytes + 1, n * D);
    float *scales = tight(s.row_scales, n * sizeof(float));
    s.prepared.Q = Q;
    s.prepared.D = D;
    dot_int8_prepare(&s.prepared, s.queries, kernels);
    assert_true(kernels->packed_bytes(Q, D) <= 16 * Q_MAX * D_MAX);
    dot_kernels_ref.int8(s.expected, rows, scales, n, &s.prepared);
    kernels->int8(s.scores, rows, scales, n, &s.prepared);
    assert_memory_equal(s.scores, s.expected, n * Q * sizeof(float));
    free(rows);
    free(scales);
}

static void compare_reach(const struct dot_kernels *kernels, size_t n, size_t Q, size_t D)
{
    static uint32_t where[N_MAX * Q_MAX], expected[N_MAX * Q_MAX];
    for (size_t i = 0; i < n * Q; i++)
        s.scores[i] = roundf(s.rows[i + D]);
    float *scores = tight(s.scores, n * Q * sizeof(float)), *floors = tight(s.scores, Q * sizeof(float));
    size_t wanted = dot_kernels_ref.reach(expected, scores, floors, n, Q);
    assert_int_equal(kernels->reach(where, scores, floors, n, Q), wanted);
    assert_memory_equal(where, expected, wanted * sizeof *where);
    free(scores);
    free(floors);
}

static void compare_widen(const struct dot_kernels *kernels, size_t n, size_t Q, size_t D)
{
    (void)Q;
    for (size_t i = 0; i < n * D; i++)
        s.halves[i] = (uint16_t)(i * 40503u);
    uint16_t *halves = tight(s.halves, n * D * sizeof *halves);
    float *wide = malloc(n * D * sizeof *wide), *expected = malloc(n * D * sizeof *wide);
    kernels->widen(wide, halves, n * D);
    dot_kernels_ref.widen(expected, halves, n * D);
    assert_memory_equal(wide, expected, n * D * sizeof *wide);
    free(halves);
    free(wide);
    free(expected);
}

static void on_every_level(compare_fn compare)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (isa_select(levels[i]) != TRAWL_OK)
            continue; /* beyond this machine */
        const struct dot_kernels *kernels = dot_kernels();
        for (size_t D = 1; D <= 130; D++)
            compare(kernels, 1 + D % N_MAX, Qs[D % (sizeof Qs / sizeof *Qs)], D);
        for (size_t j = 0; j < sizeof Qs / sizeof *Qs; j++)
            for (size_t n = 1; n <= N_MAX; n += 3) {
                compare(kernels, n, Qs[j], 37);
                compare(kernels, n, Qs[j], 384);
                compare(kernels, n, Qs[j], 768);
            }
    }
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

static void f32_has_the_bits_of_the_twin(void **unused)
{
    (void)unused;
    on_every_level(compare_f32);
}

static void int8_has_the_bits_of_the_twin(void **unused)
{
    (void)unused;
    on_every_level(compare_int8);
}

static void reach_finds_what_the_twin_finds(void **unused)
{
    (void)unused;
    on_every_level(compare_reach);
}

static void widen_is_exact(void **unused)
{
    (void)unused;
    on_every_level(compare_widen);
}

/* ceil(D/16) roundings in a lane and 4 between lanes, each at most 2^-24 of the sum of magnitudes. */
static void twin_is_near_the_sum_in_double(void **unused)
{
    (void)unused;
    for (size_t D = 1; D <= D_MAX; D += D < 130 ? 1 : 127) {
        dot_kernels_ref.f32(s.scores, s.rows, 1, s.queries, 1, D, false);
        double sum = 0.0, magnitude = 0.0;
        for (size_t d = 0; d < D; d++) {
            sum += (double)s.rows[d] * (double)s.queries[d];
            magnitude += fabs((double)s.rows[d] * (double)s.queries[d]);
        }
        assert_true(fabs(sum - (double)s.scores[0]) <= ((double)((D + 15) / 16) + 4.0) * ldexp(magnitude, -24));
    }
}

static void quantised_row_is_within_half_a_step(void **unused)
{
    (void)unused;
    int8_t row[384];
    float scale = dot_quantise(row, s.rows, 384), most = 0.0f;
    for (size_t d = 0; d < 384; d++) {
        most = fmaxf(most, fabsf(s.rows[d]));
        assert_true(fabsf(s.rows[d] - scale * (float)row[d]) <= 0.5001f * scale);
    }
    assert_true(scale == most / 127.0f);
}

static void zero_row_quantises_to_zero(void **unused)
{
    (void)unused;
    int8_t row[3] = {1, 1, 1};
    const float zero[3] = {0};
    assert_true(dot_quantise(row, zero, 3) == 0.0f);
    assert_int_equal(row[0] | row[1] | row[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_has_the_bits_of_the_twin),    cmocka_unit_test(int8_has_the_bits_of_the_twin),
        cmocka_unit_test(reach_finds_what_the_twin_finds), cmocka_unit_test(widen_is_exact),
        cmocka_unit_test(twin_is_near_the_sum_in_double),  cmocka_unit_test(quantised_row_is_within_half_a_step),
        cmocka_unit_test(zero_row_quantises_to_zero),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
