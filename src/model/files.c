/* Opening a model: which files it consists of, in which order they are read, and what they add up to. */
#include "model_int.h"
#include "safetensors.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { NESTING_MAX = 3 }; /* adapters on adapters are not merged, but a base may be a folder in a folder */

static enum trawl_status open_gguf(struct model_files *m, const char *path)
{
    struct model_config config;
    char where[600];
    TRY(gguf_open(&m->gguf, &m->set, path));
    TRY(config_from_gguf(&config, &m->gguf, &m->set));
    snprintf(where, sizeof where, "'%s'", m->gguf.path);
    return source_init(&m->source, &config, &m->set, config.family->gguf_names, NULL, where);
}

static enum trawl_status open_hugging_face(struct model_files *m, const char *folder)
{
    struct model_config config;
    char where[600];
    m->config_path = file_join(folder, "config.json");
    if (!m->config_path)
        return mem_status();
    snprintf(where, sizeof where, "'%s'", m->config_path);
    TRY(json_read(&m->config, m->config_path, 16 << 20));
    TRY(config_from_json(&config, m->config, where));
    TRY(safetensors_open_folder(&m->set, folder));
    return source_init(&m->source, &config, &m->set, config.family->hf_names, config.family->hf_prefixes, where);
}

static enum trawl_status nothing_found(const char *folder)
{
    return fail(TRAWL_NOT_FOUND, "'%s' holds no model: neither config.json, nor adapter_config.json, nor a GGUF file",
                folder);
}

static enum trawl_status open_folder(struct model_files *m, const char *folder, int depth);

static enum trawl_status open_base(struct model_files *m, const char *adapter, int depth)
{
    char *base = NULL, *path = NULL;
    enum trawl_status status;
    if (m->adapter || depth >= NESTING_MAX)
        return fail(TRAWL_UNSUPPORTED, "'%s': an adapter on an adapter is not supported", adapter);
    m->adapter = mem_text(adapter, strlen(adapter));
    if (!m->adapter)
        return mem_status();
    TRY_OUT(adapter_base(&base, adapter));
    TRY_OUT(model_resolve_base(&path, adapter, base));
    if (file_is_folder(path)) {
        status = open_folder(m, path, depth + 1);
    } else {
        status = open_gguf(m, path);
        m->weights = path;
        path = NULL;
    }
    if (!status)
        status = adapter_apply(&m->source, &m->adapter_info, &m->adapter_set, adapter);
out:
    free(base);
    free(path);
    return status;
}

/* The transformer of a folder: its own weights, an adapter on others, or a GGUF file. */
static enum trawl_status open_folder(struct model_files *m, const char *folder, int depth)
{
    char *inner, *gguf = NULL;
    enum trawl_status status = TRAWL_OK;
    TRY(model_transformer(&inner, folder));
    bool weights = model_has_file(inner, "model.safetensors") || model_has_file(inner, "model.safetensors.index.json");
    if (model_has_file(inner, "adapter_config.json") && !weights) {
        status = open_base(m, inner, depth);
        goto out;
    }
    if (!weights) /* a GGUF file may have the original's config.json beside it */
        TRY_OUT(model_find_gguf(&gguf, inner));
    if (gguf) {
        status = open_gguf(m, gguf);
        m->weights = gguf;
    } else if (model_has_file(inner, "config.json")) {
        status = open_hugging_face(m, inner);
        m->weights = inner;
        inner = NULL;
    } else {
        status = nothing_found(inner);
    }
out:
    free(inner);
    return status;
}

static enum trawl_status open_tokenizer(struct model_files *m)
{
    const char *folders[] = {file_is_folder(m->path) ? m->path : NULL, m->adapter,
                             m->weights && file_is_folder(m->weights) ? m->weights : NULL};
    for (size_t i = 0; i < 3 && !m->tokenizer; i++)
        if (folders[i])
            TRY(tokenizer_of_folder(&m->tokenizer, &m->chat_template, folders[i]));
    if (m->tokenizer || !m->gguf.path)
        return TRAWL_OK;
    TRY(tokenizer_of_gguf(&m->tokenizer, &m->gguf));
    return template_of_gguf(&m->chat_template, &m->gguf);
}

/* The folder whose modules.json and trawl.json count: the one that was named, else the base's. */
static const char *modules_folder(const struct model_files *m)
{
    bool own =
        file_is_folder(m->path) && (model_has_file(m->path, "modules.json") || model_has_file(m->path, "trawl.json"));
    if (own || !m->adapter)
        return file_is_folder(m->path) ? m->path : NULL;
    return m->weights && file_is_folder(m->weights) ? m->weights : NULL;
}

static enum trawl_status open_all(struct model_files *m)
{
    size_t n = strlen(m->path);
    if (file_is_folder(m->path)) {
        TRY(open_folder(m, m->path, 0));
    } else if (n > 12 && !strcmp(m->path + n - 12, ".safetensors")) {
        return fail(TRAWL_USAGE, "'%s' is one file of a model: give its folder, which holds config.json too", m->path);
    } else {
        m->weights = mem_text(m->path, n);
        if (!m->weights)
            return mem_status();
        TRY(open_gguf(m, m->path));
    }
    TRY(open_tokenizer(m));
    return modules_open(m, modules_folder(m));
}

enum trawl_status model_files_open(struct model_files **out, const char *path_or_name)
{
    struct model_files *m = mem_array(1, sizeof *m);
    *out = NULL;
    if (!m)
        return mem_status();
    m->given = mem_text(path_or_name, strlen(path_or_name));
    enum trawl_status status = m->given ? model_resolve(&m->path, path_or_name) : mem_status();
    if (!status)
        status = open_all(m);
    if (status)
        model_files_close(m);
    else
        *out = m;
    return status;
}

void model_files_close(struct model_files *m)
{
    if (!m)
        return;
    modules_release(&m->modules);
    source_release(&m->source);
    for (size_t i = 0; i < m->n_detached; i++) {
        free(m->detached[i]->a);
        free(m->detached[i]->b);
        free(m->detached[i]);
    }
    free(m->detached);
    gguf_release(&m->gguf);
    tensor_set_release(&m->set);
    tensor_set_release(&m->adapter_set);
    tokenizer_free(m->tokenizer);
    json_decref(m->config);
    free(m->chat_template);
    free(m->config_path);
    free(m->adapter);
    free(m->weights);
    free(m->path);
    free(m->given);
    free(m);
}

const char *model_files_path(const struct model_files *m)
{
    return m->path;
}

const char *model_files_family(const struct model_files *m)
{
    return m->source.config.family->name;
}

const struct nn_source *model_files_source(const struct model_files *m)
{
    return &m->source.nn;
}

const struct tokenizer *model_files_tokenizer(const struct model_files *m)
{
    return m->tokenizer;
}

const char *model_files_chat_template(const struct model_files *m)
{
    return m->chat_template;
}

const struct model_modules *model_files_modules(const struct model_files *m)
{
    return &m->modules;
}

/* ---- fingerprint ---- */

static enum trawl_status mix_files(XXH3_state_t *state, const struct tensor_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        uint64_t hash;
        TRY(fingerprint_file(&hash, set->files[i].path));
        XXH3_64bits_update(state, &hash, sizeof hash);
    }
    return TRAWL_OK;
}

static enum trawl_status mix_file(XXH3_state_t *state, const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    uint64_t hash;
    enum trawl_status status = path ? fingerprint_file(&hash, path) : mem_status();
    if (!status)
        XXH3_64bits_update(state, &hash, sizeof hash);
    free(path);
    return status;
}

static void mix_dense(XXH3_state_t *state, const struct model_modules *modules)
{
    for (size_t i = 0; i < modules->n_dense; i++) {
        const struct model_dense *d = &modules->dense[i];
        unsigned char is_tanh = d->tanh;
        XXH3_64bits_update(state, d->weight, d->in * d->out * sizeof *d->weight);
        XXH3_64bits_update(state, &is_tanh, 1);
        if (d->bias)
            XXH3_64bits_update(state, d->bias, d->out * sizeof *d->bias);
    }
}

/* Weights and what decides their meaning; with the adapter and the Dense modules, or the base alone. */
static enum trawl_status fingerprint(struct model_files *m, char out[17], bool all)
{
    XXH3_state_t *state = XXH3_createState();
    enum trawl_status status = state ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for a fingerprint");
    uint64_t hash;
    if (status)
        return status;
    XXH3_64bits_reset(state);
    TRY_OUT(mix_files(state, &m->set));
    if (m->config_path) {
        TRY_OUT(fingerprint_file(&hash, m->config_path));
        XXH3_64bits_update(state, &hash, sizeof hash);
    }
    if (all && m->adapter) {
        TRY_OUT(mix_files(state, &m->adapter_set));
        TRY_OUT(mix_file(state, m->adapter, "adapter_config.json"));
    }
    if (all)
        mix_dense(state, &m->modules);
    snprintf(out, 17, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
out:
    XXH3_freeState(state);
    return status;
}

enum trawl_status model_base_fingerprint(struct model_files *m, char out[17])
{
    return fingerprint(m, out, false);
}

enum trawl_status model_files_fingerprint(struct model_files *m, char out[17])
{
    if (!m->fingerprint[0]) {
        TRY(fingerprint(m, m->fingerprint, true));
        memcpy(m->modules.document.model, m->fingerprint, 17);
        memcpy(m->modules.query.model, m->fingerprint, 17);
    }
    memcpy(out, m->fingerprint, 17);
    return TRAWL_OK;
}
