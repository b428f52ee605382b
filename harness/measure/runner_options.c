#include "harness/measure/runner_options.h"

#include <time.h>

void runner_options_default(struct runner_options *o)
{
	*o = (struct runner_options){
		.repetitions = 5,
		.steady = 4,
		.warmup_max = 32,
		.chunk = 2048,
		.seed = 1,
		.prefill_fusion = "full",
		.clock_fraction = 0.95,
		.clock_retries = 2,
		.commit = "",
		.run_prefix = "run",
	};
}

json_t *runner_options_describe(const struct runner_options *o)
{
	json_t *out = json_pack("{s:i, s:i, s:i, s:i, s:s, s:I, s:f, s:i, s:f}", "repetitions", o->repetitions,
				"steady", o->steady, "warmup_max", o->warmup_max, "chunk", o->chunk, "prefill_fusion",
				o->prefill_fusion, "seed", (json_int_t)o->seed, "clock_fraction", o->clock_fraction,
				"clock_retries", o->clock_retries, "until_error", o->until);
	/* Files from before there were any had none. */
	if ((o->delay_s && json_object_set_new(out, "delay_s", json_integer(o->delay_s))) ||
	    (o->timeline && json_object_set_new(out, "timeline", json_true()))) {
		json_decref(out);
		out = NULL;
	}
	return out;
}

int64_t runner_now_ns(const struct runner_options *o)
{
	if (o->clock)
		return o->clock(o->clock_ctx);
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int runner_stopped(const struct runner_options *o)
{
	return o->stop && *o->stop;
}
