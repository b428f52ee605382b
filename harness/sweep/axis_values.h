/*
 * The values of an axis, from lists as llama-bench has them: a comma list whose items are values or
 * ranges, `a-b` (step 1), `a-b+step` or `a-b*factor`; a repeated option appends. A value that is named twice
 * counts once.
 */
#ifndef GEMMARK_HARNESS_SWEEP_AXIS_VALUES_H
#define GEMMARK_HARNESS_SWEEP_AXIS_VALUES_H

#include "base/error.h"

enum { AXIS_MAX_VALUES = 1024 }; /* of one axis */

/* Zeroed: empty. One of the two lists, by the axis' kind. */
struct axis_values {
	int *ints;    /* (n), in the order given */
	char **words; /* (n), likewise */
	int n;
};

/* Appends a list of integers within [min, max]. `option` names the axis in messages. ERROR_INPUT or ERROR_MEMORY. */
int axis_ints_add(struct axis_values *a, const char *option, const char *list, int min, int max, struct error *err);
/* Appends one integer. */
int axis_ints_append(struct axis_values *a, const char *option, int value, struct error *err);

#define AXIS_ALL "all"
/*
 * Appends a list of words; allowed: null-terminated, or null where any word will do. AXIS_ALL is each of those allowed,
 * except where it is itself one of them, as of --prefill-rows: there it is that one.
 */
int axis_words_add(struct axis_values *a, const char *option, const char *list, const char *const *allowed,
		   struct error *err);
/* Appends one word as it is, commas included. */
int axis_words_append(struct axis_values *a, const char *option, const char *word, struct error *err);

void axis_ints_free(struct axis_values *a);
void axis_words_free(struct axis_values *a);

#endif
