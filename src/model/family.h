/*
 * Families of transformers, one row each: how their files call themselves and their tensors, and what is fixed by the
 * architecture rather than written in a configuration.
 */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H
#include "nn/nn.h"

/* Who decides which layers are windowed. */
enum family_window {
    WINDOW_NONE,      /* all layers see everything */
    WINDOW_ALL,       /* `sliding_window` holds for all layers where it is given */
    WINDOW_SWITCHED,  /* `use_sliding_window`, from layer `max_window_layers` on */
    WINDOW_PATTERNED, /* every n-th layer is global, the others are windowed and have their own rope */
};

struct family {
    const char *name;                                /* what we call it */
    const char *model_types;                         /* model_type of config.json, separated by spaces */
    const char *gguf_arch;                           /* general.architecture */
    const char *const *hf_names, *const *gguf_names; /* (NN_T_COUNT), NULL: the family has none; %zu is the layer */
    const char *hf_prefixes;                         /* separated by spaces, tried in order; "" comes last by itself */
    const char *hf_ignored; /* beginnings of names that belong to no part we run, separated by spaces */
    bool encoder, qk_norm, sandwich_norm, norm_plus_one;
    bool tied_default;
    bool qkv_bias;      /* always there; else config.json's attention_bias decides */
    bool gguf_permuted; /* llama.cpp stores rows of q and k interleaved */
    enum family_window window;
    size_t head_dim_default; /* 0: C / H */
    double rope_theta_default;
    double norm_eps_default;
    const char *activation_default;
};

const struct family *family_by_model_type(const char *model_type);
const struct family *family_by_gguf(const char *arch, size_t n);
/* "llama, mistral, ...", for messages. */
const char *family_names(void);
/* The file's name of a tensor, with its layer, into `out` (FAMILY_NAME_MAX bytes); false where the family has none. */
enum { FAMILY_NAME_MAX = 160 };
bool family_tensor_name(char *out, const char *const *names, const char *prefix, size_t layer, enum nn_tensor tensor);
/* Whether `name` begins with one of the words of a list. */
bool family_listed(const char *list, const char *name);
MUST_USE enum trawl_status family_activation(enum nn_activation *out, const char *name, const char *where);

#endif
