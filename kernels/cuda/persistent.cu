/*
 * A decoded token as one kernel: a program of phases (params_persistent.h), one block on each multiprocessor, all
 * resident at once. Eight warps compute and one copies weights, each going through the phases at its own pace
 * (persistent_product.cuh); blocks wait for each other's values, never for each other (persistent_vector.cuh).
 *
 * A value that a phase leaves is waited for by a later phase alone, and the copying warp waits for none: so whatever
 * the order in which blocks run, the earliest phase that is not done can go on.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/persistent_geometry.h"

#define PERSISTENT_KERNEL extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 1)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#include "kernels/cuda/persistent_attention.cuh"
#include "kernels/cuda/persistent_product.cuh"
#include "kernels/cuda/table.cuh"

extern __shared__ __align__(128) char shared_memory[];

/* What the next phase is comes to the L1. */
INLINE void prefetch_phase(const struct persistent_phase *p)
{
	if (threadIdx.x % WARP == 0) {
		prefetch_l1(p);
		prefetch_l1((const char *)(p + 1) - 8);
	}
}

/* The copying warp: all products of the token. */
APART void fill(const struct persistent_program &g, const struct stages &s)
{
	const unsigned long long policy = evict_first();
	struct stage own = {0, 0};
	struct in_flight flight;
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_phase &phase = g.phases[i];
		if (i + 1 < g.n_phases)
			prefetch_phase(&phase + 1);
		if (phase.kind == PERSISTENT_PRODUCT)
			fill_product(phase.of.product, g.n_blocks, s, own, flight, policy);
	}
}

INLINE void start_stream(const struct persistent_program &g, int token, float *h_shared)
{
	for (int i = threadIdx.x; i < g.n_embd / 4; i += PERSISTENT_CONSUMERS) {
		const float4 v = table_vec(g.token_embd, token, 4 * i);
		((float4 *)h_shared)[i] =
			make_float4(v.x * g.embed_scale, v.y * g.embed_scale, v.z * g.embed_scale, v.w * g.embed_scale);
	}
}

INLINE void per_layer_embeddings(const struct persistent_program &g, const struct persistent_ple &p, struct token &t)
{
	for (int layer = blockIdx.x; layer < p.n_layer; layer += g.n_blocks) {
		const long long first = (long long)layer * p.n_ple;
		float sum = 0.0f;
		for (int i = threadIdx.x; i < p.n_ple; i += PERSISTENT_CONSUMERS) {
			const float v = await(p.proj + first + i, t.parity);
			sum += v * v;
		}
		const float factor = 1.0f / sqrtf(consumers_sum(t, sum) / (float)p.n_ple + p.eps);
		for (int i = threadIdx.x; i < p.n_ple; i += PERSISTENT_CONSUMERS) {
			const float e = weight_element(p.table, t.step.token, (int)first + i) * p.table_scale;
			const float v = await(p.proj + first + i, t.parity) * factor * p.norm[i];
			publish(p.y + first + i, (e + v) * p.scale, t.parity);
		}
	}
}

template <int KT, int VT>
INLINE void any_attention(const struct persistent_program &g, const struct persistent_attention &p,
			  const struct token &t, unsigned number, void *x_shared)
{
	switch (p.kv.head_dim) {
#define ENTRIES(hd)                                               \
	case hd:                                                  \
		attention<hd, KT, VT>(g, p, t, number, x_shared); \
		break;
#include "kernels/cuda/head_dims.cuh"
#undef ENTRIES
	}
}

/* The warps that compute. */
template <int KT, int VT>
INLINE void compute(const struct persistent_params &params, const struct persistent_layout &l, const struct stages &s)
{
	const struct persistent_program &g = *params.program;
	const struct product_memory memory = {shared_memory + l.x, (float *)(shared_memory + l.h),
					      (float *)(shared_memory + l.partial)};
	struct stage own = {0, 0};
	struct token t;
	t.step = step_of(params.at);
	t.number = load_now(g.state);
	t.parity = t.number & 1;
	t.scratch = (float *)(shared_memory + l.scratch);
	start_stream(g, t.step.token, memory.h);
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_phase &phase = g.phases[i];
		if (i + 1 < g.n_phases)
			prefetch_phase(&phase + 1);
		if (phase.kind == PERSISTENT_PRODUCT)
			product(g, phase.of.product, t, memory, s, own, params.trace);
		else if (phase.kind == PERSISTENT_ATTENTION)
			any_attention<KT, VT>(g, phase.of.attention, t, t.number * (unsigned)g.n_phases + i, memory.x);
		else
			per_layer_embeddings(g, phase.of.ple, t);
	}
	/* All threads of all blocks know the token's number by the time that the last block is here. */
	consumers_sync();
	if (threadIdx.x == 0 && arrive(g.state + 1) == (unsigned)g.n_blocks - 1) {
		g.state[1] = 0;
		g.state[0] = t.number + 1;
	}
}

template <int KT, int VT> INLINE void persistent(const struct persistent_params &params)
{
	const struct persistent_program &g = *params.program;
	const struct persistent_layout l = persistent_layout_of(&g);
	const struct stages s = stages_of(shared_memory, l, g.n_stages);
	if (threadIdx.x == 0)
		for (int i = 0; i < PERSISTENT_PAIRS * PERSISTENT_MAX_STAGES; i++) {
			barrier_init(s.full + i, 1);
			barrier_init(s.empty + i, 2); /* a pair's warps */
		}
	if (threadIdx.x == 0)
		barriers_are_ready();
	__syncthreads();
	if (threadIdx.x >= PERSISTENT_CONSUMERS)
		fill(g, s);
	else
		compute<KT, VT>(params, l, s);
}
#else
/* The plan refuses older cards: there are no bulk copies. */
template <int KT, int VT> INLINE void persistent(const struct persistent_params &)
{
}
#endif

#define ENTRY(k, kt, v, vt)                                                                          \
	PERSISTENT_KERNEL k_persistent_##k##_##v(const __grid_constant__ struct persistent_params p) \
	{                                                                                            \
		persistent<kt, vt>(p);                                                               \
	}

#ifdef KV_F32_F32
ENTRY(f32, TENSOR_F32, f32, TENSOR_F32)
#endif
#ifdef KV_F32_F16
ENTRY(f32, TENSOR_F32, f16, TENSOR_F16)
#endif
#ifdef KV_F32_BF16
ENTRY(f32, TENSOR_F32, bf16, TENSOR_BF16)
#endif
#ifdef KV_F16_F32
ENTRY(f16, TENSOR_F16, f32, TENSOR_F32)
#endif
#ifdef KV_F16_F16
ENTRY(f16, TENSOR_F16, f16, TENSOR_F16)
#endif
#ifdef KV_F16_BF16
ENTRY(f16, TENSOR_F16, bf16, TENSOR_BF16)
#endif
#ifdef KV_BF16_F32
ENTRY(bf16, TENSOR_BF16, f32, TENSOR_F32)
#endif
#ifdef KV_BF16_F16
ENTRY(bf16, TENSOR_BF16, f16, TENSOR_F16)
#endif
#ifdef KV_BF16_BF16
ENTRY(bf16, TENSOR_BF16, bf16, TENSOR_BF16)
#endif
