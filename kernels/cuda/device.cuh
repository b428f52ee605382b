/*
 * What all CUDA kernels share: programmatic dependent launch, the step, loads,
 * conversions, reductions, activations. Compiled by NVRTC and nvcc, without any header of
 * the toolkit, so that a machine with a driver and NVRTC alone can compile it.
 */
#ifndef GEMMARK_KERNELS_CUDA_DEVICE_CUH
#define GEMMARK_KERNELS_CUDA_DEVICE_CUH

#include "kernels/cuda/element_geometry.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/params.h"

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)

#define NEGATIVE_INFINITY __int_as_float((int)0xff800000)

enum { WARP = 32 };
constexpr unsigned ALL_LANES = 0xffffffffu;

/* Only after wait_for_earlier: a step on the device is written there by an earlier copy. */
INLINE struct step step_of(const struct at &at)
{
	return at.device ? *at.device : at.host;
}

/* ---- conversions ---- */

INLINE float bf16_to_f32(unsigned short h)
{
	return __uint_as_float((unsigned)h << 16);
}

/* The two 16-bit elements of a word, lower first. */
template <int T> INLINE float2 pair_to_f32(unsigned w)
{
	if (T == TENSOR_F16)
		return make_float2(f16_to_f32((unsigned short)w), f16_to_f32((unsigned short)(w >> 16)));
	return make_float2(__uint_as_float(w << 16), __uint_as_float(w & 0xffff0000u));
}

/* Element i of a row of F32, F16 or BF16. */
INLINE float element(const void *row, int type, long long i)
{
	if (type == TENSOR_F32)
		return ((const float *)row)[i];
	const unsigned short h = ((const unsigned short *)row)[i];
	return type == TENSOR_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

/* Element k of a matrix's row (experts' rows counted through), any layout and any type but TENSOR_QUANT_TYPES: those
 * are in quants.cuh. */
INLINE float weight_element(const struct weight &w, long long row, int k)
{
	if (w.type != TENSOR_Q8_0)
		return element(w.data, w.type, row * w.n_in + k);
	if (w.scales) {
		const float scale = f16_to_f32(((const unsigned short *)w.scales)[row * (w.n_in / 32) + k / 32]);
		return scale * (float)((const signed char *)w.data)[row * w.n_in + k];
	}
	/* File blocks of 34 bytes: the scale is 2-byte aligned. */
	const char *block = (const char *)w.data + (row * (w.n_in / 32) + k / 32) * 34;
	return f16_to_f32(*(const unsigned short *)block) * (float)((const signed char *)block)[2 + k % 32];
}

INLINE void store_element(void *row, int type, long long i, float f)
{
	if (type == TENSOR_F32)
		((float *)row)[i] = f;
	else
		((unsigned short *)row)[i] = type == TENSOR_F16 ? f32_to_f16(f) : f32_to_bf16(f);
}

/* ---- reductions, in a fixed order ---- */

INLINE float warp_sum(float v)
{
#pragma unroll
	for (int d = WARP / 2; d; d /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

INLINE float warp_max(float v)
{
#pragma unroll
	for (int d = WARP / 2; d; d /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, d));
	return v;
}

/* Over the CTA, whole warps; scratch: (32), free for reuse after the next barrier. Every thread gets the sum. */
INLINE float block_sum(float v, float *scratch)
{
	const int lane = threadIdx.x % WARP;
	v = warp_sum(v);
	if (lane == 0)
		scratch[threadIdx.x / WARP] = v;
	__syncthreads();
	return warp_sum(lane < (int)blockDim.x / WARP ? scratch[lane] : 0.0f);
}

/* ---- activations ---- */

/* Of which g is multiplied with the logistic function. */
INLINE float activation_argument(float g, int act)
{
	if (act != ACTIVATION_GELU_TANH)
		return g;
	return g * fmaf(g * g, 0.044715f, 1.0f) * 1.5957691216f; /* 2 sqrt(2 / pi): 1 + tanh(u) = 2 / (1 + e^-2u) */
}

INLINE float activate(float g, int act)
{
	return g / (1.0f + expf(-activation_argument(g, act)));
}

INLINE float softcap(float x, float cap)
{
	return cap * tanhf(x / cap);
}

/* ---- positions ---- */

/* The keys that a token attends, as indices: logical positions, or slots where nothing wraps. */
struct span {
	int first;
	int end;
};

INLINE struct span attended(const struct kv &kv, int window, int pos, int evicted)
{
	struct span s;
	s.end = pos - (kv.ring > 0 && window > 0 ? 0 : evicted) + 1;
	s.first = window > 0 && s.end > window ? s.end - window : 0;
	return s;
}

INLINE int append_slot(const struct kv &kv, int pos, int evicted)
{
	return kv.ring > 0 ? pos % kv.ring : pos - evicted;
}

#endif
