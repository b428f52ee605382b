/*
 * The host device: the kernels as C functions on this machine's cores.
 *
 * It is a stream like a GPU's: launches, copies and replays only copy their params
 * into a queue; synchronize, and whatever needs a result, runs the queue. So the time
 * to enqueue (host cost) and the time to execute are two things here too, and graph
 * code meets the rules of a real device: params are copied when recorded, a capture
 * refuses what CUDA refuses, node updates touch only later replays, and any step can
 * be made to fail.
 */
#include <assert.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "engine/device/cpu_share.h"
#include "engine/device/device_ops.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

enum node_kind { NODE_KERNEL, NODE_COPY, NODE_SEND, NODE_REPLAY, NODE_EVENT };

struct copy_node {
	void *dst;
	const void *src; /* null for a send: the bytes follow */
	size_t bytes;
};

struct node {
	enum node_kind kind;
	int kernel;    /* NODE_KERNEL */
	size_t offset; /* of the params in bytes[] */
};

/* A list of nodes and their params: the stream's queue, a graph, an executable graph. */
struct recording {
	struct node *nodes;
	int n_nodes;
	int cap_nodes;
	unsigned char *bytes;
	size_t n_bytes;
	size_t cap_bytes;
};

struct device_graph {
	struct recording rec;
};

struct device_exec {
	struct recording rec;
	bool queued; /* in the stream's queue and not run yet */
	int n_kernels;
	int n_copies;
};

struct device_event {
	int64_t ns; /* 0: not reached */
};

struct allocation {
	void *p;
	size_t bytes;
};

struct host_device {
	struct device base;
	int n_threads;
	struct cpu_team *team;               /* null: one thread */
	struct device_host_profile *profile; /* the caller's; null: none */
	struct recording queue;
	struct recording capture;
	struct device_graph *spare; /* destroyed, its memory kept for the next capture: one a token in graph-update */
	struct allocation *allocations;
	size_t n_allocations;
	size_t cap_allocations;
	size_t used;
	size_t peak;
};

static struct host_device *host(struct device *d)
{
	return (struct host_device *)d;
}

/* ---- recordings ---- */

static void recording_free(struct recording *r)
{
	free(r->nodes);
	free(r->bytes);
	*r = (struct recording){0};
}

static void *recording_add(struct recording *r, enum node_kind kind, int kernel, size_t bytes)
{
	if (r->n_nodes == r->cap_nodes) {
		int cap = r->cap_nodes ? 2 * r->cap_nodes : 1024;
		struct node *nodes = realloc(r->nodes, (size_t)cap * sizeof *nodes);
		if (!nodes)
			return NULL;
		r->nodes = nodes;
		r->cap_nodes = cap;
	}
	size_t room = (bytes + 15) & ~(size_t)15;
	if (r->n_bytes + room > r->cap_bytes) {
		size_t cap = r->cap_bytes ? 2 * r->cap_bytes : 256 << 10;
		while (cap < r->n_bytes + room)
			cap *= 2;
		unsigned char *grown = realloc(r->bytes, cap);
		if (!grown)
			return NULL;
		r->bytes = grown;
		r->cap_bytes = cap;
	}
	r->nodes[r->n_nodes++] = (struct node){.kind = kind, .kernel = kernel, .offset = r->n_bytes};
	void *params = r->bytes + r->n_bytes;
	r->n_bytes += room;
	return params;
}

static int recording_copy(struct recording *to, const struct recording *from)
{
	*to = (struct recording){0};
	to->nodes = malloc((size_t)(from->n_nodes ? from->n_nodes : 1) * sizeof *to->nodes);
	to->bytes = malloc(from->n_bytes ? from->n_bytes : 1);
	if (!to->nodes || !to->bytes) {
		recording_free(to);
		return -1;
	}
	if (from->n_nodes) {
		memcpy(to->nodes, from->nodes, (size_t)from->n_nodes * sizeof *to->nodes);
		memcpy(to->bytes, from->bytes, from->n_bytes);
	}
	to->n_nodes = to->cap_nodes = from->n_nodes;
	to->n_bytes = to->cap_bytes = from->n_bytes;
	return 0;
}

/* ---- execution ---- */

typedef void kernel_function(const void *params);

#define X(name, positional)                        \
	static void run_##name(const void *params) \
	{                                          \
		k_##name(params);                  \
	}
KERNEL_LIST(X)
#undef X

static kernel_function *const functions[KERNEL_COUNT] = {
#define X(name, positional) run_##name,
	KERNEL_LIST(X)
#undef X
};

static void note(struct device_host_profile *p, const struct node *n, int64_t since)
{
	int k = n->kind == NODE_KERNEL ? n->kernel : KERNEL_COUNT;
	p->ns[k] += (uint64_t)(clock_ns() - since);
	p->calls[k]++;
}

static void run(const struct recording *r, struct device_host_profile *profile)
{
	for (int i = 0; i < r->n_nodes; i++) {
		const struct node *n = &r->nodes[i];
		const void *params = r->bytes + n->offset;
		int64_t since = profile ? clock_ns() : 0;
		switch (n->kind) {
		case NODE_KERNEL:
			functions[n->kernel](params);
			break;
		case NODE_COPY: {
			const struct copy_node *c = params;
			memmove(c->dst, c->src, c->bytes);
			break;
		}
		case NODE_SEND: {
			const struct copy_node *c = params;
			memcpy(c->dst, c + 1, c->bytes);
			break;
		}
		case NODE_REPLAY: {
			struct device_exec *x;
			memcpy(&x, params, sizeof x);
			run(&x->rec, profile);
			x->queued = false;
			break;
		}
		case NODE_EVENT: {
			struct device_event *e;
			memcpy(&e, params, sizeof e);
			e->ns = clock_ns();
			break;
		}
		}
		if (profile && n->kind != NODE_REPLAY && n->kind != NODE_EVENT)
			note(profile, n, since);
	}
}

static void drain(struct host_device *h)
{
	if (h->queue.n_nodes == 0)
		return;
	omp_set_num_threads(h->n_threads);
	cpu_team_use(h->team);
	run(&h->queue, h->profile);
	cpu_team_use(NULL);
	h->queue.n_nodes = 0;
	h->queue.n_bytes = 0;
}

static int out_of_memory(const char *what, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "host device: no memory for %s", what);
}

static struct recording *stream(struct host_device *h)
{
	return h->base.capturing ? &h->capture : &h->queue;
}

/* ---- memory ---- */

size_t device_host_available(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	if (!f)
		return 0;
	size_t kb = 0;
	char line[128];
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %zu kB", &kb) == 1)
			break;
	fclose(f);
	return kb << 10;
}

static struct device_memory host_memory(struct device *d)
{
	struct host_device *h = host(d);
	return (struct device_memory){.used = h->used, .peak = h->peak, .free = device_host_available()};
}

static void host_forget_peak(struct device *d)
{
	host(d)->peak = host(d)->used;
}

static int host_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	struct host_device *h = host(d);
	if (h->n_allocations == h->cap_allocations) {
		size_t cap = h->cap_allocations ? 2 * h->cap_allocations : 256;
		struct allocation *a = realloc(h->allocations, cap * sizeof *a);
		if (!a)
			return out_of_memory("the list of allocations", err);
		h->allocations = a;
		h->cap_allocations = cap;
	}
	/* Linux promises memory that it does not have; ask before it kills the process. */
	size_t available = device_host_available();
	void *p = NULL;
	bool fits = bytes <= SIZE_MAX - HUGE_PAGE && (available == 0 || bytes <= available);
	if (fits) {
		size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
		p = aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
	}
	if (!p)
		return error_set(err, ERROR_MEMORY, "host device: out of memory: %zu bytes asked, %zu available", bytes,
				 available);
	if (bytes >= HUGE_PAGE)
		madvise(p, bytes, MADV_HUGEPAGE); /* advice only: small pages are slower, not wrong */
	h->allocations[h->n_allocations++] = (struct allocation){.p = p, .bytes = bytes};
	h->used += bytes;
	if (h->used > h->peak)
		h->peak = h->used;
	*out = p;
	return 0;
}

static void host_free(struct device *d, void *p)
{
	struct host_device *h = host(d);
	drain(h);
	for (size_t i = 0; i < h->n_allocations; i++) {
		if (h->allocations[i].p != p)
			continue;
		h->used -= h->allocations[i].bytes;
		h->allocations[i] = h->allocations[--h->n_allocations];
		free(p);
		return;
	}
	assert(!"freed memory that this device did not allocate");
}

static int host_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)err;
	drain(host(d));
	memcpy(dst, src, bytes);
	return 0;
}

static int host_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)err;
	drain(host(d));
	memcpy(dst, src, bytes);
	return 0;
}

/* ---- the stream ---- */

static int host_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct host_device *h = host(d);
	struct copy_node *c = recording_add(stream(h), NODE_COPY, -1, sizeof *c);
	if (!c)
		return out_of_memory("a copy", err);
	*c = (struct copy_node){.dst = dst, .src = src, .bytes = bytes};
	if (!d->capturing) {
		d->counters.api_launches++;
		d->counters.copies++;
	}
	return 0;
}

static int host_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct host_device *h = host(d);
	struct copy_node *c = recording_add(&h->queue, NODE_SEND, -1, sizeof *c + bytes);
	if (!c)
		return out_of_memory("a send", err);
	*c = (struct copy_node){.dst = dst, .bytes = bytes};
	memcpy(c + 1, src, bytes);
	d->counters.api_launches++;
	d->counters.copies++;
	return 0;
}

static int host_launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	struct host_device *h = host(d);
	size_t bytes = kernel_params_bytes(k);
	void *to = recording_add(stream(h), NODE_KERNEL, k, bytes);
	if (!to)
		return out_of_memory(kernel_name(k), err);
	memcpy(to, params, bytes);
	if (!d->capturing) {
		d->counters.api_launches++;
		d->counters.kernels++;
	}
	return 0;
}

static int host_synchronize(struct device *d, struct error *err)
{
	(void)err;
	drain(host(d));
	return 0;
}

static int host_event_create(struct device *d, struct device_event **out, struct error *err)
{
	(void)d;
	*out = calloc(1, sizeof **out);
	return *out ? 0 : out_of_memory("an event", err);
}

static int host_event_record(struct device *d, struct device_event *e, struct error *err)
{
	struct host_device *h = host(d);
	e->ns = 0;
	void *to = recording_add(&h->queue, NODE_EVENT, -1, sizeof(struct device_event *));
	if (!to)
		return out_of_memory("an event", err);
	memcpy(to, &e, sizeof(struct device_event *));
	return 0;
}

static int host_event_wait(struct device *d, struct device_event *e, struct error *err)
{
	if (!e->ns)
		drain(host(d));
	return e->ns ? 0 : error_set(err, ERROR_DEVICE, "host device: an event was not recorded yet");
}

static int host_event_elapsed(struct device *d, struct device_event *from, struct device_event *to, double *us,
			      struct error *err)
{
	(void)d;
	if (!from->ns || !to->ns)
		return error_set(err, ERROR_DEVICE, "host device: an event was not reached yet; synchronize first");
	*us = (double)(to->ns - from->ns) * 1e-3;
	return 0;
}

static void host_event_destroy(struct device *d, struct device_event *e)
{
	drain(host(d));
	free(e);
}

/* ---- graphs ---- */

static int host_capture_begin(struct device *d, struct error *err)
{
	struct host_device *h = host(d);
	(void)err;
	h->capture.n_nodes = 0;
	h->capture.n_bytes = 0;
	return 0;
}

static int host_capture_end(struct device *d, struct device_graph **out, struct error *err)
{
	struct host_device *h = host(d);
	struct device_graph *g = h->spare ? h->spare : calloc(1, sizeof *g);
	if (!g)
		return out_of_memory("a graph", err);
	h->spare = NULL;
	struct recording room = g->rec;
	g->rec = h->capture;
	h->capture = room;
	*out = g;
	return 0;
}

static void host_capture_abort(struct device *d)
{
	(void)d; /* the next capture drops what this one recorded */
}

static int host_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	(void)d;
	struct device_exec *x = calloc(1, sizeof *x);
	if (!x || recording_copy(&x->rec, &g->rec)) {
		free(x);
		return out_of_memory("an executable graph", err);
	}
	for (int i = 0; i < x->rec.n_nodes; i++) {
		if (x->rec.nodes[i].kind == NODE_KERNEL)
			x->n_kernels++;
		else
			x->n_copies++;
	}
	*out = x;
	return 0;
}

static int host_exec_upload(struct device *d, struct device_exec *x, struct error *err)
{
	(void)d, (void)x, (void)err; /* a replay reads the recording where it is */
	return 0;
}

static int host_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params,
				struct error *err)
{
	if (node < 0 || node >= x->rec.n_nodes || x->rec.nodes[node].kind != NODE_KERNEL)
		return error_set(err, ERROR_DEVICE, "host device: exec_set_params: node %d is no kernel node", node);
	if (x->queued)
		drain(host(d));
	const struct node *n = &x->rec.nodes[node];
	memcpy(x->rec.bytes + n->offset, params, kernel_params_bytes((enum kernel)n->kernel));
	d->counters.node_updates++;
	return 0;
}

static int host_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err)
{
	const struct recording *r = &g->rec;
	bool same = r->n_nodes == x->rec.n_nodes && r->n_bytes == x->rec.n_bytes;
	for (int i = 0; same && i < r->n_nodes; i++)
		same = r->nodes[i].kind == x->rec.nodes[i].kind && r->nodes[i].kernel == x->rec.nodes[i].kernel;
	if (!same)
		return error_set(err, ERROR_UNSUPPORTED, "host device: exec_update: the topology differs");
	if (x->queued)
		drain(host(d));
	memcpy(x->rec.bytes, r->bytes, r->n_bytes);
	return 0;
}

static int host_replay(struct device *d, struct device_exec *x, struct error *err)
{
	struct host_device *h = host(d);
	void *to = recording_add(&h->queue, NODE_REPLAY, -1, sizeof x);
	if (!to)
		return out_of_memory("a replay", err);
	memcpy(to, &x, sizeof x);
	x->queued = true;
	d->counters.api_launches++;
	d->counters.kernels += (uint64_t)x->n_kernels;
	d->counters.copies += (uint64_t)x->n_copies;
	return 0;
}

static void host_exec_destroy(struct device *d, struct device_exec *x)
{
	if (x->queued)
		drain(host(d));
	recording_free(&x->rec);
	free(x);
}

static void host_graph_destroy(struct device *d, struct device_graph *g)
{
	if (!host(d)->spare) {
		host(d)->spare = g;
		return;
	}
	recording_free(&g->rec);
	free(g);
}

static int host_graph_nodes(struct device_graph *g)
{
	return g->rec.n_nodes;
}

static const void *host_graph_node(struct device_graph *g, int node, int *kernel)
{
	const struct node *n = &g->rec.nodes[node];
	*kernel = n->kind == NODE_KERNEL ? n->kernel : -1;
	return g->rec.bytes + n->offset;
}

/* ---- opening ---- */

static void host_close(struct device *d)
{
	struct host_device *h = host(d);
	drain(h);
	for (size_t i = 0; i < h->n_allocations; i++)
		free(h->allocations[i].p);
	free(h->allocations);
	recording_free(&h->queue);
	recording_free(&h->capture);
	cpu_team_close(h->team);
	if (h->spare)
		recording_free(&h->spare->rec);
	free(h->spare);
	free(h);
}

static const struct device_ops host_ops = {
	.name = "host",
	.host_memory = true,
	.close = host_close,
	.alloc = host_alloc,
	.free = host_free,
	.memory = host_memory,
	.forget_peak = host_forget_peak,
	.upload = host_upload,
	.download = host_download,
	.copy = host_copy,
	.send = host_send,
	.launch = host_launch,
	.synchronize = host_synchronize,
	.event_create = host_event_create,
	.event_record = host_event_record,
	.event_wait = host_event_wait,
	.event_elapsed = host_event_elapsed,
	.event_destroy = host_event_destroy,
	.capture_begin = host_capture_begin,
	.capture_end = host_capture_end,
	.capture_abort = host_capture_abort,
	.instantiate = host_instantiate,
	.exec_upload = host_exec_upload,
	.exec_set_params = host_exec_set_params,
	.exec_update = host_exec_update,
	.replay = host_replay,
	.exec_destroy = host_exec_destroy,
	.graph_destroy = host_graph_destroy,
	.graph_nodes = host_graph_nodes,
	.graph_node = host_graph_node,
};

int device_host_open(struct device **out, int n_threads, struct error *err)
{
	struct host_device *h = calloc(1, sizeof *h);
	*out = NULL;
	if (!h)
		return out_of_memory("the device", err);
	h->base.ops = &host_ops;
	if (n_threads <= 0) {
		struct cpu_share share = cpu_share_read("", NULL);
		n_threads = cpu_share_threads(&share);
	}
	h->n_threads = n_threads;
	if (n_threads > 1 && !(h->team = cpu_team_open(n_threads))) {
		free(h);
		return error_set(err, ERROR_MEMORY, "host device: no %d threads to be had; use fewer", n_threads);
	}
	*out = &h->base;
	return 0;
}

int device_host_threads(const struct device *d)
{
	return ((const struct host_device *)d)->n_threads;
}

void device_host_profile(struct device *d, struct device_host_profile *p)
{
	host(d)->profile = p;
}

const char *device_host_isa(void)
{
	return cpu_isa_name(cpu_isa_current());
}

double device_host_read_bandwidth(size_t bytes, int n_threads, int passes)
{
	return cpu_read_bandwidth(bytes, n_threads, passes);
}
