/* How much neighbours disturb: a planted change is found with its sign and size, and none is where none is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/selftest/neighbour_effect.h"
#include "tests/support/ok.h"

enum { ROUNDS = 20 };

/* Rounds drift by a few per cent each, both halves alike; halves differ by `change`, and noise of 0.2 %. */
static void measure(double change, struct neighbour_effect *out)
{
	double alone[ROUNDS], busy[ROUNDS];
	uint64_t r = 7;
	for (int i = 0; i < ROUNDS; i++) {
		double drift = 1 + 0.05 * i;
		alone[i] = 100 * drift * (1 + 0.002 * ((double)random_below(&r, 1001) / 1000 - 0.5));
		busy[i] = 100 * drift * (1 + change) * (1 + 0.002 * ((double)random_below(&r, 1001) / 1000 - 0.5));
	}
	OK(neighbour_effect_find("0", alone, busy, ROUNDS, 1, out, e));
}

static void test_effect(void **state)
{
	struct neighbour_effect effect;
	(void)state;
	const double planted[] = {0, 0.03, -0.03};
	for (int i = 0; i < 3; i++) {
		measure(planted[i], &effect);
		assert_true(fabs(effect.change - log1p(planted[i])) < 0.001);
		assert_true(effect.interval.low <= effect.change && effect.change <= effect.interval.high);
		assert_true(effect.interval.high - effect.interval.low < 0.003);
		assert_int_equal(neighbour_effect_disturbs(&effect, 0.01), planted[i] != 0);
		assert_false(neighbour_effect_disturbs(&effect, 0.05));
		/* The middle of a drift of 5 % a round from 100: its tenth and eleventh round. */
		assert_true(fabs(effect.alone_us - 147.5) < 1);
		assert_true(fabs(effect.busy_us - 147.5 * (1 + planted[i])) < 1);
	}
}

static void test_said(void **state)
{
	struct neighbour_effect e[2];
	char *text;
	size_t n;
	(void)state;
	measure(0.03, &e[0]);
	measure(0, &e[1]);
	e[1].device = "1:0";
	FILE *f = open_memstream(&text, &n);
	neighbour_effect_print(e, 2, 0.01, f);
	neighbour_effect_print(e + 1, 1, 0.01, f);
	fclose(f);
	assert_non_null(strstr(text, "\n0   "));
	assert_non_null(strstr(text, "DISTURBED\n1:0  "));
	assert_non_null(strstr(text, "1 of 2 devices are slower or faster by more than 1 %"));
	assert_non_null(strstr(text, "no device is surely changed by more than 1 %"));
	free(text);
	json_t *o = neighbour_effect_json(e, 2, 0.01), *first = json_array_get(json_object_get(o, "devices"), 0);
	assert_true(fabs(json_number_value(json_object_get(first, "change")) - 0.03) < 0.001);
	assert_true(json_is_true(json_object_get(first, "disturbed")));
	assert_int_equal(json_integer_value(json_object_get(first, "rounds")), ROUNDS);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_effect), cmocka_unit_test(test_said)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
