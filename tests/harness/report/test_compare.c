/* Comparisons of run directories whose difference is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/report/compare.h"
#include "harness/report/compare_output.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

static void test_one_slower(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	struct error err = {""};
	base.drift = head.drift = 0.02; /* of the machine: both sides of a pair have it */
	head.slower[2] = 0.05;
	for (o.paired = 0; o.paired < 2; o.paired++) {
		if (!o.paired)
			base.drift = head.drift = 0;
		else
			base.drift = head.drift = 0.02;
		OK(compare(&base, &head, PROCESSES, &o, e));
		assert_int_equal(pair.c.n, CELLS);
		for (int i = 0; i < CELLS; i++) {
			const struct compare_cell *k = &pair.c.cells[i];
			int slow = !strcmp(k->cell.mode, "graph-update");
			const struct verdict *v = &k->values[METRIC_TIME].verdict;
			assert_int_equal(k->outcome, slow ? COMPARE_SLOWER : COMPARE_SAME);
			assert_true(fabs(v->effect - (slow ? 0.05 : 0)) < 0.005);
			assert_true(v->low <= v->effect && v->effect <= v->high);
			assert_true(fabs(k->relative.effect - (slow ? 0.05 : 0)) < 0.006);
			assert_int_equal(k->exact[EXACT_LAUNCHES].change, EXACT_SAME);
			assert_int_equal(k->exact[EXACT_LOGITS].change, EXACT_SAME);
			/* The tail moved with the median. */
			assert_int_equal(k->values[METRIC_P90].verdict.kind, slow ? VERDICT_SLOWER : VERDICT_SAME);
		}
		assert_int_equal(compare_exit_code(&pair.c), 1);
		assert_int_equal(pair.c.common.kind, VERDICT_SAME);
		char sentence[COMPARE_SENTENCE_SIZE];
		compare_sentence(&pair.c, sentence);
		assert_non_null(strstr(sentence, "1 of 4 cells is slower (tg4 @ d64 graph-update full: +"));
		assert_non_null(strstr(sentence, "3 are the same within 1 %."));
		done();
	}
	/* Faster is no regression. */
	o = paired();
	head.slower[2] = -0.05;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	assert_int_equal(pair.c.count[COMPARE_FASTER], 1);
	done();
	(void)err;
}

/* All cells move by 3 %: paired, it is head's doing; else it may be the machine's, and the exit code says cannot tell.
 */
static void test_common(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.all = 0.03;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.common.kind, VERDICT_SLOWER);
	assert_true(fabs(pair.c.common.effect - 0.03) < 0.002 && pair.c.common_cells == CELLS);
	for (int i = 0; i < CELLS; i++) {
		assert_int_equal(pair.c.cells[i].outcome, COMPARE_SLOWER);
		assert_int_equal(pair.c.cells[i].relative.kind, VERDICT_SAME);
	}
	assert_int_equal(compare_exit_code(&pair.c), 1);
	char sentence[COMPARE_SENTENCE_SIZE];
	compare_common_sentence(&pair.c, sentence);
	assert_non_null(strstr(sentence, "Common to all 4 cells: +"));
	assert_non_null(strstr(sentence, "head's cells moved so far together"));
	done();
	o.paired = 0;
	head.slower[1] = 0.05;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_COMMON], 3);
	assert_int_equal(pair.c.count[COMPARE_SLOWER], 1);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	compare_common_sentence(&pair.c, sentence);
	assert_non_null(strstr(sentence, "or the machine"));
	done();
	head.slower[1] = 0;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_COMMON], 4);
	assert_int_equal(compare_exit_code(&pair.c), 3);
	done();
	/* Asked to, the gate takes each cell as it is. */
	o.gate = COMPARE_GATE_ABSOLUTE;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
}

static void test_tail(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.tail = 1;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	for (int i = 0; i < CELLS; i++) {
		const struct compare_value *v = pair.c.cells[i].values;
		assert_int_equal(v[METRIC_TIME].verdict.kind, VERDICT_SAME);
		assert_int_equal(v[METRIC_P99].verdict.kind, VERDICT_SLOWER);
		assert_true(fabs(v[METRIC_P99].verdict.effect - 1) < 0.01);
	}
	done();
}

static void test_exact(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.launches = 1;
	head.hash = "ffffffffffffffff";
	OK(compare(&plain, &head, PROCESSES, &o, e));
	for (int i = 0; i < CELLS; i++) {
		const struct compare_exact *x = &pair.c.cells[i].exact[EXACT_LAUNCHES];
		assert_int_equal(x->change, EXACT_DIFFERENT);
		assert_string_equal(x->base, "100");
		assert_string_equal(x->head, "101");
		assert_int_equal(pair.c.cells[i].exact[EXACT_LOGITS].change, EXACT_DIFFERENT);
		assert_int_equal(pair.c.cells[i].exact[EXACT_KERNELS].change, EXACT_SAME);
		assert_int_equal(pair.c.cells[i].exact[EXACT_KEPT].change, EXACT_UNKNOWN);
	}
	assert_int_equal(pair.c.exact_gated, CELLS);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	/* A prompt's are its own, and unknown of an older file. */
	struct made base = other(plain);
	head = other(plain);
	base.prompt = 500;
	head.prompt = 501;
	for (int known = 1; known >= 0; known--) {
		OK(compare(known ? &base : &plain, &head, PROCESSES, &o, e));
		const struct compare_exact *x = &pair.c.cells[0].exact[EXACT_PROMPT_LAUNCHES];
		assert_int_equal(x->change, known ? EXACT_DIFFERENT : EXACT_UNKNOWN);
		assert_int_equal(pair.c.cells[0].exact[EXACT_LAUNCHES].change, EXACT_SAME);
		assert_int_equal(compare_exit_code(&pair.c), known);
		done();
	}
	head = other(plain);
	head.launches = 1;
	head.hash = "ffffffffffffffff";
	/* Fewer are none; and what gates is a choice. */
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	o.gate_exact = 0;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	o.gate_exact = 1u << EXACT_LOGITS;
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
}

static void test_statuses(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.status = RUN_STATUS_WRONG;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_WRONG], 1);
	assert_int_equal(compare_exit_code(&pair.c), 4);
	done();
	head.status = RUN_STATUS_FAILED;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_LOST], 1);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_GAINED], 1);
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	OK(compare(&head, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_NOT_RUN], 1);
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
}

/* What cannot be compared is refused, and says what to do. */
static void test_refused(void **state)
{
	(void)state;
	static const struct {
		struct made head;
		const char *says, *allowed;
	} cases[] = {
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS - 1, .seed = 2},
		 "in base alone 1, in head alone 0",
		 "cells"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .gpu = "H100"},
		 "gpu: there is none in base, one in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .flags = "-O2"},
		 "build flags: \"-O3\" in base, \"-O2\" in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .until = "stable=0.5"}, "--until", ""},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .first_repetition = 2147483647},
		 "repetition 2147483647",
		 ""},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .model = "other.gguf"}, NULL, ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct compare_options o = paired();
		struct error err = {""};
		int rc = compare(&plain, &cases[i].head, 10, &o, &err);
		/* The same content under another name is the same model. */
		assert_int_equal(rc, cases[i].says ? ERROR_INPUT : 0);
		if (cases[i].says && !strstr(err.text, cases[i].says))
			fail_msg("%s", err.text);
		done();
		o.allow_env_diff = !strcmp(cases[i].allowed, "env");
		o.common_cells = !strcmp(cases[i].allowed, "cells");
		if (!*cases[i].allowed)
			continue;
		OK(compare(&plain, &cases[i].head, 10, &o, e));
		assert_int_equal(pair.c.n, cases[i].head.cells);
		assert_int_equal(pair.c.n_differences > 0, o.allow_env_diff);
		done();
	}
}

/* One mode against another, as if they were commits; a side with two values is refused. */
static void test_across(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	struct error err = {""};
	base.cells = head.cells = 1; /* direct, of 1000 us */
	head.first_mode = 1;         /* graph-params */
	assert_int_equal(compare(&base, &head, PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "matrices differ"));
	done();
	OK(compare_across("mode", &o.across, e));
	head.slower[0] = -0.04;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.n, 1);
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_FASTER);
	assert_string_equal(pair.c.cells[0].cell.mode, "base:head");
	assert_string_equal(pair.c.cells[0].base_row->mode, "direct");
	assert_string_equal(pair.c.cells[0].head_row->mode, "graph-params");
	done();
	base.cells = head.cells = 2;
	head.first_mode = 0;
	assert_int_equal(compare(&base, &head, PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "/base-0: has mode direct and graph-params, and compared across mode a side "
					 "has one; measure each into a directory of its own, as with gemmark bench "
					 "--mode direct --out DIR"));
	done();
	assert_int_equal(compare_across("n_depth", &o.across, &err), ERROR_INPUT);
	assert_int_equal(compare_across("speed", &o.across, &err), ERROR_INPUT);
}

/* Repetitions of one process a side: the run is the unit, and it is said that processes are not. */
static void test_single(void **state)
{
	(void)state;
	struct compare_options o;
	struct made base = plain, head = other(plain);
	compare_options_default(&o);
	base.repetitions = head.repetitions = 12;
	head.slower[0] = 0.08;
	OK(compare(&base, &head, 1, &o, e));
	assert_true(pair.c.single_process);
	assert_int_equal(pair.c.cells[0].values[METRIC_TIME].n, 12);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	/* As much as two processes of one program differ cannot be told, unless it is known that they differ less. */
	head.slower[0] = 0.04;
	OK(compare(&base, &head, 1, &o, e));
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_UNCLEAR);
	assert_int_equal(compare_exit_code(&pair.c), 3);
	done();
	o.process = 0.01;
	OK(compare(&base, &head, 1, &o, e));
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_SLOWER);
	done();
	o.process = 0.05;
	/* Several repetitions in several processes: the process is the unit. */
	base.repetitions = head.repetitions = 3;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_false(pair.c.single_process);
	assert_int_equal(pair.c.cells[0].values[METRIC_TIME].n, PROCESSES);
	done();
	/* Too few to say anything are inconclusive, whatever they say, and never the same. */
	OK(compare(&base, &head, 3, &o, e));
	assert_int_equal(pair.c.count[COMPARE_UNCLEAR], CELLS);
	assert_true(isinf(pair.c.cells[0].values[METRIC_TIME].verdict.detectable));
	assert_int_equal(compare_exit_code(&pair.c), 3);
	char text[COMPARE_SENTENCE_SIZE];
	compare_sentence(&pair.c, text);
	assert_string_equal(text, "None of 4 cells can be told.");
	done();
}

/* What an interval of few units holds is not what its level says. */
static void test_intervals(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	char text[COMPARE_SENTENCE_SIZE];
	OK(compare(&plain, &head, 3, &o, e));
	compare_interval_text(&pair.c, text);
	assert_string_equal(text,
			    "95 % bootstrap interval (of 3 pairs their range, which holds the true change 75 times "
			    "in 100)");
	assert_string_equal(compare_interval_head(&pair.c), "interval");
	assert_true(compare_coverage(&pair.c, 3, 3) == 0.75);
	assert_true(compare_coverage(&pair.c, 6, 6) == 0.95);
	done();
	o.paired = 0;
	OK(compare(&plain, &head, 3, &o, e));
	compare_interval_text(&pair.c, text);
	assert_string_equal(text, "95 % bootstrap interval (of 3 units a side it holds the true change less often)");
	assert_string_equal(compare_interval_head(&pair.c), "interval");
	assert_true(isnan(compare_coverage(&pair.c, 3, 9)));
	done();
	OK(compare(&plain, &head, PROCESSES, &o, e));
	compare_interval_text(&pair.c, text);
	assert_string_equal(text, "95 % bootstrap interval");
	assert_string_equal(compare_interval_head(&pair.c), "95 % interval");
	/* Equal things are so within what matters, and no closer. */
	compare_sentence(&pair.c, text);
	assert_string_equal(text, "All 4 cells are the same within 1 %.");
	compare_common_sentence(&pair.c, text);
	assert_non_null(strstr(text, ": no change beyond 1 %."));
	done();
}

/* A directory equals itself under any name, and none counts twice. */
static void test_named_twice(void **state)
{
	(void)state;
	struct error err;
	struct compare_options o = paired();
	struct made head = other(plain);
	struct comparison c;
	OK(compare(&plain, &head, 2, &o, e));
	assert_int_equal(compare_run(pair.base, 1, pair.base, 1, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "/base-0: is both base and head, and equals itself; name two measurements"));
	struct result_set *twice[] = {pair.head[0], pair.head[1], pair.head[0]}, *base[] = {pair.base[0], pair.base[1]};
	assert_int_equal(compare_run(base, 2, twice, 3, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "/head-0: is named twice in head, and would count twice; name it once"));
	assert_int_equal(compare_run(twice, 3, base, 2, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "is named twice in base"));
	done();
}

/* At most one false alarm in a hundred comparisons of equal things is promised. */
static void test_false_alarms(void **state)
{
	(void)state;
	int alarms = 0;
	struct compare_options o = paired();
	for (int i = 0; i < 40; i++) {
		struct made base = plain, head = plain;
		base.seed = 100 + 2 * (uint64_t)i;
		head.seed = base.seed + 1;
		base.noise = head.noise = 0.03; /* so much that a careless test would find a lot */
		o.paired = i % 2;
		OK(compare(&base, &head, PROCESSES, &o, e));
		alarms += compare_exit_code(&pair.c) == 1;
		done();
	}
	/* P(more than 3 of 40 at 1 %) is 0.0007; with 5 % a cell there would be about 7. */
	assert_true(alarms <= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_slower, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_common, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_exact, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_statuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_across, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_single, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_intervals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_named_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_false_alarms, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
