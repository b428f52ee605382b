#include "harness/measure/measured_row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "harness/stats/stats.h"

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

uint64_t row_launch_hash_behind(uint64_t prompt, const struct token_record *t, int n)
{
	uint64_t tokens = row_launch_hash(t, n);
	return prompt && tokens ? hash_bytes(&tokens, sizeof tokens, prompt) : 0;
}

static int64_t known(int64_t x)
{
	return x < 0 ? ROW_UNKNOWN : x;
}

void row_set_cell(struct run_row *r, const struct cell *c, const char *label, const struct workload_facts *f)
{
	row_set_axes(r, c);
	r->test = label;
	r->snapkv_budget = cell_snapkv_budget(c) ? cell_snapkv_budget(c) : ROW_UNKNOWN;
	if (!f)
		return;
	r->model = f->model;
	r->arch = f->arch;
	r->weight_type = f->weight_type;
	r->file_type = f->file_type;
	r->model_bytes = known(f->model_bytes);
	r->model_parameters = known(f->model_parameters);
	r->device = f->device;
	if (f->n_context_trained > 0)
		r->beyond_context = c->n_depth + c->n_prompt + c->n_gen > f->n_context_trained;
	r->n_gpu_layers = known(f->n_gpu_layers);
	r->n_threads = known(f->n_threads);
	r->weight_bytes_per_token = known(f->weight_bytes_per_token);
	r->head_device = f->head_device;
	r->prefill_weights = f->prefill_weights;
	r->text_hash = f->text_hash;
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

static double count_or_unknown(int64_t x)
{
	return x < 0 ? NAN : (double)x;
}

void row_set_prompt(struct run_row *r, const struct prompt_record *p, double ttft_us)
{
	r->ttft_us = ttft_us;
	r->api_launches_per_prompt = count_or_unknown(p->api_launches);
	r->node_updates_per_prompt = count_or_unknown(p->node_updates);
	r->kernels_per_prompt = count_or_unknown(p->kernels);
	r->copies_per_prompt = count_or_unknown(p->copies);
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

void row_add_prompt(struct run_row *r, int n)
{
	r->tokens_per_s = (double)(r->n_prompt + n) / (r->prefill_us / 1e6 + n / r->tokens_per_s);
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
