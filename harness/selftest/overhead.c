#include "harness/selftest/overhead.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/measure/runner.h"
#include "harness/stats/stats.h"

struct null_workload {
	struct workload_source source;
	struct workload workload;
	int pos;
	int64_t start_ns;
	double *itl[2]; /* (runs * tokens): waited for, queued */
	int n[2];
};

static struct null_workload *null_of(struct workload *w)
{
	return (struct null_workload *)((char *)w - offsetof(struct null_workload, workload));
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void null_close(struct workload *w)
{
	(void)w;
}

static void null_facts(struct workload *w, struct workload_facts *out)
{
	(void)w;
	*out = (struct workload_facts){.model = "nothing",
				       .arch = "none",
				       .weight_type = "none",
				       .device = "none",
				       .n_vocab = 262144,
				       .n_threads = 1,
				       .weight_bytes_per_token = -1,
				       .host_weight_bytes_per_token = -1,
				       .gpu_weight_bytes_per_token = -1,
				       .crossing_bytes_per_token = -1,
				       .kv_bytes = -1};
}

static int null_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	(void)w, (void)mode, (void)fusion, (void)err;
	return 0;
}

static int null_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	(void)tokens, (void)err;
	null_of(w)->pos += n;
	return 0;
}

static int null_checkpoint(struct workload *w, struct error *err)
{
	(void)w, (void)err;
	return 0;
}

static int null_rewind(struct workload *w, int pos, struct error *err)
{
	(void)err;
	null_of(w)->pos = pos;
	return 0;
}

static int null_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	(void)token, (void)err;
	out->pos = null_of(w)->pos++;
	out->done_ns = now_ns();
	return 0;
}

static int null_queue_begin(struct workload *w, int n, int keep, struct error *err)
{
	(void)n, (void)keep, (void)err;
	null_of(w)->start_ns = now_ns();
	return 0;
}

static int null_queue_end(struct workload *w, struct token_record *out, int n, struct error *err)
{
	(void)err;
	int64_t before = null_of(w)->start_ns;
	for (int i = 0; i < n; i++) {
		out[i].itl_us = (double)(out[i].done_ns - before) / 1e3;
		before = out[i].done_ns;
	}
	return 0;
}

static int null_queue_hash(struct workload *w, int i, uint64_t seed, uint64_t *out, struct error *err)
{
	(void)w, (void)i, (void)err;
	*out = seed + 1;
	return 0;
}

static int null_hash(struct workload *w, uint64_t seed, uint64_t *out, struct error *err)
{
	return null_queue_hash(w, 0, seed, out, err);
}

static void null_totals(struct workload *w, struct workload_totals *out)
{
	(void)w;
	*out = (struct workload_totals){.memory_peak_bytes = -1};
}

static int64_t null_kv_bytes_read(struct workload *w, int pos)
{
	(void)w, (void)pos;
	return -1;
}

static const char *null_fallback_reason(struct workload *w)
{
	(void)w;
	return "";
}

static int null_open(struct workload_source *source, const struct placement *p, struct workload **out,
		     struct error *err)
{
	static const struct workload_ops ops = {
		.close = null_close,
		.facts = null_facts,
		.set_arm = null_set_arm,
		.prefill = null_prefill,
		.checkpoint = null_checkpoint,
		.rewind = null_rewind,
		.decode = null_decode,
		.queue_begin = null_queue_begin,
		.enqueue = null_decode,
		.queue_end = null_queue_end,
		.queue_hash = null_queue_hash,
		.hash = null_hash,
		.totals = null_totals,
		.kv_bytes_read = null_kv_bytes_read,
		.fallback_reason = null_fallback_reason,
	};
	struct null_workload *w = (struct null_workload *)source;
	(void)p, (void)err;
	w->workload.ops = &ops;
	w->pos = 0;
	*out = &w->workload;
	return 0;
}

/* A phase's first token has the way into the loop in it: left out. */
static int take(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct null_workload *w = ctx;
	int queued = !strcmp(row->sync, SYNC_NONE);
	(void)err;
	for (int i = 0; i < n; i++)
		if (tokens[i].phase == TOKEN_PHASE_MEASURE && tokens[i].index > 0)
			w->itl[queued][w->n[queued]++] = tokens[i].itl_us;
	return 0;
}

static int summarise(double *x, int n, double *median, double *p99, struct error *err)
{
	struct stats_summary s;
	if (stats_summarize(x, n, &s))
		return error_set(err, ERROR_MEMORY, "no memory for %d tokens", n);
	*median = s.median;
	*p99 = s.p99;
	return 0;
}

/* The median over batches: one that was interrupted says nothing of a look. */
static double look_us(void)
{
	enum { BATCHES = 101, LOOKS = 100 };
	double batches[BATCHES];
	for (int b = 0; b < BATCHES; b++) {
		int64_t from = now_ns(), to = from;
		for (int i = 0; i < LOOKS; i++)
			to = now_ns();
		batches[b] = (double)(to - from) / 1e3 / LOOKS;
	}
	return stats_median(batches, BATCHES);
}

int overhead_measure(int runs, int tokens, struct monitor *monitor, struct overhead *out, struct error *err)
{
	struct null_workload w = {.source.open = null_open};
	struct cell cells[2] = {{.model = "nothing", .type_k = "", .type_v = "", .fusion = "", .mode = MODE_REFERENCE}};
	struct runner_options o;
	struct runner_summary summary;
	const struct runner_sink sink = {.ctx = &w, .run = take};
	size_t n = (size_t)runs * (size_t)tokens;
	runner_options_default(&o);
	o.repetitions = runs;
	o.monitor = monitor;
	cells[0].n_gen = tokens;
	cells[1] = cells[0];
	cells[1].sync = SYNC_NONE;
	w.itl[0] = calloc(n, sizeof(double));
	w.itl[1] = calloc(n, sizeof(double));
	int rc = w.itl[0] && w.itl[1] ? 0 : error_set(err, ERROR_MEMORY, "no memory for %zu tokens", n);
	if (!rc)
		rc = runner_run(cells, 2, &w.source, &o, &sink, &summary, err);
	*out = (struct overhead){.n = w.n[0]};
	if (!rc)
		rc = summarise(w.itl[0], w.n[0], &out->token_median_us, &out->token_p99_us, err);
	if (!rc)
		rc = summarise(w.itl[1], w.n[1], &out->queued_median_us, &out->queued_p99_us, err);
	out->clock_us = look_us();
	free(w.itl[0]);
	free(w.itl[1]);
	return rc;
}
