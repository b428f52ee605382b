/*
 * The front of every device: what a capture refuses and what a test lets fail is decided
 * here, once, and recordings and counters are kept; the implementation behind it does the work.
 */
#include "engine/device/device.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device/device_ops.h"

enum { VARIED_PARAMS_MAX = 256 };

/* ---- guards ---- */

void device_fail(struct device *d, enum device_fault step, int after, int times)
{
	d->faults[step] = (struct device_fault_plan){.after = after, .times = times};
}

/* Once a call of that step. */
static bool fault_due(struct device *d, enum device_fault step)
{
	struct device_fault_plan *f = &d->faults[step];
	if (f->times == 0)
		return false;
	if (f->after > 0) {
		f->after--;
		return false;
	}
	f->times--;
	return true;
}

int device_refuse(struct device *d, const char *call, struct error *err)
{
	if (!d->capture_failure[0])
		snprintf(d->capture_failure, sizeof d->capture_failure, "%s is not allowed while capturing", call);
	return error_set(err, ERROR_DEVICE, "%s device: %s is not allowed while capturing", d->ops->name, call);
}

/* All of them: 0 where the call may go on. */
static int guard_capture(struct device *d, const char *call, struct error *err)
{
	return d->capturing ? device_refuse(d, call, err) : 0;
}

static int guard(struct device *d, const char *call, enum device_fault step, struct error *err)
{
	if (d->capturing)
		return device_refuse(d, call, err);
	if (fault_due(d, step))
		return error_set(err, ERROR_DEVICE, "%s device: %s failed (injected)", d->ops->name, call);
	return 0;
}

static int guard_alloc(struct device *d, const char *call, size_t bytes, struct error *err)
{
	int rc = guard_capture(d, call, err);
	if (rc || !fault_due(d, DEVICE_FAULT_ALLOC))
		return rc;
	return error_set(err, ERROR_MEMORY, "%s device: out of memory: %zu bytes asked (injected)", d->ops->name,
			 bytes);
}

/* ---- the device and its memory ---- */

const char *device_name(const struct device *d)
{
	return d->ops->name;
}

bool device_has_host_memory(const struct device *d)
{
	return d->ops->host_memory;
}

struct device_splits device_splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim)
{
	return d->ops->splits(d, n_heads, n_kv_heads, head_dim);
}

int device_plan_persistent(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			   struct persistent_copy *copies, struct error *err)
{
	return d->ops->plan_persistent ? d->ops->plan_persistent(d, g, phases, copies, err) : 0;
}

struct device_counters device_counters(const struct device *d)
{
	return d->counters;
}

static void graph_free(struct device_graph *g)
{
	if (g) {
		recording_free(&g->rec);
		free(g->variants.all);
	}
	free(g);
}

void device_close(struct device *d)
{
	device_capture_abort(d);
	graph_free(d->spare);
	recording_free(&d->capture);
	free(d->variants.all);
	free(d->stamps.launches);
	d->ops->close(d);
}

int device_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	*out = NULL;
	int rc = guard_alloc(d, "alloc", bytes, err);
	return rc ? rc : d->ops->alloc(d, bytes, out, err);
}

int device_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err)
{
	*out = *host = NULL;
	int rc = guard_alloc(d, "alloc_mapped", bytes, err);
	return rc ? rc : d->ops->alloc_mapped(d, bytes, out, host, err);
}

void device_free(struct device *d, void *p)
{
	if (p && !guard_capture(d, "free", NULL))
		d->ops->free(d, p);
}

struct device_memory device_memory(struct device *d)
{
	return d->ops->memory(d);
}

void device_forget_peak(struct device *d)
{
	d->ops->forget_peak(d);
}

/* ---- the stream ---- */

int device_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	int rc = guard_capture(d, "upload", err);
	return rc ? rc : d->ops->upload(d, dst, src, bytes, err);
}

int device_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	int rc = guard_capture(d, "download", err);
	return rc ? rc : d->ops->download(d, dst, src, bytes, err);
}

int device_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	if (bytes == 0 || d->stamps.rehearsing)
		return 0;
	int rc = d->ops->copy(d, dst, src, bytes, err);
	if (rc || d->capturing)
		return rc;
	d->counters.api_launches++;
	d->counters.copies++;
	return 0;
}

int device_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	assert(bytes <= DEVICE_SEND_MAX);
	int rc = guard_capture(d, "send", err);
	if (rc || d->stamps.rehearsing || (rc = d->ops->send(d, dst, src, bytes, err)))
		return rc;
	d->counters.api_launches++;
	d->counters.copies++;
	return 0;
}

void device_vary(struct device *d, size_t offset, const int *values, int n)
{
	assert(n > 0 && n <= DEVICE_VARIANTS_MAX);
	if (!d->capturing || d->kind != DEVICE_GRAPH_PATCHED)
		return;
	d->vary.offset = offset;
	d->vary.n = n;
	memcpy(d->vary.values, values, (size_t)n * sizeof *values);
}

static struct device_variant *add_variant(struct device_variants *v)
{
	if (v->n == v->cap) {
		int cap = v->cap ? 2 * v->cap : 256;
		struct device_variant *grown = realloc(v->all, (size_t)cap * sizeof *grown);
		if (!grown)
			return NULL;
		v->all = grown;
		v->cap = cap;
	}
	return &v->all[v->n++];
}

/* Of the node that was recorded last. */
static int keep_variants(struct device *d, enum kernel k, const void *params, struct error *err)
{
	_Alignas(16) unsigned char with[VARIED_PARAMS_MAX];
	size_t bytes = kernel_params_bytes(k);
	int rc = 0;
	assert(bytes <= sizeof with);
	memcpy(with, params, bytes);
	for (int i = 0; i < d->vary.n && !rc; i++) {
		struct device_variant *v = add_variant(&d->variants);
		if (!v)
			return error_set(err, ERROR_MEMORY, "%s device: no memory for a graph's grids", d->ops->name);
		*v = (struct device_variant){.node = d->capture.n_nodes - 1,
					     .offset = (int)d->vary.offset,
					     .v = {.grid = {1, 1, 1}, .value = d->vary.values[i]}};
		memcpy(with + d->vary.offset, &v->v.value, sizeof v->v.value);
		if (d->ops->grid)
			rc = d->ops->grid(d, k, with, v->v.grid, err);
	}
	return rc;
}

int device_launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	int rc = d->ops->launch(d, k, params, err);
	if (!rc && d->vary.n)
		rc = keep_variants(d, k, params, err);
	d->vary.n = 0;
	return rc;
}

int device_synchronize(struct device *d, struct error *err)
{
	int rc = guard(d, "synchronize", DEVICE_FAULT_SYNCHRONIZE, err);
	return rc ? rc : d->ops->synchronize(d, err);
}

int device_wait_mark(struct device *d, const volatile struct loop_mark *m, struct error *err)
{
	enum { LOOKS = 1 << 14 }; /* at a mark, before the device is asked: some 10 us */
	int rc = guard(d, "wait_mark", DEVICE_FAULT_SYNCHRONIZE, err);
	while (!rc && !m->ns) {
		for (int i = 0; i < LOOKS && !m->ns; i++)
			;
		if (m->ns || (rc = d->ops->running(d, err)) > 0)
			rc = 0;
		else if (!rc && !m->ns)
			rc = error_set(err, ERROR_DEVICE, "%s device: a loop ended before the token that is waited for",
				       d->ops->name);
	}
	return rc;
}

int device_event_create(struct device *d, struct device_event **out, struct error *err)
{
	*out = NULL;
	int rc = guard_capture(d, "event_create", err);
	return rc ? rc : d->ops->event_create(d, out, err);
}

int device_event_record(struct device *d, struct device_event *e, struct error *err)
{
	int rc = guard_capture(d, "event_record", err);
	return rc ? rc : d->ops->event_record(d, e, err);
}

int device_event_wait(struct device *d, struct device_event *e, struct error *err)
{
	int rc = guard(d, "event_wait", DEVICE_FAULT_SYNCHRONIZE, err);
	return rc ? rc : d->ops->event_wait(d, e, err);
}

int device_event_elapsed(struct device *d, struct device_event *from, struct device_event *to, double *us,
			 struct error *err)
{
	return d->ops->event_elapsed(d, from, to, us, err);
}

void device_event_destroy(struct device *d, struct device_event *e)
{
	if (e)
		d->ops->event_destroy(d, e);
}

/* ---- graphs ---- */

int device_can_graph(const struct device *d, enum device_graph_kind kind, struct error *err)
{
	return d->ops->can_graph ? d->ops->can_graph(d, kind, err) : 0;
}

int device_capture_begin(struct device *d, enum device_graph_kind kind, struct error *err)
{
	int rc = guard(d, "capture_begin", DEVICE_FAULT_CAPTURE_BEGIN, err);
	if (rc || (rc = device_can_graph(d, kind, err)))
		return rc;
	d->kind = kind;
	if (d->ops->capture_begin && (rc = d->ops->capture_begin(d, err)))
		return rc;
	d->capturing = true;
	d->capture_failure[0] = 0;
	recording_clear(&d->capture);
	d->variants.n = d->vary.n = 0;
	return 0;
}

/* The capture as a graph: its recording changes places with that of the spare one. */
static int make_graph(struct device *d, struct device_graph **out, struct error *err)
{
	struct device_graph *g = d->spare ? d->spare : calloc(1, d->ops->graph_bytes);
	if (!g)
		return error_set(err, ERROR_MEMORY, "%s device: no memory for a graph", d->ops->name);
	struct recording room = g->rec;
	struct device_variants other = g->variants;
	g->rec = d->capture;
	g->kind = d->kind;
	g->variants = d->variants;
	d->capture = room;
	d->variants = other;
	d->spare = NULL;
	*out = g;
	return 0;
}

int device_capture_end(struct device *d, struct device_graph **out, struct error *err)
{
	struct device_graph *g = NULL;
	int rc;
	*out = NULL;
	if (!d->capturing)
		return error_set(err, ERROR_DEVICE, "%s device: capture_end without capture_begin", d->ops->name);
	if (d->capture_failure[0])
		rc = error_set(err, ERROR_DEVICE, "%s device: capture failed: %s", d->ops->name, d->capture_failure);
	else if (fault_due(d, DEVICE_FAULT_CAPTURE_END))
		rc = error_set(err, ERROR_DEVICE, "%s device: capture_end failed (injected)", d->ops->name);
	else
		rc = make_graph(d, &g, err);
	if (rc) {
		device_capture_abort(d);
		return rc;
	}
	d->capturing = false;
	if (d->ops->capture_end && (rc = d->ops->capture_end(d, g, err))) {
		d->spare = g;
		return rc;
	}
	*out = g;
	return 0;
}

void device_capture_abort(struct device *d)
{
	if (!d->capturing)
		return;
	d->capturing = false;
	if (d->ops->capture_abort)
		d->ops->capture_abort(d);
}

/* The patch's node, and what it sets of those behind it into out, where it is not null; returns how many. */
static int list_patched(struct device *d, struct device_exec *x, int *patch, struct patch_node *out)
{
	const struct recording *r = &x->graph->rec;
	const struct device_variants *v = &x->graph->variants;
	int n = 0, base = 0, next = 0;
	*patch = -1;
	for (int i = 0; i < r->n_nodes; i++) {
		int op = r->nodes[i].op, first = next;
		struct at at;
		if (op == KERNEL_patch) {
			*patch = i;
			base = ((const struct patch_params *)recording_params(r, i))->base;
		}
		while (next < v->n && v->all[next].node == i)
			next++;
		bool positional = op != RECORDED_COPY && kernel_positional((enum kernel)op);
		if (*patch < 0 || (!positional && first == next))
			continue;
		memcpy(&at, recording_params(r, i), sizeof at);
		if (out)
			out[n] = (struct patch_node){.node = d->ops->exec_patched(d, x, i),
						     .ahead = positional ? at.host.pos - base : 0,
						     .positional = positional,
						     .n_variants = next - first,
						     .first = first,
						     .offset = first < next ? v->all[first].offset : 0,
						     .bucket = -1};
		n++;
	}
	return n;
}

/* Tells a graph's patch which nodes it sets, before anything is replayed. */
static int connect_patch(struct device *d, struct device_exec *x, struct error *err)
{
	const struct device_variants *v = &x->graph->variants;
	int patch, n = list_patched(d, x, &patch, NULL);
	if (patch < 0 || !n)
		return 0;
	size_t bytes = (size_t)n * sizeof(struct patch_node) + (size_t)v->n * sizeof(struct patch_variant);
	struct patch_node *nodes = malloc(bytes), *on_device;
	void *room = NULL;
	if (!nodes)
		return error_set(err, ERROR_MEMORY, "%s device: no memory for %d patched nodes", d->ops->name, n);
	list_patched(d, x, &patch, nodes);
	struct patch_variant *variants = (struct patch_variant *)(nodes + n);
	for (int i = 0; i < v->n; i++)
		variants[i] = v->all[i].v;
	int rc = d->ops->alloc(d, bytes, &room, err);
	if (!rc) {
		struct patch_params p;
		memcpy(&p, recording_params(&x->graph->rec, patch), sizeof p);
		on_device = room;
		p.nodes = x->nodes = on_device;
		p.variants = (const struct patch_variant *)(on_device + n);
		x->n_patched = p.n = n;
		rc = d->ops->upload(d, on_device, nodes, bytes, err);
		if (!rc)
			rc = d->ops->exec_set_params(d, x, patch, &p, err);
	}
	free(nodes);
	return rc;
}

int device_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	*out = NULL;
	int rc = guard(d, "instantiate", DEVICE_FAULT_INSTANTIATE, err);
	if (rc || (rc = d->ops->instantiate(d, g, out, err)))
		return rc;
	struct device_exec *x = *out;
	x->graph = g;
	for (int i = 0; i < g->rec.n_nodes; i++) {
		if (g->rec.nodes[i].op == RECORDED_COPY)
			x->n_copies++;
		else
			x->n_kernels++;
	}
	if (g->kind != DEVICE_GRAPH_PATCHED || !(rc = connect_patch(d, x, err)))
		return 0;
	device_exec_destroy(d, x);
	*out = NULL;
	return rc;
}

int device_exec_upload(struct device *d, struct device_exec *x, struct error *err)
{
	int rc = guard(d, "exec_upload", DEVICE_FAULT_UPLOAD, err);
	return rc ? rc : d->ops->exec_upload(d, x, err);
}

int device_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err)
{
	const struct recording *r = &x->graph->rec;
	int rc = guard(d, "exec_set_params", DEVICE_FAULT_SET_PARAMS, err);
	if (rc)
		return rc;
	if (node < 0 || node >= r->n_nodes || r->nodes[node].op == RECORDED_COPY)
		return error_set(err, ERROR_DEVICE, "%s device: exec_set_params: node %d is no kernel node",
				 d->ops->name, node);
	rc = d->ops->exec_set_params(d, x, node, params, err);
	if (!rc)
		d->counters.node_updates++;
	return rc;
}

int device_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err)
{
	int rc = guard(d, "exec_update", DEVICE_FAULT_UPDATE, err);
	return rc ? rc : d->ops->exec_update(d, x, g, err);
}

int device_replay_loop(struct device *d, struct device_exec *x, int n, struct error *err)
{
	int rc = guard(d, "replay", DEVICE_FAULT_REPLAY, err);
	if (rc || (rc = d->ops->replay(d, x, err)))
		return rc;
	d->counters.api_launches++;
	d->counters.kernels += (uint64_t)x->n_kernels * (uint64_t)n;
	d->counters.copies += (uint64_t)x->n_copies * (uint64_t)n;
	d->counters.node_updates += (uint64_t)x->n_patched * (uint64_t)n;
	return 0;
}

int device_replay(struct device *d, struct device_exec *x, struct error *err)
{
	return device_replay_loop(d, x, 1, err);
}

void device_exec_destroy(struct device *d, struct device_exec *x)
{
	if (!x)
		return;
	struct patch_node *nodes = x->nodes;
	d->ops->exec_destroy(d, x);
	if (nodes)
		d->ops->free(d, nodes); /* waits for what is enqueued, a replay too */
}

void device_graph_destroy(struct device *d, struct device_graph *g)
{
	if (!g)
		return;
	if (d->ops->graph_destroy)
		d->ops->graph_destroy(d, g);
	if (d->spare)
		graph_free(g);
	else
		d->spare = g;
}

int device_graph_nodes(const struct device_graph *g)
{
	return g->rec.n_nodes;
}

const void *device_graph_node(const struct device_graph *g, int node, int *kernel)
{
	*kernel = g->rec.nodes[node].op;
	return recording_params(&g->rec, node);
}
