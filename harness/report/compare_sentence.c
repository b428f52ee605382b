/* What a comparison found, in words. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/compare.h"
#include "harness/report/paired_effect.h"

const char *compare_outcome_name(enum compare_outcome o)
{
	static const char *const names[] = {
		[COMPARE_SAME] = "same",           [COMPARE_FASTER] = "faster",         [COMPARE_SLOWER] = "slower",
		[COMPARE_UNCLEAR] = "cannot tell", [COMPARE_COMMON] = "moved with all", [COMPARE_LOST] = "fails now",
		[COMPARE_WRONG] = "wrong results", [COMPARE_NOT_RUN] = "not run",       [COMPARE_GAINED] = "runs now",
	};
	return names[o];
}

/* Appends, cut to the sentence's size. */
static void say(char out[COMPARE_SENTENCE_SIZE], const char *text)
{
	size_t used = strlen(out);
	snprintf(out + used, COMPARE_SENTENCE_SIZE - used, "%.*s",
		 (int)text_cut(text, COMPARE_SENTENCE_SIZE - used - 1), text);
}

enum { WORD = 64 };

/* " graph-device"; nothing of an axis across which the sides are compared. */
static const char *word(const struct cell *c, enum axis_id a, char out[WORD])
{
	const char *value = cell_word(c, a);
	out[0] = ' ';
	text_escape(out + 1, WORD - 1, value);
	return strcmp(value, COMPARE_ACROSS) ? out : "";
}

/* The cell of that outcome that moved most; null: there is none. */
static const struct compare_cell *most_of(const struct comparison *c, enum compare_outcome o)
{
	const struct compare_cell *most = NULL;
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = &c->cells[i];
		if (k->outcome != o)
			continue;
		double x = fabs(k->values[METRIC_TIME].verdict.effect);
		if (!most || x > fabs(most->values[METRIC_TIME].verdict.effect))
			most = k;
	}
	return most;
}

/* The fewest units of a side over the cells; 0: no cell has any on both. */
static int fewest_units(const struct comparison *c)
{
	int fewest = 0;
	for (int i = 0; i < c->n; i++) {
		const struct compare_value *v = &c->cells[i].values[METRIC_TIME];
		int n = v->n < v->m ? v->n : v->m;
		fewest = n && (!fewest || n < fewest) ? n : fewest;
	}
	return fewest;
}

double compare_coverage(const struct comparison *c, int n, int m)
{
	int fewest = n < m ? n : m;
	if (fewest > PAIRED_EFFECT_RANGE)
		return c->options.verdict.level;
	/* Of so few pairs it is their range. */
	return c->options.paired && fewest ? paired_effect_range_coverage(fewest) : NAN;
}

const char *compare_interval_head(const struct comparison *c)
{
	int fewest = fewest_units(c);
	return fewest && fewest <= PAIRED_EFFECT_RANGE ? "interval" : "95 % interval";
}

void compare_interval_text(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE])
{
	int fewest = fewest_units(c);
	int used = snprintf(out, COMPARE_SENTENCE_SIZE, "%.3g %% bootstrap interval", 100 * c->options.verdict.level);
	if (!fewest || fewest > PAIRED_EFFECT_RANGE)
		return;
	if (!c->options.paired)
		snprintf(out + used, COMPARE_SENTENCE_SIZE - (size_t)used,
			 " (of %d units a side it holds the true change less often)", fewest);
	else
		snprintf(out + used, COMPARE_SENTENCE_SIZE - (size_t)used,
			 " (of %d pairs their range, which holds the true change %.0f times in 100)", fewest,
			 100 * paired_effect_range_coverage(fewest));
}

/* " within 1 %", of cells that are the same; of differences too small to matter, whatever they are of it, so. */
static const char *within(const struct comparison *c, char out[40])
{
	bool tiny = false;
	for (int i = 0; i < c->n; i++)
		tiny |= c->cells[i].outcome == COMPARE_SAME && c->cells[i].values[METRIC_TIME].tiny;
	snprintf(out, 40, tiny ? " within %.3g %% or %.3g us" : " within %.3g %%", 100 * c->options.verdict.delta,
		 metrics[METRIC_TIME].floor);
	return out;
}

/*
 * Of cells that are the same by their intervals: the largest true slow-down that might not be called slower all the
 * same, where it is more than twice what counts. 0: none.
 */
static double undetected(const struct comparison *c)
{
	double most = 2 * c->options.verdict.delta;
	for (int i = 0; i < c->n; i++) {
		const struct compare_value *v = &c->cells[i].values[METRIC_TIME];
		if (c->cells[i].outcome == COMPARE_SAME && !v->tiny && isfinite(v->verdict.detectable))
			most = fmax(most, v->verdict.detectable);
	}
	return most > 2 * c->options.verdict.delta ? most : 0;
}

/* Cells whose logits have other bits than in base, where no gate asks for them. */
static int other_bits(const struct comparison *c)
{
	int n = 0;
	for (int i = 0; i < c->n; i++)
		n += c->cells[i].exact[EXACT_LOGITS].change == EXACT_DIFFERENT &&
		     !(c->cells[i].exact_gates >> EXACT_LOGITS & 1);
	return n;
}

void compare_sentence(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE])
{
	static const enum compare_outcome order[] = {COMPARE_WRONG,  COMPARE_LOST,   COMPARE_SLOWER,  COMPARE_FASTER,
						     COMPARE_COMMON, COMPARE_GAINED, COMPARE_UNCLEAR, COMPARE_SAME};
	static const char *const words[][2] = {
		[COMPARE_WRONG] = {"gives wrong results", "give wrong results"},
		[COMPARE_LOST] = {"does not run any more", "do not run any more"},
		[COMPARE_SLOWER] = {"is slower", "are slower"},
		[COMPARE_FASTER] = {"is faster", "are faster"},
		[COMPARE_COMMON] = {"moved as all cells did", "moved as all cells did"},
		[COMPARE_GAINED] = {"runs now", "run now"},
		[COMPARE_UNCLEAR] = {"cannot be told", "cannot be told"},
		[COMPARE_SAME] = {"is the same", "are the same"},
	};
	char part[200], bounds[40];
	int ran = c->n - c->count[COMPARE_NOT_RUN], said = 0;
	out[0] = '\0';
	for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
		enum compare_outcome o = order[i];
		int n = c->count[o];
		const struct compare_cell *k = n ? most_of(c, o) : NULL;
		if (!n)
			continue;
		if (said++)
			say(out, "; ");
		const char *is = words[o][n > 1];
		if (said > 1)
			snprintf(part, sizeof part, "%d %s", n, is);
		else if (n < ran)
			snprintf(part, sizeof part, "%d of %d cells %s", n, ran, is);
		else if (n == 1)
			snprintf(part, sizeof part, "The one cell %s", is);
		else if (o == COMPARE_UNCLEAR)
			snprintf(part, sizeof part, "None of %d cells can be told", n);
		else
			snprintf(part, sizeof part, "All %d cells %s", n, is);
		say(out, part);
		if (o == COMPARE_SAME)
			say(out, within(c, bounds));
		if (o == COMPARE_SAME && undetected(c) > 0) {
			snprintf(part, sizeof part,
				 " by the interval of %s median, though so noisy that only a slow-down of %.1f %% is "
				 "sure to be found",
				 n > 1 ? "their" : "its", 100 * undetected(c));
			say(out, part);
		}
		if (o == COMPARE_SLOWER || o == COMPARE_FASTER || o == COMPARE_LOST || o == COMPARE_WRONG) {
			char label[CELL_LABEL_SIZE], mode[WORD], fusion[WORD];
			double effect = k->values[METRIC_TIME].verdict.effect;
			cell_label(&k->cell, label);
			snprintf(part, sizeof part, " (%s%s%s%s", n > 1 ? "most: " : "", label,
				 word(&k->cell, AXIS_MODE, mode), word(&k->cell, AXIS_FUSION, fusion));
			say(out, part);
			if (isfinite(effect) && (o == COMPARE_SLOWER || o == COMPARE_FASTER)) {
				snprintf(part, sizeof part, fabs(effect) < 1e6 ? ": %+.1f %%" : ": %+.3e %%",
					 100 * effect);
				say(out, part);
			}
			say(out, ")");
		}
	}
	if (c->exact_gated) {
		unsigned gates = 0;
		int launches = 0, one = c->exact_gated == 1;
		for (int i = 0; i < c->n; i++) {
			gates |= c->cells[i].exact_gates;
			launches += compare_launches_more(&c->cells[i]);
		}
		snprintf(part, sizeof part, "%s%d cell%s ", said ? "; " : "", c->exact_gated, one ? "" : "s");
		say(out, part);
		if (launches == c->exact_gated) {
			say(out, one ? "launches more than before" : "launch more than before");
		} else {
			char what[COMPARE_GATES_SIZE];
			compare_gates_text(gates, what);
			say(out, one ? "differs in " : "differ in ");
			say(out, what);
		}
		said = 1;
	}
	int bits = other_bits(c);
	if (said && bits) {
		snprintf(part, sizeof part, "; the logits' bits are other ones in %d cell%s, which is not judged", bits,
			 bits == 1 ? "" : "s");
		say(out, part);
	}
	say(out, said ? "." : "No cell ran on either side.");
}

void compare_common_sentence(const struct comparison *c, char out[COMPARE_SENTENCE_SIZE])
{
	const struct verdict *v = &c->common;
	if (!isfinite(v->effect)) {
		snprintf(out, COMPARE_SENTENCE_SIZE,
			 "Common to all cells: not known; it takes %d cells, and there %s %d.",
			 COMPARE_COMMON_CELLS_MIN, c->common_cells == 1 ? "is" : "are", c->common_cells);
		return;
	}
	char text[160];
	const char *of = "all";
	if (v->kind == VERDICT_SAME) {
		snprintf(text, sizeof text, "no change beyond %.3g %%", 100 * c->options.verdict.delta);
	} else if (v->kind == VERDICT_INCONCLUSIVE) {
		snprintf(text, sizeof text, "no change that can be told");
	} else if (c->common_apart) {
		of = "most of";
		snprintf(text, sizeof text, "%d did not move with them%s", c->common_apart,
			 c->options.gate == COMPARE_GATE_RELATIVE ? "" : ", so each is judged by its own change");
	} else {
		snprintf(
			text, sizeof text, "all %scells moved so far together%s", c->options.paired ? "of head's " : "",
			c->options.paired ? ""
					  : ": head, or the machine between the two measurements; measure side by side "
					    "to know");
	}
	snprintf(out, COMPARE_SENTENCE_SIZE,
		 fabs(v->effect) + fabs(v->high) < 1e6 ? "Common to %s %d cells: %+.2f %% [%+.2f, %+.2f]: %s."
						       : "Common to %s %d cells: %+.3e %% [%+.3e, %+.3e]: %s.",
		 of, c->common_cells, 100 * v->effect, 100 * v->low, 100 * v->high, text);
}

const char *compare_gate_text(const struct comparison *c)
{
	enum compare_gate gate = c->options.gate;
	if (gate == COMPARE_GATE_ABSOLUTE || (gate == COMPARE_GATE_AUTO && c->options.paired))
		return "each cell by its own change";
	if (gate == COMPARE_GATE_RELATIVE)
		return "each cell by its own change, unless it moved no further than the common one";
	return "each cell by its own change, unless all moved together, none apart, and it no further than they";
}
