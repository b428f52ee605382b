#include "harness/cli/text_windows.h"

#include <assert.h>
#include <limits.h>

int text_windows_plan(size_t n_tokens, int context, int stride, int most, struct text_windows *out, struct error *err)
{
	assert(context >= TEXT_WINDOWS_CONTEXT_LEAST && n_tokens <= INT_MAX);
	if (stride > context)
		return error_set(err, ERROR_INPUT,
				 "--ppl-stride %d: is longer than the windows of %d tokens; a larger -c, or a smaller "
				 "one of it",
				 stride, context);
	int n = (int)n_tokens;
	*out = (struct text_windows){.length = context, .step = context, .first = context / 2, .n = n / context};
	size_t least = 2 * (size_t)context;
	if (stride) {
		out->length = context + stride / 2;
		out->step = stride;
		out->first = out->length - stride - 1;
		out->n = (n - out->length + stride - 1) / stride;
		least = (size_t)out->length + 1;
	}
	if (n_tokens < least)
		return error_set(
			err, ERROR_INPUT,
			"the text has %d tokens, and its perplexity with windows of %d takes %zu; give a longer "
			"one, or a smaller -c",
			n, out->length, least);
	if (most && out->n > most)
		out->n = most;
	return 0;
}
