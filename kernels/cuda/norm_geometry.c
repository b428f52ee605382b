/* Grids of RMSNorm: a block a row. */
#include "kernels/cuda/norm_geometry.h"

#include "kernels/cuda/geometry.h"

/* A thread holds NORM_HELD vectors of four. */
static unsigned norm_threads(int n)
{
	unsigned vecs = blocks_of(n, 4);
	unsigned least = whole_warps((vecs + NORM_HELD - 1) / NORM_HELD), most = whole_warps(vecs);
	unsigned threads = most < 256 ? most : 256;
	if (threads < least)
		threads = least;
	return threads < 1024 ? threads : 1024;
}

int geometry_rms_norm(const struct rms_norm_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_rms_norm, (unsigned)p->n_rows, 1, norm_threads(p->n), 0);
}

int geometry_norm_add(const struct norm_add_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_norm_add, (unsigned)p->n_rows, 1, norm_threads(p->n), 0);
}
