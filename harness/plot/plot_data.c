#include "harness/plot/plot_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/stats/stats.h"

static const char *const known_modes[] = {"direct",      "graph-params", "graph-update", "graph-device",
					  "graph-patch", "graph-loop",   "graph-while"};
enum { N_KNOWN_MODES = sizeof known_modes / sizeof *known_modes };

static int no_memory(const struct plot_data *d, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory", d->set.directory.path);
}

/* Of an axis or key. */
static const struct column *key_column(int key)
{
	static const char *const others[] = {
		[PLOT_KEY_MODEL - AXIS_COUNT] = "model",
		[PLOT_KEY_ARCH - AXIS_COUNT] = "arch",
		[PLOT_KEY_WEIGHT_TYPE - AXIS_COUNT] = "weight_type",
		[PLOT_KEY_DEVICE - AXIS_COUNT] = "device",
		[PLOT_KEY_COMMIT - AXIS_COUNT] = "commit",
	};
	return column_find(row_columns, row_n_columns, key < AXIS_COUNT ? axes[key].column : others[key - AXIS_COUNT]);
}

static bool same_value(const struct run_row *a, const struct run_row *b, int key)
{
	if (key == AXIS_MODE || key == AXIS_DEPTH)
		return true;
	/* Files of one name may have different contents. */
	if (key == AXIS_MODEL && *a->model_hash && *b->model_hash && strcmp(a->model_hash, b->model_hash))
		return false;
	return column_same(a, b, key_column(key));
}

bool plot_data_same_key(const struct plot_data *d, int a, int b, int key)
{
	return same_value(d->panels[a].row, d->panels[b].row, key);
}

const char *plot_data_key(const struct plot_data *d, int panel, int key)
{
	const struct plot_panel *p = &d->panels[panel];
	char number[COLUMN_TEXT_SIZE];
	if (key == AXIS_MODEL)
		return p->model;
	if (key < AXIS_COUNT && axes[key].kind == AXIS_INT)
		return p->numbers[key];
	return column_text(p->row, key_column(key), number);
}

/* Times, rates and sizes: a negative one is a corrupt file. */
static int check_amount(const struct plot_data *d, const struct run_row *row, const char *column, double value,
			struct error *err)
{
	if (!(value < 0))
		return 0;
	return error_set(err, ERROR_INPUT,
			 "%s/runs.csv: line %zu, column '%s': a negative number (%g); restore the line, or take it out",
			 d->set.directory.path, d->set.ranges[row - d->set.rows].line, column, value);
}

static int find_panel(struct plot_data *d, const struct run_row *row, struct error *err)
{
	for (int p = 0; p < d->n_panels; p++) {
		bool same = true;
		for (int key = 0; key < PLOT_KEY_COUNT && same; key++)
			same = same_value(d->panels[p].row, row, key);
		if (same)
			return p;
	}
	if (d->n_panels == PLOT_DATA_MAX_COMBINATIONS)
		return error_set(err, ERROR_INPUT,
				 "%s: more than %d combinations of axes other than mode and depth to draw; plot a part "
				 "of it",
				 d->set.directory.path, PLOT_DATA_MAX_COMBINATIONS);
	struct plot_panel *p = &d->panels[d->n_panels];
	p->row = row;
	cell_model_name(&d->set.cells[row->cell], d->set.cells, d->set.n_cells, p->model);
	for (int a = 0; a < AXIS_COUNT; a++) {
		char number[COLUMN_TEXT_SIZE];
		if (axes[a].kind == AXIS_INT)
			snprintf(p->numbers[a], sizeof p->numbers[a], "%s", column_text(row, key_column(a), number));
	}
	return d->n_panels++;
}

static int mode_rank(const char *mode)
{
	int i = 0;
	while (i < N_KNOWN_MODES && strcmp(known_modes[i], mode))
		i++;
	return i;
}

static int compare_modes(const void *a, const void *b)
{
	const char *left = *(const char *const *)a, *right = *(const char *const *)b;
	int by_rank = mode_rank(left) - mode_rank(right);
	return by_rank ? by_rank : strcmp(left, right);
}

static int find_mode(const struct plot_data *d, const char *mode)
{
	int i = 0;
	while (i < d->n_modes && strcmp(d->modes[i], mode))
		i++;
	return i;
}

/* The rows with generated tokens that are ok and count become runs; their modes are collected. */
static int collect_runs(struct plot_data *d, struct error *err)
{
	const char *path = d->set.directory.path;
	d->runs = calloc(d->set.n_rows + 1, sizeof *d->runs);
	if (!d->runs)
		return no_memory(d, err);
	for (size_t i = 0; i < d->set.n_rows; i++) {
		const struct run_row *row = &d->set.rows[i];
		if (row->n_gen == ROW_UNKNOWN || row->n_gen == 0 || row->n_prompt > 0)
			continue; /* of generations alone */
		if (row->status != RUN_STATUS_OK) {
			d->n_left_out++;
			continue;
		}
		if (!d->set.counts[i])
			continue;
		struct plot_run *run = &d->runs[d->n_runs];
		*run = (struct plot_run){.row = row, .depth = (long)row->n_depth, .repetition = (long)row->repetition};
		run->value[PLOT_METRIC_ITL] = row->itl_median_us;
		run->value[PLOT_METRIC_SUBMIT] = row->submit_median_us;
		run->combination = find_panel(d, row, err);
		if (run->combination < 0)
			return run->combination;
		if (find_mode(d, row->mode) == d->n_modes) {
			if (d->n_modes == PLOT_DATA_MAX_MODES)
				return error_set(err, ERROR_INPUT,
						 "%s/runs.csv: line %zu: more than %d modes; plot a part of it", path,
						 d->set.ranges[i].line, PLOT_DATA_MAX_MODES);
			d->modes[d->n_modes++] = row->mode;
		}
		d->n_runs++;
	}
	if (!d->n_runs)
		return error_set(err, ERROR_INPUT,
				 "%s/runs.csv: no row of a generation alone (n_gen > 0, n_prompt 0) with status ok: "
				 "nothing to plot",
				 path);
	qsort(d->modes, (size_t)d->n_modes, sizeof *d->modes, compare_modes);
	return 0;
}

static bool in_cell(const struct plot_run *run, int panel, int mode, long depth)
{
	return run->combination == panel && run->mode == mode && run->depth == depth;
}

int plot_data_insert(long *list, int *n, long value)
{
	int k = 0;
	while (k < *n && list[k] < value)
		k++;
	if (k < *n && list[k] == value)
		return 1;
	if (*n == PLOT_DATA_MAX_DEPTHS)
		return 0;
	memmove(&list[k + 1], &list[k], (size_t)(*n - k) * sizeof *list);
	list[k] = value;
	(*n)++;
	return 1;
}

static int fill_panels(struct plot_data *d, struct error *err)
{
	for (size_t i = 0; i < d->n_runs; i++) {
		struct plot_run *run = &d->runs[i];
		struct plot_panel *p = &d->panels[run->combination];
		run->mode = find_mode(d, run->row->mode);
		if (!plot_data_insert(p->depths, &p->n_depths, run->depth))
			return error_set(err, ERROR_INPUT, "%s: more than %d depths; plot a part of it",
					 d->set.directory.path, PLOT_DATA_MAX_DEPTHS);
	}
	for (int c = 0; c < d->n_panels; c++) {
		struct plot_panel *p = &d->panels[c];
		for (int m = 0; m < d->n_modes; m++) {
			size_t i = 0;
			while (i < d->n_runs && (d->runs[i].combination != c || d->runs[i].mode != m))
				i++;
			if (i < d->n_runs)
				p->modes[p->n_modes++] = m;
		}
	}
	return 0;
}

/* One run's tokens behind those that are there. */
static int load_run(struct plot_data *d, struct plot_run *run, size_t *capacity, struct error *err)
{
	struct token_record *tokens;
	size_t n;
	int rc = result_set_tokens(&d->set, (size_t)(run->row - d->set.rows), &tokens, &n, err);
	if (rc)
		return rc;
	if (d->n_tokens + n > *capacity) {
		size_t more = 2 * (d->n_tokens + n);
		struct plot_token *grown = realloc(d->tokens, more * sizeof *grown);
		if (!grown) {
			free(tokens);
			return no_memory(d, err);
		}
		d->tokens = grown;
		*capacity = more;
	}
	run->first_token = d->n_tokens;
	run->n_tokens = n;
	for (size_t i = 0; i < n && !rc; i++) {
		const struct token_record *t = &tokens[i];
		d->tokens[d->n_tokens++] = (struct plot_token){
			.measured = t->phase == TOKEN_PHASE_MEASURE,
			.value = {[PLOT_METRIC_ITL] = t->itl_us, [PLOT_METRIC_SUBMIT] = t->submit_us},
			.event = t->event,
		};
		if (t->itl_us < 0 || t->submit_us < 0)
			rc = error_set(err, ERROR_INPUT,
				       "%s: run %s has a token of a negative time; restore the file, or take the "
				       "run's line out of runs.csv",
				       d->set.tokens.path, text_show(run->row->run_id, strlen(run->row->run_id)).text);
	}
	free(tokens);
	return rc;
}

int plot_data_load(struct plot_data *d, const struct run_directory *from, struct error *err)
{
	size_t capacity = 0;
	memset(d, 0, sizeof *d);
	int rc = result_set_read(&d->set, from, err);
	if (!rc) {
		struct result_places places = result_places(&d->set);
		result_places_text(&places, d->places);
		rc = collect_runs(d, err);
	}
	if (!rc)
		rc = fill_panels(d, err);
	d->no_tokens = !rc && run_directory_lacks(&d->set.directory, "tokens.csv");
	for (size_t i = 0; i < d->n_runs && !d->no_tokens && !rc; i++)
		rc = load_run(d, &d->runs[i], &capacity, err);
	if (rc)
		plot_data_free(d);
	return rc;
}

void plot_data_free(struct plot_data *d)
{
	result_set_close(&d->set);
	free(d->runs);
	free(d->tokens);
	d->runs = NULL;
	d->tokens = NULL;
	d->n_runs = d->n_tokens = 0;
}

int plot_data_mode_style(const struct plot_data *d, int mode)
{
	int rank = mode_rank(d->modes[mode]), n_known = 0;
	if (rank < N_KNOWN_MODES)
		return rank;
	while (n_known < d->n_modes && mode_rank(d->modes[n_known]) < N_KNOWN_MODES)
		n_known++;
	return N_KNOWN_MODES + mode - n_known;
}

static int summarise(const struct plot_data *d, struct plot_summary *out, const double *values, size_t n,
		     struct error *err)
{
	struct stats_summary s;
	*out = (struct plot_summary){.n = (int)n, .p10 = NAN, .p90 = NAN};
	if (n && stats_summarize(values, (int)n, &s))
		return no_memory(d, err);
	if (n) {
		out->median = s.median;
		out->min = s.min;
		out->max = s.max;
	}
	return 0;
}

int plot_data_summary(const struct plot_data *d, int panel, int mode, long depth, enum plot_metric metric,
		      struct plot_summary *out, struct error *err)
{
	/* One block serves the runs, then the tokens: neither outnumbers this. */
	double *values = calloc(d->n_runs + d->n_tokens, sizeof *values);
	if (!values)
		return no_memory(d, err);
	size_t n = 0, n_tokens = 0;
	for (size_t i = 0; i < d->n_runs; i++)
		if (in_cell(&d->runs[i], panel, mode, depth) && !isnan(d->runs[i].value[metric]))
			values[n++] = d->runs[i].value[metric];
	int rc = summarise(d, out, values, n, err);
	for (size_t i = 0; i < d->n_runs && n && !rc; i++) {
		const struct plot_run *run = &d->runs[i];
		if (!in_cell(run, panel, mode, depth) || isnan(run->value[metric]))
			continue;
		for (size_t k = run->first_token; k < run->first_token + run->n_tokens; k++)
			if (d->tokens[k].measured && !isnan(d->tokens[k].value[metric]))
				values[n_tokens++] = d->tokens[k].value[metric];
	}
	double *sorted = n_tokens && !rc ? stats_sorted(values, (int)n_tokens) : NULL;
	if (sorted) {
		out->p10 = stats_quantile(sorted, (int)n_tokens, 0.1);
		out->p90 = stats_quantile(sorted, (int)n_tokens, 0.9);
	} else if (n_tokens && !rc) {
		rc = no_memory(d, err);
	}
	free(sorted);
	free(values);
	return rc;
}

int plot_data_column(const struct plot_data *d, int panel, int mode, long depth, const char *column,
		     struct plot_summary *out, struct error *err)
{
	double *values = calloc(d->n_runs, sizeof *values);
	size_t n = 0;
	const struct column *c = column_find(row_columns, row_n_columns, column);
	int rc = values ? 0 : no_memory(d, err);
	for (size_t i = 0; i < d->n_runs && !rc; i++) {
		if (!in_cell(&d->runs[i], panel, mode, depth))
			continue;
		values[n] = column_number(d->runs[i].row, c);
		rc = check_amount(d, d->runs[i].row, column, values[n], err);
		n += !isnan(values[n]);
	}
	if (!rc)
		rc = summarise(d, out, values, n, err);
	free(values);
	return rc;
}

int plot_data_overhead(const struct plot_data *d, int panel, int mode, int direct, long depth, struct plot_summary *out,
		       struct error *err)
{
	double *values = calloc(d->n_runs, sizeof *values);
	if (!values)
		return no_memory(d, err);
	size_t n = 0;
	for (size_t i = 0; i < d->n_runs; i++) {
		const struct plot_run *run = &d->runs[i];
		if (!in_cell(run, panel, mode, depth))
			continue;
		for (size_t k = 0; k < d->n_runs; k++) {
			const struct plot_run *base = &d->runs[k];
			if (!in_cell(base, panel, direct, depth) || base->repetition != run->repetition)
				continue;
			double ratio = run->value[PLOT_METRIC_ITL] / base->value[PLOT_METRIC_ITL];
			if (isfinite(ratio))
				values[n++] = 100 * (ratio - 1);
		}
	}
	int rc = summarise(d, out, values, n, err);
	free(values);
	return rc;
}

const struct plot_run *plot_data_typical(const struct plot_data *d, int panel, int mode, long depth)
{
	const struct plot_run *found = NULL;
	int n = 0;
	for (size_t i = 0; i < d->n_runs; i++)
		n += in_cell(&d->runs[i], panel, mode, depth) && d->runs[i].n_tokens &&
		     !isnan(d->runs[i].value[PLOT_METRIC_ITL]);
	/* The run with exactly (n - 1) / 2 others before it, ordered by itl and then by repetition. */
	for (size_t i = 0; i < d->n_runs && !found; i++) {
		const struct plot_run *run = &d->runs[i];
		double itl = run->value[PLOT_METRIC_ITL];
		int before = 0;
		if (!in_cell(run, panel, mode, depth) || !run->n_tokens || isnan(itl))
			continue;
		for (size_t k = 0; k < d->n_runs; k++) {
			const struct plot_run *other = &d->runs[k];
			double its = other->value[PLOT_METRIC_ITL];
			if (in_cell(other, panel, mode, depth) && other->n_tokens &&
			    (its < itl || (its == itl && other->repetition < run->repetition)))
				before++;
		}
		if (before == (n - 1) / 2)
			found = run;
	}
	return found;
}
