#include "score.h"
#include <immintrin.h>

static void score(uint32_t *out, const uint32_t *rows, const uint32_t *counts, size_t n, const uint32_t *lengths,
                  float weight, float a, float c)
{
    const __m512 w = _mm512_set1_ps(weight), va = _mm512_set1_ps(a), vc = _mm512_set1_ps(c);
    const __m512i one = _mm512_set1_epi32(1);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512i row = _mm512_loadu_si512(rows + i);
        __m512 length = _mm512_cvtepi32_ps(_mm512_i32gather_epi32(row, lengths, 4));
        __m512 tf = _mm512_cvtepi32_ps(_mm512_loadu_si512(counts + i));
        __m512 k = _mm512_add_ps(va, _mm512_mul_ps(vc, length));
        __m512 x = _mm512_div_ps(_mm512_mul_ps(w, tf), _mm512_add_ps(tf, k));
        _mm512_storeu_si512(out + i, _mm512_max_epi32(_mm512_cvtps_epi32(x), one));
    }
    for (; i < n; i++)
        out[i] = score_one(counts[i], lengths[rows[i]], weight, a, c);
}

static size_t collect(uint32_t *out, uint32_t *found, uint32_t *sums, size_t n, int32_t floor)
{
    const __m512i least = _mm512_set1_epi32(floor), zero = _mm512_setzero_si512(), sixteen = _mm512_set1_epi32(16);
    __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t m = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m512i x = _mm512_loadu_si512(sums + i);
        __mmask16 above = _mm512_cmpgt_epi32_mask(x, least);
        if (above) {
            _mm512_storeu_si512(out + m, _mm512_maskz_compress_epi32(above, places));
            _mm512_storeu_si512(found + m, _mm512_maskz_compress_epi32(above, x));
            m += (unsigned)__builtin_popcount(above);
        }
        places = _mm512_add_epi32(places, sixteen);
        _mm512_storeu_si512(sums + i, zero);
    }
    return m;
}

const struct score_kernel score_kernel_avx512 = {score, collect};
