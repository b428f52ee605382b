#include "harness/report/side.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/metric.h"
#include "harness/stats/stats.h"

static const char *const known_modes[] = {MODE_REFERENCE, "graph-params", "graph-update", "graph-device",
					  "graph-patch",  "graph-loop",   "graph-while"};
enum { N_KNOWN_MODES = sizeof known_modes / sizeof *known_modes };

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for the report");
}

/* ---- cells and runs ---- */

/* The cell's index, or -1. Sets of one matrix have it at the same place. */
static int find_cell(const struct side *s, const struct cell *key, int place)
{
	for (int i = 0; i < s->n_cells; i++) {
		int k = (place + i) % s->n_cells;
		if (cell_same(&s->cells[k].cell, key))
			return k;
	}
	return -1;
}

static int compare_runs(const void *a, const void *b)
{
	const struct side_run *left = a, *right = b;
	if (left->set != right->set)
		return left->set < right->set ? -1 : 1;
	int64_t x = left->row->repetition, y = right->row->repetition;
	if (x != y)
		return x < y ? -1 : 1;
	/* Rows that are not ok may share a repetition: the file's order. */
	return left->row < right->row ? -1 : left->row > right->row;
}

/* Cells of all sets, and for each set where its cells are in them: place, (sum of the sets' cells). */
static int collect_cells(struct side *s, int *place)
{
	for (int i = 0; i < s->n; i++) {
		for (int k = 0; k < s->sets[i]->n_cells; k++) {
			int at = i ? find_cell(s, &s->sets[i]->cells[k], k) : -1;
			if (at < 0) {
				at = s->n_cells++;
				s->cells[at] = (struct side_cell){.cell = s->sets[i]->cells[k], .panel = -1};
			}
			*place++ = at;
		}
	}
	return 0;
}

static void collect_runs(struct side *s, const int *place, struct side_run *runs)
{
	const int *of = place;
	for (int i = 0; i < s->n; of += s->sets[i++]->n_cells)
		for (size_t r = 0; r < s->sets[i]->n_rows; r++)
			s->cells[of[s->sets[i]->rows[r].cell]].n += s->sets[i]->counts[r];
	for (int k = 0; k < s->n_cells; k++) {
		s->cells[k].runs = runs;
		runs += s->cells[k].n;
		s->cells[k].n = 0;
	}
	of = place;
	for (int i = 0; i < s->n; of += s->sets[i++]->n_cells) {
		for (size_t r = 0; r < s->sets[i]->n_rows; r++) {
			const struct run_row *row = &s->sets[i]->rows[r];
			struct side_cell *c = &s->cells[of[row->cell]];
			if (!s->sets[i]->counts[r])
				continue;
			((struct side_run *)c->runs)[c->n++] = (struct side_run){.row = row, .set = i};
			c->n_ok += row->status == RUN_STATUS_OK;
		}
	}
	for (int k = 0; k < s->n_cells; k++)
		qsort((struct side_run *)s->cells[k].runs, (size_t)s->cells[k].n, sizeof *s->cells[k].runs,
		      compare_runs);
}

/* ---- panels ---- */

static int mode_rank(const char *mode)
{
	int i = 0;
	while (i < N_KNOWN_MODES && strcmp(known_modes[i], mode))
		i++;
	return i;
}

int side_decodes(const struct side_cell *c)
{
	return c->cell.n_gen > 0 && !c->cell.n_prompt;
}

static void collect_modes(struct side *s)
{
	for (int k = 0; k < s->n_cells; k++) {
		const char *mode = cell_word(&s->cells[k].cell, AXIS_MODE);
		int i = 0;
		if (!side_decodes(&s->cells[k]))
			continue;
		while (i < s->n_modes && strcmp(s->modes[i], mode))
			i++;
		if (i < s->n_modes || s->n_modes == SIDE_MODES_MAX)
			continue;
		/* In front of those that rank behind it. */
		for (i = s->n_modes++; i && mode_rank(s->modes[i - 1]) > mode_rank(mode); i--)
			s->modes[i] = s->modes[i - 1];
		s->modes[i] = mode;
	}
}

static int find_mode(const struct side *s, const char *mode)
{
	for (int i = 0; i < s->n_modes; i++)
		if (!strcmp(s->modes[i], mode))
			return i;
	return -1;
}

static int same_panel(const struct cell *a, const struct cell *b)
{
	for (int x = 0; x < AXIS_COUNT; x++)
		if (x != AXIS_MODE && x != AXIS_DEPTH && !cell_same_value(a, b, (enum axis_id)x))
			return 0;
	return 1;
}

static void sort_into_panels(struct side *s)
{
	for (int k = 0; k < s->n_cells; k++) {
		struct side_cell *c = &s->cells[k];
		int p = 0;
		if (!side_decodes(c))
			continue;
		while (p < s->n_panels && !same_panel(s->panels[p].key, &c->cell))
			p++;
		if (p == SIDE_PANELS_MAX || find_mode(s, cell_word(&c->cell, AXIS_MODE)) < 0) {
			s->left_out++;
			continue;
		}
		if (p == s->n_panels)
			s->panels[s->n_panels++].key = &c->cell;
		c->panel = p;
	}
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return x < y ? -1 : x > y;
}

/* Modes, depths and the cells at them, into numbers, of which it takes what it needs: *used. */
static void fill_panel(struct side *s, int panel, int *numbers, size_t *used)
{
	struct side_panel *p = &s->panels[panel];
	int *depths = numbers + *used, n = 0, unique = 0, has[SIDE_MODES_MAX] = {0};
	for (int k = 0; k < s->n_cells; k++) {
		if (s->cells[k].panel != panel)
			continue;
		depths[n++] = s->cells[k].cell.n_depth;
		has[find_mode(s, cell_word(&s->cells[k].cell, AXIS_MODE))] = 1;
	}
	qsort(depths, (size_t)n, sizeof *depths, compare_ints);
	for (int i = 0; i < n; i++)
		if (!i || depths[i] != depths[unique - 1])
			depths[unique++] = depths[i];
	for (int m = 0; m < s->n_modes; m++)
		if (has[m])
			p->modes[p->n_modes++] = m;
	p->depths = depths;
	p->n_depths = unique;
	int *at = depths + unique, cells = p->n_modes * unique;
	for (int i = 0; i < cells; i++)
		at[i] = -1;
	for (int k = 0; k < s->n_cells; k++) {
		int m = 0, d = 0;
		if (s->cells[k].panel != panel)
			continue;
		while (p->modes[m] != find_mode(s, cell_word(&s->cells[k].cell, AXIS_MODE)))
			m++;
		while (depths[d] != s->cells[k].cell.n_depth)
			d++;
		at[m * unique + d] = k;
	}
	p->at = at;
	*used += (size_t)unique + (size_t)cells;
}

int side_init(struct side *s, struct result_set *const *sets, int n, struct error *err)
{
	size_t cells = 1, runs = 1, used = 0;
	*s = (struct side){.sets = sets, .n = n};
	for (int i = 0; i < n; i++) {
		cells += (size_t)sets[i]->n_cells;
		runs += sets[i]->n_rows;
	}
	int *place = calloc(cells, sizeof *place);
	s->cells = calloc(cells, sizeof *s->cells);
	s->runs = calloc(runs, sizeof *s->runs);
	s->panels = calloc(SIDE_PANELS_MAX, sizeof *s->panels);
	/* Each panel's depths, as many as cells before they are unique, and each mode's cells at them. */
	s->numbers = calloc(cells * (SIDE_MODES_MAX + 2), sizeof *s->numbers);
	int rc = place && s->cells && s->runs && s->panels && s->numbers ? 0 : no_memory(err);
	if (!rc) {
		collect_cells(s, place);
		collect_runs(s, place, s->runs);
		collect_modes(s);
		sort_into_panels(s);
		for (int p = 0; p < s->n_panels; p++)
			fill_panel(s, p, s->numbers, &used);
	}
	free(place);
	return rc;
}

void side_free(struct side *s)
{
	free(s->cells);
	free(s->runs);
	free(s->panels);
	free(s->numbers);
	*s = (struct side){0};
}

/* ---- values ---- */

const struct column *side_column(const char *name)
{
	const struct column *c = column_find(row_columns, row_n_columns, name);
	assert(c);
	return c;
}

static double row_value(const struct run_row *row, const struct column *column)
{
	if (row->status != RUN_STATUS_OK)
		return NAN;
	return column ? column_number(row, column) : metric_of(row, METRIC_TIME);
}

/* Numbers of runs, by unit and with the set in .unit, become one a set: their median. */
static int by_set(struct side_number *x, int n, struct error *err)
{
	double *values = calloc(n ? (size_t)n : 1, sizeof *values);
	int sets = 0;
	if (!values)
		return no_memory(err);
	for (int i = 0; i < n;) {
		int k = 0;
		int64_t set = x[i].unit;
		for (; i < n && x[i].unit == set; i++)
			values[k++] = x[i].value;
		x[sets++] = (struct side_number){set, stats_median(values, k)};
	}
	free(values);
	return sets;
}

int side_units(const struct side *s, const struct side_cell *c, const struct column *column, struct side_number *out,
	       struct error *err)
{
	int n = 0;
	for (int i = 0; i < c->n; i++) {
		double x = row_value(c->runs[i].row, column);
		if (isfinite(x))
			out[n++] = (struct side_number){s->n > 1 ? c->runs[i].set : c->runs[i].row->repetition, x};
	}
	return s->n > 1 ? by_set(out, n, err) : n;
}

int side_value(const struct side *s, const struct side_cell *c, const struct column *column, struct side_value *out,
	       struct error *err)
{
	struct side_number *units = calloc((size_t)c->n + 1, sizeof *units);
	double *values = calloc((size_t)c->n + 1, sizeof *values);
	struct stats_summary sum;
	*out = (struct side_value){.median = NAN, .min = NAN, .max = NAN, .mad = NAN};
	int n = units && values ? side_units(s, c, column, units, err) : no_memory(err);
	for (int i = 0; i < n; i++)
		values[i] = units[i].value;
	if (n > 0 && stats_summarize(values, n, &sum))
		n = no_memory(err);
	else if (n > 0)
		*out = (struct side_value){n, sum.median, sum.min, sum.max, sum.mad};
	free(units);
	free(values);
	return n < 0 ? n : 0;
}

int side_ratios(const struct side *s, const struct side_cell *c, const struct side_cell *to, struct side_number *out,
		struct error *err)
{
	int n = 0, k = 0;
	for (int i = 0; i < c->n; i++) {
		const struct side_run *run = &c->runs[i];
		while (k < to->n &&
		       (to->runs[k].set < run->set ||
			(to->runs[k].set == run->set && to->runs[k].row->repetition < run->row->repetition)))
			k++;
		/* Of rows of one repetition that count, one at most is ok. */
		for (int j = k;
		     j < to->n && to->runs[j].set == run->set && to->runs[j].row->repetition == run->row->repetition;
		     j++) {
			double ratio = row_value(run->row, NULL) / row_value(to->runs[j].row, NULL);
			if (isfinite(ratio) && ratio > 0 && n < c->n)
				out[n++] = (struct side_number){s->n > 1 ? run->set : run->row->repetition, ratio};
		}
	}
	return s->n > 1 ? by_set(out, n, err) : n;
}

int side_effect(const struct side *s, const struct side_cell *c, const struct side_cell *to, struct paired_effect *out,
		struct error *err)
{
	struct side_number *units = calloc((size_t)c->n + 1, sizeof *units);
	double *values = calloc((size_t)c->n + 1, sizeof *values);
	int n = units && values ? side_ratios(s, c, to, units, err) : no_memory(err);
	*out = (struct paired_effect){.change = NAN, .low = NAN, .high = NAN};
	for (int i = 0; i < n; i++)
		values[i] = units[i].value;
	if (n > 0 && paired_effect_of(values, n, out))
		n = no_memory(err);
	free(units);
	free(values);
	return n < 0 ? n : 0;
}

const struct side_panel *side_find_panel(const struct side *s, const struct cell *key)
{
	struct cell by_name = *key;
	by_name.model_hash[0] = '\0';
	for (int p = 0; p < s->n_panels; p++)
		if (same_panel(s->panels[p].key, &by_name))
			return &s->panels[p];
	return NULL;
}

int side_direct(const struct side *s, const struct side_panel *p)
{
	for (int m = 0; m < p->n_modes; m++)
		if (!strcmp(s->modes[p->modes[m]], MODE_REFERENCE))
			return m;
	return -1;
}

const struct side_cell *side_at(const struct side *s, const struct side_panel *p, int mode, int depth)
{
	int k = p->at[mode * p->n_depths + depth];
	return k < 0 ? NULL : &s->cells[k];
}

int side_mode_style(const struct side *s, int mode)
{
	int rank = mode_rank(s->modes[mode]), known = 0;
	if (rank < N_KNOWN_MODES)
		return rank;
	while (known < s->n_modes && mode_rank(s->modes[known]) < N_KNOWN_MODES)
		known++;
	return N_KNOWN_MODES + mode - known;
}

int side_typical(const struct side_cell *c, const struct side_run **out, struct error *err)
{
	double *values = calloc((size_t)c->n + 1, sizeof *values), *sorted;
	int n = 0;
	*out = NULL;
	for (int i = 0; values && i < c->n; i++) {
		double x = row_value(c->runs[i].row, NULL);
		if (isfinite(x))
			values[n++] = x;
	}
	sorted = values && n ? stats_sorted(values, n) : NULL;
	free(values);
	if (!sorted)
		return n || !values ? no_memory(err) : 0;
	for (int i = 0; i < c->n && !*out; i++)
		if (row_value(c->runs[i].row, NULL) == sorted[(n - 1) / 2])
			*out = &c->runs[i];
	free(sorted);
	return 0;
}
