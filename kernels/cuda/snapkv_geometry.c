/* Grids of SnapKV's kernels. */
#include "kernels/cuda/snapkv_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(SNAPKV_THREADS % 32 == 0 && SNAPKV_SELECT_THREADS % 32 == 0, "whole warps");

static int vote_ok(const struct kv *kv, const float *q, int n_heads, int window, int n_keys)
{
	return geometry_cache_fits(kv, n_heads) && kv->ring == 0 && aligned16(q) && window > 0 && window <= n_keys &&
	       n_keys <= kv->capacity;
}

int geometry_snapkv_softmax(const struct snapkv_softmax_params *p, const struct cuda_card *card,
			    struct cuda_launch *out)
{
	(void)card;
	const struct kv *kv = &p->kv;
	if (!vote_ok(kv, p->q, p->n_heads, p->window, p->n_keys) || p->split_len < 1 ||
	    (int64_t)p->split_len * p->n_splits < p->n_keys)
		return CUDA_GEOMETRY_UNSUPPORTED;
	unsigned tiles = blocks_of((int64_t)p->window * (p->n_heads / kv->n_kv_heads), SNAPKV_ROWS);
	return geometry_launch(out, ENTRY_snapkv_softmax, (unsigned)p->n_splits, tiles * (unsigned)kv->n_kv_heads,
			       SNAPKV_THREADS, 0);
}

int geometry_snapkv_vote(const struct snapkv_vote_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	const struct kv *kv = &p->kv;
	if (!vote_ok(kv, p->q, p->n_heads, p->window, p->n_keys))
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_snapkv_vote, blocks_of(p->n_keys - p->window, SNAPKV_KEYS),
			       (unsigned)kv->n_kv_heads, SNAPKV_THREADS, 0);
}

int geometry_snapkv_select(const struct snapkv_select_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	if (p->window > p->budget || p->budget >= p->n_keys || p->pool % 2 == 0)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_snapkv_select, (unsigned)p->n_kv_heads, 1, SNAPKV_SELECT_THREADS, 0);
}

int geometry_snapkv_compact(const struct snapkv_compact_params *p, const struct cuda_card *card,
			    struct cuda_launch *out)
{
	(void)card;
	const struct kv *from = &p->from, *to = &p->to;
	if (!geometry_cache_fits(from, from->n_kv_heads) || !geometry_cache_fits(to, from->n_kv_heads) || from->ring ||
	    to->ring || from->type != to->type || from->v_type != to->v_type || p->n_kept > to->capacity)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_snapkv_compact, blocks_of(p->n_kept, SNAPKV_THREADS / 32),
			       (unsigned)from->n_kv_heads, SNAPKV_THREADS, 0);
}
