/*
 * Rotary position embedding, NEOX pairs, alone and in what follows the projections. A
 * CTA per (token, head), a thread per pair; rope_geometry.c rounds up to whole warps.
 */
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/rope.cuh"

KERNEL(256) k_rope(const __grid_constant__ struct rope_params p)
{
	const int half = p.head_dim / 2;
	const int t = (int)blockIdx.x / p.n_heads;

	let_next_start();
	wait_for_earlier();
	const int pos = step_of(p.at).pos + t;
	float *x = p.x + (long long)blockIdx.x * p.head_dim;
	for (int j = threadIdx.x; j < half; j += blockDim.x) {
		const float2 v = rotate(make_float2(x[j], x[j + half]), cos_sin(pos, p.inv_freq[j]));
		x[j] = v.x;
		x[j + half] = v.y;
	}
}

/* 1 / rms of a head whose pairs the threads hold. */
INLINE float head_scale(float2 v, int head_dim, float eps, float *scratch)
{
	return 1.0f / sqrtf(block_sum(v.x * v.x + v.y * v.y, scratch) / (float)head_dim + eps);
}

KERNEL(256) k_qkv_prepare(const __grid_constant__ struct qkv_prepare_params p)
{
	__shared__ float scratch[2][WARP];
	__shared__ float staged[2][2 * 256]; /* a key and a value, whose blocks are others' too */
	const int half = p.head_dim / 2;
	const int rows = p.n_heads + (p.k ? p.kv.n_kv_heads : 0);
	const int t = (int)blockIdx.x / rows;
	const int row = (int)blockIdx.x % rows; /* query heads, then KV heads */
	const bool is_q = row < p.n_heads;
	const int j = threadIdx.x;
	const bool active = j < half;
	const float *norm = is_q ? p.q_norm : p.k_norm;
	const float2 w = active ? make_float2(norm[j], norm[j + half]) : make_float2(0, 0);
	const float inv_freq = active ? p.inv_freq[j] : 0.0f;

	let_next_start();
	wait_for_earlier();
	const struct step step = step_of(p.at);
	const int kv_head = row - p.n_heads;
	const long long at =
		(is_q ? (long long)t * p.n_heads + row : (long long)t * p.kv.n_kv_heads + kv_head) * p.head_dim;
	float *x = (is_q ? p.q : p.k) + at;
	float2 v = active ? make_float2(x[j], x[j + half]) : make_float2(0, 0);
	/* Before k is normed: v's projection may be k's. */
	const float *raw = p.v_norm ? p.v_raw : p.v;
	float2 value = active && !is_q ? make_float2(raw[at + j], raw[at + j + half]) : make_float2(0, 0);

	const float scale = head_scale(v, p.head_dim, p.eps, scratch[0]);
	v = rotate(make_float2(v.x * scale * w.x, v.y * scale * w.y), cos_sin(step.pos + t, inv_freq));
	if (active) {
		x[j] = v.x;
		x[j + half] = v.y;
	}
	if (is_q)
		return;
	if (p.v_norm) {
		const float value_scale = head_scale(value, p.head_dim, p.eps, scratch[1]);
		value = make_float2(value.x * value_scale, value.y * value_scale);
		if (active) {
			p.v[at + j] = value.x;
			p.v[at + j + half] = value.y;
		}
	}
	/* Of tokens that share a slot of the ring only the last writes. */
	if (p.kv.ring > 0 && t < p.n_tokens - p.kv.ring)
		return;
	const int slot = append_slot(p.kv, step.pos + t, step.evicted);
	char *const key_row = cache_row(p.kv.k, p.kv.type, p.kv, kv_head, slot);
	char *const value_row = cache_row(p.kv.v, p.kv.v_type, p.kv, kv_head, slot);
	if (p.kv.type == TENSOR_Q8_0 || p.kv.v_type == TENSOR_Q8_0) {
		if (active) {
			staged[0][j] = v.x, staged[0][j + half] = v.y;
			staged[1][j] = value.x, staged[1][j + half] = value.y;
		}
		__syncthreads();
		store_row(key_row, p.kv.type, p.head_dim, staged[0]);
		store_row(value_row, p.kv.v_type, p.head_dim, staged[1]);
	} else if (active) {
		store_element(key_row, p.kv.type, j, v.x);
		store_element(key_row, p.kv.type, j + half, v.y);
		store_element(value_row, p.kv.v_type, j, value.x);
		store_element(value_row, p.kv.v_type, j + half, value.y);
	}
}
