/* Reader of the small random models in test/golden/tiny, apart from the library's own: HF config.json (new key names),
 * f32 safetensors, .npy of f32 or i64. */
#ifndef TEST_NN_TINY_H
#define TEST_NN_TINY_H
#include "nn/nn.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct tiny {
    struct nn_config config;
    struct nn_source source;
    json_t *header;
    char *file;
    const char *data;
    bool bert, gemma;
};

static inline char *tiny_slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*n + 1);
    assert_int_equal(fread(data, 1, *n, f), *n);
    data[*n] = 0;
    fclose(f);
    return data;
}

static inline void tiny_path(char out[1024], const char *arch, const char *name)
{
    const char *golden = getenv("TRAWL_GOLDEN"), *source = getenv("TRAWL_SOURCE");
    if (golden)
        snprintf(out, 1024, "%s/tiny/%s/%s", golden, arch, name);
    else
        snprintf(out, 1024, "%s/test/golden/tiny/%s/%s", source ? source : ".", arch, name);
}

/* Values of an .npy as floats; *n of them. */
static inline float *tiny_npy(const char *path, size_t *n)
{
    size_t bytes;
    char *file = tiny_slurp(path, &bytes);
    size_t head = 10 + (unsigned char)file[8] + 256u * (unsigned char)file[9];
    bool i64 = strstr(file + 10, "<i8") != NULL, u8 = strstr(file + 10, "|u1") != NULL, i32 = strstr(file + 10, "<i4");
    size_t size = i64 ? 8 : u8 ? 1 : 4;
    *n = (bytes - head) / size;
    float *out = malloc(*n * sizeof *out + 1);
    for (size_t i = 0; i < *n; i++) {
        int64_t v = 0;
        int32_t w = 0;
        memcpy(i64 ? (void *)&v : i32 ? (void *)&w : (void *)&out[i], file + head + i * size, u8 ? 0 : size);
        if (i64)
            out[i] = (float)v;
        if (i32)
            out[i] = (float)w;
        if (u8)
            out[i] = (float)(unsigned char)file[head + i];
    }
    free(file);
    return out;
}

static inline const char *tiny_name(const struct tiny *t, size_t layer, enum nn_tensor tensor, char out[128])
{
    static const struct {
        enum nn_tensor tensor;
        const char *llama, *bert;
    } names[] = {
        {NN_T_EMBED, "model.embed_tokens.weight", "embeddings.word_embeddings.weight"},
        {NN_T_POSITION_EMBED, NULL, "embeddings.position_embeddings.weight"},
        {NN_T_TYPE_EMBED, NULL, "embeddings.token_type_embeddings.weight"},
        {NN_T_EMBED_NORM, NULL, "embeddings.LayerNorm.weight"},
        {NN_T_EMBED_NORM_BIAS, NULL, "embeddings.LayerNorm.bias"},
        {NN_T_FINAL_NORM, "model.norm.weight", NULL},
        {NN_T_HEAD, "lm_head.weight", NULL},
        {NN_T_ATTN_NORM, "input_layernorm.weight", "attention.output.LayerNorm.weight"},
        {NN_T_ATTN_NORM_BIAS, NULL, "attention.output.LayerNorm.bias"},
        {NN_T_Q, "self_attn.q_proj.weight", "attention.self.query.weight"},
        {NN_T_Q_BIAS, "self_attn.q_proj.bias", "attention.self.query.bias"},
        {NN_T_K, "self_attn.k_proj.weight", "attention.self.key.weight"},
        {NN_T_K_BIAS, "self_attn.k_proj.bias", "attention.self.key.bias"},
        {NN_T_V, "self_attn.v_proj.weight", "attention.self.value.weight"},
        {NN_T_V_BIAS, "self_attn.v_proj.bias", "attention.self.value.bias"},
        {NN_T_O, "self_attn.o_proj.weight", "attention.output.dense.weight"},
        {NN_T_O_BIAS, "self_attn.o_proj.bias", "attention.output.dense.bias"},
        {NN_T_Q_NORM, "self_attn.q_norm.weight", NULL},
        {NN_T_K_NORM, "self_attn.k_norm.weight", NULL},
        {NN_T_POST_ATTN_NORM, "post_attention_layernorm.weight", NULL},
        {NN_T_MLP_NORM, "post_attention_layernorm.weight", "output.LayerNorm.weight"},
        {NN_T_MLP_NORM_BIAS, NULL, "output.LayerNorm.bias"},
        {NN_T_GATE, "mlp.gate_proj.weight", NULL},
        {NN_T_UP, "mlp.up_proj.weight", "intermediate.dense.weight"},
        {NN_T_UP_BIAS, NULL, "intermediate.dense.bias"},
        {NN_T_DOWN, "mlp.down_proj.weight", "output.dense.weight"},
        {NN_T_DOWN_BIAS, NULL, "output.dense.bias"},
        {NN_T_POST_MLP_NORM, "post_feedforward_layernorm.weight", NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *name = t->bert ? names[i].bert : names[i].llama;
        size_t rows, cols;
        bool per_layer;
        if (names[i].tensor != tensor || !name)
            continue;
        if (t->gemma && tensor == NN_T_MLP_NORM)
            name = "pre_feedforward_layernorm.weight";
        nn_tensor_shape(&t->config, tensor, &rows, &cols, &per_layer);
        if (per_layer)
            snprintf(out, 128, t->bert ? "encoder.layer.%zu.%s" : "model.layers.%zu.%s", layer, name);
        else
            snprintf(out, 128, "%s", name);
        return out;
    }
    return NULL;
}

static inline const float *tiny_tensor(const struct tiny *t, size_t layer, enum nn_tensor tensor)
{
    char name[128];
    json_t *entry = tiny_name(t, layer, tensor, name) ? json_object_get(t->header, name) : NULL;
    if (!entry)
        return NULL;
    return (const float *)(t->data + json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0)));
}

static inline bool tiny_has(void *ctx, size_t layer, enum nn_tensor tensor)
{
    return tiny_tensor(ctx, layer, tensor) != NULL;
}

static inline enum trawl_status tiny_read(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                                          size_t end)
{
    const struct tiny *t = ctx;
    size_t rows, cols;
    const float *data = tiny_tensor(t, layer, tensor);
    if (!data)
        return TRAWL_NOT_FOUND;
    nn_tensor_shape(&t->config, tensor, &rows, &cols, NULL);
    memcpy(out, data + begin * cols, (end - begin) * cols * sizeof *out);
    bool plus_one = t->gemma && (tensor == NN_T_ATTN_NORM || tensor == NN_T_MLP_NORM || tensor == NN_T_POST_ATTN_NORM ||
                                 tensor == NN_T_POST_MLP_NORM || tensor == NN_T_FINAL_NORM || tensor == NN_T_Q_NORM ||
                                 tensor == NN_T_K_NORM);
    for (size_t i = 0; plus_one && i < (end - begin) * cols; i++)
        out[i] += 1.0f;
    return TRAWL_OK;
}

static inline size_t tiny_count(json_t *config, const char *key, size_t preset)
{
    json_t *v = json_object_get(config, key);
    return json_is_integer(v) ? (size_t)json_integer_value(v) : preset;
}

static inline double tiny_number(json_t *config, const char *key, double preset)
{
    json_t *v = json_object_get(config, key);
    return json_is_number(v) ? json_number_value(v) : preset;
}

static inline void tiny_rope(struct nn_config *c, size_t table, json_t *rope)
{
    double theta = tiny_number(rope, "rope_theta", 10000);
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    for (size_t i = 0; i < c->D / 2; i++) {
        float inverse = (float)(1.0 / pow(theta, 2.0 * (double)i / (double)c->D));
        if (type && !strcmp(type, "llama3")) {
            double factor = tiny_number(rope, "factor", 1), low = tiny_number(rope, "low_freq_factor", 1),
                   high = tiny_number(rope, "high_freq_factor", 4),
                   original = tiny_number(rope, "original_max_position_embeddings", 8192),
                   wave = 2 * 3.14159265358979323846 / (double)inverse, smooth = (original / wave - low) / (high - low);
            if (wave > original / low)
                inverse = (float)((double)inverse / factor);
            else if (wave >= original / high)
                inverse = (float)((1 - smooth) * (double)inverse / factor + smooth * (double)inverse);
        }
        c->rope_inverse[table][i] = inverse;
    }
    c->rope_scale[table] = 1;
}

static inline void tiny_open(struct tiny *t, const char *arch)
{
    char path[1024];
    size_t n;
    tiny_path(path, arch, "model/config.json");
    json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(j);
    struct nn_config *c = &t->config;
    *t = (struct tiny){.bert = !strcmp(arch, "bert"), .gemma = !strcmp(arch, "gemma3_text")};
    c->L = tiny_count(j, "num_hidden_layers", 0);
    c->C = tiny_count(j, "hidden_size", 0);
    c->H = tiny_count(j, "num_attention_heads", 0);
    c->K = tiny_count(j, "num_key_value_heads", c->H);
    c->D = tiny_count(j, "head_dim", c->C / c->H);
    c->F = tiny_count(j, "intermediate_size", 0);
    c->V = tiny_count(j, "vocab_size", 0);
    c->positions = tiny_count(j, "max_position_embeddings", 0);
    c->token_types = tiny_count(j, "type_vocab_size", 0);
    c->encoder = t->bert;
    c->gated = !t->bert;
    c->qk_norm = t->gemma || !strcmp(arch, "qwen3");
    c->sandwich_norm = t->gemma;
    c->tied_head = json_is_true(json_object_get(j, "tie_word_embeddings"));
    c->has_head = !t->bert;
    c->norm = t->bert ? NN_LAYER_NORM : NN_RMS_NORM;
    c->activation = t->bert ? NN_GELU_ERF : t->gemma ? NN_GELU_TANH : NN_SILU;
    c->norm_eps = (float)(t->bert ? tiny_number(j, "layer_norm_eps", 0) : tiny_number(j, "rms_norm_eps", 0));
    c->embedding_scale = t->gemma ? sqrtf((float)c->C) : 1;
    c->attention_scale = (float)(1 / sqrt(tiny_number(j, "query_pre_attn_scalar", (double)c->D)));
    json_t *rope = json_object_get(j, "rope_parameters"), *types = json_object_get(j, "layer_types");
    if (t->gemma) {
        tiny_rope(c, 0, json_object_get(rope, "full_attention"));
        tiny_rope(c, 1, json_object_get(rope, "sliding_attention"));
    } else if (rope) {
        tiny_rope(c, 0, rope);
    }
    for (size_t l = 0; l < c->L; l++) {
        const char *type = json_string_value(json_array_get(types, l));
        bool sliding = t->gemma ? !strcmp(type, "sliding_attention") : !strcmp(arch, "mistral");
        c->window[l] = sliding ? (uint32_t)tiny_count(j, "sliding_window", 0) : 0;
        c->rope_table[l] = t->gemma && sliding;
    }
    json_decref(j);
    tiny_path(path, arch, "model/model.safetensors");
    t->file = tiny_slurp(path, &n);
    uint64_t head;
    memcpy(&head, t->file, 8);
    t->header = json_loadb(t->file + 8, head, 0, NULL);
    assert_non_null(t->header);
    t->data = t->file + 8 + head;
    t->source = (struct nn_source){&t->config, t, tiny_has, tiny_read};
}

static inline void tiny_close(struct tiny *t)
{
    json_decref(t->header);
    free(t->file);
}

/* Token ids and types of sequence k. */
static inline uint32_t *tiny_ids(const char *arch, int k, size_t *n, uint8_t **types)
{
    char path[1024], name[64];
    snprintf(name, sizeof name, "seq%d.ids.npy", k);
    tiny_path(path, arch, name);
    float *values = tiny_npy(path, n);
    uint32_t *ids = malloc(*n * sizeof *ids);
    *types = calloc(*n, 1);
    for (size_t i = 0; i < *n; i++)
        ids[i] = (uint32_t)values[i];
    free(values);
    if (!strcmp(arch, "bert")) {
        snprintf(name, sizeof name, "seq%d.token_types.npy", k);
        tiny_path(path, arch, name);
        values = tiny_npy(path, n);
        for (size_t i = 0; i < *n; i++)
            (*types)[i] = (uint8_t)values[i];
        free(values);
    }
    return ids;
}

static inline float *tiny_values(const char *arch, int k, const char *what, size_t *n)
{
    char path[1024], name[64];
    snprintf(name, sizeof name, "seq%d.%s.npy", k, what);
    tiny_path(path, arch, name);
    return tiny_npy(path, n);
}

#endif
