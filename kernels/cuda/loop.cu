/* What goes on from one token to the next without the host. Needs a driver for CUDA 12.4. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/graph_geometry.h"

#ifdef __CUDACC_RTC__
/* The driver's, which binds them where the module is loaded: no library is linked. nvcc declares them itself. */
extern "C" __device__ void cudaGraphSetConditional(unsigned long long handle, unsigned value);
extern "C" __device__ int cudaGraphLaunch(struct CUgraphExec_st *exec, struct CUstream_st *stream);
#endif

/* Of a graph that was launched on the device: again, when all of it is complete. */
INLINE void launch_again()
{
	struct CUstream_st *const behind_this = (struct CUstream_st *)0x0100000000000000;
	if (cudaGraphLaunch(current_graph(), behind_this))
		__trap();
}

/* The host polls ns: it comes last. */
INLINE void set_mark(struct loop_mark *m, int token, int chosen)
{
	m->token = token;
	m->chosen = chosen;
	__threadfence_system();
	*(volatile unsigned long long *)&m->ns = nanoseconds();
}

/*
 * A thread. The state was written by the iteration before, so it, and what is in the host's memory and takes a
 * microsecond to come, is read before the wait; what was chosen, behind it. Returns whether the loop goes on.
 */
INLINE bool advance(const struct advance_params &p)
{
	if (!p.state) {
		wait_for_earlier();
		set_mark(p.marks, 0, -1);
		return false;
	}
	struct loop_state s = *p.state;
	const int token = s.step.token;
	const int number = s.next++;
	int chosen = -1;
	s.go = s.next < s.end && !*(const volatile int *)p.stop;
	if (s.go && !p.sampled)
		s.step.token = ((const volatile int *)p.tokens)[s.next];
	wait_for_earlier();
	if (p.sampled) {
		const volatile struct sampled *const sampled = p.sampled;
		chosen = sampled->wrong ? -1 : sampled->token;
		s.go = s.go && chosen >= 0 && chosen != s.last;
		if (s.go)
			s.step.token = chosen;
	}
	s.step.pos += s.go;
	*p.state = s;
	set_mark(p.marks + number, token, chosen);
	return s.go;
}

/* An entry for each way to go on: in the body of a conditional node a kernel that could launch a graph hangs it. */
KERNEL(ADVANCE_THREADS) k_advance(const __grid_constant__ struct advance_params p)
{
	if (!threadIdx.x)
		advance(p);
}

KERNEL(ADVANCE_THREADS) k_advance_while(const __grid_constant__ struct advance_params p)
{
	if (!threadIdx.x)
		cudaGraphSetConditional(p.handle, advance(p));
}

KERNEL(ADVANCE_THREADS) k_advance_relaunch(const __grid_constant__ struct advance_params p)
{
	if (!threadIdx.x && advance(p))
		launch_again();
}
