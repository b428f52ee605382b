/* Weights as the kernel of a whole token reads them. A thread per vector of 16 bytes, which it writes whole. */
#include "kernels/cuda/device.cuh"
#include "kernels/tiles.h"

/* The matrix and the row that row r of a tile is; null: it fills the tile up. */
INLINE const struct weight *tile_row(const struct persistent_tile_params &p, int tile, int r, long long &row)
{
	int i = 0;
	if (p.gated) {
		i = r / 8;
		row = (long long)tile * 8 + r % 8;
	} else {
		while (i + 1 < p.n_w && tile >= tile_count(p.w[i].n_out))
			tile -= tile_count(p.w[i++].n_out);
		row = (long long)tile * TILE_ROWS + r;
	}
	return row < p.w[i].n_out ? &p.w[i] : nullptr;
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
	const int k = chunk * TILE_CHUNK + i % 16 / 2 * 32;
	long long row;
	const struct weight *const w = tile_row(p, tile, i / 16 + i % 2 * 8, row);
	return w && k < w->n_in ? ((const unsigned short *)w->scales)[row * (w->n_in / 32) + k / 32] : 0;
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
	if (type == TENSOR_Q8_0 && vector >= scales) {
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
