/*
 * Threads that share out loops: every index once and no other, however many threads there are, whether they
 * are awake, late or too many for the machine; that who waits sleeps; and the kernels' bits with and without a team.
 */
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"
#include "tests/support/tasks.h"

enum { MOST = 5000 };

/* Not atomic: an index that two threads take, or a result that is not seen, shows. */
struct counts {
	int of[MOST];
	int n;
	int grain;
	int threads;
	int bad; /* parts that are none */
};

static void count(void *ctx, int begin, int end, int thread)
{
	struct counts *c = ctx;
	if (begin < 0 || begin >= end || end > c->n || end - begin > c->grain || thread < 0 || thread >= c->threads)
		c->bad = 1;
	for (int i = begin; i < end; i++)
		c->of[i]++;
}

static void check_loop(struct counts *c, int n, int grain)
{
	memset(c->of, 0, sizeof c->of);
	c->n = n;
	c->grain = grain;
	c->threads = cpu_threads();
	cpu_parallel(n, grain, count, c);
	assert_int_equal(c->bad, 0);
	for (int i = 0; i < MOST; i++)
		if (c->of[i] != (i < n))
			fail_msg("%d threads, loop of %d by %d: index %d was taken %d times", c->threads, n, grain, i,
				 c->of[i]);
}

static void test_every_index_once(void **state)
{
	(void)state;
	static const int threads[] = {1, 2, 3, 16};
	struct counts c = {.bad = 0};
	for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
		struct cpu_team *team = cpu_team_open(threads[t]);
		assert_non_null(team);
		cpu_team_use(team);
		assert_int_equal(cpu_threads(), threads[t]);
		for (int n = 0; n < 40; n++)
			for (int grain = 1; grain < 10; grain++)
				check_loop(&c, n, grain);
		for (int i = 0; i < 300; i++)
			check_loop(&c, i * 7919 % MOST + 1, i * 31 % 97 + 1);
		cpu_team_use(NULL);
		cpu_team_close(team);
		assert_int_equal(cpu_threads(), 1);
		check_loop(&c, 1234, 7); /* alone */
	}
}

/* A loop reads what the one before it wrote, on other threads. */
static void test_loops_see_each_other(void **state)
{
	(void)state;
	static struct counts a;
	struct cpu_team *team = cpu_team_open(4);
	cpu_team_use(team);
	a = (struct counts){.n = MOST, .grain = 13, .threads = 4};
	for (int i = 0; i < 3000; i++) {
		a.grain = 1 + i % 500;
		cpu_parallel(MOST, a.grain, count, &a);
		if (i % 700 == 0)
			usleep(8000); /* long enough for them to sleep */
	}
	for (int i = 0; i < MOST; i++)
		assert_int_equal(a.of[i], 3000);
	assert_int_equal(a.bad, 0);
	cpu_team_use(NULL);
	cpu_team_close(team);
}

/* Teams that never had a loop, or still sleep, close. */
static void test_close(void **state)
{
	(void)state;
	cpu_team_close(NULL);
	for (int i = 0; i < 20; i++) {
		struct cpu_team *team = cpu_team_open(1 + i % 5);
		assert_non_null(team);
		if (i % 4 == 0)
			usleep(7000);
		cpu_team_close(team);
	}
}

/* A loop of two parts, of which another thread than the calling one has one. */
struct waiting {
	int waits_for; /* 0: the others for the calling thread; 1: it for another */
	struct tasks tasks;
	_Atomic int is_here[2]; /* the calling thread, another one */
	int rested;             /* all threads but the one that is waited for */
};

static void hold(void *ctx, int begin, int end, int thread)
{
	struct waiting *w = ctx;
	(void)begin;
	(void)end;
	w->is_here[thread > 0] = 1;
	while (!w->is_here[0] || !w->is_here[1])
		usleep(100);
	if ((thread > 0) == w->waits_for)
		w->rested = tasks_rest(&w->tasks);
}

/*
 * Whoever waits is asleep in the end, and nothing but the end of what it waits for wakes it: neither a look at
 * intervals nor a yield. Seen from the thread that is waited for, so how fast the machine is does not matter.
 */
static void test_waiting_sleeps(void **state)
{
	(void)state;
	struct waiting w;
	struct cpu_team *team;
	if (tasks_processors() < 2)
		skip(); /* no loop wakes a second thread */
	tasks_begin(&w.tasks);
	team = cpu_team_open(4);
	tasks_end(&w.tasks);
	assert_int_equal(w.tasks.n, 4);
	cpu_team_use(team);
	for (int i = 0; i < 6; i++) {
		assert_true(tasks_rest(&w.tasks)); /* between two loops: and so they are woken for the next */
		w.waits_for = i % 2;
		w.is_here[0] = w.is_here[1] = w.rested = 0;
		cpu_parallel(2, 1, hold, &w);
		assert_true(w.rested);
	}
	cpu_team_use(NULL);
	cpu_team_close(team);
}

static void note_thread(void *ctx, int begin, int end, int thread)
{
	(void)begin;
	(void)end;
	((_Atomic int *)ctx)[thread]++;
	usleep(10);
}

/* Threads beyond the processors sleep through the loops of the others. */
static void test_more_than_processors(void **state)
{
	(void)state;
	cpu_set_t before, few;
	struct tasks tasks;
	assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
	for (int n = 1; n <= 2 && n <= tasks_processors(); n++) {
		_Atomic int taken[8] = {0};
		int64_t sleeps[8];
		CPU_ZERO(&few);
		for (int cpu = 0; CPU_COUNT(&few) < n; cpu++)
			if (CPU_ISSET(cpu, &before))
				CPU_SET(cpu, &few);
		assert_int_equal(sched_setaffinity(0, sizeof few, &few), 0);
		tasks_begin(&tasks);
		struct cpu_team *team = cpu_team_open(8);
		tasks_end(&tasks);
		assert_int_equal(tasks.n, 8);
		assert_true(tasks_rest(&tasks));
		for (int i = 0; i < 8; i++)
			sleeps[i] = tasks_switches(&tasks, i);
		cpu_team_use(team);
		for (int i = 0; i < 100; i++)
			cpu_parallel(100, 1, note_thread, (void *)taken);
		cpu_team_use(NULL);
		assert_true(tasks_rest(&tasks));
		int woken = 0, sum = 0;
		for (int i = 0; i < 8; i++) {
			woken += i > 0 && tasks_switches(&tasks, i) != sleeps[i];
			sum += taken[i];
			assert_true(i < n || taken[i] == 0);
		}
		assert_int_equal(sum, 100 * 100);
		assert_int_equal(woken, n - 1);
		cpu_team_close(team);
		assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
	}
}

static float value(int i)
{
	return (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
}

/* norm, three products and a softcap; gate, up and activation: the bits of one thread without a team. */
static void test_kernel_bits(void **state)
{
	(void)state;
	enum { N = 512, ROWS = 1001 };
	float *w = malloc(sizeof(float) * N * ROWS), *y = calloc(8 * ROWS, sizeof *y), x[N], norm[N], want[8 * ROWS];
	for (int i = 0; i < N * ROWS; i++)
		w[i] = value(i);
	for (int i = 0; i < N; i++) {
		x[i] = value(i + 7);
		norm[i] = value(i + 99);
	}
	const struct weight m = {.type = TENSOR_F32, .n_in = N, .n_out = ROWS, .n_expert = 1, .data = w};
	const struct weight part = {.type = TENSOR_F32, .n_in = N, .n_out = 37, .n_expert = 1, .data = w};
	float normed[N], *gate = y + 4 * ROWS, *up = y + 5 * ROWS, *out = y + 6 * ROWS;
	for (int threads = 1; threads <= 7; threads += 3) {
		struct cpu_team *team = threads > 1 ? cpu_team_open(threads) : NULL;
		cpu_team_use(team);
		k_norm_matmul(&(struct norm_matmul_params){.x = x,
							   .weight = norm,
							   .normed = normed,
							   .w = {m, part, m},
							   .y = {y, y + ROWS, y + 2 * ROWS},
							   .n_matmuls = 3,
							   .n_tokens = 1,
							   .n = N,
							   .eps = 1e-6f,
							   .cap = 3});
		k_norm_gated(&(struct norm_gated_params){.x = x,
							 .weight = norm,
							 .normed = normed,
							 .w_gate = m,
							 .w_up = m,
							 .gate = gate,
							 .up = up,
							 .y = out,
							 .n_tokens = 1,
							 .n = N,
							 .act = ACTIVATION_SILU,
							 .eps = 1e-6f});
		cpu_team_use(NULL);
		cpu_team_close(team);
		if (threads == 1)
			memcpy(want, y, sizeof want);
		else
			assert_memory_equal(y, want, sizeof want);
	}
	/* And the values, in double. */
	double squares = 0;
	for (int i = 0; i < N; i++)
		squares += (double)x[i] * x[i];
	for (int r = 0; r < ROWS; r += 50) {
		double sum = 0;
		for (int i = 0; i < N; i++)
			sum += (double)w[r * N + i] * x[i] / sqrt(squares / N + 1e-6) * norm[i];
		double got = 3 * tanh(sum / 3);
		assert_true(y[r] > got - 1e-3 && y[r] < got + 1e-3);
		assert_true(r >= 37 || fabs(y[ROWS + r] - sum) < 1e-3); /* the cap is the first one's */
		double product = sum / (1 + exp(-sum)) * sum;
		assert_true(out[r] > product - 1e-3 * (1 + product * product) &&
			    out[r] < product + 1e-3 * (1 + product * product));
	}
	free(w);
	free(y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_index_once),
		cmocka_unit_test(test_loops_see_each_other),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_waiting_sleeps),
		cmocka_unit_test(test_more_than_processors),
		cmocka_unit_test(test_kernel_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
