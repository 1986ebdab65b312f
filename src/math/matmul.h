/*
 * The matrix product over fixed tiles of rows, on oneDNN; the only file that knows oneDNN and which of its two API
 * versions is there.
 *
 *   y (M,N) = x (M,K) W^T        W (N,K) packed once, M = rows of the plan
 *
 * A plan holds single-thread primitives for one W shape; weights of that shape are packed by it; an exec belongs to one
 * thread and holds what a call needs, so that a call makes no heap allocation of ours and spawns no thread. The row
 * count is fixed: fewer rows are computed as a whole tile, so a row has the same bits wherever it stands. For calls
 * with few rows there are smaller tiles as well, each taken only if it gave the bits of the full one in a trial when
 * the plan was made (oneDNN cuts K differently for some sizes).
 */
#ifndef MATH_MATMUL_H
#define MATH_MATMUL_H
#include "base/status.h"
#include <stdbool.h>

enum matmul_kind {
    MATMUL_F32,  /* x f32, W f32, y f32 */
    MATMUL_BF16, /* x bf16, W bf16, y f32 */
    MATMUL_INT8, /* x u8, W s8, y s32 */
};

/* Whether the library computes this kind on this machine under the instruction set in use. */
bool matmul_supports(enum matmul_kind kind);
/*
 * Largest |weight| of an INT8 product that is exact: 127; 64 where the machine lacks VNNI and pairs of products are
 * summed in 16 bits that saturate (255 * 64 * 2 < 32768).
 */
int matmul_int8_weight_max(void);

struct matmul_plan;
MUST_USE enum trawl_status matmul_plan_new(struct matmul_plan **plan, enum matmul_kind kind, size_t M, size_t N,
                                           size_t K);
/* The same for y += x W^T. */
MUST_USE enum trawl_status matmul_plan_new_sum(struct matmul_plan **plan, enum matmul_kind kind, size_t M, size_t N,
                                               size_t K);
void matmul_plan_free(struct matmul_plan *plan);
size_t matmul_plan_rows(const struct matmul_plan *plan);

/* W as (N,K) in the kind's element type -> packed; the input may be freed afterwards. W NULL: zeros, to be packed into.
 */
struct matmul_weights;
MUST_USE enum trawl_status matmul_weights_new(struct matmul_weights **weights, const struct matmul_plan *plan,
                                              const void *W);
void matmul_weights_free(struct matmul_weights *weights);
size_t matmul_weights_bytes(const struct matmul_weights *weights);

/*
 * Packs over weights that exist already, for weights that change: no heap call of ours. Belongs to one thread.
 * `transposed`: W is given as (K,N).
 */
struct matmul_packer;
MUST_USE enum trawl_status matmul_packer_new(struct matmul_packer **packer, const struct matmul_plan *plan,
                                             bool transposed);
void matmul_packer_free(struct matmul_packer *packer);
MUST_USE enum trawl_status matmul_pack(struct matmul_packer *packer, struct matmul_weights *weights, const void *W);

struct matmul_exec;
MUST_USE enum trawl_status matmul_exec_new(struct matmul_exec **exec, const struct matmul_plan *plan);
void matmul_exec_free(struct matmul_exec *exec);
size_t matmul_exec_bytes(const struct matmul_exec *exec);

/*
 * The first `rows` rows of y; x and y have room for all rows of the plan (the rest of x is read, of y overwritten) and
 * lie on 64-byte boundaries. A failure here is a bug or exhausted memory inside the library.
 */
MUST_USE enum trawl_status matmul_run(struct matmul_exec *exec, void *y, const void *x,
                                      const struct matmul_weights *weights, size_t rows);

#endif
