#include "harness/plot/plot_layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"

enum { COLUMNS_MAX = 3, AXIS_TICKS = 8 };

/* Combinations that one figure shows, by layers on the GPU. */
struct series {
	int panels[PLOT_DATA_MAX_COMBINATIONS];
	long layers[PLOT_DATA_MAX_COMBINATIONS];
	int n;
	int modes[PLOT_DATA_MAX_MODES];
	int n_modes;
	long depths[PLOT_DATA_MAX_DEPTHS];
	int n_depths;
};

static bool has_host(const struct plot_data *d, int panel)
{
	const char *device = plot_data_key(d, panel, PLOT_KEY_DEVICE), *plus = strrchr(device, '+');
	return !strcmp(plus ? plus + 1 : device, "host");
}

/* Alike but in their layers and devices, in the host's threads where either leaves it nothing, and in `but`. */
static bool alike(const struct plot_data *d, int a, int b, int but)
{
	for (int k = 0; k < PLOT_KEY_COUNT; k++) {
		if (k == but || k == AXIS_GPU_LAYERS || k == PLOT_KEY_DEVICE ||
		    (k == AXIS_THREADS && !(has_host(d, a) && has_host(d, b))))
			continue;
		if (!plot_data_same_key(d, a, b, k))
			return false;
	}
	return true;
}

/* Chunks that nobody chose are larger where the host has nothing: alone of its placement, such a one belongs, too. */
static bool belongs(const struct plot_data *d, int key, int panel)
{
	if (has_host(d, panel))
		return alike(d, key, panel, -1);
	for (int p = 0; p < d->n_panels; p++)
		if (p != panel && !has_host(d, p) && plot_data_same_key(d, p, panel, AXIS_GPU_LAYERS) &&
		    alike(d, p, panel, AXIS_UBATCH))
			return alike(d, key, panel, -1);
	return alike(d, key, panel, AXIS_UBATCH);
}

static void add_panel(struct series *s, const struct plot_data *d, int panel, long layers)
{
	const struct plot_panel *p = &d->panels[panel];
	int at = s->n++;
	for (; at > 0 && s->layers[at - 1] > layers; at--) {
		s->layers[at] = s->layers[at - 1];
		s->panels[at] = s->panels[at - 1];
	}
	s->layers[at] = layers;
	s->panels[at] = panel;
	for (int i = 0; i < p->n_depths; i++)
		plot_data_insert(s->depths, &s->n_depths, p->depths[i]); /* those of too many are not drawn */
}

static void collect(struct series *s, const struct plot_data *d, int key)
{
	*s = (struct series){0};
	for (int p = 0; p < d->n_panels; p++) {
		int64_t layers = d->panels[p].row->n_gpu_layers;
		if (belongs(d, key, p) && layers != ROW_UNKNOWN)
			add_panel(s, d, p, (long)layers);
	}
	for (int m = 0; m < d->n_modes; m++) { /* in the order of the legend */
		bool has = false;
		for (int i = 0; i < s->n; i++)
			for (int k = 0; k < d->panels[s->panels[i]].n_modes; k++)
				has |= d->panels[s->panels[i]].modes[k] == m;
		if (has)
			s->modes[s->n_modes++] = m;
	}
}

/* More than the columns: the least, the greatest and one between. */
static void choose_depths(struct series *s)
{
	if (s->n_depths <= COLUMNS_MAX)
		return;
	s->depths[1] = s->depths[s->n_depths / 2];
	s->depths[2] = s->depths[s->n_depths - 1];
	s->n_depths = COLUMNS_MAX;
}

/* Tokens a second: the figures of a time, the other way round. */
static struct plot_summary rate_of(struct plot_summary us)
{
	us.median = 1e6 / us.median;
	double max = 1e6 / us.min;
	us.min = 1e6 / us.max;
	us.max = max;
	return us;
}

/* Numbers of layers, those left out that would touch; all are drawn. */
static void write_layer_axis(FILE *script, const struct series *s)
{
	double first = (double)s->layers[0], last = (double)s->layers[s->n - 1], pad = 0.06 * (last - first);
	/* 696 px of axes, 9 px a digit and 8 between two labels. */
	double per_px = (last - first + 2 * pad) * s->n_depths / 696, free_from = -INFINITY;
	double last_from = last - per_px * (9 * 1.5 + 8);
	struct plot_ticks ticks = {0};
	for (int i = 0; i < s->n; i++) {
		double at = (double)s->layers[i];
		char text[24];
		double half = per_px * 4.5 * snprintf(text, sizeof text, "%ld", s->layers[i]);
		if ((i && s->layers[i] == s->layers[i - 1]) ||
		    (at > first && at < last && (at - half < free_from || at + half > last_from)))
			continue;
		ticks.at[ticks.n] = at;
		snprintf(ticks.text[ticks.n++], PLOT_TEXT_MAX, "%s", text);
		free_from = at + half + 8 * per_px;
	}
	plot_script_number(script, "x_lo", first - pad);
	plot_script_number(script, "x_hi", last + pad);
	plot_script_ticks(script, "tick_at", "tick_text", &ticks);
}

static void write_blocks(const struct plot_figure *f, const struct series *s, const struct plot_summary *cells)
{
	fputs("# tokens a second\n# layers runs median min max\n", f->dat);
	for (int k = 0; k < s->n_depths; k++) {
		for (int m = 0; m < s->n_modes; m++) {
			char name[PLOT_TEXT_MAX];
			int n = 0;
			plot_text_clean(name, f->data->modes[s->modes[m]], 24);
			fprintf(f->dat, "%s# %s, depth %ld\n", k || m ? "\n\n" : "", name, s->depths[k]);
			for (int i = 0; i < s->n; i++) {
				const struct plot_summary *c = &cells[(k * s->n_modes + m) * s->n + i];
				if (!c->n)
					continue;
				fprintf(f->dat, "%ld %d %.9g %.9g %.9g\n", s->layers[i], c->n, c->median, c->min,
					c->max);
				n++;
			}
			if (!n)
				fputs("NaN NaN NaN NaN NaN\n", f->dat); /* to keep the count of blocks */
		}
	}
}

static int write_figure(struct plot_figure *f, const struct series *s, const struct plot_summary *cells, double lo,
			double hi, struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_LAYERS, -1};
	int rc = plot_figure_open(f, "layers", err);
	if (rc)
		return rc;
	struct plot_axis axis = plot_axis_time(lo, hi, false, false, AXIS_TICKS);
	char label[PLOT_TEXT_MAX], columns[COLUMNS_MAX][PLOT_TEXT_MAX];
	const char *column_texts[COLUMNS_MAX];
	axis.unit = "tokens/s";
	plot_axis_label(label, &axis, "decode rate");
	for (int k = 0; k < s->n_depths; k++) {
		snprintf(columns[k], PLOT_TEXT_MAX, "depth %ld", s->depths[k]);
		column_texts[k] = columns[k];
	}
	FILE *script = f->script;
	plot_script_string(script, "name", f->stem);
	fprintf(script, "data = name.'.dat'\n");
	plot_script_number(script, "height", 520);
	plot_script_string(script, "title_text", "Tokens a second against layers on the GPU, by mode");
	plot_figure_modes(f, s->modes, s->n_modes);
	plot_figure_caption(f, s->panels, s->n,
			    "point: 1 / median over runs of the run's median latency; bar: min to max over runs");
	plot_script_number(script, "n_columns", s->n_depths);
	plot_script_strings(script, "column_text", column_texts, s->n_depths);
	write_layer_axis(script, s);
	plot_script_number(script, "y_lo", axis.lo);
	plot_script_number(script, "y_hi", axis.hi);
	plot_script_number(script, "y_log", axis.log);
	plot_script_string(script, "x_text", "layers on the GPU");
	plot_script_string(script, "y_text", label);
	plot_script_ticks(script, "ytick_at", "ytick_text", &axis.ticks);
	write_blocks(f, s, cells);
	return plot_figure_finish(f, templates, err);
}

static int draw(struct plot_figure *f, struct series *s, struct error *err)
{
	choose_depths(s);
	size_t n_cells = (size_t)(s->n_depths * s->n_modes * s->n);
	struct plot_summary *cells = calloc(n_cells, sizeof *cells);
	double lo = INFINITY, hi = 0;
	int rc = cells ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", f->out->path);
	for (size_t i = 0; i < n_cells && !rc; i++) {
		size_t arm = i / (size_t)s->n;
		struct plot_summary us;
		rc = plot_data_summary(f->data, s->panels[i % (size_t)s->n], s->modes[arm % (size_t)s->n_modes],
				       s->depths[arm / (size_t)s->n_modes], PLOT_METRIC_ITL, &us, err);
		if (rc || !us.n || us.min <= 0)
			continue;
		cells[i] = rate_of(us);
		lo = fmin(lo, cells[i].min);
		hi = fmax(hi, cells[i].max);
	}
	if (!rc && hi > 0)
		rc = write_figure(f, s, cells, lo, hi, err);
	free(cells);
	return rc;
}

int plot_layers(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		struct error *err)
{
	struct series *s = malloc(sizeof *s);
	int keys[PLOT_DATA_MAX_COMBINATIONS], n_keys = 0;
	int rc = s ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	for (int p = 0; p < d->n_panels; p++) {
		bool known = !has_host(d, p);
		for (int k = 0; k < n_keys && !known; k++)
			known = belongs(d, keys[k], p);
		if (!known)
			keys[n_keys++] = p;
	}
	for (int k = 0; k < n_keys && !rc; k++) {
		collect(s, d, keys[k]);
		if (s->n < 2 || s->layers[0] == s->layers[s->n - 1])
			continue;
		/* The caption names the devices of a placement on both, where there is one. */
		int shown = s->panels[s->n - 1];
		for (int i = 0; i < s->n; i++)
			if (s->layers[i] && has_host(d, s->panels[i]))
				shown = s->panels[i];
		char slug[PLOT_SLUG_MAX];
		plot_figure_slug(d, keys[k], keys, n_keys, 1u << AXIS_GPU_LAYERS | 1u << PLOT_KEY_DEVICE, slug);
		struct plot_figure f = {.request = request,
					.data = d,
					.out = out,
					.slug = slug,
					.panel = shown,
					.varies = 1u << AXIS_GPU_LAYERS};
		rc = draw(&f, s, err);
	}
	free(s);
	return rc;
}
