/*
 * What the makers of a report's sections share: the sides, and their words for cells, numbers and rows.
 *
 * The first failure stays in report.rc and its error line; what comes after it does nothing that matters.
 */
#ifndef GEMMARK_HARNESS_REPORT_REPORT_INTERNAL_H
#define GEMMARK_HARNESS_REPORT_REPORT_INTERNAL_H

#include <stdbool.h>

#include "harness/report/report.h"
#include "harness/report/side.h"

enum {
	REPORT_CHARTS = 6,  /* of a section, a panel each: more panels are in the tables */
	REPORT_OPEN = 12,   /* rows that are not folded */
	REPORT_FOREST = 28, /* rows of a chart of intervals */
};

/* The crossover of a panel's mode; texts are "" where there is nothing to tell. */
struct report_crossover {
	const char *depth;    /* "2700, slower from there (the first of 3)", "none within 0 to 16384 (faster)" */
	const char *brief;    /* "2700 (2400 to 3100), first of 3", "none", "cannot tell" */
	const char *interval; /* "2400 to 3100" */
	bool crosses;
	bool is_none;
};

/* What can be said of an effect against direct launches, over all that are compared here. */
enum report_certainty {
	REPORT_NOT_COMPARED,
	REPORT_FASTER, /* than chance among so many comparisons explains */
	REPORT_SLOWER,
	REPORT_UNCLEAR,
	REPORT_TOO_FEW, /* pairs: whatever they say, it may be chance */
	REPORT_DOUBTED, /* the medians over all runs say the opposite */
	REPORT_CERTAINTIES
};

struct report {
	struct document *d;
	const struct report_input *in;
	struct side head, base; /* base: empty where there is one side */
	struct cell *keys;      /* (head.n_cells): what models are told apart by */
	unsigned varies;        /* 1 << axis, of those that head's cells differ in */
	unsigned panels_vary;   /* the same of its panels */
	int main_panel;         /* the one that is shown where one is; -1: there is none */
	int rc;
	struct error *err;

	/* Bootstraps and permutations are what takes the time: each one once. */
	struct report_effect *effects;               /* (head.n_cells): against the cell of direct launches beside it */
	enum report_certainty modes[SIDE_MODES_MAX]; /* of head, each over its cells together */
	int compared;                                /* of these, the cells that have pairs */
	int least_pairs;                             /* with which a verdict over so many is possible */
	struct report_crossover *crossovers; /* (head.n_panels, SIDE_MODES_MAX); depth null: not looked for yet */
};

struct report_effect {
	struct paired_effect effect;
	enum report_certainty certainty;
	const char *doubt; /* what contradicts it: "t/s beside it differs by -32.8 %"; null: nothing */
};

/* ---- words ---- */

/* The text, cut between characters where it has more bytes than most, with dots then. */
const char *report_cut(struct report *r, const char *text, size_t most);

/* "tg64 @ d4096 graph-device", and the other axes that vary. */
const char *report_cell_name(struct report *r, const struct cell *c);
/* "fusion full, GPU layers 22": the axes that panels differ in; "" of a single one. */
const char *report_panel_name(struct report *r, const struct side_panel *p);
/* "tg64", "pp512 @ d4096" */
const char *report_label(struct report *r, const struct cell *c);
/* Three digits, no exponent; "" where it is not finite. */
const char *report_number(struct report *r, double x);
/* A relative change: "+5.1 %"; "" where it is not finite. */
const char *report_change(struct report *r, double x);
/* "+4.2 to +6.0", of relative changes. */
const char *report_interval(struct report *r, double low, double high);
/* "3 runs", "1 run" */
const char *report_count(struct report *r, long n, const char *what);
/* A depth that is no measured one: two digits. */
const char *report_depth(struct report *r, double depth);

/* The rows of these cells that count, by directory, with their commit. cells: (n), of the side. */
const char *report_source(struct report *r, const struct side *s, const struct side_cell *const *cells, int n);
const char *report_source_panel(struct report *r, const struct side *s, int panel);
/* Of all of its cells; of those that generate, that are a prompt, or both in one time. */
enum report_rows { REPORT_ROWS_ALL, REPORT_ROWS_DECODE, REPORT_ROWS_PROMPT, REPORT_ROWS_BOTH };
const char *report_source_all(struct report *r, const struct side *s, enum report_rows which);

/* Lines for a point: its cell, what it shows, its typical run's row and what that says. */
const char *report_tip(struct report *r, const struct side *s, const struct side_cell *c, const char *shows);

/* ---- values; a failure is noted ---- */

struct side_value report_value(struct report *r, const struct side *s, const struct side_cell *c, const char *column);
/* Judges head's cells against direct launches, all as one family: once, before any section. */
void report_judge(struct report *r);
/* A cell of head's panel against direct launches at its depth; places in the panel's lists. pairs 0: there is none. */
struct report_effect report_effect(struct report *r, const struct side_panel *p, int mode, int depth);
/* The change, with "!" where it is doubted. */
const char *report_effect_change(struct report *r, const struct report_effect *e);
/* "faster", "cannot tell", "too few runs" */
const char *report_certainty_name(enum report_certainty c);
/* "too few runs to tell: 3 pairs, at least 9" */
const char *report_too_few(struct report *r, int pairs);
/* What bars and brackets are: "95 % interval", or the range of few pairs and what it holds. */
const char *report_interval_name(struct report *r);
/* A paragraph of the effects that are doubted, where there are any. */
void report_say_doubts(struct report *r, struct document_section *to);
/* A point of a chart at x: the value times scale, with its smallest and largest. Nothing where there is none. */
void report_add_point(struct report *r, const struct side *s, const struct side_cell *c, const char *column,
		      double scale, const char *unit, double x, struct chart_series *to);

/* ---- tables ---- */

/* text null: unknown. */
void report_put(struct document_entry *e, const char *text, double number);
void report_put_number(struct report *r, struct document_entry *e, double x);

/* A curve a mode over the panel's depths, of a column of runs.csv; only for HTML. Null where there is nothing. */
struct chart *report_mode_curves(struct report *r, struct document_section *to, const struct side *s, int panel,
				 const char *column, double scale, const char *unit);
/* Least and most of a column's medians over a mode's cells, in all panels: "15.1 to 36.2"; "" where there are none. */
const char *report_range(struct report *r, const struct side *s, int mode, const char *column, double scale);

/* Links the picture DIR/plots/STEM*.png, or DIR/STEM*.png, where images have a URL. */
void report_images(struct report *r, struct document_section *to, const char *stem, const char *title);

/* ---- sections ---- */

void report_first_screen(struct report *r);        /* one side */
void report_first_screen_change(struct report *r); /* two */
void report_changes(struct report *r);
void report_overhead(struct report *r);
/* Texts are "" where there is nothing to tell. */
struct report_crossover report_find_crossover(struct report *r, const struct side *s, const struct side_panel *p,
					      int mode);
/* The chart of effects against direct over depth, for HTML; and its rows with intervals, for Markdown or, of a single
 * depth, both. Null where there is nothing. */
struct chart *report_overhead_curves(struct report *r, struct document_section *to, int panel);
struct chart *report_overhead_forest(struct report *r, struct document_section *to, unsigned formats, int panel);
void report_latency(struct report *r);
void report_host(struct report *r);
void report_launches(struct report *r);
void report_snapkv(struct report *r);
void report_hybrid(struct report *r);
void report_roofline(struct report *r);
void report_prefill(struct report *r);
/* The table of prompts; the largest rate in it, -INFINITY where it is empty. */
double report_prompts(struct report *r, struct document_section *to);
void report_telemetry(struct report *r);
void report_noise(struct report *r);
/* "from run to run by 0.4 % (MAD; the middle cell), at most by 10 % (tg64 ...)"; "" where nothing was repeated. */
const char *report_noise_text(struct report *r);
void report_not_ok(struct report *r);
void report_environment(struct report *r);
/* "2 machines, 3 GPUs" that cells of one directory are of; "" where it is one. */
const char *report_places(struct report *r, const struct side *s);
/* On the first screen, where cells are of several, or a merged sweep is not whole. */
void report_say_merged(struct report *r);
/* The table of them, where they are several. */
void report_add_places(struct report *r, struct document_section *to);
void report_method(struct report *r);

#endif
