/*
 * A decoded token as one kernel: a program of phases (params_persistent.h), one block on each multiprocessor, all
 * resident at once. Ten warps compute, a thread copies what they need of memory (persistent_copy.cuh), each going
 * through the phases at its own pace, and a thread watches; blocks wait for each other's values, never for each other
 * (persistent_vector.cuh).
 *
 * A value that a phase leaves is waited for by a later phase alone, by who copies too (which experts to copy, behind
 * all that is copied for the phases before), and a phase is brought before what is copied for it: so whatever the order
 * in which blocks run, the earliest phase that is not done can go on.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/persistent_geometry.h"

#define PERSISTENT_KERNEL extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 1)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#include "kernels/cuda/persistent_attention.cuh"
#include "kernels/cuda/persistent_product.cuh"
#include "kernels/cuda/quants.cuh"

/* What a block knows of its phases: the copier brings them, and each warp gives them back. */
struct phases {
	char *memory;
	unsigned long long *full, *empty; /* (PHASES) */

	static_assert(sizeof(struct persistent_phase) == PERSISTENT_PHASE_BYTES && PERSISTENT_PHASE_BYTES % 16 == 0,
		      "what is copied at once");

	__device__ __forceinline__ phases(const struct persistent_layout &l)
	{
		memory = shared_memory + l.phases;
		full = (unsigned long long *)(shared_memory + l.barriers) + 2 * PERSISTENT_MAX_STAGES;
		empty = full + PERSISTENT_PHASES;
	}

	static __device__ __forceinline__ unsigned parity(int i)
	{
		return i / PERSISTENT_PHASES & 1;
	}

	__device__ __forceinline__ void bring(int i, const struct persistent_phase *phases,
					      unsigned long long policy) const
	{
		const int at = i % PERSISTENT_PHASES;
		barrier_wait(empty + at, parity(i) ^ 1);
		barrier_expect(full + at, PERSISTENT_PHASE_BYTES);
		bulk_copy(memory + at * PERSISTENT_PHASE_BYTES, phases + i, PERSISTENT_PHASE_BYTES, full + at, policy);
	}

	__device__ __forceinline__ const struct persistent_phase &enter(int i) const
	{
		const int at = i % PERSISTENT_PHASES;
		barrier_wait(full + at, parity(i));
		return *(const struct persistent_phase *)(memory + at * PERSISTENT_PHASE_BYTES);
	}

	__device__ __forceinline__ void leave(int i) const
	{
		__syncwarp();
		if (threadIdx.x % WARP == 0)
			barrier_arrive(empty + i % PERSISTENT_PHASES, 1);
	}
};

/* As the stream's products have it: a thread's own vectors. */
INLINE void start_stream(const struct persistent_program &g, int token, float *h_shared)
{
	for (int c = 0; c * PERSISTENT_WARPS < tile_chunks(g.n_embd); c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const int at = vec_of(c, i);
			if (4 * at < g.n_embd)
				((float4 *)h_shared)[at] = scaled(any_vec(g.token_embd, token, 4 * at), g.embed_scale);
		}
}

INLINE void per_layer_embeddings(const struct persistent_program &g, const struct persistent_ple &p, struct token &t)
{
#pragma unroll 1
	for (int layer = blockIdx.x; layer < p.n_layer; layer += g.n_blocks) {
		const long long first = (long long)layer * p.n_ple;
		float sum = 0.0f;
		for (int i = threadIdx.x; i < p.n_ple; i += PERSISTENT_CONSUMERS) {
			const float v = await(p.proj + first + i, t.parity);
			sum += v * v;
		}
		const float factor = reciprocal_root(__fdividef(consumers_sum(g, t, sum), (float)p.n_ple) + p.eps);
		stamp(g, PERSISTENT_INPUT);
		for (int i = threadIdx.x; i < p.n_ple; i += PERSISTENT_CONSUMERS) {
			const float e = any_element(p.table, g.step.token, (int)first + i) * p.table_scale;
			const float v = await(p.proj + first + i, t.parity) * factor * p.norm[i];
			publish(p.y + first + i, (e + v) * p.scale, t.parity);
		}
	}
}

/* Cosines and sines of the token's position. */
INLINE void turn_angles(const struct persistent_program &g, int pos, float2 *angles)
{
	for (int k = 0; k < PERSISTENT_ROPES; k++) {
		for (int i = threadIdx.x; i < g.n_angles[k]; i += PERSISTENT_CONSUMERS)
			angles[i] = cos_sin(pos, g.inv_freq[k][i]);
		angles += g.n_angles[k];
	}
}

template <int KT, int VT>
INLINE void any_attention(const struct persistent_params &params, const struct persistent_program &g,
			  const struct persistent_attention &p, const struct token &t, unsigned number,
			  const struct stages &s, struct stage &own)
{
	float *const partial = shared_floats(g.partial_at);
	const struct attention_memory memory = {partial, (float2 *)(partial + PERSISTENT_WARPS * p.kv.head_dim),
						(const float2 *)(shared_memory + g.angles_at) + p.angles,
						shared_floats(g.x_at + threadIdx.x / WARP * g.corner_bytes)};
	int n_splits = 1;
	switch (p.kv.head_dim) {
#define ENTRIES(hd)                                                                               \
	case hd:                                                                                  \
		n_splits = attention<hd, KT, VT>(params, g, p, t.parity, number, memory, s, own); \
		break;
#include "kernels/cuda/head_dims.cuh"
#undef ENTRIES
	}
	if (n_splits > 1)
		combine_all(g, p, n_splits, t.parity, number, memory.sums);
}

/*
 * One thread: the phases, and all that they need of memory that no phase writes. With experts a warp, whose other
 * threads help to choose them.
 */
INLINE void fill(const struct persistent_params &params, const struct persistent_program &g,
		 const struct phases &phases, const struct stages &s)
{
	const struct step step = step_of(params.at);
	struct filling f(g, s);
	struct persistent_copy c = g.copies[0];
#ifdef EXPERTS
	const unsigned parity = load_now(g.state) & 1;
#endif
#pragma unroll 1
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_copy next = g.copies[min(i + 1, g.n_phases - 1)];
#ifdef EXPERTS
		if (c.logits)
			choose_experts(g, c, parity);
		if (threadIdx.x != PERSISTENT_COPIER) {
			c = next;
			continue;
		}
#endif
		phases.bring(i, g.phases, f.keys_policy);
		if (c.kind == PERSISTENT_PRODUCT)
			fill_product(c, i, f);
		else if (c.kind == PERSISTENT_ATTENTION)
			fill_keys(c, step, f);
		c = next;
	}
}

#ifdef EXPERTS
enum { COPYING = WARP };
#else
enum { COPYING = 1 };
#endif

constexpr unsigned long long WAIT_NS = 10000000000ull; /* in one phase, after which a block is taken to wait in vain */

/* One thread, until the block is through. */
INLINE void watch(const struct persistent_program &g, unsigned long long *done)
{
	int phase = -1;
	unsigned long long since = nanoseconds();
	while (!barrier_try_long(done, 0)) {
		const int now = *(const volatile int *)&g.phase;
		if (now != phase) {
			phase = now;
			since = nanoseconds();
		} else if (nanoseconds() - since > WAIT_NS) {
			give_up();
		}
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
INLINE void compute(const struct persistent_params &params, struct persistent_program &g, const struct phases &phases,
		    const struct stages &s, unsigned long long *done)
{
	struct stage own;
	struct token t;
	const struct step step = step_of(params.at);
	const unsigned number = load_now(g.state);
	t.parity = number & 1;
	if (threadIdx.x == 0) {
		g.step = step;
		g.number = number;
	}
	start_stream(g, step.token, shared_floats(g.h_at));
	turn_angles(g, step.pos, (float2 *)(shared_memory + g.angles_at));
	consumers_sync();
#pragma unroll 1
	for (int i = 0; i < g.n_phases; i++) {
		const struct persistent_phase &phase = phases.enter(i);
		if (threadIdx.x == 0)
			g.phase = i;
		enter_stamps(params, g, i);
		if (phase.kind == PERSISTENT_PRODUCT)
			product(params, g, phase.of.product, t, s, own);
		else if (phase.kind == PERSISTENT_ATTENTION)
			any_attention<KT, VT>(params, g, phase.of.attention, t, g.number * (unsigned)g.n_phases + i, s,
					      own);
		else
			per_layer_embeddings(g, phase.of.ple, t);
		stamp(params, g, PERSISTENT_PUBLISHED);
		phases.leave(i);
	}
	if (params.stamps && threadIdx.x == 0)
		params.stamps[(long long)g.n_blocks * g.n_phases * PERSISTENT_STAMPS + blockIdx.x] = multiprocessor();
	/* All threads of all blocks know the token's number by the time that the last block is here. */
	consumers_sync();
	if (threadIdx.x == 0)
		barrier_arrive(done, 1);
	if (threadIdx.x == 0 && arrive(g.state + 1) == (unsigned)g.n_blocks - 1) {
		g.state[1] = 0;
		g.state[0] = g.number + 1;
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
	const struct phases phases(l);
	unsigned long long *const done = phases.empty + PERSISTENT_PHASES;
	if (threadIdx.x == 0) {
		for (int i = 0; i < s.n; i++) {
			barrier_init(s.full + i, 1);
			barrier_init(s.empty + i, PERSISTENT_PIECE_SHARES);
		}
		for (int i = 0; i < PERSISTENT_PHASES; i++) {
			barrier_init(phases.full + i, 1);
			barrier_init(phases.empty + i, PERSISTENT_WARPS);
		}
		barrier_init(done, 1);
		barriers_are_ready();
	}
	__syncthreads();
	if (threadIdx.x < PERSISTENT_CONSUMERS)
		compute<KT, VT>(params, g, phases, s, done);
	else if (threadIdx.x >= PERSISTENT_COPIER && threadIdx.x < PERSISTENT_COPIER + COPYING)
		fill(params, g, phases, s);
	else if (threadIdx.x == PERSISTENT_WATCHER)
		watch(g, done);
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
#ifdef KV_F32_Q8_0
ENTRY(f32, TENSOR_F32, q8_0, TENSOR_Q8_0)
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
#ifdef KV_F16_Q8_0
ENTRY(f16, TENSOR_F16, q8_0, TENSOR_Q8_0)
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
#ifdef KV_BF16_Q8_0
ENTRY(bf16, TENSOR_BF16, q8_0, TENSOR_Q8_0)
#endif
#ifdef KV_Q8_0_F32
ENTRY(q8_0, TENSOR_Q8_0, f32, TENSOR_F32)
#endif
#ifdef KV_Q8_0_F16
ENTRY(q8_0, TENSOR_Q8_0, f16, TENSOR_F16)
#endif
#ifdef KV_Q8_0_BF16
ENTRY(q8_0, TENSOR_Q8_0, bf16, TENSOR_BF16)
#endif
#ifdef KV_Q8_0_Q8_0
ENTRY(q8_0, TENSOR_Q8_0, q8_0, TENSOR_Q8_0)
#endif
