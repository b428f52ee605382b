/* A report's words: cells, panels, numbers, the rows behind a table, the lines behind a point. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/report_internal.h"

enum {
	WORD = 80 /* bytes of an axis' value */,
	ID = 100,
	COMMIT = 60,
	SOURCES = 2 /* directories that are named one by one */
};

static const char *axis_value(struct report *r, const struct cell *c, enum axis_id a)
{
	char number[AXIS_TEXT_SIZE], model[CELL_MODEL_SIZE];
	if (a == AXIS_MODEL) {
		cell_model_name(c, r->keys, r->head.n_cells, model);
		return document_text(r->d, "%s", model);
	}
	return document_text(r->d, "%s", cell_text(c, a, number));
}

const char *report_cut(struct report *r, const char *text, size_t most)
{
	size_t n = text_cut(text, most);
	return text[n] ? document_text(r->d, "%.*s...", (int)n, text) : text;
}

/* Whether a cell of a comparison stands for both values of an axis, which then tells it from no other. */
static int is_across(const struct cell *c, enum axis_id a)
{
	return axes[a].kind == AXIS_WORD && cell_word(c, a) && !strcmp(cell_word(c, a), COMPARE_ACROSS);
}

/* "fusion full, GPU layers 22" of the axes of which `which` has the bit, behind what is there already. */
static const char *say_axes(struct report *r, const struct cell *c, unsigned which, const char *already)
{
	const char *out = already;
	for (int a = 0; a < AXIS_COUNT; a++)
		if (which >> a & 1 && !is_across(c, (enum axis_id)a))
			out = document_text(r->d, "%s%s%s %s", out, *out ? ", " : "", axes[a].spoken,
					    report_cut(r, axis_value(r, c, (enum axis_id)a), WORD));
	return out;
}

const char *report_cell_name(struct report *r, const struct cell *c)
{
	static const unsigned said =
		1u << AXIS_DEPTH | 1u << AXIS_PROMPT | 1u << AXIS_GEN | 1u << AXIS_MODE | 1u << AXIS_FUSION;
	const char *out = report_label(r, c);
	if (c->n_gen && !is_across(c, AXIS_MODE))
		out = document_text(r->d, "%s %s", out, report_cut(r, cell_word(c, AXIS_MODE), WORD));
	if (r->varies >> AXIS_FUSION & 1 && !is_across(c, AXIS_FUSION))
		out = document_text(r->d, "%s %s", out, report_cut(r, cell_word(c, AXIS_FUSION), WORD));
	return say_axes(r, c, r->varies & ~said, out);
}

const char *report_panel_name(struct report *r, const struct side_panel *p)
{
	return say_axes(r, p->key, r->panels_vary, "");
}

const char *report_label(struct report *r, const struct cell *c)
{
	char label[CELL_LABEL_SIZE];
	cell_label(c, label);
	return document_text(r->d, "%s", label);
}

const char *report_number(struct report *r, double x)
{
	double a = fabs(x);
	if (!isfinite(x))
		return "";
	/* Counts have no decimals. */
	return document_text(r->d, "%.*f", a >= 100 || a == floor(a) ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : 3, x);
}

const char *report_change(struct report *r, double x)
{
	double a = fabs(100 * x);
	if (!isfinite(x))
		return "";
	return document_text(r->d, "%+.*f %%", a >= 99.5 ? 0 : a >= 0.995 ? 1 : 2, 100 * x);
}

const char *report_interval(struct report *r, double low, double high)
{
	if (!isfinite(low) || !isfinite(high))
		return "";
	double a = fmax(fabs(100 * low), fabs(100 * high));
	int digits = a >= 99.5 ? 0 : a >= 0.995 ? 1 : 2;
	return document_text(r->d, "%+.*f to %+.*f", digits, 100 * low, digits, 100 * high);
}

const char *report_count(struct report *r, long n, const char *what)
{
	size_t last = strlen(what) - 1;
	if (n != 1 && what[last] == 'y')
		return document_text(r->d, "%ld %.*sies", n, (int)last, what);
	return document_text(r->d, "%ld %s%s", n, what, n == 1 ? "" : what[last] == 's' ? "es" : "s");
}

const char *report_depth(struct report *r, double depth)
{
	double step = depth < 10 ? 1 : pow(10, floor(log10(depth)) - 1);
	return document_text(r->d, "%.0f", step * round(depth / step));
}

/* ---- rows ---- */

/* The last part of a directory's name: a report is read elsewhere. */
static const char *directory_name(struct report *r, const struct result_set *s)
{
	const char *path = s->directory.path, *end = path + strlen(path);
	while (end > path + 1 && end[-1] == '/')
		end--;
	const char *from = end;
	while (from > path && from[-1] != '/')
		from--;
	return report_cut(r, document_text(r->d, "%.*s", (int)(end - from), from), ID);
}

/* The rows of one set, between its first and its last in the file. */
struct rows {
	const struct run_row *first, *last;
	long n;
	const char *commit;
	int commits_differ;
};

static void add_row(struct rows *x, const struct run_row *row)
{
	const char *commit = row->commit && *row->commit ? row->commit : "unknown";
	x->first = !x->n || row < x->first ? row : x->first;
	x->last = !x->n || row > x->last ? row : x->last;
	x->commits_differ |= x->n && strcmp(x->commit, commit);
	x->commit = x->n ? x->commit : commit;
	x->n++;
}

/* Where the two ids share their first part ("20261122T234735Z-"), the second is its last part alone. */
static const char *id_range(struct report *r, const char *first, const char *last)
{
	const char *dash = strrchr(first, '-');
	size_t shared = dash ? (size_t)(dash - first) : 0;
	if (!strcmp(first, last))
		return report_cut(r, first, ID);
	if (shared && !strncmp(first, last, shared + 1))
		return document_text(r->d, "%s to %s", report_cut(r, first, ID), report_cut(r, last + shared, ID));
	return document_text(r->d, "%s to %s", report_cut(r, first, ID), report_cut(r, last, ID));
}

/* Several directories together: as many rows, between the smallest and the largest id. */
static const char *source_of_many(struct report *r, const struct side *s, const struct rows *x)
{
	const char *first = NULL, *last = NULL, *from = NULL, *to = NULL, *commit = NULL;
	long rows = 0;
	int n = 0, commits_differ = 0;
	for (int i = 0; i < s->n; i++) {
		if (!x[i].n)
			continue;
		n++;
		rows += x[i].n;
		from = from ? from : directory_name(r, s->sets[i]);
		to = directory_name(r, s->sets[i]);
		first = !first || strcmp(x[i].first->run_id, first) < 0 ? x[i].first->run_id : first;
		last = !last || strcmp(x[i].last->run_id, last) > 0 ? x[i].last->run_id : last;
		commits_differ |= x[i].commits_differ || (commit && strcmp(commit, x[i].commit));
		commit = commit ? commit : x[i].commit;
	}
	if (!n)
		return "";
	const char *names =
		strcmp(from, to) ? document_text(r->d, ", %s to %s", from, to) : document_text(r->d, " named %s", from);
	return document_text(r->d, "%s%s: %s %s, commit %s%s", report_count(r, n, "directory"), names,
			     report_count(r, rows, "row"), id_range(r, first, last),
			     commits_differ ? "differs, the first " : "", report_cut(r, commit, COMMIT));
}

static const char *source_of(struct report *r, const struct side *s, const struct rows *x)
{
	const char *text = "";
	if (s->n > SOURCES)
		return source_of_many(r, s, x);
	for (int i = 0; i < s->n; i++)
		if (x[i].n)
			text = document_text(r->d, "%s%s%s: %s %s, commit %s%s", text, *text ? "; " : "",
					     directory_name(r, s->sets[i]), report_count(r, x[i].n, "row"),
					     id_range(r, x[i].first->run_id, x[i].last->run_id),
					     x[i].commits_differ ? "differs, the first " : "",
					     report_cut(r, x[i].commit, COMMIT));
	return text;
}

const char *report_source(struct report *r, const struct side *s, const struct side_cell *const *cells, int n)
{
	struct rows *x = document_take(r->d, (size_t)s->n * sizeof *x);
	for (int i = 0; x && i < n; i++)
		for (int k = 0; k < cells[i]->n; k++)
			add_row(&x[cells[i]->runs[k].set], cells[i]->runs[k].row);
	return x ? source_of(r, s, x) : "";
}

const char *report_source_panel(struct report *r, const struct side *s, int panel)
{
	struct rows *x = document_take(r->d, (size_t)s->n * sizeof *x);
	for (int i = 0; x && i < s->n_cells; i++)
		for (int k = 0; s->cells[i].panel == panel && k < s->cells[i].n; k++)
			add_row(&x[s->cells[i].runs[k].set], s->cells[i].runs[k].row);
	return x ? source_of(r, s, x) : "";
}

const char *report_source_all(struct report *r, const struct side *s, enum report_rows which)
{
	struct rows *x = document_take(r->d, (size_t)s->n * sizeof *x);
	for (int i = 0; x && i < s->n_cells; i++) {
		const struct cell *c = &s->cells[i].cell;
		enum report_rows is = !c->n_gen     ? REPORT_ROWS_PROMPT
				      : c->n_prompt ? REPORT_ROWS_BOTH
						    : REPORT_ROWS_DECODE;
		if (which != REPORT_ROWS_ALL && which != is)
			continue;
		for (int k = 0; k < s->cells[i].n; k++)
			add_row(&x[s->cells[i].runs[k].set], s->cells[i].runs[k].row);
	}
	return x ? source_of(r, s, x) : "";
}

const char *report_tip(struct report *r, const struct side *s, const struct side_cell *c, const char *shows)
{
	static const char *const said[] = {"tokens_per_s",
					   "itl_median_us",
					   "itl_p90_us",
					   "submit_median_us",
					   "gpu_median_us",
					   "prefill_us",
					   "ttft_us",
					   "api_launches_per_token",
					   "node_updates_per_token",
					   "bandwidth_share",
					   "kv_bytes",
					   "kl_divergence",
					   "top1_agreement",
					   "crossing_bytes_per_token",
					   "sm_clock_mhz",
					   "power_w"};
	char numbers[1280] = ""; /* room for each of these */
	const struct side_run *run;
	size_t used = 0;
	int rc = side_typical(c, &run, r->err);
	r->rc = r->rc ? r->rc : rc;
	if (rc || !run)
		return document_text(r->d, "%s" CHART_LINE "%s", report_cell_name(r, &c->cell), shows);
	const struct result_set *set = s->sets[run->set];
	for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
		char value[COLUMN_TEXT_SIZE];
		const char *of = column_text(run->row, side_column(said[i]), value);
		if (*of)
			used += (size_t)snprintf(numbers + used, sizeof numbers - used, CHART_LINE "%s %.40s", said[i],
						 of);
	}
	return document_text(r->d,
			     "%s" CHART_LINE "%s" CHART_LINE "its middle run: %s/runs.csv line %zu" CHART_LINE
			     "run_id %s" CHART_LINE "commit %s%s",
			     report_cell_name(r, &c->cell), shows, directory_name(r, set),
			     set->ranges[run->row - set->rows].line, report_cut(r, run->row->run_id, ID),
			     run->row->commit ? report_cut(r, run->row->commit, COMMIT) : "unknown", numbers);
}
