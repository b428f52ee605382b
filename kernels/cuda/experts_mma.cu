/*
 * The experts' products of a prompt: one launch for all experts, on tensor cores, out of the packed weights.
 *
 * Pairs of a token and an expert come sorted by expert. A CTA takes a tile of one expert's pairs and MMA_COLUMNS rows
 * of its matrix; which expert that is it finds from their counts, so that the host need not know them: the grid is as
 * large as the worst case, and what is beyond the last tile ends at once. Stages of MMA_DEPTH elements are copied
 * ahead.
 *
 * The order of the elements within a sum is free, as long as both operands have the same: of every 32 a lane takes
 * eight that lie together, in one load of 16 bytes of float16 or of 8 bytes of int8, where the instruction's own
 * order would take four pairs of two.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows_f16.cuh"
#include "kernels/cuda/typed_entries.cuh"

extern __shared__ __align__(16) char shared_memory[];

#include "kernels/cuda/experts_mma_weights.cuh"

enum { WARP_COLUMNS = 32, ROW_TILES = MMA_ROWS / 16, COLUMN_TILES = WARP_COLUMNS / 8 };

struct tile {
	int expert; /* negative: there is no such tile */
	int first;  /* pair, in their order */
	int end;    /* one past its last */
};

/* Every lane gets the tile; starts: (n_expert + 1). */
INLINE struct tile find_tile(const int *starts, int n_expert, int index)
{
	const int lane = (int)threadIdx.x % WARP;
	int before = 0;
	for (int base = 0; base < n_expert; base += WARP) {
		const int e = base + lane;
		const int first = e < n_expert ? starts[e] : 0, end = e < n_expert ? starts[e + 1] : 0;
		const int own = (end - first + MMA_ROWS - 1) / MMA_ROWS;
		int upto = own;
#pragma unroll
		for (int d = 1; d < WARP; d *= 2) {
			const int other = __shfl_up_sync(ALL_LANES, upto, d);
			upto += lane >= d ? other : 0;
		}
		const unsigned behind = __ballot_sync(ALL_LANES, before + upto > index);
		if (behind) {
			const int owner = __ffs((int)behind) - 1;
			const int skipped = index - __shfl_sync(ALL_LANES, before + upto - own, owner);
			struct tile t;
			t.expert = base + owner;
			t.first = __shfl_sync(ALL_LANES, first, owner) + skipped * MMA_ROWS;
			t.end = min(t.first + MMA_ROWS, __shfl_sync(ALL_LANES, end, owner));
			return t;
		}
		before += __shfl_sync(ALL_LANES, upto, WARP - 1);
	}
	struct tile none;
	none.expert = -1;
	none.first = none.end = 0;
	return none;
}

/* Where a 16-byte piece of a pair's row lies in a stage: so that eight lanes that read two rows find them in different
 * banks. */
INLINE int row_piece(int row, int piece)
{
	return row * 128 + (piece ^ (row & 1) * 4) * 16;
}

/* What a thread copies of every stage of a tile; of the pairs' rows zeros where a mask's bit is not set, whose address
 * is any. */
template <int T> struct copies {
	enum { ROW_PIECES = MMA_ROWS * 8 / MMA_THREADS };
	const char *x;
	unsigned rows[ROW_PIECES]; /* blocks of 32 elements, where they begin */
	unsigned rows_there;
	unsigned shared;
	weight_copies<T> weights;

	/* x_row: of a pair; w_row: of a column of the tile, negative where there is none */
	template <class F, class G>
	__device__ __forceinline__ copies(const struct weight &w, const void *of, const struct tile &t, F x_row,
					  G w_row)
	    : x((const char *)of), weights(w, w_row)
	{
		shared = kept_shared_address(shared_memory);
		rows_there = 0;
#pragma unroll
		for (int i = 0; i < ROW_PIECES; i++) {
			const int pair = t.first + (int)threadIdx.x / 8 + i * (MMA_THREADS / 8);
			const bool there = pair < t.end;
			rows[i] = (unsigned)(there ? x_row(pair) : 0) * (unsigned)(w.n_in / QUANTS_BLOCK);
			rows_there |= (unsigned)there << i;
		}
	}

	__device__ __forceinline__ void stage(int k, int slot) const
	{
		const unsigned to = shared + (unsigned)(slot * mma_stage_bytes(T));
		const int piece = (int)threadIdx.x % 8, row = (int)threadIdx.x / 8;
#pragma unroll
		for (int i = 0; i < ROW_PIECES; i++)
			copy_async(to + row_piece(row + i * (MMA_THREADS / 8), piece),
				   x + (unsigned long long)(rows[i] + k / QUANTS_BLOCK) * (2 * QUANTS_BLOCK) +
					   piece * 16,
				   rows_there >> i & 1);
		weights.copy(to, k);
	}
};

typedef float sums[ROW_TILES][COLUMN_TILES][4];

/* acc = the tile's n_rows rows times the warp's columns. */
template <int T> INLINE void multiply(copies<T> c, int n_rows, sums acc)
{
	constexpr int stages = mma_stages(T), stages_a_part = MMA_PARTS / MMA_DEPTH;
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)threadIdx.x / WARP * WARP_COLUMNS;
	const int n_in = c.weights.w.n_in, n_stages = n_in / MMA_DEPTH;
#pragma unroll
	for (int s = 0; s < stages - 1; s++) {
		if (s < n_stages)
			c.stage(s * MMA_DEPTH, s);
		commit_copies();
	}
	if (mma_in_parts(T)) {
		c.weights.load_scales(0, n_in);
		c.weights.leave_scales(0);
		c.weights.load_scales(MMA_PARTS, n_in);
	}
	for (int s = 0; s < n_stages; s++) {
		wait_for_copies_but<stages - 2>();
		__syncthreads(); /* everybody's, and nobody reads the slot any more that is filled next */
		if (s + stages - 1 < n_stages)
			c.stage((s + stages - 1) * MMA_DEPTH, (s + stages - 1) % stages);
		commit_copies();
		if (mma_in_parts(T) && s % stages_a_part == 0) {
			const int next = s / stages_a_part + 1;
			c.weights.leave_scales(next % 2);
			c.weights.load_scales((next + 1) * MMA_PARTS, n_in);
		}
		const char *stage = shared_memory + s % stages * mma_stage_bytes(T);
#pragma unroll
		for (int part = 0; part < 2; part++) {
			unsigned b[COLUMN_TILES][4];
#pragma unroll
			for (int ni = 0; ni < COLUMN_TILES; ni++)
				operands<T>(stage, s, part, column0 + ni * 8 + group, b[ni]);
#pragma unroll
			for (int mi = 0; mi < ROW_TILES; mi++) {
				if (mi * 16 >= n_rows)
					break;
				const int row = mi * 16 + group;
				const uint4 lo = *(const uint4 *)(stage + row_piece(row, part * 4 + quad));
				const uint4 hi = *(const uint4 *)(stage + row_piece(row + 8, part * 4 + quad));
#pragma unroll
				for (int ni = 0; ni < COLUMN_TILES; ni++) {
					multiply_add<TENSOR_F16>(acc[mi][ni], lo.x, hi.x, lo.y, hi.y, b[ni][0],
								 b[ni][1]);
					multiply_add<TENSOR_F16>(acc[mi][ni], lo.z, hi.z, lo.w, hi.w, b[ni][2],
								 b[ni][3]);
				}
			}
		}
	}
	wait_for_copies();
}

template <int T> INLINE void prompt_experts_gated(const struct prompt_experts_gated_params &p)
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)blockIdx.x * (MMA_COLUMNS / 2), n_ff = p.w.n_out / 2;
	sums acc = {};

	let_next_start();
	wait_for_earlier();
	const struct tile t = find_tile(p.starts, p.w.n_expert, (int)blockIdx.y);
	if (t.expert < 0)
		return;
	const auto x_row = [&](int pair) { return p.order[pair] / p.n_used; };
	/* Of each 32 columns 16 are gates, and 16 the same rows of up. */
	const auto w_row = [&](int column) {
		const int row = column0 + column / 32 * 16 + column % 16;
		return row < n_ff ? t.expert * p.w.n_out + row + (column % 32 >= 16 ? n_ff : 0) : -1;
	};
	multiply<T>(copies<T>(p.w, p.x, t, x_row, w_row), t.end - t.first, acc);
#pragma unroll
	for (int mi = 0; mi < ROW_TILES; mi++)
#pragma unroll
		for (int half = 0; half < 2; half++) {
			const int pair = t.first + mi * 16 + group + half * 8;
			if (pair >= t.end)
				continue;
			const float scale = p.scale[p.order[pair] / p.n_used], by = 1.0f / scale;
#pragma unroll
			for (int ni = 0; ni < COLUMN_TILES / 2; ni++) {
				const float *gate = acc[mi][ni] + half * 2,
					    *up = acc[mi][ni + COLUMN_TILES / 2] + half * 2;
				const int column = column0 + (int)threadIdx.x / WARP * 16 + ni * 8 + quad * 2;
				if (column < n_ff)
					*(unsigned *)((unsigned short *)p.y + (long long)pair * n_ff + column) =
						pack_f16(within_f16(activate(gate[0] * scale, p.act) * by * up[0]),
							 within_f16(activate(gate[1] * scale, p.act) * by * up[1]));
			}
		}
}

template <int T> INLINE void prompt_experts_matmul(const struct prompt_experts_matmul_params &p)
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)blockIdx.x * MMA_COLUMNS;
	sums acc = {};

	let_next_start();
	wait_for_earlier();
	const struct tile t = find_tile(p.starts, p.w.n_expert, (int)blockIdx.y);
	if (t.expert < 0)
		return;
	const auto x_row = [](int pair) { return pair; };
	const auto w_row = [&](int column) {
		return column0 + column < p.w.n_out ? t.expert * p.w.n_out + column0 + column : -1;
	};
	multiply<T>(copies<T>(p.w, p.x, t, x_row, w_row), t.end - t.first, acc);
#pragma unroll
	for (int mi = 0; mi < ROW_TILES; mi++)
#pragma unroll
		for (int half = 0; half < 2; half++) {
			const int i = t.first + mi * 16 + group + half * 8;
			if (i >= t.end)
				continue;
			const int pair = p.order[i];
			const float once = p.scale[pair / p.n_used], scale = once * once;
			float *y = p.y + (long long)pair * p.w.n_out;
#pragma unroll
			for (int ni = 0; ni < COLUMN_TILES; ni++) {
				const int column = column0 + (int)threadIdx.x / WARP * WARP_COLUMNS + ni * 8 + quad * 2;
				if (column < p.w.n_out)
					*(float2 *)(y + column) = make_float2(acc[mi][ni][half * 2] * scale,
									      acc[mi][ni][half * 2 + 1] * scale);
			}
		}
}

TYPED_ENTRIES(prompt_experts_gated, MMA_THREADS)
TYPED_ENTRIES(prompt_experts_matmul, MMA_THREADS)
