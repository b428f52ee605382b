/* The inner routines for any processor: no instruction beyond the compiler's baseline. */
#include "kernels/cpu/inner_dot.h"
#include "kernels/cpu/inner_math.h"

const struct cpu_inner cpu_inner_portable = INNER_TABLE;
