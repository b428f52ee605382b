/*
 * The kernels that set other nodes of their own graph on the device, for replay_graph.c. They are a module of their
 * own: a driver that does not have what they call refuses it, and everything else still runs.
 */
#ifndef GEMMARK_BENCH_REPLAY_PATCH_H
#define GEMMARK_BENCH_REPLAY_PATCH_H

#include "bench/replay_graph.h"
#include "engine/cuda/nvrtc.h"

/* Into g->patch, or why not into g->no_patch. */
void replay_patch_open(struct replay_gpu *g, struct nvrtc *n);
void replay_patch_close(struct replay_gpu *g);

/* Threads of the only block, as of the engine's patch: each sets a node at a time. */
enum { REPLAY_PATCH_THREADS = 256 };

/* Addresses are the device's, and what is at them is looked at when it runs. */
struct replay_patch_params {
	uint64_t nodes;  /* (n) of the driver's handles */
	uint64_t failed; /* 4 bytes: receive the driver's code of a node that cannot be set */
	int n;
	unsigned grid;                            /* of REPLAY_PATCH_GRID: blocks */
	unsigned char value[REPLAY_SMALL_PARAMS]; /* of REPLAY_PATCH_PARAM: all parameters of node_small */
};
/* Enqueues it. Returns the driver's code. */
int replay_patch_launch(struct replay_gpu *g, enum replay_patch what, const struct replay_patch_params *p);

extern const struct nvrtc_source replay_patch_source;

#endif
