/* Launch geometry of the attention of one token: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_ATTENTION_GEOMETRY_H

enum {
	ATTENTION_THREADS = 256,
	ATTENTION_HEADS = 4,         /* query heads of one KV head that a CTA takes */
	ATTENTION_MAX_GROUPS = 1024, /* KV heads times their groups of query heads */
};

#endif
