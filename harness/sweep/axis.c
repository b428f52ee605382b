#include "harness/sweep/axis.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

const char *const axis_syncs[] = {SYNC_TOKEN, SYNC_NONE, NULL};
const char *const axis_prefill_rows[] = {PREFILL_ROWS_OF_LAST, PREFILL_ROWS_OF_ALL, NULL};

#define AXIS(ID, kind_of, member, column_of, ...)               \
	[AXIS_##ID] = {.name = #member,                         \
		       .column = #column_of,                    \
		       .kind = AXIS_##kind_of,                  \
		       .offset = offsetof(struct cell, member), \
		       __VA_ARGS__},
const struct axis axes[AXIS_COUNT] = {AXIS_LIST(AXIS)};
#undef AXIS

int axis_find(const char *name)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		if (!strcmp(axes[a].name, name))
			return a;
	return -1;
}

const char *axis_option(enum axis_id a, char out[AXIS_TEXT_SIZE])
{
	size_t n = strcspn(axes[a].option, ",");
	n = n < AXIS_TEXT_SIZE ? n : AXIS_TEXT_SIZE - 1;
	memcpy(out, axes[a].option, n);
	out[n] = '\0';
	return out;
}

int cell_int(const struct cell *c, enum axis_id a)
{
	int value;
	assert(axes[a].kind == AXIS_INT);
	memcpy(&value, (const char *)c + axes[a].offset, sizeof value);
	return value;
}

const char *cell_word(const struct cell *c, enum axis_id a)
{
	const char *value;
	assert(axes[a].kind == AXIS_WORD);
	memcpy(&value, (const char *)c + axes[a].offset, sizeof value);
	return value ? value : axes[a].absent;
}

void cell_set_int(struct cell *c, enum axis_id a, int value)
{
	assert(axes[a].kind == AXIS_INT);
	memcpy((char *)c + axes[a].offset, &value, sizeof value);
}

void cell_set_word(struct cell *c, enum axis_id a, const char *value)
{
	assert(axes[a].kind == AXIS_WORD);
	memcpy((char *)c + axes[a].offset, &value, sizeof value);
}

const char *cell_text(const struct cell *c, enum axis_id a, char number[AXIS_TEXT_SIZE])
{
	if (axes[a].kind == AXIS_WORD)
		return cell_word(c, a) ? cell_word(c, a) : "";
	if (a == AXIS_GPU_LAYERS && cell_int(c, a) == AXIS_LAYERS_AUTO)
		return "auto";
	snprintf(number, AXIS_TEXT_SIZE, "%d", cell_int(c, a));
	return number;
}

int cell_is_default(const struct cell *c, enum axis_id a)
{
	char number[AXIS_TEXT_SIZE];
	const char *text = cell_text(c, a, number);
	/* What a default was resolved to is one where it is what there was before the choice. */
	return axes[a].defaults && (!strcmp(text, axes[a].defaults) ||
				    (axes[a].resolved && axes[a].absent && !strcmp(text, axes[a].absent)));
}

int cell_same_value(const struct cell *a, const struct cell *b, enum axis_id axis)
{
	if (axis == AXIS_MODEL && *a->model_hash && *b->model_hash)
		return !strcmp(a->model_hash, b->model_hash);
	if (axes[axis].kind == AXIS_INT)
		return cell_int(a, axis) == cell_int(b, axis);
	const char *x = cell_word(a, axis), *y = cell_word(b, axis);
	return x == y || (x && y && !strcmp(x, y));
}

int cell_same_to(const struct cell *a, const struct cell *b, enum axis_level level)
{
	for (int i = 0; i < AXIS_COUNT; i++)
		if (axes[i].level <= level && !cell_same_value(a, b, (enum axis_id)i))
			return 0;
	return 1;
}

int cell_same_placement(const struct cell *a, const struct cell *b)
{
	return cell_same_to(a, b, AXIS_LEVEL_PLACEMENT);
}

int cell_same_group(const struct cell *a, const struct cell *b)
{
	return cell_same_to(a, b, AXIS_LEVEL_GROUP);
}

int cell_same_unit(const struct cell *a, const struct cell *b)
{
	return cell_same_to(a, b, AXIS_LEVEL_UNIT);
}

int cell_same(const struct cell *a, const struct cell *b)
{
	return cell_same_to(a, b, AXIS_LEVEL_MODE);
}

int cell_is_prompt(const struct cell *c)
{
	return c->n_prompt && !c->n_gen;
}

const char *cell_mode(const struct cell *c)
{
	return cell_word(c, cell_is_prompt(c) ? AXIS_PREFILL_MODE : AXIS_MODE);
}

int cell_is_direct(const struct cell *c)
{
	return !strcmp(cell_mode(c), MODE_REFERENCE);
}

int cell_is_queued(const struct cell *c)
{
	return !strcmp(cell_word(c, AXIS_SYNC), SYNC_NONE);
}

int cell_loops(const struct cell *c)
{
	return c->n_gen && (!strcmp(cell_mode(c), "graph-while") || !strcmp(cell_mode(c), "graph-loop"));
}

int cell_runs_twice(const struct cell *c)
{
	return cell_is_queued(c) || cell_loops(c);
}

int cell_computes_all_rows(const struct cell *c)
{
	return !strcmp(cell_word(c, AXIS_PREFILL_ROWS), PREFILL_ROWS_OF_ALL);
}

int cell_has_axis(const struct cell *c, enum axis_id a)
{
	if (cell_is_prompt(c))
		return !axes[a].decode_only;
	return !axes[a].no_decode && (c->n_prompt || !axes[a].prompt_only);
}

int cell_snapkv_budget(const struct cell *c)
{
	return c->snapkv ? atoi(c->snapkv) : 0; /* "off" has none */
}

void cell_label(const struct cell *c, char out[CELL_LABEL_SIZE])
{
	int n = 0;
	/* Somebody's row may be of neither. */
	if (!c->n_prompt && !c->n_gen)
		n = snprintf(out, CELL_LABEL_SIZE, "no tokens");
	if (c->n_prompt)
		n = snprintf(out, CELL_LABEL_SIZE, "pp%d", c->n_prompt);
	if (c->n_gen)
		n += snprintf(out + n, CELL_LABEL_SIZE - (size_t)n, "%stg%d", n ? "+" : "", c->n_gen);
	if (c->n_depth && n > 0 && n < CELL_LABEL_SIZE)
		snprintf(out + n, CELL_LABEL_SIZE - (size_t)n, " @ d%d", c->n_depth);
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Two files may have names that differ, and be called the same. */
static size_t shown_name(const char *path, char out[CELL_MODEL_SIZE])
{
	const char *name = file_name(path);
	return text_name(out, CELL_MODEL_SIZE - CELL_MARK_SIZE, name, strlen(name));
}

int cell_model_shares_name(const struct cell *c, const struct cell *cells, int n)
{
	char name[CELL_MODEL_SIZE], other[CELL_MODEL_SIZE];
	shown_name(c->model, name);
	for (int i = 0; i < n; i++) {
		shown_name(cells[i].model, other);
		if (!cell_same_value(c, &cells[i], AXIS_MODEL) && !strcmp(name, other))
			return 1;
	}
	return 0;
}

void cell_model_name(const struct cell *c, const struct cell *cells, int n, char out[CELL_MODEL_SIZE])
{
	size_t used = shown_name(c->model, out);
	if (*c->model_hash && cell_model_shares_name(c, cells, n))
		snprintf(out + used, CELL_MODEL_SIZE - used, "#%.8s", c->model_hash);
}
