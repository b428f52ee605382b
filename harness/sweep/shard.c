#include "harness/sweep/shard.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/*
 * Tokens of a prompt that take as long as a decoded one. E4B in Q8_0 on an H100: 186 at depth 0, 129 at 16384
 * (results/h100-e4b); a small model on two cores: 5 to 10. Machines differ, and all must divide alike: between the two.
 */
static const double PROMPT_TOKENS = 32;
/* What a second reads: tens of GB on a host, thousands on a GPU. */
static const double SECOND_BYTES = 1e11;
/* Of a run, whatever it measures: its rows are forced to the disk, and graphs are captured. */
static const double RUN_BYTES = 1e8;
static const double KIB = 1024;

/* Entries that attention reads at this position. */
static double attended(const struct cell *c, double pos)
{
	int budget = cell_snapkv_budget(c);
	return budget && budget < c->n_depth ? budget + pos - c->n_depth : pos;
}

/* n tokens from this position on: decoded one by one; of a prompt. */
static double decode_bytes(const struct cell *c, const struct shard_model *m, double pos, double n)
{
	return n * (m->token + m->position * attended(c, pos + n / 2));
}

static double prompt_bytes(const struct cell *c, const struct shard_model *m, double pos, double n)
{
	return decode_bytes(c, m, pos, n) / PROMPT_TOKENS;
}

double shard_cell_cost(const struct cell *c, const struct shard_model *m, const struct shard_effort *e)
{
	double prompt = prompt_bytes(c, m, c->n_depth, c->n_prompt), run = RUN_BYTES + e->delay_s * SECOND_BYTES;
	/* A graph's capture takes a prompt of its own. */
	if (!c->n_gen)
		return run + (2 - cell_is_direct(c)) * prompt;
	/* As the runner goes through it: a prompt in front of the warm-up and of each pass over the tokens. */
	double pos = (double)c->n_depth + c->n_prompt;
	int passes = 1 + cell_runs_twice(c);
	return run + (1 + passes) * prompt + decode_bytes(c, m, pos, e->warmup) +
	       passes * decode_bytes(c, m, pos, c->n_gen);
}

static int same_unit(const struct cell *a, const struct cell *b)
{
	return cell_same_placement(a, b) && cell_same_value(a, b, AXIS_DEPTH);
}

/* While cells are divided. */
struct unit {
	double cost; /* KiB, the model's load apart */
	double load; /* of its placement */
	int placement;
	int first; /* cell */
};

struct division {
	struct shards *out;
	struct unit *units; /* (out->n_units) */
	int *order;         /* (out->n_units), the dearest first */
	int n_placements;
	unsigned char *loaded; /* (out->n, n_placements) */
};

/* A unit that began in an earlier group of the placement, or a new one. */
static int unit_of(struct division *d, const struct cell *cells, int i, int first_of_placement)
{
	for (int u = first_of_placement; u < d->out->n_units; u++)
		if (same_unit(&cells[d->units[u].first], &cells[i]))
			return u;
	d->units[d->out->n_units] = (struct unit){.placement = d->n_placements - 1, .first = i};
	return d->out->n_units++;
}

/* Units, and what they cost: their cells, a reference for each unit of modes, and the context of each group. */
static int estimate(struct division *d, const struct cell *cells, const struct shard_effort *e,
		    const struct shard_models *models, struct error *err)
{
	struct shard_model m = {0};
	int first = 0, unit = 0;
	for (int i = 0; i < d->out->n_cells; i++) {
		const struct cell *c = &cells[i];
		if (!i || !cell_same_placement(c - 1, c)) {
			int rc = models->find(models->ctx, c, &m, err);
			if (rc)
				return rc;
			first = d->out->n_units;
			d->n_placements++;
		}
		struct cell filled = *c;
		filled.snapkv = NULL; /* the prompt is evicted from when all of it is there */
		double cell = shard_cell_cost(c, &m, e), cost = e->repetitions * cell;
		if (!i || !cell_same_group(c - 1, c)) {
			unit = unit_of(d, cells, i, first);
			cost += prompt_bytes(&filled, &m, 0, c->n_depth);
		}
		if (!i || !cell_same_unit(c - 1, c))
			cost += cell;
		d->out->unit[i] = unit;
		/* Whole numbers: however a machine rounds, all come to the same ones, and to the same sums. */
		d->units[unit].cost += ceil(cost / KIB);
		d->units[unit].load = ceil(2 * m.file / KIB);
	}
	return 0;
}

static int compare_units(const void *a, const void *b, void *ctx)
{
	const struct division *d = ctx;
	int x = *(const int *)a, y = *(const int *)b;
	double of_x = d->units[x].cost + d->units[x].load, of_y = d->units[y].cost + d->units[y].load;
	return of_x != of_y ? (of_x < of_y ? 1 : -1) : (x > y) - (x < y);
}

static unsigned char *loaded(const struct division *d, int shard, const struct unit *u)
{
	return &d->loaded[(size_t)shard * (size_t)d->n_placements + (size_t)u->placement];
}

static void assign(struct division *d, int *shard_of_unit)
{
	struct shards *s = d->out;
	for (int i = 0; i < s->n_units; i++) {
		const struct unit *u = &d->units[d->order[i]];
		int best = 0;
		double least = INFINITY;
		for (int k = 0; k < s->n; k++) {
			double with = s->cost[k] + u->cost + (*loaded(d, k, u) ? 0 : u->load);
			if (with < least) {
				least = with;
				best = k;
			}
		}
		s->cost[best] = least;
		*loaded(d, best, u) = 1;
		shard_of_unit[d->order[i]] = best;
	}
}

static int no_memory(int n_cells, int n, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory to divide %d cells among %d shards; sweep fewer values", n_cells,
			 n);
}

int shards_divide(const struct cell *cells, int n_cells, int n, const struct shard_effort *e,
		  const struct shard_models *models, struct shards *out, struct error *err)
{
	assert(n >= 1 && n <= SHARDS_MAX && n_cells >= 0);
	size_t room = (size_t)n_cells + 1;
	*out = (struct shards){.n = n, .n_cells = n_cells};
	struct division d = {.out = out};
	int *shard_of_unit = calloc(room, sizeof *shard_of_unit), rc = 0;
	out->unit = calloc(room, sizeof *out->unit);
	out->of = calloc(room, sizeof *out->of);
	out->cells = calloc((size_t)n, sizeof *out->cells);
	out->cost = calloc((size_t)n, sizeof *out->cost);
	d.units = calloc(room, sizeof *d.units);
	d.order = calloc(room, sizeof *d.order);
	if (!shard_of_unit || !out->unit || !out->of || !out->cells || !out->cost || !d.units || !d.order)
		rc = no_memory(n_cells, n, err);
	if (!rc)
		rc = estimate(&d, cells, e, models, err);
	if (!rc && !(d.loaded = calloc((size_t)n * (size_t)d.n_placements + 1, 1)))
		rc = no_memory(n_cells, n, err);
	if (!rc) {
		for (int u = 0; u < out->n_units; u++)
			d.order[u] = u;
		qsort_r(d.order, (size_t)out->n_units, sizeof *d.order, compare_units, &d);
		assign(&d, shard_of_unit);
	}
	for (int i = 0; i < n_cells && !rc; i++) {
		out->of[i] = shard_of_unit[out->unit[i]];
		out->cells[out->of[i]]++;
	}
	free(d.loaded);
	free(d.order);
	free(d.units);
	free(shard_of_unit);
	return rc;
}

void shards_free(struct shards *s)
{
	free(s->unit);
	free(s->of);
	free(s->cells);
	free(s->cost);
	*s = (struct shards){0};
}

int shards_keep(const struct shards *s, int shard, struct cell *cells)
{
	int kept = 0;
	for (int i = 0; i < s->n_cells; i++)
		if (s->of[i] == shard)
			cells[kept++] = cells[i];
	return kept;
}

uint64_t shards_hash(const struct shards *s, const struct cell *cells)
{
	uint64_t hash = (uint64_t)s->n;
	int model = 0;
	for (int i = 0; i < s->n_cells; i++) {
		char number[AXIS_TEXT_SIZE];
		model += i && !cell_same_value(&cells[i - 1], &cells[i], AXIS_MODEL);
		snprintf(number, sizeof number, "%d/%d", model, s->of[i]);
		hash = hash_bytes(number, strlen(number) + 1, hash);
		for (int a = 0; a < AXIS_COUNT; a++) {
			const char *text = a == AXIS_MODEL ? "" : cell_text(&cells[i], (enum axis_id)a, number);
			hash = hash_bytes(text, strlen(text) + 1, hash);
		}
	}
	return hash;
}
