#include "harness/plot/plot_snapkv.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/plot/plot_chart.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"

#define SNAPKV_VARIES (1u << AXIS_SNAPKV)

static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_COST, -1};

struct family {
	struct plot_figure f; /* .panel: one of the panels below, for the caption */
	int n;
	int panels[PLOT_DATA_MAX_COMBINATIONS]; /* in the order of the axis */
	int n_modes, n_depths;
	int modes[PLOT_DATA_MAX_MODES]; /* of any panel, in drawing order */
	long depths[PLOT_DATA_MAX_DEPTHS];
};

static const char *value_of(const struct family *y, int member)
{
	return plot_data_key(y->f.data, y->panels[member], AXIS_SNAPKV);
}

static bool in_family(const struct plot_data *d, int a, int b)
{
	for (int key = 0; key < PLOT_KEY_COUNT; key++)
		if (key != AXIS_SNAPKV && !plot_data_same_key(d, a, b, key))
			return false;
	return true;
}

/* "off" first, then numbers as such, then text. */
static int compare_values(const char *a, const char *b)
{
	bool off_a = !strcmp(a, "off"), off_b = !strcmp(b, "off");
	if (off_a || off_b)
		return off_b - off_a;
	long x = strtol(a, NULL, 10), y = strtol(b, NULL, 10);
	return x != y ? (x > y) - (x < y) : strcmp(a, b);
}

static void family_fill(struct family *y, const struct plot_data *d, int first)
{
	bool has_mode[PLOT_DATA_MAX_MODES] = {false};
	y->n = y->n_modes = y->n_depths = 0;
	for (int p = first; p < d->n_panels; p++) {
		if (!in_family(d, first, p))
			continue;
		int at = y->n++;
		for (; at > 0 && compare_values(plot_data_key(d, y->panels[at - 1], AXIS_SNAPKV),
						plot_data_key(d, p, AXIS_SNAPKV)) > 0;
		     at--)
			y->panels[at] = y->panels[at - 1];
		y->panels[at] = p;
		for (int i = 0; i < d->panels[p].n_modes; i++)
			has_mode[d->panels[p].modes[i]] = true;
		for (int i = 0; i < d->panels[p].n_depths; i++)
			plot_data_insert(y->depths, &y->n_depths,
					 d->panels[p].depths[i]); /* those of too many are not drawn */
	}
	for (int m = 0; m < d->n_modes; m++)
		if (has_mode[m])
			y->modes[y->n_modes++] = m;
}

/* Draws what `c` holds, unless nothing is in it. Frees its cells. */
static int finish(struct family *y, struct plot_chart *c, const char *name, const char *label, double scale,
		  const char *unit, struct error *err)
{
	double lo, hi;
	int rc = 0;
	plot_chart_bounds(c, false, &lo, &hi);
	if (hi < lo) {
		plot_figure_skipped(&y->f, name, "no run has a value");
	} else {
		c->axis = plot_axis_amount(lo, hi, c->n_x == 1, scale, unit, PLOT_CHART_TICKS);
		plot_axis_label(c->y_text, &c->axis, label);
		rc = plot_chart_draw(c, &y->f, name, err);
	}
	free(c->cells);
	return rc;
}

/* Too many series for a figure: said, and left out. */
static bool too_many(struct family *y, const char *name, int n)
{
	if (n > PLOT_CHART_SERIES) {
		char why[96];
		snprintf(why, sizeof why, "%d lines do not fit; plot a part of the sweep", n);
		plot_figure_skipped(&y->f, name, why);
	}
	return n > PLOT_CHART_SERIES;
}

static void snapkv_label(char *out, const char *value)
{
	char text[PLOT_TEXT_MAX];
	plot_text_clean(text, value, 40);
	snprintf(out, PLOT_TEXT_MAX, "%s%.200s", strcmp(value, "off") ? "SnapKV " : "",
		 strcmp(value, "off") ? text : "full cache");
}

/* Name of a cell's series: budget alone where all share window and pooling. */
static void snapkv_name(const struct family *y, int member, char out[PLOT_TEXT_MAX])
{
	char text[PLOT_TEXT_MAX];
	const char *value = value_of(y, member), *rest = NULL;
	bool same = true;
	for (int i = 0; i < y->n; i++) {
		const char *comma = strchr(value_of(y, i), ',');
		if (!comma)
			continue;
		same = same && (!rest || !strcmp(rest, comma));
		rest = comma;
	}
	snprintf(text, sizeof text, "%.*s", same ? (int)strcspn(value, ",") : 60, value);
	snapkv_label(out, text);
}

static int draw_rate(struct family *y, struct error *err)
{
	struct plot_chart c = {
		.title = "Decode rate against context, with and without eviction",
		.unit_text = "decode rate, tokens per second",
		.x_name = "depth",
		.templates = templates,
		.marks = y->n_depths == 1 ? "bar: median over runs; whisker: min to max over runs"
					  : "point: median over runs; bar: min to max over runs",
		.panels = y->panels,
		.n_panels = y->n,
		.xs = y->depths,
		.x_text = PLOT_DEPTH_TEXT,
		.single_text = "cache and mode",
	};
	const int n_series = y->n * y->n_modes;
	if (too_many(y, "snapkv-rate", n_series))
		return 0;
	int rc = plot_chart_alloc(&c, n_series, y->n_depths, err);
	for (int s = 0; s < n_series && !rc; s++) {
		char cache[PLOT_TEXT_MAX], mode[PLOT_TEXT_MAX];
		int member = s / y->n_modes, m = y->modes[s % y->n_modes];
		snapkv_name(y, member, cache);
		plot_text_clean(mode, y->f.data->modes[m], 24);
		snprintf(c.names[s], PLOT_TEXT_MAX, "%.*s, %.*s", (int)text_cut(cache, 120), cache,
			 (int)text_cut(mode, 60), mode);
		c.styles[s] = s;
		for (int k = 0; k < y->n_depths && !rc; k++)
			rc = plot_data_column(y->f.data, y->panels[member], m, y->depths[k], "tokens_per_s",
					      &c.cells[s * y->n_depths + k], err);
	}
	if (rc) {
		free(c.cells);
		return rc;
	}
	return finish(y, &c, "snapkv-rate", "decode rate", 1, "tokens/s", err);
}

/* One series a member: the first mode that has the cell stands for all, whose cache is the same. */
static int draw_memory(struct family *y, struct error *err)
{
	struct plot_chart c = {
		.title = "Memory of the KV cache against context, with and without eviction",
		.unit_text = "KV cache, bytes",
		.x_name = "depth",
		.templates = templates,
		.marks = "the whole cache, of sliding and global layers, with room for the tokens measured",
		.panels = y->panels,
		.n_panels = y->n,
		.xs = y->depths,
		.x_text = PLOT_DEPTH_TEXT,
		.single_text = "cache",
	};
	if (too_many(y, "snapkv-memory", y->n))
		return 0;
	int rc = plot_chart_alloc(&c, y->n, y->n_depths, err);
	for (int s = 0; s < y->n && !rc; s++) {
		snapkv_name(y, s, c.names[s]);
		c.styles[s] = s;
		for (int k = 0; k < y->n_depths; k++) {
			struct plot_summary *cell = &c.cells[s * y->n_depths + k];
			for (int m = 0; m < y->n_modes && !cell->n && !rc; m++)
				rc = plot_data_column(y->f.data, y->panels[s], y->modes[m], y->depths[k], "kv_bytes",
						      cell, err);
		}
	}
	if (rc) {
		free(c.cells);
		return rc;
	}
	return finish(y, &c, "snapkv-memory", "KV cache", 0x1p-20, "MiB", err);
}

/* Divergence or agreement against the budget, a series for each depth and each window and pooling. */
static int draw_quality(struct family *y, const char *column, struct error *err)
{
	const bool kl = !strcmp(column, "kl_divergence");
	const char *name = kl ? "snapkv-divergence" : "snapkv-agreement";
	struct plot_chart c = {
		.title = kl ? "What eviction changes: divergence from the full cache, by budget"
			    : "What eviction changes: top-1 agreement with the full cache, by budget",
		.unit_text = kl ? "Kullback-Leibler divergence, nats a token" : "top-1 agreement, share of tokens",
		.x_name = "budget",
		.templates = templates,
		.marks = "mean over the first measured tokens; the same tokens with the full cache are the reference",
		.panels = y->panels,
		.n_panels = y->n,
		.x_text = "SnapKV budget (entries kept of a KV head, log scale)",
		.single_text = "context",
	};
	long budgets[PLOT_DATA_MAX_DEPTHS];
	char rest[PLOT_DATA_MAX_COMBINATIONS][PLOT_TEXT_MAX];
	int n_budgets = 0, n_rest = 0, kind[PLOT_DATA_MAX_COMBINATIONS];
	for (int i = 0; i < y->n; i++) {
		const char *value = value_of(y, i), *comma = strchr(value, ',');
		kind[i] = -1;
		if (!strcmp(value, "off"))
			continue;
		char text[PLOT_TEXT_MAX];
		plot_text_clean(text, comma ? comma + 1 : "", 40);
		plot_data_insert(budgets, &n_budgets, strtol(value, NULL, 10));
		for (kind[i] = 0; kind[i] < n_rest && strcmp(rest[kind[i]], text); kind[i]++)
			;
		if (kind[i] == n_rest)
			snprintf(rest[n_rest++], PLOT_TEXT_MAX, "%s", text);
	}
	const int n_series = n_rest * y->n_depths;
	if (!n_budgets || too_many(y, name, n_series))
		return 0;
	c.xs = budgets;
	int rc = plot_chart_alloc(&c, n_series, n_budgets, err);
	for (int s = 0; s < n_series; s++) {
		long depth = y->depths[s % y->n_depths];
		const char *options = rest[s / y->n_depths];
		snprintf(c.names[s], PLOT_TEXT_MAX, "depth %ld%s%.100s", depth, n_rest > 1 ? ", " : "",
			 n_rest > 1 ? options : "");
		c.styles[s] = s;
	}
	for (int i = 0; i < y->n && !rc; i++) {
		const long budget = strtol(value_of(y, i), NULL, 10);
		int at = 0;
		while (kind[i] >= 0 && budgets[at] != budget)
			at++;
		for (int k = 0; k < y->n_depths && kind[i] >= 0; k++) {
			struct plot_summary *cell = &c.cells[(kind[i] * y->n_depths + k) * n_budgets + at];
			for (int m = 0; m < y->n_modes && !cell->n && !rc; m++)
				rc = plot_data_column(y->f.data, y->panels[i], y->modes[m], y->depths[k], column, cell,
						      err);
		}
	}
	if (rc) {
		free(c.cells);
		return rc;
	}
	/* A depth within every budget has nothing to show. */
	int used = 0;
	for (int s = 0; s < n_series; s++) {
		bool any = false;
		for (int k = 0; k < n_budgets; k++)
			any = any || c.cells[s * n_budgets + k].n;
		if (!any)
			continue;
		memmove(c.cells + used * n_budgets, c.cells + s * n_budgets, (size_t)n_budgets * sizeof *c.cells);
		memmove(c.names[used], c.names[s], sizeof c.names[0]);
		c.styles[used] = c.styles[s];
		used++;
	}
	c.n_series = used;
	return finish(y, &c, name, kl ? "KL divergence" : "tokens with the same top-1", kl ? 1 : 100, kl ? "nats" : "%",
		      err);
}

int plot_snapkv(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		struct error *err)
{
	struct family *y = malloc(sizeof *y);
	int firsts[PLOT_DATA_MAX_COMBINATIONS], n_firsts = 0;
	int rc = y ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	for (int p = 0; p < d->n_panels; p++) {
		bool known = false;
		for (int i = 0; i < n_firsts; i++)
			known = known || in_family(d, firsts[i], p);
		if (!known)
			firsts[n_firsts++] = p;
	}
	for (int i = 0; i < n_firsts && !rc; i++) {
		char slug[PLOT_SLUG_MAX];
		family_fill(y, d, firsts[i]);
		if (y->n < 2)
			continue;
		plot_figure_slug(d, firsts[i], firsts, n_firsts, SNAPKV_VARIES, slug);
		y->f = (struct plot_figure){.request = request,
					    .data = d,
					    .out = out,
					    .slug = slug,
					    .panel = firsts[i],
					    .varies = SNAPKV_VARIES};
		if ((rc = draw_rate(y, err)) || (rc = draw_memory(y, err)) ||
		    (rc = draw_quality(y, "kl_divergence", err)) || (rc = draw_quality(y, "top1_agreement", err)))
			break;
	}
	free(y);
	return rc;
}
