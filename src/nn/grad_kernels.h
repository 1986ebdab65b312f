/*
 * Inner loops of the backward pass, one table per instruction set beside nn_kernels. grad_ref.c is made of the plain
 * ops of grad_ops.h; the vector tables come from one body (grad_body.h). Rows are single tokens; sums over tokens run
 * in order, one fma at a time, so results depend neither on how rows are grouped nor on alignment.
 */
#ifndef NN_GRAD_KERNELS_H
#define NN_GRAD_KERNELS_H
#include "kernels.h"

struct nn_grad_kernels {
    /* dx (n) += , dw (n) += (NULL: left out), of one row x (n); what the forward pass knew is computed again. */
    void (*rms_norm)(float *dx, float *dw, const float *dy, const float *x, const float *w, size_t n, float eps);
    void (*layer_norm)(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, size_t n,
                       float eps);
    /* dgate, dup (n) = gradients of activation(gate) * up, whose own are dy, and mid (n) that product
     * again. up and dup NULL: up is 1. */
    void (*activate)(float *dgate, float *dup, float *mid, const float *dy, const float *gate, const float *up,
                     size_t n, enum nn_activation activation);
    /* p (n) = exponentials of nn_kernels' softmax -> probabilities; dp (n) = their gradients -> those of the products
     * q k (ds = p (dp - sum p dp) * scale). Outside [begin,end) p is 0 and ds becomes 0. */
    void (*softmax)(float *p, float *dp, float inverse, size_t begin, size_t end, size_t n, float scale);
    /* o (rows, ldo) of D: += sum over j < n of p[r * p_row + j * p_step] * v (n, ldv). */
    void (*outer)(float *o, size_t ldo, const float *p, size_t p_row, size_t p_step, const float *v, size_t ldv,
                  size_t n, size_t D, size_t rows);
    float (*top)(const float *x, size_t n); /* largest entry; n > 0 */
    /* y (n) = exp(x - shift); returns the sum. y may be x. */
    float (*exp_sum)(float *y, const float *x, size_t n, float shift);
};

/* The table of the instruction set in use. */
const struct nn_grad_kernels *nn_grad_kernels(void);
extern const struct nn_grad_kernels nn_grad_kernels_ref, nn_grad_kernels_avx2, nn_grad_kernels_avx512;

#endif
