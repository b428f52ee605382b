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
};
/* "chain", "copies", "parallel", "diamonds" */
const char *replay_shape_name(enum replay_shape s);

struct replay_spec {
	enum replay_shape shape;
	int nodes;
	int branches;     /* of REPLAY_PARALLEL */
	bool pdl;         /* programmatic edges between kernels; of chains */
	double spin_us;   /* of each kernel; 0: it ends at once */
	int params_bytes; /* REPLAY_SMALL_PARAMS or REPLAY_LARGE_PARAMS, of each kernel */
	bool mixed;       /* every second kernel is another one, with the other size of parameters and a larger grid */
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
	struct cu_stream *stream, *side[REPLAY_BRANCHES_MAX];
	struct cu_event *fork, *join; /* while capturing */
	struct cu_event *from, *to;   /* times */
	uint64_t count;               /* a counter and 4 bytes more, on the device */
	volatile unsigned *flags;     /* mapped: open, expired */
	uint64_t flags_on_device;
};

/* ERROR_UNSUPPORTED, "no GPU: ...", where there is none. Close it also then. */
int replay_gpu_open(struct replay_gpu *g, struct error *err);
void replay_gpu_close(struct replay_gpu *g);

struct replay_graph {
	struct cu_graph *graph;
	struct cu_graph_node **kernels; /* (n_kernels), owned */
	int n_kernels, n_copies;
};

/* add: what each kernel adds to the device's counter, at its end; 0: it touches no memory. */
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
