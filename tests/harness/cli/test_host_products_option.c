/* --host-products as it is called: recorded, in the way of a resumed sweep, refused where the processor lacks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"
#define TOKENS "2,17,4,99,250,3,8,41,5,6,7,200,100,90"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "products");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static bool can(void)
{
	return !device_host_can_products(HOST_PRODUCTS_BF16, NULL);
}

/* chunk: -ub */
static int eval_in(const char *chunk, const char *products, const char *tokens, char *line, size_t size)
{
	char *words[] = {"eval", "-m",          MODEL, "--tokens", (char *)tokens,    "-ngl",           "0",
			 "-ub",  (char *)chunk, "-t",  "1",        "--host-products", (char *)products, NULL};
	int rc = command_run(folder, cmd_eval, words);
	FILE *f = folder_open(folder, "out", "r");
	*line = '\0';
	while (f && fgets(line, (int)size, f) && strncmp(line, "perplexity", 10))
		;
	if (f)
		fclose(f);
	return rc;
}

static int eval(const char *products, const char *tokens, char *line, size_t size)
{
	return eval_in("512", products, tokens, line, size);
}

static void test_eval(void **state)
{
	(void)state;
	char exact[128], rounded[128];
	assert_int_equal(eval("f32", TOKENS, exact, sizeof exact), 0);
	assert_memory_equal(exact, "perplexity", 10);
	if (!can()) {
		assert_int_equal(eval("bf16", TOKENS, rounded, sizeof rounded), 2);
		assert_true(command_said(folder, "errors", "--host-products bf16: "));
		assert_true(command_said(folder, "errors", "AVX512_BF16"));
		return;
	}
	assert_int_equal(eval("bf16", TOKENS, rounded, sizeof rounded), 0);
	assert_memory_equal(rounded, "perplexity", 10);
	assert_string_not_equal(exact, rounded);
	/* Of eight tokens nothing is rounded, and so it is in chunks of eight. */
	assert_int_equal(eval_in("8", "bf16", TOKENS, rounded, sizeof rounded), 0);
	assert_string_equal(exact, rounded);
	assert_int_equal(eval("f32", "2,17,4,99,250,3,8,41", exact, sizeof exact), 0);
	assert_int_equal(eval("bf16", "2,17,4,99,250,3,8,41", rounded, sizeof rounded), 0);
	assert_string_equal(exact, rounded);
}

static void test_unknown(void **state)
{
	(void)state;
	char line[128];
	assert_int_equal(eval("f16", TOKENS, line, sizeof line), 2);
	assert_true(command_said(folder, "errors", "'f16' is unknown"));
}

static void test_sweep(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 16];
	char *words[] = {"-m",   MODEL, "-ngl", "0", "-p", "30", "-n", "0", "-r", "1", "--host-products",
			 "bf16", "-o",  "csv",  NULL};
	if (!can())
		skip();
	assert_int_equal(command_out(folder, cmd_bench, "bench", "run", words), 0);
	assert_true(command_said(folder, "out", "host-bf16"));
	assert_true(command_said(folder, "run/sweep.json", "\"host_products\": \"bf16\""));
	snprintf(path, sizeof path, "%s/run", folder);
	char *other[] = {"bench", "--resume", path, "-m", MODEL, "-ngl", "0", "-p",
			 "30",    "-n",       "0",  "-r", "1",   "-t",   "1", NULL};
	assert_int_equal(command_run(folder, cmd_bench, other), 2);
	assert_true(command_said(folder, "errors", "host_products: \"bf16\" there, \"f32\" here"));
}

/* A setting of GPUs that has nothing to be a setting of is said to be one, and is recorded. */
static void test_prefill_precision_on_the_host(void **state)
{
	(void)state;
	static const char line[] = "--prefill-precision is of GPUs, and no layer is on one";
	char *words[] = {"-m", MODEL, "-ngl", "0", "-p", "0", "-n", "1", "-r", "1", "--prefill-precision", "f32", NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", "precision", words), 0);
	assert_true(command_said(folder, "errors", line));
	assert_true(command_said(folder, "out", ", KV f16/f16, prefill-f32"));
	words[10] = NULL;
	assert_int_equal(command_out(folder, cmd_bench, "bench", "silent", words), 0);
	assert_false(command_said(folder, "errors", line));
	assert_false(command_said(folder, "out", "prefill-"));
	char *eval_words[] = {"eval", "-m", MODEL, "--tokens", "2,17", "-ngl", "0", "--prefill-precision",
			      "f16",  "-b", "2",   "-ub",      "4",    NULL};
	assert_int_equal(command_run(folder, cmd_eval, eval_words), 0);
	assert_true(command_said(folder, "errors", line));
	assert_true(command_said(folder, "errors", "gemmark eval: -ub 4: lowered to 2, as -b says"));
	eval_words[7] = NULL;
	assert_int_equal(command_run(folder, cmd_eval, eval_words), 0);
	assert_false(command_said(folder, "errors", line));
}

/* All settings at once have room. */
static void test_text(void **state)
{
	(void)state;
	struct engine_settings e;
	char text[ENGINE_SETTINGS_TEXT];
	engine_settings_default(&e);
	engine_settings_text(&e, text);
	assert_string_equal(text, "");
	e = (struct engine_settings){.head_on_host = !e.head_on_host,
				     .ple_on_host = !e.ple_on_host,
				     .pdl = !e.pdl,
				     .limits_by = PERSISTENT_LIMITS_CONSTANT,
				     .prefill = PREFILL_F32,
				     .prefill_weights = PREFILL_WEIGHTS_CONVERT,
				     .host_products = HOST_PRODUCTS_BF16};
	engine_settings_text(&e, text);
	assert_string_equal(text, "head-cpu ple-host pdl-off limits-constant prefill-f32 weights-convert host-bf16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eval),  cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_sweep), cmocka_unit_test(test_prefill_precision_on_the_host),
		cmocka_unit_test(test_text),
	};
	return cmocka_run_group_tests_name("--host-products", tests, set_up, tear_down);
}
