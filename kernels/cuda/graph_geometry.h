/* Threads of the kernels that change their graph. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_GRAPH_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_GRAPH_GEOMETRY_H

enum {
	PATCH_THREADS = 256,
	ADVANCE_THREADS = 32,
};

#endif
