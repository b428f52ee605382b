/*
 * When a cell has been measured often enough for a look at it: the relative error of the
 * median over its runs, estimated as 1.2533 standard deviations of the logarithms of
 * the runs' values over the root of their number (the standard error of a normal's median).
 *
 * For exploration. A number of runs that depends on their results is optional stopping:
 * verdict_compare refuses such runs.
 */
#ifndef GEMMARK_HARNESS_MEASURE_STABILITY_H
#define GEMMARK_HARNESS_MEASURE_STABILITY_H

#include "base/error.h"

enum { STABILITY_LEAST = 5 }; /* runs, whatever they say */

struct stability {
	double error; /* that is small enough: 0.005 is 0.5 %; 0: never, the number of runs is fixed */
	int n;
	int repetitions;
	double *values; /* (n, repetitions): a run's median or prefill; NAN: unknown */
};

/* Call stability_free also after a failure. */
int stability_init(struct stability *s, double error, int n, int repetitions, struct error *err);
void stability_free(struct stability *s);

void stability_note(struct stability *s, int cell, int repetition, double value);

/* From the first `repetitions` ones; INFINITY below STABILITY_LEAST known values. */
double stability_error(const struct stability *s, int cell, int repetitions);

/* Whether all of these cells, which are compared with each other, need no more than the first `repetitions` ones. */
int stability_reached(const struct stability *s, const int *cells, int n, int repetitions);

enum { STABILITY_TEXT_SIZE = 32 };
/* "fixed", "stable=0.5%" */
const char *stability_text(double error, char out[STABILITY_TEXT_SIZE]);

#endif
