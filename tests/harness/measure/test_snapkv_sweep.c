/*
 * SnapKV as an axis of a sweep: how values are written, the cells they span, what the runner asks of a
 * workload and in which order, and the columns that come of it. The engine's part is test_snapkv's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/cli/snapkv_axis.h"
#include "harness/measure/quality.h"
#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"

/* ---- values ---- */

static void expect_values(const char *list, const char *const *names, int n)
{
	struct axis_values a = {0};
	struct error err;
	if (snapkv_axis_add(&a, list, &err))
		fail_msg("%s: %s", list, err.text);
	assert_int_equal(a.n, n);
	for (int i = 0; i < n; i++)
		assert_string_equal(a.words[i], names[i]);
	axis_words_free(&a);
}

static void test_values(void **state)
{
	(void)state;
	static const char *const several[] = {"off", "1024,window=64,pool=7", "4096,window=32,pool=7",
					      "64,window=64,pool=1"};
	static const char *const range[] = {"256,window=8,pool=3", "512,window=8,pool=3", "1024,window=8,pool=3",
					    "100,window=64,pool=7", "200,window=64,pool=7"};
	static const char *const bad[][2] = {
		{"", "the budget, or off,"},
		{"off,", "the budget, or off,"},
		{"window=3", "the budget, or off,"},
		{"off,window=3", "the budget, or off,"},
		{"1024,on", "snapkv 'on': the budget, or off,"},
		{"1024,window=2000", "window is a number from 1 to 1024"},
		{"1024,width=3", "unexpected ',width=3'"},
		{"32", "the budget includes the window of 64"},
		{"64-32", "--snapkv: '64-32' runs downwards"},
		{"32-64", "the budget includes the window of 64"},
	};
	expect_values("off", several, 1);
	expect_values("off,1024,4096,window=32,64,pool=1", several, 4);
	/* Named twice in two ways, it counts once. */
	expect_values("off,1024,4096,window=32,64,pool=1,1024,pool=7,window=64,off", several, 4);
	expect_values("256-1024*2,window=8,pool=3,100-200+100", range, 5);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct axis_values a = {0};
		struct error err = {""};
		if (snapkv_axis_add(&a, bad[i][0], &err) != ERROR_INPUT || !strstr(err.text, bad[i][1]))
			fail_msg("'%s': %s", bad[i][0], err.text);
		axis_words_free(&a);
	}
}

/* ---- quality ---- */

static void test_agreement(void **state)
{
	(void)state;
	const float full[] = {0, 0.69314718f, 1.0986123f, 0.69314718f}; /* 1, 2, 3, 2 of 8 */
	const float shifted[] = {100, 100.69315f, 101.09861f, 100.69315f};
	const float flat[] = {-3, -3, -3, -3};                           /* a quarter each; the first is the top */
	const float other[] = {1.0986123f, 0.69314718f, 0, 0.69314718f}; /* 3, 2, 1, 2 of 8 */
	const float far[] = {0, 0, -1000, 1e30f};
	struct agreement a = agreement_of(full, full, 4);
	assert_true(a.divergence == 0 && a.same_top);
	/* Of two likeliest tokens the lower id counts, on either side. */
	const float tie[] = {0, 2, 2, 1}, lower[] = {0, 2, 1.9f, 1}, higher[] = {0, 1.9f, 2, 1};
	assert_true(agreement_of(tie, lower, 4).same_top && agreement_of(lower, tie, 4).same_top);
	assert_false(agreement_of(tie, higher, 4).same_top || agreement_of(higher, tie, 4).same_top);
	a = agreement_of(full, shifted, 4);
	assert_true(a.divergence >= 0 && a.divergence < 1e-6 && a.same_top);
	a = agreement_of(full, flat, 4);
	/* sum of p log(4 p): -0.0866434 + 0 + 0.1520494 + 0 */
	assert_float_equal(a.divergence, 0.0654060, 1e-6);
	assert_false(a.same_top);
	a = agreement_of(flat, full, 4);
	/* sum of 1/4 log(2 / x), x = 1, 2, 3, 2 */
	assert_float_equal(a.divergence, 0.0719205, 1e-6);
	a = agreement_of(full, other, 4);
	/* (1/8) log(1/3) + (3/8) log 3 */
	assert_float_equal(a.divergence, 0.2746531, 1e-6);
	a = agreement_of(far, far, 4);
	assert_true(a.divergence == 0 && a.same_top);
	a = agreement_of(full, far, 4);
	assert_true(isfinite(a.divergence) && a.divergence > 1e29);

	struct quality q = {0};
	quality_add(&q, &(struct agreement){0.5, 1});
	quality_add(&q, &(struct agreement){0.25, 0});
	assert_true(q.n == 2 && q.divergence_sum == 0.75 && q.divergence_max == 0.5 && q.same_top == 1);
}

/* ---- the runner ---- */

enum { MAX_ROWS = 64 };

/* A fake workload that also evicts, and writes down what it is asked. */
static struct {
	struct fake fake;
	struct workload_ops ops;
	char log[1 << 14]; /* a letter an operation */
	char placement[64];
	int prompt;
	int evict_code; /* not 0: eviction fails so */
	int open_code;  /* of opening with SnapKV */
	int remembered[QUALITY_TOKENS], n_remembered, asked_n;
	struct {
		struct run_row row;
		char status[16], reason[400];
	} rows[MAX_ROWS];
	int n_rows;
} x;

static void note(char what)
{
	size_t n = strlen(x.log);
	assert_true(n + 1 < sizeof x.log);
	x.log[n] = what;
	x.log[n + 1] = 0;
}

static const struct workload_ops *fake_ops;

static int log_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	note('p');
	return fake_ops->prefill(w, tokens, n, err);
}

static int log_checkpoint(struct workload *w, struct error *err)
{
	note('c');
	return fake_ops->checkpoint(w, err);
}

static int log_rewind(struct workload *w, int pos, struct error *err)
{
	note('r');
	return fake_ops->rewind(w, pos, err);
}

static int log_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	note('d');
	return fake_ops->decode(w, token, out, err);
}

static int log_evict(struct workload *w, struct eviction *out, struct error *err)
{
	(void)w;
	note('E');
	if (x.evict_code)
		return error_set(err, x.evict_code, "no room to evict");
	*out = (struct eviction){.entries = x.fake.pos > 100 ? x.fake.pos - 100 : 0,
				 .us = 70,
				 .memory_before_bytes = 9000,
				 .memory_after_bytes = 8000};
	return 0;
}

static int log_remember(struct workload *w, int i, int n, struct error *err)
{
	(void)w;
	(void)err;
	note('m');
	assert_int_equal(i, x.n_remembered);
	assert_string_equal(x.fake.mode, "direct");
	x.asked_n = n;
	x.remembered[x.n_remembered++] = x.fake.token;
	return 0;
}

static int log_compare(struct workload *w, int i, struct agreement *out, struct error *err)
{
	(void)w;
	(void)err;
	note('k');
	assert_true(i < x.n_remembered);
	assert_int_equal(x.fake.token, x.remembered[i]); /* on the same tokens */
	assert_string_equal(x.fake.mode, "direct");
	*out = (struct agreement){.divergence = i == 1 ? 0.5 : 0.25, .same_top = i != 1};
	return 0;
}

static int log_open(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err)
{
	if (p->cell->snapkv && x.open_code)
		return error_set(err, x.open_code, "no kernels for it");
	int rc = fake_open(s, p, out, err);
	if (rc)
		return rc;
	fake_ops = (*out)->ops;
	x.ops = *fake_ops;
	x.ops.prefill = log_prefill;
	x.ops.checkpoint = log_checkpoint;
	x.ops.rewind = log_rewind;
	x.ops.decode = log_decode;
	x.ops.evict = log_evict;
	x.ops.remember = log_remember;
	x.ops.compare = log_compare;
	(*out)->ops = &x.ops;
	x.n_remembered = 0;
	x.fake.totals.memory_bytes = 777;
	snprintf(x.placement, sizeof x.placement, "%s", p->cell->snapkv ? p->cell->snapkv : "null");
	x.prompt = p->prompt;
	note('O');
	return 0;
}

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx;
	(void)tokens;
	(void)n;
	(void)err;
	assert_true(x.n_rows < MAX_ROWS);
	x.rows[x.n_rows].row = *row;
	snprintf(x.rows[x.n_rows].status, sizeof x.rows[0].status, "%s", run_status_name(row->status));
	snprintf(x.rows[x.n_rows].reason, sizeof x.rows[0].reason, "%s", row->reason);
	x.n_rows++;
	return 0;
}

static void run(const struct cell *cells, int n, int repetitions)
{
	struct runner_options o;
	struct runner_summary summary;
	struct error err = {""};
	int evict_code = x.evict_code, open_code = x.open_code;
	memset(&x, 0, sizeof x);
	x.evict_code = evict_code;
	x.open_code = open_code;
	fake_init(&x.fake);
	x.fake.source.open = log_open;
	runner_options_default(&o);
	o.clock = fake_clock;
	o.clock_ctx = &x.fake;
	o.repetitions = repetitions;
	o.steady = 2;
	o.warmup_max = 4;
	const struct runner_sink sink = {.run = keep};
	if (runner_run(cells, n, &x.fake.source, &o, &sink, &summary, &err))
		fail_msg("%s", err.text);
}

static struct cell make(const char *mode, int depth, int n_prompt, int n_gen, const char *snapkv)
{
	return (struct cell){
		.model = "m.gguf",
		.type_k = "f16",
		.type_v = "f16",
		.fusion = "full",
		.mode = mode,
		.n_gpu_layers = -1,
		.n_depth = depth,
		.n_prompt = n_prompt,
		.n_gen = n_gen,
		.snapkv = snapkv,
	};
}

static const char snapkv[] = "100,window=64,pool=7";

static void test_order_and_columns(void **state)
{
	(void)state;
	const struct cell cells[] = {make("direct", 200, 5, 0, snapkv), make("direct", 200, 0, 3, snapkv),
				     make("graph-device", 200, 0, 3, snapkv)};
	run(cells, 3, 2);
	assert_string_equal(x.placement, snapkv);
	assert_int_equal(x.prompt, 200);
	/* Prefill, the mark, the full cache's three tokens, back, and out. */
	assert_memory_equal(x.log,
			    "Opcdmdmdmr"
			    "E",
			    11);
	assert_null(strchr(x.log + 11, 'E'));
	assert_null(strchr(x.log + 11, 'm'));
	assert_int_equal(x.asked_n, 3);
	/* Compared in the direct pass of the one unit that decodes: three tokens, once. */
	assert_non_null(strstr(x.log, "dkdkdk"));
	const char *first = strchr(x.log, 'k');
	assert_null(strchr(first + 5, 'k'));

	assert_int_equal(x.n_rows, 6);
	for (int i = 0; i < x.n_rows; i++) {
		const struct run_row *r = &x.rows[i].row;
		assert_string_equal(x.rows[i].status, "ok");
		assert_string_equal(r->snapkv, snapkv);
		assert_int_equal(r->snapkv_budget, 100);
		assert_int_equal(r->evicted_entries, 100);
		assert_true(r->evict_us == 70);
		assert_int_equal(r->memory_before_evict_bytes, 9000);
		assert_int_equal(r->memory_after_evict_bytes, 8000);
		assert_int_equal(r->memory_bytes, 777);
		if (r->n_gen) {
			assert_int_equal(r->quality_tokens, 3);
			assert_float_equal(r->kl_divergence, 1.0 / 3, 1e-12);
			assert_true(r->kl_divergence_max == 0.5);
			assert_float_equal(r->top1_agreement, 2.0 / 3, 1e-12);
		} else {
			assert_true(r->quality_tokens == ROW_UNKNOWN && isnan(r->kl_divergence));
		}
	}
}

static void test_within_the_budget(void **state)
{
	(void)state;
	const struct cell cell = make("direct", 100, 0, 3, snapkv);
	run(&cell, 1, 1);
	assert_memory_equal(x.log, "OpcE", 4);
	assert_null(strchr(x.log, 'm'));
	assert_null(strchr(x.log, 'k'));
	const struct run_row *r = &x.rows[0].row;
	assert_string_equal(x.rows[0].status, "ok");
	assert_int_equal(r->evicted_entries, 0);
	assert_true(isnan(r->evict_us) && isnan(r->kl_divergence) && isnan(r->top1_agreement));
	assert_true(r->memory_before_evict_bytes == ROW_UNKNOWN && r->memory_after_evict_bytes == ROW_UNKNOWN &&
		    r->quality_tokens == ROW_UNKNOWN);
	assert_int_equal(r->memory_bytes, 777);
}

static void test_off(void **state)
{
	(void)state;
	const struct cell cell = make("direct", 200, 0, 3, NULL);
	run(&cell, 1, 1);
	assert_string_equal(x.placement, "null");
	assert_null(strchr(x.log, 'E'));
	assert_null(strchr(x.log, 'm'));
	const struct run_row *r = &x.rows[0].row;
	assert_string_equal(r->snapkv, "off");
	assert_true(r->snapkv_budget == ROW_UNKNOWN && r->evicted_entries == ROW_UNKNOWN && isnan(r->evict_us));
	assert_int_equal(r->memory_bytes, 777);
}

/* No more tokens are remembered than there is room for; the rest is measured all the same. */
static void test_many_tokens(void **state)
{
	(void)state;
	const struct cell cell = make("direct", 200, 0, QUALITY_TOKENS + 50, snapkv);
	run(&cell, 1, 1);
	assert_int_equal(x.n_remembered, QUALITY_TOKENS);
	assert_int_equal(x.rows[0].row.quality_tokens, QUALITY_TOKENS);
	assert_string_equal(x.rows[0].status, "ok");
}

static void test_eviction_fails(void **state)
{
	(void)state;
	const struct cell cells[] = {make("direct", 200, 0, 3, snapkv), make("graph-device", 200, 0, 3, snapkv),
				     make("direct", 200, 0, 3, NULL)};
	x.evict_code = ERROR_MEMORY;
	run(cells, 3, 2);
	x.evict_code = 0;
	int failed = 0;
	for (int i = 0; i < x.n_rows; i++) {
		if (!strcmp(x.rows[i].status, "ok")) {
			assert_string_equal(x.rows[i].row.snapkv, "off");
			continue;
		}
		failed++;
		assert_string_equal(x.rows[i].status, "failed");
		assert_non_null(strstr(x.rows[i].reason, "SnapKV 100,window=64,pool=7: no room to evict"));
	}
	assert_int_equal(failed, 2);
	assert_int_equal(x.n_rows, 4);
}

/* A placement on which SnapKV does not run: a row that says so for each cell, and the others run. */
static void test_refused(void **state)
{
	(void)state;
	const struct cell cells[] = {make("direct", 200, 0, 3, snapkv), make("graph-device", 200, 0, 3, snapkv),
				     make("direct", 200, 0, 3, NULL)};
	x.open_code = ERROR_UNSUPPORTED;
	run(cells, 3, 1);
	x.open_code = 0;
	assert_int_equal(x.n_rows, 3);
	for (int i = 0; i < x.n_rows; i++) {
		int off = !strcmp(x.rows[i].row.snapkv, "off");
		assert_int_equal(off, x.rows[i].row.cell == 2);
		assert_string_equal(x.rows[i].status, off ? "ok" : "skipped");
		assert_true(off || strstr(x.rows[i].reason, "no kernels for it"));
	}
}

/* ---- cells ---- */

static void test_cells(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct cell *cells;
	int n;
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "m.gguf", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_MODE, "direct,graph-device", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_FUSION, "full", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_K, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_V, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "8", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "0,50", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GPU_LAYERS, "0", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_THREADS, "1", NULL), 0);
	assert_int_equal(snapkv_axis_add(&m.of[AXIS_SNAPKV], "off,70,90,window=4", NULL), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	assert_int_equal(n, 3 * 2 * 2);
	for (int i = 0; i < n; i++) {
		assert_int_equal(cell_snapkv_budget(&cells[i]), i < 4 ? 0 : i < 8 ? 70 : 90);
		assert_int_equal(!cells[i].snapkv, i < 4);
		assert_int_equal(cells[i].n_depth, i / 2 % 2 ? 50 : 0);
		for (int j = 0; j < n; j++) {
			assert_int_equal(cell_same_placement(&cells[i], &cells[j]), 1);
			assert_int_equal(cell_same_group(&cells[i], &cells[j]), i / 2 == j / 2);
			assert_int_equal(cell_same_unit(&cells[i], &cells[j]), i / 2 == j / 2);
		}
	}
	free(cells);
	matrix_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_agreement),
		cmocka_unit_test(test_order_and_columns),
		cmocka_unit_test(test_within_the_budget),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_many_tokens),
		cmocka_unit_test(test_eviction_fails),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
