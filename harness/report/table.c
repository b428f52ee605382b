#include "harness/report/table.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/noise.h"
#include "harness/report/paired_effect.h"
#include "harness/report/share.h"
#include "harness/stats/stats.h"

enum { N_FIELDS = 11, N_LEFT = 4, SYNC_FIELD = 3, FIELD_SIZE = 48, NAME_SIZE = 81 };

/* Of an ok row. */
struct sample {
	int64_t repetition;
	double rate; /* tokens/s */
	double itl;  /* median */
	double time; /* of what a mode changes: itl, or a prompt test's prefill */
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
	int repeated;      /* runs that a later attempt replaced */
	double host_bytes; /* that a token reads, see share.h */
};

struct table {
	const struct cell *cells;
	struct line *lines; /* (n) */
	int n;
	int queued;           /* whether a cell is: then sync has a column */
	double cache_bytes;   /* of the host; 0: not known */
	const char *settings; /* null: none */
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

void table_set_cache(struct table *t, double bytes)
{
	t->cache_bytes = bytes;
}

void table_set_settings(struct table *t, const char *settings)
{
	t->settings = settings;
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

/* The first bytes of a name, whole characters; "?" where it is unknown. */
struct short_name {
	char text[NAME_SIZE];
};

static struct short_name short_name(const char *s, size_t bytes)
{
	struct short_name out;
	const char *name = s && *s ? s : "?";
	text_name(out.text, bytes + 1, name, strlen(name));
	return out;
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
		int used = snprintf(out, size, ", %s %s", axes[a].spoken, short_name(value, 40).text);
		used = used < 0 || (size_t)used >= size ? (int)size - 1 : used;
		out += used;
		size -= (size_t)used;
	}
}

/* What the file calls its type; of a mixture the type of most bytes, too. */
static struct short_name type_name(const struct run_row *row)
{
	const char *file = row->file_type && *row->file_type ? row->file_type : NULL;
	const char *weights = row->weight_type && *row->weight_type ? row->weight_type : NULL;
	struct short_name out = short_name(file ? file : weights, 8);
	if (file && weights && strcmp(file, weights) != 0)
		snprintf(out.text, sizeof out.text, "%s, mostly %s", short_name(file, 8).text,
			 short_name(weights, 8).text);
	return out;
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
	const char *name = row->model && *row->model ? row->model : row->model_path_name;
	int used = snprintf(l->heading, sizeof l->heading, "%s%s (%s %s%s) on %s%s%s, KV %s/%s%s%s",
			    short_name(name, 40).text, *which ? short_name(which, 80).text : "",
			    short_name(row->arch, 20).text, type_name(row).text, read, short_name(row->device, 60).text,
			    layers, threads, short_name(row->type_k, 8).text, short_name(row->type_v, 8).text,
			    t->settings && *t->settings ? ", " : "", t->settings ? t->settings : "");
	add_axes(l->heading + used, sizeof l->heading - (size_t)used, row);
}

static void fill_sample(struct sample *s, const struct run_row *row)
{
	*s = (struct sample){
		.repetition = row->repetition,
		.rate = row->tokens_per_s,
		.itl = row->itl_median_us,
		.time = row->n_prompt > 0 && row->n_gen <= 0 ? row->prefill_us : row->itl_median_us,
		.p90 = row->itl_p90_us,
		.submit = row->submit_median_us,
		.share = row->n_prompt > 0 && row->n_gen <= 0 ? row->gemm_share : row->bandwidth_share,
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
	l->host_bytes = share_host_bytes(row);
	if (row->fallbacks != ROW_UNKNOWN)
		l->fallbacks += row->fallbacks;
	/* The first remark stays, but a row that is not ok says more than any other. */
	const char *reason = row->reason ? row->reason : "";
	if ((!ok && !*l->status) || (*reason && !*l->reason))
		text_name(l->reason, sizeof l->reason, reason, strlen(reason));
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

/* The line of direct launches that a cell is compared with; null: there is none, or it is itself that. */
static const struct line *direct_of(const struct table *t, int cell)
{
	for (int i = 0; i < t->n; i++)
		if (i != cell && cell_is_direct(&t->cells[i]) && cell_same_unit(&t->cells[i], &t->cells[cell]))
			return &t->lines[i];
	return NULL;
}

/* Of this cell's time against direct's of the same repetition. */
static struct paired_effect to_direct(const struct table *t, int cell)
{
	struct paired_effect e = {.change = NAN, .low = NAN, .high = NAN};
	const struct line *l = &t->lines[cell], *direct = direct_of(t, cell);
	double *ratios = direct && l->n ? calloc((size_t)l->n, sizeof *ratios) : NULL;
	int n = 0;
	for (int i = 0; ratios && i < l->n; i++)
		for (int j = 0; j < direct->n; j++)
			if (l->samples[i].repetition == direct->samples[j].repetition)
				ratios[n++] = l->samples[i].time / direct->samples[j].time;
	/* Without memory it is as unknown as without pairs. */
	if (ratios && paired_effect_of(ratios, n, &e))
		e = (struct paired_effect){.change = NAN, .low = NAN, .high = NAN};
	free(ratios);
	return e;
}

/* Whether a column beside an effect says the opposite, see paired_effect.h. */
static bool is_contradicted(const struct table *t, int cell, const struct paired_effect *e, double *change,
			    const char **column)
{
	const struct line *l = &t->lines[cell], *direct = direct_of(t, cell);
	return direct && paired_effect_is_contradicted(e, MEDIAN(l, time) / MEDIAN(direct, time) - 1,
						       MEDIAN(l, rate) / MEDIAN(direct, rate) - 1, change, column);
}

static bool is_credible(const struct line *l)
{
	return share_is_credible(MEDIAN(l, share));
}

/* Behind the label of a prompt whose every row was computed. */
#define ALL_ROWS ", all rows"
static const char *all_rows(const struct cell *c)
{
	return cell_computes_all_rows(c) ? ALL_ROWS : "";
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
	struct paired_effect effect = to_direct(t, cell);
	double change;
	const char *column;
	cell_label(c, label);
	snprintf(f[0], FIELD_SIZE, "%.*s%s", FIELD_SIZE - 1 - (int)sizeof ALL_ROWS, label, all_rows(c));
	snprintf(f[1], FIELD_SIZE, "%s", cell_mode(c));
	snprintf(f[2], FIELD_SIZE, "%s", c->fusion);
	snprintf(f[SYNC_FIELD], FIELD_SIZE, "%s", cell_word(c, AXIS_SYNC));
	number(a, sizeof a, rate.median);
	/* One run has no spread. */
	char mad[PAIRED_EFFECT_TEXT];
	paired_effect_number(rate.mad, false, mad);
	snprintf(f[4], FIELD_SIZE, "%s%s%s", l->n ? a : "-", l->n > 1 ? " ±" : "", l->n > 1 ? mad : "");
	number(a, sizeof a, MEDIAN(l, itl));
	number(b, sizeof b, MEDIAN(l, p90));
	snprintf(f[5], FIELD_SIZE, c->n_gen && l->n ? "%s/%s" : "-", a, b);
	if (cell_is_prompt(c) && isfinite(MEDIAN(l, tflops))) {
		number(a, sizeof a, MEDIAN(l, tflops));
		snprintf(f[5], FIELD_SIZE, "%s TFLOP/s", a);
	}
	number(f[6], FIELD_SIZE, MEDIAN(l, submit));
	number(f[7], FIELD_SIZE, MEDIAN(l, launches));
	double share = MEDIAN(l, share);
	snprintf(f[8], FIELD_SIZE, isfinite(share) ? "%.0f%%%s" : "-", share * 100, is_credible(l) ? "" : "!");
	char text[PAIRED_EFFECT_TEXT];
	snprintf(f[9], FIELD_SIZE, "%s%s", paired_effect_text(&effect, text),
		 is_contradicted(t, cell, &effect, &change, &column) ? "!" : "");
	snprintf(f[10], FIELD_SIZE, "%s%s", *l->status ? l->status : "ok", l->fallbacks ? "*" : "");
}

static void write_line(const struct table *t, FILE *f, char fields[N_FIELDS][FIELD_SIZE], const int *widths)
{
	for (int i = 0; i < N_FIELDS; i++) {
		if (i == SYNC_FIELD && !t->queued)
			continue;
		int pad = widths[i] - text_width(fields[i]), left = i < N_LEFT || i == N_FIELDS - 1;
		fprintf(f, "%s%*s%s%*s", i ? " " : "", left ? 0 : pad, "", fields[i],
			left && i < N_FIELDS - 1 ? pad : 0, "");
	}
	fputc('\n', f);
}

enum { CELL_NAME_SIZE = 640, WRAP_WIDTH = 96 };

/* "tg64 @ d4096 graph-device full", and the axes of placement and group that vary: ", GPU layers 22". */
static const char *name_of(const struct table *t, int cell, char out[CELL_NAME_SIZE])
{
	const struct cell *c = &t->cells[cell];
	char label[CELL_LABEL_SIZE], number[AXIS_TEXT_SIZE], model[CELL_MODEL_SIZE];
	cell_label(c, label);
	cell_model_name(c, t->cells, t->n, model);
	int used = snprintf(out, CELL_NAME_SIZE, "%s%s %s %s%s", label, all_rows(c), short_name(cell_mode(c), 40).text,
			    short_name(c->fusion, 40).text, cell_is_queued(c) ? " " SYNC_NONE : "");
	for (int a = 0; a < AXIS_COUNT && used < CELL_NAME_SIZE; a++) {
		bool varies = false;
		for (int i = 1; i < t->n; i++)
			varies |= !cell_same_value(&t->cells[0], &t->cells[i], (enum axis_id)a);
		if (varies && axes[a].level <= AXIS_LEVEL_GROUP && a != AXIS_DEPTH)
			used += snprintf(
				out + used, (size_t)(CELL_NAME_SIZE - used), ", %s %s", axes[a].spoken,
				short_name(a == AXIS_MODEL ? model : cell_text(c, (enum axis_id)a, number), 80).text);
	}
	return out;
}

/* A remark in lines of WRAP_WIDTH columns, those behind the first one indented. text: well-formed. */
static void write_wrapped(FILE *f, const char *text)
{
	int column = 0;
	while (*text) {
		size_t n = strcspn(text, " \n");
		int width = 0;
		for (size_t i = 0; i < n; i++)
			width += (text[i] & 0xc0) != 0x80;
		if (column && column + 1 + width > WRAP_WIDTH) {
			fputs("\n ", f);
			column = 1;
		}
		column += width + (column > 0);
		fprintf(f, "%s%.*s", column > width ? " " : "", (int)n, text);
		text += n + (text[n] != '\0');
	}
	fputc('\n', f);
}

/* Starts a remark, which write_remark ends. Null where there is no memory: then it is left out. */
static FILE *open_remark(char **text, size_t *size)
{
	*text = NULL;
	return open_memstream(text, size);
}

static void write_remark(FILE *remark, char **text, FILE *f)
{
	if (remark && !fclose(remark) && **text)
		write_wrapped(f, *text);
	free(*text);
}

/* The cells, prompts or not, whose share is more than can be for that cause, in one remark. */
static void write_incredible(const struct table *t, FILE *f, bool prompts, enum share_cause cause)
{
	enum { NAMED = 3 };
	int n = 0;
	size_t size;
	char *text;
	FILE *remark = open_remark(&text, &size);
	for (int c = 0; c < t->n && remark; c++) {
		const struct line *l = &t->lines[c];
		char name[CELL_NAME_SIZE];
		if (is_credible(l) || !cell_is_prompt(&t->cells[c]) == prompts ||
		    (!prompts && share_cause(l->host_bytes, t->cache_bytes) != cause))
			continue;
		if (n++ < NAMED)
			fprintf(remark, "%s%s (%.0f%%)", n > 1 ? ", " : "! bw of ", name_of(t, c, name),
				100 * MEDIAN(l, share));
	}
	if (n > NAMED)
		fprintf(remark, " and %d more", n - NAMED);
	if (n && prompts)
		fputs(": more than the products alone can give; their rate was measured in a noisy moment: measure "
		      "again "
		      "on an idle machine",
		      remark);
	else if (n)
		fprintf(remark, ": more than the memory can give; %s", share_cause_text(cause));
	write_remark(remark, &text, f);
}

/* The effect of a cell, where the columns beside it say the opposite. */
static void write_contradiction(const struct table *t, int cell, FILE *f)
{
	char name[CELL_NAME_SIZE], effect[PAIRED_EFFECT_TEXT], *text;
	const char *column;
	double change;
	size_t size;
	struct paired_effect e = to_direct(t, cell);
	if (!is_contradicted(t, cell, &e, &change, &column))
		return;
	FILE *remark = open_remark(&text, &size);
	if (remark)
		fprintf(remark,
			"! vs direct of %s: %s by %s, the median over %d pairs of runs of one repetition; %s by %s "
			"beside it, the medians over all runs (%+.1f%%): these contradict each other, and neither is "
			"to be trusted",
			name_of(t, cell, name), e.change < 0 ? "faster" : "slower", paired_effect_text(&e, effect),
			e.pairs, e.change < 0 ? "slower" : "faster", column, 100 * change);
	write_remark(remark, &text, f);
}

void table_write_remarks(const struct table *t, FILE *f)
{
	for (int c = 0; c < t->n; c++) {
		const struct line *l = &t->lines[c];
		char name[CELL_NAME_SIZE], *text;
		size_t size;
		if (!l->rows || !*l->reason)
			continue;
		FILE *remark = open_remark(&text, &size);
		if (remark)
			fprintf(remark, "%s%s: %s: %s", l->fallbacks ? "* " : "", name_of(t, c, name),
				*l->status ? l->status : "ok", l->reason);
		write_remark(remark, &text, f);
	}
	for (int cause = 0; cause < SHARE_CAUSES; cause++)
		write_incredible(t, f, false, (enum share_cause)cause);
	write_incredible(t, f, true, SHARE_NOISE);
	for (int c = 0; c < t->n; c++)
		write_contradiction(t, c, f);
}

/* What the effects are, and how often the runs are too few or vary too much to tell. */
static void write_comparisons(const struct table *t, FILE *f)
{
	int compared = 0, unknown = 0, fewest = 0, most = 0, judged = 0;
	bool prompts = false;
	double by_chance = 0;
	for (int c = 0; c < t->n; c++) {
		struct paired_effect e = to_direct(t, c);
		compared += e.pairs > 0;
		prompts |= e.pairs > 0 && cell_is_prompt(&t->cells[c]);
		if (e.pairs >= PAIRED_EFFECT_LEAST) {
			judged++;
			by_chance += 1 - (e.pairs <= PAIRED_EFFECT_RANGE ? paired_effect_range_coverage(e.pairs)
									 : PAIRED_EFFECT_LEVEL);
		}
		if (!paired_effect_is_known(&e)) {
			unknown += e.pairs > 0;
			continue;
		}
		fewest = !fewest || e.pairs < fewest ? e.pairs : fewest;
		most = e.pairs > most ? e.pairs : most;
	}
	if (!compared)
		return;
	bool is_range = fewest && fewest <= PAIRED_EFFECT_RANGE, all_range = is_range && most <= PAIRED_EFFECT_RANGE;
	fprintf(f, "vs direct: change of itl,%s the median over pairs of runs of one repetition, [%s]",
		prompts ? "\n  of a prompt's time," : "", all_range ? "their range" : "its 95% interval");
	if (is_range)
		fprintf(f, ";\n  of %d pairs it %s the true one %.0f times in 100", fewest,
			all_range ? "holds" : "is their range, which holds",
			100 * paired_effect_range_coverage(fewest));
	if (judged > 1 && by_chance >= 0.5)
		fprintf(f, ";\n  of %d comparisons without any difference, about %.2g would show one", judged,
			by_chance);
	fputc('\n', f);
	if (unknown)
		fprintf(f,
			"~: cannot tell, in %d of %d comparisons: the interval holds 0, or there are fewer than %d "
			"pairs\n",
			unknown, compared, PAIRED_EFFECT_LEAST);
}

/* Of what is compared, itl, over the cells that decode alone, as in a report; where none does, of t/s. */
static void write_noise(const struct table *t, FILE *f)
{
	struct noise s;
	char middle[PAIRED_EFFECT_TEXT], largest[PAIRED_EFFECT_TEXT], name[CELL_NAME_SIZE];
	bool decodes = false;
	if (noise_init(&s, t->n))
		return;
	for (int c = 0; c < t->n; c++)
		decodes |= t->lines[c].n && !t->cells[c].n_prompt;
	for (int c = 0; c < t->n; c++) {
		size_t of = decodes ? offsetof(struct sample, itl) : offsetof(struct sample, rate);
		struct stats_summary x = over(&t->lines[c], of);
		if (!decodes || !t->cells[c].n_prompt)
			noise_add(&s, c, t->lines[c].n, x.mad, x.median);
	}
	if (s.n)
		fprintf(f, "noise: %s varied from run to run by %s%% (MAD; the middle cell),\n  at most by %s%% (%s)\n",
			decodes ? "median itl" : "t/s", paired_effect_number(100 * noise_middle(&s), false, middle),
			paired_effect_number(100 * s.most, false, largest), name_of(t, s.noisiest, name));
	noise_free(&s);
}

void table_write(const struct table *t, FILE *f)
{
	char header[N_FIELDS][FIELD_SIZE] = {"test",   "mode",   "fusion", "sync",      "t/s",   "itl p50/90",
					     "submit", "launch", "bw",     "vs direct", "status"};
	char line[N_FIELDS][FIELD_SIZE];
	int widths[N_FIELDS];
	for (int i = 0; i < N_FIELDS; i++)
		widths[i] = text_width(header[i]);
	for (int c = 0; c < t->n; c++) {
		if (!t->lines[c].rows)
			continue;
		format_line(t, c, line);
		for (int i = 0; i < N_FIELDS; i++)
			widths[i] = text_width(line[i]) > widths[i] ? text_width(line[i]) : widths[i];
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
		prompts |= cell_is_prompt(&t->cells[c]) && isfinite(MEDIAN(l, share));
	}
	if (*heading)
		fputs("medians over the repetitions; ±: their MAD (median absolute deviation, not scaled)\n"
		      "t/s: tokens over a run's whole time (its mean); itl: from token to token, its median and p90,\n"
		      "  us; submit: its median, us; bw: of the measured bandwidth, at the median itl\n",
		      f);
	if (prompts)
		fputs("pp: TFLOP/s of products and attention, and their share of the measured rate of products alone\n",
		      f);
	write_comparisons(t, f);
	write_noise(t, f);
	int repeated = 0;
	for (int c = 0; c < t->n; c++)
		repeated += t->lines[c].repeated;
	if (repeated)
		fprintf(f, "%d %s repeated because the SM clock was low; the later ones count\n", repeated,
			repeated == 1 ? "run was" : "runs were");
	table_write_remarks(t, f);
}
