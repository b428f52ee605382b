/* The dense products of decode: one token, weights of one type in aligned rows. Anything else is in matmul.cu. */
#include "kernels/cuda/matvec.cuh"
#include "kernels/cuda/typed_entries.cuh"

extern __shared__ __align__(16) char shared_memory[];

INLINE int units_for(int n_out)
{
	return (n_out + 1) / 2;
}

/* Rows 2 u and 2 u + 1; the last one twice where their number is odd. */
template <int T> INLINE struct row_pair neighbours(const struct weight &w, int u)
{
	return rows_of<T>(w, 2 * u, w, min(2 * u + 1, w.n_out - 1));
}

INLINE void store_neighbours(float *y, int n_out, int u, float2 v)
{
	y[2 * u] = v.x;
	if (2 * u + 1 < n_out)
		y[2 * u + 1] = v.y;
}

template <int T> INLINE void matmul(const struct matmul_params &p)
{
	const struct unit_range range = units_of(units_for(p.w.n_out), blockIdx.x, gridDim.x);
	const struct matvec_shared s = shared_of<T, false>(shared_memory, p.w.n_in, range.count);
	const auto rows = [&](int unit) { return neighbours<T>(p.w, range.first + unit); };
	weight_stream<T, decltype(rows)> stream(rows, s, p.w.n_in, range.count);

	stream.start();
	let_next_start();
	wait_for_earlier();
	stage_x<T, false>(s, p.x, 0.0f, p.w.n_in, nullptr, [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS)
		store_neighbours(p.y, p.w.n_out, range.first + i,
				 unit_sums(s.partial, i, range.count, stream.n_chunks));
}

template <int T> INLINE void norm_matmul(const struct norm_matmul_params &p)
{
	/* Units of all matrices in a row: where the second and the third begin. */
	const int begin1 = units_for(p.w[0].n_out);
	const int begin2 = begin1 + (p.n_matmuls > 1 ? units_for(p.w[1].n_out) : 0);
	const int n_units = begin2 + (p.n_matmuls > 2 ? units_for(p.w[2].n_out) : 0);
	const struct unit_range range = units_of(n_units, blockIdx.x, gridDim.x);
	const struct matvec_shared s = shared_of<T, true>(shared_memory, p.n, range.count);
	ask_norm(s.norm, p.weight, p.n);
	const auto rows = [&](int unit) {
		const int u = range.first + unit;
		return u < begin1   ? neighbours<T>(p.w[0], u)
		       : u < begin2 ? neighbours<T>(p.w[1], u - begin1)
				    : neighbours<T>(p.w[2], u - begin2);
	};
	weight_stream<T, decltype(rows)> stream(rows, s, p.n, range.count);

	stream.start();
	let_next_start();
	wait_for_earlier();
	stage_x<T, true>(s, p.x, p.eps, p.n, blockIdx.x == 0 ? p.normed : nullptr, [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS) {
		const int u = range.first + i;
		float2 v = unit_sums(s.partial, i, range.count, stream.n_chunks);
		if (u < begin1) {
			if (p.cap > 0.0f)
				v = make_float2(softcap(v.x, p.cap), softcap(v.y, p.cap));
			store_neighbours(p.y[0], p.w[0].n_out, u, v);
		} else if (u < begin2) {
			store_neighbours(p.y[1], p.w[1].n_out, u - begin1, v);
		} else {
			store_neighbours(p.y[2], p.w[2].n_out, u - begin2, v);
		}
	}
}

template <int T> INLINE void norm_gated(const struct norm_gated_params &p)
{
	/* A unit is a row of gate and the same row of up. */
	const struct unit_range range = units_of(p.w_gate.n_out, blockIdx.x, gridDim.x);
	const struct matvec_shared s = shared_of<T, true>(shared_memory, p.n, range.count);
	ask_norm(s.norm, p.weight, p.n);
	const auto rows = [&](int unit) {
		return rows_of<T>(p.w_gate, range.first + unit, p.w_up, range.first + unit);
	};
	weight_stream<T, decltype(rows)> stream(rows, s, p.n, range.count);

	stream.start();
	let_next_start();
	wait_for_earlier();
	stage_x<T, true>(s, p.x, p.eps, p.n, nullptr, [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS) {
		const float2 v = unit_sums(s.partial, i, range.count, stream.n_chunks);
		p.y[range.first + i] = activate(v.x, p.act) * v.y;
	}
}

template <int T> INLINE void matmul_gated(const struct matmul_gated_params &p)
{
	const struct unit_range range = units_of(units_for(p.w.n_out), blockIdx.x, gridDim.x);
	const struct matvec_shared s = shared_of<T, false>(shared_memory, p.w.n_in, range.count);
	const auto rows = [&](int unit) { return neighbours<T>(p.w, range.first + unit); };
	weight_stream<T, decltype(rows)> stream(rows, s, p.w.n_in, range.count);

	stream.start();
	let_next_start();
	wait_for_earlier();
	stage_x<T, false>(s, p.x, 0.0f, p.w.n_in, nullptr, [&] { stream.fill(); });
	stream.run(s.x, s.partial);
	for (int i = threadIdx.x; i < range.count; i += MATVEC_THREADS) {
		const int row = 2 * (range.first + i);
		const float2 v = unit_sums(s.partial, i, range.count, stream.n_chunks);
		p.y[row] = activate(v.x, p.act) * p.up[row];
		if (row + 1 < p.w.n_out)
			p.y[row + 1] = activate(v.y, p.act) * p.up[row + 1];
	}
}

TYPED_ENTRIES(matmul, MATVEC_BOUND)
TYPED_ENTRIES(norm_matmul, MATVEC_BOUND)
TYPED_ENTRIES(norm_gated, MATVEC_BOUND)
TYPED_ENTRIES(matmul_gated, MATVEC_BOUND)
