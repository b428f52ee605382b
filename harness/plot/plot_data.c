#include "harness/plot/plot_data.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const column_names[PLOT_COLUMN_COUNT] = {
	[PLOT_COLUMN_MODEL] = "model",
	[PLOT_COLUMN_MODEL_PATH_NAME] = "model_path_name",
	[PLOT_COLUMN_ARCH] = "arch",
	[PLOT_COLUMN_WEIGHT_TYPE] = "weight_type",
	[PLOT_COLUMN_N_PROMPT] = "n_prompt",
	[PLOT_COLUMN_N_GEN] = "n_gen",
	[PLOT_COLUMN_FUSION] = "fusion",
	[PLOT_COLUMN_N_GPU_LAYERS] = "n_gpu_layers",
	[PLOT_COLUMN_TYPE_K] = "type_k",
	[PLOT_COLUMN_TYPE_V] = "type_v",
	[PLOT_COLUMN_N_THREADS] = "n_threads",
	[PLOT_COLUMN_DEVICE] = "device",
	[PLOT_COLUMN_COMMIT] = "commit",
	[PLOT_COLUMN_RUN_ID] = "run_id",
	[PLOT_COLUMN_STATUS] = "status",
	[PLOT_COLUMN_REPETITION] = "repetition",
	[PLOT_COLUMN_N_DEPTH] = "n_depth",
	[PLOT_COLUMN_MODE] = "mode",
	[PLOT_COLUMN_ITL] = "itl_median_us",
	[PLOT_COLUMN_SUBMIT] = "submit_median_us",
	[PLOT_COLUMN_STARTED] = "started_utc",
	[PLOT_COLUMN_SNAPKV] = "snapkv",
	[PLOT_COLUMN_RATE] = "tokens_per_s",
	[PLOT_COLUMN_KV_BYTES] = "kv_bytes",
	[PLOT_COLUMN_SNAPKV_BUDGET] = "snapkv_budget",
	[PLOT_COLUMN_KL] = "kl_divergence",
	[PLOT_COLUMN_TOP1] = "top1_agreement",
	[PLOT_COLUMN_SYNC] = "sync",
	[PLOT_COLUMN_ATTEMPT] = "attempt",
};

/* What a run is where its file is older than the column; null: a file without the column cannot be drawn. */
static const char *const absent[PLOT_COLUMN_COUNT] = {
	[PLOT_COLUMN_ATTEMPT] = "0", [PLOT_COLUMN_SYNC] = "token", [PLOT_COLUMN_SNAPKV] = "off",
	[PLOT_COLUMN_RATE] = "",     [PLOT_COLUMN_KV_BYTES] = "",  [PLOT_COLUMN_SNAPKV_BUDGET] = "",
	[PLOT_COLUMN_KL] = "",       [PLOT_COLUMN_TOP1] = "",
};

static const char *const known_modes[] = {"direct", "graph-params", "graph-update", "graph-device", "graph-loop"};
enum { N_KNOWN_MODES = sizeof known_modes / sizeof *known_modes };

/* Times, rates and sizes: a negative one is a corrupt file. */
static int read_amount(const struct csv_table *t, size_t row, int column, double *out, struct error *err)
{
	int rc = csv_table_number(t, row, column, out, err);
	if (!rc && *out < 0)
		rc = error_set(err, ERROR_INPUT, "%s: record %zu, column '%s': a negative number (%g)", t->path,
			       row + 2, t->text + t->cells[column], *out);
	return rc;
}

static const char *run_text(const struct plot_data *d, size_t row, enum plot_column c)
{
	return d->column[c] < 0 ? absent[c] : csv_table_text(&d->table, row, d->column[c]);
}

static bool same_axes(const struct plot_data *d, size_t a, size_t b)
{
	for (int c = 0; c < PLOT_COLUMN_AXES; c++)
		if (strcmp(run_text(d, a, (enum plot_column)c), run_text(d, b, (enum plot_column)c)))
			return false;
	return true;
}

static int find_panel(struct plot_data *d, size_t row, struct error *err)
{
	for (int p = 0; p < d->n_panels; p++)
		if (same_axes(d, d->panels[p].row, row))
			return p;
	if (d->n_panels == PLOT_DATA_MAX_COMBINATIONS)
		return error_set(
			err, ERROR_INPUT,
			"%s: more than %d combinations of model, cache, fusion, sync, layers and threads to draw",
			d->table.path, PLOT_DATA_MAX_COMBINATIONS);
	d->panels[d->n_panels].row = row;
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

static bool to_draw(const struct plot_data *d, size_t row)
{
	return !strcmp(run_text(d, row, PLOT_COLUMN_STATUS), "ok");
}

static int read_attempt(const struct plot_data *d, size_t row, long *out, struct error *err)
{
	int column = d->column[PLOT_COLUMN_ATTEMPT];
	*out = 0;
	return column < 0 ? 0 : csv_table_integer(&d->table, row, column, 0, INT_MAX, out, err);
}

/* The rows with generated tokens and status ok become runs; their modes are collected. */
static int collect_runs(struct plot_data *d, struct error *err)
{
	const struct csv_table *t = &d->table;
	d->runs = calloc(t->n_rows ? t->n_rows : 1, sizeof *d->runs);
	if (!d->runs)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", t->path);
	for (size_t row = 0; row < t->n_rows; row++) {
		long n_gen;
		int rc = csv_table_integer(t, row, d->column[PLOT_COLUMN_N_GEN], 0, INT_MAX, &n_gen, err);
		if (rc)
			return rc;
		if (!n_gen)
			continue;
		if (!to_draw(d, row)) {
			d->n_left_out++;
			continue;
		}
		struct plot_run *run = &d->runs[d->n_runs];
		run->row = row;
		run->id = run_text(d, row, PLOT_COLUMN_RUN_ID);
		if (!*run->id)
			return error_set(err, ERROR_INPUT, "%s: record %zu: run_id is empty", t->path, row + 2);
		run->combination = find_panel(d, row, err);
		if (run->combination < 0)
			return run->combination;
		const char *mode = run_text(d, row, PLOT_COLUMN_MODE);
		if (find_mode(d, mode) == d->n_modes) {
			if (d->n_modes == PLOT_DATA_MAX_MODES)
				return error_set(err, ERROR_INPUT, "%s: record %zu: more than %d modes", t->path,
						 row + 2, PLOT_DATA_MAX_MODES);
			d->modes[d->n_modes++] = mode;
		}
		if ((rc = csv_table_integer(t, row, d->column[PLOT_COLUMN_N_DEPTH], 0, INT_MAX, &run->depth, err)) ||
		    (rc = csv_table_integer(t, row, d->column[PLOT_COLUMN_REPETITION], 0, INT_MAX, &run->repetition,
					    err)) ||
		    (rc = read_attempt(d, row, &run->attempt, err)) ||
		    (rc = read_amount(t, row, d->column[PLOT_COLUMN_ITL], &run->value[PLOT_METRIC_ITL], err)) ||
		    (rc = read_amount(t, row, d->column[PLOT_COLUMN_SUBMIT], &run->value[PLOT_METRIC_SUBMIT], err)))
			return rc;
		d->n_runs++;
	}
	if (!d->n_runs)
		return error_set(err, ERROR_INPUT, "%s: no row with status ok and n_gen > 0: nothing to plot", t->path);
	qsort(d->modes, (size_t)d->n_modes, sizeof *d->modes, compare_modes);
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct plot_run *)a)->id, ((const struct plot_run *)b)->id);
}

static int compare_cells(const void *a, const void *b)
{
	const struct plot_run *x = *(const struct plot_run *const *)a, *y = *(const struct plot_run *const *)b;
	if (x->combination != y->combination)
		return x->combination - y->combination;
	if (x->mode != y->mode)
		return x->mode - y->mode;
	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	if (x->repetition != y->repetition)
		return x->repetition < y->repetition ? -1 : 1;
	return (x->attempt > y->attempt) - (x->attempt < y->attempt);
}

static bool in_cell(const struct plot_run *run, int panel, int mode, long depth)
{
	return run->combination == panel && run->mode == mode && run->depth == depth;
}

/*
 * Two runs of one cell, repetition and attempt differ in an axis that is not known here: they must not be averaged.
 * Of several attempts the latest one stays.
 */
static int keep_latest(struct plot_data *d, struct error *err)
{
	int rc = 0;
	for (size_t i = 1; i < d->n_runs; i++)
		if (!strcmp(d->runs[i - 1].id, d->runs[i].id))
			return error_set(err, ERROR_INPUT, "%s: records %zu and %zu have the same run_id",
					 d->table.path, d->runs[i - 1].row + 2, d->runs[i].row + 2);
	struct plot_run **order = calloc(d->n_runs, sizeof *order);
	if (!order)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", d->table.path);
	for (size_t i = 0; i < d->n_runs; i++)
		order[i] = &d->runs[i];
	qsort(order, d->n_runs, sizeof *order, compare_cells);
	for (size_t i = 1; i < d->n_runs && !rc; i++)
		if (!compare_cells(&order[i - 1], &order[i]))
			rc = error_set(err, ERROR_INPUT,
				       "%s: records %zu and %zu are the same cell and repetition; they must not be "
				       "averaged: keep one of them",
				       d->table.path, order[i - 1]->row + 2, order[i]->row + 2);
	for (size_t i = 1; i < d->n_runs && !rc; i++) {
		struct plot_run *before = order[i - 1], *now = order[i];
		if (in_cell(before, now->combination, now->mode, now->depth) && before->repetition == now->repetition)
			before->id = NULL;
	}
	free(order);
	size_t kept = 0;
	for (size_t i = 0; i < d->n_runs && !rc; i++)
		if (d->runs[i].id)
			d->runs[kept++] = d->runs[i];
	d->n_runs = rc ? d->n_runs : kept;
	return rc;
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
		run->mode = find_mode(d, run_text(d, run->row, PLOT_COLUMN_MODE));
		if (!plot_data_insert(p->depths, &p->n_depths, run->depth))
			return error_set(err, ERROR_INPUT, "%s: more than %d depths", d->table.path,
					 PLOT_DATA_MAX_DEPTHS);
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

static int compare_tokens(const void *a, const void *b)
{
	const struct plot_token *x = a, *y = b;
	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	if (x->measured != y->measured)
		return x->measured ? 1 : -1;
	return (x->index > y->index) - (x->index < y->index);
}

enum token_column {
	TOKEN_COLUMN_RUN_ID,
	TOKEN_COLUMN_PHASE,
	TOKEN_COLUMN_INDEX,
	TOKEN_COLUMN_SUBMIT,
	TOKEN_COLUMN_ITL,
	TOKEN_COLUMN_EVENT,
	TOKEN_COLUMN_COUNT,
};

static int read_token(const struct csv_table *t, const int column[], size_t row, struct plot_token *token,
		      struct error *err)
{
	static const struct {
		enum token_column column;
		const char *name;
	} names[] = {{TOKEN_COLUMN_PHASE, "phase"}, {TOKEN_COLUMN_EVENT, "graph_event"}};
	struct token_row read;
	char wanted[COLUMN_TEXT_SIZE];
	int rc;
	for (int i = 0; i < 2; i++) {
		const struct column *c = column_find(token_columns, token_n_columns, names[i].name);
		const char *text = csv_table_text(t, row, column[names[i].column]);
		if (!*text || column_set_text(&read, c, text))
			return error_set(err, ERROR_INPUT, "%s: record %zu: %s is not %s", t->path, row + 2, c->name,
					 column_wanted(c, wanted));
	}
	token->measured = read.token.phase == TOKEN_PHASE_MEASURE;
	token->event = read.token.event;
	if ((rc = csv_table_integer(t, row, column[TOKEN_COLUMN_INDEX], 0, INT_MAX, &token->index, err)) ||
	    (rc = read_amount(t, row, column[TOKEN_COLUMN_ITL], &token->value[PLOT_METRIC_ITL], err)) ||
	    (rc = read_amount(t, row, column[TOKEN_COLUMN_SUBMIT], &token->value[PLOT_METRIC_SUBMIT], err)))
		return rc;
	return 0;
}

/* Rows of runs that are not drawn (a cell killed in flight, a failed one) are passed over. */
static int load_tokens(struct plot_data *d, const struct run_directory *from, struct error *err)
{
	static const char *const names[TOKEN_COLUMN_COUNT] = {"run_id",    "phase",  "token_index",
							      "submit_us", "itl_us", "graph_event"};
	struct csv_table t;
	int column[TOKEN_COLUMN_COUNT];
	int rc = csv_table_read(&t, from, "tokens.csv", err);
	if (rc)
		return rc;
	d->tokens_cut = t.cut;
	for (int c = 0; c < TOKEN_COLUMN_COUNT; c++) {
		column[c] = csv_table_column(&t, names[c], err);
		if (column[c] < 0) {
			rc = column[c];
			goto done;
		}
	}
	d->tokens = calloc(t.n_rows ? t.n_rows : 1, sizeof *d->tokens);
	if (!d->tokens) {
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory", t.path);
		goto done;
	}
	for (size_t row = 0; row < t.n_rows; row++) {
		struct plot_run key = {.id = csv_table_text(&t, row, column[TOKEN_COLUMN_RUN_ID])};
		const struct plot_run *run = bsearch(&key, d->runs, d->n_runs, sizeof *d->runs, compare_ids);
		if (!run)
			continue;
		struct plot_token *token = &d->tokens[d->n_tokens];
		token->run = (size_t)(run - d->runs);
		rc = read_token(&t, column, row, token, err);
		if (rc)
			goto done;
		d->n_tokens++;
	}
	qsort(d->tokens, d->n_tokens, sizeof *d->tokens, compare_tokens);
	for (size_t i = d->n_tokens; i-- > 0;) {
		struct plot_run *run = &d->runs[d->tokens[i].run];
		run->first_token = i;
		run->n_tokens++;
	}
done:
	csv_table_free(&t);
	return rc;
}

int plot_data_load(struct plot_data *d, const struct run_directory *from, struct error *err)
{
	memset(d, 0, sizeof *d);
	int rc = csv_table_read(&d->table, from, "runs.csv", err);
	for (int c = 0; c < PLOT_COLUMN_COUNT && !rc; c++) {
		d->column[c] = csv_table_column(&d->table, column_names[c], err);
		rc = d->column[c] < 0 && !absent[c] ? d->column[c] : 0;
	}
	if (!rc)
		rc = collect_runs(d, err);
	if (!rc) {
		qsort(d->runs, d->n_runs, sizeof *d->runs, compare_ids);
		rc = fill_panels(d, err);
	}
	if (!rc)
		rc = keep_latest(d, err);
	if (!rc)
		rc = load_tokens(d, from, err);
	if (rc)
		plot_data_free(d);
	return rc;
}

void plot_data_free(struct plot_data *d)
{
	csv_table_free(&d->table);
	free(d->runs);
	free(d->tokens);
	memset(d, 0, sizeof *d);
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

const char *plot_data_axis(const struct plot_data *d, int panel, enum plot_column axis)
{
	return run_text(d, d->panels[panel].row, axis);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* sorted: n >= 1 values in ascending order. */
static double quantile(const double *sorted, size_t n, double q)
{
	double at = q * (double)(n - 1);
	size_t below = (size_t)at;
	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static void summarise(struct plot_summary *out, double *values, size_t n)
{
	*out = (struct plot_summary){.n = (int)n, .p10 = NAN, .p90 = NAN};
	if (!n)
		return;
	qsort(values, n, sizeof *values, compare_doubles);
	out->median = quantile(values, n, 0.5);
	out->min = values[0];
	out->max = values[n - 1];
}

int plot_data_summary(const struct plot_data *d, int panel, int mode, long depth, enum plot_metric metric,
		      struct plot_summary *out, struct error *err)
{
	/* One block serves the runs, then the tokens: neither outnumbers this. */
	double *values = calloc(d->n_runs + d->n_tokens, sizeof *values);
	if (!values)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", d->table.path);
	size_t n = 0, n_tokens = 0;
	for (size_t i = 0; i < d->n_runs; i++)
		if (in_cell(&d->runs[i], panel, mode, depth) && !isnan(d->runs[i].value[metric]))
			values[n++] = d->runs[i].value[metric];
	summarise(out, values, n);
	for (size_t i = 0; i < d->n_runs && n; i++) {
		const struct plot_run *run = &d->runs[i];
		if (!in_cell(run, panel, mode, depth) || isnan(run->value[metric]))
			continue;
		for (size_t k = run->first_token; k < run->first_token + run->n_tokens; k++)
			if (d->tokens[k].measured && !isnan(d->tokens[k].value[metric]))
				values[n_tokens++] = d->tokens[k].value[metric];
	}
	if (n_tokens) {
		qsort(values, n_tokens, sizeof *values, compare_doubles);
		out->p10 = quantile(values, n_tokens, 0.1);
		out->p90 = quantile(values, n_tokens, 0.9);
	}
	free(values);
	return 0;
}

int plot_data_column(const struct plot_data *d, int panel, int mode, long depth, enum plot_column column,
		     struct plot_summary *out, struct error *err)
{
	double *values = calloc(d->n_runs, sizeof *values);
	size_t n = 0;
	int rc = values ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", d->table.path);
	for (size_t i = 0; i < d->n_runs && !rc && d->column[column] >= 0; i++) {
		if (!in_cell(&d->runs[i], panel, mode, depth))
			continue;
		rc = read_amount(&d->table, d->runs[i].row, d->column[column], &values[n], err);
		n += !rc && !isnan(values[n]);
	}
	if (!rc)
		summarise(out, values, n);
	free(values);
	return rc;
}

int plot_data_overhead(const struct plot_data *d, int panel, int mode, int direct, long depth, struct plot_summary *out,
		       struct error *err)
{
	double *values = calloc(d->n_runs, sizeof *values);
	if (!values)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", d->table.path);
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
	summarise(out, values, n);
	free(values);
	return 0;
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
