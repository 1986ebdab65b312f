/*
 * The vector kernels over vectors V of VN floats; included once per instruction set by a file that defines
 *   V, VN, v_set, v_load, v_store, v_load_n, v_store_n (first n lanes; others 0), v_fma (a*b+c), v_max, v_round,
 *   v_scale2 (x * 2^n, n integral in float), v_abs, v_clamp, v_reciprocal (to 1e-4 or better), v_sum, v_top
 * (horizontal, fixed order), v_mask (lanes of [begin,end) kept), v_bf16_n, v_from_bf16_n, v_u8_n, v_from_int_n,
 * SCORE_ROWS, WEIGH_ROWS, WEIGH_COLS, TABLE.
 *
 * Sums over keys and over the head dimension run in order, one fma at a time, in every register block: how rows are
 * grouped does not change a bit.
 */
#include "vec_math.h"

#define INLINE static inline __attribute__((always_inline))
/* The statement for each vector of n elements; `lanes` is a constant in all but the last. */
#define OVER(i, n, ...)                                                                                                \
    do {                                                                                                               \
        size_t i = 0;                                                                                                  \
        for (; i + VN <= (n); i += VN) {                                                                               \
            const size_t lanes = VN;                                                                                   \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const size_t lanes = (n)-i;                                                                                \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

INLINE V load_some(const float *x, size_t lanes)
{
    return lanes == VN ? v_load(x) : v_load_n(x, lanes);
}

INLINE void store_some(float *y, V v, size_t lanes)
{
    if (lanes == VN)
        v_store(y, v);
    else
        v_store_n(y, v, lanes);
}

static float rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    V r = v_set(1.0f / __builtin_sqrtf(sum_of_squares(x, n, 0) / (float)n + eps)), high = v_set(0);
    OVER(i, n, {
        V v = load_some(x + i, lanes) * r * load_some(w + i, lanes);
        high = v_max(high, v_abs(v));
        store_some(y + i, v, lanes);
    });
    return v_top(high);
}

static float layer_norm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    V sum = v_set(0);
    EACH(i, n)
    sum += load_at(x, i, n);
    float mean = v_sum(sum) / (float)n;
    V m = v_set(mean), r = v_set(1.0f / __builtin_sqrtf(sum_of_squares(x, n, mean) / (float)n + eps)), high = v_set(0);
    OVER(i, n, {
        V v = v_fma((load_some(x + i, lanes) - m) * r, load_some(w + i, lanes), load_some(b + i, lanes));
        if (lanes < VN)
            v = v_mask(v, 0, lanes);
        high = v_max(high, v_abs(v));
        store_some(y + i, v, lanes);
    });
    return v_top(high);
}

static void add(float *y, const float *x, size_t n)
{
    EACH(i, n)
    store_at(y, load_at(y, i, n) + load_at(x, i, n), i, n);
}

static void multiply(float *y, float factor, size_t n)
{
    EACH(i, n)
    store_at(y, load_at(y, i, n) * v_set(factor), i, n);
}

static void rope(float *x, const float *cosine, const float *sine, size_t D)
{
    size_t half = D / 2;
    EACH(i, half)
    {
        V a = load_at(x, i, half), b = load_at(x + half, i, half);
        V c = load_at(cosine, i, half), s = load_at(sine, i, half);
        store_at(x, a * c - b * s, i, half);
        store_at(x + half, b * c + a * s, i, half);
    }
}

/* x * sigmoid(t): silu with t = x; the tanh form of gelu with t = 2 u, since (1 + tanh u) / 2 = sigmoid(2u). */
static inline V v_gate(V x, V t)
{
    return x / (v_set(1.0f) + v_exp(-t));
}

static inline V v_activation(V x, enum nn_activation activation)
{
    switch (activation) {
    case NN_SILU:
        return v_gate(x, x);
    case NN_GELU_TANH:
        return v_gate(x, v_set(1.5957691216057308f) * v_fma(v_set(0.044715f) * x * x, x, x));
    case NN_GELU_ERF: {
        V half = v_set(0.5f) * x;
        return v_fma(half, v_erf(x * v_set(0.7071067811865476f)), half);
    }
    case NN_RELU:
        return v_max(x, v_set(0));
    }
    return x;
}

/* Vector i of a product's row; `ints` is a constant. */
INLINE V taken(const struct nn_acc *a, bool ints, size_t i, size_t lanes)
{
    V x;
    if (ints)
        x = v_from_int_n((const int32_t *)a->acc + i, a->zero + i, lanes) *
            (load_some(a->scale + i, lanes) * v_set(a->row_scale));
    else
        x = load_some((const float *)a->acc + i, lanes);
    if (a->bias)
        x += load_some(a->bias + i, lanes);
    return x;
}

static void take(float *y, const struct nn_acc *a, size_t n)
{
    if (a->zero)
        OVER(i, n, store_some(y + i, taken(a, true, i, lanes), lanes));
    else
        OVER(i, n, store_some(y + i, taken(a, false, i, lanes), lanes));
}

static void join(float *x, const struct nn_acc *a, size_t n)
{
    if (a->zero)
        OVER(i, n, store_some(x + i, load_some(x + i, lanes) + taken(a, true, i, lanes), lanes));
    else
        OVER(i, n, store_some(x + i, load_some(x + i, lanes) + taken(a, false, i, lanes), lanes));
}

static void take_heads(uint16_t *y, size_t step, const struct nn_acc *a, size_t heads, size_t D)
{
    size_t at = 0;
    for (size_t h = 0; h < heads; h++, y += step, at += D) {
        if (a->zero)
            OVER(i, D, v_bf16_n(y + i, taken(a, true, at + i, lanes), lanes));
        else
            OVER(i, D, v_bf16_n(y + i, taken(a, false, at + i, lanes), lanes));
    }
}

#define ACTIVATE_LOOP(kind)                                                                                            \
    if (up_at)                                                                                                         \
        OVER(i, n,                                                                                                     \
             store_some(y + i, v_activation(taken(a, false, i, lanes), kind) * taken(a, false, up_at + i, lanes),      \
                        lanes));                                                                                       \
    else                                                                                                               \
        OVER(i, n, store_some(y + i, v_activation(taken(a, false, i, lanes), kind), lanes));                           \
    return

static void activate(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation)
{
    switch (activation) {
    case NN_SILU:
        ACTIVATE_LOOP(NN_SILU);
    case NN_GELU_TANH:
        ACTIVATE_LOOP(NN_GELU_TANH);
    case NN_GELU_ERF:
        ACTIVATE_LOOP(NN_GELU_ERF);
    case NN_RELU:
        ACTIVATE_LOOP(NN_RELU);
    }
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    OVER(i, n, v_bf16_n(y + i, load_some(x + i, lanes), lanes));
}

static void from_bf16(float *y, const uint16_t *x, size_t n)
{
    OVER(i, n, store_some(y + i, v_from_bf16_n(x + i, lanes), lanes));
}

static float top_of(const float *x, size_t n)
{
    V high = v_set(0);
    OVER(i, n, high = v_max(high, v_abs(load_some(x + i, lanes))));
    return v_top(high);
}

static void to_u8(uint8_t *y, const float *x, size_t n, float top)
{
    V inverse = v_set(top > 0 ? 127.0f / top : 0);
    OVER(i, n, v_u8_n(y + i, load_some(x + i, lanes) * inverse, lanes));
}

/* x sigmoid(t) with a degree 4 polynomial for 2^f and an approximate reciprocal: within 1e-4 of itself. */
static inline V v_gate_coarse(V x, V t)
{
    t = v_clamp(t * v_set(-1.44269504088896341f), -126.0f, 126.0f);
    V n = v_round(t), f = t - n;
    V p = v_fma(v_set(9.6181291e-3f), f, v_set(5.5504109e-2f));
    p = v_fma(p, f, v_set(2.4022651e-1f));
    p = v_fma(p, f, v_set(6.9314718e-1f));
    p = v_fma(p, f, v_set(1.0f));
    return x * v_reciprocal(v_set(1.0f) + v_scale2(p, n));
}

/* x times the normal distribution's integral as an odd polynomial about 1/2 on [-4.2,4.2]: within 5e-5. */
INLINE V v_gelu_coarse(V x)
{
    V c = v_clamp(x, -4.2f, 4.2f), s = c * c, p = v_set(5.998061182e-11f);
    p = v_fma(p, s, v_set(-5.633312456e-09f));
    p = v_fma(p, s, v_set(2.343672580e-07f));
    p = v_fma(p, s, v_set(-5.760766777e-06f));
    p = v_fma(p, s, v_set(9.457437462e-05f));
    p = v_fma(p, s, v_set(-1.114147874e-03f));
    p = v_fma(p, s, v_set(9.830130049e-03f));
    p = v_fma(p, s, v_set(-6.636037103e-02f));
    p = v_fma(p, s, v_set(3.989074378e-01f));
    return x * v_fma(p, c, v_set(0.5f));
}

INLINE V v_activation_coarse(V x, enum nn_activation activation)
{
    if (activation == NN_GELU_ERF)
        return v_gelu_coarse(x);
    if (activation == NN_SILU)
        return v_gate_coarse(x, x);
    if (activation == NN_GELU_TANH)
        return v_gate_coarse(x, v_set(1.5957691216057308f) * v_fma(v_set(0.044715f) * x * x, x, x));
    return v_activation(x, activation);
}

INLINE V middle(const struct nn_acc *a, bool ints, bool up, size_t up_at, size_t i, size_t lanes,
                enum nn_activation activation)
{
    V v = v_activation_coarse(taken(a, ints, i, lanes), activation);
    if (up)
        v *= taken(a, ints, up_at + i, lanes);
    return v;
}

INLINE void middle_bf16_as(uint16_t *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation)
{
    if (a->zero && up_at)
        OVER(i, n, v_bf16_n(y + i, middle(a, true, true, up_at, i, lanes, activation), lanes));
    else if (a->zero)
        OVER(i, n, v_bf16_n(y + i, middle(a, true, false, 0, i, lanes, activation), lanes));
    else if (up_at)
        OVER(i, n, v_bf16_n(y + i, middle(a, false, true, up_at, i, lanes, activation), lanes));
    else
        OVER(i, n, v_bf16_n(y + i, middle(a, false, false, 0, i, lanes, activation), lanes));
}

INLINE V middle_f32_at(float *y, const struct nn_acc *a, bool ints, bool up, size_t up_at, size_t i, size_t lanes,
                       enum nn_activation activation, V high)
{
    V v = middle(a, ints, up, up_at, i, lanes, activation);
    store_some(y + i, v, lanes);
    if (lanes < VN)
        v = v_mask(v, 0, lanes);
    return v_max(high, v_abs(v));
}

INLINE float middle_f32_as(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation,
                           float top)
{
    V high = v_set(top);
    if (a->zero && up_at)
        OVER(i, n, high = middle_f32_at(y, a, true, true, up_at, i, lanes, activation, high));
    else if (a->zero)
        OVER(i, n, high = middle_f32_at(y, a, true, false, 0, i, lanes, activation, high));
    else if (up_at)
        OVER(i, n, high = middle_f32_at(y, a, false, true, up_at, i, lanes, activation, high));
    else
        OVER(i, n, high = middle_f32_at(y, a, false, false, 0, i, lanes, activation, high));
    return v_top(high);
}

static void middle_bf16(uint16_t *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation)
{
    switch (activation) {
    case NN_SILU:
        middle_bf16_as(y, a, up_at, n, NN_SILU);
        break;
    case NN_GELU_TANH:
        middle_bf16_as(y, a, up_at, n, NN_GELU_TANH);
        break;
    case NN_GELU_ERF:
        middle_bf16_as(y, a, up_at, n, NN_GELU_ERF);
        break;
    case NN_RELU:
        middle_bf16_as(y, a, up_at, n, NN_RELU);
        break;
    }
}

static float middle_f32(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation,
                        float top)
{
    switch (activation) {
    case NN_SILU:
        return middle_f32_as(y, a, up_at, n, NN_SILU, top);
    case NN_GELU_TANH:
        return middle_f32_as(y, a, up_at, n, NN_GELU_TANH, top);
    case NN_GELU_ERF:
        return middle_f32_as(y, a, up_at, n, NN_GELU_ERF, top);
    case NN_RELU:
        break;
    }
    return middle_f32_as(y, a, up_at, n, NN_RELU, top);
}

enum { PANEL_VECTORS = NN_PANEL / VN };

static inline __attribute__((always_inline)) void score_block(float *s, size_t lds, const float *q, size_t ldq,
                                                              const float *panel, size_t D, size_t rows)
{
    V sum[SCORE_ROWS][PANEL_VECTORS];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < PANEL_VECTORS; c++)
            sum[r][c] = v_set(0);
    for (size_t d = 0; d < D; d++)
        for (size_t c = 0; c < PANEL_VECTORS; c++) {
            V k = v_load(panel + d * NN_PANEL + c * VN);
            for (size_t r = 0; r < rows; r++)
                sum[r][c] = v_fma(v_set(q[r * ldq + d]), k, sum[r][c]);
        }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < PANEL_VECTORS; c++)
            v_store(s + r * lds + c * VN, sum[r][c]);
}

static void scores(float *s, size_t lds, const float *q, size_t ldq, const float *panel, size_t panels, size_t D,
                   size_t rows)
{
    for (size_t p = 0; p < panels; p++, panel += NN_PANEL * D, s += NN_PANEL) {
        size_t r = 0;
        for (; r + SCORE_ROWS <= rows; r += SCORE_ROWS)
            score_block(s + r * lds, lds, q + r * ldq, ldq, panel, D, SCORE_ROWS);
        for (; r < rows; r++)
            score_block(s + r * lds, lds, q + r * ldq, ldq, panel, D, 1);
    }
}

static float softmax(float *s, size_t begin, size_t end, size_t n, float scale)
{
    size_t first = begin / VN * VN;
    float top = s[begin];
    V high = v_set(top);
    size_t i = begin;
    for (; i < end && i % VN; i++)
        top = s[i] > top ? s[i] : top;
    for (; i + VN <= end; i += VN)
        high = v_max(high, v_load(s + i));
    if (i < end)
        for (size_t j = i; j < end; j++)
            top = s[j] > top ? s[j] : top;
    float other = v_top(high);
    V m = v_set(top > other ? top : other), sum = v_set(0), f = v_set(scale);
    for (i = 0; i < first; i += VN)
        v_store(s + i, v_set(0));
    for (i = first; i < n; i += VN) {
        if (i >= end) {
            store_at(s, v_set(0), i, n);
            continue;
        }
        V e = v_exp(f * (load_at(s, i, n) - m));
        if (i < begin || i + VN > end)
            e = v_mask(e, begin > i ? begin - i : 0, end - i < VN ? end - i : VN);
        store_at(s, e, i, n);
        sum += e;
    }
    return 1.0f / v_sum(sum);
}

static inline __attribute__((always_inline)) void weigh_block(float *o, size_t ldo, const float *p, size_t ldp,
                                                              const float *v, size_t ldv, size_t n, size_t rows,
                                                              size_t cols)
{
    V sum[WEIGH_ROWS][WEIGH_COLS];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            sum[r][c] = v_load(o + r * ldo + c * VN);
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < cols; c++) {
            V x = v_load(v + j * ldv + c * VN);
            for (size_t r = 0; r < rows; r++)
                sum[r][c] = v_fma(v_set(p[r * ldp + j]), x, sum[r][c]);
        }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            v_store(o + r * ldo + c * VN, sum[r][c]);
}

static void weigh_tail(float *o, const float *p, const float *v, size_t ldv, size_t n, size_t lanes)
{
    V sum = v_load_n(o, lanes);
    for (size_t j = 0; j < n; j++)
        sum = v_fma(v_set(p[j]), v_load_n(v + j * ldv, lanes), sum);
    v_store_n(o, sum, lanes);
}

static void weigh(float *o, size_t ldo, const float *p, size_t ldp, const float *v, size_t ldv, size_t n, size_t D,
                  size_t rows)
{
    size_t r = 0;
    for (size_t step; r < rows; r += step) {
        step = rows - r >= WEIGH_ROWS ? WEIGH_ROWS : 1;
        size_t d = 0;
        for (; d + WEIGH_COLS * VN <= D; d += WEIGH_COLS * VN)
            if (step > 1)
                weigh_block(o + r * ldo + d, ldo, p + r * ldp, ldp, v + d, ldv, n, WEIGH_ROWS, WEIGH_COLS);
            else
                weigh_block(o + r * ldo + d, ldo, p + r * ldp, ldp, v + d, ldv, n, 1, WEIGH_COLS);
        for (; d + VN <= D; d += VN)
            if (step > 1)
                weigh_block(o + r * ldo + d, ldo, p + r * ldp, ldp, v + d, ldv, n, WEIGH_ROWS, 1);
            else
                weigh_block(o + r * ldo + d, ldo, p + r * ldp, ldp, v + d, ldv, n, 1, 1);
        for (size_t t = 0; d < D && t < step; t++)
            weigh_tail(o + (r + t) * ldo + d, p + (r + t) * ldp, v + d, ldv, n, D - d);
    }
}

const struct nn_kernels TABLE = {
    rms_norm, layer_norm, add,  rope,   activate, to_bf16, from_bf16, top_of,      to_u8,
    take,     take_heads, join, scores, softmax,  weigh,   multiply,  middle_bf16, middle_f32,
};
