#include "harness/measure/quality.h"

#include <math.h>

/* log of the sum of exp(x). *top: index of the greatest, the first of them. */
static double log_sum_exp(const float *x, int n, int *top)
{
	double sum = 0;
	*top = 0;
	for (int i = 1; i < n; i++)
		if (x[i] > x[*top])
			*top = i;
	for (int i = 0; i < n; i++)
		sum += exp((double)x[i] - (double)x[*top]);
	return (double)x[*top] + log(sum);
}

struct agreement agreement_of(const float *full, const float *got, int n)
{
	int top, got_top;
	double norm = log_sum_exp(full, n, &top), got_norm = log_sum_exp(got, n, &got_top), sum = 0;
	for (int i = 0; i < n; i++) {
		double p = (double)full[i] - norm, q = (double)got[i] - got_norm;
		sum += exp(p) * (p - q);
	}
	/* Never negative but for rounding. */
	return (struct agreement){.divergence = sum > 0 ? sum : 0, .same_top = top == got_top};
}

double quality_log_probability(const float *logits, int n, int token, int *top)
{
	double norm = log_sum_exp(logits, n, top);
	return (double)logits[token] - norm;
}

void quality_add(struct quality *q, const struct agreement *a)
{
	q->n++;
	q->divergence_sum += a->divergence;
	q->divergence_max = a->divergence > q->divergence_max ? a->divergence : q->divergence_max;
	q->same_top += a->same_top;
}
