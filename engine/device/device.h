/*
 * The one switch between backends: an in-order stream of work on a device, its
 * memory, and graphs recorded from that stream.
 *
 * Work is asynchronous: launch, copy and replay only enqueue, and return before the
 * work is done. synchronize waits for all of it. What a failed kernel says may
 * therefore come from a later call. A device belongs to one thread.
 *
 * Capture: between capture_begin and capture_end launches and device-side copies are
 * recorded and not run. Allocation, free, synchronize, upload, download and events are
 * refused (ERROR_DEVICE) and end the capture as failed.
 *
 * Every call that can fail returns 0 or a negative code and fills err.
 */
#ifndef GEMMARK_ENGINE_DEVICE_DEVICE_H
#define GEMMARK_ENGINE_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/params.h"

struct device;
struct device_event;
struct device_graph; /* recorded; must outlive what was instantiated from it */
struct device_exec;  /* instantiated: can be replayed */

/* Running totals since the device was opened; differences are what rows record. */
struct device_counters {
	uint64_t api_launches; /* calls that enqueue work: kernels, copies, replays */
	uint64_t node_updates; /* nodes whose params were set in an instantiated graph */
	uint64_t kernels;      /* kernels executed, replayed ones included */
	uint64_t copies;       /* copies executed, replayed ones included */
};

struct device_memory {
	size_t used; /* bytes allocated through this device now */
	size_t peak; /* the most that were since opening, or forget_peak */
	size_t free; /* bytes that the device could still give, as it says itself */
};

struct device_ops {
	const char *name; /* "host", "cuda" */
	/* Kernels read ordinary host memory at full speed: weights are used where the file is mapped. */
	bool host_memory;

	void (*close)(struct device *d);
	/* 64-byte aligned at least; contents undefined. */
	int (*alloc)(struct device *d, size_t bytes, void **out, struct error *err);
	/*
	 * Memory of the host that kernels and copies of this device reach where it is, slower: out for them, host for
	 * the host, and for a device whose kernels read host memory. Freed as the other. Null where host_memory.
	 */
	int (*alloc_mapped)(struct device *d, size_t bytes, void **out, void **host, struct error *err);
	void (*free)(struct device *d, void *p);
	struct device_memory (*memory)(struct device *d);
	/* The peak starts again from what is used now. */
	void (*forget_peak)(struct device *d);

	/* Host to device, device to host: return when done. */
	int (*upload)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	int (*download)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	/* Device to device, enqueued. */
	int (*copy)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	/* A few bytes of host memory (at most 256, copied at the call) to the device, enqueued. */
	int (*send)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	/* params: that kernel's struct, copied at the call. */
	int (*launch)(struct device *d, enum kernel k, const void *params, struct error *err);
	int (*synchronize)(struct device *d, struct error *err);

	int (*event_create)(struct device *d, struct device_event **out, struct error *err);
	int (*event_record)(struct device *d, struct device_event *e, struct error *err);
	/* Returns when the recorded event is reached: what was enqueued before it is done. */
	int (*event_wait)(struct device *d, struct device_event *e, struct error *err);
	/* Both recorded and reached; microseconds. */
	int (*event_elapsed)(struct device *d, struct device_event *from, struct device_event *to, double *us,
			     struct error *err);
	void (*event_destroy)(struct device *d, struct device_event *e);

	int (*capture_begin)(struct device *d, struct error *err);
	/* Fails, and leaves nothing behind, where anything refused happened since begin. */
	int (*capture_end)(struct device *d, struct device_graph **out, struct error *err);
	/* Ends a capture, keeping nothing. Also valid when none is open. */
	void (*capture_abort)(struct device *d);
	int (*instantiate)(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err);
	/* Moves what a replay needs to the device, so that the first replay does not pay for it. */
	int (*exec_upload)(struct device *d, struct device_exec *x, struct error *err);
	/* New params for the node; takes effect for replays enqueued after it. */
	int (*exec_set_params)(struct device *d, struct device_exec *x, int node, const void *params,
			       struct error *err);
	/* All params from a graph of the same topology; ERROR_UNSUPPORTED where it differs. */
	int (*exec_update)(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err);
	int (*replay)(struct device *d, struct device_exec *x, struct error *err);
	void (*exec_destroy)(struct device *d, struct device_exec *x);
	void (*graph_destroy)(struct device *d, struct device_graph *g);

	/* The nodes of a recorded graph, in the order of recording. kernel is -1 for a copy; params lives as g does. */
	int (*graph_nodes)(struct device_graph *g);
	const void *(*graph_node)(struct device_graph *g, int node, int *kernel);
};

/* The steps that tests can make fail. */
enum device_fault {
	DEVICE_FAULT_CAPTURE_BEGIN,
	DEVICE_FAULT_CAPTURE_END,
	DEVICE_FAULT_INSTANTIATE,
	DEVICE_FAULT_UPLOAD,
	DEVICE_FAULT_SET_PARAMS,
	DEVICE_FAULT_UPDATE,
	DEVICE_FAULT_REPLAY,
	DEVICE_FAULT_ALLOC,
	DEVICE_FAULT_SYNCHRONIZE, /* also event_wait: where a device that is gone is noticed */
	DEVICE_FAULT_COUNT,
};

struct device_fault_plan {
	int after;
	int times;
};

/* Implementations put this first. */
struct device {
	const struct device_ops *ops;
	struct device_counters counters;
	struct device_fault_plan faults[DEVICE_FAULT_COUNT];
};

/* The call number `after` (0: the next) of that step fails, and `times` ones from it on. */
void device_fail(struct device *d, enum device_fault step, int after, int times);
/* For implementations, once a call of that step: whether it must fail. */
bool device_fault_due(struct device *d, enum device_fault step);

/* Size of a kernel's params struct, its name, and whether it depends on the position. */
size_t kernel_params_bytes(enum kernel k);
const char *kernel_name(enum kernel k);
bool kernel_positional(enum kernel k);

/* ---- the host device ---- */

/* Runs kernels/cpu on n_threads OpenMP threads (0: one a physical core that this process may use; cpu_share.h). */
int device_host_open(struct device **out, int n_threads, struct error *err);
int device_host_threads(const struct device *d);

/* Bytes of memory that this machine could still give, the page cache's included; 0: unknown. */
size_t device_host_available(void);

/* Time of each kernel, where one is kept. The last place is that of copies. */
struct device_host_profile {
	uint64_t ns[KERNEL_COUNT + 1];
	uint64_t calls[KERNEL_COUNT + 1];
};
/* Adds to *p, the caller's, what is executed from now on; null stops it. Two looks at the clock a kernel. */
void device_host_profile(struct device *d, struct device_host_profile *p);

/* Instruction set that the kernels use here: "avx512", "avx2", "portable". */
const char *device_host_isa(void);
/* Read bandwidth of this machine's memory in bytes/s, n_threads reading a buffer of `bytes`; 0: it does not fit. */
double device_host_read_bandwidth(size_t bytes, int n_threads, int passes);

#endif
