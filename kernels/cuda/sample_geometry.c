/* Grid of the kernel that chooses a token. */
#include "kernels/cuda/sample_geometry.h"

#include "kernels/cuda/geometry.h"
#include "kernels/params_sampling.h"

/* CTAs wait for each other, so that each has a multiprocessor: what ran there before ends, what follows comes later. */
int geometry_sample(const struct sample_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	const int most = card->n_sm < SAMPLE_CTAS ? card->n_sm : SAMPLE_CTAS;

	if (p->n < 1 || p->n > SAMPLING_MOST)
		return CUDA_GEOMETRY_UNSUPPORTED;
	const int slice = sample_slice(p->n, most);
	return geometry_launch(out, ENTRY_sample, blocks_of(p->n, slice), 1, SAMPLE_THREADS, 0);
}
