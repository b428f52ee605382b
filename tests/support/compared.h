/* Two sides of run directories whose difference is known, because it was written into them; compared. */
#ifndef GEMMARK_TESTS_SUPPORT_COMPARED_H
#define GEMMARK_TESTS_SUPPORT_COMPARED_H

#include <stdint.h>

#include "base/error.h"
#include "harness/record/result_set.h"
#include "harness/record/row.h"
#include "harness/report/compare.h"
#include "tests/support/folder.h"

enum { COMPARED_PROCESSES = 14, COMPARED_CELLS = 4, COMPARED_TOKENS = 4 };

/* What a side is made of. Times are 1000 us and more, by the cell. */
struct compared_side {
	double slower[COMPARED_CELLS]; /* relative, of a cell's latency */
	double all;                    /* of all cells */
	double tail;                   /* of the 99th percentile alone */
	double drift;                  /* of a process's number, of both sides alike */
	double run_drift;              /* of a repetition's number */
	double noise;                  /* standard deviation from process to process */
	double launches;               /* a token, more */
	double prompt;                 /* a prompt's launches; 0: not known */
	double launches_cell;          /* as many times the cell's number, more */
	double launches_odd;           /* the same, in every second process alone */
	int repetitions;
	enum run_status status; /* of the last cell */
	int status_process;     /* there alone, counted from 1; 0: in all */
	int status_repetition;  /* likewise */
	const char *until;
	const char *model;
	int content;          /* of the model, beside what all have: another one, another hash */
	const char *hash;     /* of the logits */
	const char *hash_odd; /* in every second process; null: hash */
	const char *reason;   /* of what is not ok */
	const char *fusion;   /* null: full */
	double scale;         /* of all times; 0: one */
	int silent;           /* its rows have no driver calls and no hash */
	const char *gpu;      /* env.json's */
	const char *flags;
	int cells;
	int ubatch;                /* 0: 512 */
	const char *weights_asked; /* sweep.json's prefill_weights; null: there is no sweep.json */
	const char *weights;       /* the rows'; null: none */
	int weights_process;       /* there alone, counted from 1, and "resident" else; 0: in all */
	int n_prompt;
	int gpu_layers;
	uint64_t seed;
	int first_mode;
	int first_repetition;
	int step;           /* from one repetition's number to the next; 0: one */
	int diagonal;       /* a depth's repetition has its number */
	const char *commit; /* null: abc */
	const char *driver; /* of the GPU; null: unknown */
	int own_runs;       /* ids of a directory's runs are of no other one */
	int more_depths;    /* each cell is at so many depths more, a token apart */
};

static const struct compared_side compared_plain = {
	.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 1};

extern char compared_folder[FOLDER_BYTES]; /* where the directories are; a test's own */

struct compared {
	struct result_set sets[2 * COMPARED_PROCESSES];
	struct result_set *base[COMPARED_PROCESSES], *head[COMPARED_PROCESSES];
	int n;
	struct comparison c;
};

extern struct compared compared;

int compared_set_up(void **state);
int compared_tear_down(void **state);
/* The directory of a side's process. */
void compared_path(char out[160], const char *side, int process);
/* Writes it. */
void compared_make(const char *side, int process, const struct compared_side *m);
/* Makes n processes a side and compares them, as `compared`. */
int compared_run(const struct compared_side *base, const struct compared_side *head, int n,
		 const struct compare_options *o, struct error *err);
/* Frees that and empties the folder. */
void compared_free(void);
struct compare_options compared_options(void);
/* Head's noise must be another one. */
struct compared_side compared_other(struct compared_side m);

#endif
