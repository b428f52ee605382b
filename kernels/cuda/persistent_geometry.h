/* The shape of the kernel of a whole token, and its shared memory: what kernel and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H

#include "kernels/cuda/element_geometry.h"
#include "kernels/cuda/shared.h"
#include "kernels/params.h"
#include "kernels/tiles.h"

enum {
	PERSISTENT_WARPS = 10, /* that compute; one more copies weights, one watches */
	PERSISTENT_CONSUMERS = PERSISTENT_WARPS * 32,
	PERSISTENT_COPIER = PERSISTENT_CONSUMERS,       /* the thread that fills stages, of a warp of its own */
	PERSISTENT_WATCHER = PERSISTENT_CONSUMERS + 32, /* and one that ends a kernel which waits in vain */
	PERSISTENT_THREADS = PERSISTENT_CONSUMERS + 64,
	PERSISTENT_CHUNKS = 3, /* most of a job that a warp has: number w, w + WARPS .. are warp w's */
	PERSISTENT_PIECE_BYTES = 9216,
	PERSISTENT_SUMS_BYTES = 64,  /* of a chunk of activations, beside it: sums by blocks */
	PERSISTENT_PIECE_SHARES = 4, /* of a piece, all of which are given back: by as many warps as take it */
	PERSISTENT_GROUP = 10,       /* jobs whose sums are left together */
	PERSISTENT_SUMS = PERSISTENT_WARPS * TILE_ROWS + 16, /* of a job; apart in the banks from the next one's */
	PERSISTENT_MIN_STAGES = 4,
	PERSISTENT_MAX_STAGES = 24,
	PERSISTENT_AHEAD = 48,      /* pieces of a block that the L2 gets at most while the ring is full */
	PERSISTENT_HEADS = 4,       /* query heads of one KV head that are attended together */
	PERSISTENT_SPLIT_KEYS = 32, /* that a split is worth */
	PERSISTENT_SCRATCH = 112,   /* floats of reductions, and who attends what */
	PERSISTENT_PHASE_BYTES = 256,
	PERSISTENT_PHASES = 8,    /* that a block knows of at once */
	PERSISTENT_EXPERTS = 128, /* of which a warp chooses */
	PERSISTENT_CHOSEN = 16,   /* experts of a token at most */
};

/* Units that are copied at once: a piece of any types is of about as many bytes. */
SHARED_CONSTANT int persistent_piece_units(int type)
{
	const int units = PERSISTENT_PIECE_BYTES / tile_unit_bytes(type);
	return units < 1 ? 1 : units < PERSISTENT_PIECE_SHARES ? units : PERSISTENT_PIECE_SHARES;
}

SHARED_INLINE int persistent_pieces(int type, int n_chunks)
{
	const int units = persistent_piece_units(type);
	return (n_chunks + units - 1) / units;
}

SHARED_INLINE int persistent_job_pieces(int job_bytes, int piece_bytes)
{
	return (job_bytes + piece_bytes - 1) / piece_bytes;
}

/* ---- shared memory ---- */

/* What attention has of partial: sums of the warps, their greatest scores and sums of probabilities. */
SHARED_INLINE int persistent_attended_bytes(int head_dim)
{
	return PERSISTENT_WARPS * head_dim * 4 + PERSISTENT_WARPS * 8;
}

/* Offsets in shared memory. The stages come first. */
struct persistent_layout {
	int x;       /* activations of a product, a warp's behind the other's */
	int h;       /* (n_embd in whole chunks): the residual stream */
	int partial; /* (2, GROUP, SUMS): sums of warps; or what attention has of it */
	int scratch;
	int chosen;   /* (CHOSEN) numbers of experts, and their weights */
	int angles;   /* (cos, sin) of each kind of layers, (head_dim / 2) */
	int program;  /* a copy of it */
	int phases;   /* (PHASES): the current one and the next ones */
	int barriers; /* MAX_STAGES full ones, then as many empty ones; the same of PHASES; one when all is done */
	int bytes;
};

SHARED_INLINE struct persistent_layout persistent_layout_of(const struct persistent_program *g)
{
	struct persistent_layout l;
	l.x = g->n_stages * g->stage_bytes;
	l.h = l.x + PERSISTENT_WARPS * g->corner_bytes;
	l.partial = l.h + tile_chunks(g->n_embd) * TILE_CHUNK * 4;
	l.scratch = l.partial + g->sums_bytes;
	l.chosen = l.scratch + PERSISTENT_SCRATCH * 4;
	l.angles = l.chosen + PERSISTENT_CHOSEN * 8;
	l.program = l.angles + g->angles_bytes;
	l.phases = l.program + (int)(sizeof(struct persistent_program) + 15) / 16 * 16;
	l.barriers = l.phases + PERSISTENT_PHASES * PERSISTENT_PHASE_BYTES;
	l.bytes = l.barriers + (2 * PERSISTENT_MAX_STAGES + 2 * PERSISTENT_PHASES + 1) * 8;
	return l;
}

#endif
