/*
 * Synthetic models: the same tensors and keys as the golden files' (made by another
 * program), the published sizes, and nothing left behind by a failure. Values are test_synth_values.c's.
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
#include "tests/support/synth_case.h"
#include "tests/support/temp_file.h"

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
	if (kv->type == GGUF_STRING) {
		struct gguf_string x, y;
		assert_int_equal(gguf_get_string(golden, key, &x, NULL), 0);
		assert_int_equal(gguf_get_string(ours, key, &y, NULL), 0);
		assert_int_equal(x.size, y.size);
		assert_memory_equal(x.data, y.data, x.size);
	} else if (kv->type == GGUF_FLOAT32) {
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
	struct temp_file t = temp_file_make();
	synth_case_make(arch, type, 1, 1, t.path);
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
		bool of_arch = memmem(k.data, k.size, "gemma4.", 7) == k.data ||
			       memmem(k.data, k.size, "gemma3.", 7) == k.data ||
			       memmem(k.data, k.size, "qwen3.", 6) == k.data;
		if (of_arch || (k.size == 17 && memcmp(k.data, "general.file_type", 17) == 0))
			compare_key(&ours, &golden, &golden.kv[i]);
	}
	gguf_close(&ours);
	gguf_close(&golden);
	temp_file_remove(&t);
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
	compare_with_golden("gemma3-tiny", TENSOR_Q8_0, "golden/gemma3-tiny.q8_0.gguf");
	compare_with_golden("qwen3-tiny", TENSOR_Q8_0, "golden/qwen3-tiny.q8_0.gguf");
}

/* ---- plans of the published sizes ---- */

static void assert_shape(const struct synth_plan *p, const char *name, int64_t n0, int64_t n1, int64_t n2)
{
	const struct synth_tensor *t = synth_case_tensor(p, name);
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
	struct synth_plan p = synth_case_plan("gemma4-e4b", TENSOR_Q8_0, 1);
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
	assert_null(synth_case_tensor(&p, "blk.24.attn_k.weight"));
	assert_null(synth_case_tensor(&p, "blk.41.attn_v.weight"));
	assert_null(synth_case_tensor(&p, "blk.41.attn_k_norm.weight"));
	assert_null(synth_case_tensor(&p, "output.weight"));
	synth_plan_free(&p);

	p = synth_case_plan("gemma4-e2b", TENSOR_Q8_0, 1);
	assert_shape(&p, "blk.14.ffn_up.weight", 1536, 6144, 1);
	assert_shape(&p, "blk.15.ffn_up.weight", 1536, 12288, 1);
	assert_shape(&p, "blk.14.attn_v.weight", 1536, 512, 1);
	assert_null(synth_case_tensor(&p, "blk.15.attn_v.weight"));
	assert_true(fabs(active(&p) - 2.3e9) < 0.1e9);
	synth_plan_free(&p);

	static const struct {
		const char *arch;
		double total, total_within, active, active_within;
	} sizes[] = {
		{"gemma4-12b", 11.9e9, 0.2e9, 11.9e9, 0.2e9},     {"gemma4-31b", 30.7e9, 0.5e9, 30.7e9, 0.5e9},
		{"gemma4-26b-a4b", 25.5e9, 0.8e9, 3.9e9, 0.2e9},  {"gemma3-270m", 268.1e6, 0.1e6, 268.1e6, 0.1e6},
		{"gemma3-1b", 999.9e6, 0.1e6, 999.8e6, 0.1e6},    {"gemma3-4b", 3.88e9, 0.01e9, 3.88e9, 0.01e9},
		{"gemma3-12b", 11.77e9, 0.01e9, 11.77e9, 0.01e9}, {"gemma3-27b", 27.01e9, 0.01e9, 27.01e9, 0.01e9},
		{"qwen3-8b", 8.19e9, 0.01e9, 7.57e9, 0.01e9},
	};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		p = synth_case_plan(sizes[i].arch, TENSOR_Q8_0, 1);
		double total = (double)synth_plan_parameters(&p), used = active(&p);
		if (fabs(total - sizes[i].total) > sizes[i].total_within ||
		    fabs(used - sizes[i].active) > sizes[i].active_within)
			fail_msg("%s: %.4g parameters, %.4g active", sizes[i].arch, total, used);
		synth_plan_free(&p);
	}

	p = synth_case_plan("gemma4-26b-a4b", TENSOR_Q8_0, 1);
	assert_shape(&p, "blk.0.ffn_gate_up_exps.weight", 2816, 1408, 128);
	assert_shape(&p, "blk.0.ffn_down_exps.weight", 704, 2816, 128);
	assert_shape(&p, "blk.5.attn_k.weight", 2816, 1024, 1);
	assert_null(synth_case_tensor(&p, "blk.5.attn_v.weight"));
	assert_int_equal(synth_case_tensor(&p, "blk.0.ffn_gate_inp.weight")->type, TENSOR_F32);
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
		{"gemma4-e4b-tiny", 6, 0}, {"gemma4-e4b-tiny", 18, 6},  {"gemma4-e4b-tiny", 42, 18},
		{"gemma4-e2b-tiny", 5, 0}, {"gemma4-e2b-tiny", 35, 20}, {"gemma4-31b-tiny", 6, 0},
		{"gemma3-tiny", 5, 0},     {"gemma3-tiny", 12, 0},      {"gemma4-26b-a4b-tiny", 12, 0},
		{"qwen3-tiny", 1, 0},      {"qwen3-tiny", 7, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct temp_file t = temp_file_make();
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
		synth_case_write(&p, t.path, 1);
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
		temp_file_remove(&t);
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

/* ---- failures leave nothing ---- */

/* In a child: the file-size limit must not reach the test's own output. */
static void test_file_size_limit(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	struct synth_plan p = synth_case_plan("gemma4-e4b-tiny", TENSOR_Q8_0, 1);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit limit = {1 << 20, 1 << 20};
		struct error err = {0};
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		int rc = synth_write(&p, t.path, false, 1, NULL, NULL, &err);
		_exit(rc == ERROR_IO && strstr(err.text, t.path) && !strchr(err.text, '\n') ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(t.path, F_OK), -1);
	temp_file_remove(&t); /* fails on a part file */
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
	struct temp_file t = temp_file_make();
	synth_case_make("qwen3-tiny", TENSOR_Q8_0, 1, 1, t.path);
	size_t n_before, n_after;
	unsigned char *before = synth_case_bytes(t.path, &n_before);
	struct synth_plan p = synth_case_plan("gemma4-e4b-tiny", TENSOR_Q8_0, 1);
	struct error err = {0};
	/* On one thread at the second call, which is not the last; and on several, where one may do all the work. */
	for (int n_threads = 1; n_threads <= 2; n_threads++) {
		int calls = n_threads == 1 ? 2 : 1;
		assert_int_equal(synth_write(&p, t.path, true, n_threads, give_up, &calls, &err), ERROR_IO);
		assert_int_equal(calls, 0);
	}
	/* The file of that name is still the old one. */
	unsigned char *after = synth_case_bytes(t.path, &n_after);
	assert_int_equal(n_before, n_after);
	assert_memory_equal(before, after, n_before);
	free(before);
	free(after);
	synth_plan_free(&p);
	temp_file_remove(&t);
}

/* More than any disk: refused before anything is written, with the bytes needed. */
static void test_no_space(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
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
	assert_int_equal(synth_write(&p, t.path, false, 1, NULL, NULL, &err), ERROR_IO);
	assert_non_null(strstr(err.text, need));
	synth_plan_free(&p);
	temp_file_remove(&t);
}

static void test_plan_bytes(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	for (int i = 0; synth_arch_name(i); i++) {
		if (!strstr(synth_arch_name(i), "tiny"))
			continue;
		struct synth_plan p = synth_case_plan(synth_arch_name(i), TENSOR_BF16, 1);
		struct stat st;
		synth_case_write(&p, t.path, 1);
		assert_int_equal(stat(t.path, &st), 0);
		assert_true(synth_plan_bytes(&p) >= (uint64_t)st.st_size);
		assert_true(synth_plan_bytes(&p) < (uint64_t)st.st_size + 65536);
		synth_plan_free(&p);
	}
	temp_file_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_tensors_and_keys),
		cmocka_unit_test(test_published_sizes),
		cmocka_unit_test(test_depths),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_file_size_limit),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_plan_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
