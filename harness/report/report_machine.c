/* The machine, the instrument and the method behind a report's numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/calibration_text.h"
#include "harness/report/crossover.h"
#include "harness/report/noise.h"
#include "harness/report/report_internal.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"

enum { SCATTER_POINTS = 400, COMMAND_MOST = 1200 /* bytes, and a word more */ };

/* ---- telemetry ---- */

static int add_quantity(struct report *r, struct document_table *t, const char *name, const char *what)
{
	const struct column *column = side_column(name);
	const struct side *s = &r->head;
	double *x = NULL;
	int n = 0, room = 0;
	for (int i = 0; i < s->n_cells; i++)
		room += s->cells[i].n;
	x = calloc((size_t)room + 1, sizeof *x);
	for (int i = 0; x && i < s->n_cells; i++)
		for (int k = 0; k < s->cells[i].n; k++) {
			double value = column_number(s->cells[i].runs[k].row, column);
			/* A run shorter than the card's counter of energy takes a step has none, not 0. */
			if (isfinite(value) && (value > 0 || strcmp(name, "energy_per_token_j")))
				x[n++] = value;
		}
	struct stats_summary sum;
	if (!x || stats_summarize(x, n, &sum)) {
		r->rc = r->rc ? r->rc : error_set(r->err, ERROR_MEMORY, "no memory for the telemetry");
		n = 0;
	}
	free(x);
	if (!n)
		return 0;
	struct document_entry *e = document_row(r->d, t);
	report_put(&e[0], what, NAN);
	report_put_number(r, &e[1], sum.min);
	report_put_number(r, &e[2], sum.median);
	report_put_number(r, &e[3], sum.max);
	report_put(&e[4], document_text(r->d, "%d", n), n);
	return 1;
}

void report_telemetry(struct report *r)
{
	static const struct document_column columns[] = {
		{"of a run", 0}, {"least", 1}, {"median", 1}, {"most", 1}, {"runs", 1}};
	static const char *const quantities[][2] = {
		{"sm_clock_mhz", "SM clock, MHz"},
		{"memory_clock_mhz", "memory clock, MHz"},
		{"power_w", "power, W"},
		{"energy_per_token_j", "energy a token, J"},
		{"temperature_c", "highest temperature, C"},
		{"gpu_utilization", "GPU busy, %"},
		{"cpu_mhz", "CPU clock, MHz"},
		{"load_average", "load average, 1 min"},
		{"context_switches", "context switches"},
		{"involuntary_switches", "involuntary switches"},
		{"minor_faults", "minor page faults"},
		{"major_faults", "major page faults"},
	};
	const struct side *s = &r->head;
	struct document_section *to = document_section(r->d, "Telemetry");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 5);
	int any = 0, low = 0, replaced = 0, throttled = 0, looked = 0;
	for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++)
		any += add_quantity(r, t, quantities[i][0], quantities[i][1]);
	t->source = report_source_all(r, s, REPORT_ROWS_ALL);
	if (!any) {
		to->n = 0; /* nobody looked */
		return;
	}
	for (int i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->sets[i]->n_rows; k++) {
			const struct run_row *row = &s->sets[i]->rows[k];
			const char *reasons = row->throttle_reasons;
			int counts = s->sets[i]->counts[k];
			replaced += !counts;
			low += counts && row->clock_low == 1;
			looked += counts && reasons && *reasons;
			throttled +=
				counts && reasons && *reasons && strcmp(reasons, "none") && strcmp(reasons, "gpu_idle");
		}
	if (looked)
		document_say(r->d, to, "The GPU's clock was held back in %d of %d runs that were looked at.", throttled,
			     looked);
	if (low || replaced)
		document_say(r->d, to,
			     "%s ran at an SM clock below the others of the cell; %s replaced by a later attempt.",
			     report_count(r, low, "run"), report_count(r, replaced, "run was"));
	to->finding = looked ? document_text(r->d, "clock held back in %d of %d runs", throttled, looked) : "";
}

/* ---- noise ---- */

/* Each run's time against its cell's median, in the order of execution. */
static void add_drift(struct report *r, struct document_section *to)
{
	const struct side *s = &r->head;
	int runs = 0, seen = 0;
	for (int i = 0; i < s->n_cells; i++)
		runs += s->cells[i].panel >= 0 ? s->cells[i].n_ok : 0;
	if (s->n > 1 || runs < 4)
		return;
	int step = (runs + SCATTER_POINTS - 1) / SCATTER_POINTS;
	struct chart *c = document_chart(r->d, to, DOCUMENT_HTML, CHART_SCATTER, s->n_modes, 0);
	c->x = CHART_X_LINEAR;
	c->y = CHART_Y_PERCENT;
	c->title = "Each run's time against its cell's median, in the order of execution";
	c->x_text = "order of execution";
	c->y_text = "deviation, %";
	c->marks = step > 1 ? document_text(r->d, "every %dth of %d runs", step, runs) : "a dot a run";
	c->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	for (int m = 0; m < c->n_series; m++) {
		c->series[m].name = s->modes[m];
		c->series[m].style = side_mode_style(s, m);
	}
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *cell = &s->cells[i];
		struct side_value v = report_value(r, s, cell, "itl_median_us");
		int mode = 0;
		while (mode < s->n_modes && strcmp(s->modes[mode], cell_word(&cell->cell, AXIS_MODE)))
			mode++;
		for (int k = 0; k < cell->n && cell->panel >= 0 && mode < c->n_series; k++) {
			const struct run_row *row = cell->runs[k].row;
			double change = row->itl_median_us / v.median - 1;
			if (row->status != RUN_STATUS_OK || row->order == ROW_UNKNOWN || !isfinite(change) ||
			    seen++ % step)
				continue;
			const char *tip = document_text(r->d,
							"%s" CHART_LINE "%s of the cell's median" CHART_LINE
							"run_id %s" CHART_LINE "itl_median_us %.6g",
							report_cell_name(r, &cell->cell), report_change(r, change),
							report_cut(r, row->run_id, 100), row->itl_median_us);
			chart_add(r->d, &c->series[mode],
				  (struct chart_point){.x = (double)row->order,
						       .y = 100 * change,
						       .low = NAN,
						       .high = NAN,
						       .tip = tip});
		}
	}
}

/* Of the cells of one mode or, mode null, of all. Free it also where there is no memory: then it is of none. */
static void noise_of(struct report *r, const char *mode, struct noise *out)
{
	const struct side *s = &r->head;
	if (noise_init(out, s->n_cells)) {
		r->rc = r->rc ? r->rc : error_set(r->err, ERROR_MEMORY, "no memory for the noise");
		return;
	}
	for (int i = 0; i < s->n_cells; i++) {
		struct side_value v = report_value(r, s, &s->cells[i], "itl_median_us");
		if (s->cells[i].panel >= 0 && (!mode || !strcmp(cell_word(&s->cells[i].cell, AXIS_MODE), mode)))
			noise_add(out, i, v.n, v.mad, v.median);
	}
}

const char *report_noise_text(struct report *r)
{
	struct noise all;
	noise_of(r, NULL, &all);
	const char *what = r->head.n > 1 ? "process to process" : "run to run";
	const char *out =
		all.n ? document_text(r->d, "from %s by %.2g %% (MAD; the middle cell), at most by %.2g %% (%s)", what,
				      100 * noise_middle(&all), 100 * all.most,
				      report_cell_name(r, &r->head.cells[all.noisiest].cell))
		      : "";
	noise_free(&all);
	return out;
}

/* As a calibration has it: the median over cells of the standard deviation of their units. NAN: no cell has two. */
static double variation_of(struct report *r)
{
	const struct side *s = &r->head;
	double *deviations = calloc((size_t)s->n_cells + 1, sizeof *deviations), median;
	int n = 0;
	for (int i = 0; i < s->n_cells && deviations && !r->rc; i++) {
		const struct side_cell *c = &s->cells[i];
		struct side_number *units = calloc((size_t)c->n + 1, sizeof *units);
		double *logs = calloc((size_t)c->n + 1, sizeof *logs);
		int of = units && logs ? side_units(s, c, NULL, units, r->err)
				       : error_set(r->err, ERROR_MEMORY, "no memory for the noise");
		for (int k = 0; k < of; k++)
			logs[k] = log(units[k].value);
		if (of >= 2)
			deviations[n++] = stats_deviation(logs, of);
		r->rc = of < 0 ? of : r->rc;
		free(logs);
		free(units);
	}
	median = stats_median(deviations, n);
	free(deviations);
	return median;
}

void report_noise(struct report *r)
{
	static const struct document_column columns[] = {
		{"mode", 0}, {"cells", 1}, {"middle cell", 1}, {"noisiest cell", 1}, {"which", 0}};
	const struct side *s = &r->head;
	struct document_section *to = document_section(r->d, "Noise and calibration");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 5);
	for (int m = 0; m < s->n_modes; m++) {
		struct noise of;
		noise_of(r, s->modes[m], &of);
		int n = of.n;
		double middle = noise_middle(&of);
		noise_free(&of);
		if (!n)
			continue;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], s->modes[m], NAN);
		report_put(&e[1], document_text(r->d, "%d", n), n);
		report_put(&e[2], document_text(r->d, "%.2g %%", 100 * middle), middle);
		report_put(&e[3], document_text(r->d, "%.2g %%", 100 * of.most), of.most);
		report_put(&e[4], report_cell_name(r, &s->cells[of.noisiest].cell), NAN);
		to->finding = document_text(r->d, "%s%s%s %.2g %%", to->finding,
					    *to->finding ? ", " : "from run to run ", s->modes[m], 100 * middle);
	}
	t->title = document_text(r->d, "From %s: MAD of the median time per token",
				 s->n > 1 ? "process to process" : "run to run");
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	char calibrated[CALIBRATION_TEXT_SIZE];
	calibration_text(r->in->calibration, r->in->comparison ? compare_variation(r->in->comparison) : variation_of(r),
			 calibrated);
	document_say(r->d, to, "The instrument: %s.", calibrated);
	if (s->n == 1)
		document_say(r->d, to,
			     "One process: what differs from process to process is in no interval here; several "
			     "directories, "
			     "each of a process of its own, show it.");
	add_drift(r, to);
}

/* ---- what did not run ---- */

void report_not_ok(struct report *r)
{
	static const struct document_column columns[] = {{"cell", 0}, {"status", 0}, {"runs", 1}, {"reason", 0}};
	const struct side *s = &r->head;
	struct document_section *to = document_section(r->d, "Runs that are not ok, and remarks");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 4);
	long bad = 0;
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		const struct run_row *first = NULL;
		int n = 0;
		for (int k = 0; k < c->n; k++) {
			const struct run_row *row = c->runs[k].row;
			int remark = row->reason && *row->reason;
			if (row->status == RUN_STATUS_OK && !remark)
				continue;
			n++;
			/* A run that is not ok says more than any remark. */
			if (!first || (first->status == RUN_STATUS_OK && row->status != RUN_STATUS_OK))
				first = row;
		}
		if (!first)
			continue;
		bad += c->n - c->n_ok;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &c->cell), NAN);
		report_put(&e[1], run_status_name(first->status), NAN);
		report_put(&e[2], document_text(r->d, "%d", n), n);
		report_put(&e[3], first->reason && *first->reason ? report_cut(r, first->reason, 600) : "", NAN);
	}
	if (!t->n_rows) {
		to->n = 0;
		return;
	}
	t->source = report_source_all(r, s, REPORT_ROWS_ALL);
	to->finding = bad ? document_text(r->d, "%s", report_count(r, bad, "run")) : "remarks alone";
}

/* ---- environment ---- */

static const char *fact_text(struct report *r, const json_t *fact)
{
	if (!fact || json_is_null(fact))
		return "";
	if (json_is_string(fact))
		return report_cut(r, json_string_value(fact), 300);
	char *dumped = json_dumps(fact, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
	const char *text = report_cut(r, document_text(r->d, "%s", dumped ? dumped : ""), 300);
	free(dumped);
	return text;
}

static void add_fact(struct report *r, struct document_table *t, const char *what, const char *head, const char *base)
{
	if (!*head && !*base)
		return;
	struct document_entry *e = document_row(r->d, t);
	report_put(&e[0], what, NAN);
	report_put(&e[1], head, NAN);
	report_put(&e[2], base, NAN);
}

static const char *bandwidth_text(struct report *r, const struct side *s)
{
	const char *out = "";
	size_t i;
	json_t *b;
	json_array_foreach(result_set_fact(s->sets[0], "bandwidth"), i, b)
	{
		double rate = json_number_value(json_object_get(b, "read_gb_s"));
		if (i == 8)
			break;
		out = document_text(r->d, "%s%s%s GB/s with %s", out, *out ? ", " : "", report_number(r, rate),
				    report_count(r, (long)json_integer_value(json_object_get(b, "threads")), "thread"));
	}
	return out;
}

static void add_models(struct report *r, struct document_table *t)
{
	const json_t *models = result_set_fact(r->head.sets[0], "models");
	size_t i;
	json_t *m;
	json_array_foreach(models, i, m)
	{
		double bytes = json_number_value(json_object_get(m, "bytes"));
		if (i == 8)
			break;
		add_fact(r, t, "model",
			 document_text(r->d, "%s, %.0f bytes, xxh3_64 %s", fact_text(r, json_object_get(m, "file")),
				       bytes, fact_text(r, json_object_get(m, "xxh3_64"))),
			 "");
	}
}

/* Whether each directory has its env.json. */
static int described(const struct side *s)
{
	int all = 1;
	for (int i = 0; i < s->n; i++)
		all = all && s->sets[i]->env;
	return all;
}

void report_environment(struct report *r)
{
	static const struct document_column columns[] = {{"", 0}, {"here", 0}, {"base", 0}};
	static const char *const facts[][2] = {
		{"gpu name", "GPU"},
		{"gpu memory_bytes", "GPU memory, bytes"},
		{"gpu nvml driver_version", "GPU driver"},
		{"gpu kernel_module", "GPU kernel module"},
		{"gpu driver_cuda_version", "CUDA of the driver"},
		{"gpu nvrtc_version", "NVRTC"},
		{"gpu nvml power_limit_w", "power limit, W"},
		{"gpu_reason", "no GPU"},
		{"cpu model", "CPU"},
		{"cpu cores", "cores"},
		{"cpu available_cpus", "CPUs that the process may use"},
		{"cpu isa", "instruction set of the kernels"},
		{"cpu governor", "governor"},
		{"memory total_bytes", "memory, bytes"},
		{"system kernel", "kernel"},
		{"system container", "container"},
		{"build commit", "commit"},
		{"build dirty", "uncommitted changes"},
		{"build compiler", "compiler"},
		{"build flags", "flags"},
		{"build type", "build type"},
		{"seed", "seed"},
	};
	struct document_section *to = document_section(r->d, "Environment");
	const struct comparison *c = r->in->comparison;
	for (int i = 0; c && i < c->n_differences; i++)
		document_item(r->d, to, "differs: %s", c->differences[i]);
	report_add_places(r, to);
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 3);
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		const char *head = fact_text(r, result_set_fact(r->head.sets[0], facts[i][0]));
		const char *base = r->base.n ? fact_text(r, result_set_fact(r->base.sets[0], facts[i][0])) : "";
		/* What is equal is said once. */
		add_fact(r, t, facts[i][1], head, strcmp(head, base) ? base : "");
	}
	/* What moves by itself is no difference. */
	add_fact(r, t, "read bandwidth of the host", bandwidth_text(r, &r->head), "");
	add_models(r, t);
	document_drop_empty_columns(r->d, t);
	t->source =
		document_text(r->d, "env.json of the first directory of %s", r->base.n ? "either side" : "the sweep");
	if (!t->n_rows) {
		to->n = 0;
		return;
	}
	if (c)
		to->finding = c->n_differences ? document_text(r->d, "the sides differ in %d facts", c->n_differences)
			      : described(&r->head) && described(&r->base) ? "the sides were measured alike"
									   : "not known of both sides";
}

/* ---- method ---- */

/* A path says where somebody's files are: its end does, behind what says whose value it is: @FILE, --out=FILE. */
static const char *without_path(struct report *r, const char *word)
{
	const char *text = word ? word : "", *slash = strrchr(text, '/'), *from = text;
	const char *equals = *text == '-' ? strchr(text, '=') : NULL;
	if (*text == '@')
		from = text + 1;
	else if (equals && equals < slash)
		from = equals + 1;
	return slash && slash[1] ? document_text(r->d, "%.*s%s", (int)(from - text), text, slash + 1) : text;
}

/* As a shell takes it for one word. */
static const char *shell_word(struct report *r, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
	const char *out = "'";
	if (*word && !word[strspn(word, plain)])
		return word;
	for (const char *quote; (quote = strchr(word, '\'')); word = quote + 1)
		out = document_text(r->d, "%s%.*s'\\''", out, (int)(quote - word), word);
	return document_text(r->d, "%s%s'", out, word);
}

static void add_command(struct report *r, struct document_section *to, const struct side *s, const char *which)
{
	const json_t *words = result_set_fact(s->sets[0], "command_line");
	const char *line = "gemmark";
	size_t i;
	json_t *word;
	if (!json_array_size(words))
		return;
	json_array_foreach(words, i, word)
	{
		if (strlen(line) > COMMAND_MOST) {
			line = document_text(r->d, "%s ...", line);
			break;
		}
		line = document_text(r->d, "%s %s", line,
				     shell_word(r, report_cut(r, without_path(r, json_string_value(word)), 200)));
	}
	document_say(r->d, to, "Measured by%s%s:", *which ? " (" : "", *which ? document_text(r->d, "%s)", which) : "");
	document_block(r->d, to, DOCUMENT_COMMAND, DOCUMENT_BOTH)->text = line;
}

void report_method(struct report *r)
{
	struct document_section *to = document_section(r->d, "Method");
	const struct comparison *c = r->in->comparison;
	const char *text = json_string_value(json_object_get(r->head.sets[0]->sweep, "text_hash"));
	document_item(
		r->d, to,
		"A cell's context is filled once; each repetition rewinds to it, warms up in its mode until that is "
		"steady, then decodes tokens of %s, the same for every mode.",
		text ? document_text(r->d, "one text (XXH3-64 %s)", text_show(text, strlen(text)).text)
		     : "one seeded stream");
	document_item(
		r->d, to,
		"Modes of a cell run next to each other, every second repetition backwards: drift of the machine hits "
		"all alike. A run whose logits differ in any bit from the direct one is marked wrong.");
	document_item(r->d, to,
		      "Times are from completion to completion of a token (itl), host clock CLOCK_MONOTONIC_RAW; a "
		      "run's is its "
		      "tokens' median, a cell's the median over its runs. Tokens/s are a run's tokens over its whole "
		      "time, and so of its mean token. MAD is not scaled.");
	document_item(
		r->d, to,
		"Against direct launches: the median over pairs of runs of one repetition, and the 95 %% bootstrap "
		"interval over them (of normal noise and 6 to 15 pairs it holds the true median 87 to 96 times in "
		"100); "
		"of 5 pairs or fewer their range, which holds it 75 times in 100 of 3 pairs, 88 of 4, 94 of 5; of "
		"fewer "
		"than 3 none.");
	if (r->compared)
		document_item(r->d, to,
			      "Faster and slower: exact sign-flip test over pairs, Holm over %s at 5 %%. So many need "
			      "%d pairs a cell at least: fewer cannot reach it, whatever they say. Where they are too "
			      "few, a mode is judged over its cells together: the same test of the cells' medians, "
			      "Holm over the modes.",
			      report_count(r, r->compared, "comparison"), r->least_pairs);
	document_item(
		r->d, to,
		"Crossover: where the median effect changes its sign, linear in log2 of the depth between two measured "
		"ones, from depth 0 linear in the depth itself; its interval is the 95 %% bootstrap over repetitions, "
		"resampled whole. It is looked for among %d depths or more, and told where cells are faster and cells "
		"are slower, and the interval lies within the depths.",
		CROSSOVER_DEPTHS_LEAST);
	char interval[COMPARE_SENTENCE_SIZE] = "";
	if (c)
		compare_interval_text(c, interval);
	if (c)
		document_item(r->d, to,
			      "Changes between the sides: %s over %s; %s; Holm over %s at %.3g %%, and beyond %.3g "
			      "%% to count. At "
			      "least %d units a side are needed to call anything different. Judged: %s.",
			      c->options.paired ? "sign-flip test of pairs" : "exact Mann-Whitney",
			      c->single_process ? "repetitions of one process a side" : "processes", interval,
			      report_count(r, c->n, "cell"), 100 * c->options.verdict.alpha,
			      100 * c->options.verdict.delta, c->least_units, compare_gate_text(c));
	add_command(r, to, &r->head, r->base.n ? "head" : "");
	if (r->base.n)
		add_command(r, to, &r->base, "base");
}
