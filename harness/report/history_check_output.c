/* What a check found, printed. */
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "harness/report/grid.h"
#include "harness/report/history_check.h"

static void write_sentence(const struct history_check *c, FILE *f, int markdown)
{
	static const enum history_outcome order[] = {HISTORY_WRONG,        HISTORY_LOST,     HISTORY_WORSE,
						     HISTORY_UNCLEAR,      HISTORY_BETTER,   HISTORY_NEW,
						     HISTORY_RECALIBRATED, HISTORY_CONTINUES};
	const char *between = "";
	fprintf(f, "%sOf %d cell%s: ", markdown ? "**" : "", c->n, c->n == 1 ? "" : "s");
	for (size_t o = 0; o < sizeof order / sizeof *order; o++) {
		int n = 0;
		for (int i = 0; i < c->n; i++)
			n += c->cells[i].outcome == order[o];
		if (n)
			fprintf(f, "%s%d %s", between, n, history_outcome_name(order[o]));
		between = n ? ", " : between;
	}
	fprintf(f, ".%s\n\n", markdown ? "**" : "");
}

static int write_text(const struct history_check *c, FILE *f, int markdown)
{
	static const char *const header[] = {"series", "since",         "n",        "level",     "now",    "unit",
					     "change", "95 % interval", "p (Holm)", "would see", "verdict"};
	struct grid g = {.markdown = markdown, .drop_empty = 1, .columns = 11, .left = 0x3 | 1u << 5 | 1u << 10};
	int rc = grid_add(&g, header);
	write_sentence(c, f, markdown);
	for (int i = 0; i < c->n && !rc; i++) {
		const struct history_check_cell *k = &c->cells[i];
		char n[GRID_CELL], level[GRID_CELL], now[GRID_CELL], effect[GRID_CELL] = "-", interval[GRID_CELL] = "-",
								     p[GRID_CELL] = "-", seen[GRID_CELL] = "-";
		snprintf(n, sizeof n, k->m > 1 ? "%d+%d" : "%d", k->n, k->m);
		grid_number(level, k->level);
		grid_number(now, k->now);
		if (k->n) {
			grid_percent(effect, k->verdict.effect);
			grid_percent_interval(interval, k->verdict.low, k->verdict.high);
			snprintf(p, sizeof p, k->verdict.p_holm < 0.0001 ? "<0.0001" : "%.4f", k->verdict.p_holm);
			if (isfinite(k->verdict.seen))
				snprintf(seen, sizeof seen, "%.2f %%", 100 * k->verdict.seen);
		}
		const char *row[] = {k->label,
				     k->since,
				     n,
				     level,
				     now,
				     k->unit,
				     effect,
				     interval,
				     p,
				     seen,
				     history_outcome_name(k->outcome)};
		rc = grid_add(&g, row);
	}
	if (!rc)
		grid_write(&g, f);
	grid_free(&g);
	for (int i = 0; i < c->n; i++) {
		char safe[HISTORY_LABEL_SIZE + HISTORY_MARK_SIZE + 8], line[sizeof safe];
		if (!*c->cells[i].why)
			continue;
		snprintf(line, sizeof line, "%s: %s", c->cells[i].label, c->cells[i].why);
		text_escape(safe, sizeof safe, line);
		for (char *s = safe; markdown && *s; s++)
			*s = strchr("`|<>*_[]", *s) ? '\'' : *s;
		fprintf(f, "%s- %s\n", i ? "" : "\n", safe);
	}
	if (c->absent)
		fprintf(f,
			"\n%d series that the history's latest commit has %s not in this run, and nothing is said of "
			"%s\n",
			c->absent, c->absent == 1 ? "is" : "are", c->absent == 1 ? "it" : "them");
	if (c->dirty)
		fputs("\nthe run was measured with changes that are in no commit (-dirty)\n", f);
	fprintf(f,
		"\nmethod: each process's median as one more value of the last level in the same environment; "
		"Student's t, "
		"Holm over %d\ncell%s; worse: p below %.3g %% and the interval beyond %.3g %%; would see: the smallest "
		"true "
		"change for the worse that is\nfound %.3g times in 100; continues: no such p, and %.3g %% would be "
		"seen\n",
		c->judged, c->judged == 1 ? "" : "s", 100 * c->options.alpha, 100 * c->options.delta,
		100 * c->options.power, 100 * c->options.within);
	return rc;
}

static json_t *real(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

static json_t *name_json(const char *text)
{
	char name[HISTORY_MARK_SIZE];
	text_name(name, sizeof name, text, strlen(text));
	return json_string(name);
}

static json_t *cell_json(const struct history_check_cell *k)
{
	const struct continuation *v = &k->verdict;
	int judged = k->n > 0;
	return json_pack("{s:o, s:s, s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "series",
			 name_json(k->label), "outcome", history_outcome_name(k->outcome), "why", name_json(k->why),
			 "since", name_json(k->since), "level_values", k->n, "run_values", k->m, "unit",
			 name_json(k->unit), "level", real(k->level), "now", real(k->now), "effect",
			 judged ? real(v->effect) : json_null(), "low", judged ? real(v->low) : json_null(), "high",
			 judged ? real(v->high) : json_null(), "p", judged ? real(v->p) : json_null(), "p_holm",
			 judged ? real(v->p_holm) : json_null(), "would_see", judged ? real(v->seen) : json_null());
}

static int write_json(const struct history_check *c, FILE *f)
{
	json_t *cells = json_array();
	for (int i = 0; i < c->n; i++)
		json_array_append_new(cells, cell_json(&c->cells[i]));
	json_t *all = json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:b, s:i, s:o}", "schema_version", 1, "exit_code",
				history_check_code(c), "alpha", c->options.alpha, "delta", c->options.delta, "power",
				c->options.power, "within", c->options.within, "dirty", c->dirty > 0, "absent",
				c->absent, "cells", cells);
	int rc = !all || json_dumpf(all, f, JSON_INDENT(1)) ? -1 : 0;
	fputc('\n', f);
	json_decref(all);
	return rc;
}

static void write_csv(const struct history_check *c, FILE *f)
{
	fputs("series,outcome,since,unit,level_values,run_values,level,now,effect,low,high,p,p_holm,would_see\n", f);
	for (int i = 0; i < c->n; i++) {
		const struct history_check_cell *k = &c->cells[i];
		const double numbers[] = {k->level,        k->now,       k->verdict.effect, k->verdict.low,
					  k->verdict.high, k->verdict.p, k->verdict.p_holm, k->verdict.seen};
		const char *texts[] = {k->label, history_outcome_name(k->outcome), k->since, k->unit};
		for (int t = 0; t < 4; t++) {
			char name[HISTORY_LABEL_SIZE];
			text_name(name, sizeof name, texts[t], strlen(texts[t]));
			fputc('"', f);
			for (const char *s = name; *s; s++)
				fprintf(f, *s == '"' ? "\"\"" : "%c", *s);
			fputs("\",", f);
		}
		fprintf(f, "\"%d\",\"%d\"", k->n, k->m);
		for (int x = 0; x < 8; x++)
			if (isfinite(numbers[x]) && (x < 2 || k->n))
				fprintf(f, ",\"%.9g\"", numbers[x]);
			else
				fputc(',', f);
		fputc('\n', f);
	}
}

int history_check_write(const struct history_check *c, enum compare_format format, FILE *f, struct error *err)
{
	int rc = 0;
	if (format == COMPARE_FORMAT_CSV)
		write_csv(c, f);
	else if (format == COMPARE_FORMAT_JSON)
		rc = write_json(c, f);
	else
		rc = write_text(c, f, format == COMPARE_FORMAT_MD);
	return rc ? error_set(err, ERROR_MEMORY, "no memory to print a check") : 0;
}
