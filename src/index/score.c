#include "score.h"
#include "math/isa.h"

static void score(uint32_t *out, const uint32_t *rows, const uint32_t *counts, size_t n, const uint32_t *lengths,
                  float weight, float a, float c)
{
    for (size_t i = 0; i < n; i++)
        out[i] = score_one(counts[i], lengths[rows[i]], weight, a, c);
}

static size_t collect(uint32_t *out, uint32_t *found, uint32_t *sums, size_t n, int32_t floor)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        out[m] = (uint32_t)i;
        found[m] = sums[i];
        m += (int32_t)sums[i] > floor;
        sums[i] = 0;
    }
    return m;
}

const struct score_kernel score_kernel_ref = {score, collect};

const struct score_kernel *score_kernel(void)
{
#if defined(__x86_64__)
    if (isa_level() >= ISA_AVX512)
        return &score_kernel_avx512;
    if (isa_level() >= ISA_AVX2)
        return &score_kernel_avx2;
#endif
    return &score_kernel_ref;
}
