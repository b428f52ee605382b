/*
 * What the experts' products of a prompt do by the type of their weights: copies of a stage's rows into shared memory,
 * and out of it what tensor cores multiply, each weight rounded to float16 once.
 *
 * Of every 32 elements a lane takes the eight from 8 * (lane % 4) on: of TENSOR_QUANT_TYPES half of the bits of two
 * words (quants_geometry.h).
 */
#ifndef GEMMARK_KERNELS_CUDA_EXPERTS_MMA_WEIGHTS_CUH
#define GEMMARK_KERNELS_CUDA_EXPERTS_MMA_WEIGHTS_CUH

#include "kernels/cuda/experts_mma_geometry.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/quants.cuh"

/* Where 16-byte piece number `piece` of a row lies, so that the rows that are read together are in different banks. */
template <int T> INLINE int data_piece(int row, int piece)
{
	constexpr int bytes = mma_data_bytes(T);
	constexpr int turned = T == TENSOR_F32 ? 1 : bytes == 128 ? 4 : bytes == 64 ? 2 : 1;
	const int turn = bytes >= 128 ? row & 1 : bytes == 64 ? row >> 1 & 1 : row >> 2 & 1;
	return mma_data_at() + row * bytes + (piece ^ turn * turned) * 16;
}

/* What a thread copies of the weights; zeros where a mask's bit is not set, whose address is any. */
template <int T> struct weight_copies {
	enum {
		DATA = mma_data_bytes(T),
		HIGH = mma_high_bytes(T),
		SIDE = mma_side_bytes(T),
		A_ROW = DATA / 16, /* pieces */
		PIECES = MMA_COLUMNS * A_ROW / MMA_THREADS,
	};
	const struct weight &w;
	unsigned blocks[PIECES]; /* of 32 elements, where the pieces' rows begin */
	unsigned own;            /* the same of row number threadIdx.x of the columns, whose scales are the thread's */
	unsigned there;
	bool own_there;
	/* Scales of MMA_PARTS elements, as the planes have them. */
	uint4 raw;
	unsigned raw_d;

	/* row_of: a column's row of all experts' counted through, negative where there is none */
	template <class F> __device__ __forceinline__ weight_copies(const struct weight &of, F row_of) : w(of)
	{
		there = 0;
#pragma unroll
		for (int i = 0; i < PIECES; i++) {
			const int row = row_of((int)threadIdx.x / A_ROW + i * (MMA_THREADS / A_ROW));
			blocks[i] = (unsigned)max(row, 0) * (unsigned)(w.n_in / QUANTS_BLOCK);
			there |= (unsigned)(row >= 0) << i;
		}
		const int row = row_of((int)threadIdx.x);
		own = (unsigned)max(row, 0) * (unsigned)(w.n_in / QUANTS_BLOCK);
		own_there = row >= 0;
		raw = make_uint4(0, 0, 0, 0);
		raw_d = 0;
	}

	/* Of a plane with so many bytes a block. */
	__device__ __forceinline__ const char *plane(long long at, unsigned block, int bytes) const
	{
		return (const char *)w.data + at + (unsigned long long)block * (unsigned)bytes;
	}

	__device__ __forceinline__ long long n_blocks() const
	{
		return (long long)w.n_expert * w.n_out * (w.n_in / QUANTS_BLOCK);
	}

	__device__ __forceinline__ void copy(unsigned to, int k) const
	{
		const int piece = (int)threadIdx.x % A_ROW, row = (int)threadIdx.x / A_ROW;
		const unsigned block = k / QUANTS_BLOCK;
#pragma unroll
		for (int i = 0; i < PIECES; i++)
			copy_async(to + data_piece<T>(row + i * (MMA_THREADS / A_ROW), piece),
				   plane(piece * 16, blocks[i] + block, DATA * QUANTS_BLOCK / MMA_DEPTH),
				   there >> i & 1);
		if (HIGH)
			copy_async<HIGH ? HIGH : 4>(
				to + mma_high_at(T) + threadIdx.x * HIGH,
				plane(quants_high_at(n_blocks()), own + block, quants_high_bytes(T)), own_there);
		if (T == TENSOR_Q8_0)
			copy_async<4>(to + mma_side_at(T) + threadIdx.x * 4,
				      (const char *)w.scales + (unsigned long long)(own + block) * 2, own_there);
		else if (SIDE)
			copy_async<SIDE ? SIDE : 4>(
				to + mma_side_at(T) + threadIdx.x * SIDE,
				plane(quants_side_at(T, n_blocks()), own + block, quants_side_bytes(T)), own_there);
	}

	/* Those of elements k .. k + MMA_PARTS, where the row goes on so far. */
	__device__ __forceinline__ void load_scales(int k, int n_in)
	{
		if (!own_there || k >= n_in)
			return;
		const unsigned block = own + k / QUANTS_BLOCK;
		raw = *(const uint4 *)plane(quants_side_at(T, n_blocks()), block, 2);
		if (T == TENSOR_Q6_K)
			raw_d = *(const unsigned short *)plane(quants_d_at(T, n_blocks()), block / 8, 2);
	}

	/* For others to use behind the next barrier: what operands() says. */
	__device__ __forceinline__ void leave_scales(int slot) const
	{
		const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
		float2 *const to = (float2 *)(shared_memory + mma_scales_at(T)) + slot * 8 * MMA_COLUMNS + threadIdx.x;
		unsigned d_m = raw_d;
		if (quants_in_parts(T))
#pragma unroll
			for (int i = 0; i < 8; i++)
				d_m |= (words[i / 2] >> (16 * (i % 2) + 12) & 15u) << (4 * i);
#pragma unroll
		for (int i = 0; i < 8; i++) {
			const unsigned part = words[i / 2] >> (16 * (i % 2)) & 0xffffu;
			const struct quants_scale of = quants_scale_of<T>(part, d_m, 0);
			if (T == TENSOR_Q6_K) /* of.d has quants_unit in it, a quarter */
				to[i * MMA_COLUMNS] =
					make_float2(of.d * 2.0f, quants_scale_of<T>(part, d_m, 1).d * 2.0f);
			else
				to[i * MMA_COLUMNS] = make_float2(of.d * 0.5f, of.m - 128.0f * of.d);
		}
	}
};

/* Four bytes plus 1024 as float16, less `less` and times d, both twice; plus m where a type has it. */
template <int T> INLINE void scaled_bytes(unsigned bytes, unsigned less, unsigned d, unsigned m, unsigned to[2])
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const unsigned q = subtract_f16x2(__byte_perm(bytes, 0x64646464u, i ? 0x4342 : 0x4140), less);
		to[i] = quants_have_least(T) ? multiply_add_f16x2(q, d, m) : multiply_f16x2(q, d);
	}
}

/* Four bytes of seven bits q and a set one above them: 256 + 2 * q as float32, times d, plus m. */
INLINE void scaled_sevens(unsigned bytes, float d, float m, unsigned to[2])
{
	float f[4];
#pragma unroll
	for (int i = 0; i < 4; i++)
		f[i] = fmaf(__uint_as_float(__byte_perm(bytes, 0x43000000u, 0x7044u + (i << 8))), d, m);
	to[0] = pack_f16(f[0], f[1]);
	to[1] = pack_f16(f[2], f[3]);
}

/* Two bfloat16 as float16. */
INLINE unsigned narrow(unsigned w)
{
	return pack_f16(__uint_as_float(w << 16), __uint_as_float(w & 0xffff0000u));
}

/* Bits of eight elements of few bits, four to a byte each, as quants_vec's but unsigned: what is to be subtracted is
 * less_of(). */
template <int T> INLINE uint2 few_bits(const char *stage, int row, int part)
{
	const int quad = (int)threadIdx.x % 4;
	const uint2 low = *(const uint2 *)(stage + data_piece<T>(row, part) + quad % 2 * 8);
	uint2 u;
	if (T == TENSOR_IQ4_NL) {
		u.x = quants_steps(low.x >> (quad / 2 * 16)) ^ 0x80808080u;
		u.y = quants_steps(low.y >> (quad / 2 * 16)) ^ 0x80808080u;
		return u;
	}
	u.x = low.x >> (quad / 2 * 4) & 0x0f0f0f0fu;
	u.y = low.y >> (quad / 2 * 4) & 0x0f0f0f0fu;
	if (T == TENSOR_Q6_K) {
		const unsigned high = ((const unsigned *)(stage + mma_high_at(T)))[row * 4 + part * 2 + quad / 2] >>
				      (quad % 2 * 4);
		u.x |= high << 4 & 0x30303030u;
		u.y |= high << 2 & 0x30303030u;
	} else if (quants_have_five(T)) {
		const unsigned high = ((const unsigned *)(stage + mma_high_at(T)))[row * 2 + part] >> (quad * 2);
		u.x |= high << 4 & 0x10101010u;
		u.y |= high << 3 & 0x10101010u;
	}
	return u;
}

/* The lane's eight elements of a row, part number `part` of stage number s; b[0, 1] for a first product, b[2, 3] for
 * a second. */
template <int T> INLINE void operands(const char *stage, int s, int part, int row, unsigned b[4])
{
	const int quad = (int)threadIdx.x % 4;
	if (mma_in_parts(T)) {
		constexpr unsigned over = T == TENSOR_Q6_K ? 0xa0a0a0a0u : 0x80808080u; /* and its sign is turned */
		const float2 scale = ((const float2 *)(shared_memory +
						       mma_scales_at(T)))[(s / 4 % 2 * 8 + s % 4 * 2 + part) * MMA_COLUMNS +
									  row];
		const float d = T == TENSOR_Q6_K && quad / 2 ? scale.y : scale.x;
		const float m = T == TENSOR_Q6_K ? d * -320.0f : scale.y; /* 256 + 2 * 32 */
		const uint2 u = few_bits<T>(stage, row, part);
		scaled_sevens(u.x ^ over, d, m, b);
		scaled_sevens(u.y ^ over, d, m, b + 2);
	} else if (quants_has(T)) {
		constexpr unsigned sign = T == TENSOR_Q4_0 ? 0x08080808u : T == TENSOR_Q5_0 ? 0x10101010u : 0;
		constexpr unsigned less = T == TENSOR_IQ4_NL ? 0x64806480u : 0x64006400u | (sign & 0x00ff00ffu);
		unsigned d, m = 0;
		if (quants_have_least(T)) {
			const unsigned both = ((const unsigned *)(stage + mma_side_at(T)))[row * 2 + part];
			d = __byte_perm(both, 0, 0x1010);
			m = __byte_perm(both, 0, 0x3232);
		} else {
			d = ((const unsigned short *)(stage + mma_side_at(T)))[row * 2 + part] * 0x10001u;
		}
		const uint2 u = few_bits<T>(stage, row, part);
		scaled_bytes<T>(u.x ^ sign, less, d, m, b);
		scaled_bytes<T>(u.y ^ sign, less, d, m, b + 2);
	} else if (T == TENSOR_Q8_0) {
		const uint2 q = *(const uint2 *)(stage + data_piece<T>(row, part * 2 + quad / 2) + quad % 2 * 8);
		const unsigned d = ((const unsigned short *)(stage + mma_side_at(T)))[row * 2 + part] * 0x10001u;
		scaled_bytes<T>(q.x ^ 0x80808080u, 0x64806480u, d, 0, b);
		scaled_bytes<T>(q.y ^ 0x80808080u, 0x64806480u, d, 0, b + 2);
	} else if (T == TENSOR_F32) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const float4 v = *(const float4 *)(stage + data_piece<T>(row, part * 8 + quad * 2 + i));
			b[2 * i] = pack_f16(v.x, v.y);
			b[2 * i + 1] = pack_f16(v.z, v.w);
		}
	} else {
		const uint4 v = *(const uint4 *)(stage + data_piece<T>(row, part * 4 + quad));
		b[0] = T == TENSOR_F16 ? v.x : narrow(v.x);
		b[1] = T == TENSOR_F16 ? v.y : narrow(v.y);
		b[2] = T == TENSOR_F16 ? v.z : narrow(v.z);
		b[3] = T == TENSOR_F16 ? v.w : narrow(v.w);
	}
}

#endif
