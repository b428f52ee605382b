/*
 * At which context depth an effect changes its sign: from where on replay no longer pays, or begins to.
 *
 * The effect at a depth is the median over units of log(time / time of direct launches). Between two measured depths
 * of different signs it is taken to be linear in log2 of the depth, from depth 0 linear in the depth itself.
 *
 * The interval is the percentile bootstrap over units, which are resampled whole: a repetition is next to itself at all
 * depths. Each resample's crossing is the first change away from the sign at the smallest depth; one without a change
 * lies beyond the largest depth, one that begins with the other sign before the smallest: the interval says so with
 * INFINITY.
 */
#ifndef GEMMARK_HARNESS_REPORT_CROSSOVER_H
#define GEMMARK_HARNESS_REPORT_CROSSOVER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Of fewer than three depths the place of a change is a guess at the curve; of fewer than six units all agree in a sign
 * by chance more than 5 times in 100.
 */
enum { CROSSOVER_DEPTHS_LEAST = 3, CROSSOVER_UNITS_LEAST = 6, CROSSOVER_RESAMPLES = 2000 };

struct crossover {
	int n;        /* changes of sign between the smallest and the largest depth; -1: too few depths */
	int left;     /* sign at the smallest depth: -1 faster, 1 slower, 0 all equal */
	double depth; /* of the first change; NAN: none */
	double low;   /* its interval; NAN with fewer than CROSSOVER_UNITS_LEAST units */
	double high;
	int units;
};

/* Whether there is a change, and its interval lies between the smallest and the largest depth. */
bool crossover_is_known(const struct crossover *x);
/* Whether there is none, at no place of the interval. */
bool crossover_is_none(const struct crossover *x);

/*
 * depths: (n_depths), ascending, not negative; effects: (n_units, n_depths), NAN where a unit has none. Depths at which
 * no unit has an effect are left out. level: in (0, 1). Returns 0, or -1 when memory is not enough.
 */
int crossover_find(const int *depths, int n_depths, const double *effects, int n_units, double level, uint64_t seed,
		   struct crossover *out);

#endif
