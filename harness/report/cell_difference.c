#include "harness/report/cell_difference.h"

#include <stdio.h>

void cell_difference_add(struct cell_difference *d, const struct cell *cell)
{
	static const unsigned shown =
		1u << AXIS_DEPTH | 1u << AXIS_PROMPT | 1u << AXIS_GEN | 1u << AXIS_MODE | 1u << AXIS_FUSION;
	if (!d->models)
		d->models = d->other = cell;
	for (int a = 0; a < AXIS_COUNT; a++) {
		if (((d->axes | shown) >> a & 1) || cell_same_value(d->models, cell, (enum axis_id)a))
			continue;
		d->axes |= 1u << a;
		if (a == AXIS_MODEL)
			d->other = cell;
	}
}

void cell_difference_text(const struct cell_difference *d, const struct cell *cell, char out[256])
{
	size_t used = 0;
	out[0] = '\0';
	for (int a = 0; a < AXIS_COUNT; a++) {
		char number_text[AXIS_TEXT_SIZE], model[CELL_MODEL_SIZE];
		if (!d->models || !(d->axes >> a & 1) || used >= 200)
			continue;
		const char *value = cell_text(cell, (enum axis_id)a, number_text);
		if (a == AXIS_MODEL) {
			int first = cell_same_value(cell, d->models, AXIS_MODEL);
			struct cell two[2] = {*cell, first ? *d->other : *d->models};
			cell_model_name(cell, two, 2, model);
			value = model;
		}
		used += (size_t)snprintf(out + used, 256 - used, "%s%s%.60s", used ? " " : "",
					 a == AXIS_MODEL ? "" : axes[a].slug, value);
	}
}
