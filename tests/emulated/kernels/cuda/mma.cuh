/* In the place of kernels/cuda/mma.cuh, for the emulation. */
#ifndef GEMMARK_KERNELS_CUDA_MMA_CUH
#define GEMMARK_KERNELS_CUDA_MMA_CUH

#include "kernels/cuda/device.cuh"

INLINE unsigned thread_anew()
{
	return threadIdx.x;
}

INLINE unsigned block_anew()
{
	return blockIdx.x;
}

INLINE unsigned kept_shared_address(const void *p)
{
	return shared_address(p);
}

INLINE void wait_for_copies()
{
	emulated_commit();
	emulated_wait(0);
}

INLINE void barrier_of(int id, int threads)
{
	emulated_barrier(id, threads);
}

INLINE uint4 load_shared(unsigned from)
{
	return *(const uint4 *)shared_pointer(from);
}

INLINE void store_shared(unsigned to, uint4 v)
{
	*(uint4 *)shared_pointer(to) = v;
}

INLINE void load_matrices(unsigned from, unsigned (&m)[4])
{
	const emulated_words *const all = emulated_gather(&from, sizeof from, 10);
	for (int k = 0; k < 4; k++)
		m[k] = ((const unsigned *)shared_pointer(all[k * 8 + LANE / 4].of[0]))[LANE % 4];
}

INLINE void load_matrices_transposed(unsigned from, unsigned (&m)[4])
{
	const emulated_words *const all = emulated_gather(&from, sizeof from, 11);
	for (int k = 0; k < 4; k++) {
		m[k] = 0;
		for (int i = 0; i < 2; i++) {
			const char *const row = shared_pointer(all[k * 8 + LANE % 4 * 2 + i].of[0]);
			m[k] |= (unsigned)((const unsigned short *)row)[LANE / 4] << (16 * i);
		}
	}
}

template <int T> INLINE double operand_value(unsigned w, int half)
{
	const unsigned short h = (unsigned short)(w >> (16 * half));
	return (double)(T == TENSOR_F16 ? half_f16_to_f32(h) : half_bf16_to_f32(h));
}

/* Lane 4 g + t: of a rows g and g + 8, of b column g; elements 2 t, 2 t + 1 and those 8 further on. */
template <int T>
INLINE void multiply_add(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
	const unsigned own[6] = {a0, a1, a2, a3, b0, b1};
	const emulated_words *const all = emulated_gather(own, sizeof own, 12);
	const int g = LANE / 4, t = LANE % 4;
	for (int i = 0; i < 4; i++) {
		double sum = (double)c[i];
		for (int part = 0; part < 4; part++) {
			const unsigned *const a = all[g * 4 + part].of, *const b = all[(2 * t + i % 2) * 4 + part].of + 4;
			for (int half = 0; half < 2; half++)
				sum += operand_value<T>(a[i / 2], half) * operand_value<T>(b[0], half) +
				       operand_value<T>(a[2 + i / 2], half) * operand_value<T>(b[1], half);
		}
		c[i] = (float)sum;
	}
}

template <int T> INLINE void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
	multiply_add<T>(c, a[0], a[1], a[2], a[3], b0, b1);
}

template <int T> INLINE unsigned pair_from_f32(float low, float high)
{
	return T == TENSOR_F16 ? half_f32_to_f16(low) | (unsigned)half_f32_to_f16(high) << 16
			       : half_f32_to_bf16(low) | (unsigned)half_f32_to_bf16(high) << 16;
}

INLINE unsigned subtract_f16x2(unsigned a, unsigned b)
{
	return pair_from_f32<TENSOR_F16>((float)(operand_value<TENSOR_F16>(a, 0) - operand_value<TENSOR_F16>(b, 0)),
					 (float)(operand_value<TENSOR_F16>(a, 1) - operand_value<TENSOR_F16>(b, 1)));
}

INLINE unsigned multiply_f16x2(unsigned a, unsigned b)
{
	return pair_from_f32<TENSOR_F16>((float)(operand_value<TENSOR_F16>(a, 0) * operand_value<TENSOR_F16>(b, 0)),
					 (float)(operand_value<TENSOR_F16>(a, 1) * operand_value<TENSOR_F16>(b, 1)));
}

INLINE unsigned multiply_add_f16x2(unsigned a, unsigned b, unsigned c)
{
	float sums[2];
	for (int i = 0; i < 2; i++)
		sums[i] = (float)(operand_value<TENSOR_F16>(a, i) * operand_value<TENSOR_F16>(b, i) +
				  operand_value<TENSOR_F16>(c, i));
	return pair_from_f32<TENSOR_F16>(sums[0], sums[1]);
}

INLINE float power_of_two(float x)
{
	return exp2f(x);
}

#endif
