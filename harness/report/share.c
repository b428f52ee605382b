#include "harness/report/share.h"

/* More than the memory, or the products alone, were measured to give. */
static const double CREDIBLE = 1.05;
/* Of weights this many times as large as a cache, it holds too little to matter. */
static const double BEYOND_CACHE = 4;

bool share_is_credible(double share)
{
	return !(share > CREDIBLE);
}

double share_host_bytes(const struct run_row *row)
{
	if (row->n_gpu_layers != 0 || row->weight_bytes_per_token == ROW_UNKNOWN)
		return 0;
	return (double)row->weight_bytes_per_token;
}

enum share_cause share_cause(double bytes, double cache_bytes)
{
	if (!(bytes > 0) || !(cache_bytes > 0))
		return SHARE_EITHER;
	return bytes <= cache_bytes ? SHARE_CACHE : bytes > BEYOND_CACHE * cache_bytes ? SHARE_NOISE : SHARE_EITHER;
}

const char *share_cause_text(enum share_cause c)
{
	static const char *const texts[SHARE_CAUSES] = {
		[SHARE_NOISE] = "its bandwidth was measured in a noisy moment: measure again on an idle machine",
		[SHARE_CACHE] =
			"the model fits in the host's cache, so that this is no share of the memory's bandwidth: "
			"take a larger model to measure that",
		[SHARE_EITHER] = "its bandwidth was measured in a noisy moment, or part of the model stays in a cache: "
				 "measure again on an idle machine, or a larger model",
	};
	return texts[c];
}
