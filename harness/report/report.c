#include "harness/report/report.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/record/run_directory.h"
#include "harness/report/report_internal.h"

enum { IMAGES = 24, IMAGE_NAME = 200 };

/* ---- the pictures of gemmark plot ---- */

/* STEM.png or STEM-SOMETHING.png, of letters that need no escape in a URL. */
static int is_image(const char *name, const char *stem)
{
	size_t n = strlen(name), k = strlen(stem);
	return n < IMAGE_NAME && n > k + 3 && !strncmp(name, stem, k) && (name[k] == '.' || name[k] == '-') &&
	       !strcmp(name + n - 4, ".png") &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int list_images(const struct run_directory *d, const char *stem, char names[IMAGES][IMAGE_NAME])
{
	int copy = dup(d->fd), n = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return 0;
	}
	rewinddir(dir);
	for (struct dirent *e; n < IMAGES && (e = readdir(dir));)
		if (is_image(e->d_name, stem))
			snprintf(names[n++], IMAGE_NAME, "%s", e->d_name);
	closedir(dir);
	qsort(names, (size_t)n, sizeof *names, compare_names);
	return n;
}

void report_images(struct report *r, struct document_section *to, const char *stem, const char *title)
{
	char names[IMAGES][IMAGE_NAME];
	struct run_directory plots = {.fd = -1};
	const struct run_directory *top = &r->head.sets[0]->directory;
	struct error ignored;
	if (!r->in->images)
		return;
	int n = run_directory_below(top, "plots", 0, &plots, &ignored) ? 0 : list_images(&plots, stem, names);
	if (!n)
		n = list_images(top, stem, names);
	run_directory_close(&plots);
	for (int i = 0; i < n; i++) {
		struct document_block *b = document_block(r->d, to, DOCUMENT_IMAGE, DOCUMENT_MARKDOWN);
		size_t k = strlen(r->in->images);
		b->text = document_text(r->d, "%s (%s)", title, names[i]);
		b->url = document_text(r->d, "%s%s%s", r->in->images, k && r->in->images[k - 1] == '/' ? "" : "/",
				       names[i]);
	}
}

/* ---- the first screen of one side ---- */

/* What became of a graph mode's cells against direct ones. */
struct tally {
	int cells, of[REPORT_CERTAINTIES];
	int pairs;          /* the fewest of a cell */
	double least, most; /* effects */
};

static void tally_panel(struct report *r, const struct side_panel *p, int mode, struct tally *t)
{
	for (int d = 0; d < p->n_depths; d++) {
		struct report_effect e = report_effect(r, p, mode, d);
		if (!e.effect.pairs)
			continue;
		t->pairs = !t->cells || e.effect.pairs < t->pairs ? e.effect.pairs : t->pairs;
		t->cells++;
		t->of[e.certainty]++;
		t->least = fmin(t->least, e.effect.change);
		t->most = fmax(t->most, e.effect.change);
	}
}

/* Of a mode in all panels. */
static struct tally tally_mode(struct report *r, int mode)
{
	const struct side *s = &r->head;
	struct tally t = {.least = INFINITY, .most = -INFINITY};
	for (int i = 0; i < s->n_panels; i++)
		for (int m = 0; m < s->panels[i].n_modes; m++)
			if (s->panels[i].modes[m] == mode)
				tally_panel(r, &s->panels[i], m, &t);
	return t;
}

static const char *effect_range(struct report *r, const struct tally *t)
{
	const char *low = report_change(r, t->least), *high = report_change(r, t->most);
	return strcmp(low, high) ? document_text(r->d, "%.*s to %s", (int)strcspn(low, " "), low, high) : low;
}

/* The same without a sign: "2.1 to 9.8 %". */
static const char *size_range(struct report *r, double low, double high)
{
	int digits = 100 * high >= 99.5 ? 0 : 100 * high >= 0.995 ? 1 : 2;
	const char *a = document_text(r->d, "%.*f", digits, 100 * low);
	const char *b = document_text(r->d, "%.*f", digits, 100 * high);
	return strcmp(a, b) ? document_text(r->d, "%s to %s %%", a, b) : document_text(r->d, "%s %%", b);
}

/* "12 faster, 2 cannot tell", "all 14 faster", "too few runs: 5 of 11 pairs" */
static const char *tally_text(struct report *r, const struct tally *t)
{
	const char *out = "";
	for (int i = REPORT_FASTER; i < REPORT_CERTAINTIES; i++) {
		const char *name = report_certainty_name((enum report_certainty)i);
		if (t->of[i] == t->cells && i == REPORT_TOO_FEW)
			return document_text(r->d, "too few runs: %d of %d pairs", t->pairs, r->least_pairs);
		if (t->of[i] == t->cells)
			return t->cells == 1        ? name
			       : i <= REPORT_SLOWER ? document_text(r->d, "all %d %s", t->cells, name)
						    : document_text(r->d, "%d %s", t->cells, name);
		if (t->of[i])
			out = document_text(r->d, "%s%s%d %s", out, *out ? ", " : "", t->of[i], name);
	}
	return out;
}

/* Of a mode that has no value: what became of its cells, each word once: "skipped, failed". */
static const char *absence_text(struct report *r, const struct side_panel *p, int mode)
{
	const char *out = "";
	for (int status = RUN_STATUS_SKIPPED; status <= RUN_STATUS_INTERRUPTED; status++) {
		bool has = false;
		for (int d = 0; d < p->n_depths; d++) {
			const struct side_cell *c = side_at(&r->head, p, mode, d);
			for (int i = 0; c && i < c->n; i++)
				has |= (int)c->runs[i].row->status == status;
		}
		if (has)
			out = document_text(r->d, "%s%s%s", out, *out ? ", " : "",
					    run_status_name((enum run_status)status));
	}
	return out;
}

static void add_modes(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"mode", 0},         {"setting", 0},  {"against direct", 1},
							 {"how sure", 0},     {"tokens/s", 1}, {"host, us a token", 1},
							 {"driver calls", 1}, {"crossover", 0}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 8);
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		for (int m = 0; m < p->n_modes; m++) {
			struct tally x = {.least = INFINITY, .most = -INFINITY};
			tally_panel(r, p, m, &x);
			double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
			static const char *const names[] = {"tokens_per_s", "submit_median_us",
							    "api_launches_per_token"};
			const char *texts[3];
			for (int k = 0; k < 3; k++) {
				for (int d = 0; d < p->n_depths; d++) {
					struct side_value v = report_value(r, s, side_at(s, p, m, d), names[k]);
					low[k] = v.n ? fmin(low[k], v.median) : low[k];
					high[k] = v.n ? fmax(high[k], v.median) : high[k];
				}
				texts[k] = strcmp(report_number(r, low[k]), report_number(r, high[k]))
						   ? document_text(r->d, "%s to %s", report_number(r, low[k]),
								   report_number(r, high[k]))
						   : report_number(r, low[k]);
			}
			struct document_entry *e = document_row(r->d, t);
			report_put(&e[0], s->modes[p->modes[m]], NAN);
			report_put(&e[1], report_panel_name(r, p), NAN);
			report_put(&e[2], x.cells ? effect_range(r, &x) : "", x.cells ? x.least : NAN);
			report_put(&e[3],
				   x.cells         ? tally_text(r, &x)
				   : isinf(low[0]) ? absence_text(r, p, m)
						   : "",
				   NAN);
			report_put(&e[4], texts[0], high[0]);
			report_put(&e[5], texts[1], low[1]);
			report_put(&e[6], texts[2], low[2]);
			report_put(&e[7], report_find_crossover(r, s, p, m).brief, NAN);
		}
	}
	int depths = 0;
	for (int i = 0; i < s->n_panels; i++)
		depths = s->panels[i].n_depths > depths ? s->panels[i].n_depths : depths;
	t->title = depths > 1 ? "Modes, over all depths" : "Modes";
	t->open = REPORT_OPEN;
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}

/* Cells by what became of them: problems, in a sentence in front of all others; "" where there are none. */
static const char *problems(struct report *r)
{
	static const enum run_status order[] = {RUN_STATUS_WRONG, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED,
						RUN_STATUS_INTERRUPTED};
	static const char *const words[] = {"gave wrong results", "failed", "skipped", "interrupted"};
	const char *out = "";
	for (int w = 0; w < 4; w++) {
		int n = 0;
		for (int i = 0; i < r->head.n_cells; i++) {
			int has = 0;
			for (int k = 0; k < r->head.cells[i].n; k++)
				has |= r->head.cells[i].runs[k].row->status == order[w];
			n += has;
		}
		if (n)
			out = document_text(r->d, "%s%s%d of %s %s%s", out, *out ? "; " : "", n,
					    report_count(r, r->head.n_cells, "cell"),
					    w == 2 || w == 3 ? n == 1 ? "was " : "were " : "", words[w]);
	}
	return *out ? document_text(r->d, "%s. ", out) : "";
}

/* Where the pairs of no cell can give a verdict: that they cannot, and what all cells of a mode say together. */
static const char *sentence_of_too_few(struct report *r, const struct tally *modes)
{
	static const char *const words[REPORT_CERTAINTIES] = {
		[REPORT_FASTER] = "is faster", [REPORT_SLOWER] = "is slower", [REPORT_UNCLEAR] = "cannot be told"};
	const struct side *s = &r->head;
	const char *out = "";
	int pairs = 0, together = 0;
	for (int m = 0; m < s->n_modes; m++) {
		const struct tally *t = &modes[m];
		const char *word = words[r->modes[m]];
		if (!t->cells)
			continue;
		pairs = !*out || t->pairs < pairs ? t->pairs : pairs;
		together = together || word;
		out = document_text(r->d, "%s%s%s%s%s (%s in %s)", out, *out ? ", " : "", s->modes[m], word ? " " : "",
				    word ? word : "", effect_range(r, t), report_count(r, t->cells, "cell"));
	}
	return document_text(r->d, "Too few runs to tell%s: %s measured, %d needed. %s: %s.",
			     together ? " of a single cell" : "", report_count(r, pairs, "pair"), r->least_pairs,
			     together ? "Over its cells together, each mode against direct launches"
				      : "Measured against direct launches",
			     out);
}

static const char *sentence_of_mode(struct report *r, const char *mode, const struct tally *t)
{
	const char *all = t->cells > 1 ? document_text(r->d, " in all %d cells", t->cells) : " in the one cell";
	if (t->of[REPORT_FASTER] == t->cells)
		return document_text(r->d, "%s is faster than direct launches%s, by %s", mode, all,
				     size_range(r, -t->most, -t->least));
	if (t->of[REPORT_SLOWER] == t->cells)
		return document_text(r->d, "%s is slower%s, by %s", mode, all, size_range(r, t->least, t->most));
	if (t->of[REPORT_UNCLEAR] == t->cells)
		return document_text(r->d, "%s cannot be told from direct launches%s", mode,
				     t->cells > 1 ? document_text(r->d, " in any of %d cells", t->cells) : all);
	if (t->of[REPORT_TOO_FEW] == t->cells)
		return document_text(r->d, "%s: %s", mode, report_too_few(r, t->pairs));
	return document_text(r->d, "%s against direct launches: %s of %s (%s)", mode, tally_text(r, t),
			     report_count(r, t->cells, "cell"), effect_range(r, t));
}

/* One sentence over all graph modes. */
static const char *sentence(struct report *r)
{
	const struct side *s = &r->head;
	struct tally modes[SIDE_MODES_MAX] = {0};
	const char *out = "";
	int compared = 0, few = 0;
	for (int m = 0; m < s->n_modes; m++) {
		modes[m] = tally_mode(r, m);
		compared += modes[m].cells;
		few += modes[m].of[REPORT_TOO_FEW];
	}
	if (compared && few == compared)
		return sentence_of_too_few(r, modes);
	for (int m = 0; m < s->n_modes; m++)
		if (modes[m].cells)
			out = document_text(r->d, "%s%s%s", out, *out ? "; " : "",
					    sentence_of_mode(r, s->modes[m], &modes[m]));
	if (*out)
		return document_text(r->d, "%s.", out);
	double least = INFINITY, most = -INFINITY;
	int n = 0;
	for (int i = 0; i < s->n_cells; i++) {
		struct side_value v = report_value(r, s, &s->cells[i], "tokens_per_s");
		n += v.n > 0;
		least = v.n ? fmin(least, v.median) : least;
		most = v.n ? fmax(most, v.median) : most;
	}
	const char *low = report_number(r, least), *high = report_number(r, most);
	const char *to = strcmp(low, high) ? document_text(r->d, " to %s", high) : "";
	return n ? document_text(r->d, "%d of %s ran, at %s%s tokens/s.", n, report_count(r, s->n_cells, "cell"), low,
				 to)
		 : "No cell ran.";
}

/* How far the sentence can be trusted, beside it. */
static void add_certainty(struct report *r, struct document_section *to)
{
	if (r->compared)
		document_say(r->d, to,
			     "A cell counts as faster or slower where an exact sign-flip test of its pairs of runs%s "
			     "leaves chance less than 5 times in 100, and its "
			     "interval (%s) does not hold 0. That takes %d pairs a cell.",
			     r->compared > 1 ? document_text(r->d, ", with Holm's correction over all %d comparisons,",
							     r->compared)
					     : "",
			     report_interval_name(r), r->least_pairs);
	report_say_doubts(r, to);
	const char *noise = report_noise_text(r);
	if (*noise)
		document_say(r->d, to, "Noise: the median time per token varied %s.", noise);
	if (r->main_panel >= 0)
		document_say(
			r->d, to,
			"Times per token are medians of a run's tokens; tokens/s are over its whole time, and so of "
			"its mean token. Both are medians over the runs.");
}

void report_first_screen(struct report *r)
{
	struct document_section *to = document_section(r->d, "");
	r->d->sentence = document_text(r->d, "%s%s", problems(r), sentence(r));
	if (r->main_panel >= 0) {
		const struct side_panel *p = &r->head.panels[r->main_panel];
		struct chart *c = NULL;
		if (p->n_depths > 1)
			c = report_overhead_curves(r, to, r->main_panel);
		struct chart *rows =
			report_overhead_forest(r, to, c ? DOCUMENT_MARKDOWN : DOCUMENT_BOTH, r->main_panel);
		if (!rows && p->n_depths > 1 &&
		    (c = report_mode_curves(r, to, &r->head, r->main_panel, "tokens_per_s", 1, "tokens/s"))) {
			c->title = "Decode rate";
			c->y_text = "tokens/s";
		}
		add_modes(r, to);
		add_certainty(r, to);
		if (r->head.left_out)
			document_say(r->d, to,
				     "%d cells are in no chart and not among the modes: there is room for %d settings "
				     "and %d modes.",
				     r->head.left_out, SIDE_PANELS_MAX, SIDE_MODES_MAX);
	} else {
		report_prompts(r, to);
	}
}

/* ---- all of it ---- */

/* Whether two cells of these differ in the axis. */
static unsigned varying(const struct side *s, int panels)
{
	unsigned bits = 0;
	int n = panels ? s->n_panels : s->n_cells;
	for (int a = 0; a < AXIS_COUNT; a++)
		for (int i = 1; i < n && !(bits >> a & 1); i++)
			if (!(panels ? cell_same_value(s->panels[0].key, s->panels[i].key, (enum axis_id)a)
				     : cell_same_value(&s->cells[0].cell, &s->cells[i].cell, (enum axis_id)a)))
				bits |= 1u << a;
	return panels ? bits & ~(1u << AXIS_MODE | 1u << AXIS_DEPTH) : bits;
}

/* The panel that most readers mean: modes to compare, the most cells, all on the GPU, axes at their defaults. */
static int choose_main(const struct side *s)
{
	int best = -1;
	long best_score = -1;
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		long score = (side_direct(s, p) >= 0 && p->n_modes > 1 ? 1L << 40 : 0);
		score += 1000L * AXIS_LAYERS_MAX * p->n_modes * p->n_depths / 100;
		score += 100L * p->key->n_gpu_layers;
		for (int a = 0; a < AXIS_COUNT; a++)
			score += cell_is_default(p->key, (enum axis_id)a);
		if (score > best_score) {
			best = i;
			best_score = score;
		}
	}
	return best;
}

static const char *title(struct report *r)
{
	const struct run_row *row = r->head.cells[0].n ? r->head.cells[0].runs[0].row : r->head.sets[0]->rows;
	const char *model = row->model && *row->model ? row->model : row->model_path_name;
	const char *commit = result_set_commit(r->head.sets[0]),
		   *base = r->base.n ? result_set_commit(r->base.sets[0]) : NULL;
	const char *machine = result_set_machine(r->head.sets[0]);
	machine = *report_places(r, &r->head) ? report_places(r, &r->head) : machine ? machine : row->device;
	const char *which = commit ? document_text(r->d, "commit %s", report_cut(r, commit, 40)) : "several commits";
	commit = commit ? report_cut(r, commit, 40) : "several commits";
	base = base ? report_cut(r, base, 40) : "several commits";
	return document_text(
		r->d, "%s%s on %s%s", report_cut(r, model ? model : "?", 80),
		r->varies >> AXIS_MODEL & 1 ? " and others" : "", report_cut(r, machine ? machine : "?", 80),
		r->base.n ? document_text(r->d, ", %s against %s", commit, base) : document_text(r->d, ", %s", which));
}

int report_build(struct document *d, const struct report_input *in, struct error *err)
{
	struct report r = {.d = d, .in = in, .main_panel = -1, .err = err};
	int rc = side_init(&r.head, in->head, in->n_head, err);
	if (!rc && in->n_base)
		rc = side_init(&r.base, in->base, in->n_base, err);
	if (!rc && !r.head.n_cells)
		rc = error_set(err, ERROR_INPUT, "%s: there is no run in it", in->head[0]->directory.path);
	if (!rc) {
		r.keys = calloc((size_t)r.head.n_cells, sizeof *r.keys);
		r.effects = calloc((size_t)r.head.n_cells, sizeof *r.effects);
		r.crossovers = calloc((size_t)r.head.n_panels * SIDE_MODES_MAX + 1, sizeof *r.crossovers);
	}
	if (!rc && (!r.keys || !r.effects || !r.crossovers))
		rc = error_set(err, ERROR_MEMORY, "no memory for the report");
	if (rc)
		goto done;
	for (int i = 0; i < r.head.n_cells; i++)
		r.keys[i] = r.head.cells[i].cell;
	r.varies = varying(&r.head, 0);
	r.panels_vary = varying(&r.head, 1);
	r.main_panel = choose_main(&r.head);
	report_judge(&r);
	d->title = title(&r);
	if (in->comparison) {
		report_first_screen_change(&r);
		report_changes(&r);
	} else {
		report_first_screen(&r);
	}
	report_say_merged(&r);
	report_overhead(&r);
	report_latency(&r);
	report_host(&r);
	report_launches(&r);
	report_snapkv(&r);
	report_hybrid(&r);
	report_roofline(&r);
	report_prefill(&r);
	report_not_ok(&r);
	report_telemetry(&r);
	report_noise(&r);
	report_environment(&r);
	report_method(&r);
	rc = r.rc;
	if (!rc && d->failed)
		rc = error_set(err, ERROR_MEMORY, "no memory for the report");
done:
	free(r.crossovers);
	free(r.effects);
	free(r.keys);
	side_free(&r.base);
	side_free(&r.head);
	return rc;
}
