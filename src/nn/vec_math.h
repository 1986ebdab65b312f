/*
 * Loops, exponentials and sums over vectors V of VN floats, after vec256.h or vec512.h: what the bodies of kernels
 * share.
 */
#ifndef NN_VEC_MATH_H
#define NN_VEC_MATH_H

#define EACH(i, n) for (size_t i = 0; i < (n); i += VN)
#define LANES(i, n) ((n) - (i) < VN ? (n) - (i) : VN)

static inline V load_at(const float *x, size_t i, size_t n)
{
    return n - i >= VN ? v_load(x + i) : v_load_n(x + i, n - i);
}

static inline void store_at(float *y, V v, size_t i, size_t n)
{
    if (n - i >= VN)
        v_store(y + i, v);
    else
        v_store_n(y + i, v, n - i);
}

/*
 * e^x = 2^n e^r, |r| <= ln2/2, with the polynomial of degree 5 of Cephes' expf on r: within 2 ulp where the result is
 * normal; below about e^-87 it goes to 0.
 */
static inline V v_exp(V x)
{
    x = v_clamp(x, -104.0f, 88.72f);
    V n = v_round(x * v_set(1.44269504088896341f));
    V r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    V p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_fma(p, r * r, r) + v_set(1.0f);
    return v_scale2(p, n);
}

/* erf on [-4,4] as an odd rational function, 7 terms over 5, within 1.5e-7; outside it is 1 to the last bit of f32. */
static inline V v_erf(V x)
{
    x = v_clamp(x, -4.0f, 4.0f);
    V s = x * x, p = v_set(-2.72614225801306e-10f), q = v_set(-1.45660718464996e-05f);
    p = v_fma(p, s, v_set(2.77068142495902e-08f));
    p = v_fma(p, s, v_set(-2.10102402082508e-06f));
    p = v_fma(p, s, v_set(-5.69250639462346e-05f));
    p = v_fma(p, s, v_set(-7.34990630326855e-04f));
    p = v_fma(p, s, v_set(-2.95459980854025e-03f));
    p = v_fma(p, s, v_set(-1.60960333262415e-02f));
    q = v_fma(q, s, v_set(-2.13374055278905e-04f));
    q = v_fma(q, s, v_set(-1.68282697438203e-03f));
    q = v_fma(q, s, v_set(-7.37332916720468e-03f));
    q = v_fma(q, s, v_set(-1.42647390514189e-02f));
    return x * p / q;
}

static inline float sum_of_squares(const float *x, size_t n, float shift)
{
    V a = v_set(0), b = v_set(0), m = v_set(shift);
    size_t i = 0;
    for (; i + 2 * VN <= n; i += 2 * VN) {
        V u = v_load(x + i) - m, w = v_load(x + i + VN) - m;
        a = v_fma(u, u, a);
        b = v_fma(w, w, b);
    }
    for (; i < n; i += VN) {
        V u = v_mask(load_at(x, i, n) - m, 0, LANES(i, n));
        a = v_fma(u, u, a);
    }
    return v_sum(a + b);
}

#endif
