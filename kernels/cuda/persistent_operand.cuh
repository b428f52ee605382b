/*
 * Activations of a product as its warps multiply them with units of tiled weights (kernels/tiles.h): of Q8_0 as digits
 * in the columns of integer products on tensor cores, of types with more bits as floats. Of those with fewer bits:
 * persistent_quants.cuh.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_OPERAND_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_OPERAND_CUH

#include "kernels/cuda/matvec.cuh"
#include "kernels/cuda/persistent_ptx.cuh"
#include "kernels/cuda/quants.cuh"

/* A warp's chunks of a vector, of which a lane has every 32nd vector of four. */
template <int N> struct chunks {
	float4 v[N][2];
};

/* A warp's chunks as floats, where what multiplies them finds them. */
template <int N> INLINE void put_chunks(void *corner, const chunks<N> &x)
{
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			((float4 *)corner)[(c * 2 + i) * WARP + threadIdx.x % WARP] = x.v[c][i];
}

template <int N> INLINE chunks<N> get_chunks(const void *corner)
{
	chunks<N> x;
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			x.v[c][i] = ((const float4 *)corner)[(c * 2 + i) * WARP + threadIdx.x % WARP];
	return x;
}

/*
 * A chunk of activations in the warp's corner, for registers are few: of each block of 32 digits of 8 bits, where its
 * floats were. Digit d, the highest first, is column d of m16n8k32: words of lanes 4 * d .. 4 * d + 3, two each. Column
 * 3 is zeros.
 *
 * The product has eight columns. A block's digits are the first four of them and the next one's the last four, each
 * with zeros beside it, in two products that one sum takes: then of a lane's sums all are of one block, of every second
 * one, and what is to be done with them is half as much.
 */
constexpr float DIGITS_LIMIT = 4194000.0f; /* less than half of what a float's mantissa counts to */

struct shared_digits {
	enum { WORDS = TILE_CHUNK, BLOCK = 32, ZEROS = 12 }; /* lanes from ZEROS on have column 3 */

	/* Returns the scale of what the lane's sums are of: two digits, or one, or none. */
	static __device__ __forceinline__ float leave(float4 low, float4 high, unsigned *to)
	{
		const int lane = threadIdx.x % WARP;
		const float f[2][4] = {{low.x, low.y, low.z, low.w}, {high.x, high.y, high.z, high.w}};
		/* Maximum of magnitudes by their bits: a NaN is greater than all and so is not lost. */
		unsigned m = 0;
#pragma unroll
		for (int i = 0; i < 2; i++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				m = max(m, __float_as_uint(f[i][e]) & 0x7fffffffu);
		const float greatest = __uint_as_float(__reduce_max_sync(ALL_LANES, m));
		const float inverse = greatest >= 1e-30f ? __fdividef(DIGITS_LIMIT, greatest) : 0.0f;
#pragma unroll
		for (int i = 0; i < 2; i++) {
			/* Bytes are digits from -128 to 127: added 128 to each, and their highest bits turned. */
			unsigned q[4];
#pragma unroll
			for (int e = 0; e < 4; e++) {
				const unsigned fixed =
					__float_as_uint(fmaf(f[i][e], inverse, 12582912.0f)) - 0x4b400000u;
				q[e] = (fixed + 0x808080u) ^ 0x808080u;
			}
			const unsigned a = __byte_perm(q[0], q[1], 0x5140), b = __byte_perm(q[2], q[3], 0x5140);
			const unsigned c = __byte_perm(q[0], q[1], 0x0062), d = __byte_perm(q[2], q[3], 0x0062);
			unsigned *const at = to + (i * 4 + lane / 8) * BLOCK + lane % 4 * 2 + lane / 4 % 2;
			at[0] = __byte_perm(c, d, 0x5410);
			at[4 * 2] = __byte_perm(a, b, 0x7632);
			at[8 * 2] = __byte_perm(a, b, 0x5410);
		}
		*(uint2 *)(to + lane / 4 * BLOCK + (ZEROS + lane % 4) * 2) = make_uint2(0, 0);
		return greatest * (1.0f / DIGITS_LIMIT) * (lane % 2 ? 1.0f / 256.0f : 256.0f);
	}

	/* Words of a block in all eight columns, twice the same. */
	static __device__ __forceinline__ uint2 block(const unsigned *from, int k)
	{
		return *(const uint2 *)(from + k * BLOCK + threadIdx.x % 16 * 2);
	}

	/* Where the lane finds the same in the first four columns or the last, and zeros in the others. */
	static __device__ __forceinline__ const unsigned *columns(const unsigned *from, int last)
	{
		const int lane = threadIdx.x % WARP;
		return from + (lane / 16 == last ? lane % 16 : ZEROS + lane % 4) * 2;
	}
};

/* A warp's chunks so. */
template <int N> struct chunks_digits {
	const unsigned *at; /* (N, shared_digits::WORDS) */
	float scales[N];

	__device__ __forceinline__ void set(void *corner)
	{
		unsigned *const to = (unsigned *)corner;
		const chunks<N> v = get_chunks<N>(corner);
		at = to;
		__syncwarp();
#pragma unroll
		for (int c = 0; c < N; c++)
			scales[c] = shared_digits::leave(v.v[c][0], v.v[c][1], to + c * shared_digits::WORDS);
		__syncwarp();
	}

	__device__ __forceinline__ uint2 block(int chunk, int k) const
	{
		return shared_digits::block(at + chunk * shared_digits::WORDS, k);
	}

	/* Of block k in its columns. */
	__device__ __forceinline__ uint2 columns(int chunk, int k) const
	{
		return *(const uint2 *)(shared_digits::columns(at, k % 2) + chunk * shared_digits::WORDS +
					k * shared_digits::BLOCK);
	}

	/* Of its first 16 elements in the first columns, and of the others in the last. */
	__device__ __forceinline__ uint2 halves(int chunk, int k) const
	{
		const int word = chunk * shared_digits::WORDS + k * shared_digits::BLOCK;
		return make_uint2(shared_digits::columns(at, 0)[word], shared_digits::columns(at, 1)[word + 1]);
	}

	__device__ __forceinline__ float scale(int chunk) const
	{
		return scales[chunk];
	}
};

/* Whether the lane's sums are of every second block, or half block, from the second one on. */
INLINE int second_of_two()
{
	return threadIdx.x / 2 % 2;
}

/* Whether a chunk of floats is kept in registers: where no matrix takes digits, which are not. BF16 was measured so. */
#ifdef WEIGHTS_Q8_0
constexpr bool FLOATS_KEPT = false;
#else
constexpr bool FLOATS_KEPT = quants_compiled == 0;
#endif

/* Sums of a lane's that are a row's when its lanes have added them, and which row. */
template <int T, int N, bool QUANTS = quants_has(T) != 0> struct operand {
	enum { KEPT = N == 1 && FLOATS_KEPT };
	const float *x;
	float4 own[8]; /* of the chunk that is multiplied */

	__device__ __forceinline__ void set(void *corner)
	{
		x = (const float *)corner;
		if (KEPT)
			read(0);
	}

	/* A lane has every eighth vector of EACH elements. */
	enum { EACH = T == TENSOR_F32 ? 4 : 8 };

	__device__ __forceinline__ void read(int chunk)
	{
		const float *const from = x + chunk * TILE_CHUNK + threadIdx.x % 8 * EACH;
#pragma unroll
		for (int i = 0; i < 8; i++)
			own[i] = *(const float4 *)(EACH == 4 ? from + i * 32 : from + i / 2 * 64 + i % 2 * 4);
	}

	float sum[4];

	__device__ __forceinline__ void clear()
	{
#pragma unroll
		for (int r = 0; r < 4; r++)
			sum[r] = 0.0f;
	}

	__device__ __forceinline__ void multiply(const char *unit, int chunk)
	{
		const uint4 *const w = (const uint4 *)unit + threadIdx.x % WARP;
		if (!KEPT)
			read(chunk);
#pragma unroll
		for (int i = 0; i < 32 / EACH; i++)
#pragma unroll
			for (int r = 0; r < 4; r++) {
				const uint4 v = w[(i * 4 + r) * WARP];
				if (T == TENSOR_F32)
					sum[r] = weight_stream<T, int>::dot4(v, own[i], sum[r]);
				else
					sum[r] = weight_stream<T, int>::dot8(v, own[i * 2 % 8], own[i * 2 % 8 + 1],
									     sum[r]);
			}
	}

	/* The rows' sums over the warp to where its rows begin: eight lanes have four rows. */
	__device__ __forceinline__ void leave(float *to) const
	{
		const int lane = threadIdx.x % WARP;
		float a = lane & 1 ? sum[2] : sum[0], b = lane & 1 ? sum[3] : sum[1];
		a += __shfl_xor_sync(ALL_LANES, lane & 1 ? sum[0] : sum[2], 1);
		b += __shfl_xor_sync(ALL_LANES, lane & 1 ? sum[1] : sum[3], 1);
		const float other = __shfl_xor_sync(ALL_LANES, lane & 2 ? a : b, 2);
		float v = (lane & 2 ? b : a) + other;
		v += __shfl_xor_sync(ALL_LANES, v, 4);
		if (lane % 8 < 4)
			to[lane / 8 * 4 + lane % 2 * 2 + lane / 2 % 2] = v;
	}
};

/* The rows' sums a and b, of rows g and g + 8, of four lanes. */
INLINE void leave_rows(float a, float b, float *to)
{
	const int lane = threadIdx.x % WARP;
	float v = (lane & 1 ? b : a) + __shfl_xor_sync(ALL_LANES, lane & 1 ? a : b, 1);
	v += __shfl_xor_sync(ALL_LANES, v, 2);
	if (lane % 4 < 2)
		to[lane / 4 + lane % 4 * 8] = v;
}

template <int N> struct operand<TENSOR_Q8_0, N, false> {
	struct chunks_digits<N> x;
	float a, b; /* rows lane / 4 and lane / 4 + 8 */

	__device__ __forceinline__ void set(void *corner)
	{
		x.set(corner);
	}

	__device__ __forceinline__ void clear()
	{
		a = b = 0.0f;
	}

	__device__ __forceinline__ void leave(float *to) const
	{
		leave_rows(a, b, to);
	}

	__device__ __forceinline__ void multiply(const char *unit, int chunk)
	{
		const int lane = threadIdx.x % WARP;
		const uint4 *const w = (const uint4 *)(unit + TILE_SCALES) + lane;
		const uint4 s = ((const uint4 *)unit)[lane / 4 * 2 + second_of_two()];
		const unsigned scales[4] = {s.x, s.y, s.z, s.w};
		float r0 = 0.0f, r1 = 0.0f;
#pragma unroll
		for (int k = 0; k < 8; k += 2) {
			const uint4 v = w[k * WARP], u = w[(k + 1) * WARP];
			const uint2 first = x.columns(chunk, k), second = x.columns(chunk, k + 1);
			int c[4] = {0, 0, 0, 0};
			multiply_add_s8(c, v.x, v.y, v.z, v.w, first.x, first.y);
			multiply_add_s8(c, u.x, u.y, u.z, u.w, second.x, second.y);
			const float2 f = pair_to_f32<TENSOR_F16>(scales[k / 2]);
			r0 = fmaf((float)(c[0] * 256 + c[1]), f.x, r0);
			r1 = fmaf((float)(c[2] * 256 + c[3]), f.y, r1);
		}
		a = fmaf(r0, x.scale(chunk), a);
		b = fmaf(r1, x.scale(chunk), b);
	}
};

#endif
