#include "harness/plot/plot_launches.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_chart.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"

static const unsigned VARIES = 1u << AXIS_FUSION;

/* Combinations that differ in their fusion alone, those that have something to compare at the depth. */
struct fusions {
	int panels[PLOT_DATA_MAX_COMBINATIONS];
	long launches[PLOT_DATA_MAX_COMBINATIONS]; /* of a token, as mode direct does it */
	int n;
	long depth;
	int modes[PLOT_DATA_MAX_MODES]; /* but direct */
	int n_modes;
};

static bool alike(const struct plot_data *d, int a, int b)
{
	for (int k = 0; k < PLOT_KEY_COUNT; k++)
		if (k != AXIS_FUSION && !plot_data_same_key(d, a, b, k))
			return false;
	return true;
}

static bool has_mode(const struct plot_panel *p, int mode)
{
	for (int i = 0; i < p->n_modes; i++)
		if (p->modes[i] == mode)
			return true;
	return false;
}

static bool is_direct(const struct plot_data *d, int mode)
{
	return !strcmp(d->modes[mode], "direct");
}

/* With `direct`, another mode and a count of launches. */
static int add(struct fusions *s, const struct plot_data *d, int panel, int direct, struct error *err)
{
	const struct plot_panel *p = &d->panels[panel];
	struct plot_summary launches = {0};
	int rc = 0;
	if (p->n_modes < 2 || !has_mode(p, direct))
		return 0;
	rc = plot_data_column(d, panel, direct, s->depth, "api_launches_per_token", &launches, err);
	if (rc || !launches.n)
		return rc;
	long count = lround(launches.median);
	int at = s->n++;
	for (; at > 0 && s->launches[at - 1] > count; at--) {
		s->launches[at] = s->launches[at - 1];
		s->panels[at] = s->panels[at - 1];
	}
	s->launches[at] = count;
	s->panels[at] = panel;
	return 0;
}

static int collect(struct fusions *s, const struct plot_data *d, int key, int direct, struct error *err)
{
	int rc = 0;
	*s = (struct fusions){.depth = d->panels[key].depths[0]};
	for (int p = 0; p < d->n_panels; p++)
		if (alike(d, key, p) && d->panels[p].depths[0] < s->depth)
			s->depth = d->panels[p].depths[0];
	for (int p = 0; p < d->n_panels && !rc; p++)
		if (alike(d, key, p))
			rc = add(s, d, p, direct, err);
	for (int m = 0; m < d->n_modes; m++) {
		bool has = false;
		for (int i = 0; i < s->n; i++)
			has |= has_mode(&d->panels[s->panels[i]], m);
		if (has && !is_direct(d, m))
			s->modes[s->n_modes++] = m;
	}
	return rc;
}

static int draw(struct plot_figure *f, const struct fusions *s, int direct, struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_OVERHEAD, -1};
	long xs[PLOT_DATA_MAX_DEPTHS];
	int n_x = 0;
	char axis[PLOT_TEXT_MAX];
	double lo, hi;
	struct plot_chart c = {
		.title = "What replay gains, by launches a token (negative: faster)",
		.unit_text = "latency per token relative to direct, percent",
		.x_name = "launches",
		.marks = "point: median over pairs of runs of one repetition; bar: min to max over pairs",
		.templates = templates,
		.panels = s->panels,
		.n_panels = s->n,
		.x_text = axis,
		.y_text = "latency per token against direct (%)",
	};
	snprintf(axis, sizeof axis, "launches a token by mode direct, at context depth %ld (log scale)", s->depth);
	for (int i = 0; i < s->n; i++)
		plot_data_insert(xs, &n_x, s->launches[i]);
	if (n_x < 2)
		return 0; /* fusions that do not differ in their launches */
	c.xs = xs;
	int rc = plot_chart_alloc(&c, s->n_modes, n_x, err);
	for (int m = 0; m < s->n_modes && !rc; m++) {
		plot_text_clean(c.names[m], f->data->modes[s->modes[m]], 24);
		c.styles[m] = plot_data_mode_style(f->data, s->modes[m]);
		for (int i = 0; i < s->n && !rc; i++) {
			int at = 0;
			while (xs[at] != s->launches[i])
				at++;
			rc = plot_data_overhead(f->data, s->panels[i], s->modes[m], direct, s->depth,
						&c.cells[m * n_x + at], err);
		}
	}
	if (!rc) {
		plot_chart_bounds(&c, false, &lo, &hi);
		c.axis = plot_axis_percent(fmin(lo, 0), fmax(hi, 0), PLOT_CHART_TICKS);
		rc = hi < lo ? 0 : plot_chart_draw(&c, f, "launches", err);
	}
	free(c.cells);
	return rc;
}

int plot_launches(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		  struct error *err)
{
	struct fusions *s = malloc(sizeof *s);
	int keys[PLOT_DATA_MAX_COMBINATIONS], n_keys = 0, direct = -1;
	int rc = s ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	for (int m = 0; m < d->n_modes; m++)
		if (is_direct(d, m))
			direct = m;
	for (int p = 0; p < d->n_panels; p++) {
		bool known = false;
		for (int k = 0; k < n_keys && !known; k++)
			known = alike(d, keys[k], p);
		if (!known)
			keys[n_keys++] = p;
	}
	for (int k = 0; k < n_keys && direct >= 0 && !rc; k++) {
		char slug[PLOT_SLUG_MAX];
		if ((rc = collect(s, d, keys[k], direct, err)) || s->n < 2)
			continue;
		plot_figure_slug(d, keys[k], keys, n_keys, VARIES, slug);
		struct plot_figure f = {
			.request = request, .data = d, .out = out, .slug = slug, .panel = keys[k], .varies = VARIES};
		rc = draw(&f, s, direct, err);
	}
	free(s);
	return rc;
}
