/* Launch geometry of the attention of one token: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H

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

#endif
