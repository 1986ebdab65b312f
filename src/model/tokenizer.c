/* Tokenizers and chat templates of model files. */
#include "model_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES_MAX = 4 << 20 };

/* ---- GGUF ---- */

/* Pointers into the mapped file for an array of strings; both NULL when the key is absent. */
static enum trawl_status text_array(const char ***texts, size_t **bytes, size_t *n, const struct gguf *g,
                                    const char *key)
{
    const struct gguf_value *v = gguf_find(g, key);
    size_t at = 0;
    *texts = NULL;
    *bytes = NULL;
    *n = 0;
    if (!v)
        return TRAWL_OK;
    if (v->type != GGUF_ARRAY || v->item != GGUF_STRING)
        return fail(TRAWL_FORMAT, "'%s': metadata key '%s' is not an array of strings", g->path, key);
    *texts = mem_array(v->n, sizeof **texts);
    *bytes = mem_array(v->n, sizeof **bytes);
    if (!*texts || !*bytes)
        return mem_status();
    for (size_t i = 0; i < v->n; i++)
        (*texts)[i] = gguf_item_text(v, &at, &(*bytes)[i]);
    *n = v->n;
    return TRAWL_OK;
}

static enum trawl_status number_array(const struct gguf_value **out, const struct gguf *g, const char *key, size_t n)
{
    *out = gguf_find(g, key);
    if (*out &&
        ((*out)->type != GGUF_ARRAY || (*out)->item == GGUF_STRING || (*out)->item == GGUF_ARRAY || (*out)->n != n))
        return fail(TRAWL_FORMAT, "'%s': metadata key '%s' is not an array of %zu numbers", g->path, key, n);
    return TRAWL_OK;
}

static enum trawl_status special_ids(struct tokenizer_gguf *spec, const struct gguf *g)
{
    const struct {
        const char *key;
        int64_t *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &spec->bos},     {"tokenizer.ggml.eos_token_id", &spec->eos},
        {"tokenizer.ggml.unknown_token_id", &spec->unk}, {"tokenizer.ggml.seperator_token_id", &spec->sep},
        {"tokenizer.ggml.padding_token_id", &spec->pad}, {"tokenizer.ggml.cls_token_id", &spec->cls},
        {"tokenizer.ggml.mask_token_id", &spec->mask},
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size_t id;
        TRY(gguf_get_count(&id, g, ids[i].key, SIZE_MAX));
        *ids[i].id = id < spec->n_tokens ? (int64_t)id : -1; /* files mark absence by ids beyond the vocabulary, too */
    }
    TRY(gguf_get_bool(&spec->add_bos, g, "tokenizer.ggml.add_bos_token"));
    TRY(gguf_get_bool(&spec->add_eos, g, "tokenizer.ggml.add_eos_token"));
    TRY(gguf_get_bool(&spec->remove_extra_spaces, g, "tokenizer.ggml.remove_extra_whitespaces"));
    const struct gguf_value *charsmap = gguf_find(g, "tokenizer.ggml.precompiled_charsmap");
    if (charsmap && (charsmap->type != GGUF_ARRAY || (charsmap->item != GGUF_U8 && charsmap->item != GGUF_I8)))
        return fail(TRAWL_FORMAT, "'%s': metadata key 'tokenizer.ggml.precompiled_charsmap' is not an array of bytes",
                    g->path);
    spec->charsmap = charsmap ? charsmap->data : NULL;
    spec->charsmap_bytes = charsmap ? charsmap->n : 0;
    return gguf_get_bool(&spec->add_space_prefix, g, "tokenizer.ggml.add_space_prefix");
}

static enum trawl_status text_copy(char **out, const struct gguf *g, const char *key)
{
    const char *text;
    size_t n;
    *out = NULL;
    TRY(gguf_get_text(&text, &n, g, key));
    if (text && !(*out = mem_text(text, n)))
        return mem_status();
    return TRAWL_OK;
}

enum trawl_status tokenizer_of_gguf(struct tokenizer **t, const struct gguf *g)
{
    enum trawl_status status = TRAWL_OK;
    struct tokenizer_gguf spec = {.where = g->path};
    const struct gguf_value *scores, *types;
    const char **tokens = NULL, **merges = NULL;
    size_t *token_bytes = NULL, *merge_bytes = NULL;
    float *score_list = NULL;
    int32_t *type_list = NULL;
    char *model = NULL, *pre = NULL;
    *t = NULL;
    if (!gguf_find(g, "tokenizer.ggml.model"))
        return TRAWL_OK;
    TRY_OUT(text_copy(&model, g, "tokenizer.ggml.model"));
    TRY_OUT(text_copy(&pre, g, "tokenizer.ggml.pre"));
    TRY_OUT(text_array(&tokens, &token_bytes, &spec.n_tokens, g, "tokenizer.ggml.tokens"));
    TRY_OUT(text_array(&merges, &merge_bytes, &spec.n_merges, g, "tokenizer.ggml.merges"));
    TRY_OUT(number_array(&scores, g, "tokenizer.ggml.scores", spec.n_tokens));
    TRY_OUT(number_array(&types, g, "tokenizer.ggml.token_type", spec.n_tokens));
    TRY_OUT(special_ids(&spec, g));
    score_list = scores ? mem_array(scores->n, sizeof *score_list) : NULL;
    type_list = types ? mem_array(types->n, sizeof *type_list) : NULL;
    if ((scores && !score_list) || (types && !type_list)) {
        status = mem_status();
        goto out;
    }
    for (size_t i = 0; i < spec.n_tokens; i++) {
        double type = types ? gguf_item(types, i) : 0;
        if (scores)
            score_list[i] = (float)gguf_item(scores, i);
        if (types)
            type_list[i] = type >= 0 && type < 256 ? (int32_t)type : 0;
    }
    spec.model = model;
    spec.pre = pre;
    spec.tokens = tokens;
    spec.token_bytes = token_bytes;
    spec.merges = merges;
    spec.merge_bytes = merge_bytes;
    spec.scores = score_list;
    spec.types = type_list;
    status = tokenizer_from_gguf(t, &spec);
out:
    free(model);
    free(pre);
    free(tokens);
    free(token_bytes);
    free(merges);
    free(merge_bytes);
    free(score_list);
    free(type_list);
    return status;
}

enum trawl_status template_of_gguf(char **chat_template, const struct gguf *g)
{
    return text_copy(chat_template, g, "tokenizer.chat_template");
}

/* ---- folders ---- */

/* chat_template of tokenizer_config.json: a text, or a list of named ones of which "default" counts. */
static enum trawl_status template_of_config(char **out, const char *folder)
{
    json_t *config;
    TRY(model_read_json(&config, folder, "tokenizer_config.json"));
    const json_t *value = json_object_get(config, "chat_template");
    size_t i;
    const json_t *item, *chosen = json_is_string(value) ? value : NULL;
    json_array_foreach((json_t *)value, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default"))
            chosen = json_object_get(item, "template");
    }
    if (json_is_string(chosen))
        *out = mem_text(json_string_value(chosen), json_string_length(chosen));
    enum trawl_status status = json_is_string(chosen) && !*out ? mem_status() : TRAWL_OK;
    json_decref(config);
    return status;
}

static enum trawl_status template_of_folder(char **out, const char *folder)
{
    struct buf text = {0};
    if (!model_has_file(folder, "chat_template.jinja"))
        return template_of_config(out, folder);
    char *path = file_join(folder, "chat_template.jinja");
    enum trawl_status status = path ? file_read(&text, path, TEMPLATE_BYTES_MAX) : mem_status();
    free(path);
    if (!status && !text.data && !(text.data = mem_text("", 0)))
        status = mem_status();
    if (status)
        buf_release(&text);
    else
        *out = text.data;
    return status;
}

enum trawl_status tokenizer_of_folder(struct tokenizer **t, char **chat_template, const char *folder)
{
    *t = NULL;
    *chat_template = NULL;
    if (!model_has_file(folder, "tokenizer.json"))
        return TRAWL_OK;
    TRY(tokenizer_open(t, folder));
    enum trawl_status status = template_of_folder(chat_template, folder);
    if (status) {
        tokenizer_free(*t);
        *t = NULL;
    }
    return status;
}

/* ---- the tokenizer alone ---- */

static enum trawl_status open_gguf_tokenizer(struct tokenizer **t, char **chat_template, const char *path)
{
    struct tensor_set set = {0};
    struct gguf g;
    TRY(gguf_open(&g, &set, path));
    enum trawl_status status = tokenizer_of_gguf(t, &g);
    if (!status)
        status = template_of_gguf(chat_template, &g);
    gguf_release(&g);
    tensor_set_release(&set);
    return status;
}

static enum trawl_status open_folder_tokenizer(struct tokenizer **t, char **chat_template, const char *folder,
                                               int depth)
{
    enum trawl_status status = TRAWL_OK;
    char *inner = NULL, *gguf = NULL, *base = NULL, *path = NULL;
    TRY(tokenizer_of_folder(t, chat_template, folder));
    if (*t)
        return TRAWL_OK;
    TRY_OUT(model_transformer(&inner, folder));
    TRY_OUT(tokenizer_of_folder(t, chat_template, inner));
    if (*t)
        goto out;
    if (model_has_file(inner, "adapter_config.json") && depth < 4) {
        TRY_OUT(adapter_base(&base, inner));
        TRY_OUT(model_resolve_base(&path, inner, base));
        status = file_is_folder(path) ? open_folder_tokenizer(t, chat_template, path, depth + 1)
                                      : open_gguf_tokenizer(t, chat_template, path);
        goto out;
    }
    TRY_OUT(model_find_gguf(&gguf, inner));
    if (gguf)
        status = open_gguf_tokenizer(t, chat_template, gguf);
out:
    free(inner);
    free(gguf);
    free(base);
    free(path);
    return status;
}

enum trawl_status model_open_tokenizer(struct tokenizer **t, char **chat_template, const char *path_or_name)
{
    char *path, *text = NULL;
    *t = NULL;
    TRY(model_resolve(&path, path_or_name));
    size_t n = strlen(path);
    enum trawl_status status;
    if (file_is_folder(path))
        status = open_folder_tokenizer(t, &text, path, 0);
    else if (n > 5 && !strcmp(path + n - 5, ".json"))
        status = tokenizer_open(t, path);
    else
        status = open_gguf_tokenizer(t, &text, path);
    if (!status && !*t)
        status = fail(TRAWL_NOT_FOUND, "'%s' holds no tokenizer (tokenizer.json, or a GGUF file's metadata)", path);
    if (status) {
        tokenizer_free(*t);
        *t = NULL;
        free(text);
        text = NULL;
    }
    if (chat_template)
        *chat_template = text;
    else
        free(text);
    free(path);
    return status;
}
