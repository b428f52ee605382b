/* What policies other than the vote keep: exact sets, and what each draw has alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/kv_policy.h"

static void expect(enum kv_policy p, int n_keys, int window, int sinks, const int *want, int budget)
{
	int kept[32] = {0};
	kv_policy_select(p, n_keys, budget, window, sinks, 5, kept);
	for (int i = 0; i < budget; i++)
		if (kept[i] != want[i])
			fail_msg("%s of %d keys, budget %d, window %d, %d sinks: entry %d is key %d, not %d",
				 kv_policy_name(p), n_keys, budget, window, sinks, i, kept[i], want[i]);
}

static void names(void **state)
{
	(void)state;
	static const char *const words[] = {"snapkv", "recency", "random", "stride"};
	for (int p = 0; p < 4; p++) {
		assert_string_equal(kv_policy_name((enum kv_policy)p), words[p]);
		assert_int_equal(kv_policy_parse(words[p]), p);
	}
	assert_int_equal(kv_policy_parse("Random"), -1);
	assert_int_equal(kv_policy_parse(""), -1);
}

static void recency_is_the_first_and_the_last(void **state)
{
	(void)state;
	expect(KV_POLICY_RECENCY, 20, 3, 2, (const int[]){0, 1, 14, 15, 16, 17, 18, 19}, 8);
	expect(KV_POLICY_RECENCY, 20, 3, 0, (const int[]){15, 16, 17, 18, 19}, 5);
	expect(KV_POLICY_RECENCY, 6, 1, 4, (const int[]){0, 1, 2, 3, 5}, 5);
	expect(KV_POLICY_RECENCY, 9, 8, 0, (const int[]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
}

/* Keys 2 to 16 in 5 shares of 3: the middle of each. Keys 1 to 10 in 4 shares of 2.5: 2.25, 4.75, 7.25, 9.75. */
static void stride_is_the_middle_of_each_share(void **state)
{
	(void)state;
	expect(KV_POLICY_STRIDE, 20, 3, 2, (const int[]){0, 1, 3, 6, 9, 12, 15, 17, 18, 19}, 10);
	expect(KV_POLICY_STRIDE, 12, 1, 1, (const int[]){0, 2, 4, 7, 9, 11}, 6);
	/* One key less than there are, and no room between at all. */
	expect(KV_POLICY_STRIDE, 6, 0, 0, (const int[]){0, 1, 3, 4, 5}, 5);
	expect(KV_POLICY_STRIDE, 6, 2, 1, (const int[]){0, 4, 5}, 3);
}

static void random_keeps_what_all_keep(void **state)
{
	(void)state;
	enum { KEYS = 40, BUDGET = 14, WINDOW = 4, SINKS = 2, DRAWS = 4000 };
	int counts[KEYS] = {0}, kept[BUDGET], again[BUDGET], different = 0;
	for (int seed = 0; seed < DRAWS; seed++) {
		kv_policy_select(KV_POLICY_RANDOM, KEYS, BUDGET, WINDOW, SINKS, (uint64_t)seed, kept);
		kv_policy_select(KV_POLICY_RANDOM, KEYS, BUDGET, WINDOW, SINKS, (uint64_t)seed + 1, again);
		different += memcmp(kept, again, sizeof kept) != 0;
		for (int i = 0; i < BUDGET; i++) {
			assert_in_range(kept[i], i ? kept[i - 1] + 1 : 0, KEYS - 1);
			counts[kept[i]]++;
		}
	}
	assert_true(different > DRAWS - 10);
	/* 8 of 34 each: 941, with a deviation of 27. */
	for (int key = 0; key < KEYS; key++) {
		if (key < SINKS || key >= KEYS - WINDOW)
			assert_int_equal(counts[key], DRAWS);
		else
			assert_in_range(counts[key], 941 - 135, 941 + 135);
	}
	kv_policy_select(KV_POLICY_RANDOM, KEYS, BUDGET, WINDOW, SINKS, 7, kept);
	kv_policy_select(KV_POLICY_RANDOM, KEYS, BUDGET, WINDOW, SINKS, 7, again);
	assert_memory_equal(kept, again, sizeof kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(recency_is_the_first_and_the_last),
		cmocka_unit_test(stride_is_the_middle_of_each_share),
		cmocka_unit_test(random_keeps_what_all_keep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
