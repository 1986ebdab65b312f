/*
 * Every op of the training pass, forward and backward side by side, as plain loops: the specification. The bodies
 * (grad_ops_body.h) are written over `real` and compiled twice: the double ones (names end in _f64) are checked against
 * central differences, the fast kernels against the float ones (_f32).
 *
 * Shapes stand at the pointers; T tokens. Gradients (d...) are added to, never overwritten, unless said otherwise; a
 * NULL gradient of a weight is left out. Costs are those of the loops.
 */
#ifndef NN_GRAD_OPS_H
#define NN_GRAD_OPS_H
#include "nn.h"

/* Attention of one row: q (T,H,D), k and v (T,K,D); query head h reads key/value head h / (H / K). */
struct grad_attention {
    size_t T, H, K, D, window; /* window 0: all keys; else i-window < j (and j < i+window when not causal) */
    double scale, cap;         /* cap 0: none; else scores go through cap * tanh(scale * s / cap) */
    bool causal;
};

#define GRAD_OPS(real, NAME)                                                                                           \
    /* y (T,C) = x * rstd * w    rstd (T) out    x (T,C)    w (C) */                                                   \
    void NAME(rms_norm_forward)(real * y, real * rstd, const real *x, const real *w, size_t T, size_t C, double eps);  \
    void NAME(rms_norm_backward)(real * dx, real * dw, const real *dy, const real *x, const real *w, const real *rstd, \
                                 size_t T, size_t C);                                                                  \
    /* y (T,C) = (x - mean) * rstd * w + b    mean, rstd (T) out */                                                    \
    void NAME(layer_norm_forward)(real * y, real * mean, real * rstd, const real *x, const real *w, const real *b,     \
                                  size_t T, size_t C, double eps);                                                     \
    void NAME(layer_norm_backward)(real * dx, real * dw, real * db, const real *dy, const real *x, const real *w,      \
                                   const real *mean, const real *rstd, size_t T, size_t C);                            \
    /* y (T,N) = x (T,K) W^T + b    W (N,K)    b (N) or NULL */                                                        \
    void NAME(linear_forward)(real * y, const real *x, const real *W, const real *b, size_t T, size_t N, size_t K);    \
    void NAME(linear_backward)(real * dx, real * dW, real * db, const real *dy, const real *x, const real *W,          \
                               size_t T, size_t N, size_t K);                                                          \
    /* y (T,N) += scale * z B^T, z (T,R) out = x (T,K) A^T    A (R,K)    B (N,R) */                                    \
    void NAME(lora_forward)(real * y, real * z, const real *x, const real *A, const real *B, double scale, size_t T,   \
                            size_t N, size_t K, size_t R);                                                             \
    void NAME(lora_backward)(real * dx, real * dA, real * dB, const real *dy, const real *z, const real *x,            \
                             const real *A, const real *B, double scale, size_t T, size_t N, size_t K, size_t R);      \
    /* Rotates every head of x (T,H,D) in place by the token's angles: cosine, sine (T,D/2), pairs (i, i + D/2). The   \
     * backward op turns gradients back, in place. */                                                                  \
    void NAME(rope_forward)(real * x, const real *cosine, const real *sine, size_t T, size_t H, size_t D);             \
    void NAME(rope_backward)(real * dx, const real *cosine, const real *sine, size_t T, size_t H, size_t D);           \
    /* o (T,H,D) out    lse (T,H) out: logarithm of the sum of a query's exponentials */                               \
    void NAME(attention_forward)(real * o, real * lse, const real *q, const real *k, const real *v,                    \
                                 const struct grad_attention *shape);                                                  \
    /* Probabilities are taken again from lse; sum_j p_j dp_j is do . o. */                                            \
    void NAME(attention_backward)(real * dq, real * dk, real * dv, const real *go, const real *o, const real *lse,     \
                                  const real *q, const real *k, const real *v, const struct grad_attention *shape);    \
    /* y (n) = activation(gate) * up    up (n) or NULL: 1 */                                                           \
    void NAME(activation_forward)(real * y, const real *gate, const real *up, size_t n, enum nn_activation kind);      \
    void NAME(activation_backward)(real * dgate, real * dup, const real *dy, const real *gate, const real *up,         \
                                   size_t n, enum nn_activation kind);                                                 \
    /* x (T,C) += scale * E[ids]    E (rows,C) */                                                                      \
    void NAME(embed_forward)(real * x, const real *E, const uint32_t *ids, double scale, size_t T, size_t C);          \
    void NAME(embed_backward)(real * dE, const real *dx, const uint32_t *ids, double scale, size_t T, size_t C);       \
    /* Mean over T of -log softmax(capped logits)[target]; logits (T,V) before the cap (0: none). */                   \
    double NAME(cross_entropy_forward)(const real *logits, const uint32_t *targets, double cap, size_t T, size_t V);   \
    void NAME(cross_entropy_backward)(real * dlogits, const real *logits, const uint32_t *targets, double cap,         \
                                      size_t T, size_t V);

#define GRAD_F32(name) name##_f32
#define GRAD_F64(name) name##_f64
GRAD_OPS(float, GRAD_F32)
GRAD_OPS(double, GRAD_F64)

#endif
