/* How a row of logits is shared out among the CTAs that choose a token. */
#ifndef GEMMARK_KERNELS_CUDA_SAMPLE_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_SAMPLE_GEOMETRY_H

#include "kernels/cuda/shared.h"

enum {
	SAMPLE_THREADS = 512,
	SAMPLE_EACH = 8,                             /* logits of a thread at a time */
	SAMPLE_CHUNK = SAMPLE_THREADS * SAMPLE_EACH, /* of a CTA: whole chunks, those of one behind those before it */
	SAMPLE_CTAS = 128,
};

SHARED_INLINE int sample_chunks(int n)
{
	return (n + SAMPLE_CHUNK - 1) / SAMPLE_CHUNK;
}

/* Of a CTA. */
SHARED_INLINE int sample_slice(int n, int n_ctas)
{
	return (sample_chunks(n) + n_ctas - 1) / n_ctas * SAMPLE_CHUNK;
}

#endif
