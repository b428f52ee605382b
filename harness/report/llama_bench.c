#include "harness/report/llama_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"

const struct llama_field llama_fields[] = {
	{"build_commit", LLAMA_TEXT},
	{"build_number", LLAMA_INT},
	{"cpu_info", LLAMA_TEXT},
	{"gpu_info", LLAMA_TEXT},
	{"backends", LLAMA_TEXT},
	{"model_filename", LLAMA_TEXT},
	{"model_type", LLAMA_TEXT},
	{"model_size", LLAMA_INT},
	{"model_n_params", LLAMA_INT},
	{"n_batch", LLAMA_INT},
	{"n_ubatch", LLAMA_INT},
	{"n_threads", LLAMA_INT},
	{"cpu_mask", LLAMA_TEXT},
	{"cpu_strict", LLAMA_BOOL},
	{"poll", LLAMA_INT},
	{"type_k", LLAMA_TEXT},
	{"type_v", LLAMA_TEXT},
	{"n_gpu_layers", LLAMA_INT},
	{"n_cpu_moe", LLAMA_INT},
	{"split_mode", LLAMA_TEXT},
	{"main_gpu", LLAMA_INT},
	{"no_kv_offload", LLAMA_BOOL},
	{"flash_attn", LLAMA_INT},
	{"devices", LLAMA_TEXT},
	{"tensor_split", LLAMA_TEXT},
	{"tensor_buft_overrides", LLAMA_TEXT},
	{"use_mmap", LLAMA_BOOL},
	{"load_mode", LLAMA_TEXT},
	{"lazy_mode", LLAMA_TEXT},
	{"embeddings", LLAMA_BOOL},
	{"no_op_offload", LLAMA_INT},
	{"no_host", LLAMA_BOOL},
	{"repack", LLAMA_BOOL},
	{"fit_target", LLAMA_INT},
	{"fit_min_ctx", LLAMA_INT},
	{"n_prompt", LLAMA_INT},
	{"n_gen", LLAMA_INT},
	{"n_depth", LLAMA_INT},
	{"test_time", LLAMA_TEXT},
	{"avg_ns", LLAMA_INT},
	{"stddev_ns", LLAMA_INT},
	{"avg_ts", LLAMA_REAL},
	{"stddev_ts", LLAMA_REAL},
	/* Gemmark's own. */
	{"test", LLAMA_TEXT},
	{"mode", LLAMA_TEXT},
	{"fusion", LLAMA_TEXT},
	{"prefill_rows", LLAMA_TEXT},
	{"prefill_mode", LLAMA_TEXT},
	{"snapkv", LLAMA_TEXT},
	{"sync", LLAMA_TEXT},
	{"settings", LLAMA_TEXT},
	{"device", LLAMA_TEXT},
	{"repetitions", LLAMA_INT},
	{"itl_median_us", LLAMA_REAL},
	{"submit_median_us", LLAMA_REAL},
	{"api_launches_per_token", LLAMA_REAL},
	{"ttft_us", LLAMA_REAL},
	{"api_launches_per_prompt", LLAMA_REAL},
	{"bandwidth_share", LLAMA_REAL},
	{"prefill_tflop_s", LLAMA_REAL},
	{"gemm_share", LLAMA_REAL},
	{"status", LLAMA_TEXT},
	{"reason", LLAMA_TEXT},
};
const int llama_n_fields = sizeof llama_fields / sizeof *llama_fields;

/* Own fields that are medians of a column over the runs. */
static const struct {
	const char *name;
	size_t offset; /* in struct run_row */
} medians[] = {
	{"itl_median_us", offsetof(struct run_row, itl_median_us)},
	{"submit_median_us", offsetof(struct run_row, submit_median_us)},
	{"api_launches_per_token", offsetof(struct run_row, api_launches_per_token)},
	{"ttft_us", offsetof(struct run_row, ttft_us)},
	{"api_launches_per_prompt", offsetof(struct run_row, api_launches_per_prompt)},
	{"bandwidth_share", offsetof(struct run_row, bandwidth_share)},
	{"prefill_tflop_s", offsetof(struct run_row, prefill_tflop_s)},
	{"gemm_share", offsetof(struct run_row, gemm_share)},
};
enum { N_MEDIANS = sizeof medians / sizeof *medians };

struct sample {
	int64_t repetition;
	double ns; /* of the test */
	double columns[N_MEDIANS];
};

/* What is kept of a cell's rows. */
struct entry {
	json_t *first;  /* members that all its runs share, of the first ok one, or else of the first; null: no run yet
			 */
	json_t *reason; /* of the first run that is not ok, or else the first remark; null: none */
	struct sample *samples;
	int n;
	enum run_status status; /* of the first run that is not ok */
	int wrong;              /* one is */
	char run_id[96];        /* of the run behind `first` */
};

/* Whether there are rates: of a cell that was ever wrong nothing counts. */
static int has_rates(const struct entry *e)
{
	return e->n > 0 && !e->wrong;
}

struct llama_bench {
	const struct cell *cells;
	struct llama_facts facts;
	struct entry *entries; /* (n) */
	int n;
};

int llama_bench_open(struct llama_bench **out, const struct cell *cells, int n, const struct llama_facts *facts,
		     struct error *err)
{
	*out = calloc(1, sizeof **out);
	struct entry *entries = calloc(n > 0 ? (size_t)n : 1, sizeof *entries);
	if (!*out || !entries) {
		free(*out);
		free(entries);
		*out = NULL;
		return error_set(err, ERROR_MEMORY, "no memory for the output of %d cells", n);
	}
	**out = (struct llama_bench){.cells = cells, .facts = *facts, .entries = entries, .n = n};
	return 0;
}

void llama_bench_close(struct llama_bench *b)
{
	if (!b)
		return;
	for (int i = 0; i < b->n; i++) {
		json_decref(b->entries[i].first);
		json_decref(b->entries[i].reason);
		free(b->entries[i].samples);
	}
	free(b->entries);
	free(b);
}

/* The name as all outputs have it. Unknown text is empty, not null: two nulls are not equal to the script's query. */
static json_t *text(const char *s)
{
	size_t n = s ? strlen(s) : 0, size = 3 * n + 1;
	char *name = malloc(size);
	json_t *j = name ? json_stringn(name, text_name(name, size, s ? s : "", n)) : NULL;
	free(name);
	return j;
}

static json_t *integer(int64_t x)
{
	return x == ROW_UNKNOWN ? json_null() : json_integer(x);
}

static json_t *real(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

/* What computes, then what else tells this cell from others of the same name: an axis that is off says nothing. */
static json_t *backends(const struct llama_bench *b, const struct run_row *r)
{
	const char *device = r->device ? r->device : "", *plus = strstr(device, "+host");
	/* A run that never began has no device: what it asked for. */
	int on_host = *device ? !strcmp(device, "host") : r->n_gpu_layers == 0;
	const char *what = on_host ? "CPU" : plus && !plus[5] ? "CUDA,CPU" : "CUDA";
	/* Those that llama-bench has a member for, or that every row names. */
	static const unsigned named = 1u << AXIS_MODEL | 1u << AXIS_GPU_LAYERS | 1u << AXIS_THREADS |
				      1u << AXIS_TYPE_K | 1u << AXIS_UBATCH | 1u << AXIS_TYPE_V | 1u << AXIS_DEPTH |
				      1u << AXIS_PROMPT | 1u << AXIS_GEN | 1u << AXIS_MODE | 1u << AXIS_FUSION;
	struct cell c;
	char out[384], number[AXIS_TEXT_SIZE];
	row_cell(r, &c);
	int used = snprintf(out, sizeof out, "%s %s %s", what, r->mode, r->fusion);
	for (int a = 0; a < AXIS_COUNT; a++)
		if (!(named >> a & 1) && !cell_is_default(&c, (enum axis_id)a) && used < (int)sizeof out)
			used += snprintf(out + used, sizeof out - (size_t)used, " %s=%s", axes[a].name,
					 cell_text(&c, (enum axis_id)a, number));
	if (*b->facts.settings && used < (int)sizeof out)
		snprintf(out + used, sizeof out - (size_t)used, " %s", b->facts.settings);
	return text(out);
}

static json_t *model_type(const struct run_row *r)
{
	char out[256];
	const char *name = r->model && *r->model ? r->model : r->arch ? r->arch : r->model_path_name;
	const char *type = r->file_type && *r->file_type ? r->file_type : r->weight_type;
	size_t n = text_name(out, sizeof out - 48, name ? name : "?", name ? strlen(name) : 1);
	snprintf(out + n, sizeof out - n, "%s%.40s", type ? " " : "", type ? type : "");
	return text(out);
}

static json_t *describe(const struct llama_bench *b, const struct run_row *r)
{
	const struct llama_facts *f = &b->facts;
	char file[CELL_MODEL_SIZE];
	const struct cell *c = &b->cells[r->cell];
	cell_model_name(c, b->cells, b->n, file);
	const struct {
		const char *name;
		json_t *value;
	} members[] = {
		{"build_commit", text(r->commit)},
		{"build_number", f->build_number < 0 ? json_null() : json_integer(f->build_number)},
		{"cpu_info", text(f->cpu)},
		{"gpu_info", text(f->gpu)},
		{"backends", backends(b, r)},
		{"model_filename", text(cell_model_shares_name(c, b->cells, b->n) ? file : r->model_path_name)},
		{"model_type", model_type(r)},
		{"model_size", integer(r->model_bytes)},
		{"model_n_params", integer(r->model_parameters)},
		{"n_batch", integer(r->n_ubatch)},
		{"n_ubatch", integer(r->n_ubatch)},
		{"n_threads", integer(r->n_threads)},
		{"cpu_mask", text("0x0")},
		{"cpu_strict", json_false()},
		{"poll", json_integer(0)},
		{"type_k", text(r->type_k)},
		{"type_v", text(r->type_v)},
		{"n_gpu_layers", integer(r->n_gpu_layers)},
		{"n_cpu_moe", json_integer(0)},
		{"split_mode", text("none")},
		{"main_gpu", json_integer(0)},
		{"no_kv_offload", json_false()},
		{"flash_attn", json_integer(1)},
		{"devices", text("auto")},
		{"tensor_split", text("0.00")},
		{"tensor_buft_overrides", text("none")},
		{"use_mmap", json_true()},
		{"load_mode", text("mmap")},
		{"lazy_mode", text("off")},
		{"embeddings", json_false()},
		{"no_op_offload", json_integer(0)},
		{"no_host", json_false()},
		{"repack", json_false()},
		{"fit_target", json_integer(0)},
		{"fit_min_ctx", json_integer(0)},
		{"n_prompt", integer(r->n_prompt)},
		{"n_gen", integer(r->n_gen)},
		{"n_depth", integer(r->n_depth)},
		{"test_time", text(r->started_utc)},
		{"test", text(r->test)},
		{"mode", text(r->mode)},
		{"fusion", text(r->fusion)},
		{"prefill_rows", text(r->prefill_rows)},
		{"prefill_mode", text(r->prefill_mode)},
		{"snapkv", text(r->snapkv)},
		{"sync", text(r->sync)},
		{"settings", text(f->settings)},
		{"device", text(r->device)},
	};
	json_t *out = json_object();
	int failed = !out;
	for (size_t i = 0; i < sizeof members / sizeof *members; i++)
		failed |= json_object_set_new(out, members[i].name, members[i].value) != 0;
	if (!failed)
		return out;
	json_decref(out);
	return NULL;
}

static int no_memory(const struct llama_bench *b, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for the output of %d cells", b->n);
}

/* The description and the reason of the entry, where the row says more than what is there. 0, or -1 without memory. */
static int take_words(const struct llama_bench *b, struct entry *e, const struct run_row *row)
{
	int ok = row->status == RUN_STATUS_OK, first_not_ok = !ok && e->status == RUN_STATUS_OK;
	if (!e->first || (ok && !e->n)) {
		json_decref(e->first);
		e->first = describe(b, row);
		snprintf(e->run_id, sizeof e->run_id, "%s", row->run_id ? row->run_id : "");
	}
	if (first_not_ok || (!e->reason && row->reason && *row->reason)) {
		json_decref(e->reason);
		e->reason = text(row->reason);
	}
	if (first_not_ok)
		e->status = row->status;
	return e->first && (!first_not_ok || e->reason) ? 0 : -1;
}

int llama_bench_add(struct llama_bench *b, const struct run_row *row, struct error *err)
{
	struct entry *e = &b->entries[row->cell];
	if (take_words(b, e, row))
		return no_memory(b, err);
	e->wrong |= row->status == RUN_STATUS_WRONG;
	if (row->status != RUN_STATUS_OK || !(row->tokens_per_s > 0))
		return 0;
	struct sample *grown = realloc(e->samples, ((size_t)e->n + 1) * sizeof *grown);
	if (!grown)
		return no_memory(b, err);
	e->samples = grown;
	int at = 0;
	while (at < e->n && e->samples[at].repetition != row->repetition)
		at++;
	/* Of a repetition that was run again the latest attempt counts. */
	struct sample *s = &e->samples[at];
	e->n += at == e->n;
	s->repetition = row->repetition;
	s->ns = (double)(row->n_prompt + row->n_gen) / row->tokens_per_s * 1e9;
	for (int i = 0; i < N_MEDIANS; i++)
		memcpy(&s->columns[i], (const char *)row + medians[i].offset, sizeof s->columns[i]);
	return 0;
}

/* Of one run llama-bench says 0. */
static double deviation(const double *x, int n)
{
	return n > 1 ? stats_deviation(x, n) : 0;
}

static json_t *integers(const double *x, int n)
{
	json_t *list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_integer(llround(x[i])));
	return list;
}

static json_t *reals(const double *x, int n)
{
	json_t *list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_real(x[i]));
	return list;
}

/* What is counted over the runs, and what became of them. ns, ts: (n), a test's times and rates. */
static int add_results(json_t *own, const struct entry *e, int n, const double *ns, const double *ts)
{
	return json_object_set_new(own, "avg_ns", n ? json_integer(llround(stats_mean(ns, n))) : json_null()) ||
	       json_object_set_new(own, "stddev_ns", n ? json_integer(llround(deviation(ns, n))) : json_null()) ||
	       json_object_set_new(own, "avg_ts", n ? json_real(stats_mean(ts, n)) : json_null()) ||
	       json_object_set_new(own, "stddev_ts", n ? json_real(deviation(ts, n)) : json_null()) ||
	       json_object_set_new(own, "repetitions", json_integer(n)) ||
	       json_object_set_new(own, "status", text(run_status_name(e->status))) ||
	       json_object_set(own, "reason", e->reason);
}

/*
 * The script divides rates by each other: a row without any must find no other one that agrees with it, and a run's id
 * is nobody else's.
 */
static json_t *own_backends(const struct entry *e)
{
	char out[512];
	snprintf(out, sizeof out, "%s %s %s", json_string_value(json_object_get(e->first, "backends")),
		 run_status_name(e->status), e->run_id);
	return text(out);
}

/* The members in llama_fields' order, then the samples. scratch: (2, n) */
static json_t *complete(const struct llama_bench *b, struct entry *e, double *scratch)
{
	const struct cell *c = &b->cells[e - b->entries];
	int n = has_rates(e) ? e->n : 0;
	double *ns = scratch, *ts = scratch + n;
	json_t *own = json_object(), *out = json_object();
	if (!e->reason)
		e->reason = text("");
	int failed = !own || !out;
	for (int m = 0; m < N_MEDIANS; m++) {
		for (int i = 0; i < n; i++)
			ns[i] = e->samples[i].columns[m];
		failed |= json_object_set_new(own, medians[m].name, n ? real(stats_median(ns, n)) : json_null()) != 0;
	}
	for (int i = 0; i < n; i++) {
		ns[i] = e->samples[i].ns;
		ts[i] = 1e9 * (c->n_prompt + c->n_gen) / ns[i];
	}
	failed |= add_results(own, e, n, ns, ts);
	if (!n)
		failed |= json_object_set_new(own, "backends", own_backends(e));
	for (int f = 0; f < llama_n_fields && !failed; f++) {
		json_t *value = json_object_get(own, llama_fields[f].name);
		failed |= json_object_set(out, llama_fields[f].name,
					  value ? value : json_object_get(e->first, llama_fields[f].name)) != 0;
	}
	failed |= json_object_set_new(out, "samples_ns", integers(ns, n)) ||
		  json_object_set_new(out, "samples_ts", reals(ts, n));
	json_decref(own);
	if (!failed)
		return out;
	json_decref(out);
	return NULL;
}

int llama_bench_records(const struct llama_bench *b, json_t **out, struct error *err)
{
	*out = json_array();
	int failed = !*out;
	for (int i = 0; i < b->n && !failed; i++) {
		struct entry *e = &b->entries[i];
		if (!e->first)
			continue;
		double *scratch = calloc(2 * (size_t)e->n + 1, sizeof *scratch);
		failed = !scratch || json_array_append_new(*out, complete(b, e, scratch));
		free(scratch);
	}
	if (!failed)
		return 0;
	json_decref(*out);
	*out = NULL;
	return no_memory(b, err);
}
