/* Tensor element formats: sizes, names, and conversion of rows to f32 (plain twins are bit-exact with gguf-py's). */
#ifndef MATH_FORMAT_H
#define MATH_FORMAT_H
#include "base/status.h"

/* X(identifier, name, elements per block, bytes per block) */
#define FORMAT_TABLE(X)                                                                                                \
    X(F32, "F32", 1, 4)                                                                                                \
    X(F16, "F16", 1, 2)                                                                                                \
    X(BF16, "BF16", 1, 2)                                                                                              \
    X(Q4_0, "Q4_0", 32, 18)                                                                                            \
    X(Q4_1, "Q4_1", 32, 20)                                                                                            \
    X(Q5_0, "Q5_0", 32, 22)                                                                                            \
    X(Q5_1, "Q5_1", 32, 24)                                                                                            \
    X(Q8_0, "Q8_0", 32, 34)                                                                                            \
    X(Q4_K, "Q4_K", 256, 144)                                                                                          \
    X(Q5_K, "Q5_K", 256, 176)                                                                                          \
    X(Q6_K, "Q6_K", 256, 210)

enum format {
#define X(id, name, elements, bytes) FORMAT_##id,
    FORMAT_TABLE(X)
#undef X
        FORMAT_COUNT
};

const char *format_name(enum format format);
size_t format_block(enum format format); /* elements per block: a row's length is a multiple of it */
/* Bytes of a row of n elements; 0 when n is no multiple of the block or the product overflows. */
size_t format_row_bytes(enum format format, size_t n);
/* out (n) from n elements at `in` (any alignment). */
void format_to_f32(float *out, const void *in, enum format format, size_t n);
/* Round to nearest even; NaN stays NaN. */
uint16_t bf16_from_f32(float x);
float bf16_to_f32(uint16_t x);
uint16_t f16_from_f32(float x);
float f16_to_f32(uint16_t x);

#endif
