/* Grids of one token's attention: a block per split of the keys and group of query heads. */
#include "kernels/cuda/attention_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(ATTENTION_THREADS % 32 == 0, "whole warps");

static int groups_of(int n_heads, int n_kv_heads)
{
	int group = n_heads / n_kv_heads;
	return n_kv_heads * ((group + ATTENTION_HEADS - 1) / ATTENTION_HEADS);
}

int cuda_attention_splits(int n_heads, int n_kv_heads, int head_dim, int k_type, int v_type,
			  const struct cuda_card *card)
{
	int per_sm = attention_ctas(head_dim, k_type == TENSOR_Q8_0 && v_type == TENSOR_Q8_0);
	int most = card->n_sm * per_sm / groups_of(n_heads, n_kv_heads);
	return most < 1 ? 1 : most > ATTENTION_MAX_SPLITS ? ATTENTION_MAX_SPLITS : most;
}

static int split(const struct attention_split_params *p, int fused, struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!geometry_cache_fits(kv, p->n_heads) || !aligned16(p->q) || !aligned16(p->partial))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int groups = groups_of(p->n_heads, kv->n_kv_heads);
	if (groups > ATTENTION_MAX_GROUPS || p->split_len < 1)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int first = fused ? ENTRY_attention_32_f32_f32 : ENTRY_attention_split_32_f32_f32;
	return geometry_launch(out, cuda_cache_entry(first, kv->head_dim, kv->type, kv->v_type), (unsigned)p->n_splits,
			       (unsigned)groups, ATTENTION_THREADS,
			       (size_t)attention_shared_bytes(kv->head_dim, kv->type, kv->v_type));
}

int geometry_attention_combine(const struct attention_combine_params *p, const struct cuda_card *card,
			       struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_attention_combine, blocks_of(p->head_dim, ATTENTION_COLUMNS),
			       (unsigned)p->n_heads, ATTENTION_THREADS, 0);
}

int geometry_attention_split(const struct attention_split_params *p, const struct cuda_card *card,
			     struct cuda_launch *out)
{
	(void)card;
	return split(p, 0, out);
}

int geometry_attention(const struct attention_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return aligned16(p->y) ? split(&p->split, 1, out) : CUDA_GEOMETRY_UNSUPPORTED;
}
