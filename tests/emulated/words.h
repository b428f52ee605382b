/* CUDA's words for a C++ compiler: what emulation.cpp, which includes the kernel, gives them to mean. C++. */
#ifndef GEMMARK_TESTS_EMULATED_WORDS_H
#define GEMMARK_TESTS_EMULATED_WORDS_H

#include <cmath>
#include <cstdint>
#include <cstring>

#define __CUDACC__ 1
#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(x) alignas(x)
#define INLINE static inline

struct alignas(8) float2 {
	float x, y;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(8) uint2 {
	unsigned x, y;
};
struct alignas(16) uint4 {
	unsigned x, y, z, w;
};
struct alignas(16) int4 {
	int x, y, z, w;
};

INLINE float2 make_float2(float x, float y)
{
	return {x, y};
}
INLINE float4 make_float4(float x, float y, float z, float w)
{
	return {x, y, z, w};
}
INLINE uint2 make_uint2(unsigned x, unsigned y)
{
	return {x, y};
}
INLINE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
	return {x, y, z, w};
}

/* ---- where a thread is, and the block's shared memory; of the fibre that runs ---- */

struct emulated_index {
	unsigned x, y, z;
};
extern emulated_index emulated_thread, emulated_block, emulated_grid, emulated_dim;
extern char *emulated_shared;
extern unsigned emulated_shared_bytes; /* of a block */
#define threadIdx emulated_thread
#define blockIdx emulated_block
#define gridDim emulated_grid
#define blockDim emulated_dim
#define shared_memory emulated_shared
#define LANE ((int)(threadIdx.x % 32))

/* ---- what a warp or a block does together. kind: which call it is, the same in all lanes ---- */

uint64_t emulated_exchange(uint64_t v, int from, int kind);
unsigned emulated_ballot(bool p);
void emulated_meet(int kind);
void emulated_barrier(int id, int n_threads);
struct emulated_words {
	unsigned of[8];
};
/* What all 32 lanes brought; valid until the warp's next but one call. */
const emulated_words *emulated_gather(const unsigned *own, size_t bytes, int kind);
/* A thread's copies of `all` bytes, of which `bytes` are there and the rest zeros: done when their group is waited for.
 */
void emulated_copy(void *to, const void *from, int bytes, int all);
void emulated_commit();
/* Until at most `but` groups of this thread are on their way. */
void emulated_wait(int but);
/* Lets others run. */
void emulated_yield();

template <class T> INLINE T emulated_from(T v, int lane, int kind)
{
	uint64_t bits = 0;
	memcpy(&bits, &v, sizeof v);
	bits = emulated_exchange(bits, lane, kind);
	memcpy(&v, &bits, sizeof v);
	return v;
}

template <class T> INLINE T __shfl_xor_sync(unsigned, T v, int d)
{
	return emulated_from(v, LANE ^ d, 1);
}
template <class T> INLINE T __shfl_sync(unsigned, T v, int lane)
{
	return emulated_from(v, lane & 31, 2);
}
INLINE unsigned __reduce_max_sync(unsigned, unsigned v)
{
	for (int d = 1; d < 32; d *= 2) {
		const unsigned other = emulated_from(v, LANE ^ d, 3);
		v = v > other ? v : other;
	}
	return v;
}
template <class T> INLINE T __shfl_up_sync(unsigned, T v, int d)
{
	return emulated_from(v, LANE < d ? LANE : LANE - d, 9);
}
INLINE unsigned __ballot_sync(unsigned, bool p)
{
	return emulated_ballot(p);
}
INLINE int __ffs(int i)
{
	return __builtin_ffs(i);
}
INLINE bool __any_sync(unsigned, bool p)
{
	return emulated_ballot(p) != 0;
}
INLINE bool __all_sync(unsigned, bool p)
{
	return emulated_ballot(p) == 0xffffffffu;
}
INLINE void __syncwarp()
{
	emulated_meet(4);
}
INLINE void __syncthreads()
{
	emulated_barrier(0, (int)blockDim.x);
}

/* ---- arithmetic ---- */

INLINE float __uint_as_float(unsigned u)
{
	float f;
	memcpy(&f, &u, 4);
	return f;
}
INLINE float __int_as_float(int i)
{
	return __uint_as_float((unsigned)i);
}
INLINE unsigned __float_as_uint(float f)
{
	unsigned u;
	memcpy(&u, &f, 4);
	return u;
}
INLINE int __float_as_int(float f)
{
	return (int)__float_as_uint(f);
}
INLINE float __fmul_rn(float a, float b)
{
	return a * b;
}
/* Blocks run one after the other, and a thread until it waits. */
template <class T> INLINE T atomicAdd(T *p, T v)
{
	const T was = *p;
	*p += v;
	return was;
}
INLINE int min(int a, int b)
{
	return a < b ? a : b;
}
INLINE int max(int a, int b)
{
	return a > b ? a : b;
}
INLINE long long max(long long a, long long b)
{
	return a > b ? a : b;
}
INLINE unsigned max(unsigned a, unsigned b)
{
	return a > b ? a : b;
}
INLINE int __float2int_rn(float f)
{
	return (int)lrintf(f);
}
INLINE int __dp4a(int a, int b, int c)
{
	for (int i = 0; i < 4; i++)
		c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
	return c;
}
/* Two of 16 bits with the lower or the upper two of 8. */
INLINE int emulated_dp2a(int a, int b, int c)
{
	return c + (int)(short)a * (int)(signed char)b + (a >> 16) * (int)(signed char)(b >> 8);
}
INLINE int __dp2a_lo(int a, int b, int c)
{
	return emulated_dp2a(a, b, c);
}
INLINE int __dp2a_hi(int a, int b, int c)
{
	return emulated_dp2a(a, b >> 16, c);
}
INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
	const uint64_t bytes = a | (uint64_t)b << 32;
	unsigned r = 0;
	for (int i = 0; i < 4; i++)
		r |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
	return r;
}
INLINE float __fdividef(float a, float b)
{
	return a / b;
}
INLINE float rsqrtf(float x)
{
	return 1.0f / sqrtf(x);
}
INLINE void sincospif(float x, float *s, float *c)
{
	*s = (float)sin(M_PI * (double)x);
	*c = (float)cos(M_PI * (double)x);
}
/* Later at every look. */
INLINE long long clock64()
{
	static long long now;
	return now += 100;
}
template <class T> INLINE T __ldcg(const T *p)
{
	return *p;
}

#endif
