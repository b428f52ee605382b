#include "tests/support/kernel_case.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/apart.h"
#include "tests/support/no_gpu.h"

bool kernel_case_few;

struct pair *kernel_case_open(void)
{
	return pair_open(&(struct cuda_open_options){
		.dims = {.n_head_dims = 7, .head_dims = {32, 64, 96, 128, 192, 256, 512}, .k_type = -1, .v_type = -1},
		.prefill = PREFILL_F32,
		.pdl = true,
		.batch = 1,
		.n_in_max = 32,
	});
}

struct kv kernel_case_cache(struct pair *p, enum pair_role role, int type, int v_type, int n_kv_heads, int head_dim,
			    int capacity, bool ring)
{
	size_t n = (size_t)n_kv_heads * (size_t)capacity * (size_t)head_dim;
	return (struct kv){
		.k = pair_buffer(p, "k cache", role, type, n, 0),
		.v = pair_buffer(p, "v cache", role, v_type, n, 0),
		.type = type,
		.v_type = v_type,
		.n_kv_heads = n_kv_heads,
		.head_dim = head_dim,
		.capacity = capacity,
		.ring = ring ? capacity : 0,
	};
}

void kernel_case_product(struct pair *p, const float *y, int y_stride, const struct weight *w, int expert,
			 const double *norms, const float *x, int row)
{
	double *m = pair_magnitude(p, y) + (size_t)row * (size_t)y_stride, most = 0;
	for (int k = 0; k < w->n_in; k++)
		most = fmax(most, fabs((double)x[k]));
	for (int r = 0; r < w->n_out; r++)
		m[r] = norms[(size_t)expert * (size_t)w->n_out + (size_t)r] * most;
}

void kernel_case_matmul(struct pair *p, const struct matmul_params *m)
{
	double *norms = pair_row_norms(&m->w);
	for (int t = 0; t < m->n_tokens; t++)
		kernel_case_product(p, m->y, m->y_stride, &m->w, 0, norms, m->x + (size_t)t * (size_t)m->x_stride, t);
	free(norms);
}

double kernel_case_attention(const float *q, int head_dim, int n_rows, int n_keys, float scale)
{
	double most = 0;
	for (int r = 0; r < n_rows; r++) {
		double squares = 0;
		for (int i = 0; i < head_dim; i++)
			squares += (double)q[r * head_dim + i] * (double)q[r * head_dim + i];
		most = fmax(most, sqrt(squares));
	}
	double score = sum_of(head_dim) * 3 * (double)scale * most; /* keys are at most 1 */
	return 2 * (score + sum_of(n_keys)) + FUNCTION;
}

static bool unavailable(void)
{
	if (no_gpu())
		return true;
	/* The buffers of one case are those of the next: no page faults for them. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	return false;
}

int kernel_case_main(int argc, char **argv, const char *what, const struct CMUnitTest *tests, size_t n)
{
	/* Several at a time: most of their time goes into the inputs and the host's kernels. */
	const struct apart apart = {what, tests, n, 4, unavailable};
	return apart_main(argc, argv, &apart, &kernel_case_few);
}
