/*
 * int8 scores with AMX: tiles of 16 rows by 64 bytes, straight from the rows, times 64 bytes by 16 queries, signed by
 * signed, added in 32 bits. Up to four groups of 16 queries share a tile of rows.
 *   packed (ceil(Q/16), 16 * ceil(D/64), 16 queries, 4 bytes), zeros beyond Q and D
 */
#include "dot_int.h"
#include <immintrin.h>
#include <string.h>

enum { FEW = 6, GROUPS = 4 }; /* few queries: row by row, as dot_vnni_few */

/* Layout of the tile configuration, palette 1. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static size_t steps(size_t D)
{
    return (D + 63) / 64;
}

static size_t amx_packed_bytes(size_t Q, size_t D)
{
    return Q <= FEW ? 0 : (Q + 15) / 16 * steps(D) * 1024;
}

static void amx_pack(struct dot_queries *queries)
{
    size_t Q = queries->Q, D = queries->D;
    int8_t *to = queries->packed;
    if (Q <= FEW)
        return;
    memset(to, 0, amx_packed_bytes(Q, D));
    for (size_t q = 0; q < Q; q++)
        for (size_t d = 0; d < D; d++)
            to[((q / 16 * 16 * steps(D) + d / 4) * 16 + q % 16) * 4 + d % 4] = queries->rows[q * D + d];
}

static void configure(void)
{
    struct tile_config config = {.palette = 1};
    for (size_t t = 0; t < 8; t++) {
        config.row_bytes[t] = 64;
        config.rows[t] = 16;
    }
    _tile_loadconfig(&config);
}

/* Bytes [d, d + 64) of n_rows rows, with zeros where there are none. */
static void copy_rows(int8_t *out, const int8_t *rows, size_t n_rows, size_t d, size_t D)
{
    size_t n = D - d < 64 ? D - d : 64;
    memset(out, 0, 16 * 64);
    for (size_t r = 0; r < n_rows; r++)
        memcpy(out + r * 64, rows + r * D + d, n);
}

/* dots (16, GROUPS * 16) of up to 16 rows with n_groups groups of queries; tiles 0-3 sums, 4 rows, 5 queries. */
static void multiply(int32_t *dots, const int8_t *rows, size_t n_rows, size_t D, const int8_t *packed, size_t n_groups)
{
    _Alignas(64) int8_t copy[16 * 64];
    size_t group_bytes = steps(D) * 1024;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t d = 0; d < D; d += 64) {
        const int8_t *y = packed + d / 64 * 1024;
        if (n_rows == 16 && D - d >= 64) {
            _tile_loadd(4, rows + d, (long)D);
        } else {
            copy_rows(copy, rows, n_rows, d, D);
            _tile_loadd(4, copy, 64);
        }
        _tile_loadd(5, y, 64);
        _tile_dpbssd(0, 4, 5);
        if (n_groups > 1) {
            _tile_loadd(6, y + group_bytes, 64);
            _tile_dpbssd(1, 4, 6);
        }
        if (n_groups > 2) {
            _tile_loadd(5, y + 2 * group_bytes, 64);
            _tile_dpbssd(2, 4, 5);
        }
        if (n_groups > 3) {
            _tile_loadd(6, y + 3 * group_bytes, 64);
            _tile_dpbssd(3, 4, 6);
        }
    }
    _tile_stored(0, dots, GROUPS * 64);
    _tile_stored(1, dots + 16, GROUPS * 64);
    _tile_stored(2, dots + 32, GROUPS * 64);
    _tile_stored(3, dots + 48, GROUPS * 64);
}

/* Scores of n_rows rows with queries [q, q + 16 * n_groups). */
static void scale_dots(float *scores, const int32_t *dots, const float *scales, size_t n_rows,
                       const struct dot_queries *queries, size_t q, size_t n_groups)
{
    size_t Q = queries->Q;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t g = 0; g < n_groups; g++) {
            size_t from = q + g * 16, left = Q - from;
            __mmask16 inside = _cvtu32_mask16(left < 16 ? (1u << left) - 1 : 0xffffu);
            __m512 dot = _mm512_cvtepi32_ps(_mm512_loadu_si512(dots + (r * GROUPS + g) * 16));
            __m512 scaled = _mm512_mul_ps(dot, _mm512_set1_ps(scales[r]));
            scaled = _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(inside, queries->scales + from));
            _mm512_mask_storeu_ps(scores + r * Q + from, inside, scaled);
        }
}

static void amx_int8(float *scores, const int8_t *rows, const float *scales, size_t n,
                     const struct dot_queries *queries)
{
    _Alignas(64) int32_t dots[16 * GROUPS * 16];
    size_t Q = queries->Q, D = queries->D, n_groups = (Q + 15) / 16;
    const int8_t *packed = queries->packed;
    if (Q <= FEW) {
        dot_vnni_few(scores, rows, scales, n, queries);
        return;
    }
    configure();
    for (size_t i = 0; i < n; i += 16) {
        size_t n_rows = n - i < 16 ? n - i : 16;
        for (size_t at = 0; at < n_rows * D; at += 64)
            _mm_prefetch((const char *)(rows + (n + i) * D + at), _MM_HINT_T0);
        for (size_t g = 0; g < n_groups; g += GROUPS) {
            size_t some = n_groups - g < GROUPS ? n_groups - g : GROUPS;
            multiply(dots, rows + i * D, n_rows, D, packed + g * steps(D) * 1024, some);
            scale_dots(scores + i * Q, dots, scales + i, n_rows, queries, g * 16, some);
        }
    }
    _tile_release();
}

const struct dot_kernels dot_kernels_amx = {
    .f32 = dot_avx512_f32,
    .int8 = amx_int8,
    .packed_bytes = amx_packed_bytes,
    .pack = amx_pack,
    .widen = dot_avx512_widen,
    .reach = dot_avx512_reach,
};
