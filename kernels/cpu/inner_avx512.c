/* The inner routines for AVX512; built with that set's flags (CMakeLists.txt), reached only where isa.c found it. */
#define SIMD_AVX512
#include "kernels/cpu/inner_dot.h"
#include "kernels/cpu/inner_math.h"

const struct cpu_inner cpu_inner_avx512 = INNER_TABLE;
