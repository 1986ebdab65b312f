#include "score.h"
#include <immintrin.h>

static void score(uint32_t *out, const uint32_t *rows, const uint32_t *counts, size_t n, const uint32_t *lengths,
                  float weight, float a, float c)
{
    const __m256 w = _mm256_set1_ps(weight), va = _mm256_set1_ps(a), vc = _mm256_set1_ps(c);
    const __m256i one = _mm256_set1_epi32(1);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i row = _mm256_loadu_si256((const __m256i *)(rows + i));
        __m256 length = _mm256_cvtepi32_ps(_mm256_i32gather_epi32((const int *)lengths, row, 4));
        __m256 tf = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(counts + i)));
        __m256 k = _mm256_add_ps(va, _mm256_mul_ps(vc, length));
        __m256 x = _mm256_div_ps(_mm256_mul_ps(w, tf), _mm256_add_ps(tf, k));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_max_epi32(_mm256_cvtps_epi32(x), one));
    }
    for (; i < n; i++)
        out[i] = score_one(counts[i], lengths[rows[i]], weight, a, c);
}

static size_t collect(uint32_t *out, uint32_t *found, uint32_t *sums, size_t n, int32_t floor)
{
    const __m256i least = _mm256_set1_epi32(floor), zero = _mm256_setzero_si256();
    size_t m = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(sums + i));
        __m256i y = _mm256_loadu_si256((const __m256i *)(sums + i + 8));
        unsigned low = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(x, least)));
        unsigned high = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(y, least)));
        for (unsigned bits = low | high << 8; bits; bits &= bits - 1) {
            size_t at = i + (unsigned)__builtin_ctz(bits);
            out[m] = (uint32_t)at;
            found[m++] = sums[at];
        }
        _mm256_storeu_si256((__m256i *)(sums + i), zero);
        _mm256_storeu_si256((__m256i *)(sums + i + 8), zero);
    }
    return m;
}

const struct score_kernel score_kernel_avx2 = {score, collect};
