/* Vectors of 16 floats: the operations that kernels_body.h and the tile kernels are written in. */
#ifndef NN_VEC512_H
#define NN_VEC512_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 V;
enum { VN = 16 };

static inline __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}
static inline V v_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline V v_load(const float *x)
{
    return _mm512_loadu_ps(x);
}
static inline void v_store(float *y, V v)
{
    _mm512_storeu_ps(y, v);
}
static inline V v_load_n(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), x);
}
static inline void v_store_n(float *y, V v, size_t n)
{
    _mm512_mask_storeu_ps(y, first_lanes(n), v);
}
static inline V v_fma(V a, V b, V c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline V v_max(V a, V b)
{
    return _mm512_max_ps(a, b);
}
static inline V v_clamp(V x, float low, float high)
{
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}
static inline V v_round(V x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline V v_scale2(V x, V n)
{
    return _mm512_scalef_ps(x, n);
}
static inline V v_abs(V x)
{
    return _mm512_abs_ps(x);
}
static inline V v_reciprocal(V x)
{
    return _mm512_rcp14_ps(x);
}
static inline float v_sum(V x)
{
    return _mm512_reduce_add_ps(x);
}
static inline float v_top(V x)
{
    return _mm512_reduce_max_ps(x);
}
static inline V v_mask(V x, size_t begin, size_t end)
{
    return _mm512_maskz_mov_ps((__mmask16)(first_lanes(end) & ~first_lanes(begin)), x);
}
static inline void v_bf16_n(uint16_t *y, V x, size_t n)
{
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_mask_storeu_epi16(y, first_lanes(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
}
static inline V v_from_bf16_n(const uint16_t *x, size_t n)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n), x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
static inline void v_u8_n(uint8_t *y, V x, size_t n)
{
    __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128));
    _mm_mask_storeu_epi8(y, first_lanes(n), _mm512_cvtepi32_epi8(q));
}
static inline V v_from_int_n(const int32_t *a, const int32_t *b, size_t n)
{
    __mmask16 m = first_lanes(n);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_maskz_loadu_epi32(m, a), _mm512_maskz_loadu_epi32(m, b)));
}

#endif
