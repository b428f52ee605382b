/* Grids of RoPE: a block per token and head, a thread per pair. */
#include "kernels/cuda/geometry.h"

static unsigned pair_threads(int head_dim)
{
	unsigned threads = whole_warps(head_dim / 2);
	return threads < 256 ? threads : 256;
}

int geometry_rope(const struct rope_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_rope, (unsigned)p->n_tokens * (unsigned)p->n_heads, 1,
			       pair_threads(p->head_dim), 0);
}

int geometry_qkv_prepare(const struct qkv_prepare_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	if (p->head_dim > 2 * 256)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_qkv_prepare,
			       (unsigned)p->n_tokens * (unsigned)(p->n_heads + (p->k ? p->kv.n_kv_heads : 0)), 1,
			       pair_threads(p->head_dim), 0);
}
