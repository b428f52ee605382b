/*
 * A device that is gone in the middle of a sweep on the real engine: the run at hand fails
 * and says so, the model is loaded on a new device, and all other runs are whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/engine_workload.h"
#include "harness/measure/runner.h"

enum { TOKENS = 12, MAX_ROWS = 64, FOREVER = 1 << 30 };

static struct {
	char status[16], reason[400], hash[24], mode[24];
	int n_tokens;
} rows[MAX_ROWS];
static int n_rows;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)err;
	assert_true(n_rows < MAX_ROWS);
	snprintf(rows[n_rows].status, sizeof rows->status, "%s", run_status_name(row->status));
	snprintf(rows[n_rows].reason, sizeof rows->reason, "%s", row->reason);
	snprintf(rows[n_rows].hash, sizeof rows->hash, "%s", row->logits_hash ? row->logits_hash : "");
	snprintf(rows[n_rows].mode, sizeof rows->mode, "%s", row->mode);
	rows[n_rows++].n_tokens = n;
	return 0;
}

static int (*inner_open)(struct workload_source *s, const struct placement *p, struct workload **out,
			 struct error *err);
static int opened, healthy_for;

/* The first device fails every wait from then on. */
static int open_and_lose(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err)
{
	int rc = inner_open(s, p, out, err);
	if (rc)
		return rc;
	struct device *d = session_device(engine_session(*out));
	if (opened++ == 0)
		device_fail(d, DEVICE_FAULT_SYNCHRONIZE, healthy_for, FOREVER);
	return 0;
}

static void sweep(const char *sync, int after)
{
	struct matrix m = {0};
	struct runner_options o;
	struct runner_summary summary;
	struct workload_source *source;
	struct engine_settings settings;
	struct cell *cells;
	struct error err = {""};
	const struct runner_sink sink = {.run = keep};
	int n;
	n_rows = opened = 0;
	healthy_for = after;
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "golden/gemma4-e2b-tiny.q8_0.gguf", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_MODE, "direct,graph-params,graph-device", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_FUSION, "full", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_SYNC, sync, NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_K, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_V, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "12", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "30", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GPU_LAYERS, "0", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_THREADS, "1", NULL), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	engine_settings_default(&settings);
	assert_int_equal(engine_source_open(&source, &settings, NULL), 0);
	inner_open = source->open;
	source->open = open_and_lose;
	runner_options_default(&o);
	o.repetitions = 4;
	if (runner_run(cells, n, source, &o, &sink, &summary, &err))
		fail_msg("%s", err.text);
	engine_source_close(source);
	free(cells);
	matrix_free(&m);
}

static void check(int failed)
{
	int not_ok = 0;
	const char *hash = NULL;
	for (int i = 0; i < n_rows; i++) {
		if (!strcmp(rows[i].status, "ok")) {
			assert_true(rows[i].n_tokens >= 4 + TOKENS);
			hash = hash ? hash : rows[i].hash;
			assert_string_equal(rows[i].hash, hash);
			continue;
		}
		not_ok++;
		assert_string_equal(rows[i].status, "failed");
		assert_non_null(strstr(rows[i].reason, "failed (injected)"));
	}
	assert_int_equal(not_ok, failed);
	assert_non_null(hash);
}

/* The cell whose run failed is not repeated; the others have their four runs. */
static void test_lost(void **state)
{
	(void)state;
	/* Waits: prefill, checkpoint and rewinds; the reference's 4 and 12 tokens; then runs of as many. */
	const int after[] = {40, 60, 90};
	for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
		sweep("token", after[i]);
		check(1);
		assert_int_equal(opened, 2);
		assert_true(n_rows > 8 && n_rows < 12);
	}
	/* A queue waits less often. */
	sweep("none", 45);
	check(1);
	assert_int_equal(opened, 2);
}

/* Gone while the depth is prefilled: nothing can be said of the group, and it is said once a cell. */
static void test_lost_at_the_start(void **state)
{
	(void)state;
	sweep("token", 0);
	assert_int_equal(n_rows, 3);
	for (int i = 0; i < n_rows; i++) {
		assert_string_equal(rows[i].status, "failed");
		assert_non_null(strstr(rows[i].reason, "failed (injected)"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_lost_at_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
