/*
 * Reading models: what each golden file is, and that a damaged one is refused by the
 * name of what is wrong. Damage is done to the bytes of a real file.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/model.h"
#include "engine/model/synth.h"
#include "tests/support/edited_model.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/temp_file.h"

static struct model open_golden(const char *name, struct golden *g)
{
	struct model m;
	struct error err;
	golden_load(g, name);
	if (model_open(&m, g->path, &err))
		fail_msg("%s", err.text);
	return m;
}

static void test_e4b(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("gemma4-e4b-tiny.q8_0", &g);
	assert_int_equal(m.arch, MODEL_GEMMA4);
	assert_string_equal(m.name, "Gemma4 E4B Tiny");
	assert_int_equal(m.activation, ACTIVATION_GELU_TANH);
	assert_true(m.v_norm && m.post_norms);
	assert_float_equal(m.embed_scale, 11.3137085, 1e-6); /* sqrt(128) */
	assert_float_equal(m.layers[0].attention_scale, 1, 0);
	assert_int_equal(m.n_layer, 12);
	assert_int_equal(m.n_ple, 32);
	assert_int_equal(m.window, 16);
	assert_ptr_equal(m.output, m.token_embd);
	/* layers 6 to 11 share: sliding ones read layer 4, the global one layer 5 */
	for (int i = 0; i < 12; i++) {
		bool global = i == 5 || i == 11;
		assert_int_equal(m.layers[i].sliding, !global);
		assert_int_equal(m.layers[i].head_dim, global ? 64 : 32);
		assert_int_equal(m.layers[i].kv_source, i < 6 ? i : global ? 5 : 4);
		assert_int_equal(m.layers[i].attn_k != NULL, i < 6);
	}
	/* cache of 100 positions in f16, chunks of 8: 5 rings of 23 x 2 x 32 and one of 100 x 2 x 64, k and v */
	assert_int_equal(model_kv_bytes(&m, 100, 8, TENSOR_F16, TENSOR_F16), 2 * 2 * (5 * 23 * 2 * 32 + 100 * 2 * 64));
	assert_int_equal(model_kv_bytes(&m, 100, 8, TENSOR_F32, TENSOR_F16),
			 (4 + 2) * (5 * 23 * 2 * 32 + 100 * 2 * 64));
	model_close(&m);
	golden_free(&g);
}

static void test_k_is_v_and_moe(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("gemma4-26b-a4b-tiny.q8_0", &g);
	assert_int_equal(m.n_expert, 8);
	assert_int_equal(m.n_expert_used, 2);
	for (int i = 0; i < m.n_layer; i++) {
		assert_int_equal(m.layers[i].v_is_k, !m.layers[i].sliding);
		assert_int_equal(m.layers[i].n_head_kv, m.layers[i].sliding ? 4 : 2);
	}
	/* What a token reads: everything but 6 of 8 experts and all but one row of the embedding, which is the head
	 * too. */
	size_t experts = 0, all = 0;
	for (size_t i = 0; i < m.file.n_tensors; i++) {
		const struct gguf_tensor *t = &m.file.tensors[i];
		all += t->bytes;
		if (t->n_dims == 3)
			experts += t->bytes;
	}
	size_t freqs = gguf_find_tensor(&m.file, "rope_freqs.weight")->bytes; /* read at load only */
	size_t row = m.token_embd->bytes / (size_t)m.n_vocab;
	assert_int_equal(model_decode_bytes(&m), all - freqs - experts + experts / 8 * 2 + row);
	model_close(&m);
	golden_free(&g);
}

/* Wherever the model is cut, the parts read what the whole reads; a cache is on both sides where both attend it. */
static void test_ranges(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("gemma4-e4b-tiny.q8_0", &g);
	size_t sliding = 2 * 2 * 23 * 2 * 32, global = 2 * 2 * 100 * 2 * 64; /* f16 K and V of 2 heads */
	for (int n = 0; n <= m.n_layer; n++) {
		struct model_range a = {.end = n, .embed = true}, b = {.begin = n, .end = m.n_layer, .head = true};
		assert_int_equal(model_range_bytes(&m, &a) + model_range_bytes(&m, &b), model_decode_bytes(&m));
		/* 6 .. 11 attend 4 (sliding) and 5 (global); 11 is the last global layer, 10 the last sliding one. */
		size_t behind = n < 5 ? (5 - (size_t)n) * sliding : n < 11 ? sliding : 0;
		behind += n < 12 ? global : 0;
		assert_int_equal(model_range_kv_bytes(&m, n, m.n_layer, 100, 8, TENSOR_F16, TENSOR_F16), behind);
		assert_int_equal(model_attends(&m, n, m.n_layer, 4), n < 11);
		assert_int_equal(model_attends(&m, n, m.n_layer, 3), n < 4);
	}
	model_close(&m);
	golden_free(&g);
}

static void test_widths_a_layer(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("gemma4-e2b-tiny.q8_0", &g);
	for (int i = 0; i < m.n_layer; i++)
		assert_int_equal(m.layers[i].n_ff, i < 5 ? 256 : 512);
	model_close(&m);
	golden_free(&g);
}

/* The fuzzer's seed must be a model, or it explores nothing behind the first missing key. */
static void test_smallest_model(void **state)
{
	(void)state;
	struct model m;
	struct error err;
	if (model_open(&m, "fuzz/corpus/gguf/model.gguf", &err))
		fail_msg("%s", err.text);
	assert_int_equal(m.n_layer, 2);
	assert_true(m.layers[1].v_is_k);
	model_close(&m);
}

static void test_qwen3(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("qwen3-tiny.q8_0", &g);
	assert_int_equal(m.arch, MODEL_QWEN3);
	assert_ptr_not_equal(m.output, m.token_embd);
	assert_float_equal(m.layers[3].attention_scale, 0.17677669, 1e-7);
	assert_float_equal(m.embed_scale, 1, 0);
	assert_int_equal(m.activation, ACTIVATION_SILU);
	assert_false(m.v_norm || m.post_norms);
	assert_int_equal(m.window, 0);
	model_close(&m);
	golden_free(&g);
}

/* The tiny model is of published keys: no pattern, one width, the global layers' frequencies divided. */
static void test_gemma3(void **state)
{
	(void)state;
	struct golden g;
	struct model m = open_golden("gemma3-tiny.q8_0", &g);
	assert_int_equal(m.arch, MODEL_GEMMA3);
	assert_ptr_equal(m.output, m.token_embd);
	assert_int_equal(m.activation, ACTIVATION_GELU_TANH);
	assert_true(m.post_norms && !m.v_norm);
	assert_true(m.softcap == 0 && m.n_ple == 0 && m.n_expert == 0 && !m.rope_freqs);
	assert_float_equal(m.embed_scale, 11.3137085, 1e-6); /* sqrt(128) */
	assert_true(m.rope_base == 1e6 && m.rope_base_swa == 1e4);
	assert_int_equal(m.rope_scaling.type, ROPE_SCALING_LINEAR);
	assert_true(m.rope_scaling.factor == 8);
	assert_int_equal(m.window, 16);
	for (int i = 0; i < 7; i++) {
		const struct model_layer *l = &m.layers[i];
		assert_int_equal(l->sliding, i != 5);
		assert_int_equal(l->head_dim, 64);
		assert_float_equal(l->attention_scale, 0.125, 1e-7); /* 1 / sqrt(64) */
		assert_false(l->v_is_k || l->layer_output_scale || l->kv_source != i);
	}
	model_close(&m);
	golden_free(&g);
}

/* What files of Gemma 3 may say or leave out, and what follows. */
static void test_gemma3_keys(void **state)
{
	(void)state;
	static const struct {
		struct edit edits[2];
		int global;      /* the first global layer */
		double base_swa; /* of sliding ones */
	} cases[] = {
		{{{.kind = EDIT_U32, .name = "gemma3.attention.sliding_window_pattern", .value = 3}}, 2, 1e4},
		{{{.kind = EDIT_F32, .name = "gemma3.rope.freq_base_swa", .value = 5000}}, 5, 5e3},
		{{{.kind = EDIT_U32, .name = "gemma3.rope.dimension_count", .value = 64},
		  {.kind = EDIT_F32, .name = "gemma3.final_logit_softcapping", .value = 0}},
		 5,
		 1e4},
	};
	struct golden g;
	struct temp_file t = temp_file_make();
	golden_load(&g, "gemma3-tiny.q8_0");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct model m;
		edited_model(g.path, t.path, cases[i].edits, cases[i].edits[1].kind ? 2 : 1);
		OK(model_open(&m, t.path, e));
		int first = 0;
		while (m.layers[first].sliding)
			first++;
		assert_int_equal(first, cases[i].global);
		assert_true(m.rope_base_swa == cases[i].base_swa);
		model_close(&m);
	}
	/* Not K = V, as of a Gemma 4. */
	const struct edit no_v = {.kind = EDIT_DROP, .name = "blk.5.attn_v.weight"};
	struct model m;
	struct error err;
	edited_model(g.path, t.path, &no_v, 1);
	assert_int_equal(model_open(&m, t.path, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "the tensor blk.5.attn_v.weight is missing"));
	temp_file_remove(&t);
	golden_free(&g);
}

/* The 27B scales by its width a head, not by head_dim; its files are known by their depth. */
static void test_gemma3_scale(void **state)
{
	(void)state;
	static const struct {
		int n_layer;
		double scale; /* 1 / sqrt(64): head_dim; 1 / sqrt(32): 128 values in 4 heads */
	} cases[] = {{61, 0.125}, {62, 0.17677669}};
	struct temp_file t = temp_file_make();
	for (size_t i = 0; i < 2; i++) {
		struct synth_options o;
		struct synth_plan p;
		struct model m;
		synth_options_default(&o, "gemma3-tiny");
		o.n_layer = cases[i].n_layer;
		OK(synth_plan_init(&p, &o, e));
		OK(synth_write(&p, t.path, true, 2, NULL, NULL, e));
		OK(model_open(&m, t.path, e));
		for (int l = 0; l < m.n_layer; l++)
			assert_float_equal(m.layers[l].attention_scale, cases[i].scale, 1e-7);
		model_close(&m);
		synth_plan_free(&p);
	}
	temp_file_remove(&t);
}

/* ---- damage ---- */

struct bytes {
	unsigned char *data;
	size_t size;
};

static struct bytes slurp(const char *path)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	struct bytes b = {.size = (size_t)ftell(f)};
	rewind(f);
	b.data = malloc(b.size);
	assert_int_equal(fread(b.data, 1, b.size, f), b.size);
	fclose(f);
	return b;
}

/* Where the file's `name` (a key or a tensor name, with its length in front) ends. */
static unsigned char *after(struct bytes *b, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 8; i + n <= b->size; i++) {
		uint64_t length;
		memcpy(&length, b->data + i - 8, 8);
		if (length == n && !memcmp(b->data + i, name, n))
			return b->data + i + n;
	}
	fail_msg("%s is not in the file", name);
	return NULL;
}

enum damage { RENAME, SET_U32, SET_F32, SET_ITEM_COUNT, SET_DIM0, SET_DIM1 };

struct damaged {
	const char *name; /* key or tensor */
	enum damage how;
	double value;
	int rc;
	const char *says; /* in the error line */
};

static const struct damaged cases[] = {
	{"blk.3.attn_q.weight", RENAME, 0, ERROR_INPUT, "the tensor blk.3.attn_q.weight is missing"},
	{"blk.5.attn_k_norm.weight", RENAME, 0, ERROR_INPUT, "the tensor blk.5.attn_k_norm.weight is missing"},
	{"blk.11.proj.weight", RENAME, 0, ERROR_INPUT, "the tensor blk.11.proj.weight is missing"},
	{"output_norm.weight", RENAME, 0, ERROR_INPUT, "the tensor output_norm.weight is missing"},
	{"token_embd.weight", RENAME, 0, ERROR_INPUT, "the tensor token_embd.weight is missing"},
	{"per_layer_model_proj.weight", RENAME, 0, ERROR_INPUT, "per_layer_model_proj.weight is missing"},
	{"blk.2.ffn_down.weight", SET_DIM1, 64, ERROR_INPUT,
	 "the tensor blk.2.ffn_down.weight is 256 x 64, expected 256 x 128"},
	{"blk.0.attn_norm.weight", SET_DIM0, 64, ERROR_INPUT, "the tensor blk.0.attn_norm.weight is 64, expected 128"},
	{"general.architecture", RENAME, 0, ERROR_INPUT, "general.architecture"},
	{"gemma4.block_count", SET_U32, 0, ERROR_INPUT, "gemma4.block_count is 0"},
	{"gemma4.block_count", SET_U32, 4e9, ERROR_INPUT, "gemma4.block_count is 4000000000"},
	{"gemma4.block_count", SET_U32, 13, ERROR_INPUT, "gemma4.attention.sliding_window_pattern"},
	{"gemma4.embedding_length", SET_U32, 127, ERROR_INPUT, "expected"},
	{"gemma4.attention.head_count", SET_U32, 0, ERROR_INPUT, "gemma4.attention.head_count is 0"},
	{"gemma4.attention.head_count", SET_U32, 3, ERROR_INPUT, "3 heads, no multiple of its 2 KV heads"},
	{"gemma4.attention.head_count_kv", RENAME, 0, ERROR_INPUT, "gemma4.attention.head_count_kv"},
	{"gemma4.attention.key_length", SET_U32, 31, ERROR_UNSUPPORTED, "value_length"},
	{"gemma4.attention.shared_kv_layers", SET_U32, 12, ERROR_INPUT, "shared_kv_layers is 12"},
	{"gemma4.attention.shared_kv_layers", SET_U32, 11, ERROR_INPUT, "no layer before 1 is of its kind"},
	{"gemma4.attention.sliding_window", SET_U32, 0, ERROR_INPUT, "sliding_window is 0"},
	{"gemma4.attention.sliding_window_pattern", SET_ITEM_COUNT, 11, ERROR_INPUT, ""},
	{"gemma4.rope.dimension_count", SET_U32, 32, ERROR_UNSUPPORTED, "rope.dimension_count is 32"},
	{"gemma4.rope.freq_base", SET_F32, -1, ERROR_INPUT, "gemma4.rope.freq_base is -1"},
	{"gemma4.attention.layer_norm_rms_epsilon", SET_F32, 0.0 / 0.0, ERROR_INPUT, "layer_norm_rms_epsilon"},
	{"gemma4.embedding_length_per_layer_input", SET_U32, 64, ERROR_INPUT, "expected"},
	{"gemma4.feed_forward_length", SET_U32, 1u << 30, ERROR_INPUT, "feed_forward_length"},
};

static void damage(struct bytes *b, const struct damaged *c)
{
	unsigned char *p = after(b, c->name);
	float f = (float)c->value;
	uint64_t n = c->how == SET_F32 ? 0 : (uint64_t)c->value; /* a float may be -1 or NaN */
	uint32_t u = (uint32_t)n;
	switch (c->how) {
	case RENAME:
		p[-1] = 'X';
		break;
	case SET_U32: /* key, type u32, value */
		memcpy(p + 4, &u, 4);
		break;
	case SET_F32:
		memcpy(p + 4, &f, 4);
		break;
	case SET_ITEM_COUNT: /* key, type u32, item type u32, count u64 */
		memcpy(p + 8, &n, 8);
		break;
	case SET_DIM0: /* name, n_dims u32, dims u64, type u32, offset u64 */
		memcpy(p + 4, &n, 8);
		break;
	case SET_DIM1:
		memcpy(p + 12, &n, 8);
		break;
		memcpy(p + 4 + 8, &u, 4);
		break;
	}
}

static void test_damage_is_named(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes b = slurp(g.path);
		damage(&b, &cases[i]);
		struct model m = {0};
		struct error err = {{0}};
		int rc = gguf_open_memory(&m.file, b.data, b.size, "damaged.gguf", &err);
		if (!rc)
			rc = model_read(&m, &err);
		if (rc != cases[i].rc || !strstr(err.text, cases[i].says) || !strstr(err.text, "damaged.gguf"))
			fail_msg("%s: returned %d and said '%s', expected %d and '%s'", cases[i].name, rc, err.text,
				 cases[i].rc, cases[i].says);
		model_close(&m);
		free(b.data);
	}
	golden_free(&g);
}

/* What frequencies are divided by. */
static void test_rope_factors(void **state)
{
	(void)state;
	static const float bad[] = {0, -1, NAN, INFINITY};
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct bytes b = slurp(g.path);
		struct model m = {0};
		struct error err = {{0}};
		assert_int_equal(gguf_open_memory(&m.file, b.data, b.size, "damaged.gguf", &err), 0);
		size_t at = (size_t)((const unsigned char *)gguf_find_tensor(&m.file, "rope_freqs.weight")->data -
				     m.file.map);
		memcpy(b.data + at + 5 * sizeof *bad, &bad[i], sizeof *bad);
		assert_int_equal(model_read(&m, &err), ERROR_INPUT);
		assert_non_null(strstr(err.text, "damaged.gguf: rope_freqs.weight has "));
		assert_non_null(strstr(err.text, " as factor 5, expected a positive number"));
		model_close(&m);
		free(b.data);
	}
	golden_free(&g);
}

static void test_other_architecture(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct bytes b = slurp(g.path);
	unsigned char *p = after(&b, "general.architecture");
	memcpy(p + 12, "llama9", 6); /* type u32, length u64, "gemma4" */
	struct model m = {0};
	struct error err;
	assert_int_equal(gguf_open_memory(&m.file, b.data, b.size, "x.gguf", &err), 0);
	assert_int_equal(model_read(&m, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "'llama9' is not supported; gemma4, gemma3 and qwen3 are"));
	model_close(&m);
	free(b.data);
	golden_free(&g);
}

/* What the file says is the name, whatever its tensors are; nothing is made up of what is unknown. */
static void test_file_type(void **state)
{
	(void)state;
	static const struct {
		struct edit edit;
		const char *name;
	} files[] = {
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 15}, "Q4_K_M"},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 17}, "Q5_K_M"},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 7}, "Q8_0"},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 0}, "F32"},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 32}, "BF16"},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 4}, NULL},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 33}, NULL},
		{{.kind = EDIT_U32, .name = "general.file_type", .value = 1024 + 15}, NULL},
		{{.kind = EDIT_STRING, .name = "general.file_type", .text = "Q4_K_M"}, NULL},
		{{.kind = EDIT_DROP, .name = "general.file_type"}, NULL},
	};
	struct temp_file t = temp_file_make();
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct model m;
		edited_model("golden/qwen3-tiny.q8_0.gguf", t.path, &files[i].edit, 1);
		OK(model_open(&m, t.path, e));
		const char *name = model_file_type(&m);
		if (!files[i].name != !name || (name && strcmp(name, files[i].name) != 0))
			fail_msg("%zu: %s, not %s", i, name ? name : "none", files[i].name ? files[i].name : "none");
		model_close(&m);
	}
	/* What this program writes into files of one type is what it reads of them: Q4_K's are Q4_K_S. */
	for (int k = 0; k < tensor_type_count; k++) {
		const struct edit edit = {
			.kind = EDIT_U32, .name = "general.file_type", .value = tensor_types[k].file_type};
		struct model m;
		edited_model("golden/qwen3-tiny.q8_0.gguf", t.path, &edit, 1);
		OK(model_open(&m, t.path, e));
		const char *name = model_file_type(&m);
		assert_non_null(name);
		assert_memory_equal(name, tensor_types[k].name, strlen(tensor_types[k].name));
		model_close(&m);
	}
	temp_file_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_e4b),
		cmocka_unit_test(test_k_is_v_and_moe),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_widths_a_layer),
		cmocka_unit_test(test_qwen3),
		cmocka_unit_test(test_gemma3),
		cmocka_unit_test(test_gemma3_keys),
		cmocka_unit_test(test_gemma3_scale),
		cmocka_unit_test(test_smallest_model),
		cmocka_unit_test(test_damage_is_named),
		cmocka_unit_test(test_rope_factors),
		cmocka_unit_test(test_other_architecture),
		cmocka_unit_test(test_file_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
