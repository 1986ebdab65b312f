/*
 * The vector kernels of the backward pass over vectors V of VN floats (see kernels_body.h for the operations); included
 * once per instruction set by a file that also defines OUTER_ROWS, OUTER_COLS and TABLE.
 */
#include "vec_math.h"

/* Padding lanes of load_at are 0 and stay out of sums that are products with a gradient. */
static void rms_norm(float *dx, float *dw, const float *dy, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / __builtin_sqrtf(sum_of_squares(x, n, 0) / (float)n + eps);
    V dot = v_set(0), vr = v_set(r);
    EACH(i, n)
    dot = v_fma(load_at(w, i, n) * load_at(dy, i, n), load_at(x, i, n), dot);
    V pull = v_set(v_sum(dot) / (float)n * r * r);
    EACH(i, n)
    {
        V g = load_at(dy, i, n), u = load_at(x, i, n);
        store_at(dx, v_fma(vr, load_at(w, i, n) * g - u * pull, load_at(dx, i, n)), i, n);
        if (dw)
            store_at(dw, v_fma(g, u * vr, load_at(dw, i, n)), i, n);
    }
}

static void layer_norm(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, size_t n,
                       float eps)
{
    V total = v_set(0), dot = v_set(0), sum = v_set(0);
    EACH(i, n)
    total += load_at(x, i, n);
    float mean = v_sum(total) / (float)n;
    V m = v_set(mean), r = v_set(1.0f / __builtin_sqrtf(sum_of_squares(x, n, mean) / (float)n + eps));
    EACH(i, n)
    {
        V g = load_at(w, i, n) * load_at(dy, i, n);
        sum += g;
        dot = v_fma(g, (load_at(x, i, n) - m) * r, dot);
    }
    V push = v_set(v_sum(sum) / (float)n), pull = v_set(v_sum(dot) / (float)n);
    EACH(i, n)
    {
        V g = load_at(dy, i, n), u = (load_at(x, i, n) - m) * r;
        store_at(dx, v_fma(r, load_at(w, i, n) * g - push - u * pull, load_at(dx, i, n)), i, n);
        if (dw)
            store_at(dw, v_fma(g, u, load_at(dw, i, n)), i, n);
        if (db)
            store_at(db, load_at(db, i, n) + g, i, n);
    }
}

/* activation(x) and its derivative, from one exponential. */
static inline __attribute__((always_inline)) V v_slope(V x, V *slope, enum nn_activation activation)
{
    V one = v_set(1.0f);
    if (activation == NN_GELU_ERF) { /* 1/sqrt(2), 1/sqrt(2 pi) */
        V e = v_fma(v_set(0.5f), v_erf(x * v_set(0.7071067811865476f)), v_set(0.5f));
        *slope = v_fma(x * v_set(0.3989422804014327f), v_exp(v_set(-0.5f) * x * x), e);
        return x * e;
    }
    /* x sigmoid(t): t = x, or twice the argument of gelu's tanh; dt/dx beside it */
    V t = x, dt = one, square = x * x;
    if (activation == NN_GELU_TANH) {
        t = v_set(1.5957691216057308f) * v_fma(v_set(0.044715f) * square, x, x);
        dt = v_set(1.5957691216057308f) * v_fma(v_set(3 * 0.044715f), square, one);
    }
    V s = one / (one + v_exp(-t));
    *slope = s * v_fma(x * dt, one - s, one);
    return x * s;
}

static inline __attribute__((always_inline)) void activate_as(float *dgate, float *dup, float *mid, const float *dy,
                                                              const float *gate, const float *up, size_t n,
                                                              enum nn_activation activation)
{
    EACH(i, n)
    {
        V slope, g = load_at(dy, i, n), a = v_slope(load_at(gate, i, n), &slope, activation);
        V u = up ? load_at(up, i, n) : v_set(1.0f);
        store_at(mid, a * u, i, n);
        store_at(dgate, g * slope * u, i, n);
        if (up)
            store_at(dup, g * a, i, n);
    }
}

static void activate_relu(float *dgate, float *dup, float *mid, const float *dy, const float *gate, const float *up,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float a = gate[i] > 0 ? gate[i] : 0, g = dy[i], u = up ? up[i] : 1;
        mid[i] = a * u;
        dgate[i] = gate[i] > 0 ? g * u : 0;
        if (up)
            dup[i] = g * a;
    }
}

static void activate(float *dgate, float *dup, float *mid, const float *dy, const float *gate, const float *up,
                     size_t n, enum nn_activation activation)
{
    switch (activation) {
    case NN_SILU:
        activate_as(dgate, dup, mid, dy, gate, up, n, NN_SILU);
        break;
    case NN_GELU_TANH:
        activate_as(dgate, dup, mid, dy, gate, up, n, NN_GELU_TANH);
        break;
    case NN_GELU_ERF:
        activate_as(dgate, dup, mid, dy, gate, up, n, NN_GELU_ERF);
        break;
    case NN_RELU:
        activate_relu(dgate, dup, mid, dy, gate, up, n);
        break;
    }
}

static void softmax(float *p, float *dp, float inverse, size_t begin, size_t end, size_t n, float scale)
{
    V r = v_set(inverse), dot = v_set(0), total = v_set(0), s = v_set(scale);
    (void)begin, (void)end; /* p is 0 there, and so are its products */
    EACH(j, n)
    {
        V u = load_at(p, j, n) * r;
        store_at(p, u, j, n);
        dot = v_fma(u, load_at(dp, j, n), dot);
        total += u;
    }
    V mean = v_set(v_sum(dot) / v_sum(total)); /* the total is 1 but for rounding, which would leave sum ds off 0 */
    EACH(j, n)
    store_at(dp, load_at(p, j, n) * (load_at(dp, j, n) - mean) * s, j, n);
}

static inline __attribute__((always_inline)) void outer_block(float *o, size_t ldo, const float *p, size_t p_row,
                                                              size_t p_step, const float *v, size_t ldv, size_t n,
                                                              size_t rows, size_t cols)
{
    V sum[OUTER_ROWS][OUTER_COLS];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            sum[r][c] = v_load(o + r * ldo + c * VN);
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < cols; c++) {
            V x = v_load(v + j * ldv + c * VN);
            for (size_t r = 0; r < rows; r++)
                sum[r][c] = v_fma(v_set(p[r * p_row + j * p_step]), x, sum[r][c]);
        }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            v_store(o + r * ldo + c * VN, sum[r][c]);
}

static void outer_tail(float *o, const float *p, size_t p_step, const float *v, size_t ldv, size_t n, size_t lanes)
{
    V sum = v_load_n(o, lanes);
    for (size_t j = 0; j < n; j++)
        sum = v_fma(v_set(p[j * p_step]), v_load_n(v + j * ldv, lanes), sum);
    v_store_n(o, sum, lanes);
}

static void outer(float *o, size_t ldo, const float *p, size_t p_row, size_t p_step, const float *v, size_t ldv,
                  size_t n, size_t D, size_t rows)
{
    size_t d = 0;
    for (; d + OUTER_COLS * VN <= D; d += OUTER_COLS * VN) {
        size_t r = 0;
        for (; r + OUTER_ROWS <= rows; r += OUTER_ROWS)
            outer_block(o + r * ldo + d, ldo, p + r * p_row, p_row, p_step, v + d, ldv, n, OUTER_ROWS, OUTER_COLS);
        for (; r < rows; r++)
            outer_block(o + r * ldo + d, ldo, p + r * p_row, p_row, p_step, v + d, ldv, n, 1, OUTER_COLS);
    }
    for (; d + VN <= D; d += VN) {
        size_t r = 0;
        for (; r + OUTER_ROWS <= rows; r += OUTER_ROWS)
            outer_block(o + r * ldo + d, ldo, p + r * p_row, p_row, p_step, v + d, ldv, n, OUTER_ROWS, 1);
        for (; r < rows; r++)
            outer_block(o + r * ldo + d, ldo, p + r * p_row, p_row, p_step, v + d, ldv, n, 1, 1);
    }
    for (size_t r = 0; d < D && r < rows; r++)
        outer_tail(o + r * ldo + d, p + r * p_row, p_step, v + d, ldv, n, D - d);
}

static float top(const float *x, size_t n)
{
    float best = x[0];
    size_t i = 0;
    if (n >= VN) {
        V high = v_load(x);
        for (i = VN; i + VN <= n; i += VN)
            high = v_max(high, v_load(x + i));
        best = v_top(high);
    }
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

static float exp_sum(float *y, const float *x, size_t n, float shift)
{
    V sum = v_set(0), s = v_set(shift);
    EACH(i, n)
    {
        V e = v_mask(v_exp(load_at(x, i, n) - s), 0, LANES(i, n));
        store_at(y, e, i, n);
        sum += e;
    }
    return v_sum(sum);
}

const struct nn_grad_kernels TABLE = {rms_norm, layer_norm, activate, softmax, outer, top, exp_sum};
