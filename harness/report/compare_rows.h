/* What a comparison takes from the rows of a cell beside times: which ran, why others did not, counts and hashes. */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_ROWS_H
#define GEMMARK_HARNESS_REPORT_COMPARE_ROWS_H

#include "harness/report/compare.h"

/* The rows of a set that count, cell by cell. */
struct set_rows {
	int *rows;  /* indexes, those of cell k from first[k] to first[k + 1] */
	int *first; /* (n_cells + 1) */
};

/*
 * Adds the rows of the set's cell to k's base, or head, side, and to that side's runs; to c's differences what they
 * were measured with and base's first row was not. ERROR_MEMORY.
 */
int compare_rows_look(struct comparison *c, struct compare_cell *k, const struct result_set *s,
		      const struct set_rows *of, int cell, int head, struct error *err);
/* Once both sides are in: what is equal, what differs, and whether one of `gates`, bits 1 << EXACT_..., is worse. */
void compare_rows_settle(struct compare_cell *k, unsigned gates);

#endif
