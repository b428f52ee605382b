#include "harness/stats/stats_change.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "harness/stats/stats_distribution.h"
#include "harness/stats/stats_estimate.h"

/* A part of a series that is searched as a whole. */
struct search {
	const double *x;            /* (n) */
	const unsigned char *whole; /* (n + 1): a segment may begin, or end, here */
	int n;
	const struct stats_change_options *o;
	double *sums;                  /* (2 n), scratch */
	double *shuffled;              /* (n), scratch */
	int grouped;                   /* any group has more than one value */
	int *groups;                   /* (n + 1), scratch: where they begin */
	unsigned char *shuffled_whole; /* (n + 1), scratch */
	uint64_t random;
};

void stats_change_options_default(struct stats_change_options *o)
{
	*o = (struct stats_change_options){.least = 2, .permutations = 1999, .alpha = 0.001, .seed = 1, .window = 200};
}

/* sums: (2 n), scratch. whole: (n + 1) */
static void split(const double *x, const unsigned char *whole, int n, int least, double *sums, struct stats_change *out)
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
		if (at < least || !whole[at])
			continue;
		double between = 0, within_right = 0, a = at;
		for (int end = at + 1; end <= n; end++) {
			between += left[end - 1];
			within_right += before[end - 1] - left[end - 1];
			double b = end - at;
			if (b < least || !whole[end])
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
	size_t values = n > 0 ? (size_t)n : 0;
	double *sums = malloc((values + 1) * 2 * sizeof *sums);
	unsigned char *whole = malloc(values + 1);
	if (sums && whole) {
		memset(whole, 1, values + 1);
		split(x, whole, n, least, sums, out);
	}
	int rc = sums && whole ? 0 : -1;
	free(whole);
	free(sums);
	return rc;
}

/* Ends of the segments that `n_found` ascending change points leave of n values. */
static int segment_end(const struct stats_change *found, int n_found, int segment, int n)
{
	return segment < n_found ? found[segment].at : n;
}

/* The best split of any segment of x, which is that of s or a permutation of it; *end: its segment's. */
static struct stats_change best_split(const struct search *s, const double *x, const struct stats_change *found,
				      int n_found, int *from_out, int *end_out)
{
	struct stats_change best = {.q = -INFINITY};
	for (int k = 0, from = 0; k <= n_found; k++) {
		int end = segment_end(found, n_found, k, s->n);
		struct stats_change c;
		split(x + from, s->whole + from, end - from, s->o->least, s->sums, &c);
		if (c.q > best.q) {
			best = c;
			best.at += from;
			*from_out = from;
			*end_out = end;
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

static double permutation_p(struct search *s, const struct stats_change *best, const struct stats_change *found,
			    int n_found)
{
	const struct stats_change_options *o = s->o;
	int reached = 0, from, end;
	memcpy(s->shuffled, s->x, (size_t)s->n * sizeof *s->x);
	/* More of them than alpha allows: the change is not accepted whatever comes. */
	for (int r = 0; r < o->permutations && 1.0 + reached <= o->alpha * (1 + o->permutations); r++) {
		shuffle_segments(s->shuffled, s->n, found, n_found, &s->random);
		double q = best_split(s, s->shuffled, found, n_found, &from, &end).q;
		/* Sums in another order differ in their last bits. */
		reached += q >= best->q * (1 - 1e-12);
	}
	return (1.0 + reached) / (1 + o->permutations);
}

/* Whole groups of [from, end), which begins and ends with one, in a random order: into shuffled and shuffled_whole. */
static void shuffle_groups(struct search *s, int from, int end)
{
	int n = 0, to = from;
	for (int i = from; i < end; i++)
		if (s->whole[i] || i == from)
			s->groups[n++] = i;
	for (; n; n--) {
		int g = (int)random_below(&s->random, (uint64_t)n), first = s->groups[g], last = first + 1;
		while (last < end && !s->whole[last])
			last++;
		s->groups[g] = s->groups[n - 1];
		s->shuffled_whole[to] = 1;
		memset(s->shuffled_whole + to + 1, 0, (size_t)(last - first - 1));
		memcpy(s->shuffled + to, s->x + first, (size_t)(last - first) * sizeof *s->x);
		to += last - first;
	}
}

/*
 * The same of whole groups. What the values of one have in common moves with them, and is no change. Orders that give
 * the same sides, of which few groups have many, do not count.
 */
static double group_permutation_p(struct search *s, const struct stats_change *best, const struct stats_change *found,
				  int n_found)
{
	const struct stats_change_options *o = s->o;
	struct search other = *s;
	int better = 0, ignored_from, ignored_end;
	other.whole = s->shuffled_whole;
	s->shuffled_whole[s->n] = 1;
	for (int r = 0; r < o->permutations && 1.0 + better <= o->alpha * (1 + o->permutations); r++) {
		for (int k = 0, from = 0; k <= n_found; k++) {
			int end = segment_end(found, n_found, k, s->n);
			shuffle_groups(s, from, end);
			from = end;
		}
		double q = best_split(&other, s->shuffled, found, n_found, &ignored_from, &ignored_end).q;
		better += q > best->q * (1 + 1e-9);
	}
	return (1.0 + better) / (1 + o->permutations);
}

static double chance(struct search *s, const struct stats_change *best, const struct stats_change *found, int n_found)
{
	double p = permutation_p(s, best, found, n_found);
	return s->grouped && p <= s->o->alpha ? fmax(p, group_permutation_p(s, best, found, n_found)) : p;
}

/* Appends the change points of the part to out; returns their number. */
static int search(struct search *s, struct stats_change *out)
{
	int n_found = 0, from, end;
	for (;;) {
		struct stats_change best = best_split(s, s->x, out, n_found, &from, &end);
		/* Equal values are no change, whatever rounding makes of their distances. */
		if (!(best.q > 0))
			break;
		best.p = s->o->test == STATS_CHANGE_STUDENT
				 ? stats_welch_p(s->x + from, best.at - from, s->x + best.at, end - best.at)
				 : chance(s, &best, out, n_found);
		if (best.p > s->o->alpha)
			break;
		insert(out, n_found++, best);
	}
	return n_found;
}

/* The last place at or before `at` where a segment may begin, behind `from`; else the next one. */
static int begin_of(const unsigned char *whole, int at, int from, int n)
{
	int k = at;
	while (k > from && !whole[k])
		k--;
	if (k > from)
		return k;
	for (k = at; k < n && !whole[k]; k++)
		;
	return k;
}

int stats_change_searches(int n, const struct stats_change_options *o)
{
	int times = n > 0;
	/* As stats_change_points goes on where it finds nothing. */
	for (int left = n; o->window > 1 && left > o->window; left -= o->window / 2)
		times++;
	return times;
}

int stats_change_points(const double *x, const int *group, int n, const struct stats_change_options *o,
			struct stats_change *out)
{
	assert(o->least >= 1 && o->permutations > 0 && o->window >= 0);
	if (n <= 0)
		return 0;
	double *sums = malloc(3 * (size_t)n * sizeof *sums);
	unsigned char *whole = malloc(2 * ((size_t)n + 1));
	int *groups = malloc(((size_t)n + 1) * sizeof *groups), grouped = 0;
	int n_found = sums && whole && groups ? 0 : -1;
	for (int i = 0; whole && i <= n; i++)
		grouped |= !(whole[i] = !group || !i || i == n || group[i] != group[i - 1]);
	for (int from = 0; n_found >= 0 && from < n;) {
		int end = o->window && from + o->window < n ? begin_of(whole, from + o->window, from, n) : n;
		struct search s = {.x = x + from,
				   .whole = whole + from,
				   .n = end - from,
				   .o = o,
				   .sums = sums,
				   .shuffled = sums + 2 * (size_t)n,
				   .grouped = grouped,
				   .groups = groups,
				   .shuffled_whole = whole + n + 1,
				   .random = o->seed + (uint64_t)from};
		int found = search(&s, out + n_found), kept = 0, last = from;
		/* What is near the window's end is judged when more of what follows is seen. */
		for (int i = 0; i < found; i++) {
			struct stats_change c = out[n_found + i];
			c.at += from;
			if (end < n && c.at > end - o->window / 4)
				continue;
			out[n_found + kept++] = c;
			last = c.at;
		}
		n_found += kept;
		if (end == n)
			break;
		from = kept ? last : begin_of(whole, from + o->window / 2, from, n);
	}
	free(groups);
	free(whole);
	free(sums);
	return n_found;
}
