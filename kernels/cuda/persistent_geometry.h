/* The shape of the kernel of a whole token, and its shared memory: what kernel and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H

#include "kernels/cuda/matvec_geometry.h"
#include "kernels/cuda/shared.h"
#include "kernels/params.h"

enum {
	PERSISTENT_WARPS = 8, /* that compute; a pair of them has its ring of stages, and one more fills them all */
	PERSISTENT_CONSUMERS = PERSISTENT_WARPS * 32,
	PERSISTENT_THREADS = PERSISTENT_CONSUMERS + 32,
	PERSISTENT_PAIRS = PERSISTENT_WARPS / 2,
	PERSISTENT_CHUNKS = 5, /* of 512 bytes of two rows: a warp's part of a stage */
	PERSISTENT_ROW_BYTES = PERSISTENT_CHUNKS * 512,
	PERSISTENT_SCALE_BYTES = PERSISTENT_CHUNKS * 32 + 16, /* from an address that is not aligned */
	PERSISTENT_PART_BYTES = 2 * (PERSISTENT_ROW_BYTES + PERSISTENT_SCALE_BYTES),
	PERSISTENT_STAGE_BYTES = 2 * PERSISTENT_PART_BYTES,
	PERSISTENT_MIN_STAGES = 2,
	PERSISTENT_MAX_STAGES = 6,
	PERSISTENT_VECS = 6,        /* of four elements of the stream that a thread has at most */
	PERSISTENT_HEADS = 4,       /* query heads of one KV head that are attended together */
	PERSISTENT_SPLIT_KEYS = 32, /* that a split is worth */
	PERSISTENT_SCRATCH = 64,    /* floats of reductions */
};

/* Queries, the token's own key and value, sums of the warps, and their greatest scores and sums of probabilities. */
SHARED_INLINE int persistent_attention_bytes(int head_dim)
{
	return (PERSISTENT_HEADS + 2 + PERSISTENT_WARPS) * head_dim * 4 + PERSISTENT_WARPS * PERSISTENT_HEADS * 8;
}

/* Offsets in shared memory. The stages come first. */
struct persistent_layout {
	int x;       /* activations of a product, or what attention needs */
	int h;       /* (n_embd): the residual stream */
	int partial; /* sums of a warp's visits to a unit */
	int scratch;
	int barriers; /* (PAIRS, MAX_STAGES) full ones, then as many empty ones */
	int bytes;
};

SHARED_INLINE struct persistent_layout persistent_layout_of(const struct persistent_program *g)
{
	struct persistent_layout l;
	l.x = g->n_stages * PERSISTENT_PAIRS * PERSISTENT_STAGE_BYTES;
	l.h = l.x + (g->x_bytes + 15) / 16 * 16;
	l.partial = l.h + g->n_embd * 4;
	l.scratch = l.partial + (g->most_units + PERSISTENT_WARPS + 1) / 2 * 2 * 8;
	l.barriers = l.scratch + PERSISTENT_SCRATCH * 4;
	l.bytes = l.barriers + 2 * PERSISTENT_PAIRS * PERSISTENT_MAX_STAGES * 8;
	return l;
}

#endif
