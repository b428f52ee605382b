#include "tests/support/snapshot_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"

static struct load_options options_of(int n, enum tensor_type k, enum tensor_type v)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = n;
	o.n_threads = 1;
	o.batch = SNAPSHOT_BATCH;
	o.k_type = k;
	o.v_type = v;
	return o;
}

struct snapshot_rig snapshot_on_host(const char *path, int n, enum tensor_type k, enum tensor_type v)
{
	struct snapshot_rig r = {0};
	const struct load_options o = options_of(n, k, v);
	if (n) {
		OK(guarded_open(&r.far, true, 1, e));
		OK(guarded_open(&r.near, false, 1, e));
	}
	OK(loaded_model_open_on(&r.loaded, path, &o, r.far, r.near, e));
	return r;
}

struct snapshot_rig snapshot_on_gpu(const char *path, int n, enum tensor_type k, enum tensor_type v)
{
	struct snapshot_rig r = {0};
	const struct load_options o = options_of(n, k, v);
	OK(loaded_model_open(&r.loaded, path, &o, e));
	return r;
}

void snapshot_close(struct snapshot_rig *r)
{
	loaded_model_close(r->loaded);
	if (r->far) {
		device_close(r->far);
		device_close(r->near);
	}
}

struct session *snapshot_session(struct snapshot_rig *r, int context)
{
	struct session *s;
	OK(session_open_on(&s, r->loaded, context, e));
	return s;
}

static int token_at(const struct session *s, int i)
{
	return (int)((unsigned)(i + 1) * 2654435761u % (unsigned)session_model(s)->n_vocab);
}

void snapshot_prefill(struct session *s, int end)
{
	int from = session_position(s), n = end - from;
	int *tokens = malloc((size_t)n * sizeof *tokens);
	for (int i = 0; i < n; i++)
		tokens[i] = token_at(s, from + i);
	OK(session_prefill(s, tokens, n, NULL, e));
	free(tokens);
}

void snapshot_decode(struct session *s, uint64_t hashes[SNAPSHOT_DECODE])
{
	for (int i = 0; i < SNAPSHOT_DECODE; i++) {
		const float *row;
		OK(session_decode(s, token_at(s, 1000 + i), NULL, e));
		OK(session_logits(s, &row, e));
		hashes[i] = hash_bytes(row, (size_t)session_model(s)->n_vocab * sizeof *row, 0);
	}
}

void snapshot_expect(const uint64_t *found, const uint64_t *wanted, const char *what)
{
	for (int i = 0; i < SNAPSHOT_DECODE; i++)
		if (found[i] != wanted[i])
			fail_msg("%s: token %d differs", what, i);
}

struct snapshot_bytes snapshot_save(struct session *s)
{
	struct snapshot_bytes b = {.n = session_snapshot_bytes(s)};
	b.at = malloc(b.n);
	OK(session_snapshot(s, b.at, e));
	return b;
}

void snapshot_restore(struct session *s, struct snapshot_bytes b)
{
	OK(session_restore(s, b.at, b.n, e));
}

/* Every step-th mode and fusion of a session that takes b and goes on to `end`, against hashes. */
static void expect_modes(struct session *s, struct snapshot_bytes b, int end, const uint64_t *wanted, int step,
			 const char *name)
{
	uint64_t hashes[SNAPSHOT_DECODE];
	for (int arm = 0; arm < SNAPSHOT_ARMS; arm += step) {
		char what[160];
		enum graph_mode mode = (enum graph_mode)(arm % GRAPH_MODE_COUNT);
		enum fusion fusion = (enum fusion)(arm / GRAPH_MODE_COUNT);
		snprintf(what, sizeof what, "%s, %s, fusion %s, from %d to %d", name, graph_mode_name(mode),
			 fusion_name(fusion), session_position(s), end);
		session_set_mode(s, mode);
		session_set_fusion(s, fusion);
		snapshot_restore(s, b);
		if (end > session_position(s))
			snapshot_prefill(s, end);
		snapshot_decode(s, hashes);
		snapshot_expect(hashes, wanted + (size_t)fusion * SNAPSHOT_DECODE, what);
	}
}

/* What a session decodes that prefills all at once, in both fusions: (2, SNAPSHOT_DECODE). */
static void fresh(struct snapshot_rig *r, int end, uint64_t *hashes)
{
	struct session *s = snapshot_session(r, SNAPSHOT_CONTEXT);
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		snapshot_prefill(s, end);
		snapshot_decode(s, hashes + (size_t)fusion * SNAPSHOT_DECODE);
	}
	session_close(s);
}

void snapshot_goes_on(struct snapshot_rig r, const char *what, int step)
{
	static uint64_t at_prompt[2 * SNAPSHOT_DECODE], behind[2 * SNAPSHOT_DECODE];
	fresh(&r, SNAPSHOT_PROMPT, at_prompt);
	fresh(&r, SNAPSHOT_PROMPT + SNAPSHOT_MORE, behind);
	/* Another context: other slots, other strides. */
	struct session *first = snapshot_session(&r, SNAPSHOT_PROMPT + 3),
		       *second = snapshot_session(&r, 2 * SNAPSHOT_CONTEXT);
	snapshot_prefill(first, SNAPSHOT_PROMPT);
	struct snapshot_bytes b = snapshot_save(first);
	session_close(first);
	expect_modes(second, b, SNAPSHOT_PROMPT, at_prompt, step, what);
	expect_modes(second, b, SNAPSHOT_PROMPT + SNAPSHOT_MORE, behind, SNAPSHOT_ARMS - 1, what);
	/* A snapshot of what came from a snapshot is the same. */
	snapshot_restore(second, b);
	struct snapshot_bytes again = snapshot_save(second);
	assert_int_equal(again.n, b.n);
	assert_memory_equal(again.at, b.at, b.n);
	free(again.at);
	free(b.at);
	session_close(second);
	snapshot_close(&r);
}

const struct snapkv_options snapshot_evicting = {.budget = 40, .window = 8, .pool = 3};

void snapshot_goes_on_evicted(struct snapshot_rig r)
{
	static uint64_t wanted[2 * SNAPSHOT_DECODE];
	struct session_eviction v;
	struct session *s = snapshot_session(&r, SNAPSHOT_CONTEXT);
	struct snapshot_bytes before = {0}, behind = {0};
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		OK(session_observe(s, &snapshot_evicting, SNAPSHOT_PROMPT, e));
		snapshot_prefill(s, SNAPSHOT_PROMPT);
		assert_int_equal(session_snapshot_observed(s), snapshot_evicting.window);
		free(before.at);
		before = snapshot_save(s);
		OK(session_evict(s, &v, e));
		assert_int_equal(v.entries_after, snapshot_evicting.budget);
		free(behind.at);
		behind = snapshot_save(s);
		snapshot_decode(s, wanted + (size_t)fusion * SNAPSHOT_DECODE);
	}
	session_close(s);
	/* Evicted by the one that goes on. */
	s = snapshot_session(&r, 2 * SNAPSHOT_CONTEXT);
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		uint64_t hashes[SNAPSHOT_DECODE];
		session_set_fusion(s, (enum fusion)fusion);
		OK(session_rewind(s, 0, e));
		OK(session_observe(s, &snapshot_evicting, SNAPSHOT_PROMPT, e));
		snapshot_restore(s, before);
		OK(session_evict(s, &v, e));
		assert_int_equal(v.entries_before, SNAPSHOT_PROMPT);
		assert_int_equal(v.entries_after, snapshot_evicting.budget);
		snapshot_decode(s, hashes);
		snapshot_expect(hashes, wanted + (size_t)fusion * SNAPSHOT_DECODE, "evicted behind the snapshot");
	}
	/* Evicted already: the memory is given back, and taken again at 0. */
	OK(session_rewind(s, 0, e));
	size_t full = session_stats(s).kv_bytes;
	expect_modes(s, behind, SNAPSHOT_PROMPT, wanted, 1, "evicted before the snapshot");
	assert_int_equal(session_evicted(s), SNAPSHOT_PROMPT - snapshot_evicting.budget);
	assert_true(session_stats(s).kv_bytes < full);
	struct error err;
	assert_int_equal(session_rewind(s, SNAPSHOT_PROMPT - snapshot_evicting.window - 1, &err), ERROR_INPUT);
	OK(session_rewind(s, 0, e));
	assert_int_equal(session_stats(s).kv_bytes, full);
	session_close(s);
	free(before.at);
	free(behind.at);
	snapshot_close(&r);
}
