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
 * A chunk as columns of m16n8k32: column d of block k is digit d, the highest first, words 2 * k and 2 * k + 1 of lanes
 * 4 * d .. 4 * d + 3. Digit d's word w of lane 4 * d + part goes to (4 * d + part) * EACH + w / 4 * FOUR + w % 4. Returns
 * the greatest magnitude, which is LIMIT.
 */
constexpr float DIGITS_LIMIT = 4194000.0f; /* less than half of what a float's mantissa counts to */

template <int EACH, int FOUR> INLINE float leave_digits(float4 low, float4 high, unsigned *to)
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
			const unsigned fixed = __float_as_uint(fmaf(f[i][e], inverse, 12582912.0f)) - 0x4b400000u;
			q[e] = (fixed + 0x808080u) ^ 0x808080u;
		}
		const unsigned a = __byte_perm(q[0], q[1], 0x5140), b = __byte_perm(q[2], q[3], 0x5140);
		const unsigned c = __byte_perm(q[0], q[1], 0x0062), d = __byte_perm(q[2], q[3], 0x0062);
		const int word = (i * 4 + lane / 8) * 2 + lane / 4 % 2;
		unsigned *const at = to + lane % 4 * EACH + word / 4 * FOUR + word % 4;
		at[0] = __byte_perm(c, d, 0x5410);
		at[4 * EACH] = __byte_perm(a, b, 0x7632);
		at[8 * EACH] = __byte_perm(a, b, 0x5410);
	}
	return greatest;
}

/* Of what this lane's accumulators sum: two digits, or one, or none. */
INLINE float digits_scale(float greatest)
{
	const int part = threadIdx.x % 4;
	return greatest * (1.0f / DIGITS_LIMIT) * (part == 0 ? 256.0f : part == 1 ? 1.0f / 256.0f : 0.0f);
}

/*
 * A chunk of activations in the warp's corner, for registers are few: digits where its floats were, four words of a lane
 * of four columns behind each other, the last column zeros; the other columns of a product are those again, and
 * nobody's.
 */
struct shared_digits {
	enum { WORDS = TILE_CHUNK, FOUR = 64 };

	/* Returns their scale. */
	static __device__ __forceinline__ float leave(float4 low, float4 high, unsigned *to)
	{
		const int lane = threadIdx.x % WARP;
		*(uint2 *)(to + lane / 8 * FOUR + 48 + lane % 8 * 2) = make_uint2(0, 0);
		return digits_scale(leave_digits<4, FOUR>(low, high, to));
	}

	/* Words 2 * k and 2 * k + 1 of the lane's. */
	static __device__ __forceinline__ uint2 block(const unsigned *from, int k)
	{
		return *(const uint2 *)(from + k / 2 * FOUR + threadIdx.x % 16 * 4 + k % 2 * 2);
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

	__device__ __forceinline__ float scale(int chunk) const
	{
		return scales[chunk];
	}
};

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

/* The rows' sums a and b, of rows g and g + 8, of four lanes, of which the first two have digits. */
INLINE void leave_rows(float a, float b, float *to)
{
	const int lane = threadIdx.x % WARP;
	const float v = a + __shfl_xor_sync(ALL_LANES, a, 1), w = b + __shfl_xor_sync(ALL_LANES, b, 1);
	if (lane % 4 == 0) {
		to[lane / 4] = v;
		to[lane / 4 + 8] = w;
	}
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
		const uint4 *const s = (const uint4 *)unit + lane / 4 * 2;
		const uint4 s0 = s[0], s1 = s[1];
		const unsigned scales[8] = {s0.x, s0.y, s0.z, s0.w, s1.x, s1.y, s1.z, s1.w};
		float r0 = 0.0f, r1 = 0.0f;
#pragma unroll
		for (int k = 0; k < 8; k++) {
			const uint4 v = w[k * WARP];
			int c[4] = {0, 0, 0, 0};
			const uint2 columns = x.block(chunk, k);
			multiply_add_s8(c, v.x, v.y, v.z, v.w, columns.x, columns.y);
			const float2 f = pair_to_f32<TENSOR_F16>(scales[k]);
			r0 = fmaf((float)(c[0] * 256 + c[1]), f.x, r0);
			r1 = fmaf((float)(c[2] * 256 + c[3]), f.y, r1);
		}
		a = fmaf(r0, x.scale(chunk), a);
		b = fmaf(r1, x.scale(chunk), b);
	}
};

#endif
