/* Grids of the experts' products of a prompt: as many tiles of pairs as there may be at most. */
#include "kernels/cuda/experts_mma_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(MMA_THREADS == MMA_COLUMNS && MMA_COLUMNS / 32 == MMA_THREADS / 32,
	      "a row's scales a thread, a warp for 32");

/* first_entry: that of F32. n_columns: of the grid, each of `each` */
static int launch(struct cuda_launch *out, int first_entry, const struct weight *w, int n_pairs, int n_columns,
		  int each, const struct cuda_card *card)
{
	int type = cuda_type_index(w->type);
	int64_t rows = (int64_t)w->n_expert * w->n_out;
	/* Blocks have numbers of 32 bits. */
	if ((rows > n_pairs ? rows : n_pairs) * (w->n_in / QUANTS_BLOCK) > UINT32_MAX)
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (type < 0 || (w->type == TENSOR_Q8_0 && !w->scales) || w->n_in % MMA_DEPTH ||
	    (mma_in_parts(w->type) && w->n_in % MMA_PARTS) || n_columns % 2 || !aligned16(w->data) ||
	    (size_t)mma_shared_bytes(w->type) > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, first_entry + type, blocks_of(n_columns, each),
			       (unsigned)mma_tiles_most(n_pairs, w->n_expert), MMA_THREADS,
			       (size_t)mma_shared_bytes(w->type));
}

int geometry_prompt_experts_gated(const struct prompt_experts_gated_params *p, const struct cuda_card *card,
				  struct cuda_launch *out)
{
	return launch(out, ENTRY_prompt_experts_gated_f32, &p->w, p->n_tokens * p->n_used, p->w.n_out / 2,
		      MMA_COLUMNS / 2, card);
}

int geometry_prompt_experts_matmul(const struct prompt_experts_matmul_params *p, const struct cuda_card *card,
				   struct cuda_launch *out)
{
	return launch(out, ENTRY_prompt_experts_matmul_f32, &p->w, p->n_pairs, p->w.n_out, MMA_COLUMNS, card);
}
