/* The vector kernels against the plain ones, on lengths with ugly tails, and the accuracy of their functions. */
#include "nn/kernels.h"
#include "math/format.h"
#include "math/isa.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 403 };
static const char *const levels[] = {"avx2", "avx512-base"};
enum { N_LEVELS = sizeof levels / sizeof *levels };

static void fill(float *x, size_t n, unsigned seed, float scale)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = scale * ((float)(seed >> 8) * 0x1p-23f - 1.0f);
    }
}

/* Sums of n terms in another order: a few ulp of the largest. */
static void assert_close(const float *got, const float *want, size_t n, float tolerance)
{
    float top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmaxf(top, fabsf(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= tolerance * top))
            fail_msg("entry %zu is %g, expected %g (largest %g)", i, (double)got[i], (double)want[i], (double)top);
}

/* Rows of products in f32 and in s32, with and without bias. */
static void check_products(const struct nn_kernels *k, size_t n)
{
    const struct nn_kernels *ref = &nn_kernels_ref;
    float x[N], scale[N], b[N], got[N], want[N];
    int32_t acc[N], zero[N];
    uint16_t h[N], g[N];
    fill(x, n, 4, 3), fill(scale, n, 5, 1e-3f), fill(b, n, 6, 1);
    for (size_t i = 0; i < n; i++)
        acc[i] = (int32_t)(x[i] * 1e6f), zero[i] = (int32_t)(b[i] * 1e5f);
    for (int form = 0; form < 4; form++) {
        const struct nn_acc a = {.acc = form & 1 ? (void *)acc : (void *)x,
                                 .zero = form & 1 ? zero : NULL,
                                 .scale = scale,
                                 .bias = form & 2 ? b : NULL,
                                 .row_scale = 0.03f};
        k->take(got, &a, n), ref->take(want, &a, n);
        assert_memory_equal(got, want, n * sizeof *got);
        fill(got, n, 7, 1), fill(want, n, 7, 1);
        k->join(got, &a, n), ref->join(want, &a, n);
        assert_memory_equal(got, want, n * sizeof *got);
        k->take_heads(h, n / 3, &a, 3, n / 3), ref->take_heads(g, n / 3, &a, 3, n / 3);
        assert_memory_equal(h, g, n / 3 * 3 * sizeof *h);
    }
}

static void check_rows(const struct nn_kernels *k, size_t n)
{
    const struct nn_kernels *ref = &nn_kernels_ref;
    float x[N], w[N], b[N], got[N], want[N];
    uint8_t q[N], p[N];
    uint16_t h[N], g[N];
    fill(x, n, 1, 3), fill(w, n, 2, 1), fill(b, n, 3, 1);
    k->rms_norm(got, x, w, n, 1e-5f), ref->rms_norm(want, x, w, n, 1e-5f);
    assert_close(got, want, n, 1e-6f);
    k->layer_norm(got, x, w, b, n, 1e-12f), ref->layer_norm(want, x, w, b, n, 1e-12f);
    assert_close(got, want, n, 2e-6f);
    memcpy(got, x, sizeof got), memcpy(want, x, sizeof want);
    k->rope(got, w, b, n / 2 * 2), ref->rope(want, w, b, n / 2 * 2);
    assert_memory_equal(got, want, n * sizeof *got);
    k->to_bf16(h, x, n), ref->to_bf16(g, x, n);
    assert_memory_equal(h, g, n * sizeof *h);
    k->from_bf16(got, h, n), ref->from_bf16(want, h, n);
    assert_memory_equal(got, want, n * sizeof *got);
    assert_true(k->top(x, n) == ref->top(x, n));
    k->to_u8(q, x, n, ref->top(x, n)), ref->to_u8(p, x, n, ref->top(x, n));
    assert_memory_equal(q, p, n);
    for (int activation = NN_SILU; activation <= NN_RELU; activation++) {
        const enum nn_activation kind = (enum nn_activation)activation;
        const struct nn_acc a = {.acc = x, .bias = w};
        for (size_t up_at = 0; up_at <= n / 2; up_at += n / 2) {
            k->activate(got, &a, up_at, n / 2, kind), ref->activate(want, &a, up_at, n / 2, kind);
            assert_close(got, want, n / 2, 4e-6f);
            k->middle_bf16(h, &a, up_at, n / 2, kind);
            float top = k->middle_f32(got, &a, up_at, n / 2, kind, 0.25f);
            assert_true(top == fmaxf(0.25f, ref->top(got, n / 2)));
            for (size_t i = 0; i < n / 2; i++) {
                assert_true(fabsf(bf16_to_f32(h[i]) - want[i]) <= 0.005f * fabsf(want[i]) + 3e-4f);
                assert_true(fabsf(got[i] - want[i]) <= 2e-4f * fabsf(want[i]) + 3e-4f);
            }
        }
    }
    check_products(k, n);
    memcpy(got, x, sizeof got), memcpy(want, x, sizeof want);
    size_t begin = n / 5, end = n - n / 7;
    float a = k->softmax(got, begin, end, n, 0.7f), c = ref->softmax(want, begin, end, n, 0.7f);
    assert_close(got, want, n, 1e-6f);
    assert_true(fabsf(a - c) <= 1e-6f * c);
}

static void vector_kernels_agree_with_the_plain_ones(void **state)
{
    (void)state;
    for (size_t l = 0; l < N_LEVELS; l++) {
        if (isa_select(levels[l]))
            continue;
        for (size_t n = 3; n <= N; n += 1 + n / 9)
            check_rows(nn_kernels(), n);
    }
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

/* Worst error over a dense sweep, printed; gelu by the rational erf is 1 ulp of erf times x away in its far tail. */
static void activations_keep_their_accuracy(void **state)
{
    (void)state;
    for (size_t l = 0; l < N_LEVELS; l++) {
        if (isa_select(levels[l]))
            continue;
        double worst_silu = 0, worst_gelu = 0;
        for (int i = -12000; i <= 12000; i++) {
            float x = (float)i * 1e-3f, silu, gelu;
            nn_kernels()->activate(&silu, &(struct nn_acc){.acc = &x}, 0, 1, NN_SILU);
            nn_kernels()->activate(&gelu, &(struct nn_acc){.acc = &x}, 0, 1, NN_GELU_ERF);
            double s = (double)x / (1 + exp(-(double)x)), g = 0.5 * (double)x * (1 + erf((double)x * sqrt(0.5)));
            worst_silu = fmax(worst_silu, fabs((double)silu - s) / (fabs(s) + 1e-30));
            worst_gelu = fmax(worst_gelu, fabs((double)gelu - g) / (1 + fabs(g)));
        }
        print_message("%s: silu %.2g relative, gelu %.2g of 1 + its value\n", levels[l], worst_silu, worst_gelu);
        assert_true(worst_silu < 4e-7 && worst_gelu < 1.2e-6);
    }
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

/* Every row and every grouping of rows gives the same bits. */
static void attention_rows_do_not_depend_on_their_group(void **state)
{
    (void)state;
    enum { D = 40, ROWS = 29, KEYS = 48 };
    static float q[ROWS * D], panels[KEYS * D], v[KEYS * D], s[ROWS * KEYS], one[KEYS], o[ROWS * D], single[D];
    for (size_t l = 0; l < N_LEVELS; l++) {
        if (isa_select(levels[l]))
            continue;
        const struct nn_kernels *k = nn_kernels();
        fill(q, ROWS * D, 1, 1), fill(panels, KEYS * D, 2, 1), fill(v, KEYS * D, 3, 1);
        memset(o, 0, sizeof o);
        k->scores(s, KEYS, q, D, panels, KEYS / NN_PANEL, D, ROWS);
        k->weigh(o, D, s, KEYS, v, D, KEYS, D, ROWS);
        for (size_t r = 0; r < ROWS; r++) {
            memset(single, 0, sizeof single);
            k->scores(one, KEYS, q + r * D, D, panels, KEYS / NN_PANEL, D, 1);
            assert_memory_equal(one, s + r * KEYS, sizeof one);
            k->weigh(single, D, one, KEYS, v, D, 20, D, 1);
            k->weigh(single, D, one + 20, KEYS, v + 20 * D, D, KEYS - 20, D, 1);
            assert_memory_equal(single, o + r * D, sizeof single);
        }
        static float plain_s[ROWS * KEYS], plain_o[ROWS * D];
        memset(plain_o, 0, sizeof plain_o);
        nn_kernels_ref.scores(plain_s, KEYS, q, D, panels, KEYS / NN_PANEL, D, ROWS);
        nn_kernels_ref.weigh(plain_o, D, plain_s, KEYS, v, D, KEYS, D, ROWS);
        assert_close(s, plain_s, ROWS * KEYS, 2e-6f);
        assert_close(o, plain_o, ROWS * D, 4e-6f);
    }
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_kernels_agree_with_the_plain_ones),
        cmocka_unit_test(activations_keep_their_accuracy),
        cmocka_unit_test(attention_rows_do_not_depend_on_their_group),
    };
    return cmocka_run_group_tests_name("nn/kernels", tests, NULL, NULL);
}
