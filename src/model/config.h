/* What a model's files say about it: the family and the transformer's configuration, from config.json or GGUF. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H
#include "base/json.h"
#include "family.h"
#include "gguf.h"
#include "rope.h"

struct model_config {
    const struct family *family;
    struct nn_config nn;
    /* Which biases the configuration asks for; -1: whatever the files hold (GGUF). */
    int qkv_bias, o_bias;
    size_t position_skip; /* rows at the start of the stored position table that no token uses (XLM-R) */
    bool bidirectional;   /* a decoder that was trained without the causal mask (EmbeddingGemma) */
    bool headless;        /* the architecture is a bare transformer: files may lack the LM head */
    const char *dtype;    /* as the configuration names it, may be NULL; lives as long as the JSON */
};

/* `where` names the file in messages. */
MUST_USE enum trawl_status config_from_json(struct model_config *c, const json_t *json, const char *where);
/* `set` gives the size of the vocabulary and of tables that the metadata leave out. */
MUST_USE enum trawl_status config_from_gguf(struct model_config *c, const struct gguf *g, const struct tensor_set *set);
/* Limits that hold for every family; called by both. */
MUST_USE enum trawl_status config_check(const struct model_config *c, const char *where);

#endif
