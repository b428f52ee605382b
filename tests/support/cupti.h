/*
 * What CUPTI, NVIDIA's tracing library, sees of this process: the work that the GPU executed, from
 * activity records (a record a graph node), and the driver calls that enqueued it, from callbacks.
 *
 * Loaded at run time; no CUPTI header is needed. Of a record only its first five bytes are read, which
 * are the same in every version; calls are told apart by the names that CUPTI gives them.
 */
#ifndef GEMMARK_TESTS_SUPPORT_CUPTI_H
#define GEMMARK_TESTS_SUPPORT_CUPTI_H

#include <stdbool.h>

struct cupti_counts {
	/* executed */
	int kernels;
	int copies; /* to the device and within it */
	int downloads;
	int fills;
	int dropped; /* records that CUPTI lost */
	/* driver calls */
	int enqueued;      /* that enqueued a kernel, a copy or a graph; without downloads */
	int graph_replays; /* the graphs among them */
	int recorded;      /* the same kind of call while a capture was open */
	int node_updates;
};

/*
 * Starts tracing, before the process has a CUDA context. False where CUPTI is not there or may not be
 * used, or is older than CUDA 12's; why: one line.
 */
bool cupti_open(char *why, int why_bytes);

/* Counts from here. The GPU is idle. */
void cupti_begin(void);
/* Until here: the GPU is idle again. */
struct cupti_counts cupti_end(void);
/* The driver calls since cupti_begin, by name, to stdout. */
void cupti_print_calls(void);

#endif
