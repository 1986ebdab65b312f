/*
 * A model's tensors by their role: where each lies in the files, what has to be undone when it is read, and the adapter
 * on top. struct nn_source is made of it.
 */
#ifndef MODEL_SOURCE_H
#define MODEL_SOURCE_H
#include "config.h"

/* Low-rank update of a matrix: W + scale * B A. */
struct lora {
    size_t r;
    float scale;
    float *a, *b;    /* matrix (rows,cols): a (r,cols), b (rows,r); transposed: a (r,rows), b (cols,r) */
    bool transposed; /* embeddings: W + scale * (B A)^T */
};

struct slot {
    const struct tensor *tensor; /* NULL: the model has none */
    const struct tensor_set *set;
    size_t skip;     /* rows left out at the start */
    size_t permuted; /* heads whose rows llama.cpp interleaved; 0: as they are */
    bool plus_one;
    struct lora *lora; /* owned; NULL: none */
};

struct source {
    struct model_config config;
    struct slot *slots; /* (1+L, NN_T_COUNT): row 0 holds what is not per layer, row 1+l layer l */
    struct nn_source nn;
};

/* Finds every tensor that the configuration asks for, checks all shapes, refuses missing and unknown tensors by name.
 * `names`: family's names in this kind of file; `prefixes` (may be NULL) are tried in order, then none. */
MUST_USE enum trawl_status source_init(struct source *s, const struct model_config *config,
                                       const struct tensor_set *set, const char *const *names, const char *prefixes,
                                       const char *where);
void source_release(struct source *s);
struct slot *source_slot(const struct source *s, size_t layer, enum nn_tensor tensor);
/* Shape of the stored tensor that a slot must hold. */
void source_shape(const struct source *s, enum nn_tensor tensor, size_t *rows, size_t *cols, bool *per_layer);
/* Number of parameters, tied tensors once. */
uint64_t source_parameters(const struct source *s);

/*
 * PEFT LoRA: adapter_config.json and adapter_model.safetensors of `folder`, whose tensors go to `set`, onto the slots.
 * Low-rank updates are merged as rows are read; whole tensors (modules_to_save) take the place of the base's.
 */
struct adapter_info {
    size_t r, n_updates, n_replaced;
    double alpha;
    bool rslora;
};
MUST_USE enum trawl_status adapter_apply(struct source *s, struct adapter_info *info, struct tensor_set *set,
                                         const char *folder);
/* The base that an adapter folder names, as written there; to be freed. */
MUST_USE enum trawl_status adapter_base(char **base, const char *folder);

#endif
