/* Eight consecutive elements of a matrix's or a cache's row as float32. */
#ifndef GEMMARK_KERNELS_CUDA_LOAD8_CUH
#define GEMMARK_KERNELS_CUDA_LOAD8_CUH

#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/quants.cuh"

/* F32, F16 or BF16 at an address aligned to eight elements. */
INLINE void load8(const void *row, int type, long long i, float *v)
{
	if (type == TENSOR_F32) {
		const float4 a = ((const float4 *)((const float *)row + i))[0];
		const float4 b = ((const float4 *)((const float *)row + i))[1];
		v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
		v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
		return;
	}
	const uint4 u = *(const uint4 *)((const unsigned short *)row + i);
	const unsigned words[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
	for (int j = 0; j < 4; j++) {
		const float2 f =
			type == TENSOR_F16 ? pair_to_f32<TENSOR_F16>(words[j]) : pair_to_f32<TENSOR_BF16>(words[j]);
		v[2 * j] = f.x;
		v[2 * j + 1] = f.y;
	}
}

/* Of a cache's row number n, heads' rows counted through; i a multiple of eight. */
INLINE void load8_row(const void *cache, int type, int head_dim, int n, int i, float *v)
{
	if (type != TENSOR_Q8_0) {
		load8(cache, type, (long long)n * head_dim + i, v);
		return;
	}
	const char *const row = (const char *)cache + (long long)n * cache_row_bytes(type, head_dim);
	const uint2 u = *(const uint2 *)(row + i);
	const float scale = scale_at(row, head_dim, i);
	const float4 a = steps_to_f32(u.x, scale), b = steps_to_f32(u.y, scale);
	v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
	v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

/* k and n_in multiples of eight. */
INLINE void load8_weight(const struct weight &w, long long row, int k, float *v)
{
	if (quants_has(w.type)) {
		const float4 a = quants_vec(w, row, k), b = quants_vec(w, row, k + 4);
		v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
		v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
		return;
	}
	if (w.type != TENSOR_Q8_0) {
		load8(w.data, w.type, row * w.n_in + k, v);
		return;
	}
	if (!w.scales) {
#pragma unroll
		for (int j = 0; j < 8; j++)
			v[j] = weight_element(w, row, k + j);
		return;
	}
	const long long at = row * w.n_in + k;
	const float scale = f16_to_f32(((const unsigned short *)w.scales)[at / 32]);
	const uint2 u = *(const uint2 *)((const char *)w.data + at);
#pragma unroll
	for (int j = 0; j < 4; j++) {
		v[j] = scale * (float)(signed char)(u.x >> (8 * j) & 255);
		v[4 + j] = scale * (float)(signed char)(u.y >> (8 * j) & 255);
	}
}

#endif
