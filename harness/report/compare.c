#include "harness/report/compare.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/record/result_place.h"
#include "harness/report/compare_cells.h"
#include "harness/report/compare_environment.h"
#include "harness/report/compare_rows.h"
#include "harness/report/compare_sides.h"
#include "harness/stats/stats.h"

enum {
	REPETITIONS_MAX = 100000,
	/* A directory is untrusted, and its rows may be of as many cells as repetitions. A sweep's table is full. */
	UNITS_MAX = 1 << 20, /* of all cells; or */
	UNITS_A_ROW = 64,
};

/* The sets of one side. */
struct side {
	struct result_set *const *sets;
	int n;
	int n_units;           /* at most, of a cell */
	int64_t *repetitions;  /* (n_units) of one directory: the numbers that its rows have, ascending */
	int64_t last;          /* of them, the largest number */
	size_t n_rows;         /* of all sets */
	struct set_rows *rows; /* (n) */
};

void compare_options_default(struct compare_options *o)
{
	*o = (struct compare_options){.gate_exact = 1u << EXACT_LAUNCHES | 1u << EXACT_NODE_UPDATES |
						    1u << EXACT_PROMPT_LAUNCHES | 1u << EXACT_PROMPT_NODE_UPDATES,
				      .process = 0.05};
	verdict_options_default(&o->verdict);
}

void compare_free(struct comparison *c)
{
	for (int i = 0; i < c->n_differences; i++)
		free(c->differences[i]);
	free(c->differences);
	free(c->units);
	free(c->kept);
	compare_cells_free(c);
	c->kept = NULL;
	c->units = NULL;
	c->differences = NULL;
	c->n_differences = 0;
}

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for the comparison");
}

/* ---- units ---- */

/* Sorts the set's rows by their cells, by counting. Free what is in *out also after a failure. */
static int sort_rows(const struct result_set *s, struct set_rows *out, struct error *err)
{
	out->rows = calloc(s->n_rows + 1, sizeof *out->rows);
	out->first = calloc((size_t)s->n_cells + 2, sizeof *out->first);
	if (!out->rows || !out->first)
		return no_memory(err);
	for (size_t r = 0; r < s->n_rows; r++)
		out->first[s->rows[r].cell + 1] += s->counts[r];
	for (int k = 0; k < s->n_cells; k++)
		out->first[k + 1] += out->first[k];
	int *at = calloc((size_t)s->n_cells + 1, sizeof *at);
	if (!at)
		return no_memory(err);
	for (size_t r = 0; r < s->n_rows; r++)
		if (s->counts[r])
			out->rows[out->first[s->rows[r].cell] + at[s->rows[r].cell]++] = (int)r;
	free(at);
	return 0;
}

/* The median of the runs that count of a cell in a set; NAN where none is ok and has the metric. */
static double set_value(const struct result_set *s, const struct set_rows *of, int cell, enum metric_id m,
			double *scratch)
{
	int n = 0;
	for (int i = of->first[cell]; i < of->first[cell + 1]; i++) {
		const struct run_row *row = &s->rows[of->rows[i]];
		double x = row->status == RUN_STATUS_OK ? metric_of(row, m) : NAN;
		if (isfinite(x))
			scratch[n++] = x;
	}
	return stats_median(scratch, n);
}

static int compare_numbers(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/*
 * A side's units of a cell into out: (n_units), NAN where a unit has none. Of several directories, one each; of one, a
 * repetition each.
 */
static void fill_units(const struct side *s, const int *index, enum metric_id m, double *out, double *scratch)
{
	for (int i = 0; i < s->n_units; i++)
		out[i] = NAN;
	if (s->n > 1) {
		for (int i = 0; i < s->n; i++)
			out[i] = index[i] < 0 ? NAN : set_value(s->sets[i], &s->rows[i], index[i], m, scratch);
		return;
	}
	const struct set_rows *of = &s->rows[0];
	for (int i = index[0] < 0 ? 0 : of->first[index[0]]; index[0] >= 0 && i < of->first[index[0] + 1]; i++) {
		const struct run_row *row = &s->sets[0]->rows[of->rows[i]];
		const int64_t *unit = bsearch(&row->repetition, s->repetitions, (size_t)s->n_units,
					      sizeof *s->repetitions, compare_numbers);
		if (row->status == RUN_STATUS_OK && unit)
			out[unit - s->repetitions] = metric_of(row, m);
	}
}

/* Leaves out what is NAN; of pairs, both. */
static void compact(double *x, int *n, double *y, int *m, int paired)
{
	int a = 0, b = 0;
	if (paired) {
		for (int i = 0; i < *n; i++)
			if (isfinite(x[i]) && isfinite(y[i])) {
				x[a] = x[i];
				y[a++] = y[i];
			}
		*n = *m = a;
		return;
	}
	for (int i = 0; i < *n; i++)
		if (isfinite(x[i]))
			x[a++] = x[i];
	for (int i = 0; i < *m; i++)
		if (isfinite(y[i]))
			y[b++] = y[i];
	*n = a;
	*m = b;
}

static int count_units(struct side *s, struct error *err)
{
	s->n_units = s->n;
	for (int i = 0; i < s->n; i++) {
		for (size_t r = 0; r < s->sets[i]->n_rows; r++) {
			const struct run_row *row = &s->sets[i]->rows[r];
			if (row->until && *row->until && strcmp(row->until, "fixed"))
				return error_set(
					err, ERROR_INPUT,
					"%s: run %s: how often it was repeated depended on the results (--until); "
					"measure a fixed number to compare",
					s->sets[i]->directory.path, row->run_id);
			if (row->repetition >= REPETITIONS_MAX)
				return error_set(
					err, ERROR_INPUT,
					"%s: run %s: repetition %lld; no sweep has more than %d: restore the line",
					s->sets[i]->directory.path, row->run_id, (long long)row->repetition,
					REPETITIONS_MAX);
			if (row->repetition > s->last)
				s->last = row->repetition;
		}
		s->n_rows += s->sets[i]->n_rows;
		if (!s->sets[i]->n_rows)
			return error_set(err, ERROR_INPUT, "%s: there is no run in it", s->sets[i]->directory.path);
	}
	assert(s->n > 0);
	s->rows = calloc(s->n > 0 ? (size_t)s->n : 1, sizeof *s->rows);
	int rc = s->rows ? 0 : no_memory(err);
	for (int i = 0; i < s->n && !rc; i++)
		rc = sort_rows(s->sets[i], &s->rows[i], err);
	return rc;
}

/*
 * The repetitions of two directories as units: as many as rows have, not as far as their numbers go. Of pairs, a number
 * of either side is a unit of both, so that those with one number are one pair.
 */
static int number_units(struct side *side, const struct side *other, int paired, struct error *err)
{
	const struct side *from[2] = {side, other};
	size_t n = 0, kept = 0, room = side->n_rows + (paired ? other->n_rows : 0);
	if (side->n > 1)
		return 0;
	side->repetitions = calloc(room, sizeof *side->repetitions);
	if (!side->repetitions)
		return no_memory(err);
	for (int k = 0; k < 1 + !!paired; k++)
		for (size_t r = 0; r < from[k]->sets[0]->n_rows; r++)
			side->repetitions[n++] = from[k]->sets[0]->rows[r].repetition;
	qsort(side->repetitions, n, sizeof *side->repetitions, compare_numbers);
	for (size_t i = 0; i < n; i++)
		if (!kept || side->repetitions[i] != side->repetitions[kept - 1])
			side->repetitions[kept++] = side->repetitions[i];
	side->n_units = (int)kept;
	return 0;
}

static int check_units(const struct comparison *c, const struct side *base, const struct side *head, struct error *err)
{
	size_t units = (size_t)c->n * (size_t)(base->n_units + head->n_units), rows = base->n_rows + head->n_rows;
	if (units <= UNITS_MAX || units / UNITS_A_ROW <= rows)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "%d cells and up to %d repetitions, and only %zu rows: each cell was repeated otherwise; "
			 "measure them in one sweep",
			 c->n, base->n_units > head->n_units ? base->n_units : head->n_units, rows);
}

static void free_side(struct side *s)
{
	free(s->repetitions);
	for (int i = 0; s->rows && i < s->n; i++) {
		free(s->rows[i].rows);
		free(s->rows[i].first);
	}
	free(s->rows);
}

/* ---- judging ---- */

struct judge {
	struct comparison *c;
	struct side base, head;
	int *index;      /* (n, base.n + head.n): each cell's place in each set */
	double *scratch; /* of the largest set's rows */
};

static int judge_init(struct judge *j, struct error *err)
{
	struct comparison *c = j->c;
	size_t sets = (size_t)(j->base.n + j->head.n), rows = 1;
	for (int i = 0; i < j->base.n; i++)
		rows = j->base.sets[i]->n_rows > rows ? j->base.sets[i]->n_rows : rows;
	for (int i = 0; i < j->head.n; i++)
		rows = j->head.sets[i]->n_rows > rows ? j->head.sets[i]->n_rows : rows;
	j->index = calloc(sets, (size_t)(c->n > 0 ? c->n : 1) * sizeof *j->index);
	j->scratch = calloc(rows, sizeof *j->scratch);
	if (!j->index || !j->scratch)
		return no_memory(err);
	compare_cells_place(c, j->base.sets, j->base.n, j->index, (int)sets, 0);
	compare_cells_place(c, j->head.sets, j->head.n, j->index, (int)sets, j->base.n);
	return 0;
}

/* The units of every cell, (n, base.n_units + head.n_units), compacted, with their numbers in `of`: (n). */
static void gather(const struct judge *j, enum metric_id m, double *units, struct verdict_cell *of)
{
	const struct comparison *c = j->c;
	size_t width = (size_t)(j->base.n_units + j->head.n_units), sets = (size_t)(j->base.n + j->head.n);
	for (int i = 0; i < c->n; i++) {
		double *x = units + (size_t)i * width, *y = x + j->base.n_units;
		const int *index = j->index + (size_t)i * sets;
		fill_units(&j->base, index, m, x, j->scratch);
		fill_units(&j->head, index + j->base.n, m, y, j->scratch);
		of[i] = (struct verdict_cell){.baseline = x,
					      .candidate = y,
					      .n = j->base.n_units,
					      .m = j->head.n_units,
					      .paired = c->options.paired};
	}
}

static const struct verdict nothing_known = {.kind = VERDICT_INCONCLUSIVE,
					     .effect = NAN,
					     .low = NAN,
					     .high = NAN,
					     .p = 1,
					     .p_holm = 1,
					     .p_bh = 1,
					     .p_least = 1,
					     .detectable = NAN,
					     .variability = NAN};

/*
 * Judges the cells that have values on both sides as one family. out: (n), of the others a verdict without effect.
 * Compacts the units.
 */
static int judge_family(const struct comparison *c, struct verdict_cell *of, struct verdict *out, struct error *err)
{
	size_t room = c->n > 0 ? (size_t)c->n : 1;
	struct verdict_cell *family = calloc(room, sizeof *family);
	struct verdict *verdicts = calloc(room, sizeof *verdicts);
	int *place = calloc(room, sizeof *place), n = 0, rc = 0;
	if (!family || !verdicts || !place)
		rc = no_memory(err);
	for (int i = 0; i < c->n && !rc; i++) {
		compact((double *)of[i].baseline, &of[i].n, (double *)of[i].candidate, &of[i].m, of[i].paired);
		place[i] = of[i].n && of[i].m ? n : -1;
		if (place[i] >= 0)
			family[n++] = of[i];
	}
	if (!rc && n)
		rc = verdict_compare(family, n, &c->options.verdict, verdicts, err);
	for (int i = 0; i < c->n && !rc; i++)
		out[i] = place[i] >= 0 ? verdicts[place[i]] : nothing_known;
	free(place);
	free(verdicts);
	free(family);
	return rc;
}

/* A change that two processes of one program may show, where there is but one a side, is none that can be told. */
static void doubt_processes(const struct comparison *c, struct verdict *v)
{
	double nearest = v->kind == VERDICT_SLOWER ? v->low : -v->high;
	if (c->single_process && (v->kind == VERDICT_SLOWER || v->kind == VERDICT_FASTER) &&
	    nearest < c->options.process)
		v->kind = VERDICT_INCONCLUSIVE;
}

static int judge_metric(const struct judge *j, enum metric_id m, double *units, struct verdict_cell *of,
			struct verdict *verdicts, struct error *err)
{
	struct comparison *c = j->c;
	gather(j, m, units, of);
	int rc = judge_family(c, of, verdicts, err);
	for (int i = 0; i < c->n && !rc; i++) {
		struct compare_value *v = &c->cells[i].values[m];
		*v = (struct compare_value){.n = of[i].n, .m = of[i].m, .verdict = verdicts[i]};
		v->base = stats_median(of[i].baseline, of[i].n);
		v->head = stats_median(of[i].candidate, of[i].m);
		v->tiny = fabs(v->head - v->base) < metrics[m].floor &&
			  (v->verdict.kind == VERDICT_SLOWER || v->verdict.kind == VERDICT_FASTER);
		if (v->tiny)
			v->verdict.kind = VERDICT_SAME;
		/* Two processes take the same memory. */
		if (m != METRIC_MEMORY)
			doubt_processes(c, &v->verdict);
	}
	return rc;
}

/*
 * What the cells have in common, from each unit's median over the cells of log(value / the cell's median): the verdict
 * on it, and every cell's verdict once it is taken out. Units are those before compact.
 */
static int judge_common(const struct judge *j, double *units, struct verdict_cell *of, struct verdict *verdicts,
			struct error *err)
{
	struct comparison *c = j->c;
	int width = j->base.n_units + j->head.n_units, rc = 0;
	double *common = calloc((size_t)width, sizeof *common);
	double *column = calloc((size_t)c->n + 1, sizeof *column);
	double *centre = calloc((size_t)c->n + 1, sizeof *centre);
	if (!common || !column || !centre)
		rc = no_memory(err);
	c->common = nothing_known;
	if (!rc)
		gather(j, METRIC_TIME, units, of);
	for (int i = 0; i < c->n && !rc; i++) {
		int n = 0;
		for (int k = 0; k < j->base.n_units; k++)
			if (isfinite(of[i].baseline[k]))
				j->scratch[n++] = of[i].baseline[k];
		centre[i] = stats_median(j->scratch, n);
		c->common_cells += isfinite(centre[i]) && c->cells[i].values[METRIC_TIME].m > 0;
	}
	for (int k = 0; k < width && !rc; k++) {
		int n = 0;
		for (int i = 0; i < c->n; i++) {
			double x = units[(size_t)i * (size_t)width + (size_t)k];
			if (isfinite(x) && isfinite(centre[i]))
				column[n++] = x / centre[i];
		}
		common[k] = n >= COMPARE_COMMON_CELLS_MIN ? stats_median(column, n) : NAN;
	}
	if (!rc && c->common_cells >= COMPARE_COMMON_CELLS_MIN) {
		for (int i = 0; i < c->n; i++)
			for (int k = 0; k < width; k++)
				units[(size_t)i * (size_t)width + (size_t)k] /= common[k];
		rc = judge_family(c, of, verdicts, err);
		for (int i = 0; i < c->n && !rc; i++)
			c->cells[i].relative = verdicts[i];
		for (int i = 0; i < c->n && !rc; i++)
			doubt_processes(c, &c->cells[i].relative);
		struct verdict_cell all = {.baseline = common,
					   .candidate = common + j->base.n_units,
					   .n = j->base.n_units,
					   .m = j->head.n_units,
					   .paired = c->options.paired};
		compact(common, &all.n, common + j->base.n_units, &all.m, all.paired);
		if (!rc && all.n && all.m)
			rc = verdict_compare(&all, 1, &c->options.verdict, &c->common, err);
		doubt_processes(c, &c->common);
	} else {
		for (int i = 0; i < c->n && !rc; i++)
			c->cells[i].relative = c->common;
	}
	free(centre);
	free(column);
	free(common);
	return rc;
}

/* ---- what became of each cell ---- */

/*
 * Cells whose change relative to the common one is a verdict against it: they stood still, or moved the other way. One
 * that the common change would move by less than clocks tell says nothing.
 */
static int count_apart(const struct comparison *c)
{
	enum verdict_kind against = c->common.effect > 0 ? VERDICT_FASTER : VERDICT_SLOWER;
	int n = 0;
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = &c->cells[i];
		double expected = fabs(c->common.effect) * k->values[METRIC_TIME].base;
		n += k->relative.kind == against && expected >= metrics[METRIC_TIME].floor;
	}
	return n;
}

/* Whether the common change may be the machine's, so that a cell that moved no further is not held against head. */
static int takes_common_out(const struct comparison *c)
{
	if (!isfinite(c->common.effect) || c->common.kind == VERDICT_SAME)
		return 0;
	if (c->options.gate == COMPARE_GATE_AUTO)
		return !c->options.paired && !c->common_apart;
	return c->options.gate == COMPARE_GATE_RELATIVE;
}

/* What a cell that ran on both sides became. */
static enum compare_outcome judge_cell(const struct comparison *c, const struct compare_cell *k)
{
	static const enum compare_outcome of[] = {[VERDICT_SAME] = COMPARE_SAME,
						  [VERDICT_FASTER] = COMPARE_FASTER,
						  [VERDICT_SLOWER] = COMPARE_SLOWER,
						  [VERDICT_INCONCLUSIVE] = COMPARE_UNCLEAR};
	enum verdict_kind kind = k->values[METRIC_TIME].verdict.kind,
			  together = c->common.effect > 0 ? VERDICT_SLOWER : VERDICT_FASTER;
	if (kind != together || kind == k->relative.kind || !takes_common_out(c))
		return of[kind];
	/* Whether all moved cannot be told: then neither can it of the cell, which does not stand out. */
	return c->common.kind == together ? COMPARE_COMMON : COMPARE_UNCLEAR;
}

static void settle_outcomes(struct comparison *c)
{
	c->common_apart = isfinite(c->common.effect) && c->common.kind != VERDICT_SAME ? count_apart(c) : 0;
	for (int i = 0; i < c->n; i++) {
		struct compare_cell *k = &c->cells[i];
		if (k->outcome == COMPARE_WRONG)
			;
		else if (k->ok_base && !k->ok_head)
			k->outcome = COMPARE_LOST;
		else if (!k->ok_base)
			k->outcome = k->ok_head ? COMPARE_GAINED : COMPARE_NOT_RUN;
		else
			k->outcome = judge_cell(c, k);
		c->common_explains += k->outcome == COMPARE_COMMON;
		c->count[k->outcome]++;
		c->exact_gated += k->exact_gates != 0;
	}
}

static int check_differences(const struct comparison *c, struct error *err)
{
	if (!c->n_differences || c->options.allow_env_diff)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "the sides were not measured alike: %s%s%s; measure both alike, or say --allow-env-diff",
			 c->differences[0], c->n_differences > 1 ? "; " : "",
			 c->n_differences > 1 ? c->differences[1] : "");
}

static int check_sides(struct comparison *c, const struct side *base, const struct side *head, struct error *err)
{
	int rc = compare_sides_distinct(base->sets, base->n, head->sets, head->n, err);
	for (int i = 0; i < base->n + head->n && !rc; i++) {
		const struct result_set *s = i < base->n ? base->sets[i] : head->sets[i - base->n];
		c->merged |= result_places(s).several;
		if (i && compare_environment(base->sets[0], s, &c->differences, &c->n_differences, err))
			return ERROR_MEMORY;
	}
	if (!rc)
		rc = check_differences(c, err);
	if (!rc && c->options.paired && base->n != head->n)
		return error_set(err, ERROR_INPUT,
				 "--paired: %d directories of base and %d of head; pairs need as many", base->n,
				 head->n);
	return rc;
}

int compare_run(struct result_set *const *base, int n_base, struct result_set *const *head, int n_head,
		const struct compare_options *o, struct comparison *out, struct error *err)
{
	*out = (struct comparison){.options = *o, .n_base = n_base, .n_head = n_head};
	struct judge j = {.c = out, .base = {.sets = base, .n = n_base}, .head = {.sets = head, .n = n_head}};
	struct verdict *verdicts = NULL;
	double *units = NULL;
	out->single_process = n_base == 1 || n_head == 1;
	int rc = check_sides(out, &j.base, &j.head, err);
	if (!rc)
		rc = count_units(&j.base, err);
	if (!rc)
		rc = count_units(&j.head, err);
	/* Sides of different kinds of units are compared by the coarser one. */
	if (!rc && (n_base == 1) != (n_head == 1))
		rc = error_set(
			err, ERROR_INPUT,
			"one side has %d directories and the other one: processes and runs are no equal units; give "
			"several of each, or one",
			n_base > n_head ? n_base : n_head);
	if (!rc && o->paired && n_base == 1 && j.base.last != j.head.last)
		rc = error_set(err, ERROR_INPUT, "--paired: base has %lld repetitions and head %lld",
			       (long long)j.base.last + 1, (long long)j.head.last + 1);
	if (!rc)
		rc = number_units(&j.base, &j.head, o->paired, err);
	if (!rc)
		rc = number_units(&j.head, &j.base, o->paired, err);
	if (!rc)
		rc = compare_cells_collect(out, base, n_base, 0, err);
	if (!rc)
		rc = compare_cells_collect(out, head, n_head, 1, err);
	if (!rc)
		rc = compare_cells_match(out, err);
	if (!rc)
		rc = check_units(out, &j.base, &j.head, err);
	if (!rc)
		rc = judge_init(&j, err);
	if (!rc) {
		size_t width = (size_t)(j.base.n_units + j.head.n_units),
		       most = width > (size_t)out->n ? width : (size_t)out->n;
		double *grown = realloc(j.scratch, (most + out->n + 1) * sizeof *grown);
		j.scratch = grown ? grown : j.scratch;
		units = calloc((size_t)out->n * width, sizeof *units);
		out->units = calloc((size_t)out->n * width, sizeof *out->units);
		out->kept = calloc((size_t)out->n, sizeof *out->kept);
		verdicts = calloc((size_t)out->n, sizeof *verdicts);
		rc = grown && units && out->units && out->kept && verdicts ? 0 : no_memory(err);
	}
	struct verdict_cell *of = rc ? NULL : calloc((size_t)out->n, sizeof *of);
	if (!rc && !of)
		rc = no_memory(err);
	for (int m = METRIC_P90; m < METRIC_COUNT && !rc; m++)
		rc = judge_metric(&j, (enum metric_id)m, units, of, verdicts, err);
	if (!rc)
		rc = judge_metric(&j, METRIC_TIME, out->units, out->kept, verdicts, err);
	if (!rc)
		rc = judge_common(&j, units, of, verdicts, err);
	for (int i = 0; i < out->n && !rc; i++) {
		const int *index = j.index + (size_t)i * (size_t)(n_base + n_head);
		for (int k = 0; k < n_base + n_head && !rc; k++) {
			const struct side *side = k < n_base ? &j.base : &j.head;
			int at = k < n_base ? k : k - n_base;
			if (index[k] >= 0)
				rc = compare_rows_look(out, &out->cells[i], side->sets[at], &side->rows[at], index[k],
						       k >= n_base, err);
		}
		compare_rows_settle(&out->cells[i], o->gate_exact);
	}
	if (!rc)
		rc = check_differences(out, err);
	if (!rc) {
		settle_outcomes(out);
		out->least_units = verdict_least_runs(out->n, o->verdict.alpha);
	}
	free(of);
	free(verdicts);
	free(units);
	free_side(&j.base);
	free_side(&j.head);
	free(j.scratch);
	free(j.index);
	return rc;
}

double compare_variation(const struct comparison *c)
{
	double *x = calloc((size_t)c->n + 1, sizeof *x);
	int n = 0;
	for (int i = 0; x && i < c->n; i++) {
		/* Of a pair's log ratio, which varies by the square root of two more than a unit does. */
		double deviation = c->cells[i].values[METRIC_TIME].verdict.variability / sqrt(2);
		if (isfinite(deviation))
			x[n++] = deviation;
	}
	double median = stats_median(x, n);
	free(x);
	return median;
}

int compare_exit_code(const struct comparison *c)
{
	if (c->count[COMPARE_WRONG])
		return 4;
	if (c->count[COMPARE_SLOWER] || c->count[COMPARE_LOST] || c->exact_gated)
		return 1;
	return c->count[COMPARE_UNCLEAR] || c->common_explains ? 3 : 0;
}
