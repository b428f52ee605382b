/*
 * A session that takes another one's snapshot goes on with its bits: 200 decoded tokens in every mode and fusion, a
 * further prefill, with every cache type, on one device and on two, before an eviction and behind it. And bytes that
 * are not what a session needs change nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"

enum {
	BATCH = 16,
	PROMPT = 5 * BATCH, /* several times the window, 16, so that rings wrap */
	MORE = BATCH + 5,
	N_DECODE = 200,
	CONTEXT = PROMPT + MORE + N_DECODE + 8,
};

/* On one host device, or, n > 0, with n layers on another one. */
struct rig {
	struct device *far, *near;
	struct loaded_model *loaded;
};

static struct rig rig_open(const char *path, int n, enum tensor_type k, enum tensor_type v)
{
	struct rig r = {0};
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = n;
	o.n_threads = 1;
	o.batch = BATCH;
	o.k_type = k;
	o.v_type = v;
	if (n) {
		OK(guarded_open(&r.far, true, 1, e));
		OK(guarded_open(&r.near, false, 1, e));
	}
	OK(loaded_model_open_on(&r.loaded, path, &o, r.far, r.near, e));
	return r;
}

static void rig_close(struct rig *r)
{
	loaded_model_close(r->loaded);
	if (r->far) {
		device_close(r->far);
		device_close(r->near);
	}
}

static struct session *open_on(struct rig *r, int context)
{
	struct session *s;
	OK(session_open_on(&s, r->loaded, context, e));
	return s;
}

static int token_at(const struct session *s, int i)
{
	return (int)((unsigned)(i + 1) * 2654435761u % (unsigned)session_model(s)->n_vocab);
}

/* Tokens [session_position, end). */
static void prefill_to(struct session *s, int end)
{
	int from = session_position(s), n = end - from;
	int *tokens = malloc((size_t)n * sizeof *tokens);
	for (int i = 0; i < n; i++)
		tokens[i] = token_at(s, from + i);
	OK(session_prefill(s, tokens, n, NULL, e));
	free(tokens);
}

/* The hash of each token's logits. */
static void decode(struct session *s, uint64_t hashes[N_DECODE])
{
	for (int i = 0; i < N_DECODE; i++) {
		const float *row;
		OK(session_decode(s, token_at(s, 1000 + i), NULL, e));
		OK(session_logits(s, &row, e));
		hashes[i] = hash_bytes(row, (size_t)session_model(s)->n_vocab * sizeof *row, 0);
	}
}

static void expect(const uint64_t *found, const uint64_t *wanted, const char *what)
{
	for (int i = 0; i < N_DECODE; i++)
		if (found[i] != wanted[i])
			fail_msg("%s: token %d differs", what, i);
}

struct bytes {
	void *at;
	size_t n;
};

static struct bytes save(struct session *s)
{
	struct bytes b = {.n = session_snapshot_bytes(s)};
	b.at = malloc(b.n);
	OK(session_snapshot(s, b.at, e));
	return b;
}

static void restore(struct session *s, struct bytes b)
{
	OK(session_restore(s, b.at, b.n, e));
}

enum { ARMS = 2 * GRAPH_MODE_COUNT };

/* Every step-th mode and fusion of a session that takes b and goes on to `end`, against hashes. */
static void expect_modes(struct session *s, struct bytes b, int end, const uint64_t *wanted, int step, const char *name)
{
	uint64_t hashes[N_DECODE];
	for (int arm = 0; arm < ARMS; arm += step) {
		char what[160];
		enum graph_mode mode = (enum graph_mode)(arm % GRAPH_MODE_COUNT);
		enum fusion fusion = (enum fusion)(arm / GRAPH_MODE_COUNT);
		snprintf(what, sizeof what, "%s, %s, fusion %s, from %d to %d", name, graph_mode_name(mode),
			 fusion_name(fusion), session_position(s), end);
		session_set_mode(s, mode);
		session_set_fusion(s, fusion);
		restore(s, b);
		if (end > session_position(s))
			prefill_to(s, end);
		decode(s, hashes);
		expect(hashes, wanted + (size_t)fusion * N_DECODE, what);
	}
}

/* What a session decodes that prefills all at once, in both fusions: (2, N_DECODE). */
static void fresh(struct rig *r, int end, uint64_t *hashes)
{
	struct session *s = open_on(r, CONTEXT);
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		prefill_to(s, end);
		decode(s, hashes + (size_t)fusion * N_DECODE);
	}
	session_close(s);
}

static void goes_on(const char *name, int n_far, enum tensor_type k, enum tensor_type v, int step)
{
	struct golden g;
	golden_load(&g, name);
	struct rig r = rig_open(g.path, n_far, k, v);
	static uint64_t at_prompt[2 * N_DECODE], behind[2 * N_DECODE];
	char what[128];
	snprintf(what, sizeof what, "%s, %s/%s, %d layers far", name, tensor_type_name(k), tensor_type_name(v), n_far);
	fresh(&r, PROMPT, at_prompt);
	fresh(&r, PROMPT + MORE, behind);
	/* Another context: other slots, other strides. */
	struct session *first = open_on(&r, PROMPT + 3), *second = open_on(&r, 2 * CONTEXT);
	prefill_to(first, PROMPT);
	struct bytes b = save(first);
	session_close(first);
	expect_modes(second, b, PROMPT, at_prompt, step, what);
	expect_modes(second, b, PROMPT + MORE, behind, ARMS - 1, what);
	/* A snapshot of what came from a snapshot is the same. */
	restore(second, b);
	struct bytes again = save(second);
	assert_int_equal(again.n, b.n);
	assert_memory_equal(again.at, b.at, b.n);
	free(again.at);
	free(b.at);
	session_close(second);
	rig_close(&r);
	golden_free(&g);
}

static void test_every_model(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++)
		goes_on(golden_names[i], 0, TENSOR_F16, TENSOR_F16, 1);
}

static void test_every_cache_type(void **state)
{
	(void)state;
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	static const enum tensor_type types[] = {TENSOR_CACHE_TYPES(X, , )};
#undef X
	for (size_t k = 0; k < sizeof types / sizeof *types; k++)
		for (size_t v = 0; v < sizeof types / sizeof *types; v++)
			goes_on("gemma4-e2b-tiny.q8_0", 0, types[k], types[v], ARMS - 1);
}

/* Layers on either side of the source of a shared cache. */
static void test_two_devices(void **state)
{
	(void)state;
	static const char *const names[] = {"gemma4-e4b-tiny.q8_0", "gemma4-26b-a4b-tiny.q8_0"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct golden g;
		golden_load(&g, names[i]);
		int n_layer = g.n_layer;
		golden_free(&g);
		for (int n = 1; n < n_layer; n += 3)
			goes_on(names[i], n, TENSOR_F16, TENSOR_BF16, ARMS - 1);
	}
}

/* ---- SnapKV ---- */

static const struct snapkv_options evicting = {.budget = 40, .window = 8, .pool = 3};

static void goes_on_evicted(const char *name, int n_far)
{
	struct golden g;
	golden_load(&g, name);
	struct rig r = rig_open(g.path, n_far, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[2 * N_DECODE];
	struct session_eviction v;
	struct session *s = open_on(&r, CONTEXT);
	struct bytes before = {0}, behind = {0};
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		OK(session_observe(s, &evicting, PROMPT, e));
		prefill_to(s, PROMPT);
		assert_int_equal(session_snapshot_observed(s), evicting.window);
		free(before.at);
		before = save(s);
		OK(session_evict(s, &v, e));
		assert_int_equal(v.entries_after, evicting.budget);
		free(behind.at);
		behind = save(s);
		decode(s, wanted + (size_t)fusion * N_DECODE);
	}
	session_close(s);
	/* Evicted by the one that goes on. */
	s = open_on(&r, 2 * CONTEXT);
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		uint64_t hashes[N_DECODE];
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		OK(session_observe(s, &evicting, PROMPT, e));
		restore(s, before);
		OK(session_evict(s, &v, e));
		assert_int_equal(v.entries_before, PROMPT);
		assert_int_equal(v.entries_after, evicting.budget);
		decode(s, hashes);
		expect(hashes, wanted + (size_t)fusion * N_DECODE, "evicted behind the snapshot");
	}
	/* Evicted already: the memory is given back, and taken again at 0. */
	OK(session_rewind(s, 0, e));
	size_t full = session_stats(s).kv_bytes;
	expect_modes(s, behind, PROMPT, wanted, 1, "evicted before the snapshot");
	assert_int_equal(session_evicted(s), PROMPT - evicting.budget);
	assert_true(session_stats(s).kv_bytes < full);
	struct error err;
	assert_int_equal(session_rewind(s, PROMPT - evicting.window - 1, &err), ERROR_INPUT);
	OK(session_rewind(s, 0, e));
	assert_int_equal(session_stats(s).kv_bytes, full);
	session_close(s);
	free(before.at);
	free(behind.at);
	rig_close(&r);
	golden_free(&g);
}

static void test_snapkv(void **state)
{
	(void)state;
	goes_on_evicted("gemma4-e4b-tiny.q8_0", 0);
	goes_on_evicted("gemma4-31b-tiny.q8_0", 0);
	goes_on_evicted("gemma4-e4b-tiny.q8_0", 4);
}

/* A window is observed from where the snapshot ends; or it is all in the snapshot; or the snapshot is refused. */
static void test_observed_window(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct rig r = rig_open(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[N_DECODE], hashes[N_DECODE];
	struct session_eviction v;
	struct error err;
	struct session *s = open_on(&r, CONTEXT);
	OK(session_observe(s, &evicting, PROMPT, e));
	prefill_to(s, PROMPT - BATCH);
	struct bytes early = save(s);
	prefill_to(s, PROMPT);
	OK(session_evict(s, &v, e));
	decode(s, wanted);
	OK(session_rewind(s, 0, e));
	prefill_to(s, PROMPT);
	struct bytes unobserved = save(s);
	OK(session_rewind(s, 0, e));
	OK(session_observe(s, &evicting, PROMPT, e));
	restore(s, early);
	prefill_to(s, PROMPT);
	OK(session_evict(s, &v, e));
	decode(s, hashes);
	expect(hashes, wanted, "observed behind the snapshot");
	OK(session_rewind(s, 0, e));
	OK(session_observe(s, &evicting, PROMPT, e));
	assert_int_equal(session_restore(s, unobserved.at, unobserved.n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "SnapKV observes the tokens from position 72 to 80"));
	assert_int_equal(session_position(s), 0);
	free(early.at);
	free(unobserved.at);
	session_close(s);
	rig_close(&r);
	golden_free(&g);
}

/* ---- rewinding behind it ---- */

/* As far back as where it came from could: what the ring does not hold is refused, not wrong. */
static void test_rewind(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct rig r = rig_open(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[N_DECODE], hashes[N_DECODE];
	struct error err;
	struct session *a = open_on(&r, CONTEXT), *b = open_on(&r, CONTEXT + 9);
	prefill_to(a, PROMPT + 3);
	struct bytes far = save(a);
	OK(session_rewind(a, PROMPT, e)); /* the ring holds positions ahead of it now */
	struct bytes back = save(a);
	decode(a, wanted);
	restore(b, far);
	OK(session_rewind(b, PROMPT, e));
	decode(b, hashes);
	expect(hashes, wanted, "rewound behind the snapshot");
	restore(b, back);
	assert_int_equal(session_position(b), PROMPT);
	decode(b, hashes);
	expect(hashes, wanted, "rewound before the snapshot");
	restore(b, far);
	assert_int_equal(session_rewind(b, PROMPT - BATCH, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "checkpoint"));
	OK(session_checkpoint(b, e));
	decode(b, hashes);
	OK(session_rewind(b, PROMPT + 3, e));
	decode(b, wanted);
	expect(wanted, hashes, "from the checkpoint");
	free(far.at);
	free(back.at);
	session_close(a);
	session_close(b);
	rig_close(&r);
	golden_free(&g);
}

/* ---- what is refused ---- */

static void refuse(struct session *s, const void *at, size_t n, const char *why)
{
	struct error err = {""};
	int before = session_position(s);
	if (session_restore(s, at, n, &err) != ERROR_INPUT)
		fail_msg("taken, and should have been refused: %s", why ? why : "any reason");
	if (why && !strstr(err.text, why))
		fail_msg("refused because '%s', not '%s'", err.text, why);
	assert_int_equal(session_position(s), before);
}

static void test_bytes_of_others(void **state)
{
	(void)state;
	struct golden g, h;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	golden_load(&h, "gemma4-e2b-tiny.q8_0");
	struct rig r = rig_open(g.path, 0, TENSOR_F16, TENSOR_F16), f32 = rig_open(g.path, 0, TENSOR_F32, TENSOR_F16);
	struct rig other = rig_open(h.path, 0, TENSOR_F16, TENSOR_F16),
		   two = rig_open(g.path, 4, TENSOR_F16, TENSOR_F16);
	struct session *s = open_on(&r, CONTEXT), *small = open_on(&r, PROMPT - 1), *a = open_on(&f32, CONTEXT);
	struct session *b = open_on(&other, CONTEXT), *c = open_on(&two, CONTEXT);
	prefill_to(s, PROMPT);
	struct bytes x = save(s);
	refuse(small, x.at, x.n, "holds 80 positions, the cache has room for 79");
	refuse(a, x.at, x.n, "types");
	refuse(b, x.at, x.n, NULL);
	refuse(c, x.at, x.n, "parts");
	free(x.at);
	session_close(s);
	session_close(small);
	session_close(a);
	session_close(b);
	session_close(c);
	rig_close(&r);
	rig_close(&f32);
	rig_close(&other);
	rig_close(&two);
	golden_free(&g);
	golden_free(&h);
}

/* Cut anywhere; longer; and every field of the head and of the first record changed to what it cannot be. */
static void test_damaged_bytes(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct rig r = rig_open(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[N_DECODE], hashes[N_DECODE];
	struct session *s = open_on(&r, CONTEXT);
	prefill_to(s, PROMPT);
	struct bytes x = save(s);
	OK(session_checkpoint(s, e));
	decode(s, wanted);
	OK(session_rewind(s, PROMPT, e));
	char *copy = malloc(x.n + 1);
	memcpy(copy, x.at, x.n);
	copy[x.n] = 0;
	for (size_t n = 0; n < x.n; n += n < 200 ? 1 : 97) {
		char *cut = malloc(n + 1); /* exact for a sanitizer, but for the one byte that 0 needs */
		memcpy(cut, x.at, n);
		refuse(s, cut, n, NULL);
		free(cut);
	}
	refuse(s, copy, x.n + 1, "more than it says");
	static const int32_t absurd[] = {-1, 0x7fffffff, (int32_t)0x80000000, 12345};
	for (size_t word = 0; word < 16; word++) {
		for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
			memcpy(copy + 4 * word, &absurd[i], 4);
			/* The floor is within the position alone; a later first entry is one that is not there. */
			refuse(s, copy, x.n, NULL);
		}
		memcpy(copy + 4 * word, (char *)x.at + 4 * word, 4);
	}
	decode(s, hashes);
	expect(hashes, wanted, "behind what was refused");
	free(copy);
	free(x.at);
	session_close(s);
	rig_close(&r);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_model),     cmocka_unit_test(test_every_cache_type),
		cmocka_unit_test(test_two_devices),     cmocka_unit_test(test_snapkv),
		cmocka_unit_test(test_observed_window), cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_bytes_of_others), cmocka_unit_test(test_damaged_bytes),
	};
	return cmocka_run_group_tests_name("snapshots of caches", tests, NULL, NULL);
}
