/*
 * What no host kernel shows of a GPU's graphs that go on or set their nodes by themselves: which marks a loop leaves
 * and where it ends, in each way to go on; which nodes a patch sets, to what, and when not; and that one CTA draws the
 * host's tokens. CTAs that wait for each other are test_kernels_cuda_sample.c's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda_kernels.h"
#include "tests/emulated/blocks.h"
#include "tests/emulated/graph.h"
#include "tests/support/sample_case.h"

static const struct cuda_card card = {.n_sm = 1, .compute_capability = 90};

static void launch(enum kernel k, const void *params)
{
	struct cuda_launch l;
	assert_int_equal(cuda_geometry(k, params, &card, &l), CUDA_GEOMETRY_OK);
	assert_int_equal(l.grid[0], 1);
	if (emulated_launch(l.entry, params, &l))
		fail_msg("%s is not emulated", l.entry);
}

/* ---- loops ---- */

enum { TOKENS = 6, FIRST = 2, POS = 70, HANDLE = 77 };

static const int told[TOKENS] = {11, 12, 13, 14, 15, 16};

/* One pass of the loop's graph; whether it says to go on. */
static bool passes(const struct advance_params *p)
{
	memset(&emulated_graph, 0, sizeof emulated_graph);
	launch(KERNEL_advance, p);
	assert_int_equal(emulated_graph.n_conditions, p->how == LOOP_WHILE);
	if (p->how == LOOP_WHILE)
		assert_true(emulated_graph.handle == HANDLE && emulated_graph.condition == (unsigned)p->state->go);
	assert_int_equal(emulated_graph.n_launches, p->how == LOOP_RELAUNCH && p->state->go);
	return p->state->go;
}

static void check_mark(const struct loop_mark *marks, int i, int token, int chosen)
{
	assert_int_equal(marks[i].token, token);
	assert_int_equal(marks[i].chosen, chosen);
	assert_true(marks[i].ns > (i > FIRST ? marks[i - 1].ns : 0));
}

/* Until the end of what was told, or until it is stopped behind token number `stop`. */
static void check_told(int how, int stop)
{
	struct loop_state state = {
		.step = {.token = told[FIRST], .pos = POS}, .next = FIRST, .end = TOKENS - 1, .last = -1};
	struct loop_mark marks[TOKENS] = {{0}};
	int stopped = 0;
	const struct advance_params p = {
		.state = &state, .tokens = told, .marks = marks, .stop = &stopped, .handle = HANDLE, .how = how};
	for (int i = FIRST; i < TOKENS - 1; i++) {
		stopped = i == stop;
		bool goes_on = i < TOKENS - 2 && !stopped;
		assert_int_equal(passes(&p), goes_on);
		check_mark(marks, i, told[i], -1);
		assert_true(!marks[i + 1].ns && !marks[0].ns);
		assert_int_equal(state.next, i + 1);
		assert_int_equal(state.step.token, told[goes_on ? i + 1 : i]);
		assert_int_equal(state.step.pos, POS + i - FIRST + goes_on);
		if (stopped)
			break;
	}
}

static void test_told(void **state)
{
	(void)state;
	for (int how = LOOP_ONCE; how <= LOOP_RELAUNCH; how++) {
		check_told(how, -1);
		check_told(how, FIRST + 1);
	}
}

/* The tokens that the device chose; the loop ends behind 99, and where logits say none. */
static void check_chosen(int how, int last, bool wrong)
{
	struct loop_state state = {.step = {.token = 5, .pos = POS}, .end = TOKENS, .last = 99};
	struct loop_mark marks[TOKENS] = {{0}};
	struct sampled sampled = {0};
	const int stopped = 0;
	const struct advance_params p = {
		.state = &state, .sampled = &sampled, .marks = marks, .stop = &stopped, .handle = HANDLE, .how = how};
	sampled.token = 40;
	assert_true(passes(&p));
	check_mark(marks, 0, 5, 40);
	assert_true(state.step.token == 40 && state.step.pos == POS + 1 && state.next == 1);
	sampled = (struct sampled){.token = last, .wrong = wrong};
	assert_false(passes(&p));
	assert_true(marks[1].token == 40 && marks[1].chosen == (wrong ? -1 : last) && marks[1].ns > marks[0].ns);
	assert_true(state.step.token == 40 && state.step.pos == POS + 1 && state.next == 2);
}

static void test_chosen(void **state)
{
	(void)state;
	for (int how = LOOP_ONCE; how <= LOOP_RELAUNCH; how++) {
		check_chosen(how, 99, false);
		check_chosen(how, 41, true);
	}
}

/* In front of a loop: the time alone. */
static void test_mark(void **state)
{
	(void)state;
	struct loop_mark mark = {.token = 7};
	const struct advance_params p = {.marks = &mark};
	launch(KERNEL_advance, &p);
	assert_true(mark.ns > 0 && mark.chosen == -1);
}

/* ---- patches ---- */

/* More than a CTA has threads. */
enum { NODES = 300, VARIANTS = 3, KEYS = 128 };

static struct emulated_node nodes[NODES];
static char host_params[NODES][EMULATED_PARAMS_BYTES];
static struct patch_variant variants[NODES / 3 * VARIANTS];
static struct patch_node patched[NODES], host_patched[NODES];

/* By turns a node of the position, one of the keys, and one of both. */
static void describe_nodes(void)
{
	int n = 0;
	memset(nodes, 0, sizeof nodes);
	memset(host_params, 0, sizeof host_params);
	for (int i = 0; i < NODES; i++) {
		bool varies = i % 3 == 1;
		patched[i] = (struct patch_node){.node = &nodes[i],
						 .ahead = i % 2,
						 .positional = i % 3 != 1 || i % 2,
						 .n_variants = varies ? VARIANTS : 0,
						 .first = n,
						 .offset = 64 + i % 5 * 4,
						 .bucket = -1};
		for (int v = 0; v < patched[i].n_variants; v++, n++)
			variants[n] = (struct patch_variant){{1 + (unsigned)(i + v), 2 + (unsigned)v, 3}, 1000 * v + i};
		host_patched[i] = patched[i];
		host_patched[i].node = host_params[i];
	}
}

/* Every node's params are those of the host's patch, and its grid is the bucket's. */
static void check_patch(int pos, int evicted, int bucket, bool another)
{
	const struct step step = {.token = 3, .pos = pos, .evicted = evicted};
	struct patch_params p = {.step = &step, .nodes = patched, .variants = variants, .n = NODES, .keys = KEYS};
	int params[NODES], grids[NODES];
	for (int i = 0; i < NODES; i++) {
		params[i] = nodes[i].n_params;
		grids[i] = nodes[i].n_grids;
	}
	launch(KERNEL_patch, &p);
	p.nodes = host_patched;
	k_patch(&p);
	for (int i = 0; i < NODES; i++) {
		bool set = patched[i].n_variants && another;
		assert_memory_equal(nodes[i].params, host_params[i], EMULATED_PARAMS_BYTES);
		assert_int_equal(nodes[i].n_grids - grids[i], set);
		assert_int_equal(nodes[i].n_params - params[i], patched[i].positional + set);
		if (!patched[i].n_variants)
			continue;
		const struct patch_variant *v = &variants[patched[i].first + bucket];
		int value;
		memcpy(&value, nodes[i].params + patched[i].offset, sizeof value);
		assert_memory_equal(nodes[i].grid, v->grid, sizeof v->grid);
		assert_int_equal(value, v->value);
		assert_int_equal(patched[i].bucket, bucket);
	}
	struct at at;
	memcpy(&at, nodes[3].params, sizeof at);
	assert_true(!at.device && at.host.token == 3 && at.host.pos == pos + 1 && at.host.evicted == evicted);
}

static void test_patch(void **state)
{
	(void)state;
	describe_nodes();
	/* Nodes that are one position ahead have a key more: these are not where both have another bucket. */
	check_patch(0, 0, 0, true);
	check_patch(KEYS - 2, 0, 0, false);
	check_patch(KEYS, 0, 1, true);
	check_patch(2 * KEYS - 2, 0, 1, false);
	check_patch(2 * KEYS, 0, 2, true);
	check_patch(100 * KEYS, 0, 2, false);
	check_patch(100 * KEYS, 100 * KEYS - 1, 0, true);
}

/* The last position of a bucket: of a node that is ahead it is as much earlier. */
static void test_bucket(void **state)
{
	(void)state;
	static const struct patch_variant two[2] = {{{1, 1, 1}, 10}, {{2, 1, 1}, 20}};
	for (int ahead = 0; ahead < 3; ahead++) {
		struct emulated_node node = {.n_grids = 0};
		struct patch_node one = {.node = &node, .ahead = ahead, .n_variants = 2, .bucket = -1};
		struct step step = {.pos = KEYS - 1 - ahead};
		const struct patch_params p = {.step = &step, .nodes = &one, .variants = two, .n = 1, .keys = KEYS};
		launch(KERNEL_patch, &p);
		assert_int_equal(one.bucket, 0);
		step.pos++;
		launch(KERNEL_patch, &p);
		assert_true(one.bucket == 1 && node.grid[0] == 2 && node.n_grids == 2);
		step.evicted = 1;
		launch(KERNEL_patch, &p);
		assert_true(one.bucket == 0 && node.grid[0] == 1 && node.n_grids == 3);
	}
}

/* ---- the choice of a token ---- */

static void check_sample(const float *logits, int n, const struct sampling_options *o, int pos)
{
	struct sampled got = {.token = -1}, want = {.token = -1};
	struct sample_params p = {.at.host.pos = pos, .host = sampling_of(o), .logits = logits, .out = &got, .n = n};
	launch(KERNEL_sample, &p);
	p.out = &want;
	k_sample(&p);
	if (got.token != want.token || got.wrong != want.wrong)
		fail_msg("n %d T %g k %d p %g m %g position %d: token %d (wrong %d), the host %d (%d)", n,
			 o->temperature, o->top_k, o->top_p, o->min_p, pos, got.token, got.wrong, want.token,
			 want.wrong);
}

static void test_sample(void **state)
{
	(void)state;
	static const int sizes[] = {1, 2, 33, 511, 4096, 4097, 9000};
	static float logits[9000];
	for (int i = 0; i < SAMPLE_OPTIONS; i += 3) {
		int n = sizes[i / 3 % 7];
		uint64_t random = (uint64_t)i + 1;
		const struct sampling_options o = sample_case_options(i, n);
		sample_case_logits(logits, n, i / 21, &random);
		check_sample(logits, n, &o, i * 7);
		if (i % 12 || n < 3)
			continue;
		logits[n - 2] = i % 24 ? NAN : INFINITY;
		check_sample(logits, n, &o, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told),  cmocka_unit_test(test_chosen), cmocka_unit_test(test_mark),
		cmocka_unit_test(test_patch), cmocka_unit_test(test_bucket), cmocka_unit_test(test_sample),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
