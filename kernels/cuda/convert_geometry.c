/* Grids of the conversions around cuBLASLt. */
#include "kernels/cuda/geometry.h"

int cuda_geometry_dequant(const struct dequant_params *p, int to_bf16, const struct cuda_card *card,
			  struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, to_bf16 ? ENTRY_dequant_to_bf16 : ENTRY_dequant_to_f32,
				 (int64_t)p->n_rows * blocks_of(p->w.n_in, 8), 1);
}

int cuda_geometry_convert(const struct convert_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_convert_f32_to_bf16, (int64_t)p->n_rows * blocks_of(p->n, 4), 1);
}
