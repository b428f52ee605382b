/*
 * The kernels at the family's shapes (bench/kernel_cases.h) as benchmarks, on the GPU and on the host.
 *
 * A case is compared with the host's kernel (on the host: with its portable form) before it is timed; one that is wrong
 * is an error in the results and has no time. A timed pass is one call; the GPU's are timed by events around a graph of
 * many calls, behind work that keeps it busy until all is submitted.
 *
 * What the L2 holds is part of the name. l2:cold: each call of the graph has its own set of operands, or, of large
 * ones, the next of so many that three L2s would not hold them; where all sets fit, a copy of two L2s goes before each
 * graph. l2:warm: all calls have the same set. The host's: caches:cold, sets that 256 MB do not hold; caches:warm.
 */
#ifndef GEMMARK_BENCH_KERNEL_BENCH_H
#define GEMMARK_BENCH_KERNEL_BENCH_H

#include "base/error.h"
#include "bench/machine.h"

/* cuda: the GPU's too. m: whose bandwidths the shares are of. */
int kernel_bench_register(int cuda, const struct bench_machine *m, struct error *err);
/* After the run: how many cases were wrong. */
int kernel_bench_close(void);

#endif
