/*
 * Dividing a sweep: every cell in one shard, what is compared in the same one, the same division everywhere, and
 * balanced: held against the best of all divisions where those can be gone through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/sweep/matrix.h"
#include "harness/sweep/shard.h"
#include "tests/support/ok.h"

static const struct shard_effort EFFORT = {.repetitions = 3, .warmup = 4};

struct sizes {
	double file, token, position;
	int found; /* calls */
};

static int find_model(void *ctx, const struct cell *placement, struct shard_model *out, struct error *err)
{
	struct sizes *s = ctx;
	(void)err;
	s->found++;
	double times = strcmp(placement->model, "big.gguf") ? 1 : 3;
	*out = (struct shard_model){times * s->file, times * s->token, s->position};
	return 0;
}

static struct shards divide(const struct cell *cells, int n_cells, int n, struct sizes *sizes)
{
	struct shards s;
	struct shard_models models = {sizes, find_model};
	OK(shards_divide(cells, n_cells, n, &EFFORT, &models, &s, e));
	return s;
}

struct axis_list {
	enum axis_id axis;
	const char *values;
};

static int make_cells(const struct axis_list *lists, struct cell **cells, struct matrix *m)
{
	int n = 0;
	*m = (struct matrix){0};
	for (; lists->values; lists++)
		OK(matrix_add(m, lists->axis, lists->values, e));
	OK(matrix_defaults(m, e));
	OK(matrix_cells(m, NULL, cells, &n, e));
	return n;
}

static double most_of(const struct shards *s)
{
	double most = 0;
	for (int i = 0; i < s->n; i++)
		most = s->cost[i] > most ? s->cost[i] : most;
	return most;
}

/* The least that the dearest of n shards can cost: all divisions gone through. */
static double optimum(const double *units, int n_units, double *sums, int n, double best)
{
	double most = 0;
	for (int i = 0; i < n; i++)
		most = sums[i] > most ? sums[i] : most;
	if (most >= best)
		return best;
	if (!n_units)
		return most;
	for (int i = 0; i < n; i++) {
		sums[i] += *units;
		best = optimum(units + 1, n_units - 1, sums, n, best);
		sums[i] -= *units;
		if (sums[i] == 0)
			break; /* the empty ones are alike */
	}
	return best;
}

/* What a unit costs is what a shard of it alone does. */
static void is_near_the_best_division(void **state)
{
	(void)state;
	uint64_t random = 7;
	int better_than_round_robin = 0;
	for (int round = 0; round < 60; round++) {
		struct cell cells[9];
		double alone[9];
		int n_units = 2 + (int)(random_below(&random, 8)), n = 1 + (int)(random_below(&random, 4));
		struct sizes sizes = {.token = 1e9, .position = 1e5};
		double turns[4] = {0}, sums[4] = {0};
		for (int i = 0; i < n_units; i++) {
			cells[i] = (struct cell){.model = "m.gguf", .type_k = "f16", .type_v = "f16", .mode = "direct"};
			cells[i].n_depth = 1000 * i;
			cells[i].n_gen = 1 + (int)(random_below(&random, 300));
			struct shards one = divide(&cells[i], 1, 1, &sizes);
			turns[i % n] += alone[i] = one.cost[0];
			shards_free(&one);
		}
		struct shards s = divide(cells, n_units, n, &sizes);
		assert_int_equal(s.n_units, n_units);
		for (int i = 0; i < n_units; i++)
			sums[s.of[i]] += alone[i];
		for (int i = 0; i < n; i++)
			assert_true(sums[i] == s.cost[i]);
		double none[4] = {0}, best = optimum(alone, n_units, none, n, 1e300);
		assert_true(most_of(&s) >= best);
		/* Graham's bound of the dearest first. */
		assert_true(most_of(&s) <= best * (4.0 / 3 - 1.0 / (3 * n)) * (1 + 1e-12));
		double most_by_turns = 0;
		for (int i = 0; i < n; i++)
			most_by_turns = turns[i] > most_by_turns ? turns[i] : most_by_turns;
		better_than_round_robin += most_of(&s) < most_by_turns;
		shards_free(&s);
	}
	assert_in_range(better_than_round_robin, 20, 60);
}

static void loads_a_model_where_it_is(void **state)
{
	(void)state;
	struct axis_list lists[] = {{AXIS_MODEL, "a.gguf,b.gguf"},
				    {AXIS_DEPTH, "0,64,128,192"},
				    {AXIS_PROMPT, "0"},
				    {AXIS_GEN, "8"},
				    {AXIS_MODE, "direct"},
				    {0, NULL}};
	struct matrix m;
	struct cell *cells;
	int n = make_cells(lists, &cells, &m);
	struct sizes sizes = {.file = 1e13, .token = 1e6};
	struct shards s = divide(cells, n, 2, &sizes);
	assert_int_equal(n, 8);
	assert_int_equal(sizes.found, 2);
	for (int i = 0; i < n; i++)
		assert_int_equal(s.of[i], s.of[i / 4 * 4]);
	assert_int_not_equal(s.of[0], s.of[4]);
	/* Twice the file, and hardly anything else. */
	assert_true(s.cost[0] > 2e13 / 1024 && s.cost[0] < 2.1e13 / 1024);
	shards_free(&s);
	free(cells);
	matrix_free(&m);
}

/* Odd matrices: each cell once, compared cells together, and empty shards only where there are too few units. */
static void keeps_together_what_is_compared(void **state)
{
	(void)state;
	static const struct {
		struct axis_list lists[12];
		int units;
	} cases[] = {
		{{{AXIS_MODEL, "m.gguf"}, {0, NULL}}, 1},
		{{{AXIS_MODEL, "m.gguf"},
		  {AXIS_DEPTH, "0-4096+1024"},
		  {AXIS_SNAPKV, "off,512,1024"},
		  {AXIS_FUSION, "none,full"},
		  {0, NULL}},
		 5},
		{{{AXIS_MODEL, "big.gguf,m.gguf"},
		  {AXIS_GPU_LAYERS, "0,-1,5"},
		  {AXIS_TYPE_K, "f16,f32"},
		  {AXIS_THREADS, "1,3"},
		  {AXIS_DEPTH, "7,0,100000"},
		  {AXIS_SNAPKV, "64,off"},
		  {AXIS_PROMPT, "0,5,512"},
		  {AXIS_GEN, "1,33"},
		  {AXIS_SYNC, "token,none"},
		  {AXIS_PREFILL_ROWS, "last,all"},
		  {AXIS_PREFILL_MODE, "direct,graph-device"},
		  {0, NULL}},
		 72},
	};
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		struct matrix m;
		struct cell *cells;
		int n = make_cells(cases[k].lists, &cells, &m);
		for (int shards = 1; shards <= 13; shards++) {
			struct sizes sizes = {1e9, 1e9, 1e4, 0};
			struct shards s = divide(cells, n, shards, &sizes);
			struct cell *kept = calloc((size_t)n, sizeof *kept);
			int all = 0, empty = 0;
			assert_int_equal(s.n_units, cases[k].units);
			for (int i = 0; i<n; i += n> 500 ? 7 : 1)
				for (int j = 0; j < i; j++)
					if (cell_same_placement(&cells[i], &cells[j]) &&
					    cells[i].n_depth == cells[j].n_depth) {
						assert_int_equal(s.of[i], s.of[j]);
						assert_int_equal(s.unit[i], s.unit[j]);
					}
			for (int i = 0; i < shards; i++) {
				memcpy(kept, cells, (size_t)n * sizeof *kept);
				int n_kept = shards_keep(&s, i, kept), from = 0;
				assert_int_equal(n_kept, s.cells[i]);
				assert_true(n_kept ? s.cost[i] > 0 : s.cost[i] == 0);
				/* In their order. */
				for (int c = 0; c < n_kept; c++) {
					while (from < n && !(s.of[from] == i && cell_same(&kept[c], &cells[from])))
						from++;
					assert_true(from++ < n);
				}
				all += n_kept;
				empty += !n_kept;
			}
			assert_int_equal(all, n);
			assert_int_equal(empty, shards > s.n_units ? shards - s.n_units : 0);
			free(kept);
			shards_free(&s);
		}
		free(cells);
		matrix_free(&m);
	}
}

static void divides_alike_everywhere(void **state)
{
	(void)state;
	struct axis_list lists[] = {{AXIS_MODEL, "/here/m.gguf"}, {AXIS_DEPTH, "0-900+100"}, {0, NULL}};
	struct axis_list elsewhere[] = {{AXIS_MODEL, "m.gguf"}, {AXIS_DEPTH, "0-900+100"}, {0, NULL}};
	struct axis_list other[] = {{AXIS_MODEL, "m.gguf"}, {AXIS_DEPTH, "0-800+100,901"}, {0, NULL}};
	const struct axis_list *all[] = {lists, elsewhere, other};
	uint64_t hashes[3], in_three = 0;
	int of[50];
	for (int i = 0; i < 3; i++) {
		struct matrix m;
		struct cell *cells;
		struct sizes sizes = {.token = 1e9};
		int n = make_cells(all[i], &cells, &m);
		assert_int_equal(n, 50);
		struct shards s = divide(cells, n, 4, &sizes), three = divide(cells, n, 3, &sizes);
		hashes[i] = shards_hash(&s, cells);
		in_three = i ? in_three : shards_hash(&three, cells);
		if (!i)
			memcpy(of, s.of, sizeof of);
		else if (i == 1)
			assert_memory_equal(of, s.of, sizeof of);
		/* The same cells in as many shards, but one of them elsewhere: of a model of another size, say. */
		s.of[0] = (s.of[0] + 1) % s.n;
		assert_true(shards_hash(&s, cells) != hashes[i]);
		shards_free(&three);
		shards_free(&s);
		free(cells);
		matrix_free(&m);
	}
	assert_true(hashes[0] == hashes[1]);
	assert_true(hashes[0] != hashes[2]);
	assert_true(hashes[0] != in_three);
}

static void costs_what_is_read(void **state)
{
	(void)state;
	struct shard_model m = {.token = 1e9, .position = 1e6};
	struct shard_effort e = {.repetitions = 5, .warmup = 4};
	struct cell c = {.model = "m.gguf", .n_gen = 10, .mode = "direct"};
	double run = 1e8;
	/* 4 tokens over 2 positions on average, 10 over 5. */
	assert_true(shard_cell_cost(&c, &m, &e) == run + 4 * (1e9 + 2e6) + 10 * (1e9 + 5e6));
	c.n_depth = 1000;
	assert_true(shard_cell_cost(&c, &m, &e) == run + 4 * (1e9 + 1002e6) + 10 * (1e9 + 1005e6));
	c.snapkv = "200,64,7";
	assert_true(shard_cell_cost(&c, &m, &e) == run + 4 * (1e9 + 202e6) + 10 * (1e9 + 205e6));
	c.snapkv = NULL;
	c.sync = "none"; /* the tokens once more, for their check */
	assert_true(shard_cell_cost(&c, &m, &e) == run + 4 * (1e9 + 1002e6) + 20 * (1e9 + 1005e6));
	struct cell prompt = {.model = "m.gguf", .n_prompt = 64, .mode = "direct"};
	assert_true(shard_cell_cost(&prompt, &m, &e) == run + 2 * (1e9 + 32e6));
	prompt.prefill_mode = "graph-device";
	assert_true(shard_cell_cost(&prompt, &m, &e) == run + 4 * (1e9 + 32e6));
	e.delay_s = 2;
	assert_true(shard_cell_cost(&prompt, &m, &e) == run + 2e11 + 4 * (1e9 + 32e6));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(costs_what_is_read),        cmocka_unit_test(is_near_the_best_division),
		cmocka_unit_test(loads_a_model_where_it_is), cmocka_unit_test(keeps_together_what_is_compared),
		cmocka_unit_test(divides_alike_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
