/* What a model is, for `inspect`: one ordered JSON object that is printed as text or as it is. */
#include "model_int.h"
#include "safetensors.h"
#include "base/mem.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_VALUES = 1 << 16 };

static void put_count(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void put_text(json_t *o, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put_text(json_t *o, const char *key, const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_t *value = json_string(text);
    json_object_set_new(o, key, value ? value : json_string("(not UTF-8)"));
}

/* ---- tensors ---- */

/* "Q4_1": tensors, values and bytes of each element type in the files. */
static json_t *stored_types(const struct tensor_set *set)
{
    json_t *types = json_object();
    for (size_t i = 0; i < set->n; i++) {
        const struct tensor *t = &set->items[i];
        json_t *row = json_object_get(types, t->type);
        if (!row) {
            row = json_object();
            json_object_set_new(types, t->type, row);
        }
        put_count(row, "tensors", (uint64_t)json_integer_value(json_object_get(row, "tensors")) + 1);
        put_count(row, "bytes", (uint64_t)json_integer_value(json_object_get(row, "bytes")) + t->bytes);
    }
    return types;
}

static json_t *tensor_list(const struct tensor_set *set)
{
    json_t *list = json_object();
    for (size_t i = 0; i < set->n; i++) {
        char shape[160];
        tensor_shape_text(shape, sizeof shape, &set->items[i]);
        put_text(list, set->items[i].name, "%s %s", set->items[i].type, shape);
    }
    return list;
}

static enum trawl_status verify_tensor(const struct tensor_set *set, const struct tensor *t, float *values)
{
    size_t step = t->cols && t->cols < READ_VALUES ? READ_VALUES / t->cols : 1;
    for (size_t begin = 0; begin < t->rows; begin += step) {
        size_t end = begin + step < t->rows ? begin + step : t->rows;
        TRY(tensor_read(values, set, t, begin, end));
        for (size_t i = 0; i < (end - begin) * t->cols; i++)
            if (!isfinite(values[i]))
                return fail(TRAWL_CORRUPT, "'%s': tensor '%s' holds a value that is not finite at row %zu, column %zu",
                            tensor_path(set, t), t->name, begin + i / t->cols, i % t->cols);
    }
    return TRAWL_OK;
}

/* Reads everything; integer tensors, which no model part uses, are passed over. */
static enum trawl_status verify_set(const struct tensor_set *set, uint64_t *n_values)
{
    size_t widest = READ_VALUES;
    for (size_t i = 0; i < set->n; i++)
        if (set->items[i].cols > widest)
            widest = set->items[i].cols;
    float *values = mem_array(widest, sizeof *values);
    enum trawl_status status = values ? TRAWL_OK : mem_status();
    for (size_t i = 0; i < set->n && !status; i++) {
        const struct tensor *t = &set->items[i];
        if (t->format == FORMAT_COUNT)
            continue;
        status = verify_tensor(set, t, values);
        *n_values += (uint64_t)t->rows * t->cols;
    }
    free(values);
    return status;
}

static uint64_t set_bytes(const struct tensor_set *set)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < set->n_files; i++)
        sum += set->files[i].map.bytes;
    return sum;
}

/* ---- the transformer ---- */

static void describe_windows(json_t *o, const struct nn_config *n)
{
    size_t n_windowed = 0, window = 0;
    for (size_t l = 0; l < n->L; l++)
        if (n->window[l]) {
            n_windowed++;
            window = n->window[l];
        }
    if (n_windowed)
        put_text(o, "windows", "%zu of %zu layers see the last %zu tokens", n_windowed, n->L, window);
}

static const char *activation_name(enum nn_activation a)
{
    static const char *const names[] = {"silu", "gelu (tanh)", "gelu (erf)", "relu"};
    return names[a];
}

static void describe_shape(json_t *o, const struct model_files *m)
{
    const struct nn_config *n = &m->source.config.nn;
    put_count(o, "parameters", source_parameters(&m->source));
    put_count(o, "layers", n->L);
    put_count(o, "width", n->C);
    if (n->K == n->H)
        put_text(o, "heads", "%zu of %zu dimensions", n->H, n->D);
    else
        put_text(o, "heads", "%zu of %zu dimensions, %zu of keys and values", n->H, n->D, n->K);
    put_text(o, "feed_forward", "%zu, %s%s", n->F, activation_name(n->activation), n->gated ? ", gated" : "");
    put_count(o, "vocabulary", n->V);
    put_count(o, "positions", n->positions);
    describe_windows(o, n);
    put_text(o, "lm_head", "%s", !n->has_head ? "none" : (n->tied_head ? "the token embedding" : "its own"));
}

/* Bytes of the weights once packed for a precision; the token embedding stays in the mapped file. */
static json_t *memory_need(const struct model_files *m)
{
    const struct source *s = &m->source;
    const struct nn_config *n = &s->config.nn;
    uint64_t values = 0, rows = 0;
    for (size_t i = 0; i < (1 + n->L) * NN_T_COUNT; i++) {
        const struct tensor *t = s->slots[i].tensor;
        size_t tensor = i % NN_T_COUNT;
        if (!t || tensor == NN_T_EMBED || tensor == NN_T_POSITION_EMBED || tensor == NN_T_TYPE_EMBED)
            continue;
        values += (uint64_t)t->rows * t->cols;
        rows += t->rows;
    }
    json_t *need = json_object();
    put_count(need, "f32", values * 4);
    put_count(need, "bf16", values * 2);
    put_count(need, "int8", values + rows * 4);
    return need;
}

/* ---- tokenizer, template, contracts ---- */

static json_t *describe_tokenizer(const struct tokenizer *t)
{
    static const char *const names[] = {"bos", "eos", "unk", "sep", "cls", "pad", "mask"};
    json_t *o = json_object();
    struct buf piece = {0};
    put_count(o, "vocabulary", tokenizer_vocab(t));
    for (int i = TOKENIZER_BOS; i <= TOKENIZER_MASK; i++) {
        uint32_t id = tokenizer_special_id(t, (enum tokenizer_special)i);
        buf_reset(&piece);
        if (id != TOKENIZER_NONE && !tokenizer_piece(t, &piece, id))
            put_text(o, names[i], "%u %s", id, piece.data ? piece.data : "");
    }
    buf_release(&piece);
    put_text(o, "generation_begins_with_bos", "%s", tokenizer_wants_bos(t) ? "yes" : "no");
    put_count(o, "special_tokens_added", tokenizer_n_added(t));
    put_text(o, "fingerprint", "%016llx", (unsigned long long)tokenizer_fingerprint(t));
    return o;
}

static void describe_template(json_t *o, const char *text)
{
    const struct chat_template *row;
    if (!text)
        put_text(o, "chat_template", "none");
    else if (chat_find_text(&row, text, strlen(text)))
        put_text(o, "chat_template", "unknown (choose one with --chat-template)");
    else
        put_text(o, "chat_template", "%s", chat_name(row));
}

static enum trawl_status describe_modules(json_t *o, const struct model_files *m)
{
    const struct model_modules *s = &m->modules;
    json_t *document, *query, *dense = json_array();
    for (size_t i = 0; i < s->n_dense; i++) {
        char text[128];
        snprintf(text, sizeof text, "%zu to %zu%s%s", s->dense[i].in, s->dense[i].out, s->dense[i].bias ? ", bias" : "",
                 s->dense[i].tanh ? ", tanh" : "");
        json_array_append_new(dense, json_string(text));
    }
    if (s->n_dense)
        json_object_set(o, "dense_modules", dense);
    json_decref(dense);
    TRY(contract_to_json(&document, &s->document));
    json_object_set_new(o, "document_contract", document);
    TRY(contract_to_json(&query, &s->query));
    json_object_set_new(o, "query_contract", query);
    return TRAWL_OK;
}

static void describe_adapter(json_t *o, const struct model_files *m)
{
    const struct adapter_info *a = &m->adapter_info;
    json_t *row = json_object();
    put_text(row, "folder", "%s", m->adapter);
    put_text(row, "base", "%s", m->weights);
    put_count(row, "rank", a->r);
    put_text(row, "scale", "%g / %s%zu%s", a->alpha, a->rslora ? "sqrt(" : "", a->r, a->rslora ? ")" : "");
    put_count(row, "updated_matrices", a->n_updates);
    put_count(row, "replaced_tensors", a->n_replaced);
    json_object_set_new(o, "adapter", row);
}

static void describe_format(json_t *o, const struct model_files *m)
{
    const char *name;
    size_t n;
    if (!m->gguf.path) {
        put_text(o, "format", "%s, %zu safetensors file%s",
                 m->sentence_transformers ? "sentence-transformers folder" : "Hugging Face folder", m->set.n_files,
                 m->set.n_files == 1 ? "" : "s");
        return;
    }
    put_text(o, "format", "GGUF version %u, %zu file%s, %zu metadata keys", m->gguf.version, m->gguf.n_parts,
             m->gguf.n_parts == 1 ? "" : "s", m->gguf.n_values);
    if (!gguf_get_text(&name, &n, &m->gguf, "general.name") && name)
        put_text(o, "name", "%.*s", (int)(n < 200 ? n : 200), name);
}

static enum trawl_status describe(json_t *o, struct model_files *m, bool verify, bool tensors)
{
    char fingerprint[17];
    TRY(model_files_fingerprint(m, fingerprint));
    put_text(o, "kind", "%s", m->adapter ? "adapter on a model" : "model");
    put_text(o, "path", "%s", m->path);
    describe_format(o, m);
    put_text(o, "family", "%s", model_files_family(m));
    if (m->adapter)
        describe_adapter(o, m);
    describe_shape(o, m);
    put_count(o, "file_bytes", set_bytes(&m->set) + set_bytes(&m->adapter_set));
    json_object_set_new(o, "stored_as", stored_types(&m->set));
    json_object_set_new(o, "weights_in_memory", memory_need(m));
    if (m->tokenizer)
        json_object_set_new(o, "tokenizer", describe_tokenizer(m->tokenizer));
    else
        put_text(o, "tokenizer", "none");
    describe_template(o, m->chat_template);
    TRY(describe_modules(o, m));
    put_text(o, "fingerprint", "%s", fingerprint);
    if (tensors)
        json_object_set_new(o, "tensors", tensor_list(&m->set));
    if (verify) {
        uint64_t n = 0;
        TRY(verify_set(&m->set, &n));
        TRY(verify_set(&m->adapter_set, &n));
        put_text(o, "verified", "%llu values, all finite", (unsigned long long)n);
    }
    return TRAWL_OK;
}

enum trawl_status model_describe(json_t **out, const char *path_or_name, bool verify, bool tensors)
{
    struct model_files *m;
    *out = NULL;
    TRY(model_files_open(&m, path_or_name));
    json_t *o = json_object();
    enum trawl_status status = o ? describe(o, m, verify, tensors) : fail(TRAWL_NOMEM, "no memory for a description");
    model_files_close(m);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}

enum trawl_status model_describe_tokenizer(json_t **out, const char *path_or_name)
{
    struct tokenizer *t;
    char *chat_template;
    *out = NULL;
    TRY(model_open_tokenizer(&t, &chat_template, path_or_name));
    json_t *o = json_object();
    put_text(o, "kind", "tokenizer");
    put_text(o, "path", "%s", path_or_name);
    json_object_set_new(o, "tokenizer", describe_tokenizer(t));
    describe_template(o, chat_template);
    tokenizer_free(t);
    free(chat_template);
    *out = o;
    return o ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for a description");
}

enum trawl_status model_describe_safetensors(json_t **out, const char *path, bool verify, bool tensors)
{
    struct tensor_set set = {0};
    uint64_t n = 0;
    json_t *o = json_object();
    enum trawl_status status = o ? safetensors_open(&set, path) : fail(TRAWL_NOMEM, "no memory for a description");
    if (!status) {
        for (size_t i = 0; i < set.n; i++)
            n += (uint64_t)set.items[i].rows * set.items[i].cols;
        put_text(o, "kind", "safetensors file");
        put_text(o, "path", "%s", path);
        put_count(o, "tensors", set.n);
        put_count(o, "values", n);
        put_count(o, "file_bytes", set_bytes(&set));
        json_object_set_new(o, "stored_as", stored_types(&set));
        if (tensors)
            json_object_set_new(o, "shapes", tensor_list(&set));
    }
    n = 0;
    if (!status && verify)
        status = verify_set(&set, &n);
    if (!status && verify)
        put_text(o, "verified", "%llu values, all finite", (unsigned long long)n);
    tensor_set_release(&set);
    if (status)
        json_decref(o);
    *out = status ? NULL : o;
    return status;
}
