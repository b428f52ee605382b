/*
 * The kernel `name` for each type of weights, from a template of that name, bounded by `threads` a block. Of
 * TENSOR_QUANT_TYPES only for those that a model has (cuda_options): all of them take some ten seconds to compile.
 */
#ifndef GEMMARK_KERNELS_CUDA_TYPED_ENTRIES_CUH
#define GEMMARK_KERNELS_CUDA_TYPED_ENTRIES_CUH

#include "kernels/cuda/device.cuh"

#define TYPED_ENTRY(NAME, word, name, threads)                                            \
	KERNEL(threads) k_##name##_##word(const __grid_constant__ struct name##_params p) \
	{                                                                                 \
		name<TENSOR_##NAME>(p);                                                   \
	}
#ifdef WEIGHTS_Q4_0
#define TYPED_Q4_0(name, threads) TYPED_ENTRY(Q4_0, q4_0, name, threads)
#else
#define TYPED_Q4_0(name, threads)
#endif
#ifdef WEIGHTS_Q4_1
#define TYPED_Q4_1(name, threads) TYPED_ENTRY(Q4_1, q4_1, name, threads)
#else
#define TYPED_Q4_1(name, threads)
#endif
#ifdef WEIGHTS_Q5_0
#define TYPED_Q5_0(name, threads) TYPED_ENTRY(Q5_0, q5_0, name, threads)
#else
#define TYPED_Q5_0(name, threads)
#endif
#ifdef WEIGHTS_Q5_1
#define TYPED_Q5_1(name, threads) TYPED_ENTRY(Q5_1, q5_1, name, threads)
#else
#define TYPED_Q5_1(name, threads)
#endif
#ifdef WEIGHTS_IQ4_NL
#define TYPED_IQ4_NL(name, threads) TYPED_ENTRY(IQ4_NL, iq4_nl, name, threads)
#else
#define TYPED_IQ4_NL(name, threads)
#endif
#ifdef WEIGHTS_Q4_K
#define TYPED_Q4_K(name, threads) TYPED_ENTRY(Q4_K, q4_k, name, threads)
#else
#define TYPED_Q4_K(name, threads)
#endif
#ifdef WEIGHTS_Q5_K
#define TYPED_Q5_K(name, threads) TYPED_ENTRY(Q5_K, q5_k, name, threads)
#else
#define TYPED_Q5_K(name, threads)
#endif
#ifdef WEIGHTS_Q6_K
#define TYPED_Q6_K(name, threads) TYPED_ENTRY(Q6_K, q6_k, name, threads)
#else
#define TYPED_Q6_K(name, threads)
#endif
#define TYPED_ENTRIES(name, threads)           \
	TYPED_ENTRY(F32, f32, name, threads)   \
	TYPED_ENTRY(F16, f16, name, threads)   \
	TYPED_ENTRY(BF16, bf16, name, threads) \
	TYPED_ENTRY(Q8_0, q8_0, name, threads) \
	TYPED_Q4_0(name, threads) \
	TYPED_Q4_1(name, threads) \
	TYPED_Q5_0(name, threads) \
	TYPED_Q5_1(name, threads) \
	TYPED_IQ4_NL(name, threads) \
	TYPED_Q4_K(name, threads) \
	TYPED_Q5_K(name, threads) \
	TYPED_Q6_K(name, threads)

#endif
