/* Comparisons of run directories whose difference is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	struct error err = {""};
	base.drift = head.drift = 0.02; /* of the machine: both sides of a pair have it */
	head.slower[2] = 0.05;
	for (o.paired = 0; o.paired < 2; o.paired++) {
		if (!o.paired)
			base.drift = head.drift = 0;
		else
			base.drift = head.drift = 0.02;
		OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
		assert_int_equal(compared.c.n, COMPARED_CELLS);
		for (int i = 0; i < COMPARED_CELLS; i++) {
			const struct compare_cell *k = &compared.c.cells[i];
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
		assert_int_equal(compare_exit_code(&compared.c), 1);
		assert_int_equal(compared.c.common.kind, VERDICT_SAME);
		char sentence[COMPARE_SENTENCE_SIZE];
		compare_sentence(&compared.c, sentence);
		assert_non_null(strstr(sentence, "1 of 4 cells is slower (tg4 @ d64 graph-update full: +"));
		assert_non_null(strstr(sentence, "3 are the same within 1 %."));
		compared_free();
	}
	/* Faster is no regression. */
	o = compared_options();
	head.slower[2] = -0.05;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&compared.c), 0);
	assert_int_equal(compared.c.count[COMPARE_FASTER], 1);
	compared_free();
	(void)err;
}

/* All cells move by 3 %: paired, it is head's doing; else it may be the machine's, and the exit code says cannot tell.
 */
static void test_common(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	head.all = 0.03;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.common.kind, VERDICT_SLOWER);
	assert_true(fabs(compared.c.common.effect - 0.03) < 0.002 && compared.c.common_cells == COMPARED_CELLS);
	for (int i = 0; i < COMPARED_CELLS; i++) {
		assert_int_equal(compared.c.cells[i].outcome, COMPARE_SLOWER);
		assert_int_equal(compared.c.cells[i].relative.kind, VERDICT_SAME);
	}
	assert_int_equal(compare_exit_code(&compared.c), 1);
	char sentence[COMPARE_SENTENCE_SIZE];
	compare_common_sentence(&compared.c, sentence);
	assert_non_null(strstr(sentence, "Common to all 4 cells: +"));
	assert_non_null(strstr(sentence, "head's cells moved so far together"));
	compared_free();
	o.paired = 0;
	head.slower[1] = 0.05;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_COMMON], 3);
	assert_int_equal(compared.c.count[COMPARE_SLOWER], 1);
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compare_common_sentence(&compared.c, sentence);
	assert_non_null(strstr(sentence, "or the machine"));
	compared_free();
	head.slower[1] = 0;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_COMMON], 4);
	assert_int_equal(compare_exit_code(&compared.c), 3);
	compared_free();
	/* Asked to, the gate takes each cell as it is. */
	o.gate = COMPARE_GATE_ABSOLUTE;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compared_free();
}

static void test_tail(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	head.tail = 1;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	for (int i = 0; i < COMPARED_CELLS; i++) {
		const struct compare_value *v = compared.c.cells[i].values;
		assert_int_equal(v[METRIC_TIME].verdict.kind, VERDICT_SAME);
		assert_int_equal(v[METRIC_P99].verdict.kind, VERDICT_SLOWER);
		assert_true(fabs(v[METRIC_P99].verdict.effect - 1) < 0.01);
	}
	compared_free();
}

static void test_exact(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	head.launches = 1;
	head.hash = "ffffffffffffffff";
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	for (int i = 0; i < COMPARED_CELLS; i++) {
		const struct compare_exact *x = &compared.c.cells[i].exact[EXACT_LAUNCHES];
		assert_int_equal(x->change, EXACT_DIFFERENT);
		assert_string_equal(x->base, "100");
		assert_string_equal(x->head, "101");
		assert_int_equal(compared.c.cells[i].exact[EXACT_LOGITS].change, EXACT_DIFFERENT);
		assert_int_equal(compared.c.cells[i].exact[EXACT_KERNELS].change, EXACT_SAME);
		assert_int_equal(compared.c.cells[i].exact[EXACT_KEPT].change, EXACT_UNKNOWN);
	}
	assert_int_equal(compared.c.exact_gated, COMPARED_CELLS);
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compared_free();
	/* A prompt's are its own, and unknown of an older file. */
	struct compared_side base = compared_plain;
	head.launches = 0;
	head.hash = NULL;
	base.prompt = 500;
	head.prompt = 501;
	for (int known = 1; known >= 0; known--) {
		OK(compared_run(known ? &base : &compared_plain, &head, COMPARED_PROCESSES, &o, e));
		const struct compare_exact *x = &compared.c.cells[0].exact[EXACT_PROMPT_LAUNCHES];
		assert_int_equal(x->change, known ? EXACT_DIFFERENT : EXACT_UNKNOWN);
		assert_int_equal(compared.c.cells[0].exact[EXACT_LAUNCHES].change, EXACT_SAME);
		assert_int_equal(compare_exit_code(&compared.c), known);
		compared_free();
	}
	head.prompt = 0;
	head.launches = 1;
	head.hash = "ffffffffffffffff";
	/* Fewer are none; and what gates is a choice. */
	OK(compared_run(&head, &compared_plain, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&compared.c), 0);
	compared_free();
	o.gate_exact = 0;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&compared.c), 0);
	compared_free();
	o.gate_exact = 1u << EXACT_LOGITS;
	OK(compared_run(&head, &compared_plain, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compared_free();
}

/* The text of the comparison; the test's to free. */
static char *printed(enum compare_format format)
{
	struct compare_output of = {.base_name = "base", .head_name = "head"};
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	assert_non_null(f);
	OK(compare_output_write(&compared.c, &of, format, f, e));
	assert_int_equal(fclose(f), 0);
	return text;
}

/* What is not one thing in all runs of a side, or is said no more, is not the same. */
static void test_exact_unequal(void **state)
{
	(void)state;
	static const struct {
		struct compared_side base, head; /* what differs from plain */
		unsigned gates;
		enum exact_id of;
		enum exact_change change;
		int code;
		const char *says, *sentence;
	} cases[] = {
		{{.seed = 1},
		 {.launches_odd = 1},
		 1u << EXACT_LAUNCHES,
		 EXACT_LAUNCHES,
		 EXACT_VARIES,
		 1,
		 "- driver calls a token: not the same in all runs of a side, in 4 cells",
		 "; 4 cells launch more than before."},
		{{.launches_odd = 1},
		 {.launches_odd = 1},
		 1u << EXACT_LAUNCHES,
		 EXACT_LAUNCHES,
		 EXACT_VARIES,
		 1,
		 "- driver calls a token: not the same in all runs of a side, in 4 cells",
		 "; 4 cells launch more than before."},
		/* Never more than base is no regression, and yet a change. */
		{{.launches_odd = 1},
		 {.seed = 2},
		 1u << EXACT_LAUNCHES,
		 EXACT_LAUNCHES,
		 EXACT_VARIES,
		 0,
		 "- driver calls a token: not the same in all runs of a side, in 4 cells",
		 "All 4 cells are the same within 1 %."},
		{{.seed = 1},
		 {.hash_odd = "ffffffffffffffff"},
		 1u << EXACT_LOGITS,
		 EXACT_LOGITS,
		 EXACT_VARIES,
		 1,
		 "- bits of the logits: not the same in all runs of a side, in 4 cells",
		 "; 4 cells differ in bits of the logits."},
		{{.seed = 1},
		 {.silent = 1},
		 1u << EXACT_LAUNCHES,
		 EXACT_LAUNCHES,
		 EXACT_MISSING,
		 1,
		 "- driver calls a token: 100 -> not known in head in 4 cells",
		 "; 4 cells differ in driver calls a token."},
		{{.seed = 1},
		 {.silent = 1},
		 1u << EXACT_LOGITS | 1u << EXACT_LAUNCHES,
		 EXACT_LOGITS,
		 EXACT_MISSING,
		 1,
		 "- bits of the logits: not known in head any more, in 4 of 4 cells",
		 "; 4 cells differ in driver calls a token, bits of the logits."},
		{{.seed = 1},
		 {.hash = "ffffffffffffffff"},
		 1u << EXACT_LOGITS | 1u << EXACT_LAUNCHES,
		 EXACT_LOGITS,
		 EXACT_DIFFERENT,
		 1,
		 "- bits of the logits: other ones in 4 of 4 cells",
		 "; 4 cells differ in bits of the logits."},
		/* Said, where nothing asks for it. */
		{{.seed = 1},
		 {.hash = "ffffffffffffffff"},
		 1u << EXACT_LAUNCHES,
		 EXACT_LOGITS,
		 EXACT_DIFFERENT,
		 0,
		 "- bits of the logits: other ones in 4 of 4 cells",
		 "All 4 cells are the same within 1 %; the logits' bits are other ones in 4 cells, which is not "
		 "judged."},
		/* An older base that does not say cannot be told from. */
		{{.silent = 1},
		 {.seed = 2},
		 1u << EXACT_LAUNCHES,
		 EXACT_LAUNCHES,
		 EXACT_UNKNOWN,
		 0,
		 "exact quantities (graph nodes set a token, kernels a token, weight bytes read a token): the same; "
		 "not known of both sides: driver calls a token,",
		 "All 4 cells are the same within 1 %."},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct compare_options o = compared_options();
		struct compared_side base = cases[i].base, head = cases[i].head;
		char sentence[COMPARE_SENTENCE_SIZE];
		base.noise = head.noise = compared_plain.noise;
		base.repetitions = head.repetitions = 1;
		base.cells = head.cells = COMPARED_CELLS;
		base.seed = 1;
		head.seed = 2;
		o.gate_exact = cases[i].gates;
		OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
		assert_int_equal(compared.c.cells[0].exact[cases[i].of].change, cases[i].change);
		assert_int_equal(compare_exit_code(&compared.c), cases[i].code);
		assert_int_equal(compared.c.exact_gated, cases[i].code ? COMPARED_CELLS : 0);
		compare_sentence(&compared.c, sentence);
		if (!strstr(sentence, cases[i].sentence))
			fail_msg("%zu: %s", i, sentence);
		char *text = printed(COMPARE_FORMAT_TABLE);
		if (!strstr(text, cases[i].says))
			fail_msg("%zu: %s", i, text);
		free(text);
		compared_free();
	}
}

static void test_statuses(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	head.status = RUN_STATUS_WRONG;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_WRONG], 1);
	assert_int_equal(compare_exit_code(&compared.c), 4);
	compared_free();
	head.status = RUN_STATUS_FAILED;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_LOST], 1);
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compared_free();
	OK(compared_run(&head, &compared_plain, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_GAINED], 1);
	assert_int_equal(compare_exit_code(&compared.c), 0);
	compared_free();
	OK(compared_run(&head, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_NOT_RUN], 1);
	assert_int_equal(compare_exit_code(&compared.c), 0);
	compared_free();
}

/* What cannot be compared is refused, and says what to do. */
static void test_refused(void **state)
{
	(void)state;
	static const struct {
		struct compared_side head;
		const char *says, *allowed;
	} cases[] = {
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS - 1, .seed = 2},
		 "in base alone 1, in head alone 0",
		 "cells"},
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 2, .gpu = "H100"},
		 "gpu: there is none in base, one in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 2, .flags = "-O2"},
		 "build flags: \"-O3\" in base, \"-O2\" in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 2, .until = "stable=0.5"},
		 "--until",
		 ""},
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 2, .first_repetition = 2147483647},
		 "repetition 2147483647",
		 ""},
		{{.noise = 0.002, .repetitions = 1, .cells = COMPARED_CELLS, .seed = 2, .model = "other.gguf"},
		 NULL,
		 ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct compare_options o = compared_options();
		struct error err = {""};
		int rc = compared_run(&compared_plain, &cases[i].head, 10, &o, &err);
		/* The same content under another name is the same model. */
		assert_int_equal(rc, cases[i].says ? ERROR_INPUT : 0);
		if (cases[i].says && !strstr(err.text, cases[i].says))
			fail_msg("%s", err.text);
		compared_free();
		o.allow_env_diff = !strcmp(cases[i].allowed, "env");
		o.common_cells = !strcmp(cases[i].allowed, "cells");
		if (!*cases[i].allowed)
			continue;
		OK(compared_run(&compared_plain, &cases[i].head, 10, &o, e));
		assert_int_equal(compared.c.n, cases[i].head.cells);
		assert_int_equal(compared.c.n_differences, o.allow_env_diff); /* once, of ten directories */
		compared_free();
	}
}

/* Repetitions of one process a side: the run is the unit, and it is said that processes are not. */
static void test_single(void **state)
{
	(void)state;
	struct compare_options o;
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	compare_options_default(&o);
	base.repetitions = head.repetitions = 12;
	head.slower[0] = 0.08;
	OK(compared_run(&base, &head, 1, &o, e));
	assert_true(compared.c.single_process);
	assert_int_equal(compared.c.cells[0].values[METRIC_TIME].n, 12);
	assert_int_equal(compare_exit_code(&compared.c), 1);
	compared_free();
	/* As much as two processes of one program differ cannot be told, unless it is known that they differ less. */
	head.slower[0] = 0.04;
	OK(compared_run(&base, &head, 1, &o, e));
	assert_int_equal(compared.c.cells[0].outcome, COMPARE_UNCLEAR);
	assert_int_equal(compare_exit_code(&compared.c), 3);
	compared_free();
	o.process = 0.01;
	OK(compared_run(&base, &head, 1, &o, e));
	assert_int_equal(compared.c.cells[0].outcome, COMPARE_SLOWER);
	compared_free();
	o.process = 0.05;
	/* Several repetitions in several processes: the process is the unit. */
	base.repetitions = head.repetitions = 3;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_false(compared.c.single_process);
	assert_int_equal(compared.c.cells[0].values[METRIC_TIME].n, COMPARED_PROCESSES);
	compared_free();
	/* Too few to say anything are inconclusive, whatever they say, and never the same. */
	OK(compared_run(&base, &head, 3, &o, e));
	assert_int_equal(compared.c.count[COMPARE_UNCLEAR], COMPARED_CELLS);
	assert_true(isinf(compared.c.cells[0].values[METRIC_TIME].verdict.detectable));
	assert_int_equal(compare_exit_code(&compared.c), 3);
	char text[COMPARE_SENTENCE_SIZE];
	compare_sentence(&compared.c, text);
	assert_string_equal(text, "None of 4 cells can be told.");
	compared_free();
}

/* Seconds of the processor for a comparison of 4 (more + 1) cells, with its text. */
static double seconds_of(int more)
{
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	struct comparison c;
	struct timespec start, end;
	base.more_depths = head.more_depths = more;
	OK(compared_run(&base, &head, 1, &o, e));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	OK(compare_run(compared.base, 1, compared.head, 1, &o, &c, e));
	free(printed(COMPARE_FORMAT_TABLE));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	assert_int_equal(c.n, 4 * (more + 1));
	for (int i = 0; i < c.n; i++) {
		assert_int_equal(c.cells[i].ok_base, 1);
		assert_int_equal(c.cells[i].ok_head, 1);
		assert_int_equal(c.cells[i].base_row->n_depth, c.cells[i].head_row->n_depth);
	}
	compare_free(&c);
	compared_free();
	return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}

/* Four times the cells take four times as long, and not sixteen times. */
static void test_many_cells(void **state)
{
	(void)state;
	double few = seconds_of(249), many = seconds_of(999);
	if (many > 8 * few)
		fail_msg("%.3f s for 1000 cells, %.3f s for 4000", few, many);
}

/* Numbers of repetitions are somebody's text: they size nothing, and pair what has the same. */
static void test_repetition_numbers(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	struct error err = {""};
	base.repetitions = head.repetitions = 12;
	base.step = head.step = 9000;
	head.slower[0] = 0.08;
	OK(compared_run(&base, &head, 1, &o, e));
	assert_int_equal(compared.c.cells[0].values[METRIC_TIME].n, 12);
	assert_int_equal(compared.c.cells[0].outcome, COMPARE_SLOWER);
	compared_free();
	/* As many cells as repetitions, and a row of each. */
	base.step = 1;
	head.step = 1;
	base.repetitions = head.repetitions = 1;
	base.more_depths = head.more_depths = 600;
	base.diagonal = head.diagonal = 1;
	assert_int_equal(compared_run(&base, &head, 1, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "2404 cells and up to 601 repetitions, and only 4808 rows"));
	compared_free();
}

/* What an interval of few units holds is not what its level says. */
static void test_intervals(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	char text[COMPARE_SENTENCE_SIZE];
	OK(compared_run(&compared_plain, &head, 3, &o, e));
	compare_interval_text(&compared.c, text);
	assert_string_equal(text,
			    "95 % bootstrap interval (of 3 pairs their range, which holds the true change 75 times "
			    "in 100)");
	assert_string_equal(compare_interval_head(&compared.c), "interval");
	assert_true(compare_coverage(&compared.c, 3, 3) == 0.75);
	assert_true(compare_coverage(&compared.c, 6, 6) == 0.95);
	compared_free();
	o.paired = 0;
	OK(compared_run(&compared_plain, &head, 3, &o, e));
	compare_interval_text(&compared.c, text);
	assert_string_equal(text, "95 % bootstrap interval (of 3 units a side it holds the true change less often)");
	assert_string_equal(compare_interval_head(&compared.c), "interval");
	assert_true(isnan(compare_coverage(&compared.c, 3, 9)));
	compared_free();
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	compare_interval_text(&compared.c, text);
	assert_string_equal(text, "95 % bootstrap interval");
	assert_string_equal(compare_interval_head(&compared.c), "95 % interval");
	/* Equal things are so within what matters, and no closer. */
	compare_sentence(&compared.c, text);
	assert_string_equal(text, "All 4 cells are the same within 1 %.");
	compare_common_sentence(&compared.c, text);
	assert_non_null(strstr(text, ": no change beyond 1 %."));
	compared_free();
}

/* A directory equals itself under any name, and none counts twice. */
static void test_named_twice(void **state)
{
	(void)state;
	struct error err;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	struct comparison c;
	OK(compared_run(&compared_plain, &head, 2, &o, e));
	assert_int_equal(compare_run(compared.base, 1, compared.base, 1, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "/base-0: is both base and head, and equals itself; name two measurements"));
	struct result_set *twice[] = {compared.head[0], compared.head[1], compared.head[0]},
			  *base[] = {compared.base[0], compared.base[1]};
	assert_int_equal(compare_run(base, 2, twice, 3, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "/head-0: is named twice in head, and would count twice; name it once"));
	assert_int_equal(compare_run(twice, 3, base, 2, &o, &c, &err), ERROR_INPUT);
	compare_free(&c);
	assert_non_null(strstr(err.text, "is named twice in base"));
	compared_free();
}

/* At most one false alarm in a hundred comparisons of equal things is promised. */
static void test_false_alarms(void **state)
{
	(void)state;
	int alarms = 0;
	struct compare_options o = compared_options();
	for (int i = 0; i < 40; i++) {
		struct compared_side base = compared_plain, head = compared_plain;
		base.seed = 100 + 2 * (uint64_t)i;
		head.seed = base.seed + 1;
		base.noise = head.noise = 0.03; /* so much that a careless test would find a lot */
		o.paired = i % 2;
		OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
		alarms += compare_exit_code(&compared.c) == 1;
		compared_free();
	}
	/* P(more than 3 of 40 at 1 %) is 0.0007; with 5 % a cell there would be about 7. */
	assert_true(alarms <= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_slower, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_common, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_tail, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_exact, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_exact_unequal, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_statuses, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_refused, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_single, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_many_cells, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_repetition_numbers, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_intervals, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_named_twice, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_false_alarms, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
