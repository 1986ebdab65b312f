/* Tensor formats against gguf-py (test/data/formats, made by tools/make_format_vectors.py). */
#include "math/format.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void *slurp(const char *name, const char *extension, size_t *n)
{
    char path[1024];
    const char *source = getenv("TRAWL_SOURCE");
    snprintf(path, sizeof path, "%s/test/data/formats/%s.%s", source ? source : ".", name, extension);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *data = malloc(1 << 16);
    assert_non_null(data);
    *n = fread(data, 1, 1 << 16, f);
    fclose(f);
    return data;
}

static void every_format_is_bit_exact_at_any_alignment(void **state)
{
    (void)state;
    for (int format = 0; format < FORMAT_COUNT; format++) {
        size_t in_bytes, want_bytes;
        char *in = slurp(format_name(format), "in", &in_bytes);
        float *want = slurp(format_name(format), "f32", &want_bytes);
        size_t n = want_bytes / sizeof *want;
        assert_int_equal(n, 1024);
        assert_int_equal(format_row_bytes(format, n), in_bytes);
        float *out = malloc(want_bytes);
        memmove(in + 1, in, in_bytes);
        format_to_f32(out, in + 1, format, n);
        assert_memory_equal(out, want, want_bytes);
        free(in), free(want), free(out);
    }
}

static void rows_that_are_no_whole_blocks_have_no_size(void **state)
{
    (void)state;
    assert_int_equal(format_row_bytes(FORMAT_Q4_0, 33), 0);
    assert_int_equal(format_row_bytes(FORMAT_Q6_K, 128), 0);
    assert_int_equal(format_row_bytes(FORMAT_F32, SIZE_MAX / 2), 0);
    assert_int_equal(format_row_bytes(FORMAT_Q6_K, 512), 420);
}

static float half_by_definition(unsigned h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    float x = exponent ? ldexpf((float)(mantissa + 1024), exponent - 25) : ldexpf((float)mantissa, -24);
    return h & 0x8000 ? -x : x;
}

static void halves_convert_by_definition_and_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        float x = half_by_definition(h), next = h == 0x7bff ? 65536.0f : half_by_definition(h + 1);
        float middle = x + (next - x) / 2;
        assert_true(f16_to_f32((uint16_t)h) == x);
        assert_true(f16_to_f32((uint16_t)(h | 0x8000)) == -x);
        assert_int_equal(f16_from_f32(x), h);
        assert_int_equal(f16_from_f32(-x), h | 0x8000);
        assert_int_equal(f16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_true(isinf(f16_to_f32(0x7c00)) && isnan(f16_to_f32(0x7c01)) && isnan(f16_to_f32(0xffff)));
    assert_int_equal(f16_from_f32(INFINITY), 0x7c00);
    assert_int_equal(f16_from_f32(1e30f), 0x7c00);
    assert_true(isnan(f16_to_f32(f16_from_f32(NAN))));
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 0x7f80; b++) {
        float x = bf16_to_f32((uint16_t)b), next = bf16_to_f32((uint16_t)(b + 1));
        float middle = b == 0x7f7f ? ldexpf(511, 119) : x + (next - x) / 2;
        assert_int_equal(bf16_from_f32(x), b);
        assert_int_equal(bf16_from_f32(-middle), (b & 1 ? b + 1 : b) | 0x8000);
        assert_int_equal(bf16_from_f32(nextafterf(middle, 0)), b);
        assert_int_equal(bf16_from_f32(nextafterf(middle, INFINITY)), b + 1);
    }
    uint32_t quiet_only_below = 0x7f800001;
    float nan;
    memcpy(&nan, &quiet_only_below, sizeof nan);
    assert_true(isnan(bf16_to_f32(bf16_from_f32(nan))));
    assert_int_equal(bf16_from_f32(INFINITY), 0x7f80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_bit_exact_at_any_alignment),
        cmocka_unit_test(rows_that_are_no_whole_blocks_have_no_size),
        cmocka_unit_test(halves_convert_by_definition_and_round_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
    };
    return cmocka_run_group_tests_name("math/format", tests, NULL, NULL);
}
