/* AVX2 and FMA. */
#include "grad_kernels.h"
#include "vec256.h"

enum { OUTER_ROWS = 6, OUTER_COLS = 2 };
#define TABLE nn_grad_kernels_avx2

#include "grad_body.h"
