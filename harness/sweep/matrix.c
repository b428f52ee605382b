#include "harness/sweep/matrix.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int matrix_add(struct matrix *m, enum axis_id a, const char *list, struct error *err)
{
	char option[AXIS_TEXT_SIZE];
	axis_option(a, option);
	return axes[a].kind == AXIS_INT ? axis_ints_add(&m->of[a], option, list, axes[a].min, axes[a].max, err)
					: axis_words_add(&m->of[a], option, list, axes[a].words, err);
}

/* A number of tokens, at most AXIS_TOKENS_MAX, up to `end`; 0: it is none. */
static int parse_tokens(const char *text, char end)
{
	int n = 0;
	for (; *text >= '0' && *text <= '9' && n <= AXIS_TOKENS_MAX; text++)
		n = 10 * n + (*text - '0');
	return *text == end && n <= AXIS_TOKENS_MAX ? n : 0;
}

int matrix_add_pair(struct matrix *m, const char *text, struct error *err)
{
	const char *comma = strchr(text, ',');
	struct matrix_pair pair = {parse_tokens(text, ','), comma ? parse_tokens(comma + 1, '\0') : 0};
	if (!pair.n_prompt || !pair.n_gen)
		return error_set(
			err, ERROR_INPUT,
			"-pg: '%s' is not two numbers from 1 to %d (512,128); -p P or -n G alone measure one of "
			"them",
			text_show(text, strlen(text)).text, AXIS_TOKENS_MAX);
	for (int i = 0; i < m->n_pairs; i++)
		if (m->pairs[i].n_prompt == pair.n_prompt && m->pairs[i].n_gen == pair.n_gen)
			return 0;
	if (m->n_pairs == AXIS_MAX_VALUES)
		return error_set(err, ERROR_INPUT, "-pg: more than %d pairs; split the sweep", AXIS_MAX_VALUES);
	struct matrix_pair *grown = realloc(m->pairs, ((size_t)m->n_pairs + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "-pg: no memory for the values");
	m->pairs = grown;
	m->pairs[m->n_pairs++] = pair;
	return 0;
}

int matrix_defaults(struct matrix *m, struct error *err)
{
	int rc = 0;
	for (int a = 0; a < AXIS_COUNT && !rc; a++)
		if (!m->of[a].n && axes[a].defaults)
			rc = matrix_add(m, (enum axis_id)a, axes[a].defaults, err);
	return rc;
}

void matrix_free(struct matrix *m)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		(axes[a].kind == AXIS_INT ? axis_ints_free : axis_words_free)(&m->of[a]);
	free(m->pairs);
	m->pairs = NULL;
	m->n_pairs = 0;
}

static void set_absent(struct cell *c, enum axis_id a)
{
	if (axes[a].kind == AXIS_WORD)
		cell_set_word(c, a, NULL);
	else if (axes[a].absent)
		cell_set_int(c, a, atoi(axes[a].absent));
}

/* Value i of the axis; of an axis without values, the absent one. */
static void set_value(const struct matrix *m, struct cell *c, enum axis_id a, int i)
{
	const struct axis_values *v = &m->of[a];
	if (!v->n)
		set_absent(c, a);
	else if (axes[a].kind == AXIS_INT)
		cell_set_int(c, a, v->ints[i]);
	else
		cell_set_word(c, a, axes[a].absent && !strcmp(v->words[i], axes[a].absent) ? NULL : v->words[i]);
}

/* Values of some axes counted through as digits of one number, the last axis fastest: fewer levels of loops. */
struct counter {
	const struct matrix *m;
	enum axis_id axes[AXIS_COUNT];
	int digits[AXIS_COUNT];
	int n;
};

/* Over the axes of these levels; of a test, those that it has. */
static struct counter counter_over(const struct matrix *m, enum axis_level from, enum axis_level to,
				   const struct cell *test)
{
	struct counter k = {.m = m};
	for (int a = 0; a < AXIS_COUNT; a++)
		if (axes[a].level >= from && axes[a].level <= to && (!test || cell_has_axis(test, (enum axis_id)a)))
			k.axes[k.n++] = (enum axis_id)a;
	return k;
}

static void counter_set(const struct counter *k, struct cell *c)
{
	for (int i = 0; i < k->n; i++)
		set_value(k->m, c, k->axes[i], k->digits[i]);
}

/* 0 behind the last one; then it starts again. */
static int counter_next(struct counter *k)
{
	int i = k->n - 1;
	for (; i >= 0; i--) {
		int radix = k->m->of[k->axes[i]].n;
		if (++k->digits[i] < radix)
			return 1;
		k->digits[i] = 0;
	}
	return 0;
}

/* Where cells go; null cells: they are only counted. */
struct cell_list {
	struct cell *cells;
	long long n;
};

/* One test with all units and modes. */
static void emit_test(const struct matrix *m, struct cell c, struct cell_list *l)
{
	struct counter k = counter_over(m, AXIS_LEVEL_UNIT, AXIS_LEVEL_MODE, &c);
	for (int a = 0; a < AXIS_COUNT; a++)
		if (!cell_has_axis(&c, (enum axis_id)a))
			set_absent(&c, (enum axis_id)a);
	/* Prompt tests have no tokens' mode, and say the reference's. */
	c.mode = MODE_REFERENCE;
	do {
		counter_set(&k, &c);
		if (!c.mode)
			c.mode = MODE_REFERENCE;
		if (l->cells)
			l->cells[l->n] = c;
		l->n++;
	} while (counter_next(&k));
}

static void emit_group(const struct matrix *m, struct cell c, struct cell_list *l)
{
	c.n_gen = 0;
	for (int i = 0; i < m->of[AXIS_PROMPT].n; i++)
		if ((c.n_prompt = m->of[AXIS_PROMPT].ints[i]))
			emit_test(m, c, l);
	c.n_prompt = 0;
	for (int i = 0; i < m->of[AXIS_GEN].n; i++)
		if ((c.n_gen = m->of[AXIS_GEN].ints[i]))
			emit_test(m, c, l);
	for (int i = 0; i < m->n_pairs; i++) {
		c.n_prompt = m->pairs[i].n_prompt;
		c.n_gen = m->pairs[i].n_gen;
		emit_test(m, c, l);
	}
}

static void emit_all(const struct matrix *m, const struct cell *placements, int n, struct cell_list *l)
{
	for (int p = 0; p < n; p++) {
		struct cell c = placements[p];
		struct counter k = counter_over(m, AXIS_LEVEL_GROUP, AXIS_LEVEL_GROUP, NULL);
		do {
			counter_set(&k, &c);
			emit_group(m, c, l);
		} while (counter_next(&k));
	}
}

/* Those that are not the same as an earlier one, with what their values stand for. *out: room for all. */
static int find_placements(const struct matrix *m, const struct cell_resolver *resolver, struct cell *out, int *n,
			   struct error *err)
{
	struct counter k = counter_over(m, AXIS_LEVEL_PLACEMENT, AXIS_LEVEL_PLACEMENT, NULL);
	*n = 0;
	do {
		struct cell c = {0};
		counter_set(&k, &c);
		int rc = resolver ? resolver->resolve(resolver->ctx, &c, err) : 0, known = 0;
		if (rc)
			return rc;
		while (known < *n && !cell_same_placement(&out[known], &c))
			known++;
		if (known == *n)
			out[(*n)++] = c;
	} while (counter_next(&k));
	return 0;
}

/* An axis needs a value unless there is one that stands for its absence; tests are looked at as a whole. */
static int check_axes(const struct matrix *m, int *n_placements, struct error *err)
{
	long long bound = 1, placements = 1;
	for (int a = 0; a < AXIS_COUNT; a++) {
		int n = m->of[a].n;
		char option[AXIS_TEXT_SIZE];
		if (axes[a].level == AXIS_LEVEL_TEST)
			continue;
		if (!n && a == AXIS_MODEL)
			return error_set(err, ERROR_INPUT, "-m: no model; name a GGUF file");
		if (!n && !axes[a].absent)
			return error_set(err, ERROR_INPUT, "%s: no value", axis_option((enum axis_id)a, option));
		bound *= n ? n : 1;
		placements *= n && axes[a].level == AXIS_LEVEL_PLACEMENT ? n : 1;
		if (bound > MATRIX_MAX_CELLS)
			return error_set(err, ERROR_INPUT, "the axes span more than %d cells; sweep fewer values",
					 MATRIX_MAX_CELLS);
	}
	*n_placements = (int)placements;
	return 0;
}

int matrix_cells(const struct matrix *m, const struct cell_resolver *resolver, struct cell **out, int *n,
		 struct error *err)
{
	struct cell_list l = {NULL, 0};
	int n_placements = 0;
	*out = NULL;
	*n = 0;
	int rc = check_axes(m, &n_placements, err);
	if (rc)
		return rc;
	struct cell *placements = calloc((size_t)n_placements, sizeof *placements);
	if (!placements)
		return error_set(err, ERROR_MEMORY, "no memory for %d placements; sweep fewer values", n_placements);
	rc = find_placements(m, resolver, placements, &n_placements, err);
	if (!rc)
		emit_all(m, placements, n_placements, &l);
	if (!rc && l.n == 0)
		rc = error_set(err, ERROR_INPUT, "nothing to measure: give -p or -n a value above 0, or -pg two");
	if (!rc && l.n > MATRIX_MAX_CELLS)
		rc = error_set(err, ERROR_INPUT, "the axes span %lld cells, the limit is %d; sweep fewer values", l.n,
			       MATRIX_MAX_CELLS);
	if (!rc && !(l.cells = calloc((size_t)l.n, sizeof *l.cells)))
		rc = error_set(err, ERROR_MEMORY, "no memory for %lld cells; sweep fewer values", l.n);
	if (!rc) {
		l.n = 0;
		emit_all(m, placements, n_placements, &l);
		*out = l.cells;
		*n = (int)l.n;
	}
	free(placements);
	return rc;
}
