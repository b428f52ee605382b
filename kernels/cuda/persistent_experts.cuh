/*
 * A mixture of experts in a token's kernel. A block has a row of the router or none; all get its logits, and the warp
 * that copies chooses in each, before it brings the first product of experts: it knows what to copy by then, and the
 * others what they leave is weighted with. Between the router and that product are those that every token takes, which
 * keep memory and warps busy meanwhile.
 *
 * An expert's weight is in what its gate and up leave, so that what the experts' down products leave is a sum of
 * products like any other.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_EXPERTS_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_EXPERTS_CUH

#include "kernels/cuda/persistent_copy.cuh"
#include "kernels/cuda/persistent_stream.cuh"

/* ---- choosing ---- */

/* Orders as floats do, but that -0 is 0; of a number or infinity not 0, nor of what NaN a vector can have. */
INLINE unsigned ordered(float v)
{
	const unsigned bits = __float_as_uint(v + 0.0f);
	return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

INLINE float from_ordered(unsigned key)
{
	return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* A warp: the experts of greatest logits, of equals those of lower numbers, and their weights as moe_route has them. */
INLINE void choose_experts(const struct persistent_program &g, const struct persistent_copy &c, unsigned parity)
{
	enum { EACH = PERSISTENT_EXPERTS / WARP };
	const int lane = threadIdx.x % WARP;
	unsigned key[EACH];
	float scale[EACH], greatest = 0.0f, sum = 0.0f, own = 0.0f;
	int own_id = 0;

	__syncwarp(); /* who copies is here: until then the others ask for nothing */
#pragma unroll
	for (int i = 0; i < EACH; i++)
		scale[i] = c.scales && i * WARP + lane < c.n_expert ? c.scales[i * WARP + lane] : 1.0f;
	unsigned wrong;
	do {
		wrong = 0;
#pragma unroll
		for (int i = 0; i < EACH; i++) {
			const bool is = i * WARP + lane < c.n_expert;
			key[i] = is ? load_now(c.logits + i * WARP + lane) : parity;
			wrong |= key[i] ^ parity;
		}
	} while (wrong & 1);
	__syncwarp();
#pragma unroll
	for (int i = 0; i < EACH; i++)
		key[i] = i * WARP + lane < c.n_expert ? ordered(__uint_as_float(key[i] & ~1u)) : 0;
#pragma unroll 1
	for (int u = 0; u < c.n_used; u++) {
		unsigned best = 0;
		int id = 0;
#pragma unroll
		for (int i = 0; i < EACH; i++)
			if (key[i] > best) {
				best = key[i];
				id = i * WARP + lane;
			}
		const unsigned most = __reduce_max_sync(ALL_LANES, best);
		id = (int)~__reduce_max_sync(ALL_LANES, best == most ? ~(unsigned)id : 0);
		float its_scale = 0.0f;
#pragma unroll
		for (int i = 0; i < EACH; i++)
			if (i * WARP + lane == id) {
				key[i] = 0;
				its_scale = scale[i];
			}
		its_scale = __shfl_sync(ALL_LANES, its_scale, id % WARP);
		const float logit = from_ordered(most);
		if (u == 0)
			greatest = logit;
		const float e = power_of_two((logit - greatest) * LOG2_E);
		sum += e;
		if (lane == u) {
			own = e * its_scale;
			own_id = id;
		}
	}
	if (lane < c.n_used) {
		chosen_experts(g)[lane] = own_id;
		expert_weights(g)[lane] = __fdividef(own, sum);
	}
	__syncwarp();
}

/* ---- the router ---- */

/* Four elements of a row in shared memory. */
INLINE float4 row_vec(const char *at, int type)
{
	if (type == TENSOR_F32)
		return *(const float4 *)at;
	const uint2 u = *(const uint2 *)at;
	const float2 a = type == TENSOR_F16 ? pair_to_f32<TENSOR_F16>(u.x) : pair_to_f32<TENSOR_BF16>(u.x);
	const float2 b = type == TENSOR_F16 ? pair_to_f32<TENSOR_F16>(u.y) : pair_to_f32<TENSOR_BF16>(u.y);
	return make_float4(a.x, a.y, b.x, b.y);
}

/* The block's rows of the router. corner: x but for the factor of its norm, of which sum is this thread's part. */
INLINE void route(const struct persistent_params &params, const struct persistent_program &g,
		  const struct persistent_product &p, struct token &t, const void *corner, float sum,
		  const struct stages &s, struct stage &own)
{
	const struct extent e(g.n_embd / 4);
	const struct weight &w = p.w[0];
	const int vec_bytes = w.type == TENSOR_F32 ? 16 : 8;
	const int pieces = persistent_job_pieces(g.n_embd / 4 * vec_bytes, s.bytes);
	int row = first_job(p, g.n_blocks);
	__syncwarp();
	stamp(params, g, PERSISTENT_INPUT);
	leave_sum(g, t, sum);
#pragma unroll 1
	for (; row < p.n_jobs; row += p.stride) {
		const chunks<STREAM_CHUNKS> x = get_chunks<STREAM_CHUNKS>(corner);
		float dot = 0.0f;
		for (int i = 0; i < pieces; i++) {
			const struct stage there = own.after(i, s);
			barrier_wait(s.full + there.at, there.parity);
		}
#pragma unroll
		for (int c = 0; c < STREAM_CHUNKS; c++)
#pragma unroll
			for (int i = 0; i < 2; i++) {
				if (!e.has(c, i))
					continue;
				const int at = vec_of(c, i) * vec_bytes, piece = at / s.bytes;
				const struct stage there = own.after(piece, s);
				const float4 v = row_vec(s.memory + there.at * s.bytes + at % s.bytes, w.type);
				dot += x.v[c][i].x * v.x + x.v[c][i].y * v.y + x.v[c][i].z * v.z + x.v[c][i].w * v.w;
			}
		dot = consumers_sum(g, t, dot);
		stamp(params, g, PERSISTENT_WORKED);
		if (threadIdx.x == 0) {
			for (int i = 0; i < pieces; i++)
				barrier_arrive(s.empty + own.after(i, s).at, PERSISTENT_PIECE_SHARES);
			publish(p.y[0] + row, dot * rms_factor(left_sum(g, t), g) * reciprocal_root((float)g.n_embd),
				t.parity);
		}
		own = own.after(pieces, s);
	}
}

/* ---- what they leave ---- */

/*
 * A thread's own vectors of what the sums of warps are not in meanwhile: first rms_norm(p.beside) * p.beside_norm, then
 * p.post_norm. Registers have enough to do.
 */
INLINE float4 *beside_vecs(const struct persistent_program &g, int n_vecs)
{
	return (float4 *)shared_floats(g.partial_at) + n_vecs;
}

/* What every token takes, left long before what the experts do. Behind that, sums of warps have been read. */
template <int N>
INLINE void await_beside(const struct persistent_program &g, const struct persistent_product &p, struct token &t,
			 const struct extent &e)
{
	chunks<N> x, norm;
	load_chunks(norm, p.beside_norm, 1, e);
	await_parts(p.beside, p.n_beside, e, t.parity, x);
	const float factor = rms_factor(consumers_sum(g, t, sum_of_squares(x)), g);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			if (!e.has(c, i))
				continue;
			beside_vecs(g, 0)[vec_of(c, i)] = times(scaled(x.v[c][i], factor), norm.v[c][i]);
			async_copy(beside_vecs(g, e.n_vecs) + vec_of(c, i), (const float4 *)p.post_norm + vec_of(c, i));
		}
}

/* x = that + x * factor * norm; norm = p.post_norm */
template <int N>
INLINE void add_beside(const struct persistent_program &g, const struct extent &e, float factor, chunks<N> &x,
		       chunks<N> &norm)
{
	async_copies_wait();
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			x.v[c][i] = times(scaled(x.v[c][i], factor), norm.v[c][i]);
			if (!e.has(c, i))
				continue;
			x.v[c][i] = plus(beside_vecs(g, 0)[vec_of(c, i)], x.v[c][i]);
			norm.v[c][i] = beside_vecs(g, e.n_vecs)[vec_of(c, i)];
		}
}

/* Vectors of what experts left that are a warp's, of a job's slice of them: of one expert, whose last chunk may be short. */
INLINE int expert_vecs(const struct persistent_product &p, int slice)
{
	const int warp = threadIdx.x / WARP, expert = slice * p.experts_each + warp / p.expert_chunks;
	const int rest = p.w[0].n_in - warp % p.expert_chunks * TILE_CHUNK;
	if (warp >= p.n_chunks || expert >= p.n_used)
		return 0;
	return warp * 2 * WARP + min(rest, (int)TILE_CHUNK) / 4;
}

#endif
