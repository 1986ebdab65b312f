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
#include <math.h>
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

static size_t chunks(size_t D)
{
    return nn_head_width(D) / 32;
}

/* Columns of 16 rows of 16 words: out[i][j] = in[j][i]. */
static inline void transpose(__m512i out[16], const __m512i in[16])
{
    __m512i a[16], b[16];
    for (size_t i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
    for (size_t g = 0; g < 16; g += 4) {
        b[g] = _mm512_unpacklo_epi64(a[g], a[g + 2]);
        b[g + 1] = _mm512_unpackhi_epi64(a[g], a[g + 2]);
        b[g + 2] = _mm512_unpacklo_epi64(a[g + 1], a[g + 3]);
        b[g + 3] = _mm512_unpackhi_epi64(a[g + 1], a[g + 3]);
    }
    /* b[4g + j] holds column 4l + j of rows 4g .. 4g + 3 in its quarter l. */
    for (size_t j = 0; j < 4; j++) {
        __m512i even_low = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x88);
        __m512i odd_low = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xdd);
        __m512i even_high = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x88);
        __m512i odd_high = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xdd);
        out[j] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        out[4 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        out[8 + j] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        out[12 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
}

static void pack_k(uint16_t *packed, const uint16_t *const k[NN_KEY_BLOCK], size_t D)
{
    for (size_t half = 0; half < 2; half++)
        for (size_t c = 0; c < chunks(D); c++, packed += 512) {
            __m512i rows[16], columns[16];
            for (size_t key = 0; key < 16; key++) {
                const uint16_t *row = k[half * 16 + key];
                rows[key] = row ? _mm512_loadu_si512(row + c * 32) : _mm512_setzero_si512();
            }
            transpose(columns, rows);
            for (size_t i = 0; i < 16; i++)
                _mm512_storeu_si512(packed + i * 32, columns[i]);
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

/* 2^x to 1e-4 of itself: p is rounded to 8 bits afterwards. Scaling takes the floor of x itself. */
static inline V exp2_coarse(V x)
{
    V f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    V p = v_fma(v_set(7.802449948e-02f), f, v_set(2.260671884e-01f));
    p = v_fma(p, f, v_set(6.958335292e-01f));
    return v_scale2(v_fma(p, f, v_set(9.999252191e-01f)), x);
}

static inline __mmask16 lanes_of(size_t i, size_t from, size_t to)
{
    size_t a = from > i ? from - i : 0, b = to > i ? to - i : 0;
    return (__mmask16)(first_lanes(b < VN ? b : VN) & ~first_lanes(a < VN ? a : VN));
}

static inline V load_for_top(const float *s, size_t i, size_t from, size_t to)
{
    return _mm512_mask_loadu_ps(v_set(-INFINITY), lanes_of(i, from, to), s + i);
}

static inline V exp_of(const float *s, size_t i, size_t from, size_t to, V f, V shift)
{
    return _mm512_maskz_mov_ps(lanes_of(i, from, to), exp2_coarse(v_fma(v_load(s + i), f, shift)));
}

static inline __m512bh narrow(V low, V high)
{
    return _mm512_cvtne2ps_pbh(high, low);
}

/* The keys go 32 at a time, those at the edges under masks. The sum is of the rounded terms. */
static float softmax(uint16_t *p, const float *s, size_t from, size_t to, size_t n, float scale)
{
    size_t first = from / 32 * 32, last = (to + 31) / 32 * 32;
    size_t whole = (from + 31) / 32 * 32, whole_end = to / 32 * 32;
    V top[2] = {v_set(-INFINITY), v_set(-INFINITY)}, sum = v_set(0);
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (size_t i = first; i < last; i += 32) {
        bool inside = i >= whole && i < whole_end;
        top[0] = v_max(top[0], inside ? v_load(s + i) : load_for_top(s, i, from, to));
        top[1] = v_max(top[1], inside ? v_load(s + i + VN) : load_for_top(s, i + VN, from, to));
    }
    V f = v_set(scale * 1.44269504088896341f), shift = v_set(-v_top(v_max(top[0], top[1]))) * f;
    memset(p, 0, first * sizeof *p);
    for (size_t i = first; i < last; i += 32) {
        __m512bh e;
        if (i >= whole && i < whole_end)
            e = narrow(exp2_coarse(v_fma(v_load(s + i), f, shift)), exp2_coarse(v_fma(v_load(s + i + VN), f, shift)));
        else
            e = narrow(exp_of(s, i, from, to, f, shift), exp_of(s, i + VN, from, to, f, shift));
        _mm512_storeu_si512(p + i, (__m512i)e);
        sum = _mm512_dpbf16_ps(sum, e, ones);
    }
    memset(p + last, 0, (n - last) * sizeof *p);
    return 1.0f / v_sum(sum);
}

/* Four blocks of 16 d at once, then two, then one. */
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
    for (; d + 2 <= cols; d += 2) {
        _tile_zero(0);
        _tile_zero(1);
        for (size_t b = 0; b < blocks; b++) {
            const uint16_t *v = packed + b * step + d * 512;
            _tile_loadd(4, p + b * NN_KEY_BLOCK, ldp * 2);
            _tile_loadd(5, v, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, v + 512, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        _tile_stored(0, scratch + d * 16, cols * 64);
        _tile_stored(1, scratch + d * 16 + 16, cols * 64);
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
