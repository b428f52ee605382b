/* What the axes beside mode and depth change: SnapKV's speed and quality, layers on the GPU; and rooflines. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"
#include "harness/report/share.h"

static const double MIB = 1.0 / (1 << 20);

static int same_but(const struct cell *a, const struct cell *b, unsigned ignored)
{
	for (int x = 0; x < AXIS_COUNT; x++)
		if (!(ignored >> x & 1) && !cell_same_value(a, b, (enum axis_id)x))
			return 0;
	return 1;
}

/* Panels that differ from this one in one axis alone, itself among them: (n) into out. */
static int family_of(const struct side *s, int panel, enum axis_id axis, int out[SIDE_PANELS_MAX])
{
	int n = 0;
	for (int i = 0; i < s->n_panels; i++)
		if (same_but(s->panels[i].key, s->panels[panel].key, 1u << axis | 1u << AXIS_MODE | 1u << AXIS_DEPTH))
			out[n++] = i;
	return n;
}

/* The place of a mode (of side.modes) in a panel, or -1. */
static int mode_in(const struct side_panel *p, int mode)
{
	for (int m = 0; m < p->n_modes; m++)
		if (p->modes[m] == mode)
			return m;
	return -1;
}

/* The last mode that all have: the one that is least the host's doing. */
static int common_mode(const struct side *s, const int *family, int n)
{
	for (int mode = s->n_modes - 1; mode >= 0; mode--) {
		int in = 0;
		for (int i = 0; i < n; i++)
			in += mode_in(&s->panels[family[i]], mode) >= 0;
		if (in == n)
			return mode;
	}
	return -1;
}

static const char *family_title(struct report *r, int panel, enum axis_id axis, const char *what, const char *mode)
{
	unsigned kept = r->panels_vary;
	r->panels_vary &= ~(1u << axis);
	const char *name = report_panel_name(r, &r->head.panels[panel]);
	r->panels_vary = kept;
	return document_text(r->d, "%s, mode %s%s%s", what, mode, *name ? ", " : "", name);
}

/* ---- SnapKV ---- */

/* A curve a budget over depth. */
static void add_budgets(struct report *r, struct document_section *to, const int *family, int n, int mode,
			const char *column, double scale, const char *unit, const char *what, const char *y_text)
{
	const struct side *s = &r->head;
	const struct side_cell *shown[512];
	int n_shown = 0, filled = 0;
	for (int i = 0; i < n; i++)
		for (int d = 0; d < s->panels[family[i]].n_depths; d++)
			filled +=
				report_value(r, s,
					     side_at(s, &s->panels[family[i]], mode_in(&s->panels[family[i]], mode), d),
					     column)
					.n;
	if (!filled)
		return;
	struct chart *c = document_chart(r->d, to, DOCUMENT_HTML, CHART_CURVES, n, 0);
	c->title = family_title(r, family[0], AXIS_SNAPKV, what, s->modes[mode]);
	c->x_text = "context depth, tokens";
	c->y_text = y_text;
	c->marks = "point: median over runs; bar: smallest to largest";
	for (int i = 0; i < n && i < c->n_series; i++) {
		const struct side_panel *p = &s->panels[family[i]];
		int budget = cell_snapkv_budget(p->key);
		c->series[i].name = budget ? document_text(r->d, "%d kept", budget) : "full cache";
		c->series[i].style = i;
		for (int d = 0; d < p->n_depths; d++) {
			const struct side_cell *at = side_at(s, p, mode_in(p, mode), d);
			if (at)
				report_add_point(r, s, at, column, scale, unit, p->depths[d], &c->series[i]);
			if (at && n_shown < 512)
				shown[n_shown++] = at;
		}
	}
	c->source = report_source(r, s, shown, n_shown);
}

static void add_snapkv_rows(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {
		{"depth", 1},           {"SnapKV", 0},          {"mode", 0},
		{"setting", 0},         {"tokens/s", 1},        {"cache, MiB", 1},
		{"entries evicted", 1}, {"eviction, ms", 1},    {"divergence, nats", 1},
		{"largest", 1},         {"top-1 agreement", 1}, {"over tokens", 1}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 12);
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		for (int d = 0; d < p->n_depths; d++)
			for (int m = 0; m < p->n_modes; m++) {
				const struct side_cell *c = side_at(s, p, m, d);
				struct side_value rate = report_value(r, s, c, "tokens_per_s");
				unsigned kept = r->panels_vary;
				if (!rate.n)
					continue;
				struct document_entry *e = document_row(r->d, t);
				double agreement = report_value(r, s, c, "top1_agreement").median;
				report_put(&e[0], document_text(r->d, "%d", p->depths[d]), p->depths[d]);
				report_put(&e[1], cell_word(p->key, AXIS_SNAPKV), cell_snapkv_budget(p->key));
				report_put(&e[2], s->modes[p->modes[m]], NAN);
				r->panels_vary &= ~(1u << AXIS_SNAPKV);
				report_put(&e[3], report_panel_name(r, p), NAN);
				r->panels_vary = kept;
				report_put_number(r, &e[4], rate.median);
				report_put_number(r, &e[5], MIB * report_value(r, s, c, "kv_bytes").median);
				report_put_number(r, &e[6], report_value(r, s, c, "evicted_entries").median);
				report_put_number(r, &e[7], 1e-3 * report_value(r, s, c, "evict_us").median);
				report_put_number(r, &e[8], report_value(r, s, c, "kl_divergence").median);
				report_put_number(r, &e[9], report_value(r, s, c, "kl_divergence_max").median);
				report_put(&e[10],
					   isfinite(agreement) ? document_text(r->d, "%.1f %%", 100 * agreement) : "",
					   agreement);
				report_put_number(r, &e[11], report_value(r, s, c, "quality_tokens").median);
			}
	}
	t->title = "Speed, memory and quality of each cell";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}

/* "at depth 65536 1024 entries decode 277 tokens/s, the full cache 133": of the deepest cells of a family. */
static const char *snapkv_finding(struct report *r, const int *family, int n, int mode)
{
	const struct side *s = &r->head;
	const char *out = "";
	int deepest = 0;
	for (int i = 0; i < n; i++) {
		const struct side_panel *p = &s->panels[family[i]];
		deepest = p->depths[p->n_depths - 1] > deepest ? p->depths[p->n_depths - 1] : deepest;
	}
	for (int i = 0; i < n; i++) {
		const struct side_panel *p = &s->panels[family[i]];
		double rate =
			report_value(r, s, side_at(s, p, mode_in(p, mode), p->n_depths - 1), "tokens_per_s").median;
		int budget = cell_snapkv_budget(p->key);
		if (p->depths[p->n_depths - 1] != deepest || !isfinite(rate))
			continue;
		out = document_text(r->d, "%s%s%s %s", out, *out ? ", " : "",
				    budget ? document_text(r->d, "%d kept", budget) : "full cache",
				    report_number(r, rate));
	}
	return *out ? document_text(r->d, "tokens/s at depth %d: %s", deepest, out) : "";
}

void report_snapkv(struct report *r)
{
	const struct side *s = &r->head;
	int family[SIDE_PANELS_MAX], charts = 0, on = 0;
	for (int i = 0; i < s->n_panels; i++)
		on += cell_snapkv_budget(s->panels[i].key) > 0;
	if (!on)
		return;
	struct document_section *to = document_section(r->d, "SnapKV: speed and quality");
	for (int i = 0; i < s->n_panels && charts < REPORT_CHARTS; i++) {
		int n = family_of(s, i, AXIS_SNAPKV, family), mode = common_mode(s, family, n);
		if (family[0] != i || mode < 0)
			continue;
		add_budgets(r, to, family, n, mode, "tokens_per_s", 1, "tokens/s", "Decode rate", "tokens/s");
		add_budgets(r, to, family, n, mode, "kv_bytes", MIB, "MiB", "Memory of the cache", "MiB");
		add_budgets(r, to, family, n, mode, "kl_divergence", 1, "nats", "Divergence from the full cache",
			    "nats, mean over tokens");
		add_budgets(r, to, family, n, mode, "top1_agreement", 100, "%", "Agreement with the full cache",
			    "same likeliest token, %");
		if (!charts)
			to->finding = snapkv_finding(r, family, n, mode);
		charts += 4;
	}
	if (*to->finding)
		document_say(r->d, r->d->sections[0], "SnapKV, %s.", to->finding);
	report_images(r, to, "snapkv", "SnapKV");
	add_snapkv_rows(r, to);
}

/* ---- layers on the GPU ---- */

static void add_layer_chart(struct report *r, struct document_section *to, const int *family, int n, int depth)
{
	const struct side *s = &r->head;
	const struct side_cell *shown[512];
	int n_shown = 0;
	struct chart *c = document_chart(r->d, to, DOCUMENT_HTML, CHART_CURVES, s->n_modes, 0);
	c->x = CHART_X_LINEAR;
	c->title = document_text(r->d, "Tokens a second against layers on the GPU, depth %d", depth);
	c->x_text = "layers on the GPU";
	c->y_text = "tokens/s";
	c->marks = "point: median over runs; bar: smallest to largest";
	for (int mode = 0; mode < s->n_modes && mode < c->n_series; mode++) {
		c->series[mode].name = s->modes[mode];
		c->series[mode].style = side_mode_style(s, mode);
		for (int i = 0; i < n; i++) {
			const struct side_panel *p = &s->panels[family[i]];
			int m = mode_in(p, mode), d = 0;
			while (d < p->n_depths && p->depths[d] != depth)
				d++;
			const struct side_cell *at = m >= 0 && d < p->n_depths ? side_at(s, p, m, d) : NULL;
			if (!at)
				continue;
			report_add_point(r, s, at, "tokens_per_s", 1, "tokens/s", p->key->n_gpu_layers,
					 &c->series[mode]);
			if (n_shown < 512)
				shown[n_shown++] = at;
		}
	}
	c->source = report_source(r, s, shown, n_shown);
}

/* "on both devices direct 29.0 to 82.0, graph-device 25.4 to 89.1 tokens/s": modes apart, or a gain is not seen. */
static const char *rates_on_both(struct report *r)
{
	const struct side *s = &r->head;
	const char *out = "";
	for (int m = 0; m < s->n_modes; m++) {
		double least = INFINITY, most = -INFINITY;
		for (int i = 0; i < s->n_cells; i++) {
			const struct side_cell *c = &s->cells[i];
			double rate = report_value(r, s, c, "tokens_per_s").median;
			if (c->panel < 0 || !isfinite(rate) || strcmp(cell_word(&c->cell, AXIS_MODE), s->modes[m]) ||
			    !isfinite(report_value(r, s, c, "crossing_bytes_per_token").median))
				continue;
			least = fmin(least, rate);
			most = fmax(most, rate);
		}
		const char *low = report_number(r, least), *high = report_number(r, most);
		if (least <= most)
			out = document_text(r->d, "%s%s %s %s%s", out, *out ? "," : "", s->modes[m], low,
					    strcmp(low, high) ? document_text(r->d, " to %s", high) : "");
	}
	return *out ? document_text(r->d, "on both devices%s tokens/s", out) : "";
}

void report_hybrid(struct report *r)
{
	static const struct document_column columns[] = {{"GPU layers", 1},
							 {"depth", 1},
							 {"mode", 0},
							 {"tokens/s", 1},
							 {"GPU, us", 1},
							 {"host, us", 1},
							 {"GPU weights, MiB", 1},
							 {"host weights, MiB", 1},
							 {"crossing, KiB", 1},
							 {"device", 0}};
	const struct side *s = &r->head;
	int family[SIDE_PANELS_MAX], split = 0, charts = 0;
	if (!(r->varies >> AXIS_GPU_LAYERS & 1))
		return;
	for (int i = 0; i < s->n_cells; i++)
		split += isfinite(report_value(r, s, &s->cells[i], "crossing_bytes_per_token").median);
	if (!split)
		return;
	struct document_section *to = document_section(r->d, "Layers on GPU and host");
	for (int i = 0; i < s->n_panels && charts < REPORT_CHARTS; i++) {
		int n = family_of(s, i, AXIS_GPU_LAYERS, family);
		const struct side_panel *p = &s->panels[i];
		if (family[0] != i || n < 2)
			continue;
		add_layer_chart(r, to, family, n, p->depths[0]);
		if (p->n_depths > 1)
			add_layer_chart(r, to, family, n, p->depths[p->n_depths - 1]);
		charts += 2;
	}
	report_images(r, to, "layers", "Tokens a second against the layers on the GPU");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 10);
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		const struct side_run *run = NULL;
		struct side_value rate = report_value(r, s, c, "tokens_per_s");
		double crossing = report_value(r, s, c, "crossing_bytes_per_token").median;
		if (c->panel < 0 || !rate.n)
			continue;
		int rc = side_typical(c, &run, r->err);
		r->rc = r->rc ? r->rc : rc;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], document_text(r->d, "%d", c->cell.n_gpu_layers), c->cell.n_gpu_layers);
		report_put(&e[1], document_text(r->d, "%d", c->cell.n_depth), c->cell.n_depth);
		report_put(&e[2], cell_word(&c->cell, AXIS_MODE), NAN);
		report_put_number(r, &e[3], rate.median);
		report_put_number(r, &e[4], report_value(r, s, c, "gpu_median_us").median);
		report_put_number(r, &e[5], report_value(r, s, c, "host_median_us").median);
		report_put_number(r, &e[6], MIB * report_value(r, s, c, "gpu_weight_bytes_per_token").median);
		report_put_number(r, &e[7], MIB * report_value(r, s, c, "host_weight_bytes_per_token").median);
		report_put_number(r, &e[8], crossing / 1024);
		report_put(&e[9], run && run->row->device ? run->row->device : "", NAN);
	}
	t->title = "Each placement: medians over runs";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	t->open = 2 * REPORT_OPEN;
	document_drop_empty_columns(r->d, t);
	to->finding = rates_on_both(r);
	if (*to->finding)
		document_say(r->d, r->d->sections[0], "Layers on GPU and host: %s.", to->finding);
}

/* ---- against the hardware ---- */

/* The largest cache of the host, 0: not known. */
static double cache_bytes(const struct result_set *s)
{
	double largest = 0;
	size_t i;
	json_t *cache;
	json_array_foreach(result_set_fact(s, "cpu caches"), i, cache) largest =
		fmax(largest, json_number_value(json_object_get(cache, "bytes")));
	return largest;
}

/* Shares that are more than can be, by what is behind them. */
static void say_incredible(struct report *r, struct document_section *to)
{
	const struct side *s = &r->head;
	int n[SHARE_CAUSES] = {0};
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		if (c->panel < 0 || share_is_credible(report_value(r, s, c, "bandwidth_share").median))
			continue;
		n[share_cause(share_host_bytes(c->runs[0].row), cache_bytes(s->sets[c->runs[0].set]))]++;
	}
	for (int i = 0; i < SHARE_CAUSES; i++)
		if (n[i])
			document_item(r->d, to, "! %s: more than the memory gives; %s.", report_count(r, n[i], "cell"),
				      share_cause_text((enum share_cause)i));
}

void report_roofline(struct report *r)
{
	static const struct document_column columns[] = {{"test", 0},
							 {"mode", 0},
							 {"setting", 0},
							 {"weights, MiB", 1},
							 {"K/V, MiB", 1},
							 {"reads, GB/s", 1},
							 {"memory gives, GB/s", 1},
							 {"share", 1}};
	const struct side *s = &r->head;
	const struct side_cell *best = NULL;
	double most = -INFINITY;
	int charts = 0;
	for (int i = 0; i < s->n_cells; i++) {
		double share = report_value(r, s, &s->cells[i], "bandwidth_share").median;
		if (s->cells[i].panel >= 0 && share > most) {
			most = share;
			best = &s->cells[i];
		}
	}
	if (!best)
		return;
	struct document_section *to = document_section(r->d, "Share of the memory's bandwidth");
	to->finding = document_text(r->d, "at most %.0f %% (%s)%s", 100 * most, report_cell_name(r, &best->cell),
				    share_is_credible(most) ? "" : " !");
	say_incredible(r, to);
	for (int i = 0; i < s->n_panels && charts < REPORT_CHARTS; i++) {
		const char *name = report_panel_name(r, &s->panels[i]);
		struct chart *c = report_mode_curves(r, to, s, i, "bandwidth_share", 100, "%");
		if (!c)
			continue;
		c->title = document_text(r->d, "Share of the measured bandwidth%s%s", *name ? ", " : "", name);
		c->y_text = "weights and K/V read a second, % of what was measured";
		charts++;
	}
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 8);
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		double share = report_value(r, s, c, "bandwidth_share").median;
		if (c->panel < 0 || !isfinite(share))
			continue;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_label(r, &c->cell), c->cell.n_depth);
		report_put(&e[1], cell_word(&c->cell, AXIS_MODE), NAN);
		report_put(&e[2], report_panel_name(r, &s->panels[c->panel]), NAN);
		report_put_number(r, &e[3], MIB * report_value(r, s, c, "weight_bytes_per_token").median);
		report_put_number(r, &e[4], MIB * report_value(r, s, c, "kv_bytes_per_token").median);
		report_put_number(r, &e[5], report_value(r, s, c, "achieved_gb_s").median);
		report_put_number(r, &e[6], report_value(r, s, c, "bandwidth_gb_s").median);
		report_put(&e[7], document_text(r->d, "%.1f %%%s", 100 * share, share_is_credible(share) ? "" : " !"),
			   share);
	}
	t->title = "What a token reads, and how fast";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}
