/* Grids of the tiled products and of those that take any weights. */
#include "kernels/cuda/matmul_geometry.h"

#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"

static_assert(ANY_THREADS % 32 == 0, "a warp a row");
static_assert(TILE % 4 == 0 && TILE * TILE == 16 * TILE_THREADS, "4 by 4 outputs a thread");

int products_any(struct cuda_launch *out, int entry, int64_t n_rows, int64_t n_groups, size_t shared)
{
	return geometry_launch(out, entry, blocks_of(n_rows, ANY_THREADS / 32), (unsigned)n_groups, ANY_THREADS,
			       shared);
}

int products_normed_any(struct cuda_launch *out, int entry, int64_t n_rows, int n, const struct cuda_card *card)
{
	size_t shared = (32 + (size_t)n) * sizeof(float);
	return shared > card->shared_per_block ? CUDA_GEOMETRY_UNSUPPORTED
					       : products_any(out, entry, n_rows, 1, shared);
}

int geometry_matmul(const struct matmul_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (p->n_tokens > 1)
		return geometry_launch(out, ENTRY_matmul_tiled, blocks_of(p->w.n_out, TILE),
				       blocks_of(p->n_tokens, TILE), TILE_THREADS, 0);
	if (!p->n_tokens)
		return CUDA_GEOMETRY_NOTHING;
	if (products_streamable(&p->w, p->x)) {
		int rc = products_matvec(out, ENTRY_matmul_f32, p->w.type, p->w.n_in, 0, products_pairs(p->w.n_out), 1,
					 card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_any(out, ENTRY_matmul_any, p->w.n_out, 1, 0);
}
