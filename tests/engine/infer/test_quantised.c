/*
 * Models in every quantised type and in the mixtures: their logits are those of a model whose file holds the same
 * values in float32, and fusion persistent refuses them by name.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "engine/model/synth.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/synth_case.h"
#include "tests/support/temp_file.h"

/* Relative to the logits' norm: float32 sums of the same products. */
static const double THRESHOLD = 2e-6;

enum { CONTEXT = 64, PROMPT = 20, TOKENS = 6 };

static void make(const char *arch, enum tensor_type type, enum synth_mix mix, const char *path)
{
	struct synth_options options;
	struct synth_plan plan;
	synth_options_default(&options, arch);
	options.type = options.ple_type = type;
	options.mix = mix;
	OK(synth_plan_init(&plan, &options, e));
	synth_case_write(&plan, path, 1);
	synth_plan_free(&plan);
}

static void write_float32(const char *from, const char *path)
{
	struct gguf g;
	struct gguf_writer *w;
	OK(gguf_open(&g, from, e));
	OK(gguf_writer_open(&w, path, true, e));
	for (size_t i = 0; i < g.n_kv; i++)
		gguf_writer_copy(w, &g.kv[i]);
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		char name[SYNTH_NAME_BYTES] = {0};
		assert_true(t->name.size < sizeof name);
		memcpy(name, t->name.data, t->name.size);
		gguf_writer_tensor(w, name, TENSOR_F32, t->n_dims, t->ne);
	}
	OK(gguf_writer_begin(w, e));
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		size_t n = (size_t)(t->ne[0] * t->ne[1] * t->ne[2]);
		float *x = malloc(n * sizeof *x);
		assert_non_null(x);
		cpu_to_f32(t->data, t->type, x, n);
		OK(gguf_writer_data(w, (int)i, x, e));
		free(x);
	}
	OK(gguf_writer_end(w, e));
	gguf_close(&g);
}

/* Of a prompt's rows, then of tokens. The caller frees it. */
static float *logits_of(const char *path, enum fusion fusion, int *n_vocab)
{
	struct session_options o;
	struct session *s;
	int prompt[PROMPT];
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.context = CONTEXT;
	OK(session_open(&s, path, &o, e));
	session_set_fusion(s, fusion);
	*n_vocab = session_model(s)->n_vocab;
	float *logits = malloc((PROMPT + TOKENS) * (size_t)*n_vocab * sizeof *logits);
	assert_non_null(logits);
	for (int i = 0; i < PROMPT; i++)
		prompt[i] = (i * 37 + 5) % *n_vocab;
	OK(session_prefill(s, prompt, PROMPT, logits, e));
	for (int i = 0; i < TOKENS; i++) {
		const float *row;
		OK(session_decode(s, (i * 11 + 1) % *n_vocab, NULL, e));
		OK(session_logits(s, &row, e));
		memcpy(logits + (size_t)(PROMPT + i) * (size_t)*n_vocab, row, (size_t)*n_vocab * sizeof *row);
	}
	session_close(s);
	return logits;
}

static void compare(const char *what, const char *path, const char *float32, enum fusion fusion)
{
	int n, also;
	float *got = logits_of(path, fusion, &n), *want = logits_of(float32, fusion, &also);
	double off = 0, norm = 0;
	assert_int_equal(n, also);
	for (int i = 0; i < (PROMPT + TOKENS) * n; i++) {
		double d = (double)got[i] - (double)want[i];
		off += d * d;
		norm += (double)want[i] * (double)want[i];
	}
	if (!(norm > 0 && sqrt(off) <= THRESHOLD * sqrt(norm)))
		fail_msg("%s: logits are off by %.2g of their norm", what, sqrt(off / norm));
	free(got);
	free(want);
}

static void check(const char *arch, enum tensor_type type, enum synth_mix mix)
{
	struct temp_file quantised = temp_file_make(), float32 = temp_file_make();
	make(arch, type, mix, quantised.path);
	write_float32(quantised.path, float32.path);
	compare(synth_mix_name(mix, type), quantised.path, float32.path, FUSION_FULL);
	compare(synth_mix_name(mix, type), quantised.path, float32.path, FUSION_NONE);
	temp_file_remove(&quantised);
	temp_file_remove(&float32);
}

static void test_logits_are_those_of_the_values(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++)
		if (tensor_types[i].quants)
			check("gemma4-e4b-tiny", tensor_types[i].type, SYNTH_MIX_NONE);
#define X(NAME, word, file_type, base) check("gemma4-e4b-tiny", TENSOR_##base, SYNTH_MIX_##NAME);
	SYNTH_MIXES(X)
#undef X
	check("qwen3-tiny", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M);
}

/* Prompts of experts, whose rows no kernel of float16 takes in these types. */
static void test_experts(void **state)
{
	(void)state;
	check("gemma4-26b-a4b-tiny", TENSOR_Q4_0, SYNTH_MIX_NONE);
	check("gemma4-26b-a4b-tiny", TENSOR_Q5_K, SYNTH_MIX_Q5_K_M);
}

static void test_persistent_names_what_it_does_not_read(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		if (!tensor_types[i].quants)
			continue;
		struct temp_file t = temp_file_make();
		struct session_options o;
		struct session *s;
		struct error err = {""};
		make("qwen3-tiny", tensor_types[i].type, SYNTH_MIX_NONE, t.path);
		session_options_default(&o);
		o.load.n_gpu_layers = 0;
		o.context = CONTEXT;
		OK(session_open(&s, t.path, &o, e));
		session_set_fusion(s, FUSION_PERSISTENT);
		assert_int_equal(session_prepare(s, &err), ERROR_UNSUPPORTED);
		assert_non_null(strstr(err.text, "fusion persistent reads no weights in"));
		session_close(s);
		temp_file_remove(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logits_are_those_of_the_values),
		cmocka_unit_test(test_experts),
		cmocka_unit_test(test_persistent_names_what_it_does_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
