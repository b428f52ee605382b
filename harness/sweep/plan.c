#include "harness/sweep/plan.h"

#include <stdlib.h>

#include "base/random.h"

/* Splits items [0, n) where `same` ends: starts receives the runs' first indexes, and n at the end. */
static int split(const struct cell *cells, int n, int (*same)(const struct cell *, const struct cell *), int *starts)
{
	int runs = 0;
	for (int i = 0; i < n; i++)
		if (i == 0 || !same(&cells[i - 1], &cells[i]))
			starts[runs++] = i;
	starts[runs] = n;
	return runs;
}

/* 0 .. n - 1 in a random order. */
static void permutation(uint64_t *state, int *items, int n)
{
	for (int i = 0; i < n; i++)
		items[i] = i;
	random_shuffle(state, items, n);
}

/* The cells of one group, base .. base + n - 1, into sequence. scratch: (4 n + 2). */
static void order_group(const struct cell *cells, int base, int n, uint64_t *state, int *sequence, int *scratch)
{
	int *starts = scratch, *units = starts + n + 1, *twin_starts = units + n, *twins = twin_starts + n + 1;
	int n_units = split(cells + base, n, cell_same_unit, starts), at = 0;
	permutation(state, units, n_units);
	for (int u = 0; u < n_units; u++) {
		int unit = base + starts[units[u]], size = starts[units[u] + 1] - starts[units[u]];
		int n_twins = split(cells + unit, size, cell_same, twin_starts);
		permutation(state, twins, n_twins);
		for (int t = 0; t < n_twins; t++) {
			int first = twin_starts[twins[t]], n_same = twin_starts[twins[t] + 1] - first;
			for (int i = 0; i < n_same; i++)
				sequence[at + i] = unit + first + i;
			random_shuffle(state, sequence + at, n_same);
			at += n_same;
		}
	}
}

/*
 * The groups' indexes: placements in a random order, and in each its depths. starts: (n_groups) first cells.
 * scratch: (2 n_groups + 1).
 */
static void order_groups(const struct cell *cells, const int *starts, int n_groups, uint64_t *state, int *groups,
			 int *scratch)
{
	int *firsts = scratch, *order = scratch + n_groups + 1, n_placements = 0;
	for (int g = 0; g < n_groups; g++)
		if (g == 0 || !cell_same_placement(&cells[starts[g - 1]], &cells[starts[g]]))
			firsts[n_placements++] = g;
	firsts[n_placements] = n_groups;
	permutation(state, order, n_placements);
	int at = 0;
	for (int p = 0; p < n_placements; p++) {
		int first = firsts[order[p]], size = firsts[order[p] + 1] - first;
		for (int i = 0; i < size; i++)
			groups[at + i] = first + i;
		random_shuffle(state, groups + at, size);
		at += size;
	}
}

int plan_build(const struct cell *cells, int n, uint64_t seed, struct plan *out, struct error *err)
{
	*out = (struct plan){0};
	size_t count = (size_t)n;
	int *scratch = calloc(6 * count + 3, sizeof *scratch);
	out->owned = calloc(count ? count : 1, sizeof *out->owned);
	out->groups = calloc(count ? count : 1, sizeof *out->groups);
	if (!scratch || !out->owned || !out->groups) {
		free(scratch);
		plan_free(out);
		return error_set(err, ERROR_MEMORY, "no memory to order %d cells; sweep fewer values", n);
	}
	int *starts = scratch, *groups = scratch + count + 1, *rest = groups + count;
	uint64_t state = seed;
	out->n_groups = split(cells, n, cell_same_group, starts);
	order_groups(cells, starts, out->n_groups, &state, groups, rest);
	int at = 0;
	for (int g = 0; g < out->n_groups; g++) {
		int first = starts[groups[g]], size = starts[groups[g] + 1] - first;
		out->groups[g] = (struct plan_group){out->owned + at, size};
		order_group(cells, first, size, &state, out->owned + at, rest);
		at += size;
	}
	free(scratch);
	return 0;
}

void plan_free(struct plan *p)
{
	free(p->groups);
	free(p->owned);
	*p = (struct plan){0};
}

int plan_cell(const struct plan_group *g, int repetition, int i)
{
	return g->sequence[repetition % 2 ? g->n - 1 - i : i];
}
