#include "harness/sweep/matrix.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const matrix_syncs[] = {SYNC_TOKEN, SYNC_NONE, NULL};

const char *cell_sync(const struct cell *c)
{
	return matrix_syncs[c->queued];
}

/* One item of a list, not zero-terminated. */
struct item {
	const char *text;
	int size;
};

/* The next item of *list, which moves behind it; 0 at the end. An item may be empty. */
static int item_next(const char **list, struct item *out)
{
	if (!*list)
		return 0;
	const char *comma = strchr(*list, ',');
	size_t size = comma ? (size_t)(comma - *list) : strlen(*list);
	*out = (struct item){*list, size > INT_MAX ? INT_MAX : (int)size};
	*list = comma ? comma + 1 : NULL;
	return 1;
}

static int int_axis_append(struct int_axis *a, const char *option, int value, struct error *err)
{
	for (int i = 0; i < a->n; i++)
		if (a->values[i] == value)
			return 0;
	if (a->n == AXIS_MAX_VALUES)
		return error_set(err, ERROR_INPUT, "%s: more than %d values; use a larger step", option,
				 AXIS_MAX_VALUES);
	int *grown = realloc(a->values, ((size_t)a->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->values = grown;
	a->values[a->n++] = value;
	return 0;
}

/* Digits, with a minus where min allows it. Returns the bytes read, 0 where there is no number of 31 bits. */
static int scan_number(const char *text, int size, int min, long *out)
{
	int i = 0, negative = 0;
	int64_t v = 0;
	if (size > 0 && text[0] == '-' && min < 0) {
		negative = 1;
		i = 1;
	}
	int first = i;
	for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
		v = v * 10 + (text[i] - '0');
		if (v > INT32_MAX)
			return 0;
	}
	if (i == first)
		return 0;
	*out = (long)(negative ? -v : v);
	return i;
}

static int bad_item(struct error *err, const char *option, struct item it, const char *why)
{
	return error_set(err, ERROR_INPUT, "%s: '%.*s' %s", option, it.size > 80 ? 80 : it.size, it.text, why);
}

static int int_item_add(struct int_axis *a, const char *option, struct item it, int min, int max, struct error *err)
{
	long first, last, step = 1;
	char op = '+';
	int at = scan_number(it.text, it.size, min, &first);
	if (!at)
		return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
	last = first;
	if (at < it.size) {
		if (it.text[at] != '-')
			return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
		at++;
		int n = scan_number(it.text + at, it.size - at, 0, &last);
		if (!n)
			return bad_item(err, option, it, "has no end of the range (write 1-8)");
		at += n;
		if (at < it.size && (it.text[at] == '+' || it.text[at] == '*')) {
			op = it.text[at++];
			n = scan_number(it.text + at, it.size - at, 0, &step);
			if (!n)
				return bad_item(err, option, it, "has no step (write 0-4096+1024 or 1-64*2)");
			at += n;
		}
		if (at < it.size)
			return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
	}
	if (first > last)
		return bad_item(err, option, it, "runs downwards; write the smaller end first");
	if (first < min || last > max)
		return error_set(err, ERROR_INPUT, "%s: '%.*s' is outside %d to %d", option,
				 it.size > 80 ? 80 : it.size, it.text, min, max);
	if ((op == '+' && step < 1) || (op == '*' && (step < 2 || first < 1)))
		return bad_item(err, option, it,
				"never reaches its end; a step is at least 1, a factor at least 2 from 1 up");
	for (long v = first; v <= last; v = op == '+' ? v + step : v * step) {
		int rc = int_axis_append(a, option, (int)v, err);
		if (rc)
			return rc;
	}
	return 0;
}

int int_axis_add(struct int_axis *a, const char *option, const char *list, int min, int max, struct error *err)
{
	struct item it;
	while (item_next(&list, &it)) {
		if (it.size == 0)
			return error_set(err, ERROR_INPUT, "%s: an empty item in the list; write 1,2,3", option);
		int rc = int_item_add(a, option, it, min, max, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int not_allowed(struct error *err, const char *option, struct item it, const char *const *allowed)
{
	char choices[256] = "";
	size_t used = 0;
	for (int i = 0; allowed[i]; i++) {
		int n = snprintf(choices + used, sizeof choices - used, "%s%s", i ? ", " : "", allowed[i]);
		if (n < 0 || (size_t)n >= sizeof choices - used)
			break;
		used += (size_t)n;
	}
	return error_set(err, ERROR_INPUT, "%s: '%.*s' is none of %s", option, it.size > 80 ? 80 : it.size, it.text,
			 choices);
}

static int word_axis_grow(struct word_axis *a, const char *option, struct item it, struct error *err)
{
	for (int i = 0; i < a->n; i++)
		if (strlen(a->values[i]) == (size_t)it.size && !memcmp(a->values[i], it.text, (size_t)it.size))
			return 0;
	if (a->n == AXIS_MAX_VALUES)
		return error_set(err, ERROR_INPUT, "%s: more than %d values; split the sweep", option, AXIS_MAX_VALUES);
	char **grown = realloc(a->values, ((size_t)a->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->values = grown;
	char *copy = strndup(it.text, (size_t)it.size);
	if (!copy)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->values[a->n++] = copy;
	return 0;
}

static int word_item_add(struct word_axis *a, const char *option, struct item it, const char *const *allowed,
			 struct error *err)
{
	if (allowed) {
		int i = 0;
		while (allowed[i] &&
		       (strlen(allowed[i]) != (size_t)it.size || memcmp(allowed[i], it.text, (size_t)it.size)))
			i++;
		if (!allowed[i])
			return not_allowed(err, option, it, allowed);
	}
	return word_axis_grow(a, option, it, err);
}

int word_axis_append(struct word_axis *a, const char *option, const char *word, struct error *err)
{
	size_t size = strlen(word);
	return word_axis_grow(a, option, (struct item){word, size > INT_MAX ? INT_MAX : (int)size}, err);
}

int word_axis_add(struct word_axis *a, const char *option, const char *list, const char *const *allowed,
		  struct error *err)
{
	struct item it;
	while (item_next(&list, &it)) {
		if (it.size == 0)
			return error_set(err, ERROR_INPUT, "%s: an empty item in the list; write a,b", option);
		int rc = word_item_add(a, option, it, allowed, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Where cells go; null cells: they are only counted. */
struct cell_list {
	struct cell *cells;
	long long n;
};

static void emit(struct cell_list *l, const struct cell *c)
{
	if (l->cells)
		l->cells[l->n] = *c;
	l->n++;
}

/* All tests, fusions and modes at one placement and depth. */
static void emit_group(const struct matrix *m, struct cell c, struct cell_list *l)
{
	for (int p = 0; p < m->n_prompt.n; p++) {
		if (m->n_prompt.values[p] == 0)
			continue;
		c.n_prompt = m->n_prompt.values[p];
		c.mode = MODE_REFERENCE;
		for (int f = 0; f < m->fusions.n; f++) {
			c.fusion = m->fusions.values[f];
			emit(l, &c);
		}
	}
	c.n_prompt = 0;
	for (int g = 0; g < m->n_gen.n; g++) {
		if (m->n_gen.values[g] == 0)
			continue;
		c.n_gen = m->n_gen.values[g];
		int syncs = m->syncs.n ? m->syncs.n : 1;
		for (int f = 0; f < m->fusions.n * syncs; f++) {
			c.fusion = m->fusions.values[f / syncs];
			c.queued = m->syncs.n && !strcmp(m->syncs.values[f % syncs], SYNC_NONE);
			for (int i = 0; i < m->modes.n; i++) {
				c.mode = m->modes.values[i];
				emit(l, &c);
			}
		}
	}
}

/* The placement axes as one mixed-radix number: fewer levels of loops. */
static void emit_all(const struct matrix *m, struct cell_list *l)
{
	const int radix[] = {
		m->models.n,  m->n_gpu_layers.n, m->types_k.n,
		m->types_v.n, m->n_threads.n,    m->snapkv.n ? m->snapkv.n : 1,
		m->n_depth.n,
	};
	enum { DIGITS = sizeof radix / sizeof *radix };
	int digit[DIGITS] = {0};
	for (;;) {
		struct cell c = {
			.model = m->models.values[digit[0]],
			.n_gpu_layers = m->n_gpu_layers.values[digit[1]],
			.type_k = m->types_k.values[digit[2]],
			.type_v = m->types_v.values[digit[3]],
			.n_threads = m->n_threads.values[digit[4]],
			.snapkv = m->snapkv.n ? m->snapkv.values[digit[5]] : NULL,
			.n_depth = m->n_depth.values[digit[6]],
		};
		if (c.snapkv && !strcmp(c.snapkv, SNAPKV_OFF))
			c.snapkv = NULL;
		emit_group(m, c, l);
		int i = DIGITS - 1;
		while (i >= 0 && ++digit[i] == radix[i])
			digit[i--] = 0;
		if (i < 0)
			return;
	}
}

int matrix_cells(const struct matrix *m, struct cell **out, int *n, struct error *err)
{
	const struct {
		int n;
		const char *what;
	} axes[] = {
		{m->models.n, "-m: no model; name a GGUF file"},
		{m->n_depth.n, "-d: no depth"},
		{m->modes.n, "--mode: no mode"},
		{m->fusions.n, "--fusion: no value"},
		{m->n_gpu_layers.n, "-ngl: no value"},
		{m->types_k.n, "-ctk: no type"},
		{m->types_v.n, "-ctv: no type"},
		{m->n_threads.n, "-t: no value"},
		{m->snapkv.n ? m->snapkv.n : 1, "--snapkv: no value"},
	};
	*out = NULL;
	*n = 0;
	long long bound = 1;
	for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
		if (axes[i].n == 0)
			return error_set(err, ERROR_INPUT, "%s", axes[i].what);
		bound *= axes[i].n;
		if (bound > MATRIX_MAX_CELLS)
			return error_set(err, ERROR_INPUT, "the axes span more than %d cells; sweep fewer values",
					 MATRIX_MAX_CELLS);
	}
	struct cell_list l = {NULL, 0};
	emit_all(m, &l);
	if (l.n == 0)
		return error_set(err, ERROR_INPUT, "nothing to measure: give -p or -n a value above 0");
	if (l.n > MATRIX_MAX_CELLS)
		return error_set(err, ERROR_INPUT, "the axes span %lld cells, the limit is %d; sweep fewer values", l.n,
				 MATRIX_MAX_CELLS);
	l.cells = calloc((size_t)l.n, sizeof *l.cells);
	if (!l.cells)
		return error_set(err, ERROR_MEMORY, "no memory for %lld cells; sweep fewer values", l.n);
	l.n = 0;
	emit_all(m, &l);
	*out = l.cells;
	*n = (int)l.n;
	return 0;
}

static void word_axis_free(struct word_axis *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->values[i]);
	free(a->values);
	*a = (struct word_axis){0};
}

void matrix_free(struct matrix *m)
{
	struct word_axis *words[] = {&m->models,  &m->modes,   &m->fusions, &m->syncs,
				     &m->types_k, &m->types_v, &m->snapkv};
	struct int_axis *ints[] = {&m->n_prompt, &m->n_gen, &m->n_depth, &m->n_gpu_layers, &m->n_threads};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		word_axis_free(words[i]);
	for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
		free(ints[i]->values);
		*ints[i] = (struct int_axis){0};
	}
}

int cell_same_placement(const struct cell *a, const struct cell *b)
{
	return !strcmp(a->model, b->model) && a->n_gpu_layers == b->n_gpu_layers && !strcmp(a->type_k, b->type_k) &&
	       !strcmp(a->type_v, b->type_v) && a->n_threads == b->n_threads;
}

int cell_same_snapkv(const struct cell *a, const struct cell *b)
{
	return !a->snapkv == !b->snapkv && (!a->snapkv || !strcmp(a->snapkv, b->snapkv));
}

int cell_same_group(const struct cell *a, const struct cell *b)
{
	return cell_same_placement(a, b) && a->n_depth == b->n_depth && cell_same_snapkv(a, b);
}

int cell_same_unit(const struct cell *a, const struct cell *b)
{
	return cell_same_group(a, b) && a->n_prompt == b->n_prompt && a->n_gen == b->n_gen &&
	       !strcmp(a->fusion, b->fusion) && a->queued == b->queued;
}

int cell_same(const struct cell *a, const struct cell *b)
{
	return cell_same_unit(a, b) && !strcmp(a->mode, b->mode);
}

int cell_is_direct(const struct cell *c)
{
	return !strcmp(c->mode, MODE_REFERENCE);
}

int cell_snapkv_budget(const struct cell *c)
{
	return c->snapkv ? atoi(c->snapkv) : 0;
}

void cell_label(const struct cell *c, char out[CELL_LABEL_SIZE])
{
	int n = c->n_prompt ? snprintf(out, CELL_LABEL_SIZE, "pp%d", c->n_prompt)
			    : snprintf(out, CELL_LABEL_SIZE, "tg%d", c->n_gen);
	if (c->n_depth && n > 0 && n < CELL_LABEL_SIZE)
		snprintf(out + n, CELL_LABEL_SIZE - (size_t)n, " @ d%d", c->n_depth);
}
