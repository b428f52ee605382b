#include "bench/tolerance.h"

#include <stdlib.h>

void tolerance_product(struct pair *p, const float *y, int y_stride, const struct weight *w, int expert,
		       const double *norms, const float *x, int row)
{
	double *m = pair_magnitude(p, y) + (size_t)row * (size_t)y_stride, most = 0;
	for (int k = 0; k < w->n_in; k++)
		most = fmax(most, fabs((double)x[k]));
	for (int r = 0; r < w->n_out; r++)
		m[r] = norms[(size_t)expert * (size_t)w->n_out + (size_t)r] * most;
}

void tolerance_matmul(struct pair *p, const struct matmul_params *m)
{
	double *norms = pair_row_norms(&m->w);
	for (int t = 0; t < m->n_tokens; t++)
		tolerance_product(p, m->y, m->y_stride, &m->w, 0, norms, m->x + (size_t)t * (size_t)m->x_stride, t);
	free(norms);
}

double tolerance_attention(const float *q, int head_dim, int n_rows, int n_keys, float scale)
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
