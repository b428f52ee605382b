#include "harness/report/compare_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/compare_environment.h"

static void note_exact(struct compare_exact *e, const struct run_row *row, enum exact_id q, int head)
{
	char text[COLUMN_TEXT_SIZE], *side = head ? e->head : e->base;
	const char *value = exact_text(row, q, text);
	if (!*value)
		return;
	double x = exact_quantities[q].number ? strtod(value, NULL) : 0;
	if (head)
		e->most = !*side || x > e->most ? x : e->most;
	else
		e->least = !*side || x < e->least ? x : e->least;
	if (!*side)
		snprintf(side, COLUMN_TEXT_SIZE, "%s", value);
	else if (strcmp(side, value))
		e->change = EXACT_VARIES;
}

int compare_rows_look(struct comparison *c, struct compare_cell *k, const struct result_set *s,
		      const struct set_rows *of, int cell, int head, struct error *err)
{
	const struct run_row **first = head ? &k->head_row : &k->base_row;
	struct compare_runs *runs = &c->runs[head];
	int rc = 0;
	for (int i = of->first[cell]; i < of->first[cell + 1] && !rc; i++) {
		const struct run_row *row = &s->rows[of->rows[i]];
		int ok = row->status == RUN_STATUS_OK;
		runs->n++;
		runs->of[row->status]++;
		if (!ok && !runs->first)
			runs->first = row;
		if (!*first || (ok && (*first)->status != RUN_STATUS_OK))
			*first = row;
		*(head ? &k->ok_head : &k->ok_base) += ok;
		if (row->status == RUN_STATUS_WRONG && head)
			k->outcome = COMPARE_WRONG;
		if (!ok && head && !k->reason)
			k->reason = row->reason && *row->reason ? row->reason : run_status_name(row->status);
		for (int q = 0; ok && q < EXACT_COUNT; q++)
			note_exact(&k->exact[q], row, (enum exact_id)q, head);
		if (k->base_row)
			rc = compare_environment_row(k->base_row, row, c->merged, &c->differences, &c->n_differences,
						     err);
	}
	return rc;
}

void compare_rows_settle(struct compare_cell *k, unsigned gates)
{
	for (int q = 0; q < EXACT_COUNT; q++) {
		struct compare_exact *e = &k->exact[q];
		if (*e->base && !*e->head)
			e->change = k->ok_head ? EXACT_MISSING : EXACT_UNKNOWN;
		else if (!*e->base)
			e->change = EXACT_UNKNOWN;
		else if (e->change != EXACT_VARIES)
			e->change = strcmp(e->base, e->head) ? EXACT_DIFFERENT : EXACT_SAME;
		/* Of numbers, unless no run of head has more than any of base. */
		if (compare_exact_changed(e) && gates >> q & 1 &&
		    (!exact_quantities[q].number || e->change == EXACT_MISSING || e->most > e->least))
			k->exact_gates |= 1u << q;
	}
}

int compare_exact_changed(const struct compare_exact *e)
{
	return e->change != EXACT_UNKNOWN && e->change != EXACT_SAME;
}

int compare_launches_more(const struct compare_cell *k)
{
	return k->exact_gates == 1u << EXACT_LAUNCHES && k->exact[EXACT_LAUNCHES].change != EXACT_MISSING;
}

void compare_gates_text(unsigned gates, char out[COMPARE_GATES_SIZE])
{
	size_t used = 0;
	out[0] = '\0';
	for (int q = 0; q < EXACT_COUNT; q++)
		if (gates >> q & 1 && used < COMPARE_GATES_SIZE)
			used += (size_t)snprintf(out + used, COMPARE_GATES_SIZE - used, "%s%s", used ? ", " : "",
						 exact_quantities[q].means);
}
