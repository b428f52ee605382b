/* The shape of the kernel of a whole token, and its shared memory: what kernel and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PERSISTENT_GEOMETRY_H

#include "kernels/cuda/element_geometry.h"
#include "kernels/cuda/matvec_geometry.h"
#include "kernels/cuda/shared.h"
#include "kernels/params.h"

enum {
	PERSISTENT_WARPS = 10, /* that compute; one more fills the stages */
	PERSISTENT_CONSUMERS = PERSISTENT_WARPS * 32,
	PERSISTENT_THREADS = PERSISTENT_CONSUMERS + 32,
	PERSISTENT_TILE = 16,      /* rows of a job */
	PERSISTENT_QUARTERS = 4,   /* of a tile's rows: a stage is copied in as many steps */
	PERSISTENT_SEGMENT = 64,   /* bytes of a row that a warp multiplies at once */
	PERSISTENT_UNIT = 256,     /* columns: splits and slices begin at multiples of it */
	PERSISTENT_ROW_MAX = 2816, /* bytes of a row in a stage */
	PERSISTENT_GROUP = 8,      /* jobs whose sums are left together */
	PERSISTENT_SUMS =
		PERSISTENT_WARPS * PERSISTENT_TILE + 16, /* of a job; apart in the banks from the next one's */
	PERSISTENT_MIN_STAGES = 2,
	PERSISTENT_MAX_STAGES = 8,   /* their copies are counted by lanes */
	PERSISTENT_VECS = 5,         /* of four elements of the stream that a thread has at most */
	PERSISTENT_HEADS = 4,        /* query heads of one KV head that are attended together */
	PERSISTENT_SPLIT_KEYS = 32,  /* that a split is worth */
	PERSISTENT_SCRATCH = 96,     /* floats of reductions */
	PERSISTENT_PHASE_WORDS = 32, /* of 8 bytes: at least a phase's size */
};

/* Columns of a product's rows. */
struct columns {
	int begin, end;
};

SHARED_INLINE int persistent_tiles(int n_out)
{
	return (n_out + PERSISTENT_TILE - 1) / PERSISTENT_TILE;
}

SHARED_INLINE int persistent_units(struct columns c)
{
	return (c.end - c.begin + PERSISTENT_UNIT - 1) / PERSISTENT_UNIT;
}

/* Part `split` of n_in columns in 1 << shift parts. */
SHARED_INLINE struct columns persistent_split(int n_in, int shift, int split)
{
	const int units = (n_in + PERSISTENT_UNIT - 1) / PERSISTENT_UNIT;
	struct columns c;
	c.begin = (units * split >> shift) * PERSISTENT_UNIT;
	c.end = (units * (split + 1) >> shift) * PERSISTENT_UNIT;
	if (c.end > n_in)
		c.end = n_in;
	return c;
}

/* A split's columns in as few slices as fit into a stage's rows. */
struct slicing {
	int n;
	int width; /* columns of each but the last */
};

SHARED_INLINE struct slicing persistent_slicing(int type, struct columns c)
{
	const int units = persistent_units(c);
	const int most = PERSISTENT_ROW_MAX / (PERSISTENT_UNIT * element_bytes(type));
	struct slicing s;
	int each;
	s.n = (units + most - 1) / most;
	each = (units + s.n - 1) / s.n;
	s.n = (units + each - 1) / each;
	s.width = each * PERSISTENT_UNIT;
	return s;
}

SHARED_INLINE struct columns persistent_slice(struct columns c, struct slicing s, int i)
{
	struct columns part;
	part.begin = c.begin + i * s.width;
	part.end = part.begin + s.width;
	if (part.end > c.end)
		part.end = c.end;
	return part;
}

SHARED_INLINE int persistent_segments_in(int type, int n)
{
	return (n * element_bytes(type) + PERSISTENT_SEGMENT - 1) / PERSISTENT_SEGMENT;
}

/* Of activations in shared memory: of Q8_0 a warp has two whole ones at a time. */
SHARED_INLINE int persistent_segments(int type, int n)
{
	return (persistent_segments_in(type, n) + 3) / 4 * 4;
}

/* Of Q8_0 three digits and, of every 32, a scale; else floats. */
SHARED_INLINE int persistent_x_bytes(int type, int n)
{
	const int segments = persistent_segments(type, n);
	return type == TENSOR_Q8_0 ? segments * (PERSISTENT_SEGMENT * 3 + 8)
				   : segments * PERSISTENT_SEGMENT / element_bytes(type) * 4;
}

/* Queries, the token's own key and value, sums of the warps, and their greatest scores and sums of probabilities. */
SHARED_INLINE int persistent_attention_bytes(int head_dim)
{
	return (PERSISTENT_HEADS + 2 + PERSISTENT_WARPS) * head_dim * 4 + PERSISTENT_WARPS * PERSISTENT_HEADS * 8;
}

SHARED_INLINE int persistent_stage_bytes(const struct persistent_program *g)
{
	return PERSISTENT_TILE * (g->row_stride + g->scale_stride);
}

/* Offsets in shared memory. The stages come first. */
struct persistent_layout {
	int x;       /* activations of a product, or what attention needs */
	int h;       /* (n_embd): the residual stream */
	int partial; /* (2, GROUP, SUMS): sums of warps */
	int scratch;
	int program;  /* a copy of it */
	int phases;   /* (WARPS + 1, 2, PHASE_WORDS): what each warp knows of its phase, and of the next */
	int barriers; /* (MAX_STAGES, QUARTERS) full ones, then MAX_STAGES empty ones */
	int bytes;
};

SHARED_INLINE struct persistent_layout persistent_layout_of(const struct persistent_program *g)
{
	struct persistent_layout l;
	l.x = g->n_stages * persistent_stage_bytes(g);
	l.h = l.x + (g->x_bytes + 15) / 16 * 16;
	l.partial = l.h + g->n_embd * 4;
	l.scratch = l.partial + 2 * PERSISTENT_GROUP * PERSISTENT_SUMS * 4;
	l.program = l.scratch + PERSISTENT_SCRATCH * 4;
	l.phases = l.program + (int)(sizeof(struct persistent_program) + 15) / 16 * 16;
	l.barriers = l.phases + (PERSISTENT_WARPS + 1) * 2 * PERSISTENT_PHASE_WORDS * 8;
	l.bytes = l.barriers + (PERSISTENT_QUARTERS + 1) * PERSISTENT_MAX_STAGES * 8;
	return l;
}

#endif
