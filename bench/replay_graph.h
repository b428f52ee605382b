/*
 * Graphs of known shapes for gemmark_replay_cost: kernels that do nothing, or spin, and small copies, captured as the
 * engine's graphs are; and a gate that holds the stream while the host submits.
 *
 * Of the driver alone, so that nothing of the engine's bookkeeping is in the times.
 */
#ifndef GEMMARK_BENCH_REPLAY_GRAPH_H
#define GEMMARK_BENCH_REPLAY_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/cuda/cuda_driver.h"
#include "engine/cuda/nvrtc.h"

enum {
	REPLAY_BRANCHES_MAX = 8,
	REPLAY_COPY_EVERY = 10, /* nodes, of which one is a copy */
	REPLAY_SMALL_PARAMS = 32,
	REPLAY_LARGE_PARAMS = 256,
};

enum replay_shape {
	REPLAY_CHAIN,
	REPLAY_COPIES,   /* a chain, each REPLAY_COPY_EVERY-th node of which copies 4 bytes */
	REPLAY_PARALLEL, /* a node, branches of equal length side by side, a node */
	REPLAY_DIAMONDS, /* a chain of diamonds: a node, two side by side, a node */
	REPLAY_PATCHED,  /* a chain of device-updatable nodes, but for the first: a kernel that sets some of them */
};
/* "chain", "copies", "parallel", "diamonds", "patched" */
const char *replay_shape_name(enum replay_shape s);

/* What the first node of REPLAY_PATCHED sets, of each node that it does. */
enum replay_patch {
	REPLAY_PATCH_PARAM, /* cudaGraphKernelNodeSetParam: all of its parameters */
	REPLAY_PATCH_GRID,  /* cudaGraphKernelNodeSetGridDim */
	REPLAY_PATCHES,
};
/* "param", "grid" */
const char *replay_patch_name(enum replay_patch p);
enum { REPLAY_PATCH_ALL = -1 };

struct replay_spec {
	enum replay_shape shape;
	int nodes;
	int branches;     /* of REPLAY_PARALLEL */
	bool pdl;         /* programmatic edges between kernels; of chains */
	double spin_us;   /* of each kernel; 0: it ends at once */
	int params_bytes; /* REPLAY_SMALL_PARAMS or REPLAY_LARGE_PARAMS, of each kernel */
	bool mixed;       /* every second kernel is another one, with the other size of parameters and a larger grid */
	enum replay_patch patch;
	int n_patched; /* of REPLAY_PATCHED: nodes that are set, spread over the graph; at most nodes - 1, or
			  REPLAY_PATCH_ALL, which is that many */
};

/* The GPU, its kernels and streams. */
struct replay_gpu {
	struct cuda_driver cu;
	char name[128];
	int compute_capability, clock_khz, nvrtc_major, nvrtc_minor;
	int ordinal;
	struct cu_context *context;
	struct cu_module *module;
	struct cu_function *node_small, *node_large, *gate;
	struct cu_module *patch_module;
	struct cu_function *patch[REPLAY_PATCHES];
	struct error no_patch; /* what patched graphs need and is not here; empty: nothing */
	struct cu_stream *stream, *side[REPLAY_BRANCHES_MAX];
	struct cu_event *fork, *join; /* while capturing */
	struct cu_event *from, *to;   /* times */
	uint64_t count;               /* on the device: a counter, and at REPLAY_AT_* more */
	volatile unsigned *flags;     /* mapped: open, expired */
	uint64_t flags_on_device;
};

enum {
	REPLAY_AT_COPY_TO = 64, /* bytes behind the counter */
	REPLAY_AT_COPY_FROM = 128,
	REPLAY_AT_FAILED = 192, /* the code of a node that a patch could not set */
	REPLAY_COUNT_BYTES = 256,
};

struct replay_function {
	const char *name;
	struct cu_function **f; /* receives it */
};
/* Compiles and loads a module. The caller unloads *module, also after an error, where it is not null. */
int replay_gpu_load(struct replay_gpu *g, struct nvrtc *n, const struct nvrtc_source *unit,
		    const struct replay_function *wanted, int n_wanted, struct cu_module **module, struct error *err);

extern const struct nvrtc_source replay_graph_source;

/* ERROR_UNSUPPORTED, "no GPU: ...", where there is none. Close it also then. */
int replay_gpu_open(struct replay_gpu *g, struct error *err);
void replay_gpu_close(struct replay_gpu *g);

struct replay_graph {
	struct cu_graph *graph;
	struct cu_graph_node **kernels; /* (n_kernels), owned; a patch is one of them */
	int n_kernels, n_copies;
	uint64_t patched; /* of the device: what the patch knows the nodes that it sets by; owned */
	int n_patched;
};

/*
 * add: what each kernel adds to the device's counter, at its end; 0: it touches no memory. Those that a patch sets add
 * as much again, for their new parameters or their second block. A patched graph is instantiated once, updated nowhere
 * but on the device, and uploaded before it is launched: the driver does not allow more. ERROR_UNSUPPORTED where
 * g->no_patch.
 */
int replay_graph_capture(struct replay_gpu *g, const struct replay_spec *s, unsigned add, struct replay_graph *out,
			 struct error *err);
void replay_graph_free(struct replay_gpu *g, struct replay_graph *r);
/* New parameters, with that add, for `n` kernels of exec, spread over the graph. n: at most n_kernels. */
int replay_graph_set(struct replay_gpu *g, const struct replay_spec *s, const struct replay_graph *r,
		     struct cu_graph_exec *exec, int n, unsigned add);

enum { REPLAY_GATE_LIMIT_US = 20000 };
/*
 * The stream's next work waits until replay_gate_open, at most REPLAY_GATE_LIMIT_US: a driver that blocks until earlier
 * work is done would else wait for ever. Returns the driver's code.
 */
int replay_gate_close(struct replay_gpu *g);
void replay_gate_open(struct replay_gpu *g);
/* Once the stream is idle: whether the last gate gave up. */
bool replay_gate_expired(const struct replay_gpu *g);

#endif
