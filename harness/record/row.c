#include "harness/record/row.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "harness/stats/stats.h"

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

const char *token_event_name(enum token_event e)
{
	static const char *const names[] = {"direct", "capture", "update", "replay", "fallback"};
	return names[e];
}

const char *token_phase_name(enum token_phase p)
{
	return p == TOKEN_PHASE_WARMUP ? "warmup" : "measure";
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

uint64_t row_launch_hash(const struct token_record *t, int n)
{
	uint64_t hash = 1;
	for (int i = 0; i < n; i++) {
		const int counts[] = {t[i].event, t[i].api_launches, t[i].node_updates, t[i].kernels, t[i].copies};
		if (t[i].event == TOKEN_EVENT_CAPTURE || t[i].event == TOKEN_EVENT_FALLBACK)
			return 0;
		hash = hash_bytes(counts, sizeof counts, hash);
	}
	return n ? hash : 0;
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

static int64_t known(int64_t x)
{
	return x < 0 ? ROW_UNKNOWN : x;
}

void row_set_cell(struct run_row *r, const struct cell *c, const char *label, const struct workload_facts *f)
{
	const char *slash = strrchr(c->model, '/');
	r->model_path_name = slash ? slash + 1 : c->model;
	r->test = label;
	r->n_prompt = c->n_prompt;
	r->n_gen = c->n_gen;
	r->n_depth = c->n_depth;
	r->mode = c->mode;
	r->fusion = c->fusion;
	r->sync = cell_sync(c);
	r->type_k = c->type_k;
	r->type_v = c->type_v;
	r->snapkv = c->snapkv ? c->snapkv : SNAPKV_OFF;
	r->snapkv_budget = c->snapkv ? cell_snapkv_budget(c) : ROW_UNKNOWN;
	r->n_gpu_layers_asked = c->n_gpu_layers;
	r->n_threads_asked = c->n_threads;
	/* Until a workload says what became of "all that the machine can" and "its choice". */
	r->n_gpu_layers = known(c->n_gpu_layers);
	r->n_threads = c->n_threads > 0 ? c->n_threads : ROW_UNKNOWN;
	if (!f)
		return;
	r->model = f->model;
	r->arch = f->arch;
	r->weight_type = f->weight_type;
	r->model_bytes = known(f->model_bytes);
	r->model_parameters = known(f->model_parameters);
	r->device = f->device;
	r->n_gpu_layers = known(f->n_gpu_layers);
	r->n_threads = known(f->n_threads);
	r->weight_bytes_per_token = known(f->weight_bytes_per_token);
	r->head_device = f->head_device;
	r->host_weight_bytes_per_token = known(f->host_weight_bytes_per_token);
	r->gpu_weight_bytes_per_token = known(f->gpu_weight_bytes_per_token);
	r->crossing_bytes_per_token = known(f->crossing_bytes_per_token);
	r->kv_bytes = known(f->kv_bytes);
	r->gemm_tflop_s = c->n_prompt && f->gemm_flop_s > 0 ? f->gemm_flop_s / 1e12 : NAN;
	r->bandwidth_gb_s = f->bandwidth_bytes_s > 0 ? f->bandwidth_bytes_s / 1e9 : NAN;
}

void row_set_eviction(struct run_row *r, const struct eviction *e, const struct quality *q)
{
	r->evicted_entries = e->entries;
	if (e->entries) {
		r->evict_us = e->us;
		r->memory_before_evict_bytes = known(e->memory_before_bytes);
		r->memory_after_evict_bytes = known(e->memory_after_bytes);
	}
	if (q->n) {
		r->quality_tokens = q->n;
		r->kl_divergence = q->divergence_sum / q->n;
		r->kl_divergence_max = q->divergence_max;
		r->top1_agreement = (double)q->same_top / q->n;
	}
}

void row_set_prefill(struct run_row *r, double flops)
{
	r->prefill_flops = flops;
	r->prefill_tflop_s = flops / r->prefill_us / 1e6;
	r->gemm_share = r->prefill_tflop_s / r->gemm_tflop_s;
}

void row_set_conditions(struct run_row *r, const struct conditions *c, int n, const char *reasons)
{
	r->sm_clock_mhz = c->sm_clock_mhz;
	r->memory_clock_mhz = c->memory_clock_mhz;
	r->power_w = c->power_w;
	r->energy_per_token_j = n > 0 ? c->energy_j / n : NAN;
	r->temperature_c = c->temperature_c;
	r->gpu_utilization = c->utilization;
	r->throttle_reasons = reasons;
	r->cpu_mhz = c->cpu_mhz;
	r->load_average = c->load_average;
	r->context_switches = known(c->context_switches);
	r->involuntary_switches = known(c->involuntary_switches);
	r->minor_faults = known(c->minor_faults);
	r->major_faults = known(c->major_faults);
	r->telemetry_samples = known(c->samples);
}

/* One time column of the tokens into x; 0 where one of them is unknown. */
static int gather(const struct token_record *t, int n, size_t offset, double *x)
{
	for (int i = 0; i < n; i++) {
		memcpy(&x[i], (const char *)&t[i] + offset, sizeof *x);
		if (!isfinite(x[i]))
			return 0;
	}
	return n > 0;
}

int row_set_tokens(struct run_row *r, const struct token_record *t, int n)
{
	double *x = malloc((n > 0 ? (size_t)n : 1) * sizeof *x);
	if (!x)
		return -1;
	int rc = 0;
	struct stats_summary s;
	if (gather(t, n, offsetof(struct token_record, itl_us), x)) {
		double sum = 0;
		for (int i = 0; i < n; i++)
			sum += x[i];
		r->tokens_per_s = n / sum * 1e6;
		rc |= stats_summarize(x, n, &s);
		r->itl_median_us = s.median;
		r->itl_mad_us = s.mad;
		r->itl_p50_us = s.p50;
		r->itl_p90_us = s.p90;
		r->itl_p99_us = s.p99;
		r->itl_max_us = s.max;
	}
	if (gather(t, n, offsetof(struct token_record, submit_us), x)) {
		rc |= stats_summarize(x, n, &s);
		r->submit_median_us = s.median;
		r->submit_mad_us = s.mad;
		r->submit_p50_us = s.p50;
		r->submit_p90_us = s.p90;
		r->submit_p99_us = s.p99;
		r->submit_max_us = s.max;
	}
	if (gather(t, n, offsetof(struct token_record, gpu_us), x)) {
		rc |= stats_summarize(x, n, &s);
		r->gpu_median_us = s.median;
	}
	if (gather(t, n, offsetof(struct token_record, host_us), x)) {
		rc |= stats_summarize(x, n, &s);
		r->host_median_us = s.median;
	}
	if (gather(t, n, offsetof(struct token_record, wall_us), x)) {
		rc |= stats_summarize(x, n, &s);
		r->wall_median_us = s.median;
	}
	if (n > 0) {
		double launches = 0, updates = 0, kernels = 0, copies = 0;
		for (int i = 0; i < n; i++) {
			launches += t[i].api_launches;
			updates += t[i].node_updates;
			kernels += t[i].kernels;
			copies += t[i].copies;
		}
		r->api_launches_per_token = launches / n;
		r->node_updates_per_token = updates / n;
		r->kernels_per_token = kernels / n;
		r->copies_per_token = copies / n;
	}
	if (isfinite(r->itl_median_us) && r->weight_bytes_per_token != ROW_UNKNOWN && isfinite(r->kv_bytes_per_token)) {
		r->achieved_gb_s =
			((double)r->weight_bytes_per_token + r->kv_bytes_per_token) / (r->itl_median_us * 1e3);
		r->bandwidth_share = r->achieved_gb_s / r->bandwidth_gb_s;
	}
	free(x);
	return rc;
}
