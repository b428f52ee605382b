/* The read bandwidth of this machine: the roofline that decode is compared with. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu/inner.h"

enum { CHUNK = 1 << 20 }; /* bytes; what a thread takes at a time */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double cpu_read_bandwidth(size_t bytes, int n_threads, int passes)
{
	const struct cpu_inner *inner = cpu_inner();
	const size_t chunks = bytes / CHUNK;
	volatile float keep = 0.0f;
	double best = 0.0;
	char *p;

	if (chunks == 0 || n_threads < 1)
		return 0.0;
	p = aligned_alloc(4096, chunks * CHUNK);
	if (!p)
		return 0.0;
		/* Touched by the threads that will read it, in the same shares; not zeros, which a host may share. */
#pragma omp parallel for schedule(static) num_threads(n_threads)
	for (size_t c = 0; c < chunks; c++)
		memset(p + c * CHUNK, (int)(c % 100) + 1, CHUNK);
	for (int pass = 0; pass < passes; pass++) {
		const double start = seconds();
		float sum = 0.0f;
		double rate;

#pragma omp parallel for schedule(static) num_threads(n_threads) reduction(+ : sum)
		for (size_t c = 0; c < chunks; c++)
			sum += inner->read(p + c * CHUNK, CHUNK);
		keep = sum;
		rate = (double)(chunks * CHUNK) / (seconds() - start);
		best = rate > best ? rate : best;
	}
	(void)keep;
	free(p);
	return best;
}
