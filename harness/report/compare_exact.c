#include "harness/report/compare_exact.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Where none changed: those that are the same, and those of which that is not known. */
static void write_exact_same(const struct comparison *c, FILE *f)
{
	unsigned known = 0, all = (1u << EXACT_COUNT) - 1;
	char text[COMPARE_GATES_SIZE];
	for (int i = 0; i < c->n; i++)
		for (int q = 0; q < EXACT_COUNT; q++)
			known |= (unsigned)(c->cells[i].exact[q].change == EXACT_SAME) << q;
	fputs("\nexact quantities", f);
	if (known) {
		compare_gates_text(known, text);
		fprintf(f, " (%s): the same", text);
	}
	if (known != all) {
		compare_gates_text(all & ~known, text);
		fprintf(f, "%s not known of both sides: %s", known ? ";" : "", text);
	}
	fputc('\n', f);
}

/* One quantity of one cell, and where the cell is. */
struct placed_exact {
	const struct compare_exact *e;
	int is_hash;
	int place;
};

/* 0: one speaks for both. A hash has no alike, and what varies has no value. */
static int compare_alike(const struct placed_exact *x, const struct placed_exact *y)
{
	if (x->e->change != y->e->change)
		return x->e->change < y->e->change ? -1 : 1;
	if (x->is_hash || x->e->change == EXACT_VARIES)
		return 0;
	int base = strcmp(x->e->base, y->e->base);
	return base ? base : strcmp(x->e->head, y->e->head);
}

static int compare_placed(const void *a, const void *b)
{
	const struct placed_exact *x = a, *y = b;
	int order = compare_alike(x, y);
	return order ? order : x->place - y->place;
}

/* `cells` cells, k the first of them, in which the quantity changed alike. */
static void write_exact_change(const struct comparison *c, enum exact_id q, const struct compare_cell *k, int cells,
			       FILE *f)
{
	const struct compare_exact *e = &k->exact[q];
	char label[CELL_LABEL_SIZE], a[64], b[64], mode[64], fusion[64];
	cell_label(&k->cell, label);
	text_escape(mode, sizeof mode, cell_word(&k->cell, AXIS_MODE));
	text_escape(fusion, sizeof fusion, cell_word(&k->cell, AXIS_FUSION));
	text_escape(a, sizeof a, e->base);
	text_escape(b, sizeof b, e->change == EXACT_MISSING ? "not known in head" : e->head);
	if (e->change == EXACT_VARIES)
		fprintf(f, "- %s: not the same in all runs of a side, in %d cell%s\n", exact_quantities[q].means, cells,
			cells == 1 ? "" : "s");
	else if (q == EXACT_LOGITS)
		fprintf(f, "- %s: %s in %d of %d cell%s\n", exact_quantities[q].means,
			e->change == EXACT_MISSING ? "not known in head any more," : "other ones", cells, c->n,
			c->n == 1 ? "" : "s");
	else
		fprintf(f, "- %s: %s -> %s in %d cell%s (%s %s %s%s)\n", exact_quantities[q].means, a, b, cells,
			cells == 1 ? "" : "s", label, mode, fusion, cells > 1 ? ", ..." : "");
}

int compare_exact_write(const struct comparison *c, FILE *f)
{
	struct placed_exact *changed = calloc((size_t)c->n + 1, sizeof *changed);
	int *cells = calloc((size_t)c->n + 1, sizeof *cells); /* that the cell speaks for */
	int any = 0, rc = changed && cells ? 0 : -1;
	for (int q = 0; q < EXACT_COUNT && !rc; q++) {
		int n = 0, first = 0;
		for (int i = 0; i < c->n; i++) {
			cells[i] = 0;
			if (compare_exact_changed(&c->cells[i].exact[q]))
				changed[n++] = (struct placed_exact){&c->cells[i].exact[q], q == EXACT_LOGITS, i};
		}
		qsort(changed, (size_t)n, sizeof *changed, compare_placed);
		for (int i = 0; i < n; i++) {
			first = i && compare_alike(&changed[first], &changed[i]) ? i : first;
			cells[changed[first].place]++;
		}
		if (n && !any++)
			fputs("\nexact quantities that changed:\n", f);
		for (int i = 0; i < c->n; i++)
			if (cells[i])
				write_exact_change(c, (enum exact_id)q, &c->cells[i], cells[i], f);
	}
	if (!rc && !any)
		write_exact_same(c, f);
	free(changed);
	free(cells);
	return rc;
}
