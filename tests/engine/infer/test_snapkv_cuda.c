/*
 * SnapKV on a GPU: that evicting is masking and keeps what a plain election keeps, that every mode goes on with the
 * same bits, that memory comes back, and that an eviction without memory changes nothing; and with some layers on the
 * host.
 *
 *   test_snapkv_cuda                each test in a process of its own
 *   test_snapkv_cuda NAME           one of them, here
 *   test_snapkv_cuda driver         what the driver says of the memory, which others' use would disturb: named only
 *
 * Exit code 77 without a GPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "engine/infer/loaded_model.h"
#include "tests/support/apart.h"
#include "tests/support/eviction.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"

enum { ALL = 9999 }; /* layers: without a GPU an error, not the host */

static void test_masking(void **state)
{
	eviction_equals_masking(*(int *)*state, ALL, 1e-5);
}

static void test_other_policies(void **state)
{
	(void)state;
	eviction_by_policies(1, ALL);
	eviction_by_policies(6, ALL);
}

static void test_modes_f16(void **state)
{
	(void)state;
	eviction_same_in_all_modes(0, ALL, TENSOR_F16, 290);
	eviction_same_in_all_modes(1, ALL, TENSOR_F16, 100);
}

static void test_modes_bf16(void **state)
{
	(void)state;
	eviction_same_in_all_modes(4, ALL, TENSOR_BF16, 100);
}

static void test_modes_q8_0(void **state)
{
	(void)state;
	eviction_same_in_all_modes(0, ALL, TENSOR_Q8_0, 290);
	eviction_same_in_all_modes(1, ALL, TENSOR_Q8_0, 100);
	eviction_gives_memory_back(1, ALL, TENSOR_Q8_0);
}

static void test_modes_few_bits(void **state)
{
	(void)state;
	eviction_same_in_all_modes(EVICTION_FEW_BITS, ALL, TENSOR_F16, 100);
}

static void test_modes_f32(void **state)
{
	(void)state;
	eviction_same_in_all_modes(5, ALL, TENSOR_F32, 260);
}

static void test_memory_comes_back(void **state)
{
	(void)state;
	eviction_gives_memory_back(1, ALL, TENSOR_F16);
	eviction_gives_memory_back(5, ALL, TENSOR_BF16);
}

static void test_no_memory(void **state)
{
	(void)state;
	eviction_survives_no_memory(1, ALL);
}

static struct loaded_model *load(int model, int gpu_layers, enum tensor_type cache)
{
	struct load_options o;
	struct loaded_model *m;
	struct error err = {""};
	eviction_options(&o, gpu_layers, cache);
	if (loaded_model_open(&m, eviction_model(model), &o, &err))
		fail_msg("%s", err.text);
	return m;
}

static struct session *session_on(struct loaded_model *m)
{
	struct session *s;
	struct error err = {""};
	if (session_open_on(&s, m, EVICTION_CONTEXT, &err))
		fail_msg("%s", err.text);
	return s;
}

/*
 * A GPU and the host vote as the host alone does, wherever the layers are cut: in front of, between and behind those
 * that share a cache.
 */
static void test_hybrid(void **state)
{
	(void)state;
	static const struct {
		int model, layers, budget_case;
	} cases[] = {{0, 1, 0}, {0, 5, 1},  {0, 6, 2},
		     {0, 8, 0}, {0, 11, 3}, {1, 20, 0},
		     {4, 3, 0}, {5, 2, 4},  {EVICTION_FEW_BITS, 6, 0}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct snapkv_options *o = &eviction_cases[cases[i].budget_case];
		struct session *s = eviction_session(eviction_model(cases[i].model), 0, TENSOR_F32);
		size_t vocab = (size_t)session_model(s)->n_vocab, n = EVICTION_AFTER * vocab;
		float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
		assert_true(want && got);
		eviction_rows(s, o, want);
		session_close(s);
		struct loaded_model *m = load(cases[i].model, cases[i].layers, TENSOR_F32);
		assert_string_equal(m->device_name, "cuda+host");
		s = session_on(m);
		eviction_rows(s, o, got);
		double worst = 0;
		for (int t = 0; t < EVICTION_AFTER; t++) {
			double row = relative_l2(got + (size_t)t * vocab, want + (size_t)t * vocab, vocab);
			worst = row > worst || row != row ? row : worst;
		}
		print_message("%-18s %d layers on the GPU, budget %d: worst row %.2g of the host's\n",
			      eviction_models[cases[i].model], cases[i].layers, o->budget, worst);
		if (!(worst <= 1e-4))
			fail_msg("%s, %d layers on the GPU, budget %d: worst row %.3g of the host's",
				 eviction_models[cases[i].model], cases[i].layers, o->budget, worst);
		session_close(s);
		loaded_model_close(m);
		free(want);
		free(got);
	}
}

static void test_hybrid_modes(void **state)
{
	(void)state;
	struct loaded_model *m = load(0, 8, TENSOR_F16);
	struct session *s = session_on(m);
	eviction_modes(s, "E4B, 8 layers on the GPU", 290);
	session_close(s);
	loaded_model_close(m);
}

static void test_hybrid_no_memory(void **state)
{
	(void)state;
	struct loaded_model *m = load(0, 8, TENSOR_F16);
	struct session *s = session_on(m);
	eviction_no_memory(s, (struct device *[]){m->parts[0].device, m->parts[1].device}, 2);
	session_close(s);
	loaded_model_close(m);
}

/* The driver's free memory grows by what the books say, but for the 2 MiB that it hands out memory in. */
static void test_driver(void **state)
{
	(void)state;
	enum { PROMPT = 30000, BUDGET = 1000, BLOCK = 2 << 20 };
	static const struct snapkv_options snapkv = {.budget = BUDGET, .window = 64, .pool = 7};
	struct session_options o;
	struct session *s = NULL;
	struct session_eviction v;
	struct error err = {""};
	int *tokens = calloc(PROMPT, sizeof *tokens);
	assert_non_null(tokens);
	session_options_default(&o);
	o.load.n_gpu_layers = ALL;
	o.context = PROMPT + 100;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	if (session_open(&s, eviction_model(5), &o, &err))
		fail_msg("%s", err.text);
	struct device *d = session_device(s);
	const struct model *m = session_model(s);
	for (int i = 0; i < PROMPT; i++)
		tokens[i] = i % m->n_vocab;
	if (session_observe(s, &snapkv, PROMPT, &err) || session_prefill(s, tokens, PROMPT, NULL, &err))
		fail_msg("%s", err.text);
	size_t free_before = device_memory(d).free;
	if (session_evict(s, &v, &err))
		fail_msg("%s", err.text);
	size_t free_after = device_memory(d).free, books = v.memory_before - v.memory_after;
	size_t returned = free_after > free_before ? free_after - free_before : 0;
	print_message("evicted %d of %d entries in %.3f ms: books %.1f MB, driver %.1f MB\n",
		      v.entries_before - v.entries_after, v.entries_before, v.us * 1e-3, (double)books * 1e-6,
		      (double)returned * 1e-6);
	/* A block of each of k and v of a layer may be half used, before and after; and the queries'. */
	size_t slack = BLOCK;
	for (int i = 0; i < m->n_layer; i++)
		slack += m->layers[i].kv_source == i && !m->layers[i].sliding ? 2 * (size_t)BLOCK : 0;
	assert_true(books > 2 * slack);
	if (returned + slack < books)
		fail_msg("the driver has %zu bytes more than before the eviction, the books %zu", returned, books);
	session_close(s);
	free(tokens);
}

static int clean(void **state)
{
	(void)state;
	eviction_clean();
	return 0;
}

static int models[EVICTION_MODELS] = {0, 1, 2, 3, 4, 5, 6, EVICTION_FEW_BITS};
#define TEST(name)                                    \
	{                                             \
#name, test_##name, NULL, clean, NULL \
	}
#define MASKING(i)                                                   \
	{                                                            \
		"masking_" #i, test_masking, NULL, clean, &models[i] \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		MASKING(0),
		MASKING(1),
		MASKING(2),
		MASKING(3),
		MASKING(4),
		MASKING(5),
		MASKING(6),
		MASKING(7),
		TEST(other_policies),
		TEST(modes_f16),
		TEST(modes_bf16),
		TEST(modes_q8_0),
		TEST(modes_f32),
		TEST(modes_few_bits),
		TEST(memory_comes_back),
		TEST(no_memory),
		TEST(hybrid),
		TEST(hybrid_modes),
		TEST(hybrid_no_memory),
	};
	const struct CMUnitTest alone[] = {TEST(driver)};
	struct apart apart = {"SnapKV on a GPU", tests, sizeof tests / sizeof *tests, 6, no_gpu};
	if (argc > 1 && !strcmp(argv[argc - 1], alone[0].name)) {
		apart.tests = alone;
		apart.n = 1;
	}
	return apart_main(argc, argv, &apart, NULL);
}
