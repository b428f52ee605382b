/*
 * Rotary position embedding as a model's file asks for it: the angle that a pair of dimensions turns a position, and
 * what the turned vectors are multiplied by.
 *
 * At position p the pair j of head_dim / 2 turns by p * frequency[j]. Frequencies are computed in double and rounded
 * to float32 once; the angle is the float32 product of the position and the frequency, on every device. That is the
 * arithmetic that the models were trained and published with: an angle in double would be another model's, by 4e-4 of
 * the logits at position 20,000 and 2e-3 at 131,072. Sine and cosine of that angle are right to float32 everywhere.
 */
#ifndef GEMMARK_ENGINE_MODEL_ROPE_H
#define GEMMARK_ENGINE_MODEL_ROPE_H

enum rope_scaling_type { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

/*
 * How positions beyond those first trained on are brought back. Linear divides every frequency by the factor. YaRN
 * (Peng et al., 2023, arXiv 2309.00071) divides those that turn less than beta_slow times in the original context,
 * keeps those that turn more than beta_fast times, blends linearly in the dimension between, and multiplies the turned
 * q and k by 0.1 ln(factor) + 1.
 */
struct rope_scaling {
	enum rope_scaling_type type;
	double factor; /* 1 or more */
	/* YaRN */
	double original_context;
	double beta_fast;
	double beta_slow;
};

/* out: (head_dim / 2). base > 0, and not 1 under YaRN. divisors: (head_dim / 2) of the file, or null. */
void rope_frequencies(const struct rope_scaling *s, double base, int head_dim, const float *divisors, float *out);

/* What q and k are multiplied by. */
double rope_attention_factor(const struct rope_scaling *s);

#endif
