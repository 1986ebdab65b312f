/*
 * PEFT adapters. Tensor names are "base_model.model." + the module's path in the base + ".lora_A.weight"; the paths are
 * Hugging Face's whatever format the base is in, so they are looked up in the family's table of those names.
 */
#include "source.h"
#include "safetensors.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20, RANK_MAX = 1 << 16 };

struct adapter {
    struct source *s;
    struct tensor_set *set;
    struct adapter_info *info;
    json_t *config;
    const char *where; /* adapter_config.json, quoted */
    struct map names;  /* Hugging Face name without prefix -> number of slot */
};

static enum trawl_status read_config(json_t **config, char **where, const char *folder)
{
    char *path = file_join(folder, "adapter_config.json");
    struct buf text = {0};
    *config = NULL;
    enum trawl_status status = path ? buf_printf(&text, "'%s'", path) : mem_status();
    if (!status)
        status = json_read(config, path, CONFIG_BYTES_MAX);
    if (!status && !json_is_object(*config))
        status = fail(TRAWL_FORMAT, "'%s' is not a JSON object", path);
    free(path);
    if (status) {
        buf_release(&text);
        json_decref(*config);
        *config = NULL;
        return status;
    }
    *where = text.data;
    return TRAWL_OK;
}

enum trawl_status adapter_base(char **base, const char *folder)
{
    json_t *config;
    char *where;
    const char *name;
    size_t n;
    TRY(read_config(&config, &where, folder));
    enum trawl_status status = json_get_text(&name, &n, config, "base_model_name_or_path", where);
    if (!status && (!name || !n))
        status = fail(TRAWL_FORMAT, "%s names no base model (base_model_name_or_path)", where);
    if (!status && !(*base = mem_text(name, n)))
        status = mem_status();
    json_decref(config);
    free(where);
    return status;
}

/* What changes the meaning of the tensors and is not LoRA proper is refused by its name. */
static enum trawl_status check_config(const struct adapter *a)
{
    static const char *const flags[] = {"use_dora", "use_qalora", "fan_in_fan_out", "lora_bias", "use_bdlora"};
    static const char *const members[] = {"layer_replication", "trainable_token_indices", "target_parameters",
                                          "alora_invocation_tokens"};
    const char *type;
    TRY(json_get_text(&type, NULL, a->config, "peft_type", a->where));
    if (!type || strcmp(type, "LORA") != 0)
        return fail(TRAWL_UNSUPPORTED, "%s: peft_type '%s' is not supported (only LORA)", a->where, type ? type : "");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_is_true(json_object_get(a->config, flags[i])))
            return fail(TRAWL_UNSUPPORTED, "%s: '%s' is not supported", a->where, flags[i]);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const json_t *m = json_object_get(a->config, members[i]);
        if (m && !json_is_null(m) && (json_array_size(m) || json_object_size(m)))
            return fail(TRAWL_UNSUPPORTED, "%s: '%s' is not supported", a->where, members[i]);
    }
    TRY(json_get_count(&a->info->r, a->config, "r", 0, a->where));
    TRY(json_get_number(&a->info->alpha, a->config, "lora_alpha", 8, a->where));
    return json_get_bool(&a->info->rslora, a->config, "use_rslora", false, a->where);
}

static enum trawl_status fill_names(struct adapter *a)
{
    const struct source *s = a->s;
    char name[FAMILY_NAME_MAX];
    for (int tensor = 0; tensor < NN_T_COUNT; tensor++) {
        size_t rows, cols;
        bool per_layer;
        nn_tensor_shape(&s->config.nn, (enum nn_tensor)tensor, &rows, &cols, &per_layer);
        for (size_t layer = 0; layer < (per_layer ? s->config.nn.L : 1); layer++) {
            if (!family_tensor_name(name, s->config.family->hf_names, "", layer, (enum nn_tensor)tensor))
                continue;
            size_t slot = (size_t)(source_slot(s, layer, (enum nn_tensor)tensor) - s->slots);
            uint32_t id;
            TRY(map_put(&a->names, name, strlen(name), slot, &id, NULL));
        }
    }
    return TRAWL_OK;
}

/* Removes the first `part` from a name. */
static void cut_out(char *name, const char *part)
{
    char *at = strstr(name, part);
    if (at)
        memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
}

/* Slot of a Hugging Face tensor name as an adapter writes it; SIZE_MAX: none. */
static size_t find_slot(const struct adapter *a, const char *name)
{
    uint32_t id = map_find(&a->names, name, strlen(name));
    const char *prefixes = a->s->config.family->hf_prefixes;
    for (const char *p = prefixes; id == MAP_NONE && p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (!strncmp(name, p, n))
            id = map_find(&a->names, name + n, strlen(name + n));
        p += n;
    }
    return id == MAP_NONE ? SIZE_MAX : (size_t)a->names.values[id];
}

static void plain_name(char *out, const char *name)
{
    static const char lead[] = "base_model.model.";
    size_t skip = strncmp(name, lead, sizeof lead - 1) ? 0 : sizeof lead - 1;
    snprintf(out, FAMILY_NAME_MAX, "%s", name + skip);
    cut_out(out, ".modules_to_save");
    cut_out(out, ".base_layer");
    cut_out(out, ".original_module");
    cut_out(out, ".default");
}

/* alpha of one module: alpha_pattern's entry for it or for the end of its path, else lora_alpha. */
static enum trawl_status module_alpha(double *alpha, const struct adapter *a, const char *module)
{
    const char *key;
    json_t *value;
    *alpha = a->info->alpha;
    json_object_foreach(json_object_get(a->config, "alpha_pattern"), key, value)
    {
        size_t n = strlen(module), k = strlen(key);
        if (strpbrk(key, "*+?[](){}|\\^$"))
            return fail(TRAWL_UNSUPPORTED, "%s: alpha_pattern '%s' is a regular expression, which is not supported",
                        a->where, key);
        bool ends = n >= k && !strcmp(module + n - k, key) && (n == k || module[n - k - 1] == '.');
        if (ends && json_is_number(value))
            *alpha = json_number_value(value);
    }
    return TRAWL_OK;
}

static enum trawl_status to_floats(float **out, const struct tensor_set *set, const struct tensor *t)
{
    *out = mem_array(t->rows * t->cols, sizeof **out);
    if (!*out)
        return mem_status();
    TRY(tensor_read(*out, set, t, 0, t->rows));
    for (size_t i = 0; i < t->rows * t->cols; i++)
        if (!isfinite((*out)[i]))
            return fail(TRAWL_FORMAT, "'%s': tensor '%s' holds a value that is not finite (element %zu)",
                        tensor_path(set, t), t->name, i);
    return TRAWL_OK;
}

/* One pair of A and B. `middle` is ".lora_A" or ".lora_embedding_A" in A's name. */
static enum trawl_status add_update(struct adapter *a, const struct tensor *A, const char *middle)
{
    char module[FAMILY_NAME_MAX], weight[FAMILY_NAME_MAX], other[600];
    bool embedding = strstr(middle, "embedding") != NULL;
    plain_name(module, A->name);
    char *end = strstr(module, middle);
    if (!end)
        return fail(TRAWL_FORMAT, "'%s': the name of tensor '%s' is too long", tensor_path(a->set, A), A->name);
    *end = 0;
    snprintf(weight, sizeof weight, "%.*s.weight", FAMILY_NAME_MAX - 8, module);
    size_t slot_number = find_slot(a, weight);
    struct slot *slot = slot_number == SIZE_MAX ? NULL : &a->s->slots[slot_number];
    if (!slot || !slot->tensor || slot->lora)
        return fail(TRAWL_MISMATCH, "'%s': tensor '%s' updates '%s', which %s", tensor_path(a->set, A), A->name, weight,
                    slot && slot->lora ? "is updated twice" : "the base model does not have");
    snprintf(other, sizeof other, "%s", A->name);
    strstr(other, middle)[strlen(middle) - 1] = 'B';
    const struct tensor *B = tensor_set_find(a->set, other);
    if (!B)
        return fail(TRAWL_MISMATCH, "'%s': tensor '%s' is missing", tensor_path(a->set, A), other);
    size_t rows = slot->tensor->rows, cols = slot->tensor->cols, r = A->rows;
    size_t out = embedding ? cols : rows, in = embedding ? rows : cols;
    if (!r || r > RANK_MAX || A->cols != in || B->rows != out || B->cols != r) {
        char shape[2][160];
        tensor_shape_text(shape[0], sizeof shape[0], A);
        tensor_shape_text(shape[1], sizeof shape[1], B);
        return fail(TRAWL_MISMATCH, "'%s': A %s and B %s of '%s' do not fit the base's [%zu, %zu]",
                    tensor_path(a->set, A), shape[0], shape[1], module, rows, cols);
    }
    double alpha;
    TRY(module_alpha(&alpha, a, module));
    slot->lora = mem_array(1, sizeof *slot->lora);
    if (!slot->lora)
        return mem_status();
    *slot->lora = (struct lora){.r = r, .transposed = embedding};
    slot->lora->scale = (float)(alpha / (a->info->rslora ? sqrt((double)r) : (double)r));
    TRY(to_floats(&slot->lora->a, a->set, A));
    TRY(to_floats(&slot->lora->b, a->set, B));
    a->info->n_updates++;
    return TRAWL_OK;
}

static enum trawl_status replace(struct adapter *a, const struct tensor *t)
{
    char name[FAMILY_NAME_MAX];
    plain_name(name, t->name);
    size_t number = find_slot(a, name);
    struct slot *slot = number == SIZE_MAX ? NULL : &a->s->slots[number];
    if (!slot || !slot->tensor)
        return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%s' has no counterpart in the base model", tensor_path(a->set, t),
                    t->name);
    if (slot->tensor->rows != t->rows || slot->tensor->cols != t->cols) {
        char shape[2][160];
        tensor_shape_text(shape[0], sizeof shape[0], t);
        tensor_shape_text(shape[1], sizeof shape[1], slot->tensor);
        return fail(TRAWL_MISMATCH, "'%s': tensor '%s' is of shape %s, the base's of %s", tensor_path(a->set, t),
                    t->name, shape[0], shape[1]);
    }
    bool plus_one = a->s->config.family->norm_plus_one && t->n_dims == 1;
    *slot = (struct slot){.tensor = t, .set = a->set, .skip = slot->skip, .plus_one = plus_one, .lora = slot->lora};
    a->info->n_replaced++;
    return TRAWL_OK;
}

static enum trawl_status apply_all(struct adapter *a)
{
    /* replacements first: an update may sit on top of one */
    for (size_t i = 0; i < a->set->n; i++)
        if (!strstr(a->set->items[i].name, ".lora_"))
            TRY(replace(a, &a->set->items[i]));
    for (size_t i = 0; i < a->set->n; i++) {
        const struct tensor *t = &a->set->items[i];
        if (strstr(t->name, ".lora_A"))
            TRY(add_update(a, t, ".lora_A"));
        else if (strstr(t->name, ".lora_embedding_A"))
            TRY(add_update(a, t, ".lora_embedding_A"));
        else if (strstr(t->name, ".lora_") && !strstr(t->name, ".lora_B") && !strstr(t->name, ".lora_embedding_B"))
            return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%s' is of an unknown kind", tensor_path(a->set, t), t->name);
    }
    if (!a->info->n_updates && !a->info->n_replaced)
        return fail(TRAWL_FORMAT, "%s: the adapter changes nothing", a->where);
    return TRAWL_OK;
}

enum trawl_status adapter_apply(struct source *s, struct adapter_info *info, struct tensor_set *set, const char *folder)
{
    struct adapter a = {.s = s, .set = set, .info = info};
    char *where = NULL, *path = file_join(folder, "adapter_model.safetensors");
    enum trawl_status status = path ? TRAWL_OK : mem_status();
    *info = (struct adapter_info){0};
    if (status)
        goto out;
    TRY_OUT(read_config(&a.config, &where, folder));
    a.where = where;
    TRY_OUT(check_config(&a));
    if (!file_exists(path)) {
        status =
            fail(TRAWL_NOT_FOUND, "'%s' does not exist (adapter_model.bin is not read: save it as safetensors)", path);
        goto out;
    }
    TRY_OUT(safetensors_open(set, path));
    TRY_OUT(fill_names(&a));
    status = apply_all(&a);
out:
    map_release(&a.names);
    json_decref(a.config);
    free(where);
    free(path);
    return status;
}
