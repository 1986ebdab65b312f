/* Inverse frequencies of the rotary embedding under the scalings that model files ask for. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H
#include "base/status.h"

enum rope_type { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };
struct rope {
    enum rope_type type;
    double theta, factor;
    double original_positions;     /* llama3, yarn: length before scaling */
    double low_freq, high_freq;    /* llama3 */
    double beta_fast, beta_slow;   /* yarn; 0: 32 and 1 */
    double attention_factor;       /* yarn; 0: derived from factor and the two below */
    double mscale, mscale_all_dim; /* yarn; 0: absent */
    int no_truncate;               /* yarn: bounds of the ramp are not rounded to whole dimensions */
};
/* inverse (D/2) out, *scale the factor of cos and sin. Steps are rounded to f32 as the reference does. FORMAT names
 * `where` when a parameter makes no sense. */
MUST_USE enum trawl_status rope_frequencies(float *inverse, float *scale, const struct rope *rope, size_t D,
                                            const char *where);
MUST_USE enum trawl_status rope_type_parse(enum rope_type *type, const char *name, size_t n, const char *where);

#endif
