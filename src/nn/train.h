/*
 * Training: forward passes that keep what the backward pass needs, and gradients of all parameters or of LoRA updates.
 * Letters as in nn.h. Rows are packed without padding; a causal decoder, a bidirectional one and encoders are all
 * trained.
 *
 * Promises: results do not depend on the number of threads, and checkpointing does not change a bit. After nn_train_new
 * (for the head: after the first nn_train_next_token) nothing is allocated. One thread may use a nn_train at a time.
 */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H
#include "nn.h"

/*
 * W + s B A beside the frozen projections in `targets`; s = alpha / rank, with rslora alpha / sqrt(rank). A (rank,K) is
 * drawn as PEFT draws it (uniform in +-1/sqrt(K)), B (N,rank) begins at zero. Dropout acts on the input of A; the
 * updates that read the same input (q, k and v; gate and up) share one mask.
 */
struct nn_lora {
    size_t rank;
    double alpha, dropout; /* dropout in [0,1), in steps of 2^-16 */
    bool rslora;
    uint32_t targets; /* bit 1 << tensor for each of NN_T_Q, K, V, O, GATE, UP, DOWN */
};

struct nn_train_options {
    enum nn_precision precision; /* NN_F32, or NN_BF16: products in bf16, sums and parameters in f32 */
    const struct nn_lora *lora;  /* NULL: every parameter is trained */
    bool checkpoint;             /* keep only the layers' inputs; the rest is computed again in the backward pass */
    size_t tokens_max;           /* most tokens of one batch; memory is proportional to it */
    uint64_t seed;               /* of the drawn A, and of dropout */
};

/* Trained parameters: one block of floats, one of gradients beside it, both laid out by one table. */
enum nn_part { NN_WHOLE, NN_LORA_A, NN_LORA_B };
struct nn_param {
    size_t layer; /* 0 for tensors that are not per layer */
    enum nn_tensor tensor;
    enum nn_part part;
    size_t rows, cols, offset; /* in floats */
};
struct nn_params {
    const struct nn_param *table;
    size_t n_table;
    float *values, *grads; /* (n) */
    size_t n;
};

struct nn_train;
/*
 * Reads the weights (LoRA: the source must stay valid, embeddings are read row by row). UNSUPPORTED: a precision this
 * processor lacks, or a target that the model has not; USAGE: options that make no sense; FORMAT: weights that are not
 * finite.
 */
MUST_USE enum trawl_status nn_train_new(struct nn_train **train, const struct nn_source *source,
                                        const struct nn_train_options *options);
void nn_train_free(struct nn_train *train);
const struct nn_config *nn_train_config(const struct nn_train *train);
/* Bytes held: weights, parameters and gradients, kept states, scratch. */
size_t nn_train_bytes(const struct nn_train *train);
/* Values may be written (then nn_train_update), gradients read, scaled and zeroed; they begin at zero. */
struct nn_params nn_train_params(struct nn_train *train);
/* To be called after values were changed: repacks what is derived from them. LoRA: a small share of a step. */
MUST_USE enum trawl_status nn_train_update(struct nn_train *train);

/*
 * hidden (T,C) out, as nn_forward gives it. `step` chooses the dropout masks with the seed: the same step gives the
 * same masks, chunks of one batch should have different ones. The batch must have no prefix (kv) and must stay valid
 * until the backward pass. Errors as nn_forward's.
 */
#define NN_TRAIN_NO_DROPOUT UINT32_MAX /* a step under which nothing is dropped: for evaluation */
MUST_USE enum trawl_status nn_train_forward(struct nn_train *train, float *hidden, const struct nn_batch *batch,
                                            uint32_t step);
/* The same bits, nothing kept: for the first pass of GradCache. Drops what an earlier forward pass has kept. */
MUST_USE enum trawl_status nn_train_forward_only(struct nn_train *train, float *hidden, const struct nn_batch *batch,
                                                 uint32_t step);
/* Adds to the gradients, given those of the last forward pass's hidden: d_hidden (T,C). Once for each forward. */
MUST_USE enum trawl_status nn_train_backward(struct nn_train *train, const float *d_hidden);
/*
 * Mean cross entropy of each row's next tokens (a row of n tokens predicts n-1) under the LM head: loss, d_hidden (T,C)
 * out; the head's gradient is added where the head is trained. Logits exist a tile at a time. hidden (T,C) as the
 * forward pass gave it. USAGE when no row has two tokens, UNSUPPORTED without a head.
 */
MUST_USE enum trawl_status nn_train_next_token(struct nn_train *train, double *loss, float *d_hidden,
                                               const float *hidden, const struct nn_batch *batch);

#endif
