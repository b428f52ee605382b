/* Products of bfloat16, for processors that have them; built with their flags, reached only where isa.c found them. */
#define SIMD_AVX512
#define SIMD_BF16
#include "kernels/cpu/inner.h"
#include "kernels/cpu/inner_gemm.h"

/* To nearest even; subnormal numbers become zeros, as the products take them. */
static void to_bf16(const float *x, uint16_t *y, size_t n)
{
	size_t k = 0;

	for (; k + 2 * VEC <= n; k += 2 * VEC)
		_mm512_storeu_si512(y + k, (__m512i)_mm512_cvtne2ps_pbh(vec_load(x + k + VEC), vec_load(x + k)));
	if (k < n) {
		float part[2 * VEC] = {0};
		uint16_t rounded[2 * VEC];

		memcpy(part, x + k, (n - k) * sizeof(*x));
		_mm512_storeu_si512(rounded, (__m512i)_mm512_cvtne2ps_pbh(vec_load(part + VEC), vec_load(part)));
		memcpy(y + k, rounded, (n - k) * sizeof(*y));
	}
}

const struct cpu_inner_bf16 cpu_inner_avx512bf16 = {.from_f32 = to_bf16, .gemm = inner_gemm};
