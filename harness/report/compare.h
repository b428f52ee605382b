/*
 * Two sides of run directories, cell by cell: what changed between them, how sure that is, and what they cannot tell.
 *
 * The unit of every statistic is an independent measurement. Where a side has several directories, each a process of
 * its own, it is the directory (the median of its runs of a cell); where a side has one, it is the run, and what
 * differs from process to process is not in any interval: single_process says so. Paired: unit i of both sides was
 * measured next to each other.
 *
 * Two processes of one program differ by more than their runs say: where pages and code lie is drawn once for all of
 * them. Of ten comparisons of two equal processes on a shared machine two found "changes" of 2 %. So with one process
 * a side a change counts only beyond `process`; all that is nearer cannot be told.
 *
 * What the cells have in common (the machine, the clock, or a change that touches everything) is estimated from the
 * median over the cells of each unit's deviation, and each cell is judged once as it is and once relative to it.
 *
 * A cell is slower where its own change says so, and never on account of the others'. Of sides that were measured
 * separately the machine may have moved between them; then, and only where every cell moved alike, a cell that moved no
 * further than all is not held against head but "moved with all" ("cannot tell", where it cannot be told whether all
 * did), and the outcome cannot be told. A cell whose change relative to the common one is a verdict the other way
 * (Holm, beyond delta) stood apart: a machine that slows everything would have slowed it too. Then the change is of the
 * cells that moved, be they most of them, and each is judged by its own.
 *
 * Verdicts are of harness/stats/verdict.h, a family a metric: Holm over its cells. Counts and hashes are compared
 * exactly. Other bits of the logits are said, and by default not judged: another order of a sum gives some, and a hash
 * does not say how far they are. ci/compare-commits.sh does, before it times anything.
 */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_H
#define GEMMARK_HARNESS_REPORT_COMPARE_H

#include "base/error.h"
#include "harness/record/result_set.h"
#include "harness/report/metric.h"
#include "harness/stats/verdict.h"

/* What decides the outcome of separately measured sides when all cells move together. */
enum compare_gate {
	COMPARE_GATE_AUTO, /* absolute where paired or where a cell stood apart, else relative: it may be the machine */
	COMPARE_GATE_ABSOLUTE, /* a cell's own change */
	COMPARE_GATE_RELATIVE, /* that, where its change relative to the common one is a verdict too */
};

struct compare_options {
	struct verdict_options verdict;
	int paired;
	int allow_env_diff; /* differing machines, builds or models are a note, not an error */
	double process;     /* how much two processes of one program may differ; of sides with one process */
	int common_cells;   /* cells of one side alone are left out, not an error */
	/* Bits 1 << AXIS_...: axes in which the sides differ on purpose (one mode against another); one value a side.
	 */
	unsigned across;
	enum compare_gate gate;
	unsigned gate_exact; /* bits 1 << EXACT_...: a growth (of texts: a difference) is a regression */
};
/* verdict_options_default, not paired, nothing allowed, auto, launches and node updates, 5 % between processes. */
void compare_options_default(struct compare_options *o);
/* Adds the axis of that name. ERROR_INPUT where there is none, or it says what is measured: the model, a depth. */
int compare_across(const char *name, unsigned *across, struct error *err);

/* What a cell has on an axis across which sides are compared; on one of numbers, its default. */
#define COMPARE_ACROSS "base:head"
/* Gives both sides' cells that. */
void compare_unite(struct cell *c, unsigned across);

enum { COMPARE_COMMON_CELLS_MIN = 3 }; /* with fewer nothing can be called common */

/* One metric of one cell. */
struct compare_value {
	int n, m;    /* units of base and head that have it; 0: nothing below is set */
	double base; /* medians, in the metric's unit */
	double head;
	struct verdict verdict; /* effect NAN where a side has no value */
	int tiny;               /* the medians differ by less than the metric's floor: kind is then VERDICT_SAME */
};

enum exact_change {
	EXACT_UNKNOWN, /* base does not say */
	EXACT_SAME,
	EXACT_DIFFERENT,
	EXACT_VARIES,  /* a side is not one with itself */
	EXACT_MISSING, /* base says it, and head, which ran, does not */
};

struct compare_exact {
	enum exact_change change;
	char base[COLUMN_TEXT_SIZE]; /* of the first run that says it; "" */
	char head[COLUMN_TEXT_SIZE];
	double least; /* of base's runs, and */
	double most;  /* of head's; of numbers */
};

/* What became of a cell. */
enum compare_outcome {
	COMPARE_SAME,
	COMPARE_FASTER,
	COMPARE_SLOWER,
	COMPARE_UNCLEAR, /* cannot tell */
	COMPARE_COMMON,  /* moved with all others, and no further than they */
	COMPARE_LOST,    /* ran in base, and fails or is skipped in head */
	COMPARE_WRONG,   /* wrong results in head */
	COMPARE_NOT_RUN, /* in neither */
	COMPARE_GAINED,  /* runs in head alone */
};

struct compare_cell {
	struct cell cell; /* texts are of the sets */
	int in_base, in_head;
	int last_set;                   /* while cells are collected */
	int ok_base, ok_head;           /* runs */
	const char *reason;             /* why it does not run in head; null */
	const struct run_row *base_row; /* its first run that is ok, or its first; null: none */
	const struct run_row *head_row;
	struct compare_value values[METRIC_COUNT];
	struct verdict relative; /* of METRIC_TIME, to what is common; kind INCONCLUSIVE where nothing is */
	struct compare_exact exact[EXACT_COUNT];
	unsigned exact_gates; /* of gate_exact, those that are worse */
	enum compare_outcome outcome;
};

/* The runs of a side over all cells that are compared. */
struct compare_runs {
	int n;
	int of[RUN_STATUS_INTERRUPTED + 1]; /* by their status */
	const struct run_row *first;        /* that is not ok; null: all are */
};

struct comparison {
	struct compare_options options;
	struct compare_cell *cells; /* (n), in the axes' order */
	int n;
	int *slots; /* (n_slots) the cells' places by their hash, from 1 on; 0: none */
	size_t n_slots;
	int n_base, n_head;            /* directories */
	int merged;                    /* a directory has cells of several machines or GPUs */
	int single_process;            /* the units are runs of one process a side */
	struct verdict common;         /* of all cells; effect NAN where there are too few */
	int common_cells;              /* that it is of */
	int common_apart;              /* of these, cells that did not move with it, where it may have moved */
	int common_explains;           /* cells that are COMPARE_COMMON */
	struct compare_runs runs[2];   /* of base, of head */
	int count[COMPARE_GAINED + 1]; /* of outcomes */
	int exact_gated;               /* cells with exact_gates */
	char **differences;            /* (n_differences) of the environments, "gpu name: A there, B here" */
	int n_differences;
	int least_units;           /* units a side with which anything could be called different, over so many cells */
	struct verdict_cell *kept; /* (n): the units behind METRIC_TIME, of each cell; the comparison's own */
	double *units;
};

/*
 * base, head: (n_base), (n_head), the caller's, as long as *out is used; each of one process. ERROR_INPUT where the
 * matrices or the environments differ and that is not allowed: the line has the first differences, out->differences
 * all; where numbers of runs depended on results; where paired sides are not of equal number; where there is nothing to
 * compare. Free *out also then.
 */
int compare_run(struct result_set *const *base, int n_base, struct result_set *const *head, int n_head,
		const struct compare_options *o, struct comparison *out, struct error *err);
void compare_free(struct comparison *c);

/* 0 same or better, 1 regression, 3 inconclusive, 4 wrong results. */
int compare_exit_code(const struct comparison *c);

/* Whether it is not what it was, better or worse. */
int compare_exact_changed(const struct compare_exact *e);
/* Whether a cell's exact_gates say that it launches more, and nothing else. */
int compare_launches_more(const struct compare_cell *k);
enum { COMPARE_GATES_SIZE = 320 };
/* What the bits of exact_gates are of: "driver calls a token, bits of the logits". */
void compare_gates_text(unsigned gates, char out[COMPARE_GATES_SIZE]);

/* "slower", "cannot tell", "moved with all", ... */
const char *compare_outcome_name(enum compare_outcome o);

/* The median over the cells of the standard deviation from unit to unit, relative; NAN: no cell has two units a side.
 */
double compare_variation(const struct comparison *c);
/* How often the interval of so many units a side holds the true change; NAN: less than its level, unpaired. */
double compare_coverage(const struct comparison *c, int n, int m);
/* The head of a column of intervals: with their level where all of them hold it. */
const char *compare_interval_head(const struct comparison *c);

enum { COMPARE_SENTENCE_SIZE = 400 };
/* What the intervals of the times are: "95 % bootstrap interval", of few units with what it holds. */
void compare_interval_text(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE]);
/*
 * One sentence of what was found: "1 of 12 cells is slower (tg128 @ d4096 graph-device full: +5.1 %); 11 are the same
 * within 1 %."
 */
void compare_sentence(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE]);
/* What makes a cell slower, in a clause: its own change, or where the common one is taken out of it. */
const char *compare_gate_text(const struct comparison *c);
/* What is common to all cells, in one sentence. */
void compare_common_sentence(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE]);

#endif
