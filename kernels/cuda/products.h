/* What the geometry files of matrix products share. */
#ifndef GEMMARK_KERNELS_CUDA_PRODUCTS_H
#define GEMMARK_KERNELS_CUDA_PRODUCTS_H

#include "kernels/cuda/geometry.h"

/* 16-byte loads of whole rows are possible. */
int products_streamable(const struct weight *w, const void *x);
/*
 * The streaming product of this weight type; first_entry: that of F32. n_units in n_groups independent ranges
 * (experts' pairs; 1 for a dense product); normed: behind a norm over its n_in.
 */
int products_matvec(struct cuda_launch *out, int first_entry, int type, int n_in, int normed, int64_t n_units,
		    int64_t n_groups, const struct cuda_card *card);
/* A warp a row, for any weights. */
int products_any(struct cuda_launch *out, int entry, int64_t n_rows, int64_t n_groups, size_t shared);
/* The same behind a norm over n. */
int products_normed_any(struct cuda_launch *out, int entry, int64_t n_rows, int n, const struct cuda_card *card);

/* Pairs of rows, which a warp of the streaming products takes together. */
static inline int64_t products_pairs(int n_out)
{
	return ((int64_t)n_out + 1) / 2;
}

#endif
