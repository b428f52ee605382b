/* The float32 peak of this machine: the roofline that prompts are compared with. */
#include <stdlib.h>
#include <time.h>

#include "kernels/cpu/inner.h"

enum {
	STEPS = 1 << 12,
	PARTS = 32
}; /* of a thread: in all less than a millisecond, which neighbours may leave alone */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of each part, by the thread that computed it. */
struct counted {
	double operations;
	float kept;
};

static void multiply_part(void *ctx, int begin, int end, int thread)
{
	struct counted *parts = ctx;

	(void)thread;
	for (int i = begin; i < end; i++)
		parts[i].operations = cpu_inner()->multiply(STEPS, &parts[i].kept);
}

double cpu_peak_flops(int n_threads, int passes)
{
	struct counted *parts = n_threads < 1 ? NULL : calloc((size_t)n_threads * PARTS, sizeof(*parts));
	struct cpu_team *team = parts ? cpu_team_open(n_threads) : NULL;
	double best = 0.0;

	for (int pass = 0; pass < passes && team; pass++) {
		struct cpu_team *before = cpu_team_use(team);
		const double start = seconds();
		double operations = 0.0, rate;

		cpu_parallel(n_threads * PARTS, 1, multiply_part, parts);
		rate = 1.0 / (seconds() - start);
		cpu_team_use(before);
		for (int i = 0; i < n_threads * PARTS; i++)
			operations += parts[i].operations;
		best = operations * rate > best ? operations * rate : best;
	}
	cpu_team_close(team);
	free(parts);
	return best;
}
