/*
 * The figures of a results directory, drawn by gnuplot: latency and host submit cost against
 * context depth by mode, overhead of the graph modes relative to direct, and a per-token trace; and where
 * the layers on the GPU differ, tokens a second against them; where SnapKV budgets differ, decode rate, cache and
 * what eviction changes; and where a token has time stamps, its phases by multiprocessor.
 *
 * Owns: which files are written and what they hold. The statistics are plot_data.h's, the looks
 * those of the templates in plots, whose text is in the program. Each figure leaves NAME.dat and NAME.gp beside its
 * NAME.svg and NAME.png, so that it can be restyled and drawn again.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_H
#define GEMMARK_HARNESS_PLOT_PLOT_H

#include "base/error.h"

enum plot_format { PLOT_FORMAT_SVG = 1, PLOT_FORMAT_PNG = 2 };

struct plot_request {
	const char *dir;     /* holds runs.csv, or summary.csv of `gemmark quality` */
	const char *out;     /* made if absent; null: plots in dir, which must be no link */
	unsigned formats;    /* of enum plot_format, or-ed; at least one */
	const char *gnuplot; /* the program, searched on PATH */
	int timeout_s;       /* for one run of gnuplot */

	/* Called for each picture when it is on disk, and for each thing left out, with why. */
	void (*wrote)(void *ctx, const char *path);
	void (*note)(void *ctx, const char *line);
	void *ctx;
};

/*
 * Several combinations of the axes other than mode and depth give a set of figures each, named
 * after the axes that differ. ERROR_INPUT: the results are malformed or hold nothing to draw.
 * ERROR_IO: gnuplot or the file system refused. ERROR_MEMORY. Of a sweep that was kept without tokens.csv or
 * timeline.csv the rest is drawn, and a note says what is not. The directory is untrusted, as run_directory.h has it;
 * a figure's files appear when they are whole, in place of what had their names.
 */
int plot_results(const struct plot_request *request, struct error *err);

/* Whether a results directory holds anything to draw: 0, or what plot_results would say before it draws. */
int plot_check(const char *dir, struct error *err);

#endif
