/* Philox4x32-10: ten rounds of multiply and exchange over a 128-bit counter under a 64-bit key. */
#include "rng.h"
#include <math.h>

static void philox(uint32_t x[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
        uint64_t a = (uint64_t)0xD2511F53u * x[0], b = (uint64_t)0xCD9E8D57u * x[2];
        uint32_t y[4] = {(uint32_t)(b >> 32) ^ x[1] ^ key0, (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ key1,
                         (uint32_t)a};
        for (int i = 0; i < 4; i++)
            x[i] = y[i];
    }
}

struct rng rng_stream(uint64_t seed, uint32_t step, uint32_t purpose)
{
    return (struct rng){.seed = seed, .step = step, .purpose = purpose};
}

/* One block gives two numbers; the counter counts numbers, so its upper bits choose the block. */
uint64_t rng_next(struct rng *rng)
{
    uint64_t block = rng->counter >> 1;
    uint32_t x[4] = {(uint32_t)block, (uint32_t)(block >> 32), rng->step, rng->purpose};
    philox(x, (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32));
    int half = (int)(rng->counter++ & 1) * 2;
    return (uint64_t)x[half + 1] << 32 | x[half];
}

double rng_uniform(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

/* Box-Muller with the cosine only, so that each number takes exactly two draws. */
double rng_normal(struct rng *rng)
{
    double radius = 1.0 - rng_uniform(rng), angle = rng_uniform(rng); /* radius in (0,1] */
    return sqrt(-2.0 * log(radius)) * cos(6.283185307179586476925 * angle);
}

/* Multiply and shift; draws that would favour the first values are rejected (Lemire 2019). */
uint64_t rng_below(struct rng *rng, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)rng_next(rng) * n;
    if ((uint64_t)product < n) {
        uint64_t unfair = -n % n;
        while ((uint64_t)product < unfair)
            product = (wide)rng_next(rng) * n;
    }
    return (uint64_t)(product >> 64);
}
