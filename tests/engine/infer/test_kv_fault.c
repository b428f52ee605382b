/* Logits that are no numbers: the layer, the cache and its type that are to blame, and what to choose instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "engine/infer/kv_fault.h"
#include "tests/support/golden.h"
#include "tests/support/kv_fault_case.h"
#include "tests/support/ok.h"

static void test_what_a_session_says(void **state)
{
	(void)state;
	kv_fault_cases(0);
}

/* ---- which slots count ---- */

enum { CONTEXT = 64, SLACK = 4, WINDOW = 16, RING = WINDOW - 1 + SLACK, SLIDING = 0, GLOBAL = 5 };

struct cached {
	struct golden g;
	struct model m;
	struct device *d;
	struct kv_cache c;
	struct kv_cache *list[1];
};

/* e4b-tiny's caches in f16, every slot of them infinite as memory may be that nobody wrote. */
static void open_cached(struct cached *f)
{
	golden_load(&f->g, "gemma4-e4b-tiny.q8_0");
	OK(model_open(&f->m, f->g.path, e));
	OK(device_host_open(&f->d, 1, e));
	const struct model_range all = model_whole(&f->m);
	OK(kv_cache_open(&f->c, &f->m, &all, f->d, CONTEXT, SLACK, TENSOR_F16, TENSOR_F16, e));
	f->list[0] = &f->c;
	for (int i = 0; i < f->m.n_layer; i++) {
		const struct kv *kv = &f->c.layers[i];
		for (int j = 0; f->m.layers[i].kv_source == i && j < kv->n_kv_heads * kv->capacity * kv->head_dim; j++)
			((uint16_t *)kv->k)[j] = ((uint16_t *)kv->v)[j] = 0x7c00;
	}
}

static void close_cached(struct cached *f)
{
	kv_cache_close(&f->c);
	device_close(f->d);
	model_close(&f->m);
	golden_free(&f->g);
}

/* Finite numbers, the greatest among them, into the slots of positions [from, to). */
static void append(struct cached *f, int from, int to)
{
	for (int i = 0; i < f->m.n_layer; i++) {
		const struct kv *kv = &f->c.layers[i];
		for (int h = 0; f->m.layers[i].kv_source == i && h < kv->n_kv_heads; h++)
			for (int p = from; p < to; p++)
				for (int j = 0; j < kv->head_dim; j++) {
					int slot = kv->ring ? p % kv->ring : p;
					int at = (h * kv->capacity + slot) * kv->head_dim + j;
					((uint16_t *)kv->k)[at] = 0x7bff;
					((uint16_t *)kv->v)[at] = 0xfbff;
				}
	}
	kv_cache_advance(&f->c, to - from);
}

static void expect(struct cached *f, int layer, bool values, bool beyond)
{
	struct kv_fault fault;
	OK(kv_fault_find(f->list, 1, &fault, e));
	assert_int_equal(fault.layer, layer);
	if (layer < 0)
		return;
	assert_int_equal(fault.values, values);
	assert_int_equal(fault.beyond, beyond);
	assert_int_equal(fault.type, TENSOR_F16);
}

static void test_only_what_was_written_counts(void **state)
{
	(void)state;
	struct cached f;
	open_cached(&f);
	expect(&f, -1, false, false);
	append(&f, 0, 3);
	expect(&f, -1, false, false);
	append(&f, 3, RING + 7); /* all of the rings, a part of the others */
	expect(&f, -1, false, false);
	const struct kv *ring = &f.c.layers[SLIDING], *global = &f.c.layers[GLOBAL];
	assert_true(ring->ring == RING && !global->ring);
	/* The last slot, head and element of each; the lower layer is the first to blame, and K before V. */
	uint16_t *v = (uint16_t *)global->v + (global->capacity + RING + 6) * global->head_dim + global->head_dim - 1;
	*v = 0xfc00;
	expect(&f, GLOBAL, true, true);
	*v = 0x7e01; /* NaN */
	expect(&f, GLOBAL, true, false);
	uint16_t *k = (uint16_t *)ring->k + ring->n_kv_heads * RING * ring->head_dim - 1;
	*k = 0x7c00;
	expect(&f, SLIDING, false, true);
	close_cached(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_session_says),
		cmocka_unit_test(test_only_what_was_written_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
