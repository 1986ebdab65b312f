/*
 * Rotary inverse frequencies: theta^(-2i/D), then position interpolation ("linear"), Llama 3's bands, or YaRN
 * (Peng et al. 2023, NTK-by-parts). The references compute them in f32, so each step is rounded to f32 here.
 */
#include "rope.h"
#include <math.h>
#include <string.h>

#define TWO_PI 6.283185307179586476925

/* theta^(2i/D), D = 2n. */
static float wave_step(double theta, size_t i, size_t n)
{
    float exponent = (float)(2 * i) / (float)(2 * n);
    return (float)pow(theta, (double)exponent);
}

/* Bands by wavelength: short ones stay, long ones are divided by factor, between them a linear blend. */
static void scale_llama3(float *inverse, size_t n, const struct rope *r)
{
    float low_wave = (float)(r->original_positions / r->low_freq),
          high_wave = (float)(r->original_positions / r->high_freq);
    for (size_t i = 0; i < n; i++) {
        float f = inverse[i], wave = (float)TWO_PI / f;
        if (wave > low_wave) {
            inverse[i] = f / (float)r->factor;
        } else if (!(wave < high_wave)) {
            float smooth =
                ((float)r->original_positions / wave - (float)r->low_freq) / (float)(r->high_freq - r->low_freq);
            inverse[i] = (1.0f - smooth) * f / (float)r->factor + smooth * f;
        }
    }
}

/* Dimension whose wave turns `rotations` times within the original length. */
static double yarn_dimension(double rotations, double D, const struct rope *r)
{
    return D * log(r->original_positions / (rotations * TWO_PI)) / (2.0 * log(r->theta));
}

static void scale_yarn(float *inverse, size_t n, const struct rope *r)
{
    double D = 2.0 * (double)n;
    double low = yarn_dimension(r->beta_fast > 0 ? r->beta_fast : 32.0, D, r);
    double high = yarn_dimension(r->beta_slow > 0 ? r->beta_slow : 1.0, D, r);
    if (!r->no_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, D - 1.0);
    if (low == high)
        high += 0.001;
    for (size_t i = 0; i < n; i++) {
        float ramp = (float)(((double)i - low) / (high - low));
        float keep = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
        float stretched = 1.0f / ((float)r->factor * wave_step(r->theta, i, n));
        inverse[i] = stretched * (1.0f - keep) + inverse[i] * keep;
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static double yarn_attention(const struct rope *r)
{
    if (r->attention_factor > 0)
        return r->attention_factor;
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
    return yarn_mscale(r->factor, 1.0);
}

static enum trawl_status check(const struct rope *r, const char *where)
{
    if (!(r->theta > 1.0) || !isfinite(r->theta))
        return fail(TRAWL_FORMAT, "%s: rope_theta is %g", where, r->theta);
    if (r->type != ROPE_DEFAULT && (!(r->factor > 0) || !isfinite(r->factor)))
        return fail(TRAWL_FORMAT, "%s: the rope scaling has no usable factor (%g)", where, r->factor);
    if ((r->type == ROPE_LLAMA3 || r->type == ROPE_YARN) && !(r->original_positions >= 1))
        return fail(TRAWL_FORMAT, "%s: the rope scaling has no original_max_position_embeddings", where);
    if (r->type == ROPE_LLAMA3 && !(r->low_freq > 0 && r->high_freq > r->low_freq))
        return fail(TRAWL_FORMAT, "%s: the rope scaling's low_freq_factor %g and high_freq_factor %g make no band",
                    where, r->low_freq, r->high_freq);
    return TRAWL_OK;
}

enum trawl_status rope_frequencies(float *inverse, float *scale, const struct rope *rope, size_t D, const char *where)
{
    TRY(check(rope, where));
    size_t n = D / 2;
    *scale = 1.0f;
    for (size_t i = 0; i < n; i++)
        inverse[i] = 1.0f / wave_step(rope->theta, i, n);
    if (rope->type == ROPE_LINEAR) {
        for (size_t i = 0; i < n; i++)
            inverse[i] /= (float)rope->factor;
    } else if (rope->type == ROPE_LLAMA3) {
        scale_llama3(inverse, n, rope);
    } else if (rope->type == ROPE_YARN) {
        scale_yarn(inverse, n, rope);
        *scale = (float)yarn_attention(rope);
    }
    return TRAWL_OK;
}

enum trawl_status rope_type_parse(enum rope_type *type, const char *name, size_t n, const char *where)
{
    static const struct {
        const char *name;
        enum rope_type type;
    } known[] = {{"default", ROPE_DEFAULT},
                 {"none", ROPE_DEFAULT},
                 {"linear", ROPE_LINEAR},
                 {"llama3", ROPE_LLAMA3},
                 {"yarn", ROPE_YARN}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == n && !memcmp(known[i].name, name, n)) {
            *type = known[i].type;
            return TRAWL_OK;
        }
    return fail(TRAWL_UNSUPPORTED, "%s: rope type '%.*s' is not supported (known: default, linear, llama3, yarn)",
                where, (int)n, name);
}
