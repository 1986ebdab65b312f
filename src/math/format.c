/*
 * Tensor elements to f32. Every line below keeps the order of roundings of gguf-py (scale times sub-scale first, then
 * times the quant, then minus the minimum), so that the results agree with it in every bit; contraction to fma is off
 * for the whole project. Blocks come from files at any alignment: fields are copied out of bytes, never cast.
 */
#include "format.h"
#include <assert.h>
#include <string.h>

struct format_row {
    const char *name;
    size_t elements, bytes;
};

static const struct format_row rows[FORMAT_COUNT] = {
#define X(id, name, elements, bytes) {name, elements, bytes},
    FORMAT_TABLE(X)
#undef X
};

const char *format_name(enum format format)
{
    return (unsigned)format < FORMAT_COUNT ? rows[format].name : "unknown";
}

size_t format_block(enum format format)
{
    assert((unsigned)format < FORMAT_COUNT);
    return rows[format].elements;
}

size_t format_row_bytes(enum format format, size_t n)
{
    size_t bytes;
    assert((unsigned)format < FORMAT_COUNT);
    const struct format_row *row = &rows[format];
    if (n % row->elements || __builtin_mul_overflow(n / row->elements, row->bytes, &bytes))
        return 0;
    return bytes;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

uint16_t bf16_from_f32(float x)
{
    uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN: the payload's top bits may be all zero, so set the quiet bit */
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float bf16_to_f32(uint16_t x)
{
    return float_of((uint32_t)x << 16);
}

/* A subnormal half is mantissa * 2^-24, which the multiplication makes exactly; others get their exponent rebiased. */
float f16_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, exponent = x >> 10 & 31u, mantissa = x & 1023u;
    if (exponent == 0)
        return float_of(bits_of((float)mantissa * 0x1p-24f) | sign);
    if (exponent == 31)
        return float_of(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 1u << 22 : 0));
    return float_of(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* Values below the smallest normal half are rounded by an f32 addition whose ulp is that of the subnormal halves. */
uint16_t f16_from_f32(float x)
{
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (bits >> 13 & 0x1ffu));
    if (bits >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u)
        return (uint16_t)(sign | (bits_of(float_of(bits) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((bits + 0xfffu + (bits >> 13 & 1u) - 0x38000000u) >> 13));
}

static float half_at(const uint8_t *bytes)
{
    return f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void from_f16(float *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_at(in + 2 * i);
}

static void from_bf16(float *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32((uint16_t)(in[2 * i] | in[2 * i + 1] << 8));
}

/* The 32-element blocks: low nibbles are elements 0..15, high nibbles 16..31; a fifth bit lies in a word of 32. */

static void from_q4_0(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 18, out += 32) {
        float d = half_at(in);
        for (size_t i = 0; i < 16; i++) {
            out[i] = d * (float)((in[2 + i] & 15) - 8);
            out[i + 16] = d * (float)((in[2 + i] >> 4) - 8);
        }
    }
}

static void from_q4_1(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 20, out += 32) {
        float d = half_at(in), m = half_at(in + 2);
        for (size_t i = 0; i < 16; i++) {
            out[i] = d * (float)(in[4 + i] & 15) + m;
            out[i + 16] = d * (float)(in[4 + i] >> 4) + m;
        }
    }
}

static void from_q5_0(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 22, out += 32) {
        float d = half_at(in);
        uint32_t high = word_at(in + 2);
        for (size_t i = 0; i < 16; i++) {
            out[i] = d * (float)((int)((in[6 + i] & 15) | (high >> i & 1u) << 4) - 16);
            out[i + 16] = d * (float)((int)((in[6 + i] >> 4) | (high >> (i + 16) & 1u) << 4) - 16);
        }
    }
}

static void from_q5_1(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 24, out += 32) {
        float d = half_at(in), m = half_at(in + 2);
        uint32_t high = word_at(in + 4);
        for (size_t i = 0; i < 16; i++) {
            out[i] = d * (float)(int)((in[8 + i] & 15) | (high >> i & 1u) << 4) + m;
            out[i + 16] = d * (float)(int)((in[8 + i] >> 4) | (high >> (i + 16) & 1u) << 4) + m;
        }
    }
}

static void from_q8_0(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 34, out += 32) {
        float d = half_at(in);
        for (size_t i = 0; i < 32; i++)
            out[i] = (float)(int8_t)in[2 + i] * d;
    }
}

/*
 * Blocks of 256 in 8 groups of 32. Scales and minima have 6 bits: those of groups 0-3 lie in bytes 0-3 and 4-7, those
 * of groups 4-7 have their low nibbles in bytes 8-11 and their top two bits above those of groups 0-3.
 */
static void group_scale(const uint8_t *packed, size_t group, unsigned *scale, unsigned *minimum)
{
    if (group < 4) {
        *scale = packed[group] & 63u;
        *minimum = packed[group + 4] & 63u;
    } else {
        *scale = (packed[group + 4] & 15u) | (packed[group - 4] >> 2 & 48u);
        *minimum = (unsigned)(packed[group + 4] >> 4) | (packed[group] >> 2 & 48u);
    }
}

/* Q4_K and Q5_K differ in a plane of fifth bits (NULL: none): bit g of byte i belongs to element i of group g. */
static void from_q45_k(float *out, const uint8_t *head, const uint8_t *high, const uint8_t *low)
{
    float d = half_at(head), dmin = half_at(head + 2);
    for (size_t g = 0; g < 8; g++, out += 32) {
        unsigned scale, minimum, shift = (g & 1) ? 4 : 0;
        group_scale(head + 4, g, &scale, &minimum);
        float dg = d * (float)scale, mg = dmin * (float)minimum;
        for (size_t i = 0; i < 32; i++) {
            unsigned q = low[g / 2 * 32 + i] >> shift & 15u;
            if (high)
                q |= (high[i] >> g & 1u) << 4;
            out[i] = dg * (float)(int)q - mg;
        }
    }
}

static void from_q4_k(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 144, out += 256)
        from_q45_k(out, in, NULL, in + 16);
}

static void from_q5_k(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 176, out += 256)
        from_q45_k(out, in, in + 16, in + 48);
}

/* 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales of 16 elements each, the block's scale. */
static void from_q6_k(float *out, const uint8_t *in, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++, in += 210) {
        float d = half_at(in + 208);
        for (size_t g = 0; g < 8; g++, out += 32) {
            const uint8_t *low = in + g / 4 * 64 + g % 2 * 32, *high = in + 128 + g / 4 * 32;
            unsigned low_shift = g % 4 >= 2 ? 4 : 0, high_shift = (unsigned)(g % 4) * 2;
            float scale[2] = {d * (float)(int8_t)in[192 + 2 * g], d * (float)(int8_t)in[193 + 2 * g]};
            for (size_t i = 0; i < 32; i++) {
                unsigned q = (low[i] >> low_shift & 15u) | (high[i] >> high_shift & 3u) << 4;
                out[i] = scale[i / 16] * (float)((int)q - 32);
            }
        }
    }
}

void format_to_f32(float *out, const void *in, enum format format, size_t n)
{
    const uint8_t *bytes = in;
    size_t blocks = n / format_block(format);
    assert(n % format_block(format) == 0);
    switch (format) {
    case FORMAT_F32:
        if (n)
            memcpy(out, in, n * sizeof *out);
        return;
    case FORMAT_F16:
        from_f16(out, bytes, n);
        return;
    case FORMAT_BF16:
        from_bf16(out, bytes, n);
        return;
    case FORMAT_Q4_0:
        from_q4_0(out, bytes, blocks);
        return;
    case FORMAT_Q4_1:
        from_q4_1(out, bytes, blocks);
        return;
    case FORMAT_Q5_0:
        from_q5_0(out, bytes, blocks);
        return;
    case FORMAT_Q5_1:
        from_q5_1(out, bytes, blocks);
        return;
    case FORMAT_Q8_0:
        from_q8_0(out, bytes, blocks);
        return;
    case FORMAT_Q4_K:
        from_q4_k(out, bytes, blocks);
        return;
    case FORMAT_Q5_K:
        from_q5_k(out, bytes, blocks);
        return;
    case FORMAT_Q6_K:
        from_q6_k(out, bytes, blocks);
        return;
    case FORMAT_COUNT:
        break;
    }
    assert(0 && "a format of the table");
}
