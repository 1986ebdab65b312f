/*
 * Scores with AVX2. f32: a tile of 2 rows by 3 queries, 16 lanes as two registers, so that sums have the order (and the
 * bits) of dot.h. int8: both sides widened to 16 bits, where vpmaddwd is exact.
 */
#include "dot_int.h"
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Loops over the registers of a tile must be unrolled whole, or the tile lives in memory. */
#define UNROLL _Pragma("GCC unroll 8")

enum { ROWS = 2, QUERIES = 3 };

struct lanes {
    __m256 low, high; /* 0-7, 8-15 */
};

INLINE float reduce(struct lanes v)
{
    __m256 s8 = _mm256_add_ps(v.low, v.high);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

INLINE void tile(float *scores, size_t Q, const float *rows, const float *queries, size_t D, size_t n_rows,
                 size_t n_queries, size_t ahead)
{
    struct lanes acc[ROWS][QUERIES];
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        UNROLL
    for (size_t q = 0; q < n_queries; q++)
        acc[r][q] = (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t d = 0;
    for (; d + 16 <= D; d += 16) {
        struct lanes x[ROWS];
        UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            const float *from = rows + r * D + d;
            x[r] = (struct lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
            if (ahead)
                _mm_prefetch((const char *)(from + ahead), _MM_HINT_T0);
        }
        UNROLL
        for (size_t q = 0; q < n_queries; q++) {
            const float *from = queries + q * D + d;
            UNROLL
            for (size_t r = 0; r < n_rows; r++) {
                acc[r][q].low = _mm256_fmadd_ps(x[r].low, _mm256_loadu_ps(from), acc[r][q].low);
                acc[r][q].high = _mm256_fmadd_ps(x[r].high, _mm256_loadu_ps(from + 8), acc[r][q].high);
            }
        }
    }
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        UNROLL
    for (size_t q = 0; q < n_queries; q++) {
        if (d < D) {
            float x[16] = {0}, y[16] = {0};
            memcpy(x, rows + r * D + d, (D - d) * sizeof *x);
            memcpy(y, queries + q * D + d, (D - d) * sizeof *y);
            acc[r][q].low = _mm256_fmadd_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y), acc[r][q].low);
            acc[r][q].high = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8), _mm256_loadu_ps(y + 8), acc[r][q].high);
        }
        scores[r * Q + q] = reduce(acc[r][q]);
    }
}

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

static void avx2_f32(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D, bool stream)
{
    size_t q = 0;
    for (; q + 3 <= Q; q += 3)
        columns(scores + q, rows, n, queries + q * D, Q, D, 3, stream && q == 0);
    for (; q < Q; q++)
        columns(scores + q, rows, n, queries + q * D, Q, D, 1, stream && q == 0);
}

/* ---- int8: queries packed as rows of 16-bit numbers, continued with zeros to a multiple of 16 ---- */

static size_t wide_length(size_t D)
{
    return (D + 15) / 16 * 16;
}

size_t dot_avx2_packed_bytes(size_t Q, size_t D)
{
    return Q * wide_length(D) * sizeof(int16_t);
}

void dot_avx2_pack(struct dot_queries *queries)
{
    size_t D = queries->D, wide = wide_length(D);
    int16_t *to = queries->packed;
    memset(to, 0, dot_avx2_packed_bytes(queries->Q, D));
    for (size_t q = 0; q < queries->Q; q++)
        for (size_t d = 0; d < D; d++)
            to[q * wide + d] = queries->rows[q * D + d];
}

INLINE int32_t sum_i32(__m256i v)
{
    __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    __m128i s2 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s2, _mm_shuffle_epi32(s2, 0xb1)));
}

INLINE __m256i widen_row(const int8_t *row)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)row));
}

/* One row of 16-bit numbers per call of vpmaddwd: 4 rows by 2 queries in registers. */
INLINE void int8_tile(float *scores, const int8_t *rows, const float *scales, const struct dot_queries *queries,
                      size_t q, size_t n_rows, size_t n_queries, size_t ahead)
{
    size_t D = queries->D, wide = wide_length(D);
    const int16_t *y = (const int16_t *)queries->packed + q * wide;
    __m256i acc[4][2];
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        UNROLL
    for (size_t j = 0; j < n_queries; j++)
        acc[r][j] = _mm256_setzero_si256();
    for (size_t d = 0; d < D; d += 16) {
        __m256i x[4];
        UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            int8_t last[16] = {0};
            if (D - d < 16)
                memcpy(last, rows + r * D + d, D - d);
            x[r] = widen_row(D - d < 16 ? last : rows + r * D + d);
            if (ahead && d % 64 == 0)
                _mm_prefetch((const char *)(rows + r * D + d + ahead), _MM_HINT_T0);
        }
        UNROLL
        for (size_t j = 0; j < n_queries; j++) {
            __m256i b = _mm256_load_si256((const __m256i *)(const void *)(y + j * wide + d));
            UNROLL
            for (size_t r = 0; r < n_rows; r++)
                acc[r][j] = _mm256_add_epi32(acc[r][j], _mm256_madd_epi16(x[r], b));
        }
    }
    UNROLL
    for (size_t r = 0; r < n_rows; r++)
        UNROLL
    for (size_t j = 0; j < n_queries; j++)
        scores[r * queries->Q + q + j] = (float)sum_i32(acc[r][j]) * scales[r] * queries->scales[q + j];
}

INLINE void int8_columns(float *scores, const int8_t *rows, const float *scales, size_t n,
                         const struct dot_queries *queries, size_t q, size_t n_queries)
{
    size_t Q = queries->Q, D = queries->D, i = 0;
    for (; i + 4 <= n; i += 4)
        int8_tile(scores + i * Q, rows + i * D, scales + i, queries, q, 4, n_queries, q ? 0 : n * D);
    for (; i < n; i++)
        int8_tile(scores + i * Q, rows + i * D, scales + i, queries, q, 1, n_queries, 0);
}

void dot_avx2_int8(float *scores, const int8_t *rows, const float *scales, size_t n, const struct dot_queries *queries)
{
    size_t q = 0;
    for (; q + 2 <= queries->Q; q += 2)
        int8_columns(scores, rows, scales, n, queries, q, 2);
    for (; q < queries->Q; q++)
        int8_columns(scores, rows, scales, n, queries, q, 1);
}

static void avx2_widen(float *out, const uint16_t *in, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(in + i)));
        _mm256_storeu_ps(out + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
        if (i % 32 == 0)
            _mm_prefetch((const char *)(in + n + i), _MM_HINT_T0);
    }
    dot_kernels_ref.widen(out + i, in + i, n - i);
}

static size_t avx2_reach(uint32_t *where, const float *scores, const float *floors, size_t n, size_t Q)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++, scores += Q)
        for (size_t q = 0; q < Q; q += 8) {
            unsigned hits = 0;
            if (Q - q >= 8) {
                __m256 over = _mm256_cmp_ps(_mm256_loadu_ps(scores + q), _mm256_loadu_ps(floors + q), _CMP_GE_OQ);
                hits = (unsigned)_mm256_movemask_ps(over);
            } else {
                for (size_t j = 0; j < Q - q; j++)
                    hits |= (unsigned)(scores[q + j] >= floors[q + j]) << j;
            }
            for (; hits; hits &= hits - 1)
                where[found++] = (uint32_t)(i * Q + q) + (uint32_t)__builtin_ctz(hits);
        }
    return found;
}

const struct dot_kernels dot_kernels_avx2 = {
    .f32 = avx2_f32,
    .int8 = dot_avx2_int8,
    .packed_bytes = dot_avx2_packed_bytes,
    .pack = dot_avx2_pack,
    .widen = avx2_widen,
    .reach = avx2_reach,
};
