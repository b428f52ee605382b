/*
 * What must hold of a session that takes another one's snapshot, on any device: its decoded tokens and its prefill have
 * the bits of a session that prefilled all at once. Shared by test_kv_snapshot (host) and test_kv_snapshot_cuda. Each
 * check fails the running test with a line that says where.
 */
#ifndef GEMMARK_TESTS_SUPPORT_SNAPSHOT_CASE_H
#define GEMMARK_TESTS_SUPPORT_SNAPSHOT_CASE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/device/device.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/sanitized.h"

enum {
	SNAPSHOT_BATCH = 16,
	SNAPSHOT_PROMPT = 5 * SNAPSHOT_BATCH, /* several times the window, 16, so that rings wrap */
	SNAPSHOT_MORE = SNAPSHOT_BATCH + 5,
	SNAPSHOT_DECODE = SANITIZED ? 56 : 200, /* past position 128, where the next attention bucket begins */
	SNAPSHOT_CONTEXT = SNAPSHOT_PROMPT + SNAPSHOT_MORE + SNAPSHOT_DECODE + 8,
	SNAPSHOT_ARMS = 2 * GRAPH_MODE_COUNT, /* modes, in both fusions */
};

/* A model and the devices that are the test's own. */
struct snapshot_rig {
	struct device *far, *near; /* null: the model's */
	struct loaded_model *loaded;
};
/* On the host; n > 0: with n layers on another host device, whose memory is not the first's. */
struct snapshot_rig snapshot_on_host(const char *path, int n, enum tensor_type k, enum tensor_type v);
/* n layers on the GPU, or all where there are fewer. */
struct snapshot_rig snapshot_on_gpu(const char *path, int n, enum tensor_type k, enum tensor_type v);
void snapshot_close(struct snapshot_rig *r);
struct session *snapshot_session(struct snapshot_rig *r, int context);

struct snapshot_bytes {
	void *at; /* the caller frees it */
	size_t n;
};
struct snapshot_bytes snapshot_save(struct session *s);
void snapshot_restore(struct session *s, struct snapshot_bytes b);

/* Tokens [session_position, end). */
void snapshot_prefill(struct session *s, int end);
/* The hash of each token's logits. */
void snapshot_decode(struct session *s, uint64_t hashes[SNAPSHOT_DECODE]);
void snapshot_expect(const uint64_t *found, const uint64_t *wanted, const char *what);

/* A budget of a part of the prompt. */
extern const struct snapkv_options snapshot_evicting;

/* A model of the golden ones in a rig that is closed here; at the prompt every step-th mode and fusion decodes. */
void snapshot_goes_on(struct snapshot_rig r, const char *what, int step);
/* The same with an eviction behind the snapshot, and before it. */
void snapshot_goes_on_evicted(struct snapshot_rig r);

#endif
