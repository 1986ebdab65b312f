/* Tensors by role, read as rows of f32 in Hugging Face layout. */
#include "source.h"
#include "base/mem.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LORA_CHUNK = 256 }; /* columns whose update is summed on the stack at a time */

struct slot *source_slot(const struct source *s, size_t layer, enum nn_tensor tensor)
{
    bool per_layer;
    size_t rows, cols;
    nn_tensor_shape(&s->config.nn, tensor, &rows, &cols, &per_layer);
    return &s->slots[(per_layer ? 1 + layer : 0) * NN_T_COUNT + tensor];
}

void source_shape(const struct source *s, enum nn_tensor tensor, size_t *rows, size_t *cols, bool *per_layer)
{
    nn_tensor_shape(&s->config.nn, tensor, rows, cols, per_layer);
    if (tensor == NN_T_POSITION_EMBED)
        *rows += s->config.position_skip;
}

/* ---- reading ---- */

static bool source_has(void *ctx, size_t layer, enum nn_tensor tensor)
{
    return source_slot(ctx, layer, tensor)->tensor != NULL;
}

/* llama.cpp keeps each head's rows as pairs (i, i + D/2) beside each other; HF has the halves one after the other. */
static size_t stored_row(const struct slot *slot, size_t row, size_t D)
{
    size_t half = D / 2, head = row / D, within = row % D;
    return slot->permuted ? head * D + within % half * 2 + within / half : row + slot->skip;
}

/* A bias has one entry per row of its matrix, stored in the same order as those. */
static enum trawl_status read_permuted_vector(float *out, const struct slot *slot, size_t D)
{
    const struct tensor *t = slot->tensor;
    float *stored = mem_array(t->cols, sizeof *stored);
    if (!stored)
        return mem_status();
    enum trawl_status status = tensor_read(stored, slot->set, t, 0, 1);
    for (size_t i = 0; i < t->cols && !status; i++)
        out[i] = stored[stored_row(slot, i, D)];
    free(stored);
    return status;
}

static void add_lora(float *out, const struct lora *lora, size_t row, size_t rows, size_t cols)
{
    float sum[LORA_CHUNK];
    for (size_t begin = 0; begin < cols; begin += LORA_CHUNK) {
        size_t n = cols - begin < LORA_CHUNK ? cols - begin : LORA_CHUNK;
        memset(sum, 0, sizeof sum);
        for (size_t k = 0; k < lora->r; k++) {
            if (lora->transposed) {
                float a = lora->a[k * rows + row];
                for (size_t c = 0; c < n; c++)
                    sum[c] += lora->b[(begin + c) * lora->r + k] * a;
            } else {
                const float *a = lora->a + k * cols + begin;
                float b = lora->b[row * lora->r + k];
                for (size_t c = 0; c < n; c++)
                    sum[c] += b * a[c];
            }
        }
        for (size_t c = 0; c < n; c++)
            out[begin + c] += lora->scale * sum[c];
    }
}

/* Damaged files are found here, where their name is known. */
static enum trawl_status check_finite(const float *values, const struct slot *slot, size_t begin, size_t end)
{
    const struct tensor *t = slot->tensor;
    uint32_t bad = 0;
    for (size_t i = 0; i < (end - begin) * t->cols; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (!bad)
        return TRAWL_OK;
    size_t i = 0;
    while (isfinite(values[i]))
        i++;
    return fail(TRAWL_FORMAT, "'%s': tensor '%s' holds %s at row %zu, column %zu: the file is damaged (fetch it again)",
                tensor_path(slot->set, t), t->name, isnan(values[i]) ? "NaN" : "an infinite value", begin + i / t->cols,
                i % t->cols);
}

static enum trawl_status source_read(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                                     size_t end)
{
    const struct source *s = ctx;
    const struct slot *slot = source_slot(s, layer, tensor);
    const struct tensor *t = slot->tensor;
    assert(t && begin <= end && end + slot->skip <= t->rows);
    if (slot->permuted && t->rows == 1) {
        TRY(read_permuted_vector(out, slot, s->config.nn.D));
    } else if (slot->permuted) {
        for (size_t r = begin; r < end; r++) {
            size_t stored = stored_row(slot, r, s->config.nn.D);
            TRY(tensor_read(out + (r - begin) * t->cols, slot->set, t, stored, stored + 1));
        }
    } else {
        TRY(tensor_read(out, slot->set, t, begin + slot->skip, end + slot->skip));
    }
    if (slot->plus_one)
        for (size_t i = 0; i < (end - begin) * t->cols; i++)
            out[i] += 1.0f;
    for (size_t r = begin; slot->lora && r < end; r++)
        add_lora(out + (r - begin) * t->cols, slot->lora, r, t->rows, t->cols);
    return check_finite(out, slot, begin, end);
}

uint64_t source_parameters(const struct source *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < (1 + s->config.nn.L) * NN_T_COUNT; i++)
        if (s->slots[i].tensor)
            sum += (uint64_t)s->slots[i].tensor->rows * s->slots[i].tensor->cols;
    return sum;
}

/* ---- finding ---- */

/* What the family and its configuration say of a tensor, biases included. */
static enum nn_presence presence(const struct model_config *c, enum nn_tensor tensor)
{
    int bias = tensor == NN_T_O_BIAS ? c->o_bias : c->qkv_bias;
    enum nn_presence p = nn_tensor_presence(&c->nn, tensor);
    bool attention = tensor == NN_T_Q_BIAS || tensor == NN_T_K_BIAS || tensor == NN_T_V_BIAS || tensor == NN_T_O_BIAS;
    if (p == NN_OPTIONAL && attention && bias >= 0)
        return bias ? NN_REQUIRED : NN_ABSENT;
    return p;
}

static bool is_norm(enum nn_tensor t)
{
    return t == NN_T_FINAL_NORM || t == NN_T_ATTN_NORM || t == NN_T_Q_NORM || t == NN_T_K_NORM ||
           t == NN_T_POST_ATTN_NORM || t == NN_T_MLP_NORM || t == NN_T_POST_MLP_NORM;
}

struct finder {
    struct source *s;
    const struct tensor_set *set;
    const char *const *names;
    char prefix[64];
    const char *where;
    bool *claimed; /* (set->n) */
    bool gguf;
};

/* The prefix under which the token embedding is found; without one the first is kept, for the message. */
static void choose_prefix(struct finder *f, const char *prefixes)
{
    char name[FAMILY_NAME_MAX];
    for (const char *p = prefixes; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        snprintf(f->prefix, sizeof f->prefix, "%.*s", (int)n, p);
        if (family_tensor_name(name, f->names, f->prefix, 0, NN_T_EMBED) && tensor_set_find(f->set, name))
            return;
        p += n;
    }
    f->prefix[0] = 0;
    if (prefixes && family_tensor_name(name, f->names, "", 0, NN_T_EMBED) && !tensor_set_find(f->set, name))
        snprintf(f->prefix, sizeof f->prefix, "%.*s", (int)strcspn(prefixes, " "), prefixes);
}

static enum trawl_status wrong_shape(const struct finder *f, const struct tensor *t, size_t rows, size_t cols,
                                     bool vector)
{
    char shape[160], wanted[64];
    tensor_shape_text(shape, sizeof shape, t);
    if (vector)
        snprintf(wanted, sizeof wanted, "[%zu]", cols);
    else
        snprintf(wanted, sizeof wanted, "[%zu, %zu]", rows, cols);
    return fail(TRAWL_MISMATCH, "'%s': tensor '%s' is of shape %s, the configuration (%s) says %s",
                tensor_path(f->set, t), t->name, shape, f->where, wanted);
}

/* Fills one slot; `*missing` gets the name looked for when a required tensor is not there. */
static enum trawl_status find_one(struct finder *f, size_t layer, enum nn_tensor tensor)
{
    struct source *s = f->s;
    char name[FAMILY_NAME_MAX];
    size_t rows, cols;
    bool per_layer;
    enum nn_presence wanted = presence(&s->config, tensor);
    bool named = family_tensor_name(name, f->names, f->prefix, layer, tensor);
    const struct tensor *t = named ? tensor_set_find(f->set, name) : NULL;
    if (tensor == NN_T_HEAD && t && s->config.nn.tied_head) { /* a second copy of the embedding */
        f->claimed[t - f->set->items] = true;
        return TRAWL_OK;
    }
    if (wanted == NN_ABSENT)
        return TRAWL_OK; /* where the files have it, it is found to be unknown */
    if (!t && wanted == NN_OPTIONAL)
        return TRAWL_OK;
    if (!t)
        return fail(TRAWL_MISMATCH, "%s: tensor '%s' is missing", f->where, named ? name : nn_tensor_name(tensor));
    source_shape(s, tensor, &rows, &cols, &per_layer);
    bool vector = rows == 1 && t->n_dims < 2;
    if (t->rows != rows || t->cols != cols || t->n_dims > 2)
        return wrong_shape(f, t, rows, cols, vector);
    f->claimed[t - f->set->items] = true;
    struct slot *slot = source_slot(s, layer, tensor);
    *slot = (struct slot){.tensor = t, .set = f->set};
    if (tensor == NN_T_POSITION_EMBED)
        slot->skip = s->config.position_skip;
    slot->plus_one = !f->gguf && s->config.family->norm_plus_one && is_norm(tensor);
    if (f->gguf && s->config.family->gguf_permuted && (tensor == NN_T_Q || tensor == NN_T_Q_BIAS))
        slot->permuted = s->config.nn.H;
    if (f->gguf && s->config.family->gguf_permuted && (tensor == NN_T_K || tensor == NN_T_K_BIAS))
        slot->permuted = s->config.nn.K;
    return TRAWL_OK;
}

/* Left-overs that carry no weights of ours: buffers, heads of other tasks, parts for images. */
static bool ignorable(const struct finder *f, const char *name)
{
    static const char *const gguf_ignored = "rope_freqs.weight cls. cls_ pooler.";
    const char *ends[] = {"rotary_emb.inv_freq", "embeddings.position_ids", "embeddings.token_type_ids"};
    size_t n = strlen(name), prefix = strlen(f->prefix);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n >= strlen(ends[i]) && !strcmp(name + n - strlen(ends[i]), ends[i]))
            return true;
    const char *list = f->gguf ? gguf_ignored : f->s->config.family->hf_ignored;
    return family_listed(list, name) || (!strncmp(name, f->prefix, prefix) && family_listed(list, name + prefix));
}

static enum trawl_status refuse_unclaimed(const struct finder *f)
{
    for (size_t i = 0; i < f->set->n; i++) {
        const struct tensor *t = &f->set->items[i];
        if (!f->claimed[i] && !ignorable(f, t->name))
            return fail(TRAWL_MISMATCH, "'%s': tensor '%s' has no place in a %s model of %zu layers (%s)",
                        tensor_path(f->set, t), t->name, f->s->config.family->name, f->s->config.nn.L, f->where);
    }
    return TRAWL_OK;
}

/* A bare transformer without its LM head is fine: it gives states, not logits. */
static void settle_head(struct source *s, const struct finder *f)
{
    char name[FAMILY_NAME_MAX];
    if (s->config.headless && s->config.nn.has_head && !s->config.nn.tied_head &&
        family_tensor_name(name, f->names, f->prefix, 0, NN_T_HEAD) && !tensor_set_find(f->set, name))
        s->config.nn.has_head = false;
}

enum trawl_status source_init(struct source *s, const struct model_config *config, const struct tensor_set *set,
                              const char *const *names, const char *prefixes, const char *where)
{
    struct finder f = {.s = s, .set = set, .names = names, .where = where, .gguf = names == config->family->gguf_names};
    enum trawl_status status = TRAWL_OK;
    *s = (struct source){.config = *config};
    s->nn = (struct nn_source){.config = &s->config.nn, .ctx = s, .has = source_has, .read = source_read};
    s->slots = mem_array((1 + config->nn.L) * NN_T_COUNT, sizeof *s->slots);
    f.claimed = mem_array(set->n, sizeof *f.claimed);
    if (!s->slots || !f.claimed) {
        status = mem_status();
        goto out;
    }
    choose_prefix(&f, prefixes);
    settle_head(s, &f);
    for (int tensor = 0; tensor < NN_T_COUNT; tensor++) {
        size_t rows, cols;
        bool per_layer;
        nn_tensor_shape(&s->config.nn, (enum nn_tensor)tensor, &rows, &cols, &per_layer);
        for (size_t layer = 0; layer < (per_layer ? config->nn.L : 1); layer++)
            TRY_OUT(find_one(&f, layer, (enum nn_tensor)tensor));
    }
    status = refuse_unclaimed(&f);
out:
    free(f.claimed);
    if (status)
        source_release(s);
    return status;
}

void source_release(struct source *s)
{
    if (!s->slots)
        return;
    for (size_t i = 0; i < (1 + s->config.nn.L) * NN_T_COUNT; i++)
        if (s->slots[i].lora) {
            free(s->slots[i].lora->a);
            free(s->slots[i].lora->b);
            free(s->slots[i].lora);
        }
    free(s->slots);
    s->slots = NULL;
}
