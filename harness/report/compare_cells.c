/*
 * Cells are found by a hash of their axes (linear probing): a comparison of thousands takes no time. The model is no
 * part of it: two are the same by their content where both know it, and by their name where one does not.
 */
#include "harness/report/compare_cells.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "harness/report/compare_sides.h"

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for the comparison");
}

/* What is run, not what is measured: words, and numbers that have a default of the program's choice. */
static int can_be_across(int a)
{
	return a >= 0 && a != AXIS_MODEL && (axes[a].kind == AXIS_WORD || axes[a].resolved);
}

int compare_across(const char *name, unsigned *across, struct error *err)
{
	int found = axis_find(name);
	if (can_be_across(found)) {
		*across |= 1u << found;
		return 0;
	}
	char names[256] = "";
	size_t n = 0;
	for (int a = 0; a < AXIS_COUNT; a++) {
		if (can_be_across(a))
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", axes[a].name);
		assert(n < sizeof names);
	}
	return error_set(err, ERROR_INPUT, "'%.40s' is none of %s", name, names);
}

void compare_unite(struct cell *c, unsigned across)
{
	for (int a = 0; a < AXIS_COUNT; a++) {
		if (!(across >> a & 1))
			continue;
		if (axes[a].kind == AXIS_WORD)
			cell_set_word(c, (enum axis_id)a, COMPARE_ACROSS);
		else
			cell_set_int(c, (enum axis_id)a, atoi(axes[a].defaults));
	}
}

/* A key as the sides share it: of models only the name counts where their contents may differ. */
static struct cell key_of(const struct cell *c, const struct compare_options *o)
{
	struct cell key = *c;
	if (o->allow_env_diff)
		key.model_hash[0] = '\0';
	compare_unite(&key, o->across);
	return key;
}

/* The same of cells that are the same. */
static uint64_t hash_of(const struct cell *c)
{
	uint64_t hash = 0;
	for (int a = 0; a < AXIS_COUNT; a++) {
		char number[AXIS_TEXT_SIZE];
		const char *text = a == AXIS_MODEL ? "" : cell_text(c, (enum axis_id)a, number);
		hash = hash_bytes(text, strlen(text) + 1, hash);
	}
	return hash;
}

/* The slot of the cell, or an empty one for it. */
static size_t slot_of(const struct comparison *c, const struct cell *key)
{
	size_t mask = c->n_slots - 1, at = (size_t)hash_of(key) & mask;
	while (c->slots[at] && !cell_same(&c->cells[c->slots[at] - 1].cell, key))
		at = (at + 1) & mask;
	return at;
}

static int make_slots(struct comparison *c, size_t n, struct error *err)
{
	free(c->slots);
	c->n_slots = n;
	c->slots = calloc(n, sizeof *c->slots);
	if (!c->slots)
		return no_memory(err);
	for (int i = 0; i < c->n; i++)
		c->slots[slot_of(c, &c->cells[i].cell)] = i + 1;
	return 0;
}

/* Room for one cell more, and two slots a cell. */
static int grow(struct comparison *c, struct error *err)
{
	size_t room = 64;
	while (room <= (size_t)c->n)
		room *= 2;
	if (c->slots && c->n_slots == 2 * room)
		return 0;
	struct compare_cell *grown = realloc(c->cells, room * sizeof *grown);
	if (!grown)
		return no_memory(err);
	c->cells = grown;
	return make_slots(c, 2 * room, err);
}

int compare_cells_collect(struct comparison *c, struct result_set *const *sets, int n, int head, struct error *err)
{
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < sets[i]->n_cells; k++) {
			struct cell key = key_of(&sets[i]->cells[k], &c->options);
			int rc = grow(c, err), set = head ? -1 - i : 1 + i;
			if (rc)
				return rc;
			int *slot = &c->slots[slot_of(c, &key)];
			/* The first text stays where the other side has no hash: files that are older than it. */
			if (!*slot) {
				c->cells[c->n] = (struct compare_cell){.cell = key};
				*slot = ++c->n;
			}
			struct compare_cell *at = &c->cells[*slot - 1];
			for (int other = 0; at->last_set == set && other < k; other++) {
				struct cell before = key_of(&sets[i]->cells[other], &c->options);
				if (cell_same(&before, &key))
					return compare_sides_several_values(sets[i], &sets[i]->cells[other],
									    &sets[i]->cells[k], c->options.across, err);
			}
			at->last_set = set;
			*(head ? &at->in_head : &at->in_base) = 1;
		}
	}
	return 0;
}

enum { DIFFERENCE_SIZE = 160 };

/* "; chunks of 512 here, 2048 in head" of the cell of the other side that differs in the fewest axes. */
static void say_nearest(const struct comparison *c, const struct compare_cell *k, char out[DIFFERENCE_SIZE])
{
	const struct compare_cell *nearest = NULL;
	int fewest = AXIS_COUNT + 1;
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *other = &c->cells[i];
		int n = 0;
		if (other->in_head == k->in_head || other->in_base == k->in_base)
			continue;
		for (int a = 0; a < AXIS_COUNT; a++)
			n += !cell_same_value(&k->cell, &other->cell, (enum axis_id)a);
		if (n < fewest) {
			fewest = n;
			nearest = other;
		}
	}
	out[0] = '\0';
	for (int a = 0; nearest && a < AXIS_COUNT; a++) {
		char there[AXIS_TEXT_SIZE], here[AXIS_TEXT_SIZE];
		size_t n = strlen(out);
		if (!cell_same_value(&k->cell, &nearest->cell, (enum axis_id)a))
			snprintf(out + n, DIFFERENCE_SIZE - n, "%s %s %.40s here, %.40s in %s", n ? "," : ";",
				 axes[a].spoken, cell_text(&k->cell, (enum axis_id)a, here),
				 cell_text(&nearest->cell, (enum axis_id)a, there), nearest->in_head ? "head" : "base");
	}
}

int compare_cells_match(struct comparison *c, struct error *err)
{
	int only[2] = {0}, kept = 0;
	char first[CELL_LABEL_SIZE + 160] = "", nearest[DIFFERENCE_SIZE] = "";
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = &c->cells[i];
		if (k->in_base && k->in_head)
			continue;
		only[k->in_head]++;
		if (!*first) {
			char label[CELL_LABEL_SIZE];
			cell_label(&k->cell, label);
			snprintf(first, sizeof first, "%s %s %s, %d threads, %d GPU layers", label,
				 cell_word(&k->cell, AXIS_MODE), cell_word(&k->cell, AXIS_FUSION), k->cell.n_threads,
				 k->cell.n_gpu_layers);
			say_nearest(c, k, nearest);
		}
	}
	if (*first && !c->options.common_cells)
		return error_set(
			err, ERROR_INPUT,
			"the matrices differ: in base alone %d, in head alone %d of the cells (the first: %s%s); "
			"measure the same ones, or compare what both have with --common-cells, or name the axis that "
			"differs on purpose with --across",
			only[0], only[1], first, nearest);
	for (int i = 0; i < c->n; i++)
		if (c->cells[i].in_base && c->cells[i].in_head)
			c->cells[kept++] = c->cells[i];
	c->n = kept;
	if (!kept)
		return error_set(err, ERROR_INPUT, "base and head have no cell in common; nothing can be compared");
	return make_slots(c, c->n_slots, err);
}

void compare_cells_place(const struct comparison *c, struct result_set *const *sets, int n, int *index, int width,
			 int first)
{
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < c->n; k++)
			index[(size_t)k * (size_t)width + (size_t)(first + i)] = -1;
		for (int k = 0; k < sets[i]->n_cells; k++) {
			struct cell key = key_of(&sets[i]->cells[k], &c->options);
			int at = c->slots[slot_of(c, &key)];
			if (at)
				index[(size_t)(at - 1) * (size_t)width + (size_t)(first + i)] = k;
		}
	}
}

void compare_cells_free(struct comparison *c)
{
	free(c->slots);
	free(c->cells);
	c->slots = NULL;
	c->cells = NULL;
	c->n = 0;
}
