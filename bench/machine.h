/*
 * What a process of benchmarks is of and on, as facts beside its results: the commit, the host, the GPU and its clocks
 * as the card states them; and the bandwidths of their memories, measured before anything else runs, which shares are
 * of.
 */
#ifndef GEMMARK_BENCH_MACHINE_H
#define GEMMARK_BENCH_MACHINE_H

#include <stdbool.h>

struct bench_machine {
	/* bytes/s; 0: could not be measured, and is no fact */
	double host_read; /* of as many threads as the host device takes by itself */
	double gpu_copy;  /* of large copies, reads and writes both counted */
};

/* Before bench_run. cuda: of the GPU, too; takes 1 GiB of it meanwhile. */
void bench_machine_say(bool cuda, struct bench_machine *out);

#endif
