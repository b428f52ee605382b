/*
 * Blocks of synthetic values in every quantised type, as the kernels read them: no value is off by more than a step,
 * and the ends of a type's range are used. Which tensors of a mixture have which type, by llama.cpp's rules for files.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/quantize.h"
#include "engine/model/synth.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/synth_case.h"

/* Steps from a block's lowest value to its highest, of the narrowest of its parts. */
static int steps_of(enum tensor_type type)
{
	switch (type) {
	case TENSOR_Q8_0:
		return 254;
	case TENSOR_Q6_K:
		return 63;
	case TENSOR_Q5_0:
	case TENSOR_Q5_1:
	case TENSOR_Q5_K:
		return 31;
	case TENSOR_IQ4_NL:
		return 10; /* the widest of its steps */
	default:
		return 15;
	}
}

/* Bell-shaped, as weights are; a part of one sign, one of zeros, and one with an outlier. */
static void values(float x[QUANTIZE_BLOCK_MAX], int block)
{
	static uint64_t state = 1;
	for (int i = 0; i < QUANTIZE_BLOCK_MAX; i++) {
		double sum = 0;
		for (int j = 0; j < 4; j++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			sum += (double)(state >> 32) / 2147483648.0 - 1.0;
		}
		x[i] = (float)(sum * 0.02);
		if (block % 4 == 1)
			x[i] = fabsf(x[i]) + 0.01f;
		if (block % 4 == 2 && i / 32 % 2)
			x[i] = 0;
	}
	if (block % 4 == 3)
		x[17] = block % 8 == 3 ? 1.5f : -1.5f;
}

static void test_values_are_within_a_step(void **state)
{
	(void)state;
	enum { BLOCKS = 64 };
	for (int t = 0; t < tensor_type_count; t++) {
		const struct tensor_traits *type = &tensor_types[t];
		for (int b = 0; b < BLOCKS && type->block > 1; b++) {
			unsigned char block[QUANTIZE_BLOCK_MAX];
			float x[QUANTIZE_BLOCK_MAX], y[QUANTIZE_BLOCK_MAX], low = 0, high = 0;
			values(x, b);
			quantize_block(type->type, x, block);
			cpu_to_f32(block, type->type, y, (size_t)type->block);
			for (int i = 0; i < type->block; i++) {
				low = x[i] < low ? x[i] : low;
				high = x[i] > high ? x[i] : high;
			}
			/* Types without a minimum cover as much on either side of zero. */
			float reach = high > -low ? 2 * high : -2 * low;
			for (int i = 0; i < type->block; i++)
				if (!(fabsf(x[i] - y[i]) <= 1.05f * reach / (float)steps_of(type->type)))
					fail_msg("%s: %g became %g in a block from %g to %g", type->name, (double)x[i],
						 (double)y[i], (double)low, (double)high);
		}
	}
}

/* Of 2048 bell-shaped values, relative to their own root mean square: a quarter of a step too much would show. */
static void test_noise_is_a_types(void **state)
{
	(void)state;
	static const struct {
		enum tensor_type type;
		double most;
	} known[] = {{TENSOR_Q8_0, 0.007},  {TENSOR_Q6_K, 0.025}, {TENSOR_Q5_K, 0.05},
		     {TENSOR_Q5_1, 0.05},   {TENSOR_Q5_0, 0.06},  {TENSOR_Q4_K, 0.1},
		     {TENSOR_IQ4_NL, 0.11}, {TENSOR_Q4_1, 0.1},   {TENSOR_Q4_0, 0.115}};
	for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
		double off = 0, all = 0;
		for (int b = 0; b < 64; b += 4) {
			int n = tensor_type_traits(known[k].type)->block;
			unsigned char block[QUANTIZE_BLOCK_MAX];
			float x[QUANTIZE_BLOCK_MAX], y[QUANTIZE_BLOCK_MAX];
			values(x, b);
			quantize_block(known[k].type, x, block);
			cpu_to_f32(block, known[k].type, y, (size_t)n);
			for (int i = 0; i < n; i++) {
				off += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
				all += (double)x[i] * (double)x[i];
			}
		}
		if (!(sqrt(off / all) <= known[k].most))
			fail_msg("%s: noise of %.4f", tensor_type_name(known[k].type), sqrt(off / all));
	}
}

/* ---- mixtures ---- */

static struct synth_plan plan(const char *arch, enum tensor_type type, enum synth_mix mix)
{
	struct synth_options o;
	struct synth_plan p;
	synth_options_default(&o, arch);
	o.type = o.ple_type = type;
	o.mix = mix;
	OK(synth_plan_init(&p, &o, e));
	return p;
}

static void expect(const struct synth_plan *p, const char *name, enum tensor_type type)
{
	const struct synth_tensor *t = synth_case_tensor(p, name);
	assert_non_null(t);
	if (t->type != type)
		fail_msg("%s of %s is %s, not %s", name, synth_mix_name(p->options.mix, p->options.type),
			 tensor_type_name(t->type), tensor_type_name(type));
}

/* '6', '5' or '4' a layer; ' ': it has none. */
static void expect_layers(const struct synth_plan *p, const char *suffix, const char *bits)
{
	for (int i = 0; bits[i]; i++) {
		char name[SYNTH_NAME_BYTES];
		snprintf(name, sizeof name, "blk.%d.%s", i, suffix);
		if (bits[i] == ' ')
			assert_null(synth_case_tensor(p, name));
		else
			expect(p, name, bits[i] == '6' ? TENSOR_Q6_K : bits[i] == '5' ? TENSOR_Q5_K : TENSOR_Q4_K);
	}
}

static void test_mixtures(void **state)
{
	(void)state;
	/* E4B: 42 layers, 24 with a V. */
	struct synth_plan p = plan("gemma4-e4b", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M);
	expect_layers(&p, "ffn_down.weight", "666664464464464464464464464464464464666666");
	expect_layers(&p, "attn_v.weight", "666446446446446446446666                  ");
	expect_layers(&p, "attn_q.weight", "444444444444444444444444444444444444444444");
	expect_layers(&p, "ffn_gate.weight", "444444444444444444444444444444444444444444");
	expect(&p, "token_embd.weight", TENSOR_Q6_K);
	expect(&p, "per_layer_token_embd.weight", TENSOR_Q4_K);
	expect(&p, "blk.0.attn_norm.weight", TENSOR_F32);
	synth_plan_free(&p);
	p = plan("gemma4-e4b", TENSOR_Q4_K, SYNTH_MIX_Q4_K_S);
	expect_layers(&p, "ffn_down.weight", "555554444444444444444444444444444444444444");
	expect_layers(&p, "attn_v.weight", "555544444444444444444444                  ");
	expect(&p, "token_embd.weight", TENSOR_Q6_K);
	synth_plan_free(&p);
	p = plan("gemma4-e4b", TENSOR_Q5_K, SYNTH_MIX_Q5_K_M);
	expect_layers(&p, "ffn_down.weight", "666665565565565565565565565565565565666666");
	expect(&p, "blk.3.attn_q.weight", TENSOR_Q5_K);
	synth_plan_free(&p);
	p = plan("gemma4-e4b", TENSOR_Q5_K, SYNTH_MIX_Q5_K_S);
	expect_layers(&p, "ffn_down.weight", "555555555555555555555555555555555555555555");
	expect_layers(&p, "attn_v.weight", "555555555555555555555555                  ");
	expect_layers(&p, "attn_output.weight", "555555555555555555555555555555555555555555");
	expect(&p, "token_embd.weight", TENSOR_Q6_K);
	expect(&p, "per_layer_token_embd.weight", TENSOR_Q5_K);
	synth_plan_free(&p);
	/* A head of its own: the embedding is as the rest. */
	p = plan("qwen3-8b", TENSOR_Q4_0, SYNTH_MIX_NONE);
	expect(&p, "output.weight", TENSOR_Q6_K);
	expect(&p, "token_embd.weight", TENSOR_Q4_0);
	expect(&p, "blk.7.ffn_down.weight", TENSOR_Q4_0);
	synth_plan_free(&p);
	p = plan("gemma4-e4b", TENSOR_Q8_0, SYNTH_MIX_NONE);
	expect(&p, "token_embd.weight", TENSOR_Q8_0);
	synth_plan_free(&p);
}

/* Two of ffn_down a layer, of which the quantizer takes both by the layer's number. Their rows, 2112 and 704, are no
 * multiples of 256: Q8_0 for Q6_K, Q5_0 for Q4_K. */
static void test_mixture_of_experts(void **state)
{
	(void)state;
	struct synth_plan p = plan("gemma4-26b-a4b", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M);
	for (int i = 0; i < 30; i++) {
		enum tensor_type type = "888008008008008008008008008888"[i] == '8' ? TENSOR_Q8_0 : TENSOR_Q5_0;
		char name[SYNTH_NAME_BYTES];
		snprintf(name, sizeof name, "blk.%d.ffn_down.weight", i);
		expect(&p, name, type);
		snprintf(name, sizeof name, "blk.%d.ffn_down_exps.weight", i);
		expect(&p, name, type);
	}
	synth_plan_free(&p);
}

/* 704 and 128 are no multiples of 256. */
static void test_rows_that_do_not_fit(void **state)
{
	(void)state;
	struct synth_plan p = plan("gemma4-26b-a4b", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M);
	expect(&p, "blk.0.ffn_down_exps.weight", TENSOR_Q8_0);
	expect(&p, "blk.10.ffn_gate_up_exps.weight", TENSOR_Q4_K);
	synth_plan_free(&p);
	p = plan("gemma4-26b-a4b", TENSOR_Q4_K, SYNTH_MIX_NONE);
	expect(&p, "blk.0.ffn_down_exps.weight", TENSOR_Q5_0);
	synth_plan_free(&p);
	p = plan("gemma4-e4b-tiny", TENSOR_Q5_K, SYNTH_MIX_NONE);
	expect(&p, "blk.0.attn_q.weight", TENSOR_Q5_1);
	expect(&p, "blk.0.ffn_down.weight", TENSOR_Q5_K);
	expect(&p, "token_embd.weight", TENSOR_Q8_0);
	synth_plan_free(&p);
}

static void test_words(void **state)
{
	(void)state;
	enum tensor_type base = TENSOR_F32;
	assert_int_equal(synth_mix_parse("Q4_k_M", &base), SYNTH_MIX_Q4_K_M);
	assert_int_equal(base, TENSOR_Q4_K);
	assert_int_equal(synth_mix_parse("q6_k", &base), SYNTH_MIX_NONE);
	assert_int_equal(synth_mix_parse("q5_k_s", &base), SYNTH_MIX_Q5_K_S);
	assert_int_equal(base, TENSOR_Q5_K);
	assert_string_equal(synth_mix_name(SYNTH_MIX_Q5_K_S, TENSOR_Q5_K), "Q5_K_S");
	assert_string_equal(synth_mix_name(SYNTH_MIX_Q5_K_M, TENSOR_Q5_K), "Q5_K_M");
	assert_string_equal(synth_mix_name(SYNTH_MIX_NONE, TENSOR_Q6_K), "Q6_K");
	/* LLAMA_FTYPE_MOSTLY_ of llama.h */
	assert_int_equal(synth_mix_file_type(SYNTH_MIX_Q4_K_S, TENSOR_Q4_K), 14);
	assert_int_equal(synth_mix_file_type(SYNTH_MIX_Q4_K_M, TENSOR_Q4_K), 15);
	assert_int_equal(synth_mix_file_type(SYNTH_MIX_Q5_K_S, TENSOR_Q5_K), 16);
	assert_int_equal(synth_mix_file_type(SYNTH_MIX_Q5_K_M, TENSOR_Q5_K), 17);
	assert_int_equal(synth_mix_file_type(SYNTH_MIX_NONE, TENSOR_Q6_K), 18);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_within_a_step),
		cmocka_unit_test(test_noise_is_a_types),
		cmocka_unit_test(test_mixtures),
		cmocka_unit_test(test_mixture_of_experts),
		cmocka_unit_test(test_rows_that_do_not_fit),
		cmocka_unit_test(test_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
