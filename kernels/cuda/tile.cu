/* Weights as the kernel of a whole token reads them. A thread per vector of 16 bytes, which it writes whole. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/quants.cuh"
#include "kernels/cuda/quants_geometry.h"
#include "kernels/tiles.h"

/* The matrix and the row that row r of a tile is; null: it fills the tile up. */
INLINE const struct weight *tile_row(const struct persistent_tile_params &p, int tile, int r, long long &row)
{
	int i = 0;
	if (p.gated) {
		i = r / 8;
		row = (long long)tile * 8 + r % 8;
	} else {
		while (i + 1 < p.n_w && tile >= tile_count(p.rows[i]))
			tile -= tile_count(p.rows[i++]);
		row = (long long)tile * TILE_ROWS + r;
	}
	const bool has = row < p.rows[i];
	row += p.first[i];
	return has ? &p.w[i] : nullptr;
}

/* What Q8_0's vectors have of a lane: words of rows g and g + 8, at columns 4 * t of a block and 16 further on. */
INLINE unsigned digits_word(const struct persistent_tile_params &p, int tile, int chunk, int vector, int i)
{
	const int lane = vector % WARP, k = chunk * TILE_CHUNK + vector / WARP * 32 + lane % 4 * 4 + i / 2 * 16;
	long long row;
	const struct weight *const w = tile_row(p, tile, lane / 4 + i % 2 * 8, row);
	return w && k < w->n_in ? *(const unsigned *)((const char *)w->data + row * w->n_in + k) : 0;
}

INLINE unsigned scale_of(const struct persistent_tile_params &p, int tile, int chunk, int i)
{
	const int k = chunk * TILE_CHUNK + tile_scaled_block(i % 16 / 2) * 32;
	long long row;
	const struct weight *const w = tile_row(p, tile, i / 16 + i % 2 * 8, row);
	return w && k < w->n_in ? ((const unsigned short *)w->scales)[row * (w->n_in / 32) + k / 32] : 0;
}

/* A block of a matrix's row in the planes of a type of fewer bits; zeros where the row or the matrix has none. */
struct plane_block {
	const char *data;
	long long block, n_blocks; /* -1 where there is none; of the matrix */

	__device__ __forceinline__ plane_block(const struct persistent_tile_params &p, int tile, int r, int k)
	{
		long long row;
		const struct weight *const w = tile_row(p, tile, r, row);
		block = -1;
		if (!w || k >= w->n_in)
			return;
		data = (const char *)w->data;
		block = row * (w->n_in / QUANTS_BLOCK) + k / QUANTS_BLOCK;
		n_blocks = (long long)w->n_expert * w->n_out * (w->n_in / QUANTS_BLOCK);
	}

	__device__ __forceinline__ unsigned low(int j) const
	{
		return block < 0 ? 0 : ((const unsigned *)data)[block * 4 + j];
	}

	/* i: a half, of Q6_K. */
	__device__ __forceinline__ unsigned high(int type, int i) const
	{
		const unsigned *const plane = (const unsigned *)(data + quants_high_at(n_blocks));
		return block < 0 ? 0 : plane[block * (quants_high_bytes(type) / 4) + i];
	}

	/* i: of d and m, where a block's side is both. */
	__device__ __forceinline__ unsigned side(int type, int i) const
	{
		const unsigned short *const plane = (const unsigned short *)(data + quants_side_at(type, n_blocks));
		return block < 0 ? 0 : plane[block * (quants_side_bytes(type) / 2) + i];
	}

	/* Of Q6_K. */
	__device__ __forceinline__ unsigned d() const
	{
		const unsigned short *const plane = (const unsigned short *)(data + quants_d_at(TENSOR_Q6_K, n_blocks));
		return block < 0 ? 0 : plane[block / 8];
	}
};

INLINE unsigned quants_low_word(const struct persistent_tile_params &p, int tile, int k, int vector, int i)
{
	const int lane = vector % WARP;
	return plane_block(p, tile, lane / 4 + i % 2 * 8, k + vector / WARP * 64 + i / 2 * 32).low(lane % 4);
}

/* Byte by byte bits of 16 columns of rows g and g + 8, then of the next 16. */
INLINE unsigned quants_high_word(const struct persistent_tile_params &p, int type, int tile, int k, int vector, int i)
{
	const int lane = vector % WARP, word = vector / WARP * 4 + i;
	unsigned v = 0;
	for (int f = 0; f < 8; f++) {
		const int r = lane / 4 + f % 2 * 8, half = f / 2 % 2;
		const unsigned high = plane_block(p, tile, r, k + word * 64 + f / 4 * 32).high(type, 0);
		v |= (high >> (4 * half + lane % 4) & 0x01010101u) << f;
	}
	return v;
}

/* Of Q6_K: of a block's fragments one, and two bits of the fourth. */
INLINE unsigned six_bits_word(const struct persistent_tile_params &p, int tile, int k, int vector, int i)
{
	const int lane = vector % WARP, word = vector / WARP * 4 + i, f = word % 3;
	unsigned bytes[2];
	for (int n = 0; n < 2; n++) {
		const int fragment = n ? 3 : f, half = fragment / 2;
		const plane_block b(p, tile, lane / 4 + fragment % 2 * 8, k + word / 3 * 32);
		bytes[n] = quants_word<TENSOR_Q6_K>(b.low(lane % 4), b.high(TENSOR_Q6_K, half), half, lane % 4);
	}
	return bytes[0] | (bytes[1] >> (6 - 2 * f) & 0x03030303u);
}

/* Number `at` of a unit's words of scales. */
INLINE unsigned quants_side_word(const struct persistent_tile_params &p, int type, int tile, int k, int at)
{
	const int scales = TILE_SCALES / 4;
	if (type == TENSOR_Q6_K && at >= scales)
		return plane_block(p, tile, at - scales, k).d() | plane_block(p, tile, at - scales + 8, k).d() << 16;
	if (type == TENSOR_Q6_K) {
		const int column = k + at % 4 * 64;
		return plane_block(p, tile, at / 4, column).side(type, 0) |
		       plane_block(p, tile, at / 4, column + 32).side(type, 0) << 16;
	}
	if (!quants_in_parts(type)) {
		const int column = k + tile_scaled_block(at % scales % 8) * 32, r = at % scales / 8;
		return plane_block(p, tile, r, column).side(type, at / scales) |
		       plane_block(p, tile, r + 8, column).side(type, at / scales) << 16;
	}
	/* As a file has them: d and m; of four parts scales, then minima, with the upper two bits of the other four's;
	 * of those the lower bits. */
	unsigned v = 0;
	for (int i = 0; i < 8; i++) {
		const unsigned side = plane_block(p, tile, at / 4, k + i * 32).side(type, 0);
		const unsigned scale = side & 63, least = side >> 6 & 63, byte = i % 4 * 8;
		if (at % 4 == 0)
			v |= side >> 12 << (4 * i);
		else if (at % 4 == 3)
			v |= i < 4 ? 0 : (scale & 15) << byte | (least & 15) << (byte + 4);
		else
			v |= (i < 4 ? at % 4 == 1 ? scale : least : (at % 4 == 1 ? scale : least) >> 4 << 6) << byte;
	}
	return v;
}

INLINE unsigned quants_tile_word(const struct persistent_tile_params &p, int type, int tile, int k, int vector, int i)
{
	const int side = tile_side_bytes(type) / 16, high = side + tile_high_bytes(type) / 16;
	if (vector < side)
		return quants_side_word(p, type, tile, k, vector * 4 + i);
	if (type == TENSOR_Q6_K)
		return six_bits_word(p, tile, k, vector - side, i);
	if (vector < high)
		return quants_high_word(p, type, tile, k, vector - side, i);
	return quants_low_word(p, tile, k, vector - high, i);
}

KERNEL(256) k_persistent_tile(const __grid_constant__ struct persistent_tile_params p)
{
	const int type = p.w[0].type, each = tile_unit_bytes(type) / 16;
	const long long at = (long long)blockIdx.x * 256 + threadIdx.x;
	const int tile = (int)(at / (p.tile_bytes / 16)), in_tile = (int)(at % (p.tile_bytes / 16));
	const int chunk = in_tile / each, vector = in_tile % each, scales = TILE_SCALES / 16;
	uint4 v = make_uint4(0, 0, 0, 0);

	let_next_start();
	wait_for_earlier();
	if (tile >= p.n_tiles)
		return;
	if (quants_has(type)) {
		const int k = chunk * TILE_CHUNK;
		v = make_uint4(
			quants_tile_word(p, type, tile, k, vector, 0), quants_tile_word(p, type, tile, k, vector, 1),
			quants_tile_word(p, type, tile, k, vector, 2), quants_tile_word(p, type, tile, k, vector, 3));
	} else if (type == TENSOR_Q8_0 && vector >= scales) {
		const int of = vector - scales;
		v = make_uint4(digits_word(p, tile, chunk, of, 0), digits_word(p, tile, chunk, of, 1),
			       digits_word(p, tile, chunk, of, 2), digits_word(p, tile, chunk, of, 3));
	} else if (type == TENSOR_Q8_0) {
		unsigned words[4];
		for (int i = 0; i < 4; i++) {
			const int half = vector * 8 + i * 2;
			words[i] = scale_of(p, tile, chunk, half) | scale_of(p, tile, chunk, half + 1) << 16;
		}
		v = make_uint4(words[0], words[1], words[2], words[3]);
	} else {
		const int elements = 16 / element_bytes(type), lane = vector % WARP;
		const int k = chunk * TILE_CHUNK + (vector / WARP / 4 * 8 + lane % 8) * elements;
		long long row;
		const struct weight *const w = tile_row(p, tile, lane / 8 * 4 + vector / WARP % 4, row);
		if (w && k < w->n_in)
			v = *(const uint4 *)((const char *)w->data + (row * w->n_in + k) * element_bytes(type));
	}
	((uint4 *)p.y)[at] = v;
}
