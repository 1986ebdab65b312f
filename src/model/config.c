/*
 * config.json, as transformers 4 and 5 write it: rope_theta and rope_scaling beside each other or one rope_parameters
 * (nested by layer type for Gemma), torch_dtype or dtype, sliding_window_pattern or layer_types.
 */
#include "config.h"
#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 1 << 20, VOCAB_MAX = 1 << 24, POSITIONS_MAX = 1 << 30, TYPES_MAX = 255 };

static enum trawl_status need_count(size_t *out, const json_t *json, const char *key, const char *where)
{
    TRY(json_get_count(out, json, key, 0, where));
    return *out ? TRAWL_OK : fail(TRAWL_FORMAT, "%s: '%s' is missing or 0", where, key);
}

enum trawl_status config_check(const struct model_config *c, const char *where)
{
    const struct nn_config *n = &c->nn;
    const struct {
        const char *what;
        size_t value, max;
    } limits[] = {
        {"number of layers", n->L, NN_LAYERS_MAX}, {"hidden size", n->C, WIDTH_MAX},
        {"number of heads", n->H, WIDTH_MAX},      {"number of key/value heads", n->K, n->H},
        {"head dimension", n->D, NN_HEAD_DIM_MAX}, {"feed-forward size", n->F, WIDTH_MAX},
        {"vocabulary", n->V, VOCAB_MAX},           {"number of positions", n->positions, POSITIONS_MAX},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i].value < 1 || limits[i].value > limits[i].max)
            return fail(TRAWL_LIMIT, "%s: the %s is %zu, not between 1 and %zu", where, limits[i].what, limits[i].value,
                        limits[i].max);
    if (n->token_types > TYPES_MAX)
        return fail(TRAWL_LIMIT, "%s: %zu token types, at most %d are supported", where, n->token_types, TYPES_MAX);
    if (n->H % n->K)
        return fail(TRAWL_FORMAT, "%s: %zu heads are no multiple of %zu key/value heads", where, n->H, n->K);
    if (!n->encoder && n->D % 2)
        return fail(TRAWL_FORMAT, "%s: the head dimension %zu is odd, which the rotary embedding cannot have", where,
                    n->D);
    if (!(n->norm_eps >= 0) || !isfinite(n->norm_eps))
        return fail(TRAWL_FORMAT, "%s: the norm's epsilon is %g", where, (double)n->norm_eps);
    if (!(n->attention_scale > 0) || !isfinite(n->attention_scale))
        return fail(TRAWL_FORMAT, "%s: the attention scale is %g", where, (double)n->attention_scale);
    return TRAWL_OK;
}

/* ---- rope ---- */

static enum trawl_status read_rope(struct rope *r, const json_t *json, double theta, const json_t *config,
                                   const char *where)
{
    const char *type;
    size_t n;
    bool truncate;
    double positions, partial;
    *r = (struct rope){0};
    TRY(json_get_text(&type, &n, json, "rope_type", where));
    if (!type)
        TRY(json_get_text(&type, &n, json, "type", where));
    if (type)
        TRY(rope_type_parse(&r->type, type, n, where));
    TRY(json_get_number(&r->theta, json, "rope_theta", theta, where));
    TRY(json_get_number(&r->factor, json, "factor", 0, where));
    TRY(json_get_number(&positions, config, "max_position_embeddings", 0, where));
    TRY(json_get_number(&positions, config, "original_max_position_embeddings", positions, where));
    TRY(json_get_number(&r->original_positions, json, "original_max_position_embeddings", positions, where));
    TRY(json_get_number(&r->low_freq, json, "low_freq_factor", 0, where));
    TRY(json_get_number(&r->high_freq, json, "high_freq_factor", 0, where));
    TRY(json_get_number(&r->beta_fast, json, "beta_fast", 0, where));
    TRY(json_get_number(&r->beta_slow, json, "beta_slow", 0, where));
    TRY(json_get_number(&r->attention_factor, json, "attention_factor", 0, where));
    TRY(json_get_number(&r->mscale, json, "mscale", 0, where));
    TRY(json_get_number(&r->mscale_all_dim, json, "mscale_all_dim", 0, where));
    TRY(json_get_bool(&truncate, json, "truncate", true, where));
    r->no_truncate = !truncate;
    TRY(json_get_number(&partial, config, "partial_rotary_factor", 1, where));
    TRY(json_get_number(&partial, json, "partial_rotary_factor", partial, where));
    if (partial != 1.0)
        return fail(TRAWL_UNSUPPORTED, "%s: partial_rotary_factor %g is not supported (only 1)", where, partial);
    return TRAWL_OK;
}

/* Object member or NULL (absent, null); anything else is refused. */
static enum trawl_status get_object(const json_t **out, const json_t *json, const char *key, const char *where)
{
    *out = json_object_get(json, key);
    if (json_is_null(*out))
        *out = NULL;
    return !*out || json_is_object(*out) ? TRAWL_OK : fail(TRAWL_FORMAT, "%s: '%s' is not an object", where, key);
}

/* Both rope tables: [0] of layers that see everything, [1] of windowed ones where the family tells them apart. */
static enum trawl_status set_rope(struct model_config *c, const json_t *json, const char *where)
{
    const struct family *f = c->family;
    const json_t *parameters, *scaling, *global, *local;
    struct rope rope[2];
    double theta, local_theta;
    TRY(get_object(&parameters, json, "rope_parameters", where));
    TRY(get_object(&scaling, json, "rope_scaling", where));
    TRY(json_get_number(&theta, json, "rope_theta", f->rope_theta_default, where));
    TRY(json_get_number(&local_theta, json, "rope_local_base_freq", 10000, where));
    TRY(get_object(&global, parameters, "full_attention", where));
    TRY(get_object(&local, parameters, "sliding_attention", where));
    bool nested = global || local;
    if (!nested)
        global = parameters ? parameters : scaling;
    bool patterned = f->window == WINDOW_PATTERNED;
    TRY(read_rope(&rope[0], global, theta, json, where));
    TRY(read_rope(&rope[1], patterned || nested ? local : global, patterned ? local_theta : theta, json, where));
    for (int i = 0; i < 2; i++)
        TRY(rope_frequencies(c->nn.rope_inverse[i], &c->nn.rope_scale[i], &rope[i], c->nn.D, where));
    bool apart = patterned || nested;
    for (size_t l = 0; l < c->nn.L; l++)
        c->nn.rope_table[l] = apart && c->nn.window[l];
    return TRAWL_OK;
}

/* ---- windows ---- */

static enum trawl_status windows_by_types(struct model_config *c, const json_t *types, size_t window, const char *where)
{
    if (json_array_size(types) != c->nn.L)
        return fail(TRAWL_FORMAT, "%s: 'layer_types' has %zu entries for %zu layers", where, json_array_size(types),
                    c->nn.L);
    for (size_t l = 0; l < c->nn.L; l++) {
        const char *type = json_string_value(json_array_get(types, l));
        bool sliding = type && !strcmp(type, "sliding_attention");
        if (!sliding && (!type || strcmp(type, "full_attention") != 0))
            return fail(TRAWL_UNSUPPORTED, "%s: layer %zu is of type '%s' (known: full_attention, sliding_attention)",
                        where, l, type ? type : "");
        if (sliding && !window)
            return fail(TRAWL_FORMAT, "%s: layer %zu is sliding_attention, but there is no sliding_window", where, l);
        c->nn.window[l] = sliding ? (uint32_t)window : 0;
    }
    return TRAWL_OK;
}

static enum trawl_status set_windows(struct model_config *c, const json_t *json, const char *where)
{
    size_t window, from = 0, pattern = 0;
    bool use = true;
    enum family_window kind = c->family->window;
    if (kind == WINDOW_NONE)
        return TRAWL_OK;
    TRY(json_get_count(&window, json, "sliding_window", kind == WINDOW_PATTERNED ? 4096 : 0, where));
    if (window > POSITIONS_MAX)
        window = 0;
    if (kind == WINDOW_SWITCHED) {
        TRY(json_get_bool(&use, json, "use_sliding_window", false, where));
        TRY(json_get_count(&from, json, "max_window_layers", 28, where));
        if (!use)
            window = 0;
    }
    if (c->bidirectional && window) /* the window then reaches half to each side */
        window = window / 2 + 1;
    const json_t *types = json_object_get(json, "layer_types");
    if (json_is_array(types) && (use || kind != WINDOW_SWITCHED))
        return windows_by_types(c, types, window, where);
    if (kind == WINDOW_PATTERNED) {
        TRY(json_get_count(&pattern, json, "sliding_window_pattern", 6, where));
        if (!pattern)
            return fail(TRAWL_FORMAT, "%s: 'sliding_window_pattern' is 0", where);
    }
    for (size_t l = 0; l < c->nn.L; l++) {
        bool sliding = kind == WINDOW_PATTERNED ? (l + 1) % pattern != 0 : l >= from;
        c->nn.window[l] = sliding ? (uint32_t)window : 0;
    }
    return TRAWL_OK;
}

/* ---- the rest ---- */

static enum trawl_status set_activation(struct model_config *c, const json_t *json, const char *where)
{
    const char *name;
    TRY(json_get_text(&name, NULL, json, "hidden_activation", where));
    if (!name)
        TRY(json_get_text(&name, NULL, json, "hidden_act", where));
    return family_activation(&c->nn.activation, name ? name : c->family->activation_default, where);
}

static enum trawl_status set_decoder(struct model_config *c, const json_t *json, const char *where)
{
    struct nn_config *n = &c->nn;
    const struct family *f = c->family;
    double eps, scalar, cap;
    bool bias, mlp_bias;
    TRY(json_get_count(&n->K, json, "num_key_value_heads", n->H, where));
    TRY(json_get_count(&n->D, json, "head_dim", f->head_dim_default ? f->head_dim_default : n->C / n->H, where));
    TRY(json_get_number(&eps, json, "rms_norm_eps", f->norm_eps_default, where));
    TRY(json_get_bool(&n->tied_head, json, "tie_word_embeddings", f->tied_default, where));
    TRY(json_get_bool(&bias, json, "attention_bias", false, where));
    TRY(json_get_bool(&mlp_bias, json, "mlp_bias", false, where));
    if (mlp_bias)
        return fail(TRAWL_UNSUPPORTED, "%s: mlp_bias is not supported", where);
    c->qkv_bias = f->qkv_bias || bias;
    c->o_bias = bias;
    n->norm_eps = (float)eps;
    n->gated = n->has_head = true;
    TRY(json_get_number(&scalar, json, "query_pre_attn_scalar", f->window == WINDOW_PATTERNED ? 256 : 0, where));
    n->attention_scale = (float)(1.0 / sqrt(scalar > 0 ? scalar : (double)n->D));
    n->embedding_scale = f->norm_plus_one ? sqrtf((float)n->C) : 1.0f;
    TRY(json_get_number(&cap, json, "attn_logit_softcapping", 0, where));
    n->attention_cap = (float)cap;
    TRY(json_get_number(&cap, json, "final_logit_softcapping", 0, where));
    n->logit_cap = (float)cap;
    TRY(json_get_bool(&c->bidirectional, json, "use_bidirectional_attention", false, where));
    TRY(config_check(c, where));
    TRY(set_windows(c, json, where));
    return set_rope(c, json, where);
}

static enum trawl_status set_encoder(struct model_config *c, const json_t *json, const char *where)
{
    struct nn_config *n = &c->nn;
    const char *kind;
    double eps;
    bool decoder;
    size_t pad;
    TRY(json_get_text(&kind, NULL, json, "position_embedding_type", where));
    if (kind && strcmp(kind, "absolute") != 0)
        return fail(TRAWL_UNSUPPORTED, "%s: position_embedding_type '%s' is not supported (only absolute)", where,
                    kind);
    TRY(json_get_bool(&decoder, json, "is_decoder", false, where));
    if (decoder)
        return fail(TRAWL_UNSUPPORTED, "%s: a BERT that is a decoder is not supported", where);
    n->K = n->H;
    n->D = n->C / n->H;
    if (n->D * n->H != n->C)
        return fail(TRAWL_FORMAT, "%s: hidden_size %zu is no multiple of %zu heads", where, n->C, n->H);
    TRY(json_get_number(&eps, json, "layer_norm_eps", c->family->norm_eps_default, where));
    TRY(json_get_count(&n->token_types, json, "type_vocab_size", 2, where));
    n->norm_eps = (float)eps;
    n->attention_scale = (float)(1.0 / sqrt((double)n->D));
    n->embedding_scale = 1.0f;
    n->rope_scale[0] = n->rope_scale[1] = 1.0f;
    n->encoder = true;
    n->norm = NN_LAYER_NORM;
    c->qkv_bias = c->o_bias = 1;
    if (strcmp(c->family->name, "bert") != 0) { /* RoBERTa counts positions from the padding id on */
        TRY(json_get_count(&pad, json, "pad_token_id", 1, where));
        c->position_skip = pad + 1;
        if (c->position_skip >= n->positions)
            return fail(TRAWL_FORMAT, "%s: %zu positions leave none after the padding id %zu", where, n->positions,
                        pad);
        n->positions -= c->position_skip;
    }
    return config_check(c, where);
}

static enum trawl_status find_family(struct model_config *c, const json_t **json, const char *where)
{
    const char *type;
    const json_t *text;
    if (!json_is_object(*json))
        return fail(TRAWL_FORMAT, "%s is not a JSON object", where);
    TRY(json_get_text(&type, NULL, *json, "model_type", where));
    if (!type)
        return fail(TRAWL_FORMAT, "%s has no 'model_type'", where);
    c->family = family_by_model_type(type);
    if (!c->family)
        return fail(TRAWL_UNSUPPORTED, "%s: model type '%s' is not supported (known families: %s)", where, type,
                    family_names());
    const json_t *architecture = json_array_get(json_object_get(*json, "architectures"), 0);
    const char *name = json_string_value(architecture);
    size_t n = name ? strlen(name) : 0;
    c->headless = n > 5 && !strcmp(name + n - 5, "Model");
    /* models that also see images keep the language model's part in an object of its own */
    TRY(get_object(&text, *json, "text_config", where));
    if (text)
        *json = text;
    return TRAWL_OK;
}

enum trawl_status config_from_json(struct model_config *c, const json_t *json, const char *where)
{
    *c = (struct model_config){0};
    struct nn_config *n = &c->nn;
    const json_t *quantization;
    TRY(find_family(c, &json, where));
    TRY(get_object(&quantization, json, "quantization_config", where));
    if (quantization)
        return fail(TRAWL_UNSUPPORTED,
                    "%s: the weights are quantised in a way that is not supported (quantization_config)", where);
    bool gemma = c->family->window == WINDOW_PATTERNED;
    TRY(need_count(&n->C, json, "hidden_size", where));
    TRY(need_count(&n->L, json, "num_hidden_layers", where));
    TRY(need_count(&n->F, json, "intermediate_size", where));
    TRY(json_get_count(&n->H, json, "num_attention_heads", gemma ? 8 : 0, where));
    TRY(json_get_count(&n->V, json, "vocab_size", gemma ? 262208 : 0, where));
    TRY(json_get_count(&n->positions, json, "max_position_embeddings", gemma ? 131072 : 0, where));
    if (!n->H || !n->V || !n->positions)
        return fail(TRAWL_FORMAT, "%s: '%s' is missing or 0", where,
                    !n->H ? "num_attention_heads" : (!n->V ? "vocab_size" : "max_position_embeddings"));
    TRY(json_get_text(&c->dtype, NULL, json, "dtype", where));
    if (!c->dtype)
        TRY(json_get_text(&c->dtype, NULL, json, "torch_dtype", where));
    n->qk_norm = c->family->qk_norm;
    n->sandwich_norm = c->family->sandwich_norm;
    TRY(set_activation(c, json, where));
    return c->family->encoder ? set_encoder(c, json, where) : set_decoder(c, json, where);
}
