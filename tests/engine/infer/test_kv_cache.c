/* The cache's sizes, its limits and which rewinds it allows; contents are test_modes' business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "engine/infer/kv_cache.h"
#include "tests/support/golden.h"

enum { CONTEXT = 100, SLACK = 8, WINDOW = 16, RING = WINDOW - 1 + SLACK };

struct fixture {
	struct golden g;
	struct model m;
	struct model_range all;
	struct device *d;
	struct kv_cache c;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct error err;
	golden_load(&f->g, "gemma4-e4b-tiny.q8_0");
	assert_int_equal(model_open(&f->m, f->g.path, &err), 0);
	f->all = model_whole(&f->m);
	assert_int_equal(device_host_open(&f->d, 1, &err), 0);
	if (kv_cache_open(&f->c, &f->m, &f->all, f->d, CONTEXT, SLACK, TENSOR_F16, TENSOR_F32, &err))
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	kv_cache_close(&f->c);
	device_close(f->d);
	model_close(&f->m);
	golden_free(&f->g);
	free(f);
	return 0;
}

static void test_geometry(void **state)
{
	struct fixture *f = *state;
	/* 6 layers own a cache: 5 rings of 2 heads x 32, one full of 2 heads x 64; 2 bytes of k, 4 of v a value */
	assert_int_equal(f->c.bytes, (2 + 4) * 2 * (5 * RING * 32 + CONTEXT * 64));
	assert_int_equal(f->c.bytes, model_kv_bytes(&f->m, CONTEXT, SLACK, TENSOR_F16, TENSOR_F32));
	assert_int_equal(device_memory(f->d).used, f->c.bytes);
	for (int i = 0; i < 12; i++) {
		const struct kv *kv = &f->c.layers[i];
		bool global = i == 5 || i == 11;
		assert_int_equal(kv->ring, global ? 0 : RING);
		assert_int_equal(kv->capacity, global ? CONTEXT : RING);
		assert_ptr_equal(kv->k, f->c.layers[i < 6 ? i : global ? 5 : 4].k);
	}
	/* position 9: ten keys everywhere; position 50: the window on 10 sliding layers, 51 on 2 global ones */
	assert_int_equal(kv_cache_bytes_read(&f->c, 9), (2 + 4) * 2 * 10 * (10 * 32 + 2 * 64));
	assert_int_equal(kv_cache_bytes_read(&f->c, 50), (2 + 4) * 2 * (10 * WINDOW * 32 + 2 * 51 * 64));
}

static void test_capacity(void **state)
{
	struct fixture *f = *state;
	struct error err;
	kv_cache_advance(&f->c, CONTEXT - 3);
	assert_int_equal(kv_cache_check(&f->c, 3, &err), 0);
	assert_int_equal(kv_cache_check(&f->c, 4, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "position 97 + 4 tokens exceed the cache of 100 positions"));
}

static void test_too_large_is_refused_before_allocating(void **state)
{
	struct fixture *f = *state;
	struct kv_cache c;
	struct error err;
	size_t used = device_memory(f->d).used;
	int context = 1 << 30;
	assert_int_equal(kv_cache_open(&c, &f->m, &f->all, f->d, context, SLACK, TENSOR_F32, TENSOR_F32, &err),
			 ERROR_MEMORY);
	char bytes[64];
	snprintf(bytes, sizeof bytes, "needs %zu bytes",
		 (size_t)2 * 4 * 2 * (5 * (size_t)RING * 32 + (size_t)context * 64));
	if (!strstr(err.text, bytes))
		fail_msg("'%s' does not say '%s'", err.text, bytes);
	assert_int_equal(device_memory(f->d).used, used);
	kv_cache_close(&c); /* valid after a failed open */
}

static void test_failed_allocation_leaks_nothing(void **state)
{
	struct fixture *f = *state;
	size_t used = device_memory(f->d).used;
	for (int after = 0; after < 12; after++) {
		struct kv_cache c;
		struct error err;
		device_fail(f->d, DEVICE_FAULT_ALLOC, after, 1);
		assert_int_equal(kv_cache_open(&c, &f->m, &f->all, f->d, CONTEXT, SLACK, TENSOR_F16, TENSOR_F16, &err),
				 ERROR_MEMORY);
		assert_int_equal(device_memory(f->d).used, used);
	}
}

static void test_types(void **state)
{
	struct fixture *f = *state;
	struct kv_cache c;
	struct error err;
	assert_int_equal(kv_cache_open(&c, &f->m, &f->all, f->d, CONTEXT, SLACK, TENSOR_Q4_0, TENSOR_F16, &err),
			 ERROR_INPUT);
	assert_non_null(strstr(err.text, "the K cache cannot be Q4_0"));
	/* Heads of 32 and 64 elements: rows of 48 and 80 bytes beside 64 and 128 of f16. */
	assert_int_equal(kv_cache_open(&c, &f->m, &f->all, f->d, CONTEXT, SLACK, TENSOR_Q8_0, TENSOR_F16, &err), 0);
	assert_int_equal(c.bytes, 2 * (5 * RING * (48 + 64) + CONTEXT * (80 + 128)));
	assert_int_equal(c.bytes, model_kv_bytes(&f->m, CONTEXT, SLACK, TENSOR_Q8_0, TENSOR_F16));
	assert_int_equal(kv_cache_bytes_read(&c, 7), 2 * 8 * (10 * (48 + 64) + 2 * (80 + 128)));
	kv_cache_close(&c);
	struct model_layer *l = &f->m.layers[3];
	l->head_dim = 48;
	assert_int_equal(kv_cache_open(&c, &f->m, &f->all, f->d, CONTEXT, SLACK, TENSOR_F16, TENSOR_Q8_0, &err),
			 ERROR_INPUT);
	assert_non_null(strstr(err.text, "the V cache cannot be Q8_0: heads of 48"));
	l->head_dim = f->m.layers[2].head_dim;
}

/* What a rewind needs: the window in front of the position, not yet overwritten by the furthest one written. */
static void test_rewind_rules(void **state)
{
	struct fixture *f = *state;
	struct error err;
	kv_cache_advance(&f->c, 60);
	/* at 60 - d the oldest key needed is 60 - d - 15; the ring of 23 holds 37 .. 59 */
	assert_int_equal(kv_cache_rewind(&f->c, 52, &err), 0);
	assert_int_equal(f->c.pos, 52);
	assert_int_equal(kv_cache_rewind(&f->c, 51, &err), ERROR_INPUT); /* needs 36 */
	assert_int_equal(f->c.pos, 52);
	assert_int_equal(kv_cache_rewind(&f->c, 53, &err), ERROR_INPUT); /* not ahead */
	assert_int_equal(kv_cache_rewind(&f->c, -1, &err), ERROR_INPUT);
	assert_int_equal(kv_cache_rewind(&f->c, 0, &err), 0);
	/* From 0 everything is written anew: what was ahead no longer counts. */
	kv_cache_advance(&f->c, 10);
	assert_int_equal(kv_cache_rewind(&f->c, 5, &err), 0);
}

static void test_checkpoint_rules(void **state)
{
	struct fixture *f = *state;
	struct error err;
	kv_cache_advance(&f->c, 30);
	assert_int_equal(kv_cache_save(&f->c, &err), 0);
	size_t used = device_memory(f->d).used;
	assert_int_equal(used, f->c.bytes + (2 + 4) * 2 * 5 * RING * 32);
	kv_cache_advance(&f->c, 60);
	assert_int_equal(kv_cache_rewind(&f->c, 30, &err), 0);
	kv_cache_advance(&f->c, 60);
	assert_int_equal(kv_cache_rewind(&f->c, 30, &err), 0); /* as often as one likes */
	assert_int_equal(kv_cache_rewind(&f->c, 29, &err), 0); /* the ring as saved still holds 14 .. */
	kv_cache_advance(&f->c, 60);
	assert_int_equal(kv_cache_rewind(&f->c, 30, &err), ERROR_INPUT); /* 29 was rewritten: the copy is stale */
	assert_int_equal(kv_cache_save(&f->c, &err), 0);                 /* again, into the same memory */
	assert_int_equal(device_memory(f->d).used, used);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_geometry),
		T(test_capacity),
		T(test_too_large_is_refused_before_allocating),
		T(test_failed_allocation_leaks_nothing),
		T(test_types),
		T(test_rewind_rules),
		T(test_checkpoint_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
