/* Keys and values of one sequence, after rotation, in the type that attention takes them in. */
#include "base/mem.h"
#include "nn_int.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum trawl_status nn_kv_new(struct nn_kv **out, const struct nn_model *model, size_t tokens_max)
{
    const struct nn_config *c = &model->config;
    size_t n;
    *out = NULL;
    if (c->encoder)
        return fail(TRAWL_UNSUPPORTED, "an encoder attends in both directions: it has no prefix to keep");
    if (tokens_max > c->positions)
        tokens_max = c->positions;
    if (__builtin_mul_overflow(c->L * c->K * nn_head_width(c->D), tokens_max, &n))
        return fail(TRAWL_LIMIT, "keys and values of %zu tokens are too many", tokens_max);
    struct nn_kv *kv = mem_array(1, sizeof *kv);
    if (!kv)
        return mem_status();
    *kv = (struct nn_kv){.model = model, .tokens_max = tokens_max};
    if (model->tiles) {
        kv->tile_k = mem_array(n, sizeof *kv->tile_k);
        kv->tile_v = mem_array(n, sizeof *kv->tile_v);
    } else {
        kv->k = mem_aligned(n, sizeof *kv->k);
        kv->v = mem_aligned(n, sizeof *kv->v);
    }
    if (model->tiles ? !kv->tile_k || !kv->tile_v : !kv->k || !kv->v) {
        nn_kv_free(kv);
        return mem_status();
    }
    *out = kv;
    return TRAWL_OK;
}

size_t nn_kv_tokens(const struct nn_kv *kv)
{
    return kv->tokens;
}

void nn_kv_truncate(struct nn_kv *kv, size_t tokens)
{
    assert(tokens <= kv->tokens);
    kv->tokens = tokens;
}

void nn_kv_free(struct nn_kv *kv)
{
    if (!kv)
        return;
    free(kv->k);
    free(kv->v);
    free(kv->tile_k);
    free(kv->tile_v);
    free(kv);
}

enum trawl_status nn_kv_copy(struct nn_kv *to, const struct nn_kv *from)
{
    const struct nn_config *c = &from->model->config;
    size_t n = c->K * c->D, bytes = from->tokens * n * sizeof(float);
    assert(to->model == from->model);
    if (from->tokens > to->tokens_max)
        return fail(TRAWL_LIMIT, "keys and values of %zu tokens do not fit where %zu have room", from->tokens,
                    to->tokens_max);
    for (size_t l = 0; l < c->L; l++) {
        memcpy(to->k + l * to->tokens_max * n, from->k + l * from->tokens_max * n, bytes);
        memcpy(to->v + l * to->tokens_max * n, from->v + l * from->tokens_max * n, bytes);
    }
    to->tokens = from->tokens;
    return TRAWL_OK;
}
