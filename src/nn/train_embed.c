/* From tokens to the first layer's input, and back to the embedding tables. */
#include "base/pool.h"
#include "train_int.h"
#include <string.h>

static size_t type_of(const struct nn_train *t, size_t token)
{
    return t->batch->types ? t->batch->types[t->batch->begin[0] + token] : 0;
}

enum trawl_status train_embed_row(const struct nn_train *t, float *x, size_t token)
{
    const struct nn_config *c = &t->config;
    size_t C = c->C, L = c->L;
    uint32_t id = t->batch->ids[t->batch->begin[0] + token];
    const float *positions = train_vector(t, L, NN_T_POSITION_EMBED), *types = train_vector(t, L, NN_T_TYPE_EMBED);
    if (t->lora.rank)
        TRY(t->source.read(t->source.ctx, x, 0, NN_T_EMBED, id, id + 1));
    else
        memcpy(x, t->values + train_place(t, L, NN_T_EMBED, false)->value + id * C, C * sizeof *x);
    if (c->embedding_scale != 1.0f)
        t->k->multiply(x, c->embedding_scale, C);
    if (positions)
        t->k->add(x, positions + (c->position_begin + t->position[token]) * C, C);
    if (types)
        t->k->add(x, types + type_of(t, token) * C, C);
    return TRAWL_OK;
}

static enum trawl_status tile_embed(struct train_tile *s)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C, L = t->config.L;
    for (size_t r = 0; r < s->rows; r++) {
        float *x = train_in(t, 0) + (s->begin + r) * C;
        TRY(train_embed_row(t, x, s->begin + r));
        if (train_vector(t, L, NN_T_EMBED_NORM))
            train_norm(t, x, x, L, NN_T_EMBED_NORM, NN_T_EMBED_NORM_BIAS, C);
    }
    return TRAWL_OK;
}

enum trawl_status train_embed(struct nn_train *t)
{
    return train_tiles(t, 0, tile_embed, TRAIN_TILES);
}

/* Through the embedding's norm: d_x becomes the gradient of the sum of embeddings. */
static enum trawl_status tile_norm_backward(struct train_tile *s)
{
    struct nn_train *t = s->t;
    size_t C = t->config.C;
    for (size_t r = 0; r < s->rows; r++) {
        float *dx = t->d_x + (s->begin + r) * C;
        TRY(train_embed_row(t, s->w->x, s->begin + r));
        memset(s->w->g, 0, C * sizeof *dx);
        train_norm_back(s, s->w->g, dx, s->w->x, t->config.L, NN_T_EMBED_NORM, NN_T_EMBED_NORM_BIAS, C);
        memcpy(dx, s->w->g, C * sizeof *dx);
    }
    return TRAWL_OK;
}

static void scatter(float *table, size_t row, size_t C, const float *dx, float scale, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        table[row * C + i] += scale * dx[i];
}

/* Columns [begin,end) of all tables, token after token. */
static void scatter_columns(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct nn_train *t = ctx;
    const struct nn_config *c = &t->config;
    size_t C = c->C, L = c->L, position = train_place(t, L, NN_T_POSITION_EMBED, false)->value,
           type = train_place(t, L, NN_T_TYPE_EMBED, false)->value;
    float *embed = t->grads + train_place(t, L, NN_T_EMBED, false)->value;
    (void)worker;
    for (size_t i = 0; i < t->T; i++) {
        const float *dx = t->d_x + i * C;
        scatter(embed, t->batch->ids[t->batch->begin[0] + i], C, dx, c->embedding_scale, begin, end);
        if (position != TRAIN_NONE)
            scatter(t->grads + position, c->position_begin + t->position[i], C, dx, 1, begin, end);
        if (type != TRAIN_NONE)
            scatter(t->grads + type, type_of(t, i), C, dx, 1, begin, end);
    }
}

enum trawl_status train_embed_backward(struct nn_train *t)
{
    if (train_vector(t, t->config.L, NN_T_EMBED_NORM)) {
        TRY(train_tiles(t, t->config.L, tile_norm_backward, TRAIN_FRESH_LANES));
        train_lanes_reduce(t, t->config.L);
    }
    pool_run(t->config.C, 64, scatter_columns, t);
    return TRAWL_OK;
}
