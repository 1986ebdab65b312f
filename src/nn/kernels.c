#include "kernels.h"
#include "math/isa.h"

const struct nn_kernels *nn_kernels(void)
{
#if defined(__x86_64__)
    if (isa_level() == ISA_AVX512)
        return &nn_kernels_avx512;
    if (isa_level() == ISA_AVX2)
        return &nn_kernels_avx2;
#endif
    return &nn_kernels_ref;
}

const struct nn_tile_kernels *nn_tile_kernels(void)
{
#if defined(__x86_64__)
    if (isa_level() == ISA_AVX512 && isa_has(ISA_AMX_BF16))
        return &nn_tile_kernels_amx;
#endif
    return NULL;
}
