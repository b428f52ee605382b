/*
 * Models in every quantised type and in the mixtures: their logits are those of a model whose file holds the same
 * values in float32.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "engine/model/gguf_write.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

/* Relative to the logits' norm: float32 sums of the same products. */
static const double THRESHOLD = 2e-6;

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

static void compare(const char *what, const char *path, const char *float32, enum fusion fusion)
{
	int n, also;
	float *got = quantised_logits(path, 0, fusion, GRAPH_MODE_DIRECT, &n);
	float *want = quantised_logits(float32, 0, fusion, GRAPH_MODE_DIRECT, &also);
	double off = 0, norm = 0;
	assert_int_equal(n, also);
	for (int i = 0; i < QUANTISED_ROWS * n; i++) {
		double d = (double)got[i] - (double)want[i];
		off += d * d;
		norm += (double)want[i] * (double)want[i];
	}
	if (!(norm > 0 && sqrt(off) <= THRESHOLD * sqrt(norm)))
		fail_msg("%s: logits are off by %.2g of their norm", what, sqrt(off / norm));
	free(got);
	free(want);
}

static void test_logits_are_those_of_the_values(void **state)
{
	(void)state;
	for (int i = 0; i < QUANTISED_CASES; i++) {
		struct temp_file quantised = temp_file_make(), float32 = temp_file_make();
		struct quantised_name name = quantised_name(&quantised_cases[i]);
		quantised_make(&quantised_cases[i], quantised.path);
		write_float32(quantised.path, float32.path);
		compare(name.text, quantised.path, float32.path, FUSION_FULL);
		compare(name.text, quantised.path, float32.path, FUSION_NONE);
		compare(name.text, quantised.path, float32.path, FUSION_PERSISTENT);
		temp_file_remove(&quantised);
		temp_file_remove(&float32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logits_are_those_of_the_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
