/* Weights and activations to what cuBLASLt multiplies. A thread per group of a row. */
#include "kernels/cuda/load8.cuh"

INLINE unsigned pack_bf16(float lo, float hi)
{
	return f32_to_bf16(lo) | (unsigned)f32_to_bf16(hi) << 16;
}

template <bool BF16> INLINE void dequant(const struct dequant_params &p)
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
		if (BF16) {
			*(uint4 *)((unsigned short *)p.y + to) =
				make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
					   pack_bf16(v[6], v[7]));
		} else {
			((float4 *)((float *)p.y + to))[0] = make_float4(v[0], v[1], v[2], v[3]);
			((float4 *)((float *)p.y + to))[1] = make_float4(v[4], v[5], v[6], v[7]);
		}
		return;
	}
	for (int j = 0; j < 8 && k + j < p.w.n_in; j++)
		store_element(p.y, BF16 ? TENSOR_BF16 : TENSOR_F32, to + j,
			      weight_element(p.w, p.first_row + row, k + j));
}

KERNEL(256) k_dequant_to_bf16(const __grid_constant__ struct dequant_params p)
{
	dequant<true>(p);
}

KERNEL(256) k_dequant_to_f32(const __grid_constant__ struct dequant_params p)
{
	dequant<false>(p);
}

KERNEL(256) k_to_bf16(const __grid_constant__ struct to_bf16_params p)
{
	const int groups = (p.n + 3) / 4;
	const long long i = (long long)blockIdx.x * 256 + threadIdx.x;

	let_next_start();
	wait_for_earlier();
	if (i >= (long long)p.n_rows * groups)
		return;
	const long long row = i / groups;
	const int k = (int)(i % groups) * 4;
	const float *x = p.x + row * p.x_stride + k;
	unsigned short *y = (unsigned short *)p.y + row * p.n + k;
	if (p.n % 4 == 0 && p.x_stride % 4 == 0) {
		const float4 v = *(const float4 *)x;
		*(uint2 *)y = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
		return;
	}
	for (int j = 0; j < 4 && k + j < p.n; j++)
		y[j] = f32_to_bf16(x[j]);
}
