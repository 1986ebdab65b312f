/* Vectors of 8 floats: the operations that kernels_body.h and grad_body.h are written in. */
#ifndef NN_VEC256_H
#define NN_VEC256_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef __m256 V;
enum { VN = 8 };

static inline __m256i lanes_between(size_t begin, size_t end)
{
    __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)end), i);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)begin), i), below);
}
static inline V v_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline V v_load(const float *x)
{
    return _mm256_loadu_ps(x);
}
static inline void v_store(float *y, V v)
{
    _mm256_storeu_ps(y, v);
}
static inline V v_load_n(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, lanes_between(0, n));
}
static inline void v_store_n(float *y, V v, size_t n)
{
    _mm256_maskstore_ps(y, lanes_between(0, n), v);
}
static inline V v_fma(V a, V b, V c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline V v_max(V a, V b)
{
    return _mm256_max_ps(a, b);
}
static inline V v_clamp(V x, float low, float high)
{
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(low)), _mm256_set1_ps(high));
}
static inline V v_round(V x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* In two halves, so that results down to the smallest subnormal and n = 128 come out right. */
static inline V v_scale2(V x, V n)
{
    __m256i k = _mm256_cvtps_epi32(n), h = _mm256_srai_epi32(k, 1), bias = _mm256_set1_epi32(127);
    V a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(h, bias), 23));
    V b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, h), bias), 23));
    return x * a * b;
}
static inline V v_abs(V x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
static inline V v_reciprocal(V x)
{
    return v_set(1) / x;
}
static inline float v_sum(V x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline float v_top(V x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline V v_mask(V x, size_t begin, size_t end)
{
    return _mm256_and_ps(x, _mm256_castsi256_ps(lanes_between(begin, end)));
}
static inline void v_bf16_n(uint16_t *y, V x, size_t n)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    bits = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    uint16_t out[8];
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    _mm_storeu_si128((__m128i *)out, words);
    memcpy(y, out, n * sizeof *y);
}
static inline V v_from_bf16_n(const uint16_t *x, size_t n)
{
    uint16_t in[8] = {0};
    memcpy(in, x, n * sizeof *x);
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)in));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
static inline void v_u8_n(uint8_t *y, V x, size_t n)
{
    __m256i q = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(128));
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    uint8_t out[16];
    _mm_storeu_si128((__m128i *)out, _mm_packus_epi16(words, words));
    memcpy(y, out, n);
}
static inline V v_from_int_n(const int32_t *a, const int32_t *b, size_t n)
{
    __m256i m = lanes_between(0, n);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_maskload_epi32(a, m), _mm256_maskload_epi32(b, m)));
}

#endif
