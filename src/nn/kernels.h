/*
 * Inner loops of the forward pass, one table per instruction set. kernels_ref.c is plain C and the specification;
 * the vector tables come from one body (kernels_body.h) compiled once per width. A result depends on the arguments of
 * its own row only, never on alignment or on how many rows a call has.
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H
#include "nn.h"

enum { NN_PANEL = 16 }; /* keys side by side in a packed panel of keys */

/*
 * A row of a matrix product before its last step: f32, or s32 where zero is not NULL. Its value is
 * acc + bias, or (acc - zero) * (scale * row_scale) + bias, which undoes to_u8 and the scales of the weights.
 */
struct nn_acc {
    const void *acc;
    const int32_t *zero;
    const float *scale, *bias; /* bias NULL: none */
    float row_scale;
};

struct nn_kernels {
    /* y (n) = x / sqrt(mean(x^2) + eps) * w; y may be x. Returns the largest |y|. */
    float (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* y (n) = (x - mean) / sqrt(variance + eps) * w + b; y may be x. Returns the largest |y|. */
    float (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n, float eps);
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    /* Rotates x (D) by halves: pairs (i, i + D/2) with cos (D/2), sin (D/2). */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t D);
    /* y (n) = activation(gate) * up, where gate begins at element 0 and up at element up_at (0: no up, factor 1). */
    void (*activate)(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation);
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    void (*from_bf16)(float *y, const uint16_t *x, size_t n);
    float (*top)(const float *x, size_t n); /* largest |x| */
    /* y = round(x / s) + 128 with s = top / 127, top = largest |x|; top 0: all 128. */
    void (*to_u8)(uint8_t *y, const float *x, size_t n, float top);
    void (*take)(float *y, const struct nn_acc *a, size_t n); /* y = a; y may be a's acc */
    /* As take, rounded to bf16, `heads` pieces of D to y, y + step, ... */
    void (*take_heads)(uint16_t *y, size_t step, const struct nn_acc *a, size_t heads, size_t D);
    void (*join)(float *x, const struct nn_acc *a, size_t n); /* x += a */
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
    /*
     * activate for narrow precisions, where the result is rounded to 8 bits anyway and the activation need only be
     * right to about 1e-4: to bf16, or to f32 with the largest |y| or top returned, whichever is larger.
     */
    void (*middle_bf16)(uint16_t *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation);
    float (*middle_f32)(float *y, const struct nn_acc *a, size_t up_at, size_t n, enum nn_activation activation,
                        float top);
};

/*
 * Attention in bf16 on tiles (AMX), 16 queries at a time; D any even number. Keys [0,n_keys) of packed keys and values
 * are numbered from a multiple of NN_KEY_BLOCK; unused ones in the last block are zeros.
 */
enum { NN_KEY_BLOCK = 32, NN_QUERY_BLOCK = 16 };
struct nn_tile_kernels {
    void (*begin)(void); /* sets up the tiles of this thread; end gives them back */
    void (*end)(void);
    /* One block of keys k and values v, each NN_KEY_BLOCK rows of nn_head_width(D) (NULL: zeros), into packed form. */
    void (*pack_k)(uint16_t *packed, const uint16_t *const k[NN_KEY_BLOCK], size_t D);
    void (*pack_v)(uint16_t *packed, const uint16_t *const v[NN_KEY_BLOCK], size_t D);
    /* s (NN_QUERY_BLOCK, lds) = q (NN_QUERY_BLOCK, nn_head_width(D)) times `blocks` packed blocks of keys. */
    void (*scores)(float *s, size_t lds, const uint16_t *q, const uint16_t *packed, size_t blocks, size_t D);
    /* Row s (n) -> p (n) bf16 as softmax of nn_kernels does. */
    float (*softmax)(uint16_t *p, const float *s, size_t begin, size_t end, size_t n, float scale);
    /* o (rows, ldo) of D, bf16 = factor of the row * p (NN_QUERY_BLOCK, ldp) times packed values. */
    void (*weigh)(uint16_t *o, size_t ldo, size_t rows, const uint16_t *p, size_t ldp, const uint16_t *packed,
                  size_t blocks, size_t D, const float *factor, float *scratch);
};
/* Elements of a row of one head in bf16, filled up with zeros. */
static inline size_t nn_head_width(size_t D)
{
    return (D + 31) / 32 * 32;
}
/* Elements of a packed block of keys or values. */
static inline size_t nn_packed_block(size_t D)
{
    return NN_KEY_BLOCK * nn_head_width(D);
}
/* NULL where the processor has no tiles of bf16. */
const struct nn_tile_kernels *nn_tile_kernels(void);
extern const struct nn_tile_kernels nn_tile_kernels_amx;

/* The table of the instruction set in use. */
const struct nn_kernels *nn_kernels(void);
extern const struct nn_kernels nn_kernels_ref, nn_kernels_avx2, nn_kernels_avx512;

#endif
