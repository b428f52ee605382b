/* Launch geometry of SnapKV: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_SNAPKV_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_SNAPKV_GEOMETRY_H

enum {
	SNAPKV_THREADS = 256,
	SNAPKV_ROWS = 128, /* of a tile of scores */
	SNAPKV_KEYS = 128,
	SNAPKV_SELECT_THREADS = 1024,
};

#endif
