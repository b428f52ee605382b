/* A sweep in the making, shared by the runner_*.c files alone: runner.c orders runs, runner_run.c makes one. */
#ifndef GEMMARK_HARNESS_MEASURE_RUNNER_INTERNAL_H
#define GEMMARK_HARNESS_MEASURE_RUNNER_INTERNAL_H

#include "harness/measure/clock_check.h"
#include "harness/measure/context_store.h"
#include "harness/measure/pass.h"
#include "harness/measure/runner.h"
#include "harness/measure/stability.h"
#include "harness/sweep/plan.h"

/* What is known of a unit once its direct pass has run. */
struct unit {
	uint64_t *hashes;       /* (pass_hashes): the chain after the prompt and each token; null before the pass */
	uint64_t last;          /* of the last token alone; of queued cells */
	double direct_itl_us;   /* median of the direct run last seen; NAN: none that queues as the unit does */
	struct quality quality; /* of the direct pass; of SnapKV's units */
	bool stamped[2];        /* a token of it was: launched directly, and replayed */
	int code;               /* of the direct pass, where it failed: no mode of the unit can be checked */
	struct error why;
};

struct cell_state {
	int unit;
	int dropped;       /* not measured any further */
	int failed;        /* because a run of it was not ok */
	int no_memory;     /* a run of it was out of memory */
	uint64_t launches; /* what the first comparable run launched; 0: none was */
	/* Of the graphs that the cell's runs captured so far. */
	double one_off_us;
	int graph_nodes; /* negative: none was captured yet */
	int kernel_nodes;
	int positional_nodes;
};

struct runner {
	const struct cell *cells;
	int n;
	struct pass_setup setup; /* s.w null: no group is open */
	const struct runner_sink *sink;
	struct runner_summary *summary;
	struct unit *units;        /* (n) at most */
	struct cell_state *states; /* (n) */
	uint64_t *scratch;         /* (most measured tokens of a cell): hashes of the pass at hand */
	struct clock_check clocks;
	struct stability stability;
	struct runner_progress progress;
	const struct plan *plan;
	int order;
	int attempt;                   /* of the run at hand */
	struct timeline_stamp *stamps; /* (n_stamps), its; null: none */
	int n_stamps;

	/* Groups that did not fit; of (n_refused). */
	struct refusal {
		int cell; /* of the group */
		int context;
	} * refused;
	int n_refused;

	/* Of the group at hand. */
	int lost; /* its workload's device failed */
	struct workload_facts facts;
	int context;
	enum context_source context_source; /* of the depth */
	int context_prefilled;              /* tokens of it that the group computed */
	double prefill_us;        /* of the depth, where the group computed all of it; NAN where not, and at depth 0 */
	struct eviction eviction; /* of SnapKV's groups */
};

/* Whether fewer layers go to the GPU where the context is larger: then a larger one may fit where a smaller did not. */
int runner_is_placed_anew(const struct cell *c);

/* Decoded tokens of a run of the cell: queued ones run twice; and tokens of its own prompt. */
int runner_decode_work(const struct runner *r, const struct cell *c);
int runner_prefill_work(const struct cell *c);
/* To the sink's progress. */
void runner_report(struct runner *r, const struct cell *c);
/* Work of a cell's run that is done, or, p being null, will never be. */
void runner_progress_add(struct runner *r, const struct cell *c, const struct pass *p);

/* Whether the run is recorded already, by an earlier process. */
int runner_is_done(const struct runner *r, int cell, int repetition);
/* Runs of a cell that are still to be made. */
int runner_runs_left(const struct runner *r, int cell);
/* A cell that is not measured any further: its runs to come count as done, so that the time left stays right. */
void runner_drop_rest(struct runner *r, int cell, int repetition);

/* Tokens of the depth's prefill between two looks at `stop`: whole chunks of the workload's. */
int runner_prefill_step(const struct runner *r, const struct cell *c);
/*
 * The workload that was opened for the group, in the arm of its prefill, to the group's depth, and what of the row's
 * columns comes of that: kept contexts of the same tokens serve, and what later groups can go on from is kept. Stops
 * where the sweep does.
 */
int runner_fill_context(struct runner *r, const struct plan_group *g, struct error *err);

/* Behind a group: the last one of a placement leaves none in memory. */
void runner_forget_contexts(const struct runner *r, const struct plan_group *g);

/* One run, and its unit's reference before it where there is none yet; hands out the row. */
int runner_run_cell(struct runner *r, int cell, int repetition, struct error *err);
/* Drops the cell with a row that says why it never ran. */
int runner_deliver_unrun(struct runner *r, int cell, int repetition, int code, const struct error *why,
			 struct error *err);

#endif
