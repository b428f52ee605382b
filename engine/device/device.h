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
	uint64_t node_updates; /* nodes whose params were set in an instantiated graph, from the host or in it */
	uint64_t kernels;      /* kernels executed, replayed ones included */
	uint64_t copies;       /* copies executed, replayed ones included */
};

struct device_memory {
	size_t used; /* bytes allocated through this device now */
	size_t peak; /* the most that were since opening, or forget_peak */
	size_t free; /* bytes that the device could still give, as it says itself */
};

enum { DEVICE_SEND_MAX = 256 };

/* What a captured graph is to be. */
enum device_graph_kind {
	DEVICE_GRAPH_PLAIN,
	DEVICE_GRAPH_PATCHED,    /* KERNEL_patch in it sets the positional kernels behind it; device_exec_set_params no
				    more */
	DEVICE_GRAPH_WHILE,      /* KERNEL_advance ends it: it runs again, by a conditional node, while that goes on */
	DEVICE_GRAPH_RELAUNCHED, /* the same, by launching itself on the device */
	DEVICE_GRAPH_KINDS,
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

/* "host", "cuda" */
const char *device_name(const struct device *d);
/* Kernels read ordinary host memory at full speed: weights are used where the file is mapped. */
bool device_has_host_memory(const struct device *d);

/* How decode attention's keys are best shared out among splits, for a layer with these heads. */
struct device_splits {
	int unit;  /* a split's length is a multiple of this: the kernel's split_len */
	int keys;  /* fewer than this are not worth a split, where that can be chosen */
	int most;  /* splits; at most DEVICE_SPLITS_MAX where keys is less than DEVICE_SPLIT_KEYS */
	int fused; /* more than this are combined faster by a kernel of its own */
};
enum { DEVICE_SPLITS_MAX = 256, DEVICE_SPLIT_KEYS = 128 };
struct device_splits device_splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim);

/*
 * Lays a token's program out for this device: fills the plan of g, of its phases and of as many copies, which the host
 * has; they and what they point to may not be there yet. ERROR_UNSUPPORTED says why the device cannot run it.
 */
int device_plan_persistent(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			   struct persistent_copy *copies, struct error *err);

struct device_counters device_counters(const struct device *d);

/* Ends an open capture and waits for what is enqueued. What was allocated through d is gone with it. */
void device_close(struct device *d);

/* 64-byte aligned at least; contents undefined. */
int device_alloc(struct device *d, size_t bytes, void **out, struct error *err);
/*
 * Memory of the host that kernels and copies of this device reach where it is, slower: out for them, host for
 * the host, and for a device whose kernels read host memory. Freed as the other. Not where device_has_host_memory.
 */
int device_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err);
/* Waits for what is enqueued. p may be null. */
void device_free(struct device *d, void *p);
struct device_memory device_memory(struct device *d);
/* The peak starts again from what is used now. */
void device_forget_peak(struct device *d);

/* Host to device, device to host: return when done. */
int device_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
int device_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
/* Device to device, enqueued. */
int device_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
/* At most DEVICE_SEND_MAX bytes of host memory, copied at the call, to the device, enqueued. */
int device_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
enum { DEVICE_VARIANTS_MAX = 24 };
/*
 * In a patched graph's capture: the kernel that is launched next has values[i] as the int at `offset` of its params,
 * and the grid that follows, where the step has at most DEVICE_SPLIT_KEYS << i keys; the last of them also for more.
 * Elsewhere nothing.
 */
void device_vary(struct device *d, size_t offset, const int *values, int n);
/* params: that kernel's struct, copied at the call. */
int device_launch(struct device *d, enum kernel k, const void *params, struct error *err);
int device_synchronize(struct device *d, struct error *err);

/* What a kernel does of a model, in the caller's numbers; the device passes it on. */
struct device_label {
	int kind;
	int layer;
};
/* Of the kernels that are launched from here on. */
void device_set_label(struct device *d, struct device_label label);

enum device_stamp {
	DEVICE_STAMP_ENTERED, /* a multiprocessor has the first of its blocks, which asks for weights and waits */
	DEVICE_STAMP_INPUT,   /* all kernels in front are complete */
	DEVICE_STAMP_LEFT,    /* its last block has stored its results, as far as the block's first thread can tell */
	DEVICE_STAMPS,
};
/* When each multiprocessor had blocks of each kernel. */
struct device_stamps {
	int n_rows; /* multiprocessors that had any; 1 on the host device */
	int n_launches;
	struct device_label *labels; /* (n_launches) */
	int *multiprocessors;        /* (n_rows); -1: none, as on the host */
	int64_t *ns;                 /* (n_rows, n_launches, DEVICE_STAMPS), since the earliest; -1: it had none */
};
/*
 * Until device_stamps_end the kernels that are launched, and those of graphs that are captured meanwhile, leave time
 * stamps: they are compiled once more for that, with the same arithmetic. Such a graph is replayed once, before the
 * end.
 */
int device_stamps_begin(struct device *d, struct error *err);
/*
 * Behind begin. While on, what is launched, copied and sent is not: kernels are compiled and loaded instead, which
 * would leave a gap in the stamps. Refused in a capture.
 */
int device_stamps_rehearse(struct device *d, bool on, struct error *err);
/* Waits for what is enqueued. Also where it fails no kernel leaves any from here on. The caller frees *out. */
int device_stamps_end(struct device *d, struct device_stamps *out, struct error *err);
/* Also valid on a zeroed struct. */
void device_stamps_free(struct device_stamps *s);
/* Returns when work that is enqueued has set m, in the host's memory; the host waits in a loop. */
int device_wait_mark(struct device *d, const volatile struct loop_mark *m, struct error *err);

int device_event_create(struct device *d, struct device_event **out, struct error *err);
int device_event_record(struct device *d, struct device_event *e, struct error *err);
/* Returns when the recorded event is reached: what was enqueued before it is done. */
int device_event_wait(struct device *d, struct device_event *e, struct error *err);
/* Both recorded and reached; microseconds. */
int device_event_elapsed(struct device *d, struct device_event *from, struct device_event *to, double *us,
			 struct error *err);
/* e may be null. */
void device_event_destroy(struct device *d, struct device_event *e);

/* Whether this device and its driver have such graphs: ERROR_UNSUPPORTED says what they lack. */
int device_can_graph(const struct device *d, enum device_graph_kind kind, struct error *err);
int device_capture_begin(struct device *d, enum device_graph_kind kind, struct error *err);
/* Fails, and leaves nothing behind, where anything refused happened since begin. */
int device_capture_end(struct device *d, struct device_graph **out, struct error *err);
/* Ends a capture, keeping nothing. Also valid when none is open. */
void device_capture_abort(struct device *d);
int device_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err);
/* Moves what a replay needs to the device, so that the first replay does not pay for it. */
int device_exec_upload(struct device *d, struct device_exec *x, struct error *err);
/* New params for the node; takes effect for replays enqueued after it. */
int device_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err);
/* All params from a graph of the same topology; ERROR_UNSUPPORTED where it differs. */
int device_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err);
int device_replay(struct device *d, struct device_exec *x, struct error *err);
/* The same of a graph that goes on n times, as far as the state that it begins with says. */
int device_replay_loop(struct device *d, struct device_exec *x, int n, struct error *err);
/* x and g may be null. */
void device_exec_destroy(struct device *d, struct device_exec *x);
void device_graph_destroy(struct device *d, struct device_graph *g);

/* The nodes of a recorded graph, in the order of recording. kernel is -1 for a copy; params lives as g does. */
int device_graph_nodes(const struct device_graph *g);
const void *device_graph_node(const struct device_graph *g, int node, int *kernel);

/* The call number `after` (0: the next) of that step fails, and `times` ones from it on. */
void device_fail(struct device *d, enum device_fault step, int after, int times);

/* Size of a kernel's params struct, its name, and whether it depends on the position. */
size_t kernel_params_bytes(enum kernel k);
const char *kernel_name(enum kernel k);
bool kernel_positional(enum kernel k);

#endif
