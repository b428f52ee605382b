/* Grids of the conversions around cuBLASLt. */
#include "kernels/cuda/geometry.h"

int geometry_dequant(const struct dequant_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, p->y_type == TENSOR_F16 ? ENTRY_dequant_to_f16 : ENTRY_dequant_to_f32,
				 (int64_t)p->n_rows * blocks_of(p->w.n_in, 8), 1);
}

int geometry_to_f16(const struct to_f16_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_to_f16, (unsigned)p->n_rows, 1, 256, 0);
}

int geometry_scale_rows(const struct scale_rows_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_scale_rows, p->n, p->n_rows < 65535 ? p->n_rows : 65535);
}
