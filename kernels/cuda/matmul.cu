/*
 * Products that the streaming kernels do not take: several tokens (where cuBLASLt is
 * not there, or not worth its launch), and weights whose type, alignment or width does not
 * allow 16-byte loads. Float32 throughout. No claim to speed.
 */
#include "kernels/cuda/load8.cuh"
#include "kernels/cuda/matmul_geometry.h"

enum { SLICE = 32, SLICE_STRIDE = SLICE + 4 };

/* Elements k .. k + 8 of a row to shared memory, zeros beyond the matrix. */
INLINE void stage_weight(const struct weight &w, long long row, bool valid, int k, bool wide, float *to)
{
	float v[8];
	if (valid && wide && k < w.n_in) {
		load8_weight(w, row, k, v);
	} else {
#pragma unroll
		for (int j = 0; j < 8; j++)
			v[j] = valid && k + j < w.n_in ? any_element(w, row, k + j) : 0.0f;
	}
	((float4 *)to)[0] = make_float4(v[0], v[1], v[2], v[3]);
	((float4 *)to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

INLINE void stage_row(const float *x, bool valid, int k, int n, bool wide, float *to)
{
	float v[8];
	if (valid && wide && k < n) {
		load8(x, TENSOR_F32, k, v);
	} else {
#pragma unroll
		for (int j = 0; j < 8; j++)
			v[j] = valid && k + j < n ? x[k + j] : 0.0f;
	}
	((float4 *)to)[0] = make_float4(v[0], v[1], v[2], v[3]);
	((float4 *)to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

INLINE bool aligned16(const void *p)
{
	return ((unsigned long long)p & 15) == 0;
}

/* A tile of TILE tokens by TILE outputs per CTA, 4 by 4 of them per thread. Grid: (outputs, tokens). */
KERNEL(TILE_THREADS) k_matmul_tiled(const __grid_constant__ struct matmul_params p)
{
	__shared__ __align__(16) float xs[TILE * SLICE_STRIDE];
	__shared__ __align__(16) float ws[TILE * SLICE_STRIDE];
	const int n_in = p.w.n_in;
	const int out0 = (int)blockIdx.x * TILE, t0 = (int)blockIdx.y * TILE;
	const bool wide_w = n_in % 8 == 0 && aligned16(p.w.data) && (p.w.type != TENSOR_Q8_0 || p.w.scales);
	const bool wide_x = n_in % 8 == 0 && p.x_stride % 4 == 0 && aligned16(p.x);
	/* Staging: four threads a row, eight elements each. */
	const int row = threadIdx.x / 4, k8 = threadIdx.x % 4 * 8;
	const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	float acc[4][4] = {};

	let_next_start();
	wait_for_earlier();
	for (int k0 = 0; k0 < n_in; k0 += SLICE) {
		stage_weight(p.w, out0 + row, out0 + row < p.w.n_out, k0 + k8, wide_w, ws + row * SLICE_STRIDE + k8);
		stage_row(p.x + (long long)(t0 + row) * p.x_stride, t0 + row < p.n_tokens, k0 + k8, n_in, wide_x,
			  xs + row * SLICE_STRIDE + k8);
		__syncthreads();
#pragma unroll
		for (int k = 0; k < SLICE; k += 4) {
			float4 a[4], b[4];
#pragma unroll
			for (int i = 0; i < 4; i++) {
				a[i] = *(const float4 *)(xs + (ty + 16 * i) * SLICE_STRIDE + k);
				b[i] = *(const float4 *)(ws + (tx + 16 * i) * SLICE_STRIDE + k);
			}
#pragma unroll
			for (int i = 0; i < 4; i++)
#pragma unroll
				for (int j = 0; j < 4; j++) {
					acc[i][j] = fmaf(a[i].x, b[j].x, acc[i][j]);
					acc[i][j] = fmaf(a[i].y, b[j].y, acc[i][j]);
					acc[i][j] = fmaf(a[i].z, b[j].z, acc[i][j]);
					acc[i][j] = fmaf(a[i].w, b[j].w, acc[i][j]);
				}
		}
		__syncthreads();
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
#pragma unroll
		for (int j = 0; j < 4; j++) {
			const int t = t0 + ty + 16 * i, out = out0 + tx + 16 * j;
			if (t < p.n_tokens && out < p.w.n_out)
				p.y[(long long)t * p.y_stride + out] = acc[i][j];
		}
}

/* ---- one token, any weights: a warp per row ---- */

enum { ANY_WARPS = ANY_THREADS / WARP };

extern __shared__ __align__(16) char shared_memory[];

INLINE float dot_any(const struct weight &w, long long row, const float *x)
{
	float sum = 0.0f;
	for (int k = threadIdx.x % WARP; k < w.n_in; k += WARP)
		sum = fmaf(any_element(w, row, k), x[k], sum);
	return warp_sum(sum);
}

/* norm(x) * weight into shared memory, behind 32 floats of scratch. */
INLINE const float *normed_any(const float *x, const float *weight, int n, float eps, float *normed)
{
	float *const scratch = (float *)shared_memory;
	float *const y = scratch + 32;
	float sum = 0.0f;
	for (int i = threadIdx.x; i < n; i += ANY_THREADS)
		sum = fmaf(x[i], x[i], sum);
	const float scale = 1.0f / sqrtf(block_sum(sum, scratch) / (float)n + eps);
	for (int i = threadIdx.x; i < n; i += ANY_THREADS) {
		y[i] = x[i] * scale * weight[i];
		if (normed)
			normed[i] = y[i];
	}
	__syncthreads();
	return y;
}

INLINE int row_any()
{
	return (int)blockIdx.x * ANY_WARPS + (int)threadIdx.x / WARP;
}

KERNEL(ANY_THREADS) k_matmul_any(const __grid_constant__ struct matmul_params p)
{
	const int row = row_any();
	let_next_start();
	wait_for_earlier();
	if (row >= p.w.n_out)
		return;
	const float v = dot_any(p.w, row, p.x);
	if (threadIdx.x % WARP == 0)
		p.y[row] = v;
}

KERNEL(ANY_THREADS) k_norm_matmul_any(const __grid_constant__ struct norm_matmul_params p)
{
	int row = row_any();
	let_next_start();
	wait_for_earlier();
	const float *x = normed_any(p.x, p.weight, p.n, p.eps, blockIdx.x == 0 ? p.normed : nullptr);
	for (int m = 0; m < p.n_matmuls; m++) {
		if (row < p.w[m].n_out) {
			float v = dot_any(p.w[m], row, x);
			if (m == 0 && p.cap > 0.0f)
				v = softcap(v, p.cap);
			if (threadIdx.x % WARP == 0)
				p.y[m][row] = v;
			return;
		}
		row -= p.w[m].n_out;
	}
}

KERNEL(ANY_THREADS) k_norm_gated_any(const __grid_constant__ struct norm_gated_params p)
{
	const int row = row_any();
	let_next_start();
	wait_for_earlier();
	const float *x = normed_any(p.x, p.weight, p.n, p.eps, nullptr);
	if (row >= p.w_gate.n_out)
		return;
	const float v = activate(dot_any(p.w_gate, row, x), p.act) * dot_any(p.w_up, row, x);
	if (threadIdx.x % WARP == 0)
		p.y[row] = v;
}

KERNEL(ANY_THREADS) k_matmul_gated_any(const __grid_constant__ struct matmul_gated_params p)
{
	const int row = row_any();
	let_next_start();
	wait_for_earlier();
	if (row >= p.w.n_out)
		return;
	const float v = activate(dot_any(p.w, row, p.x), p.act) * p.up[row];
	if (threadIdx.x % WARP == 0)
		p.y[row] = v;
}

/* Grid: (rows, pairs). */
KERNEL(ANY_THREADS) k_matmul_experts_any(const __grid_constant__ struct matmul_experts_params p)
{
	const int row = row_any();
	const int pair = (int)blockIdx.y;
	let_next_start();
	wait_for_earlier();
	if (row >= p.w.n_out)
		return;
	const float *x = p.x + (long long)(p.x_per_expert ? pair : pair / p.n_used) * p.w.n_in;
	const float v = dot_any(p.w, (long long)p.ids[pair] * p.w.n_out + row, x);
	if (threadIdx.x % WARP == 0)
		p.y[(long long)pair * p.w.n_out + row] = v;
}

KERNEL(ANY_THREADS) k_experts_gated_any(const __grid_constant__ struct experts_gated_params p)
{
	const int row = row_any(), n_ff = p.w.n_out / 2;
	const int pair = (int)blockIdx.y;
	let_next_start();
	wait_for_earlier();
	if (row >= n_ff)
		return;
	const float *x = p.x + (long long)(pair / p.n_used) * p.w.n_in;
	const long long gate = (long long)p.ids[pair] * p.w.n_out + row;
	const float v = activate(dot_any(p.w, gate, x), p.act) * dot_any(p.w, gate + n_ff, x);
	if (threadIdx.x % WARP == 0)
		p.y[(long long)pair * n_ff + row] = v;
}
