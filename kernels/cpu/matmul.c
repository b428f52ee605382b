/*
 * Products of weight matrices with activations.
 *
 * Few tokens: the inner matvec, straight from the weights as they lie, a block of rows at a time, so that
 * a second token finds the block in the cache. Many: a block of rows is expanded to float32 once per
 * CPU_SPAN of its inputs, and multiplied with packed chunks of tokens. Both accumulate
 * in the order that inner.h states, so a row's result has the same bits either way.
 */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/inner.h"

enum {
	ROW_BLOCK = 96,             /* rows that a thread takes at a time with many tokens: a panel of 192 KB */
	TOKEN_CHUNK = 64,           /* tokens packed at a time */
	MATVEC_BLOCK = 32,          /* rows that a thread takes at a time with few tokens */
	MATVEC_TOKENS = 2,          /* up to so many tokens are few */
	PARALLEL_WEIGHTS = 1 << 16, /* below so many weights a parallel region costs more than it saves */
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
};

/* A thread's buffers for block_product. */
struct block_scratch {
	float panel[ROW_BLOCK * CPU_SPAN];
	float x[TOKEN_CHUNK * CPU_SPAN];
	float c[TOKEN_CHUNK * ROW_BLOCK];
};

static const float *product_x(const struct product *p, int i)
{
	return p->x + (size_t)((p->pairs ? p->pairs[i] : i) / p->x_div) * p->x_stride;
}

static float *product_y(const struct product *p, int i)
{
	return p->y + (size_t)(p->pairs ? p->pairs[i] : i) * p->y_stride;
}

/* Elements k0 .. k0 + n of a row to float32, zeros up to the padded length. */
static void row_to_f32(const struct cpu_inner *inner, const struct weight *w, size_t row, size_t k0, size_t n,
		       float *dst)
{
	const int planes = w->scales != NULL;
	const char *src = cpu_weight_row(w, row);
	const uint16_t *scales = cpu_weight_scales(w, row);

	inner->to_f32(src + cpu_row_bytes(w->type, k0, planes), planes ? scales + k0 / CPU_Q8_BLOCK : NULL, w->type,
		      dst, n);
	for (size_t k = n; k < cpu_pad(n); k++)
		dst[k] = 0.0f;
}

/* Rows row .. row + n_rows of the product, many tokens. */
static void block_product(const struct cpu_inner *inner, const struct product *p, size_t row, int n_rows,
			  struct block_scratch *s)
{
	const size_t n_in = (size_t)p->w->n_in;
	const size_t first = p->expert * (size_t)p->w->n_out + row;

	for (size_t k0 = 0; k0 < n_in; k0 += CPU_SPAN) {
		const size_t k = n_in - k0 < CPU_SPAN ? n_in - k0 : CPU_SPAN;
		const size_t kp = cpu_pad(k);

		for (int r = 0; r < n_rows; r++)
			row_to_f32(inner, p->w, first + (size_t)r, k0, k, s->panel + (size_t)r * kp);
		for (int t0 = 0; t0 < p->count; t0 += TOKEN_CHUNK) {
			const int n = p->count - t0 < TOKEN_CHUNK ? p->count - t0 : TOKEN_CHUNK;

			for (int t = 0; t < n; t++) {
				memcpy(s->x + (size_t)t * kp, product_x(p, t0 + t) + k0, k * sizeof(float));
				memset(s->x + (size_t)t * kp + k, 0, (kp - k) * sizeof(float));
			}
			inner->gemm(s->x, kp, n, s->panel, kp, n_rows, (int)kp, s->c, ROW_BLOCK);
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

/* The same, few tokens. */
static void row_product(const struct cpu_inner *inner, const struct product *p, size_t row, size_t n_rows)
{
	const size_t first = p->expert * (size_t)p->w->n_out + row;

	for (int i = 0; i < p->count; i++)
		inner->matvec(p->w, first, n_rows, product_x(p, i), product_y(p, i) + row);
}

static int few(const struct product *p)
{
	return p->count <= MATVEC_TOKENS;
}

static int blocks_of(const struct product *p)
{
	const int block = few(p) ? MATVEC_BLOCK : ROW_BLOCK;

	return (p->w->n_out + block - 1) / block;
}

/* Block b of blocks_of(p). */
static void product_block(const struct cpu_inner *inner, const struct product *p, int b, struct block_scratch *s)
{
	const int block = few(p) ? MATVEC_BLOCK : ROW_BLOCK;
	const int row = b * block;
	const int n = p->w->n_out - row < block ? p->w->n_out - row : block;

	if (few(p))
		row_product(inner, p, (size_t)row, (size_t)n);
	else
		block_product(inner, p, (size_t)row, n, s);
}

void k_matmul(const struct matmul_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const struct product product = {
		.w = &p->w,
		.count = p->n_tokens,
		.x = p->x,
		.x_div = 1,
		.x_stride = (size_t)p->x_stride,
		.y = p->y,
		.y_stride = (size_t)p->y_stride,
	};
	const int blocks = blocks_of(&product);
	const int parallel = (size_t)p->w.n_in * (size_t)p->w.n_out * (size_t)p->n_tokens > PARALLEL_WEIGHTS;
	const size_t each = few(&product) ? 0 : sizeof(struct block_scratch);
	const int threads = parallel ? cpu_threads() : 1;
	char *scratch = each ? cpu_scratch(each * (size_t)threads) : NULL;

	assert(p->w.n_expert <= 1 && (p->w.type != TENSOR_Q8_0 || p->w.n_in % CPU_Q8_BLOCK == 0));
	if (few(&product)) {
#pragma omp parallel for schedule(static) num_threads(threads) if (parallel)
		for (int b = 0; b < blocks; b++)
			product_block(inner, &product, b, NULL);
		return;
	}
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (parallel)
	for (int b = 0; b < blocks; b++)
		product_block(inner, &product, b, (struct block_scratch *)(scratch + each * (size_t)cpu_thread()));
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

void k_matmul_experts(const struct matmul_experts_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const int n_pairs = p->n_tokens * p->n_used;
	const int n_expert = p->w.n_expert;
	const int parallel = (size_t)p->w.n_in * (size_t)p->w.n_out * (size_t)n_pairs > PARALLEL_WEIGHTS;
	const int threads = parallel ? cpu_threads() : 1;
	const size_t each = sizeof(struct block_scratch);
	const size_t buffers = p->n_tokens > 1 ? each * (size_t)threads : 0;
	char *scratch = cpu_scratch(buffers + (size_t)(n_expert + 1 + n_pairs) * sizeof(int));
	int *starts = (int *)(scratch + buffers);
	int *pairs = starts + n_expert + 1;

	assert(p->w.type != TENSOR_Q8_0 || p->w.n_in % CPU_Q8_BLOCK == 0);
	group_pairs(p->ids, n_pairs, n_expert, starts, pairs);
#pragma omp parallel num_threads(threads) if (parallel)
	{
		struct block_scratch *mine = (struct block_scratch *)(scratch + each * (size_t)cpu_thread());

		for (int e = 0; e < n_expert; e++) {
			const struct product product = {
				.w = &p->w,
				.expert = (size_t)e,
				.pairs = pairs + starts[e],
				.count = starts[e + 1] - starts[e],
				.x = p->x,
				.x_div = p->x_per_expert ? 1 : p->n_used,
				.x_stride = (size_t)p->w.n_in,
				.y = p->y,
				.y_stride = (size_t)p->w.n_out,
			};
			const int blocks = product.count ? blocks_of(&product) : 0;

			/* No thread waits for the others between experts. */
#pragma omp for schedule(static) nowait
			for (int b = 0; b < blocks; b++)
				product_block(inner, &product, b, mine);
		}
	}
}
