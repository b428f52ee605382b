#include "harness/plot/plot_script.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "harness/plot/gnuplot.h"

void plot_text_clean(char *dst, const char *src, int max_chars)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	char name[3 * PLOT_TEXT_MAX]; /* more than dst takes: that there is more has to show */
	size_t n = text_name(name, sizeof name, src, strlen(src)), at = 0, before_last = 0;
	for (int chars = 0; at < n; chars++) {
		size_t length = (size_t)text_utf8_length(name + at);
		if (chars == max_chars || at + length + sizeof ellipsis > PLOT_TEXT_MAX) {
			memcpy(dst + before_last, ellipsis, sizeof ellipsis);
			return;
		}
		memcpy(dst + at, name + at, length);
		before_last = at;
		at += length;
	}
	dst[at] = '\0';
}

static void add_tick(struct plot_ticks *t, double at, const char *text)
{
	if (t->n == PLOT_TICKS_MAX)
		return;
	t->at[t->n] = at;
	snprintf(t->text[t->n++], PLOT_TEXT_MAX, "%s", text);
}

/* 1, 2 and 5 in each decade, or 1 alone where that would be too many; of many decades not each one. */
static void log_ticks(struct plot_ticks *t, double lo, double hi, int max_ticks)
{
	static const double steps[] = {1, 2, 5};
	double decades = log10(hi) - log10(lo); /* their ratio may be no number */
	int n_steps = 3 * decades > max_ticks ? 1 : 3;
	int stride = decades > 2 * max_ticks ? (int)ceil(decades / max_ticks) : 1;
	for (int power = (int)floor(log10(lo)); pow(10, power) <= hi; power += stride) {
		for (int i = 0; i < n_steps; i++) {
			double at = pow(10, power) * steps[i];
			char text[32];
			if (at < lo || at > hi)
				continue;
			snprintf(text, sizeof text, at >= 1e7 ? "%.0e" : "%.10g", at);
			add_tick(t, at, text);
		}
	}
}

/* Multiples of 1, 2 or 5 times a power of ten, at most max_ticks of them. */
static void linear_ticks(struct plot_ticks *t, double lo, double hi, int max_ticks)
{
	double rough = (hi - lo) / max_ticks, power = pow(10, floor(log10(rough)));
	double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
	if (!(step > 0))
		return; /* lo is hi, or their difference has no power of ten: no tick lies between them */
	int decimals = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
	double first = ceil(lo / step - 1e-9);
	for (double k = first; k * step <= hi + 1e-9 * step && k < first + PLOT_TICKS_MAX; k++) {
		char text[400]; /* a double may have 308 digits in front of its point */
		if (step >= 1e7)
			snprintf(text, sizeof text, "%.1e", k * step);
		else
			snprintf(text, sizeof text, "%.*f", decimals, k == 0 ? 0 : k * step); /* no -0 */
		add_tick(t, k * step, text);
	}
}

void plot_axis_widen(double *lo, double *hi, double value)
{
	if (!isnan(value)) {
		*lo = fmin(*lo, value);
		*hi = fmax(*hi, value);
	}
}

bool plot_axis_wants_ms(double lo, double hi, bool from_zero)
{
	/* Labels of five digits are the other reason: an axis that reaches 7 ms may be labelled up to 10. */
	return (from_zero ? hi : lo) >= 1000 || hi >= 7000;
}

struct plot_axis plot_axis_amount(double lo, double hi, bool from_zero, double scale, const char *unit, int max_ticks)
{
	/* Beyond this ratio the small values would lie on the axis; below the other, differences would not show. */
	const double log_ratio = 15, cut_ratio = 2;
	struct plot_axis a = {.scale = scale, .unit = unit};
	assert(lo >= 0 && hi >= lo);
	lo *= a.scale;
	hi *= a.scale;
	if (hi <= 0)
		hi = 1;
	if (from_zero) {
		a.hi = 1.15 * hi;
	} else if (lo > 0 && hi / lo > log_ratio) {
		a.log = true;
		a.lo = lo / 1.4;
		a.hi = hi * 1.4;
	} else if (hi / lo < cut_ratio) {
		double margin = 0.08 * (hi - lo) + 0.002 * hi;
		a.cut = true;
		a.lo = lo - margin;
		a.hi = hi + margin;
	} else {
		a.hi = 1.08 * hi;
	}
	if (a.log)
		log_ticks(&a.ticks, a.lo, a.hi, max_ticks);
	else
		linear_ticks(&a.ticks, a.lo, a.hi, max_ticks);
	return a;
}

struct plot_axis plot_axis_time(double lo, double hi, bool from_zero, bool in_ms, int max_ticks)
{
	return in_ms ? plot_axis_amount(lo, hi, from_zero, 1e-3, "ms", max_ticks)
		     : plot_axis_amount(lo, hi, from_zero, 1, "\xc2\xb5s", max_ticks);
}

struct plot_axis plot_axis_percent(double lo, double hi, int max_ticks)
{
	double margin = fmax(0.12 * (hi - lo), 0.1);
	struct plot_axis a = {.lo = lo - margin, .hi = hi + margin, .scale = 1, .unit = "%"};
	assert(lo <= 0 && hi >= 0);
	linear_ticks(&a.ticks, a.lo, a.hi, max_ticks);
	return a;
}

void plot_axis_label(char *dst, const struct plot_axis *axis, const char *what)
{
	snprintf(dst, PLOT_TEXT_MAX, "%s (%s%s)", what, axis->unit,
		 axis->log   ? ", log scale"
		 : axis->cut ? "; does not start at 0"
			     : "");
}

double plot_depth_axis_at(const struct plot_depth_axis *axis, long depth)
{
	return depth > 0 ? log2((double)depth) : axis->zero_at;
}

struct plot_depth_axis plot_depth_axis_choose(const long *depths, int n)
{
	struct plot_depth_axis a = {.gap_at = NAN, .zero_at = NAN};
	bool zero = depths[0] == 0;
	double first = log2((double)depths[zero ? 1 : 0]), last = log2((double)depths[n - 1]);
	double left = first;
	if (zero) {
		double gap = fmax(0.8, 0.16 * (last - first));
		a.zero_at = left = first - gap;
		a.gap_at = first - 0.5 * gap;
	}
	double pad = 0.06 * fmax(last - left, 0.5);
	a.lo = left - pad;
	a.hi = last + pad;

	/* 700 px of axis, 9 px a digit and 8 px between two labels. */
	double per_px = (a.hi - a.lo) / 700, free_from = -INFINITY;
	char text[32];
	int digits = snprintf(text, sizeof text, "%ld", depths[n - 1]);
	double last_from = last - per_px * (4.5 * digits + 8);
	for (int i = 0; i < n; i++) {
		double at = plot_depth_axis_at(&a, depths[i]);
		double half = per_px * 4.5 * snprintf(text, sizeof text, "%ld", depths[i]);
		if (i && i < n - 1 && (at - half < free_from || at + half > last_from))
			continue;
		add_tick(&a.ticks, at, text);
		free_from = at + half + 8 * per_px;
	}
	return a;
}

void plot_caption_break(struct plot_caption *c)
{
	if (c->n_lines < PLOT_CAPTION_LINES)
		c->line[c->n_lines++][0] = '\0';
}

void plot_caption_add(struct plot_caption *c, const char *item)
{
	const int width = 112; /* characters of 12 px that 770 px hold */
	if (!c->n_lines)
		plot_caption_break(c);
	char *line = c->line[c->n_lines - 1];
	if (*line && text_width(line) + 3 + text_width(item) > width && c->n_lines < PLOT_CAPTION_LINES) {
		plot_caption_break(c);
		line = c->line[c->n_lines - 1];
	}
	size_t used = strlen(line);
	snprintf(line + used, PLOT_TEXT_MAX - used, "%s%s", used ? " \xc2\xb7 " : "", item);
}

void plot_script_string(FILE *f, const char *name, const char *value)
{
	char clean[PLOT_TEXT_MAX], quoted[4 * PLOT_TEXT_MAX + 3];
	plot_text_clean(clean, value, PLOT_TEXT_MAX);
	gnuplot_quote(quoted, clean);
	fprintf(f, "%s = %s\n", name, quoted);
}

void plot_script_number(FILE *f, const char *name, double value)
{
	if (isnan(value))
		fprintf(f, "%s = NaN\n", name);
	else
		fprintf(f, "%s = %.10g\n", name, value);
}

void plot_script_numbers(FILE *f, const char *name, const double *values, int n)
{
	char element[64];
	fprintf(f, "array %s[%d]\n", name, n);
	for (int i = 0; i < n; i++) {
		snprintf(element, sizeof element, "%s[%d]", name, i + 1);
		plot_script_number(f, element, values[i]);
	}
}

void plot_script_strings(FILE *f, const char *name, const char *const *values, int n)
{
	char element[64];
	fprintf(f, "array %s[%d]\n", name, n);
	for (int i = 0; i < n; i++) {
		snprintf(element, sizeof element, "%s[%d]", name, i + 1);
		plot_script_string(f, element, values[i]);
	}
}

/* What gnuplot writes beside a tick is a format of the tick's number: a '%' that is none ends it. */
static const char *double_percents(char dst[PLOT_TEXT_MAX], const char *text)
{
	char *out = dst;
	for (; *text && out + 3 <= dst + PLOT_TEXT_MAX; text++) {
		*out++ = *text;
		if (*text == '%')
			*out++ = '%';
	}
	*out = '\0';
	return dst;
}

void plot_script_ticks(FILE *f, const char *at_name, const char *text_name, const struct plot_ticks *ticks)
{
	char doubled[PLOT_TICKS_MAX][PLOT_TEXT_MAX];
	const char *texts[PLOT_TICKS_MAX];
	assert(ticks->n > 0);
	for (int i = 0; i < ticks->n; i++)
		texts[i] = double_percents(doubled[i], ticks->text[i]);
	plot_script_numbers(f, at_name, ticks->at, ticks->n);
	plot_script_strings(f, text_name, texts, ticks->n);
}

void plot_script_caption(FILE *f, const struct plot_caption *caption)
{
	fprintf(f, "n_caption = %d\ncaption = ''\n", caption->n_lines);
	for (int i = 0; i < caption->n_lines; i++) {
		char clean[PLOT_TEXT_MAX], quoted[4 * PLOT_TEXT_MAX + 3];
		plot_text_clean(clean, caption->line[i], PLOT_TEXT_MAX);
		gnuplot_quote(quoted, clean);
		fprintf(f, "caption = caption.%s%s\n", quoted, i + 1 < caption->n_lines ? ".\"\\n\"" : "");
	}
}
