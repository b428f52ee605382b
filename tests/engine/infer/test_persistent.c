/*
 * The program of fusion persistent on the host, and who is refused it. Its logits in every mode are test_golden.c's
 * and test_modes.c's, its kernel is test_persistent_cuda.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/persistent_geometry.h"
#include "tests/support/alternating.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/stamped.h"

#include "engine/infer/loaded_model.h"

static void test_alternating(void **state)
{
	(void)state;
	alternating_check("gemma4-e4b-tiny.q8_0", 0, FUSION_PERSISTENT, 60);
	alternating_check("qwen3-tiny.q8_0", 0, FUSION_PERSISTENT, 60);
}

static void expect_refused(struct session *s, const char *why)
{
	struct error err;
	session_set_fusion(s, FUSION_PERSISTENT);
	assert_int_equal(session_prepare(s, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(session_decode(s, 3, NULL, &err), ERROR_UNSUPPORTED);
	assert_int_equal(session_position(s), 0);
	/* Nothing is left of it. */
	session_set_fusion(s, FUSION_FULL);
	OK(session_decode(s, 3, NULL, e));
}

static void test_experts_are_refused(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.context = 8;
	OK(session_open(&s, g.path, &o, e));
	expect_refused(s, "mixture of experts");
	session_close(s);
	golden_free(&g);
}

static void test_two_devices_are_refused(void **state)
{
	(void)state;
	struct golden g;
	struct device *far, *near;
	struct load_options o;
	struct loaded_model *m;
	struct session *s;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	load_options_default(&o);
	o.n_gpu_layers = 5;
	o.n_threads = o.batch = 1;
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	OK(session_open_on(&s, m, 8, e));
	expect_refused(s, "on one device");
	session_close(s);
	loaded_model_close(m);
	device_close(far);
	device_close(near);
	golden_free(&g);
}

/* What the CUDA kernel needs of a card, and a program that no card has room for. */
static void test_cards_are_refused(void **state)
{
	(void)state;
	struct persistent_phase phase = {.kind = PERSISTENT_PRODUCT};
	struct persistent_program g = {.n_embd = 2560, .n_phases = 1};
	struct cuda_card card = {.n_sm = 132, .compute_capability = 89, .shared_per_block = 232448};
	struct weight w = {.type = TENSOR_Q8_0, .n_in = 2560, .n_out = 2560, .n_expert = 1};
	phase.of.product = (struct persistent_product){.w = {w}, .n_w = 1};
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &card), "compute capability 9.0"));
	card.compute_capability = 90;
	/* Planes are what the device reads. */
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &card), "16-byte vectors"));
	phase.of.product.w[0].type = TENSOR_BF16;
	assert_null(cuda_persistent_plan(&g, &phase, &card));
	assert_int_equal(g.n_blocks, 132);
	assert_true(g.n_stages >= 2 && (size_t)g.shared_bytes <= card.shared_per_block);
	assert_int_equal(phase.of.product.n_jobs, 160);
	assert_int_equal(phase.of.product.shift, 0);
	assert_true(g.row_stride >= 2560 && g.row_stride % 128 == 64);
	assert_true(phase.of.product.limit >= 4 * 2560 * 2); /* a quarter's rows, or nothing is ever copied ahead */
	card.shared_per_block = 99 << 10;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &card), "no shared memory"));
	g.n_embd = 6404;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &card), "6400"));
}

/* Splits of a product's columns, and slices of them, are all of them once, in their order, and fit a stage. */
static void test_columns(void **state)
{
	(void)state;
	const int types[] = {TENSOR_Q8_0, TENSOR_BF16, TENSOR_F32};
	for (int n_in = 32; n_in <= 21504; n_in += n_in < 2048 ? 32 : 1504) {
		for (int k = 0; k < 9; k++) {
			int type = types[k / 3], shift = k % 3, at = 0;
			for (int split = 0; split < 1 << shift; split++) {
				struct columns c = persistent_split(n_in, shift, split);
				assert_int_equal(c.begin, at);
				if (c.begin == c.end)
					continue;
				struct slicing s = persistent_slicing(type, c);
				for (int i = 0; i < s.n; i++) {
					struct columns part = persistent_slice(c, s, i);
					assert_int_equal(part.begin, at);
					assert_int_equal(part.begin % PERSISTENT_UNIT, 0);
					assert_true(part.end > part.begin);
					assert_true((part.end - part.begin) * element_bytes(type) <=
						    PERSISTENT_ROW_MAX);
					at = part.end;
				}
			}
			assert_int_equal(at, n_in);
		}
	}
}

static void test_stamps(void **state)
{
	(void)state;
	stamped_check("gemma4-e4b-tiny.q8_0", 0, GRAPH_MODE_DIRECT);
	stamped_check("gemma4-e4b-tiny.q8_0", 0, GRAPH_MODE_DEVICE);
	stamped_check("qwen3-tiny.q8_0", 0, GRAPH_MODE_DIRECT);
}

static void test_other_fusions_have_no_stamps(void **state)
{
	(void)state;
	struct golden g;
	struct token_timeline t;
	struct error err;
	struct session_options o;
	struct session *s;
	golden_load(&g, "qwen3-tiny.q8_0");
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.context = 6;
	OK(session_open(&s, g.path, &o, e));
	OK(session_prefill(s, g.tokens, 5, NULL, e));
	assert_int_equal(session_decode_stamped(s, 3, &t, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "fusion full"));
	assert_int_equal(session_position(s), 5);
	token_timeline_free(&t);
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alternating),
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_other_fusions_have_no_stamps),
		cmocka_unit_test(test_experts_are_refused),
		cmocka_unit_test(test_two_devices_are_refused),
		cmocka_unit_test(test_cards_are_refused),
		cmocka_unit_test(test_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
