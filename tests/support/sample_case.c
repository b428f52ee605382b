#include "tests/support/sample_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"

/* Of a share: weights are off by 6e-6 of themselves at most, sums by less. */
static const double CLOSE = 2e-5;

void sample_case_init(struct sample_case *c, int n)
{
	*c = (struct sample_case){.n = n};
	c->ranking = calloc((size_t)n, sizeof *c->ranking);
	c->share = calloc((size_t)n, sizeof *c->share);
	assert_true(c->ranking && c->share);
}

void sample_case_free(struct sample_case *c)
{
	free(c->ranking);
	free(c->share);
}

static const float *sorted_logits;

static int by_rank(const void *a, const void *b)
{
	int i = *(const int *)a, j = *(const int *)b;
	float x = sorted_logits[i], y = sorted_logits[j];
	return x > y ? -1 : x < y ? 1 : i < j ? -1 : 1;
}

/* Not equal, but nearly so. */
static bool near(double a, double b)
{
	return a != b && fabs(a - b) < CLOSE * b;
}

void sample_case_shares(struct sample_case *c, const float *logits, const struct sampling_options *o)
{
	int n = c->n, in = n;
	for (int i = 0; i < n; i++)
		c->ranking[i] = i;
	sorted_logits = logits;
	qsort(c->ranking, (size_t)n, sizeof *c->ranking, by_rank);
	for (int i = 0; i < n; i++)
		c->share[i] = 0;
	c->close = false;
	double best = (double)logits[c->ranking[0]];
	if (o->temperature == 0) {
		c->share[c->ranking[0]] = 1;
		return;
	}
	for (int r = 0; r < n; r++)
		c->share[c->ranking[r]] = exp(((double)logits[c->ranking[r]] - best) / o->temperature);

	if (o->top_k > 0 && o->top_k < n)
		in = o->top_k;
	double total = 0, light = 0;
	for (int r = 0; r < in; r++) {
		double w = c->share[c->ranking[r]];
		total += w;
		light += w < 1e-9 ? w : 0;
	}
	c->close |= light > 1e-7 * total;
	if (o->top_p < 1) {
		double sum = 0, wanted = o->top_p * total;
		int r = 0;
		do {
			sum += c->share[c->ranking[r++]];
			/* Sums of equal weights that should be just as much are, but for double's own error. */
			bool just = fabs(sum - wanted) < 1e-12 * total;
			c->close |= !just && fabs(sum - wanted) < CLOSE * total;
			if (just)
				break;
		} while (sum < wanted && r < in);
		in = r;
	}
	for (int r = 0; r < n; r++) {
		double *w = &c->share[c->ranking[r]];
		c->close |= r < in && near(*w, o->min_p);
		if (r >= in || *w < o->min_p)
			*w = 0;
	}
	total = 0;
	for (int i = 0; i < n; i++)
		total += c->share[i];
	for (int i = 0; i < n; i++)
		c->share[i] /= total;
}

/* Philox4x32-10, the first two words, as a share of 2^64. */
static double uniform(uint64_t seed, int pos)
{
	uint32_t x[4] = {(uint32_t)pos}, k[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	for (int r = 0; r < 10; r++) {
		uint64_t p = (uint64_t)x[0] * 0xD2511F53, q = (uint64_t)x[2] * 0xCD9E8D57;
		uint32_t y[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k[0], (uint32_t)q, (uint32_t)(p >> 32) ^ x[3] ^ k[1],
				 (uint32_t)p};
		for (int i = 0; i < 4; i++)
			x[i] = y[i];
		k[0] += 0x9E3779B9;
		k[1] += 0xBB67AE85;
	}
	return ldexp((double)x[1], -32) + ldexp((double)x[0], -64);
}

int sample_case_token(const struct sample_case *c, uint64_t seed, int pos, bool *close)
{
	double u = uniform(seed, pos), sum = 0;
	int token = -1;
	*close = c->close;
	for (int i = 0; i < c->n; i++) {
		if (c->share[i] == 0)
			continue;
		sum += c->share[i];
		token = i;
		if (sum > u)
			break;
	}
	/* Either end of its part of the line, unless that is an end of the line. */
	bool first = sum <= c->share[token] + 1e-12, last = sum >= 1 - 1e-9;
	*close |= (!last && fabs(sum - u) < CLOSE) || (!first && fabs(sum - c->share[token] - u) < CLOSE);
	return token;
}

static double between(uint64_t *random, double least, double most)
{
	return least + (most - least) * (double)(random_next(random) >> 11) * 0x1p-53;
}

void sample_case_logits(float *logits, int n, int kind, uint64_t *random)
{
	for (int i = 0; i < n; i++) {
		/* Nearly normal. */
		double x = between(random, -3, 3) + between(random, -3, 3) + between(random, -3, 3);
		switch (kind % SAMPLE_KINDS) {
		case 0:
			break;
		case 1: /* flat */
			x *= 0.1;
			break;
		case 2: /* peaked */
			x = i % 1000 == 7 ? 20 + 0.3 * x : x - 5;
			break;
		case 3: /* few values */
			x = rint(x);
			break;
		case 4:
			x = 30 * tanh(x / 3);
			break;
		case 5: /* -infinities */
			x = i % 3 ? x : -(double)INFINITY;
			break;
		case 6: /* wide; zeros of both signs */
			x = i % 5 ? 40 * x : i % 2 ? -0.0 : 0.0;
			break;
		}
		logits[i] = (float)x;
	}
	if (kind % SAMPLE_KINDS == 5)
		logits[n - 1] = 1;
}

struct sampling_options sample_case_options(int i, int n)
{
	static const double temperatures[] = {1, 0.7, 0.001, 0, 2, 0.1, 10}, shares[] = {1, 0.95, 0.5, 0, 0.1, 0.999},
			    least[] = {0, 0.05, 1, 0.5};
	int ks[] = {0, 40, 1, n - 1, n + 3};
	return (struct sampling_options){
		.temperature = temperatures[i % 7],
		.top_p = shares[i / 7 % 6],
		.top_k = ks[i / 42 % 5] > 0 ? ks[i / 42 % 5] : 0,
		.min_p = least[i / 210 % 4],
		.seed = 1000 + (uint64_t)i * 0x123456789abcdef,
	};
}
