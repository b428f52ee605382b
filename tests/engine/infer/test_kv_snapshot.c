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

#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/sanitized.h"
#include "tests/support/snapshot_case.h"

/* The first and the last mode see all of the code. */
enum { EVERY = SANITIZED ? SNAPSHOT_ARMS - 1 : 1 };

static void goes_on(const char *name, int n_far, enum tensor_type k, enum tensor_type v, int step)
{
	struct golden g;
	char what[128];
	golden_load(&g, name);
	snprintf(what, sizeof what, "%s, %s/%s, %d layers far", name, tensor_type_name(k), tensor_type_name(v), n_far);
	snapshot_goes_on(snapshot_on_host(g.path, n_far, k, v), what, step);
	golden_free(&g);
}

static void test_every_model(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++)
		goes_on(golden_names[i], 0, TENSOR_F16, TENSOR_F16, EVERY);
}

static void test_every_cache_type(void **state)
{
	(void)state;
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	static const enum tensor_type types[] = {TENSOR_CACHE_TYPES(X, , )};
#undef X
	for (size_t k = 0; k < sizeof types / sizeof *types; k++)
		for (size_t v = 0; v < sizeof types / sizeof *types; v++) {
			/* A row's bytes are what differs: f32's stand for the others' beside Q8_0. */
			if ((types[k] == TENSOR_Q8_0) != (types[v] == TENSOR_Q8_0) && types[k] != TENSOR_F32 &&
			    types[v] != TENSOR_F32)
				continue;
			goes_on("gemma4-e2b-tiny.q8_0", 0, types[k], types[v], SNAPSHOT_ARMS - 1);
		}
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
		for (int n = 1; n < n_layer; n += SANITIZED ? 5 : 3)
			goes_on(names[i], n, TENSOR_F16, TENSOR_BF16, SNAPSHOT_ARMS - 1);
	}
}

/* ---- SnapKV ---- */

static void goes_on_evicted(const char *name, int n_far)
{
	struct golden g;
	golden_load(&g, name);
	snapshot_goes_on_evicted(snapshot_on_host(g.path, n_far, TENSOR_F16, TENSOR_F16));
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
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[SNAPSHOT_DECODE], hashes[SNAPSHOT_DECODE];
	struct session_eviction v;
	struct error err;
	struct session *s = snapshot_session(&r, SNAPSHOT_CONTEXT);
	OK(session_observe(s, &snapshot_evicting, SNAPSHOT_PROMPT, e));
	snapshot_prefill(s, SNAPSHOT_PROMPT - SNAPSHOT_BATCH);
	struct snapshot_bytes early = snapshot_save(s);
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	OK(session_evict(s, &v, e));
	snapshot_decode(s, wanted);
	OK(session_rewind(s, 0, e));
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	struct snapshot_bytes unobserved = snapshot_save(s);
	OK(session_rewind(s, 0, e));
	OK(session_observe(s, &snapshot_evicting, SNAPSHOT_PROMPT, e));
	snapshot_restore(s, early);
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	OK(session_evict(s, &v, e));
	snapshot_decode(s, hashes);
	snapshot_expect(hashes, wanted, "observed behind the snapshot");
	OK(session_rewind(s, 0, e));
	OK(session_observe(s, &snapshot_evicting, SNAPSHOT_PROMPT, e));
	assert_int_equal(session_restore(s, unobserved.at, unobserved.n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "SnapKV observes the tokens from position 72 to 80"));
	assert_int_equal(session_position(s), 0);
	free(early.at);
	free(unobserved.at);
	session_close(s);
	snapshot_close(&r);
	golden_free(&g);
}

/* From a ring that is no longer than its short context to a whole one: the same position, another slot. */
static void test_short_context(void **state)
{
	(void)state;
	enum { SHORT = 14 };
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[SNAPSHOT_DECODE], hashes[SNAPSHOT_DECODE];
	struct session *a = snapshot_session(&r, SHORT), *b = snapshot_session(&r, SNAPSHOT_CONTEXT);
	snapshot_prefill(b, SHORT - 1);
	OK(session_decode(b, 5, NULL, e));
	snapshot_decode(b, wanted);
	snapshot_prefill(a, SHORT - 1);
	OK(session_decode(a, 5, NULL, e));
	struct snapshot_bytes x = snapshot_save(a);
	snapshot_restore(b, x);
	snapshot_decode(b, hashes);
	snapshot_expect(hashes, wanted, "from a short context");
	free(x.at);
	session_close(a);
	session_close(b);
	snapshot_close(&r);
	golden_free(&g);
}

/* ---- rewinding behind it ---- */

/* As far back as where it came from could: what the ring does not hold is refused, not wrong. */
static void test_rewind(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[SNAPSHOT_DECODE], hashes[SNAPSHOT_DECODE];
	struct error err;
	struct session *a = snapshot_session(&r, SNAPSHOT_CONTEXT), *b = snapshot_session(&r, SNAPSHOT_CONTEXT + 9);
	snapshot_prefill(a, SNAPSHOT_PROMPT + 3);
	struct snapshot_bytes far = snapshot_save(a);
	OK(session_rewind(a, SNAPSHOT_PROMPT, e)); /* the ring holds positions ahead of it now */
	struct snapshot_bytes back = snapshot_save(a);
	snapshot_decode(a, wanted);
	snapshot_restore(b, far);
	OK(session_rewind(b, SNAPSHOT_PROMPT, e));
	snapshot_decode(b, hashes);
	snapshot_expect(hashes, wanted, "rewound behind the snapshot");
	snapshot_restore(b, back);
	assert_int_equal(session_position(b), SNAPSHOT_PROMPT);
	snapshot_decode(b, hashes);
	snapshot_expect(hashes, wanted, "rewound before the snapshot");
	snapshot_restore(b, far);
	assert_int_equal(session_rewind(b, SNAPSHOT_PROMPT - SNAPSHOT_BATCH, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "checkpoint"));
	OK(session_checkpoint(b, e));
	snapshot_decode(b, hashes);
	OK(session_rewind(b, SNAPSHOT_PROMPT + 3, e));
	snapshot_decode(b, wanted);
	snapshot_expect(wanted, hashes, "from the checkpoint");
	free(far.at);
	free(back.at);
	session_close(a);
	session_close(b);
	snapshot_close(&r);
	golden_free(&g);
}

/* The earliest position that s can rewind to. */
static int rewind_far(struct session *s)
{
	struct error err;
	int pos = session_position(s);
	while (pos > 1 && !session_rewind(s, pos - 1, &err))
		pos--;
	return pos;
}

/* What had been decoded ahead of the snapshot has overwritten the oldest positions: one that takes it lacks them too.
 */
static void test_rewind_no_further(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[SNAPSHOT_DECODE], hashes[SNAPSHOT_DECODE];
	struct session *a = snapshot_session(&r, SNAPSHOT_CONTEXT), *b = snapshot_session(&r, SNAPSHOT_CONTEXT);
	snapshot_prefill(b, SNAPSHOT_PROMPT);
	int least = rewind_far(b);
	snapshot_prefill(a, SNAPSHOT_PROMPT);
	for (int i = 0; i < 3; i++)
		OK(session_decode(a, 5, NULL, e));
	OK(session_rewind(a, SNAPSHOT_PROMPT, e));
	struct snapshot_bytes x = snapshot_save(a);
	assert_int_equal(rewind_far(a), least + 3);
	snapshot_decode(a, wanted);
	snapshot_restore(b, x);
	assert_int_equal(rewind_far(b), least + 3);
	snapshot_decode(b, hashes);
	snapshot_expect(hashes, wanted, "rewound as far as it goes");
	free(x.at);
	session_close(a);
	session_close(b);
	snapshot_close(&r);
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
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16),
			    f32 = snapshot_on_host(g.path, 0, TENSOR_F32, TENSOR_F16);
	struct snapshot_rig other = snapshot_on_host(h.path, 0, TENSOR_F16, TENSOR_F16),
			    two = snapshot_on_host(g.path, 4, TENSOR_F16, TENSOR_F16);
	struct session *s = snapshot_session(&r, SNAPSHOT_CONTEXT), *small = snapshot_session(&r, SNAPSHOT_PROMPT - 1),
		       *a = snapshot_session(&f32, SNAPSHOT_CONTEXT);
	struct session *b = snapshot_session(&other, SNAPSHOT_CONTEXT), *c = snapshot_session(&two, SNAPSHOT_CONTEXT);
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	struct snapshot_bytes x = snapshot_save(s);
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
	snapshot_close(&r);
	snapshot_close(&f32);
	snapshot_close(&other);
	snapshot_close(&two);
	golden_free(&g);
	golden_free(&h);
}

/* Cut anywhere; longer; and every field of the head and of the first record changed to what it cannot be. */
static void test_damaged_bytes(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	static uint64_t wanted[SNAPSHOT_DECODE], hashes[SNAPSHOT_DECODE];
	struct session *s = snapshot_session(&r, SNAPSHOT_CONTEXT);
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	struct snapshot_bytes x = snapshot_save(s);
	OK(session_checkpoint(s, e));
	snapshot_decode(s, wanted);
	OK(session_rewind(s, SNAPSHOT_PROMPT, e));
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
	snapshot_decode(s, hashes);
	snapshot_expect(hashes, wanted, "behind what was refused");
	free(copy);
	free(x.at);
	session_close(s);
	snapshot_close(&r);
	golden_free(&g);
}

/* By the format's description: words of the head and of a record, and where the record's first entry stands. */
enum { HEAD_WORDS = 8, RECORD_WORDS = 8, HEADS_AT = 4, DIM_AT = 5, FIRST_AT = 6, END_AT = 7 };

/* x with the last n entries of its first record; the contents are of the length, and nobody's. */
static struct snapshot_bytes with_entries(struct snapshot_bytes x, int n)
{
	int32_t record[RECORD_WORDS];
	const size_t at = HEAD_WORDS * sizeof(int32_t), head = at + sizeof record;
	memcpy(record, (char *)x.at + at, sizeof record);
	size_t entry = (size_t)record[HEADS_AT] * (size_t)record[DIM_AT] * 2 * sizeof(uint16_t);
	size_t gone = (size_t)(record[END_AT] - n - record[FIRST_AT]) * entry;
	struct snapshot_bytes y = {.at = malloc(x.n - gone), .n = x.n - gone};
	record[FIRST_AT] = record[END_AT] - n;
	memcpy(y.at, x.at, at);
	memcpy((char *)y.at + at, record, sizeof record);
	memcpy((char *)y.at + head, (char *)x.at + head + gone, y.n - head);
	return y;
}

/* The token behind it sees a window of 16, itself in it. */
static void test_too_few_entries(void **state)
{
	(void)state;
	enum { WINDOW = 16 };
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct snapshot_rig r = snapshot_on_host(g.path, 0, TENSOR_F16, TENSOR_F16);
	struct session *s = snapshot_session(&r, SNAPSHOT_CONTEXT);
	assert_int_equal(session_model(s)->window, WINDOW);
	assert_true(session_model(s)->layers[0].sliding);
	snapshot_prefill(s, SNAPSHOT_PROMPT);
	struct snapshot_bytes x = snapshot_save(s), enough = with_entries(x, WINDOW - 1),
			      few = with_entries(x, WINDOW - 2);
	refuse(s, few.at, few.n, "layer 0: the snapshot has entries 66 to 80, position 80 needs 15");
	snapshot_restore(s, enough);
	free(few.at);
	free(enough.at);
	free(x.at);
	session_close(s);
	snapshot_close(&r);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_model),       cmocka_unit_test(test_every_cache_type),
		cmocka_unit_test(test_two_devices),       cmocka_unit_test(test_snapkv),
		cmocka_unit_test(test_observed_window),   cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_short_context),     cmocka_unit_test(test_bytes_of_others),
		cmocka_unit_test(test_damaged_bytes),     cmocka_unit_test(test_too_few_entries),
		cmocka_unit_test(test_rewind_no_further),
	};
	return cmocka_run_group_tests_name("snapshots of caches", tests, NULL, NULL);
}
