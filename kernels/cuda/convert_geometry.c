/* Grids of the conversions around cuBLASLt. */
#include "kernels/cuda/geometry.h"

int geometry_dequant(const struct dequant_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, p->y_type == TENSOR_BF16 ? ENTRY_dequant_to_bf16 : ENTRY_dequant_to_f32,
				 (int64_t)p->n_rows * blocks_of(p->w.n_in, 8), 1);
}

int geometry_to_bf16(const struct to_bf16_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_to_bf16, (int64_t)p->n_rows * blocks_of(p->n, 4), 1);
}
