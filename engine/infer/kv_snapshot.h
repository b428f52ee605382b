/*
 * What a session's caches hold at a position, as bytes that another session of the same model can go on from: its
 * decoded tokens and its prefill have the bits that those of the first one would have had.
 *
 * Kept are entries, not memory: of a global layer all, of a sliding one those that its ring still holds. The session
 * that takes them may have been opened for another context. Where SnapKV has observed the whole of its window, its
 * queries are kept too, so that the eviction may come later; behind an eviction, what it left.
 *
 * The bytes are of this machine's order and layout. They say what they are of, layer by layer, and all of it is
 * checked before anything is changed; whose weights and tokens they came from is the caller's to know.
 */
#ifndef GEMMARK_ENGINE_INFER_KV_SNAPSHOT_H
#define GEMMARK_ENGINE_INFER_KV_SNAPSHOT_H

#include <stddef.h>

#include "base/error.h"
#include "engine/infer/kv_cache.h"
#include "engine/infer/snapkv.h"

/* A session's caches, and what observes them; one a part of the model, all at the same position. */
struct kv_snapshot_state {
	struct kv_cache *caches[KV_CACHES_MAX];
	struct snapkv *snapkv; /* (n) */
	int n;
};

/* Tokens whose observed queries are kept with the state as it is now: SnapKV's window, or 0. */
int kv_snapshot_window(const struct kv_snapshot_state *s);
/* Bytes of that state. */
size_t kv_snapshot_bytes(const struct kv_snapshot_state *s);
/* out: (kv_snapshot_bytes). Returns when all is there. What a device says. */
int kv_snapshot_save(const struct kv_snapshot_state *s, void *out, struct error *err);

/*
 * Whether the state could take these bytes: ERROR_INPUT says what does not agree: a layer, a type, a size, a position
 * beyond the cache, the queries of a window that is observed.
 */
int kv_snapshot_check(const struct kv_snapshot_state *s, const void *in, size_t bytes, struct error *err);
/*
 * Of caches at position 0 that kv_snapshot_check has let pass. ERROR_MEMORY, what a device says; after a failure the
 * caches are at 0. Returns when the work is done.
 */
int kv_snapshot_restore(const struct kv_snapshot_state *s, const void *in, size_t bytes, struct error *err);

#endif
