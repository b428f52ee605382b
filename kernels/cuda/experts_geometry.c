/* Grids of the experts' products, their routing and their sum. */
#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"

int geometry_matmul_experts(const struct matmul_experts_params *p, const struct cuda_card *card,
			    struct cuda_launch *out)
{
	int64_t n_pairs = (int64_t)p->n_tokens * p->n_used;
	if (products_streamable(&p->w, p->x)) {
		int rc = products_matvec(out, ENTRY_matmul_experts_f32, p->w.type, p->w.n_in, 0,
					 products_pairs(p->w.n_out), n_pairs, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_any(out, ENTRY_matmul_experts_any, p->w.n_out, n_pairs, 0);
}

int geometry_experts_gated(const struct experts_gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	int64_t n_pairs = (int64_t)p->n_tokens * p->n_used;
	if (products_streamable(&p->w, p->x)) {
		int rc = products_matvec(out, ENTRY_experts_gated_f32, p->w.type, p->w.n_in, 0, p->w.n_out / 2, n_pairs,
					 card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_any(out, ENTRY_experts_gated_any, p->w.n_out / 2, n_pairs, 0);
}

int geometry_moe_route(const struct moe_route_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_moe_route, (unsigned)p->n_tokens, 1, 32,
			       (size_t)p->n_expert * (sizeof(float) + 1));
}

int geometry_moe_sum(const struct moe_sum_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_moe_sum, p->n, p->n_tokens);
}
