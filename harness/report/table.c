#include "harness/report/table.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/stats/stats.h"

enum { N_FIELDS = 11, N_LEFT = 4, SYNC_FIELD = 3, FIELD_SIZE = 48 };

/* Of an ok row. */
struct sample {
	int64_t repetition;
	double rate; /* tokens/s */
	double itl;  /* median */
	double p90;
	double submit;
	double share;
	double launches;
	double tflops; /* of a prefill */
};

/* What the table keeps of a cell's rows. */
struct line {
	struct sample *samples; /* (n) */
	int n;
	int rows;
	char heading[400]; /* of the placement */
	char status[16];   /* of the first row that is not ok */
	char reason[320];  /* of that row, or of the first with a remark */
	int64_t fallbacks;
	int repeated; /* runs that a later attempt replaced */
};

struct table {
	const struct cell *cells;
	struct line *lines; /* (n) */
	int n;
	int queued; /* whether a cell is: then sync has a column */
};

int table_open(struct table **out, const struct cell *cells, int n, struct error *err)
{
	*out = calloc(1, sizeof **out);
	struct line *lines = calloc(n > 0 ? (size_t)n : 1, sizeof *lines);
	if (!*out || !lines) {
		free(*out);
		free(lines);
		*out = NULL;
		return error_set(err, ERROR_MEMORY, "no memory for a summary of %d cells", n);
	}
	**out = (struct table){.cells = cells, .lines = lines, .n = n};
	for (int i = 0; i < n; i++)
		(*out)->queued |= cell_is_queued(&cells[i]);
	return 0;
}

void table_close(struct table *t)
{
	if (!t)
		return;
	for (int i = 0; i < t->n; i++)
		free(t->lines[i].samples);
	free(t->lines);
	free(t);
}

static const char *or_unknown(const char *s)
{
	return s && *s ? s : "?";
}

/* Axes of the placement and the group that the heading does not name by itself, where they are not at their default. */
static void add_axes(char *out, size_t size, const struct run_row *row)
{
	static const unsigned named = 1u << AXIS_MODEL | 1u << AXIS_GPU_LAYERS | 1u << AXIS_THREADS |
				      1u << AXIS_TYPE_K | 1u << AXIS_TYPE_V | 1u << AXIS_DEPTH;
	struct cell c;
	row_cell(row, &c);
	for (int a = 0; a < AXIS_COUNT; a++) {
		char number[AXIS_TEXT_SIZE];
		const char *value = cell_text(&c, (enum axis_id)a, number);
		if (axes[a].level > AXIS_LEVEL_GROUP || named >> a & 1 || cell_is_default(&c, (enum axis_id)a))
			continue;
		int used = snprintf(out, size, ", %s %.40s", axes[a].spoken, value);
		used = used < 0 || (size_t)used >= size ? (int)size - 1 : used;
		out += used;
		size -= (size_t)used;
	}
}

static void set_heading(const struct table *t, struct line *l, const struct run_row *row)
{
	const struct cell *c = &t->cells[row->cell];
	char file[CELL_MODEL_SIZE], which[CELL_MODEL_SIZE + 1] = "";
	cell_model_name(c, t->cells, t->n, file);
	if (cell_model_shares_name(c, t->cells, t->n))
		snprintf(which, sizeof which, " %s", file);
	char read[40] = "";
	if (row->weight_bytes_per_token != ROW_UNKNOWN) {
		double mib = (double)row->weight_bytes_per_token / (1 << 20);
		if (mib < 1024)
			snprintf(read, sizeof read, ", reads %.1f MiB a token", mib);
		else
			snprintf(read, sizeof read, ", reads %.2f GiB a token", mib / 1024);
	}
	char threads[24] = "", layers[32] = "";
	if (row->n_threads != ROW_UNKNOWN)
		snprintf(threads, sizeof threads, ", %d thread%s", (int)row->n_threads, row->n_threads == 1 ? "" : "s");
	if (row->n_gpu_layers != ROW_UNKNOWN && row->n_gpu_layers > 0)
		snprintf(layers, sizeof layers, ", %d GPU layers", (int)row->n_gpu_layers);
	int used = snprintf(l->heading, sizeof l->heading, "%.40s%.80s (%.20s %.8s%s) on %.60s%s%s, KV %.8s/%.8s",
			    row->model && *row->model ? row->model : or_unknown(row->model_path_name), which,
			    or_unknown(row->arch), or_unknown(row->weight_type), read, or_unknown(row->device), layers,
			    threads, or_unknown(row->type_k), or_unknown(row->type_v));
	add_axes(l->heading + used, sizeof l->heading - (size_t)used, row);
}

static void fill_sample(struct sample *s, const struct run_row *row)
{
	*s = (struct sample){
		.repetition = row->repetition,
		.rate = row->tokens_per_s,
		.itl = row->itl_median_us,
		.p90 = row->itl_p90_us,
		.submit = row->submit_median_us,
		.share = row->n_prompt > 0 ? row->gemm_share : row->bandwidth_share,
		.launches = row->api_launches_per_token,
		.tflops = row->prefill_tflop_s,
	};
}

int table_add(struct table *t, const struct run_row *row, struct error *err)
{
	struct line *l = &t->lines[row->cell];
	int ok = row->status == RUN_STATUS_OK;
	if (!l->rows++)
		set_heading(t, l, row);
	if (row->fallbacks != ROW_UNKNOWN)
		l->fallbacks += row->fallbacks;
	/* The first remark stays, but a row that is not ok says more than any other. */
	const char *reason = row->reason ? row->reason : "";
	if ((!ok && !*l->status) || (*reason && !*l->reason))
		snprintf(l->reason, sizeof l->reason, "%s", reason);
	if (!ok && !*l->status)
		snprintf(l->status, sizeof l->status, "%s", run_status_name(row->status));
	if (!ok)
		return 0;
	int old = 0;
	while (old < l->n && l->samples[old].repetition != row->repetition)
		old++;
	if (old < l->n) {
		/* The latest attempt counts. */
		l->repeated++;
		fill_sample(&l->samples[old], row);
		return 0;
	}
	struct sample *grown = realloc(l->samples, ((size_t)l->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "no memory for the summary of %d runs", l->rows);
	l->samples = grown;
	fill_sample(&l->samples[l->n++], row);
	return 0;
}

/* Median and MAD of one member over the samples. */
static struct stats_summary over(const struct line *l, size_t offset)
{
	struct stats_summary s = {.median = NAN, .mad = NAN};
	double *x = calloc(l->n ? (size_t)l->n : 1, sizeof *x);
	for (int i = 0; x && i < l->n; i++)
		memcpy(&x[i], (const char *)&l->samples[i] + offset, sizeof *x);
	if (x && stats_summarize(x, l->n, &s))
		s.median = s.mad = NAN;
	free(x);
	return s;
}

#define MEDIAN(l, member) over(l, offsetof(struct sample, member)).median

/* The median over repetitions of this cell's itl to direct's of the same repetition; NAN where there is none. */
static double to_direct(const struct table *t, int cell)
{
	const struct line *l = &t->lines[cell], *direct = NULL;
	for (int i = 0; i < t->n && !direct; i++)
		if (i != cell && cell_is_direct(&t->cells[i]) && cell_same_unit(&t->cells[i], &t->cells[cell]))
			direct = &t->lines[i];
	if (!direct || !l->n)
		return NAN;
	double *ratios = calloc((size_t)l->n, sizeof *ratios);
	int n = 0;
	for (int i = 0; ratios && i < l->n; i++)
		for (int j = 0; j < direct->n; j++)
			if (l->samples[i].repetition == direct->samples[j].repetition)
				ratios[n++] = l->samples[i].itl / direct->samples[j].itl;
	double median = ratios ? stats_median(ratios, n) : NAN;
	free(ratios);
	return median;
}

/* At least three significant digits, no exponent; "-" where unknown. */
static void number(char *out, size_t size, double x)
{
	if (!isfinite(x))
		snprintf(out, size, "-");
	else
		snprintf(out, size, "%.*f", fabs(x) >= 100 ? 0 : fabs(x) >= 10 ? 1 : fabs(x) >= 1 ? 2 : 3, x);
}

static void format_line(const struct table *t, int cell, char f[N_FIELDS][FIELD_SIZE])
{
	const struct cell *c = &t->cells[cell];
	const struct line *l = &t->lines[cell];
	char a[FIELD_SIZE / 2], b[FIELD_SIZE / 2], label[CELL_LABEL_SIZE];
	struct stats_summary rate = over(l, offsetof(struct sample, rate));
	cell_label(c, label);
	snprintf(f[0], FIELD_SIZE, "%.*s", FIELD_SIZE - 1, label);
	snprintf(f[1], FIELD_SIZE, "%s", c->mode);
	snprintf(f[2], FIELD_SIZE, "%s", c->fusion);
	snprintf(f[SYNC_FIELD], FIELD_SIZE, "%s", cell_word(c, AXIS_SYNC));
	number(a, sizeof a, rate.median);
	number(b, sizeof b, rate.mad);
	snprintf(f[4], FIELD_SIZE, l->n ? "%s ±%s" : "-", a, b);
	number(a, sizeof a, MEDIAN(l, itl));
	number(b, sizeof b, MEDIAN(l, p90));
	snprintf(f[5], FIELD_SIZE, c->n_gen && l->n ? "%s/%s" : "-", a, b);
	if (c->n_prompt && isfinite(MEDIAN(l, tflops))) {
		number(a, sizeof a, MEDIAN(l, tflops));
		snprintf(f[5], FIELD_SIZE, "%s TFLOP/s", a);
	}
	number(f[6], FIELD_SIZE, MEDIAN(l, submit));
	number(f[7], FIELD_SIZE, MEDIAN(l, launches));
	double share = MEDIAN(l, share), ratio = to_direct(t, cell);
	snprintf(f[8], FIELD_SIZE, isfinite(share) ? "%.0f%%" : "-", share * 100);
	snprintf(f[9], FIELD_SIZE, isfinite(ratio) ? "%+.1f%%" : "-", (ratio - 1) * 100);
	snprintf(f[10], FIELD_SIZE, "%s%s", *l->status ? l->status : "ok", l->fallbacks ? "*" : "");
}

/* Characters, not bytes: the plus-minus sign is two bytes. */
static int width(const char *s)
{
	int n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void write_line(const struct table *t, FILE *f, char fields[N_FIELDS][FIELD_SIZE], const int *widths)
{
	for (int i = 0; i < N_FIELDS; i++) {
		if (i == SYNC_FIELD && !t->queued)
			continue;
		int pad = widths[i] - width(fields[i]), left = i < N_LEFT || i == N_FIELDS - 1;
		fprintf(f, "%s%*s%s%*s", i ? " " : "", left ? 0 : pad, "", fields[i],
			left && i < N_FIELDS - 1 ? pad : 0, "");
	}
	fputc('\n', f);
}

void table_write_remarks(const struct table *t, FILE *f)
{
	for (int c = 0; c < t->n; c++) {
		const struct line *l = &t->lines[c];
		char label[CELL_LABEL_SIZE];
		if (!l->rows || !*l->reason)
			continue;
		cell_label(&t->cells[c], label);
		fprintf(f, "%s%s %s %s%s: %s: %s\n", l->fallbacks ? "* " : "", label, t->cells[c].mode,
			t->cells[c].fusion, cell_is_queued(&t->cells[c]) ? " " SYNC_NONE : "",
			*l->status ? l->status : "ok", l->reason);
	}
}

void table_write(const struct table *t, FILE *f)
{
	char header[N_FIELDS][FIELD_SIZE] = {"test",      "mode",   "fusion", "sync",      "t/s",   "itl us p50/90",
					     "submit us", "launch", "bw",     "vs direct", "status"};
	char line[N_FIELDS][FIELD_SIZE];
	int widths[N_FIELDS];
	for (int i = 0; i < N_FIELDS; i++)
		widths[i] = width(header[i]);
	for (int c = 0; c < t->n; c++) {
		if (!t->lines[c].rows)
			continue;
		format_line(t, c, line);
		for (int i = 0; i < N_FIELDS; i++)
			widths[i] = width(line[i]) > widths[i] ? width(line[i]) : widths[i];
	}
	const char *heading = "";
	int prompts = 0;
	for (int c = 0; c < t->n; c++) {
		const struct line *l = &t->lines[c];
		if (!l->rows)
			continue;
		if (strcmp(heading, l->heading)) {
			fprintf(f, "%s%s\n", *heading ? "\n" : "", l->heading);
			write_line(t, f, header, widths);
			heading = l->heading;
		}
		format_line(t, c, line);
		write_line(t, f, line, widths);
		prompts |= t->cells[c].n_prompt && isfinite(MEDIAN(l, share));
	}
	if (*heading)
		fprintf(f, "itl: from token to token; vs direct: change of its median; bw: of the measured read "
			   "bandwidth\n");
	if (prompts)
		fputs("pp: TFLOP/s of products and attention, and their share of the measured rate of products alone\n",
		      f);
	int repeated = 0;
	for (int c = 0; c < t->n; c++)
		repeated += t->lines[c].repeated;
	if (repeated)
		fprintf(f, "%d runs were repeated because the SM clock was low; the later ones count\n", repeated);
	table_write_remarks(t, f);
}
