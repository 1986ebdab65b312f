/* The opened model: what model_files_open puts together, shared by the files that make it. */
#ifndef MODEL_INT_H
#define MODEL_INT_H
#include "model.h"
#include "gguf.h"
#include "source.h"

struct model_files {
    char *given, *path; /* as asked for; where it was found */
    char *weights;      /* folder or GGUF file of the transformer (an adapter's base) */
    char *adapter;      /* folder of the adapter, NULL: none */
    struct adapter_info adapter_info;
    struct tensor_set set, adapter_set;
    struct gguf gguf; /* path NULL: a Hugging Face folder */
    json_t *config;   /* NULL: GGUF */
    char *config_path;
    struct source source;
    struct tokenizer *tokenizer;
    char *chat_template;
    struct model_modules modules;
    bool sentence_transformers; /* there is a modules.json */
    char fingerprint[17];
    struct lora **detached; /* (n_detached) updates taken off the slots by model_files_unmerge */
    size_t n_detached;
};

/* ---- folder.c: where things are ---- */
/* Path of a file, folder or name; NOT_FOUND says what names there are and how to fetch them. */
MUST_USE enum trawl_status model_resolve(char **path, const char *path_or_name);
/* Folder (or GGUF file) of the transformer of a model folder: by modules.json, else the folder itself. */
MUST_USE enum trawl_status model_transformer(char **path, const char *folder);
/* The only GGUF file (or first part) in a folder, NULL: none; FORMAT when there are several. */
MUST_USE enum trawl_status model_find_gguf(char **path, const char *folder);
/* The base that an adapter names: a path from the adapter's folder, any path, or a name. */
MUST_USE enum trawl_status model_resolve_base(char **path, const char *adapter_folder, const char *base);
bool model_has_file(const char *folder, const char *name);
/* The JSON of a file in a folder; *out is NULL when there is no such file. */
MUST_USE enum trawl_status model_read_json(json_t **out, const char *folder, const char *name);

/* ---- modules.c: sentence-transformers and trawl.json ---- */
MUST_USE enum trawl_status modules_open(struct model_files *m, const char *folder);
void modules_release(struct model_modules *modules);

/* ---- tokenizer.c ---- */
MUST_USE enum trawl_status tokenizer_of_gguf(struct tokenizer **t, const struct gguf *g);
/* *t and *chat_template are left NULL where the folder has none. */
MUST_USE enum trawl_status tokenizer_of_folder(struct tokenizer **t, char **chat_template, const char *folder);
MUST_USE enum trawl_status template_of_gguf(char **chat_template, const struct gguf *g);

/* ---- fingerprint.c ---- */
/* xxh3-64 of a file's content, remembered by path, size and time of change. */
MUST_USE enum trawl_status fingerprint_file(uint64_t *hash, const char *path);
/* Of the base's weights and configuration alone (files.c). */
MUST_USE enum trawl_status model_base_fingerprint(struct model_files *m, char out[17]);

#endif
