#include "harness/measure/needle.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"

static const char *const materials[NEEDLES_MAX] = {
	"copper", "silver", "bronze", "marble", "glass", "paper", "wax",   "clay",
	"iron",   "amber",  "ivory",  "cotton", "steel", "jade",  "straw", "leather",
};
static const char *const things[NEEDLES_MAX] = {
	"falcon", "lantern", "violin", "anchor", "turtle", "ladder", "kettle", "compass",
	"rabbit", "basket",  "hammer", "mirror", "spider", "bridge", "candle", "wagon",
};

/* Four digits that none of the first n has. */
static void draw_value(uint64_t *state, struct needle *needles, int n)
{
	struct needle *to = &needles[n];
	bool taken;
	do {
		snprintf(to->value, sizeof to->value, " %d", 1000 + (int)random_below(state, 9000));
		taken = false;
		for (int i = 0; i < n; i++)
			taken = taken || !strcmp(needles[i].value, to->value);
	} while (taken);
}

void needles_make(uint64_t seed, int n, struct needle *out)
{
	int material[NEEDLES_MAX], thing[NEEDLES_MAX];
	assert(n >= 0 && n <= NEEDLES_MAX);
	for (int i = 0; i < NEEDLES_MAX; i++)
		material[i] = thing[i] = i;
	random_shuffle(&seed, material, NEEDLES_MAX);
	random_shuffle(&seed, thing, NEEDLES_MAX);
	for (int i = 0; i < n; i++) {
		struct needle *to = &out[i];
		const char *of = materials[material[i]], *what = things[thing[i]];
		draw_value(&seed, out, i);
		to->depth = (i + (double)random_below(&seed, 1 << 20) / (1 << 20)) / n;
		snprintf(to->statement, NEEDLE_TEXT, "\nThe secret number of the %s %s is%s.\n", of, what, to->value);
		snprintf(to->question[QUALITY_VERBATIM], NEEDLE_TEXT, "\nThe secret number of the %s %s is", of, what);
		snprintf(to->question[QUALITY_PARAPHRASED], NEEDLE_TEXT,
			 "\nSomebody asked about the %s made of %s. Its secret number is", what, of);
	}
}
