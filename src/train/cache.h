/*
 * Embeddings of a whole batch and their gradients in bounded memory (GradCache, Gao et al. 2021): texts are embedded a
 * pass of at most tokens_max tokens at a time without keeping activations; when the loss has given the gradient of
 * every embedding, the passes are taken again one by one, with activations, and propagated back. The last pass is kept
 * from the first round, so a batch that fits one pass is computed once.
 *
 * How texts fall into passes follows from their lengths alone. Loss and gradients are those of one pass over the batch
 * up to the rounding of sums (tests: 1e-5 of the largest entry in f32).
 */
#ifndef TRAIN_CACHE_H
#define TRAIN_CACHE_H
#include "encode/encode.h"
#include "nn/train.h"

/* Tokenised texts, one behind the other; memory is kept from batch to batch. */
struct text_rows {
    uint32_t *ids;
    size_t n_ids, cap_ids;
    size_t *begin;             /* (n+1) */
    struct pool_shape *shapes; /* (n) */
    size_t n, cap;
    uint64_t cut;
};
void text_rows_reset(struct text_rows *rows);
void text_rows_release(struct text_rows *rows);
/* The text under the encoder's contract of a side; text NULL: a place without a text, whose embedding is zero. */
MUST_USE enum trawl_status text_rows_add(struct text_rows *rows, struct encoder *e, const struct text_view *text,
                                         enum encoder_side side);

struct cache;
/* `train` has room for tokens_max tokens a pass; embeddings are the first D numbers of what is pooled. */
MUST_USE enum trawl_status cache_new(struct cache **c, struct nn_train *train, size_t tokens_max, size_t D,
                                     enum nn_attention attention);
void cache_free(struct cache *c);
/* Embeddings alone (n,D) of any rows, not normalised; nothing is kept. */
MUST_USE enum trawl_status cache_embed(struct cache *c, float *out, const struct text_rows *rows, uint32_t step);
/* The same as the first half of a training step; no other call in between. Dropout follows `step`. */
MUST_USE enum trawl_status cache_forward(struct cache *c, float *out, const struct text_rows *rows, uint32_t step);
/* Adds to the parameters' gradients, given those of the embeddings (n,D) of the last cache_forward. */
MUST_USE enum trawl_status cache_backward(struct cache *c, const float *d, const struct text_rows *rows);

#endif
