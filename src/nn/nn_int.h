/* Inside of nn: packed weights, one caller's scratch, and the pieces of a forward pass. */
#ifndef NN_INT_H
#define NN_INT_H
#include "kernels.h"
#include "math/matmul.h"
#include "nn.h"
#include <pthread.h>

enum {
    NN_TILE = 128,        /* rows of a matrix product */
    NN_GROUP = 4096,      /* tokens that go through all layers together, so that their states stay in cache */
    NN_SLICE = 1024,      /* widest product of the MLP's first half at once */
    NN_HEAD_SLICE = 2048, /* rows of the vocabulary at once */
    NN_QUERIES = 24,      /* queries that attend together: a multiple of the kernels' row blocks */
    NN_CHUNK = 240,       /* queries of one piece of work */
    NN_ROPE_TABLE = 2048, /* positions whose angles are kept */
};

/* The four matrix products of a layer: q, k, v in one; output; gate and up in one, in slices; down. */
enum nn_role { NN_QKV, NN_O, NN_UP, NN_DOWN, NN_ROLES };

/* y = x W^T + bias; INT8: y = (acc - zero) * scale * (scale of x's row) + bias. */
struct linear {
    struct matmul_weights **slices;
    float *scale, *bias;
    int32_t *zero;
};

/* How a role's weights lie: `n` slices of N rows each over K columns. */
struct linear_shape {
    enum matmul_kind kind;
    size_t n, N, K;
    struct matmul_plan *plan;
};

struct layer {
    struct linear linear[NN_ROLES];
    float *attn_norm, *attn_norm_bias, *mlp_norm, *mlp_norm_bias; /* NULL where the model has none */
    float *q_norm, *k_norm, *post_attn_norm, *post_mlp_norm;
    float *qkv_factor, *up_factor; /* int8 encoders: what smoothing multiplies the inputs by; else NULL */
};

struct nn_model {
    struct nn_config config;
    struct nn_source source;
    enum nn_precision precision;
    const struct nn_tile_kernels *tiles; /* NULL: attention in f32 */
    struct linear_shape shape[NN_ROLES];
    struct layer *layers;
    float *position_embed, *type_embed, *embed_norm, *embed_norm_bias, *final_norm, *final_norm_bias;
    float *rope[2]; /* (rope_positions, D): cosines, then sines; [1] NULL when no layer uses it */
    size_t rope_positions;
    /* The LM head is packed when first asked for. */
    float *smooth; /* (L, nn_inputs) while an int8 model is packed, see smooth.c; NULL: none */
    pthread_mutex_t head_lock;
    struct linear_shape head_shape;
    struct linear head;
    bool head_ready;
};

static inline size_t qkv_width(const struct nn_config *c)
{
    return (c->H + 2 * c->K) * c->D;
}
/* Input channels of a layer's four products, one after the other, and where a role's begin. */
static inline size_t nn_inputs_before(const struct nn_config *c, enum nn_role role)
{
    const size_t n[NN_ROLES] = {c->C, c->H * c->D, c->C, c->F};
    size_t sum = 0;
    for (int r = 0; r < (int)role; r++)
        sum += n[r];
    return sum;
}
static inline size_t nn_inputs(const struct nn_config *c)
{
    return nn_inputs_before(c, NN_ROLES);
}
/* Factors (L, nn_inputs) by which columns of the weights are to be multiplied, inputs divided. NULL: no gain here. */
MUST_USE enum trawl_status nn_smooth_new(float **smooth, const struct nn_source *source);
/* Angles of a position (D): from the model's table or into scratch (D). */
const float *nn_rope_at(const struct nn_model *model, size_t table, size_t position, float *scratch);
/* UNSUPPORTED for shapes that the passes cannot compute. */
MUST_USE enum trawl_status nn_config_check(const struct nn_config *c);
/* out (D): cosines, then sines of a position under one of the two tables. */
void nn_rope_fill(float *out, const struct nn_config *c, size_t table, size_t position);
MUST_USE enum trawl_status nn_head_prepare(struct nn_model *model);

struct nn_kv {
    const struct nn_model *model;
    size_t tokens, tokens_max;
    float *k, *v;              /* (L, tokens_max, K*D), or with tiles NULL, and ... */
    uint16_t *tile_k, *tile_v; /* ... (L, K, tokens_max, nn_head_width(D)) */
};

/* What one thread needs. */
struct worker {
    struct matmul_exec *exec[NN_ROLES], *head;
    void *in;                  /* (NN_TILE, widest K) in a role's type */
    float *in_scale;           /* (NN_TILE) */
    float *top;                /* (NN_TILE) largest entry of each row of mid */
    float *out;                /* (NN_TILE, widest N) f32 or s32 */
    float *mid;                /* (NN_TILE, F) */
    void *down;                /* (NN_TILE, F) in the type of DOWN */
    float *row;                /* scratch of one row */
    float *rope;               /* (D) */
    float *panels;             /* (positions rounded up, D) packed keys of one head */
    float *scores;             /* (NN_QUERIES, positions rounded up) */
    uint16_t *tile_k, *tile_v; /* (positions rounded up, D rounded up) bf16, where tiles are used ... */
    uint16_t *tile_p;          /* ... then panels is NULL */
};

struct attn_item {
    uint32_t row, q_begin, q_end;
};

struct nn_run {
    struct nn_model *model;
    const struct nn_kernels *kernels;
    const struct nn_tile_kernels *tiles; /* NULL: attention in f32 */
    size_t tokens_max, group_max, n_workers, bytes;
    struct worker *workers;
    float *x, *qkv, *attn; /* (group_max + NN_TILE, C), (.., qkv width), (.., H*D) */
    /* With tiles, instead of qkv and attn: one plane of bf16 per head, q, k, v, each (plane_rows, nn_head_width(D)), so
     * that a head's rows lie together; and (.., H*D) bf16. */
    uint16_t *planes, *narrow_attn;
    size_t plane_rows;
    uint32_t *position, *row_of; /* (group_max) */
    struct attn_item *items;
    size_t items_max;
    nn_tap_fn tap;
    void *tap_ctx;
    /* the group being computed */
    const struct nn_batch *batch;
    size_t first_row, end_row, first_token, T, tile, layer, n_items;
    float *hidden;
    float *record;            /* (L, nn_inputs) largest magnitude of each input channel, while smooth.c asks for it */
    double attention_seconds; /* of the calling thread, for benchmarks */
    /* the first failure of a worker */
    pthread_mutex_t lock;
    enum trawl_status status;
    char message[400];
};

/* A head's rows of the group: h counts query heads, then key heads, then value heads. */
static inline uint16_t *nn_plane(const struct nn_run *run, size_t h, size_t token)
{
    size_t width = nn_head_width(run->model->config.D);
    return run->planes + (h * run->plane_rows + token) * width;
}
void nn_run_fail(struct nn_run *run, enum trawl_status status);
/* pool_fn over attention items times K/V heads. */
void nn_attend(void *ctx, size_t begin, size_t end, size_t worker);
/* x (n) f32 -> the role's element type at y; the row's scale into *scale. top: largest |x| where it is known, else < 0.
 */
void nn_emit(const struct nn_kernels *k, enum matmul_kind kind, void *y, float *scale, const float *x, size_t n,
             float top);
/* A product's row from element `begin` on. */
struct nn_acc nn_acc_of(enum matmul_kind kind, const struct linear *linear, size_t begin, const void *acc,
                        float row_scale);
static inline size_t kind_bytes(enum matmul_kind kind)
{
    return kind == MATMUL_F32 ? 4 : kind == MATMUL_BF16 ? 2 : 1;
}

#endif
