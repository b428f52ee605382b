/* Kernels that change the graph that they are in, with a driver that notes what they ask of it; and the choice of a
 * token. */
#include "tests/emulated/words.h"

#include <cstdlib>

#include "tests/emulated/graph.h"
#include "tests/emulated/shared_variables.h"

struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x, unsigned y, unsigned z) : x(x), y(y), z(z)
	{
	}
};

struct alignas(16) ulonglong2 {
	unsigned long long x, y;
};

INLINE ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y)
{
	return {x, y};
}
INLINE float __fadd_rn(float a, float b)
{
	return a + b;
}
INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
	__extension__ typedef unsigned __int128 wide;
	return (unsigned long long)((wide)a * b >> 64);
}
[[noreturn]] INLINE void __trap()
{
	abort();
}
INLINE void __threadfence()
{
}
INLINE void __threadfence_system()
{
}
INLINE int __syncthreads_or(int p)
{
	static int any;
	any |= p != 0;
	__syncthreads();
	const int all = any;
	__syncthreads();
	any = 0;
	__syncthreads();
	return all;
}
INLINE unsigned load_acquire(const unsigned *p)
{
	return *p;
}
INLINE void store_release(unsigned *p, unsigned v)
{
	*p = v;
}

struct emulated_graph emulated_graph;

/* ---- the driver ---- */

static struct CUgraphExec_st *const running = (struct CUgraphExec_st *)&emulated_graph;

struct CUgraphExec_st *current_graph()
{
	return running;
}

/* Later at every look. */
unsigned long long nanoseconds()
{
	static unsigned long long ns;
	return ns += 1000;
}

extern "C" int cudaGraphLaunch(struct CUgraphExec_st *exec, struct CUstream_st *stream)
{
	emulated_graph.n_launches++;
	return exec != running || stream != (struct CUstream_st *)0x0100000000000000; /* cudaStreamGraphTailLaunch */
}

extern "C" void cudaGraphSetConditional(unsigned long long handle, unsigned value)
{
	emulated_graph.n_conditions++;
	emulated_graph.condition = value;
	emulated_graph.handle = handle;
}

extern "C" int cudaGraphKernelNodeSetParam(struct CUgraphDeviceUpdatableNode_st *node, unsigned long offset,
					   const void *value, unsigned long size)
{
	emulated_node *const n = (emulated_node *)node;
	if (offset + size > sizeof n->params)
		return 1;
	memcpy(n->params + offset, value, size);
	n->n_params++;
	return 0;
}

extern "C" int cudaGraphKernelNodeSetGridDim(struct CUgraphDeviceUpdatableNode_st *node, dim3 grid)
{
	emulated_node *const n = (emulated_node *)node;
	n->grid[0] = grid.x;
	n->grid[1] = grid.y;
	n->grid[2] = grid.z;
	n->n_grids++;
	return 0;
}

#include "kernels/cuda/loop.cu"
#include "kernels/cuda/patch.cu"
#include "kernels/cuda/sample.cu"
