/* AVX-512 F, BW, DQ, VL. */
#include "grad_kernels.h"
#include "vec512.h"

enum { OUTER_ROWS = 6, OUTER_COLS = 4 };
#define TABLE nn_grad_kernels_avx512

#include "grad_body.h"
