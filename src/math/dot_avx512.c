/*
 * f32 scores with AVX-512: a tile of 4 rows by up to 6 queries keeps 24 sums in registers, ten loads for 24 fused
 * multiply-adds. Queries go round the outside, so that the block of rows stays in the first-level cache.
 */
#include "dot_int.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
/* Loops over the registers of a tile must be unrolled whole, or the tile lives in memory. */
#define UNROLL _Pragma("GCC unroll 8")

INLINE __mmask16 first_lanes(size_t n)
{
    return _cvtu32_mask16(n < 16 ? (1u << n) - 1 : 0xffffu);
}

/* Lanes of rows a, b, c, d to s4 (see dot.h): block r of four numbers belongs to row r. */
INLINE __m512 reduce_rows(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, a, b), _mm512_shuffle_f32x4(a, b, 0x4e));
    __m512 cd = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, c, d), _mm512_shuffle_f32x4(c, d, 0x4e));
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

/* (s4[0] + s4[2]), (s4[1] + s4[3]) of two queries a, b in each block: a, b, a, b. */
INLINE __m512 reduce_pair(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

/* Block r: the dots of row r with queries a, b, c, d. */
INLINE __m512 reduce_queries(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = reduce_pair(a, b), cd = reduce_pair(c, d);
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
}

/* Writes the first n of each block to the row's place in scores. */
INLINE void store_blocks(float *scores, size_t Q, __m512 v, size_t n_rows, size_t n)
{
    __m128 part[4] = {_mm512_castps512_ps128(v), _mm512_extractf32x4_ps(v, 1), _mm512_extractf32x4_ps(v, 2),
                      _mm512_extractf32x4_ps(v, 3)};
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        _mm_mask_storeu_ps(scores + r * Q, (__mmask8)((1u << n) - 1), part[r]);
}

enum { ROWS = 4, QUERIES = 6 };

INLINE void tile_store(float *scores, size_t Q, __m512 acc[ROWS][QUERIES], size_t n_rows, size_t n_queries)
{
    __m512 s[QUERIES];
    UNROLL
    for (size_t q = 0; q < n_queries; q++)
        s[q] = reduce_rows(acc[0][q], acc[1][q], acc[2][q], acc[3][q]);
    if (n_queries >= 4)
        store_blocks(scores, Q, reduce_queries(s[0], s[1], s[2], s[3]), n_rows, 4);
    size_t q = n_queries >= 4 ? 4 : 0;
    if (n_queries > q) {
        __m512 one = s[q], two = n_queries > q + 1 ? s[q + 1] : s[q];
        store_blocks(scores + q, Q, reduce_queries(one, two, one, two), n_rows, n_queries - q);
    }
}

/* scores [n_rows][Q]; `ahead` (floats) is where the rows lie that come next, 0: nothing is prefetched. */
INLINE void tile(float *scores, size_t Q, const float *rows, const float *queries, size_t D, size_t n_rows,
                 size_t n_queries, size_t ahead)
{
    __m512 acc[ROWS][QUERIES];
    UNROLL
    for (size_t r = 0; r < ROWS; r++)
        UNROLL
    for (size_t q = 0; q < n_queries; q++)
        acc[r][q] = _mm512_setzero_ps();
    for (size_t d = 0; d < D; d += 16) {
        __mmask16 mask = first_lanes(D - d);
        __m512 x[ROWS];
        UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            x[r] = D - d < 16 ? _mm512_maskz_loadu_ps(mask, rows + r * D + d) : _mm512_loadu_ps(rows + r * D + d);
            if (ahead)
                _mm_prefetch((const char *)(rows + r * D + d + ahead), _MM_HINT_T0);
        }
        UNROLL
        for (size_t q = 0; q < n_queries; q++) {
            const float *from = queries + q * D + d;
            __m512 y = D - d < 16 ? _mm512_maskz_loadu_ps(mask, from) : _mm512_loadu_ps(from);
            UNROLL
            for (size_t r = 0; r < n_rows; r++)
                acc[r][q] = _mm512_fmadd_ps(x[r], y, acc[r][q]);
        }
    }
    tile_store(scores, Q, acc, n_rows, n_queries);
}

/* n_queries is a constant at every call, so that the tile's sums stay in registers. */
INLINE void columns(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D,
                    size_t n_queries, bool prefetch)
{
    size_t i = 0;
    for (; i + ROWS <= n; i += ROWS) {
        if (prefetch)
            tile(scores + i * Q, Q, rows + i * D, queries, D, ROWS, n_queries, n * D);
        else
            tile(scores + i * Q, Q, rows + i * D, queries, D, ROWS, n_queries, 0);
    }
    for (; i < n; i++)
        tile(scores + i * Q, Q, rows + i * D, queries, D, 1, n_queries, 0);
}

void dot_avx512_f32(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D, bool stream)
{
    size_t q = 0;
    for (; q + 6 <= Q; q += 6)
        columns(scores + q, rows, n, queries + q * D, Q, D, 6, stream && q == 0);
    for (; q + 4 <= Q; q += 4)
        columns(scores + q, rows, n, queries + q * D, Q, D, 4, stream && q == 0);
    for (; q + 2 <= Q; q += 2)
        columns(scores + q, rows, n, queries + q * D, Q, D, 2, stream && q == 0);
    for (; q < Q; q++)
        columns(scores + q, rows, n, queries + q * D, Q, D, 1, stream && q == 0);
}

void dot_avx512_widen(float *out, const uint16_t *in, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(in + i)));
        _mm512_storeu_si512(out + i, _mm512_slli_epi32(wide, 16));
        if (i % 32 == 0)
            _mm_prefetch((const char *)(in + n + i), _MM_HINT_T0);
    }
    dot_kernels_ref.widen(out + i, in + i, n - i);
}

size_t dot_avx512_reach(uint32_t *where, const float *scores, const float *floors, size_t n, size_t Q)
{
    size_t found = 0, total = n * Q;
    if (Q == 1) {
        __m512 floor = _mm512_set1_ps(floors[0]);
        for (size_t i = 0; i < total; i += 16) {
            __mmask16 inside = first_lanes(total - i);
            unsigned hits =
                _mm512_mask_cmp_ps_mask(inside, _mm512_maskz_loadu_ps(inside, scores + i), floor, _CMP_GE_OQ);
            for (; hits; hits &= hits - 1)
                where[found++] = (uint32_t)i + (uint32_t)__builtin_ctz(hits);
        }
        return found;
    }
    for (size_t i = 0; i < n; i++, scores += Q)
        for (size_t q = 0; q < Q; q += 16) {
            __mmask16 inside = first_lanes(Q - q);
            unsigned hits = _mm512_mask_cmp_ps_mask(inside, _mm512_maskz_loadu_ps(inside, scores + q),
                                                    _mm512_maskz_loadu_ps(inside, floors + q), _CMP_GE_OQ);
            for (; hits; hits &= hits - 1)
                where[found++] = (uint32_t)(i * Q + q) + (uint32_t)__builtin_ctz(hits);
        }
    return found;
}

const struct dot_kernels dot_kernels_avx512 = {
    .f32 = dot_avx512_f32,
    .int8 = dot_avx2_int8,
    .packed_bytes = dot_avx2_packed_bytes,
    .pack = dot_avx2_pack,
    .widen = dot_avx512_widen,
    .reach = dot_avx512_reach,
};
