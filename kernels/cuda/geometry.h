/*
 * For the geometry files beside the kernels (NAME_geometry.c beside NAME.cu): the function of each
 * kernel that cuda_geometry calls, and what they share. Host code alone; what a kernel and its geometry
 * both compute with is in NAME_geometry.h.
 */
#ifndef GEMMARK_KERNELS_CUDA_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_GEOMETRY_H

#include <assert.h>
#include <stdint.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/entries.h"

/* geometry_NAME: enum cuda_geometry_result, and *out where it is CUDA_GEOMETRY_OK. */
#define X(name, positional) \
	int geometry_##name(const struct name##_params *p, const struct cuda_card *card, struct cuda_launch *out);
KERNEL_LIST(X)
#undef X

/* One entry on a grid of x by y blocks; nothing where either is 0. shared: bytes. */
int geometry_launch(struct cuda_launch *out, int entry, unsigned x, unsigned y, unsigned threads, size_t shared);
/* A thread for each of n elements, `rows` times. */
int geometry_elements(struct cuda_launch *out, int entry, int64_t n, int64_t rows);
/* Whether there is an attention kernel for this cache and this many query heads. */
int geometry_cache_fits(const struct kv *kv, int n_heads);

static inline unsigned blocks_of(int64_t n, int64_t each)
{
	return (unsigned)((n + each - 1) / each);
}

static inline unsigned whole_warps(int64_t n)
{
	return (unsigned)((n + 31) / 32 * 32);
}

static inline int aligned16(const void *p)
{
	return ((uintptr_t)p & 15) == 0;
}

#endif
