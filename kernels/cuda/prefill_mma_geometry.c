/* Grid of a prompt's attention on tensor cores: a block per block of a KV head's query rows. */
#include "kernels/cuda/prefill_mma_geometry.h"

#include "kernels/cuda/geometry.h"

/* Rows that the busiest multiprocessor goes through, in 1/64 of a block of all warps' rows; keys are read twice as
 * often for half as many. */
static int64_t cost(int64_t rows, int n_kv_heads, int block_rows, int key_parts, int n_sm)
{
	int64_t blocks = (rows + block_rows - 1) / block_rows * n_kv_heads;
	return (blocks + n_sm - 1) / n_sm * (key_parts > 1 ? 37 : 64);
}

static int fits(int head_dim, int key_parts, const struct cuda_card *card)
{
	int cc = card->compute_capability;
	return prefill_mma_possible(head_dim, key_parts, cc) &&
	       (size_t)prefill_mma_shared_bytes(head_dim, key_parts, cc) <= card->shared_per_block;
}

int cuda_geometry_attention_mma(const struct attention_prefill_params *p, const struct cuda_card *card,
				struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!geometry_cache_fits(kv, p->n_heads) || !aligned16(p->q) || !aligned16(p->y) || !(p->scale > 0))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int hd = kv->head_dim, entry = cuda_mma_entry(ENTRY_attention_mma_32_f16_f16, hd, kv->type, kv->v_type);
	int64_t rows = (int64_t)p->n_tokens * (p->n_heads / kv->n_kv_heads);
	if (entry < 0 || rows > INT32_MAX / 2)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int64_t whole = cost(rows, kv->n_kv_heads, prefill_mma_rows(hd, 1), 1, card->n_sm);
	int64_t half = cost(rows, kv->n_kv_heads, prefill_mma_rows(hd, 2), 2, card->n_sm);
	int key_parts = half < whole && fits(hd, 2, card) ? 2 : 1;
	if (!fits(hd, key_parts, card))
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (key_parts > 1)
		entry = cuda_mma_entry(ENTRY_attention_mma_half_32_f16_f16, hd, kv->type, kv->v_type);
	unsigned blocks = blocks_of(rows, prefill_mma_rows(hd, key_parts)) * (unsigned)kv->n_kv_heads;
	return geometry_launch(out, entry, blocks, 1, PREFILL_MMA_THREADS,
			       (size_t)prefill_mma_shared_bytes(hd, key_parts, card->compute_capability));
}
