/*
 * Why logits are NaN, asked after the fact: the first layer whose cache does not hold finite numbers, and whether
 * they were beyond what its type can hold (65504 in f16, 127 times that in q8_0). Nothing here runs before something
 * went wrong.
 */
#ifndef GEMMARK_ENGINE_INFER_KV_FAULT_H
#define GEMMARK_ENGINE_INFER_KV_FAULT_H

#include <stdbool.h>

#include "engine/infer/kv_cache.h"

struct kv_fault {
	int layer;   /* that wrote the entries; -1: all of them are finite */
	bool values; /* of V, else of K */
	bool beyond; /* infinite in a type of smaller range than float32; else NaN, or beyond float32 */
	bool narrow; /* some cache has such a type */
	enum tensor_type type;
};

/*
 * Of the n caches of one model, what they hold at their position; the layers in their order, K before V. Reads all
 * of it from the devices. A ring may have lost what was wrong first.
 */
int kv_fault_find(struct kv_cache *const *caches, int n, struct kv_fault *out, struct error *err);

/*
 * Behind `code`, the failure that err tells of: adds to its line what the caches say, and what to choose instead.
 * Returns code.
 */
int kv_fault_explain(struct kv_cache *const *caches, int n, int code, struct error *err);

#endif
