/* Grids of the experts' products of a prompt: as many tiles of pairs as there may be at most. */
#include "kernels/cuda/experts_mma_geometry.h"

#include "kernels/cuda/geometry.h"

static_assert(MMA_THREADS == MMA_COLUMNS && MMA_COLUMNS / 32 == MMA_THREADS / 32,
	      "a scale's copy a thread, a warp for 32");

/* n_columns: of the grid, each of `each` */
static int launch(struct cuda_launch *out, int q8_entry, int bf16_entry, const struct weight *w, int n_pairs,
		  int n_columns, int each, const struct cuda_card *card)
{
	int q8 = w->type == TENSOR_Q8_0;
	size_t shared = (size_t)mma_stage_bytes(q8) * MMA_STAGES;
	if ((q8 && !w->scales) || (!q8 && w->type != TENSOR_BF16) || w->n_in % MMA_DEPTH || n_columns % 2 ||
	    !aligned16(w->data) || shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, q8 ? q8_entry : bf16_entry, blocks_of(n_columns, each),
			       (unsigned)mma_tiles_most(n_pairs, w->n_expert), MMA_THREADS, shared);
}

int geometry_prompt_experts_gated(const struct prompt_experts_gated_params *p, const struct cuda_card *card,
				  struct cuda_launch *out)
{
	return launch(out, ENTRY_prompt_experts_gated_q8_0, ENTRY_prompt_experts_gated_bf16, &p->w,
		      p->n_tokens * p->n_used, p->w.n_out / 2, MMA_COLUMNS / 2, card);
}

int geometry_prompt_experts_matmul(const struct prompt_experts_matmul_params *p, const struct cuda_card *card,
				   struct cuda_launch *out)
{
	return launch(out, ENTRY_prompt_experts_matmul_q8_0, ENTRY_prompt_experts_matmul_bf16, &p->w, p->n_pairs,
		      p->w.n_out, MMA_COLUMNS, card);
}
