/*
 * Products of weight matrices with activations.
 *
 * Few tokens: the inner matvec, straight from the weights as they lie, some rows at a time, so that
 * a second token finds them in the cache. Many: the activations are packed once, in
 * spans of CPU_SPAN; then a block of rows is expanded to float32 a span at a time and multiplied with
 * all tokens while it is in the second-level cache. Both accumulate in the order that
 * inner.h states, so a row's result has the same bits either way. The packed activations take
 * n_tokens * n_in floats of scratch (for experts, n_used times that).
 *
 * Where the ISA has digits for the matrix's type (inner.h), fewer than CPU_PROMPT_TOKENS tokens are multiplied straight
 * from the weights, one by one; the activations' digits take 4.5 bytes an element of scratch. Of more, the sums of 64
 * products would take nine instructions a token, and floats take four once the weights are expanded: prompts were 18 to
 * 38 % slower with digits (Q4_K, Q6_K, IQ4_NL, Zen 4).
 *
 * In bfloat16 (cpu_bf16_use) both are packed as pairs that take a float's place: below, a word. A span is as many
 * bytes then and twice as many elements, and all rows go through blocks, so that an expert's few get the same bits as
 * many.
 */
#include <assert.h>
#include <limits.h>
#include <string.h>

#include "kernels/cpu/inner.h"

enum {
	ROW_BLOCK = 96,       /* rows that a thread takes at a time with many tokens, at most: a panel of 204 KB */
	ROW_BLOCK_LEAST = 24, /* and at least, where threads would find too few blocks */
	ROW_BLOCK_COST = 4,   /* rows that a block's passes over the activations take as long as */
	TOKEN_CHUNK = 64,     /* tokens multiplied at a time: their result fits beside the panel */
	CACHE_LINE = 64,      /* bytes */
	PACK_ROWS = 4,        /* of activations that a thread packs at a time */
};

/* Product of one expert's matrix with `count` rows of x; row i is pairs[i], or i where pairs is null. */
struct product {
	const struct weight *w;
	size_t expert;
	const int *pairs;
	int count;
	const float *x; /* row r at x + r / x_div * x_stride */
	int x_div;
	size_t x_stride;
	float *y; /* row r at y + r * y_stride */
	size_t y_stride;
	float *packed;                     /* many tokens: span after span of (count, span) */
	const struct cpu_inner_bf16 *bf16; /* null: in float32 */
	const struct cpu_digits *digits;   /* of x's rows, (units) each, or null */
	int block;                         /* rows that a thread takes at a time: block_rows */
};

/* A thread's buffers for block_product. */
struct block_scratch {
	float panel[ROW_BLOCK * (CPU_SPAN + CPU_GAP)];
	float c[TOKEN_CHUNK * ROW_BLOCK];
	float row[2 * CPU_SPAN]; /* a span's elements on their way to bfloat16 */
};

_Static_assert(sizeof(struct block_scratch) % _Alignof(struct cpu_digits) == 0, "digits lie behind them");

static size_t product_x_row(const struct product *p, int i)
{
	return (size_t)((p->pairs ? p->pairs[i] : i) / p->x_div);
}

static const float *product_x(const struct product *p, int i)
{
	return p->x + product_x_row(p, i) * p->x_stride;
}

static float *product_y(const struct product *p, int i)
{
	return p->y + (size_t)(p->pairs ? p->pairs[i] : i) * p->y_stride;
}

static int few(const struct product *p)
{
	return p->count <= CPU_FEW_TOKENS && !p->bf16;
}

static _Thread_local int use_bf16;

int cpu_bf16_use(int on)
{
	const int before = use_bf16;

	use_bf16 = on;
	return before;
}

/* What such a product is computed with; null: float32. */
static const struct cpu_inner_bf16 *bf16_for(const struct weight *w, int n_tokens)
{
	const int narrow = w->type == TENSOR_Q8_0 || w->type == TENSOR_BF16;

	return use_bf16 && narrow && n_tokens >= CPU_PROMPT_TOKENS ? cpu_inner_bf16() : NULL;
}

/* Elements of a word. */
static size_t per_word(const struct cpu_inner_bf16 *bf16)
{
	return bf16 ? 2 : 1;
}

/* Words of a row of n_in elements. */
static size_t words(const struct cpu_inner_bf16 *bf16, size_t n_in)
{
	return (n_in + per_word(bf16) - 1) / per_word(bf16);
}

/* Words that a row of n of activations takes: every span with the gap that follows it. */
static size_t packed_width(size_t n)
{
	return cpu_pad(n) + (n + CPU_SPAN - 1) / CPU_SPAN * CPU_GAP;
}

/* Where the span that begins at word k0 lies: (count, cpu_stride(its length)). */
static float *packed_span(const struct product *p, size_t k0)
{
	return p->packed + packed_width(k0) * (size_t)p->count;
}

static size_t packed_floats(const struct product *p)
{
	return few(p) ? 0 : (size_t)p->count * packed_width(words(p->bf16, (size_t)p->w->n_in));
}

/* Elements of the span that begins at word k0. */
static size_t span_elements(const struct product *p, size_t k0)
{
	const size_t rest = (size_t)p->w->n_in - k0 * per_word(p->bf16), whole = CPU_SPAN * per_word(p->bf16);

	return rest < whole ? rest : whole;
}

/* n elements as words, zeros up to the padded length. */
static void pack_span(const struct product *p, const float *x, size_t n, float *dst)
{
	const size_t size = sizeof(float) / per_word(p->bf16);

	if (p->bf16)
		p->bf16->from_f32(x, (uint16_t *)dst, n);
	else
		memcpy(dst, x, n * sizeof(float));
	memset((char *)dst + n * size, 0, cpu_pad(words(p->bf16, n)) * sizeof(float) - n * size);
}

/* Row i of the activations to its places. */
static void pack_row(const struct product *p, int i)
{
	const float *x = product_x(p, i);

	for (size_t k0 = 0; k0 < words(p->bf16, (size_t)p->w->n_in); k0 += CPU_SPAN) {
		const size_t n = span_elements(p, k0);

		pack_span(p, x + k0 * per_word(p->bf16), n,
			  packed_span(p, k0) + (size_t)i * cpu_stride(words(p->bf16, n)));
	}
}

/* Elements k0 .. k0 + n of a row to float32; asks for as many that follow. */
static void row_to_f32(const struct cpu_inner *inner, const struct weight *w, size_t row, size_t k0, size_t n,
		       float *dst)
{
	const int planes = w->scales != NULL;
	const size_t bytes = cpu_row_bytes(w->type, n, planes);
	const char *src = (const char *)cpu_weight_row(w, row) + cpu_row_bytes(w->type, k0, planes);
	const uint16_t *scales = cpu_weight_scales(w, row);

	for (size_t b = bytes; b < 2 * bytes; b += CACHE_LINE)
		__builtin_prefetch(src + b, 0, 2);
	inner->to_f32(src, planes ? scales + k0 / CPU_Q8_BLOCK : NULL, w->type, dst, n);
}

/* Elements of a row, experts' counted through, as words: the span of n that begins at word k0. */
static void row_words(const struct cpu_inner *inner, const struct product *p, size_t row, size_t k0, size_t n,
		      float *dst, struct block_scratch *s)
{
	if (p->bf16) {
		row_to_f32(inner, p->w, row, k0 * per_word(p->bf16), n, s->row);
		pack_span(p, s->row, n, dst);
		return;
	}
	row_to_f32(inner, p->w, row, k0, n, dst);
	memset(dst + n, 0, (cpu_pad(n) - n) * sizeof(float));
}

/* Rows row .. row + n_rows of the product, many tokens. */
static void block_product(const struct cpu_inner *inner, const struct product *p, size_t row, int n_rows,
			  struct block_scratch *s)
{
	const size_t first = p->expert * (size_t)p->w->n_out + row;
	void (*const gemm)(const float *, size_t, int, const float *, size_t, int, int, float *, size_t) =
		p->bf16 ? p->bf16->gemm : inner->gemm;

	for (size_t k0 = 0; k0 < words(p->bf16, (size_t)p->w->n_in); k0 += CPU_SPAN) {
		const size_t elements = span_elements(p, k0), k = words(p->bf16, elements);
		const size_t stride = cpu_stride(k);
		const float *x = packed_span(p, k0);

		for (int r = 0; r < n_rows; r++)
			row_words(inner, p, first + (size_t)r, k0, elements, s->panel + (size_t)r * stride, s);
		for (int t0 = 0; t0 < p->count; t0 += TOKEN_CHUNK) {
			const int n = p->count - t0 < TOKEN_CHUNK ? p->count - t0 : TOKEN_CHUNK;

			gemm(x + (size_t)t0 * stride, stride, n, s->panel, stride, n_rows, (int)cpu_pad(k), s->c,
			     ROW_BLOCK);
			for (int t = 0; t < n; t++) {
				const float *c = s->c + t * ROW_BLOCK;
				float *y = product_y(p, t0 + t) + row;

				if (k0)
					inner->add(y, c, 1.0f, y, (size_t)n_rows);
				else
					memcpy(y, c, (size_t)n_rows * sizeof(float));
			}
		}
	}
}

/* The same, few tokens, or fewer than CPU_PROMPT_TOKENS of digits. */
static void row_product(const struct cpu_inner *inner, const struct product *p, size_t row, size_t n_rows)
{
	const size_t first = p->expert * (size_t)p->w->n_out + row;

	for (int i = 0; i < p->count; i++)
		cpu_token_product(inner, p->w, first, n_rows, product_x(p, i),
				  cpu_digits_row(p->w, p->digits, product_x_row(p, i)), product_y(p, i) + row);
}

static int row_blocks(int n_rows, int block)
{
	return (n_rows + block - 1) / block;
}

/*
 * The block with which the thread that has the most is done first. Blocks of 48 and 24 rows take 4 and 13 % longer a
 * row (Zen 5); but of 256 rows three in blocks of 96 would leave most of 16 threads without any.
 */
static int block_rows(int n_rows, int threads)
{
	int best = ROW_BLOCK, least = INT_MAX;

	for (int block = ROW_BLOCK; block >= ROW_BLOCK_LEAST; block /= 2) {
		const int turns = (row_blocks(n_rows, block) + threads - 1) / threads;

		if (turns * (block + ROW_BLOCK_COST) < least) {
			least = turns * (block + ROW_BLOCK_COST);
			best = block;
		}
	}
	return best;
}

/* Block b of a product's row_blocks; few: without scratch. */
static void product_block(const struct cpu_inner *inner, const struct product *p, int b, struct block_scratch *s)
{
	const int row = b * p->block;
	const int n = p->w->n_out - row < p->block ? p->w->n_out - row : p->block;

	if (p->digits || few(p))
		row_product(inner, p, (size_t)row, (size_t)n);
	else
		block_product(inner, p, (size_t)row, n, s);
}

static void few_part(void *ctx, int begin, int end, int thread)
{
	(void)thread;
	row_product(cpu_inner(), ctx, (size_t)begin, (size_t)(end - begin));
}

/* Of many tokens. */
struct matmul_loop {
	const struct product *product;
	struct block_scratch *scratch; /* a thread's each */
};

static void pack_part(void *ctx, int begin, int end, int thread)
{
	const struct matmul_loop *l = ctx;

	(void)thread;
	for (int i = begin; i < end; i++)
		pack_row(l->product, i);
}

static void blocks_part(void *ctx, int begin, int end, int thread)
{
	const struct matmul_loop *l = ctx;

	for (int b = begin; b < end; b++)
		product_block(cpu_inner(), l->product, b, &l->scratch[thread]);
}

void k_matmul(const struct matmul_params *p)
{
	struct product product = {
		.w = &p->w,
		.count = p->n_tokens,
		.x = p->x,
		.x_div = 1,
		.x_stride = (size_t)p->x_stride,
		.y = p->y,
		.y_stride = (size_t)p->y_stride,
		.bf16 = bf16_for(&p->w, p->n_tokens),
	};
	const int parallel = cpu_worth_sharing(&p->w, p->w.n_out, p->n_tokens);
	const int threads = parallel ? cpu_threads() : 1;
	struct matmul_loop l = {.product = &product};
	int blocks;

	assert(p->w.n_expert <= 1 && cpu_whole_blocks(p->w.type, (size_t)p->w.n_in));
	if (p->n_tokens < CPU_PROMPT_TOKENS)
		product.digits = cpu_few_digits(&p->w, p->x, product.x_stride, p->n_tokens);
	if (product.digits || few(&product)) {
		cpu_parallel(p->w.n_out, parallel ? cpu_part_rows(&p->w, p->w.n_out) : p->w.n_out, few_part, &product);
		return;
	}
	product.block = block_rows(p->w.n_out, threads);
	blocks = row_blocks(p->w.n_out, product.block);
	l.scratch = cpu_scratch((size_t)threads * sizeof(*l.scratch) + packed_floats(&product) * sizeof(float));
	product.packed = (float *)(l.scratch + threads);
	cpu_parallel(product.count, parallel ? PACK_ROWS : product.count, pack_part, &l);
	cpu_parallel(blocks, parallel ? 1 : blocks, blocks_part, &l);
}

/*
 * (token, used) pairs sorted by expert, so that an expert's matrix is read once for all of its tokens.
 * starts: (n_expert + 1), pairs: (n_pairs)
 */
static void group_pairs(const int *ids, int n_pairs, int n_expert, int *starts, int *pairs)
{
	memset(starts, 0, (size_t)(n_expert + 1) * sizeof(*starts));
	for (int i = 0; i < n_pairs; i++) {
		assert(ids[i] >= 0 && ids[i] < n_expert);
		starts[ids[i] + 1]++;
	}
	for (int e = 0; e < n_expert; e++)
		starts[e + 1] += starts[e];
	for (int i = 0; i < n_pairs; i++)
		pairs[starts[ids[i]]++] = i;
	for (int e = n_expert; e > 0; e--)
		starts[e] = starts[e - 1];
	starts[0] = 0;
}

/* Of many tokens; the pairs are sorted by expert. */
struct experts_loop {
	const struct matmul_experts_params *p;
	const int *starts; /* (n_expert + 1): an expert's first pair */
	const int *pairs;  /* (n_pairs) */
	const int *chosen; /* the experts that have pairs */
	float *packed;     /* room for all pairs, or for digits */
	const struct cpu_inner_bf16 *bf16;
	const struct cpu_digits *digits; /* of x's rows, or null */
	struct block_scratch *scratch;   /* a thread's each */
};

/* The product of expert e. */
static struct product expert_product(const struct experts_loop *l, int e)
{
	const struct matmul_experts_params *p = l->p;

	return (struct product){
		.w = &p->w,
		.expert = (size_t)e,
		.pairs = l->pairs + l->starts[e],
		.count = l->starts[e + 1] - l->starts[e],
		.x = p->x,
		.x_div = p->x_per_expert ? 1 : p->n_used,
		.x_stride = (size_t)p->w.n_in,
		.y = p->y,
		.y_stride = (size_t)p->w.n_out,
		.packed = l->packed + (size_t)l->starts[e] * packed_width(words(l->bf16, (size_t)p->w.n_in)),
		.bf16 = l->bf16,
		.digits = l->digits,
		.block = ROW_BLOCK,
	};
}

static void pack_pairs(void *ctx, int begin, int end, int thread)
{
	const struct experts_loop *l = ctx;

	(void)thread;
	for (int i = begin; i < end; i++) {
		const int e = l->p->ids[l->pairs[i]];
		const struct product product = expert_product(l, e);

		if (!few(&product))
			pack_row(&product, i - l->starts[e]);
	}
}

/* The blocks of all experts that have pairs, one's behind the other's. */
static void expert_blocks(void *ctx, int begin, int end, int thread)
{
	const struct experts_loop *l = ctx;

	for (int i = begin; i < end; i++) {
		const int blocks = row_blocks(l->p->w.n_out, ROW_BLOCK);
		const struct product product = expert_product(l, l->chosen[i / blocks]);

		product_block(cpu_inner(), &product, i % blocks, &l->scratch[thread]);
	}
}

/* The experts of few tokens: a loop over the rows of all pairs, one pair's behind the other's. */
static void pairs_part(void *ctx, int begin, int end, int thread)
{
	const struct experts_loop *l = ctx;
	const struct matmul_experts_params *p = l->p;
	const int n_out = p->w.n_out;

	(void)thread;
	while (begin < end) {
		const int pair = begin / n_out, row = begin % n_out;
		const int n = end - begin < n_out - row ? end - begin : n_out - row;
		const size_t x_row = (size_t)(p->x_per_expert ? pair : pair / p->n_used);

		cpu_token_product(cpu_inner(), &p->w, (size_t)p->ids[pair] * (size_t)n_out + (size_t)row, (size_t)n,
				  p->x + x_row * (size_t)p->w.n_in, cpu_digits_row(&p->w, l->digits, x_row),
				  p->y + (size_t)pair * (size_t)n_out + row);
		begin += n;
	}
}

void k_matmul_experts(const struct matmul_experts_params *p)
{
	const int n_pairs = p->n_tokens * p->n_used;
	const int n_expert = p->w.n_expert;
	const int x_rows = p->x_per_expert ? n_pairs : p->n_tokens;

	if (p->n_tokens <= CPU_FEW_TOKENS) {
		const int rows = n_pairs * p->w.n_out;
		struct experts_loop few_loop = {
			.p = p,
			.digits = cpu_few_digits(&p->w, p->x, (size_t)p->w.n_in, x_rows),
		};

		assert(cpu_whole_blocks(p->w.type, (size_t)p->w.n_in));
		cpu_parallel(rows, cpu_worth_sharing(&p->w, rows, 1) ? cpu_part_rows(&p->w, rows) : rows, pairs_part,
			     &few_loop);
		return;
	}
	const int parallel = cpu_worth_sharing(&p->w, p->w.n_out, n_pairs);
	const int threads = parallel ? cpu_threads() : 1;
	const size_t buffers = (size_t)threads * sizeof(struct block_scratch);
	const struct cpu_inner_bf16 *bf16 = bf16_for(&p->w, p->n_tokens);
	const int of_digits = p->n_tokens < CPU_PROMPT_TOKENS && cpu_has_digits(&p->w);
	const size_t floats =
		of_digits ? (size_t)x_rows * cpu_digits_units(&p->w) * (sizeof(struct cpu_digits) / sizeof(float))
			  : (size_t)n_pairs * packed_width(words(bf16, (size_t)p->w.n_in));
	char *memory =
		cpu_scratch(buffers + floats * sizeof(float) + (size_t)(2 * n_expert + 1 + n_pairs) * sizeof(int));
	int *starts = (int *)(memory + buffers + floats * sizeof(float));
	int *pairs = starts + n_expert + 1, *chosen = pairs + n_pairs;
	struct experts_loop l = {
		.p = p,
		.starts = starts,
		.pairs = pairs,
		.chosen = chosen,
		.packed = (float *)(memory + buffers),
		.bf16 = bf16,
		.scratch = (struct block_scratch *)memory,
	};
	int n_chosen = 0;

	assert(cpu_whole_blocks(p->w.type, (size_t)p->w.n_in));
	group_pairs(p->ids, n_pairs, n_expert, starts, pairs);
	for (int e = 0; e < n_expert; e++)
		if (starts[e + 1] > starts[e])
			chosen[n_chosen++] = e;
	const int blocks = n_chosen * row_blocks(p->w.n_out, ROW_BLOCK);
	if (of_digits) {
		cpu_to_digits(&p->w, p->x, (size_t)p->w.n_in, x_rows, (struct cpu_digits *)l.packed);
		l.digits = (struct cpu_digits *)l.packed;
	} else {
		cpu_parallel(n_pairs, parallel ? PACK_ROWS : n_pairs, pack_pairs, &l);
	}
	cpu_parallel(blocks, parallel ? 1 : blocks, expert_blocks, &l);
}
