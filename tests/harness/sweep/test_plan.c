/*
 * The order of a sweep over many seeds: every order of placements, depths, units and modes comes up, each as often as
 * the others, and none follows from another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/sweep/plan.h"
#include "tests/support/ok.h"

enum { THREE = 3, ORDERS = 6, UNITS = 2, SEEDS = 1800 };
enum { GROUP = UNITS * THREE, PLACEMENT = THREE * GROUP, CELLS = THREE * PLACEMENT };

/* Three placements, three depths, two fusions, three modes; a cell's index says which. */
static void make_cells(struct cell cells[CELLS])
{
	static const char *const fusions[] = {"none", "full"}, *const modes[] = {"direct", "graph-params",
										 "graph-device"};
	for (int i = 0; i < CELLS; i++)
		cells[i] = (struct cell){
			.model = "m.gguf",
			.type_k = "f16",
			.type_v = "f16",
			.n_threads = 1 + i / PLACEMENT,
			.n_depth = 1000 * (i % PLACEMENT / GROUP),
			.fusion = fusions[i % GROUP / THREE],
			.mode = modes[i % THREE],
			.n_gen = 8,
		};
}

/* The number, 0 to 5, of an order of 0, 1 and 2. */
static int number_of(const int order[THREE])
{
	int all = 0;
	for (int i = 0; i < THREE; i++) {
		assert_in_range(order[i], 0, THREE - 1);
		all |= 1 << order[i];
	}
	assert_int_equal(all, 7);
	return 2 * order[0] + (order[1] > order[2]);
}

/* What was shuffled in one plan, by what the cells are, not when they come. */
struct orders {
	int placements;
	int depths[THREE];               /* of each placement */
	int units[THREE * THREE];        /* of each group: 1 where fusion full comes first */
	int modes[THREE * THREE][UNITS]; /* of each unit of each group */
};

static struct orders orders_of(const struct plan *p)
{
	struct orders o;
	int placements[THREE];
	assert_int_equal(p->n_groups, THREE * THREE);
	for (int i = 0; i < THREE; i++) {
		int depths[THREE], placement = p->groups[THREE * i].sequence[0] / PLACEMENT;
		placements[i] = placement;
		for (int j = 0; j < THREE; j++) {
			const struct plan_group *g = &p->groups[THREE * i + j];
			int group = g->sequence[0] / GROUP;
			assert_int_equal(g->n, GROUP);
			assert_int_equal(group / THREE, placement); /* a placement's depths follow each other */
			depths[j] = group % THREE;
			o.units[group] = g->sequence[0] % GROUP >= THREE;
			for (int u = 0; u < UNITS; u++) {
				const int *cells = &g->sequence[THREE * u];
				int unit = cells[0] % GROUP / THREE, modes[THREE];
				for (int k = 0; k < THREE; k++) {
					/* So do a group's units, and their modes. */
					assert_int_equal(cells[k] / THREE, group * UNITS + unit);
					modes[k] = cells[k] % THREE;
				}
				assert_int_equal(unit, u ? !o.units[group] : o.units[group]);
				o.modes[group][unit] = number_of(modes);
			}
		}
		o.depths[placement] = number_of(depths);
	}
	o.placements = number_of(placements);
	return o;
}

/* How often each pair of orders came up: as often as any other one, and so each order alone. */
struct pairs {
	const char *what;
	int n_a, n_b;
	int counts[ORDERS][ORDERS];
};

/* Standard deviations of a count: one in 3.5 million is farther out, and seeds are what they are. */
static const double FAR = 5;

static void check_pairs(const struct pairs *p)
{
	double n = p->n_a * p->n_b, expected = SEEDS / n, variance = expected * (1 - 1 / n);
	for (int a = 0; a < p->n_a; a++)
		for (int b = 0; b < p->n_b; b++) {
			double off = p->counts[a][b] - expected;
			if (off * off > FAR * FAR * variance)
				fail_msg("%s: orders %d and %d came up %d times together, of %d", p->what, a, b,
					 p->counts[a][b], SEEDS);
		}
}

static void test_shuffled(void **state)
{
	(void)state;
	static struct pairs depths = {"placements and a placement's depths", ORDERS, ORDERS, {{0}}},
			    other = {"two placements' depths", ORDERS, ORDERS, {{0}}},
			    last = {"the other two placements' depths", ORDERS, ORDERS, {{0}}},
			    units = {"a group's units and its depth's place", 2, ORDERS, {{0}}},
			    groups = {"two groups' units", 2, 2, {{0}}},
			    modes = {"two units' modes", ORDERS, ORDERS, {{0}}},
			    apart = {"two groups' modes", ORDERS, ORDERS, {{0}}};
	struct cell cells[CELLS];
	make_cells(cells);
	for (int seed = 0; seed < SEEDS; seed++) {
		struct plan p;
		OK(plan_build(cells, CELLS, (uint64_t)seed, &p, e));
		struct orders o = orders_of(&p);
		depths.counts[o.placements][o.depths[0]]++;
		other.counts[o.depths[0]][o.depths[1]]++;
		last.counts[o.depths[1]][o.depths[2]]++;
		units.counts[o.units[0]][o.depths[0]]++;
		groups.counts[o.units[0]][o.units[4]]++;
		modes.counts[o.modes[0][0]][o.modes[0][1]]++;
		apart.counts[o.modes[1][0]][o.modes[8][1]]++;
		plan_free(&p);
	}
	const struct pairs *all[] = {&depths, &other, &last, &units, &groups, &modes, &apart};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		check_pairs(all[i]);
}

/* Cells that are the same in every axis: next to each other, and either comes first. */
static void test_twins(void **state)
{
	(void)state;
	enum { TWINS = 2, N = 4 };
	struct cell cells[CELLS], pairs[N];
	int first[N] = {0}, leading[TWINS] = {0};
	make_cells(cells);
	for (int i = 0; i < N; i++)
		pairs[i] = cells[i / TWINS];
	for (int seed = 0; seed < SEEDS; seed++) {
		struct plan p;
		OK(plan_build(pairs, N, (uint64_t)seed, &p, e));
		assert_int_equal(p.n_groups, 1);
		const int *s = p.groups[0].sequence;
		assert_int_equal(p.groups[0].n, N);
		for (int i = 0; i < N; i += TWINS) {
			assert_int_equal(s[i] / TWINS, s[i + 1] / TWINS);
			assert_int_not_equal(s[i], s[i + 1]);
			first[s[i]]++;
		}
		assert_int_not_equal(s[0] / TWINS, s[2] / TWINS);
		leading[s[0] / TWINS]++;
		plan_free(&p);
	}
	/* 900 of 1800, whose standard deviation is 21. */
	for (int i = 0; i < N; i++)
		assert_in_range(first[i], 900 - 5 * 21, 900 + 5 * 21);
	assert_in_range(leading[0], 900 - 5 * 21, 900 + 5 * 21);
}

/* A plan is of its seed alone. */
static void test_seeded(void **state)
{
	(void)state;
	struct cell cells[CELLS];
	struct plan a, b;
	int same = 0;
	make_cells(cells);
	for (int seed = 0; seed < 100; seed++) {
		OK(plan_build(cells, CELLS, (uint64_t)seed, &a, e));
		OK(plan_build(cells, CELLS, (uint64_t)seed, &b, e));
		assert_memory_equal(a.owned, b.owned, sizeof(int) * CELLS);
		plan_free(&b);
		OK(plan_build(cells, CELLS, (uint64_t)seed + 1, &b, e));
		same += !memcmp(a.owned, b.owned, sizeof(int) * CELLS);
		plan_free(&a);
		plan_free(&b);
	}
	assert_int_equal(same, 0);
}

/* Odd repetitions run a group backwards: cell i of one is cell n - 1 - i of the next. */
static void test_abba(void **state)
{
	(void)state;
	int sequence[] = {4, 2, 7, 1, 3};
	const struct plan_group g = {sequence, 5};
	for (int r = 0; r < 6; r++)
		for (int i = 0; i < g.n; i++)
			assert_int_equal(plan_cell(&g, r, i), sequence[r % 2 ? 4 - i : i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shuffled),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_seeded),
		cmocka_unit_test(test_abba),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
