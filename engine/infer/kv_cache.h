/*
 * The K/V cache of a range of layers on one device: full on global layers, a ring on sliding
 * ones, and shared layers reading the cache of their source. Where the source lies
 * before the range, the cache is a copy of its own, which the caller keeps up to date.
 *
 * Positions are logical. The cache knows how far it was written and therefore which
 * rewinds are possible; it does not know tokens.
 *
 * After an eviction a global layer's slots are physical: slot = pos - evicted, all KV heads alike. Which
 * entries stay is the caller's choice (engine/infer/snapkv.h); the last ones before pos always do.
 */
#ifndef GEMMARK_ENGINE_INFER_KV_CACHE_H
#define GEMMARK_ENGINE_INFER_KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/device/byte_count.h"
#include "engine/device/device.h"
#include "engine/model/model.h"

struct kv_cache {
	struct device *device;
	const struct model *model;
	int begin; /* the range: layers [begin, end) */
	int end;
	struct kv *layers; /* (n_layer); a shared layer's entry is its source's; zero where the range attends nothing */
	int capacity;      /* entries that a global layer holds: positions, less those evicted */
	int slack;         /* positions that may be appended at once */
	int pos;           /* next position to write */
	int high;          /* one past the highest position whose slot was written */
	int evicted;       /* entries removed in front of pos on global layers */
	int floor;         /* lowest position but 0 that a rewind may reach: what lies below was thinned out */
	size_t bytes;
	uint64_t generation; /* changes whenever geometry or pointers do */
	int checkpoint;      /* position saved, -1: none */
	int saved_high;      /* high when it was saved */
	void **saved;        /* (2 * n_layer): copies of rings, null elsewhere */
};

/*
 * Sizes are known before anything is allocated: ERROR_MEMORY says how many bytes are
 * needed and how many the device has free. context: positions to hold; slack: longest
 * chunk appended at once. The model and the device outlive the cache.
 */
int kv_cache_open(struct kv_cache *c, const struct model *m, const struct model_range *r, struct device *d, int context,
		  int slack, enum tensor_type k_type, enum tensor_type v_type, struct error *err);
/* Also valid on a zeroed struct. */
void kv_cache_close(struct kv_cache *c);

/* What kv_cache_open allocates. */
struct kv_cache_bytes {
	struct byte_count own;        /* of layers of the range; n_own of them */
	struct byte_count mirrored;   /* of layers in front of it, which it reads; n_mirrored */
	struct byte_count checkpoint; /* allocated by the first kv_cache_save */
	int n_own;
	int n_mirrored;
};
/* kv_cache.layers (n_layer), but that nothing is allocated for. */
void kv_cache_describe(struct kv *layers, const struct model *m, const struct model_range *r, int context, int slack,
		       enum tensor_type k_type, enum tensor_type v_type);
void kv_cache_measure(struct kv_cache_bytes *out, const struct model *m, const struct model_range *r, int context,
		      int slack, enum tensor_type k_type, enum tensor_type v_type);

/* Whether n more positions fit; ERROR_INPUT says what context would be needed. */
int kv_cache_check(const struct kv_cache *c, int n, struct error *err);
/* n positions were enqueued to be written at pos. */
void kv_cache_advance(struct kv_cache *c, int n);

/* Saves the rings at the current position; enqueued on the device. One checkpoint at a time. */
int kv_cache_save(struct kv_cache *c, struct error *err);
/* Whether kv_cache_rewind could go there; ERROR_INPUT where a ring has lost what it needs, or pos is below the floor.
 */
int kv_cache_rewind_check(const struct kv_cache *c, int pos, struct error *err);
/*
 * Back to an earlier position; what kv_cache_rewind_check returns where that fails. Enqueued. To 0, global layers
 * hold as many positions as at opening again: ERROR_MEMORY, and nothing changed, where there is no room for them.
 */
int kv_cache_rewind(struct kv_cache *c, int pos, struct error *err);

enum { KV_CACHES_MAX = 2 }; /* of one model, on as many devices */

/*
 * Enqueues the move of what a layer keeps: slots 0 .. kept of `to`. From and to are per cache, null where the cache
 * does not hold that layer's entries.
 */
typedef int kv_cache_move(void *ctx, int layer, const struct kv *const *from, const struct kv *const *to,
			  struct error *err);
/*
 * Of pos entries global layers keep `kept`, and have room for as many more positions as before. The last `window` of
 * them are the last positions, in their order. The n caches are one model's, at the same position. The new memory is
 * allocated and filled, layer after layer, before any old is freed; after a failure the caches are as they were.
 * Once between two resets.
 */
int kv_cache_evict(struct kv_cache *const *c, int n, int kept, int window, kv_cache_move *move, void *ctx,
		   struct error *err);
/*
 * Before n caches go back to 0 together: global layers hold as many positions as at opening again, with undefined
 * contents. ERROR_MEMORY, and nothing changed in any of them, where there is no room.
 */
int kv_cache_restore(struct kv_cache *const *c, int n, struct error *err);

/*
 * n caches at 0 with nothing evicted stand at pos, whose entries the caller writes behind this: global layers lack
 * `evicted` of them, and their memory, as behind kv_cache_evict; floor as there. ERROR_MEMORY, and nothing changed.
 */
int kv_cache_resume(struct kv_cache *const *c, int n, int pos, int evicted, int floor, struct error *err);

/* K and V bytes that decoding one token at position pos reads, all of the range, shared ones as often as they read. */
size_t kv_cache_bytes_read(const struct kv_cache *c, int pos);

#endif
