/*
 * Weights from a source into packed form: q, k, v of a layer become one matrix, gate and up are interleaved slice by
 * slice (so that a slice's activation can be taken while it is in cache), each matrix is converted to the precision of
 * its role and packed by the role's plan. Layers are independent and are packed in parallel.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "math/format.h"
#include "math/isa.h"
#include "nn_int.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct nn_config *nn_model_config(const struct nn_model *model)
{
    return &model->config;
}

enum nn_precision nn_model_precision(const struct nn_model *model)
{
    return model->precision;
}

enum nn_precision nn_precision_best(void)
{
    bool fast = isa_has(ISA_BF16) || isa_has(ISA_AMX_BF16);
    return fast && matmul_supports(MATMUL_BF16) ? NN_BF16 : NN_F32;
}

static enum trawl_status check_finite(const float *x, size_t n, size_t layer, enum nn_tensor tensor)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return fail(TRAWL_FORMAT,
                        "tensor %s of layer %zu holds a value that is not finite (%f): the file is damaged",
                        nn_tensor_name(tensor), layer, (double)x[i]);
    return TRAWL_OK;
}

static enum trawl_status read_rows(const struct nn_model *m, float *out, size_t layer, enum nn_tensor tensor,
                                   size_t begin, size_t end)
{
    size_t rows, cols;
    nn_tensor_shape(&m->config, tensor, &rows, &cols, NULL);
    TRY(m->source.read(m->source.ctx, out, layer, tensor, begin, end));
    return check_finite(out, (end - begin) * cols, layer, tensor);
}

static bool have(const struct nn_model *m, size_t layer, enum nn_tensor tensor)
{
    enum nn_presence presence = nn_tensor_presence(&m->config, tensor);
    return presence == NN_REQUIRED || (presence == NN_OPTIONAL && m->source.has(m->source.ctx, layer, tensor));
}

/* A whole small tensor, or NULL where the model has none. */
static enum trawl_status read_whole(float **out, const struct nn_model *m, size_t layer, enum nn_tensor tensor)
{
    size_t rows, cols;
    *out = NULL;
    if (!have(m, layer, tensor))
        return TRAWL_OK;
    nn_tensor_shape(&m->config, tensor, &rows, &cols, NULL);
    *out = mem_aligned(rows * cols, sizeof **out);
    return *out ? read_rows(m, *out, layer, tensor, 0, rows) : mem_status();
}

/* Rows of one tensor that stand in a packed matrix. */
struct part {
    enum nn_tensor weight, bias;
    size_t begin, end;
};

static size_t parts_of(struct part parts[3], const struct nn_model *m, enum nn_role role, size_t slice)
{
    const struct nn_config *c = &m->config;
    size_t f = m->shape[NN_UP].N / (c->gated ? 2 : 1), n = 0;
    switch (role) {
    case NN_QKV:
        parts[n++] = (struct part){NN_T_Q, NN_T_Q_BIAS, 0, c->H * c->D};
        parts[n++] = (struct part){NN_T_K, NN_T_K_BIAS, 0, c->K * c->D};
        parts[n++] = (struct part){NN_T_V, NN_T_V_BIAS, 0, c->K * c->D};
        break;
    case NN_O:
        parts[n++] = (struct part){NN_T_O, NN_T_O_BIAS, 0, c->C};
        break;
    case NN_UP:
        if (c->gated)
            parts[n++] = (struct part){NN_T_GATE, NN_T_COUNT, slice * f, (slice + 1) * f};
        parts[n++] = (struct part){NN_T_UP, NN_T_UP_BIAS, slice * f, (slice + 1) * f};
        break;
    case NN_DOWN:
        parts[n++] = (struct part){NN_T_DOWN, NN_T_DOWN_BIAS, 0, c->C};
        break;
    case NN_ROLES:
        break;
    }
    return n;
}

/* Symmetric per output row; zero = 128 * sum of the row undoes the offset of the activations. */
static void quantise_row(int8_t *q, float *scale, int32_t *zero, const float *w, size_t K, int limit)
{
    float top = 0;
    int32_t sum = 0;
    for (size_t k = 0; k < K; k++)
        top = fmaxf(top, fabsf(w[k]));
    float inverse = top > 0 ? (float)limit / top : 0;
    for (size_t k = 0; k < K; k++) {
        q[k] = (int8_t)lrintf(w[k] * inverse);
        sum += q[k];
    }
    *scale = top / (float)limit;
    *zero = 128 * sum;
}

/* W (N,K) f32 -> the kind's type, in place where it is smaller. */
static void convert(void *out, struct linear *linear, size_t first, const float *W, const struct linear_shape *shape)
{
    int limit = shape->kind == MATMUL_INT8 ? matmul_int8_weight_max() : 0;
    for (size_t r = 0; r < shape->N; r++) {
        const float *row = W + r * shape->K;
        if (shape->kind == MATMUL_INT8)
            quantise_row((int8_t *)out + r * shape->K, &linear->scale[first + r], &linear->zero[first + r], row,
                         shape->K, limit);
        else
            nn_kernels()->to_bf16((uint16_t *)out + r * shape->K, row, shape->K);
    }
}

static enum trawl_status linear_init(struct linear *linear, const struct linear_shape *shape)
{
    size_t rows = shape->n * shape->N;
    linear->slices = mem_array(shape->n, sizeof *linear->slices);
    if (!linear->slices)
        return mem_status();
    if (shape->kind != MATMUL_INT8)
        return TRAWL_OK;
    linear->scale = mem_aligned(rows, sizeof *linear->scale);
    linear->zero = mem_aligned(rows, sizeof *linear->zero);
    return linear->scale && linear->zero ? TRAWL_OK : mem_status();
}

static void linear_release(struct linear *linear, const struct linear_shape *shape)
{
    for (size_t s = 0; linear->slices && s < shape->n; s++)
        matmul_weights_free(linear->slices[s]);
    free(linear->slices);
    free(linear->scale), free(linear->bias), free(linear->zero);
    *linear = (struct linear){0};
}

/* W: room for (N,K) f32; `small` as much again for the converted rows. */
static enum trawl_status pack_slice(struct linear *linear, const struct linear_shape *shape, size_t slice,
                                    const float *W, void *small)
{
    if (shape->kind == MATMUL_F32)
        return matmul_weights_new(&linear->slices[slice], shape->plan, W);
    convert(small, linear, slice * shape->N, W, shape);
    return matmul_weights_new(&linear->slices[slice], shape->plan, small);
}

static const float *smooth_of(const struct nn_model *m, size_t layer, enum nn_role role)
{
    return m->smooth ? m->smooth + layer * nn_inputs(&m->config) + nn_inputs_before(&m->config, role) : NULL;
}

/* Where the input of another product is made by these rows (v: output projection, up: down), its factor: else 1. */
static float row_factor(const struct nn_model *m, size_t layer, enum nn_tensor tensor, size_t row)
{
    const struct nn_config *c = &m->config;
    if (m->smooth && tensor == NN_T_V)
        return 1.0f / smooth_of(m, layer, NN_O)[row / c->D * (c->H / c->K) * c->D + row % c->D];
    if (m->smooth && tensor == NN_T_UP)
        return 1.0f / smooth_of(m, layer, NN_DOWN)[row];
    return 1.0f;
}

static enum trawl_status read_bias(struct nn_model *m, struct linear *linear, size_t layer, enum nn_role role)
{
    const struct linear_shape *shape = &m->shape[role];
    struct part parts[3];
    for (size_t s = 0; s < shape->n; s++) {
        size_t n = parts_of(parts, m, role, s), row = s * shape->N;
        for (size_t p = 0; p < n; row += parts[p].end - parts[p].begin, p++) {
            if (parts[p].bias == NN_T_COUNT || !have(m, layer, parts[p].bias))
                continue;
            if (!linear->bias)
                linear->bias = mem_array(shape->n * shape->N, sizeof *linear->bias);
            float *whole;
            if (!linear->bias)
                return mem_status();
            TRY(read_whole(&whole, m, layer, parts[p].bias));
            for (size_t r = parts[p].begin; r < parts[p].end; r++)
                linear->bias[row + r - parts[p].begin] = whole[r] * row_factor(m, layer, parts[p].weight, r);
            free(whole);
        }
    }
    return TRAWL_OK;
}

static void smooth_rows(const struct nn_model *m, float *W, size_t layer, enum nn_role role, const struct part *part)
{
    const float *columns = smooth_of(m, layer, role);
    size_t K = m->shape[role].K;
    for (size_t r = part->begin; columns && r < part->end; r++, W += K) {
        float factor = row_factor(m, layer, part->weight, r);
        for (size_t k = 0; k < K; k++)
            W[k] *= columns[k] * factor;
    }
}

static enum trawl_status pack_linear(struct nn_model *m, size_t layer, enum nn_role role, float *W, void *small)
{
    const struct linear_shape *shape = &m->shape[role];
    struct linear *linear = &m->layers[layer].linear[role];
    struct part parts[3];
    TRY(linear_init(linear, shape));
    for (size_t s = 0; s < shape->n; s++) {
        size_t n = parts_of(parts, m, role, s), row = 0;
        for (size_t p = 0; p < n; row += parts[p].end - parts[p].begin, p++) {
            TRY(read_rows(m, W + row * shape->K, layer, parts[p].weight, parts[p].begin, parts[p].end));
            smooth_rows(m, W + row * shape->K, layer, role, &parts[p]);
        }
        assert(row == shape->N);
        TRY(pack_slice(linear, shape, s, W, small));
    }
    return read_bias(m, linear, layer, role);
}

static enum trawl_status pack_layer(struct nn_model *m, size_t l)
{
    enum trawl_status status = TRAWL_OK;
    struct layer *layer = &m->layers[l];
    size_t most = 0;
    for (int r = 0; r < NN_ROLES; r++)
        most = m->shape[r].N * m->shape[r].K > most ? m->shape[r].N * m->shape[r].K : most;
    float *W = mem_aligned(most, sizeof *W);
    void *small = mem_aligned(most, 2);
    if (!W || !small) {
        status = mem_status();
        goto out;
    }
    for (int r = 0; r < NN_ROLES; r++)
        TRY_OUT(pack_linear(m, l, (enum nn_role)r, W, small));
    TRY_OUT(read_whole(&layer->attn_norm, m, l, NN_T_ATTN_NORM));
    TRY_OUT(read_whole(&layer->attn_norm_bias, m, l, NN_T_ATTN_NORM_BIAS));
    TRY_OUT(read_whole(&layer->mlp_norm, m, l, NN_T_MLP_NORM));
    TRY_OUT(read_whole(&layer->mlp_norm_bias, m, l, NN_T_MLP_NORM_BIAS));
    if (m->smooth && m->config.encoder) {
        layer->qkv_factor = mem_array(m->config.C, sizeof *layer->qkv_factor);
        layer->up_factor = mem_array(m->config.C, sizeof *layer->up_factor);
        if (!layer->qkv_factor || !layer->up_factor) {
            status = mem_status();
            goto out;
        }
        for (size_t i = 0; i < m->config.C; i++) {
            layer->qkv_factor[i] = 1.0f / smooth_of(m, l, NN_QKV)[i];
            layer->up_factor[i] = 1.0f / smooth_of(m, l, NN_UP)[i];
        }
    }
    for (size_t i = 0; m->smooth && !m->config.encoder && i < m->config.C; i++) {
        layer->attn_norm[i] /= smooth_of(m, l, NN_QKV)[i];
        layer->mlp_norm[i] /= smooth_of(m, l, NN_UP)[i];
    }
    TRY_OUT(read_whole(&layer->q_norm, m, l, NN_T_Q_NORM));
    TRY_OUT(read_whole(&layer->k_norm, m, l, NN_T_K_NORM));
    TRY_OUT(read_whole(&layer->post_attn_norm, m, l, NN_T_POST_ATTN_NORM));
    TRY_OUT(read_whole(&layer->post_mlp_norm, m, l, NN_T_POST_MLP_NORM));
out:
    free(W);
    free(small);
    return status;
}

/* Pieces of loading that run in parallel; the first failure is kept, its message lives in the thread that had it. */
struct load {
    struct nn_model *model;
    pthread_mutex_t lock;
    enum trawl_status status;
    char message[400];
};

static void load_done(struct load *load, enum trawl_status status)
{
    if (status == TRAWL_OK)
        return;
    pthread_mutex_lock(&load->lock);
    if (load->status == TRAWL_OK) {
        load->status = status;
        snprintf(load->message, sizeof load->message, "%s", trawl_message());
    }
    pthread_mutex_unlock(&load->lock);
}

static enum trawl_status load_run(struct nn_model *model, size_t n, pool_fn fn)
{
    struct load load = {.model = model, .lock = PTHREAD_MUTEX_INITIALIZER};
    pool_run(n, 1, fn, &load);
    return load.status ? fail(load.status, "%s", load.message) : TRAWL_OK;
}

static void load_layers(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct load *load = ctx;
    (void)worker;
    for (size_t l = begin; l < end; l++)
        load_done(load, pack_layer(load->model, l));
}

/* The fewest slices that divide F and are at most NN_SLICE wide; one when there are none below 64. */
static size_t mlp_slices(const struct nn_config *c)
{
    size_t width = c->gated ? 2 * c->F : c->F;
    for (size_t n = 1; n <= 64; n++)
        if (c->F % n == 0 && width / n <= NN_SLICE && c->F / n % 16 == 0)
            return n;
    return 1;
}

static enum trawl_status plan_products(struct nn_model *m)
{
    const struct nn_config *c = &m->config;
    static const enum matmul_kind kinds[] = {MATMUL_F32, MATMUL_BF16, MATMUL_INT8};
    enum matmul_kind kind = kinds[m->precision], down = kind;
    size_t n = mlp_slices(c);
    /* The inputs of a gated MLP's second half are products and have the largest outliers: in int8, even smoothed, Gemma
     * falls to cosine 0.984 and with this half wide keeps 0.995. Encoders keep 0.997 with all in int8. */
    if (kind == MATMUL_INT8 && c->gated)
        down = matmul_supports(MATMUL_BF16) ? MATMUL_BF16 : MATMUL_F32;
    m->shape[NN_QKV] = (struct linear_shape){kind, 1, qkv_width(c), c->C, NULL};
    m->shape[NN_O] = (struct linear_shape){kind, 1, c->C, c->H * c->D, NULL};
    m->shape[NN_UP] = (struct linear_shape){kind, n, (c->gated ? 2 : 1) * c->F / n, c->C, NULL};
    m->shape[NN_DOWN] = (struct linear_shape){down, 1, c->C, c->F, NULL};
    for (int r = 0; r < NN_ROLES; r++) {
        struct linear_shape *s = &m->shape[r];
        TRY(matmul_plan_new(&s->plan, s->kind, NN_TILE, s->N, s->K));
    }
    return TRAWL_OK;
}

void nn_rope_fill(float *out, const struct nn_config *c, size_t table, size_t position)
{
    size_t half = c->D / 2;
    for (size_t i = 0; i < half; i++) {
        double angle = (double)position * (double)c->rope_inverse[table][i];
        out[i] = (float)cos(angle) * c->rope_scale[table];
        out[half + i] = (float)sin(angle) * c->rope_scale[table];
    }
}

const float *nn_rope_at(const struct nn_model *model, size_t table, size_t position, float *scratch)
{
    if (position < model->rope_positions)
        return model->rope[table] + position * model->config.D;
    nn_rope_fill(scratch, &model->config, table, position);
    return scratch;
}

static enum trawl_status rope_tables(struct nn_model *m)
{
    const struct nn_config *c = &m->config;
    bool used[2] = {false, false};
    for (size_t l = 0; l < c->L; l++)
        used[c->rope_table[l]] = true;
    m->rope_positions = c->positions < NN_ROPE_TABLE ? c->positions : NN_ROPE_TABLE;
    for (size_t t = 0; t < 2; t++) {
        if (!used[t])
            continue;
        m->rope[t] = mem_aligned(m->rope_positions * c->D, sizeof *m->rope[t]);
        if (!m->rope[t])
            return mem_status();
        for (size_t p = 0; p < m->rope_positions; p++)
            nn_rope_fill(m->rope[t] + p * c->D, c, t, p);
    }
    return TRAWL_OK;
}

enum trawl_status nn_config_check(const struct nn_config *c)
{
    if (!c->L || c->L > NN_LAYERS_MAX || !c->C || !c->H || !c->K || c->H % c->K || !c->D || c->D % 2 ||
        c->D > NN_HEAD_DIM_MAX || !c->F || !c->V || !c->positions)
        return fail(TRAWL_UNSUPPORTED,
                    "a model of %zu layers, width %zu, %zu heads, %zu key/value heads of %zu, %zu inner, %zu tokens is "
                    "beyond this program",
                    c->L, c->C, c->H, c->K, c->D, c->F, c->V);
    for (size_t l = 0; l < c->L; l++)
        if (c->rope_table[l] > 1)
            return fail(TRAWL_FORMAT, "layer %zu asks for rotary table %u of 2", l, c->rope_table[l]);
    return TRAWL_OK;
}

enum trawl_status nn_model_new(struct nn_model **out, const struct nn_source *source, enum nn_precision precision)
{
    enum trawl_status status = TRAWL_OK;
    *out = NULL;
    TRY(nn_config_check(source->config));
    if (precision == NN_BF16 && !matmul_supports(MATMUL_BF16))
        return fail(TRAWL_UNSUPPORTED, "this processor cannot compute in bf16 (it needs AVX-512): ask for f32 or int8");
    struct nn_model *m = mem_array(1, sizeof *m);
    if (!m)
        return mem_status();
    m->config = *source->config;
    m->source = *source;
    m->precision = precision;
    m->tiles = precision == NN_F32 ? NULL : nn_tile_kernels();
    pthread_mutex_init(&m->head_lock, NULL);
    m->layers = mem_array(m->config.L, sizeof *m->layers);
    if (!m->layers) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(plan_products(m));
    if (precision == NN_INT8)
        TRY_OUT(nn_smooth_new(&m->smooth, source));
    TRY_OUT(load_run(m, m->config.L, load_layers));
    TRY_OUT(read_whole(&m->position_embed, m, 0, NN_T_POSITION_EMBED));
    TRY_OUT(read_whole(&m->type_embed, m, 0, NN_T_TYPE_EMBED));
    TRY_OUT(read_whole(&m->embed_norm, m, 0, NN_T_EMBED_NORM));
    TRY_OUT(read_whole(&m->embed_norm_bias, m, 0, NN_T_EMBED_NORM_BIAS));
    TRY_OUT(read_whole(&m->final_norm, m, 0, NN_T_FINAL_NORM));
    TRY_OUT(read_whole(&m->final_norm_bias, m, 0, NN_T_FINAL_NORM_BIAS));
    if (!m->config.encoder)
        TRY_OUT(rope_tables(m));
    free(m->smooth);
    m->smooth = NULL;
out:
    if (status)
        nn_model_free(m);
    else
        *out = m;
    return status;
}

/* One slice of the vocabulary; the last one is filled up with rows of zeros. */
static enum trawl_status pack_head_slice(struct nn_model *m, size_t slice)
{
    const struct linear_shape *s = &m->head_shape;
    enum nn_tensor tensor = m->config.tied_head ? NN_T_EMBED : NN_T_HEAD;
    size_t begin = slice * s->N, end = begin + s->N < m->config.V ? begin + s->N : m->config.V;
    float *W = mem_array(s->N * s->K, sizeof *W);
    void *small = mem_aligned(s->N * s->K, 2);
    enum trawl_status status = W && small ? read_rows(m, W, 0, tensor, begin, end) : mem_status();
    if (status == TRAWL_OK)
        status = pack_slice(&m->head, s, slice, W, small);
    free(W);
    free(small);
    return status;
}

static void load_head(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct load *load = ctx;
    (void)worker;
    for (size_t s = begin; s < end; s++)
        load_done(load, pack_head_slice(load->model, s));
}

static enum trawl_status head_pack(struct nn_model *m)
{
    bool narrow = m->precision != NN_F32 && matmul_supports(MATMUL_BF16);
    size_t N = m->config.V < NN_HEAD_SLICE ? m->config.V : NN_HEAD_SLICE;
    if (!m->config.has_head)
        return fail(TRAWL_UNSUPPORTED, "this model is an encoder: it has no language-model head");
    if (!m->head_shape.plan) {
        m->head_shape =
            (struct linear_shape){narrow ? MATMUL_BF16 : MATMUL_F32, (m->config.V + N - 1) / N, N, m->config.C, NULL};
        TRY(matmul_plan_new(&m->head_shape.plan, m->head_shape.kind, NN_TILE, N, m->config.C));
    }
    linear_release(&m->head, &m->head_shape);
    TRY(linear_init(&m->head, &m->head_shape));
    return load_run(m, m->head_shape.n, load_head);
}

enum trawl_status nn_head_prepare(struct nn_model *model)
{
    enum trawl_status status = TRAWL_OK;
    pthread_mutex_lock(&model->head_lock);
    if (!model->head_ready) {
        status = head_pack(model);
        model->head_ready = status == TRAWL_OK;
    }
    pthread_mutex_unlock(&model->head_lock);
    return status;
}

void nn_model_free(struct nn_model *m)
{
    if (!m)
        return;
    for (size_t l = 0; m->layers && l < m->config.L; l++) {
        struct layer *layer = &m->layers[l];
        for (int r = 0; r < NN_ROLES; r++)
            linear_release(&layer->linear[r], &m->shape[r]);
        free(layer->attn_norm), free(layer->attn_norm_bias), free(layer->mlp_norm), free(layer->mlp_norm_bias);
        free(layer->qkv_factor), free(layer->up_factor);
        free(layer->q_norm), free(layer->k_norm), free(layer->post_attn_norm), free(layer->post_mlp_norm);
    }
    free(m->layers);
    free(m->smooth);
    linear_release(&m->head, &m->head_shape);
    matmul_plan_free(m->head_shape.plan);
    for (int r = 0; r < NN_ROLES; r++)
        matmul_plan_free(m->shape[r].plan);
    free(m->position_embed), free(m->type_embed), free(m->embed_norm), free(m->embed_norm_bias);
    free(m->final_norm), free(m->final_norm_bias), free(m->rope[0]), free(m->rope[1]);
    pthread_mutex_destroy(&m->head_lock);
    free(m);
}
