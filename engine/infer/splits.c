#include "engine/infer/splits.h"

#include <assert.h>
#include <stdbool.h>

int splits_bucket(int n_keys)
{
	int p = 1;
	while (p * DEVICE_SPLIT_KEYS < n_keys)
		p *= 2;
	return p;
}

int splits_of(const struct forward *f, const struct model_layer *l, const struct device_splits *d, int bucket)
{
	int keys = bucket * DEVICE_SPLIT_KEYS;
	if (l->sliding && f->model->window > 0 && f->model->window < keys)
		keys = f->model->window;
	int n = (keys + d->keys - 1) / d->keys;
	return n < d->most ? n : d->most;
}

static bool same_kernels(const struct forward *f, int a, int b)
{
	for (int i = f->range.begin; i < f->range.end; i++) {
		const struct model_layer *l = &f->model->layers[i];
		struct device_splits d = device_splits(f->device, l->n_head, l->n_head_kv, l->head_dim);
		if ((splits_of(f, l, &d, a) <= d.fused) != (splits_of(f, l, &d, b) <= d.fused))
			return false;
	}
	return true;
}

int splits_same_kernels(const struct forward *f, int bucket)
{
	int least = 1;
	while (f->fusion != FUSION_NONE && !same_kernels(f, least, bucket))
		least *= 2;
	return least;
}

int splits_last_bucket(const struct forward *f, int n_keys)
{
	int last = splits_bucket(n_keys), least = 1;
	for (int i = f->range.begin; i < f->range.end; i++) {
		const struct model_layer *l = &f->model->layers[i];
		struct device_splits d = device_splits(f->device, l->n_head, l->n_head_kv, l->head_dim);
		while (splits_of(f, l, &d, least) < splits_of(f, l, &d, last))
			least *= 2;
	}
	return least;
}

int forward_bucket(const struct forward *f, const struct step *step)
{
	int n_keys = step->pos - step->evicted + 1;
	assert(n_keys <= f->cache->capacity);
	int bucket = splits_bucket(n_keys);
	return bucket < f->bucket_most ? bucket : f->bucket_most;
}
