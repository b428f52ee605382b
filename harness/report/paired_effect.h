/*
 * What pairs of runs say of a difference: by how much the second of each pair is slower than the first, in the
 * middle, and between which bounds that is known. A pair is two runs of one repetition, which ran next to each other:
 * what drifts from repetition to repetition hits both.
 *
 * The interval is the 95 % one of `gemmark compare`: the bootstrap of the median over pairs. Of PAIRED_EFFECT_RANGE
 * pairs or fewer it is their whole range, which holds the true median less often than that.
 */
#ifndef GEMMARK_HARNESS_REPORT_PAIRED_EFFECT_H
#define GEMMARK_HARNESS_REPORT_PAIRED_EFFECT_H

#include <stdbool.h>

/* Fewer have no interval worth the name: two pairs agree in their sign by chance every other time. */
enum { PAIRED_EFFECT_LEAST = 3, PAIRED_EFFECT_RANGE = 5 };
#define PAIRED_EFFECT_LEVEL 0.95

struct paired_effect {
	int pairs;
	double change; /* relative, below 0: faster; NAN: no pairs */
	double low;    /* its interval; NAN below PAIRED_EFFECT_LEAST pairs */
	double high;
};

/* ratios: (n), second to first of each pair, positive. Returns 0, or -1 when memory is not enough. */
int paired_effect_of(const double *ratios, int n, struct paired_effect *out);

/* Whether the interval has one sign. Of few pairs it often has by chance: no verdict over several cells. */
bool paired_effect_is_known(const struct paired_effect *e);

/* How often the range of so many pairs holds the true median: it does not where all fall on one side of it. */
double paired_effect_range_coverage(int pairs);

/*
 * Whether a number beside a known effect says the opposite: the change of the medians over all runs of itl, or of
 * tokens/s, where that is more than three digits show. *change: that number's, *column: its name.
 */
bool paired_effect_is_contradicted(const struct paired_effect *e, double itl_change, double rate_change, double *change,
				   const char **column);

enum { PAIRED_EFFECT_TEXT = 32 };
/* "-9.8% [-11,-8.2]"; "~" where they cannot tell, "-" where there are no pairs. */
const char *paired_effect_text(const struct paired_effect *e, char out[PAIRED_EFFECT_TEXT]);

/* x with two significant digits and no exponent; signed: with a plus, too. */
const char *paired_effect_number(double x, bool is_signed, char out[PAIRED_EFFECT_TEXT]);

#endif
