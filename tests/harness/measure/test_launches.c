/* What runs launch is compared token by token, exactly; and what the columns say of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/measured_row.h"
#include "harness/measure/past.h"
#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"

enum { MAX_ROWS = 64, TOKENS = 8 };

struct kept {
	struct run_row row;
	char hash[24], reason[600];
};

static struct kept rows[MAX_ROWS];
static int n_rows;
static struct fake fake;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)n, (void)err;
	assert_true(n_rows < MAX_ROWS);
	struct kept *k = &rows[n_rows++];
	k->row = *row;
	snprintf(k->hash, sizeof k->hash, "%s", row->launch_hash ? row->launch_hash : "");
	snprintf(k->reason, sizeof k->reason, "%s", row->reason);
	return 0;
}

static void sweep(const char *mode, int repetitions, const struct runner_past *past)
{
	const struct cell cells[2] = {
		{.model = "m", .type_k = "f16", .type_v = "f16", .fusion = "full", .mode = "direct", .n_gen = TOKENS},
		{.model = "m", .type_k = "f16", .type_v = "f16", .fusion = "full", .mode = mode, .n_gen = TOKENS}};
	struct runner_options o;
	struct runner_summary summary;
	const struct runner_sink sink = {.run = keep};
	runner_options_default(&o);
	o.repetitions = repetitions;
	o.clock = fake_clock;
	o.clock_ctx = &fake;
	o.past = past;
	n_rows = 0;
	assert_int_equal(runner_run(cells, 2, &fake.source, &o, &sink, &summary, NULL), 0);
}

static void test_equal(void **state)
{
	(void)state;
	fake_init(&fake);
	sweep("graph-device", 3, NULL);
	assert_int_equal(n_rows, 6);
	for (int i = 0; i < n_rows; i++) {
		const struct run_row *r = &rows[i].row;
		int direct = !strcmp(r->mode, "direct");
		assert_int_equal(strlen(rows[i].hash), 16);
		assert_true(r->launches_differ == (r->repetition ? 0 : ROW_UNKNOWN));
		assert_int_equal(!strcmp(rows[i].hash, rows[0].hash), !strcmp(r->mode, rows[0].row.mode));
		assert_true(r->copy_nodes == (direct ? ROW_UNKNOWN : 1));
	}
}

/* One kernel more in one token of one run, whose median nobody would see. */
static void test_one_kernel_more(void **state)
{
	(void)state;
	/* The reference's 12 tokens, then 12 or 13 a run: the third measured token of the fifth run. */
	long before = 12 + 4 * 12 + 1 + 4 + 2;
	fake_init(&fake);
	fake.odd_token = before;
	sweep("graph-device", 3, NULL);
	for (int i = 0; i < n_rows; i++) {
		const struct run_row *r = &rows[i].row;
		assert_true(r->launches_differ == (r->repetition == 0 ? ROW_UNKNOWN : i == 4));
		assert_int_equal(strstr(rows[i].reason, "launched something else") != NULL, i == 4);
	}
}

/* Of a prompt, alone and with tokens behind it: in the measured prefill of the second run. */
static void test_prompts(void **state)
{
	(void)state;
	for (int n_gen = 0; n_gen <= TOKENS; n_gen += TOKENS) {
		const struct cell cell = {.model = "m",
					  .type_k = "f16",
					  .type_v = "f16",
					  .fusion = "full",
					  .mode = "direct",
					  .n_prompt = 20,
					  .n_gen = n_gen};
		struct runner_options o;
		struct runner_summary summary;
		const struct runner_sink sink = {.run = keep};
		fake_init(&fake);
		/* The reference's, two runs'; with tokens one before the warm-up, too, which counts for nothing. */
		fake.odd_prompt = n_gen ? 6 : 3;
		runner_options_default(&o);
		o.repetitions = 3;
		o.clock = fake_clock;
		o.clock_ctx = &fake;
		n_rows = 0;
		assert_int_equal(runner_run(&cell, 1, &fake.source, &o, &sink, &summary, NULL), 0);
		assert_int_equal(n_rows, 3);
		for (int i = 0; i < n_rows; i++) {
			assert_int_equal(strlen(rows[i].hash), 16);
			assert_int_equal(strcmp(rows[i].hash, rows[0].hash) != 0, i == 1);
			assert_true(rows[i].row.launches_differ == (i == 0 ? ROW_UNKNOWN : i == 1));
			assert_int_equal(strstr(rows[i].reason, "launched something else") != NULL, i == 1);
			assert_true(rows[i].row.kernels_per_prompt == 60 + (i == 1));
		}
	}
	/* Without either hash there is nothing to compare. */
	const struct token_record t = {.event = TOKEN_EVENT_REPLAY, .api_launches = 2},
				  captured = {.event = TOKEN_EVENT_CAPTURE};
	uint64_t hash = row_launch_hash_behind(5, &t, 1);
	assert_true(hash && hash != row_launch_hash(&t, 1) && hash != row_launch_hash_behind(6, &t, 1));
	assert_true(!row_launch_hash_behind(0, &t, 1) && !row_launch_hash_behind(5, &captured, 1));
}

/* Behind a resume the first process's run is what counts. */
static void test_resumed(void **state)
{
	(void)state;
	const struct cell cells[2] = {
		{.model = "m", .type_k = "f16", .type_v = "f16", .fusion = "full", .mode = "direct", .n_gen = TOKENS},
		{.model = "m",
		 .type_k = "f16",
		 .type_v = "f16",
		 .fusion = "full",
		 .mode = "graph-device",
		 .n_gen = TOKENS}};
	struct past past;
	fake_init(&fake);
	sweep("graph-device", 3, NULL);
	for (int other = 0; other < 2; other++) {
		struct kept all[6];
		memcpy(all, rows, sizeof all);
		assert_int_equal(past_init(&past, cells, 2, 3, NULL), 0);
		for (int i = 0; i < 4; i++) {
			struct run_row row = all[i].row;
			row.status = RUN_STATUS_OK;
			row.run_id = "id";
			row.model_path_name = "m";
			row.launch_hash = other ? "00000000000000ff" : all[i].hash;
			assert_int_equal(past_take(&past, &row, NULL), 0);
		}
		sweep("graph-device", 3, &past.runner);
		assert_int_equal(n_rows, 2);
		for (int i = 0; i < 2; i++)
			assert_int_equal(rows[i].row.launches_differ, other);
		past_free(&past);
		memcpy(rows, all, sizeof all);
	}
}

/* A capture on the way makes a run incomparable, not different. */
static void test_captures(void **state)
{
	(void)state;
	struct token_record t[3] = {{.event = TOKEN_EVENT_REPLAY, .api_launches = 2, .kernels = 39},
				    {.event = TOKEN_EVENT_REPLAY, .api_launches = 2, .kernels = 39},
				    {.event = TOKEN_EVENT_REPLAY, .api_launches = 2, .kernels = 40}};
	uint64_t hash = row_launch_hash(t, 3);
	assert_true(hash && row_launch_hash(t, 2) != hash);
	/* The same sum in another order is another thing. */
	struct token_record swapped[3] = {t[0], t[2], t[1]};
	assert_true(row_launch_hash(swapped, 3) != hash);
	t[1].event = TOKEN_EVENT_CAPTURE;
	assert_true(row_launch_hash(t, 3) == 0);
	t[1].event = TOKEN_EVENT_FALLBACK;
	assert_true(row_launch_hash(t, 3) == 0 && row_launch_hash(t, 0) == 0);
}

/* p99 of both from 662 tokens up, as the statistics have it. */
static void test_p99(void **state)
{
	(void)state;
	enum { N = 700 };
	static struct token_record t[N];
	struct run_row r;
	for (int n = 600; n <= N; n += 100) {
		for (int i = 0; i < n; i++)
			t[i] = (struct token_record){.submit_us = i, .itl_us = 1000 + i, .gpu_us = 1, .wall_us = 1};
		row_init(&r);
		assert_int_equal(row_set_tokens(&r, t, n), 0);
		assert_int_equal(isnan(r.submit_p99_us), n < 662);
		assert_int_equal(isnan(r.itl_p99_us), n < 662);
	}
	assert_true(fabs(r.submit_p99_us - 0.99 * (N - 1)) < 1e-9 && fabs(r.itl_p99_us - 1000 - 0.99 * (N - 1)) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal),   cmocka_unit_test(test_one_kernel_more),
		cmocka_unit_test(test_resumed), cmocka_unit_test(test_captures),
		cmocka_unit_test(test_p99),     cmocka_unit_test(test_prompts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
