/* Activations as digits (inner.h): which products are of them, and rows of them in the caller's scratch. */
#include "kernels/cpu/inner.h"

int cpu_has_digits(const struct weight *w)
{
	switch (w->type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) case TENSOR_##NAME:
		TENSOR_QUANT_TYPES(X, , )
#undef X
		return cpu_inner_digits() != NULL;
	}
	return 0;
}

void cpu_to_digits(const struct weight *w, const float *x, size_t stride, int n_rows, struct cpu_digits *to)
{
	for (int i = 0; i < n_rows; i++)
		cpu_inner_digits()->from_f32(x + (size_t)i * stride, (size_t)w->n_in,
					     to + (size_t)i * cpu_digits_units(w));
}

const struct cpu_digits *cpu_few_digits(const struct weight *w, const float *x, size_t stride, int n_rows)
{
	struct cpu_digits *to;

	if (!cpu_has_digits(w))
		return NULL;
	to = cpu_scratch((size_t)n_rows * cpu_digits_units(w) * sizeof(*to));
	cpu_to_digits(w, x, stride, n_rows, to);
	return to;
}
