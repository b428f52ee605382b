/*
 * Where the runs of a directory were measured: one machine and at most one GPU, but for directories that gemmark merge
 * made. Numbers from different places are no comparison of what they are labelled with, and who shows them together
 * says so.
 */
#ifndef GEMMARK_HARNESS_RECORD_RESULT_PLACE_H
#define GEMMARK_HARNESS_RECORD_RESULT_PLACE_H

#include "harness/record/result_set.h"

enum { RESULT_PLACES_MAX = 64 };

/* Texts are the rows', "" where unknown. */
struct result_place {
	const char *machine;
	const char *gpu; /* "" of runs that use none */
	const char *device;
	int runs;
};

struct result_places {
	struct result_place of[RESULT_PLACES_MAX]; /* (n), in the order of their first runs */
	int n;
	int more;     /* runs of places beyond these */
	int machines; /* different ones, of those that are known */
	int gpus;     /* likewise */
	int several;  /* more than one machine, or more than one GPU */
};

struct result_places result_places(const struct result_set *s);

/* Whether the run was measured there. */
int result_place_is(const struct result_place *p, const struct run_row *row);

/* Whether both are known to be of different machines, or of different GPUs. */
int result_place_differs(const struct run_row *a, const struct run_row *b);

enum { RESULT_PLACES_TEXT_SIZE = 64 };
/* "2 machines, 3 GPUs"; "" where it is not several. */
const char *result_places_text(const struct result_places *p, char out[RESULT_PLACES_TEXT_SIZE]);

#endif
