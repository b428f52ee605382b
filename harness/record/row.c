#include "harness/record/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assert.h>
#include <stddef.h>

static const char *const statuses[] = {"ok", "skipped", "failed", "wrong", "interrupted"};
static const char *const context_sources[] = {"prefill", "memory", "disk"};
static_assert(sizeof(enum run_status) == sizeof(int), "as COLUMN_NAME has it");

#define TEXT(column)                                                                             \
	{                                                                                        \
		.name = #column, .type = COLUMN_TEXT, .offset = offsetof(struct run_row, column) \
	}
#define INT(column)                                                                             \
	{                                                                                       \
		.name = #column, .type = COLUMN_INT, .offset = offsetof(struct run_row, column) \
	}
#define INT_ABSENT(column, text)                                                                                \
	{                                                                                                       \
		.name = #column, .type = COLUMN_INT, .offset = offsetof(struct run_row, column), .absent = text \
	}
#define REAL(column)                                                                             \
	{                                                                                        \
		.name = #column, .type = COLUMN_REAL, .offset = offsetof(struct run_row, column) \
	}
/* A time: never below zero. */
#define TIME(column)                                                                                              \
	{                                                                                                         \
		.name = #column, .type = COLUMN_REAL, .offset = offsetof(struct run_row, column), .from_zero = 1, \
	}
#define NAME(column, list)                                                                                       \
	{                                                                                                        \
		.name = #column, .type = COLUMN_NAME, .offset = offsetof(struct run_row, column), .names = list, \
		.n_names = sizeof list / sizeof *list                                                            \
	}
#define COLUMN_OF_INT(column) INT(column)
#define COLUMN_OF_WORD(column) TEXT(column)
#define AXIS_COLUMN(ID, kind, name, column, ...) COLUMN_OF_##kind(column),
const struct column row_columns[] = {
	INT_ABSENT(schema_version, "1"),
	TEXT(run_id),
	NAME(status, statuses),
	TEXT(reason),
	INT(order),
	INT(repetition),
	TEXT(model),
	TEXT(arch),
	TEXT(weight_type),
	INT(model_bytes),
	INT(model_parameters),
	TEXT(test),
	AXIS_LIST(AXIS_COLUMN) TEXT(model_hash),
	TEXT(device),
	TEXT(commit),
	REAL(tokens_per_s),
	TIME(prefill_us),
	REAL(prefill_tokens_per_s),
	TIME(itl_median_us),
	TIME(itl_mad_us),
	TIME(itl_p50_us),
	TIME(itl_p90_us),
	TIME(itl_p99_us),
	TIME(itl_max_us),
	TIME(submit_median_us),
	TIME(submit_mad_us),
	TIME(submit_p50_us),
	TIME(submit_p90_us),
	TIME(submit_max_us),
	TIME(gpu_median_us),
	TIME(wall_median_us),
	TIME(capture_us),
	TIME(instantiate_us),
	TIME(upload_us),
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
	INT(snapkv_budget),
	INT(evicted_entries),
	TIME(evict_us),
	INT(memory_before_evict_bytes),
	INT(memory_after_evict_bytes),
	INT(memory_bytes),
	REAL(kl_divergence),
	REAL(kl_divergence_max),
	REAL(top1_agreement),
	INT(quality_tokens),
	TIME(host_median_us),
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
	INT_ABSENT(attempt, "0"),
	INT(clock_low),
	TEXT(until),
	TIME(submit_p99_us),
	INT(copy_nodes),
	TEXT(launch_hash),
	INT(launches_differ),
	INT(beyond_context),
	TEXT(prefill_weights),
	NAME(context_source, context_sources),
	INT(context_prefilled_tokens),
	REAL(ttft_us),
	REAL(api_launches_per_prompt),
	REAL(node_updates_per_prompt),
	REAL(kernels_per_prompt),
	REAL(copies_per_prompt),
	TEXT(text_hash),
	TEXT(machine),
	TEXT(gpu),
	TEXT(file_type),
};
#undef AXIS_COLUMN
#undef TEXT
#undef INT
#undef INT_ABSENT
#undef REAL
#undef TIME
#undef NAME
const int row_n_columns = sizeof row_columns / sizeof *row_columns;

const char *run_status_name(enum run_status s)
{
	return s <= RUN_STATUS_INTERRUPTED ? statuses[s] : "";
}

void row_init(struct run_row *r)
{
	*r = (struct run_row){0};
	columns_init(r, row_columns, row_n_columns);
	r->schema_version = SCHEMA_VERSION;
}

double row_time_us(const struct run_row *r)
{
	if (r->n_prompt == ROW_UNKNOWN || r->n_prompt <= 0)
		return r->itl_median_us;
	return r->n_gen > 0 ? 1e6 * (double)(r->n_prompt + r->n_gen) / r->tokens_per_s : r->prefill_us;
}

static int absent_int(enum axis_id a)
{
	return axes[a].absent ? atoi(axes[a].absent) : 0;
}

/* As the matrix has it: null is what the axis' absence means. */
static const char *present_word(enum axis_id a, const char *word)
{
	return !word || !*word || (axes[a].absent && a != AXIS_MODE && !strcmp(word, axes[a].absent)) ? NULL : word;
}

void row_cell(const struct run_row *r, struct cell *out)
{
	*out = (struct cell){0};
#define TAKE_INT(ID, column) \
	cell_set_int(out, AXIS_##ID, r->column == ROW_UNKNOWN ? absent_int(AXIS_##ID) : (int)r->column);
#define TAKE_WORD(ID, column) cell_set_word(out, AXIS_##ID, present_word(AXIS_##ID, r->column));
#define TAKE(ID, kind, name, column, ...) TAKE_##kind(ID, column)
	AXIS_LIST(TAKE)
#undef TAKE
#undef TAKE_WORD
#undef TAKE_INT
	if (r->n_gpu_layers_asked == AXIS_LAYERS_AUTO)
		out->n_gpu_layers = AXIS_LAYERS_AUTO;
	if (r->model_hash)
		snprintf(out->model_hash, sizeof out->model_hash, "%s", r->model_hash);
}

void row_set_axes(struct run_row *r, const struct cell *c)
{
#define SET_INT(ID, column) r->column = cell_int(c, AXIS_##ID);
#define SET_WORD(ID, column) r->column = cell_word(c, AXIS_##ID);
#define SET(ID, kind, name, column, ...) SET_##kind(ID, column)
	AXIS_LIST(SET)
#undef SET
#undef SET_WORD
#undef SET_INT
	const char *slash = strrchr(c->model, '/');
	r->model_path_name = slash ? slash + 1 : c->model;
	r->model_hash = *c->model_hash ? c->model_hash : NULL;
	r->n_gpu_layers_asked = c->n_gpu_layers;
	r->n_threads_asked = c->n_threads;
	if (c->n_gpu_layers < 0)
		r->n_gpu_layers = ROW_UNKNOWN;
	if (c->n_threads <= 0)
		r->n_threads = ROW_UNKNOWN;
}
