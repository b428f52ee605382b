#include "harness/cli/engine_environment.h"

#include "harness/cli/engine_workload.h"
#include "harness/environment.h"

int engine_environment(const struct matrix *m, struct workload_source *source, uint64_t seed, int argc, char **argv,
		       json_t **env, struct error *err)
{
	for (int i = 0; i < m->n_threads.n; i++)
		engine_source_bandwidth(source, m->n_threads.values[i]);
	const char *gpu_reason;
	const struct environment_gpu *gpu = engine_gpu(&gpu_reason);
	struct environment_inputs in = {
		.isa = engine_isa(),
		.gpu = gpu,
		.gpu_reason = gpu_reason,
		.models = (const char *const *)m->models.values,
		.n_models = m->models.n,
		.command_line = (const char *const *)argv,
		.n_words = argc,
		.seed = &seed,
	};
	in.bandwidth = engine_source_bandwidths(source, &in.n_bandwidth);
	return environment_collect(&in, env, err);
}
