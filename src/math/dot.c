/* Plain twins of the scoring kernels, the choice among the tables, and quantisation. */
#include "dot_int.h"
#include <math.h>
#include <string.h>

static float dot_f32(const float *x, const float *y, size_t D)
{
    float lane[16] = {0};
    for (size_t d = 0; d < D; d += 16)
        for (size_t l = 0; l < 16; l++) {
            bool inside = d + l < D; /* adding 0 * 0 beyond the end turns -0 into 0, as the vector kernels do */
            lane[l] = fmaf(inside ? x[d + l] : 0.0f, inside ? y[d + l] : 0.0f, lane[l]);
        }
    for (size_t l = 0; l < 8; l++)
        lane[l] += lane[l + 8];
    for (size_t l = 0; l < 4; l++)
        lane[l] += lane[l + 4];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

static void ref_f32(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D, bool stream)
{
    (void)stream;
    for (size_t i = 0; i < n; i++)
        for (size_t q = 0; q < Q; q++)
            scores[i * Q + q] = dot_f32(rows + i * D, queries + q * D, D);
}

static void ref_int8(float *scores, const int8_t *rows, const float *scales, size_t n,
                     const struct dot_queries *queries)
{
    size_t Q = queries->Q, D = queries->D;
    for (size_t i = 0; i < n; i++, rows += D)
        for (size_t q = 0; q < Q; q++) {
            const int8_t *y = queries->rows + q * D;
            int32_t dot = 0;
            for (size_t d = 0; d < D; d++)
                dot += rows[d] * y[d];
            scores[i * Q + q] = (float)dot * scales[i] * queries->scales[q];
        }
}

static size_t ref_packed_bytes(size_t Q, size_t D)
{
    (void)Q, (void)D;
    return 0;
}

static void ref_pack(struct dot_queries *queries)
{
    (void)queries;
}

static void ref_widen(float *out, const uint16_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static size_t ref_reach(uint32_t *where, const float *scores, const float *floors, size_t n, size_t Q)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t q = 0; q < Q; q++)
            if (scores[i * Q + q] >= floors[q])
                where[found++] = (uint32_t)(i * Q + q);
    return found;
}

const struct dot_kernels dot_kernels_ref = {
    .f32 = ref_f32,
    .int8 = ref_int8,
    .packed_bytes = ref_packed_bytes,
    .pack = ref_pack,
    .widen = ref_widen,
    .reach = ref_reach,
};

const struct dot_kernels *dot_kernels(void)
{
#if defined(__x86_64__)
    if (isa_has(ISA_AMX_INT8) && isa_has(ISA_VNNI))
        return &dot_kernels_amx;
    if (isa_level() == ISA_AVX512)
        return isa_has(ISA_VNNI) ? &dot_kernels_vnni : &dot_kernels_avx512;
    if (isa_level() == ISA_AVX2)
        return &dot_kernels_avx2;
#endif
    return &dot_kernels_ref;
}

float dot_quantise(int8_t *row, const float *x, size_t D)
{
    float most = 0.0f;
    for (size_t d = 0; d < D; d++)
        most = fmaxf(most, fabsf(x[d]));
    float scale = most / 127.0f;
    for (size_t d = 0; d < D; d++) {
        float v = scale > 0.0f ? nearbyintf(x[d] / scale) : 0.0f;
        row[d] = (int8_t)fminf(fmaxf(v, -127.0f), 127.0f); /* a subnormal scale may round up past 127 */
    }
    return scale;
}

void dot_int8_prepare(struct dot_queries *queries, const float *x, const struct dot_kernels *kernels)
{
    size_t Q = queries->Q, D = queries->D;
    for (size_t q = 0; q < Q; q++) {
        int8_t *row = queries->rows + q * D;
        queries->scales[q] = dot_quantise(row, x + q * D, D);
        queries->sums[q] = 0;
        for (size_t d = 0; d < D; d++)
            queries->sums[q] += row[d];
    }
    kernels->pack(queries);
}
