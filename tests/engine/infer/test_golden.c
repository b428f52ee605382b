/*
 * The engine against logits and hidden states computed by someone else, for every
 * golden model, prefill split, mode and fusion.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "kernels/cache_rows.h"
#include "tests/support/forced.h"
#include "tests/support/fusions.h"
#include "tests/support/sanitized.h"
#include "tests/support/separate_experts.h"
#include "tests/support/temp_file.h"

static const double F32_TOLERANCE = 1e-4; /* relative L2, of all logits and of each row */

/*
 * What rounding K and V costs on these models: the median row and the whole file. Measured at most 2.4e-3 and
 * 2.1e-2 for dense models. In the MoE model a rounding that flips an expert changes its row altogether: 4e-2 and
 * 1.4e-1 over the file, while with f16 most rows are as good as elsewhere.
 */
struct narrow {
	enum tensor_type type;
	double dense, dense_median;
	double moe, moe_median;
};
static const struct narrow F16_CACHE = {TENSOR_F16, 5e-3, 5e-3, 8e-2, 5e-3};
static const struct narrow BF16_CACHE = {TENSOR_BF16, 4e-2, 4e-2, 2.5e-1, 1e-1};

static struct session *open_session(const struct golden *g, enum tensor_type cache, int batch)
{
	struct session_options o;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 2;
	o.context = g->n_tokens;
	o.load.batch = batch;
	o.load.k_type = o.load.v_type = cache;
	struct session *s;
	struct error err;
	if (session_open(&s, g->path, &o, &err))
		fail_msg("%s", err.text);
	return s;
}

static void compare(const struct golden *g, const float *logits, const char *what)
{
	size_t vocab = (size_t)g->n_vocab;
	double all = relative_l2(logits, g->logits, (size_t)g->n_tokens * vocab);
	if (!(all <= F32_TOLERANCE))
		fail_msg("%s: %s: relative L2 %.3g > %.3g", g->path, what, all, F32_TOLERANCE);
	for (int i = 0; i < g->n_tokens; i++) {
		const float *got = logits + (size_t)i * vocab, *want = g->logits + (size_t)i * vocab;
		double row = relative_l2(got, want, vocab);
		if (!(row <= F32_TOLERANCE))
			fail_msg("%s: %s: row %d: relative L2 %.3g > %.3g", g->path, what, i, row, F32_TOLERANCE);
		if (argmax(got, g->n_vocab) != argmax(want, g->n_vocab))
			fail_msg("%s: %s: row %d: argmax %d, expected %d", g->path, what, i, argmax(got, g->n_vocab),
				 argmax(want, g->n_vocab));
	}
}

static void all_splits(const struct golden *g)
{
	const int splits[] = {1, 7, g->n_prompt, g->n_tokens};
	float *logits = malloc((size_t)g->n_tokens * (size_t)g->n_vocab * sizeof *logits);
	struct session *s = open_session(g, TENSOR_F32, g->n_tokens);
	for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
		/* Sanitized: the first and the last mode; test_modes has the others. */
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode += SANITIZED ? GRAPH_MODE_COUNT - 1 : 1) {
			for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
				char what[96];
				snprintf(what, sizeof what, "prefill %d, %s, fusion %s", splits[i],
					 graph_mode_name((enum graph_mode)mode), fusion_name((enum fusion)fusion));
				session_set_mode(s, (enum graph_mode)mode);
				if (!fusion_set(s, (enum fusion)fusion))
					continue;
				teacher_force(s, g, splits[i], g->n_tokens, logits);
				compare(g, logits, what);
			}
		}
	}
	session_close(s);
	free(logits);
}

static void test_logits_f32_cache(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		all_splits(&g);
		golden_free(&g);
	}
}

static void test_variants(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_VARIANTS; i++) {
		struct golden g;
		golden_variant_load(&g, golden_variants[i]);
		all_splits(&g);
		golden_free(&g);
	}
}

/* Gate and up of the experts in two tensors: the same model, so the same logits. */
static void test_separate_experts(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	for (int i = 0; i < 2; i++) {
		struct golden g;
		if (i)
			golden_variant_load(&g, "gemma4-no-expert-scale");
		else
			golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
		separate_experts(g.path, t.path);
		snprintf(g.path, sizeof g.path, "%s", t.path);
		all_splits(&g);
		golden_free(&g);
	}
	temp_file_remove(&t);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct narrowed {
	double all, median; /* relative L2: of the file, of its median row */
	bool moe;
};

static struct narrowed narrowed_by(const char *name, enum tensor_type type)
{
	struct narrowed out;
	struct golden g;
	golden_load(&g, name);
	size_t vocab = (size_t)g.n_vocab;
	float *logits = malloc((size_t)g.n_tokens * vocab * sizeof *logits);
	struct session *s = open_session(&g, type, g.n_tokens);
	teacher_force(s, &g, 7, g.n_tokens, logits);
	double rows[GOLDEN_TOKENS_MAX];
	for (int t = 0; t < g.n_tokens; t++)
		rows[t] = relative_l2(logits + (size_t)t * vocab, g.logits + (size_t)t * vocab, vocab);
	qsort(rows, (size_t)g.n_tokens, sizeof *rows, by_value);
	out.median = rows[g.n_tokens / 2];
	out.all = relative_l2(logits, g.logits, (size_t)g.n_tokens * vocab);
	out.moe = session_model(s)->n_expert > 0;
	print_message("%s: %s cache: relative L2 %.2g, median row %.2g\n", name, tensor_type_name(type), out.all,
		      out.median);
	assert_true(out.all > F32_TOLERANCE); /* or the cache is not of that type at all */
	session_close(s);
	free(logits);
	golden_free(&g);
	return out;
}

static void narrow_cache(const struct narrow *bound)
{
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct narrowed n = narrowed_by(golden_names[i], bound->type);
		assert_true(n.median <= (n.moe ? bound->moe_median : bound->dense_median));
		assert_true(n.all <= (n.moe ? bound->moe : bound->dense));
	}
}

static void test_logits_f16_cache(void **state)
{
	(void)state;
	narrow_cache(&F16_CACHE);
}

static void test_logits_bf16_cache(void **state)
{
	(void)state;
	narrow_cache(&BF16_CACHE);
}

/*
 * So small an error passes through a model as through a linear one: logits are off as K and V are. A rounding to f16
 * is off by at most 2^-11 of a number, by 2^-11 / sqrt(3) / 1.47 as a root mean square over numbers of all fractions;
 * to Q8_0 by 1 / 254 of a block's greatest magnitude, which is at most sqrt(32) of its root mean square, and by
 * 1 / (127 sqrt(12)) of it as a root mean square: at most 67 times as much, 26 times for numbers of a normal
 * distribution, whose greatest of 32 is about 2.2 times their root mean square. In the MoE model either may flip an
 * expert.
 */
static void test_logits_q8_0_cache(void **state)
{
	(void)state;
	double f16 = 0x1p-11 / sqrt(3) / 1.47, q8_0 = sqrt(32) / (CACHE_STEPS * sqrt(12));
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct narrowed n = narrowed_by(golden_names[i], TENSOR_Q8_0),
				than = narrowed_by(golden_names[i], TENSOR_F16);
		assert_true(n.all > than.all && n.median > than.median);
		assert_true(n.all <= (n.moe ? BF16_CACHE.moe : q8_0 / f16 * than.all));
		assert_true(n.moe || n.median <= q8_0 / f16 * than.median);
	}
}

/* Each layer's input and the final norm, reached once by prefill and once by decode, replayed too. */
static void test_hidden_states(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		size_t e = (size_t)g.n_embd, rows = (size_t)g.n_layer + 1;
		float *hidden = malloc(rows * e * sizeof *hidden);
		struct session *s = open_session(&g, TENSOR_F32, g.n_tokens);
		for (int way = 0; way < 3; way++) {
			struct error err;
			int prefill = way == 0 ? g.n_prompt : g.n_prompt - 1;
			memset(hidden, 0xff, rows * e * sizeof *hidden);
			assert_int_equal(session_rewind(s, 0, &err), 0);
			session_trace(s, way == 0 ? hidden : NULL);
			assert_int_equal(session_prefill(s, g.tokens, prefill, NULL, &err), 0);
			session_trace(s, hidden);
			session_set_mode(s, way == 2 ? GRAPH_MODE_DEVICE : GRAPH_MODE_DIRECT);
			if (way > 0)
				assert_int_equal(session_decode(s, g.tokens[prefill], NULL, &err), 0);
			for (size_t l = 0; l < rows; l++) {
				double d = relative_l2(hidden + l * e, g.hidden + l * e, e);
				if (!(d <= F32_TOLERANCE))
					fail_msg("%s: %s: hidden state %zu: relative L2 %.3g", g.path,
						 way == 0 ? "prefill" : "decode", l, d);
			}
		}
		session_close(s);
		free(hidden);
		golden_free(&g);
	}
}

/* A chunk boundary anywhere must not matter, also when the chunk is longer than the window. */
static void test_any_chunk_length(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	float *logits = malloc((size_t)g.n_tokens * (size_t)g.n_vocab * sizeof *logits);
	for (int batch = 1; batch <= g.n_tokens; batch += batch < 20 ? 1 : 11) {
		struct session *s = open_session(&g, TENSOR_F32, batch);
		char what[32];
		snprintf(what, sizeof what, "chunks of %d", batch);
		teacher_force(s, &g, g.n_tokens, g.n_tokens, logits);
		compare(&g, logits, what);
		session_close(s);
	}
	free(logits);
	golden_free(&g);
}

static void logits_after(struct session *s, const struct golden *g, int prefill, float *all, float *rows)
{
	struct error err;
	const float *row;
	size_t vocab = (size_t)g->n_vocab;
	assert_int_equal(session_rewind(s, 0, &err), 0);
	assert_int_equal(session_prefill(s, g->tokens, prefill, all, &err), 0);
	assert_int_equal(session_logits(s, &row, &err), 0);
	memcpy(rows, row, vocab * sizeof *row);
	assert_int_equal(session_decode(s, g->tokens[prefill], NULL, &err), 0);
	assert_int_equal(session_logits(s, &row, &err), 0);
	memcpy(rows + vocab, row, vocab * sizeof *row);
}

/* A prefill that is asked for the last token's logits only, and so skips work: the same bits, cache included. */
static void test_last_logits_only(void **state)
{
	(void)state;
	static const int lengths[] = {1, 2, 3, 15, 16, 17, 18, 33, 48};
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		size_t vocab = (size_t)g.n_vocab;
		float *all = malloc((size_t)g.n_tokens * vocab * sizeof *all);
		float *rows = malloc(4 * vocab * sizeof *rows);
		struct session *s = open_session(&g, TENSOR_F32, 16);
		for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
			logits_after(s, &g, lengths[k], all, rows);
			logits_after(s, &g, lengths[k], NULL, rows + 2 * vocab);
			if (memcmp(rows, rows + 2 * vocab, 2 * vocab * sizeof *rows))
				fail_msg("%s: prefill of %d: other bits", g.path, lengths[k]);
		}
		session_close(s);
		free(all);
		free(rows);
		golden_free(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logits_f32_cache),  cmocka_unit_test(test_logits_f16_cache),
		cmocka_unit_test(test_logits_bf16_cache), cmocka_unit_test(test_logits_q8_0_cache),
		cmocka_unit_test(test_hidden_states),     cmocka_unit_test(test_any_chunk_length),
		cmocka_unit_test(test_last_logits_only),  cmocka_unit_test(test_variants),
		cmocka_unit_test(test_separate_experts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
