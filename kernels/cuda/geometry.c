/*
 * Which entry runs a kernel on given params, and on which grid: asks the kernel's geometry, which is
 * in a file beside it.
 */
#include "kernels/cuda/geometry.h"

int geometry_launch(struct cuda_launch *out, int entry, unsigned x, unsigned y, unsigned threads, size_t shared)
{
	if (!x || !y)
		return CUDA_GEOMETRY_NOTHING;
	if (x > INT32_MAX || y > 65535)
		return CUDA_GEOMETRY_UNSUPPORTED;
	*out = (struct cuda_launch){
		.grid = {x, y, 1},
		.block = {threads, 1, 1},
		.shared_bytes = (unsigned)shared,
		.entry = cuda_entries[entry].name,
		.entry_id = entry,
		.pdl = 1,
	};
	return CUDA_GEOMETRY_OK;
}

int geometry_elements(struct cuda_launch *out, int entry, int64_t n, int64_t rows)
{
	return geometry_launch(out, entry, blocks_of(n, 256), (unsigned)rows, 256, 0);
}

int geometry_cache_fits(const struct kv *kv, int n_heads)
{
	return kv->n_kv_heads > 0 && n_heads % kv->n_kv_heads == 0 && cuda_head_dim_index(kv->head_dim) >= 0 &&
	       cuda_cache_type_index(kv->type) >= 0 && cuda_cache_type_index(kv->v_type) >= 0 && aligned16(kv->k) &&
	       aligned16(kv->v);
}

int cuda_geometry(enum kernel k, const void *params, const struct cuda_card *card, struct cuda_launch *out)
{
	switch (k) {
#define X(name, positional) \
	case KERNEL_##name: \
		return geometry_##name(params, card, out);
		KERNEL_LIST(X)
#undef X
	case KERNEL_COUNT:
		break;
	}
	return CUDA_GEOMETRY_UNSUPPORTED;
}
