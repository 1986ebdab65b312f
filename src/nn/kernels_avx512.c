/* AVX-512 F, BW, DQ, VL. */
#include "kernels.h"
#include "vec512.h"

enum { SCORE_ROWS = 12, WEIGH_ROWS = 6, WEIGH_COLS = 4 };
#define TABLE nn_kernels_avx512

#include "kernels_body.h"
