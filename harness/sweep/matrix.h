/*
 * The axes of a sweep and the cells that they span.
 *
 * An axis is given as llama-bench has it: a comma list whose items are values or
 * ranges, `a-b` (step 1), `a-b+step` or `a-b*factor`; a repeated option appends. A
 * value that is named twice counts once: the key of a cell is every axis, and two
 * cells with one key could not be told apart.
 */
#ifndef GEMMARK_HARNESS_SWEEP_MATRIX_H
#define GEMMARK_HARNESS_SWEEP_MATRIX_H

#include "base/error.h"

enum {
	AXIS_MAX_VALUES = 1024,    /* of one axis */
	MATRIX_MAX_CELLS = 100000, /* of a sweep */
	CELL_LABEL_SIZE = 64,
};

/* Zeroed: empty. */
struct int_axis {
	int *values; /* (n), in the order given */
	int n;
};

struct word_axis {
	char **values; /* (n), in the order given */
	int n;
};

/* Appends a list of integers within [min, max]. `option` names the axis in messages. ERROR_INPUT or ERROR_MEMORY. */
int int_axis_add(struct int_axis *a, const char *option, const char *list, int min, int max, struct error *err);

/* Appends a list of words; allowed: null-terminated, or null where any word will do. */
int word_axis_add(struct word_axis *a, const char *option, const char *list, const char *const *allowed,
		  struct error *err);

/* Appends one word as it is, commas included. */
int word_axis_append(struct word_axis *a, const char *option, const char *word, struct error *err);

struct matrix {
	struct word_axis models;
	struct int_axis n_prompt; /* 0: no prompt test */
	struct int_axis n_gen;    /* 0: no generation test */
	struct int_axis n_depth;
	struct word_axis modes;
	struct word_axis fusions;
	struct word_axis syncs; /* SYNC_TOKEN, SYNC_NONE; empty: SYNC_TOKEN */
	struct int_axis n_gpu_layers;
	struct word_axis types_k;
	struct word_axis types_v;
	struct int_axis n_threads;
	struct word_axis snapkv; /* "off" or names of snapkv_name; empty: off */
};

/*
 * One point of the sweep. Either n_prompt > 0 (a prefill of so many tokens at the
 * depth is measured) or n_gen > 0 (so many decoded tokens are). Strings are the matrix's.
 */
struct cell {
	const char *model;
	const char *type_k;
	const char *type_v;
	const char *fusion;
	const char *mode;
	int n_gpu_layers;
	int n_threads;
	int n_depth;
	int n_prompt;
	int n_gen;
	const char *snapkv; /* null: off; else it starts with the budget: "1024,window=64,pool=7" */
	int queued;         /* SYNC_NONE; never of prompt tests */
};

/* Whether the host waits for each token, as real decoding does, or queues them. */
#define SYNC_TOKEN "token"
#define SYNC_NONE "none"
extern const char *const matrix_syncs[]; /* both, null-terminated */
const char *cell_sync(const struct cell *c);

/* The mode that every other one is checked against, and the only one of prompt tests: prefill is never captured. */
#define MODE_REFERENCE "direct"

/* What the axis of SnapKV has for a full cache. */
#define SNAPKV_OFF "off"

/*
 * All cells, in nested order: placement (model, layers, types, threads), SnapKV, depth, test,
 * fusion, sync, mode. Cells of one placement, SnapKV and depth are neighbours, and in them those
 * that differ in mode only. ERROR_INPUT where an axis is empty or nothing is left to
 * measure. The caller frees *out.
 */
int matrix_cells(const struct matrix *m, struct cell **out, int *n, struct error *err);

void matrix_free(struct matrix *m);

/* Same model, layers on the GPU, cache types and threads. */
int cell_same_placement(const struct cell *a, const struct cell *b);
int cell_same_snapkv(const struct cell *a, const struct cell *b);
/* Same placement, SnapKV and depth: one prefill serves both. */
int cell_same_group(const struct cell *a, const struct cell *b);
/* Same everything but the mode: the same bits are expected of both. */
int cell_same_unit(const struct cell *a, const struct cell *b);
/* Every axis: only a list made by hand has such cells. */
int cell_same(const struct cell *a, const struct cell *b);

int cell_is_direct(const struct cell *c);
/* Entries that SnapKV keeps of a prompt; 0: it is off. */
int cell_snapkv_budget(const struct cell *c);

/* "pp512", "tg128 @ d4096" */
void cell_label(const struct cell *c, char out[CELL_LABEL_SIZE]);

#endif
