/* Weights and activations to what cuBLASLt multiplies. A thread per group of a row. */
#include "kernels/cuda/load8.cuh"
#include "kernels/cuda/rows_f16.cuh"

template <bool F16> INLINE void dequant(const struct dequant_params &p)
{
	const int groups = (p.w.n_in + 7) / 8;
	const long long i = (long long)blockIdx.x * 256 + threadIdx.x;

	let_next_start();
	wait_for_earlier();
	if (i >= (long long)p.n_rows * groups)
		return;
	const long long row = i / groups;
	const int k = (int)(i % groups) * 8;
	const long long to = row * p.w.n_in + k;
	float v[8];
	if (p.w.n_in % 8 == 0) {
		load8_weight(p.w, p.first_row + row, k, v);
		if (F16) {
			*(uint4 *)((unsigned short *)p.y + to) = make_uint4(pack_f16(v[0], v[1]), pack_f16(v[2], v[3]),
									    pack_f16(v[4], v[5]), pack_f16(v[6], v[7]));
		} else {
			((float4 *)((float *)p.y + to))[0] = make_float4(v[0], v[1], v[2], v[3]);
			((float4 *)((float *)p.y + to))[1] = make_float4(v[4], v[5], v[6], v[7]);
		}
		return;
	}
	for (int j = 0; j < 8 && k + j < p.w.n_in; j++)
		store_element(p.y, F16 ? TENSOR_F16 : TENSOR_F32, to + j, any_element(p.w, p.first_row + row, k + j));
}

KERNEL(256) k_dequant_to_f16(const __grid_constant__ struct dequant_params p)
{
	dequant<true>(p);
}

KERNEL(256) k_dequant_to_f32(const __grid_constant__ struct dequant_params p)
{
	dequant<false>(p);
}

/* A CTA per row. */
KERNEL(256) k_to_f16(const __grid_constant__ struct to_f16_params p)
{
	__shared__ float scratch[WARP];
	const long long row = blockIdx.x;
	const float *x = p.x + row * p.x_stride;
	unsigned short *y = (unsigned short *)p.y + row * p.n;
	const bool vectors = p.n % 4 == 0 && p.x_stride % 4 == 0;
	float largest = 0.0f;

	let_next_start();
	wait_for_earlier();
	if (vectors)
		for (int k = (int)threadIdx.x; k < p.n / 4; k += 256) {
			const float4 v = ((const float4 *)x)[k];
			largest = fmaxf(fmaxf(largest, fmaxf(fabsf(v.x), fabsf(v.y))), fmaxf(fabsf(v.z), fabsf(v.w)));
		}
	else
		for (int k = (int)threadIdx.x; k < p.n; k += 256)
			largest = fmaxf(largest, fabsf(x[k]));
	const float scale = scale_of(block_max(largest, scratch)), by = 1.0f / scale;
	if (threadIdx.x == 0)
		p.y_scale[row] = scale;
	if (vectors)
		for (int k = (int)threadIdx.x; k < p.n / 4; k += 256) {
			const float4 v = ((const float4 *)x)[k];
			((uint2 *)y)[k] = make_uint2(pack_f16(v.x * by, v.y * by), pack_f16(v.z * by, v.w * by));
		}
	else
		for (int k = (int)threadIdx.x; k < p.n; k += 256)
			y[k] = f32_to_f16(x[k] * by);
}

KERNEL(256) k_scale_rows(const __grid_constant__ struct scale_rows_params p)
{
	const int k = (int)(blockIdx.x * 256 + threadIdx.x);

	let_next_start();
	wait_for_earlier();
	if (k >= p.n)
		return;
	for (long long row = blockIdx.y; row < p.n_rows; row += gridDim.y)
		p.y[row * p.y_stride + k] *= p.scale[row];
}
