#include "engine/infer/placement_check.h"

#include "engine/infer/pipeline.h"

struct placement_stages placement_stages(const struct model *m, int n_gpu_layers, bool head_on_host)
{
	struct model_range ranges[LOADED_PARTS_MAX];
	struct pipeline_route route[PIPELINE_STAGES_MAX];
	int head_part, n_parts = loaded_model_divide(m, n_gpu_layers, head_on_host, ranges, &head_part);
	return (struct placement_stages){.n = pipeline_route(m, ranges, n_parts, head_part, route),
					 .on_gpu = n_gpu_layers > 0};
}

int placement_check_loop(const struct placement_stages *s, enum graph_mode mode, struct error *err)
{
	if (!graph_mode_loops(mode) || (s->on_gpu && s->n == 1))
		return 0;
	return error_set(err, ERROR_UNSUPPORTED,
			 "%s needs every layer on the GPU: the host's own tokens cannot go on without the host",
			 graph_mode_name(mode));
}

int placement_check_prefill(const struct placement_stages *s, enum graph_mode mode, struct error *err)
{
	if (mode != GRAPH_MODE_DIRECT && s->n > 1)
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: two devices take turns at every chunk of a prompt, which is launched directly",
				 graph_mode_name(mode));
	if (graph_mode_loops(mode))
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: it goes on from token to token, and a prompt's chunks are no tokens",
				 graph_mode_name(mode));
	return 0;
}

int placement_check_queue(const struct placement_stages *s, struct error *err)
{
	return s->n > 1 ? error_set(err, ERROR_UNSUPPORTED,
				    "two devices take turns at every token: none can be queued behind another")
			: 0;
}
