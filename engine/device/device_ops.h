/*
 * What a device implements: the vtable behind the functions of device.h, for implementations
 * and for tests that stand in front of one.
 *
 * A call has the meaning, the arguments and the errors that device.h gives it. Callers go
 * through device.h alone. That front has refused what a capture or an injected failure
 * forbids, and has set outputs to null; an implementation does the work, and records into
 * base.capture instead of running while base.capturing.
 */
#ifndef GEMMARK_ENGINE_DEVICE_DEVICE_OPS_H
#define GEMMARK_ENGINE_DEVICE_DEVICE_OPS_H

#include "engine/device/device.h"
#include "engine/device/recording.h"

/* What device_vary said of nodes, in the order of recording. */
struct device_variants {
	struct device_variant {
		int node;
		int offset;
		struct patch_variant v;
	} * all;
	int n, cap;
};

/* Implementations put these three first in theirs. */
struct device_graph {
	struct recording rec; /* kernels and copies */
	enum device_graph_kind kind;
	struct device_variants variants;
};

struct device_exec {
	const struct device_graph *graph; /* that it was instantiated from */
	int n_kernels, n_copies;
	int n_patched;            /* nodes that one replay sets itself */
	struct patch_node *nodes; /* (n_patched), and their variants behind them, on the device; null: none */
};

struct device_fault_plan {
	int after;
	int times;
};

struct device {
	const struct device_ops *ops;
	/* Kept by the front, launches apart: a launch may be no kernel, or several. */
	struct device_counters counters;
	bool capturing;
	enum device_graph_kind kind; /* of the open capture */
	char capture_failure[128];   /* what was refused first since the capture began; empty: nothing */
	struct recording capture;    /* of the open one */
	struct device_variants variants;
	struct {
		size_t offset;
		int values[DEVICE_VARIANTS_MAX];
		int n; /* 0: the next kernel is as it is */
	} vary;
	struct device_label label;
	struct {
		bool on, rehearsing;
		struct device_launched {
			struct device_label label;
			unsigned n_blocks;
		} * launches; /* (cap) */
		int n, cap;
	} stamps;
	struct device_graph *spare; /* destroyed, its memory kept for the next capture: one a token in graph-update */
	struct device_fault_plan faults[DEVICE_FAULT_COUNT];
};

struct device_ops {
	const char *name;
	bool host_memory;
	struct device_splits (*splits)(const struct device *d, int n_heads, int n_kv_heads, int head_dim);
	/* null: it runs any program, and needs no plan. */
	int (*plan_persistent)(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			       struct persistent_copy *copies, struct error *err);
	size_t graph_bytes; /* of what holds this device's struct device_graph */

	void (*close)(struct device *d);
	int (*alloc)(struct device *d, size_t bytes, void **out, struct error *err);
	int (*alloc_mapped)(struct device *d, size_t bytes, void **out, void **host, struct error *err);
	void (*free)(struct device *d, void *p); /* p is not null */
	struct device_memory (*memory)(struct device *d);
	void (*forget_peak)(struct device *d);

	int (*upload)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	int (*download)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	int (*copy)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	int (*send)(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
	int (*launch)(struct device *d, enum kernel k, const void *params, struct error *err);
	/* The kernel's grid with these params; null: there are no grids. */
	int (*grid)(struct device *d, enum kernel k, const void *params, unsigned grid[3], struct error *err);
	int (*synchronize)(struct device *d, struct error *err);
	/*
	 * Rehearsing, launch makes the kernel ready to leave stamps, and no more. end: out->labels and n_launches are
	 * set, and the front still has the launches.
	 */
	int (*stamps_begin)(struct device *d, struct error *err);
	int (*stamps_end)(struct device *d, struct device_stamps *out, struct error *err);
	/* Of work that may set a mark: positive while it runs on its own, 0 when it is done; waits where nothing does.
	 */
	int (*running)(struct device *d, struct error *err);

	int (*event_create)(struct device *d, struct device_event **out, struct error *err);
	int (*event_record)(struct device *d, struct device_event *e, struct error *err);
	int (*event_wait)(struct device *d, struct device_event *e, struct error *err);
	int (*event_elapsed)(struct device *d, struct device_event *from, struct device_event *to, double *us,
			     struct error *err);
	void (*event_destroy)(struct device *d, struct device_event *e); /* e is not null */

	/*
	 * These five may be null: every kind is there, and the recording is all there is. base.capturing is set when
	 * begin has succeeded, and no longer when end or abort is called. g: with its recording and kind; else
	 * undefined.
	 */
	int (*can_graph)(const struct device *d, enum device_graph_kind kind, struct error *err);
	int (*capture_begin)(struct device *d, struct error *err);
	int (*capture_end)(struct device *d, struct device_graph *g, struct error *err);
	void (*capture_abort)(struct device *d);
	/* What the device holds beside the recording. */
	void (*graph_destroy)(struct device *d, struct device_graph *g);

	/* Leaves base to the front. */
	int (*instantiate)(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err);
	/* What a patch knows a node by, and the patch's own params, which nobody has replayed yet. */
	void *(*exec_patched)(struct device *d, struct device_exec *x, int node);
	int (*exec_upload)(struct device *d, struct device_exec *x, struct error *err);
	/* node: a kernel's */
	int (*exec_set_params)(struct device *d, struct device_exec *x, int node, const void *params,
			       struct error *err);
	int (*exec_update)(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err);
	int (*replay)(struct device *d, struct device_exec *x, struct error *err);
	void (*exec_destroy)(struct device *d, struct device_exec *x); /* x is not null */
};

/* While stamps are taken: a kernel of so many blocks was launched or captured. */
int device_note_launch(struct device *d, unsigned n_blocks, struct error *err);

/* For work that this device alone cannot do while capturing: ERROR_DEVICE, and the capture fails at its end. */
int device_refuse(struct device *d, const char *call, struct error *err);

#endif
