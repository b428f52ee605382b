/*
 * A decoded token as one kernel: a program of phases (params_persistent.h), one block on each multiprocessor, all
 * resident at once. Ten warps compute and one copies weights, each going through the phases at its own pace
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

/*
 * A warp's way through the phases. What it reads of them it has in shared memory, its own: the next one comes while
 * it works on this one.
 */
struct way {
	unsigned long long *own; /* (2, PHASE_WORDS) */
	const struct persistent_phase *phases;
	int n;
	unsigned long long coming;

	static_assert(sizeof(struct persistent_phase) <= PERSISTENT_PHASE_WORDS * 8, "a phase has more words");

	__device__ __forceinline__ unsigned long long word(int i) const
	{
		const int lane = threadIdx.x % WARP;
		return i < n && lane < (int)(sizeof(struct persistent_phase) / 8)
			       ? ((const unsigned long long *)(phases + i))[lane]
			       : 0;
	}

	__device__ __forceinline__ void put(int i, unsigned long long word)
	{
		own[i % 2 * PERSISTENT_PHASE_WORDS + threadIdx.x % WARP] = word;
		__syncwarp();
	}

	__device__ __forceinline__ way(char *shared, const struct persistent_program &g)
	{
		own = (unsigned long long *)shared + (int)threadIdx.x / WARP * 2 * PERSISTENT_PHASE_WORDS;
		phases = g.phases;
		n = g.n_phases;
		put(0, word(0));
	}

	/* Phase i; leave it before the next. */
	__device__ __forceinline__ const struct persistent_phase &enter(int i)
	{
		coming = word(i + 1);
		return *(const struct persistent_phase *)(own + i % 2 * PERSISTENT_PHASE_WORDS);
	}

	__device__ __forceinline__ void leave(int i)
	{
		put(i + 1, coming);
	}
};

/* The copying warp: all products of the token. */
INLINE void fill(const struct persistent_program &g, const struct persistent_layout &l, const struct stages &s)
{
	const unsigned long long policy = evict_first();
	struct way way(shared_memory + l.phases, g);
	struct stage own;
	struct in_flight flight;
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_phase &phase = way.enter(i);
		if (phase.kind == PERSISTENT_PRODUCT)
			fill_product(phase.of.product, g.n_blocks, s, own, flight, policy);
		way.leave(i);
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
		stamp(g, PERSISTENT_INPUT);
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
#define ENTRIES(hd)                                                              \
	case hd:                                                                 \
		attention<hd, KT, VT>(g, p, t.step, t.parity, number, x_shared); \
		break;
#include "kernels/cuda/head_dims.cuh"
#undef ENTRIES
	}
}

/* What thread 0 enters a phase with. */
INLINE void enter_stamps(const struct persistent_params &params, struct persistent_program &g, int phase)
{
	if (params.stamps && threadIdx.x == 0) {
		g.stamps = params.stamps + ((long long)blockIdx.x * g.n_phases + phase) * PERSISTENT_STAMPS;
		stamp(g, PERSISTENT_ENTERED);
	}
}

/* The warps that compute. */
template <int KT, int VT>
INLINE void compute(const struct persistent_params &params, struct persistent_program &g,
		    const struct persistent_layout &l, const struct stages &s)
{
	const struct product_memory memory = {shared_memory + l.x, (float *)(shared_memory + l.h),
					      (float *)(shared_memory + l.partial)};
	struct way way(shared_memory + l.phases, g);
	struct stage own;
	struct token t;
	t.step = step_of(params.at);
	t.number = load_now(g.state);
	t.parity = t.number & 1;
	t.scratch = (float *)(shared_memory + l.scratch);
	start_stream(g, t.step.token, memory.h);
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_phase &phase = way.enter(i);
		enter_stamps(params, g, i);
		if (phase.kind == PERSISTENT_PRODUCT)
			product(params, g, phase.of.product, t, memory, s, own);
		else if (phase.kind == PERSISTENT_ATTENTION)
			any_attention<KT, VT>(g, phase.of.attention, t, t.number * (unsigned)g.n_phases + i, memory.x);
		else
			per_layer_embeddings(g, phase.of.ple, t);
		stamp(params, g, PERSISTENT_PUBLISHED);
		way.leave(i);
	}
	if (params.stamps && threadIdx.x == 0)
		params.stamps[(long long)g.n_blocks * g.n_phases * PERSISTENT_STAMPS + blockIdx.x] = multiprocessor();
	/* All threads of all blocks know the token's number by the time that the last block is here. */
	consumers_sync();
	if (threadIdx.x == 0 && arrive(g.state + 1) == (unsigned)g.n_blocks - 1) {
		g.state[1] = 0;
		g.state[0] = t.number + 1;
	}
}

template <int KT, int VT> INLINE void persistent(const struct persistent_params &params)
{
	const struct persistent_layout l = persistent_layout_of(params.program);
	struct persistent_program &g = *(struct persistent_program *)(shared_memory + l.program);
	for (int i = threadIdx.x; i < (int)(sizeof g / 8); i += PERSISTENT_THREADS)
		((unsigned long long *)&g)[i] = ((const unsigned long long *)params.program)[i];
	__syncthreads();
	const struct stages s = stages_of(shared_memory, g, l);
	if (threadIdx.x == 0) {
		for (int i = 0; i < PERSISTENT_MAX_STAGES * PERSISTENT_QUARTERS; i++)
			barrier_init(s.full + i, 1);
		for (int i = 0; i < PERSISTENT_MAX_STAGES; i++)
			barrier_init(s.empty + i, PERSISTENT_WARPS);
		barriers_are_ready();
	}
	__syncthreads();
	if (threadIdx.x >= PERSISTENT_CONSUMERS)
		fill(g, l, s);
	else
		compute<KT, VT>(params, g, l, s);
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
