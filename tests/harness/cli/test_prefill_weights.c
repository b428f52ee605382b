/* --prefill-weights as it is called, planned, recorded, and in the way of contexts that are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device.h"
#include "harness/cli/engine_context.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/engine_workload.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/sweep/axis.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf" /* 10 layers; the last 5 own no cache */

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "weights");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void test_words(void **state)
{
	(void)state;
	static const struct {
		const char *word, *name;
		int n_layers;
	} good[] = {{"auto", "auto", PREFILL_WEIGHTS_AUTO},          {"resident", "resident", PREFILL_WEIGHTS_RESIDENT},
		    {"convert", "convert", PREFILL_WEIGHTS_CONVERT}, {"34", "34", 34},
		    {"0", "convert", PREFILL_WEIGHTS_CONVERT},       {"10000", "10000", AXIS_LAYERS_MAX}};
	static const struct {
		const char *word, *says;
	} bad[] = {{"residnet", "did you mean resident?"},
		   {"", "auto, resident, convert"},
		   {"half", "number of layers"},
		   {"-1", "'-1' is not a whole number from 0 to 10000"},
		   {"3.5", "'3.5' is not"},
		   {"34x", "'34x' is not"},
		   {"10001", "'10001' is not"}};
	int n = -9;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		OK(options_prefill_weights(good[i].word, &n, e));
		assert_int_equal(n, good[i].n_layers);
		assert_string_equal(prefill_weights_name(n).text, good[i].name);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct error err = {""};
		int rc = options_prefill_weights(bad[i].word, &n, &err);
		if (rc != ERROR_INPUT || !strstr(err.text, bad[i].says))
			fail_msg("%s: %d, %s", bad[i].word, rc, err.text);
	}
}

/* Any of them are in float16, as prompts then have to be; headings name what is not the default. */
static void test_settings(void **state)
{
	(void)state;
	struct engine_settings e;
	struct error err = {""};
	char text[ENGINE_SETTINGS_TEXT];
	engine_settings_default(&e);
	e.prefill_weights = 34;
	engine_settings_text(&e, text);
	assert_string_equal(text, "weights-34");
	assert_int_equal(engine_settings_check(&e, &err), 0);
	e.prefill = PREFILL_F32;
	assert_int_equal(engine_settings_check(&e, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--prefill-weights 34: "));
	e.prefill_weights = PREFILL_WEIGHTS_CONVERT;
	assert_int_equal(engine_settings_check(&e, &err), 0);
	e.prefill_weights = PREFILL_WEIGHTS_AUTO;
	assert_int_equal(engine_settings_check(&e, &err), 0);
}

/* The table of a plan says of how many layers. */
static void test_planned(void **state)
{
	(void)state;
	static const struct {
		char *layers, *weights;
		const char *says;
	} cases[] = {{"auto", "resident", "weights for prompts, f16: 5 layers "},
		     {"auto", "auto", "weights for prompts, f16: 5 layers "},
		     {"auto", "2", "weights for prompts, f16: 2 layers "},
		     {"10", "1", "weights for prompts, f16: 1 layer "},
		     {"3", "4", "weights for prompts, f16: 3 layers "},
		     {"3", "auto", "weights for prompts, f16: 3 layers "},
		     {"10", "convert", NULL},
		     {"0", "resident", NULL}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *layers = cases[i].layers, *weights = cases[i].weights;
		char *words[] = {"model", "show", MODEL, "--device-memory",   "8G",    "-ngl",
				 layers,  "-c",   "64",  "--prefill-weights", weights, NULL};
		assert_int_equal(command_run(folder, cmd_model, words), 0);
		if (command_said(folder, "out", cases[i].says ? cases[i].says : "weights for prompts") !=
		    !!cases[i].says)
			fail_msg("-ngl %s, weights %s", cases[i].layers, cases[i].weights);
	}
}

/* What was asked for is recorded, and a sweep goes on with the same. */
static void test_recorded(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 16];
	char *words[] = {"-m", MODEL, "-ngl", "0", "-p", "0", "-n", "1", "-r", "1", "--prefill-weights", "3", NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", "run", words), 0);
	assert_true(command_said(folder, "run/sweep.json", "\"prefill_weights\": \"3\""));
	snprintf(path, sizeof path, "%s/run", folder);
	char *other[] = {"bench", "--resume", path, "-m", MODEL, "-ngl", "0", "-p",
			 "0",     "-n",       "1",  "-r", "1",   "-t",   "1", "--prefill-weights",
			 "4",     NULL};
	assert_int_equal(command_run(folder, cmd_bench, other), 2);
	assert_true(command_said(folder, "errors", "prefill_weights: \"3\" there, \"4\" here"));
	other[16] = "3";
	assert_int_equal(command_run(folder, cmd_bench, other), 0);
}

/* Rows have what was picked, and contexts that were prefilled with others are not taken. */
static void test_rows(void **state)
{
	(void)state;
	static const struct {
		int n_layers;
		const char *row;
	} cases[] = {{PREFILL_WEIGHTS_CONVERT, "convert"},
		     {2, "2"},
		     {4, "4"},
		     {5, "resident"},
		     {PREFILL_WEIGHTS_RESIDENT, "resident"},
		     {PREFILL_WEIGHTS_AUTO, "convert"}};
	enum { CASES = sizeof cases / sizeof *cases };
	json_t *kept[CASES];
	for (int i = 0; i < CASES; i++) {
		struct load_options o;
		struct device *far, *near;
		struct engine_model m = {.loaded = NULL};
		struct cell cell = {.model = MODEL};
		const struct placement p = {.cell = &cell, .context = 40};
		struct workload *w;
		struct workload_facts facts;
		load_options_default(&o);
		o.n_gpu_layers = 10;
		o.n_threads = 1;
		o.prefill_weights = cases[i].n_layers;
		OK(guarded_open(&far, true, 1, e));
		OK(guarded_open(&near, false, 1, e));
		OK(loaded_model_open_on(&m.loaded, MODEL, &o, far, near, e));
		OK(engine_workload_open(&w, &m, &p, e));
		w->ops->facts(w, &facts);
		assert_string_equal(facts.prefill_weights, cases[i].row);
		kept[i] = engine_context_identity(m.loaded, "weights", "device", 1);
		assert_non_null(kept[i]);
		for (int k = 0; k < i; k++)
			assert_int_equal(json_equal(kept[k], kept[i]), !strcmp(cases[k].row, cases[i].row));
		w->ops->close(w);
		loaded_model_close(m.loaded);
		device_close(far);
		device_close(near);
	}
	for (int i = 0; i < CASES; i++)
		json_decref(kept[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),    cmocka_unit_test(test_settings), cmocka_unit_test(test_planned),
		cmocka_unit_test(test_recorded), cmocka_unit_test(test_rows),
	};
	return cmocka_run_group_tests_name("--prefill-weights", tests, set_up, tear_down);
}
