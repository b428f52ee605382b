/*
 * In the place of wait_for_earlier where kernels are compiled with TIMELINE: the same wait, and the block's record
 * (kernels/params_stamps.h), whose last stamp is taken where the scope of the call is left.
 */
#ifndef GEMMARK_KERNELS_CUDA_STAMPS_CUH
#define GEMMARK_KERNELS_CUDA_STAMPS_CUH

#include "kernels/params_stamps.h"

/* Set by the host once the module is loaded: the records are the device's, whichever source a kernel is of. */
extern "C" {
__device__ struct block_stamps *block_stamps;
}

struct stamped_wait {
	struct block_stamp *to; /* of the block's first thread; null: of another, or there is no room */

	__device__ __forceinline__ stamped_wait() : to(nullptr)
	{
		const unsigned long long entered = nanoseconds();
		wait_for_launches();
		if (threadIdx.x + threadIdx.y + threadIdx.z > 0 || !block_stamps)
			return;
		const unsigned long long input = nanoseconds();
		const unsigned at = atomicAdd(&block_stamps->n, 1u);
		if (at >= block_stamps->cap)
			return;
		to = (struct block_stamp *)(block_stamps + 1) + at;
		to->entered = entered;
		to->input = input;
		to->sm = multiprocessor();
		to->n_blocks = gridDim.x * gridDim.y * gridDim.z;
	}

	__device__ __forceinline__ ~stamped_wait()
	{
		if (to)
			to->left = nanoseconds();
	}
};

/* A statement, in the scope of all that the block does with its input. */
#define wait_for_earlier() const stamped_wait stamped_wait_of_block

#endif
