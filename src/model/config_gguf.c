/* The configuration from GGUF metadata: keys "<architecture>.<name>", with llama.cpp's defaults for absent ones. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The keys of one architecture; `text` is overwritten by every call. */
struct keys {
    const struct gguf *g;
    char arch[64], text[160];
};

static const char *key(struct keys *k, const char *name)
{
    snprintf(k->text, sizeof k->text, "%s.%s", k->arch, name);
    return k->text;
}

static enum trawl_status need(size_t *out, struct keys *k, const char *name)
{
    TRY(gguf_get_count(out, k->g, key(k, name), 0));
    return *out ? TRAWL_OK : fail(TRAWL_FORMAT, "'%s': metadata key '%s' is missing or 0", k->g->path, k->text);
}

/* A count that may be given per layer: all layers must agree. */
static enum trawl_status same_for_all(size_t *out, struct keys *k, const char *name, size_t preset)
{
    const struct gguf_value *v = gguf_find(k->g, key(k, name));
    if (!v || v->type != GGUF_ARRAY)
        return gguf_get_count(out, k->g, k->text, preset);
    double first = v->n ? gguf_item(v, 0) : 0;
    for (size_t i = 1; i < v->n; i++)
        if (gguf_item(v, i) != first)
            return fail(TRAWL_UNSUPPORTED, "'%s': '%s' differs between layers, which is not supported", k->g->path,
                        k->text);
    if (!(first >= 1 && first <= 1e9))
        return fail(TRAWL_FORMAT, "'%s': '%s' is %g", k->g->path, k->text, first);
    *out = (size_t)first;
    return TRAWL_OK;
}

static enum trawl_status read_rope(struct rope *r, struct keys *k, const struct model_config *c)
{
    const char *type;
    size_t n, original;
    double number;
    *r = (struct rope){0};
    TRY(gguf_get_number(&r->theta, k->g, key(k, "rope.freq_base"), 10000));
    TRY(gguf_get_number(&r->factor, k->g, key(k, "rope.scaling.factor"), 0));
    TRY(gguf_get_text(&type, &n, k->g, key(k, "rope.scaling.type")));
    if (type)
        TRY(rope_type_parse(&r->type, type, n, k->g->path));
    else if (r->factor != 0 && r->factor != 1)
        r->type = ROPE_LINEAR;
    TRY(gguf_get_number(&number, k->g, key(k, "rope.scale_linear"), 0));
    if (!type && r->factor == 0 && number != 0 && number != 1) {
        r->type = ROPE_LINEAR;
        r->factor = number;
    }
    TRY(gguf_get_count(&original, k->g, key(k, "rope.scaling.original_context_length"), c->nn.positions));
    r->original_positions = (double)original;
    TRY(gguf_get_number(&r->beta_fast, k->g, key(k, "rope.scaling.yarn_beta_fast"), 0));
    TRY(gguf_get_number(&r->beta_slow, k->g, key(k, "rope.scaling.yarn_beta_slow"), 0));
    TRY(gguf_get_number(&number, k->g, key(k, "rope.scaling.attn_factor"), 1));
    if (r->type == ROPE_YARN && number != 1) /* llama.cpp multiplies it with YaRN's own */
        r->attention_factor = number * (1.0 + 0.1 * log(r->factor > 1 ? r->factor : 1));
    return TRAWL_OK;
}

/* Llama 3's scaling comes as a tensor of divisors of the inverse frequencies. */
static enum trawl_status apply_divisors(struct model_config *c, const struct tensor_set *set, const char *path)
{
    static const char *const longrope[] = {"rope_factors_long.weight", "rope_factors_short.weight"};
    for (size_t i = 0; i < 2; i++)
        if (tensor_set_find(set, longrope[i]))
            return fail(TRAWL_UNSUPPORTED, "'%s': rope type 'longrope' (tensor '%s') is not supported", path,
                        longrope[i]);
    const struct tensor *t = tensor_set_find(set, "rope_freqs.weight");
    float divisor[NN_HEAD_DIM_MAX / 2];
    if (!t)
        return TRAWL_OK;
    if (t->rows != 1 || t->cols != c->nn.D / 2)
        return fail(TRAWL_MISMATCH,
                    "'%s': tensor 'rope_freqs.weight' has %zu x %zu values, the head dimension %zu needs "
                    "1 x %zu",
                    path, t->rows, t->cols, c->nn.D, c->nn.D / 2);
    TRY(tensor_read(divisor, set, t, 0, 1));
    for (size_t i = 0; i < t->cols; i++) {
        if (!(divisor[i] > 0) || !isfinite(divisor[i]))
            return fail(TRAWL_FORMAT, "'%s': tensor 'rope_freqs.weight' holds %g", path, (double)divisor[i]);
        c->nn.rope_inverse[0][i] /= divisor[i];
        c->nn.rope_inverse[1][i] /= divisor[i];
    }
    return TRAWL_OK;
}

static enum trawl_status set_windows(struct model_config *c, struct keys *k)
{
    size_t window, pattern = 1;
    const struct gguf_value *list = NULL;
    TRY(gguf_get_count(&window, k->g, key(k, "attention.sliding_window"), 0));
    if (window > UINT32_MAX)
        window = 0;
    if (c->family->window == WINDOW_PATTERNED) {
        pattern = 6;
        list = gguf_find(k->g, key(k, "attention.sliding_window_pattern"));
        if (list && list->type != GGUF_ARRAY)
            TRY(gguf_get_count(&pattern, k->g, k->text, 6));
        else if (list && list->n < c->nn.L)
            return fail(TRAWL_FORMAT, "'%s': '%s' has %zu entries for %zu layers", k->g->path, k->text, list->n,
                        c->nn.L);
        if (!pattern)
            return fail(TRAWL_FORMAT, "'%s': '%s' is 0", k->g->path, k->text);
    }
    for (size_t l = 0; l < c->nn.L; l++) {
        bool sliding = pattern == 1 || (l + 1) % pattern != 0;
        if (list && list->type == GGUF_ARRAY)
            sliding = gguf_item(list, l) != 0;
        c->nn.window[l] = sliding ? (uint32_t)window : 0;
        c->nn.rope_table[l] = c->family->window == WINDOW_PATTERNED && c->nn.window[l];
    }
    return TRAWL_OK;
}

static enum trawl_status set_decoder(struct model_config *c, struct keys *k, const struct tensor_set *set)
{
    struct nn_config *n = &c->nn;
    const struct family *f = c->family;
    struct rope rope[2];
    double eps, scale, cap;
    size_t value_length, rotary, experts;
    TRY(same_for_all(&n->K, k, "attention.head_count_kv", n->H));
    TRY(gguf_get_count(&n->D, k->g, key(k, "attention.key_length"), n->C / n->H));
    TRY(gguf_get_count(&value_length, k->g, key(k, "attention.value_length"), n->D));
    TRY(gguf_get_count(&rotary, k->g, key(k, "rope.dimension_count"), n->D));
    TRY(gguf_get_count(&experts, k->g, key(k, "expert_count"), 0));
    if (value_length != n->D || rotary != n->D || experts)
        return fail(TRAWL_UNSUPPORTED, "'%s': %s not supported", k->g->path,
                    experts ? "a mixture of experts is"
                            : "values or rotations of another size than the head dimension are");
    TRY(gguf_get_number(&eps, k->g, key(k, "attention.layer_norm_rms_epsilon"), f->norm_eps_default));
    n->norm_eps = (float)eps;
    n->gated = n->has_head = true;
    n->tied_head = !tensor_set_find(set, f->gguf_names[NN_T_HEAD]);
    c->qkv_bias = c->o_bias = -1;
    /* Gemma 3 27B alone scales by the width per head; the files do not say so */
    bool wide = f->window == WINDOW_PATTERNED && n->L == 62;
    TRY(gguf_get_number(&scale, k->g, key(k, "attention.scale"),
                        1.0 / sqrt(wide ? (double)n->C / (double)n->H : (double)n->D)));
    n->attention_scale = (float)scale;
    n->embedding_scale = f->norm_plus_one ? sqrtf((float)n->C) : 1.0f;
    TRY(gguf_get_number(&cap, k->g, key(k, "attn_logit_softcapping"), 0));
    n->attention_cap = (float)cap;
    TRY(gguf_get_number(&cap, k->g, key(k, "final_logit_softcapping"), 0));
    n->logit_cap = (float)cap;
    TRY(config_check(c, k->g->path));
    TRY(set_windows(c, k));
    TRY(read_rope(&rope[0], k, c));
    rope[1] = rope[0];
    if (f->window == WINDOW_PATTERNED) { /* local layers are not stretched */
        rope[1] = (struct rope){0};
        TRY(gguf_get_number(&rope[1].theta, k->g, key(k, "rope.freq_base_swa"), 10000));
    }
    for (int i = 0; i < 2; i++)
        TRY(rope_frequencies(n->rope_inverse[i], &n->rope_scale[i], &rope[i], n->D, k->g->path));
    return apply_divisors(c, set, k->g->path);
}

static enum trawl_status set_encoder(struct model_config *c, struct keys *k, const struct tensor_set *set)
{
    struct nn_config *n = &c->nn;
    double eps;
    const struct tensor *types = tensor_set_find(set, c->family->gguf_names[NN_T_TYPE_EMBED]);
    const struct tensor *positions = tensor_set_find(set, c->family->gguf_names[NN_T_POSITION_EMBED]);
    TRY(gguf_get_number(&eps, k->g, key(k, "attention.layer_norm_epsilon"), c->family->norm_eps_default));
    n->norm_eps = (float)eps;
    n->K = n->H;
    n->D = n->C / n->H;
    if (n->D * n->H != n->C)
        return fail(TRAWL_FORMAT, "'%s': the width %zu is no multiple of %zu heads", k->g->path, n->C, n->H);
    n->token_types = types ? types->rows : 0;
    if (positions) /* RoBERTa's unused first rows are cut off in GGUF already */
        n->positions = positions->rows;
    n->attention_scale = (float)(1.0 / sqrt((double)n->D));
    n->embedding_scale = 1.0f;
    n->rope_scale[0] = n->rope_scale[1] = 1.0f;
    n->encoder = true;
    n->norm = NN_LAYER_NORM;
    c->qkv_bias = c->o_bias = 1;
    return config_check(c, k->g->path);
}

enum trawl_status config_from_gguf(struct model_config *c, const struct gguf *g, const struct tensor_set *set)
{
    *c = (struct model_config){0};
    struct nn_config *n = &c->nn;
    struct keys k = {.g = g};
    const char *arch;
    size_t arch_bytes;
    TRY(gguf_get_text(&arch, &arch_bytes, g, "general.architecture"));
    if (!arch)
        return fail(TRAWL_FORMAT, "'%s' has no metadata key 'general.architecture'", g->path);
    c->family = family_by_gguf(arch, arch_bytes);
    if (!c->family)
        return fail(TRAWL_UNSUPPORTED, "'%s': architecture '%.*s' is not supported (known families: %s)", g->path,
                    (int)(arch_bytes > 60 ? 60 : arch_bytes), arch, family_names());
    snprintf(k.arch, sizeof k.arch, "%.*s", (int)arch_bytes, arch);
    const struct tensor *embed = tensor_set_find(set, c->family->gguf_names[NN_T_EMBED]);
    if (!embed)
        return fail(TRAWL_MISMATCH, "'%s' has no tensor '%s'", g->path, c->family->gguf_names[NN_T_EMBED]);
    n->V = embed->rows;
    TRY(need(&n->L, &k, "block_count"));
    TRY(need(&n->C, &k, "embedding_length"));
    TRY(same_for_all(&n->H, &k, "attention.head_count", 0));
    TRY(same_for_all(&n->F, &k, "feed_forward_length", 0));
    TRY(need(&n->positions, &k, "context_length"));
    if (!n->H || !n->F)
        return fail(TRAWL_FORMAT, "'%s': metadata key '%s.%s' is missing or 0", g->path, k.arch,
                    !n->H ? "attention.head_count" : "feed_forward_length");
    n->qk_norm = c->family->qk_norm;
    n->sandwich_norm = c->family->sandwich_norm;
    TRY(family_activation(&n->activation, c->family->activation_default, g->path));
    return c->family->encoder ? set_encoder(c, &k, set) : set_decoder(c, &k, set);
}
