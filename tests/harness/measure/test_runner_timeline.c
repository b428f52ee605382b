/* Which runs of a sweep have a token stamped, on the fake workload; and that nothing measured depends on it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"

enum { MAX_ROWS = 64, REPETITIONS = 3, TOKENS = 6, AGAIN = 4 };

struct kept {
	char run_id[100], fusion[16], mode[16], status[16], reason[600], hash[24];
	int n_tokens, n_stamps;
	long pos; /* behind the stamped token */
	double itl_us;
	struct run_row row; /* its texts are gone */
};

static struct kept rows[MAX_ROWS];
static int n_rows;
static char stamped_id[100]; /* of the run that is to come */
static int n_stamps;
static long stamped_pos;
static struct fake fake;

static int keep_stamps(void *ctx, const char *run_id, const struct timeline_stamp *stamps, int n, struct error *err)
{
	(void)ctx, (void)err;
	assert_string_equal(stamped_id, "");
	snprintf(stamped_id, sizeof stamped_id, "%s", run_id);
	n_stamps = n;
	stamped_pos = (long)stamps[n - 1].published_ns;
	return 0;
}

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)err;
	assert_true(n_rows < MAX_ROWS);
	struct kept *k = &rows[n_rows++];
	*k = (struct kept){
		.n_tokens = n, .n_stamps = n_stamps, .pos = stamped_pos, .itl_us = row->itl_median_us, .row = *row};
	snprintf(k->run_id, sizeof k->run_id, "%s", row->run_id);
	snprintf(k->fusion, sizeof k->fusion, "%s", row->fusion);
	snprintf(k->mode, sizeof k->mode, "%s", row->mode);
	snprintf(k->status, sizeof k->status, "%s", run_status_name(row->status));
	snprintf(k->reason, sizeof k->reason, "%s", row->reason);
	snprintf(k->hash, sizeof k->hash, "%s", row->logits_hash ? row->logits_hash : "");
	assert_true(!n_stamps || !strcmp(stamped_id, k->run_id));
	*stamped_id = '\0';
	n_stamps = 0;
	return 0;
}

/* The seed is the order's. */
static void run(const struct cell *cells, int n, int repetitions, bool timeline, uint64_t seed,
		struct runner_summary *summary)
{
	struct runner_options o;
	const struct runner_sink sink = {.run = keep, .timeline = keep_stamps};
	runner_options_default(&o);
	o.repetitions = repetitions;
	o.seed = seed;
	o.clock = fake_clock;
	o.clock_ctx = &fake;
	o.timeline = timeline;
	n_rows = 0;
	assert_int_equal(runner_run(cells, n, &fake.source, &o, &sink, summary, NULL), 0);
}

/* Two fusions in two modes, n_gen tokens behind n_prompt, at depth 5. */
static void sweep(bool timeline, int n_prompt, int n_gen, const char *sync)
{
	struct cell cells[4];
	struct runner_summary summary;
	for (int i = 0; i < 4; i++)
		cells[i] = (struct cell){.model = "m",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = i < 2 ? "full" : "persistent",
					 .mode = i % 2 ? "graph-device" : "direct",
					 .sync = sync,
					 .n_depth = 5,
					 .n_prompt = n_prompt,
					 .n_gen = n_gen};
	run(cells, 4, REPETITIONS, timeline, 1, &summary);
	assert_int_equal(n_rows, 4 * REPETITIONS);
}

/* Of persistent one stamped run, whose mode changes nothing; of full one that is direct and one that replays. */
static void check_stamped(int n_stamps_each, long pos)
{
	int one_launch = 0, direct = 0, replayed = 0;
	for (int i = 0; i < n_rows; i++) {
		if (!rows[i].n_stamps)
			continue;
		assert_int_equal(rows[i].n_stamps, n_stamps_each);
		assert_int_equal(rows[i].pos, pos);
		if (!strcmp(rows[i].fusion, "persistent"))
			one_launch++;
		else if (!strcmp(rows[i].mode, "direct"))
			direct++;
		else
			replayed++;
	}
	assert_int_equal(one_launch, 1);
	assert_int_equal(direct, 1);
	assert_int_equal(replayed, 1);
	assert_int_equal(fake.stamped, 3);
	/* Launched so: the fake says of each token which mode it was in. */
	assert_int_equal(fake.stamped_replayed, 1);
}

static void test_one_token(void **state)
{
	(void)state;
	static const char *const syncs[] = {"token", "none"};
	for (int k = 0; k < 4; k++) {
		const int n_prompt = k / 2 ? 3 : 0;
		struct kept plain[MAX_ROWS];
		fake_init(&fake);
		sweep(false, n_prompt, TOKENS, syncs[k % 2]);
		assert_int_equal(fake.stamped, 0);
		long decoded = fake.decoded;
		memcpy(plain, rows, sizeof rows);
		for (int i = 0; i < n_rows; i++)
			assert_int_equal(rows[i].n_stamps, 0);

		fake_init(&fake);
		sweep(true, n_prompt, TOKENS, syncs[k % 2]);
		assert_int_equal(fake.decoded, decoded + 3 * AGAIN);
		check_stamped(2, 5 + n_prompt + AGAIN);
		for (int i = 0; i < n_rows; i++) {
			assert_string_equal(rows[i].status, "ok");
			assert_string_equal(rows[i].hash, plain[i].hash);
			assert_int_equal(rows[i].n_tokens, plain[i].n_tokens);
			assert_true(rows[i].itl_us == plain[i].itl_us);
		}
	}
}

/* Four modes, of which the seed says which is the first to replay. */
static void sweep_modes(bool timeline, uint64_t seed)
{
	static const char *const modes[] = {"direct", "graph-update", "graph-device", "graph-patch"};
	struct cell cells[4];
	struct runner_summary summary;
	for (int i = 0; i < 4; i++)
		cells[i] = (struct cell){.model = "m",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = "full",
					 .mode = modes[i],
					 .n_gen = TOKENS};
	fake_init(&fake);
	run(cells, 4, REPETITIONS, timeline, seed, &summary);
	assert_int_equal(n_rows, 4 * REPETITIONS);
	assert_int_equal(summary.ok, n_rows);
	assert_int_equal(fake.stamped, 2 * timeline);
}

/* Stamped tokens leave no graph to a mode that is still to come, and none of theirs counts as the run's. */
static void test_graphs_are_the_runs(void **state)
{
	(void)state;
	int others = 0;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct kept plain[MAX_ROWS];
		sweep_modes(false, seed);
		memcpy(plain, rows, sizeof rows);
		sweep_modes(true, seed);
		for (int i = 0; i < n_rows; i++) {
			const struct run_row *row = &rows[i].row, *same = &plain[i].row;
			bool first = row->repetition == 0 && strcmp(rows[i].mode, "direct");
			assert_string_equal(rows[i].mode, plain[i].mode);
			assert_int_equal(row->captures, first);
			assert_true(first ? row->capture_us == same->capture_us : isnan(row->capture_us));
			assert_int_equal(row->graph_nodes, same->graph_nodes);
			assert_int_equal(row->warmup_tokens, same->warmup_tokens);
			others += rows[i].n_stamps && strcmp(rows[i].mode, "direct") &&
				  strcmp(rows[i].mode, "graph-device");
		}
	}
	assert_true(others > 0);
}

/* No more than the test has. */
static void test_few_tokens(void **state)
{
	(void)state;
	fake_init(&fake);
	sweep(true, 0, 1, "token");
	check_stamped(2, 5 + 1);
}

static void test_prompts_have_none(void **state)
{
	(void)state;
	fake_init(&fake);
	sweep(true, 4, 0, "token");
	assert_int_equal(fake.stamped, 0);
}

/* A test's only cell, of a mode. */
static void sweep_one(const char *mode, struct runner_summary *summary)
{
	struct cell cells[1] = {{.model = "m",
				 .type_k = "f16",
				 .type_v = "f16",
				 .fusion = "persistent",
				 .mode = mode,
				 .n_gen = TOKENS}};
	run(cells, 1, 5, true, 1, summary);
}

/* Stamps that changed what a token computes would be of something else. */
static void test_other_bits(void **state)
{
	(void)state;
	int n_wrong = 0;
	struct runner_summary summary;
	fake_init(&fake);
	fake.wrong_stamped = 1;
	sweep_one("direct", &summary);
	for (int i = 0; i < n_rows; i++)
		n_wrong += !strcmp(rows[i].status, "wrong") &&
			   !strcmp(rows[i].reason, "timeline: logits differ from the direct reference");
	assert_int_equal(n_wrong, 1);
	assert_int_equal(summary.wrong, 1);
}

/* What cannot be stamped is measured all the same. */
static void test_unsupported(void **state)
{
	(void)state;
	static const int codes[] = {ERROR_UNSUPPORTED, ERROR_MEMORY};
	for (int k = 0; k < 2; k++) {
		struct runner_summary summary;
		fake_init(&fake);
		fake.no_stamps = codes[k];
		sweep_one("direct", &summary);
		assert_int_equal(summary.ok, n_rows);
		assert_int_equal(fake.stamped, 1);
		for (int i = 0; i < n_rows; i++)
			assert_int_equal(rows[i].n_stamps, 0);
	}
}

/* A run that is wrong has none: another one's of the test are drawn. */
static void test_wrong_run(void **state)
{
	(void)state;
	struct runner_summary summary;
	fake_init(&fake);
	fake.wrong_mode = "graph-device";
	fake.wrong_pos = AGAIN + 1;
	sweep_one("graph-device", &summary);
	assert_int_equal(summary.wrong, n_rows);
	assert_int_equal(fake.stamped, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_token),           cmocka_unit_test(test_few_tokens),
		cmocka_unit_test(test_prompts_have_none),   cmocka_unit_test(test_other_bits),
		cmocka_unit_test(test_wrong_run),           cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_graphs_are_the_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
