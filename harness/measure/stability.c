#include "harness/measure/stability.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double NORMAL_MEDIAN = 1.2533141373155003; /* sqrt(pi / 2) */

int stability_init(struct stability *s, double error, int n, int repetitions, struct error *err)
{
	size_t runs = (size_t)n * (size_t)repetitions;
	*s = (struct stability){.error = error, .n = n, .repetitions = repetitions};
	s->values = calloc(runs, sizeof *s->values);
	if (!s->values)
		return error_set(err, ERROR_MEMORY, "no memory for %zu runs", runs);
	for (size_t i = 0; i < runs; i++)
		s->values[i] = NAN;
	return 0;
}

void stability_free(struct stability *s)
{
	free(s->values);
	*s = (struct stability){0};
}

void stability_note(struct stability *s, int cell, int repetition, double value)
{
	s->values[(size_t)cell * (size_t)s->repetitions + (size_t)repetition] = value;
}

double stability_error(const struct stability *s, int cell, int repetitions)
{
	const double *values = s->values + (size_t)cell * (size_t)s->repetitions;
	double mean = 0, square = 0;
	int n = 0;
	for (int i = 0; i < repetitions; i++) {
		if (!(values[i] > 0))
			continue;
		mean += log(values[i]);
		n++;
	}
	if (n < STABILITY_LEAST)
		return INFINITY;
	mean /= n;
	for (int i = 0; i < repetitions; i++)
		if (values[i] > 0)
			square += (log(values[i]) - mean) * (log(values[i]) - mean);
	return NORMAL_MEDIAN * sqrt(square / (n - 1) / n);
}

int stability_reached(const struct stability *s, const int *cells, int n, int repetitions)
{
	if (s->error <= 0 || n == 0)
		return 0;
	for (int i = 0; i < n; i++)
		if (!(stability_error(s, cells[i], repetitions) <= s->error))
			return 0;
	return 1;
}

const char *stability_text(double error, char out[STABILITY_TEXT_SIZE])
{
	if (error > 0)
		snprintf(out, STABILITY_TEXT_SIZE, "stable=%.6g%%", 100 * error);
	else
		snprintf(out, STABILITY_TEXT_SIZE, "fixed");
	return out;
}
