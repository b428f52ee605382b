/* Two sides of run directories whose difference is known, because it was written into them; compared. */
#ifndef GEMMARK_TESTS_SUPPORT_COMPARED_H
#define GEMMARK_TESTS_SUPPORT_COMPARED_H

#include <stdint.h>

#include "base/error.h"
#include "harness/record/result_set.h"
#include "harness/record/row.h"
#include "harness/report/compare.h"
#include "tests/support/folder.h"

enum { PROCESSES = 14, CELLS = 4, TOKENS = 4 };

/* What a side is made of. Times are 1000 us and more, by the cell. */
struct made {
	double slower[CELLS]; /* relative, of a cell's latency */
	double all;           /* of all cells */
	double tail;          /* of the 99th percentile alone */
	double drift;         /* of a process's number, of both sides alike */
	double noise;         /* standard deviation from process to process */
	double launches;      /* a token, more */
	double prompt;        /* launches of a prompt; 0: unknown */
	int repetitions;
	enum run_status status; /* of the last cell */
	const char *until;
	const char *model;
	const char *hash; /* of the logits */
	const char *gpu;  /* env.json's */
	const char *flags;
	int cells;
	uint64_t seed;
	int first_mode;
	int first_repetition;
};

static const struct made plain = {.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 1};

extern char folder[FOLDER_BYTES]; /* where the directories are; a test's own */

struct pair {
	struct result_set sets[2 * PROCESSES];
	struct result_set *base[PROCESSES], *head[PROCESSES];
	int n;
	struct comparison c;
};

extern struct pair pair;

int set_up(void **state);
int tear_down(void **state);
/* The directory of a side's process. */
void path_of(char out[160], const char *side, int process);
/* Writes it. */
void make(const char *side, int process, const struct made *m);
/* Makes n processes a side and compares them, as `pair`. */
int compare(const struct made *base, const struct made *head, int n, const struct compare_options *o,
	    struct error *err);
/* Frees that and empties the folder. */
void done(void);
struct compare_options paired(void);
/* Head's noise must be another one. */
struct made other(struct made m);

#endif
