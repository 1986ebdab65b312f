/*
 * The transformer: configuration, where its tensors come from, and the forward pass over packed batches.
 * `model` fills struct nn_source from files; nothing here knows of files or text.
 *
 * Letters: B rows of a batch, T tokens (all rows together), C width, H heads, K key/value heads, D head dimension,
 * F feed-forward width, V vocabulary, L layers.
 */
#ifndef NN_H
#define NN_H
#include "base/status.h"
#include <stdbool.h>

enum nn_activation { NN_SILU, NN_GELU_TANH, NN_GELU_ERF, NN_RELU };
enum nn_norm { NN_RMS_NORM, NN_LAYER_NORM };
enum nn_precision { NN_F32, NN_BF16, NN_INT8 };
enum nn_attention { NN_CAUSAL, NN_BIDIRECTIONAL };

enum { NN_LAYERS_MAX = 512, NN_HEAD_DIM_MAX = 512 };

/* Everything that decides the shape of the computation. Decoders are pre-norm, encoders (BERT, XLM-R) post-norm. */
struct nn_config {
    size_t L, C, H, K, D, F, V;
    size_t positions;      /* longest sequence the model knows */
    size_t position_begin; /* absolute position of the first token: 0, XLM-R: padding id + 1 (learned positions only) */
    size_t token_types;    /* rows of the token type table, 0: none */
    bool encoder;          /* post-norm, learned positions, bidirectional whatever is asked */
    bool gated;            /* gate and up projections; else one up projection */
    bool qk_norm;          /* RMS norm of every q and k head */
    bool sandwich_norm;    /* norms after attention and after the MLP, before the residual sums (Gemma) */
    bool tied_head;        /* LM head is the token embedding */
    bool has_head;         /* there is an LM head at all (encoders: false) */
    enum nn_norm norm;
    enum nn_activation activation;
    float norm_eps;
    float embedding_scale;          /* 1, Gemma: sqrt(C) */
    float attention_scale;          /* 1/sqrt(D), Gemma: 1/sqrt(query_pre_attn_scalar) */
    float attention_cap, logit_cap; /* soft caps, 0: none */
    /* Rotary embedding, half-split (Hugging Face) layout; two tables for families with local and global layers. */
    float rope_inverse[2]
                      [NN_HEAD_DIM_MAX / 2]; /* inverse frequencies, scaling already applied; [1] for windowed layers */
    float rope_scale[2];                     /* factor of cos and sin (YaRN's attention factor), else 1 */
    uint32_t window[NN_LAYERS_MAX];          /* keys seen: i-window < j <= i; 0: all */
    uint8_t rope_table[NN_LAYERS_MAX];       /* which of the two */
};

/* Tensors of the model, X(identifier, rows, columns, per layer): vectors are 1 x n. Norm weights multiply as they are
 * (a source adds Gemma's 1). Projections map column space to row space: y = x W^T. */
#define NN_TENSOR_TABLE(X)                                                                                             \
    X(EMBED, V, C, 0)                                                                                                  \
    X(POSITION_EMBED, positions, C, 0)                                                                                 \
    X(TYPE_EMBED, token_types, C, 0)                                                                                   \
    X(EMBED_NORM, 1, C, 0)                                                                                             \
    X(EMBED_NORM_BIAS, 1, C, 0)                                                                                        \
    X(FINAL_NORM, 1, C, 0)                                                                                             \
    X(FINAL_NORM_BIAS, 1, C, 0)                                                                                        \
    X(HEAD, V, C, 0)                                                                                                   \
    X(ATTN_NORM, 1, C, 1) /* decoders: before attention; encoders: after attention and residual */                     \
    X(ATTN_NORM_BIAS, 1, C, 1)                                                                                         \
    X(Q, HD, C, 1)                                                                                                     \
    X(Q_BIAS, 1, HD, 1)                                                                                                \
    X(K, KD, C, 1)                                                                                                     \
    X(K_BIAS, 1, KD, 1)                                                                                                \
    X(V, KD, C, 1)                                                                                                     \
    X(V_BIAS, 1, KD, 1)                                                                                                \
    X(O, C, HD, 1)                                                                                                     \
    X(O_BIAS, 1, C, 1)                                                                                                 \
    X(Q_NORM, 1, D, 1)                                                                                                 \
    X(K_NORM, 1, D, 1)                                                                                                 \
    X(POST_ATTN_NORM, 1, C, 1)                                                                                         \
    X(MLP_NORM, 1, C, 1) /* decoders: before the MLP; encoders: after the MLP and residual */                          \
    X(MLP_NORM_BIAS, 1, C, 1)                                                                                          \
    X(GATE, F, C, 1)                                                                                                   \
    X(UP, F, C, 1)                                                                                                     \
    X(UP_BIAS, 1, F, 1)                                                                                                \
    X(DOWN, C, F, 1)                                                                                                   \
    X(DOWN_BIAS, 1, C, 1)                                                                                              \
    X(POST_MLP_NORM, 1, C, 1)

enum nn_tensor {
#define X(id, rows, cols, per_layer) NN_T_##id,
    NN_TENSOR_TABLE(X)
#undef X
        NN_T_COUNT
};

/* Rows and columns of a tensor under a configuration; `per_layer` may be NULL. */
void nn_tensor_shape(const struct nn_config *config, enum nn_tensor tensor, size_t *rows, size_t *cols,
                     bool *per_layer);
const char *nn_tensor_name(enum nn_tensor tensor);
/* Whether a model of this configuration must have the tensor, may have it (biases), or must not. */
enum nn_presence { NN_ABSENT, NN_OPTIONAL, NN_REQUIRED };
enum nn_presence nn_tensor_presence(const struct nn_config *config, enum nn_tensor tensor);

/*
 * Where weights come from: rows as f32 in Hugging Face layout, with everything of the file format undone (quantisation,
 * llama.cpp's permutation of q and k, Gemma's +1) and adapters applied. Must stay valid while the nn_model lives: large
 * embedding tables are read row by row at run time. Safe from several threads.
 */
struct nn_source {
    const struct nn_config *config;
    void *ctx;
    bool (*has)(void *ctx, size_t layer, enum nn_tensor tensor); /* layer 0 for tensors that are not per layer */
    MUST_USE enum trawl_status (*read)(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t row_begin,
                                       size_t row_end);
};

/* Weights packed for one precision; immutable, shared by threads. NaN or infinite weights are refused by tensor name.
 */
struct nn_model;
MUST_USE enum trawl_status nn_model_new(struct nn_model **model, const struct nn_source *source,
                                        enum nn_precision precision);
void nn_model_free(struct nn_model *model);
const struct nn_config *nn_model_config(const struct nn_model *model);
enum nn_precision nn_model_precision(const struct nn_model *model);
/* The best safe precision of this processor: bf16 with AMX or AVX512-BF16, else f32. */
enum nn_precision nn_precision_best(void);

/* Keys and values of one sequence, grown by nn_forward: a prefix that later rows continue. */
struct nn_kv;
MUST_USE enum trawl_status nn_kv_new(struct nn_kv **kv, const struct nn_model *model, size_t tokens_max);
size_t nn_kv_tokens(const struct nn_kv *kv);
void nn_kv_truncate(struct nn_kv *kv, size_t tokens);
/* `to` becomes what `from` holds; LIMIT when it has no room for as many tokens. Both of the same model. */
MUST_USE enum trawl_status nn_kv_copy(struct nn_kv *to, const struct nn_kv *from);
void nn_kv_free(struct nn_kv *kv);

/* Packed rows: row b holds tokens begin[b] .. begin[b+1] of `ids`. No padding anywhere. */
struct nn_batch {
    const uint32_t *ids;   /* (T) */
    const uint8_t *types;  /* (T) token types, NULL: zeros */
    const uint32_t *begin; /* (B+1) */
    size_t B;
    enum nn_attention attention;
    struct nn_kv *const
        *kv;        /* (B) or NULL; entry NULL: no prefix. Causal only. The row attends to kv's tokens first ... */
    bool kv_append; /* ... and its own keys and values are appended to it (else kv is read only, may be shared) */
};

/* Scratch for forward passes of up to tokens_max tokens a call; one per calling thread. No heap calls after creation.
 */
struct nn_run;
MUST_USE enum trawl_status nn_run_new(struct nn_run **run, const struct nn_model *model, size_t tokens_max);
void nn_run_free(struct nn_run *run);
size_t nn_run_bytes(const struct nn_run *run);

/*
 * hidden (T,C) out: states after the final norm (encoders: after the last layer). A token's bits depend on its own row
 * alone: not on the other rows, their number, or the number of threads. LIMIT when a row is longer than `positions` or
 * T exceeds tokens_max; FORMAT when an id is not below V.
 */
MUST_USE enum trawl_status nn_forward(struct nn_run *run, float *hidden, const struct nn_batch *batch);
/* Calls `tap` with the states (T,C) after the embedding (layer 0) and after each layer l (l + 1), before the final
 * norm. For tests and probes. */
typedef void (*nn_tap_fn)(void *ctx, size_t layer, const float *states, size_t T);
void nn_run_tap(struct nn_run *run, nn_tap_fn tap, void *ctx);
/* logits (n,V) out of n hidden rows (n,C); n is cut into tiles inside. */
MUST_USE enum trawl_status nn_logits(struct nn_run *run, float *logits, const float *hidden, size_t n);

#endif
