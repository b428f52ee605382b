/*
 * Grids of the streaming products of one token: about a block per multiprocessor. What they cannot read in
 * whole vectors goes to the products that take any weights.
 */
#include "kernels/cuda/matvec_geometry.h"

#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"

static_assert(MATVEC_THREADS % 32 == 0 && MATVEC_BOUND % 32 == 0, "whole warps");

/* Scales of two bytes are read by words, so there is an even number of them. */
int products_streamable(const struct weight *w, const void *x)
{
	int64_t n_scales = (int64_t)w->n_expert * w->n_out * (w->n_in / (w->type == TENSOR_Q6_K ? 256 : 32));
	if (quants_has(w->type))
		return aligned16(w->data) && aligned16(x) && w->n_in % quants_row_multiple(w->type) == 0 &&
		       (n_scales % 2 == 0 || quants_side_bytes(w->type) == 4);
	int64_t bytes = w->type == TENSOR_Q8_0 ? 1 : w->type == TENSOR_F32 ? 4 : 2;
	return cuda_type_index(w->type) >= 0 && aligned16(w->data) && aligned16(x) && w->n_in * bytes % 16 == 0 &&
	       (w->type != TENSOR_Q8_0 ||
		(w->scales && (uintptr_t)w->scales % 4 == 0 && w->n_in % 32 == 0 && n_scales % 2 == 0));
}

/* With as many stages as fit; 0: not one does. */
static size_t matvec_shared_bytes(int type, int n_in, int normed, int units, const struct cuda_card *card)
{
	int64_t least = (int64_t)matvec_stages_at(type, n_in, normed) + matvec_partial_bytes(units);
	int64_t room = (int64_t)card->shared_per_block - least;
	int stages = room > 0 ? matvec_stages(type, (int)room) : 0;
	if (!stages)
		return 0;
	size_t bytes = (size_t)least + (size_t)stages * MATVEC_THREADS / 32 * (size_t)matvec_stage_bytes(type);
	/* More than half of a multiprocessor's: two CTAs on one would leave another one without. */
	return bytes < card->shared_per_sm / 2 ? card->shared_per_sm / 2 : bytes;
}

int products_matvec(struct cuda_launch *out, int first_entry, int type, int n_in, int normed, int64_t n_units,
		    int64_t n_groups, const struct cuda_card *card)
{
	if (!n_units || !n_groups)
		return CUDA_GEOMETRY_NOTHING;
	int64_t blocks = card->n_sm / n_groups;
	if (blocks > n_units)
		blocks = n_units;
	if (blocks * MATVEC_MAX_UNITS < n_units)
		blocks = (n_units + MATVEC_MAX_UNITS - 1) / MATVEC_MAX_UNITS;
	if (blocks < 1)
		blocks = 1;
	if (n_units * blocks > UINT32_MAX) /* units_of */
		return CUDA_GEOMETRY_UNSUPPORTED;
	size_t shared = matvec_shared_bytes(type, n_in, normed, (int)((n_units + blocks - 1) / blocks), card);
	if (!shared || blocks * n_groups > INT32_MAX)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, first_entry + cuda_type_index(type), (unsigned)(blocks * n_groups), 1,
			       MATVEC_THREADS, shared);
}

int geometry_norm_matmul(const struct norm_matmul_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	int64_t units = 0, rows = 0;
	int fits = aligned16(p->weight) && aligned16(p->normed);
	if (p->n_tokens != 1 || p->n_matmuls < 1 || p->n_matmuls > 3)
		return CUDA_GEOMETRY_UNSUPPORTED;
	for (int i = 0; i < p->n_matmuls; i++) {
		fits = fits && products_streamable(&p->w[i], p->x) && p->w[i].type == p->w[0].type &&
		       p->w[i].n_in == p->n;
		units += products_pairs(p->w[i].n_out);
		rows += p->w[i].n_out;
	}
	if (fits) {
		int rc = products_matvec(out, ENTRY_norm_matmul_f32, p->w[0].type, p->n, 1, units, 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_normed_any(out, ENTRY_norm_matmul_any, rows, p->n, card);
}

int geometry_norm_gated(const struct norm_gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (p->n_tokens != 1)
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (products_streamable(&p->w_gate, p->x) && products_streamable(&p->w_up, p->x) && aligned16(p->weight) &&
	    p->w_gate.type == p->w_up.type) {
		int rc = products_matvec(out, ENTRY_norm_gated_f32, p->w_gate.type, p->n, 1, p->w_gate.n_out, 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_normed_any(out, ENTRY_norm_gated_any, p->w_gate.n_out, p->n, card);
}

int geometry_matmul_gated(const struct matmul_gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (p->n_tokens != 1)
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (products_streamable(&p->w, p->x)) {
		int rc = products_matvec(out, ENTRY_matmul_gated_f32, p->w.type, p->w.n_in, 0,
					 products_pairs(p->w.n_out), 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return products_any(out, ENTRY_matmul_gated_any, p->w.n_out, 1, 0);
}
