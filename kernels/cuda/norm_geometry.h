/* Launch geometry of RMSNorm: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_NORM_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_NORM_GEOMETRY_H

enum {
	NORM_HELD = 3, /* vectors of a row that a thread keeps in registers; longer rows are read twice */
};

#endif
