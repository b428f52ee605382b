/* Values of synthetic models: reproducible, well scaled, and rightly converted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/synth_case.h"
#include "tests/support/temp_file.h"

static void test_deterministic(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	static const struct {
		uint64_t seed;
		int n_threads;
		bool same;
	} runs[] = {{7, 1, true}, {7, 2, true}, {7, 5, true}, {8, 1, false}};
	unsigned char *first = NULL;
	size_t n_first = 0;
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
		size_t n;
		synth_case_make("gemma4-e2b-tiny", TENSOR_Q8_0, runs[i].seed, runs[i].n_threads, t.path);
		unsigned char *bytes = synth_case_bytes(t.path, &n);
		if (!first) {
			first = bytes;
			n_first = n;
			continue;
		}
		assert_int_equal(n, n_first);
		size_t equal = 0;
		for (size_t k = 0; k < n; k++)
			equal += first[k] == bytes[k];
		/* Of random bytes about 1 % agree; header, names and rope_freqs are the rest. */
		assert_true(runs[i].same ? equal == n : equal < n / 20);
		free(bytes);
	}
	free(first);
	temp_file_remove(&t);
}

/* Pieces of a tensor, asked for in any order, are the tensor. */
static void test_pieces(void **state)
{
	(void)state;
	struct synth_plan p = synth_case_plan("gemma4-e4b-tiny", TENSOR_Q8_0, 3);
	const struct synth_tensor *t = synth_case_tensor(&p, "blk.0.ffn_up.weight");
	size_t bytes = tensor_type_bytes(t->type, 32768);
	unsigned char *whole = malloc(bytes), *part = malloc(bytes);
	synth_tensor_fill(t, 3, 0, 32768, whole);
	synth_tensor_fill(t, 3, 16384, 16384, part + bytes / 2);
	synth_tensor_fill(t, 3, 0, 16384, part);
	assert_memory_equal(whole, part, bytes);
	free(whole);
	free(part);
	synth_plan_free(&p);
}

static void check_moments(const struct synth_tensor *t, const float *x, int64_t n, double mean, double spread)
{
	/* Words of one block are combined at distances of 8, 16 and 24. */
	static const int lags[] = {1, 8, 16, 24};
	double sum = 0, squares = 0, fourth = 0, products[4] = {0}, most = 0;
	for (int64_t i = 0; i < n; i++) {
		assert_true(isfinite(x[i]));
		sum += x[i];
	}
	double m = sum / (double)n;
	for (int64_t i = 0; i < n; i++) {
		double d = x[i] - m;
		squares += d * d;
		fourth += d * d * d * d;
		most = fabs(d) > most ? fabs(d) : most;
		for (int k = 0; k < 4; k++)
			products[k] += d * (x[(i + lags[k]) % n] - m);
	}
	double s = sqrt(squares / (double)n), error = 5 / sqrt((double)n);
	if (fabs(m - mean) > error * spread || fabs(s / spread - 1) > error)
		fail_msg("%s: mean %g, spread %g", t->name, m, s);
	for (int k = 0; k < 4; k++)
		if (n >= 1024 && fabs(products[k] / squares) > error)
			fail_msg("%s: values %d apart correlate: %g", t->name, lags[k], products[k] / squares);
	/* Four uniforms: kurtosis 3 - 6 / 5 / 4 = 2.7, at most sqrt(12) spreads from the mean. */
	if (n > 10000)
		assert_true(fabs(fourth / (double)n / (s * s * s * s) - 2.7) < 0.1 && most < 3.5 * s && most > 3 * s);
}

/* The F32 file against what model.md's normalised activations need: spread 1/sqrt(n_in), norms about 1. */
static void test_moments(void **state)
{
	(void)state;
	struct synth_plan p = synth_case_plan("gemma4-e4b-tiny", TENSOR_F32, 5);
	for (int i = 0; i < p.n_tensors; i++) {
		const struct synth_tensor *t = &p.tensors[i];
		int64_t n = synth_tensor_elements(t);
		float *x = malloc((size_t)n * sizeof *x);
		assert_non_null(x);
		synth_tensor_fill(t, 5, 0, n, x);
		if (strcmp(t->name, "per_layer_token_embd.weight") == 0)
			check_moments(t, x, n, 0, 1 / sqrt(32));
		else if (t->n_dims == 2)
			check_moments(t, x, n, 0, 1 / sqrt((double)t->ne[0]));
		else if (strstr(t->name, "attn_norm") || strstr(t->name, "post_") || strstr(t->name, "ffn_norm"))
			check_moments(t, x, n, 1, 0.2);
		else if (strstr(t->name, "layer_output_scale"))
			assert_true(x[0] > 0.75f && x[0] < 1.05f);
		free(x);
	}
	synth_plan_free(&p);
}

/* Two tensors of one shape hold different values. */
static void test_tensors_differ(void **state)
{
	(void)state;
	struct synth_plan p = synth_case_plan("gemma4-e4b-tiny", TENSOR_F32, 5);
	float a[256], b[256];
	double dot = 0, aa = 0, bb = 0;
	synth_tensor_fill(synth_case_tensor(&p, "blk.0.ffn_up.weight"), 5, 0, 256, a);
	synth_tensor_fill(synth_case_tensor(&p, "blk.0.ffn_gate.weight"), 5, 0, 256, b);
	for (int i = 0; i < 256; i++) {
		dot += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
	}
	assert_true(fabs(dot) / sqrt(aa * bb) < 5 / sqrt(256));
	synth_plan_free(&p);
}

/* ---- conversions, against definitions ---- */

static double half_value(uint16_t h)
{
	int exponent = (h >> 10) & 31, mantissa = h & 1023;
	double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
	return h & 0x8000 ? -v : v;
}

static double bf16_value(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float x;
	memcpy(&x, &u, sizeof x);
	return x;
}

/* h is nearest to x of all values, and even where two are. Neighbours are one code away. */
static void assert_nearest(uint16_t h, double x, double (*value)(uint16_t))
{
	double e = fabs(value(h) - x), up = fabs(value((uint16_t)(h + 1)) - x);
	double down = h & 0x7fff ? fabs(value((uint16_t)(h - 1)) - x) : INFINITY;
	assert_true(e <= up && e <= down);
	if (e == up || e == down)
		assert_true((h & 1) == 0);
}

static struct synth_tensor matrix(enum tensor_type type, double spread)
{
	return (struct synth_tensor){
		.name = "m.weight", .type = type, .n_dims = 2, .ne = {256, 64, 1, 1}, .spread = (float)spread};
}

enum { N_MATRIX = 256 * 64 };

/* Spreads from where every f16 is subnormal to where all are normal. */
static const double spreads[] = {1e-6, 3e-5, 1e-3, 0.02, 1, 100};

static void test_half_types(void **state)
{
	(void)state;
	static float x[N_MATRIX];
	static uint16_t h[N_MATRIX], b[N_MATRIX];
	for (size_t k = 0; k < sizeof spreads / sizeof *spreads; k++) {
		struct synth_tensor f32 = matrix(TENSOR_F32, spreads[k]), f16 = matrix(TENSOR_F16, spreads[k]);
		struct synth_tensor bf16 = matrix(TENSOR_BF16, spreads[k]);
		synth_tensor_fill(&f32, 9, 0, N_MATRIX, x);
		synth_tensor_fill(&f16, 9, 0, N_MATRIX, h);
		synth_tensor_fill(&bf16, 9, 0, N_MATRIX, b);
		for (int i = 0; i < N_MATRIX; i++) {
			assert_nearest(h[i], x[i], half_value);
			assert_nearest(b[i], x[i], bf16_value);
		}
	}
}

static void test_q8_0(void **state)
{
	(void)state;
	static float x[N_MATRIX];
	static unsigned char q[N_MATRIX / 32 * 34];
	for (size_t k = 2; k < sizeof spreads / sizeof *spreads; k++) {
		struct synth_tensor f32 = matrix(TENSOR_F32, spreads[k]), q8 = matrix(TENSOR_Q8_0, spreads[k]);
		synth_tensor_fill(&f32, 9, 0, N_MATRIX, x);
		synth_tensor_fill(&q8, 9, 0, N_MATRIX, q);
		for (int block = 0; block < N_MATRIX / 32; block++) {
			const float *xb = x + 32 * block;
			const unsigned char *qb = q + 34 * block;
			double most = 0;
			int most_q = 0;
			for (int i = 0; i < 32; i++)
				most = fabs(xb[i]) > most ? fabs(xb[i]) : most;
			uint16_t scale = (uint16_t)(qb[0] | qb[1] << 8);
			assert_nearest(scale, (float)most / 127.0f, half_value);
			for (int i = 0; i < 32; i++) {
				int v = (int8_t)qb[2 + i];
				most_q = abs(v) > most_q ? abs(v) : most_q;
				/* Half a step; and what rounding the scale to 11 bits (or to 2^-24) adds at 127. */
				double step = most / 127, slack = 127 * fmax(step / 2048, ldexp(1, -25));
				assert_true(fabs(xb[i] - v * half_value(scale)) <= 0.5001 * step + slack);
				assert_true(fabs(xb[i] - v * step) <= 0.5001 * step);
			}
			assert_int_equal(most_q, 127);
		}
	}
}

/* --ple-type f32 in a narrower file: values of a BF16 checkpoint, so that narrowing them loses nothing. */
static void test_published_ple(void **state)
{
	(void)state;
	struct synth_options o;
	struct synth_plan p;
	synth_options_default(&o, "gemma4-e4b-tiny");
	o.ple_type = TENSOR_F32;
	assert_int_equal(synth_plan_init(&p, &o, NULL), 0);
	static const char *const names[] = {"blk.3.inp_gate.weight", "blk.3.proj.weight",
					    "per_layer_model_proj.weight"};
	for (size_t k = 0; k < 3; k++) {
		const struct synth_tensor *t = synth_case_tensor(&p, names[k]);
		uint32_t x[1024];
		assert_int_equal(t->type, TENSOR_F32);
		synth_tensor_fill(t, 1, 0, 1024, x);
		for (int i = 0; i < 1024; i++)
			assert_int_equal(x[i] & 0xffff, 0);
	}
	assert_int_equal(synth_case_tensor(&p, "blk.3.attn_q.weight")->type, TENSOR_Q8_0);
	synth_plan_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deterministic), cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_moments),       cmocka_unit_test(test_tensors_differ),
		cmocka_unit_test(test_half_types),    cmocka_unit_test(test_q8_0),
		cmocka_unit_test(test_published_ple),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
