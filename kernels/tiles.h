/*
 * Weights in tiles, as the kernel of a whole token reads them: (tiles, chunks) units, each TILE_ROWS rows by TILE_CHUNK
 * columns, so that a range of a tile's columns is a range of bytes. C and CUDA.
 *
 * A unit is vectors of 16 bytes, 32 lanes' behind each other. Of Q8_0 the scales come first; then a lane's is what
 * m16n8k32 on the tensor cores takes of it of a block of 32 columns, eight blocks behind each other: where rows end
 * before, the last ones may be left out. Of other types a lane has four rows of 16, and every eighth vector of each.
 *
 * Of TENSOR_QUANT_TYPES a unit has as many bytes as the file's blocks, made of their planes (quants_geometry.h), one
 * behind the other:
 *
 * - Sides: a block of 32 its scale, as Q8_0's are; of Q4_1 and Q5_1 the minima behind all of them, the same way;
 *   of Q4_K and Q5_K 16 bytes a row, as a file has them; of Q6_K 16 scales a row, then d of rows 0, 8, 1, 9 and so on.
 * - High bits, those above four: 16 bytes a lane. A byte has those of one element of each fragment of m16n8k32, of two
 *   blocks.
 * - Low bits: a lane's vector has its words of the plane of two blocks: of rows g and g + 8 of the first, then of the
 *   second; four vectors behind each other, the last of which may be left out.
 *
 * Q6_K has neither: of a block three words of a lane are the first three of its four fragments, in the upper six bits
 * of each byte, and the lower two bits of the three are the fourth's. So three are there after one instruction, where
 * bits apart take four each, and what multiplies them waits for instructions.
 */
#ifndef GEMMARK_KERNELS_TILES_H
#define GEMMARK_KERNELS_TILES_H

#include "kernels/cuda/element_geometry.h"
#include "kernels/cuda/quants_geometry.h"

enum {
	TILE_ROWS = 16,
	TILE_CHUNK = 256,                              /* columns of a unit */
	TILE_SCALES = TILE_ROWS * TILE_CHUNK / 32 * 2, /* bytes of a unit of Q8_0 that are scales */
	TILE_BLOCKS = TILE_ROWS * TILE_CHUNK / QUANTS_BLOCK,
};

SHARED_INLINE int tile_count(int n_out)
{
	return (n_out + TILE_ROWS - 1) / TILE_ROWS;
}

SHARED_INLINE int tile_chunks(int n_in)
{
	return (n_in + TILE_CHUNK - 1) / TILE_CHUNK;
}

/* Of TENSOR_QUANT_TYPES the bytes of a unit that are before its high bits, and those. */
SHARED_CONSTANT int tile_side_bytes(int type)
{
	return TILE_BLOCKS * quants_side_bytes(type) + (type == TENSOR_Q6_K ? TILE_ROWS * 2 : 0);
}

SHARED_CONSTANT int tile_high_bytes(int type)
{
	return TILE_BLOCKS * quants_high_bytes(type);
}

SHARED_CONSTANT int tile_unit_bytes(int type)
{
	if (quants_has(type))
		return tile_side_bytes(type) + tile_high_bytes(type) + TILE_BLOCKS * 16;
	return TILE_ROWS * TILE_CHUNK * element_bytes(type) + (type == TENSOR_Q8_0 ? TILE_SCALES : 0);
}

/* Of a tile's n_in columns, behind the last of which there is nothing. */
SHARED_INLINE int tile_row_bytes(int type, int n_in)
{
	const int units = tile_chunks(n_in), rest = n_in - (units - 1) * TILE_CHUNK;
	const int left_out = type == TENSOR_Q8_0 ? (TILE_CHUNK - rest) / 32 * 32 * TILE_ROWS
			     : quants_has(type)  ? (TILE_CHUNK - rest) / 64 * 32 * TILE_ROWS
						 : 0;
	return units * tile_unit_bytes(type) - left_out;
}

/* Byte of a unit where the element of that row and column is; of TENSOR_QUANT_TYPES its lower four bits. */
SHARED_INLINE int tile_element_at(int type, int row, int k)
{
	const int fragment = row % 8 * 4 + k % 16 / 4;
	if (type == TENSOR_Q8_0)
		return TILE_SCALES + (k / 32 * 32 + fragment) * 16 + (row / 8 + k % 32 / 16 * 2) * 4 + k % 4;
	if (quants_has(type))
		return tile_side_bytes(type) + tile_high_bytes(type) + (k / 64 * 32 + fragment) * 16 +
		       (k / 32 % 2 * 2 + row / 8) * 4 + (type == TENSOR_IQ4_NL ? k / 16 % 2 * 2 + k % 4 / 2 : k % 4);
	const int bytes = element_bytes(type), each = 16 / bytes;
	const int lane = row / 4 * 8 + k / each % 8, vector = k / (8 * each) * 4 + row % 4;
	return (vector * 32 + lane) * 16 + k % each * bytes;
}

/* Which of that byte's bits those four begin at. Of these and what is above them: tile_bits. */
SHARED_INLINE int tile_low_bit(int type, int k)
{
	return (type == TENSOR_IQ4_NL ? k % 2 : k / 16 % 2) * 4;
}

/* Byte of a unit where the element's bits above those are, and which of its bits they begin at. */
SHARED_INLINE int tile_high_at(int type, int row, int k)
{
	return tile_side_bytes(type) + (row % 8 * 4 + k % 16 / 4) * 16 + k / 64 * 4 + k % 4;
}

SHARED_INLINE int tile_high_bit(int row, int k)
{
	return k / 32 % 2 * 4 + k / 16 % 2 * 2 + row / 8;
}

/* Bits of an element that are together: n of them, the lowest of which is its bit `from`, from a bit of a byte on. */
struct tile_bits {
	int n, from;
	int at, bit; /* byte of the unit */
};

enum { TILE_MOST_PARTS = 3 };

/* Of an element of TENSOR_QUANT_TYPES, with those above its lower four; n = 0 where there are fewer parts. */
SHARED_INLINE struct tile_bits tile_bits(int type, int row, int k, int i)
{
	struct tile_bits p = {0, 0, 0, 0};
	if (type == TENSOR_Q6_K) {
		const int fragment = k / 16 % 2 * 2 + row / 8, word = k / 32 * 3 + (fragment < 3 ? fragment : i);
		p.n = fragment == 3 ? 2 : i == 0 ? 6 : 0;
		p.from = fragment == 3 ? 4 - 2 * i : 0;
		p.at = tile_side_bytes(type) + (word / 4 * 32 + row % 8 * 4 + k % 16 / 4) * 16 + word % 4 * 4 + k % 4;
		p.bit = fragment == 3 ? 0 : 2;
	} else if (i == 0) {
		p.n = 4;
		p.at = tile_element_at(type, row, k);
		p.bit = tile_low_bit(type, k);
	} else if (i == 1 && quants_high_bytes(type)) {
		p.n = 1;
		p.from = 4;
		p.at = tile_high_at(type, row, k);
		p.bit = tile_high_bit(row, k);
	}
	return p;
}

/* Which of eight blocks of 32 columns the scale in that place of a unit's row is of, and the other way round. */
SHARED_INLINE int tile_scaled_block(int place)
{
	return place % 4 * 2 + place / 4;
}

SHARED_INLINE int tile_scale_place(int block)
{
	return block % 2 * 4 + block / 2;
}

/* The same of the fp16 scale of the block of 32 columns that k is in, of types whose blocks have 32. */
SHARED_INLINE int tile_scale_at(int row, int k)
{
	return (row % 8 * 16 + tile_scale_place(k / 32) * 2 + row / 8) * 2;
}

/* And of d of a row of Q6_K. */
SHARED_INLINE int tile_d_at(int row)
{
	return TILE_BLOCKS * 2 + row % 8 * 4 + row / 8 * 2;
}

#endif
