/* What becomes of a sweep's cells that are skipped, failed or wrong: records with their reasons, as the runner says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/report/llama_bench.h"
#include "tests/support/fake_sweep.h"

static struct fake_sweep x;
static struct llama_bench *bench;
static json_t *records;

static int add(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx;
	(void)tokens;
	(void)n;
	return llama_bench_add(bench, row, err);
}

static const char *text_of(const json_t *record, const char *field)
{
	const char *s = json_string_value(json_object_get(record, field));
	assert_non_null(s);
	return s;
}

/* The one record of a cell. */
static const json_t *record_of(int depth, const char *mode)
{
	const json_t *found = NULL;
	for (size_t i = 0; i < json_array_size(records); i++) {
		const json_t *r = json_array_get(records, i);
		if (json_integer_value(json_object_get(r, "n_depth")) == depth && !strcmp(text_of(r, "mode"), mode)) {
			assert_null(found);
			found = r;
		}
	}
	assert_non_null(found);
	return found;
}

static void check(int depth, const char *mode, const char *status, const char *reason)
{
	const json_t *r = record_of(depth, mode);
	int ok = !strcmp(status, "ok");
	assert_string_equal(text_of(r, "status"), status);
	assert_non_null(strstr(text_of(r, "reason"), reason));
	assert_int_equal(json_is_null(json_object_get(r, "avg_ts")), !ok);
	assert_int_equal(json_is_null(json_object_get(r, "itl_median_us")), !ok);
	assert_int_equal(json_integer_value(json_object_get(r, "repetitions")), ok ? 2 : 0);
	assert_int_equal(json_array_size(json_object_get(r, "samples_ts")), ok ? 2 : 0);
	/* What is known without a run is there, and does not claim another device than was asked for. */
	assert_int_equal(json_integer_value(json_object_get(r, "n_gen")), 8);
	assert_string_equal(text_of(r, "model_filename"), "m.gguf");
	assert_string_equal(text_of(r, "type_k"), "f16");
	assert_int_equal(strncmp(text_of(r, "backends"), "CPU ", 4), 0);
	assert_true(*text_of(r, "model_type") != '\0' && !strchr(text_of(r, "model_type"), '?'));
}

static void test_reasons(void **state)
{
	(void)state;
	const struct llama_facts facts = {.cpu = "CPU", .gpu = "", .settings = "", .build_number = 1};
	struct runner_sink sink = {.run = add};
	fake_sweep_init(&x, 2);
	x.fake.oom_open_depth = 1000;
	x.fake.unsupported_mode = "graph-params";
	x.fake.wrong_mode = "graph-update";
	x.fake.wrong_pos = 105;
	fake_sweep_cells(&x, &(struct fake_axes){ALL_MODES, "full", SYNC_TOKEN, "0,100,4096", 8, 0});
	for (int i = 0; i < x.n; i++)
		x.cells[i].n_gpu_layers = 0; /* as it is resolved without a GPU */
	assert_int_equal(llama_bench_open(&bench, x.cells, x.n, &facts, NULL), 0);
	assert_int_equal(runner_run(x.cells, x.n, &x.fake.source, &x.options, &sink, &x.summary, NULL), 0);
	assert_int_equal(llama_bench_records(bench, &records, NULL), 0);
	assert_int_equal(json_array_size(records), 3 * 4);
	check(0, "direct", "ok", "");
	check(0, "graph-params", "skipped", "mode graph-params is not here");
	check(0, "graph-update", "ok", "");
	check(100, "graph-update", "wrong", "from token 5 of 8 on");
	check(100, "graph-device", "ok", "");
	check(4096, "direct", "failed", "4128 positions do not fit");
	check(4096, "graph-device", "failed", "4128 positions do not fit");
	/* No two that have no rate agree in what a comparison joins. */
	for (size_t i = 0; i < json_array_size(records); i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(text_of(json_array_get(records, i), "backends"),
						json_is_null(json_object_get(json_array_get(records, i), "avg_ts"))
							? text_of(json_array_get(records, j), "backends")
							: "");
	json_decref(records);
	llama_bench_close(bench);
	fake_sweep_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_reasons)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
