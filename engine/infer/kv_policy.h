/*
 * Which entries an eviction keeps: SnapKV's vote, or what a vote must be better than at the same budget. Those look at
 * no key: they keep the first ones (sinks), the last ones, and in between what costs nothing to choose.
 */
#ifndef GEMMARK_ENGINE_INFER_KV_POLICY_H
#define GEMMARK_ENGINE_INFER_KV_POLICY_H

#include <stdint.h>

enum kv_policy {
	KV_POLICY_SNAPKV,  /* the vote of engine/infer/snapkv.h */
	KV_POLICY_RECENCY, /* the last ones */
	KV_POLICY_RANDOM,  /* drawn without replacement */
	KV_POLICY_STRIDE,  /* evenly spaced */
};

/* "snapkv", "recency", "random", "stride" */
const char *kv_policy_name(enum kv_policy p);
/* -1 for none of them */
int kv_policy_parse(const char *name);

/*
 * Of n_keys the `budget` that a policy other than the vote keeps, ascending, into kept: (budget). All keep the first
 * `sinks` and the last `window`; sinks + window <= budget < n_keys. seed: of the random ones.
 */
void kv_policy_select(enum kv_policy p, int n_keys, int budget, int window, int sinks, uint64_t seed, int *kept);

#endif
