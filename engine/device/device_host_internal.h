/* The host device's parts, shared by the device_host*.c files alone. */
#ifndef GEMMARK_ENGINE_DEVICE_DEVICE_HOST_INTERNAL_H
#define GEMMARK_ENGINE_DEVICE_DEVICE_HOST_INTERNAL_H

#include "engine/device/device_host.h"
#include "engine/device/device_ops.h"
#include "kernels/cpu/team.h"

/* What the queue holds beside kernels and copies. */
enum { QUEUED_SEND = RECORDED_COPY - 1, QUEUED_REPLAY = RECORDED_COPY - 2, QUEUED_EVENT = RECORDED_COPY - 3 };

/* The params of a copy and of a send. */
struct host_copy {
	void *dst;
	const void *src; /* null for a send: the bytes follow */
	size_t bytes;
};

struct host_exec {
	struct device_exec base;
	struct recording rec;           /* the graph's, with params of its own */
	const struct loop_state *state; /* of one that loops; null: it runs once */
	bool queued;                    /* in the stream's queue and not run yet */
};

struct host_allocation {
	void *p;
	size_t bytes;
};

/* When kernels ran, while stamps are taken. */
struct host_stamps {
	struct host_span {
		int64_t begun, ended;
	} * spans; /* (cap) */
	int n, cap;
	bool lost; /* there was no memory for one */
};

struct host_device {
	struct device base;
	int n_threads;
	struct cpu_team *team;               /* null: one thread */
	struct device_host_profile *profile; /* the caller's; null: none */
	enum host_products products;
	struct host_stamps *stamps; /* null: none are taken */
	struct recording queue;
	struct host_allocation *allocations;
	size_t n_allocations, cap_allocations;
	size_t used, peak;
};

static inline struct host_device *host_of(struct device *d)
{
	return (struct host_device *)d;
}

/* Runs what is queued. */
void host_drain(struct host_device *h);
int host_out_of_memory(const char *what, struct error *err);

/* device_host_stamps.c */
int host_stamps_begin(struct device *d, struct error *err);
int host_stamps_end(struct device *d, struct device_stamps *out, struct error *err);
/* A kernel that begun then is done. */
void host_stamp(struct host_stamps *s, int64_t begun);

/* device_host_memory.c */
void host_memory_close(struct host_device *h);
int host_alloc(struct device *d, size_t bytes, void **out, struct error *err);
void host_free(struct device *d, void *p);
struct device_memory host_memory(struct device *d);
void host_forget_peak(struct device *d);
int host_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
int host_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);

/* device_host_graph.c */
int host_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err);
int host_exec_upload(struct device *d, struct device_exec *x, struct error *err);
int host_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err);
int host_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err);
void *host_exec_patched(struct device *d, struct device_exec *x, int node);
int host_replay(struct device *d, struct device_exec *x, struct error *err);
void host_exec_destroy(struct device *d, struct device_exec *x);

#endif
