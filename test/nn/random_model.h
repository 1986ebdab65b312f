/* A model of any shape with random weights, reproducible, for tests of properties that hold for every model. */
#ifndef TEST_NN_RANDOM_MODEL_H
#define TEST_NN_RANDOM_MODEL_H
#include "nn/nn.h"
#include <math.h>

static inline float random_value(uint64_t seed)
{
    seed ^= seed >> 31, seed *= UINT64_C(0x9E3779B97F4A7C15);
    seed ^= seed >> 29, seed *= UINT64_C(0xBF58476D1CE4E5B9);
    seed ^= seed >> 32;
    return (float)(int32_t)(uint32_t)seed * 0x1p-31f;
}

static inline bool random_has(void *ctx, size_t layer, enum nn_tensor tensor)
{
    (void)ctx, (void)layer, (void)tensor;
    return true;
}

static inline enum trawl_status random_read(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                                            size_t end)
{
    const struct nn_config *c = ctx;
    size_t rows, cols;
    nn_tensor_shape(c, tensor, &rows, &cols, NULL);
    for (size_t r = begin; r < end; r++)
        for (size_t i = 0; i < cols; i++) {
            float x = random_value(((uint64_t)layer * NN_T_COUNT + tensor) << 40 | (r * cols + i));
            *out++ = rows == 1 ? 1 + 0.2f * x : tensor == NN_T_EMBED ? x : x * sqrtf(3.0f / (float)cols);
        }
    return TRAWL_OK;
}

static inline struct nn_source random_model(struct nn_config *c)
{
    for (size_t i = 0; i < c->D / 2; i++)
        c->rope_inverse[0][i] = c->rope_inverse[1][i] = powf(10000, -2.0f * (float)i / (float)c->D);
    c->rope_scale[0] = c->rope_scale[1] = 1;
    c->embedding_scale = 1;
    c->norm_eps = 1e-5f;
    c->attention_scale = 1 / sqrtf((float)c->D);
    return (struct nn_source){c, c, random_has, random_read};
}

/* Shaped like SmolLM2-135M with two layers, one of them windowed. */
static inline struct nn_config random_decoder(void)
{
    struct nn_config c = {.L = 2,
                          .C = 576,
                          .H = 9,
                          .K = 3,
                          .D = 64,
                          .F = 1536,
                          .V = 5000,
                          .positions = 1024,
                          .gated = true,
                          .has_head = true,
                          .norm = NN_RMS_NORM,
                          .activation = NN_SILU};
    c.window[1] = 37;
    return c;
}

/* Shaped like MiniLM with two layers. */
static inline struct nn_config random_encoder(void)
{
    return (struct nn_config){.L = 2,
                              .C = 384,
                              .H = 12,
                              .K = 12,
                              .D = 32,
                              .F = 1536,
                              .V = 5000,
                              .positions = 512,
                              .token_types = 2,
                              .encoder = true,
                              .norm = NN_LAYER_NORM,
                              .activation = NN_GELU_ERF};
}

#endif
