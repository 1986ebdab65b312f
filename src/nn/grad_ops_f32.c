#include "grad_ops.h"
#define real float
#define NAME(name) GRAD_F32(name)
#include "grad_ops_body.h"
