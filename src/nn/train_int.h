/*
 * Inside of training. A layer is four products ("roles", as in the forward pass) with row-wise work between them. Work
 * goes by tiles of TRAIN_TILE tokens; sums over tokens go by lanes: lane i of a fixed number owns a run of consecutive
 * tiles and a gradient buffer of its own, and lanes are summed in order. Tiles and lanes follow from the number of
 * tokens alone, so results do not depend on threads.
 */
#ifndef NN_TRAIN_INT_H
#define NN_TRAIN_INT_H
#include "grad_kernels.h"
#include "nn_int.h"
#include "train.h"

enum {
    TRAIN_TILE = 128,
    TRAIN_LANES = 32,
    TRAIN_BLOCK = 48,             /* rows of a weight gradient that are one piece of work */
    TRAIN_HEAD_SLICE = 1024,      /* rows of the vocabulary at once */
    TRAIN_PARTS = 3,              /* most projections side by side in a role */
    TRAIN_DRAW_INIT = 0x6e6e0000, /* purposes of random numbers; dropout adds layer * NN_ROLES + role */
    TRAIN_DRAW_DROPOUT = 0x6e6f0000,
};
#define TRAIN_NONE SIZE_MAX

/* The products of a role: y = x W^T, dx = dy W; with LoRA z = x A^T, y += z B^T, dz = dy B, dx += dz A. */
enum train_product { TRAIN_Y, TRAIN_DX, TRAIN_Z, TRAIN_YZ, TRAIN_DZ, TRAIN_DXZ, TRAIN_PRODUCTS };

/* One projection inside a role: rows [begin, begin + rows) of N, updates [r, r + rank) of R (TRAIN_NONE: no LoRA). */
struct train_part {
    enum nn_tensor weight, bias; /* bias NN_T_COUNT: never has one */
    size_t begin, rows, r;
};
struct train_role {
    size_t N, K, R, n_parts;
    struct train_part parts[TRAIN_PARTS];
    struct matmul_plan *plan[TRAIN_PRODUCTS];
};
struct train_linear {
    struct matmul_weights *packed[TRAIN_PRODUCTS];
    float *bias; /* (N) or NULL */
};

/* Where a parameter lies: in values and grads, and in a lane (TRAIN_NONE: not trained, not summed by lanes). */
struct train_place {
    size_t value, lane;
};

/* What the backward pass needs of a layer; element type f32 or bf16 by the precision, except the residual sums. */
struct train_kept {
    void *qkv;          /* (T, QKV) after norms and rope */
    void *raw;          /* (T, (H+K) D) before them, with qk_norm */
    void *attn;         /* (T, H D) */
    void *up;           /* (T, UP) gate and up */
    void *post[2];      /* (T, C) inputs of the sandwich norms after attention and MLP */
    float *z[NN_ROLES]; /* (T, R) LoRA: x A^T */
    float *sum1;        /* (T, C) after attention's residual; encoders: before its norm */
    float *sum2;        /* (T, C) encoders: after the MLP's residual, before its norm */
};

/* One worker's scratch; all (TRAIN_TILE, ...). */
struct train_worker {
    struct matmul_exec *exec[NN_ROLES][TRAIN_PRODUCTS], *head_exec[2];
    struct matmul_packer *packer[NN_ROLES][TRAIN_PRODUCTS], *head_packer[2];
    void *narrow, *narrow_z;      /* bf16 input of a product; of a LoRA product */
    float *x, *y, *g, *h;         /* widest of C, H D */
    float *up, *dup, *mid, *dmid; /* UP, F */
    float *wide;                  /* result of a LoRA product */
    float *drop;                  /* input after dropout */
    float *dz;                    /* R */
    float *stack;                 /* a role's matrix being packed */
    void *stack_narrow;
    float *k_panels, *v_panels;       /* (keys rounded up, D) */
    float *scores, *dscores, *capped; /* (NN_QUERIES, keys rounded up) */
    float *logits;                    /* (TRAIN_TILE, TRAIN_HEAD_SLICE) */
    void *logits_narrow;
};

struct nn_train {
    struct nn_config config;
    struct nn_source source;
    struct nn_train_options options;
    struct nn_lora lora; /* rank 0: none */
    float lora_scale;
    enum matmul_kind kind;
    const struct nn_kernels *k;
    const struct nn_grad_kernels *g;
    size_t bytes;

    struct nn_param *table;
    size_t n_table, n;
    float *values, *grads;
    struct train_place *places; /* (1+L, NN_T_COUNT, 2): row L is what is not per layer; second of a pair: LoRA's B */
    float **vectors;            /* (1+L, NN_T_COUNT) norms, biases and small tables, NULL: none */
    bool *owned;                /* ... which of them are frozen copies */
    size_t lane_floats;         /* floats of one lane: the most that a layer sums by lanes */
    float *lanes;               /* (TRAIN_LANES, lane_floats) */

    struct train_role role[NN_ROLES];
    struct train_linear *linear; /* (L, NN_ROLES) */
    float *rope[2];              /* (positions in use, D) */

    size_t n_workers;
    struct train_worker *workers;

    /* states of a batch; rows tokens_max + TRAIN_TILE */
    size_t rows_max;
    float *in;               /* (L+1, rows_max, C) inputs of the layers */
    struct train_kept *kept; /* (L), with checkpointing all the same */
    size_t n_kept;
    float *qkv, *attn; /* f32 where kept is bf16, else NULL */
    float *d_x, *d_attn, *d_qkv;
    float *role_x[NN_ROLES],
        *role_dy[NN_ROLES]; /* whole inputs and output gradients of a layer, for weight gradients */
    uint32_t *position;     /* (rows_max) */
    uint32_t *targets;      /* (rows_max) next tokens, UINT32_MAX: none */
    float *row_lse;         /* (rows_max) */
    double *row_loss;

    struct matmul_plan *head_plan[2]; /* logits, d_hidden */
    struct matmul_weights **head[2];
    size_t n_head, head_slice;
    bool head_ready;

    /* the batch being computed */
    const struct nn_batch *batch;
    size_t T, tiles, n_lanes, layer;
    uint32_t step;
    bool ready; /* a backward pass may follow */
    float *hidden;
    const float *d_hidden;
    const float *const_hidden;
    double loss_weight;

    pthread_mutex_t lock;
    enum trawl_status status;
    char message[400];
};

static inline size_t train_group(const struct nn_train *t, enum nn_tensor tensor, size_t layer)
{
    size_t rows, cols;
    bool per_layer;
    nn_tensor_shape(&t->config, tensor, &rows, &cols, &per_layer);
    return per_layer ? layer : t->config.L;
}
static inline struct train_place *train_place(const struct nn_train *t, size_t group, enum nn_tensor tensor, bool b)
{
    return &t->places[(group * NN_T_COUNT + tensor) * 2 + b];
}
static inline float *train_vector(const struct nn_train *t, size_t group, enum nn_tensor tensor)
{
    return t->vectors[group * NN_T_COUNT + tensor];
}
/* Where a lane sums the gradient of a tensor of a layer (group L: not per layer), NULL: nowhere. */
static inline float *train_lane(const struct nn_train *t, float *lane, size_t group, enum nn_tensor tensor, bool b)
{
    size_t at = train_place(t, group, tensor, b)->lane;
    return at == TRAIN_NONE ? NULL : lane + at;
}
static inline float *train_in(const struct nn_train *t, size_t layer)
{
    return t->in + layer * t->rows_max * t->config.C;
}

void *train_take(struct nn_train *t, size_t n, size_t size);
void train_fail(struct nn_train *t, enum trawl_status status);
MUST_USE enum trawl_status train_result(struct nn_train *t);
/* Whether the model has a tensor. */
bool train_has(const struct nn_train *t, size_t layer, enum nn_tensor tensor);
MUST_USE enum trawl_status train_read(const struct nn_train *t, float *out, size_t layer, enum nn_tensor tensor,
                                      size_t begin, size_t end);

/* train_params.c */
MUST_USE enum trawl_status train_params_init(struct nn_train *t);
/* train_weights.c */
void train_roles_init(struct nn_train *t);
MUST_USE enum trawl_status train_weights_init(struct nn_train *t);
MUST_USE enum trawl_status train_worker_products(struct nn_train *t, struct train_worker *w);
MUST_USE enum trawl_status train_pack_frozen(struct nn_train *t);
void train_weights_free(struct nn_train *t);

/* Tokens of one tile on their way. */
struct train_tile {
    struct nn_train *t;
    struct train_worker *w;
    size_t l, begin, rows;
    float *lane; /* NULL in forward passes */
};
typedef enum trawl_status (*train_tile_fn)(struct train_tile *tile);
/* Runs fn over all tiles: alone, or lane by lane, lanes cleared first or not. */
enum train_order { TRAIN_TILES, TRAIN_BY_LANES, TRAIN_FRESH_LANES };
MUST_USE enum trawl_status train_tiles(struct nn_train *t, size_t layer, train_tile_fn fn, enum train_order order);
/* Adds what the lanes hold to the gradients of a group's parameters. */
void train_lanes_reduce(struct nn_train *t, size_t group);

/* train_linear.c: x (TILE,K), y (TILE,N), both 64-byte aligned with room for a whole tile. `narrow`: x in the element
 * type of the products where it is at hand, else NULL; with it x is read for dropout only. */
MUST_USE enum trawl_status train_linear_forward(struct train_tile *s, enum nn_role role, float *y, const float *x,
                                                const void *narrow);
/* dx (TILE,K) out, NULL: not wanted; then what the lane sums: biases and LoRA, from the same dy, before another role.
 */
MUST_USE enum trawl_status train_linear_dx(struct train_tile *s, enum nn_role role, float *dx, const float *dy);
void train_linear_gradients(struct train_tile *s, enum nn_role role, const float *dy, const float *x);
void train_matrix_gradients(struct nn_train *t, size_t layer);

/* Normalises a row as the family does; gradient of it. Tensors of a layer (group L: not per layer). */
void train_norm(const struct nn_train *t, float *y, const float *x, size_t group, enum nn_tensor weight,
                enum nn_tensor bias, size_t n);
void train_norm_back(const struct train_tile *s, float *dx, const float *dy, const float *x, size_t group,
                     enum nn_tensor weight, enum nn_tensor bias, size_t n);

/* rows x n floats of a tile to where they are kept, and back (directly, or through scratch). */
void train_keep(const struct train_tile *s, void *kept, const float *x, size_t n);
const float *train_kept(const struct train_tile *s, const void *kept, float *scratch, size_t n);

MUST_USE enum trawl_status train_forward_layer(struct nn_train *t, size_t l);
MUST_USE enum trawl_status train_embed(struct nn_train *t);
/* One token's embedding before any norm. */
MUST_USE enum trawl_status train_embed_row(const struct nn_train *t, float *x, size_t token);
MUST_USE enum trawl_status train_embed_backward(struct nn_train *t);
void train_attend(struct nn_train *t);
void train_attend_backward(struct nn_train *t);
void train_head_free(struct nn_train *t);
/* Repacks a trained head that is in use. */
MUST_USE enum trawl_status train_head_update(struct nn_train *t);

#endif
