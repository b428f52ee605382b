#include "harness/report/compare_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note_exact(struct compare_exact *e, char side[COLUMN_TEXT_SIZE], const struct run_row *row, enum exact_id q)
{
	char text[COLUMN_TEXT_SIZE];
	const char *value = exact_text(row, q, text);
	if (!*value)
		return;
	if (!*side)
		snprintf(side, COLUMN_TEXT_SIZE, "%s", value);
	else if (strcmp(side, value))
		e->change = EXACT_VARIES;
}

void compare_rows_look(struct compare_cell *k, const struct result_set *s, const struct set_rows *of, int cell,
		       int head)
{
	const struct run_row **first = head ? &k->head_row : &k->base_row;
	for (int i = of->first[cell]; i < of->first[cell + 1]; i++) {
		const struct run_row *row = &s->rows[of->rows[i]];
		int ok = row->status == RUN_STATUS_OK;
		if (!*first || (ok && (*first)->status != RUN_STATUS_OK))
			*first = row;
		*(head ? &k->ok_head : &k->ok_base) += ok;
		if (row->status == RUN_STATUS_WRONG && head)
			k->outcome = COMPARE_WRONG;
		if (!ok && head && !k->reason)
			k->reason = row->reason && *row->reason ? row->reason : run_status_name(row->status);
		for (int q = 0; ok && q < EXACT_COUNT; q++)
			note_exact(&k->exact[q], head ? k->exact[q].head : k->exact[q].base, row, (enum exact_id)q);
	}
}

void compare_rows_settle(struct compare_cell *k, unsigned gates)
{
	for (int q = 0; q < EXACT_COUNT; q++) {
		struct compare_exact *e = &k->exact[q];
		if (e->change == EXACT_VARIES)
			continue;
		if (*e->base && *e->head)
			e->change = strcmp(e->base, e->head) ? EXACT_DIFFERENT : EXACT_SAME;
		if (e->change == EXACT_DIFFERENT && gates >> q & 1)
			k->exact_gates |= !exact_quantities[q].number || strtod(e->head, NULL) > strtod(e->base, NULL);
	}
}
