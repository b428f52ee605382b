/*
 * What lies between the products of a prompt in float16: norms with the residual addition, gates, what follows q, k
 * and v, and the order of tokens by expert. Each reads what a product left in float32 or float16 and writes what the
 * next one takes.
 */
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/load8.cuh"
#include "kernels/cuda/prompt_geometry.h"
#include "kernels/cuda/rows_f16.cuh"

INLINE float4 load4(const float *x, int i)
{
	return ((const float4 *)x)[i];
}

INLINE float squares(float4 v)
{
	return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}

INLINE float4 scaled(float4 v, float s, float4 w)
{
	return make_float4(v.x * s * w.x, v.y * s * w.y, v.z * s * w.z, v.w * s * w.w);
}

INLINE float largest_of(float4 v)
{
	return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

INLINE void store4_f16(void *y, int i, float4 v, float by)
{
	((uint2 *)y)[i] = make_uint2(pack_f16(v.x * by, v.y * by), pack_f16(v.z * by, v.w * by));
}

/* A CTA per row, which its threads hold: i is the thread's j-th vector of four, where it has one. */
#define FOR_HELD(j, i, n_vecs)                                                        \
	_Pragma("unroll") for (int j = 0, i = (int)threadIdx.x; j < PROMPT_NORM_HELD; \
			       j++, i += (int)blockDim.x) if (i < (n_vecs))

/* y, y_scale = the row that the threads hold. */
INLINE void store_held(unsigned short *y, float *y_scale, int n_vecs, const float4 v[PROMPT_NORM_HELD], float *scratch)
{
	float largest = 0.0f;
	FOR_HELD(j, i, n_vecs)
	largest = fmaxf(largest, largest_of(v[j]));
	const float scale = scale_of(block_max(largest, scratch)), by = 1.0f / scale;
	if (threadIdx.x == 0)
		*y_scale = scale;
	FOR_HELD(j, i, n_vecs)
	store4_f16(y, i, v[j], by);
}

KERNEL(1024) k_prompt_norm(const __grid_constant__ struct prompt_norm_params p)
{
	__shared__ float scratch[2][WARP];
	const int n_vecs = p.n / 4;
	const long long at = (long long)blockIdx.x * p.n;
	const float *x = p.x + at;
	unsigned short *y = (unsigned short *)p.y + at;
	float4 v[PROMPT_NORM_HELD];
	float sum = 0.0f;

	let_next_start();
	wait_for_earlier();
	FOR_HELD(j, i, n_vecs)
	{
		v[j] = load4(x, i);
		sum += squares(v[j]);
	}
	const float factor = p.scale / sqrtf(block_sum(sum, scratch[0]) / (float)p.n + p.eps);
	FOR_HELD(j, i, n_vecs)
	v[j] = scaled(v[j], factor, p.weight ? load4(p.weight, i) : make_float4(1, 1, 1, 1));
	store_held(y, p.y_scale + blockIdx.x, n_vecs, v, scratch[1]);
}

KERNEL(1024) k_prompt_residual(const __grid_constant__ struct prompt_residual_params p)
{
	__shared__ float scratch[3][WARP];
	const int n_vecs = p.n / 4;
	const long long at = (long long)blockIdx.x * p.n;
	const float *b = p.b + at;
	float *h = p.h + at;
	unsigned short *y = (unsigned short *)p.y + at;
	float4 v[PROMPT_NORM_HELD], r[PROMPT_NORM_HELD];
	float sum = 0.0f, factor = 1.0f;

	let_next_start();
	wait_for_earlier();
	const float b_scale = p.b_scale ? p.b_scale[blockIdx.x] : 1.0f;
	FOR_HELD(j, i, n_vecs)
	{
		v[j] = scaled(load4(b, i), b_scale, make_float4(1, 1, 1, 1));
		r[j] = load4(h, i);
		sum += squares(v[j]);
	}
	if (p.weight)
		factor = 1.0f / sqrtf(block_sum(sum, scratch[0]) / (float)p.n + p.eps);
	sum = 0.0f;
	FOR_HELD(j, i, n_vecs)
	{
		const float4 u = p.weight ? scaled(v[j], factor, load4(p.weight, i)) : v[j];
		r[j] = make_float4((r[j].x + u.x) * p.scale, (r[j].y + u.y) * p.scale, (r[j].z + u.z) * p.scale,
				   (r[j].w + u.w) * p.scale);
		((float4 *)h)[i] = r[j];
		sum += squares(r[j]);
	}
	if (!p.y)
		return;
	if (p.next)
		factor = 1.0f / sqrtf(block_sum(sum, scratch[1]) / (float)p.n + p.eps);
	FOR_HELD(j, i, n_vecs)
	r[j] = p.next ? scaled(r[j], factor, load4(p.next, i)) : r[j];
	store_held(y, p.y_scale + blockIdx.x, n_vecs, r, scratch[2]);
}

/* A thread per eight elements of a row. */
KERNEL(256) k_prompt_gated(const __grid_constant__ struct prompt_gated_params p)
{
	const int k = 8 * (int)(blockIdx.x * 256 + threadIdx.x);

	let_next_start();
	wait_for_earlier();
	if (k >= p.n)
		return;
	for (long long row = blockIdx.y; row < p.n_rows; row += gridDim.y) {
		const float scale = p.x_scale[row], by = 1.0f / scale;
		float gate[8], up[8];
		unsigned words[4];
		if (k == 0)
			p.y_scale[row] = p.up_type == TENSOR_F32 ? scale : scale * scale;
		load8(p.gate, TENSOR_F16, row * p.gate_stride + k, gate);
		load8(p.up, p.up_type, row * p.up_stride + k, up);
#pragma unroll
		for (int j = 0; j < 8; j++)
			gate[j] = within_f16(activate(gate[j] * scale, p.act) * by * up[j]);
#pragma unroll
		for (int j = 0; j < 4; j++)
			words[j] = pack_f16(gate[2 * j], gate[2 * j + 1]);
		*(uint4 *)((unsigned short *)p.y + row * p.n + k) = make_uint4(words[0], words[1], words[2], words[3]);
	}
}

/* ---- q, k and v: a CTA per token, a warp per head, a lane for every 32nd rotary pair ---- */

enum { LANE_PAIRS = PROMPT_HEAD_DIM_MAX / 2 / WARP };

/* The angle is a float32 product, as everywhere; its reduction to half turns is exact to float32. */
INLINE float2 cos_sin(int pos, float inv_freq)
{
	const double half_turns = (double)((float)pos * inv_freq) * 0.31830988618379067154;
	float2 cs;
	sincospif((float)(half_turns - 2.0 * rint(half_turns * 0.5)), &cs.y, &cs.x);
	return cs;
}

/* v = x * scale, and 1 / rms of that. */
INLINE float load_head(const float *x, float scale, int half, float eps, float2 v[LANE_PAIRS])
{
	float sum = 0.0f;
#pragma unroll
	for (int i = 0; i < LANE_PAIRS; i++) {
		const int j = (int)threadIdx.x % WARP + i * WARP;
		v[i] = j < half ? make_float2(x[j] * scale, x[j + half] * scale) : make_float2(0, 0);
		sum += v[i].x * v[i].x + v[i].y * v[i].y;
	}
	return 1.0f / sqrtf(warp_sum(sum) / (float)(2 * half) + eps);
}

INLINE void store_head(void *row, int type, int half, const float2 v[LANE_PAIRS])
{
#pragma unroll
	for (int i = 0; i < LANE_PAIRS; i++) {
		const int j = (int)threadIdx.x % WARP + i * WARP;
		if (j < half) {
			store_element(row, type, j, v[i].x);
			store_element(row, type, j + half, v[i].y);
		}
	}
}

/* Lane i gets element number `block` * 32 + i. */
INLINE float block_element(const float2 v[LANE_PAIRS], int half, int block)
{
	const int lane = (int)threadIdx.x % WARP, of_second = block * WARP + lane - half;
	float x = 0.0f;
#pragma unroll
	for (int i = 0; i < LANE_PAIRS; i++) {
		const float second = __shfl_sync(ALL_LANES, v[i].y, (lane - half) & (WARP - 1));
		if (of_second < 0 && block == i)
			x = v[i].x;
		if (of_second >= 0 && of_second / WARP == i)
			x = second;
	}
	return x;
}

INLINE void store_cached(char *row, int type, int half, const float2 v[LANE_PAIRS])
{
	if (type != TENSOR_Q8_0) {
		store_head(row, type, half, v);
		return;
	}
#pragma unroll 1
	for (int b = 0; b < 2 * half / CACHE_BLOCK; b++)
		store_block(row, 2 * half, b, block_element(v, half, b));
	store_padding(row, 2 * half, (int)threadIdx.x % WARP);
}

KERNEL(PROMPT_ROWS_THREADS) k_prompt_qkv(const __grid_constant__ struct prompt_qkv_params p)
{
	__shared__ float2 turn[PROMPT_HEAD_DIM_MAX / 2];
	const int half = p.head_dim / 2, lane = (int)threadIdx.x % WARP;
	const int t = (int)blockIdx.x, n_kv = p.owns ? p.kv.n_kv_heads : 0;

	let_next_start();
	wait_for_earlier();
	const struct step step = step_of(p.at);
	const int pos = step.pos + t;
	for (int j = threadIdx.x; j < half; j += PROMPT_ROWS_THREADS)
		turn[j] = cos_sin(pos, p.inv_freq[j]);
	__syncthreads();
	const float *rows = p.rows + (long long)t * p.stride;
	const float row_scale = p.scale ? p.scale[t] : 1.0f;
	/* Of tokens that share a slot of the ring only the last writes. */
	const bool cached = p.kv.ring <= 0 || t >= p.n_tokens - p.kv.ring;
	for (int head = (int)threadIdx.x / WARP; head < p.n_heads + 2 * n_kv; head += PROMPT_ROWS_THREADS / WARP) {
		const bool is_q = head < p.n_heads, is_v = head >= p.n_heads + n_kv;
		const int kv_head = head - p.n_heads - (is_v ? n_kv : 0);
		const float *x = rows + (long long)(is_v && p.v_is_k ? head - n_kv : head) * p.head_dim;
		float2 v[LANE_PAIRS];
		const float scale = load_head(x, row_scale, half, p.eps, v);
		if (!is_v) {
			const float *norm = is_q ? p.q_norm : p.k_norm;
#pragma unroll
			for (int i = 0; i < LANE_PAIRS; i++) {
				const int j = lane + i * WARP;
				if (j < half) {
					const float2 cs = turn[j];
					const float a = v[i].x * scale * norm[j], b = v[i].y * scale * norm[j + half];
					v[i] = make_float2(a * cs.x - b * cs.y, a * cs.y + b * cs.x);
				}
			}
		} else if (p.v_norm) {
#pragma unroll
			for (int i = 0; i < LANE_PAIRS; i++)
				v[i] = make_float2(v[i].x * scale, v[i].y * scale);
		}
		if (is_q) {
			store_head(p.q + ((long long)t * p.n_heads + head) * p.head_dim, TENSOR_F32, half, v);
			continue;
		}
		float *out = is_v ? p.v_out : p.k_out;
		if (out)
			store_head(out + ((long long)t * n_kv + kv_head) * p.head_dim, TENSOR_F32, half, v);
		const int type = is_v ? p.kv.v_type : p.kv.type, slot = append_slot(p.kv, pos, step.evicted);
		if (cached)
			store_cached(cache_row(is_v ? p.kv.v : p.kv.k, type, p.kv, kv_head, slot), type, half, v);
	}
}

/* ---- tokens by expert: a CTA per expert counts those of the experts before it, and its own thread by thread ---- */

enum { SORT_WARPS = PROMPT_SORT_THREADS / WARP };

KERNEL(PROMPT_SORT_THREADS) k_moe_sort(const __grid_constant__ struct moe_sort_params p)
{
	__shared__ int sums[2][SORT_WARPS];
	const int e = (int)blockIdx.x, lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int each = (p.n_pairs + PROMPT_SORT_THREADS - 1) / PROMPT_SORT_THREADS;
	const int begin = min((int)threadIdx.x * each, p.n_pairs), end = min(begin + each, p.n_pairs);
	int lower = 0, own = 0;

	let_next_start();
	wait_for_earlier();
	for (int i = begin; i < end; i++) {
		const int id = p.ids[i];
		lower += id < e;
		own += id == e;
	}
	int before = own; /* up to this thread, of the warp, itself included */
#pragma unroll
	for (int d = 1; d < WARP; d *= 2) {
		const int other = __shfl_up_sync(ALL_LANES, before, d);
		before += lane >= d ? other : 0;
		lower += __shfl_xor_sync(ALL_LANES, lower, d);
	}
	if (lane == WARP - 1) {
		sums[0][warp] = lower;
		sums[1][warp] = before;
	}
	__syncthreads();
	int start = 0, at = before - own, all = 0;
	for (int w = 0; w < SORT_WARPS; w++) {
		start += sums[0][w];
		at += w < warp ? sums[1][w] : 0;
		all += sums[1][w];
	}
	if (threadIdx.x == 0) {
		p.starts[e] = start;
		if (e == p.n_expert - 1)
			p.starts[p.n_expert] = start + all;
	}
	for (int i = begin; i < end; i++)
		if (p.ids[i] == e)
			p.order[start + at++] = i;
}
