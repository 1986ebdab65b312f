/*
 * Inner loops of BM25. A posting's contribution is a whole number: weight * count / (count + K), K = a + c * length,
 * in units that the query's weights are scaled to (lexical.c), at least 1. Whole numbers add up to the same sum in any
 * order, so pruned and exhaustive search agree in every bit, and the sums are finer than float32 ones.
 */
#ifndef INDEX_SCORE_H
#define INDEX_SCORE_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct score_kernel {
    /* out (n) contributions of postings; rows index `lengths` */
    void (*score)(uint32_t *out, const uint32_t *rows, const uint32_t *counts, size_t n, const uint32_t *lengths,
                  float weight, float a, float c);
    /* Places i of sums (n, a multiple of 16) above `floor`, ascending, into out; all sums are zeroed. Returns how many.
     */
    size_t (*collect)(uint32_t *out, uint32_t *found, uint32_t *sums, size_t n, int32_t floor);
};
/* The best for this machine (math/isa.h). */
const struct score_kernel *score_kernel(void);

static inline uint32_t score_one(uint32_t count, uint32_t length, float weight, float a, float c)
{
    float tf = (float)(int32_t)count, k = a + c * (float)(int32_t)length;
    int32_t x = (int32_t)lrintf(weight * tf / (tf + k));
    return x < 1 ? 1 : (uint32_t)x;
}

/* Of each instruction set; the first is plain C, the specification of the others. */
extern const struct score_kernel score_kernel_ref, score_kernel_avx2, score_kernel_avx512;

#endif
