/* A table's row in vectors of four elements. */
#ifndef GEMMARK_KERNELS_CUDA_TABLE_CUH
#define GEMMARK_KERNELS_CUDA_TABLE_CUH

#include "kernels/cuda/device.cuh"

/* Four elements at k of a table's row; the table may be host memory, so each byte is asked for once. */
INLINE float4 table_vec(const struct weight &w, long long row, int k)
{
	const long long at = row * w.n_in + k;
	if (w.type == TENSOR_F32)
		return *(const float4 *)((const float *)w.data + at);
	if (w.type != TENSOR_Q8_0) {
		const uint2 u = *(const uint2 *)((const unsigned short *)w.data + at);
		const float2 a = w.type == TENSOR_F16 ? pair_to_f32<TENSOR_F16>(u.x) : pair_to_f32<TENSOR_BF16>(u.x);
		const float2 b = w.type == TENSOR_F16 ? pair_to_f32<TENSOR_F16>(u.y) : pair_to_f32<TENSOR_BF16>(u.y);
		return make_float4(a.x, a.y, b.x, b.y);
	}
	float scale;
	unsigned q;
	if (w.scales) {
		scale = f16_to_f32(((const unsigned short *)w.scales)[at / 32]);
		q = *(const unsigned *)((const char *)w.data + at);
	} else { /* blocks of 34 bytes are aligned to 2 */
		const unsigned short *block = (const unsigned short *)((const char *)w.data + at / 32 * 34);
		scale = f16_to_f32(block[0]);
		q = block[1 + k % 32 / 2] | (unsigned)block[2 + k % 32 / 2] << 16;
	}
	return make_float4(scale * (float)(signed char)(q & 255), scale * (float)(signed char)(q >> 8 & 255),
			   scale * (float)(signed char)(q >> 16 & 255), scale * (float)(signed char)(q >> 24));
}

#endif
