#include "grad_ops.h"
#define real double
#define NAME(name) GRAD_F64(name)
#include "grad_ops_body.h"
