/*
 * Models out: adapters as PEFT reads them, whole models as transformers and sentence-transformers read them. A folder
 * is written beside its name and renamed when it is complete; what stood under the name before is replaced.
 */
#ifndef MODEL_SAVE_H
#define MODEL_SAVE_H
#include "model.h"

/* ---- safetensors: F32 tensors, in the order given ---- */
struct save_tensor {
    char name[200];
    size_t n_dims, rows, cols; /* one dimension: cols */
    const float *data;         /* NULL: rows come from the source, tensor `tensor` of layer `layer` */
    size_t layer;
    enum nn_tensor tensor;
    size_t minus_one; /* 1: stored as value - 1 (Gemma's norms) */
};
MUST_USE enum trawl_status safetensors_write(const char *path, const struct save_tensor *tensors, size_t n,
                                             const struct nn_source *source);

/* ---- adapters ---- */
struct model_update {
    size_t layer;
    enum nn_tensor tensor;
    const float *a, *b; /* (rank,cols), (rows,rank) */
};
struct model_adapter {
    size_t rank;
    double alpha, dropout;
    bool rslora;
    const struct model_update *updates;
    size_t n_updates;
    const struct contract *document, *query; /* to trawl.json */
};
/* The base is named as `m` was opened (a path is made absolute), or, where `m` is an adapter, as that one's base. */
MUST_USE enum trawl_status model_save_adapter(struct model_files *m, const char *folder,
                                              const struct model_adapter *adapter);

/*
 * The updates of an opened adapter: taken off, so that the source gives the base alone from then on (other readers of
 * the source must be done). MISMATCH when their ranks or scales differ among each other, UNSUPPORTED when the adapter
 * replaces whole tensors. *n 0: no adapter. The arrays live as long as `m`; the list is to be freed.
 */
MUST_USE enum trawl_status model_files_unmerge(struct model_files *m, struct model_update **updates, size_t *n,
                                               size_t *rank, double *scale);

bool model_files_is_adapter(const struct model_files *m);
/* 16 hex digits over the base alone: what trawl.json calls base_fingerprint. */
MUST_USE enum trawl_status model_files_base_fingerprint(struct model_files *m, char out[17]);

/* ---- whole models: config.json, weights in f32, tokenizer, modules, prompts, trawl.json. UNSUPPORTED for GGUF bases,
 * which have no configuration and tokenizer files to go with them. ---- */
MUST_USE enum trawl_status model_save_folder(struct model_files *m, const struct nn_source *source, const char *folder,
                                             const struct contract *document, const struct contract *query);

#endif
