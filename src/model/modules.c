/*
 * What stands around the transformer: sentence-transformers' modules.json (Transformer, Pooling, Dense, Normalize),
 * prompts and maximum length; Trawl's own trawl.json (docs/formats/trawl-json.md) on top. Both contracts come out.
 */
#include "model_int.h"
#include "safetensors.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LLM_TOKENS = 512, DENSE_MAX = 1 << 20 };

static enum trawl_status set_text(char *out, size_t bytes, const char *text, const char *what, const char *where)
{
    size_t n = strlen(text);
    if (n >= bytes)
        return fail(TRAWL_LIMIT, "%s: %s has %zu bytes, at most %zu are supported", where, what, n, bytes - 1);
    memcpy(out, text, n + 1);
    return TRAWL_OK;
}

/* ---- Pooling ---- */

static const struct {
    const char *name, *flag; /* newer configs name the mode, older ones have a flag each */
    const char *pooling;     /* contract's word; NULL: not supported */
} pooling_modes[] = {
    {"cls", "pooling_mode_cls_token", "first"},
    {"mean", "pooling_mode_mean_tokens", "mean"},
    {"lasttoken", "pooling_mode_lasttoken", "last"},
    {"weightedmean", "pooling_mode_weightedmean_tokens", "weighted-mean"},
    {"max", "pooling_mode_max_tokens", NULL},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", NULL},
};
enum { N_POOLING = sizeof pooling_modes / sizeof *pooling_modes };

/* The names of the modes asked for: how many, and the last one's row. */
static enum trawl_status pooling_wanted(size_t *n, size_t *row, const json_t *config, const char *where)
{
    const json_t *mode = json_object_get(config, "pooling_mode");
    size_t n_items = json_is_array(mode) ? json_array_size(mode) : (mode ? 1 : 0);
    *n = 0;
    for (size_t i = 0; i < n_items; i++) {
        const char *name = json_string_value(json_is_array(mode) ? json_array_get(mode, i) : mode);
        size_t k = 0;
        while (k < N_POOLING && (!name || strcmp(name, pooling_modes[k].name) != 0))
            k++;
        if (k == N_POOLING)
            return fail(TRAWL_UNSUPPORTED, "%s: pooling mode '%s' is not known", where, name ? name : "");
        *row = k;
        ++*n;
    }
    for (size_t k = 0; !mode && k < N_POOLING; k++) {
        bool on;
        TRY(json_get_bool(&on, config, pooling_modes[k].flag, false, where));
        if (on) {
            *row = k;
            ++*n;
        }
    }
    if (!*n) { /* the reference's default */
        *row = 1;
        *n = 1;
    }
    return TRAWL_OK;
}

static enum trawl_status read_pooling(struct model_files *m, const json_t *config, const char *where)
{
    size_t n, row = 0, width;
    bool prompt;
    TRY(pooling_wanted(&n, &row, config, where));
    if (n > 1)
        return fail(TRAWL_UNSUPPORTED, "%s: %zu pooling modes side by side are not supported", where, n);
    if (!pooling_modes[row].pooling)
        return fail(TRAWL_UNSUPPORTED, "%s: pooling '%s' is not supported (known: cls, mean, lasttoken, weightedmean)",
                    where, pooling_modes[row].name);
    TRY(json_get_count(&width, config, "word_embedding_dimension", m->source.config.nn.C, where));
    TRY(json_get_count(&width, config, "embedding_dimension", width, where));
    if (width != m->source.config.nn.C)
        return fail(TRAWL_MISMATCH, "%s: pooling over %zu dimensions, the model has %zu", where, width,
                    m->source.config.nn.C);
    TRY(json_get_bool(&prompt, config, "include_prompt", true, where));
    struct contract *sides[] = {&m->modules.document, &m->modules.query};
    for (int i = 0; i < 2; i++) {
        TRY(set_text(sides[i]->pooling, sizeof sides[i]->pooling, pooling_modes[row].pooling, "pooling", where));
        sides[i]->prompt_pooled = prompt;
    }
    return TRAWL_OK;
}

/* ---- Dense ---- */

static enum trawl_status dense_activation(bool *is_tanh, const json_t *config, const char *where)
{
    const char *name;
    TRY(json_get_text(&name, NULL, config, "activation_function", where));
    const char *dot = name ? strrchr(name, '.') : NULL;
    const char *last = dot ? dot + 1 : (name ? name : "Tanh");
    *is_tanh = !strcmp(last, "Tanh");
    if (!*is_tanh && strcmp(last, "Identity") != 0)
        return fail(TRAWL_UNSUPPORTED, "%s: activation '%s' is not supported (known: Tanh, Identity)", where, last);
    return TRAWL_OK;
}

static enum trawl_status dense_options(const json_t *config, const char *where)
{
    bool residual;
    TRY(json_get_bool(&residual, config, "use_residual", false, where));
    if (residual)
        return fail(TRAWL_UNSUPPORTED, "%s: use_residual is not supported", where);
    static const char *const keys[] = {"module_input_name", "module_output_name"};
    for (int i = 0; i < 2; i++) {
        const char *name;
        TRY(json_get_text(&name, NULL, config, keys[i], where));
        if (name && strcmp(name, "sentence_embedding") != 0)
            return fail(TRAWL_UNSUPPORTED, "%s: %s '%s' is not supported", where, keys[i], name);
    }
    return TRAWL_OK;
}

static enum trawl_status dense_tensor(float **out, struct tensor_set *set, const char *name, size_t rows, size_t cols,
                                      const char *where)
{
    const struct tensor *t = tensor_set_find(set, name);
    if (!t)
        return fail(TRAWL_MISMATCH, "%s: its weights lack tensor '%s'", where, name);
    if (t->rows != rows || t->cols != cols) {
        char shape[160];
        tensor_shape_text(shape, sizeof shape, t);
        return fail(TRAWL_MISMATCH, "'%s': tensor '%s' is of shape %s, %s says [%zu, %zu]", tensor_path(set, t), name,
                    shape, where, rows, cols);
    }
    *out = mem_array(rows * cols, sizeof **out);
    if (!*out)
        return mem_status();
    return tensor_read(*out, set, t, 0, rows);
}

static enum trawl_status read_dense(struct model_files *m, const json_t *config, const char *folder, const char *where)
{
    struct model_modules *s = &m->modules;
    size_t wanted = s->n_dense ? s->dense[s->n_dense - 1].out : m->source.config.nn.C;
    struct model_dense d = {0};
    bool bias;
    TRY(json_get_count(&d.in, config, "in_features", 0, where));
    TRY(json_get_count(&d.out, config, "out_features", 0, where));
    TRY(json_get_bool(&bias, config, "bias", true, where));
    TRY(dense_activation(&d.tanh, config, where));
    TRY(dense_options(config, where));
    if (d.in != wanted || !d.out || d.out > DENSE_MAX)
        return fail(TRAWL_MISMATCH, "%s: a Dense module of %zu to %zu dimensions after %zu", where, d.in, d.out,
                    wanted);
    if (!model_has_file(folder, "model.safetensors"))
        return fail(TRAWL_UNSUPPORTED,
                    "'%s': the Dense module has no model.safetensors (pytorch_model.bin is not read: "
                    "save the model as safetensors)",
                    folder);
    struct model_dense *grown = realloc(s->dense, (s->n_dense + 1) * sizeof *grown);
    if (!grown)
        return fail(TRAWL_NOMEM, "no memory for a Dense module");
    s->dense = grown;
    s->dense[s->n_dense++] = d;
    struct model_dense *kept = &s->dense[s->n_dense - 1];
    struct tensor_set set = {0};
    enum trawl_status status = safetensors_open_folder(&set, folder);
    if (!status)
        status = dense_tensor(&kept->weight, &set, "linear.weight", d.out, d.in, where);
    if (!status && bias)
        status = dense_tensor(&kept->bias, &set, "linear.bias", 1, d.out, where);
    tensor_set_release(&set);
    return status;
}

/* ---- modules.json ---- */

static enum trawl_status read_module(struct model_files *m, const char *folder, const json_t *module, bool *normalized)
{
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *sub = json_string_value(json_object_get(module, "path"));
    const char *dot = type ? strrchr(type, '.') : NULL;
    const char *kind = dot ? dot + 1 : (type ? type : "");
    if (sub && (*sub == '/' || strstr(sub, "..")))
        return fail(TRAWL_FORMAT, "'%s/modules.json': the path '%s' leaves the folder", folder, sub);
    if (!strcmp(kind, "Transformer") || !strcmp(kind, "Dropout"))
        return TRAWL_OK;
    if (!strcmp(kind, "Normalize")) {
        *normalized = true;
        return TRAWL_OK;
    }
    bool pooling = !strcmp(kind, "Pooling"), dense = !strcmp(kind, "Dense");
    if (!pooling && !dense)
        return fail(TRAWL_UNSUPPORTED,
                    "'%s/modules.json': module '%s' is not supported (known: Transformer, Pooling, Dense, "
                    "Normalize)",
                    folder, kind);
    if (*normalized)
        return fail(TRAWL_UNSUPPORTED, "'%s/modules.json': a %s module after Normalize is not supported", folder, kind);
    char *path = file_join(folder, sub ? sub : ""), where[600];
    json_t *config = NULL;
    enum trawl_status status = path ? model_read_json(&config, path, "config.json") : mem_status();
    snprintf(where, sizeof where, "'%s/config.json'", path ? path : "");
    if (!status && !json_is_object(config))
        status = fail(TRAWL_NOT_FOUND, "%s is missing or not a JSON object", where);
    if (!status)
        status = pooling ? read_pooling(m, config, where) : read_dense(m, config, path, where);
    json_decref(config);
    free(path);
    return status;
}

static enum trawl_status read_modules(struct model_files *m, const char *folder, const json_t *modules)
{
    bool normalized = false;
    size_t i;
    const json_t *module;
    if (!json_is_array(modules) || !json_array_size(modules))
        return fail(TRAWL_FORMAT, "'%s/modules.json' is not a list of modules", folder);
    json_array_foreach((json_t *)modules, i, module) TRY(read_module(m, folder, module, &normalized));
    const char *normalize = normalized ? "l2" : "none";
    memcpy(m->modules.document.normalize, normalize, strlen(normalize) + 1);
    memcpy(m->modules.query.normalize, normalize, strlen(normalize) + 1);
    return TRAWL_OK;
}

/* ---- prompts and maximum length ---- */

static enum trawl_status set_prompt(struct contract *c, const json_t *prompts, const char *const *names,
                                    const char *preset, const char *where)
{
    const char *text = NULL;
    for (; *names && !text; names++)
        text = json_string_value(json_object_get(prompts, *names));
    if (!text && preset)
        text = json_string_value(json_object_get(prompts, preset));
    return set_text(c->prompt, sizeof c->prompt, text ? text : "", "a prompt", where);
}

static enum trawl_status read_prompts(struct model_files *m, const char *folder)
{
    static const char *const for_queries[] = {"query", NULL};
    static const char *const for_documents[] = {"document", "passage", "corpus", NULL};
    json_t *config;
    char where[600];
    const char *preset = NULL;
    TRY(model_read_json(&config, folder, "config_sentence_transformers.json"));
    snprintf(where, sizeof where, "'%s/config_sentence_transformers.json'", folder);
    const json_t *prompts = json_object_get(config, "prompts");
    enum trawl_status status = config ? json_get_text(&preset, NULL, config, "default_prompt_name", where) : TRAWL_OK;
    if (!status && preset && !json_is_string(json_object_get(prompts, preset)))
        status = fail(TRAWL_FORMAT, "%s: default_prompt_name '%s' is not among its prompts", where, preset);
    if (!status)
        status = set_prompt(&m->modules.query, prompts, for_queries, preset, where);
    if (!status)
        status = set_prompt(&m->modules.document, prompts, for_documents, preset, where);
    json_decref(config);
    return status;
}

/* model_max_length of tokenizer_config.json; "no limit" is written as 1e30 there. */
static enum trawl_status tokenizer_length(size_t *out, const char *folder)
{
    json_t *config;
    TRY(model_read_json(&config, folder, "tokenizer_config.json"));
    const json_t *length = json_object_get(config, "model_max_length");
    double value = json_number_value(length);
    *out = json_is_number(length) && value >= 1 && value < 1e9 ? (size_t)value : SIZE_MAX;
    json_decref(config);
    return TRAWL_OK;
}

static enum trawl_status read_length(struct model_files *m, const char *folder)
{
    json_t *config;
    char where[600];
    size_t length, limit;
    bool lower = false;
    const char *inner = m->adapter ? m->adapter : m->weights;
    const char *const holder = file_is_folder(inner) ? inner : folder;
    snprintf(where, sizeof where, "'%s/sentence_bert_config.json'", holder);
    TRY(tokenizer_length(&limit, holder));
    TRY(model_read_json(&config, holder, "sentence_bert_config.json"));
    enum trawl_status status = json_get_count(&length, config, "max_seq_length", limit, where);
    if (!status)
        status = json_get_bool(&lower, config, "do_lower_case", false, where);
    if (!status && json_is_object(json_object_get(json_object_get(config, "modality_config"), "message")))
        status = fail(TRAWL_UNSUPPORTED,
                      "%s: this model's texts are put into its chat template (modality_config 'message'), "
                      "which is not supported (plain texts: remove 'message' there)",
                      where);
    json_decref(config);
    TRY(status);
    if (lower) {
        json_t *tokenizer;
        TRY(model_read_json(&tokenizer, holder, "tokenizer_config.json"));
        bool same = json_is_true(json_object_get(tokenizer, "do_lower_case"));
        json_decref(tokenizer);
        if (!same)
            return fail(TRAWL_UNSUPPORTED, "%s: do_lower_case beside a tokenizer that keeps case is not supported",
                        where);
    }
    size_t positions = m->source.config.nn.positions;
    if (!length)
        return fail(TRAWL_FORMAT, "%s: max_seq_length is 0", where);
    m->modules.document.max_length = m->modules.query.max_length = length < positions ? length : positions;
    return TRAWL_OK;
}

/* ---- trawl.json ---- */

/* The defaults with the members of `given` over them; unknown members are refused by name. */
static enum trawl_status overlay(struct contract *c, const json_t *given, const char *where)
{
    json_t *all;
    const char *key;
    json_t *value;
    if (!given)
        return TRAWL_OK;
    if (!json_is_object(given))
        return fail(TRAWL_FORMAT, "%s is not an object", where);
    TRY(contract_to_json(&all, c));
    enum trawl_status status = TRAWL_OK;
    json_object_foreach((json_t *)given, key, value)
    {
        if (!json_object_get(all, key))
            status = fail(TRAWL_FORMAT, "%s: '%s' is no field of a contract", where, key);
        else if (json_object_set(all, key, value))
            status = fail(TRAWL_NOMEM, "no memory for a contract");
        if (status)
            break;
    }
    if (!status)
        status = contract_from_json(c, all, where);
    json_decref(all);
    return status;
}

static enum trawl_status check_trawl(struct model_files *m, const json_t *json, const char *where)
{
    char part[700];
    size_t version;
    const char *base;
    if (!json_is_object(json))
        return fail(TRAWL_FORMAT, "%s is not a JSON object", where);
    TRY(json_get_count(&version, json, "version", 0, where));
    if (version != 1)
        return fail(TRAWL_UNSUPPORTED, "%s is of version %zu, this program reads 1", where, version);
    snprintf(part, sizeof part, "%s 'document'", where);
    TRY(overlay(&m->modules.document, json_object_get(json, "document"), part));
    snprintf(part, sizeof part, "%s 'query'", where);
    TRY(overlay(&m->modules.query, json_object_get(json, "query"), part));
    TRY(json_get_text(&base, NULL, json, "base_fingerprint", where));
    if (!base)
        return TRAWL_OK;
    char found[17];
    TRY(model_base_fingerprint(m, found));
    if (strcmp(base, found) != 0)
        return fail(TRAWL_MISMATCH, "%s belongs to a base with fingerprint %s, '%s' has %s", where, base, m->weights,
                    found);
    return TRAWL_OK;
}

static enum trawl_status check_contract(const struct contract *c, size_t width, const char *where)
{
    static const char *const poolings[] = {"mean", "last", "first", "weighted-mean"};
    bool known = false;
    for (size_t i = 0; i < 4; i++)
        known = known || !strcmp(c->pooling, poolings[i]);
    if (!known)
        return fail(TRAWL_FORMAT, "%s: pooling '%s' is not known (mean, last, first, weighted-mean)", where,
                    c->pooling);
    if (strcmp(c->attention, "causal") != 0 && strcmp(c->attention, "bidirectional") != 0)
        return fail(TRAWL_FORMAT, "%s: attention '%s' is not known (causal, bidirectional)", where, c->attention);
    if (strcmp(c->normalize, "l2") != 0 && strcmp(c->normalize, "none") != 0)
        return fail(TRAWL_FORMAT, "%s: normalize '%s' is not known (l2, none)", where, c->normalize);
    if (!c->max_length || !c->dims || c->dims > width)
        return fail(TRAWL_FORMAT, "%s: max_length %zu and dims %zu (at most %zu)", where, c->max_length, c->dims,
                    width);
    return TRAWL_OK;
}

static enum trawl_status read_trawl(struct model_files *m, const char *folder, size_t width)
{
    json_t *json;
    char where[600];
    TRY(model_read_json(&json, folder, "trawl.json"));
    if (!json)
        return TRAWL_OK;
    snprintf(where, sizeof where, "'%s/trawl.json'", folder);
    enum trawl_status status = check_trawl(m, json, where);
    json_decref(json);
    TRY(status);
    TRY(check_contract(&m->modules.document, width, where));
    return check_contract(&m->modules.query, width, where);
}

/* ---- all together ---- */

static enum trawl_status set_defaults(struct model_files *m)
{
    const struct model_config *c = &m->source.config;
    struct contract *d = &m->modules.document;
    *d = (struct contract){.prompt_pooled = true, .special_pooled = true, .add_special = true};
    bool bidirectional = c->nn.encoder || c->bidirectional;
    snprintf(d->pooling, sizeof d->pooling, "mean");
    snprintf(d->attention, sizeof d->attention, bidirectional ? "bidirectional" : "causal");
    snprintf(d->normalize, sizeof d->normalize, "l2");
    snprintf(d->join, sizeof d->join, "space");
    d->max_length = c->nn.positions < LLM_TOKENS ? c->nn.positions : LLM_TOKENS;
    if (m->tokenizer)
        snprintf(d->tokenizer, sizeof d->tokenizer, "%016llx", (unsigned long long)tokenizer_fingerprint(m->tokenizer));
    TRY(set_text(d->model_name, sizeof d->model_name, m->given, "the model's name", m->given));
    m->modules.query = *d;
    m->modules.query.join[0] = 0;
    return TRAWL_OK;
}

enum trawl_status modules_open(struct model_files *m, const char *folder)
{
    json_t *modules = NULL;
    TRY(set_defaults(m));
    size_t width = m->source.config.nn.C;
    if (folder) {
        TRY(model_read_json(&modules, folder, "modules.json"));
        m->sentence_transformers = modules != NULL;
        enum trawl_status status = TRAWL_OK;
        if (modules)
            status = read_modules(m, folder, modules);
        if (!status && modules)
            status = read_length(m, folder);
        if (!status && modules)
            status = read_prompts(m, folder);
        json_decref(modules);
        TRY(status);
    }
    if (m->modules.n_dense)
        width = m->modules.dense[m->modules.n_dense - 1].out;
    m->modules.document.dims = m->modules.query.dims = width;
    return folder ? read_trawl(m, folder, width) : TRAWL_OK;
}

void modules_release(struct model_modules *modules)
{
    for (size_t i = 0; i < modules->n_dense; i++) {
        free(modules->dense[i].weight);
        free(modules->dense[i].bias);
    }
    free(modules->dense);
}
