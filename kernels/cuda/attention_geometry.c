/* Grids of one token's attention: a block per split of the keys and group of query heads. */
#include "kernels/cuda/attention_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(ATTENTION_THREADS % 32 == 0, "whole warps");

static int split(const struct attention_split_params *p, int fused, const struct cuda_card *card,
		 struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!geometry_cache_fits(kv, p->n_heads))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int group = p->n_heads / kv->n_kv_heads;
	int groups = kv->n_kv_heads * ((group + ATTENTION_HEADS - 1) / ATTENTION_HEADS);
	size_t merge = (size_t)(ATTENTION_THREADS / 32 * ATTENTION_HEADS) * (size_t)kv->head_dim;
	size_t factors = (size_t)ATTENTION_HEADS * (size_t)p->n_splits;
	size_t shared = ((size_t)(ATTENTION_HEADS * kv->head_dim) + 2 * ATTENTION_THREADS / 32 * ATTENTION_HEADS +
			 (factors > merge ? factors : merge)) *
			sizeof(float);
	if (groups > ATTENTION_MAX_GROUPS || shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int first = fused ? ENTRY_attention_32_f32_f32 : ENTRY_attention_split_32_f32_f32;
	return geometry_launch(out, cuda_cache_entry(first, kv->head_dim, kv->type, kv->v_type), (unsigned)p->n_splits,
			       (unsigned)groups, ATTENTION_THREADS, shared);
}

int geometry_attention_combine(const struct attention_combine_params *p, const struct cuda_card *card,
			       struct cuda_launch *out)
{
	size_t shared = (size_t)p->n_splits * sizeof(float);
	if (shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_attention_combine, (unsigned)p->n_heads, 1, ATTENTION_THREADS, shared);
}

int geometry_attention_split(const struct attention_split_params *p, const struct cuda_card *card,
			     struct cuda_launch *out)
{
	return split(p, 0, card, out);
}

int geometry_attention(const struct attention_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	return split(&p->split, 1, card, out);
}
