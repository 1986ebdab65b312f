/*
 * From the token states of a text to one vector, and its gradient back: shared by the encoder and by training, so that
 * a trained model encodes what was trained. Sums run in double over a fixed order.
 */
#ifndef ENCODE_POOLING_H
#define ENCODE_POOLING_H
#include <stddef.h>
#include <stdint.h>

enum pooling { POOL_MEAN, POOL_LAST, POOL_FIRST, POOL_WEIGHTED_MEAN };

/* What is pooled of a row of states: tokens begin .. end, or one token alone. */
struct pool_shape {
    enum pooling pooling;
    uint32_t begin, end, first; /* `first`: what POOL_FIRST takes */
};

/* y (C) out    hidden (n,C) of one row    sum (C) scratch */
void pool_forward(float *y, double *sum, const float *hidden, const struct pool_shape *shape, size_t C);
/* dhidden (n,C) out, zero where nothing was pooled    dy (C) */
void pool_backward(float *dhidden, const float *dy, const struct pool_shape *shape, size_t n, size_t C);

/*
 * x (D) in place, of length one; a zero row stays zero. Returns the length that x had, at least 1e-12, for the backward
 * op: dx (D) = (dy - y <y,dy>) / length.
 */
double unit_forward(float *x, size_t D);
void unit_backward(float *dx, const float *dy, const float *y, double length, size_t D);

#endif
