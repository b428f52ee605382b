#include "harness/plot/plot_quality.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/plot/plot_chart.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"
#include "harness/record/quality_file.h"

static const int by_budget[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_COST, -1};
static const int by_third[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_LAYERS, -1};

enum {
	THIRDS = 3,
	FULL_STYLE = 6, /* black */
	COLUMNS = 6,    /* budgets beside each other */
};

/* A line of a figure. */
struct line {
	enum quality_policy policy;
	int pool;
	int style;
	char name[PLOT_TEXT_MAX];
};

/* The rows of one context and window. */
struct quality_set {
	struct plot_figure f;
	const struct quality_summary_row *rows; /* (n), of all sets */
	int n;
	int context, window;
	struct line lines[PLOT_CHART_SERIES]; /* the full cache's last */
	int n_lines, n_votes;                 /* of SnapKV with different pools */
	long budgets[PLOT_DATA_MAX_DEPTHS];
	int n_budgets;
	struct plot_caption caption;
};

static const struct quality_summary_row *find(const struct quality_set *q, const struct line *l, long budget,
					      enum quality_measure measure, int asked, int third)
{
	for (int i = 0; i < q->n; i++) {
		const struct quality_summary_row *r = &q->rows[i];
		bool full = l->policy == QUALITY_FULL;
		if (r->of.context == q->context && r->of.policy == l->policy && r->of.pool == l->pool &&
		    (full || (r->of.window == q->window && r->of.budget == budget)) && r->measure == measure &&
		    r->asked == asked && r->question < 0 && r->third == third && isfinite(r->mean))
			return r;
	}
	return NULL;
}

/* ---- what there is ---- */

static int add_line(struct quality_set *q, const struct quality_summary_row *r)
{
	/* Styles that no other policy has, for the votes with further pools. */
	static const int votes[] = {0, 4, 5, 7};
	for (int i = 0; i < q->n_lines; i++)
		if (q->lines[i].policy == r->of.policy && q->lines[i].pool == r->of.pool)
			return 0;
	if (q->n_lines == PLOT_CHART_SERIES - 1)
		return -1;
	struct line *l = &q->lines[q->n_lines++];
	*l = (struct line){.policy = r->of.policy, .pool = r->of.pool, .style = (int)r->of.policy - 1};
	snprintf(l->name, sizeof l->name, "%s", quality_policies[r->of.policy]);
	if (r->of.policy == QUALITY_SNAPKV) {
		l->style = votes[q->n_votes++ % 4];
		snprintf(l->name, sizeof l->name, "snapkv, pool %d", r->of.pool);
	}
	return 0;
}

static void set_fill(struct quality_set *q)
{
	bool room = true;
	for (int i = 0; i < q->n; i++) {
		const struct quality_summary_row *r = &q->rows[i];
		if (r->of.context != q->context || r->of.window != q->window || r->of.policy == QUALITY_FULL)
			continue;
		room &= !add_line(q, r) && plot_data_insert(q->budgets, &q->n_budgets, r->of.budget);
	}
	if (!room)
		plot_note(q->f.request, "context %d, window %d: too many policies, pools or budgets: some are left out",
			  q->context, q->window);
	/* The caption says which pool. */
	for (int i = 0; i < q->n_lines && q->n_votes == 1; i++)
		if (q->lines[i].policy == QUALITY_SNAPKV)
			snprintf(q->lines[i].name, PLOT_TEXT_MAX, "%s", quality_policies[QUALITY_SNAPKV]);
	struct line *full = &q->lines[q->n_lines];
	*full = (struct line){.policy = QUALITY_FULL, .pool = -1, .style = FULL_STYLE};
	snprintf(full->name, sizeof full->name, "full cache");
}

static void text_of(const json_t *o, const char *key, char out[PLOT_TEXT_MAX])
{
	const char *text = json_string_value(json_object_get(o, key));
	plot_text_clean(out, text ? text : "unknown", 60);
}

static void set_caption(struct quality_set *q, const json_t *study)
{
	char a[PLOT_TEXT_MAX], b[PLOT_TEXT_MAX], item[3 * PLOT_TEXT_MAX];
	struct plot_caption *c = &q->caption;
	text_of(study, "model", a);
	plot_caption_add(c, a);
	text_of(study, "cache_k", a);
	text_of(study, "cache_v", b);
	snprintf(item, sizeof item, "cache K %s, V %s", a, b);
	plot_caption_add(c, item);
	snprintf(item, sizeof item, "prompts of %d tokens, the last %d kept by all", q->context, q->window);
	plot_caption_add(c, item);
	snprintf(item, sizeof item, "%lld sinks", (long long)json_integer_value(json_object_get(study, "sinks")));
	plot_caption_add(c, item);
	snprintf(item, sizeof item, "budget %ld", q->budgets[0]);
	if (q->n_budgets == 1)
		plot_caption_add(c, item);
	plot_caption_break(c);
	text_of(study, "device", a);
	plot_caption_add(c, a);
	text_of(study, "commit", a);
	snprintf(item, sizeof item, "commit %s", a);
	plot_caption_add(c, item);
	const long long seeds = json_integer_value(json_object_get(study, "seeds"));
	snprintf(item, sizeof item, "%lld text%s; %lld tokens scored, %lld needles hidden in each", seeds,
		 seeds == 1 ? "" : "s", (long long)json_integer_value(json_object_get(study, "continuation")),
		 (long long)json_integer_value(json_object_get(study, "needles")));
	plot_caption_add(c, item);
	for (int i = 0; i < q->n_lines && q->n_votes == 1; i++) {
		snprintf(item, sizeof item, "votes pooled over %d", q->lines[i].pool);
		if (q->lines[i].policy == QUALITY_SNAPKV)
			plot_caption_add(c, item);
	}
	plot_caption_break(c);
	plot_caption_add(c, seeds == 1 ? "of one text, so without intervals"
				       : "mean over texts, and its 95 % interval (bootstrap over texts)");
}

/* ---- figures ---- */

struct kind {
	const char *name, *title, *unit_text, *label, *unit;
	enum quality_measure measure;
	int asked;
	double scale;
	bool full; /* the full cache has a line */
};

/* Shown as what it takes away: an axis of amounts has no negative ones. */
static bool is_loss(enum quality_measure m)
{
	return m == QUALITY_LOGPROB;
}

static const struct kind kinds[] = {
	{"quality-divergence", "What eviction changes: divergence from the full cache",
	 "Kullback-Leibler divergence, nats a token", "KL divergence", "nats", QUALITY_KL, -1, 1, false},
	{"quality-agreement", "What eviction changes: top-1 agreement with the full cache",
	 "top-1 agreement, share of tokens", "tokens with the same top-1", "%", QUALITY_TOP1, -1, 100, false},
	{"quality-perplexity", "What eviction costs: perplexity of the text that goes on",
	 "perplexity over the full cache's", "perplexity", "\xc3\x97 the full cache's", QUALITY_RATIO, -1, 1, true},
	{"quality-found-before", "Needles found, asked for before the eviction", "needles found, share of them",
	 "found", "%", QUALITY_EXACT, QUALITY_BEFORE, 100, true},
	{"quality-found-behind", "Needles found, asked for behind the eviction", "needles found, share of them",
	 "found", "%", QUALITY_EXACT, QUALITY_BEHIND, 100, true},
	{"quality-loss-before", "How far a needle's value is from certain, asked for before the eviction",
	 "negative log probability of the value, nats", "\xe2\x88\x92log p of the value", "nats", QUALITY_LOGPROB,
	 QUALITY_BEFORE, 1, true},
	{"quality-loss-behind", "How far a needle's value is from certain, asked for behind the eviction",
	 "negative log probability of the value, nats", "\xe2\x88\x92log p of the value", "nats", QUALITY_LOGPROB,
	 QUALITY_BEHIND, 1, true},
};

static int draw_kind(struct quality_set *q, const struct kind *k, struct error *err)
{
	char title[PLOT_TEXT_MAX];
	struct plot_chart c = {
		.title = title,
		.unit_text = k->unit_text,
		.x_name = "budget",
		.templates = by_budget,
		.caption = &q->caption,
		.xs = q->budgets,
		.x_text = "budget (entries kept of a KV head of a global layer, log scale)",
		.single_text = "policy",
	};
	double lo, hi;
	/* Of one budget there are columns, one a policy. */
	snprintf(title, sizeof title, "%s, by %s", k->title, q->n_budgets == 1 ? "policy" : "budget");
	/* gnuplot dies of a column without a point. */
	bool full = k->full && find(q, &q->lines[q->n_lines], -1, k->measure, k->asked, -1);
	int rc = plot_chart_alloc(&c, q->n_lines + full, q->n_budgets, err);
	for (int s = 0; s < c.n_series && !rc; s++) {
		const struct line *l = &q->lines[s];
		memcpy(c.names[s], l->name, sizeof c.names[s]);
		c.styles[s] = l->style;
		for (int i = 0; i < q->n_budgets; i++) {
			const struct quality_summary_row *r = find(q, l, q->budgets[i], k->measure, k->asked, -1);
			struct plot_summary *cell = &c.cells[s * q->n_budgets + i];
			if (!r)
				continue;
			/* Of one text there is no interval. */
			*cell = (struct plot_summary){.n = r->seeds,
						      .median = r->mean,
						      .min = isnan(r->low) ? r->mean : r->low,
						      .max = isnan(r->high) ? r->mean : r->high,
						      .p10 = NAN,
						      .p90 = NAN};
			if (is_loss(k->measure)) {
				const double low = cell->min;
				cell->median = -cell->median;
				cell->min = -cell->max;
				cell->max = -low;
			}
		}
	}
	if (!rc) {
		plot_chart_bounds(&c, false, &lo, &hi);
		if (hi >= lo && lo >= 0) {
			c.axis = plot_axis_amount(lo, hi, q->n_budgets == 1, k->scale, k->unit, PLOT_CHART_TICKS);
			plot_axis_label(c.y_text, &c.axis, k->label);
			rc = plot_chart_draw(&c, &q->f, k->name, err);
		} else if (k->asked < 0) {
			plot_figure_skipped(&q->f, k->name, "no row has a value");
		}
	}
	free(c.cells);
	return rc;
}

/* A column for each budget, in it the thirds of the prompt. */
static int draw_thirds(struct quality_set *q, int asked, struct error *err)
{
	static const char *const places[THIRDS] = {"first", "middle", "last"};
	const char *names[PLOT_CHART_SERIES], *columns[COLUMNS];
	char texts[COLUMNS][PLOT_TEXT_MAX], label[PLOT_TEXT_MAX];
	struct plot_ticks ticks = {.n = THIRDS};
	int styles[PLOT_CHART_SERIES], n_columns = q->n_budgets < COLUMNS ? q->n_budgets : COLUMNS;
	const struct line *full = &q->lines[q->n_lines];
	if (!find(q, full, 0, QUALITY_EXACT, asked, 0) && !find(q, full, 0, QUALITY_EXACT, asked, 2))
		return 0;
	int rc = plot_figure_open(&q->f, asked == QUALITY_BEFORE ? "quality-thirds-before" : "quality-thirds-behind",
				  err);
	if (rc)
		return rc;
	FILE *s = q->f.script, *dat = q->f.dat;
	struct plot_axis axis = plot_axis_amount(0, 1, false, 100, "%", PLOT_CHART_TICKS);
	for (int i = 0; i <= q->n_lines; i++) {
		names[i] = q->lines[i].name;
		styles[i] = q->lines[i].style;
	}
	for (int i = 0; i < THIRDS; i++) {
		ticks.at[i] = i;
		snprintf(ticks.text[i], PLOT_TEXT_MAX, "%s", places[i]);
	}
	fprintf(dat, "# needles found, percent\n# third texts mean low high\n");
	for (int c = 0; c < n_columns; c++) {
		long budget = q->budgets[q->n_budgets - n_columns + c];
		snprintf(texts[c], PLOT_TEXT_MAX, "budget %ld", budget);
		columns[c] = texts[c];
		for (int i = 0; i <= q->n_lines; i++) {
			fprintf(dat, "%s# %s, %s\n", c || i ? "\n\n" : "", texts[c], names[i]);
			for (int third = 0; third < THIRDS; third++) {
				const struct quality_summary_row *r =
					find(q, &q->lines[i], budget, QUALITY_EXACT, asked, third);
				if (r)
					fprintf(dat, "%d %d %.9g %.9g %.9g\n", third, r->seeds, 100 * r->mean,
						100 * r->low, 100 * r->high);
				else
					fprintf(dat, "%d 0 NaN NaN NaN\n", third);
			}
		}
	}
	plot_axis_label(label, &axis, "found");
	plot_script_string(s, "name", q->f.stem);
	fprintf(s, "data = name.'.dat'\n");
	plot_script_number(s, "height", 480);
	plot_script_string(s, "title_text",
			   asked == QUALITY_BEFORE ? "Needles found by their place, asked for before the eviction"
						   : "Needles found by their place, asked for behind the eviction");
	plot_figure_series(&q->f, names, styles, q->n_lines + 1);
	plot_script_caption(s, &q->caption);
	plot_script_number(s, "n_columns", n_columns);
	plot_script_strings(s, "column_text", columns, n_columns);
	plot_script_string(s, "x_text", "third of the prompt that the needle is in");
	plot_script_number(s, "x_lo", -0.4);
	plot_script_number(s, "x_hi", THIRDS - 0.6);
	plot_script_ticks(s, "tick_at", "tick_text", &ticks);
	plot_script_number(s, "y_lo", axis.lo);
	plot_script_number(s, "y_hi", axis.hi);
	plot_script_number(s, "y_log", axis.log);
	plot_script_string(s, "y_text", label);
	plot_script_ticks(s, "ytick_at", "ytick_text", &axis.ticks);
	return plot_figure_finish(&q->f, by_third, err);
}

static int draw_set(struct quality_set *q, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !rc; i++)
		rc = draw_kind(q, &kinds[i], err);
	for (int asked = 0; asked < QUALITY_ASKED && !rc; asked++)
		rc = draw_thirds(q, asked, err);
	return rc;
}

/* Whether an earlier row is of the same context and window. */
static bool came_before(const struct quality_summary_row *rows, int i)
{
	for (int k = 0; k < i; k++)
		if (rows[k].of.policy != QUALITY_FULL && rows[k].of.context == rows[i].of.context &&
		    rows[k].of.window == rows[i].of.window)
			return true;
	return rows[i].of.policy == QUALITY_FULL;
}

int plot_quality(const struct plot_request *request, const struct run_directory *from, const struct run_directory *out,
		 struct error *err)
{
	struct quality_summary_row *rows;
	json_t *study = NULL;
	int n, n_sets = 0, rc = quality_summary_read(from, &rows, &n, err);
	if (rc)
		return rc;
	struct quality_set *q = malloc(sizeof *q);
	if (!q)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	if (!rc)
		rc = run_directory_load_json(from, "study.json", &study, err);
	for (int i = 0; i < n; i++)
		n_sets += !came_before(rows, i);
	if (!rc && !n_sets)
		rc = error_set(err, ERROR_INPUT, "%s/summary.csv: nothing was evicted: there is nothing to draw",
			       from->path);
	for (int i = 0; i < n && !rc; i++) {
		char slug[PLOT_SLUG_MAX] = "";
		if (came_before(rows, i))
			continue;
		if (n_sets > 1)
			snprintf(slug, sizeof slug, "context%d-window%d", rows[i].of.context, rows[i].of.window);
		*q = (struct quality_set){.f = {.request = request, .out = out, .slug = slug},
					  .rows = rows,
					  .n = n,
					  .context = rows[i].of.context,
					  .window = rows[i].of.window};
		set_fill(q);
		set_caption(q, study);
		rc = draw_set(q, err);
	}
	json_decref(study);
	free(q);
	free(rows);
	return rc;
}
