/*
 * Products of a few tokens: a token is one matrix after another, each read once. Rows of all matrices that take the
 * same activations are one loop; where the ISA has digits (inner.h), the calling thread makes the activations' before
 * it.
 */
#include <assert.h>

#include "kernels/cpu/inner.h"

enum {
	PART_BYTES = 32 << 10,      /* of weights that a thread takes at a time with few tokens: some microseconds */
	PART_ROWS = 4,              /* rows that matvec reads side by side */
	THREAD_PARTS = 4,           /* of a small matrix for each thread */
	PARALLEL_WEIGHTS = 1 << 16, /* below so many weights a parallel region costs more than it saves */
};

int cpu_part_rows(const struct weight *w, int n_rows)
{
	const size_t row = cpu_row_bytes(w->type, (size_t)w->n_in, w->scales != NULL);
	const int by_bytes = (int)(PART_BYTES / (row ? row : 1));
	const int by_threads = n_rows / (THREAD_PARTS * cpu_threads());
	const int rows = by_bytes < by_threads ? by_bytes : by_threads;

	return rows < PART_ROWS ? PART_ROWS : rows / PART_ROWS * PART_ROWS;
}

int cpu_worth_sharing(const struct weight *w, int n_rows, int n_tokens)
{
	return (size_t)w->n_in * (size_t)n_rows * (size_t)n_tokens > PARALLEL_WEIGHTS;
}

void cpu_token_product(const struct cpu_inner *inner, const struct weight *w, size_t row, size_t n_rows, const float *x,
		       const struct cpu_digits *digits, float *y)
{
	if (digits && cpu_has_digits(w))
		cpu_inner_digits()->multiply(w, row, n_rows, digits, y);
	else
		inner->matvec(w, row, n_rows, x, y);
}

struct products_loop {
	const struct cpu_inner *inner;
	const struct cpu_products *p;
	const struct cpu_digits *digits; /* (n_tokens, units) of x, or null */
	int act;
	const float *up;
	size_t up_stride;
	float *out;
};

static void matvec_rows(const struct products_loop *l, int i, int row, int n_rows)
{
	const struct cpu_products *p = l->p;
	const struct weight *w = p->w[i];

	for (int t = 0; t < p->n_tokens; t++) {
		float *y = p->y[i] + (size_t)t * (size_t)w->n_out + row;

		cpu_token_product(l->inner, w, (size_t)row, (size_t)n_rows, p->x + (size_t)t * (size_t)w->n_in,
				  cpu_digits_row(w, l->digits, (size_t)t), y);
		if (i == 0 && p->cap > 0.0f)
			l->inner->softcap(y, (size_t)n_rows, p->cap);
	}
}

/* The rows of all matrices, one behind the other. */
static void products_part(void *ctx, int begin, int end, int thread)
{
	const struct products_loop *l = ctx;

	(void)thread;
	for (int i = 0; begin < end; i++) {
		const int rows = l->p->w[i]->n_out;
		const int last = end < rows ? end : rows;

		if (begin < last)
			matvec_rows(l, i, begin, last - begin);
		begin = begin < rows ? 0 : begin - rows;
		end -= rows;
	}
}

void cpu_products(const struct cpu_products *p)
{
	struct products_loop l = {.inner = cpu_inner(), .p = p};
	int rows = 0;

	assert(p->n >= 1 && p->n <= CPU_PRODUCTS && p->n_tokens <= CPU_FEW_TOKENS);
	for (int i = 0; i < p->n; i++) {
		rows += p->w[i]->n_out;
		if (!l.digits)
			l.digits = cpu_few_digits(p->w[i], p->x, (size_t)p->w[i]->n_in, p->n_tokens);
	}
	cpu_parallel(rows, cpu_worth_sharing(p->w[0], rows, p->n_tokens) ? cpu_part_rows(p->w[0], rows) : rows,
		     products_part, &l);
}

static void gated_part(void *ctx, int begin, int end, int thread)
{
	const struct products_loop *l = ctx;
	const struct cpu_products *p = l->p;
	const size_t n_out = (size_t)p->w[0]->n_out;

	(void)thread;
	for (int i = 0; i < p->n; i++)
		matvec_rows(l, i, begin, end - begin);
	for (int t = 0; t < p->n_tokens; t++) {
		const size_t at = (size_t)t * n_out + (size_t)begin;
		const float *up = p->n == 2 ? p->y[1] + at : l->up + (size_t)t * l->up_stride + begin;

		l->inner->gated(p->y[0] + at, up, l->act, l->out + at, end - begin);
	}
}

void cpu_products_gated(const struct cpu_products *p, int act, const float *up, size_t up_stride, float *out)
{
	struct products_loop l = {
		.inner = cpu_inner(), .p = p, .act = act, .up = up, .up_stride = up_stride, .out = out};
	const int rows = p->w[0]->n_out;

	assert(p->n_tokens <= CPU_FEW_TOKENS && (p->n == 1 || (p->n == 2 && p->w[1]->n_out == rows)));
	for (int i = 0; i < p->n && !l.digits; i++)
		l.digits = cpu_few_digits(p->w[i], p->x, (size_t)p->w[i]->n_in, p->n_tokens);
	cpu_parallel(rows, cpu_worth_sharing(p->w[0], rows * p->n, p->n_tokens) ? cpu_part_rows(p->w[0], rows) : rows,
		     gated_part, &l);
}
