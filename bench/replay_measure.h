/*
 * What a replay costs: times of one graph, launched in one way, over and over.
 *
 * Three ways, which differ in what the GPU does meanwhile:
 *   idle    nothing: the launch is submitted, starts and ends. host: the call. total: until the stream is idle again.
 *   gated   it waits behind a gate that opens once all is submitted. host: the call, which nothing on the GPU can
 *           disturb. device: from the gate's opening to the end of the last node, into which no submission falls.
 *   queued  as gated, and the same executable graph is already submitted once behind the gate.
 * So host of gated is submission alone, device of gated the nodes alone, and total of idle both, with what overlaps.
 *
 * A first launch is timed of an executable graph made for it, with or without an upload before.
 */
#ifndef GEMMARK_BENCH_REPLAY_MEASURE_H
#define GEMMARK_BENCH_REPLAY_MEASURE_H

#include "bench/replay_graph.h"

enum replay_state { REPLAY_IDLE, REPLAY_GATED, REPLAY_QUEUED, REPLAY_FIRST };
/* "idle", "gated", "queued", "first" */
const char *replay_state_name(enum replay_state s);

enum { REPLAY_UPDATE_WHOLE = -1 }; /* cuGraphExecUpdate with another graph of the shape */

struct replay_way {
	enum replay_state state;
	int updates; /* kernels that the host gives new parameters before each launch; or REPLAY_UPDATE_WHOLE. 0 for
			REPLAY_PATCHED, which cannot be updated whole: its nodes are its own business */
	bool upload; /* of REPLAY_FIRST: cuGraphUpload before it; the others are always uploaded and replayed once */
};

enum replay_quantity {
	REPLAY_HOST,        /* the launch call */
	REPLAY_DEVICE,      /* between events on the stream, on either side of the graph */
	REPLAY_TOTAL,       /* from the launch call until the stream is idle */
	REPLAY_UPDATE,      /* the calls that update nodes, all of them; of the device there is none */
	REPLAY_INSTANTIATE, /* of REPLAY_FIRST */
	REPLAY_UPLOAD,      /* of REPLAY_FIRST, until it is done */
	REPLAY_QUANTITIES,
};
/* "host", "device", "total", "update", "instantiate", "upload" */
const char *replay_quantity_name(enum replay_quantity q);

enum { REPLAY_SAMPLES_MAX = 400, REPLAY_SAMPLES_MIN = 12 };

struct replay_times {
	int n;       /* samples */
	int expired; /* more, that do not count: the gate gave up before all was submitted */
	int n_kernels, n_copies;
	bool has[REPLAY_QUANTITIES];
	double us[REPLAY_QUANTITIES][REPLAY_SAMPLES_MAX]; /* ascending */
};

/* Samples until `budget_us` are spent. First it checks that a replay runs each kernel once, with the updates. */
int replay_measure(struct replay_gpu *g, const struct replay_spec *s, const struct replay_way *w, double budget_us,
		   struct replay_times *out, struct error *err);

/* Of an ascending sample: the smallest value that at least a share q of it does not exceed. */
double replay_quantile(const double *sorted, int n, double q);

#endif
