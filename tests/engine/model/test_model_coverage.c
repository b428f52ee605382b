/*
 * That no file is computed as another model than it is: what the engine would not read of it is named, and what
 * published files hold beside the text model is not minded. Each case is a golden file with one thing changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/model.h"
#include "tests/support/edited_model.h"
#include "tests/support/golden.h"
#include "tests/support/temp_file.h"

static const char gemma[] = "gemma4-e4b-tiny.q8_0", moe[] = "gemma4-26b-a4b-tiny.q8_0", qwen[] = "qwen3-tiny.q8_0",
		  gemma3[] = "gemma3-tiny.q8_0";
static const char norm[] = "blk.0.attn_norm.weight"; /* what an added tensor holds does not matter */

struct coverage_case {
	const char *golden;
	struct edit edits[4];
	const char *says[3]; /* all in the error line; none: it opens */
};

static const struct coverage_case cases[] = {
	/* tensors that a model of these names would compute with */
	{qwen,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.attn_q.bias", .text = norm}},
	 {"the tensor blk.0.attn_q.bias is not"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "blk.3.ffn_down.bias", .text = norm}},
	 {"the tensor blk.3.ffn_down.bias is not"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "blk.3.attn_sinks.weight", .text = norm}},
	 {"the tensor blk.3.attn_sinks.weight is"}},
	{qwen,
	 {{.kind = EDIT_TENSOR, .name = "blk.1.post_attention_norm.weight", .text = norm}},
	 {"blk.1.post_attention_norm.weight"}},
	{qwen,
	 {{.kind = EDIT_TENSOR, .name = "rope_freqs.weight", .text = norm}},
	 {"the tensor rope_freqs.weight is not"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "rope_factors_long.weight", .text = norm}},
	 {"the tensor rope_factors_long.weight is"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "output_norm.bias", .text = norm}},
	 {"the tensor output_norm.bias is not"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.ffn_gate_inp.weight", .text = norm}},
	 {"the tensor blk.0.ffn_gate_inp.weight"}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.attn_q.scale", .text = norm}},
	 {"the tensor blk.0.attn_q.scale is not"}},
	{moe,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.ffn_up_shexp.weight", .text = norm}},
	 {"the tensor blk.0.ffn_up_shexp.weight is"}},
	/* half of what may come in two, beside the whole */
	{moe,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.ffn_up_exps.weight", .text = norm}},
	 {"blk.0.ffn_up_exps.weight is"}},
	/* a layer behind the last, and many of them */
	{qwen,
	 {{.kind = EDIT_TENSOR, .name = "blk.4.attn_norm.weight", .text = norm}},
	 {"blk.4.attn_norm.weight", "of 4 layers"}},
	{qwen,
	 {{.kind = EDIT_U32, .name = "qwen3.block_count", .value = 3}},
	 {"the tensors blk.3.", " and 8 more are not", "of 3 layers"}},
	/* Gemma 3 has none of Gemma 4's */
	{gemma3,
	 {{.kind = EDIT_TENSOR, .name = "blk.0.layer_output_scale.weight", .text = norm}},
	 {"the tensor blk.0.layer_output_scale.weight is not"}},
	{gemma3,
	 {{.kind = EDIT_TENSOR, .name = "rope_freqs.weight", .text = norm}},
	 {"the tensor rope_freqs.weight is not"}},
	{gemma3,
	 {{.kind = EDIT_U32, .name = "gemma3.attention.key_length_swa", .value = 32}},
	 {"the key gemma3.attention.key_length_swa = 32 is not"}},
	{gemma3,
	 {{.kind = EDIT_U32, .name = "gemma3.attention.shared_kv_layers", .value = 2}},
	 {"the key gemma3.attention.shared_kv_layers = 2 is not"}},
	{gemma3,
	 {{.kind = EDIT_F32, .name = "gemma3.final_logit_softcapping", .value = 30}},
	 {"the key gemma3.final_logit_softcapping = 30 is not"}},
	{gemma3,
	 {{.kind = EDIT_F32, .name = "gemma3.attention.scale", .value = 0.0771517}},
	 {"the key gemma3.attention.scale = 0.0771517 is not"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "gemma3.rope.scaling.type", .text = "su"}},
	 {"gemma3.rope.scaling.type is 'su', which is not supported"}},
	/* and files of the larger ones what images need */
	{gemma3,
	 {{.kind = EDIT_U32, .name = "gemma3.vision.block_count", .value = 27},
	  {.kind = EDIT_U32, .name = "gemma3.mm.tokens_per_image", .value = 256}},
	 {0}},
	/* keys */
	{qwen,
	 {{.kind = EDIT_F32, .name = "qwen3.final_logit_softcapping", .value = 5}},
	 {"the key qwen3.final_logit_softcapping = 5 is not"}},
	{gemma,
	 {{.kind = EDIT_F32, .name = "gemma4.attn_logit_softcapping", .value = 50}},
	 {"the key gemma4.attn_logit_softcapping = 50 is"}},
	{qwen,
	 {{.kind = EDIT_U32, .name = "qwen3.attention.sliding_window", .value = 64}},
	 {"the key qwen3.attention.sliding_window = 64"}},
	{qwen,
	 {{.kind = EDIT_F32, .name = "qwen3.logit_scale", .value = 0.5}},
	 {"the key qwen3.logit_scale = 0.5 is not"}},
	{qwen,
	 {{.kind = EDIT_F32, .name = "qwen3.attention.scale", .value = 0.25}},
	 {"the key qwen3.attention.scale = 0.25 is not"}},
	{qwen,
	 {{.kind = EDIT_BOOL, .name = "qwen3.attention.causal", .value = 0}},
	 {"the key qwen3.attention.causal = 0 is not"}},
	{qwen,
	 {{.kind = EDIT_U32, .name = "qwen3.expert_count", .value = 8}},
	 {"the key qwen3.expert_count = 8 is not"}},
	{moe,
	 {{.kind = EDIT_U32, .name = "gemma4.expert_gating_func", .value = 2}},
	 {"the key gemma4.expert_gating_func = 2 is not"}},
	{moe,
	 {{.kind = EDIT_F32, .name = "gemma4.expert_weights_scale", .value = 2.5}},
	 {"the key gemma4.expert_weights_scale = 2.5 is not"}},
	/* files that are whole and no model of a next token */
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.type", .text = "adapter"},
	  {.kind = EDIT_STRING, .name = "adapter.type", .text = "lora"}},
	 {"is an adapter (lora) for a model of the architecture 'gemma3', not a model; give the model's file"}},
	/* as converters wrote it before there was general.type */
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "llama"},
	  {.kind = EDIT_STRING, .name = "adapter.type", .text = "lora"}},
	 {"is an adapter (lora) for a model of the architecture 'llama', not a model; give the model's file"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "controlvector"},
	  {.kind = EDIT_STRING, .name = "controlvector.model_hint", .text = "gemma3"}},
	 {"is a control vector for a model of the architecture 'gemma3', not a model; give the model's file"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "clip"},
	  {.kind = EDIT_BOOL, .name = "clip.has_vision_encoder", .value = 1}},
	 {"is the encoder and projector of images that", "give the text model's file"}},
	{gemma,
	 {{.kind = EDIT_STRING, .name = "general.type", .text = "mmproj"},
	  {.kind = EDIT_BOOL, .name = "clip.has_vision_encoder", .value = 1},
	  {.kind = EDIT_BOOL, .name = "clip.has_audio_encoder", .value = 1}},
	 {"projector of images and sound that"}},
	{gemma,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "clip"},
	  {.kind = EDIT_BOOL, .name = "clip.has_vision_encoder", .value = 0},
	  {.kind = EDIT_BOOL, .name = "clip.has_audio_encoder", .value = 1}},
	 {"projector of sound that"}},
	{qwen,
	 {{.kind = EDIT_STRING, .name = "general.type", .text = "imatrix"}},
	 {"general.type is 'imatrix', not 'model'; give the .gguf of a model"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "gemma-embedding"}},
	 {"is a model of embeddings ('gemma-embedding'), which predicts no tokens; give"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "bert"}},
	 {"is a model of embeddings ('bert')"}},
	{qwen, {{.kind = EDIT_U32, .name = "qwen3.pooling_type", .value = 3}}, {"is a model of embeddings ('qwen3')"}},
	{gemma3,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "gemma3n"}},
	 {"the architecture 'gemma3n' is not supported; gemma4, gemma3 and qwen3 are: give a model"}},
	{gemma,
	 {{.kind = EDIT_STRING, .name = "gemma4.some.new_thing", .text = "x\ty"}},
	 {"gemma4.some.new_thing = x\\ty is not"}},
	/* the same keys where they ask for nothing */
	{qwen, {{.kind = EDIT_F32, .name = "qwen3.final_logit_softcapping", .value = 0}}, {0}},
	{qwen, {{.kind = EDIT_F32, .name = "qwen3.attention.scale", .value = 0.17677669}}, {0}},
	{qwen,
	 {{.kind = EDIT_BOOL, .name = "qwen3.attention.causal", .value = 1},
	  {.kind = EDIT_U32, .name = "qwen3.expert_count", .value = 0}},
	 {0}},
	{gemma,
	 {{.kind = EDIT_F32, .name = "gemma4.attention.scale", .value = 1},
	  {.kind = EDIT_U32, .name = "gemma4.expert_used_count", .value = 0}},
	 {0}},
	/* usual keys of published files that change no logit */
	{qwen,
	 {{.kind = EDIT_U32, .name = "qwen3.vocab_size", .value = 512},
	  {.kind = EDIT_U32, .name = "qwen3.pooling_type", .value = 0},
	  {.kind = EDIT_U32, .name = "qwen3.rope.dimension_count", .value = 32},
	  {.kind = EDIT_U32, .name = "general.file_type", .value = 7}},
	 {0}},
	{gemma,
	 {{.kind = EDIT_STRING, .name = "tokenizer.chat_template", .text = "{{ x }}"},
	  {.kind = EDIT_STRING, .name = "quantize.imatrix.file", .text = "x.dat"},
	  {.kind = EDIT_U32, .name = "gemma4.vision.block_count", .value = 27},
	  {.kind = EDIT_F32, .name = "gemma4.audio.attention.layer_norm_epsilon", .value = 1e-6}},
	 {0}},
	{gemma,
	 {{.kind = EDIT_STRING, .name = "general.license", .text = "gemma"},
	  {.kind = EDIT_BOOL, .name = "clip.has_vision_encoder", .value = 1}},
	 {0}},
	/* tensors of the encoders, and K and V of layers that attend another's cache */
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "v.blk.0.attn_q.bias", .text = norm},
	  {.kind = EDIT_TENSOR, .name = "mm.input_projection.weight", .text = norm},
	  {.kind = EDIT_TENSOR, .name = "a.blk.0.ffn_norm.weight", .text = norm}},
	 {0}},
	{gemma,
	 {{.kind = EDIT_TENSOR, .name = "blk.6.attn_k.weight", .text = "blk.0.attn_k.weight"},
	  {.kind = EDIT_TENSOR, .name = "blk.6.attn_v.weight", .text = "blk.0.attn_v.weight"},
	  {.kind = EDIT_TENSOR, .name = "blk.6.attn_k_norm.weight", .text = "blk.0.attn_k_norm.weight"}},
	 {0}},
};

static void check(const struct coverage_case *c, const char *path)
{
	struct golden g;
	struct model m;
	struct error err = {{0}};
	size_t n = 0;
	while (n < sizeof c->edits / sizeof *c->edits && c->edits[n].kind)
		n++;
	golden_load(&g, c->golden);
	edited_model(g.path, path, c->edits, n);
	golden_free(&g);
	int rc = model_open(&m, path, &err);
	if (!c->says[0]) {
		if (rc)
			fail_msg("%s: refused: %s", c->edits[0].name, err.text);
		model_close(&m);
		return;
	}
	if (!rc)
		fail_msg("%s: accepted", c->edits[0].name);
	assert_int_equal(rc, ERROR_UNSUPPORTED);
	for (size_t i = 0; i < sizeof c->says / sizeof *c->says && c->says[i]; i++)
		if (!strstr(err.text, c->says[i]))
			fail_msg("%s: said '%s', not '%s'", c->edits[0].name, err.text, c->says[i]);
}

static void test_what_is_not_read_is_named(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(&cases[i], t.path);
	temp_file_remove(&t);
}

/* Widths of a kind of layer that the model has none of. */
static void test_widths_of_no_layer(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	const struct edit edits[] = {
		{.kind = EDIT_U32, .name = "gemma4.block_count", .value = 4},
		{.kind = EDIT_U32, .name = "gemma4.attention.shared_kv_layers", .value = 0},
		{.kind = EDIT_U32, .name = "gemma4.embedding_length_per_layer_input", .value = 0},
	};
	const struct coverage_case c = {gemma, {edits[0], edits[1], edits[2]}, {"the tensor"}};
	check(&c, t.path); /* layers 4 to 11 are behind the end, but no key is minded */
	temp_file_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_read_is_named),
		cmocka_unit_test(test_widths_of_no_layer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
