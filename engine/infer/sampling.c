#include "engine/infer/sampling.h"

#include <math.h>

void sampling_options_default(struct sampling_options *o)
{
	*o = (struct sampling_options){.top_p = 1};
}

int sampling_check(const struct sampling_options *o, struct error *err)
{
	/* Also where one is no number. */
	if (o->temperature != 0 && !(o->temperature >= SAMPLING_COLDEST && o->temperature <= SAMPLING_HOTTEST))
		return error_set(err, ERROR_INPUT, "a temperature of %g: it is 0, for greedy, or from %g to %g",
				 o->temperature, SAMPLING_COLDEST, SAMPLING_HOTTEST);
	if (o->top_k < 0)
		return error_set(err, ERROR_INPUT, "a top-k of %d: it is a number of tokens, or 0 for no limit",
				 o->top_k);
	if (!(o->top_p >= 0 && o->top_p <= 1))
		return error_set(err, ERROR_INPUT, "a top-p of %g: it is a share from 0 to 1, which is no limit",
				 o->top_p);
	if (!(o->min_p >= 0 && o->min_p <= 1))
		return error_set(err, ERROR_INPUT, "a min-p of %g: it is a share from 0, which is no limit, to 1",
				 o->min_p);
	return 0;
}

struct sampling sampling_of(const struct sampling_options *o)
{
	return (struct sampling){
		.seed = o->seed,
		.top_p = (uint64_t)rint(o->top_p * (double)SAMPLING_ALL),
		.min_p = (uint64_t)ceil(o->min_p * (double)SAMPLING_ONE),
		.rate = o->temperature > 0 ? (float)(M_LOG2E / o->temperature) : 0.0f,
		.top_k = o->top_k,
	};
}
