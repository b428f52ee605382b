/*
 * Synthetic models: the same tensors and keys as the golden files' (made by another
 * program), the published sizes, values that are reproducible and well scaled, right
 * conversions, and nothing left behind by a failure.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "engine/model/model.h"
#include "engine/model/synth.h"

struct temp {
	char dir[64];
	char path[96];
};

static struct temp temp_make(void)
{
	struct temp t = {.dir = "/tmp/test_synth_XXXXXX"};
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.path, sizeof t.path, "%s/m.gguf", t.dir);
	return t;
}

/* Fails if anything but t->path is left in the directory. */
static void temp_remove(const struct temp *t)
{
	unlink(t->path);
	assert_int_equal(rmdir(t->dir), 0);
}

static struct synth_plan plan_of(const char *arch, enum tensor_type type, uint64_t seed)
{
	struct synth_options o;
	struct synth_plan p;
	struct error err = {0};
	synth_options_default(&o, arch);
	o.type = o.ple_type = type;
	o.seed = seed;
	if (synth_plan_init(&p, &o, &err))
		fail_msg("%s: %s", arch, err.text);
	return p;
}

static void write_plan(const struct synth_plan *p, const char *path, int n_threads)
{
	struct error err = {0};
	if (synth_write(p, path, n_threads, NULL, NULL, &err))
		fail_msg("%s", err.text);
}

static void make_model(const char *arch, enum tensor_type type, uint64_t seed, int n_threads, const char *path)
{
	struct synth_plan p = plan_of(arch, type, seed);
	write_plan(&p, path, n_threads);
	synth_plan_free(&p);
}

static unsigned char *read_whole(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	*n = (size_t)ftell(f);
	rewind(f);
	unsigned char *bytes = malloc(*n);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *n, f), *n);
	fclose(f);
	return bytes;
}

static void open_file(struct gguf *g, const char *path)
{
	struct error err = {0};
	if (gguf_open(g, path, &err))
		fail_msg("%s", err.text);
}

/* ---- against the golden files ---- */

static void compare_key(const struct gguf *ours, const struct gguf *golden, const struct gguf_kv *kv)
{
	char key[128];
	snprintf(key, sizeof key, "%.*s", (int)kv->key.size, kv->key.data);
	const struct gguf_kv *mine = gguf_find(ours, key);
	if (!mine)
		fail_msg("%s is missing", key);
	int64_t a, b;
	if (kv->type == GGUF_ARRAY) {
		assert_int_equal(mine->type, GGUF_ARRAY);
		assert_int_equal(mine->n_items, kv->n_items);
		for (uint64_t i = 0; i < kv->n_items; i++)
			if (kv->item_type == GGUF_BOOL) {
				bool x, y;
				assert_int_equal(gguf_get_bool_at(golden, key, i, &x, NULL), 0);
				assert_int_equal(gguf_get_bool_at(ours, key, i, &y, NULL), 0);
				assert_int_equal(x, y);
			} else {
				assert_int_equal(gguf_get_int_at(golden, key, i, &a, NULL), 0);
				assert_int_equal(gguf_get_int_at(ours, key, i, &b, NULL), 0);
				assert_int_equal(a, b);
			}
		return;
	}
	assert_int_equal(mine->type, kv->type);
	if (kv->type == GGUF_FLOAT32) {
		double x, y;
		assert_int_equal(gguf_get_float(golden, key, &x, NULL), 0);
		assert_int_equal(gguf_get_float(ours, key, &y, NULL), 0);
		assert_true(x == y);
	} else {
		assert_int_equal(gguf_get_int(golden, key, &a, NULL), 0);
		assert_int_equal(gguf_get_int(ours, key, &b, NULL), 0);
		if (a != b)
			fail_msg("%s is %lld, not %lld", key, (long long)b, (long long)a);
	}
}

static void compare_with_golden(const char *arch, enum tensor_type type, const char *golden_path)
{
	struct temp t = temp_make();
	make_model(arch, type, 1, 1, t.path);
	struct gguf ours, golden;
	open_file(&ours, t.path);
	open_file(&golden, golden_path);
	assert_int_equal(ours.n_tensors, golden.n_tensors);
	for (size_t i = 0; i < golden.n_tensors; i++) {
		const struct gguf_tensor *a = &golden.tensors[i];
		char name[128];
		snprintf(name, sizeof name, "%.*s", (int)a->name.size, a->name.data);
		const struct gguf_tensor *b = gguf_find_tensor(&ours, name);
		if (!b)
			fail_msg("%s has no %s", arch, name);
		if (a->type != b->type || a->n_dims != b->n_dims || memcmp(a->ne, b->ne, sizeof a->ne) != 0)
			fail_msg("%s: %s differs in type or shape", arch, name);
		if (strcmp(name, "rope_freqs.weight") == 0)
			assert_memory_equal(a->data, b->data, a->bytes);
	}
	for (size_t i = 0; i < golden.n_kv; i++) {
		const struct gguf_string k = golden.kv[i].key;
		bool of_arch =
			memmem(k.data, k.size, "gemma4.", 7) == k.data || memmem(k.data, k.size, "qwen3.", 6) == k.data;
		if (of_arch || (k.size == 17 && memcmp(k.data, "general.file_type", 17) == 0))
			compare_key(&ours, &golden, &golden.kv[i]);
	}
	gguf_close(&ours);
	gguf_close(&golden);
	temp_remove(&t);
}

static void test_golden_tensors_and_keys(void **state)
{
	(void)state;
	compare_with_golden("gemma4-e4b-tiny", TENSOR_F32, "golden/gemma4-e4b-tiny.f32.gguf");
	compare_with_golden("gemma4-e4b-tiny", TENSOR_F16, GEMMARK_GOLDEN_DERIVED "/gemma4-e4b-tiny.f16.gguf");
	compare_with_golden("gemma4-e4b-tiny", TENSOR_BF16, GEMMARK_GOLDEN_DERIVED "/gemma4-e4b-tiny.bf16.gguf");
	compare_with_golden("gemma4-e4b-tiny", TENSOR_Q8_0, GEMMARK_GOLDEN_DERIVED "/gemma4-e4b-tiny.q8_0.gguf");
	compare_with_golden("gemma4-e2b-tiny", TENSOR_Q8_0, "golden/gemma4-e2b-tiny.q8_0.gguf");
	compare_with_golden("gemma4-31b-tiny", TENSOR_Q8_0, "golden/gemma4-31b-tiny.q8_0.gguf");
	compare_with_golden("gemma4-26b-a4b-tiny", TENSOR_Q8_0, "golden/gemma4-26b-a4b-tiny.q8_0.gguf");
	compare_with_golden("qwen3-tiny", TENSOR_Q8_0, "golden/qwen3-tiny.q8_0.gguf");
}

/* ---- plans of the published sizes ---- */

static const struct synth_tensor *find(const struct synth_plan *p, const char *name)
{
	for (int i = 0; i < p->n_tensors; i++)
		if (strcmp(p->tensors[i].name, name) == 0)
			return &p->tensors[i];
	return NULL;
}

static void assert_shape(const struct synth_plan *p, const char *name, int64_t n0, int64_t n1, int64_t n2)
{
	const struct synth_tensor *t = find(p, name);
	if (!t)
		fail_msg("%s has no %s", p->shape.arch, name);
	if (t->ne[0] != n0 || t->ne[1] != n1 || t->ne[2] != n2)
		fail_msg("%s %s is %lld x %lld x %lld", p->shape.arch, name, (long long)t->ne[0], (long long)t->ne[1],
			 (long long)t->ne[2]);
}

/* Elements of matrices that a token reads: all but the gathered tables, and of the experts the used share. */
static double active(const struct synth_plan *p)
{
	double sum = 0;
	for (int i = 0; i < p->n_tensors; i++) {
		const struct synth_tensor *t = &p->tensors[i];
		if (t->n_dims == 1 || strcmp(t->name, "per_layer_token_embd.weight") == 0)
			continue;
		if (strcmp(t->name, "token_embd.weight") == 0 && !p->shape.tied)
			continue;
		double n = (double)synth_tensor_elements(t);
		sum += t->n_dims == 3 ? n * p->shape.n_expert_used / p->shape.n_expert : n;
	}
	return sum;
}

static void test_published_sizes(void **state)
{
	(void)state;
	/* 4.846 GB of Q8_0 blocks (34 bytes for 32) without the PLE matrices, and those 0.165 GB in BF16. */
	struct synth_plan p = plan_of("gemma4-e4b", TENSOR_Q8_0, 1);
	double ple = 0, all = active(&p);
	for (int i = 0; i < p.n_tensors; i++) {
		const char *n = p.tensors[i].name;
		if (strstr(n, "inp_gate") || strstr(n, ".proj.weight") || strstr(n, "per_layer_model_proj"))
			ple += (double)synth_tensor_elements(&p.tensors[i]);
	}
	assert_true(fabs((all - ple) - 4.56e9) < 0.005e9);
	assert_true(fabs((all - ple) * 34 / 32 - 4.846e9) < 0.0005e9);
	assert_true(fabs(ple * 2 - 0.165e9) < 0.0005e9);
	assert_shape(&p, "per_layer_token_embd.weight", 10752, 262144, 1);
	assert_shape(&p, "blk.22.attn_k.weight", 2560, 512, 1);
	assert_shape(&p, "blk.23.attn_k.weight", 2560, 1024, 1);
	assert_shape(&p, "blk.23.attn_output.weight", 4096, 2560, 1);
	assert_null(find(&p, "blk.24.attn_k.weight"));
	assert_null(find(&p, "blk.41.attn_v.weight"));
	assert_null(find(&p, "blk.41.attn_k_norm.weight"));
	assert_null(find(&p, "output.weight"));
	synth_plan_free(&p);

	p = plan_of("gemma4-e2b", TENSOR_Q8_0, 1);
	assert_shape(&p, "blk.14.ffn_up.weight", 1536, 6144, 1);
	assert_shape(&p, "blk.15.ffn_up.weight", 1536, 12288, 1);
	assert_shape(&p, "blk.14.attn_v.weight", 1536, 512, 1);
	assert_null(find(&p, "blk.15.attn_v.weight"));
	assert_true(fabs(active(&p) - 2.3e9) < 0.1e9);
	synth_plan_free(&p);

	static const struct {
		const char *arch;
		double total, total_within, active, active_within;
	} sizes[] = {
		{"gemma4-12b", 11.9e9, 0.2e9, 11.9e9, 0.2e9},
		{"gemma4-31b", 30.7e9, 0.5e9, 30.7e9, 0.5e9},
		{"gemma4-26b-a4b", 25.5e9, 0.8e9, 3.9e9, 0.2e9},
		{"qwen3-8b", 8.19e9, 0.01e9, 7.57e9, 0.01e9},
	};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		p = plan_of(sizes[i].arch, TENSOR_Q8_0, 1);
		double total = (double)synth_plan_parameters(&p), used = active(&p);
		if (fabs(total - sizes[i].total) > sizes[i].total_within ||
		    fabs(used - sizes[i].active) > sizes[i].active_within)
			fail_msg("%s: %.4g parameters, %.4g active", sizes[i].arch, total, used);
		synth_plan_free(&p);
	}

	p = plan_of("gemma4-26b-a4b", TENSOR_Q8_0, 1);
	assert_shape(&p, "blk.0.ffn_gate_up_exps.weight", 2816, 1408, 128);
	assert_shape(&p, "blk.0.ffn_down_exps.weight", 704, 2816, 128);
	assert_shape(&p, "blk.5.attn_k.weight", 2816, 1024, 1);
	assert_null(find(&p, "blk.5.attn_v.weight"));
	assert_int_equal(find(&p, "blk.0.ffn_gate_inp.weight")->type, TENSOR_F32);
	synth_plan_free(&p);
}

/* Every arch at several depths: what the engine reads off the file is what the plan says. */
static void test_depths(void **state)
{
	(void)state;
	static const struct {
		const char *arch;
		int n_layer, n_shared;
	} cases[] = {
		{"gemma4-e4b-tiny", 6, 0},      {"gemma4-e4b-tiny", 18, 6},  {"gemma4-e4b-tiny", 42, 18},
		{"gemma4-e2b-tiny", 5, 0},      {"gemma4-e2b-tiny", 35, 20}, {"gemma4-31b-tiny", 6, 0},
		{"gemma4-26b-a4b-tiny", 12, 0}, {"qwen3-tiny", 1, 0},        {"qwen3-tiny", 7, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct temp t = temp_make();
		struct synth_options o;
		struct synth_plan p;
		struct error err = {0};
		synth_options_default(&o, cases[i].arch);
		o.n_layer = cases[i].n_layer;
		o.n_vocab = 40;
		o.n_context = 70000;
		if (strcmp(cases[i].arch, "qwen3-tiny") != 0)
			o.window = 24;
		assert_int_equal(synth_plan_init(&p, &o, &err), 0);
		write_plan(&p, t.path, 1);
		struct model m;
		if (model_open(&m, t.path, &err))
			fail_msg("%s, %d layers: %s", cases[i].arch, cases[i].n_layer, err.text);
		assert_int_equal(m.n_layer, cases[i].n_layer);
		assert_int_equal(m.n_shared_kv, cases[i].n_shared);
		assert_int_equal(m.n_vocab, 40);
		assert_int_equal(m.n_context, 70000);
		assert_int_equal(m.window, o.window);
		model_close(&m);
		synth_plan_free(&p);
		temp_remove(&t);
	}
}

static void test_bad_options(void **state)
{
	(void)state;
	static const struct synth_options bad[] = {
		{.arch = "gemma4-e5b"},
		{.arch = NULL},
		{.arch = "gemma4-e4b", .n_layer = 7},
		{.arch = "gemma4-e2b", .n_layer = 6},
		{.arch = "gemma4-e4b", .n_layer = -6},
		{.arch = "gemma4-e4b", .n_layer = 6000},
		{.arch = "gemma4-e4b", .n_vocab = -1},
		{.arch = "qwen3-tiny", .window = 16},
		{.arch = "gemma4-31b", .type = TENSOR_Q8_0, .ple_type = TENSOR_F32},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct synth_plan p;
		struct error err = {0};
		assert_int_equal(synth_plan_init(&p, &bad[i], &err), ERROR_INPUT);
		assert_true(err.text[0] && !strchr(err.text, '\n'));
		synth_plan_free(&p);
	}
}

/* ---- values ---- */

static void test_deterministic(void **state)
{
	(void)state;
	struct temp t = temp_make();
	static const struct {
		uint64_t seed;
		int n_threads;
		bool same;
	} runs[] = {{7, 1, true}, {7, 2, true}, {7, 5, true}, {8, 1, false}};
	unsigned char *first = NULL;
	size_t n_first = 0;
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
		size_t n;
		make_model("gemma4-e2b-tiny", TENSOR_Q8_0, runs[i].seed, runs[i].n_threads, t.path);
		unsigned char *bytes = read_whole(t.path, &n);
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
	temp_remove(&t);
}

/* Pieces of a tensor, asked for in any order, are the tensor. */
static void test_pieces(void **state)
{
	(void)state;
	struct synth_plan p = plan_of("gemma4-e4b-tiny", TENSOR_Q8_0, 3);
	const struct synth_tensor *t = find(&p, "blk.0.ffn_up.weight");
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
	struct synth_plan p = plan_of("gemma4-e4b-tiny", TENSOR_F32, 5);
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
	struct synth_plan p = plan_of("gemma4-e4b-tiny", TENSOR_F32, 5);
	float a[256], b[256];
	double dot = 0, aa = 0, bb = 0;
	synth_tensor_fill(find(&p, "blk.0.ffn_up.weight"), 5, 0, 256, a);
	synth_tensor_fill(find(&p, "blk.0.ffn_gate.weight"), 5, 0, 256, b);
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
		const struct synth_tensor *t = find(&p, names[k]);
		uint32_t x[1024];
		assert_int_equal(t->type, TENSOR_F32);
		synth_tensor_fill(t, 1, 0, 1024, x);
		for (int i = 0; i < 1024; i++)
			assert_int_equal(x[i] & 0xffff, 0);
	}
	assert_int_equal(find(&p, "blk.3.attn_q.weight")->type, TENSOR_Q8_0);
	synth_plan_free(&p);
}

/* ---- failures leave nothing ---- */

/* In a child: the file-size limit must not reach the test's own output. */
static void test_file_size_limit(void **state)
{
	(void)state;
	struct temp t = temp_make();
	struct synth_plan p = plan_of("gemma4-e4b-tiny", TENSOR_Q8_0, 1);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit limit = {1 << 20, 1 << 20};
		struct error err = {0};
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		int rc = synth_write(&p, t.path, 1, NULL, NULL, &err);
		_exit(rc == ERROR_IO && strstr(err.text, t.path) && !strchr(err.text, '\n') ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(t.path, F_OK), -1);
	temp_remove(&t); /* fails on a part file */
	synth_plan_free(&p);
}

static int give_up(void *ctx, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	return --*(int *)ctx == 0;
}

static void test_interrupted(void **state)
{
	(void)state;
	struct temp t = temp_make();
	make_model("qwen3-tiny", TENSOR_Q8_0, 1, 1, t.path);
	size_t n_before, n_after;
	unsigned char *before = read_whole(t.path, &n_before);
	struct synth_plan p = plan_of("gemma4-e4b-tiny", TENSOR_Q8_0, 1);
	struct error err = {0};
	/* On one thread at the second call, which is not the last; and on several, where one may do all the work. */
	for (int n_threads = 1; n_threads <= 2; n_threads++) {
		int calls = n_threads == 1 ? 2 : 1;
		assert_int_equal(synth_write(&p, t.path, n_threads, give_up, &calls, &err), ERROR_IO);
		assert_int_equal(calls, 0);
	}
	/* The file of that name is still the old one. */
	unsigned char *after = read_whole(t.path, &n_after);
	assert_int_equal(n_before, n_after);
	assert_memory_equal(before, after, n_before);
	free(before);
	free(after);
	synth_plan_free(&p);
	temp_remove(&t);
}

/* More than any disk: refused before anything is written, with the bytes needed. */
static void test_no_space(void **state)
{
	(void)state;
	struct temp t = temp_make();
	struct synth_options o;
	struct synth_plan p;
	struct error err = {0};
	char need[32];
	synth_options_default(&o, "gemma4-31b");
	o.n_layer = 1020;
	o.n_vocab = INT32_MAX;
	o.type = o.ple_type = TENSOR_F32;
	assert_int_equal(synth_plan_init(&p, &o, &err), 0);
	/* The embedding alone. */
	assert_true(synth_plan_bytes(&p) > (uint64_t)INT32_MAX * 5376 * 4);
	snprintf(need, sizeof need, "%llu bytes", (unsigned long long)synth_plan_bytes(&p));
	assert_int_equal(synth_write(&p, t.path, 1, NULL, NULL, &err), ERROR_IO);
	assert_non_null(strstr(err.text, need));
	synth_plan_free(&p);
	temp_remove(&t);
}

static void test_plan_bytes(void **state)
{
	(void)state;
	struct temp t = temp_make();
	for (int i = 0; synth_arch_name(i); i++) {
		if (!strstr(synth_arch_name(i), "tiny"))
			continue;
		struct synth_plan p = plan_of(synth_arch_name(i), TENSOR_BF16, 1);
		struct stat st;
		write_plan(&p, t.path, 1);
		assert_int_equal(stat(t.path, &st), 0);
		assert_true(synth_plan_bytes(&p) >= (uint64_t)st.st_size);
		assert_true(synth_plan_bytes(&p) < (uint64_t)st.st_size + 65536);
		synth_plan_free(&p);
	}
	temp_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_tensors_and_keys),
		cmocka_unit_test(test_published_sizes),
		cmocka_unit_test(test_depths),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_deterministic),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_tensors_differ),
		cmocka_unit_test(test_half_types),
		cmocka_unit_test(test_q8_0),
		cmocka_unit_test(test_published_ple),
		cmocka_unit_test(test_file_size_limit),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_plan_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
