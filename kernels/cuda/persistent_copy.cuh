/*
 * The way of a token's weights into shared memory (persistent_product.cuh): who has which jobs, the ring of stages, and
 * the warp that copies.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_COPY_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_COPY_CUH

#include "kernels/cuda/persistent_vector.cuh"

/* ---- who has what ---- */

INLINE int first_job(const struct persistent_product &p, int n_blocks)
{
	const int job = (int)blockIdx.x - p.rotate;
	return job < 0 ? job + n_blocks : job;
}

/* The block's part of the columns: all of its jobs have the same, since the blocks are a multiple of the splits. */
INLINE struct columns split_columns(const struct persistent_product &p, int job)
{
	return persistent_split(p.w[0].n_in, p.shift, job & ((1 << p.shift) - 1));
}

struct tile_row {
	const struct weight *w;
	int row;
	bool real; /* else one that the matrix has no more, in whose place its last one is multiplied */
};

/* Row r of a job's 16. */
INLINE struct tile_row row_of_tile(const struct persistent_product &p, int tile, int r)
{
	struct tile_row t;
	int i = 0;
	if (p.output == PERSISTENT_GATED) {
		t.w = &p.w[r / 8];
		t.row = tile * 8 + r % 8;
	} else {
		while (i + 1 < p.n_w && tile >= persistent_tiles(p.w[i].n_out))
			tile -= persistent_tiles(p.w[i++].n_out);
		t.w = &p.w[i];
		t.row = tile * PERSISTENT_TILE + r;
	}
	t.real = t.row < t.w->n_out;
	t.row = min(t.row, t.w->n_out - 1);
	return t;
}

/* ---- stages ---- */

struct stages {
	char *memory;             /* (n, stage_bytes) */
	unsigned long long *full; /* (n, QUARTERS): a stage's copies */
	unsigned long long *empty;
	int n;
	int row_stride;
	int scale_stride;
	int bytes; /* of a stage */
};

/* Of a stage's rows in shared memory. */
struct strides {
	int row, scale; /* bytes from row to row */
	int scales;     /* where they begin */
};

INLINE struct strides strides_of(const struct persistent_product &p, const struct stages &s)
{
	struct strides t = {s.row_stride, s.scale_stride, PERSISTENT_TILE * s.row_stride};
	if (p.whole) {
		t.row = p.w[0].n_in * element_bytes(p.w[0].type);
		t.scale = p.w[0].n_in / 32 * 2;
		t.scales = PERSISTENT_TILE * t.row;
	}
	return t;
}

INLINE struct stages stages_of(char *shared, const struct persistent_program &g, const struct persistent_layout &l)
{
	struct stages s;
	s.memory = shared;
	s.full = (unsigned long long *)(shared + l.barriers);
	s.empty = s.full + PERSISTENT_QUARTERS * PERSISTENT_MAX_STAGES;
	s.n = g.n_stages;
	s.row_stride = g.row_stride;
	s.scale_stride = g.scale_stride;
	s.bytes = persistent_stage_bytes(&g);
	return s;
}

/* Where a warp is in the ring. */
struct stage {
	int at = 0;
	unsigned parity = 0;

	__device__ __forceinline__ void next(int n)
	{
		if (++at == n) {
			at = 0;
			parity ^= 1;
		}
	}
};

/* Copies on their way, in their order. Lane i of the copying warp knows the bytes of every copy whose number is i. */
struct in_flight {
	struct stage oldest;
	int quarter = 0; /* of oldest */
	unsigned first = 0, end = 0;
	int bytes = 0;
	int own = 0;

	/*
	 * Until as many more are within the limit, or none is on its way. Never all of the ring: a copy's barrier is
	 * not used again before the copy is no longer counted.
	 */
	__device__ __forceinline__ void make_room(int more, int limit, const struct stages &s)
	{
		const unsigned most = (unsigned)(PERSISTENT_QUARTERS * (s.n - 1));
		while (first != end && (bytes + more > limit || end - first >= most)) {
			barrier_wait(s.full + oldest.at * PERSISTENT_QUARTERS + quarter, oldest.parity);
			bytes -= __shfl_sync(ALL_LANES, own, first % WARP);
			first++;
			if (++quarter == PERSISTENT_QUARTERS) {
				quarter = 0;
				oldest.next(s.n);
			}
		}
	}

	__device__ __forceinline__ void add(int more)
	{
		if (end % WARP == threadIdx.x % WARP)
			own = more;
		end++;
		bytes += more;
	}
};

/* Bytes in front of the scales of a row at column k: copies begin at multiples of 16. */
INLINE int scales_skip(const struct weight &w, int row, int k)
{
	return (int)(((long long)row * (w.n_in / 32) + k / 32) * 2 & 15);
}

/*
 * What a lane of the copying warp copies of a job: rows of one quarter of it, or their scales. Rows that lie behind
 * each other in memory are one copy, lanes 0 to 3 have a quarter's each, and 4 to 7 the scales; else lanes 0 to 15 have
 * a row, the others its scales.
 */
struct copying {
	bool works, of_scales;
	int quarter, row; /* the first one */
	int rows;

	__device__ __forceinline__ copying(const struct persistent_product &p)
	{
		const int lane = threadIdx.x % WARP, each = PERSISTENT_TILE / PERSISTENT_QUARTERS;
		rows = p.whole ? each : 1;
		of_scales = lane >= PERSISTENT_TILE / rows;
		row = lane * rows % PERSISTENT_TILE;
		quarter = row / each;
		works = lane < 2 * PERSISTENT_TILE / rows && (!of_scales || p.w[0].type == TENSOR_Q8_0);
	}
};

/* The copying warp through one product. */
INLINE void fill_product(const struct persistent_product &p, int n_blocks, const struct stages &s, struct stage &own,
			 struct in_flight &flight, unsigned long long policy)
{
	const int lane = threadIdx.x % WARP;
	const struct copying mine(p);
	const struct strides strides = strides_of(p, s);
	const int type = p.w[0].type, element = element_bytes(type), n_in = p.w[0].n_in;
	const int n_jobs = p.n_jobs, first_jobs = p.first_jobs, first_limit = p.first_limit, limit = p.limit;
	const int first = first_job(p, n_blocks);
	const struct columns c = split_columns(p, first);
	const struct slicing slicing = persistent_slicing(type, c);
	int n = 0;

	for (int job = first; job < n_jobs; job += n_blocks, n++) {
		const struct tile_row t = row_of_tile(p, job >> p.shift, mine.row);
		const int most = n < first_jobs ? first_limit : limit;
		for (int i = 0; i < slicing.n; i++) {
			const struct columns k = persistent_slice(c, slicing, i);
			const char *from = (const char *)t.w->data + ((long long)t.row * n_in + k.begin) * element;
			int bytes = mine.rows * (k.end - k.begin) * element;
			char *to = s.memory + own.at * s.bytes + mine.row * strides.row;
			if (mine.of_scales) {
				const int skip = p.whole ? 0 : scales_skip(*t.w, t.row, k.begin);
				from = (const char *)t.w->scales + ((long long)t.row * (n_in / 32) + k.begin / 32) * 2 -
				       skip;
				bytes = (skip + mine.rows * ((k.end - k.begin) / 32) * 2 + 15) & ~15;
				to = s.memory + own.at * s.bytes + strides.scales + mine.row * strides.scale;
			}
			barrier_wait(s.empty + own.at, own.parity ^ 1);
#pragma unroll
			for (int q = 0; q < PERSISTENT_QUARTERS; q++) {
				const bool now = mine.works && mine.quarter == q;
				unsigned long long *const full = s.full + own.at * PERSISTENT_QUARTERS + q;
				const int total = (int)__reduce_add_sync(ALL_LANES, now ? (unsigned)bytes : 0u);
				flight.make_room(total, most, s);
				if (lane == 0)
					barrier_expect(full, (unsigned)total);
				__syncwarp();
				if (now)
					bulk_copy(to, from, (unsigned)bytes, full, policy);
				flight.add(total);
			}
			own.next(s.n);
		}
	}
}

#endif
