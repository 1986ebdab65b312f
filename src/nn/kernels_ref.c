/* The kernels in plain C: what the vector ones must compute, and the table for other processors. */
#include "kernels.h"
#include "math/format.h"
#include <math.h>

static float top_of(const float *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmaxf(top, fabsf(x[i]));
    return top;
}

static float taken(const struct nn_acc *a, size_t i)
{
    float x;
    if (a->zero)
        x = (float)(((const int32_t *)a->acc)[i] - a->zero[i]) * (a->scale[i] * a->row_scale);
    else
        x = ((const float *)a->acc)[i];
    return a->bias ? x + a->bias[i] : x;
}

static void take(float *y, const struct nn_acc *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = taken(a, i);
}

static void join(float *x, const struct nn_acc *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += taken(a, i);
}

static void take_heads(uint16_t *y, size_t step, const struct nn_acc *a, size_t heads, size_t D)
{
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < D; i++)
            y[h * step + i] = bf16_from_f32(taken(a, h * D + i));
}

static float rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float r = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * r * w[i];
    return top_of(y, n);
}

static float layer_norm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double r = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) * r) * w[i] + b[i];
    return top_of(y, n);
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void multiply(float *y, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= factor;
}

static void rope(float *x, const float *cosine, const float *sine, size_t D)
{
    for (size_t i = 0; i < D / 2; i++) {
        float a = x[i], b = x[i + D / 2];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + D / 2] = b * cosine[i] + a * sine[i];
    }
}

static float activation_of(float x, enum nn_activation activation)
{
    switch (activation) {
    case NN_SILU:
        return x / (1.0f + expf(-x));
    case NN_GELU_TANH: /* sqrt(2/pi) */
        return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case NN_GELU_ERF:
        return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
    case NN_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

static void activate(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation)
{
    for (size_t i = 0; i < n; i++)
        y[i] = activation_of(taken(a, i), activation) * (up_at ? taken(a, up_at + i) : 1.0f);
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = bf16_from_f32(x[i]);
}

static void from_bf16(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = bf16_to_f32(x[i]);
}

static void to_u8(uint8_t *y, const float *x, size_t n, float top)
{
    float inverse = top > 0 ? 127.0f / top : 0;
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)((int)rintf(x[i] * inverse) + 128);
}

static void middle_bf16(uint16_t *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation)
{
    for (size_t i = 0; i < n; i++)
        y[i] = bf16_from_f32(activation_of(taken(a, i), activation) * (up_at ? taken(a, up_at + i) : 1.0f));
}

static float middle_f32(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation,
                        float top)
{
    activate(y, a, up_at, n, activation);
    return fmaxf(top, top_of(y, n));
}

static void scores(float *s, size_t lds, const float *q, size_t ldq, const float *panel, size_t panels, size_t D,
                   size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < panels * NN_PANEL; j++) {
            const float *k = panel + j / NN_PANEL * NN_PANEL * D + j % NN_PANEL;
            float sum = 0;
            for (size_t d = 0; d < D; d++)
                sum += q[r * ldq + d] * k[d * NN_PANEL];
            s[r * lds + j] = sum;
        }
}

static float softmax(float *s, size_t begin, size_t end, size_t n, float scale)
{
    float top = s[begin], sum = 0;
    for (size_t j = begin; j < end; j++)
        top = fmaxf(top, s[j]);
    for (size_t j = 0; j < n; j++) {
        s[j] = j >= begin && j < end ? expf(scale * (s[j] - top)) : 0;
        sum += s[j];
    }
    return 1.0f / sum;
}

static void weigh(float *o, size_t ldo, const float *p, size_t ldp, const float *v, size_t ldv, size_t n, size_t D,
                  size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < D; d++)
                o[r * ldo + d] += p[r * ldp + j] * v[j * ldv + d];
}

const struct nn_kernels nn_kernels_ref = {
    rms_norm, layer_norm, add,  rope,   activate, to_bf16, from_bf16, top_of,      to_u8,
    take,     take_heads, join, scores, softmax,  weigh,   multiply,  middle_bf16, middle_f32,
};
