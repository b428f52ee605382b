/* cuda_persistent_plan of a card with so many multiprocessors and that memory, null: one that was not measured, for
 * what the emulated kernel is compiled for. */
#ifndef GEMMARK_TESTS_EMULATED_PLAN_H
#define GEMMARK_TESTS_EMULATED_PLAN_H

#include "kernels/cuda/cuda_kernels.h"
#include "tests/emulated/emulation.h"

static size_t emulated_card_bytes = EMULATED_SHARED_BYTES; /* of shared memory that a block may have there */

static inline const char *emulated_plan(struct persistent_program *g, struct persistent_phase *phases,
					struct persistent_copy *copies, int n_sm, const struct cuda_memory *memory)
{
	const struct cuda_card card = {.n_sm = n_sm,
				       .compute_capability = 90,
				       .shared_per_sm = EMULATED_SHARED_BYTES,
				       .shared_per_block = emulated_card_bytes,
				       .memory = memory ? *memory : (struct cuda_memory){0}};
	g->stream_chunks = EMULATED_STREAM_CHUNKS;
	g->slice_chunks = EMULATED_SLICE_CHUNKS;
#ifdef FAR_WAITS
	g->far_waits = 1;
#endif
	return cuda_persistent_plan(g, phases, copies, &card);
}

#endif
