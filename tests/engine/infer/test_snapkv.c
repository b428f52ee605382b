/*
 * SnapKV on the host device, alone and as two: its options, that evicting is masking, that every mode goes on with the
 * same bits, that memory comes back, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "tests/support/eviction.h"
#include "tests/support/guarded.h"
#include "tests/support/sanitized.h"

/* ---- options ---- */

static void test_options(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		struct snapkv_options o;
		const char *name;
	} good[] = {
		{"off", {.budget = 0, .window = 0, .pool = 0}, "off"},
		{"1024", {.budget = 1024, .window = 64, .pool = 7}, "1024,window=64,pool=7"},
		{"64", {.budget = 64, .window = 64, .pool = 7}, "64,window=64,pool=7"},
		{"32,window=8", {.budget = 32, .window = 8, .pool = 7}, "32,window=8,pool=7"},
		{"4096,pool=1,window=32", {.budget = 4096, .window = 32, .pool = 1}, "4096,window=32,pool=1"},
		{"16777216,window=1024,pool=255",
		 {.budget = 16777216, .window = 1024, .pool = 255},
		 "16777216,window=1024,pool=255"},
	};
	static const char *const bad[][2] = {
		{"", "the budget, or off, is a number from 1 to 16777216"},
		{"on", "the budget, or off, is a number"},
		{"0", "the budget, or off, is a number from 1"},
		{"16777217", "the budget, or off, is a number from 1 to 16777216"},
		{"99999999999999999999", "the budget, or off, is a number from 1 to 16777216"},
		{"-5", "the budget, or off, is a number"},
		{"1024,", "unexpected ','"},
		{"1024,win=3", "unexpected ',win=3'; write off or BUDGET[,window=W][,pool=P]"},
		{"1024,window=", "window is a number from 1 to 1024"},
		{"1024,window=0", "window is a number from 1 to 1024"},
		{"1024,window=8x", "unexpected 'x'"},
		{"1024,pool=4", "pool is centred on a key, so it is odd"},
		{"1024,pool=256", "pool is a number from 1 to 255"},
		{"63", "the budget includes the window of 64; write a larger one, or window=W"},
		{"off,window=3", "the budget, or off, is a number"},
	};
	struct error err;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct snapkv_options o = {.budget = 1, .window = 2, .pool = 3};
		char name[SNAPKV_NAME_BYTES];
		if (snapkv_parse(good[i].text, &o, &err))
			fail_msg("%s", err.text);
		assert_memory_equal(&o, &good[i].o, sizeof o);
		snapkv_name(&o, name);
		assert_string_equal(name, good[i].name);
		assert_int_equal(snapkv_parse(name, &o, &err), 0);
		assert_memory_equal(&o, &good[i].o, sizeof o);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct snapkv_options o = {.budget = 1, .window = 2, .pool = 3}, was = o;
		err.text[0] = 0;
		if (snapkv_parse(bad[i][0], &o, &err) != ERROR_INPUT || !strstr(err.text, bad[i][1]))
			fail_msg("'%s': %s", bad[i][0], err.text);
		assert_memory_equal(&o, &was, sizeof o);
	}
}

/* ---- on the host device ---- */

static void test_eviction_is_masking(void **state)
{
	(void)state;
	/* Sanitized: E4B of 24 layers, whose caches are shared, and Qwen3, which has no windows. */
	for (int i = SANITIZED; i < EVICTION_MODELS; i += SANITIZED ? 4 : 1)
		eviction_equals_masking(i, 0, 1e-5);
}

static void test_other_policies(void **state)
{
	(void)state;
	for (int i = SANITIZED; i < EVICTION_MODELS; i += SANITIZED ? 4 : 1)
		eviction_by_policies(i, 0);
}

static void test_modes_are_bit_identical(void **state)
{
	(void)state;
	eviction_same_in_all_modes(0, 0, TENSOR_F16, 290);
	eviction_same_in_all_modes(1, 0, TENSOR_Q8_0, 100);
	eviction_same_in_all_modes(4, 0, TENSOR_BF16, 100);
	eviction_same_in_all_modes(5, 0, TENSOR_F32, 260);
	if (!SANITIZED)
		eviction_same_in_all_modes(EVICTION_FEW_BITS, 0, TENSOR_F16, 100);
}

/* What is attended is what is left: 100 entries and the tokens since, of which the 29th begins the second bucket. */
static void test_buckets_of_what_is_left(void **state)
{
	(void)state;
	enum { BUDGET = 100, BUCKET = 128, TOKENS = 60 };
	static const struct snapkv_options options = {.budget = BUDGET, .window = 16, .pool = 7};
	struct session *s = eviction_session(eviction_model(5), 0, TENSOR_F16);
	session_set_mode(s, GRAPH_MODE_DEVICE);
	eviction_prompt(s, &options, NULL);
	eviction_evict(s);
	for (int i = 0; i < TOKENS; i++) {
		struct token_timing t;
		struct error err;
		if (session_decode(s, 7, &t, &err))
			fail_msg("%s", err.text);
		int first = i == 0 || BUDGET + i == BUCKET;
		assert_int_equal(t.event, first ? GRAPH_EVENT_CAPTURE : GRAPH_EVENT_REPLAY);
	}
	session_close(s);
}

static void test_memory_comes_back(void **state)
{
	(void)state;
	eviction_gives_memory_back(1, 0, TENSOR_F16);
	eviction_gives_memory_back(1, 0, TENSOR_Q8_0);
	eviction_gives_memory_back(2, 0, TENSOR_F32);
	eviction_gives_memory_back(5, 0, TENSOR_BF16);
}

static void test_no_memory(void **state)
{
	(void)state;
	eviction_survives_no_memory(1, 0);
}

/* ---- what is refused ---- */

static void expect_refused(int rc, const struct error *err, const char *why)
{
	assert_int_equal(rc, ERROR_INPUT);
	if (!strstr(err->text, why))
		fail_msg("not '%s': %s", why, err->text);
}

static void decode_one(struct session *s)
{
	struct error err;
	if (session_decode(s, 7, NULL, &err))
		fail_msg("%s", err.text);
}

static void test_refusals(void **state)
{
	(void)state;
	static const struct snapkv_options options = {.budget = 80, .window = 16, .pool = 7},
					   off = {.budget = 0, .window = 0, .pool = 0},
					   larger = {.budget = EVICTION_PROMPT, .window = 16, .pool = 7};
	struct session *s = eviction_session(eviction_model(0), 0, TENSOR_F16);
	struct session_eviction v;
	struct error err;
	int tokens[EVICTION_PROMPT] = {0};

	/* Off, or nothing to evict: neither an error nor an eviction. */
	eviction_prompt(s, &off, NULL);
	v = eviction_evict(s);
	assert_true(v.entries_before == EVICTION_PROMPT && v.entries_after == EVICTION_PROMPT && v.us == 0);
	assert_int_equal(v.memory_before, v.memory_after);
	eviction_prompt(s, &larger, NULL);
	v = eviction_evict(s);
	assert_true(v.entries_after == EVICTION_PROMPT && v.us == 0);

	/* Too late to observe; too early to evict; a window that was not all prefilled. */
	expect_refused(session_observe(s, &options, EVICTION_PROMPT + 15, &err), &err,
		       "observes the tokens from position 299 to 315, and this is position 300 already");
	assert_int_equal(session_observe(s, &options, EVICTION_PROMPT + 16, &err), 0);
	assert_int_equal(session_rewind(s, 0, &err), 0);
	assert_int_equal(session_observe(s, &options, EVICTION_PROMPT, &err), 0);
	assert_int_equal(session_prefill(s, tokens, EVICTION_PROMPT - 5, NULL, &err), 0);
	expect_refused(session_evict(s, &v, &err), &err, "evicts at position 300, where the prompt was to end, and");
	for (int i = 0; i < 5; i++)
		decode_one(s);
	expect_refused(session_evict(s, &v, &err), &err, "saw the queries of 11 of the prompt's last 16 tokens");
	/* Decoded again where they had been prefilled: their queries are others'. */
	assert_int_equal(session_rewind(s, EVICTION_PROMPT - 5, &err), 0);
	assert_int_equal(session_prefill(s, tokens, 5, NULL, &err), 0);
	assert_int_equal(session_rewind(s, EVICTION_PROMPT - 1, &err), 0);
	decode_one(s);
	expect_refused(session_evict(s, &v, &err), &err, "saw the queries of 15 of the prompt's last 16 tokens");
	assert_int_equal(session_rewind(s, EVICTION_PROMPT - 1, &err), 0);
	assert_int_equal(session_prefill(s, tokens, 1, NULL, &err), 0);
	v = eviction_evict(s);
	assert_int_equal(v.entries_after, 80);

	/* Never into the evicted part; the window is there. */
	decode_one(s);
	expect_refused(session_rewind(s, EVICTION_PROMPT - 17, &err), &err,
		       "cannot rewind to 283: 220 entries before position 284 were evicted");
	assert_int_equal(session_position(s), EVICTION_PROMPT + 1);
	assert_int_equal(session_rewind(s, EVICTION_PROMPT - 16, &err), 0);
	decode_one(s);
	expect_refused(session_observe(s, &options, EVICTION_PROMPT + 100, &err), &err,
		       "evicted 220 entries already; rewind to 0");
	/* The context is the one that was asked for, evicted or not. */
	expect_refused(session_prefill(s, tokens, 120, NULL, &err), &err,
		       "position 285 + 120 tokens exceed the cache of 404 positions");
	assert_int_equal(session_prefill(s, tokens, 119, NULL, &err), 0);
	session_close(s);
}

/* ---- on two devices, memory of which the other cannot touch ---- */

struct rig {
	struct device *devices[2];
	struct loaded_model *loaded;
	struct session *s;
};

static void rig_open(struct rig *r, int model, int layers, bool head_on_host, enum tensor_type cache)
{
	struct load_options o;
	struct error err = {""};
	eviction_options(&o, layers, cache);
	o.head_on_host = head_on_host;
	*r = (struct rig){0};
	if (guarded_open(&r->devices[0], true, 1, &err) || guarded_open(&r->devices[1], false, 1, &err) ||
	    loaded_model_open_on(&r->loaded, eviction_model(model), &o, r->devices[0], r->devices[1], &err) ||
	    session_open_on(&r->s, r->loaded, EVICTION_CONTEXT, &err))
		fail_msg("%s", err.text);
}

static void rig_close(struct rig *r)
{
	session_close(r->s);
	loaded_model_close(r->loaded);
	for (int i = 0; i < 2; i++)
		device_close(r->devices[i]);
}

/*
 * The bits of one device, wherever E4B is cut: in front of, between and behind layers that share a cache. Of few bits
 * the device in front has no kernels: they would be repacked for a GPU.
 */
static void test_two_devices_vote_as_one(void **state)
{
	(void)state;
	for (int model = 0; model < EVICTION_FEW_BITS; model += SANITIZED ? 2 : 1) {
		struct session *s = eviction_session(eviction_model(model), 0, TENSOR_F16);
		int n_layer = session_model(s)->n_layer;
		size_t n = (size_t)EVICTION_AFTER * (size_t)session_model(s)->n_vocab;
		float *want[EVICTION_CASES], *got = malloc(n * sizeof *got);
		for (int c = 0; c < EVICTION_CASES; c++) {
			want[c] = malloc(n * sizeof *want[c]);
			eviction_rows(s, &eviction_cases[c], want[c]);
		}
		session_close(s);
		for (int layers = 1; layers <= n_layer; layers += SANITIZED ? 5 : model ? 3 : 1) {
			struct rig r;
			int c = layers % EVICTION_CASES;
			rig_open(&r, model, layers, layers % 2 || layers == n_layer, TENSOR_F16);
			eviction_rows(r.s, &eviction_cases[c], got);
			if (memcmp(got, want[c], n * sizeof *got))
				fail_msg("%s, %d of %d layers in front, budget %d: not the bits of one device",
					 eviction_models[model], layers, n_layer, eviction_cases[c].budget);
			rig_close(&r);
		}
		for (int c = 0; c < EVICTION_CASES; c++)
			free(want[c]);
		free(got);
	}
}

/* Both hold entries of a cache that layers of both read: what the later one draws goes to the earlier one. */
static void test_two_devices_of_other_policies(void **state)
{
	(void)state;
	const struct snapkv_options drawn = {
		.budget = 60, .window = 16, .pool = 7, .policy = KV_POLICY_RANDOM, .sinks = 4, .seed = 9};
	struct session *s = eviction_session(eviction_model(0), 0, TENSOR_F16);
	size_t n = (size_t)EVICTION_AFTER * (size_t)session_model(s)->n_vocab;
	float *want = malloc(2 * n * sizeof *want);
	struct rig r;
	assert_non_null(want);
	eviction_rows(s, &drawn, want);
	rig_open(&r, 0, 8, false, TENSOR_F16);
	eviction_rows(r.s, &drawn, want + n);
	assert_memory_equal(want, want + n, n * sizeof *want);
	rig_close(&r);
	session_close(s);
	free(want);
}

static void test_two_devices_in_all_modes(void **state)
{
	(void)state;
	struct rig r;
	rig_open(&r, 0, 8, false, TENSOR_BF16);
	eviction_modes(r.s, "E4B, 8 layers in front", 290);
	rig_close(&r);
}

/* Layer 8 is behind both caches that others share: each device holds one of them. */
static void test_two_devices_without_memory(void **state)
{
	(void)state;
	struct rig r;
	rig_open(&r, 0, 8, false, TENSOR_F16);
	eviction_no_memory(r.s, r.devices, 2);
	rig_close(&r);
}

static int clean(void **state)
{
	(void)state;
	eviction_clean();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_eviction_is_masking),
		cmocka_unit_test(test_other_policies),
		cmocka_unit_test(test_modes_are_bit_identical),
		cmocka_unit_test(test_buckets_of_what_is_left),
		cmocka_unit_test(test_memory_comes_back),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_two_devices_vote_as_one),
		cmocka_unit_test(test_two_devices_of_other_policies),
		cmocka_unit_test(test_two_devices_in_all_modes),
		cmocka_unit_test(test_two_devices_without_memory),
	};
	return cmocka_run_group_tests(tests, NULL, clean);
}
