/*
 * SnapKV: when a prompt has been prefilled, its last tokens vote on which keys of the
 * rest matter; the cache keeps the winners and those last tokens, and gives the other memory back.
 * Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation".
 *
 * For each layer that owns a global cache, and each of its KV heads: a key's score is the sum of its
 * softmax probabilities over the queries of the last `window` tokens, of all query heads that read this KV
 * head, in this layer and in the layers that share its cache. Scores are max-pooled along the keys,
 * the best ones stay (ties: the earlier key), in their order. Sliding layers' rings are left alone.
 *
 * The queries are kept while the prompt's end is prefilled: the forward pass hands over those of each
 * global layer. All work is kernels on the caches' devices, without floating-point atomics: the same prompt
 * keeps the same keys, every time.
 */
#ifndef GEMMARK_ENGINE_INFER_SNAPKV_H
#define GEMMARK_ENGINE_INFER_SNAPKV_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/device/ops.h"
#include "engine/infer/kv_cache.h"
#include "engine/infer/kv_policy.h"
#include "engine/model/model.h"

enum {
	SNAPKV_WINDOW = 64, /* where the option does not say */
	SNAPKV_POOL = 7,
	SNAPKV_MAX_BUDGET = 1 << 24,
	SNAPKV_MAX_WINDOW = 1024,
	SNAPKV_MAX_POOL = 255,
	SNAPKV_NAME_BYTES = 64,
};

struct snapkv_options {
	int budget; /* entries kept of a prompt, the window's included; 0: off */
	int window; /* last tokens of the prompt, which vote and stay */
	int pool;   /* width of the pooling, odd; 1: none */
	/* What there is beside the vote, to compare it with; no option's text has these. */
	enum kv_policy policy;
	int sinks;     /* other policies': of kv_policy_select; sinks + window <= budget */
	uint32_t seed; /* likewise: each layer and KV head draws its own */
};

/* "off", or BUDGET[,window=W][,pool=P]. ERROR_INPUT says what is wrong and what to write. */
int snapkv_parse(const char *text, struct snapkv_options *out, struct error *err);
/* "off", "1024,window=64,pool=7": equal options have equal names, and a name can be parsed. */
void snapkv_name(const struct snapkv_options *o, char out[SNAPKV_NAME_BYTES]);

/* One prompt's observation, on a device with a range of the layers. Zeroed: none. */
struct snapkv {
	struct snapkv_options options;
	const struct model *model;
	int begin; /* layers [begin, end_layer) */
	int end_layer;
	struct device *device;
	int end;        /* position behind the prompt */
	int seen;       /* tokens of the window, from its first, whose queries are here */
	float *queries; /* layer after layer: (window, n_head, head_dim) of those that read a global cache; null: none
			 */
	float **layers; /* (n_layer): each layer's part, null where it is not observed; null: nothing to do */
};

/*
 * Gets ready for a prompt that ends at position `end`. Where it is within the budget there is nothing to
 * do, now or later. Allocates the queries; everything pointed to outlives s. s was zeroed or closed.
 */
int snapkv_open(struct snapkv *s, const struct snapkv_options *o, const struct model *m, const struct model_range *r,
		struct device *d, int end, struct error *err);
/* Also valid on a zeroed struct, which s is afterwards. */
void snapkv_close(struct snapkv *s);
/* Whether queries are wanted. */
bool snapkv_observes(const struct snapkv *s);

/* Of a chunk of n tokens at pos, how many rows at its end belong to the window or lie behind it. */
int snapkv_rows(const struct snapkv *s, int pos, int n);
/* Enqueues the copy of a layer's queries q (n, n_head, head_dim), positions pos .. pos + n, as far as wanted. */
void snapkv_take(struct snapkv *s, struct emitter *e, int layer, int pos, int n, const float *q);
/* That chunk went through all layers. */
void snapkv_advance(struct snapkv *s, int pos, int n);
/* Positions from pos on will be written again. */
void snapkv_rewind(struct snapkv *s, int pos);

/*
 * The vote and the eviction. s and c: of each of the model's n parts, in the order of the layers. Where layers of both
 * parts read a cache, each part votes with the keys that it holds itself, the later one on top of the earlier one's
 * votes. Under another policy nobody votes, and the same is kept, moved and given back. The caches stand at the
 * prompt's end, all of whose window was observed; ERROR_INPUT where not. Returns when the work is done; after a failure
 * the caches are as they were.
 */
int snapkv_evict(struct snapkv *s, struct kv_cache *const *c, int n, struct error *err);

#endif
