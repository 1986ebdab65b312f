/*
 * int8 scores with AVX-512 VNNI. vpdpbusd multiplies unsigned by signed bytes, so one side is moved up by 128 and
 * 128 * sum(other side) taken off again; the products are added in 32 bits, exactly.
 *
 * Few queries: the row is moved up (exclusive or with 0x80), the query's sum is known. Many: 16 queries side by side,
 * four dimensions each, moved up when packed; four bytes of a row are broadcast against them, and no sum across lanes
 * remains to be made but that of the row itself.
 *   packed (ceil(Q/16), ceil(D/4), 16 queries, 4 bytes)
 */
#include "dot_int.h"
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Loops over the registers of a tile must be unrolled whole, or the tile lives in memory. */
#define UNROLL _Pragma("GCC unroll 8")

enum { FEW = 6 }; /* up to here row by row is faster than 16 lanes mostly empty */

INLINE __mmask16 first_lanes(size_t n)
{
    return _cvtu32_mask16(n < 16 ? (1u << n) - 1 : 0xffffu);
}

static size_t groups(size_t D)
{
    return (D + 3) / 4;
}

static size_t vnni_packed_bytes(size_t Q, size_t D)
{
    return Q <= FEW ? 0 : (Q + 15) / 16 * groups(D) * 64;
}

static void vnni_pack(struct dot_queries *queries)
{
    size_t Q = queries->Q, D = queries->D;
    unsigned char *to = queries->packed;
    if (Q <= FEW)
        return;
    memset(to, 0, vnni_packed_bytes(Q, D));
    for (size_t q = 0; q < Q; q++)
        for (size_t d = 0; d < D; d++)
            to[((q / 16 * groups(D) + d / 4) * 16 + q % 16) * 4 + d % 4] =
                (unsigned char)(queries->rows[q * D + d] + 128);
}

INLINE __m512i load_bytes(const int8_t *from, size_t left)
{
    if (left >= 64)
        return _mm512_loadu_si512(from);
    return _mm512_maskz_loadu_epi8(((__mmask64)1 << left) - 1, from);
}

/* Sums of the lanes of four registers. */
INLINE __m128i sum_four(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i w = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}

/* Four rows (the last ones may repeat) by one query; the first n_rows scores are written, Q apart. */
INLINE void few_tile(float *scores, const int8_t *const rows[4], const float *scales, size_t n_rows,
                     const struct dot_queries *queries, size_t q, size_t ahead)
{
    size_t D = queries->D;
    const int8_t *y = queries->rows + q * D;
    const __m512i up = _mm512_set1_epi8((char)0x80);
    __m512i acc[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t d = 0; d < D; d += 64) {
        __m512i b = load_bytes(y + d, D - d);
        UNROLL
        for (size_t r = 0; r < 4; r++) {
            acc[r] = _mm512_dpbusd_epi32(acc[r], _mm512_xor_si512(load_bytes(rows[r] + d, D - d), up), b);
            _mm_prefetch((const char *)(rows[r] + d + ahead), _MM_HINT_T0);
        }
    }
    __m128i dots = _mm_sub_epi32(sum_four(acc[0], acc[1], acc[2], acc[3]), _mm_set1_epi32(128 * queries->sums[q]));
    float out[4];
    _mm_storeu_ps(out, _mm_cvtepi32_ps(dots));
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        scores[r * queries->Q] = out[r] * scales[r] * queries->scales[q];
}

void dot_vnni_few(float *scores, const int8_t *rows, const float *scales, size_t n, const struct dot_queries *queries)
{
    size_t Q = queries->Q, D = queries->D;
    for (size_t i = 0; i < n; i += 4) {
        size_t n_rows = n - i < 4 ? n - i : 4;
        const int8_t *x[4];
        for (size_t r = 0; r < 4; r++)
            x[r] = rows + (i + (r < n_rows ? r : 0)) * D;
        for (size_t q = 0; q < Q; q++)
            few_tile(scores + i * Q + q, x, scales + i, n_rows, queries, q, n * D);
    }
}

static int32_t row_sum(const int8_t *row, size_t D)
{
    __m512i acc = _mm512_setzero_si512();
    for (size_t d = 0; d < D; d += 64)
        acc = _mm512_dpbusd_epi32(acc, _mm512_set1_epi8(1), load_bytes(row + d, D - d));
    return _mm512_reduce_add_epi32(acc);
}

INLINE __m512i broadcast_four(const int8_t *from, size_t left)
{
    int32_t four = 0;
    memcpy(&four, from, left < 4 ? left : 4);
    return _mm512_set1_epi32(four);
}

/* n_rows rows by n_lanes times 16 queries from query q on, a multiple of 16. */
INLINE void many_tile(float *scores, const int8_t *rows, const float *scales, size_t n_rows,
                      const struct dot_queries *queries, size_t q, size_t n_lanes)
{
    size_t Q = queries->Q, D = queries->D, G = groups(D);
    const unsigned char *packed = (const unsigned char *)queries->packed + q / 16 * G * 64;
    __m512i acc[6][4];
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        UNROLL
    for (size_t j = 0; j < n_lanes; j++)
        acc[r][j] = _mm512_setzero_si512();
    for (size_t g = 0; g < D / 4; g++) {
        __m512i y[4];
        UNROLL
        for (size_t j = 0; j < n_lanes; j++)
            y[j] = _mm512_load_si512(packed + (j * G + g) * 64);
        UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            __m512i x = broadcast_four(rows + r * D + 4 * g, 4);
            UNROLL
            for (size_t j = 0; j < n_lanes; j++)
                acc[r][j] = _mm512_dpbusd_epi32(acc[r][j], y[j], x);
        }
    }
    UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        __m512i off = _mm512_set1_epi32(128 * row_sum(rows + r * D, D));
        __m512i last = D % 4 ? broadcast_four(rows + r * D + D / 4 * 4, D % 4) : _mm512_setzero_si512();
        UNROLL
        for (size_t j = 0; j < n_lanes; j++) {
            size_t left = Q - q - j * 16;
            __mmask16 inside = first_lanes(left);
            if (D % 4)
                acc[r][j] = _mm512_dpbusd_epi32(acc[r][j], _mm512_load_si512(packed + (j * G + G - 1) * 64), last);
            __m512 dots = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[r][j], off));
            __m512 scale = _mm512_maskz_loadu_ps(inside, queries->scales + q + j * 16);
            dots = _mm512_mul_ps(_mm512_mul_ps(dots, _mm512_set1_ps(scales[r])), scale);
            _mm512_mask_storeu_ps(scores + r * Q + q + j * 16, inside, dots);
        }
    }
}

INLINE void many_columns(float *scores, const int8_t *rows, const float *scales, size_t n,
                         const struct dot_queries *queries, size_t q, size_t n_lanes)
{
    size_t Q = queries->Q, D = queries->D, i = 0;
    for (; i + 6 <= n; i += 6) {
        if (q == 0)
            for (size_t at = 0; at < 6 * D; at += 64)
                _mm_prefetch((const char *)(rows + (n + i) * D + at), _MM_HINT_T0);
        many_tile(scores + i * Q, rows + i * D, scales + i, 6, queries, q, n_lanes);
    }
    for (; i < n; i++)
        many_tile(scores + i * Q, rows + i * D, scales + i, 1, queries, q, n_lanes);
}

static void vnni_int8(float *scores, const int8_t *rows, const float *scales, size_t n,
                      const struct dot_queries *queries)
{
    if (queries->Q <= FEW) {
        dot_vnni_few(scores, rows, scales, n, queries);
        return;
    }
    size_t q = 0, lanes = (queries->Q + 15) / 16;
    for (; lanes >= 4; lanes -= 4, q += 64)
        many_columns(scores, rows, scales, n, queries, q, 4);
    if (lanes >= 2) {
        many_columns(scores, rows, scales, n, queries, q, 2);
        lanes -= 2, q += 32;
    }
    if (lanes)
        many_columns(scores, rows, scales, n, queries, q, 1);
}

const struct dot_kernels dot_kernels_vnni = {
    .f32 = dot_avx512_f32,
    .int8 = vnni_int8,
    .packed_bytes = vnni_packed_bytes,
    .pack = vnni_pack,
    .widen = dot_avx512_widen,
    .reach = dot_avx512_reach,
};
