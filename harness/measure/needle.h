/*
 * Needles: sentences that say a number of something, to be hidden in other text and asked for. Each thing is made of
 * another material and has another number, so that no answer is another's.
 */
#ifndef GEMMARK_HARNESS_MEASURE_NEEDLE_H
#define GEMMARK_HARNESS_MEASURE_NEEDLE_H

#include <stdint.h>

#include "harness/record/quality_file.h"

enum { NEEDLES_MAX = 16, NEEDLE_TEXT = 96 };

struct needle {
	char statement[NEEDLE_TEXT];                   /* a line, with the newlines around it */
	char question[QUALITY_QUESTIONS][NEEDLE_TEXT]; /* a line that the value completes */
	char value[8];                                 /* a space and four digits */
	double depth;                                  /* in [0, 1): where it is to be, of the other text */
};

/* n needles, at most NEEDLES_MAX, by ascending depth: one in each of n equal parts. The same again for a seed. */
void needles_make(uint64_t seed, int n, struct needle *out);

#endif
