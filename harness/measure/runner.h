/*
 * Runs the cells of a sweep on a workload, as methodology has it, and hands out one
 * row a repetition.
 *
 * A group of cells (one placement and depth) opens the workload once, prefills to the
 * depth once, in the mode "direct" and the fusion `prefill_fusion` whatever is
 * measured after it, and marks that position. A unit (one test and fusion) starts with
 * an unrecorded direct pass: its logits' hashes are what every repetition of every
 * mode of the unit, direct included, must reproduce bit for bit. Then each run:
 *
 *   rewind; decode until `steady` tokens in a row were direct launches, updates or
 *   replays (never captures or fallbacks), `warmup_max` at most: phase warmup;
 *   rewind; decode n_gen tokens, teacher-forced: phase measure.
 *
 * A prompt test rewinds and times one prefill of n_prompt tokens. A cell with both does that in front of its tokens,
 * and in front of the warm-up's.
 *
 * Where a monitor knows the SM clock, a warm-up also goes on until it is up, and when all
 * repetitions of a group are done, blocks that ran at a lower clock than their peers are run
 * once more (clock_check.h): rows of the same repetition, of which the latest attempt counts.
 *
 * itl is completion to completion, less the time that the check of the logits took
 * between the two; the first token's starts when the rewind has returned. Nothing
 * allocates, prints or formats from the first to the last measured token.
 *
 * A run that cannot be done is a row too: skipped (ERROR_UNSUPPORTED), failed, wrong
 * (different bits, NaN), or interrupted. Its cell is not repeated; the sweep goes on.
 * Behind a cell that ran out of memory, deeper cells that are the same in every other axis
 * are skipped, and where the cache itself did not fit, all deeper ones of the placement
 * that fill it alike; not where -ngl auto places a deeper one in another way. Behind a device error the workload is
 * opened anew for the cells to come.
 */
#ifndef GEMMARK_HARNESS_MEASURE_RUNNER_H
#define GEMMARK_HARNESS_MEASURE_RUNNER_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/runner_options.h"
#include "harness/measure/workload.h"
#include "harness/record/row.h"
#include "harness/sweep/matrix.h"

/* How far the sweep is, in tokens of work; runs that were given up count as done, but not as timed. */
struct runner_progress {
	int64_t decode_done;
	int64_t decode_total;
	int64_t decode_timed; /* tokens that decode_s was spent on */
	double decode_s;
	int64_t prefill_done;
	int64_t prefill_total;
	int64_t prefill_timed;
	double prefill_s;
	int run;                 /* rows so far */
	int runs;                /* rows in all */
	int delay_s;             /* before each */
	const struct cell *cell; /* of the latest row; null: this call has made none */
};

struct runner_sink {
	void *ctx;
	/*
	 * A finished run and its n tokens, warm-up first; both live for the call only, but
	 * for strings that belong to cells and options. A failure ends the sweep.
	 */
	int (*run)(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err);
	/* Before it, of the run with that id, where a token of it was stamped; not null where the options ask for it.
	 */
	int (*timeline)(void *ctx, const char *run_id, const struct timeline_stamp *stamps, int n, struct error *err);
	/* Before the first run and between runs, never inside one; may be null. */
	void (*progress)(void *ctx, const struct runner_progress *p);
	/* The cell with this index is run next, and recorded; may be null. */
	void (*begin)(void *ctx, int cell);
};

/* ---- what is known of a cell before it is run, for those who plan ---- */

/* Positions that it uses at most. */
int runner_cell_context(const struct runner_options *o, const struct cell *c);
/* ERROR_UNSUPPORTED where the text that the workload is fed has fewer tokens than the cell takes, and names it. */
int runner_check_text(const struct workload_facts *f, const struct runner_options *o, const struct cell *c,
		      struct error *why);

struct runner_summary {
	int ok;
	int skipped;
	int failed;
	int wrong;
	int unfinished;     /* interrupted runs: one at most */
	int with_fallbacks; /* ok runs in which tokens fell back to direct launches */
	int interrupted;
};

/*
 * cells: (n), as matrix_cells leaves them. Returns 0 when the sweep went through or
 * was stopped, whatever the rows' status; else what the sink returned, or ERROR_MEMORY.
 */
int runner_run(const struct cell *cells, int n, struct workload_source *source, const struct runner_options *o,
	       const struct runner_sink *sink, struct runner_summary *summary, struct error *err);

#endif
