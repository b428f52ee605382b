/* Activations as digits (inner.h): which products are of them, and rows of them in the caller's scratch. */
#include "kernels/cpu/inner.h"

enum { PART_ROWS = 4 }; /* that a thread takes at a time */

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

struct digits_loop {
	const struct weight *w;
	const float *x;
	size_t stride;
	struct cpu_digits *to;
};

static void digits_part(void *ctx, int begin, int end, int thread)
{
	const struct digits_loop *l = ctx;

	(void)thread;
	for (int i = begin; i < end; i++)
		cpu_inner_digits()->from_f32(l->x + (size_t)i * l->stride, (size_t)l->w->n_in,
					     l->to + (size_t)i * cpu_digits_units(l->w));
}

void cpu_to_digits(const struct weight *w, const float *x, size_t stride, int n_rows, int parallel,
		   struct cpu_digits *to)
{
	struct digits_loop l = {.w = w, .x = x, .stride = stride, .to = to};

	cpu_parallel(n_rows, parallel ? PART_ROWS : n_rows, digits_part, &l);
}

const struct cpu_digits *cpu_few_digits(const struct weight *w, const float *x, size_t stride, int n_rows)
{
	struct cpu_digits *to;

	if (!cpu_has_digits(w))
		return NULL;
	to = cpu_scratch((size_t)n_rows * cpu_digits_units(w) * sizeof(*to));
	cpu_to_digits(w, x, stride, n_rows, 0, to);
	return to;
}
