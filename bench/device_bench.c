#include "bench/device_bench.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/shim.h"
#include "engine/cuda/device_cuda.h"
#include "engine/device/device_host.h"

enum { WIDTH = 2560, PASSES = 16, NODES_MAX = 1000 };

enum call {
	CALL_LAUNCH,
	CALL_CAPTURE, /* of all nodes, begin and end */
	CALL_INSTANTIATE,
	CALL_REPLAY_HOST, /* the call */
	CALL_REPLAY,      /* on the device */
	CALL_SET_PARAMS,  /* of a node */
	CALL_UPDATE,      /* of the executable graph from another one */
	CALL_UPDATABLE,   /* a replay, on the device, of a patch that finds all nodes as they should be */
	CALL_PATCHED,     /* the same, of one that sets the grid and a parameter of every node */
	CALL_SEND,
	CALL_UPLOAD,
	CALL_DOWNLOAD,
	CALL_COPY,
	CALL_COUNT,
};

static const char *const names[] = {"launch/host:call",
				    "capture/host:call",
				    "instantiate/host:call",
				    "replay/host:call",
				    "replay",
				    "set_params/host:call",
				    "exec_update/host:call",
				    "replay_updatable",
				    "replay_patched",
				    "send/host:call",
				    "upload/host:until_done",
				    "download/host:until_done",
				    "copy"};
_Static_assert(sizeof names / sizeof *names == CALL_COUNT, "a name each");

struct one {
	enum call call;
	bool cuda, pdl;
	int nodes;    /* of a graph */
	size_t bytes; /* of a copy */
};

/* The device at hand. */
static struct {
	struct device *d; /* null: none */
	bool cuda;
	struct device_event *from, *to;
	float *a, *b; /* (WIDTH) */
	int wrong;
} open;

static int fail(struct error *err, const char *what)
{
	open.wrong++;
	return error_set(err, ERROR_WRONG, "wrong: %s", what);
}

static void close_device(void)
{
	if (!open.d)
		return;
	device_event_destroy(open.d, open.from);
	device_event_destroy(open.d, open.to);
	device_close(open.d); /* its memory too */
	open.d = NULL;
	open.from = open.to = NULL;
}

static int open_device(bool cuda, struct error *err)
{
	static const struct cuda_open_options o = {
		.dims = {.n_head_dims = 1, .head_dims = {256}, .k_type = TENSOR_F16, .v_type = TENSOR_F16},
		.pdl = true,
		.prefill = PREFILL_F32,
		.batch = 1,
		.n_in_max = 32,
	};
	if (open.d && open.cuda == cuda)
		return 0;
	close_device();
	open.cuda = cuda;
	void *a = NULL, *b = NULL;
	int rc = cuda ? device_cuda_open(&open.d, &o, err) : device_host_open(&open.d, 1, err);
	rc = rc ? rc : device_event_create(open.d, &open.from, err);
	rc = rc ? rc : device_event_create(open.d, &open.to, err);
	rc = rc ? rc : device_alloc(open.d, WIDTH * sizeof(float), &a, err);
	rc = rc ? rc : device_alloc(open.d, WIDTH * sizeof(float), &b, err);
	open.a = a;
	open.b = b;
	return rc;
}

/* a = (a + b) * scale: as many small kernels, each of which needs the one before. */
static struct add_params add_params(float scale)
{
	return (struct add_params){.a = open.a, .b = open.b, .y = open.a, .n = WIDTH, .scale = scale};
}

static int enqueue(int n, float scale, struct error *err)
{
	struct add_params p = add_params(scale);
	int rc = 0;
	for (int i = 0; i < n && !rc; i++)
		rc = device_launch(open.d, KERNEL_add, &p, err);
	return rc;
}

/* ---- graphs ---- */

struct graphs {
	struct device_graph *g, *other; /* scales 1 and 0.5 */
	struct device_exec *x;
	struct step *step; /* of the device, where there is a patch: what it sets nodes by */
	int pos;           /* that the step has */
};

static int capture(int nodes, float scale, struct device_graph **g, struct error *err)
{
	int rc = device_capture_begin(open.d, DEVICE_GRAPH_PLAIN, err);
	if (rc)
		return rc;
	rc = enqueue(nodes, scale, err);
	if (rc) {
		device_capture_abort(open.d);
		return rc;
	}
	return device_capture_end(open.d, g, err);
}

static int set_vectors(struct error *err)
{
	static float zeros[WIDTH], ones[WIDTH];
	for (int i = 0; i < WIDTH; i++)
		ones[i] = 1;
	int rc = device_upload(open.d, open.a, zeros, sizeof zeros, err);
	return rc ? rc : device_upload(open.d, open.b, ones, sizeof ones, err);
}

/* first: of the first half of a. */
static int expect_halves(float first, float second, const char *what, struct error *err)
{
	float got[WIDTH];
	int rc = device_download(open.d, got, open.a, sizeof got, err);
	for (int i = 0; i < WIDTH && !rc; i++)
		if (got[i] != (i < WIDTH / 2 ? first : second)) /* small integers and halves: exact */
			rc = fail(err, what);
	return rc;
}

static int expect(float want, const char *what, struct error *err)
{
	return expect_halves(want, want, what, err);
}

/* Each way of running the nodes once, and what they add up to. */
static int make_graphs(const struct one *o, struct graphs *s, struct error *err)
{
	struct add_params half = add_params(0.5f), whole = add_params(1);
	int rc = set_vectors(err);
	rc = rc ? rc : capture(o->nodes, 1, &s->g, err);
	rc = rc ? rc : capture(o->nodes, 0.5f, &s->other, err);
	rc = rc ? rc : device_instantiate(open.d, s->g, &s->x, err);
	rc = rc ? rc : device_exec_upload(open.d, s->x, err);
	rc = rc ? rc : device_replay(open.d, s->x, err);
	rc = rc ? rc : expect((float)o->nodes, "a replay", err);
	rc = rc ? rc : device_exec_set_params(open.d, s->x, o->nodes - 1, &half, err);
	rc = rc ? rc : device_replay(open.d, s->x, err);
	rc = rc ? rc : expect((float)o->nodes, "a replay with a node updated", err); /* (2 n) / 2 */
	rc = rc ? rc : device_exec_set_params(open.d, s->x, o->nodes - 1, &whole, err);
	rc = rc ? rc : device_exec_update(open.d, s->x, s->g, err);
	rc = rc ? rc : set_vectors(err);
	rc = rc ? rc : device_replay(open.d, s->x, err);
	return rc ? rc : expect((float)o->nodes, "a replay after an update", err);
}

/* A patch and nodes that add whole vectors at the positions of the first bucket, and halves of them at later ones. */
static int capture_patched(int nodes, const struct step *step, struct device_graph **g, struct error *err)
{
	static const int widths[] = {WIDTH, WIDTH / 2};
	const struct patch_params patch = {.step = step, .keys = DEVICE_SPLIT_KEYS};
	const struct add_params p = add_params(1);
	int rc = device_capture_begin(open.d, DEVICE_GRAPH_PATCHED, err);
	if (rc)
		return rc;
	rc = device_launch(open.d, KERNEL_patch, &patch, err);
	for (int i = 0; i < nodes && !rc; i++) {
		device_vary(open.d, offsetof(struct add_params, n), widths, 2);
		rc = device_launch(open.d, KERNEL_add, &p, err);
	}
	if (rc) {
		device_capture_abort(open.d);
		return rc;
	}
	return device_capture_end(open.d, g, err);
}

/* The step that the next replay sees: in the other bucket, or again where it was. */
static int send_step(struct graphs *s, bool other, struct error *err)
{
	if (other)
		s->pos = s->pos ? 0 : DEVICE_SPLIT_KEYS;
	const struct step step = {.pos = s->pos};
	return device_send(open.d, s->step, &step, sizeof step, err);
}

/* Both buckets, each once after the other. */
static int make_patched(const struct one *o, struct graphs *s, struct error *err)
{
	void *step = NULL;
	int rc = device_alloc(open.d, sizeof *s->step, &step, err);
	s->step = step;
	rc = rc ? rc : capture_patched(o->nodes, s->step, &s->g, err);
	rc = rc ? rc : device_instantiate(open.d, s->g, &s->x, err);
	rc = rc ? rc : device_exec_upload(open.d, s->x, err);
	rc = rc ? rc : send_step(s, false, err);
	for (int i = 0; i < 3 && !rc; i++) {
		rc = set_vectors(err);
		rc = rc ? rc : device_replay(open.d, s->x, err);
		rc = rc ? rc
			: expect_halves((float)o->nodes, i % 2 ? 0 : (float)o->nodes,
					"a replay with its nodes updated on the device", err);
		rc = rc ? rc : send_step(s, true, err);
	}
	return rc ? rc : device_replay(open.d, s->x, err);
}

static void free_graphs(struct graphs *s)
{
	device_exec_destroy(open.d, s->x);
	device_graph_destroy(open.d, s->g);
	device_graph_destroy(open.d, s->other);
	device_free(open.d, s->step);
}

static double seconds_since(int64_t from)
{
	return (double)(clock_ns() - from) * 1e-9;
}

/* PASSES of the call; seconds of all of them. */
static int pass_graph(const struct one *o, struct graphs *s, double *seconds, struct error *err)
{
	struct add_params p = add_params(1);
	struct device_graph *g = NULL;
	struct device_exec *x = NULL;
	double us = 0;
	int rc = 0;
	*seconds = 0;
	for (int i = 0; i < PASSES && !rc; i++) {
		int64_t from = clock_ns();
		switch (o->call) {
		case CALL_CAPTURE:
			rc = capture(o->nodes, 1, &g, err);
			*seconds += seconds_since(from);
			device_graph_destroy(open.d, g);
			g = NULL;
			break;
		case CALL_INSTANTIATE:
			rc = device_instantiate(open.d, s->g, &x, err);
			*seconds += seconds_since(from);
			device_exec_destroy(open.d, x);
			x = NULL;
			break;
		case CALL_REPLAY_HOST:
			rc = device_replay(open.d, s->x, err);
			*seconds += seconds_since(from);
			rc = rc ? rc : device_synchronize(open.d, err);
			break;
		case CALL_REPLAY:
		case CALL_UPDATABLE:
		case CALL_PATCHED:
			/* One before it, while which the rest is submitted. */
			rc = device_replay(open.d, s->x, err);
			if (s->step)
				rc = rc ? rc : send_step(s, o->call == CALL_PATCHED, err);
			rc = rc ? rc : device_event_record(open.d, open.from, err);
			rc = rc ? rc : device_replay(open.d, s->x, err);
			rc = rc ? rc : device_event_record(open.d, open.to, err);
			rc = rc ? rc : device_synchronize(open.d, err);
			rc = rc ? rc : device_event_elapsed(open.d, open.from, open.to, &us, err);
			*seconds += us * 1e-6;
			break;
		case CALL_SET_PARAMS:
			rc = device_exec_set_params(open.d, s->x, i * o->nodes / PASSES, &p, err);
			*seconds += seconds_since(from);
			break;
		default:
			rc = device_exec_update(open.d, s->x, i % 2 ? s->g : s->other, err);
			*seconds += seconds_since(from);
		}
	}
	return rc;
}

static void graph_body(struct bench_state *s, const void *arg)
{
	const struct one *o = arg;
	struct graphs graphs = {0};
	struct error err = {""};
	double seconds;
	int rc = open_device(o->cuda, &err);
	if (!rc && o->cuda && device_cuda_set_pdl(open.d, o->pdl) != o->pdl) {
		bench_skip(s, "SKIP: programmatic dependent launch needs compute capability 9.0");
		return;
	}
	bool patched = o->call == CALL_UPDATABLE || o->call == CALL_PATCHED;
	if (!rc && patched && device_can_graph(open.d, DEVICE_GRAPH_PATCHED, &err)) {
		error_prefix(&err, ERROR_UNSUPPORTED, "SKIP: updates on the device");
		bench_skip(s, err.text);
		return;
	}
	rc = rc ? rc : patched ? make_patched(o, &graphs, &err) : make_graphs(o, &graphs, &err);
	while (!rc && bench_keep_running_batch(s, PASSES)) {
		rc = pass_graph(o, &graphs, &seconds, &err);
		bench_time(s, seconds);
	}
	if (open.d)
		free_graphs(&graphs);
	if (rc)
		bench_skip(s, err.text);
	else if (o->call == CALL_REPLAY || patched)
		bench_rate(s, "kernels/s", o->nodes + patched);
}

static void launch_body(struct bench_state *s, const void *arg)
{
	const struct one *o = arg;
	struct error err = {""};
	int rc = open_device(o->cuda, &err);
	if (!rc && o->cuda && device_cuda_set_pdl(open.d, o->pdl) != o->pdl) {
		bench_skip(s, "SKIP: programmatic dependent launch needs compute capability 9.0");
		return;
	}
	rc = rc ? rc : set_vectors(&err);
	rc = rc ? rc : enqueue(PASSES, 1, &err);
	rc = rc ? rc : expect(PASSES, "launches", &err);
	while (!rc && bench_keep_running_batch(s, PASSES)) {
		int64_t from = clock_ns();
		rc = enqueue(PASSES, 1, &err);
		bench_time(s, seconds_since(from));
		rc = rc ? rc : device_synchronize(open.d, &err);
	}
	if (rc)
		bench_skip(s, err.text);
}

/* ---- copies ---- */

struct copies {
	void *to, *from;                /* on the device */
	unsigned char *host, *returned; /* pages of this process */
};

static int make_copies(const struct one *o, struct copies *c, struct error *err)
{
	c->host = malloc(o->bytes);
	c->returned = malloc(o->bytes);
	if (!c->host || !c->returned)
		return error_set(err, ERROR_MEMORY, "no memory for copies of %zu bytes", o->bytes);
	for (size_t i = 0; i < o->bytes; i++)
		c->host[i] = (unsigned char)(i * 2654435761u >> 13);
	memset(c->returned, 0, o->bytes);
	int rc = device_alloc(open.d, o->bytes, &c->to, err);
	rc = rc ? rc : device_alloc(open.d, o->bytes, &c->from, err);
	if (o->call == CALL_SEND)
		rc = rc ? rc : device_send(open.d, c->from, c->host, o->bytes, err);
	else
		rc = rc ? rc : device_upload(open.d, c->from, c->host, o->bytes, err);
	rc = rc ? rc : device_copy(open.d, c->to, c->from, o->bytes, err);
	rc = rc ? rc : device_download(open.d, c->returned, c->to, o->bytes, err);
	return !rc && memcmp(c->host, c->returned, o->bytes) ? fail(err, "what copies brought back") : rc;
}

static int pass_copy(const struct one *o, const struct copies *c, double *seconds, struct error *err)
{
	double us = 0;
	int rc = 0;
	int64_t from = clock_ns();
	switch (o->call) {
	case CALL_SEND:
		for (int i = 0; i < PASSES && !rc; i++)
			rc = device_send(open.d, c->from, c->host, o->bytes, err);
		*seconds = seconds_since(from);
		return rc ? rc : device_synchronize(open.d, err);
	case CALL_UPLOAD:
		rc = device_upload(open.d, c->from, c->host, o->bytes, err);
		*seconds = seconds_since(from);
		return rc;
	case CALL_DOWNLOAD:
		rc = device_download(open.d, c->returned, c->to, o->bytes, err);
		*seconds = seconds_since(from);
		return rc;
	default:
		/* The first keeps the device busy while the others are submitted. */
		rc = device_copy(open.d, c->to, c->from, o->bytes, err);
		rc = rc ? rc : device_event_record(open.d, open.from, err);
		for (int i = 0; i < PASSES && !rc; i++)
			rc = device_copy(open.d, c->to, c->from, o->bytes, err);
		rc = rc ? rc : device_event_record(open.d, open.to, err);
		rc = rc ? rc : device_synchronize(open.d, err);
		rc = rc ? rc : device_event_elapsed(open.d, open.from, open.to, &us, err);
		*seconds = us * 1e-6;
		return rc;
	}
}

static void copy_body(struct bench_state *s, const void *arg)
{
	const struct one *o = arg;
	struct copies c = {0};
	struct error err = {""};
	double seconds = 0;
	int batch = o->call == CALL_UPLOAD || o->call == CALL_DOWNLOAD ? 1 : PASSES;
	int rc = open_device(o->cuda, &err);
	rc = rc ? rc : make_copies(o, &c, &err);
	while (!rc && bench_keep_running_batch(s, batch)) {
		rc = pass_copy(o, &c, &seconds, &err);
		bench_time(s, seconds);
	}
	if (open.d) {
		device_free(open.d, c.to);
		device_free(open.d, c.from);
	}
	free(c.host);
	free(c.returned);
	if (rc)
		bench_skip(s, err.text);
	else /* a copy on the device reads and writes */
		bench_rate(s, "bytes/s", (double)o->bytes * (o->call == CALL_COPY ? 2 : 1));
}

/* ---- registration ---- */

enum { ONES_MAX = 128 };
static struct one ones[ONES_MAX];
static int n_ones;

static void add(struct one o, void (*body)(struct bench_state *s, const void *arg))
{
	char name[128];
	const char *device = o.cuda ? "cuda" : "host", *pdl = !o.cuda ? "" : o.pdl ? "/pdl:on" : "/pdl:off";
	if (n_ones == ONES_MAX) {
		fprintf(stderr, "bench: more than %d calls; raise ONES_MAX\n", ONES_MAX);
		exit(2);
	}
	if (o.bytes)
		snprintf(name, sizeof name, "%s/%s/bytes:%zu", device, names[o.call], o.bytes);
	else if (o.nodes)
		snprintf(name, sizeof name, "%s/%s/nodes:%d%s", device, names[o.call], o.nodes, pdl);
	else
		snprintf(name, sizeof name, "%s/%s%s", device, names[o.call], pdl);
	ones[n_ones] = o;
	bench_register_timed(name, body, &ones[n_ones++]);
}

void device_bench_register(int cuda)
{
	static const int nodes[] = {100, 300, NODES_MAX};
	static const size_t bytes[] = {4, 64 << 10, 1 << 20, 64 << 20};
	for (int on = 0; on <= cuda; on++) {
		for (int pdl = on; pdl >= 0; pdl--) {
			add((struct one){.call = CALL_LAUNCH, .cuda = on, .pdl = pdl}, launch_body);
			/* The host's patch knows no node that is as it should be. */
			for (int call = CALL_CAPTURE; call <= (on ? CALL_PATCHED : CALL_UPDATE); call++)
				for (int i = 0; i < 3; i++)
					add((struct one){.call = (enum call)call,
							 .cuda = on,
							 .pdl = pdl,
							 .nodes = nodes[i]},
					    graph_body);
		}
		add((struct one){.call = CALL_SEND, .cuda = on, .bytes = 16}, copy_body);
		for (int call = CALL_UPLOAD; call <= CALL_COPY; call++)
			for (int i = 0; i < 4; i++)
				add((struct one){.call = (enum call)call, .cuda = on, .bytes = bytes[i]}, copy_body);
	}
}

int device_bench_close(void)
{
	close_device();
	return open.wrong;
}
