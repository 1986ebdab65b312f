/*
 * Model files: GGUF (single and split), Hugging Face folders (safetensors), sentence-transformers folders, PEFT
 * adapters; names such as "smollm2-135m" are looked up in $TRAWL_MODELS. What comes out is a configuration, a source of
 * weights, a tokenizer, a chat template and, for sentence-transformers folders and our own, the default encoding
 * contract.
 */
#ifndef MODEL_H
#define MODEL_H
#include "data/contract.h"
#include "nn/nn.h"
#include "text/chat.h"
#include "text/tokenizer.h"

struct model_files;
/* Opens and checks everything (shapes against the configuration, sizes against the files); reads no weights yet. */
MUST_USE enum trawl_status model_files_open(struct model_files **m, const char *path_or_name);
void model_files_close(struct model_files *m);

const char *model_files_path(const struct model_files *m);
const char *model_files_family(const struct model_files *m); /* "llama", "qwen2", "gemma3", "bert", ... */
const struct nn_source *model_files_source(const struct model_files *m);
const struct tokenizer *model_files_tokenizer(const struct model_files *m); /* NULL: the folder has none */
/* Text of the file's chat template, NULL when there is none. */
const char *model_files_chat_template(const struct model_files *m);
/* 16 hex digits over the content of weights and adapter; computed once, remembered by path, size and time. */
MUST_USE enum trawl_status model_files_fingerprint(struct model_files *m, char out[17]);

/* What follows pooling, from modules.json: Dense layers (weights (out,in), optional bias, activation) in order. */
struct model_dense {
    size_t in, out;
    float *weight, *bias; /* bias NULL: none */
    bool tanh;            /* activation tanh, else identity */
};
struct model_modules {
    struct model_dense *dense;
    size_t n_dense;
    struct contract document,
        query; /* defaults: modules.json, prompts, trawl.json; for a bare LLM mean, causal, l2, 512 */
};
const struct model_modules *model_files_modules(const struct model_files *m);

/* Only the tokenizer of a model (a folder with nothing but tokenizer.json is fine); to be freed by the caller. */
MUST_USE enum trawl_status model_open_tokenizer(struct tokenizer **t, char **chat_template, const char *path_or_name);

/*
 * For `inspect`: what a model file or folder is, as an ordered JSON object (released by the caller with json_decref).
 * `verify` reads every tensor and refuses values that are not finite, `tensors` lists them all.
 */
MUST_USE enum trawl_status model_describe(json_t **out, const char *path_or_name, bool verify, bool tensors);
/* The tokenizer and chat template alone, of anything that model_open_tokenizer takes. */
MUST_USE enum trawl_status model_describe_tokenizer(json_t **out, const char *path_or_name);
/* The same for one safetensors file by itself. */
MUST_USE enum trawl_status model_describe_safetensors(json_t **out, const char *path, bool verify, bool tensors);

#endif
