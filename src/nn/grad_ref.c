/* The backward kernels in plain C, by the ops that specify them, and the choice of a table. */
#include "grad_kernels.h"
#include "grad_ops.h"
#include "math/isa.h"
#include <math.h>
#include <string.h>

static void rms_norm(float *dx, float *dw, const float *dy, const float *x, const float *w, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float r = (float)(1 / sqrt(sum / (double)n + (double)eps));
    rms_norm_backward_f32(dx, dw, dy, x, w, &r, 1, n);
}

static void layer_norm(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, size_t n,
                       float eps)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float m = (float)mean, r = (float)(1 / sqrt(squares / (double)n + (double)eps));
    layer_norm_backward_f32(dx, dw, db, dy, x, w, &m, &r, 1, n);
}

static void activate(float *dgate, float *dup, float *mid, const float *dy, const float *gate, const float *up,
                     size_t n, enum nn_activation activation)
{
    activation_forward_f32(mid, gate, up, n, activation);
    memset(dgate, 0, n * sizeof *dgate);
    if (up)
        memset(dup, 0, n * sizeof *dup);
    activation_backward_f32(dgate, dup, dy, gate, up, n, activation);
}

static void softmax(float *p, float *dp, float inverse, size_t begin, size_t end, size_t n, float scale)
{
    double mean = 0, total = 0; /* the total is 1 but for rounding, which would leave sum ds off 0 */
    for (size_t j = begin; j < end; j++) {
        p[j] *= inverse;
        mean += (double)p[j] * (double)dp[j];
        total += (double)p[j];
    }
    mean /= total;
    for (size_t j = 0; j < n; j++)
        dp[j] = j >= begin && j < end ? p[j] * (dp[j] - (float)mean) * scale : 0;
}

static void outer(float *o, size_t ldo, const float *p, size_t p_row, size_t p_step, const float *v, size_t ldv,
                  size_t n, size_t D, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < D; d++)
                o[r * ldo + d] += p[r * p_row + j * p_step] * v[j * ldv + d];
}

static float top(const float *x, size_t n)
{
    float best = x[0];
    for (size_t i = 1; i < n; i++)
        best = fmaxf(best, x[i]);
    return best;
}

static float exp_sum(float *y, const float *x, size_t n, float shift)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        y[i] = expf(x[i] - shift);
        sum += (double)y[i];
    }
    return (float)sum;
}

const struct nn_grad_kernels nn_grad_kernels_ref = {rms_norm, layer_norm, activate, softmax, outer, top, exp_sum};

const struct nn_grad_kernels *nn_grad_kernels(void)
{
#if defined(__x86_64__)
    if (isa_level() == ISA_AVX512)
        return &nn_grad_kernels_avx512;
    if (isa_level() == ISA_AVX2)
        return &nn_grad_kernels_avx2;
#endif
    return &nn_grad_kernels_ref;
}
