#include "harness/cli/trained_context.h"

#include <stdio.h>

#include "base/text.h"

void trained_context_warn(const char *command, const char *path, int trained, int used, const char *behind)
{
	if (trained && used > trained)
		fprintf(stderr,
			"gemmark %s: %s: %d positions are used, and the model was trained for %d (context_length); "
			"what is "
			"computed beyond them is extrapolated%s\n",
			command, text_show_path(path).text, used, trained, behind);
}

static int positions(const struct cell *c)
{
	return c->n_depth + c->n_prompt + c->n_gen;
}

void trained_context_warn_cells(const char *command, const struct axis_resolution *r, const struct cell *cells, int n,
				const char *behind)
{
	for (int i = 0; i < n; i++) {
		int most = 0, first = 1;
		for (int j = 0; j < n; j++) {
			if (!cell_same_value(&cells[i], &cells[j], AXIS_MODEL))
				continue;
			first &= j >= i;
			most = positions(&cells[j]) > most ? positions(&cells[j]) : most;
		}
		if (first)
			trained_context_warn(command, cells[i].model, axis_resolution_context(r, cells[i].model), most,
					     behind);
	}
}
