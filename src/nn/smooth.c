/*
 * Smoothing of int8 models (Xiao et al. 2023, SmoothQuant). A token's inputs to a product share one scale, but in
 * language models a few channels are always far larger than the others, which then keep few bits. Such a channel can be
 * divided by a factor where it is made and its column of the weights multiplied by it, which changes nothing but the
 * rounding: inputs of q, k, v and of gate and up are made by an RMS norm's weights, inputs of the output projection by
 * the rows of v, inputs of down by the rows of up.
 *
 * The magnitudes are measured by a forward pass in f32 over pseudo-random tokens; the large channels are the same for
 * any text. Encoders feed a normed state to the residual sum as well, so
 * their inputs of q, k, v and up are divided when they are rounded; inputs of down, behind an activation that is not
 * linear, are left alone.
 */
#include "base/mem.h"
#include "nn_int.h"
#include <math.h>
#include <stdlib.h>

static const float exponent = 0.65f; /* 0.5 and 0.75 measured less good on SmolLM2, Gemma and Qwen2.5 */
enum { SAMPLE = NN_TILE };           /* one tile: a single worker writes the record */

static enum trawl_status record(float *magnitude, const struct nn_source *source)
{
    enum trawl_status status;
    const struct nn_config *c = source->config;
    struct nn_model *model = NULL;
    struct nn_run *run = NULL;
    uint32_t ids[SAMPLE], n = c->positions < SAMPLE ? (uint32_t)c->positions : SAMPLE, begin[2] = {0, n};
    float *hidden = mem_array(SAMPLE * c->C, sizeof *hidden);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (i + 1) * 2654435761u % (uint32_t)c->V;
    struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1, .attention = NN_CAUSAL};
    if (!hidden)
        return mem_status();
    TRY_OUT(nn_model_new(&model, source, NN_F32));
    TRY_OUT(nn_run_new(&run, model, n));
    run->record = magnitude;
    TRY_OUT(nn_forward(run, hidden, &batch));
out:
    nn_run_free(run);
    nn_model_free(model);
    free(hidden);
    return status;
}

/* Query heads of a group read the same value head, so its channels share a factor. */
static void share_in_groups(float *o, const struct nn_config *c)
{
    size_t group = c->H / c->K;
    for (size_t k = 0; k < c->K; k++)
        for (size_t d = 0; d < c->D; d++) {
            float top = 0;
            for (size_t h = 0; h < group; h++)
                top = fmaxf(top, o[(k * group + h) * c->D + d]);
            for (size_t h = 0; h < group; h++)
                o[(k * group + h) * c->D + d] = top;
        }
}

enum trawl_status nn_smooth_new(float **smooth, const struct nn_source *source)
{
    const struct nn_config *c = source->config;
    size_t n = nn_inputs(c);
    *smooth = NULL;
    if (!c->encoder && (!c->gated || c->norm != NN_RMS_NORM))
        return TRAWL_OK;
    float *s = mem_array(c->L * n, sizeof *s);
    if (!s)
        return mem_status();
    enum trawl_status status = record(s, source);
    for (size_t l = 0; status == TRAWL_OK && l < c->L; l++) {
        share_in_groups(s + l * n + nn_inputs_before(c, NN_O), c);
        for (size_t i = 0; i < n; i++)
            s[l * n + i] = powf(fmaxf(s[l * n + i], 1e-4f), exponent);
        for (size_t i = nn_inputs_before(c, NN_DOWN); c->encoder && i < n; i++)
            s[l * n + i] = 1;
    }
    if (status) {
        free(s);
        return status;
    }
    *smooth = s;
    return TRAWL_OK;
}
