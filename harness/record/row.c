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
#define COLUMN_OF_INT(column) INT(column)
#define COLUMN_OF_WORD(column) TEXT(column)
#define AXIS_COLUMN(ID, kind, name, column, ...) COLUMN_OF_##kind(column),
const struct column row_columns[] = {
	INT(schema_version),
	TEXT(run_id),
	TEXT(status),
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
#undef AXIS_COLUMN
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
