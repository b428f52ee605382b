/* Launch geometry of the attention of one token: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H

#include "kernels/cuda/shared.h"
#include "kernels/params.h"

enum {
	ATTENTION_THREADS = 256,
	ATTENTION_HEADS =
		ATTENTION_THREADS / 32, /* query heads of one KV head that a CTA takes: a warp has one's softmax */
	ATTENTION_TILE = 32,            /* keys that a CTA works on at a time: a lane has one's score */
	ATTENTION_MAX_GROUPS = 1024,    /* KV heads times their groups of query heads */
	ATTENTION_UNIT = 16,            /* keys; a split's length is a multiple: half a tile */
	ATTENTION_SPLIT_KEYS = 32,      /* that a split is worth */
	ATTENTION_MAX_SPLITS = 256,
	ATTENTION_FUSED_SPLITS = 16, /* that the last CTA combines as fast as a kernel of its own */
	ATTENTION_COLUMNS = 32,      /* elements of a head that a CTA of the combine takes */
};

/*
 * CTAs that a multiprocessor works on at once. Each has a tile of keys and one of values in flight: so many have 64 KB
 * of a 16-bit cache. Those of Q8_0 are half as large, and as many as their registers leave room for.
 */
SHARED_CONSTANT int attention_ctas(int head_dim, int q8_0)
{
	return q8_0 ? head_dim > 256 ? 2 : 3 : head_dim > 256 ? 1 : head_dim > 128 ? 2 : 3;
}

/* Dynamic: tiles of Q8_0 are in shared memory, of the widest rows more than may be static. */
SHARED_CONSTANT int attention_shared_bytes(int head_dim, int k_type, int v_type)
{
	return head_dim > 256 && (k_type == TENSOR_Q8_0 || v_type == TENSOR_Q8_0) ? 59552 : 0;
}

#endif
