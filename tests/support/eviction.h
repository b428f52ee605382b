/*
 * What must hold of SnapKV on any device: checks of a session on small synthetic models, shared by
 * test_snapkv (host) and test_snapkv_cuda. Each fails the running test with a line that says where.
 */
#ifndef GEMMARK_TESTS_SUPPORT_EVICTION_H
#define GEMMARK_TESTS_SUPPORT_EVICTION_H

#include "engine/infer/session.h"

enum { EVICTION_FEW_BITS = 7, EVICTION_MODELS, EVICTION_CASES = 5, EVICTION_PROMPT = 300, EVICTION_AFTER = 104 };
enum { EVICTION_CONTEXT = EVICTION_PROMPT + EVICTION_AFTER };

/*
 * E4B with one and with two global caches that others share, E2B, 31B, 26B-A4B, Qwen3, Gemma 3; Q8_0 weights. The last
 * one, EVICTION_FEW_BITS: E4B in Q4_K_M.
 */
extern const char *const eviction_models[EVICTION_MODELS];
/* Budgets, windows and pools, from one entry evicted to the window alone kept. */
extern const struct snapkv_options eviction_cases[EVICTION_CASES];

/* Writes a model's file once a process; valid until eviction_clean. */
const char *eviction_model(int model);
/* Removes the files. */
void eviction_clean(void);

/* Of a model for all that the checks do: float32 prefill, chunks of 32, one thread. */
void eviction_options(struct load_options *o, int n_gpu_layers, enum tensor_type cache);
/* A session for all that the checks do. n_gpu_layers: 0 or more than there are. */
struct session *eviction_session(const char *path, int n_gpu_layers, enum tensor_type cache);
/* Prefills the prompt under the observation of o; all logits are computed where rows is set. */
void eviction_prompt(struct session *s, const struct snapkv_options *o, float *rows);
/* Fails the test where it fails. */
struct session_eviction eviction_evict(struct session *s);

/*
 * Every case: the kept sets are those of the plain election, and 64 decoded tokens, a second chunk of
 * prefill and 16 more have the logits of masking, within `tolerance` (relative L2, float32 cache).
 */
void eviction_equals_masking(int model, int n_gpu_layers, double tolerance);
/*
 * The policies that do not vote: each KV head's entries are those of kv_policy_select, every cache and head draws its
 * own where one is drawn, the memory of the vote's budget is left, and the last tokens' logits are another's.
 */
void eviction_by_policies(int model, int n_gpu_layers);
/*
 * Every mode and fusion gives direct's bits: decode, evict, decode, prefill, decode, rewind, decode. A budget above 256
 * stays in the prompt's attention bucket.
 */
void eviction_same_in_all_modes(int model, int n_gpu_layers, enum tensor_type cache, int budget);
/* The same of a session that the caller opened and names. */
void eviction_modes(struct session *s, const char *what, int budget);
/* Prompt, eviction, and the logits of 64 decoded tokens, a chunk of 24 and 16 more: (EVICTION_AFTER, n_vocab). */
void eviction_rows(struct session *s, const struct snapkv_options *o, float *rows);
/* The device holds what the budget needs afterwards, and everything again after a reset, which gives the first bits. */
void eviction_gives_memory_back(int model, int n_gpu_layers, enum tensor_type cache);
/* An allocation that fails, whichever: nothing is evicted, nothing leaks, and the session goes on with its bits. */
void eviction_survives_no_memory(int model, int n_gpu_layers);
/* The same of a session that the caller opened, on n devices. Each thins out a cache. */
void eviction_no_memory(struct session *s, struct device *const *devices, int n);

#endif
