/* Launch geometry of the tiled products, and those that take any weights: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_MATMUL_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_MATMUL_GEOMETRY_H

enum {
	ANY_THREADS = 256, /* of the products that take any weights: a warp a row */

	TILE = 64, /* tokens and outputs of a tiled product's tile */
	TILE_THREADS = 256,
};

#endif
