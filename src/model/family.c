/* The table of families. */
#include "family.h"
#include <stdio.h>
#include <string.h>

#define LAYER "layers.%zu."
#define DECODER_COMMON                                                                                                 \
    [NN_T_EMBED] = "embed_tokens.weight", [NN_T_FINAL_NORM] = "norm.weight", [NN_T_HEAD] = "lm_head.weight",           \
    [NN_T_ATTN_NORM] = LAYER "input_layernorm.weight", [NN_T_Q] = LAYER "self_attn.q_proj.weight",                     \
    [NN_T_Q_BIAS] = LAYER "self_attn.q_proj.bias", [NN_T_K] = LAYER "self_attn.k_proj.weight",                         \
    [NN_T_K_BIAS] = LAYER "self_attn.k_proj.bias", [NN_T_V] = LAYER "self_attn.v_proj.weight",                         \
    [NN_T_V_BIAS] = LAYER "self_attn.v_proj.bias", [NN_T_O] = LAYER "self_attn.o_proj.weight",                         \
    [NN_T_O_BIAS] = LAYER "self_attn.o_proj.bias", [NN_T_Q_NORM] = LAYER "self_attn.q_norm.weight",                    \
    [NN_T_K_NORM] = LAYER "self_attn.k_norm.weight", [NN_T_GATE] = LAYER "mlp.gate_proj.weight",                       \
    [NN_T_UP] = LAYER "mlp.up_proj.weight", [NN_T_DOWN] = LAYER "mlp.down_proj.weight"

static const char *const hf_decoder[NN_T_COUNT] = {
    DECODER_COMMON,
    [NN_T_MLP_NORM] = LAYER "post_attention_layernorm.weight",
};
static const char *const hf_gemma[NN_T_COUNT] = {
    DECODER_COMMON,
    [NN_T_POST_ATTN_NORM] = LAYER "post_attention_layernorm.weight",
    [NN_T_MLP_NORM] = LAYER "pre_feedforward_layernorm.weight",
    [NN_T_POST_MLP_NORM] = LAYER "post_feedforward_layernorm.weight",
};

#undef LAYER
#define LAYER "encoder.layer.%zu."
static const char *const hf_bert[NN_T_COUNT] = {
    [NN_T_EMBED] = "embeddings.word_embeddings.weight",
    [NN_T_POSITION_EMBED] = "embeddings.position_embeddings.weight",
    [NN_T_TYPE_EMBED] = "embeddings.token_type_embeddings.weight",
    [NN_T_EMBED_NORM] = "embeddings.LayerNorm.weight",
    [NN_T_EMBED_NORM_BIAS] = "embeddings.LayerNorm.bias",
    [NN_T_ATTN_NORM] = LAYER "attention.output.LayerNorm.weight",
    [NN_T_ATTN_NORM_BIAS] = LAYER "attention.output.LayerNorm.bias",
    [NN_T_Q] = LAYER "attention.self.query.weight",
    [NN_T_Q_BIAS] = LAYER "attention.self.query.bias",
    [NN_T_K] = LAYER "attention.self.key.weight",
    [NN_T_K_BIAS] = LAYER "attention.self.key.bias",
    [NN_T_V] = LAYER "attention.self.value.weight",
    [NN_T_V_BIAS] = LAYER "attention.self.value.bias",
    [NN_T_O] = LAYER "attention.output.dense.weight",
    [NN_T_O_BIAS] = LAYER "attention.output.dense.bias",
    [NN_T_MLP_NORM] = LAYER "output.LayerNorm.weight",
    [NN_T_MLP_NORM_BIAS] = LAYER "output.LayerNorm.bias",
    [NN_T_UP] = LAYER "intermediate.dense.weight",
    [NN_T_UP_BIAS] = LAYER "intermediate.dense.bias",
    [NN_T_DOWN] = LAYER "output.dense.weight",
    [NN_T_DOWN_BIAS] = LAYER "output.dense.bias",
};

#undef LAYER
#define LAYER "blk.%zu."
static const char *const gguf_decoder[NN_T_COUNT] = {
    [NN_T_EMBED] = "token_embd.weight",
    [NN_T_FINAL_NORM] = "output_norm.weight",
    [NN_T_HEAD] = "output.weight",
    [NN_T_ATTN_NORM] = LAYER "attn_norm.weight",
    [NN_T_Q] = LAYER "attn_q.weight",
    [NN_T_Q_BIAS] = LAYER "attn_q.bias",
    [NN_T_K] = LAYER "attn_k.weight",
    [NN_T_K_BIAS] = LAYER "attn_k.bias",
    [NN_T_V] = LAYER "attn_v.weight",
    [NN_T_V_BIAS] = LAYER "attn_v.bias",
    [NN_T_O] = LAYER "attn_output.weight",
    [NN_T_O_BIAS] = LAYER "attn_output.bias",
    [NN_T_Q_NORM] = LAYER "attn_q_norm.weight",
    [NN_T_K_NORM] = LAYER "attn_k_norm.weight",
    [NN_T_POST_ATTN_NORM] = LAYER "post_attention_norm.weight",
    [NN_T_MLP_NORM] = LAYER "ffn_norm.weight",
    [NN_T_GATE] = LAYER "ffn_gate.weight",
    [NN_T_UP] = LAYER "ffn_up.weight",
    [NN_T_UP_BIAS] = LAYER "ffn_up.bias",
    [NN_T_DOWN] = LAYER "ffn_down.weight",
    [NN_T_DOWN_BIAS] = LAYER "ffn_down.bias",
    [NN_T_POST_MLP_NORM] = LAYER "post_ffw_norm.weight",
};
static const char *const gguf_bert[NN_T_COUNT] = {
    [NN_T_EMBED] = "token_embd.weight",
    [NN_T_POSITION_EMBED] = "position_embd.weight",
    [NN_T_TYPE_EMBED] = "token_types.weight",
    [NN_T_EMBED_NORM] = "token_embd_norm.weight",
    [NN_T_EMBED_NORM_BIAS] = "token_embd_norm.bias",
    [NN_T_ATTN_NORM] = LAYER "attn_output_norm.weight",
    [NN_T_ATTN_NORM_BIAS] = LAYER "attn_output_norm.bias",
    [NN_T_Q] = LAYER "attn_q.weight",
    [NN_T_Q_BIAS] = LAYER "attn_q.bias",
    [NN_T_K] = LAYER "attn_k.weight",
    [NN_T_K_BIAS] = LAYER "attn_k.bias",
    [NN_T_V] = LAYER "attn_v.weight",
    [NN_T_V_BIAS] = LAYER "attn_v.bias",
    [NN_T_O] = LAYER "attn_output.weight",
    [NN_T_O_BIAS] = LAYER "attn_output.bias",
    [NN_T_MLP_NORM] = LAYER "layer_output_norm.weight",
    [NN_T_MLP_NORM_BIAS] = LAYER "layer_output_norm.bias",
    [NN_T_UP] = LAYER "ffn_up.weight",
    [NN_T_UP_BIAS] = LAYER "ffn_up.bias",
    [NN_T_DOWN] = LAYER "ffn_down.weight",
    [NN_T_DOWN_BIAS] = LAYER "ffn_down.bias",
};

#define BERT_IGNORED "pooler. cls. classifier. lm_head. qa_outputs. embeddings.position_ids"
#define BERT_ROW(name_, types_, arch_, prefix_)                                                                        \
    {                                                                                                                  \
        .name = name_, .model_types = types_, .gguf_arch = arch_, .hf_names = hf_bert, .gguf_names = gguf_bert,        \
        .hf_prefixes = prefix_, .hf_ignored = BERT_IGNORED, .encoder = true, .norm_eps_default = 1e-12,                \
        .activation_default = "gelu"                                                                                   \
    }

static const struct family families[] = {
    {.name = "llama",
     .model_types = "llama",
     .gguf_arch = "llama",
     .hf_names = hf_decoder,
     .gguf_names = gguf_decoder,
     .hf_prefixes = "model.",
     .gguf_permuted = true,
     .rope_theta_default = 10000,
     .norm_eps_default = 1e-6,
     .activation_default = "silu"},
    {.name = "mistral",
     .model_types = "mistral",
     .hf_names = hf_decoder,
     .hf_prefixes = "model.",
     .window = WINDOW_ALL,
     .rope_theta_default = 10000,
     .norm_eps_default = 1e-6,
     .activation_default = "silu"},
    {.name = "qwen2",
     .model_types = "qwen2",
     .gguf_arch = "qwen2",
     .hf_names = hf_decoder,
     .gguf_names = gguf_decoder,
     .hf_prefixes = "model.",
     .qkv_bias = true,
     .window = WINDOW_SWITCHED,
     .rope_theta_default = 10000,
     .norm_eps_default = 1e-6,
     .activation_default = "silu"},
    {.name = "qwen3",
     .model_types = "qwen3",
     .gguf_arch = "qwen3",
     .hf_names = hf_decoder,
     .gguf_names = gguf_decoder,
     .hf_prefixes = "model.",
     .qk_norm = true,
     .window = WINDOW_SWITCHED,
     .head_dim_default = 128,
     .rope_theta_default = 10000,
     .norm_eps_default = 1e-6,
     .activation_default = "silu"},
    {.name = "gemma3",
     .model_types = "gemma3_text gemma3",
     .gguf_arch = "gemma3",
     .hf_names = hf_gemma,
     .gguf_names = gguf_decoder,
     .hf_prefixes = "model. language_model.model. model.language_model.",
     .hf_ignored = "vision_tower. multi_modal_projector. model.vision_tower. model.multi_modal_projector.",
     .qk_norm = true,
     .sandwich_norm = true,
     .norm_plus_one = true,
     .tied_default = true,
     .window = WINDOW_PATTERNED,
     .head_dim_default = 256,
     .rope_theta_default = 1000000,
     .norm_eps_default = 1e-6,
     .activation_default = "gelu_pytorch_tanh"},
    BERT_ROW("bert", "bert", "bert", "bert. model."),
    BERT_ROW("xlm-roberta", "xlm-roberta roberta camembert", NULL, "roberta. camembert. model."),
};
enum { N_FAMILIES = sizeof families / sizeof *families };

static bool word_is(const char *list, const char *word, size_t n)
{
    for (const char *p = list; p && *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        if (length == n && !memcmp(p, word, n))
            return true;
        p += length;
    }
    return false;
}

const struct family *family_by_model_type(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (word_is(families[i].model_types, model_type, strlen(model_type)))
            return &families[i];
    return NULL;
}

const struct family *family_by_gguf(const char *arch, size_t n)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (word_is(families[i].gguf_arch, arch, n))
            return &families[i];
    return NULL;
}

const char *family_names(void)
{
    static _Thread_local char text[256];
    size_t at = 0;
    for (size_t i = 0; i < N_FAMILIES; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "", families[i].name);
    return text;
}

bool family_tensor_name(char *out, const char *const *names, const char *prefix, size_t layer, enum nn_tensor tensor)
{
    const char *pattern = names[tensor];
    if (!pattern)
        return false;
    const char *number = strstr(pattern, "%zu");
    if (tensor == NN_T_HEAD)
        prefix = ""; /* the head lies beside the transformer, not in it */
    if (number)
        snprintf(out, FAMILY_NAME_MAX, "%s%.*s%zu%s", prefix, (int)(number - pattern), pattern, layer, number + 3);
    else
        snprintf(out, FAMILY_NAME_MAX, "%s%s", prefix, pattern);
    return true;
}

bool family_listed(const char *list, const char *name)
{
    for (const char *p = list; p && *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        if (!strncmp(name, p, length))
            return true;
        p += length;
    }
    return false;
}

enum trawl_status family_activation(enum nn_activation *out, const char *name, const char *where)
{
    static const struct {
        const char *name;
        enum nn_activation activation;
    } known[] = {
        {"silu", NN_SILU},          {"swish", NN_SILU},
        {"gelu", NN_GELU_ERF},      {"gelu_pytorch_tanh", NN_GELU_TANH},
        {"gelu_new", NN_GELU_TANH}, {"gelu_fast", NN_GELU_TANH},
        {"relu", NN_RELU},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            *out = known[i].activation;
            return TRAWL_OK;
        }
    return fail(TRAWL_UNSUPPORTED, "%s: activation '%s' is not supported (known: silu, gelu, gelu_pytorch_tanh, relu)",
                where, name);
}
