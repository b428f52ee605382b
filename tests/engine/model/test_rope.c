/*
 * RoPE frequencies against what the transformers library computes (vectors/rope.json, made by vectors/make_rope.py),
 * and which scaling a file gets, or is refused for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/model/model.h"
#include "tests/support/edited_model.h"
#include "tests/support/golden.h"
#include "tests/support/temp_file.h"

enum { MAX_HALF = 512 };

static double member(const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);
	assert_true(json_is_number(v));
	return json_number_value(v);
}

static void test_against_transformers(void **state)
{
	(void)state;
	json_error_t why;
	json_t *root = json_load_file("vectors/rope.json", 0, &why), *one;
	size_t i;
	if (!root)
		fail_msg("vectors/rope.json:%d: %s", why.line, why.text);
	assert_int_equal(json_array_size(root), 9);
	json_array_foreach(root, i, one)
	{
		bool yarn = !strcmp(json_string_value(json_object_get(one, "type")), "yarn");
		const struct rope_scaling s = {
			.type = yarn ? ROPE_SCALING_YARN : ROPE_SCALING_LINEAR,
			.factor = member(one, "factor"),
			.original_context = member(one, "original_context"),
			.beta_fast = member(one, "beta_fast"),
			.beta_slow = member(one, "beta_slow"),
		};
		const json_t *want = json_object_get(one, "frequencies");
		int head_dim = (int)member(one, "head_dim");
		float got[MAX_HALF];
		assert_int_equal(json_array_size(want), head_dim / 2);
		rope_frequencies(&s, member(one, "base"), head_dim, NULL, got);
		for (int j = 0; j < head_dim / 2; j++) {
			double f = json_number_value(json_array_get(want, (size_t)j));
			if (!(fabs((double)got[j] - f) <= 6e-8 * f)) /* half a float32's last place */
				fail_msg("case %zu: frequency %d is %.9g, not %.9g", i, j, (double)got[j], f);
		}
		assert_true(fabs(rope_attention_factor(&s) - member(one, "attention_factor")) < 1e-14);
	}
	json_decref(root);
}

/* A file's own divisors come before the scaling; 1e30 stops a pair under each of them. */
static void test_divisors(void **state)
{
	(void)state;
	static const float divisors[4] = {1, 2, 1e30f, 1e30f};
	struct rope_scaling s = {.type = ROPE_SCALING_LINEAR, .factor = 8};
	float got[4];
	rope_frequencies(&s, 10000, 8, divisors, got);
	assert_float_equal(got[0], 0.125, 1e-9);
	assert_float_equal(got[1], 0.1 / 16, 1e-9);
	assert_true(got[2] < 1e-30f && got[3] < 1e-30f);
	s = (struct rope_scaling){ROPE_SCALING_YARN, 4, 4096, 32, 1};
	rope_frequencies(&s, 10000, 8, divisors, got);
	/* low = floor(1.31), high = ceil(2.82): pair 0 keeps its frequency, pair 1 too */
	assert_float_equal(got[0], 1, 1e-9);
	assert_float_equal(got[1], 0.05, 1e-9);
	assert_true(got[2] < 1e-30f && got[3] < 1e-30f);
}

static struct model open_edited(const char *golden, const char *path, const struct edit *edits, size_t n)
{
	struct golden g;
	struct model m;
	struct error err;
	golden_load(&g, golden);
	edited_model(g.path, path, edits, n);
	golden_free(&g);
	if (model_open(&m, path, &err))
		fail_msg("%s", err.text);
	return m;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_yarn_of_a_file(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	const struct edit edits[] = {
		{.kind = EDIT_STRING, .name = "qwen3.rope.scaling.type", .text = "yarn"},
		{.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		{.kind = EDIT_U32, .name = "qwen3.rope.scaling.original_context_length", .value = 1024},
		{.kind = EDIT_F32, .name = "qwen3.rope.scaling.yarn_beta_fast", .value = 16},
		{.kind = EDIT_F32, .name = "qwen3.rope.scaling.attn_factor", .value = 1},
		{.kind = EDIT_BOOL, .name = "qwen3.rope.scaling.finetuned", .value = 1},
	};
	struct model m = open_edited("qwen3-tiny.q8_0", t.path, edits, COUNT(edits));
	assert_int_equal(m.rope_scaling.type, ROPE_SCALING_YARN);
	assert_float_equal(m.rope_scaling.factor, 4, 0);
	assert_float_equal(m.rope_scaling.original_context, 1024, 0);
	assert_float_equal(m.rope_scaling.beta_fast, 16, 0);
	assert_float_equal(m.rope_scaling.beta_slow, 1, 0);
	/* (0.1 ln 4 + 1)^2 / sqrt(32) */
	assert_float_equal(m.layers[0].attention_scale, 0.17677669 * 1.138629436 * 1.138629436, 1e-6);
	model_close(&m);
	/* Without the key, the trained context. */
	m = open_edited("qwen3-tiny.q8_0", t.path, edits, 2);
	assert_float_equal(m.rope_scaling.original_context, m.n_context, 0);
	model_close(&m);
	temp_file_remove(&t);
}

/* Scaling is of the global layers: a sliding one never sees a far position. */
static void test_global_layers_only(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	const struct edit edits[] = {
		{.kind = EDIT_STRING, .name = "gemma4.rope.scaling.type", .text = "yarn"},
		{.kind = EDIT_F32, .name = "gemma4.rope.scaling.factor", .value = 4},
	};
	struct model m = open_edited("gemma4-e4b-tiny.q8_0", t.path, edits, COUNT(edits));
	assert_float_equal(m.layers[4].attention_scale, 1, 0);
	assert_float_equal(m.layers[5].attention_scale, 1.138629436 * 1.138629436, 1e-6);
	model_close(&m);
	temp_file_remove(&t);
}

static void test_none(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	const struct edit edits[] = {
		{.kind = EDIT_STRING, .name = "qwen3.rope.scaling.type", .text = "none"},
		{.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		{.kind = EDIT_U32, .name = "qwen3.rope.scaling.original_context_length", .value = 1024},
	};
	struct model m = open_edited("qwen3-tiny.q8_0", t.path, edits, COUNT(edits));
	assert_int_equal(m.rope_scaling.type, ROPE_SCALING_NONE);
	assert_float_equal(rope_attention_factor(&m.rope_scaling), 1, 0);
	model_close(&m);
	temp_file_remove(&t);
}

static void test_refusals(void **state)
{
	(void)state;
	static const struct {
		const char *type;
		struct edit edit;
		const char *says;
	} cases[] = {
		{"longrope",
		 {.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		 "qwen3.rope.scaling.type is 'longrope'"},
		{"dynamic",
		 {.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		 "qwen3.rope.scaling.type is 'dynamic'"},
		{"yarn",
		 {.kind = EDIT_U32, .name = "qwen3.vocab_size", .value = 512},
		 "qwen3.rope.scaling.factor is missing"},
		{"linear",
		 {.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 0.5},
		 "qwen3.rope.scaling.factor is 0.5"},
		{NULL,
		 {.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		 "qwen3.rope.scaling.factor = 4"},
		{NULL,
		 {.kind = EDIT_F32, .name = "qwen3.rope.scale_linear", .value = 4},
		 "qwen3.rope.scale_linear = 4"},
	};
	struct temp_file t = temp_file_make();
	struct golden g;
	golden_load(&g, "qwen3-tiny.q8_0");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct model m;
		struct error err = {{0}};
		const struct edit edits[] = {
			cases[i].edit,
			{.kind = EDIT_STRING, .name = "qwen3.rope.scaling.type", .text = cases[i].type},
		};
		edited_model(g.path, t.path, edits, cases[i].type ? 2 : 1);
		int rc = model_open(&m, t.path, &err);
		if ((rc != ERROR_INPUT && rc != ERROR_UNSUPPORTED) || !strstr(err.text, cases[i].says))
			fail_msg("returned %d and said '%s', not '%s'", rc, err.text, cases[i].says);
	}
	/* Forms of YaRN that programs read in several ways. */
	static const char *const variants[] = {"attn_factor", "yarn_attn_factor", "yarn_ext_factor",
					       "yarn_log_multiplier"};
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct model m;
		struct error err = {{0}};
		char key[96];
		snprintf(key, sizeof key, "qwen3.rope.scaling.%s", variants[i]);
		const struct edit edits[] = {
			{.kind = EDIT_STRING, .name = "qwen3.rope.scaling.type", .text = "yarn"},
			{.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
			{.kind = EDIT_F32, .name = key, .value = 0.5},
		};
		edited_model(g.path, t.path, edits, COUNT(edits));
		assert_int_equal(model_open(&m, t.path, &err), ERROR_UNSUPPORTED);
		assert_non_null(strstr(err.text, key));
	}
	golden_free(&g);
	temp_file_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_transformers),
		cmocka_unit_test(test_divisors),
		cmocka_unit_test(test_yarn_of_a_file),
		cmocka_unit_test(test_global_layers_only),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
