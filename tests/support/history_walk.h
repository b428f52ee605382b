/* A history's file of any bytes, read and gone on in: of the fuzzer, and of a test of its seeds. */
#ifndef GEMMARK_TESTS_SUPPORT_HISTORY_WALK_H
#define GEMMARK_TESTS_SUPPORT_HISTORY_WALK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/record/history_file.h"

static inline void history_promise(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "broken promise: %s\n", what);
	abort();
}

/* Every member of what was taken is what the header says. */
static inline void history_walk(const struct history *h)
{
	for (int i = 0; i < h->n_records; i++) {
		const struct history_record *r = &h->records[i];
		history_promise(r->cell >= 0 && r->cell < h->n_cells, "a record has a cell");
		history_promise(r->environment >= 0 && r->environment < h->n_environments, "and an environment");
		history_promise(r->n_runs > 0 && r->n_runs <= HISTORY_RUNS && r->median > 0 && isfinite(r->median),
				"its runs are positive");
		history_promise(r->date >= 0 && r->order >= 0, "its place is known");
		history_promise(*r->run && strlen(r->commit) < HISTORY_TEXT, "its names are short");
		for (int k = 0; k < r->n_runs; k++)
			history_promise(r->runs[k] > 0 && (!r->mads || !(r->mads[k] < 0)), "as is each of them");
	}
	for (int i = 0; i < h->n_cells; i++) {
		const struct history_cell *c = &h->cells[i];
		char number[AXIS_TEXT_SIZE], label[CELL_LABEL_SIZE];
		for (int a = 0; a < AXIS_COUNT && !c->name; a++)
			history_promise(cell_text(&c->axes, (enum axis_id)a, number) != NULL, "an axis has a text");
		if (!c->name)
			cell_label(&c->axes, label);
		history_promise(*c->key && *c->metric && *c->unit, "a cell has its measure");
	}
	for (int i = 0; i < h->n_environments; i++)
		for (int k = 0; k < h->environments[i].n; k++)
			history_promise(*h->environments[i].names[k] && h->environments[i].values[k],
					"a fact has a name");
}

#endif
