#include "harness/report/figure_text.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

enum { BAR = 41, LABEL = 44 };

void figure_shape(const double *x, int n, double low, double high, char out[FIGURE_SHAPE_SIZE])
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	int count[FIGURE_SHAPE_BINS] = {0}, most = 0;
	out[0] = '\0';
	for (int i = 0; i < n; i++) {
		double at = high > low ? FIGURE_SHAPE_BINS * (x[i] - low) / (high - low) : 0;
		int bin = at < 0 ? 0 : at >= FIGURE_SHAPE_BINS ? FIGURE_SHAPE_BINS - 1 : (int)at;
		most = ++count[bin] > most ? count[bin] : most;
	}
	for (int b = 0; n && b < FIGURE_SHAPE_BINS; b++) {
		/* What is there at all shows: an empty bin is the lowest block, a filled one never is. */
		int height = count[b] ? 1 + (6 * count[b] + most - 1) / most : 0;
		strcat(out, blocks[height]);
	}
}

/* The point at a place, and its series; null: nothing is there. */
static const struct chart_point *point_at(const struct chart *c, int place)
{
	for (int s = 0; s < c->n_series; s++)
		for (int i = 0; i < c->series[s].n; i++)
			if ((int)c->series[s].points[i].x == place)
				return &c->series[s].points[i];
	return NULL;
}

static void widen(double x, double *low, double *high)
{
	if (isfinite(x)) {
		*low = fmin(*low, x);
		*high = fmax(*high, x);
	}
}

static int column(double x, double low, double high)
{
	int at = (int)lround((x - low) / (high - low) * (BAR - 1));
	return at < 0 ? 0 : at > BAR - 1 ? BAR - 1 : at;
}

static void write_bar(FILE *f, const struct chart *c, const struct chart_point *p, double low, double high)
{
	const char *bar[BAR];
	int zero = column(0, low, high);
	for (int i = 0; i < BAR; i++)
		bar[i] = i == zero ? "│" : " ";
	if (isfinite(c->band))
		for (int i = column(-c->band, low, high); i <= column(c->band, low, high); i++)
			bar[i] = i == zero ? "│" : "·";
	if (p && isfinite(p->low) && isfinite(p->high)) {
		int a = column(p->low, low, high), b = column(p->high, low, high);
		for (int i = a; i <= b; i++)
			bar[i] = i == zero ? "┼" : "─";
		if (a < b) {
			bar[a] = "├";
			bar[b] = "┤";
		}
	}
	if (p)
		bar[column(p->y, low, high)] = "●";
	for (int i = 0; i < BAR; i++)
		fputs(bar[i], f);
}

/* The axis' ends, and 0 where it is clear of them. */
static void write_axis(FILE *f, double low, double high)
{
	char line[BAR + 1], left[24], right[24];
	int zero = column(0, low, high), n = snprintf(left, sizeof left, "%+.*f", high - low < 20, low);
	int m = snprintf(right, sizeof right, "%+.*f %%", high - low < 20, high);
	memset(line, ' ', BAR);
	line[BAR] = '\0';
	if (zero > n && zero < BAR - m)
		line[zero] = '0';
	if (low < 0)
		memcpy(line, left, (size_t)n);
	else
		line[0] = '0';
	memcpy(line + BAR - m, right, (size_t)m);
	fputs(line, f);
}

void figure_forest(FILE *f, const struct chart *c)
{
	double low = 0, high = 0;
	int label = 0;
	for (int i = 0; i < c->n_places; i++) {
		const struct chart_point *p = point_at(c, i);
		char name[LABEL + 1];
		text_escape(name, sizeof name, c->places[i]);
		label = text_width(name) > label ? text_width(name) : label;
		widen(p ? p->y : NAN, &low, &high);
		widen(p ? p->low : NAN, &low, &high);
		widen(p ? p->high : NAN, &low, &high);
	}
	if (isfinite(c->band)) {
		widen(-c->band, &low, &high);
		widen(c->band, &low, &high);
	}
	if (high <= low)
		high = low + 1;
	fprintf(f, "%*s  ", label, "");
	write_axis(f, low, high);
	fputc('\n', f);
	for (int i = 0; i < c->n_places; i++) {
		const struct chart_point *p = point_at(c, i);
		char name[LABEL + 1];
		text_escape(name, sizeof name, c->places[i]);
		fprintf(f, "%s%*s  ", name, label - text_width(name), "");
		write_bar(f, c, p, low, high);
		if (p)
			fprintf(f, "  %+6.1f %%", p->y);
		if (p && isfinite(p->low) && isfinite(p->high))
			fprintf(f, " [%+.1f, %+.1f]", p->low, p->high);
		fputc('\n', f);
	}
}
