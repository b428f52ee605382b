#include "harness/stats/stats_change.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

void stats_change_options_default(struct stats_change_options *o)
{
	*o = (struct stats_change_options){.least = 2, .permutations = 999, .alpha = 0.01, .seed = 1};
}

/* sums: (2 n), scratch. */
static void split(const double *x, int n, int least, double *sums, struct stats_change *out)
{
	/* For each k: sums of |x[k] - x[j]| over j < k, and over j < the split at hand. */
	double *before = sums, *left = sums + n;
	*out = (struct stats_change){.at = 0, .q = -INFINITY, .p = NAN};
	for (int k = 0; k < n; k++) {
		before[k] = left[k] = 0;
		for (int j = 0; j < k; j++)
			before[k] += fabs(x[k] - x[j]);
	}
	double within_left = 0;
	for (int at = 1; at <= n - least; at++) {
		within_left += before[at - 1];
		for (int k = at; k < n; k++)
			left[k] += fabs(x[k] - x[at - 1]);
		if (at < least)
			continue;
		double between = 0, within_right = 0, a = at;
		for (int end = at + 1; end <= n; end++) {
			between += left[end - 1];
			within_right += before[end - 1] - left[end - 1];
			double b = end - at;
			if (b < least)
				continue;
			double q = between;
			q -= at > 1 ? b / (a - 1) * within_left : 0;
			q -= b > 1 ? a / (b - 1) * within_right : 0;
			q *= 2 / (a + b);
			if (q > out->q) {
				out->q = q;
				out->at = at;
			}
		}
	}
}

int stats_change_split(const double *x, int n, int least, struct stats_change *out)
{
	assert(least >= 1);
	double *sums = malloc((n > 0 ? 2 * (size_t)n : 1) * sizeof *sums);
	if (!sums)
		return -1;
	split(x, n, least, sums, out);
	free(sums);
	return 0;
}

/* Ends of the segments that `n_found` ascending change points leave of n values. */
static int segment_end(const struct stats_change *found, int n_found, int segment, int n)
{
	return segment < n_found ? found[segment].at : n;
}

/* The best split of any segment of x. */
static struct stats_change best_split(const double *x, int n, int least, const struct stats_change *found, int n_found,
				      double *sums)
{
	struct stats_change best = {.q = -INFINITY};
	for (int s = 0, from = 0; s <= n_found; s++) {
		int end = segment_end(found, n_found, s, n);
		struct stats_change c;
		split(x + from, end - from, least, sums, &c);
		if (c.q > best.q) {
			best = c;
			best.at += from;
		}
		from = end;
	}
	return best;
}

static void shuffle_segments(double *x, int n, const struct stats_change *found, int n_found, uint64_t *state)
{
	for (int s = 0, from = 0; s <= n_found; s++) {
		int end = segment_end(found, n_found, s, n);
		for (int i = end - 1; i > from; i--) {
			int j = from + (int)random_below(state, (uint64_t)(i - from) + 1);
			double t = x[i];
			x[i] = x[j];
			x[j] = t;
		}
		from = end;
	}
}

static void insert(struct stats_change *found, int n_found, struct stats_change c)
{
	int i = n_found;
	for (; i > 0 && found[i - 1].at > c.at; i--)
		found[i] = found[i - 1];
	found[i] = c;
}

int stats_change_points(const double *x, int n, const struct stats_change_options *o, struct stats_change *out)
{
	assert(o->least >= 1 && o->permutations > 0);
	if (n <= 0)
		return 0;
	double *sums = malloc(3 * (size_t)n * sizeof *sums);
	if (!sums)
		return -1;
	double *shuffled = sums + 2 * (size_t)n;
	uint64_t state = o->seed;
	int n_found = 0;
	for (;;) {
		struct stats_change best = best_split(x, n, o->least, out, n_found, sums);
		/* Equal values are no change, whatever rounding makes of their distances. */
		if (!(best.q > 0))
			break;
		int reached = 0;
		memcpy(shuffled, x, (size_t)n * sizeof *x);
		/* More of them than alpha allows: the change is not accepted whatever comes. */
		for (int r = 0; r < o->permutations && 1.0 + reached <= o->alpha * (1 + o->permutations); r++) {
			shuffle_segments(shuffled, n, out, n_found, &state);
			double q = best_split(shuffled, n, o->least, out, n_found, sums).q;
			/* Sums in another order differ in their last bits. */
			reached += q >= best.q * (1 - 1e-12);
		}
		best.p = (1.0 + reached) / (1 + o->permutations);
		if (best.p > o->alpha)
			break;
		insert(out, n_found++, best);
	}
	free(sums);
	return n_found;
}
