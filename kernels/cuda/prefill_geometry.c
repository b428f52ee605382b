/* Grid of a prompt's attention. */
#include "kernels/cuda/prefill_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(PREFILL_THREADS % 32 == 0 && 32 % (PREFILL_THREADS / 32) == 0, "each warp has as many rows");
static_assert(PREFILL_KEYS % PREFILL_VALUES == 0 && PREFILL_VALUES % 2 == 0 && PREFILL_SLICE % 4 == 0,
	      "tiles are whole slices");
static_assert((PREFILL_SLICE + PREFILL_PAD) % 4 == 0 && (PREFILL_KEYS + PREFILL_PAD) % 4 == 0, "rows of whole vectors");

int geometry_attention_prefill(const struct attention_prefill_params *p, const struct cuda_card *card,
			       struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!geometry_cache_fits(kv, p->n_heads) || !aligned16(p->q))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int group = p->n_heads / kv->n_kv_heads, rows = prefill_rows(kv->head_dim);
	size_t shared = (size_t)prefill_shared_bytes(kv->head_dim);
	if (group > rows || shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_attention_prefill_32 + cuda_head_dim_index(kv->head_dim),
			       blocks_of(p->n_tokens, rows / group), (unsigned)kv->n_kv_heads, PREFILL_THREADS, shared);
}
