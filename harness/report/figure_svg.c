#include "harness/report/figure_svg.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/plot/gnuplot.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"
#include "harness/report/markup.h"
#include "harness/report/svg_filter.h"

extern const char *const plot_templates[]; /* made from the files in plots by the build */

enum {
	TICKS = 6,
	DIGIT = 8 /* px of a tick's character */,
	TICK_GAP = 10,
	NAMES_WIDE = 330,
	ROW = 24,
	ROW_TALL = 40,
	COMMITS = 16 /* ticks */,
	COMMIT_CHARACTERS = 10
};

static const char SCRIPT[] = "figure.gp";

/* The picture's coordinates: data to px. */
struct scene {
	int width, height, left, right, top, bottom; /* px; the last four are margins */
	double x_lo, x_hi, y_lo, y_hi;
	int y_log;
	int zero; /* 1: a line across at 0, 2: upright, 0: none */
	double band;
	int names_above; /* of a forest: names stand above their rows, not beside */
	struct plot_depth_axis depths;
	struct plot_ticks x_ticks, y_ticks; /* n 0: none */
};

/* ---- the folder ---- */

int figure_maker_open(struct figure_maker *m, const char *gnuplot, int timeout_s, struct error *err)
{
	const char *top = getenv("TMPDIR");
	char path[RUN_DIRECTORY_PATH];
	*m = (struct figure_maker){.gnuplot = gnuplot, .timeout_s = timeout_s, .folder = {.fd = -1}};
	if (snprintf(path, sizeof path, "%s/gemmark-report-XXXXXX", top && *top ? top : "/tmp") >= (int)sizeof path)
		return error_set(err, ERROR_INPUT, "TMPDIR: the name is too long");
	if (!mkdtemp(path))
		return error_set(err, ERROR_IO, "%s: cannot make a temporary folder: %s", path, strerror(errno));
	int rc = run_directory_open(&m->folder, path, err);
	if (rc)
		rmdir(path);
	return rc;
}

void figure_maker_close(struct figure_maker *m)
{
	if (m->folder.fd < 0)
		return;
	unlinkat(m->folder.fd, SCRIPT, 0);
	rmdir(m->folder.path);
	run_directory_close(&m->folder);
}

/* ---- axes ---- */

static void widen(const struct chart *c, int x, double *low, double *high)
{
	*low = INFINITY;
	*high = -INFINITY;
	for (int s = 0; s < c->n_series; s++)
		for (int i = 0; i < c->series[s].n; i++) {
			const struct chart_point *p = &c->series[s].points[i];
			plot_axis_widen(low, high, x ? p->x : p->y);
			if (!x && c->kind != CHART_STRIP) {
				plot_axis_widen(low, high, p->low);
				plot_axis_widen(low, high, p->high);
			}
		}
}

static struct plot_axis value_axis(const struct chart *c)
{
	double low, high;
	widen(c, 0, &low, &high);
	if (c->y != CHART_Y_PERCENT)
		return plot_axis_amount(fmax(low, 0), fmax(high, fmax(low, 0)), false, 1, "", TICKS);
	low = fmin(low, 0);
	high = fmax(high, 0);
	if (isfinite(c->band)) {
		low = fmin(low, -c->band);
		high = fmax(high, c->band);
	}
	return plot_axis_percent(low, high, TICKS);
}

const char *figure_axis_note(const struct chart *c)
{
	struct plot_axis a = value_axis(c);
	return a.log ? " (log scale)" : a.cut ? " (does not start at 0)" : "";
}

/* Ticks whose texts would touch are left out, never the first; the last one wins over those in front of it. */
static void thin_ticks(struct plot_ticks *t, double per_px)
{
	int kept = 0;
	for (int i = 0; i < t->n; i++) {
		double half = 0.5 * DIGIT * (double)strlen(t->text[i]) * per_px;
		double from = t->at[i] - half - TICK_GAP * per_px;
		while (i == t->n - 1 && kept > 1 &&
		       t->at[kept - 1] + 0.5 * DIGIT * (double)strlen(t->text[kept - 1]) * per_px > from)
			kept--;
		if (kept && t->at[kept - 1] + 0.5 * DIGIT * (double)strlen(t->text[kept - 1]) * per_px > from)
			continue;
		t->at[kept] = t->at[i];
		memmove(t->text[kept], t->text[i], sizeof *t->text);
		kept++;
	}
	t->n = kept;
}

static int compare_longs(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;
	return x < y ? -1 : x > y;
}

/* The points' different x, as whole numbers, ascending: the caller frees; null: no memory. */
static long *distinct_x(const struct chart *c, int *n)
{
	long *xs = calloc((size_t)chart_points(c) + 1, sizeof *xs);
	int all = 0;
	*n = 0;
	for (int s = 0; xs && s < c->n_series; s++)
		for (int i = 0; i < c->series[s].n; i++)
			xs[all++] = lround(c->series[s].points[i].x);
	if (xs)
		qsort(xs, (size_t)all, sizeof *xs, compare_longs);
	for (int i = 0; i < all; i++)
		if (!i || xs[i] != xs[*n - 1])
			xs[(*n)++] = xs[i];
	return xs;
}

static int choose_x(struct scene *s, const struct chart *c)
{
	int n;
	long *xs = distinct_x(c, &n);
	if (!xs)
		return -1;
	if (n == 1 && c->kind != CHART_HISTORY) {
		s->x_lo = (double)xs[0] - 1;
		s->x_hi = (double)xs[0] + 1;
		s->x_ticks = (struct plot_ticks){.n = 1, .at = {(double)xs[0]}};
		snprintf(s->x_ticks.text[0], PLOT_TEXT_MAX, "%ld", xs[0]);
	} else if (c->x == CHART_X_DEPTH) {
		s->depths = plot_depth_axis_choose(xs, n);
		s->x_lo = s->depths.lo;
		s->x_hi = s->depths.hi;
		s->x_ticks = s->depths.ticks;
	} else if (c->kind == CHART_HISTORY) {
		s->x_lo = -0.7;
		s->x_hi = c->n_places - 0.3;
		int every = (c->n_places + COMMITS - 1) / COMMITS;
		for (int i = 0; i < c->n_places; i += every) {
			s->x_ticks.at[s->x_ticks.n] = i;
			plot_text_clean(s->x_ticks.text[s->x_ticks.n++], c->places[i], COMMIT_CHARACTERS);
		}
	} else {
		double pad = 0.04 * (double)(xs[n - 1] - xs[0]);
		s->x_lo = (double)xs[0] - pad;
		s->x_hi = (double)xs[n - 1] + pad;
		if (n <= 12) {
			s->x_ticks.n = n;
			for (int i = 0; i < n; i++) {
				s->x_ticks.at[i] = (double)xs[i];
				snprintf(s->x_ticks.text[i], PLOT_TEXT_MAX, "%ld", xs[i]);
			}
		} else {
			s->x_ticks = plot_axis_amount(0, (double)xs[n - 1], true, 1, "", TICKS).ticks;
		}
	}
	free(xs);
	return 0;
}

/* Where a point stands on the x axis; series stand a little beside each other, so that their bars do not hide. */
static double x_of(const struct scene *s, const struct chart *c, int series, const struct chart_point *p, int index)
{
	double x = p->x, between = c->kind == CHART_CURVES ? 0.008 * (s->x_hi - s->x_lo) : 0;
	if (c->kind == CHART_FOREST)
		return p->y;
	if (c->kind == CHART_STRIP) {
		/* Van der Corput's sequence spreads neighbours apart, and is the same each time. */
		double spread = 0, digit = 0.5;
		for (int k = index + 1; k; k >>= 1, digit *= 0.5)
			spread += (k & 1) * digit;
		return x + 0.6 * (spread - 0.5);
	}
	if (c->kind == CHART_CURVES && c->x == CHART_X_DEPTH && !isnan(s->depths.lo) && s->depths.ticks.n)
		x = plot_depth_axis_at(&s->depths, lround(p->x));
	return x + between * (series - 0.5 * (c->n_series - 1));
}

static double y_of(const struct chart *c, const struct chart_point *p)
{
	return c->kind == CHART_FOREST ? c->n_places - 1 - p->x : p->y;
}

static double px_x(const struct scene *s, double x)
{
	return s->left + (x - s->x_lo) / (s->x_hi - s->x_lo) * (s->width - s->left - s->right);
}

static double px_y(const struct scene *s, double y)
{
	double at = s->y_log ? log(y / s->y_lo) / log(s->y_hi / s->y_lo) : (y - s->y_lo) / (s->y_hi - s->y_lo);
	return s->height - s->bottom - at * (s->height - s->top - s->bottom);
}

static int scene_init(struct scene *s, const struct chart *c, int width)
{
	struct plot_axis a = value_axis(c);
	*s = (struct scene){.width = width, .height = 290, .left = 58, .right = 14, .top = 12, .bottom = 50, .band = 0};
	if (c->kind == CHART_HISTORY)
		s->right = 36; /* half of the last commit's name */
	s->names_above = c->kind == CHART_FOREST && width < FIGURE_WIDE;
	s->zero = c->y != CHART_Y_PERCENT ? 0 : c->kind == CHART_FOREST ? 2 : 1;
	s->band = isfinite(c->band) ? c->band : 0;
	if (width == FIGURE_WIDE)
		s->height = 340;
	if (c->kind == CHART_FOREST) {
		int row = s->names_above ? ROW_TALL : ROW;
		s->bottom = 30;
		s->left = s->names_above ? 10 : NAMES_WIDE;
		s->right = s->names_above ? 10 : 170;
		s->height = s->top + s->bottom + row * c->n_places;
		s->x_lo = a.lo;
		s->x_hi = a.hi;
		s->x_ticks = a.ticks;
		s->y_lo = -0.5;
		s->y_hi = c->n_places - 0.5;
	} else {
		s->y_lo = a.lo;
		s->y_hi = a.hi;
		s->y_log = a.log;
		s->y_ticks = a.ticks;
		if (c->kind == CHART_STRIP) {
			s->bottom = 30;
			s->x_lo = -0.6;
			s->x_hi = c->n_places - 0.4;
		} else if (choose_x(s, c)) {
			return -1;
		}
	}
	thin_ticks(&s->x_ticks, (s->x_hi - s->x_lo) / (s->width - s->left - s->right));
	return 0;
}

/* ---- what gnuplot draws ---- */

static void write_bars(const struct scene *s, const struct chart *c, FILE *f)
{
	fputs("$bars << END_OF_BLOCK\n", f);
	for (int k = 0; k < c->n_series; k++) {
		int n = 0;
		for (int i = 0; i < c->series[k].n; i++) {
			const struct chart_point *p = &c->series[k].points[i];
			if (!isfinite(p->low) || !isfinite(p->high))
				continue;
			/* Of a strip, once: the median of all. */
			if (c->kind == CHART_STRIP && n++)
				break;
			if (c->kind == CHART_STRIP)
				fprintf(f, "%.9g %.9g 0.8 0\n", p->x - 0.4, p->low);
			else if (c->kind == CHART_FOREST)
				fprintf(f, "%.9g %.9g %.9g 0\n", p->low, y_of(c, p), p->high - p->low);
			else
				fprintf(f, "%.9g %.9g 0 %.9g\n", x_of(s, c, k, p, i), p->low, p->high - p->low);
			n++;
		}
		fputs(n ? "\n\n" : "NaN NaN NaN NaN\n\n\n", f);
	}
	fputs("END_OF_BLOCK\n", f);
}

static void write_curves(const struct scene *s, const struct chart *c, FILE *f)
{
	fputs("$curves << END_OF_BLOCK\n", f);
	for (int k = 0; k < c->n_series; k++) {
		int n = 0;
		int line = c->kind == CHART_CURVES || (c->kind == CHART_HISTORY && k && c->series[k].n > 1);
		for (int i = 0; line && i < c->series[k].n; i++, n++)
			fprintf(f, "%.9g %.9g\n", x_of(s, c, k, &c->series[k].points[i], i), c->series[k].points[i].y);
		fputs(n ? "\n\n" : "NaN NaN\n\n\n", f);
	}
	fputs("END_OF_BLOCK\n", f);
}

static int style_of(const struct chart_series *s)
{
	return s->style % FIGURE_STYLES;
}

static void write_script(const struct scene *s, const struct chart *c, FILE *f)
{
	const struct {
		const char *name;
		double value;
	} numbers[] = {{"width", s->width}, {"height", s->height},    {"left", s->left},   {"right", s->right},
		       {"top", s->top},     {"bottom", s->bottom},    {"x_lo", s->x_lo},   {"x_hi", s->x_hi},
		       {"y_lo", s->y_lo},   {"y_hi", s->y_hi},        {"y_log", s->y_log}, {"zero", s->zero},
		       {"band", s->band},   {"n_series", c->n_series}};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		plot_script_number(f, numbers[i].name, numbers[i].value);
	struct plot_ticks nowhere = {.n = 1, .at = {s->x_lo - 1}};
	plot_script_ticks(f, "tick_at", "tick_text", s->x_ticks.n ? &s->x_ticks : &nowhere);
	plot_script_number(f, "n_yticks", s->y_ticks.n);
	if (s->y_ticks.n)
		plot_script_ticks(f, "ytick_at", "ytick_text", &s->y_ticks);
	fprintf(f, "array styles[%d]\n", c->n_series);
	for (int i = 0; i < c->n_series; i++)
		fprintf(f, "styles[%d] = %d\n", i + 1, 1 + style_of(&c->series[i]));
	write_bars(s, c, f);
	write_curves(s, c, f);
	fputs(plot_templates[PLOT_TEMPLATE_REPORT], f);
}

/* The whole file, which is at most some megabytes; the caller frees. Null: no memory, or none. */
static char *read_back(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = size >= 0 && size < 1 << 26 ? calloc(1, (size_t)size + 1) : NULL;
	for (off_t at = 0; text && at < size;) {
		ssize_t n = pread(fd, text + at, (size_t)(size - at), at);
		if (n <= 0) {
			free(text);
			return NULL;
		}
		at += n;
	}
	return text;
}

static int draw(struct figure_maker *m, const struct scene *s, const struct chart *c, char **out, struct error *err)
{
	struct run_file script = {0};
	*out = NULL;
	FILE *picture = tmpfile();
	int rc = picture ? run_file_open(&script, &m->folder, SCRIPT, err)
			 : error_set(err, ERROR_IO, "cannot make a temporary file: %s", strerror(errno));
	if (!rc) {
		write_script(s, c, script.stream);
		rc = run_file_commit(&script, 0, err);
	}
	run_file_discard(&script);
	if (!rc)
		rc = gnuplot_run(m->gnuplot, &m->folder, SCRIPT, "svg", fileno(picture), m->timeout_s, err);
	if (!rc && !(*out = read_back(fileno(picture))))
		rc = error_set(err, ERROR_IO, "%s: its picture cannot be read back", m->gnuplot);
	if (picture)
		fclose(picture);
	m->made++;
	return rc;
}

/* ---- what the page draws on it ---- */

static void write_mark(FILE *f, int style, double x, double y, double r)
{
	switch (style % FIGURE_STYLES) {
	case 1:
		fprintf(f, "M%.2f %.2fh%.2fv%.2fh%.2fz", x - r, y - r, 2 * r, 2 * r, -2 * r);
		break;
	case 2:
		fprintf(f, "M%.2f %.2fL%.2f %.2fL%.2f %.2fz", x, y - 1.3 * r, x - 1.2 * r, y + r, x + 1.2 * r, y + r);
		break;
	case 3:
		fprintf(f, "M%.2f %.2fl%.2f %.2fl%.2f %.2fl%.2f %.2fz", x, y - 1.4 * r, 1.2 * r, 1.4 * r, -1.2 * r,
			1.4 * r, -1.2 * r, -1.4 * r);
		break;
	case 4:
		fprintf(f, "M%.2f %.2fL%.2f %.2fL%.2f %.2fz", x, y + 1.3 * r, x - 1.2 * r, y - r, x + 1.2 * r, y - r);
		break;
	default:
		fprintf(f, "M%.2f %.2fa%.2f %.2f 0 1 0 %.2f 0a%.2f %.2f 0 1 0 %.2f 0z", x - r, y, r, r, 2 * r, r, r,
			-2 * r);
	}
}

void figure_legend_mark(FILE *f, int style)
{
	fprintf(f, "<svg class=\"key k%d\" viewBox=\"0 0 14 14\" aria-hidden=\"true\"><path d=\"",
		1 + style % FIGURE_STYLES);
	write_mark(f, style, 7, 7, 4.5);
	fputs("\"/></svg>", f);
}

static void write_points(const struct scene *s, const struct chart *c, FILE *f)
{
	int small = c->kind == CHART_STRIP || c->kind == CHART_SCATTER || c->kind == CHART_HISTORY;
	for (int k = 0; k < c->n_series; k++) {
		/* Levels are no points. */
		if (c->kind == CHART_HISTORY && k && c->series[k].n > 1)
			continue;
		for (int i = 0; i < c->series[k].n; i++) {
			const struct chart_point *p = &c->series[k].points[i];
			fprintf(f, "<path class=\"p k%d%s\" d=\"", 1 + style_of(&c->series[k]), small ? " small" : "");
			write_mark(f, style_of(&c->series[k]), px_x(s, x_of(s, c, k, p, i)), px_y(s, y_of(c, p)),
				   small ? 2.4 : 4.2);
			fputs("\"><title>", f);
			markup_html_lines(f, p->tip ? p->tip : "");
			fputs("</title></path>\n", f);
		}
	}
}

static void write_label(FILE *f, double x, double y, const char *anchor, const char *class, const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
	markup_html(f, text);
	fputs("</text>\n", f);
}

/* The name of a place as it has room. */
static void write_name(FILE *f, double x, double y, const char *anchor, const char *name, int most)
{
	char clean[PLOT_TEXT_MAX];
	plot_text_clean(clean, name, most);
	write_label(f, x, y, anchor, "name", clean);
}

static void write_names(const struct scene *s, const struct chart *c, FILE *f)
{
	for (int i = 0; i < c->n_places; i++) {
		double y = px_y(s, c->n_places - 1 - i), room = (double)(s->width - s->left - s->right) / c->n_places;
		if (c->kind == CHART_STRIP && room >= 60)
			write_name(f, px_x(s, i), s->height - s->bottom + 18, "middle", c->places[i],
				   (int)(room / 6.5));
		else if (c->kind == CHART_FOREST && s->names_above)
			write_name(f, s->left, y - 9, "start", c->places[i], 54);
		else if (c->kind == CHART_FOREST)
			write_name(f, s->left - 12, y + 4, "end", c->places[i], 50);
	}
	for (int k = 0; k < c->n_series && c->kind == CHART_FOREST && !s->names_above; k++) {
		for (int i = 0; i < c->series[k].n; i++) {
			const struct chart_point *p = &c->series[k].points[i];
			char text[80];
			int n = snprintf(text, sizeof text, "%+.1f %%", p->y);
			if (isfinite(p->low) && isfinite(p->high))
				snprintf(text + n, sizeof text - (size_t)n, "  [%+.1f, %+.1f]", p->low, p->high);
			write_label(f, s->width - s->right + 12, px_y(s, y_of(c, p)) + 4, "start", "value", text);
		}
	}
	if (*c->x_text && c->kind != CHART_FOREST)
		write_label(f, s->left + 0.5 * (s->width - s->left - s->right), s->height - 6, "middle", "axis",
			    c->x_text);
	/* Depth 0 stands apart. */
	if (c->kind == CHART_CURVES && s->depths.ticks.n && !isnan(s->depths.gap_at))
		write_label(f, px_x(s, s->depths.gap_at), s->height - s->bottom + 4, "middle", "axis", "//");
}

int figure_svg(struct figure_maker *m, const struct chart *c, int width, FILE *f, struct error *err)
{
	struct scene *s = calloc(1, sizeof *s);
	char *picture = NULL;
	int rc = s && !scene_init(s, c, width) ? 0 : error_set(err, ERROR_MEMORY, "no memory for a figure");
	if (!rc)
		rc = draw(m, s, c, &picture, err);
	if (!rc) {
		fprintf(f, "<svg class=\"figure\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", s->width,
			s->height);
		markup_html(f, c->title);
		fputs("\">\n", f);
		if (svg_filter(picture, f))
			rc = error_set(err, ERROR_IO, "%s: its picture is no SVG", m->gnuplot);
		write_names(s, c, f);
		write_points(s, c, f);
		fputs("</svg>\n", f);
	}
	free(picture);
	free(s);
	return rc;
}
