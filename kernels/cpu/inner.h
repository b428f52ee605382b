/*
 * The seam between the kernels and the instruction sets: a table of inner routines,
 * one table for each of enum cpu_isa. Kernels own shapes, strides, threads and scratch;
 * an inner routine is what one thread does to memory that it was handed.
 *
 * The tables are made from one source, inner_dot.h and inner_math.h over the vectors of
 * simd.h, compiled once for each instruction set with that set's flags.
 *
 * Dot products, the same in every routine here, so that a product's bits depend neither on how many
 * rows or tokens are computed together nor on who computes them: k is cut into spans of
 * CPU_SPAN, a span is accumulated vector by vector in one register and then summed across
 * it, and the spans are added in order.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_H
#define GEMMARK_KERNELS_CPU_INNER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"

enum {
	CPU_SPAN = 512,    /* floats; a tile of activations this deep stays in the first-level cache */
	CPU_PAD = 16,      /* floats; packed rows are padded with zeros to a multiple of it */
	CPU_GAP = 32,      /* floats between packed rows: see cpu_stride */
	CPU_Q8_BLOCK = 32, /* weights in a Q8_0 block */
	CPU_Q8_BYTES = 34, /* its size in a file */
};

struct cpu_inner {
	/* n elements, whole blocks, at src to float32. Scales not null means planes of Q8_0. */
	void (*to_f32)(const void *src, const void *scales, int type, float *dst, size_t n);
	/* To F32, F16 or BF16, nearest even. */
	void (*from_f32)(const float *src, int type, void *dst, size_t n);

	/* y[i] = row (row + i) of w, counted over all experts, times x: i < n_rows; x: (w->n_in) */
	void (*matvec)(const struct weight *w, size_t row, size_t n_rows, const float *x, float *y);
	/* c[i][j] = a[i] . b[j]. a: (m, k) rows lda apart; b: (n, k) rows ldb apart; k a multiple of CPU_PAD */
	void (*gemm)(const float *a, size_t lda, int m, const float *b, size_t ldb, int n, int k, float *c, size_t ldc);
	/* o[i] += sum over j < k of p[i][j] * v[j]. o: (m, n), p: (m, k), v: (k, n); n a multiple of CPU_PAD */
	void (*weighted_sum)(const float *p, size_t ldp, int m, const float *v, size_t ldv, int k, int n, float *o,
			     size_t ldo);

	float (*sum_squares)(const float *x, int n);
	float (*max)(const float *x, int n);
	/* x = exp(x - m); returns the sum. */
	float (*exp_sum)(float *x, int n, float m);
	/* y = x * a * w, w null for 1; y may be x */
	void (*scale)(const float *x, const float *w, float a, float *y, int n);
	void (*add)(const float *a, const float *b, float scale, float *y, size_t n);
	void (*gated)(const float *gate, const float *up, int act, float *y, int n);
	void (*softcap)(float *x, size_t n, float cap);
	/* Reads the bytes (a multiple of 1024) as fast as it can; the result keeps the reads alive. */
	float (*read)(const void *p, size_t bytes);
	/* Multiplies and adds what is in registers, `steps` times; the operations that this took. *kept keeps them
	 * alive. */
	double (*multiply)(int steps, float *kept);
};

/* Of processors that multiply bfloat16. */
struct cpu_inner_bf16 {
	void (*from_f32)(const float *x, uint16_t *y, size_t n);
	/* As gemm above, of rows of pairs of bfloat16: k, lda and ldb count pairs. */
	void (*gemm)(const float *a, size_t lda, int m, const float *b, size_t ldb, int n, int k, float *c, size_t ldc);
};

/*
 * Activations as digits, for products of bytes: integers with a sign of 23 bits for each block of 32, which have a
 * power of two as their scale, so that they are within half of 2^-22 of the block's greatest, rounded down to a power
 * of two. Blocks that have NaN or infinity have NaN as their scale; sums of activations of 2^118 and more may be
 * infinite. A unit of eight blocks; elements behind a row's end are 0.
 */
enum { CPU_DIGITS = 3, CPU_DIGITS_UNIT = 256, CPU_DIGITS_SPAN = 4 };
struct cpu_digits {
	/* The top one first. Eight of each block's elements, the next eight and so on; blocks 0, 4, 1, 5, 2, 6, 3, 7 */
	_Alignas(64) int8_t digit[CPU_DIGITS][4][64];
	float scale[16]; /* a block's twice */
	/* Sums of integers, of lanes of four bytes: of the first two registers, and of the others; of all; of all last
	 * digits */
	int32_t halves[2][16];
	int32_t both[16];
	int32_t last[16];
	float sums[16]; /* of all, scaled */
};

/* Of processors that multiply bytes: spans are CPU_DIGITS_SPAN units, else as inner.h's head says. */
struct cpu_inner_digits {
	/* n elements, whole blocks, to units */
	void (*from_f32)(const float *x, size_t n, struct cpu_digits *to);
	/* y[i] = row (row + i) of w, of TENSOR_QUANT_TYPES, times x's units: i < n_rows */
	void (*multiply)(const struct weight *w, size_t row, size_t n_rows, const struct cpu_digits *x, float *y);
};

extern const struct cpu_inner cpu_inner_portable;
#if defined(__x86_64__)
extern const struct cpu_inner cpu_inner_avx2;
extern const struct cpu_inner cpu_inner_avx512;
extern const struct cpu_inner_bf16 cpu_inner_avx512bf16;
extern const struct cpu_inner_digits cpu_inner_avx512vnni;
#endif

/* That of the ISA in use. */
const struct cpu_inner *cpu_inner(void);
/* Null where the processor has none. */
const struct cpu_inner_bf16 *cpu_inner_bf16(void);
/* Null where the ISA in use has none. */
const struct cpu_inner_digits *cpu_inner_digits(void);

/* Whether products of less than CPU_PROMPT_TOKENS rows with such a matrix are of digits: its type, and the ISA in use.
 */
int cpu_has_digits(const struct weight *w);
/* Units of a row of activations for it. */
static inline size_t cpu_digits_units(const struct weight *w)
{
	return ((size_t)w->n_in + CPU_DIGITS_UNIT - 1) / CPU_DIGITS_UNIT;
}
/* Row i of (n_rows, units); of null, which stands for none, null. */
static inline const struct cpu_digits *cpu_digits_row(const struct weight *w, const struct cpu_digits *rows, size_t i)
{
	return rows ? rows + i * cpu_digits_units(w) : NULL;
}
/* Rows of (w->n_in), stride apart, to (n_rows, units). */
void cpu_to_digits(const struct weight *w, const float *x, size_t stride, int n_rows, struct cpu_digits *to);
/* The same, in the calling thread's scratch; null where w has none. */
const struct cpu_digits *cpu_few_digits(const struct weight *w, const float *x, size_t stride, int n_rows);

/* Rows row .. row + n_rows of w, experts' counted through, times x; where digits is not null it has x's, if w takes
 * them. */
void cpu_token_product(const struct cpu_inner *inner, const struct weight *w, size_t row, size_t n_rows, const float *x,
		       const struct cpu_digits *digits, float *y);
/* Rows of a part of such a product, so that threads find enough of them, and each is worth its taking. */
int cpu_part_rows(const struct weight *w, int n_rows);
/* Below that all rows are one part. */
int cpu_worth_sharing(const struct weight *w, int n_rows, int n_tokens);

/* Rows of a few matrices times the same activations, at most CPU_FEW_TOKENS rows of them: what a decoded token is. */
enum { CPU_FEW_TOKENS = 2, CPU_PRODUCTS = 3 };
struct cpu_products {
	const struct weight *w[CPU_PRODUCTS]; /* (n), n_expert 1 each */
	float *y[CPU_PRODUCTS];               /* (n_tokens, n_out) each */
	int n;
	const float *x; /* (n_tokens, n_in) */
	int n_tokens;
	float cap; /* above 0: softcap of y[0] */
};
/* One loop for all. */
void cpu_products(const struct cpu_products *p);
/* The same, and out = act(y[0]) * up, row by row; up: y[1] where n is 2. out may be y[0]. */
void cpu_products_gated(const struct cpu_products *p, int act, const float *up, size_t up_stride, float *out);

/*
 * 64-byte aligned memory of the calling thread, contents undefined, valid until its next
 * call from the same thread. Grows and is kept; given back by cpu_scratch_free or when the thread ends.
 * Taken before a loop and shared out among its threads. Aborts when memory is out: a kernel
 * has no other way to say so.
 */
void *cpu_scratch(size_t bytes);

/*
 * The grain of a loop over n rows of `width` elements: parts of some thousand elements, or all rows in one where they
 * have no more than `least` elements.
 */
static inline int cpu_grain(int n, size_t width, size_t least)
{
	enum { PART = 1 << 12 };

	if (n < 2 || (size_t)n * width <= least)
		return n > 0 ? n : 1;
	return width < PART ? (int)(PART / (width ? width : 1)) : 1;
}

static inline struct step cpu_step(const struct at *at)
{
	return at->device ? *at->device : at->host;
}

static inline size_t cpu_pad(size_t n)
{
	return (n + CPU_PAD - 1) / CPU_PAD * CPU_PAD;
}

/*
 * Floats from one row of n to the next in buffers that gemm reads. Rows a power of two apart would compete for
 * the same lines of the first-level cache: at 2 KB gemm ran at 85 GFLOP/s a core, 128 bytes more made it 94 (Zen 4).
 */
static inline size_t cpu_stride(size_t n)
{
	return cpu_pad(n) + CPU_GAP;
}

/* Of n elements, whole blocks. */
static inline size_t cpu_row_bytes(int type, size_t n, int planes)
{
	if (planes)
		return n;
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		return n / (block) * (block_bytes);
		TENSOR_TYPES(X, , )
#undef X
	}
	assert(!"a type of the table");
	return 0;
}

static inline int cpu_whole_blocks(int type, size_t n)
{
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		return n % (block) == 0;
		TENSOR_TYPES(X, , )
#undef X
	}
	return 0;
}

/* Where row `row`, counted over all experts, starts: elements and (planes only) scales. */
static inline const void *cpu_weight_row(const struct weight *w, size_t row)
{
	return (const char *)w->data + row * cpu_row_bytes(w->type, (size_t)w->n_in, w->scales != NULL);
}

static inline const void *cpu_weight_scales(const struct weight *w, size_t row)
{
	return w->scales ? (const uint16_t *)w->scales + row * ((size_t)w->n_in / CPU_Q8_BLOCK) : NULL;
}

#endif
