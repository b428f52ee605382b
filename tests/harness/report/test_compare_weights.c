/*
 * Sides whose prompts had their weights from elsewhere are not compared, unless that is allowed: whether it was asked
 * for or came of the memory that was free. Decoding does not read them, and fewer layers on a GPU have fewer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/compared.h"
#include "tests/support/ok.h"

enum { PROCESSES = 8 };

struct weights_case {
	const char *asked[2]; /* of base, of head */
	const char *had[2];
	int prompt, layers[2], process;
	const char *says; /* null: nothing */
};

static void check(const struct weights_case *c)
{
	struct compare_options o = compared_options();
	struct compared_side sides[2] = {compared_plain, compared_other(compared_plain)};
	struct error err = {""};
	for (int i = 0; i < 2; i++) {
		sides[i].weights_asked = c->asked[i];
		sides[i].weights = c->had[i];
		sides[i].n_prompt = c->prompt;
		sides[i].gpu_layers = c->layers[i];
	}
	sides[1].weights_process = c->process;
	if (c->layers[0] != c->layers[1])
		OK(compare_across("n_gpu_layers", &o.across, e));
	int rc = compared_run(&sides[0], &sides[1], PROCESSES, &o, &err);
	if (rc != (c->says ? ERROR_INPUT : 0) || (c->says && !strstr(err.text, c->says)))
		fail_msg("%s / %s: %d, '%s'", c->had[0], c->had[1], rc, err.text);
	compared_free();
	if (!c->says)
		return;
	o.allow_env_diff = 1;
	OK(compared_run(&sides[0], &sides[1], PROCESSES, &o, e));
	assert_int_equal(compared.c.n_differences, 1); /* once, of all cells and directories */
	assert_string_equal(compared.c.differences[0], c->says);
	compared_free();
}

static void test_cases(void **state)
{
	(void)state;
	static const struct weights_case cases[] = {
		{{"auto", "auto"}, {"resident", "resident"}, 8, {4, 4}, 0, NULL},
		{{"resident", "resident"}, {NULL, NULL}, 8, {4, 4}, 0, NULL},
		{{"convert", "3"}, {NULL, NULL}, 0, {4, 4}, 0, "prefill_weights: \"convert\" in base, \"3\" in head"},
		{{"auto", "auto"},
		 {"resident", "3"},
		 8,
		 {4, 4},
		 0,
		 "prefill_weights of prompts: resident in base, 3 in head"},
		/* In one process, and not the first. */
		{{NULL, NULL},
		 {"resident", "convert"},
		 8,
		 {4, 4},
		 3,
		 "prefill_weights of prompts: resident in base, convert in head"},
		/* Older files do not say it. */
		{{NULL, "auto"}, {NULL, "3"}, 8, {4, 4}, 0, NULL},
		{{"auto", "auto"}, {"resident", "3"}, 0, {4, 4}, 0, NULL},
		{{"auto", "auto"}, {"resident", "3"}, 8, {4, 3}, 0, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(&cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cases, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
