/*
 * The host's kernels alone: the products and attention on Gemma 4 E2B's shapes, for
 * each instruction set and number of threads that this machine has. Weights are visited in turn through
 * a pool larger than the caches, as decode visits a model's. Compare matvec's bytes/s
 * with bandwidth: what cpu_read_bandwidth measures on the same threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/host_kernels.h"
#include "bench/shim.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"

enum { POOL_BYTES = 256 << 20, MAX_MATRICES = 8 };

enum layout {
	LAYOUT_F32,
	LAYOUT_F16,
	LAYOUT_BF16,
	LAYOUT_BLOCKS,
	LAYOUT_PLANES,
#define X(NAME, word, number, block, block_bytes, file_type, a, b) LAYOUT_##NAME,
	TENSOR_QUANT_TYPES(X, , )
#undef X
		LAYOUT_COUNT
};

static const struct {
	const char *name;
	int type;
	double bytes; /* of a weight, scales included */
} layouts[LAYOUT_COUNT] = {{"f32", TENSOR_F32, 4.0},
			   {"f16", TENSOR_F16, 2.0},
			   {"bf16", TENSOR_BF16, 2.0},
			   {"q8_0", TENSOR_Q8_0, 34.0 / 32.0},
			   {"q8_0_planes", TENSOR_Q8_0, 34.0 / 32.0},
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	{#word, TENSOR_##NAME, (double)(block_bytes) / (block)},
			   TENSOR_QUANT_TYPES(X, , )
#undef X
};

/* A sequence of matrices, multiplied one after the other. */
struct shapes {
	const char *name;
	int n;
	int rows[MAX_MATRICES];
	int columns[MAX_MATRICES];
};

static const struct shapes big[] = {
	{"6144x1536", 1, {6144}, {1536}},
	{"1536x12288", 1, {1536}, {12288}},
	{"262144x1536", 1, {262144}, {1536}},
};

/* q, k, v, o, gate, up, down of a sliding layer with its own K/V, and of a global one that shares */
static const struct shapes layers[] = {
	{"e2b_sliding", 7, {2048, 256, 256, 1536, 6144, 6144, 1536}, {1536, 1536, 1536, 2048, 1536, 1536, 6144}},
	{"e2b_global_shared", 5, {4096, 1536, 12288, 12288, 1536}, {1536, 4096, 1536, 1536, 12288}},
};

struct run {
	enum cpu_isa isa;
	int threads;
	enum layout layout;
	const struct shapes *shapes;
	int n_tokens;
	int n_keys;   /* attention */
	int head_dim; /* attention */
	int window;   /* attention */
};

/* The team that the host device would have. */
static void use_threads(int n)
{
	static struct cpu_team *team;
	static int size = 1;

	if (n == size)
		return;
	cpu_team_use(NULL);
	cpu_team_close(team);
	team = n > 1 ? cpu_team_open(n) : NULL;
	if (n > 1 && !team) {
		fprintf(stderr, "bench: no %d threads to be had\n", n);
		exit(2);
	}
	size = n;
	cpu_team_use(team);
}

static bool begin(struct bench_state *s, const struct run *r)
{
	if (cpu_isa_force(r->isa) != 0) {
		bench_skip(s, "not on this processor");
		return false;
	}
	use_threads(r->threads);
	return true;
}

static void *take(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);

	if (!p) {
		fprintf(stderr, "bench: no memory for %zu bytes; use --benchmark_filter to leave large shapes out\n",
			bytes);
		exit(2);
	}
	return p;
}

struct filling {
	char *p;
	size_t bytes;
	unsigned char pattern[34 * 32];
};

static void fill_part(void *ctx, int begin, int end, int thread)
{
	const struct filling *f = ctx;

	(void)thread;
	for (size_t i = (size_t)begin; i < (size_t)end; i++) {
		const size_t at = i * sizeof(f->pattern), left = f->bytes - at;

		memcpy(f->p + at, f->pattern, left < sizeof(f->pattern) ? left : sizeof(f->pattern));
	}
}

/* A pattern of small numbers that is valid in every layout, touched by the threads that will read it. */
static void fill(char *p, size_t bytes, enum layout layout)
{
	struct filling f = {.p = p, .bytes = bytes};
	const uint16_t scale = 0x2400;

	for (size_t i = 0; i < sizeof(f.pattern); i++)
		f.pattern[i] = (unsigned char)(i * 7);
	for (size_t i = 0; layout == LAYOUT_BLOCKS && i < sizeof(f.pattern); i += 34)
		memcpy(f.pattern + i, &scale, sizeof(scale));
	for (size_t i = 0; layout < LAYOUT_BLOCKS && i < sizeof(f.pattern); i++)
		f.pattern[i] = 0x3c;
	for (size_t i = 0; layout > LAYOUT_PLANES && i < sizeof(f.pattern); i++)
		f.pattern[i] = 0x24;
	cpu_parallel((int)((bytes + sizeof(f.pattern) - 1) / sizeof(f.pattern)), 64, fill_part, &f);
}

static float *floats(size_t n)
{
	float *x = take(n * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(i % 17) * 0.125f - 1.0f;
	return x;
}

static void bench_matmul(struct bench_state *s, const void *arg)
{
	const struct run *r = arg;
	const bool planes = r->layout == LAYOUT_PLANES;
	const double data_bytes = planes ? 1.0 : layouts[r->layout].bytes;
	size_t weights = 0;
	size_t widest = 0;
	size_t tallest = 0;
	size_t copies;
	size_t copy = 0;
	char *pool;
	uint16_t *scales;
	float *x;
	float *y;

	if (!begin(s, r))
		return;
	for (int i = 0; i < r->shapes->n; i++) {
		const size_t rows = (size_t)r->shapes->rows[i];
		const size_t columns = (size_t)r->shapes->columns[i];

		weights += rows * columns;
		widest = columns > widest ? columns : widest;
		tallest = rows > tallest ? rows : tallest;
	}
	copies = POOL_BYTES / weights + 1;
	pool = take((size_t)((double)(copies * weights) * data_bytes));
	scales = take(copies * weights / 16);
	fill(pool, (size_t)((double)(copies * weights) * data_bytes), r->layout);
	for (size_t i = 0; i < copies * weights / 32; i++)
		scales[i] = 0x2400;
	x = floats(widest * (size_t)r->n_tokens);
	y = take(tallest * (size_t)r->n_tokens * sizeof(*y));
	while (bench_keep_running(s)) {
		size_t at = copy * weights;

		for (int i = 0; i < r->shapes->n; i++) {
			const int rows = r->shapes->rows[i];
			const int columns = r->shapes->columns[i];

			k_matmul(&(struct matmul_params){
				.w = {.data = pool + (size_t)((double)at * data_bytes),
				      .scales = planes ? scales + at / 32 : NULL,
				      .type = layouts[r->layout].type,
				      .n_in = columns,
				      .n_out = rows,
				      .n_expert = 1},
				.x = x,
				.y = y,
				.n_tokens = r->n_tokens,
				.x_stride = columns,
				.y_stride = rows,
			});
			at += (size_t)rows * (size_t)columns;
		}
		copy = (copy + 1) % copies;
	}
	bench_rate(s, "bytes/s", (double)weights * layouts[r->layout].bytes);
	bench_rate(s, "flop/s", 2.0 * (double)weights * r->n_tokens);
	free(pool);
	free(scales);
	free(x);
	free(y);
}

/* Eight query heads on one KV head, as E2B has them. */
static void bench_attention(struct bench_state *s, const void *arg)
{
	enum { HEADS = 8, SPLIT_LEN = 256 };
	const struct run *r = arg;
	const size_t hd = (size_t)r->head_dim;
	const size_t cells = (size_t)r->n_keys * hd;
	const int n_splits = (r->n_keys + SPLIT_LEN - 1) / SPLIT_LEN;
	const int keys = r->window && r->window < r->n_keys ? r->window : r->n_keys;
	const double bytes = layouts[r->layout].bytes;
	struct kv kv = {
		.type = layouts[r->layout].type,
		.v_type = layouts[r->layout].type,
		.n_kv_heads = 1,
		.head_dim = r->head_dim,
		.capacity = r->n_keys,
		.ring = r->window ? r->n_keys : 0,
	};
	const struct at at = {.host = {.pos = r->n_keys - r->n_tokens}};
	float *q;
	float *y;
	float *partial;

	if (!begin(s, r))
		return;
	kv.k = take((size_t)((double)cells * bytes));
	kv.v = take((size_t)((double)cells * bytes));
	fill(kv.k, (size_t)((double)cells * bytes), r->layout);
	fill(kv.v, (size_t)((double)cells * bytes), r->layout);
	q = floats((size_t)r->n_tokens * HEADS * hd);
	y = take((size_t)r->n_tokens * HEADS * hd * sizeof(*y));
	partial = take((size_t)(HEADS * n_splits) * (hd + 2) * sizeof(*partial));
	if (r->n_tokens == 1) {
		const struct attention_params p = {
			.split = {.at = at,
				  .q = q,
				  .kv = kv,
				  .partial = partial,
				  .n_heads = HEADS,
				  .window = r->window,
				  .split_len = SPLIT_LEN,
				  .n_splits = n_splits,
				  .scale = 0.001f},
			.y = y,
		};

		while (bench_keep_running(s))
			k_attention(&p);
		bench_rate(s, "bytes/s", 2.0 * keys * (double)hd * bytes);
		bench_rate(s, "flop/s", 4.0 * HEADS * keys * (double)hd);
	} else {
		const struct attention_prefill_params p = {
			.at = at,
			.q = q,
			.kv = kv,
			.y = y,
			.n_tokens = r->n_tokens,
			.n_heads = HEADS,
			.window = r->window,
			.scale = 0.001f,
		};
		double attended = 0.0;

		for (int t = 0; t < r->n_tokens; t++) {
			const int seen = r->n_keys - r->n_tokens + t + 1;

			attended += r->window && seen > r->window ? r->window : seen;
		}
		while (bench_keep_running(s))
			k_attention_prefill(&p);
		bench_rate(s, "flop/s", 4.0 * HEADS * attended * (double)hd);
	}
	free(kv.k);
	free(kv.v);
	free(q);
	free(y);
	free(partial);
}

static void bench_read(struct bench_state *s, const void *arg)
{
	const struct run *r = arg;
	double best = 0.0;

	if (!begin(s, r))
		return;
	while (bench_keep_running(s)) {
		const double rate = cpu_read_bandwidth(POOL_BYTES, r->threads, 3);

		best = rate > best ? rate : best;
	}
	bench_value(s, "bytes/s", best);
}

enum { MAX_RUNS = 4096 };

struct runs {
	int n;
	struct run run[MAX_RUNS];
};

static void add(struct runs *runs, const char *kind, void (*body)(struct bench_state *, const void *),
		const char *shape, struct run r)
{
	char name[160];

	if (runs->n == MAX_RUNS) {
		fprintf(stderr, "bench: more than %d benchmarks; raise MAX_RUNS\n", MAX_RUNS);
		exit(2);
	}
	snprintf(name, sizeof(name), "%s/%s/%s/%s/tokens:%d/threads:%d", kind, cpu_isa_name(r.isa),
		 layouts[r.layout].name, shape, r.n_tokens, r.threads);
	runs->run[runs->n] = r;
	bench_register(name, body, &runs->run[runs->n++]);
}

static void add_matmuls(struct runs *runs, enum cpu_isa isa, int threads)
{
	static const int few[] = {2, 4, 8, 16, 64};
	struct run r = {.isa = isa, .threads = threads, .n_tokens = 1};

	for (int l = 0; l < LAYOUT_COUNT; l++) {
		r.layout = (enum layout)l;
		r.n_tokens = 1;
		r.shapes = &big[0];
		add(runs, "matvec", bench_matmul, big[0].name, r);
		r.n_tokens = 512;
		add(runs, "gemm", bench_matmul, big[0].name, r);
	}
	for (int l = LAYOUT_BLOCKS; l <= LAYOUT_PLANES; l++) {
		r.layout = (enum layout)l;
		r.n_tokens = 1;
		for (size_t i = 1; i < sizeof(big) / sizeof(*big); i++) {
			r.shapes = &big[i];
			add(runs, "matvec", bench_matmul, big[i].name, r);
		}
		for (size_t i = 0; i < sizeof(layers) / sizeof(*layers); i++) {
			r.shapes = &layers[i];
			add(runs, "matvec", bench_matmul, layers[i].name, r);
		}
	}
	r.layout = LAYOUT_BLOCKS;
	for (size_t i = 0; i < sizeof(few) / sizeof(*few); i++) {
		r.n_tokens = few[i];
		r.shapes = &big[0];
		add(runs, "gemm", bench_matmul, big[0].name, r);
	}
	for (size_t i = 0; i < sizeof(layers) / sizeof(*layers); i++) {
		r.n_tokens = 512;
		r.shapes = &layers[i];
		add(runs, "gemm", bench_matmul, layers[i].name, r);
	}
}

static void add_attention(struct runs *runs, enum cpu_isa isa, int threads)
{
	const struct run shapes[] = {
		{.n_tokens = 1, .n_keys = 512, .head_dim = 256, .window = 512},
		{.n_tokens = 1, .n_keys = 4096, .head_dim = 512},
		{.n_tokens = 512, .n_keys = 1024, .head_dim = 256, .window = 512},
		{.n_tokens = 512, .n_keys = 512, .head_dim = 512},
		{.n_tokens = 512, .n_keys = 4096, .head_dim = 512},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		for (int l = LAYOUT_F32; l <= LAYOUT_F16; l++) {
			struct run r = shapes[i];
			char shape[64];

			r.isa = isa;
			r.threads = threads;
			r.layout = (enum layout)l;
			snprintf(shape, sizeof(shape), "keys:%d/head_dim:%d/window:%d", r.n_keys, r.head_dim, r.window);
			add(runs, "attention", bench_attention, shape, r);
		}
	}
}

void host_kernels_register(void)
{
	static struct runs runs;
	const int most = (int)sysconf(_SC_NPROCESSORS_ONLN);

	for (int threads = 1; threads <= most; threads = threads < most && threads * 2 > most ? most : threads * 2) {
		add(&runs, "bandwidth", bench_read, "256MiB",
		    (struct run){.isa = cpu_isa_best(), .threads = threads, .n_tokens = 1});
		for (int isa = CPU_ISA_COUNT - 1; isa >= 0; isa--) {
			add_matmuls(&runs, (enum cpu_isa)isa, threads);
			add_attention(&runs, (enum cpu_isa)isa, threads);
		}
	}
}
