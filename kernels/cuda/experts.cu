/*
 * Mixture of experts. Which experts a token takes is read on the device, after the wait: nothing
 * here is known to the host. A CTA serves one (token, expert used) pair; gridDim.x is a multiple
 * of their number.
 */
#include "kernels/cuda/matvec.cuh"
#include "kernels/cuda/typed_entries.cuh"

extern __shared__ __align__(16) char shared_memory[];

template <int T> INLINE void matmul_experts(const struct matmul_experts_params &p)
{
	const unsigned n_pairs = (unsigned)(p.n_tokens * p.n_used);
	const unsigned blocks = gridDim.x / n_pairs;
	const int pair = (int)(blockIdx.x / blocks);
	const struct unit_range range = units_of((p.w.n_out + 1) / 2, blockIdx.x % blocks, blocks);
	const struct matvec_shared s = shared_of<T, false>(shared_memory, p.w.n_in, range.count);

	let_next_start();
	wait_for_earlier();
	const long long base = (long long)p.ids[pair] * p.w.n_out;
	const auto rows = [&](int unit) {
		const int a = 2 * (range.first + unit);
		return rows_of<T>(p.w, base + a, p.w, base + min(a + 1, p.w.n_out - 1));
	};
	weight_stream<T, decltype(rows)> stream(rows, s, p.w.n_in, range.count);
	stream.start();
	const float *x = p.x + (long long)(p.x_per_expert ? pair : pair / p.n_used) * p.w.n_in;
	stage_x<T, false>(s, x, 0.0f, p.w.n_in, nullptr, [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	float *y = p.y + (long long)pair * p.w.n_out;
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS) {
		const int a = 2 * (range.first + i);
		const float2 v = unit_sums(s.partial, i, range.count, stream.n_chunks);
		y[a] = v.x;
		if (a + 1 < p.w.n_out)
			y[a + 1] = v.y;
	}
}

template <int T> INLINE void experts_gated(const struct experts_gated_params &p)
{
	const unsigned n_pairs = (unsigned)(p.n_tokens * p.n_used);
	const unsigned blocks = gridDim.x / n_pairs;
	const int pair = (int)(blockIdx.x / blocks);
	const int n_ff = p.w.n_out / 2;
	const struct unit_range range = units_of(n_ff, blockIdx.x % blocks, blocks);
	const struct matvec_shared s = shared_of<T, false>(shared_memory, p.w.n_in, range.count);

	let_next_start();
	wait_for_earlier();
	const long long base = (long long)p.ids[pair] * p.w.n_out;
	const auto rows = [&](int unit) {
		const long long gate = base + range.first + unit;
		return rows_of<T>(p.w, gate, p.w, gate + n_ff);
	};
	weight_stream<T, decltype(rows)> stream(rows, s, p.w.n_in, range.count);
	stream.start();
	stage_x<T, false>(s, p.x + (long long)(pair / p.n_used) * p.w.n_in, 0.0f, p.w.n_in, nullptr,
			  [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS) {
		const float2 v = unit_sums(s.partial, i, range.count, stream.n_chunks);
		p.y[(long long)pair * n_ff + range.first + i] = activate(v.x, p.act) * v.y;
	}
}

TYPED_ENTRIES(matmul_experts, MATVEC_BOUND)
TYPED_ENTRIES(experts_gated, MATVEC_BOUND)

/* A warp per token. Chosen by logit, which orders as the probability does; ties go to the lower index. */
KERNEL(WARP) k_moe_route(const __grid_constant__ struct moe_route_params p)
{
	float *const rest = (float *)shared_memory; /* (n_expert): logits; chosen ones are marked in taken */
	unsigned char *const taken = (unsigned char *)(rest + p.n_expert);
	const int lane = threadIdx.x;
	const long long t = blockIdx.x;
	int *ids = p.ids + t * p.n_used;
	float *weights = p.weights + t * p.n_used;
	float greatest = 0.0f, sum = 0.0f;

	let_next_start();
	wait_for_earlier();
	for (int e = lane; e < p.n_expert; e += WARP) {
		rest[e] = p.logits[t * p.n_expert + e];
		taken[e] = 0;
	}
	__syncwarp();
	for (int u = 0; u < p.n_used; u++) {
		int best = -1;
		float logit = 0.0f;
		for (int e = lane; e < p.n_expert; e += WARP)
			if (!taken[e] && (best < 0 || rest[e] > logit)) {
				best = e;
				logit = rest[e];
			}
#pragma unroll
		for (int d = WARP / 2; d; d /= 2) {
			const int other = __shfl_xor_sync(ALL_LANES, best, d);
			const float its = __shfl_xor_sync(ALL_LANES, logit, d);
			if (other >= 0 && (best < 0 || its > logit || (!(logit > its) && other < best))) {
				best = other;
				logit = its;
			}
		}
		/* NaN logits can leave lanes of different opinions: lane 0's holds. */
		best = __shfl_sync(ALL_LANES, best, 0);
		logit = rest[best];
		if (u == 0)
			greatest = logit;
		sum += expf(logit - greatest);
		if (lane == 0) {
			ids[u] = best;
			taken[best] = 1;
		}
		__syncwarp();
	}
	for (int u = lane; u < p.n_used; u += WARP) {
		const int e = ids[u];
		weights[u] = expf(rest[e] - greatest) / sum * (p.expert_scale ? p.expert_scale[e] : 1.0f);
	}
}

KERNEL(256) k_moe_sum(const __grid_constant__ struct moe_sum_params p)
{
	const int i = (int)(blockIdx.x * 256 + threadIdx.x);
	const long long t = blockIdx.y;

	let_next_start();
	wait_for_earlier();
	if (i >= p.n)
		return;
	const float *x = p.x + t * p.n_used * p.n + i;
	const float *weights = p.weights + t * p.n_used;
	float sum = weights[0] * x[0];
	for (int u = 1; u < p.n_used; u++)
		sum += weights[u] * x[(long long)u * p.n];
	p.y[t * p.n + i] = sum;
}
