/* The host device's execution, its stream and events, and its vtable. Memory and graphs are in device_host_*.c. */
#include "engine/device/device_host.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/device/cpu_share.h"
#include "engine/device/device_host_internal.h"
#include "kernels/cpu/cpu.h"

struct device_event {
	int64_t ns; /* 0: not reached */
};

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

static void note(struct device_host_profile *p, int op, int64_t since)
{
	int k = op >= 0 ? op : KERNEL_COUNT;
	p->ns[k] += (uint64_t)(clock_ns() - since);
	p->calls[k]++;
}

static void run(const struct recording *r, struct host_device *h)
{
	struct device_host_profile *profile = h->profile;
	for (int i = 0; i < r->n_nodes; i++) {
		int op = r->nodes[i].op;
		const void *params = recording_params(r, i);
		int64_t since = profile || h->stamps ? clock_ns() : 0;
		switch (op) {
		case RECORDED_COPY: {
			const struct host_copy *c = params;
			memmove(c->dst, c->src, c->bytes);
			break;
		}
		case QUEUED_SEND: {
			const struct host_copy *c = params;
			memcpy(c->dst, c + 1, c->bytes);
			break;
		}
		case QUEUED_REPLAY: {
			struct host_exec *x;
			memcpy(&x, params, sizeof x);
			do
				run(&x->rec, h);
			while (x->state && x->state->go);
			x->queued = false;
			break;
		}
		case QUEUED_EVENT: {
			struct device_event *e;
			memcpy(&e, params, sizeof e);
			e->ns = clock_ns();
			break;
		}
		default:
			functions[op](params);
			if (h->stamps)
				host_stamp(h->stamps, since);
		}
		if (profile && op != QUEUED_REPLAY && op != QUEUED_EVENT)
			note(profile, op, since);
	}
}

void host_drain(struct host_device *h)
{
	if (h->queue.n_nodes == 0)
		return;
	cpu_team_use(h->team);
	cpu_bf16_use(h->products == HOST_PRODUCTS_BF16);
	run(&h->queue, h);
	cpu_bf16_use(0);
	cpu_team_use(NULL);
	recording_clear(&h->queue);
}

int host_out_of_memory(const char *what, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "host device: no memory for %s", what);
}

/* ---- the stream ---- */

static struct recording *stream(struct host_device *h)
{
	return h->base.capturing ? &h->base.capture : &h->queue;
}

static int host_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct host_copy *c = recording_add(stream(host_of(d)), RECORDED_COPY, sizeof *c);
	if (!c)
		return host_out_of_memory("a copy", err);
	*c = (struct host_copy){.dst = dst, .src = src, .bytes = bytes};
	return 0;
}

static int host_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct host_copy *c = recording_add(&host_of(d)->queue, QUEUED_SEND, sizeof *c + bytes);
	if (!c)
		return host_out_of_memory("a send", err);
	*c = (struct host_copy){.dst = dst, .bytes = bytes};
	memcpy(c + 1, src, bytes);
	return 0;
}

static int host_launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	size_t bytes = kernel_params_bytes(k);
	if (d->stamps.rehearsing)
		return 0;
	void *to = recording_add(stream(host_of(d)), k, bytes);
	if (!to)
		return host_out_of_memory(kernel_name(k), err);
	memcpy(to, params, bytes);
	if (!d->capturing) {
		d->counters.api_launches++;
		d->counters.kernels++;
	}
	return device_note_launch(d, 1, err);
}

static int host_synchronize(struct device *d, struct error *err)
{
	(void)err;
	host_drain(host_of(d));
	return 0;
}

static int host_running(struct device *d, struct error *err)
{
	return host_synchronize(d, err);
}

/* ---- events ---- */

static int host_event_create(struct device *d, struct device_event **out, struct error *err)
{
	(void)d;
	*out = calloc(1, sizeof **out);
	return *out ? 0 : host_out_of_memory("an event", err);
}

static int host_event_record(struct device *d, struct device_event *e, struct error *err)
{
	e->ns = 0;
	void *to = recording_add(&host_of(d)->queue, QUEUED_EVENT, sizeof(struct device_event *));
	if (!to)
		return host_out_of_memory("an event", err);
	memcpy(to, &e, sizeof(struct device_event *));
	return 0;
}

static int host_event_wait(struct device *d, struct device_event *e, struct error *err)
{
	if (!e->ns)
		host_drain(host_of(d));
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
	host_drain(host_of(d));
	free(e);
}

/* ---- opening ---- */

/* Long enough to amortise the combine, short enough to spread a window of 512 over several cores. */
static struct device_splits host_splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim)
{
	(void)d, (void)n_heads, (void)n_kv_heads, (void)head_dim;
	return (struct device_splits){
		.unit = DEVICE_SPLIT_KEYS, .keys = DEVICE_SPLIT_KEYS, .most = INT_MAX, .fused = INT_MAX};
}

static void host_close(struct device *d)
{
	struct host_device *h = host_of(d);
	host_drain(h);
	host_memory_close(h);
	if (h->stamps)
		free(h->stamps->spans);
	free(h->stamps);
	recording_free(&h->queue);
	cpu_team_close(h->team);
	free(h);
}

static const struct device_ops host_ops = {
	.name = "host",
	.host_memory = true,
	.splits = host_splits,
	.graph_bytes = sizeof(struct device_graph),
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
	.stamps_begin = host_stamps_begin,
	.stamps_end = host_stamps_end,
	.running = host_running,
	.event_create = host_event_create,
	.event_record = host_event_record,
	.event_wait = host_event_wait,
	.event_elapsed = host_event_elapsed,
	.event_destroy = host_event_destroy,
	.instantiate = host_instantiate,
	.exec_patched = host_exec_patched,
	.exec_upload = host_exec_upload,
	.exec_set_params = host_exec_set_params,
	.exec_update = host_exec_update,
	.replay = host_replay,
	.exec_destroy = host_exec_destroy,
};

int device_host_open(struct device **out, int n_threads, struct error *err)
{
	struct host_device *h = calloc(1, sizeof *h);
	*out = NULL;
	if (!h)
		return host_out_of_memory("the device", err);
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

static const char *const products_names[] = {"f32", "bf16"};

const char *host_products_name(enum host_products p)
{
	return products_names[p];
}

int host_products_parse(const char *name)
{
	for (int p = 0; p < 2; p++)
		if (!strcmp(name, products_names[p]))
			return p;
	return -1;
}

int device_host_can_products(enum host_products p, struct error *err)
{
	if (p == HOST_PRODUCTS_BF16 && !cpu_has_bf16())
		return error_set(err, ERROR_UNSUPPORTED,
				 "host products in bf16: this processor has no AVX512_BF16; use f32");
	return 0;
}

int device_host_set_products(struct device *d, enum host_products p, struct error *err)
{
	int rc = device_host_can_products(p, err);
	if (rc)
		return rc;
	host_drain(host_of(d));
	host_of(d)->products = p;
	return 0;
}

void device_host_profile(struct device *d, struct device_host_profile *p)
{
	host_of(d)->profile = p;
}

const char *device_host_isa(void)
{
	return cpu_isa_name(cpu_isa_current());
}

double device_host_read_bandwidth(size_t bytes, int n_threads, int passes)
{
	return cpu_read_bandwidth(bytes, n_threads, passes);
}
