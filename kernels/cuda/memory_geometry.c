/* Grids of what measures a card's memory: so many blocks on every multiprocessor. */
#include "kernels/cuda/memory_geometry.h"

#include "kernels/cuda/geometry.h"

int cuda_memory_read_launch(const struct cuda_card *card, struct cuda_launch *out)
{
	return geometry_launch(out, ENTRY_memory_read, (unsigned)(card->n_sm * MEMORY_PER_SM), 1, MEMORY_THREADS, 0);
}

int cuda_memory_chain_launch(const struct cuda_card *card, struct cuda_launch *out)
{
	return geometry_launch(out, ENTRY_memory_chain, (unsigned)card->n_sm, 1, 32, 0);
}
