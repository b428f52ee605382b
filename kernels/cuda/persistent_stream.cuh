/*
 * Vectors in a token's kernel as its warps have them: the residual stream, of which each block has a copy, and what is
 * awaited of other blocks, each warp's chunks of it in registers.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_STREAM_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_STREAM_CUH

#include "kernels/cuda/persistent_operand.cuh"
#include "kernels/cuda/persistent_vector.cuh"

/* What a warp has at most, of this model's stream and of slices of other vectors; see cuda_options. */
#ifndef STREAM_CHUNKS
#define STREAM_CHUNKS PERSISTENT_CHUNKS
#endif
#ifndef SLICE_CHUNKS
#define SLICE_CHUNKS PERSISTENT_CHUNKS
#endif

/* Of a warp's chunks (persistent_operand.cuh): which vector of four the lane's number i of a chunk is. */
INLINE int vec_of(int chunk, int i)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	return ((chunk * PERSISTENT_WARPS + warp) * 2 + i) * WARP + lane;
}

/*
 * How much of a vector is in the warp's chunks. Of models' widths all of a chunk or nothing, for all lanes alike: that
 * is what is fast.
 */
struct extent {
	int n_vecs; /* of the vector */
	int n_chunks;
	bool ragged; /* then the last of them not all */

	__device__ __forceinline__ extent(int vecs)
	{
		const int rest = vecs - (int)(threadIdx.x / WARP) * 2 * WARP;
		n_vecs = vecs;
		n_chunks = rest <= 0 ? 0 : (rest + PERSISTENT_WARPS * 2 * WARP - 1) / (PERSISTENT_WARPS * 2 * WARP);
		ragged = vecs % (2 * WARP) != 0;
	}

	__device__ __forceinline__ bool has(int chunk, int i) const
	{
		return chunk < n_chunks && (!ragged || vec_of(chunk, i) < n_vecs);
	}
};

/* from null, or behind its end: other. */
template <int N> INLINE void load_chunks(chunks<N> &to, const float *from, float other, const struct extent &e)
{
	const float4 *const own = (const float4 *)from + vec_of(0, 0);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			to.v[c][i] = make_float4(other, other, other, other);
			if (from && e.has(c, i))
				to.v[c][i] = load_once(own + vec_of(c, i) - vec_of(0, 0));
		}
}

/* The same into the warp's corner, meanwhile: async_copies_wait. */
template <int N> INLINE void fetch_chunks(void *corner, const float *from, float other, const struct extent &e)
{
	const float4 *const own = (const float4 *)from + vec_of(0, 0);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			float4 *const to = (float4 *)corner + (c * 2 + i) * WARP + threadIdx.x % WARP;
			if (from && e.has(c, i))
				async_copy(to, own + vec_of(c, i) - vec_of(0, 0));
			else
				*to = make_float4(other, other, other, other);
		}
}

/* What the block has of the stream. */
template <int N> INLINE void load_stream(chunks<N> &to, const float *h_shared, const struct extent &e)
{
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			to.v[c][i] = make_float4(0, 0, 0, 0);
			if (e.has(c, i))
				to.v[c][i] = ((const float4 *)h_shared)[vec_of(c, i)];
		}
}

template <int N> INLINE void store_chunks(float *to, const chunks<N> &x, const struct extent &e)
{
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			if (e.has(c, i))
				((float4 *)to)[vec_of(c, i)] = x.v[c][i];
}

INLINE float4 plus(float4 a, float4 b)
{
	return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

INLINE float4 times(float4 a, float4 b)
{
	return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

INLINE float4 scaled(float4 a, float s)
{
	return make_float4(a.x * s, a.y * s, a.z * s, a.w * s);
}

template <int N> INLINE float sum_of_squares(const chunks<N> &x)
{
	float sum = 0.0f;
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const float4 v = x.v[c][i];
			sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
		}
	return sum;
}

/* In its lowest bit whether an element of that vector is of another token than the one whose flip that is. */
INLINE unsigned of_another(uint4 v, unsigned flip)
{
	return (v.x ^ flip) | (v.y ^ flip) | (v.z ^ flip) | (v.w ^ flip);
}

/*
 * Adds the parts first .. first + P of n_parts, each n_vecs long, to those before. A part is asked for again as a whole
 * until all of it is there.
 */
template <int P, int N>
INLINE void await_some(const float *in, int first, int n_parts, const struct extent &e, unsigned parity, chunks<N> &x)
{
	const unsigned flip = 0u - parity;
	const float *part[P];
	uint4 u[P][N][2];
	unsigned missing = 0;
#pragma unroll
	for (int k = 0; k < P; k++) {
		part[k] = in + 4 * ((long long)(first + k) * e.n_vecs + vec_of(0, 0));
		missing |= first + k < n_parts ? 1u << k : 0;
#pragma unroll
		for (int j = 0; j < N * 2; j++)
			u[k][j / 2][j % 2] = make_uint4(0, 0, 0, 0);
	}
	if (!e.n_chunks)
		missing = 0;
	while (missing) {
#pragma unroll
		for (int k = 0; k < P; k++)
			if (missing >> k & 1) {
#pragma unroll
				for (int j = 0; j < N * 2; j++)
					if (e.has(j / 2, j % 2))
						u[k][j / 2][j % 2] =
							load_now4(part[k] + 4 * (vec_of(j / 2, j % 2) - vec_of(0, 0)));
			}
#pragma unroll
		for (int k = 0; k < P; k++) {
			unsigned wrong = 0;
#pragma unroll
			for (int j = 0; j < N * 2; j++) {
				if (e.has(j / 2, j % 2))
					wrong |= of_another(u[k][j / 2][j % 2], flip);
			}
			if (!(wrong & 1))
				missing &= ~(1u << k);
		}
	}
	__syncwarp();
#pragma unroll
	for (int k = 0; k < P; k++)
#pragma unroll
		for (int j = 0; j < N * 2; j++) {
			const uint4 w = u[k][j / 2][j % 2];
			const float4 v = make_float4(__uint_as_float(w.x & ~1u), __uint_as_float(w.y & ~1u),
						     __uint_as_float(w.z & ~1u), __uint_as_float(w.w & ~1u));
			float4 &to = x.v[j / 2][j % 2];
			to = first + k ? plus(to, v) : v;
		}
}

/* Whether a vector of the last part is awaited before all of them are: in mixtures that cost 1 %, and spills. */
#ifndef AWAIT_FIRST
#ifdef EXPERTS
#define AWAIT_FIRST 0
#else
#define AWAIT_FIRST 1
#endif
#endif

/*
 * Until the warp's first vector of a part is there, which one lane asks for. All blocks ask for all parts: who asks for
 * all of them again and again takes the L2 from those who still work on them.
 */
INLINE void await_first(const float *part, const struct extent &e, unsigned parity)
{
	const unsigned flip = 0u - parity;
	if (threadIdx.x % WARP == 0 && e.has(0, 0)) {
		while (of_another(load_now4(part + 4 * vec_of(0, 0)), flip) & 1)
			;
	}
	__syncwarp();
}

/* What p.in's parts sum to. */
template <int N>
INLINE void await_parts(const float *in, int n_parts, const struct extent &e, unsigned parity, chunks<N> &x)
{
	enum { AT_ONCE = N > 1 ? 2 : 4 }; /* of the widest fewer: registers */
	if (AWAIT_FIRST && n_parts > 1)
		await_first(in + 4ll * e.n_vecs * (n_parts - 1), e, parity);
#pragma unroll
	for (int first = 0; first < PERSISTENT_SPLITS; first += AT_ONCE)
		if (!first || first < n_parts)
			await_some<AT_ONCE>(in, first, n_parts, e, parity, x);
}

INLINE float rms_factor(float sum, const struct persistent_program &g)
{
	return reciprocal_root(__fdividef(sum, (float)g.n_embd) + g.eps);
}

#endif
