/* Pooling and normalisation: the backward ops against central differences of the forward ones. */
#include "encode/pooling.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { T = 7, C = 5 };

static void fill(float *x, size_t n, float phase)
{
    for (size_t i = 0; i < n; i++)
        x[i] = sinf(phase + 1.3f * (float)i);
}

/* <up, pool(hidden)> */
static double value(const float *hidden, const struct pool_shape *shape, const float *up)
{
    float y[C];
    double sum[C], out = 0.0;
    pool_forward(y, sum, hidden, shape, C);
    for (int c = 0; c < C; c++)
        out += (double)up[c] * (double)y[c];
    return out;
}

static void pooling_gradients(void **state)
{
    (void)state;
    for (int kind = POOL_MEAN; kind <= POOL_WEIGHTED_MEAN; kind++) {
        struct pool_shape shape = {.pooling = (enum pooling)kind, .begin = 2, .end = 6, .first = 1};
        float hidden[T * C], d[T * C], up[C];
        fill(hidden, T * C, 0.2f);
        fill(up, C, 1.0f);
        memset(d, 0xff, sizeof d);
        pool_backward(d, up, &shape, T, C);
        for (int i = 0; i < T * C; i++) {
            float x = hidden[i], high = x + 0.125f, low = x - 0.125f; /* linear: any step will do */
            hidden[i] = high;
            double plus = value(hidden, &shape, up);
            hidden[i] = low;
            double minus = value(hidden, &shape, up);
            hidden[i] = x;
            assert_true(fabs((plus - minus) / ((double)high - (double)low) - (double)d[i]) < 1e-5);
        }
    }
}

static void unit_gradient(void **state)
{
    float x[C], y[C], up[C], d[C];
    (void)state;
    fill(x, C, 0.4f);
    fill(up, C, 2.0f);
    memcpy(y, x, sizeof y);
    double length = unit_forward(y, C);
    unit_backward(d, up, y, length, C);
    for (int i = 0; i < C; i++) {
        double value_at[2];
        float high = x[i] + 4e-3f, low = x[i] - 4e-3f;
        for (int side = 0; side < 2; side++) {
            memcpy(y, x, sizeof y);
            y[i] = side ? high : low;
            unit_forward(y, C);
            value_at[side] = 0.0;
            for (int c = 0; c < C; c++)
                value_at[side] += (double)up[c] * (double)y[c];
        }
        assert_true(fabs((value_at[1] - value_at[0]) / ((double)high - (double)low) - (double)d[i]) < 1e-4);
    }
}

static void a_zero_row_stays_zero(void **state)
{
    float x[C] = {0}, d[C], up[C] = {0};
    (void)state;
    double length = unit_forward(x, C);
    unit_backward(d, up, x, length, C);
    for (int c = 0; c < C; c++) {
        assert_true(x[c] == 0.0f);
        assert_true(d[c] == 0.0f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_gradients),
        cmocka_unit_test(unit_gradient),
        cmocka_unit_test(a_zero_row_stays_zero),
    };
    return cmocka_run_group_tests_name("pooling", tests, NULL, NULL);
}
