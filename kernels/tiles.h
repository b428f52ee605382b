/*
 * Weights in tiles, as the kernel of a whole token reads them: (tiles, chunks) units, each TILE_ROWS rows by TILE_CHUNK
 * columns, so that a range of a tile's columns is a range of bytes. C and CUDA.
 *
 * A unit is vectors of 16 bytes, 32 lanes' behind each other. Of Q8_0 the scales come first; then a lane's is what
 * m16n8k32 on the tensor cores takes of it of a block of 32 columns, eight blocks behind each other: where rows end
 * before, the last ones may be left out. Of other types a lane has four rows of 16, and every eighth vector of each.
 */
#ifndef GEMMARK_KERNELS_TILES_H
#define GEMMARK_KERNELS_TILES_H

#include "kernels/cuda/element_geometry.h"

enum {
	TILE_ROWS = 16,
	TILE_CHUNK = 256,                              /* columns of a unit */
	TILE_SCALES = TILE_ROWS * TILE_CHUNK / 32 * 2, /* bytes of a unit of Q8_0 that are scales */
};

SHARED_INLINE int tile_count(int n_out)
{
	return (n_out + TILE_ROWS - 1) / TILE_ROWS;
}

SHARED_INLINE int tile_chunks(int n_in)
{
	return (n_in + TILE_CHUNK - 1) / TILE_CHUNK;
}

SHARED_INLINE int tile_unit_bytes(int type)
{
	return TILE_ROWS * TILE_CHUNK * element_bytes(type) + (type == TENSOR_Q8_0 ? TILE_SCALES : 0);
}

/* Of a tile's n_in columns, behind the last of which there is nothing. */
SHARED_INLINE int tile_row_bytes(int type, int n_in)
{
	const int units = tile_chunks(n_in), rest = n_in - (units - 1) * TILE_CHUNK;
	return units * tile_unit_bytes(type) - (type == TENSOR_Q8_0 ? (TILE_CHUNK - rest) / 32 * 32 * TILE_ROWS : 0);
}

/* Byte of a unit where the element of that row and column is. */
SHARED_INLINE int tile_element_at(int type, int row, int k)
{
	const int bytes = element_bytes(type), each = 16 / bytes;
	int lane, vector;
	if (type == TENSOR_Q8_0) {
		lane = row % 8 * 4 + k % 16 / 4;
		return TILE_SCALES + (k / 32 * 32 + lane) * 16 + (row / 8 + k % 32 / 16 * 2) * 4 + k % 4;
	}
	lane = row / 4 * 8 + k / each % 8;
	vector = k / (8 * each) * 4 + row % 4;
	return (vector * 32 + lane) * 16 + k % each * bytes;
}

/* The same of the fp16 scale of the block of 32 columns that k is in. */
SHARED_INLINE int tile_scale_at(int row, int k)
{
	return (row % 8 * 16 + k / 32 * 2 + row / 8) * 2;
}

#endif
