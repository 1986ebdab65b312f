/*
 * Which parameters are trained and where they lie: the table, the block of values (read from the source, or drawn for
 * LoRA), places in lanes, and frozen copies of the small tensors that are not trained.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "train_int.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool train_has(const struct nn_train *t, size_t layer, enum nn_tensor tensor)
{
    enum nn_presence presence = nn_tensor_presence(&t->config, tensor);
    return presence == NN_REQUIRED || (presence == NN_OPTIONAL && t->source.has(t->source.ctx, layer, tensor));
}

enum trawl_status train_read(const struct nn_train *t, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                             size_t end)
{
    size_t rows, cols;
    nn_tensor_shape(&t->config, tensor, &rows, &cols, NULL);
    TRY(t->source.read(t->source.ctx, out, layer, tensor, begin, end));
    for (size_t i = 0; i < (end - begin) * cols; i++)
        if (!isfinite(out[i]))
            return fail(TRAWL_FORMAT,
                        "tensor %s of layer %zu holds a value that is not finite (%f): the file is damaged",
                        nn_tensor_name(tensor), layer, (double)out[i]);
    return TRAWL_OK;
}

static bool is_table(enum nn_tensor tensor)
{
    return tensor == NN_T_EMBED || tensor == NN_T_POSITION_EMBED || tensor == NN_T_TYPE_EMBED;
}

/* Summed by lanes: everything but the matrices and the embedding tables. */
static bool by_lanes(const struct nn_param *p)
{
    return p->part != NN_WHOLE || (p->rows == 1 && !is_table(p->tensor));
}

static void add(struct nn_train *t, size_t *lane, struct nn_param param, size_t group)
{
    struct train_place *place = train_place(t, group, param.tensor, param.part == NN_LORA_B);
    param.offset = t->n;
    place->value = t->n;
    if (by_lanes(&param)) {
        place->lane = *lane;
        *lane += param.rows * param.cols;
    }
    t->n += param.rows * param.cols;
    t->table[t->n_table++] = param;
}

static void add_tensor(struct nn_train *t, size_t *lane, size_t group, enum nn_tensor tensor)
{
    size_t rows, cols, layer = group == t->config.L ? 0 : group, rank = t->lora.rank;
    bool per_layer;
    nn_tensor_shape(&t->config, tensor, &rows, &cols, &per_layer);
    if (per_layer != (group < t->config.L) || !train_has(t, layer, tensor))
        return;
    if (!rank) {
        add(t, lane, (struct nn_param){layer, tensor, NN_WHOLE, rows, cols, 0}, group);
    } else if (t->lora.targets >> tensor & 1u) {
        add(t, lane, (struct nn_param){layer, tensor, NN_LORA_A, rank, cols, 0}, group);
        add(t, lane, (struct nn_param){layer, tensor, NN_LORA_B, rows, rank, 0}, group);
    }
}

static enum trawl_status table_init(struct nn_train *t)
{
    size_t groups = t->config.L + 1, n = groups * NN_T_COUNT * 2;
    t->table = mem_array(n, sizeof *t->table);
    t->places = mem_array(n, sizeof *t->places);
    if (!t->table || !t->places)
        return mem_status();
    for (size_t i = 0; i < n; i++)
        t->places[i] = (struct train_place){TRAIN_NONE, TRAIN_NONE};
    for (size_t i = 0; i < groups; i++) {
        size_t lane = 0, group = i == 0 ? t->config.L : i - 1;
        for (int tensor = 0; tensor < NN_T_COUNT; tensor++)
            add_tensor(t, &lane, group, (enum nn_tensor)tensor);
        t->lane_floats = lane > t->lane_floats ? lane : t->lane_floats;
    }
    return TRAWL_OK;
}

/* Uniform in +-1/sqrt(columns): Kaiming's bound with the slope sqrt(5) that PyTorch's linear layers have. */
static void draw(float *values, const struct nn_param *p, uint64_t seed)
{
    struct rng rng = rng_stream(seed, 0, TRAIN_DRAW_INIT);
    double bound = 1 / sqrt((double)p->cols);
    rng.counter = p->offset;
    for (size_t i = 0; i < p->rows * p->cols; i++)
        values[p->offset + i] = (float)((2 * rng_uniform(&rng) - 1) * bound);
}

static enum trawl_status values_init(struct nn_train *t)
{
    t->values = train_take(t, t->n, sizeof *t->values);
    t->grads = train_take(t, t->n, sizeof *t->grads);
    t->lanes = train_take(t, t->lane_floats * TRAIN_LANES, sizeof *t->lanes);
    if (!t->values || !t->grads || !t->lanes)
        return mem_status();
    for (size_t i = 0; i < t->n_table; i++) {
        const struct nn_param *p = &t->table[i];
        if (p->part == NN_WHOLE)
            TRY(train_read(t, t->values + p->offset, p->layer, p->tensor, 0, p->rows));
        else if (p->part == NN_LORA_A)
            draw(t->values, p, t->options.seed);
    }
    return TRAWL_OK;
}

/* Norms, biases and the small embedding tables are used as they are: pointers to trained values or frozen copies. */
static enum trawl_status vector_init(struct nn_train *t, size_t group, enum nn_tensor tensor)
{
    size_t rows, cols, layer = group == t->config.L ? 0 : group, at = group * NN_T_COUNT + tensor;
    bool per_layer;
    nn_tensor_shape(&t->config, tensor, &rows, &cols, &per_layer);
    bool small = tensor != NN_T_EMBED && (rows == 1 || is_table(tensor));
    if (per_layer != (group < t->config.L) || !small || !train_has(t, layer, tensor))
        return TRAWL_OK;
    size_t value = train_place(t, group, tensor, false)->value;
    if (!t->lora.rank) {
        t->vectors[at] = t->values + value;
        return TRAWL_OK;
    }
    t->vectors[at] = train_take(t, rows * cols, sizeof **t->vectors);
    t->owned[at] = true;
    return t->vectors[at] ? train_read(t, t->vectors[at], layer, tensor, 0, rows) : mem_status();
}

enum trawl_status train_params_init(struct nn_train *t)
{
    size_t groups = t->config.L + 1;
    TRY(table_init(t));
    TRY(values_init(t));
    t->vectors = mem_array(groups * NN_T_COUNT, sizeof *t->vectors);
    t->owned = mem_array(groups * NN_T_COUNT, sizeof *t->owned);
    if (!t->vectors || !t->owned)
        return mem_status();
    for (size_t group = 0; group < groups; group++)
        for (int tensor = 0; tensor < NN_T_COUNT; tensor++)
            TRY(vector_init(t, group, (enum nn_tensor)tensor));
    return TRAWL_OK;
}
