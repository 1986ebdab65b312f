/*
 * Attention products on AMX tiles. A tile is 16 rows of 64 bytes; _tile_dpbf16ps adds to C (16,16) f32 the product of
 * A (16,32) bf16 with B, which holds pairs: row i of B is 16 columns of two values, rows 2i and 2i+1 of the matrix.
 *
 * Packed keys, block of 32 keys: [half of 16 keys][chunk of 32 d][pair of d (16)][key (16)][2]
 * Packed values, block of 32 keys: [block of 16 d][pair of keys (16)][d (16)][2]
 *
 * Tiles 0-3 accumulate, 4 holds A, 5-7 and again B; sums over keys go block by block in order.
 */
#include "kernels.h"
#include "vec512.h"
#include <string.h>

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* In memory for good: compilers believe that loading a configuration reads its first 8 bytes only. */
static const struct tile_config all_whole = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static void begin(void)
{
    _tile_loadconfig(&all_whole);
}

static void end(void)
{
    _tile_release();
}

/* f32 bits rounded to bf16 in their upper half; the lower half is garbage. */
static inline __m512i rounded(V x)
{
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    return _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}

static size_t chunks(size_t D)
{
    return nn_head_width(D) / 32;
}

static void pack_k(uint16_t *packed, const uint16_t *const k[NN_KEY_BLOCK], size_t D)
{
    uint32_t *out = (uint32_t *)(void *)packed;
    for (size_t half = 0; half < 2; half++)
        for (size_t c = 0; c < chunks(D); c++, out += 256)
            for (size_t key = 0; key < 16; key++) {
                const uint16_t *row = k[half * 16 + key];
                uint32_t pairs[16] = {0};
                if (row)
                    memcpy(pairs, row + c * 32, sizeof pairs);
                for (size_t i = 0; i < 16; i++)
                    out[i * 16 + key] = pairs[i];
            }
}

static inline __m512i load_words(const uint16_t *x, size_t i)
{
    return x ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(x + i))) : _mm512_setzero_si512();
}

static void pack_v(uint16_t *packed, const uint16_t *const v[NN_KEY_BLOCK], size_t D)
{
    for (size_t d = 0; d < D; d += 16)
        for (size_t pair = 0; pair < 16; pair++, packed += 32) {
            __m512i high = _mm512_slli_epi32(load_words(v[2 * pair + 1], d), 16);
            _mm512_storeu_si512(packed, _mm512_or_si512(load_words(v[2 * pair], d), high));
        }
}

static void scores(float *s, size_t lds, const uint16_t *q, const uint16_t *packed, size_t blocks, size_t D)
{
    size_t n_chunks = chunks(D), half = n_chunks * 512, ldq = nn_head_width(D) * sizeof *q;
    size_t b = 0;
    for (; b + 2 <= blocks; b += 2, packed += 4 * half, s += 2 * NN_KEY_BLOCK) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t c = 0; c < n_chunks; c++) {
            const uint16_t *k = packed + c * 512;
            _tile_loadd(4, q + c * 32, ldq);
            _tile_loadd(5, k, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, k + half, 64);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(7, k + 2 * half, 64);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, k + 3 * half, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
        _tile_stored(0, s, lds * 4);
        _tile_stored(1, s + 16, lds * 4);
        _tile_stored(2, s + 32, lds * 4);
        _tile_stored(3, s + 48, lds * 4);
    }
    if (b < blocks) {
        _tile_zero(0);
        _tile_zero(1);
        for (size_t c = 0; c < n_chunks; c++) {
            _tile_loadd(4, q + c * 32, ldq);
            _tile_loadd(5, packed + c * 512, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, packed + c * 512 + half, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        _tile_stored(0, s, lds * 4);
        _tile_stored(1, s + 16, lds * 4);
    }
}

/* 2^x for x <= 0 to about 4e-5 of itself: p is rounded to 8 bits afterwards. */
static inline V exp2_coarse(V x)
{
    V n = v_round(x), f = x - n;
    V p = v_fma(v_set(9.6181291e-3f), f, v_set(5.5504109e-2f));
    p = v_fma(p, f, v_set(2.4022651e-1f));
    p = v_fma(p, f, v_set(6.9314718e-1f));
    return v_scale2(v_fma(p, f, v_set(1)), n);
}

static float softmax(uint16_t *p, const float *s, size_t from, size_t to, size_t n, float scale)
{
    size_t first = from / VN * VN, last = (to + VN - 1) / VN * VN;
    V high = v_set(s[from]), sum = v_set(0);
    for (size_t i = first; i < last; i += VN) {
        size_t a = from > i ? from - i : 0, b = to - i < VN ? to - i : VN;
        __mmask16 keep = (__mmask16)(first_lanes(b) & ~first_lanes(a));
        high = _mm512_mask_max_ps(high, keep, high, v_load(s + i));
    }
    V f = v_set(scale * 1.44269504088896341f), shift = v_set(-v_top(high)) * f;
    memset(p, 0, first * sizeof *p);
    for (size_t i = first; i < last; i += VN) {
        V e = exp2_coarse(v_max(v_fma(v_load(s + i), f, shift), v_set(-150)));
        if (i < from || i + VN > to)
            e = v_mask(e, from > i ? from - i : 0, to - i < VN ? to - i : VN);
        __m512i bits = _mm512_srli_epi32(rounded(e), 16);
        _mm256_storeu_si256((__m256i *)(p + i), _mm512_cvtepi32_epi16(bits));
        sum += _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    }
    memset(p + last, 0, (n - last) * sizeof *p);
    return 1.0f / v_sum(sum);
}

/* Four blocks of 16 d at once, then one by one. */
static void weigh(uint16_t *o, size_t ldo, size_t rows, const uint16_t *p, size_t ldp, const uint16_t *packed,
                  size_t blocks, size_t D, const float *factor, float *scratch)
{
    size_t step = nn_packed_block(D), cols = (D + 15) / 16, d = 0;
    for (; d + 4 <= cols; d += 4) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t b = 0; b < blocks; b++) {
            const uint16_t *v = packed + b * step + d * 512;
            _tile_loadd(4, p + b * NN_KEY_BLOCK, ldp * 2);
            _tile_loadd(5, v, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, v + 512, 64);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(7, v + 1024, 64);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, v + 1536, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
        _tile_stored(0, scratch + d * 16, cols * 64);
        _tile_stored(1, scratch + d * 16 + 16, cols * 64);
        _tile_stored(2, scratch + d * 16 + 32, cols * 64);
        _tile_stored(3, scratch + d * 16 + 48, cols * 64);
    }
    for (; d < cols; d++) {
        _tile_zero(0);
        for (size_t b = 0; b < blocks; b++) {
            _tile_loadd(4, p + b * NN_KEY_BLOCK, ldp * 2);
            _tile_loadd(5, packed + b * step + d * 512, 64);
            _tile_dpbf16ps(0, 4, 5);
        }
        _tile_stored(0, scratch + d * 16, cols * 64);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < D; i += VN)
            v_bf16_n(o + r * ldo + i, v_load(scratch + r * cols * 16 + i) * v_set(factor[r]), D - i < VN ? D - i : VN);
}

const struct nn_tile_kernels nn_tile_kernels_amx = {begin, end, pack_k, pack_v, scores, softmax, weigh};
