#include "engine/model/rope.h"

#include <math.h>
#include <stddef.h>

static const double pi = 3.14159265358979323846;

/* The dimension, as a real number, whose pair turns so many times in the original context. */
static double dimension_of_turns(const struct rope_scaling *s, double base, int head_dim, double turns)
{
	return head_dim * log(s->original_context / (turns * 2 * pi)) / (2 * log(base));
}

/* The part of a frequency that YaRN keeps: 1 before `low`, 0 behind `high`. */
static double kept(double low, double high, int j)
{
	double ramp = (j - low) / (high - low);
	return 1 - fmin(fmax(ramp, 0), 1);
}

void rope_frequencies(const struct rope_scaling *s, double base, int head_dim, const float *divisors, float *out)
{
	double low = 0, high = 0;
	if (s->type == ROPE_SCALING_YARN) {
		low = fmax(floor(dimension_of_turns(s, base, head_dim, s->beta_fast)), 0);
		high = fmin(ceil(dimension_of_turns(s, base, head_dim, s->beta_slow)), head_dim - 1);
		if (low == high)
			high += 0.001; /* as published: no division by zero */
	}
	for (int j = 0; j < head_dim / 2; j++) {
		double frequency = pow(base, -2.0 * j / head_dim);
		if (divisors)
			frequency /= (double)divisors[j];
		if (s->type == ROPE_SCALING_LINEAR) {
			frequency /= s->factor;
		} else if (s->type == ROPE_SCALING_YARN) {
			double k = kept(low, high, j);
			frequency = frequency * k + frequency / s->factor * (1 - k);
		}
		out[j] = (float)frequency;
	}
}

double rope_attention_factor(const struct rope_scaling *s)
{
	return s->type == ROPE_SCALING_YARN ? 0.1 * log(s->factor) + 1 : 1;
}
