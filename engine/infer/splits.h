/* In how many splits a token's keys are attended, layer by layer. */
#ifndef GEMMARK_ENGINE_INFER_SPLITS_H
#define GEMMARK_ENGINE_INFER_SPLITS_H

#include "engine/infer/forward.h"

/* How many times DEVICE_SPLIT_KEYS keys are n_keys at most, a power of two. */
int splits_bucket(int n_keys);
/* The splits of the layer's keys for a token of that bucket. d: the device's for the layer's shape. */
int splits_of(const struct forward *f, const struct model_layer *l, const struct device_splits *d, int bucket);
/*
 * The least bucket in which the same kernels attend each layer of the range as in that one: between them only the
 * number of splits, and with it grids, are others.
 */
int splits_same_kernels(const struct forward *f, int bucket);
/* The least bucket in which each layer of the range has as many splits as in that of n_keys. */
int splits_last_bucket(const struct forward *f, int n_keys);

#endif
