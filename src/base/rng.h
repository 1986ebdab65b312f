/*
 * Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a stream is (seed, step, purpose) and its i-th
 * number does not depend on which others were drawn, so that parallel and resumed work sees the same values.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H
#include <stdint.h>

struct rng {
    uint64_t seed;
    uint32_t step, purpose;
    uint64_t counter;
};
struct rng rng_stream(uint64_t seed, uint32_t step, uint32_t purpose);
uint64_t rng_next(struct rng *rng);              /* 64 uniform bits */
double rng_uniform(struct rng *rng);             /* [0,1), 53 bits */
double rng_normal(struct rng *rng);              /* mean 0, variance 1 */
uint64_t rng_below(struct rng *rng, uint64_t n); /* uniform in [0,n), without bias; n > 0 */

#endif
