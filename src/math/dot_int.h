/* Tables of the instruction sets; each exists only where it can be compiled. */
#ifndef MATH_DOT_INT_H
#define MATH_DOT_INT_H
#include "dot.h"

extern const struct dot_kernels dot_kernels_avx2, dot_kernels_avx512, dot_kernels_vnni, dot_kernels_amx;

/* f32 kernels of AVX-512, shared by its tables. */
void dot_avx512_f32(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D, bool stream);
void dot_avx512_widen(float *out, const uint16_t *in, size_t n);
size_t dot_avx512_reach(uint32_t *where, const float *scores, const float *floors, size_t n, size_t Q);
/* int8 kernels of AVX2, used by AVX-512 without VNNI: a row of 16-bit numbers per query. */
void dot_avx2_int8(float *scores, const int8_t *rows, const float *scales, size_t n, const struct dot_queries *queries);
size_t dot_avx2_packed_bytes(size_t Q, size_t D);
void dot_avx2_pack(struct dot_queries *queries);
/* int8 kernel of VNNI for few queries; queries->rows and sums are used, not packed. */
void dot_vnni_few(float *scores, const int8_t *rows, const float *scales, size_t n, const struct dot_queries *queries);

#endif
