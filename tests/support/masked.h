/*
 * What SnapKV must do, computed plainly: keys that were not kept are masked for every later query,
 * per cache and KV head.
 *
 * It sits between a session and its device and sees each launch. Of prefill it remembers the queries on
 * global caches; from them and the cache's keys it counts the votes, naively and in double. Told to mask, it
 * computes global attention itself, in double, over a full cache without the keys that lost; all else is the
 * device's. Works on any device, in direct mode with fusion full.
 */
#ifndef GEMMARK_TESTS_SUPPORT_MASKED_H
#define GEMMARK_TESTS_SUPPORT_MASKED_H

#include <stdbool.h>

#include "engine/infer/session.h"

enum { MASKED_MAX_CACHES = 16, MASKED_MAX_HEADS = 8 };

struct masked_kept {
	int n_heads; /* KV heads */
	int n;
	int *slots; /* (n_heads, n), ascending */
};

struct masked; /* opaque */

/* Steps between s and its device until closed. */
struct masked *masked_open(struct session *s);
void masked_close(struct masked *m);

/* Forgets all that it saw: before a reset, which may put caches elsewhere. */
void masked_forget(struct masked *m);
/*
 * The plain election of prompt 0 .. n - 1, whose queries and keys were seen, on every global cache in the order
 * of the layers; kept by masked_kept. Returns the smallest difference between a vote that won and one
 * that lost, relative to the winner; ties aside.
 */
double masked_elect(struct masked *m, int n, const struct snapkv_options *o);
/* From now on attention is computed here, without what lost; false: by the device again. */
void masked_apply(struct masked *m, bool on);

int masked_caches(const struct masked *m);
/* What the plain election kept in a global cache. */
const struct masked_kept *masked_kept(const struct masked *m, int cache);
/* What the session's own last eviction kept, in the order of the caches; slots null: there was none. */
const struct masked_kept *masked_evicted(const struct masked *m, int cache);

#endif
