/* AVX2 and FMA. */
#include "kernels.h"
#include "vec256.h"

enum { SCORE_ROWS = 6, WEIGH_ROWS = 4, WEIGH_COLS = 2 };
#define TABLE nn_kernels_avx2

#include "kernels_body.h"
