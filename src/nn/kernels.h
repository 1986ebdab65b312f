/*
 * Inner loops of the forward pass, one table per instruction set. kernels_ref.c is plain C and the specification;
 * the vector tables come from one body (kernels_body.h) compiled once per width. A result depends on the arguments of
 * its own row only, never on alignment or on how many rows a call has.
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H
#include "nn.h"

enum { NN_PANEL = 16 }; /* keys side by side in a packed panel of keys */

struct nn_kernels {
    /* y (n) = x / sqrt(mean(x^2) + eps) * w; y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* y (n) = (x - mean) / sqrt(variance + eps) * w + b; y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n, float eps);
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    /* Rotates x (D) by halves: pairs (i, i + D/2) with cos (D/2), sin (D/2). */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t D);
    /* y (n) = activation(gate) * up; up NULL: 1. y may be gate. */
    void (*activate)(float *y, const float *gate, const float *up, size_t n, enum nn_activation activation);
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    /* y = round(x / s) + 128 with s = max|x| / 127, which is returned (0 for a zero row). */
    float (*to_u8)(uint8_t *y, const float *x, size_t n);
    /* y = (acc - zero) * (scale * row_scale): undoes to_u8 and the scales of the weights. */
    void (*from_s32)(float *y, const int32_t *acc, const int32_t *zero, const float *scale, float row_scale, size_t n);
    /*
     * Attention of `rows` queries, three steps. s (rows, lds): products of q (rows, ldq) of D with `panels` panels of
     * keys, each (D, NN_PANEL).
     */
    void (*scores)(float *s, size_t lds, const float *q, size_t ldq, const float *panel, size_t panels, size_t D,
                   size_t rows);
    /* Row s (n) -> exp(scale * (s - max)) in [begin,end), 0 elsewhere; returns 1 / their sum. begin < end. */
    float (*softmax)(float *s, size_t begin, size_t end, size_t n, float scale);
    /* o (rows, ldo) of D: += p (rows, ldp) of n keys times v (n, ldv). */
    void (*weigh)(float *o, size_t ldo, const float *p, size_t ldp, const float *v, size_t ldv, size_t n, size_t D,
                  size_t rows);
    void (*multiply)(float *y, float factor, size_t n);
};

/* The table of the instruction set in use. */
const struct nn_kernels *nn_kernels(void);
extern const struct nn_kernels nn_kernels_ref, nn_kernels_avx2, nn_kernels_avx512;

#endif
