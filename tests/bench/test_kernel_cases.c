/*
 * The cases that benchmarks time: every kernel has some, each by a name of its own, and the host's kernels, portable
 * and best, are as close on them as a case allows; a case whose kernel does not run is found wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/kernel_cases.h"
#include "engine/model/tensor_type.h"
#include "tests/support/kernel_case.h"

enum { ROWS = 9, CASES_MAX = 4096, LARGE = 8 << 20 /* bytes of matrices: seconds, too many under ASan */ };

struct seen {
	int n, built;
	bool of[KERNEL_COUNT];
	char names[CASES_MAX][CASE_NAME_BYTES];
	struct pair *p;
};

static double weight_bytes(const struct case_shape *s)
{
	double rows = (double)s->n_out[0] + s->n_out[1] + s->n_out[2];
	return rows * s->n_in * (s->n_expert ? s->n_expert : 1) * 4;
}

/* Of the smallest model what is not too large, and of the experts' one matrices with few experts. */
static int build(void *ctx, const struct family_case *c)
{
	struct seen *seen = ctx;
	struct case_subject subject = {0};
	struct case_shape s = c->shape;
	assert_true(seen->n < CASES_MAX);
	for (int i = 0; i < seen->n; i++)
		assert_string_not_equal(seen->names[i], c->name);
	strcpy(seen->names[seen->n++], c->name);
	assert_true(strlen(c->name) + 1 < CASE_NAME_BYTES);
	bool experts = s.n_expert > 0;
	if (!strstr(c->name, experts ? "/gemma4-26b-a4b" : "/gemma4-e2b"))
		return 0;
	if (!strncmp(c->kind->name, "prompt_experts_", 15) && s.layout.type != TENSOR_Q5_1 &&
	    tensor_type_traits((enum tensor_type)s.layout.type)->quants)
		return 0; /* seconds, for what the host has one function for */
	if (c->kind->check_tokens && s.n_tokens > ROWS)
		s.n_tokens = ROWS;
	if (s.n_tokens > 64 * ROWS) /* compared as they are: conversions, sorting */
		s.n_tokens = 64 * ROWS;
	s.n_expert = experts ? 16 : 0;
	s.n_keys = s.n_keys > 1200 ? 1200 : s.n_keys;
	s.n_out[0] = weight_bytes(&s) > LARGE ? 256 : s.n_out[0];
	c->kind->build(seen->p, &s, &subject);
	seen->of[subject.kernel] = true;
	seen->built++;
	assert_string_equal(c->kind->name, kernel_name(subject.kernel));
	assert_true(subject.bytes > 0);
	assert_true(subject.bytes <= 2 * (double)pair_bytes(seen->p)); /* read and written at most */
	pair_run(seen->p, subject.kernel, subject.params, NULL, "%s", c->name);
	if (!pair_compare(seen->p, c->kind->allow(seen->p, &s, &subject)))
		fail_msg("%s: wrong", c->name);
	pair_end(seen->p);
	return 0;
}

static void test_all(void **state)
{
	(void)state;
	static struct seen seen;
	seen.p = pair_open(NULL);
	assert_int_equal(family_cases(build, &seen), 0);
	/* What steers a graph from within it does nothing outside; a whole token has no shape, and is bench's; what
	 * makes its weights runs once. */
	seen.of[KERNEL_patch] = seen.of[KERNEL_advance] = seen.of[KERNEL_persistent] = true;
	seen.of[KERNEL_persistent_tile] = true;
	for (int k = 0; k < KERNEL_COUNT; k++)
		if (!seen.of[k])
			fail_msg("no case times %s", kernel_name((enum kernel)k));
	assert_true(seen.built > 100);
	kernel_case_close(seen.p);
}

/* Sets of buffers: a launch on one touches no other, and begins from what was there before the run. */
static void test_sets(void **state)
{
	(void)state;
	struct pair *p = pair_open(NULL);
	struct case_shape s = {.n_in = 100, .n_tokens = 1};
	struct case_subject c = {0};
	struct softcap_params m;
	struct error err;
	uint64_t params[CASE_PARAMS_WORDS];
	float before[100], got[100];
	case_softcap.build(p, &s, &c);
	memcpy(&m, c.params, sizeof m);
	memcpy(before, m.x, sizeof before);
	pair_run(p, c.kernel, c.params, NULL, "sets");
	assert_true(pair_compare(p, case_softcap.allow(p, &s, &c)));
	assert_int_equal(pair_place(p, 3, &err), 0);
	struct device *d = pair_timed_device(p);
	pair_translate(p, 1, c.kernel, c.params, params);
	assert_int_equal(device_launch(d, c.kernel, params, &err), 0);
	for (int set = 0; set < 3; set++) {
		struct softcap_params at;
		pair_translate(p, set, c.kernel, c.params, params);
		memcpy(&at, params, sizeof at);
		assert_int_equal(at.n, m.n);
		assert_int_equal(device_download(d, got, at.x, sizeof got, &err), 0);
		assert_memory_equal(got, set == 1 ? m.x : before, sizeof got);
	}
	pair_end(p);
	kernel_case_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_sets)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
