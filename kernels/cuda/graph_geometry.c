/* Grids of the kernels that change their graph: one block. */
#include "kernels/cuda/graph_geometry.h"

#include "kernels/cuda/geometry.h"

int geometry_patch(const struct patch_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)p, (void)card;
	return geometry_launch(out, ENTRY_patch, 1, 1, PATCH_THREADS, 0);
}

int geometry_advance(const struct advance_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	int entry = p->how == LOOP_WHILE      ? ENTRY_advance_while
		    : p->how == LOOP_RELAUNCH ? ENTRY_advance_relaunch
					      : ENTRY_advance;
	(void)card;
	return geometry_launch(out, entry, 1, 1, ADVANCE_THREADS, 0);
}
