/* In the place of kernels/cuda/persistent_ptx.cuh, for the emulation: what is not said here is emulation.cpp's. */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PTX_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PTX_CUH

#include "kernels/cuda/persistent_geometry.h"
#include "kernels/cuda/ptx.cuh"

void barrier_init(unsigned long long *b, int arrivals);
void barrier_expect(unsigned long long *b, unsigned bytes);
void barrier_arrive(unsigned long long *b, int times);
bool barrier_try(unsigned long long *b, unsigned parity);
void bulk_copy(void *to, const void *from, unsigned bytes, unsigned long long *b, unsigned long long policy);
void bulk_prefetch(const void *from, unsigned bytes, unsigned long long policy);
void store_now(void *p, unsigned v);
void store_now64(unsigned long long *p, unsigned long long v);
[[noreturn]] void give_up();

INLINE bool barrier_try_long(unsigned long long *b, unsigned parity)
{
	return barrier_try(b, parity);
}
INLINE bool barrier_test(unsigned long long *b, unsigned parity)
{
	return barrier_try(b, parity);
}
/* Some pieces are ahead, some are not. */
INLINE unsigned cycles()
{
	static unsigned now;
	return now += 200;
}
INLINE void barriers_are_ready()
{
}
INLINE void consumers_sync()
{
	emulated_barrier(1, PERSISTENT_CONSUMERS);
}
INLINE unsigned long long evict_first()
{
	return 0;
}
INLINE unsigned long long evict_normal()
{
	return 1;
}
INLINE uint4 load_now4(const float *p)
{
	emulated_yield();
	return *(const uint4 *)p;
}
INLINE unsigned load_now(const void *p)
{
	emulated_yield();
	return *(const unsigned *)p;
}
INLINE unsigned long long load_now64(const unsigned long long *p)
{
	emulated_yield();
	return *p;
}
INLINE void load_now64x2(const unsigned long long *p, unsigned long long &a, unsigned long long &b)
{
	a = load_now64(p);
	b = load_now64(p + 1);
}
INLINE void store_now4(void *p, uint4 v)
{
	const unsigned of[4] = {v.x, v.y, v.z, v.w};
	for (int i = 0; i < 4; i++)
		store_now((unsigned *)p + i, of[i]);
}
INLINE void store_now64x2(unsigned long long *p, unsigned long long a, unsigned long long b)
{
	store_now64(p, a);
	store_now64(p + 1, b);
}
INLINE void async_copy(void *to, const void *from)
{
	memcpy(to, from, 16);
}
INLINE void async_copies_wait()
{
}
INLINE float4 load_once(const float4 *p)
{
	return *p;
}
INLINE float exp2_near(float x)
{
	return exp2f(x);
}
INLINE unsigned signed_byte_step(unsigned i)
{
	return i;
}
INLINE unsigned signed_byte_selector(unsigned i)
{
	return i;
}
INLINE int signed_byte(unsigned word, unsigned selector)
{
	return (signed char)(word >> 8 * selector);
}
INLINE unsigned multiprocessor()
{
	return blockIdx.x;
}

/* Of a: lane 4 * g + t has rows g and g + 8 of columns 4 * t .. and 16 further on; of b: those rows of column g. */
INLINE void multiply_add_s8(int (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
	const int g = LANE / 4, t = LANE % 4;
	const unsigned own[] = {a0, a1, a2, a3, b0, b1};
	const emulated_words *const all = emulated_gather(own, sizeof own, 6);
	for (int part = 0; part < 4; part++) {
		const unsigned *const rows = all[g * 4 + part].of;
		for (int h = 0; h < 2; h++) {
			const int even = (int)all[2 * t * 4 + part].of[4 + h];
			const int odd = (int)all[(2 * t + 1) * 4 + part].of[4 + h];
			c[0] = __dp4a((int)rows[2 * h], even, c[0]);
			c[1] = __dp4a((int)rows[2 * h], odd, c[1]);
			c[2] = __dp4a((int)rows[2 * h + 1], even, c[2]);
			c[3] = __dp4a((int)rows[2 * h + 1], odd, c[3]);
		}
	}
}

#endif
