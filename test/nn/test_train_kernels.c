/*
 * The vector kernels of the backward pass against the plain ones, at lengths that fill no vector evenly. Both are f32
 * sums of a few hundred terms of size 1: 1e-5 of the largest entry is some 80 units of rounding.
 */
#include "math/isa.h"
#include "nn/grad_kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 200, ARRAYS = 6 };
static const size_t lengths[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 199};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static float value(size_t array, size_t i)
{
    double x = sin(12.9898 * (double)(i + 1) + 78.233 * (double)(array + 1)) * 43758.5453;
    return (float)(4 * (x - floor(x)) - 2);
}

struct arrays {
    float x[ARRAYS][MOST * 8];
};

static void fill(struct arrays *a)
{
    for (size_t i = 0; i < ARRAYS; i++)
        for (size_t j = 0; j < MOST * 8; j++)
            a->x[i][j] = value(i, j);
}

typedef void (*kernel_fn)(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind);

static void check(kernel_fn fn, const char *name, int kinds)
{
    static struct arrays want, got;
    const struct nn_grad_kernels *k = nn_grad_kernels();
    for (size_t l = 0; l < N_LENGTHS; l++)
        for (int kind = 0; kind < kinds; kind++) {
            float top = 1, worst = 0;
            fill(&want), fill(&got);
            fn(&nn_grad_kernels_ref, &want, lengths[l], kind);
            fn(k, &got, lengths[l], kind);
            for (size_t i = 0; i < ARRAYS; i++)
                for (size_t j = 0; j < MOST * 8; j++) {
                    top = fmaxf(top, fabsf(want.x[i][j]));
                    worst = fmaxf(worst, fabsf(want.x[i][j] - got.x[i][j]));
                }
            if (!(worst <= 1e-5f * top))
                fail_msg("%s %d of %zu under %s: differs by %g, largest %g", name, kind, lengths[l], isa_name(),
                         (double)worst, (double)top);
        }
}

static void rms(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    k->rms_norm(a->x[0], kind ? a->x[1] : NULL, a->x[2], a->x[3], a->x[4], n, 1e-5f);
}
static void layer(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    k->layer_norm(a->x[0], kind ? a->x[1] : NULL, kind ? a->x[5] : NULL, a->x[2], a->x[3], a->x[4], n, 1e-2f);
}
static void activate(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    bool up = kind >= 4;
    k->activate(a->x[0], up ? a->x[1] : NULL, a->x[5], a->x[2], a->x[3], up ? a->x[4] : NULL, n,
                (enum nn_activation)(kind % 4));
}
static void softmax(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    size_t begin = kind ? n / 3 : 0, end = kind ? n - n / 4 : n;
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        a->x[0][i] = i >= begin && i < end ? expf(a->x[0][i]) : 0;
        sum += a->x[0][i];
    }
    k->softmax(a->x[0], a->x[1], 1 / sum, begin, end, n, 0.7f);
}
static void outer(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    size_t rows = kind ? 7 : 1, terms = kind == 1 ? 8 : 3;
    size_t p_row = kind == 1 ? 1 : 9, p_step = kind == 1 ? 7 : 1;
    k->outer(a->x[0], n, a->x[1], p_row, p_step, a->x[2], n, terms, n, rows);
}
static void sums(const struct nn_grad_kernels *k, struct arrays *a, size_t n, int kind)
{
    (void)kind;
    a->x[3][0] = k->top(a->x[0], n);
    a->x[3][1] = k->exp_sum(a->x[1], a->x[2], n, 0.5f) / (float)n;
}

static void vector_kernels_agree_with_plain_ones(void **state)
{
    (void)state;
    static const char *const levels[] = {"avx2", "avx512-base"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (isa_select(levels[i]))
            continue;
        check(rms, "rms norm", 2);
        check(layer, "layer norm", 2);
        check(activate, "activation", 8);
        check(softmax, "softmax", 2);
        check(outer, "outer product", 3);
        check(sums, "sums", 1);
    }
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vector_kernels_agree_with_plain_ones)};
    return cmocka_run_group_tests_name("nn/train_kernels", tests, NULL, NULL);
}
