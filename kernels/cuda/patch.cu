/* Sets the parameters of other nodes of the graph that it is in. Needs a driver for CUDA 12.4. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/graph_geometry.h"

#ifdef __CUDACC_RTC__
/* The driver's, which binds it where the module is loaded: no library is linked. nvcc declares it itself. */
extern "C" __device__ int cudaGraphKernelNodeSetParam(struct CUgraphDeviceUpdatableNode_st *node, unsigned long offset,
						      const void *value, unsigned long size);
#endif

/*
 * One CTA: each thread sets a node at a time, which takes 0.7 us, all of them together 1 us more. What follows must not
 * start early here: a kernel that is launched before this one ends keeps the params that it had.
 */
KERNEL(PATCH_THREADS) k_patch(const __grid_constant__ struct patch_params p)
{
	wait_for_earlier();
	for (int i = (int)threadIdx.x; i < p.n; i += PATCH_THREADS) {
		const struct patch_node n = p.nodes[i];
		struct at at = {nullptr, *p.step};
		at.host.pos += n.ahead;
		if (cudaGraphKernelNodeSetParam((struct CUgraphDeviceUpdatableNode_st *)n.node, 0, &at, sizeof at))
			__trap();
	}
}
