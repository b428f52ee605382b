/* The inner routines for AVX2; built with that set's flags (CMakeLists.txt), reached only where isa.c found it. */
#define SIMD_AVX2
#include "kernels/cpu/inner_dot.h"
#include "kernels/cpu/inner_math.h"

const struct cpu_inner cpu_inner_avx2 = INNER_TABLE;
