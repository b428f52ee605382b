/*
 * Marks a function that a kernel and its launch geometry share: both compute a layout with the same lines. CONSTANT:
 * one that a kernel's types and array lengths depend on. DEVICE: one that the host's kernel and the GPU's share.
 */
#ifndef GEMMARK_KERNELS_CUDA_SHARED_H
#define GEMMARK_KERNELS_CUDA_SHARED_H

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SHARED_INLINE static __host__ __device__ __forceinline__
#define SHARED_CONSTANT static constexpr __host__ __device__ __forceinline__
#define SHARED_DEVICE static __device__ __forceinline__
#else
#define SHARED_INLINE static inline
#define SHARED_CONSTANT static inline
#define SHARED_DEVICE static inline
#endif

#endif
