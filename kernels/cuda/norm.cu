/* RMSNorm, alone and with the residual addition behind it. A CTA per row, sized to the row by norm_geometry.c. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/norm_geometry.h"

enum { HELD = NORM_HELD };

INLINE float4 times(float4 v, float s, float4 w)
{
	return make_float4(v.x * s * w.x, v.y * s * w.y, v.z * s * w.z, v.w * s * w.w);
}

INLINE bool aligned16(const void *p)
{
	return ((unsigned long long)p & 15) == 0;
}

/* y = norm(x) * weight * scale or, with ADD, (a + norm(x) * weight) * scale */
template <bool ADD>
INLINE void norm_row(const float *x, const float *weight, const float *a, float *y, int n, float eps, float scale)
{
	__shared__ float scratch[WARP];
	const int threads = (int)blockDim.x;
	const int tid = (int)threadIdx.x;

	let_next_start();
	if (n % 4 == 0 && aligned16(x) && aligned16(y) && (!ADD || aligned16(a)) && (!weight || aligned16(weight))) {
		const int n_vecs = n / 4;
		const float4 one = make_float4(1, 1, 1, 1);
		float4 v[HELD], w[HELD], b[HELD];
		float sum = 0.0f;
#pragma unroll
		for (int j = 0; j < HELD; j++) {
			const int i = tid + j * threads;
			w[j] = weight && i < n_vecs ? ((const float4 *)weight)[i] : one;
		}
		wait_for_earlier();
#pragma unroll
		for (int j = 0; j < HELD; j++) {
			const int i = tid + j * threads;
			v[j] = i < n_vecs ? ((const float4 *)x)[i] : make_float4(0, 0, 0, 0);
			if (ADD)
				b[j] = i < n_vecs ? ((const float4 *)a)[i] : make_float4(0, 0, 0, 0);
		}
#pragma unroll
		for (int j = 0; j < HELD; j++)
			sum += v[j].x * v[j].x + v[j].y * v[j].y + v[j].z * v[j].z + v[j].w * v[j].w;
		for (int i = tid + HELD * threads; i < n_vecs; i += threads) {
			const float4 u = ((const float4 *)x)[i];
			sum += u.x * u.x + u.y * u.y + u.z * u.z + u.w * u.w;
		}
		const float rms = 1.0f / sqrtf(block_sum(sum, scratch) / (float)n + eps);
		const float factor = ADD ? rms : rms * scale;
#pragma unroll
		for (int j = 0; j < HELD; j++) {
			const int i = tid + j * threads;
			if (i >= n_vecs)
				break;
			const float4 u = times(v[j], factor, w[j]);
			((float4 *)y)[i] = !ADD ? u
						: make_float4((b[j].x + u.x) * scale, (b[j].y + u.y) * scale,
							      (b[j].z + u.z) * scale, (b[j].w + u.w) * scale);
		}
		for (int i = tid + HELD * threads; i < n_vecs; i += threads) {
			const float4 u =
				times(((const float4 *)x)[i], factor, weight ? ((const float4 *)weight)[i] : one);
			const float4 c = ADD ? ((const float4 *)a)[i] : u;
			((float4 *)y)[i] = !ADD ? u
						: make_float4((c.x + u.x) * scale, (c.y + u.y) * scale,
							      (c.z + u.z) * scale, (c.w + u.w) * scale);
		}
		return;
	}
	wait_for_earlier();
	float sum = 0.0f;
	for (int i = tid; i < n; i += threads)
		sum += x[i] * x[i];
	const float rms = 1.0f / sqrtf(block_sum(sum, scratch) / (float)n + eps);
	for (int i = tid; i < n; i += threads) {
		const float u = x[i] * (ADD ? rms : rms * scale) * (weight ? weight[i] : 1.0f);
		y[i] = ADD ? (a[i] + u) * scale : u;
	}
}

KERNEL(1024) k_rms_norm(const __grid_constant__ struct rms_norm_params p)
{
	norm_row<false>(p.x + (long long)blockIdx.x * p.x_stride, p.weight, nullptr,
			p.y + (long long)blockIdx.x * p.y_stride, p.n, p.eps, p.scale);
}

KERNEL(1024) k_norm_add(const __grid_constant__ struct norm_add_params p)
{
	const long long row = (long long)blockIdx.x * p.n;
	norm_row<true>(p.b + row, p.weight, p.a + row, p.y + row, p.n, p.eps, p.scale);
}
