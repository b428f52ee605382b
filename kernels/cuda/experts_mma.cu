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
#include "kernels/cuda/experts_mma_geometry.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/rows_f16.cuh"

extern __shared__ __align__(16) char shared_memory[];

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

/* Where a 16-byte piece of a row of MMA_DEPTH float16 lies in a stage: so that eight lanes that read two rows find
 * them in different banks. */
INLINE int piece_of_128(int row, int piece)
{
	return row * 128 + (piece ^ (row & 1) * 4) * 16;
}

/* The same of a row of int8, of which lanes read eight bytes: four rows at a time. */
INLINE int piece_of_64(int row, int piece)
{
	return row * 64 + (piece ^ (row >> 1 & 1) * 2) * 16;
}

/* What a thread copies of every stage; zeros where a mask's bit is not set, whose address is any. */
template <bool Q8> struct copies {
	enum {
		ROW_PIECES = MMA_ROWS * 8 / MMA_THREADS,
		WEIGHT_PIECES = MMA_COLUMNS * (Q8 ? 4 : 8) / MMA_THREADS,
		PIECES_A_ROW = Q8 ? 4 : 8, /* of weights */
	};
	const char *rows[ROW_PIECES];
	const char *weights[WEIGHT_PIECES];
	const char *scales;
	unsigned rows_there, weights_there;
	bool scales_there;
	unsigned shared;

	__device__ __forceinline__ void stage(int k, int slot) const
	{
		const unsigned to = shared + (unsigned)(slot * mma_stage_bytes(Q8));
		const int piece = (int)threadIdx.x % 8, row = (int)threadIdx.x / 8;
#pragma unroll
		for (int i = 0; i < ROW_PIECES; i++)
			copy_async(to + piece_of_128(row + i * (MMA_THREADS / 8), piece), rows[i] + k * 2,
				   rows_there >> i & 1);
		const int w_piece = (int)threadIdx.x % PIECES_A_ROW, w_row = (int)threadIdx.x / PIECES_A_ROW;
#pragma unroll
		for (int i = 0; i < WEIGHT_PIECES; i++) {
			const int r = w_row + i * (MMA_THREADS / PIECES_A_ROW);
			copy_async(to + mma_weights_at() + (Q8 ? piece_of_64(r, w_piece) : piece_of_128(r, w_piece)),
				   weights[i] + k * (Q8 ? 1 : 2), weights_there >> i & 1);
		}
		if (Q8)
			copy_async<4>(to + mma_scales_at(1) + threadIdx.x * 4, scales + k / 16, scales_there);
	}
};

/* Four int8, lowest first, times the scale as two words of float16. */
INLINE void widen(unsigned q, float scale, unsigned *lo, unsigned *hi)
{
	const unsigned u = q ^ 0x80808080u;
	float f[4];
#pragma unroll
	for (int i = 0; i < 4; i++) /* 2^23 + 128 + q, and q is left exactly */
		f[i] = (__uint_as_float(__byte_perm(u, 0x4b000000u, 0x7540u + i)) - 8388736.0f) * scale;
	*lo = pack_f16(f[0], f[1]);
	*hi = pack_f16(f[2], f[3]);
}

/* Two bfloat16 as float16. */
INLINE unsigned narrow(unsigned w)
{
	return pack_f16(__uint_as_float(w << 16), __uint_as_float(w & 0xffff0000u));
}

/* b[ni][0, 1] for the first product of 32 elements, [2, 3] for the second. */
template <bool Q8> INLINE void load_columns(const char *stage, int part, int column0, unsigned b[COLUMN_TILES][4])
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
#pragma unroll
	for (int ni = 0; ni < COLUMN_TILES; ni++) {
		const int row = column0 + ni * 8 + group;
		if (Q8) {
			const uint2 q = *(const uint2 *)(stage + mma_weights_at() +
							 piece_of_64(row, part * 2 + quad / 2) + quad % 2 * 8);
			const float scale =
				f16_to_f32(((const unsigned short *)(stage + mma_scales_at(1)))[row * 2 + part]);
			widen(q.x, scale, &b[ni][0], &b[ni][1]);
			widen(q.y, scale, &b[ni][2], &b[ni][3]);
		} else {
			const uint4 v = *(const uint4 *)(stage + mma_weights_at() + piece_of_128(row, part * 4 + quad));
			b[ni][0] = narrow(v.x);
			b[ni][1] = narrow(v.y);
			b[ni][2] = narrow(v.z);
			b[ni][3] = narrow(v.w);
		}
	}
}

typedef float sums[ROW_TILES][COLUMN_TILES][4];

/* acc = the tile's rows times the warp's columns. */
template <bool Q8> INLINE void multiply(const copies<Q8> &c, int n_in, sums acc)
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)threadIdx.x / WARP * WARP_COLUMNS;
	const int n_stages = n_in / MMA_DEPTH;
#pragma unroll
	for (int s = 0; s < MMA_STAGES - 1; s++) {
		if (s < n_stages)
			c.stage(s * MMA_DEPTH, s);
		commit_copies();
	}
	for (int s = 0; s < n_stages; s++) {
		wait_for_copies_but<MMA_STAGES - 2>();
		__syncthreads(); /* everybody's, and nobody reads the slot any more that is filled next */
		if (s + MMA_STAGES - 1 < n_stages)
			c.stage((s + MMA_STAGES - 1) * MMA_DEPTH, (s + MMA_STAGES - 1) % MMA_STAGES);
		commit_copies();
		const char *stage = shared_memory + s % MMA_STAGES * mma_stage_bytes(Q8);
#pragma unroll
		for (int part = 0; part < 2; part++) {
			unsigned b[COLUMN_TILES][4];
			load_columns<Q8>(stage, part, column0, b);
#pragma unroll
			for (int mi = 0; mi < ROW_TILES; mi++) {
				const int row = mi * 16 + group;
				const uint4 lo = *(const uint4 *)(stage + piece_of_128(row, part * 4 + quad));
				const uint4 hi = *(const uint4 *)(stage + piece_of_128(row + 8, part * 4 + quad));
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

/*
 * The copies of a tile. gathered: a pair's row of x is its token's. gated: of each 32 columns 16 are gates, from
 * column0 on, and 16 the same rows of up, n_ff further.
 */
template <bool Q8, bool GATED>
INLINE copies<Q8> copies_of(const struct weight &w, const struct tile &t, const int *order, int n_used, const void *x,
			    int column0)
{
	copies<Q8> c;
	c.shared = kept_shared_address(shared_memory);
	const long long row_bytes = (long long)w.n_in * (Q8 ? 1 : 2), base = (long long)t.expert * w.n_out;
	const int n_ff = w.n_out / 2;
	/* The matrix's row of a column of the tile; negative beyond it. */
	const auto matrix_row = [&](int column) -> int {
		const int row = GATED ? column0 + column / 32 * 16 + column % 16 : column0 + column;
		if (row >= (GATED ? n_ff : w.n_out))
			return -1;
		return GATED && column % 32 >= 16 ? row + n_ff : row;
	};
	c.rows_there = c.weights_there = 0;
#pragma unroll
	for (int i = 0; i < copies<Q8>::ROW_PIECES; i++) {
		const int pair = t.first + (int)threadIdx.x / 8 + i * (MMA_THREADS / 8);
		const bool there = pair < t.end;
		const long long row = !there ? 0 : GATED ? order[pair] / n_used : pair;
		c.rows[i] = (const char *)x + row * w.n_in * 2 + threadIdx.x % 8 * 16;
		c.rows_there |= (unsigned)there << i;
	}
#pragma unroll
	for (int i = 0; i < copies<Q8>::WEIGHT_PIECES; i++) {
		const int row = matrix_row((int)threadIdx.x / copies<Q8>::PIECES_A_ROW +
					   i * (MMA_THREADS / copies<Q8>::PIECES_A_ROW));
		c.weights[i] = (const char *)w.data + (base + max(row, 0)) * row_bytes +
			       threadIdx.x % copies<Q8>::PIECES_A_ROW * 16;
		c.weights_there |= (unsigned)(row >= 0) << i;
	}
	const int row = matrix_row((int)threadIdx.x);
	c.scales = (const char *)w.scales + (base + max(row, 0)) * (w.n_in / 32) * 2;
	c.scales_there = row >= 0;
	return c;
}

template <bool Q8> INLINE void experts_gated(const struct prompt_experts_gated_params &p)
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)blockIdx.x * (MMA_COLUMNS / 2), n_ff = p.w.n_out / 2;
	sums acc = {};

	let_next_start();
	wait_for_earlier();
	const struct tile t = find_tile(p.starts, p.w.n_expert, (int)blockIdx.y);
	if (t.expert < 0)
		return;
	multiply<Q8>(copies_of<Q8, true>(p.w, t, p.order, p.n_used, p.x, column0), p.w.n_in, acc);
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

template <bool Q8> INLINE void experts_matmul(const struct prompt_experts_matmul_params &p)
{
	const int lane = (int)threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
	const int column0 = (int)blockIdx.x * MMA_COLUMNS;
	sums acc = {};

	let_next_start();
	wait_for_earlier();
	const struct tile t = find_tile(p.starts, p.w.n_expert, (int)blockIdx.y);
	if (t.expert < 0)
		return;
	multiply<Q8>(copies_of<Q8, false>(p.w, t, p.order, 1, p.x, column0), p.w.n_in, acc);
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

KERNEL(MMA_THREADS) k_prompt_experts_gated_q8_0(const __grid_constant__ struct prompt_experts_gated_params p)
{
	experts_gated<true>(p);
}

KERNEL(MMA_THREADS) k_prompt_experts_gated_bf16(const __grid_constant__ struct prompt_experts_gated_params p)
{
	experts_gated<false>(p);
}

KERNEL(MMA_THREADS) k_prompt_experts_matmul_q8_0(const __grid_constant__ struct prompt_experts_matmul_params p)
{
	experts_matmul<true>(p);
}

KERNEL(MMA_THREADS) k_prompt_experts_matmul_bf16(const __grid_constant__ struct prompt_experts_matmul_params p)
{
	experts_matmul<false>(p);
}
