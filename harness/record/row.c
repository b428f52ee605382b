#include "harness/record/row.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(name)                                                 \
	{                                                          \
#name, COLUMN_TEXT, offsetof(struct run_row, name) \
	}
#define INT(name)                                                 \
	{                                                         \
#name, COLUMN_INT, offsetof(struct run_row, name) \
	}
#define REAL(name)                                                 \
	{                                                          \
#name, COLUMN_REAL, offsetof(struct run_row, name) \
	}
const struct column row_columns[] = {
	INT(schema_version),
	TEXT(run_id),
	TEXT(status),
	TEXT(reason),
	INT(order),
	INT(repetition),
	TEXT(model),
	TEXT(model_path_name),
	TEXT(arch),
	TEXT(weight_type),
	INT(model_bytes),
	INT(model_parameters),
	TEXT(test),
	INT(n_prompt),
	INT(n_gen),
	INT(n_depth),
	TEXT(mode),
	TEXT(fusion),
	INT(n_gpu_layers),
	TEXT(type_k),
	TEXT(type_v),
	INT(n_threads),
	TEXT(device),
	TEXT(commit),
	REAL(tokens_per_s),
	REAL(prefill_us),
	REAL(prefill_tokens_per_s),
	REAL(itl_median_us),
	REAL(itl_mad_us),
	REAL(itl_p50_us),
	REAL(itl_p90_us),
	REAL(itl_p99_us),
	REAL(itl_max_us),
	REAL(submit_median_us),
	REAL(submit_mad_us),
	REAL(submit_p50_us),
	REAL(submit_p90_us),
	REAL(submit_max_us),
	REAL(gpu_median_us),
	REAL(wall_median_us),
	REAL(capture_us),
	REAL(instantiate_us),
	REAL(upload_us),
	INT(captures),
	INT(fallbacks),
	INT(graph_nodes),
	INT(kernel_nodes),
	INT(positional_nodes),
	REAL(api_launches_per_token),
	REAL(node_updates_per_token),
	REAL(kernels_per_token),
	REAL(copies_per_token),
	INT(weight_bytes_per_token),
	REAL(kv_bytes_per_token),
	REAL(achieved_gb_s),
	REAL(bandwidth_gb_s),
	REAL(bandwidth_share),
	REAL(prefill_flops),
	REAL(prefill_tflop_s),
	REAL(gemm_tflop_s),
	REAL(gemm_share),
	INT(memory_peak_bytes),
	INT(kv_bytes),
	TEXT(logits_hash),
	REAL(break_even_tokens),
	INT(warmup_tokens),
	INT(seed),
	TEXT(started_utc),
	INT(n_gpu_layers_asked),
	INT(n_threads_asked),
	INT(n_context),
	TEXT(head_device),
	INT(host_weight_bytes_per_token),
	INT(gpu_weight_bytes_per_token),
	INT(crossing_bytes_per_token),
	TEXT(snapkv),
	INT(snapkv_budget),
	INT(evicted_entries),
	REAL(evict_us),
	INT(memory_before_evict_bytes),
	INT(memory_after_evict_bytes),
	INT(memory_bytes),
	REAL(kl_divergence),
	REAL(kl_divergence_max),
	REAL(top1_agreement),
	INT(quality_tokens),
	REAL(host_median_us),
	TEXT(sync),
	REAL(sm_clock_mhz),
	REAL(memory_clock_mhz),
	REAL(power_w),
	REAL(energy_per_token_j),
	REAL(temperature_c),
	REAL(gpu_utilization),
	TEXT(throttle_reasons),
	REAL(cpu_mhz),
	REAL(load_average),
	INT(context_switches),
	INT(involuntary_switches),
	INT(minor_faults),
	INT(major_faults),
	INT(telemetry_samples),
	INT(attempt),
	INT(clock_low),
	TEXT(until),
	REAL(submit_p99_us),
	INT(copy_nodes),
	TEXT(launch_hash),
	INT(launches_differ),
};
#undef TEXT
#undef INT
#undef REAL
const int row_n_columns = sizeof row_columns / sizeof *row_columns;

const char *run_status_name(enum run_status s)
{
	static const char *const names[] = {"ok", "skipped", "failed", "wrong", "interrupted"};
	return names[s];
}

const char *row_real_text(double x, char number[ROW_NUMBER_SIZE])
{
	if (isnan(x))
		return "";
	snprintf(number, ROW_NUMBER_SIZE, "%.9g", x);
	return number;
}

const char *row_text(const struct run_row *r, const struct column *c, char number[ROW_NUMBER_SIZE])
{
	const char *at = (const char *)r + c->offset;
	if (c->type == COLUMN_TEXT) {
		const char *s;
		memcpy(&s, at, sizeof s);
		return s ? s : "";
	}
	if (c->type == COLUMN_REAL) {
		double x;
		memcpy(&x, at, sizeof x);
		return row_real_text(x, number);
	}
	int64_t i;
	memcpy(&i, at, sizeof i);
	if (i == ROW_UNKNOWN)
		return "";
	snprintf(number, ROW_NUMBER_SIZE, "%" PRId64, i);
	return number;
}

int row_set_text(struct run_row *r, const struct column *c, const char *text)
{
	char *at = (char *)r + c->offset, *end = NULL;
	if (c->type == COLUMN_TEXT) {
		memcpy(at, &text, sizeof text);
		return 0;
	}
	if (!*text)
		return 0; /* as row_init left it */
	errno = 0;
	if (c->type == COLUMN_REAL) {
		double x = strtod(text, &end);
		memcpy(at, &x, sizeof x);
	} else {
		int64_t i = strtoll(text, &end, 10);
		memcpy(at, &i, sizeof i);
	}
	return *end || errno == ERANGE ? -1 : 0;
}

void row_init(struct run_row *r)
{
	*r = (struct run_row){0};
	for (int i = 0; i < row_n_columns; i++) {
		char *at = (char *)r + row_columns[i].offset;
		if (row_columns[i].type == COLUMN_REAL)
			memcpy(at, &(double){NAN}, sizeof(double));
		else if (row_columns[i].type == COLUMN_INT)
			memcpy(at, &(int64_t){ROW_UNKNOWN}, sizeof(int64_t));
	}
	r->schema_version = SCHEMA_VERSION;
}
