/* Sets the parameters and grids of other nodes of the graph that it is in. Needs a driver for CUDA 12.4. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/graph_geometry.h"

typedef struct CUgraphDeviceUpdatableNode_st *updatable;

#ifdef __CUDACC_RTC__
/* The driver's, which binds them where the module is loaded: no library is linked. nvcc declares them itself. */
extern "C" __device__ int cudaGraphKernelNodeSetParam(updatable node, unsigned long offset, const void *value,
						      unsigned long size);
extern "C" __device__ int cudaGraphKernelNodeSetGridDim(updatable node, dim3 grid);
#endif

INLINE int bucket_of(const struct patch_params &p, const struct patch_node &n, const struct step &step)
{
	int bucket = 0;
	while (bucket < n.n_variants - 1 && p.keys << bucket < step.pos - step.evicted + 1)
		bucket++;
	return bucket;
}

/* What a bucket changes, when it is another one than in the replay before. */
INLINE int set_variant(const struct patch_params &p, struct patch_node &n, updatable node, const struct step &step)
{
	const int bucket = bucket_of(p, n, step);
	if (bucket == n.bucket)
		return 0;
	const struct patch_variant v = p.variants[n.first + bucket];
	n.bucket = bucket;
	const int rc = cudaGraphKernelNodeSetGridDim(node, dim3(v.grid[0], v.grid[1], v.grid[2]));
	return rc ? rc : cudaGraphKernelNodeSetParam(node, (unsigned long)n.offset, &v.value, sizeof v.value);
}

/*
 * One CTA: each thread sets a node at a time, which takes 0.7 us, all of them together 1 us more. What follows must not
 * start early here: a kernel that is launched before this one ends keeps the params that it had.
 */
KERNEL(PATCH_THREADS) k_patch(const __grid_constant__ struct patch_params p)
{
	wait_for_earlier();
	for (int i = (int)threadIdx.x; i < p.n; i += PATCH_THREADS) {
		struct patch_node &n = p.nodes[i];
		const updatable node = (updatable)n.node;
		struct at at = {nullptr, *p.step};
		at.host.pos += n.ahead;
		if (n.positional && cudaGraphKernelNodeSetParam(node, 0, &at, sizeof at))
			__trap();
		if (n.n_variants && set_variant(p, n, node, at.host))
			__trap();
	}
	/* The next kernel may be launched when all threads have ended, and before what they wrote is seen without this.
	 */
	__threadfence();
}
