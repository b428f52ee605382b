/* From launches to a timeline, of two multiprocessors and three launches; without a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/launch_timeline.h"
#include "engine/infer/persistent.h"

static void expect(const struct token_timeline *t, int row, int phase, int64_t entered, int64_t input, int64_t worked,
		   int64_t published)
{
	const int64_t *ns = t->ns + ((size_t)row * (size_t)t->n_phases + (size_t)phase) * PERSISTENT_STAMPS;
	assert_int_equal(ns[PERSISTENT_ENTERED], entered);
	assert_int_equal(ns[PERSISTENT_INPUT], input);
	assert_int_equal(ns[PERSISTENT_WORKED], worked);
	assert_int_equal(ns[PERSISTENT_PUBLISHED], published);
}

/*
 * On 7 the second launch's blocks are there before the first's last has left; 9 has none of the second, and waits until
 * the first of the third's has its input.
 */
static void test_rows(void **state)
{
	(void)state;
	struct device_label labels[] = {{PHASE_EMBED, -1}, {PHASE_QKV, 0}, {PHASE_HEAD, -1}};
	int multiprocessors[] = {7, 9};
	int64_t ns[] = {
		0, 5, 40, 30, 50, 90, 80, 100, 130, /* 7 */
		2, 6, 48, -1, -1, -1, 85, 97,  120, /* 9 */
	};
	const struct device_stamps d = {
		.n_rows = 2, .n_launches = 3, .labels = labels, .multiprocessors = multiprocessors, .ns = ns};
	struct token_timeline t = {0};
	assert_int_equal(launch_timeline(&t, &d, NULL), 0);
	assert_int_equal(t.n_blocks, 2);
	assert_int_equal(t.n_phases, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(t.phases[i].kind, labels[i].kind);
		assert_int_equal(t.phases[i].layer, labels[i].layer);
	}
	assert_int_equal(t.multiprocessors[0], 7);
	assert_int_equal(t.multiprocessors[1], 9);
	expect(&t, 0, 0, 0, 5, 40, 40);
	expect(&t, 0, 1, 40, 50, 90, 90);
	expect(&t, 0, 2, 90, 100, 130, 130);
	expect(&t, 1, 0, 2, 6, 48, 48);
	expect(&t, 1, 1, 48, -1, -1, 97);
	expect(&t, 1, 2, 97, 97, 120, 120);
	token_timeline_free(&t);
}

/* At the token's ends: one that has none of the first launch, and one that has none of the last. */
static void test_ends(void **state)
{
	(void)state;
	struct device_label labels[] = {{PHASE_EMBED, -1}, {PHASE_HEAD, -1}};
	int multiprocessors[] = {0, 1};
	int64_t ns[] = {
		0,  5,  20, -1, -1, -1, /* 0 */
		-1, -1, -1, 18, 22, 60, /* 1 */
	};
	const struct device_stamps d = {
		.n_rows = 2, .n_launches = 2, .labels = labels, .multiprocessors = multiprocessors, .ns = ns};
	struct token_timeline t = {0};
	assert_int_equal(launch_timeline(&t, &d, NULL), 0);
	expect(&t, 0, 0, 0, 5, 20, 20);
	expect(&t, 0, 1, 20, -1, -1, 22);
	expect(&t, 1, 0, 0, -1, -1, 22);
	expect(&t, 1, 1, 22, 22, 60, 60);
	token_timeline_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_ends)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
