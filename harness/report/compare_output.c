#include "harness/report/compare_output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/calibration_text.h"
#include "harness/report/cell_difference.h"
#include "harness/report/compare_exact.h"
#include "harness/report/grid.h"

enum { SAFE = 512 };

static int add_cell(struct grid *g, const struct comparison *c, const struct cell_difference *d,
		    const struct compare_cell *k)
{
	char label[CELL_LABEL_SIZE], which[256], base[64], head[64], effect[64], interval[64], p[64], relative[64],
		needs[64];
	const struct compare_value *t = &k->values[METRIC_TIME];
	const struct verdict *v = &t->verdict;
	cell_label(&k->cell, label);
	cell_difference_text(d, &k->cell, which);
	grid_number(base, t->base);
	grid_number(head, t->head);
	grid_percent(effect, v->effect);
	grid_percent_interval(interval, v->low, v->high);
	snprintf(p, sizeof p, v->p_holm < 0.0001 ? "<0.0001" : "%.4f", v->p_holm);
	grid_percent(relative, k->relative.effect);
	if (isinf(v->detectable))
		snprintf(needs, sizeof needs, "too few (%d needed)", c->least_units);
	else if (isfinite(v->detectable) && v->runs_needed)
		snprintf(needs, sizeof needs, "%.1f %%; %d for %.0f %%", 100 * v->detectable, v->runs_needed,
			 200 * c->options.verdict.delta);
	else if (isfinite(v->detectable))
		snprintf(needs, sizeof needs, "%.1f %%", 100 * v->detectable);
	else
		snprintf(needs, sizeof needs, "-");
	const char *row[] = {label,
			     cell_word(&k->cell, AXIS_MODE),
			     cell_word(&k->cell, AXIS_FUSION),
			     which,
			     base,
			     head,
			     effect,
			     interval,
			     p,
			     relative,
			     needs,
			     compare_outcome_name(k->outcome)};
	return grid_add(g, row);
}

static int write_cells(const struct comparison *c, FILE *f, int markdown, const enum compare_outcome *outcomes, int n,
		       const char *heading)
{
	const char *const header[] = {"test",
				      "mode",
				      "fusion",
				      "cell",
				      "base us",
				      "head us",
				      "change",
				      compare_interval_head(c),
				      "p (Holm)",
				      "vs common",
				      "detectable; units",
				      "verdict"};
	struct grid g = {.markdown = markdown, .columns = 12, .left = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 11};
	struct cell_difference d = {0};
	for (int i = 0; i < c->n; i++)
		cell_difference_add(&d, &c->cells[i].cell);
	int rc = grid_add(&g, header), rows = 0;
	for (int o = 0; o < n; o++)
		for (int i = 0; i < c->n && !rc; i++)
			if (c->cells[i].outcome == outcomes[o]) {
				rc = add_cell(&g, c, &d, &c->cells[i]);
				rows++;
			}
	if (!rc && rows) {
		fprintf(f, "\n%s%s\n%s", markdown ? "**" : "", heading, markdown ? "" : "");
		if (markdown)
			fputs("\n", f);
		grid_write(&g, f);
	}
	grid_free(&g);
	return rc;
}

/* Reasons of cells that do not run any more. */
static void write_reasons(const struct comparison *c, FILE *f)
{
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = &c->cells[i];
		char label[CELL_LABEL_SIZE], safe[SAFE];
		if (!k->reason || (k->outcome != COMPARE_LOST && k->outcome != COMPARE_WRONG))
			continue;
		cell_label(&k->cell, label);
		text_escape(safe, sizeof safe, k->reason);
		fprintf(f, "%s ", label);
		text_print(f, cell_word(&k->cell, AXIS_MODE));
		fputc(' ', f);
		text_print(f, cell_word(&k->cell, AXIS_FUSION));
		fprintf(f, ": %s\n", safe);
	}
}

/* The other metrics, where they changed. */
static int write_metrics(const struct comparison *c, FILE *f, int markdown)
{
	const char *const header[] = {
		"also changed",           "test",    "mode", "fusion", "base", "head", "unit", "change",
		compare_interval_head(c), "p (Holm)"};
	struct grid g = {.markdown = markdown, .columns = 10, .left = 0xf | 1u << 6};
	int rc = grid_add(&g, header);
	for (int m = METRIC_P90; m < METRIC_COUNT; m++) {
		for (int i = 0; i < c->n && !rc; i++) {
			const struct compare_value *v = &c->cells[i].values[m];
			char label[CELL_LABEL_SIZE], base[64], head[64], effect[64], interval[64], p[64];
			if (v->verdict.kind != VERDICT_SLOWER && v->verdict.kind != VERDICT_FASTER)
				continue;
			cell_label(&c->cells[i].cell, label);
			grid_number(base, v->base);
			grid_number(head, v->head);
			grid_percent(effect, v->verdict.effect);
			grid_percent_interval(interval, v->verdict.low, v->verdict.high);
			snprintf(p, sizeof p, v->verdict.p_holm < 0.0001 ? "<0.0001" : "%.4f", v->verdict.p_holm);
			const char *row[] = {metrics[m].name,
					     label,
					     cell_word(&c->cells[i].cell, AXIS_MODE),
					     cell_word(&c->cells[i].cell, AXIS_FUSION),
					     base,
					     head,
					     metrics[m].unit,
					     effect,
					     interval,
					     p};
			rc = grid_add(&g, row);
		}
	}
	if (!rc && g.rows > 1) {
		fputc('\n', f);
		grid_write(&g, f);
	}
	grid_free(&g);
	return rc;
}

/* ", 3 of 56 runs not ok: 2 failed, 1 wrong (the first: tg4 @ d64 direct full: out of memory)" */
static void write_not_ok(FILE *f, const struct compare_runs *runs, int markdown)
{
	char label[CELL_LABEL_SIZE], words[2][64], reason[SAFE];
	const char *between = "";
	if (!runs->first)
		return;
	fprintf(f, ", %d of %d runs not ok: ", runs->n - runs->of[RUN_STATUS_OK], runs->n);
	for (int i = RUN_STATUS_OK + 1; i <= RUN_STATUS_INTERRUPTED; i++) {
		if (runs->of[i]) {
			fprintf(f, "%s%d %s", between, runs->of[i], run_status_name((enum run_status)i));
			between = ", ";
		}
	}
	struct cell cell;
	row_cell(runs->first, &cell);
	cell_label(&cell, label);
	text_escape(words[0], sizeof words[0], cell_word(&cell, AXIS_MODE));
	text_escape(words[1], sizeof words[1], cell_word(&cell, AXIS_FUSION));
	text_escape(reason, sizeof reason,
		    runs->first->reason && *runs->first->reason ? runs->first->reason : "no reason");
	for (char *p = reason; markdown && *p; p++)
		*p = strchr("`|<>*_[]", *p) ? '\'' : *p;
	fprintf(f, " (the first: %s %s %s: %s)", label, words[0], words[1], reason);
}

static void write_side(FILE *f, const char *what, const char *name, const char *commit, int n,
		       const struct compare_runs *runs, int markdown)
{
	char safe[SAFE], safe_commit[64];
	text_escape(safe, sizeof safe, name);
	text_escape(safe_commit, sizeof safe_commit, commit ? commit : "unknown");
	for (char *p = safe; markdown && *p; p++)
		*p = strchr("`|<>", *p) ? '\'' : *p;
	fprintf(f, "%s: %s%s%s, commit %s", what, markdown ? "`" : "", safe, markdown ? "`" : "", safe_commit);
	if (n > 1)
		fprintf(f, ", and %d more", n - 1);
	write_not_ok(f, runs, markdown);
	fputc('\n', f);
}

static int write_text(const struct comparison *c, const struct compare_output *o, FILE *f, int markdown)
{
	static const enum compare_outcome changed[] = {COMPARE_WRONG,  COMPARE_LOST,   COMPARE_SLOWER,
						       COMPARE_FASTER, COMPARE_COMMON, COMPARE_GAINED};
	static const enum compare_outcome unclear[] = {COMPARE_UNCLEAR};
	static const enum compare_outcome same[] = {COMPARE_SAME, COMPARE_NOT_RUN};
	char sentence[COMPARE_SENTENCE_SIZE], common[COMPARE_SENTENCE_SIZE], calibrated[CALIBRATION_TEXT_SIZE];
	char intervals[COMPARE_SENTENCE_SIZE];
	const char *gap = markdown ? "\n" : "";
	compare_sentence(c, sentence);
	compare_common_sentence(c, common);
	compare_interval_text(c, intervals);
	calibration_text(o->calibration, compare_variation(c), calibrated);
	fprintf(f, "%s%s%s\n%s%s\n%s", markdown ? "**" : "", sentence, markdown ? "**" : "", gap, common, gap);
	write_side(f, "base", o->base_name, o->base_commit, c->n_base, &c->runs[0], markdown);
	fputs(gap, f);
	write_side(f, "head", o->head_name, o->head_commit, c->n_head, &c->runs[1], markdown);
	int rc = write_cells(c, f, markdown, changed, 6, markdown ? "changed**" : "changed:");
	write_reasons(c, f);
	if (!rc)
		rc = write_cells(c, f, markdown, unclear, 1, markdown ? "cannot tell**" : "cannot tell:");
	if (!rc && o->all)
		rc = write_cells(c, f, markdown, same, 2, markdown ? "the same**" : "the same:");
	else if (c->count[COMPARE_SAME])
		fprintf(f, "\n%d cell%s the same (--all lists %s)\n", c->count[COMPARE_SAME],
			c->count[COMPARE_SAME] == 1 ? " is" : "s are", c->count[COMPARE_SAME] == 1 ? "it" : "them");
	if (!rc)
		rc = compare_exact_write(c, f);
	if (!rc)
		rc = write_metrics(c, f, markdown);
	fputc('\n', f);
	if (c->n_differences) {
		fputs("the sides were not measured alike:\n", f);
		for (int i = 0; i < c->n_differences; i++) {
			char safe[SAFE];
			text_escape(safe, sizeof safe, c->differences[i]);
			fprintf(f, "- %s\n", safe);
		}
	}
	fprintf(f, "%s\n%s", calibrated, gap);
	if (c->single_process)
		fprintf(f,
			"one process a side: what differs from process to process is not in these intervals, so "
			"changes count "
			"only beyond %.3g %%; several processes of each side would tell smaller ones\n%s",
			100 * c->options.process, gap);
	fprintf(f,
		"method: medians of %s%s; change: median of log ratios; %s; %s, Holm over %d "
		"cell%s; a change "
		"counts from %.3g %%; alpha %.3g %%; %s; the same: where the interval is within %.3g %%; detectable: "
		"the true slow-down that so many units call slower %.3g times in 100\n",
		c->single_process ? "runs" : "processes", c->options.paired ? ", in pairs measured side by side" : "",
		intervals, c->options.paired ? "exact sign-flip test" : "exact Mann-Whitney test", c->n,
		c->n == 1 ? "" : "s", 100 * c->options.verdict.delta, 100 * c->options.verdict.alpha,
		compare_gate_text(c), 100 * c->options.verdict.delta, 100 * c->options.verdict.power);
	return rc;
}

/* ---- for programs ---- */

/* The text as it may be printed anywhere: a file's may be of any bytes. */
static json_t *safe_text(const char *s)
{
	char safe[SAFE];
	text_escape(safe, sizeof safe, s);
	return json_string(safe);
}

static json_t *real(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

static json_t *verdict_json(const struct verdict *v)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "verdict", verdict_name(v->kind),
			 "effect", real(v->effect), "low", real(v->low), "high", real(v->high), "p", real(v->p),
			 "p_holm", real(v->p_holm), "p_least", real(v->p_least), "detectable", real(v->detectable),
			 "units_needed", v->runs_needed, "variation", real(v->variability));
}

static json_t *cell_json(const struct comparison *c, const struct compare_cell *k)
{
	char label[CELL_LABEL_SIZE], number_text[AXIS_TEXT_SIZE], safe[SAFE];
	cell_label(&k->cell, label);
	json_t *values = json_object(), *exact = json_object(), *key = json_object();
	for (int a = 0; a < AXIS_COUNT; a++) {
		text_escape(safe, sizeof safe, cell_text(&k->cell, (enum axis_id)a, number_text));
		json_object_set_new(key, axes[a].column,
				    axes[a].kind == AXIS_INT ? json_integer(cell_int(&k->cell, (enum axis_id)a))
							     : json_string(safe));
	}
	for (int m = 0; m < METRIC_COUNT; m++) {
		const struct compare_value *v = &k->values[m];
		if (!v->n && !v->m)
			continue;
		json_object_set_new(values, metrics[m].name,
				    json_pack("{s:s, s:i, s:i, s:o, s:o, s:b, s:o, s:o}", "unit", metrics[m].unit,
					      "base_units", v->n, "head_units", v->m, "base", real(v->base), "head",
					      real(v->head), "tiny", v->tiny, "coverage",
					      real(compare_coverage(c, v->n, v->m)), "change",
					      verdict_json(&v->verdict)));
	}
	for (int q = 0; q < EXACT_COUNT; q++) {
		static const char *const names[] = {"unknown", "same", "different", "varies", "missing"};
		const struct compare_exact *e = &k->exact[q];
		if (e->change != EXACT_UNKNOWN)
			json_object_set_new(exact, exact_quantities[q].name,
					    json_pack("{s:s, s:o, s:o}", "change", names[e->change], "base",
						      safe_text(e->base), "head", safe_text(e->head)));
	}
	text_escape(safe, sizeof safe, k->reason ? k->reason : "");
	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:b}", "test", label, "cell", key, "outcome",
			 compare_outcome_name(k->outcome), "reason", safe, "metrics", values, "relative",
			 verdict_json(&k->relative), "exact", exact, "exact_gates", k->exact_gates != 0);
}

static int write_json(const struct comparison *c, const struct compare_output *o, FILE *f)
{
	char sentence[COMPARE_SENTENCE_SIZE], safe[2][SAFE];
	json_t *cells = json_array(), *counts = json_object(), *differences = json_array();
	const struct calibration *k = o->calibration;
	compare_sentence(c, sentence);
	text_escape(safe[0], sizeof safe[0], o->base_name);
	text_escape(safe[1], sizeof safe[1], o->head_name);
	for (int i = 0; i < c->n; i++)
		json_array_append_new(cells, cell_json(c, &c->cells[i]));
	for (int i = 0; i <= COMPARE_GAINED; i++)
		json_object_set_new(counts, compare_outcome_name((enum compare_outcome)i), json_integer(c->count[i]));
	for (int i = 0; i < c->n_differences; i++)
		json_array_append_new(differences, safe_text(c->differences[i]));
	json_t *all = json_pack(
		"{s:i, s:s, s:i, s:{s:s, s:o, s:i, s:i, s:i}, s:{s:s, s:o, s:i, s:i, s:i}, s:b, s:b, s:f, s:f, s:i, "
		"s:o, s:i, s:i, s:o, s:o, "
		"s:o, s:o}",
		"schema_version", 1, "sentence", sentence, "exit_code", compare_exit_code(c), "base", "directory",
		safe[0], "commit", safe_text(o->base_commit ? o->base_commit : ""), "directories", c->n_base, "runs",
		c->runs[0].n, "runs_ok", c->runs[0].of[RUN_STATUS_OK], "head", "directory", safe[1], "commit",
		safe_text(o->head_commit ? o->head_commit : ""), "directories", c->n_head, "runs", c->runs[1].n,
		"runs_ok", c->runs[1].of[RUN_STATUS_OK], "paired", c->options.paired, "single_process",
		c->single_process, "alpha", c->options.verdict.alpha, "delta", c->options.verdict.delta, "least_units",
		c->least_units, "common", verdict_json(&c->common), "common_cells", c->common_cells, "common_apart",
		c->common_apart, "outcomes", counts, "environment_differences", differences, "calibration",
		k && k->entries ? json_pack("{s:i, s:i, s:f, s:f, s:s}", "sweeps", k->sweeps, "alarms", k->alarms,
					    "variation", k->variation, "variation_max", k->variation_max, "utc", k->utc)
				: json_null(),
		"cells", cells);
	int rc = !all || json_dumpf(all, f, JSON_INDENT(1)) ? -1 : 0;
	fputc('\n', f);
	json_decref(all);
	return rc;
}

/* RFC 4180: a field in quotes, theirs doubled. */
static void put_field(FILE *f, const char *s, int last)
{
	if (*s) {
		fputc('"', f);
		for (; *s; s++) {
			if (*s == '"')
				fputc('"', f);
			fputc(*s, f);
		}
		fputc('"', f);
	}
	fputc(last ? '\n' : ',', f);
}

static void put_real(FILE *f, double x, int last)
{
	char text[COLUMN_TEXT_SIZE];
	put_field(f, column_real_text(x, text), last);
}

static void write_csv(const struct comparison *c, FILE *f)
{
	fputs("schema_version,test", f);
	for (int a = 0; a < AXIS_COUNT; a++)
		fprintf(f, ",%s", axes[a].column);
	fputs(",outcome,metric,unit,base_units,head_units,base,head,effect,low,high,p,p_holm,p_least,detectable,units_"
	      "needed,"
	      "variation,relative_effect,coverage,verdict\n",
	      f);
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = &c->cells[i];
		for (int m = 0; m < METRIC_COUNT; m++) {
			const struct compare_value *v = &k->values[m];
			char text[SAFE], number_text[AXIS_TEXT_SIZE], label[CELL_LABEL_SIZE];
			if (!v->n && !v->m)
				continue;
			cell_label(&k->cell, label);
			put_field(f, "1", 0);
			put_field(f, label, 0);
			for (int a = 0; a < AXIS_COUNT; a++) {
				text_escape(text, sizeof text, cell_text(&k->cell, (enum axis_id)a, number_text));
				put_field(f, text, 0);
			}
			put_field(f, compare_outcome_name(k->outcome), 0);
			put_field(f, metrics[m].name, 0);
			put_field(f, metrics[m].unit, 0);
			snprintf(text, sizeof text, "%d", v->n);
			put_field(f, text, 0);
			snprintf(text, sizeof text, "%d", v->m);
			put_field(f, text, 0);
			const double numbers[] = {v->base,
						  v->head,
						  v->verdict.effect,
						  v->verdict.low,
						  v->verdict.high,
						  v->verdict.p,
						  v->verdict.p_holm,
						  v->verdict.p_least,
						  v->verdict.detectable,
						  v->verdict.runs_needed,
						  v->verdict.variability,
						  m == METRIC_TIME ? k->relative.effect : NAN,
						  compare_coverage(c, v->n, v->m)};
			for (size_t x = 0; x < sizeof numbers / sizeof *numbers; x++)
				put_real(f, numbers[x], 0);
			put_field(f, v->tiny ? "same (tiny)" : verdict_name(v->verdict.kind), 1);
		}
	}
}

int compare_output_write(const struct comparison *c, const struct compare_output *o, enum compare_format format,
			 FILE *f, struct error *err)
{
	int rc = 0;
	if (format == COMPARE_FORMAT_CSV)
		write_csv(c, f);
	else
		rc = format == COMPARE_FORMAT_JSON ? write_json(c, o, f)
						   : write_text(c, o, f, format == COMPARE_FORMAT_MD);
	/* What the stream did not take is the caller's to say, who knows what it is. */
	return rc && !ferror(f) ? error_set(err, ERROR_MEMORY, "no memory to print the comparison") : 0;
}
