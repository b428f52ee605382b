/*
 * Every column that comes of measuring, from values that all differ: what stands in another's column, or is another
 * statistic, is seen.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/measured_row.h"

static void near(double got, double expected, const char *what)
{
	if (!(fabs(got - expected) <= 1e-12 * fabs(expected)))
		fail_msg("%s is %.17g, not %.17g", what, got, expected);
}

#define NEAR(row, column, expected) near((row).column, expected, #column)

/* ---- tokens ---- */

/* At ranks 0 to N - 1 in an order that is none; the quantiles fall on ranks 500, 900 and 990. */
enum { N = 1001 };

static int rank_of(int i, int multiplier)
{
	return i * multiplier % N;
}

/* Times by rank, skewed, so that no mean is a median; no two of them are equal, in one column or two. */
static double itl_at(int rank)
{
	return 2000 + rank * (double)rank / 1000;
}

static double submit_at(int rank)
{
	return 10.5 + rank * (double)rank / 500;
}

static double gpu_at(int rank)
{
	return 30.25 + rank * (double)rank / 300;
}

static double host_at(int rank)
{
	return 50.125 + rank * (double)rank / 200;
}

static double wall_at(int rank)
{
	return 70.0625 + rank * (double)rank / 100;
}

/* The least distance from the middle value that 501 values are within. */
static double mad_of(double (*at)(int))
{
	double best = INFINITY;
	for (int i = 0; i < N; i++) {
		double reach = fabs(at(i) - at(500));
		int within = 0;
		for (int j = 0; j < N; j++)
			within += fabs(at(j) - at(500)) <= reach;
		if (within >= 501 && reach < best)
			best = reach;
	}
	return best;
}

static void make_tokens(struct token_record *t, int n)
{
	for (int i = 0; i < n; i++)
		t[i] = (struct token_record){
			.phase = TOKEN_PHASE_MEASURE,
			.index = i,
			.pos = 4000 + i,
			.kv_len = 3000 + i,
			.done_ns = 7 * i,
			.itl_us = itl_at(rank_of(i, 10)),
			.submit_us = submit_at(rank_of(i, 23)),
			.gpu_us = gpu_at(rank_of(i, 34)),
			.host_us = host_at(rank_of(i, 47)),
			.wall_us = wall_at(rank_of(i, 58)),
			.event = TOKEN_EVENT_REPLAY,
			/* Means over 1001 tokens: 1, 3, 30 and 300 and a bit more each. */
			.api_launches = 1 + (i == 0),
			.node_updates = 3 + 2 * (i == 1),
			.kernels = 30 + 3 * (i == 2),
			.copies = 300 + 4 * (i == N - 1),
		};
}

static void test_tokens(void **state)
{
	(void)state;
	static struct token_record t[N];
	struct run_row r;
	double sum = 0;
	row_init(&r);
	r.weight_bytes_per_token = 5000000;
	r.kv_bytes_per_token = 250000.5;
	r.bandwidth_gb_s = 8;
	make_tokens(t, N);
	assert_int_equal(row_set_tokens(&r, t, N), 0);
	for (int rank = 0; rank < N; rank++)
		sum += itl_at(rank);
	near(r.tokens_per_s, N / (sum / 1e6), "tokens_per_s");
	NEAR(r, itl_median_us, itl_at(500));
	NEAR(r, itl_mad_us, mad_of(itl_at));
	NEAR(r, itl_p50_us, itl_at(500));
	NEAR(r, itl_p90_us, itl_at(900));
	NEAR(r, itl_p99_us, itl_at(990));
	NEAR(r, itl_max_us, itl_at(1000));
	NEAR(r, submit_median_us, submit_at(500));
	NEAR(r, submit_mad_us, mad_of(submit_at));
	NEAR(r, submit_p50_us, submit_at(500));
	NEAR(r, submit_p90_us, submit_at(900));
	NEAR(r, submit_p99_us, submit_at(990));
	NEAR(r, submit_max_us, submit_at(1000));
	NEAR(r, gpu_median_us, gpu_at(500));
	NEAR(r, host_median_us, host_at(500));
	NEAR(r, wall_median_us, wall_at(500));
	NEAR(r, api_launches_per_token, 1 + 1.0 / N);
	NEAR(r, node_updates_per_token, 3 + 2.0 / N);
	NEAR(r, kernels_per_token, 30 + 3.0 / N);
	NEAR(r, copies_per_token, 300 + 4.0 / N);
	/* 5,250,000.5 bytes in 2,250 us, of 8 GB/s. */
	NEAR(r, achieved_gb_s, 5250000.5 / 1e9 / 2250e-6);
	NEAR(r, bandwidth_share, 5250000.5 / 1e9 / 2250e-6 / 8);
}

/* 662 tokens are the fewest that have a 99th percentile; it is no maximum. */
static void test_p99(void **state)
{
	(void)state;
	static struct token_record t[N];
	for (int n = 661; n <= 662; n++) {
		struct run_row r;
		row_init(&r);
		for (int i = 0; i < n; i++)
			t[i] = (struct token_record){.itl_us = 100 + i * 2, .submit_us = 10 + i};
		assert_int_equal(row_set_tokens(&r, t, n), 0);
		NEAR(r, itl_max_us, 100 + 2 * (n - 1));
		NEAR(r, submit_max_us, 10 + n - 1);
		if (n == 661) {
			assert_true(isnan(r.itl_p99_us) && isnan(r.submit_p99_us));
			continue;
		}
		/* At 0.99 * 661 = 654.39 between two neighbours. */
		NEAR(r, itl_p99_us, 100 + 2 * 654.39);
		NEAR(r, submit_p99_us, 10 + 654.39);
	}
}

/* A time that one token lacks is unknown of the run, and no other one is. */
static void test_unknown_times(void **state)
{
	(void)state;
	static struct token_record t[N];
	for (int missing = 0; missing < 5; missing++) {
		struct run_row r;
		row_init(&r);
		make_tokens(t, N);
		double *times[] = {&t[7].itl_us, &t[7].submit_us, &t[7].gpu_us, &t[7].host_us, &t[7].wall_us};
		*times[missing] = NAN;
		assert_int_equal(row_set_tokens(&r, t, N), 0);
		const double columns[] = {r.itl_median_us, r.submit_median_us, r.gpu_median_us, r.host_median_us,
					  r.wall_median_us};
		for (int c = 0; c < 5; c++)
			assert_int_equal(!isnan(columns[c]), c != missing);
		assert_int_equal(isnan(r.tokens_per_s), missing == 0);
		assert_int_equal(isnan(r.itl_max_us), missing == 0);
		assert_int_equal(isnan(r.submit_max_us), missing == 1);
	}
	struct run_row r;
	row_init(&r);
	assert_int_equal(row_set_tokens(&r, t, 0), 0);
	assert_true(isnan(r.tokens_per_s) && isnan(r.kernels_per_token) && isnan(r.achieved_gb_s));
}

/* Without the bytes there is no rate; without the bandwidth no share of it. */
static void test_unknown_bytes(void **state)
{
	(void)state;
	const struct token_record t = {.itl_us = 500, .gpu_us = NAN, .host_us = NAN, .wall_us = NAN};
	for (int known = 0; known < 3; known++) {
		struct run_row r;
		row_init(&r);
		if (known != 0)
			r.weight_bytes_per_token = 1000000;
		if (known != 1)
			r.kv_bytes_per_token = 500000;
		assert_int_equal(row_set_tokens(&r, &t, 1), 0);
		assert_int_equal(isnan(r.achieved_gb_s), known < 2);
		assert_true(isnan(r.bandwidth_share));
		if (known == 2)
			NEAR(r, achieved_gb_s, 3);
	}
}

/* ---- what was launched ---- */

static void test_launch_hash(void **state)
{
	(void)state;
	enum { TOKENS = 3 };
	struct token_record t[TOKENS], other[TOKENS];
	for (int i = 0; i < TOKENS; i++)
		t[i] = (struct token_record){.event = TOKEN_EVENT_REPLAY,
					     .api_launches = 2 + i,
					     .node_updates = 5 + i,
					     .kernels = 40 + i,
					     .copies = 7 + i};
	uint64_t hash = row_launch_hash(t, TOKENS);
	assert_true(hash != 0 && hash == row_launch_hash(t, TOKENS));
	assert_true(row_launch_hash(t, 0) == 0);
	assert_true(row_launch_hash(t, TOKENS - 1) != hash);
	for (int i = 0; i < TOKENS; i++) {
		memcpy(other, t, sizeof t);
		/* Times and places are no launches. */
		other[i].itl_us = other[i].gpu_us = 1e6;
		other[i].pos = other[i].index = 99;
		assert_true(row_launch_hash(other, TOKENS) == hash);
		int *counts[] = {&other[i].api_launches, &other[i].node_updates, &other[i].kernels, &other[i].copies};
		for (int c = 0; c < 4; c++) {
			++*counts[c];
			assert_true(row_launch_hash(other, TOKENS) != hash);
			--*counts[c];
		}
		other[i].event = TOKEN_EVENT_UPDATE;
		assert_true(row_launch_hash(other, TOKENS) != hash);
		/* Not comparable, wherever it happened. */
		other[i].event = TOKEN_EVENT_CAPTURE;
		assert_true(row_launch_hash(other, TOKENS) == 0);
		other[i].event = TOKEN_EVENT_FALLBACK;
		assert_true(row_launch_hash(other, TOKENS) == 0);
	}
	/* The order counts: sums would be the same. */
	memcpy(other, t, sizeof t);
	other[0] = t[1];
	other[1] = t[0];
	assert_true(row_launch_hash(other, TOKENS) != hash);
}

/* ---- the rest ---- */

static void test_cell_and_facts(void **state)
{
	(void)state;
	const struct cell c = {.model = "a/b/m.gguf",
			       .type_k = "f16",
			       .type_v = "bf16",
			       .fusion = "full",
			       .mode = "graph-device",
			       .n_gpu_layers = -1,
			       .n_threads = 0,
			       .n_depth = 11,
			       .n_prompt = 12,
			       .n_gen = 13,
			       .snapkv = "1024,window=64"};
	const struct workload_facts f = {.model = "name",
					 .arch = "arch",
					 .weight_type = "Q8_0",
					 .file_type = "Q4_K_M",
					 .model_bytes = 21,
					 .model_parameters = 22,
					 .device = "cuda+host",
					 .head_device = "host",
					 .n_threads = 24,
					 .n_gpu_layers = 25,
					 .weight_bytes_per_token = 26,
					 .host_weight_bytes_per_token = 27,
					 .gpu_weight_bytes_per_token = 28,
					 .crossing_bytes_per_token = 29,
					 .kv_bytes = 30,
					 .bandwidth_bytes_s = 31e9,
					 .gemm_flop_s = 32e12};
	struct run_row r;
	row_init(&r);
	row_set_cell(&r, &c, "label", NULL);
	assert_string_equal(r.test, "label");
	assert_string_equal(r.model_path_name, "m.gguf");
	assert_string_equal(r.type_k, "f16");
	assert_string_equal(r.type_v, "bf16");
	assert_string_equal(r.fusion, "full");
	assert_string_equal(r.mode, "graph-device");
	assert_string_equal(r.snapkv, "1024,window=64");
	assert_true(r.n_depth == 11 && r.n_prompt == 12 && r.n_gen == 13 && r.snapkv_budget == 1024);
	assert_true(r.n_gpu_layers_asked == -1 && r.n_threads_asked == 0);
	/* What the machine makes of them is not known yet. */
	assert_true(r.n_gpu_layers == ROW_UNKNOWN && r.n_threads == ROW_UNKNOWN && !r.model);
	row_set_cell(&r, &c, "label", &f);
	assert_string_equal(r.model, "name");
	assert_string_equal(r.arch, "arch");
	assert_string_equal(r.weight_type, "Q8_0");
	assert_string_equal(r.file_type, "Q4_K_M");
	assert_string_equal(r.device, "cuda+host");
	assert_string_equal(r.head_device, "host");
	assert_true(r.model_bytes == 21 && r.model_parameters == 22 && r.n_threads == 24 && r.n_gpu_layers == 25);
	assert_true(r.weight_bytes_per_token == 26 && r.host_weight_bytes_per_token == 27);
	assert_true(r.gpu_weight_bytes_per_token == 28 && r.crossing_bytes_per_token == 29 && r.kv_bytes == 30);
	NEAR(r, bandwidth_gb_s, 31);
	NEAR(r, gemm_tflop_s, 32);
	assert_true(r.n_gpu_layers_asked == -1 && r.n_threads_asked == 0);
}

static void test_prefill(void **state)
{
	(void)state;
	struct run_row r;
	row_init(&r);
	r.prefill_us = 2000;
	r.gemm_tflop_s = 80;
	row_set_prefill(&r, 40e9);
	/* 40 GFLOP in 2 ms. */
	NEAR(r, prefill_flops, 40e9);
	NEAR(r, prefill_tflop_s, 20);
	NEAR(r, gemm_share, 0.25);
}

static void test_eviction(void **state)
{
	(void)state;
	struct eviction e = {.entries = 100, .us = 1.5, .memory_before_bytes = 300, .memory_after_bytes = 200};
	const struct quality q = {.n = 8, .divergence_sum = 4, .divergence_max = 3, .same_top = 6}, none = {0};
	struct run_row r;
	row_init(&r);
	row_set_eviction(&r, &e, &q);
	assert_true(r.evicted_entries == 100 && r.evict_us == 1.5);
	assert_true(r.memory_before_evict_bytes == 300 && r.memory_after_evict_bytes == 200);
	assert_true(r.quality_tokens == 8 && r.kl_divergence == 0.5 && r.kl_divergence_max == 3);
	assert_true(r.top1_agreement == 0.75);
	/* Nothing evicted, nothing compared. */
	row_init(&r);
	e.entries = 0;
	row_set_eviction(&r, &e, &none);
	assert_true(r.evicted_entries == 0 && isnan(r.evict_us) && r.memory_after_evict_bytes == ROW_UNKNOWN);
	assert_true(r.quality_tokens == ROW_UNKNOWN && isnan(r.kl_divergence) && isnan(r.top1_agreement));
}

static void test_conditions(void **state)
{
	(void)state;
	const struct conditions c = {.sm_clock_mhz = 1,
				     .memory_clock_mhz = 2,
				     .power_w = 3,
				     .energy_j = 40,
				     .temperature_c = 5,
				     .utilization = 6,
				     .cpu_mhz = 7,
				     .load_average = 8,
				     .context_switches = 9,
				     .involuntary_switches = 10,
				     .minor_faults = 11,
				     .major_faults = 12,
				     .samples = 13};
	struct conditions unknown;
	struct run_row r;
	row_init(&r);
	row_set_conditions(&r, &c, 16, "hot");
	assert_true(r.sm_clock_mhz == 1 && r.memory_clock_mhz == 2 && r.power_w == 3);
	assert_true(r.energy_per_token_j == 2.5 && r.temperature_c == 5 && r.gpu_utilization == 6);
	assert_true(r.cpu_mhz == 7 && r.load_average == 8);
	assert_true(r.context_switches == 9 && r.involuntary_switches == 10);
	assert_true(r.minor_faults == 11 && r.major_faults == 12 && r.telemetry_samples == 13);
	assert_string_equal(r.throttle_reasons, "hot");
	conditions_init(&unknown);
	row_set_conditions(&r, &unknown, 16, "");
	assert_true(isnan(r.sm_clock_mhz) && isnan(r.energy_per_token_j) && isnan(r.cpu_mhz));
	assert_true(r.context_switches == ROW_UNKNOWN && r.major_faults == ROW_UNKNOWN);
	row_set_conditions(&r, &c, 0, "");
	assert_true(isnan(r.energy_per_token_j));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),        cmocka_unit_test(test_p99),
		cmocka_unit_test(test_unknown_times), cmocka_unit_test(test_unknown_bytes),
		cmocka_unit_test(test_launch_hash),   cmocka_unit_test(test_cell_and_facts),
		cmocka_unit_test(test_prefill),       cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_conditions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
