#include "bench/kernel_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/kernel_cases.h"
#include "bench/shim.h"

enum {
	CALLS_MAX = 64, /* of a graph, or of a pass of the host's */
	CALLS_MIN = 4,
	CALLS_BYTES = 512 << 20,      /* that the calls of a graph touch, about */
	HOST_CACHE_BYTES = 256 << 20, /* that cold sets of the host's are more than */
	HOST_SETS_MAX = 1 << 14,
	L2S = 3,          /* that the sets of a cold case would fill */
	BATCH = 2048,     /* rows of a prompt's chunk */
	N_IN_MAX = 21504, /* of the 31B's FFN */
};

/* A benchmark: a case in one way. */
struct way {
	const struct family_case *c;
	bool cuda, cold, pdl;
};

/* What is open: a pair of devices, and the case that it holds. Benchmarks of one case follow each other. */
static struct {
	struct pair *pair;
	bool cuda, prompt;           /* of the pair */
	const struct family_case *c; /* null: none */
	struct case_subject subject;
	int n_sets, calls;
	int next;          /* set, of the host's next cold call */
	char failure[200]; /* of the case; empty: it is right and in its place */
	void *flush[2];    /* (flush_bytes) */
	size_t flush_bytes;
	struct device_event *from, *to;
	int wrong;
} open;

static struct family_case *cases;
static struct way *ways;
static struct bench_machine machine;
static size_t n_cases, cap_cases, n_ways, cap_ways;

/* ---- devices ---- */

/* Prompts also need cuBLASLt. */
static struct cuda_open_options gpu_options(bool prompt)
{
	return (struct cuda_open_options){
		.dims = {.n_head_dims = 2, .head_dims = {256, 512}, .k_type = TENSOR_F16, .v_type = TENSOR_F16},
		.pdl = true,
		.prefill = PREFILL_F16,
		.batch = prompt ? BATCH : 1,
		.n_in_max = prompt ? N_IN_MAX : 32,
	};
}

static void give_up(int rc, const struct error *err)
{
	if (rc)
		pair_fail("%s", err->text);
}

static void end_case(void)
{
	if (open.c)
		pair_end(open.pair);
	open.c = NULL;
}

static void close_pair(void)
{
	if (!open.pair)
		return;
	struct device *d = pair_timed_device(open.pair);
	end_case();
	device_event_destroy(d, open.from);
	device_event_destroy(d, open.to);
	for (int i = 0; i < 2; i++) {
		device_free(d, open.flush[i]);
		open.flush[i] = NULL;
	}
	open.from = open.to = NULL;
	open.wrong += pair_close(open.pair);
	open.pair = NULL;
}

static void open_pair(bool cuda, bool prompt)
{
	struct error err = {""};
	struct cuda_open_options o = gpu_options(prompt);
	if (open.pair && open.cuda == cuda && open.prompt == prompt)
		return;
	close_pair();
	open.pair = pair_open_with(cuda ? &o : NULL, 0);
	open.cuda = cuda;
	open.prompt = prompt;
	struct device *d = pair_timed_device(open.pair);
	if (!cuda)
		return;
	open.flush_bytes = device_cuda_facts(d)->l2_bytes * 2;
	for (int i = 0; i < 2; i++)
		give_up(device_alloc(d, open.flush_bytes, &open.flush[i], &err), &err);
	give_up(device_event_create(d, &open.from, &err), &err);
	give_up(device_event_create(d, &open.to, &err), &err);
}

/* ---- a case ---- */

/* Compares it; of prompts' kernels fewer rows of it, which the host can do. */
static bool check(const struct family_case *c)
{
	struct case_shape few = c->shape;
	if (c->kind->check_tokens && few.n_tokens > c->kind->check_tokens)
		few.n_tokens = c->kind->check_tokens;
	memset(&open.subject, 0, sizeof open.subject);
	c->kind->build(open.pair, &few, &open.subject);
	pair_run(open.pair, open.subject.kernel, open.subject.params, NULL, "%s", c->name);
	bool right = pair_compare(open.pair, c->kind->allow(open.pair, &few, &open.subject));
	if (few.n_tokens != c->shape.n_tokens) {
		pair_end(open.pair);
		memset(&open.subject, 0, sizeof open.subject);
		c->kind->build(open.pair, &c->shape, &open.subject);
	}
	return right;
}

static int clamp(double x, int least, int most)
{
	return x < least ? least : x > most ? most : (int)x;
}

static void begin_case(const struct family_case *c)
{
	struct error err = {""};
	if (open.c == c)
		return;
	end_case();
	open.c = c;
	open.failure[0] = '\0';
	if (!check(c)) {
		snprintf(open.failure, sizeof open.failure, "wrong: not what the host's kernel computes");
		return;
	}
	double bytes = (double)pair_bytes(open.pair);
	double cache = open.cuda ? (double)open.flush_bytes / 2 * L2S : HOST_CACHE_BYTES;
	open.calls = clamp(CALLS_BYTES / bytes, CALLS_MIN, CALLS_MAX);
	open.n_sets = clamp(cache / bytes + 2, 2, open.cuda ? open.calls : HOST_SETS_MAX);
	open.next = 0;
	if (pair_place(open.pair, open.n_sets, &err))
		snprintf(open.failure, sizeof open.failure, "%.190s", err.text);
}

static int enqueue(const struct way *w, struct error *err)
{
	struct device *d = pair_timed_device(open.pair);
	uint64_t params[CASE_PARAMS_WORDS];
	int rc = 0;
	for (int i = 0; i < open.calls && !rc; i++) {
		pair_translate(open.pair, w->cold ? i % open.n_sets : 0, open.subject.kernel, open.subject.params,
			       params);
		rc = device_launch(d, open.subject.kernel, params, err);
	}
	return rc;
}

/* ---- timing ---- */

static int capture(const struct way *w, struct device_graph **g, struct device_exec **x, struct error *err)
{
	struct device *d = pair_timed_device(open.pair);
	/* A product's shape is searched an algorithm for at its first launch, which is none in a capture. */
	int rc = enqueue(w, err);
	rc = rc ? rc : device_synchronize(d, err);
	rc = rc ? rc : device_capture_begin(d, DEVICE_GRAPH_PLAIN, err);
	if (rc)
		return rc;
	rc = enqueue(w, err);
	if (rc) {
		device_capture_abort(d);
		return rc;
	}
	rc = device_capture_end(d, g, err);
	rc = rc ? rc : device_instantiate(d, *g, x, err);
	rc = rc ? rc : device_exec_upload(d, *x, err);
	rc = rc ? rc : device_replay(d, *x, err);
	return rc ? rc : device_synchronize(d, err);
}

/* Microseconds of one graph. */
static int time_graph(const struct way *w, struct device_exec *x, double *us, struct error *err)
{
	struct device *d = pair_timed_device(open.pair);
	bool fits = (double)pair_bytes(open.pair) * open.n_sets < (double)open.flush_bytes / 2 * L2S;
	int rc;
	/* Both keep the GPU busy while the rest is submitted; a replay before it also warms. */
	if (w->cold && fits)
		rc = device_copy(d, open.flush[0], open.flush[1], open.flush_bytes, err);
	else
		rc = device_replay(d, x, err);
	rc = rc ? rc : device_event_record(d, open.from, err);
	rc = rc ? rc : device_replay(d, x, err);
	rc = rc ? rc : device_event_record(d, open.to, err);
	rc = rc ? rc : device_event_wait(d, open.to, err);
	return rc ? rc : device_event_elapsed(d, open.from, open.to, us, err);
}

static int time_host(const struct way *w, double *us, struct error *err)
{
	int rc = enqueue(w, err);
	open.next = (open.next + open.calls) % open.n_sets;
	int64_t from = clock_ns();
	rc = rc ? rc : device_synchronize(pair_timed_device(open.pair), err);
	*us = (double)(clock_ns() - from) * 1e-3;
	return rc;
}

static void body(struct bench_state *s, const void *arg)
{
	const struct way *w = arg;
	struct error err = {""};
	struct device_graph *g = NULL;
	struct device_exec *x = NULL;
	double us, all_us = 0, calls = 0;
	open_pair(w->cuda, w->c->prompt);
	begin_case(w->c);
	struct device *d = pair_timed_device(open.pair);
	int rc = 0;
	if (open.failure[0]) {
		bench_skip(s, open.failure);
		return;
	}
	if (w->cuda) {
		if (device_cuda_set_pdl(d, w->pdl) != w->pdl) {
			bench_skip(s, "SKIP: programmatic dependent launch needs compute capability 9.0");
			return;
		}
		rc = capture(w, &g, &x, &err);
	}
	while (!rc && bench_keep_running_batch(s, open.calls)) {
		rc = w->cuda ? time_graph(w, x, &us, &err) : time_host(w, &us, &err);
		bench_time(s, us * 1e-6);
		all_us += us;
		calls += open.calls;
	}
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	if (rc) {
		bench_skip(s, err.text);
		return;
	}
	bench_rate(s, "bytes/s", open.subject.bytes);
	const double bandwidth = w->cuda ? machine.gpu_copy : machine.host_read;
	if (bandwidth > 0)
		bench_value(s, "of_bandwidth", open.subject.bytes * calls / (all_us * 1e-6) / bandwidth);
	if (open.subject.flops > 0)
		bench_rate(s, "flop/s", open.subject.flops);
}

/* ---- registration ---- */

static int keep_case(void *ctx, const struct family_case *c)
{
	struct error *err = ctx;
	if (n_cases == cap_cases) {
		cap_cases = cap_cases ? 2 * cap_cases : 256;
		struct family_case *grown = realloc(cases, cap_cases * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "no memory for the benchmarks");
		cases = grown;
	}
	cases[n_cases++] = *c;
	return 0;
}

static void add_way(struct way w)
{
	char name[CASE_NAME_BYTES + 64];
	ways[n_ways] = w;
	if (w.cuda)
		snprintf(name, sizeof name, "cuda/%s/l2:%s/pdl:%s", w.c->name, w.cold ? "cold" : "warm",
			 w.pdl ? "on" : "off");
	else
		snprintf(name, sizeof name, "host/%s/caches:%s", w.c->name, w.cold ? "cold" : "warm");
	bench_register_timed(name, body, &ways[n_ways++]);
}

int kernel_bench_register(int cuda, const struct bench_machine *m, struct error *err)
{
	enum { WAYS_EACH = 5 };
	machine = *m;
	int rc = family_cases(keep_case, err);
	if (rc)
		return rc;
	cap_ways = n_cases * WAYS_EACH;
	ways = malloc(cap_ways * sizeof *ways);
	if (!ways)
		return error_set(err, ERROR_MEMORY, "no memory for the benchmarks");
	for (size_t i = 0; i < n_cases; i++) {
		const struct family_case *c = &cases[i];
		for (int cold = 1; !c->prompt && cold >= 0; cold--)
			add_way((struct way){.c = c, .cold = cold});
	}
	for (size_t i = 0; cuda && i < n_cases; i++) {
		const struct family_case *c = &cases[i];
		if (c->prompt)
			continue;
		add_way((struct way){.c = c, .cuda = true, .cold = true, .pdl = true});
		add_way((struct way){.c = c, .cuda = true, .cold = true});
		add_way((struct way){.c = c, .cuda = true, .pdl = true});
	}
	/* Long, and of operands that no L2 holds. Behind the others, which need another pair of devices. */
	for (size_t i = 0; cuda && i < n_cases; i++)
		if (cases[i].prompt)
			add_way((struct way){.c = &cases[i], .cuda = true, .cold = true, .pdl = true});
	return 0;
}

int kernel_bench_close(void)
{
	close_pair();
	free(cases);
	free(ways);
	cases = NULL;
	ways = NULL;
	return open.wrong;
}
