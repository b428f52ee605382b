/* Products of digits, for processors that multiply bytes; built with their flags, reached only where isa.c found them.
 */
#include <math.h>

#define SIMD_AVX512
#include "kernels/cpu/inner_digits.h"

const struct cpu_inner_digits cpu_inner_avx512vnni = {.from_f32 = digits_from_f32, .multiply = digits_multiply};
