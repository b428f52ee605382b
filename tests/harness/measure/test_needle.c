/* What needles say, that none can be taken for another, and where they are to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/needle.h"

static void says_one_thing_three_times(void **state)
{
	(void)state;
	struct needle n[NEEDLES_MAX];
	for (uint64_t seed = 0; seed < 50; seed++) {
		needles_make(seed, NEEDLES_MAX, n);
		for (int i = 0; i < NEEDLES_MAX; i++) {
			char material[32], thing[32], want[NEEDLE_TEXT];
			int value;
			assert_int_equal(sscanf(n[i].statement, "\nThe secret number of the %31s %31s is %d.\n",
						material, thing, &value),
					 3);
			assert_in_range(value, 1000, 9999);
			snprintf(want, sizeof want, " %d", value);
			assert_string_equal(n[i].value, want);
			/* The question goes on with the value as the statement did. */
			snprintf(want, sizeof want, "%s%s.\n", n[i].question[QUALITY_VERBATIM], n[i].value);
			assert_string_equal(want, n[i].statement);
			const char *other = n[i].question[QUALITY_PARAPHRASED];
			assert_true(strstr(other, material) && strstr(other, thing));
			assert_null(strstr(other, "secret number of the"));
			for (int k = 0; k < i; k++) {
				assert_string_not_equal(n[k].value, n[i].value);
				assert_null(strstr(n[k].statement, material));
				assert_null(strstr(n[k].statement, thing));
			}
		}
	}
}

static void spreads_over_the_depth(void **state)
{
	(void)state;
	enum { N = 5, SEEDS = 400 };
	double sum[N] = {0};
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct needle n[N], again[N];
		needles_make(seed, N, n);
		needles_make(seed, N, again);
		for (int i = 0; i < N; i++) {
			assert_true(n[i].depth >= i / 5.0 && n[i].depth < (i + 1) / 5.0);
			assert_string_equal(n[i].statement, again[i].statement);
			assert_true(n[i].depth == again[i].depth);
			sum[i] += n[i].depth;
		}
	}
	/* The middle of each fifth: the mean of 400 is within 0.0029 with one deviation. */
	for (int i = 0; i < N; i++)
		assert_true(sum[i] / SEEDS > (i + 0.5) / 5 - 0.015 && sum[i] / SEEDS < (i + 0.5) / 5 + 0.015);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_one_thing_three_times),
		cmocka_unit_test(spreads_over_the_depth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
