/*
 * From token states to a text's vector: pooling, Dense modules, Matryoshka truncation, normalisation. Sums run in
 * double over a fixed order, so a text's bits depend on its own states alone.
 */
#include "encode_int.h"
#include <math.h>
#include <string.h>

static void copy_row(double *sum, const float *hidden, size_t t, size_t C)
{
    for (size_t c = 0; c < C; c++)
        sum[c] = (double)hidden[t * C + c];
}

/* Weights 1, or the position from 1 (Muennighoff 2022, SGPT, eq. 2), over their sum. */
static void mean_rows(double *sum, const float *hidden, const struct row *row, bool by_position, size_t C)
{
    double total = 0.0;
    memset(sum, 0, C * sizeof *sum);
    for (size_t t = row->pool_begin; t < row->pool_end; t++) {
        double w = by_position ? (double)(t + 1) : 1.0;
        const float *h = hidden + t * C;
        total += w;
        for (size_t c = 0; c < C; c++)
            sum[c] += w * (double)h[c];
    }
    for (size_t c = 0; c < C; c++)
        sum[c] /= total;
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

static void normalise(float *x, size_t D)
{
    double norm = 0.0;
    for (size_t d = 0; d < D; d++)
        norm += (double)x[d] * (double)x[d];
    norm = sqrt(norm);
    if (norm < 1e-12)
        norm = 1e-12;
    for (size_t d = 0; d < D; d++)
        x[d] = (float)((double)x[d] / norm);
}

void pool_row(float *out, const float *hidden, const struct row *row, const struct side *side, const struct encoder *e,
              struct worker *worker)
{
    size_t C = e->config->C;
    float *x = worker->dense[0], *y = worker->dense[1];
    if (side->pooling == POOL_FIRST)
        copy_row(worker->sum, hidden, side->contract.special_pooled ? 0 : row->pool_begin, C);
    else if (side->pooling == POOL_LAST)
        copy_row(worker->sum, hidden, row->pool_end - 1, C);
    else
        mean_rows(worker->sum, hidden, row, side->pooling == POOL_WEIGHTED_MEAN, C);
    for (size_t c = 0; c < C; c++)
        x[c] = (float)worker->sum[c];
    for (size_t i = 0; i < e->modules->n_dense; i++) {
        dense_forward(y, x, &e->modules->dense[i]);
        float *swap = x;
        x = y;
        y = swap;
    }
    memcpy(out, x, side->contract.dims * sizeof *out);
    if (side->l2)
        normalise(out, side->contract.dims);
}
