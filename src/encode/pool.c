/*
 * From token states to a text's vector: pooling, Dense modules, Matryoshka truncation, normalisation. Sums run in
 * double over a fixed order, so a text's bits depend on its own states alone.
 */
#include "encode_int.h"
#include <math.h>
#include <string.h>

static bool is_single(const struct pool_shape *shape, size_t *token)
{
    *token = shape->pooling == POOL_FIRST ? shape->first : shape->end - 1;
    return shape->pooling == POOL_FIRST || shape->pooling == POOL_LAST;
}

/* Weights 1, or the position from 1 (Muennighoff 2022, SGPT, eq. 2), over their sum. */
static double weight_of(const struct pool_shape *shape, size_t token)
{
    return shape->pooling == POOL_WEIGHTED_MEAN ? (double)(token + 1) : 1.0;
}

void pool_forward(float *y, double *sum, const float *hidden, const struct pool_shape *shape, size_t C)
{
    size_t token;
    double total = 0.0;
    if (is_single(shape, &token)) {
        memcpy(y, hidden + token * C, C * sizeof *y);
        return;
    }
    memset(sum, 0, C * sizeof *sum);
    for (size_t t = shape->begin; t < shape->end; t++) {
        double w = weight_of(shape, t);
        const float *h = hidden + t * C;
        total += w;
        for (size_t c = 0; c < C; c++)
            sum[c] += w * (double)h[c];
    }
    for (size_t c = 0; c < C; c++)
        y[c] = (float)(sum[c] / total);
}

void pool_backward(float *dhidden, const float *dy, const struct pool_shape *shape, size_t n, size_t C)
{
    size_t token;
    double total = 0.0;
    memset(dhidden, 0, n * C * sizeof *dhidden);
    if (is_single(shape, &token)) {
        memcpy(dhidden + token * C, dy, C * sizeof *dy);
        return;
    }
    for (size_t t = shape->begin; t < shape->end; t++)
        total += weight_of(shape, t);
    for (size_t t = shape->begin; t < shape->end; t++) {
        double w = weight_of(shape, t) / total;
        float *dh = dhidden + t * C;
        for (size_t c = 0; c < C; c++)
            dh[c] = (float)(w * (double)dy[c]);
    }
}

/* y (out) = activation(W x + b), each output one dot product in eight sums of fixed order. */
static void dense_forward(float *y, const float *x, const struct model_dense *dense)
{
    for (size_t o = 0; o < dense->out; o++) {
        const float *w = dense->weight + o * dense->in;
        double sum[8] = {0.0};
        size_t i = 0;
        for (; i + 8 <= dense->in; i += 8)
            for (size_t k = 0; k < 8; k++)
                sum[k] += (double)w[i + k] * (double)x[i + k];
        for (; i < dense->in; i++)
            sum[0] += (double)w[i] * (double)x[i];
        double y64 = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        y64 += dense->bias ? (double)dense->bias[o] : 0.0;
        y[o] = (float)(dense->tanh ? tanh(y64) : y64);
    }
}

double unit_forward(float *x, size_t D)
{
    double norm = 0.0;
    for (size_t d = 0; d < D; d++)
        norm += (double)x[d] * (double)x[d];
    norm = sqrt(norm);
    if (norm < 1e-12)
        norm = 1e-12;
    for (size_t d = 0; d < D; d++)
        x[d] = (float)((double)x[d] / norm);
    return norm;
}

void unit_backward(float *dx, const float *dy, const float *y, double length, size_t D)
{
    double dot = 0.0;
    for (size_t d = 0; d < D; d++)
        dot += (double)y[d] * (double)dy[d];
    for (size_t d = 0; d < D; d++)
        dx[d] = (float)(((double)dy[d] - (double)y[d] * dot) / length);
}

struct pool_shape side_pool_shape(const struct side *side, const struct row *row)
{
    return (struct pool_shape){.pooling = side->pooling,
                               .begin = row->pool_begin,
                               .end = row->pool_end,
                               .first = side->contract.special_pooled ? 0 : row->pool_begin};
}

void pool_row(float *out, const float *hidden, const struct row *row, const struct side *side, const struct encoder *e,
              struct worker *worker)
{
    size_t C = e->config->C;
    float *x = worker->dense[0], *y = worker->dense[1];
    struct pool_shape shape = side_pool_shape(side, row);
    pool_forward(x, worker->sum, hidden, &shape, C);
    for (size_t i = 0; i < e->modules->n_dense; i++) {
        dense_forward(y, x, &e->modules->dense[i]);
        float *swap = x;
        x = y;
        y = swap;
    }
    memcpy(out, x, side->contract.dims * sizeof *out);
    if (side->l2)
        unit_forward(out, side->contract.dims);
}
