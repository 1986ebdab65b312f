/*
 * Scores of many rows against a few queries: the inner loops of dense search, one table of functions per instruction
 * set.
 *
 * f32. One order of summation, the same for every instruction set, tile and batch, so that a score has the same bits
 * whatever surrounds it and wherever it is computed:
 *     lane l of 16 sums x[d] y[d] over d = l, l + 16, ... by fused multiply-add, rows taken as continued with zeros;
 *     s8[l] = lane[l] + lane[l+8];  s4[l] = s8[l] + s8[l+4];  dot = (s4[0] + s4[2]) + (s4[1] + s4[3]).
 * bf16 rows are widened to f32 (exact) and scored by the f32 kernel.
 * int8. The integer dot is exact, hence free of order; score = ((float)dot * row scale) * query scale.
 *
 * Rows and queries are contiguous, of any alignment. All functions may be called from any thread on distinct outputs.
 */
#ifndef MATH_DOT_H
#define MATH_DOT_H
#include "isa.h"

enum { DOT_D_MAX = 65536 }; /* longest row: int8 dots of it fit 32 bits */

/* Queries of an int8 search, made ready by dot_int8_prepare; the memory is the caller's. */
struct dot_queries {
    size_t Q, D;
    int8_t *rows;  /* (Q,D) */
    float *scales; /* (Q), x = scale * row */
    int32_t *sums; /* (Q) of a row's elements */
    void *packed;  /* the kernel's own layout, dot->packed_bytes(Q, D) bytes, 64-byte aligned */
};

struct dot_kernels {
    /* scores (n,Q) out    rows (n,D)    queries (Q,D). `stream`: the rows come from memory, and the n after them next.
     */
    void (*f32)(float *scores, const float *rows, size_t n, const float *queries, size_t Q, size_t D, bool stream);
    /* scores (n,Q) out    rows (n,D) with scales (n); the n rows after these are prefetched */
    void (*int8)(float *scores, const int8_t *rows, const float *scales, size_t n, const struct dot_queries *queries);
    size_t (*packed_bytes)(size_t Q, size_t D);
    void (*pack)(struct dot_queries *queries); /* fills `packed` from rows */
    /* out (n) from n bf16 numbers; the n after these are prefetched */
    void (*widen)(float *out, const uint16_t *in, size_t n);
    /*
     * Which of scores (n,Q) reach the floor (Q) of their query: positions i*Q + q in ascending order, at most n*Q of
     * them; the number found.
     */
    size_t (*reach)(uint32_t *where, const float *scores, const float *floors, size_t n, size_t Q);
};

/* The table for what isa.h says is in use. */
const struct dot_kernels *dot_kernels(void);

/* Rounds each of the Q rows of x (Q,D) to int8 with scale max|x|/127 (all zeros: 0) and packs them for `kernels`. */
void dot_int8_prepare(struct dot_queries *queries, const float *x, const struct dot_kernels *kernels);
/* row (D) out, by the same rule: used for documents as well. Returns the scale. */
float dot_quantise(int8_t *row, const float *x, size_t D);

extern const struct dot_kernels dot_kernels_ref;

#endif
