/*
 * What the kernel tests share: seeded inputs, weights of every type with their exact values in
 * double, outputs that notice a stray write, and a runner for every thread count.
 *
 * A threshold is relative to the root mean square of the expected output: sums of random signs
 * lose relative accuracy where they cancel, whatever the kernel does.
 */
#ifndef GEMMARK_TESTS_SUPPORT_KERNELS_REFERENCE_H
#define GEMMARK_TESTS_SUPPORT_KERNELS_REFERENCE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/quant_values.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static uint64_t random_state = 1;

static inline uint32_t random_bits(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 32);
}

/* -1 .. 1 */
static inline float random_float(void)
{
	return (float)((double)random_bits() / 2147483648.0 - 1.0);
}

static inline int random_below(int n)
{
	return (int)(random_bits() % (uint32_t)n);
}

static inline void *take(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	assert_non_null(p);
	return p;
}

static inline float *random_floats(size_t n, float scale)
{
	float *x = take(n, sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = random_float() * scale;
	return x;
}

/* Of -1022 .. 1023: ldexp of 1, which references call for every product. */
static inline double power_of_two(int exponent)
{
	const uint64_t u = (uint64_t)(exponent + 1023) << 52;
	double d;

	memcpy(&d, &u, sizeof(d));
	return d;
}

static inline double decode_f16(uint16_t h)
{
	const int exponent = h >> 10 & 31;
	const double sign = h & 0x8000 ? -1.0 : 1.0;

	if (exponent == 31)
		return h & 0x3ff ? (double)NAN : sign * (double)INFINITY;
	return sign * (exponent ? (1024 + (h & 0x3ff)) * power_of_two(exponent - 25) : (h & 0x3ff) * power_of_two(-24));
}

static inline double decode_bf16(uint16_t h)
{
	const uint32_t u = (uint32_t)h << 16;
	float f;

	memcpy(&f, &u, sizeof(f));
	return (double)f;
}

/* A finite half of magnitude up to 1, one in 16 of them subnormal. */
static inline uint16_t random_f16(void)
{
	const uint32_t r = random_bits();
	const uint32_t exponent = (r >> 20 & 15) == 0 ? 0 : 8 + (r >> 24) % 7;

	return (uint16_t)((r & 0x8000) | exponent << 10 | (r & 0x3ff));
}

static inline uint16_t random_bf16(void)
{
	const uint32_t r = random_bits();

	return (uint16_t)((r & 0x8000) | (120 + (r >> 24) % 7) << 7 | (r & 0x7f));
}

/* The types and layouts a weight comes in. */
struct layout {
	int type;
	bool planes;
};

static const struct layout layouts[] = {
	{TENSOR_F32, false},  {TENSOR_F16, false},  {TENSOR_BF16, false}, {TENSOR_Q8_0, false}, {TENSOR_Q8_0, true},
	{TENSOR_Q4_0, false}, {TENSOR_Q4_1, false}, {TENSOR_Q5_0, false}, {TENSOR_Q5_1, false}, {TENSOR_IQ4_NL, false},
	{TENSOR_Q4_K, false}, {TENSOR_Q5_K, false}, {TENSOR_Q6_K, false},
};

/* Elements that a row has a multiple of. */
static inline int layout_block(struct layout l)
{
	return l.type == TENSOR_Q8_0 ? 32 : quant_block(l.type) ? quant_block(l.type) : 1;
}

static inline uint32_t quant_bits(void *ctx)
{
	(void)ctx;
	return random_bits();
}

static inline uint16_t quant_half(void *ctx)
{
	(void)ctx;
	return random_f16();
}

struct test_weight {
	struct weight w;
	void *data;
	void *scales;
	double *values; /* (n_expert, n_out, n_in), exact */
};

static inline struct test_weight weight_make(struct layout layout, int n_in, int n_out, int n_expert)
{
	const size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert;
	struct test_weight t = {.values = take(n, sizeof(double))};

	t.w = (struct weight){.type = layout.type, .n_in = n_in, .n_out = n_out, .n_expert = n_expert};
	t.data = take(n, 4);
	if (layout.type == TENSOR_Q8_0) {
		unsigned char *blocks = t.data;
		int8_t *q = t.data;
		uint16_t *d = layout.planes ? take(n / 32, 2) : NULL;

		for (size_t b = 0; b < n / 32; b++) {
			const uint16_t scale = random_f16();

			if (layout.planes)
				d[b] = scale;
			else
				memcpy(blocks + b * 34, &scale, 2);
			for (size_t i = 0; i < 32; i++) {
				const int8_t v = (int8_t)(random_below(256) - 128);

				t.values[b * 32 + i] = decode_f16(scale) * v;
				if (layout.planes)
					q[b * 32 + i] = v;
				else
					memcpy(blocks + b * 34 + 2 + i, &v, 1);
			}
		}
		t.scales = d;
	} else if (quant_block(layout.type)) {
		const size_t block = (size_t)quant_block(layout.type), bytes = quant_block_bytes(layout.type);

		quant_fill(layout.type, t.data, n / block, quant_bits, quant_half, NULL);
		for (size_t i = 0; i < n; i++)
			t.values[i] = (double)quant_value(layout.type, (unsigned char *)t.data + i / block * bytes,
							  (int)(i % block));
	} else {
		for (size_t i = 0; i < n; i++) {
			if (layout.type == TENSOR_F32) {
				((float *)t.data)[i] = random_float();
				t.values[i] = (double)((float *)t.data)[i];
			} else if (layout.type == TENSOR_F16) {
				((uint16_t *)t.data)[i] = random_f16();
				t.values[i] = decode_f16(((uint16_t *)t.data)[i]);
			} else {
				((uint16_t *)t.data)[i] = random_bf16();
				t.values[i] = decode_bf16(((uint16_t *)t.data)[i]);
			}
		}
	}
	t.w.data = t.data;
	t.w.scales = t.scales;
	return t;
}

static inline void weight_free(struct test_weight *t)
{
	free(t->data);
	free(t->scales);
	free(t->values);
}

enum { GUARD = 32 }; /* floats on both sides of an output */

/* An output buffer. expect NaN: the kernel must leave that element alone. */
struct output {
	size_t n;
	float *memory;  /* guard, n floats, guard */
	float *y;       /* memory + GUARD */
	float *initial; /* as memory: a NaN of its own, or the input of an in-place kernel */
	float *first;   /* as memory: what the first run left */
	double *expect; /* (n) */
};

static inline struct output output_make(size_t n)
{
	const size_t all = n + 2 * GUARD;
	struct output o = {.n = n, .memory = take(all, 4), .initial = take(all, 4), .first = take(all, 4)};

	o.expect = take(n, sizeof(double));
	o.y = o.memory + GUARD;
	for (size_t i = 0; i < all; i++) {
		const uint32_t poison = 0x7fc00000u | (uint32_t)(i & 0xffff);

		memcpy(o.initial + i, &poison, 4);
	}
	for (size_t i = 0; i < n; i++)
		o.expect[i] = (double)NAN;
	return o;
}

static inline struct output output_of(const float *input, size_t n)
{
	struct output o = output_make(n);

	memcpy(o.initial + GUARD, input, n * sizeof(*input));
	return o;
}

static inline void output_reset(struct output *o)
{
	memcpy(o->memory, o->initial, (o->n + 2 * GUARD) * sizeof(float));
}

static inline void output_free(struct output *o)
{
	free(o->memory);
	free(o->initial);
	free(o->first);
	free(o->expect);
}

static inline void output_check(const struct output *o, double threshold)
{
	double squares = 0.0;
	size_t n = 0;
	double limit;

	for (size_t i = 0; i < o->n; i++) {
		if (!isnan(o->expect[i])) {
			squares += o->expect[i] * o->expect[i];
			n++;
		}
	}
	limit = threshold * (n ? sqrt(squares / (double)n) : 0.0);
	for (size_t i = 0; i < o->n + 2 * GUARD; i++) {
		const bool inside = i >= GUARD && i < o->n + GUARD;

		if (!inside || isnan(o->expect[i - GUARD])) {
			if (memcmp(o->memory + i, o->initial + i, sizeof(float)) != 0)
				fail_msg("element %td written", (ptrdiff_t)i - GUARD);
		} else if (!(fabs((double)o->memory[i] - o->expect[i - GUARD]) <= limit)) {
			fail_msg("element %zu: %.9g, expected %.9g within %.3g", i - GUARD, (double)o->memory[i],
				 o->expect[i - GUARD], limit);
		}
	}
}

/* The calling thread's kernels have so many threads until team_end. */
static inline struct cpu_team *team_begin(int threads)
{
	struct cpu_team *team = cpu_team_open(threads);

	assert_non_null(team);
	cpu_team_use(team);
	return team;
}

static inline void team_end(struct cpu_team *team)
{
	cpu_team_use(NULL);
	cpu_team_close(team);
}

/* Runs the kernel on 1, 2 and 3 threads: right each time, and the same bits. */
static inline void check_everywhere(void (*kernel)(const void *params), const void *params, struct output *o,
				    double threshold)
{
	for (int threads = 1; threads <= 3; threads++) {
		struct cpu_team *team = team_begin(threads);

		output_reset(o);
		kernel(params);
		output_check(o, threshold);
		if (threads == 1)
			memcpy(o->first, o->memory, (o->n + 2 * GUARD) * sizeof(float));
		assert_memory_equal(o->first, o->memory, (o->n + 2 * GUARD) * sizeof(float));
		team_end(team);
	}
}

/* run_NAME: k_NAME for check_everywhere */
#define X(name, positional)                                     \
	static inline void run_##name(const void *params)       \
	{                                                       \
		k_##name((const struct name##_params *)params); \
	}
KERNEL_LIST(X)
#undef X

static int test_isas[CPU_ISA_COUNT] = {CPU_ISA_PORTABLE, CPU_ISA_AVX2, CPU_ISA_AVX512, CPU_ISA_AVX512VNNI};

/* Every test starts with it: its ISA, or a skip where that does not run. */
static inline void use_isa(void **state)
{
	random_state = 1;
	if (cpu_isa_force((enum cpu_isa) * (int *)*state) != 0)
		skip();
}

#define ISA_TEST(test, isa, name)                                 \
	{                                                         \
#test " " name, test, NULL, NULL, &test_isas[isa] \
	}
/* Of a routine of struct cpu_inner: avx512vnni has avx512's, which test_isa_tables in test_kernels.c holds it to. */
#define EACH_INNER(test)                                                                    \
	ISA_TEST(test, CPU_ISA_PORTABLE, "portable"), ISA_TEST(test, CPU_ISA_AVX2, "avx2"), \
		ISA_TEST(test, CPU_ISA_AVX512, "avx512")
/* Of products of few tokens, which avx512vnni makes of digits. */
#define EACH_ISA(test) EACH_INNER(test), ISA_TEST(test, CPU_ISA_AVX512VNNI, "avx512vnni")

#endif
