/* The read bandwidth of this machine: the roofline that decode is compared with. */
#include <limits.h>
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

struct reading {
	char *p;
	float *sums; /* (chunks): so that the reads are kept */
};

/* Touched by the threads that will read it, in the same shares; not zeros, which a host may share. */
static void touch_part(void *ctx, int begin, int end, int thread)
{
	const struct reading *r = ctx;

	(void)thread;
	for (int c = begin; c < end; c++)
		memset(r->p + (size_t)c * CHUNK, c % 100 + 1, CHUNK);
}

static void read_part(void *ctx, int begin, int end, int thread)
{
	const struct reading *r = ctx;

	(void)thread;
	for (int c = begin; c < end; c++)
		r->sums[c] = cpu_inner()->read(r->p + (size_t)c * CHUNK, CHUNK);
}

double cpu_read_bandwidth(size_t bytes, int n_threads, int passes)
{
	const size_t chunks = bytes / CHUNK;
	struct reading r;
	struct cpu_team *team;
	double best = 0.0;

	if (chunks == 0 || chunks > INT_MAX || n_threads < 1)
		return 0.0;
	r.p = aligned_alloc(4096, chunks * CHUNK);
	r.sums = calloc(chunks, sizeof(*r.sums));
	team = cpu_team_open(n_threads);
	if (r.p && r.sums && team) {
		struct cpu_team *before = cpu_team_use(team);

		cpu_parallel((int)chunks, 1, touch_part, &r);
		for (int pass = 0; pass < passes; pass++) {
			const double start = seconds();
			double rate;

			cpu_parallel((int)chunks, 1, read_part, &r);
			rate = (double)(chunks * CHUNK) / (seconds() - start);
			best = rate > best ? rate : best;
		}
		cpu_team_use(before);
	}
	cpu_team_close(team);
	free(r.sums);
	free(r.p);
	return best;
}
