#include "harness/plot/plot_timeline.h"

#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"
#include "harness/sweep/axis.h"

enum {
	LAYERS_SHOWN = 3,
	PHASES_SHOWN = 64, /* at most: a picture of more is too large to be of use */
	ROWS_MAX = 1024,
	KINDS_MAX = 16,
	BINS_MAX = 1024,
	ROW_PX = 22, /* as in timeline.gp */
};

/* What a block does in a phase, in its order. */
enum part { PART_WAITING, PART_WORKING, PART_PUBLISHING, PARTS };

struct span {
	double from, to; /* microseconds */
};

/* Of a kind of phase; sums of microseconds over blocks and phases. */
struct kind_sum {
	double part[PARTS];
	int n_phases;
};

/* A stretch of the token. */
struct bin {
	double from, to;
	double part[PARTS]; /* microseconds of all blocks */
};

/* What is drawn, and what it is called. */
struct how {
	char name[64];
	long depth;
	const char *launched; /* behind the title */
};

struct timeline {
	const struct how *how;
	const struct timeline_stamp *stamps; /* (n_blocks, n_phases) */
	int n_blocks, n_phases;
	bool by_sm; /* rows are multiprocessors, else blocks */
	int row_lo, row_hi;
	double end;        /* of the token, microseconds */
	int first, beyond; /* phases that are shown block by block */
	struct kind_sum kinds[KINDS_MAX];
	double all[PARTS];
	int n_bins;
	struct bin bins[BINS_MAX];
};

static const struct timeline_stamp *stamp_at(const struct timeline *t, int block, int phase)
{
	return &t->stamps[(size_t)block * (size_t)t->n_phases + (size_t)phase];
}

static double us(int64_t ns)
{
	return (double)ns / 1e3;
}

/* A block without input had nothing to do but to wait, as far as it did not go on at once. */
static void parts_of(const struct timeline_stamp *s, struct span out[PARTS])
{
	double end = us(s->published_ns), input = s->input_ns == COLUMN_UNKNOWN ? end : us(s->input_ns);
	double worked = s->worked_ns == COLUMN_UNKNOWN ? input : us(s->worked_ns);
	out[PART_WAITING] = (struct span){us(s->entered_ns), input};
	out[PART_WORKING] = (struct span){input, worked};
	out[PART_PUBLISHING] = (struct span){worked, end};
}

static int row_of(const struct timeline *t, const struct timeline_stamp *s)
{
	return t->by_sm ? s->sm : s->block;
}

static void choose_rows(struct timeline *t)
{
	t->by_sm = true;
	for (int b = 0; b < t->n_blocks && t->by_sm; b++) {
		int sm = stamp_at(t, b, 0)->sm;
		t->by_sm = sm >= 0 && sm < ROWS_MAX;
		t->row_lo = b && t->row_lo < sm ? t->row_lo : sm;
		t->row_hi = b && t->row_hi > sm ? t->row_hi : sm;
	}
	if (!t->by_sm) {
		t->row_lo = 0;
		t->row_hi = t->n_blocks - 1;
	}
}

/* Of the middle layers; of a token that has none the first phases. */
static void choose_phases(struct timeline *t)
{
	int n_layers = 0;
	for (int i = 0; i < t->n_phases; i++)
		n_layers = t->stamps[i].layer >= n_layers ? t->stamps[i].layer + 1 : n_layers;
	int layer = n_layers > LAYERS_SHOWN ? (n_layers - LAYERS_SHOWN) / 2 : 0;
	while (t->first < t->n_phases && n_layers && t->stamps[t->first].layer < layer)
		t->first++;
	t->beyond = t->first;
	while (t->beyond < t->n_phases && t->beyond - t->first < PHASES_SHOWN &&
	       t->stamps[t->beyond].layer < layer + LAYERS_SHOWN)
		t->beyond++;
}

/* Whether phase i begins a part of the token: a layer, or what is in front of the first and behind the last. */
static bool begins(const struct timeline *t, int i)
{
	int layer = t->stamps[i].layer;
	if (!i)
		return true;
	/* What is of no layer may be between two phases of one. */
	if (layer < 0)
		return i + 1 == t->n_phases || t->stamps[i - 1].layer != t->stamps[i + 1].layer;
	return layer != t->stamps[i - 1].layer &&
	       (t->stamps[i - 1].layer >= 0 || i < 2 || layer != t->stamps[i - 2].layer);
}

/* A part goes from when its blocks enter it, on average, to when they do the next one. */
static double begin_of(const struct timeline *t, int phase)
{
	double sum = 0;
	for (int b = 0; b < t->n_blocks && phase; b++)
		sum += us(stamp_at(t, b, phase)->entered_ns);
	return sum / t->n_blocks;
}

static void choose_bins(struct timeline *t)
{
	for (int i = 0; i < t->n_phases; i++)
		if (begins(t, i) && t->n_bins < BINS_MAX)
			t->bins[t->n_bins++].from = begin_of(t, i);
	for (int i = 0; i < t->n_bins; i++)
		t->bins[i].to = i + 1 < t->n_bins ? t->bins[i + 1].from : t->end;
}

/* from: a bin that is not behind the span, from which the next one is looked for. */
static void add_to_bins(struct timeline *t, enum part part, struct span s, int *from)
{
	while (*from + 1 < t->n_bins && t->bins[*from].to <= s.from)
		++*from;
	for (int i = *from; i < t->n_bins && t->bins[i].from < s.to; i++) {
		const struct bin *bin = &t->bins[i];
		double begin = s.from > bin->from ? s.from : bin->from, end = s.to < bin->to ? s.to : bin->to;
		if (end > begin)
			t->bins[i].part[part] += end - begin;
	}
}

static void sum_up(struct timeline *t)
{
	for (int b = 0; b < t->n_blocks; b++) {
		double end = us(stamp_at(t, b, t->n_phases - 1)->published_ns);
		t->end = end > t->end ? end : t->end;
	}
	choose_bins(t);
	for (int b = 0; b < t->n_blocks; b++) {
		int bin = 0;
		for (int i = 0; i < t->n_phases; i++) {
			const struct timeline_stamp *s = stamp_at(t, b, i);
			struct kind_sum *k = &t->kinds[s->kind];
			struct span parts[PARTS];
			parts_of(s, parts);
			k->n_phases += !b;
			for (int p = 0; p < PARTS; p++) {
				k->part[p] += parts[p].to - parts[p].from;
				t->all[p] += parts[p].to - parts[p].from;
				add_to_bins(t, (enum part)p, parts[p], &bin);
			}
		}
	}
}

static void write_boxes(FILE *dat, const struct timeline *t)
{
	fprintf(dat, "# of %s: from to (us) row kind part (0 waiting, 1 working, 2 publishing)\n",
		t->by_sm ? "multiprocessors" : "blocks");
	for (int b = 0; b < t->n_blocks; b++) {
		for (int i = t->first; i < t->beyond; i++) {
			const struct timeline_stamp *s = stamp_at(t, b, i);
			struct span parts[PARTS];
			parts_of(s, parts);
			for (int p = 0; p < PARTS; p++)
				if (parts[p].to > parts[p].from)
					fprintf(dat, "%.9g %.9g %d %d %d\n", parts[p].from, parts[p].to, row_of(t, s),
						s->kind + 1, p);
		}
	}
}

static void write_bins(FILE *dat, const struct timeline *t)
{
	fputs("\n\n# of layers, and what is around them: from to (us), percent of the time between: working publishing "
	      "waiting\n",
	      dat);
	for (int i = 0; i < t->n_bins; i++) {
		const struct bin *bin = &t->bins[i];
		double whole = (bin->to - bin->from) * t->n_blocks / 100;
		if (whole > 0)
			fprintf(dat, "%.9g %.9g %.4g %.4g %.4g\n", bin->from, bin->to, bin->part[PART_WORKING] / whole,
				bin->part[PART_PUBLISHING] / whole, bin->part[PART_WAITING] / whole);
	}
}

/* Rows of the table, those of the token's order. */
static void write_kinds(const struct plot_figure *f, const struct timeline *t)
{
	char texts[6][KINDS_MAX][PLOT_TEXT_MAX];
	const char *lists[6][KINDS_MAX];
	static const char *const names[6] = {"kind_name",    "kind_phases",     "kind_waiting",
					     "kind_working", "kind_publishing", "kind_share"};
	double styles[KINDS_MAX], most = 0;
	int n = 0;
	fputs("\n\n# of kinds: row kind, us of the token: waiting working publishing\n", f->dat);
	for (int k = 0; k < timeline_n_kinds; k++) {
		const struct kind_sum *s = &t->kinds[k];
		double part[PARTS], sum = 0;
		if (!s->n_phases)
			continue;
		for (int p = 0; p < PARTS; p++) {
			part[p] = s->part[p] / t->n_blocks;
			sum += part[p];
		}
		fprintf(f->dat, "%d %d %.9g %.9g %.9g\n", n + 1, k + 1, part[PART_WAITING], part[PART_WORKING],
			part[PART_PUBLISHING]);
		snprintf(texts[0][n], PLOT_TEXT_MAX, "%s", timeline_kinds[k]);
		snprintf(texts[1][n], PLOT_TEXT_MAX, "%d", s->n_phases);
		for (int p = 0; p < PARTS; p++)
			snprintf(texts[2 + p][n], PLOT_TEXT_MAX, "%.2f", part[p] / s->n_phases);
		snprintf(texts[5][n], PLOT_TEXT_MAX, "%.1f %%", 100 * sum / t->end);
		for (int i = 0; i < 6; i++)
			lists[i][n] = texts[i][n];
		styles[n++] = k + 1;
		most = sum > most ? sum : most;
	}
	for (int i = 0; i < 6; i++)
		plot_script_strings(f->script, names[i], lists[i], n);
	plot_script_numbers(f->script, "kind_style", styles, n);
	plot_script_number(f->script, "n_kinds", n);
	plot_script_number(f->script, "kinds_hi", most > 0 ? most : 1);
	fprintf(f->script, "height = 806 + %d*n_kinds + 17*n_caption\n", ROW_PX);
}

/* The span of the phases that are shown, and where each of their layers begins. */
static void write_zoom(FILE *script, const struct timeline *t)
{
	char texts[PHASES_SHOWN][PLOT_TEXT_MAX];
	const char *list[PHASES_SHOWN];
	double at[PHASES_SHOWN], lo = t->end, hi = 0;
	int n = 0;
	for (int i = t->first; i < t->beyond; i++) {
		double begin = t->end;
		for (int b = 0; b < t->n_blocks; b++) {
			const struct timeline_stamp *s = stamp_at(t, b, i);
			begin = us(s->entered_ns) < begin ? us(s->entered_ns) : begin;
			hi = us(s->published_ns) > hi ? us(s->published_ns) : hi;
		}
		lo = begin < lo ? begin : lo;
		int layer = t->stamps[i].layer;
		if (layer < 0 || (i > t->first && layer == t->stamps[i - 1].layer))
			continue;
		at[n] = begin;
		snprintf(texts[n], PLOT_TEXT_MAX, "layer %d", layer);
		list[n] = texts[n];
		n++;
	}
	plot_script_number(script, "n_marks", n);
	if (n) {
		plot_script_numbers(script, "mark_at", at, n);
		plot_script_strings(script, "mark_text", list, n);
	}
	plot_script_number(script, "zoom_lo", lo);
	plot_script_number(script, "zoom_hi", hi > lo ? hi : lo + 1);
}

/* They publish nothing apart. */
static bool is_of_kernels(const struct timeline *t)
{
	return !(t->all[PART_PUBLISHING] > 0);
}

static void write_text(const struct plot_figure *f, const struct timeline *t)
{
	double whole = t->end * t->n_blocks / 100;
	static const char *const of_phases[] = {"waits for its input", "multiplies or attends",
						"sums up and publishes"};
	static const char *const of_kernels[] = {"waits for the kernels in front", "runs"};
	bool kernels = is_of_kernels(t);
	char title[PLOT_TEXT_MAX], share[PLOT_TEXT_MAX], publishing[40] = "";
	snprintf(title, sizeof title, "Where a token's %.0f \xc2\xb5s go, at depth %lld%s", t->end,
		 (long long)t->how->depth, t->how->launched);
	if (!kernels)
		snprintf(publishing, sizeof publishing, "%.1f %% publishing, ", t->all[PART_PUBLISHING] / whole);
	snprintf(share, sizeof share, "%.1f %% of the %s' time working, %s%.1f %% waiting, %.1f %% between %s",
		 t->all[PART_WORKING] / whole, t->by_sm ? "multiprocessors" : "blocks", publishing,
		 t->all[PART_WAITING] / whole,
		 100 - (t->all[PART_WORKING] + t->all[PART_PUBLISHING] + t->all[PART_WAITING]) / whole,
		 kernels ? "kernels" : "phases");
	plot_script_number(f->script, "n_parts", kernels ? 2 : 3);
	plot_script_strings(f->script, "part_text", kernels ? of_kernels : of_phases, kernels ? 2 : 3);
	plot_script_string(f->script, "title_text", title);
	plot_script_string(f->script, "share_text", share);
	plot_script_string(f->script, "row_text", t->by_sm ? "multiprocessor" : "block");
	plot_script_number(f->script, "row_lo", t->row_lo - 0.5);
	plot_script_number(f->script, "row_hi", t->row_hi + 0.5);
	plot_script_number(f->script, "token_us", t->end);
}

static int draw(struct plot_figure *f, struct timeline *t, struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_TIMELINE, -1};
	choose_rows(t);
	choose_phases(t);
	sum_up(t);
	if (!(t->end > 0)) {
		plot_figure_skipped(f, t->how->name, "its time stamps are all the same");
		return 0;
	}
	int rc = plot_figure_open(f, t->how->name, err);
	if (rc)
		return rc;
	plot_script_string(f->script, "name", f->stem);
	fprintf(f->script, "data = name.'.dat'\n");
	write_text(f, t);
	char caption[PLOT_TEXT_MAX];
	snprintf(caption, sizeof caption,
		 "one token, not a measured one; bars: all %s of a kind, mean of the %s; columns: one of them",
		 is_of_kernels(t) ? "kernels" : "phases", t->by_sm ? "multiprocessors" : "blocks");
	plot_figure_caption(f, &f->panel, 1, caption);
	write_zoom(f->script, t);
	write_boxes(f->dat, t);
	write_bins(f->dat, t);
	write_kinds(f, t);
	return plot_figure_finish(f, templates, err);
}

/* stamps: (n), as result_set_timeline has them. */
static int draw_stamps(struct plot_figure *f, const struct timeline_stamp *stamps, size_t n, const struct how *how,
		       struct error *err)
{
	if (stamps[n - 1].block >= ROWS_MAX || timeline_n_kinds > KINDS_MAX) {
		plot_figure_skipped(f, how->name, "it has more blocks than a picture has rows for");
		return 0;
	}
	struct timeline *t = calloc(1, sizeof *t);
	if (!t)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", f->out->path);
	t->stamps = stamps;
	t->n_blocks = stamps[n - 1].block + 1;
	t->n_phases = stamps[n - 1].phase + 1;
	t->how = how;
	int rc = draw(f, t, err);
	free(t);
	return rc;
}

/* A token that is one kernel is launched directly whatever the run's mode; of others a mode with graphs is replayed. */
static bool is_replayed(const struct run_row *row)
{
	return strcmp(row->mode, MODE_REFERENCE) && strcmp(row->fusion, FUSION_ONE_LAUNCH);
}

/* The first stamped run of that combination and depth, launched so. */
static int draw_depth(struct plot_figure *f, struct plot_data *d, long depth, bool replayed, struct error *err)
{
	struct how how = {.depth = depth, .launched = replayed ? ", replayed as a graph" : ""};
	char of_depth[32] = "";
	if (d->panels[f->panel].n_depths > 1)
		snprintf(of_depth, sizeof of_depth, "-d%ld", depth);
	snprintf(how.name, sizeof how.name, "timeline%s%s", replayed ? "-replayed" : "", of_depth);
	for (size_t i = 0; i < d->n_runs; i++) {
		const struct plot_run *run = &d->runs[i];
		struct timeline_stamp *stamps;
		size_t n;
		if (run->combination != f->panel || run->depth != depth || is_replayed(run->row) != replayed)
			continue;
		int rc = result_set_timeline(&d->set, (size_t)(run->row - d->set.rows), &stamps, &n, err);
		if (rc)
			return rc;
		if (!n)
			continue;
		rc = draw_stamps(f, stamps, n, &how, err);
		free(stamps);
		return rc;
	}
	return 0;
}

int plot_timeline(const struct plot_request *request, struct plot_data *d, const struct run_directory *out,
		  struct error *err)
{
	int all[PLOT_DATA_MAX_COMBINATIONS], rc = 0;
	for (int p = 0; p < d->n_panels; p++)
		all[p] = p;
	for (int p = 0; p < d->n_panels && !rc; p++) {
		char slug[PLOT_SLUG_MAX];
		plot_figure_slug(d, p, all, d->n_panels, 0, slug);
		struct plot_figure f = {.request = request, .data = d, .out = out, .slug = slug, .panel = p};
		for (int k = 0; k < d->panels[p].n_depths && !rc; k++)
			for (int replayed = 0; replayed < 2 && !rc; replayed++)
				rc = draw_depth(&f, d, d->panels[p].depths[k], replayed, err);
	}
	return rc;
}
