#include "save.h"
#include "model_int.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES_MAX = 64 << 20, ROWS_AT_ONCE = 256 };

/* ---- safetensors ---- */

static enum trawl_status header_of(struct buf *out, const struct save_tensor *tensors, size_t n)
{
    uint64_t at = 0;
    TRY(buf_text(out, "{\"__metadata__\":{\"format\":\"pt\"}"));
    for (size_t i = 0; i < n; i++) {
        const struct save_tensor *t = &tensors[i];
        uint64_t end = at + (uint64_t)t->rows * t->cols * sizeof(float);
        TRY(buf_printf(out, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", t->name));
        if (t->n_dims > 1)
            TRY(buf_printf(out, "%zu,", t->rows));
        TRY(buf_printf(out, "%zu],\"data_offsets\":[%llu,%llu]}", t->cols, (unsigned long long)at,
                       (unsigned long long)end));
        at = end;
    }
    TRY(buf_text(out, "}"));
    while (out->n % 8)
        TRY(buf_text(out, " "));
    return TRAWL_OK;
}

/* Rows out of the source, a few at a time. */
static enum trawl_status write_source(struct file_writer *w, const struct save_tensor *t,
                                      const struct nn_source *source)
{
    size_t step = t->rows < ROWS_AT_ONCE ? t->rows : ROWS_AT_ONCE;
    float *rows = mem_array(step * t->cols, sizeof *rows);
    enum trawl_status status = rows ? TRAWL_OK : mem_status();
    for (size_t r = 0; !status && r < t->rows; r += step) {
        size_t end = t->rows - r < step ? t->rows : r + step;
        status = source->read(source->ctx, rows, t->layer, t->tensor, r, end);
        for (size_t i = 0; t->minus_one && i < (end - r) * t->cols; i++)
            rows[i] -= 1.0f;
        if (!status)
            status = file_write(w, rows, (end - r) * t->cols * sizeof *rows);
    }
    free(rows);
    return status;
}

static enum trawl_status write_tensors(struct file_writer *w, const struct save_tensor *tensors, size_t n,
                                       const struct nn_source *source)
{
    struct buf head = {0};
    enum trawl_status status = header_of(&head, tensors, n);
    uint64_t bytes = head.n;
    if (!status)
        status = file_write(w, &bytes, sizeof bytes); /* the format is little-endian, and so are our machines */
    if (!status)
        status = file_write(w, head.data, head.n);
    buf_release(&head);
    for (size_t i = 0; !status && i < n; i++)
        status = tensors[i].data ? file_write(w, tensors[i].data, tensors[i].rows * tensors[i].cols * sizeof(float))
                                 : write_source(w, &tensors[i], source);
    return status;
}

enum trawl_status safetensors_write(const char *path, const struct save_tensor *tensors, size_t n,
                                    const struct nn_source *source)
{
    struct file_writer w;
    TRY(file_writer_open(&w, path));
    enum trawl_status status = write_tensors(&w, tensors, n, source);
    if (!status)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

/* ---- folders ---- */

static enum trawl_status write_json(const char *folder, const char *name, const json_t *json)
{
    char *path = file_join(folder, name), *text = json_dumps(json, JSON_INDENT(2));
    struct file_writer w;
    enum trawl_status status = path && text ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for '%s'", name);
    if (!status)
        status = file_writer_open(&w, path);
    if (!status) {
        status = file_printf(&w, "%s\n", text);
        if (!status)
            status = file_writer_commit(&w);
        else
            file_writer_abort(&w);
    }
    free(path);
    free(text);
    return status;
}

/* Members of a contract that are a choice, not found anew when the model is opened. */
static enum trawl_status contract_choices(json_t **out, const struct contract *c)
{
    static const char *const found[] = {"model", "tokenizer", "model_name", "precision", "isa"};
    TRY(contract_to_json(out, c));
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        json_object_del(*out, found[i]);
    return TRAWL_OK;
}

static enum trawl_status write_trawl_json(const char *folder, const struct contract *document,
                                          const struct contract *query, const char *base_fingerprint)
{
    json_t *d = NULL, *q = NULL;
    enum trawl_status status = contract_choices(&d, document);
    if (!status)
        status = contract_choices(&q, query);
    json_t *json = status ? NULL : json_pack("{s:i, s:O, s:O}", "version", 1, "document", d, "query", q);
    if (!status &&
        (!json || (base_fingerprint && json_object_set_new(json, "base_fingerprint", json_string(base_fingerprint)))))
        status = fail(TRAWL_NOMEM, "no memory for trawl.json");
    if (!status)
        status = write_json(folder, "trawl.json", json);
    json_decref(d);
    json_decref(q);
    json_decref(json);
    return status;
}

/* A fresh folder beside `folder`; its name is to be freed. */
static enum trawl_status begin_folder(char **tmp, const char *folder)
{
    struct buf name = {0};
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    enum trawl_status status = buf_printf(&name, "%.*s.tmp.%ld", (int)n, folder, (long)getpid());
    if (!status)
        status = file_remove_tree(name.data);
    if (!status)
        status = file_make_folder(name.data);
    *tmp = name.data;
    return status;
}

/* Puts the folder under its name, or removes it after a failure; frees the name. */
static enum trawl_status end_folder(char *tmp, const char *folder, enum trawl_status status)
{
    if (!status)
        status = file_sync_folder(tmp);
    if (!status)
        status = file_remove_tree(folder);
    if (!status && rename(tmp, folder))
        status = fail_errno("cannot rename '%s' to '%s'", tmp, folder);
    if (status && tmp) {
        char message[1024];
        snprintf(message, sizeof message, "%s", trawl_message());
        if (file_remove_tree(tmp))
            return fail(status, "%s (and '%s' is left behind)", message, tmp);
        status = fail(status, "%s", message);
    }
    free(tmp);
    return status;
}

/* ---- adapters ---- */

/* How an adapter names its base: a name stays a name, a path becomes absolute. */
static enum trawl_status base_name(char **out, const struct model_files *m)
{
    const char *base = m->adapter ? m->weights : m->given;
    if (m->adapter) {
        char *written;
        TRY(adapter_base(&written, m->adapter));
        if (*written != '/' && *written != '.' && !strchr(written, '/')) {
            *out = written;
            return TRAWL_OK;
        }
        free(written);
    } else if (!strchr(base, '/') && !file_exists(base)) {
        *out = mem_text(base, strlen(base));
        return *out ? TRAWL_OK : mem_status();
    }
    char *absolute = realpath(base, NULL);
    *out = absolute;
    return absolute ? TRAWL_OK : fail_errno("cannot find '%s'", base);
}

/* "layers.0.self_attn.q_proj" of a tensor, and the last part's name. */
static bool module_name(char out[FAMILY_NAME_MAX], const struct model_files *m, size_t layer, enum nn_tensor tensor)
{
    const struct family *family = m->source.config.family;
    if (!family_tensor_name(out, family->hf_names, family->encoder ? "" : "model.", layer, tensor))
        return false;
    char *end = strstr(out, ".weight");
    if (end)
        *end = 0;
    return end != NULL;
}

static enum trawl_status adapter_config(json_t **out, const struct model_files *m, const struct model_adapter *adapter)
{
    char *base;
    TRY(base_name(&base, m));
    json_t *targets = json_array(), *seen = json_object();
    for (size_t i = 0; targets && seen && i < adapter->n_updates; i++) {
        char name[FAMILY_NAME_MAX];
        if (!module_name(name, m, adapter->updates[i].layer, adapter->updates[i].tensor))
            continue;
        /* encoders have two modules called "dense" in a layer: their names are told apart by what stands before */
        const char *last = strrchr(name, '.'),
                   *layer = m->source.config.family->encoder ? strstr(name, "layer.") : NULL;
        const char *target = layer ? strchr(layer + 6, '.') : last;
        target = target ? target + 1 : name;
        if (!json_object_get(seen, target)) {
            json_object_set_new(seen, target, json_true());
            json_array_append_new(targets, json_string(target));
        }
    }
    *out = json_pack("{s:s, s:s, s:i, s:f, s:f, s:b, s:O, s:s, s:b, s:b, s:b, s:{}, s:{}, s:n, s:s}", "peft_type",
                     "LORA", "base_model_name_or_path", base, "r", (int)adapter->rank, "lora_alpha", adapter->alpha,
                     "lora_dropout", adapter->dropout, "use_rslora", (int)adapter->rslora, "target_modules", targets,
                     "bias", "none", "inference_mode", 1, "fan_in_fan_out", 0, "use_dora", 0, "rank_pattern",
                     "alpha_pattern", "modules_to_save", "task_type",
                     m->source.config.family->encoder ? "FEATURE_EXTRACTION" : "CAUSAL_LM");
    json_decref(targets);
    json_decref(seen);
    free(base);
    return *out ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for adapter_config.json");
}

static enum trawl_status adapter_tensors(struct save_tensor *out, const struct model_files *m,
                                         const struct model_adapter *adapter)
{
    for (size_t i = 0; i < adapter->n_updates; i++) {
        const struct model_update *u = &adapter->updates[i];
        char module[FAMILY_NAME_MAX];
        size_t rows, cols;
        if (!module_name(module, m, u->layer, u->tensor))
            return fail(TRAWL_UNSUPPORTED, "tensor %s has no name in the family", nn_tensor_name(u->tensor));
        nn_tensor_shape(&m->source.config.nn, u->tensor, &rows, &cols, NULL);
        struct save_tensor *a = &out[2 * i], *b = a + 1;
        *a = (struct save_tensor){.n_dims = 2, .rows = adapter->rank, .cols = cols, .data = u->a};
        *b = (struct save_tensor){.n_dims = 2, .rows = rows, .cols = adapter->rank, .data = u->b};
        if (snprintf(a->name, sizeof a->name, "base_model.model.%s.lora_A.weight", module) >= (int)sizeof a->name)
            return fail(TRAWL_LIMIT, "the name of module '%s' is too long", module);
        snprintf(b->name, sizeof b->name, "base_model.model.%s.lora_B.weight", module);
    }
    return TRAWL_OK;
}

static enum trawl_status write_adapter(struct model_files *m, const char *folder, const struct model_adapter *adapter)
{
    json_t *config = NULL;
    char fingerprint[17], *path = file_join(folder, "adapter_model.safetensors");
    struct save_tensor *tensors = mem_array(2 * adapter->n_updates, sizeof *tensors);
    enum trawl_status status = path && tensors ? adapter_config(&config, m, adapter) : mem_status();
    if (!status)
        status = adapter_tensors(tensors, m, adapter);
    if (!status)
        status = write_json(folder, "adapter_config.json", config);
    if (!status)
        status = safetensors_write(path, tensors, 2 * adapter->n_updates, NULL);
    if (!status)
        status = model_base_fingerprint(m, fingerprint);
    if (!status)
        status = write_trawl_json(folder, adapter->document, adapter->query, fingerprint);
    json_decref(config);
    free(tensors);
    free(path);
    return status;
}

enum trawl_status model_save_adapter(struct model_files *m, const char *folder, const struct model_adapter *adapter)
{
    char *tmp = NULL;
    enum trawl_status status = begin_folder(&tmp, folder);
    if (!status)
        status = write_adapter(m, tmp, adapter);
    return end_folder(tmp, folder, status);
}

enum trawl_status model_files_unmerge(struct model_files *m, struct model_update **updates, size_t *n, size_t *rank,
                                      double *scale)
{
    size_t slots = (1 + m->source.config.nn.L) * NN_T_COUNT;
    *updates = NULL;
    *n = 0;
    if (!m->adapter)
        return TRAWL_OK;
    if (m->adapter_info.n_replaced)
        return fail(TRAWL_UNSUPPORTED, "adapter '%s' replaces whole tensors of its base: training cannot go on from it",
                    m->adapter);
    *updates = mem_array(slots, sizeof **updates);
    m->detached = mem_array(slots, sizeof *m->detached);
    if (!*updates || !m->detached)
        return mem_status();
    for (size_t i = 0; i < slots; i++) {
        struct lora *lora = m->source.slots[i].lora;
        if (!lora)
            continue;
        if (lora->transposed || (*n && (lora->r != *rank || fabs((double)lora->scale - *scale) > 1e-6 * *scale)))
            return fail(TRAWL_MISMATCH,
                        "the updates of adapter '%s' differ in rank, scale or kind: training cannot go on from it",
                        m->adapter);
        *rank = lora->r;
        *scale = (double)lora->scale;
        m->detached[(*n)] = lora;
        m->source.slots[i].lora = NULL;
        (*updates)[(*n)++] = (struct model_update){.layer = i < NN_T_COUNT ? 0 : i / NN_T_COUNT - 1,
                                                   .tensor = (enum nn_tensor)(i % NN_T_COUNT),
                                                   .a = lora->a,
                                                   .b = lora->b};
    }
    m->n_detached = *n;
    return TRAWL_OK;
}

bool model_files_is_adapter(const struct model_files *m)
{
    return m->adapter != NULL;
}

enum trawl_status model_files_base_fingerprint(struct model_files *m, char out[17])
{
    return model_base_fingerprint(m, out);
}

/* ---- whole models ---- */

static enum trawl_status model_tensors(struct save_tensor *out, size_t *n, const struct model_files *m,
                                       const struct nn_source *source)
{
    const struct family *family = m->source.config.family;
    const struct nn_config *nn = source->config;
    *n = 0;
    for (int i = 0; i < NN_T_COUNT; i++) {
        enum nn_tensor tensor = (enum nn_tensor)i;
        bool per_layer, head = tensor == NN_T_HEAD;
        size_t rows, cols;
        nn_tensor_shape(nn, tensor, &rows, &cols, &per_layer);
        for (size_t layer = 0; layer < (per_layer ? nn->L : 1); layer++) {
            enum nn_presence presence = nn_tensor_presence(nn, tensor);
            if (presence == NN_ABSENT || (presence == NN_OPTIONAL && !source->has(source->ctx, layer, tensor)))
                continue;
            struct save_tensor *t = &out[(*n)++];
            *t = (struct save_tensor){.n_dims = rows == 1 && tensor != NN_T_TYPE_EMBED ? 1 : 2,
                                      .rows = rows,
                                      .cols = cols,
                                      .layer = layer,
                                      .tensor = tensor};
            t->minus_one = family->norm_plus_one && t->n_dims == 1;
            const char *prefix = family->encoder || head ? "" : "model.";
            if (!family_tensor_name(t->name, family->hf_names, prefix, layer, tensor))
                return fail(TRAWL_UNSUPPORTED, "tensor %s has no name in the family", nn_tensor_name(tensor));
        }
    }
    return TRAWL_OK;
}

static enum trawl_status copy_file(const char *to, const char *from, const char *name)
{
    char *source = file_join(from, name), *target = file_join(to, name);
    struct buf data = {0};
    struct file_writer w;
    enum trawl_status status = source && target ? TRAWL_OK : mem_status();
    if (!status && file_exists(source)) {
        status = file_read(&data, source, COPY_BYTES_MAX);
        if (!status)
            status = file_writer_open(&w, target);
        if (!status) {
            status = file_write(&w, data.data, data.n);
            if (!status)
                status = file_writer_commit(&w);
            else
                file_writer_abort(&w);
        }
    }
    buf_release(&data);
    free(source);
    free(target);
    return status;
}

static enum trawl_status write_config(const struct model_files *m, const char *folder)
{
    json_t *config = json_deep_copy(m->config);
    bool failed = !config || json_object_set_new(config, "torch_dtype", json_string("float32"));
    if (!failed && json_object_get(config, "dtype"))
        failed = json_object_set_new(config, "dtype", json_string("float32"));
    enum trawl_status status =
        failed ? fail(TRAWL_NOMEM, "no memory for config.json") : write_json(folder, "config.json", config);
    json_decref(config);
    return status;
}

/* One JSON file in a folder below. */
static enum trawl_status write_below(const char *folder, const char *below, const char *name, json_t *json)
{
    char *path = file_join(folder, below);
    enum trawl_status status = path && json ? file_make_folder(path) : fail(TRAWL_NOMEM, "no memory for '%s'", name);
    if (!status)
        status = write_json(path, name, json);
    json_decref(json);
    free(path);
    return status;
}

/* modules.json and its parts, for sentence-transformers. */
static enum trawl_status write_modules(const struct model_files *m, const char *folder, const struct contract *document,
                                       const struct contract *query)
{
    bool l2 = !strcmp(document->normalize, "l2");
    const char *mode = !strcmp(document->pooling, "first")           ? "cls"
                       : !strcmp(document->pooling, "last")          ? "lasttoken"
                       : !strcmp(document->pooling, "weighted-mean") ? "weightedmean"
                                                                     : "mean";
    json_t *modules = json_pack("[{s:i,s:s,s:s,s:s},{s:i,s:s,s:s,s:s}]", "idx", 0, "name", "0", "path", "", "type",
                                "sentence_transformers.models.Transformer", "idx", 1, "name", "1", "path", "1_Pooling",
                                "type", "sentence_transformers.models.Pooling");
    if (l2)
        json_array_append_new(modules, json_pack("{s:i,s:s,s:s,s:s}", "idx", 2, "name", "2", "path", "2_Normalize",
                                                 "type", "sentence_transformers.models.Normalize"));
    TRY(write_below(folder, "", "modules.json", modules));
    TRY(write_below(folder, "1_Pooling", "config.json",
                    json_pack("{s:i,s:b,s:b,s:b,s:b,s:b,s:b,s:b}", "word_embedding_dimension",
                              (int)m->source.config.nn.C, "pooling_mode_cls_token", !strcmp(mode, "cls"),
                              "pooling_mode_mean_tokens", !strcmp(mode, "mean"), "pooling_mode_max_tokens", 0,
                              "pooling_mode_mean_sqrt_len_tokens", 0, "pooling_mode_weightedmean_tokens",
                              !strcmp(mode, "weightedmean"), "pooling_mode_lasttoken", !strcmp(mode, "lasttoken"),
                              "include_prompt", (int)query->prompt_pooled)));
    if (l2)
        TRY(write_below(folder, "2_Normalize", "config.json", json_object()));
    TRY(write_below(folder, "", "sentence_bert_config.json",
                    json_pack("{s:i,s:b}", "max_seq_length", (int)document->max_length, "do_lower_case", 0)));
    return write_below(folder, "", "config_sentence_transformers.json",
                       json_pack("{s:{s:s,s:s},s:n,s:s}", "prompts", "query", query->prompt, "document",
                                 document->prompt, "default_prompt_name", "similarity_fn_name", l2 ? "cosine" : "dot"));
}

static enum trawl_status write_model(struct model_files *m, const struct nn_source *source, const char *folder,
                                     const struct contract *document, const struct contract *query)
{
    static const char *const kept[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "vocab.txt",
                                       "vocab.json",
                                       "merges.txt",
                                       "added_tokens.json",
                                       "generation_config.json",
                                       "chat_template.jinja",
                                       "tokenizer.model",
                                       "sentencepiece.bpe.model"};
    struct save_tensor *tensors = mem_array((1 + source->config->L) * NN_T_COUNT, sizeof *tensors);
    char *path = file_join(folder, "model.safetensors");
    size_t n = 0;
    enum trawl_status status = tensors && path ? model_tensors(tensors, &n, m, source) : mem_status();
    if (!status)
        status = write_config(m, folder);
    for (size_t i = 0; !status && i < sizeof kept / sizeof *kept; i++)
        status = copy_file(folder, m->weights, kept[i]);
    if (!status)
        status = safetensors_write(path, tensors, n, source);
    if (!status)
        status = write_modules(m, folder, document, query);
    if (!status)
        status = write_trawl_json(folder, document, query, NULL);
    free(tensors);
    free(path);
    return status;
}

enum trawl_status model_save_folder(struct model_files *m, const struct nn_source *source, const char *folder,
                                    const struct contract *document, const struct contract *query)
{
    char *tmp = NULL;
    if (!m->config || m->source.config.position_skip)
        return fail(
            TRAWL_UNSUPPORTED,
            "'%s': a whole model is written only beside a Hugging Face folder's own configuration and tokenizer "
            "(name the folder that this model was made from, or keep the adapter)",
            m->given);
    if (m->modules.n_dense)
        return fail(TRAWL_UNSUPPORTED, "'%s' has Dense modules, which are not written", m->given);
    enum trawl_status status = begin_folder(&tmp, folder);
    if (!status)
        status = write_model(m, source, tmp, document, query);
    return end_folder(tmp, folder, status);
}
