/* The rate at which all multiprocessors together read memory, and how long one load takes that no other waits beside.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/memory_geometry.h"

/* What is in flight of a multiprocessor, 128 KB, is more than any memory needs to be busy. */
KERNEL(MEMORY_THREADS) k_memory_read(const __grid_constant__ struct memory_read_params p)
{
	wait_for_earlier();
	const unsigned long long since = (unsigned long long)clock64();
	const uint4 *at = (const uint4 *)p.from + (long long)blockIdx.x * (MEMORY_CHUNK / 16) + threadIdx.x;
	const long long next = (long long)gridDim.x * (MEMORY_CHUNK / 16);
	unsigned all = 0;
#pragma unroll 1
	for (int c = 0; c < p.n_chunks; c++, at += next) {
		uint4 v[MEMORY_EACH];
#pragma unroll
		for (int i = 0; i < MEMORY_EACH; i++)
			v[i] = __ldcg(at + i * MEMORY_THREADS);
#pragma unroll
		for (int i = 0; i < MEMORY_EACH; i++)
			all ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
	}
	for (int d = 1; d < (int)WARP; d *= 2)
		all ^= __shfl_xor_sync(ALL_LANES, all, d);
	__shared__ unsigned of[MEMORY_THREADS / WARP];
	if (threadIdx.x % WARP == 0)
		of[threadIdx.x / WARP] = all;
	__syncthreads();
	if (threadIdx.x)
		return;
	p.cycles[blockIdx.x] = (unsigned long long)clock64() - since;
	all = 0;
	for (int i = 0; i < MEMORY_THREADS / (int)WARP; i++)
		all ^= of[i];
	p.words[blockIdx.x] = all;
}

KERNEL(WARP) k_memory_chain(const __grid_constant__ struct memory_chain_params p)
{
	wait_for_earlier();
	if (threadIdx.x)
		return;
	const char *at = (const char *)p.from + (long long)blockIdx.x * MEMORY_REGION;
	unsigned all = 0;
	const unsigned long long since = (unsigned long long)clock64();
#pragma unroll 1
	for (int i = 0; i < MEMORY_LOADS; i++) {
		const unsigned v = __ldcg((const unsigned *)at);
		all ^= v;
		at += MEMORY_STRIDE + (v & p.mask);
	}
	p.cycles[blockIdx.x] = (unsigned long long)clock64() - since;
	p.words[blockIdx.x] = all;
}
