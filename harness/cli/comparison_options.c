#include "harness/cli/comparison_options.h"

#include <stdlib.h>
#include <string.h>

#include "harness/cli/options.h"

int comparison_option_alpha(struct compare_options *o, const char *value, struct error *err)
{
	return options_share(value, 1e-6, 0.5, &o->verdict.alpha, err);
}

int comparison_option_delta(struct compare_options *o, const char *value, struct error *err)
{
	return options_share(value, 0, 1, &o->verdict.delta, err);
}

int comparison_option_gate(struct compare_options *o, const char *value, struct error *err)
{
	static const char *const names[] = {"auto", "absolute", "relative"};
	for (int i = 0; i < 3; i++)
		if (!strcmp(value, names[i])) {
			o->gate = (enum compare_gate)i;
			return 0;
		}
	return error_set(err, ERROR_INPUT, "'%.80s' is none of auto, absolute, relative", value);
}

int comparison_option_gate_exact(struct compare_options *o, const char *value, struct error *err)
{
	unsigned bits = 0;
	if (!strcmp(value, "none")) {
		o->gate_exact = 0;
		return 0;
	}
	for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		size_t n = strcspn(at, ",");
		int q = 0;
		while (q < EXACT_COUNT &&
		       (strlen(exact_quantities[q].name) != n || strncmp(exact_quantities[q].name, at, n)))
			q++;
		if (q == EXACT_COUNT)
			return error_set(err, ERROR_INPUT,
					 "'%.*s' is none of none, launches, node-updates, kernels, copies, "
					 "prompt-launches, prompt-node-updates, prompt-kernels, prompt-copies, nodes, "
					 "weight-bytes, kv-bytes, crossing-bytes, evicted, logits",
					 (int)(n > 80 ? 80 : n), at);
		bits |= 1u << q;
	}
	o->gate_exact = bits;
	return 0;
}

int comparison_option_format(enum compare_format *out, const char *value, struct error *err)
{
	static const char *const names[] = {"table", "md", "csv", "json"};
	for (int i = 0; i < 4; i++)
		if (!strcmp(value, names[i])) {
			*out = (enum compare_format)i;
			return 0;
		}
	return error_set(err, ERROR_INPUT, "'%.80s' is none of table, md, csv, json", value);
}
