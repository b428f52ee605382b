/* The size of a weight's or a cache's element, as kernels and their launch geometry count it. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_ELEMENT_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_ELEMENT_GEOMETRY_H

#include "kernels/cuda/shared.h"
#include "kernels/params.h"

/* Bytes; of Q8_0 in its plane of values. */
SHARED_CONSTANT int element_bytes(int type)
{
	return type == TENSOR_F32 ? 4 : type == TENSOR_Q8_0 ? 1 : 2;
}

#endif
