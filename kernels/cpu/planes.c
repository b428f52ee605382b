/* Matrices as GPUs read them (kernels/cuda/quants_geometry.h) from files' blocks (inner_quants.h). */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/quants_geometry.h"

enum { BLOCK = QUANTS_BLOCK, PARTS = 8 };

/* What a block has in a file, where it is. */
struct file_block {
	const unsigned char *bytes; /* of the whole block, for parts too */
	int part;
};

static struct file_block block_at(int type, const void *blocks, size_t b)
{
	static const int sizes[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) [TENSOR_##NAME] = block_bytes,
		TENSOR_QUANT_TYPES(X, , )
#undef X
	};
	const size_t size = (size_t)sizes[type], each = (size_t)quants_row_multiple(type) / BLOCK;

	return (struct file_block){(const unsigned char *)blocks + b / each * size, (int)(b % each)};
}

/* Bits 0 to 3 of each element, in the order of the elements; then the bits above. */
static void read_low(int type, struct file_block f, unsigned char q[BLOCK])
{
	const int part = f.part;
	const unsigned char *p = f.bytes;

	if (type == TENSOR_Q6_K || quants_in_parts(type)) {
		const int shift = type == TENSOR_Q6_K ? part % 4 / 2 * 4 : part % 2 * 4;

		p += type == TENSOR_Q6_K   ? part / 4 * 64 + part % 2 * 32
		     : type == TENSOR_Q5_K ? 48 + part / 2 * 32
					   : 16 + part / 2 * 32;
		for (int i = 0; i < BLOCK; i++)
			q[i] = p[i] >> shift & 15;
		return;
	}
	p += quants_side_bytes(type) + (quants_have_five(type) ? 4 : 0);
	for (int i = 0; i < BLOCK / 2; i++) {
		q[i] = p[i] & 15;
		q[i + BLOCK / 2] = p[i] >> 4;
	}
}

static void read_high(int type, struct file_block f, unsigned char q[BLOCK])
{
	const unsigned char *p = f.bytes;

	if (type == TENSOR_Q6_K) {
		p += 128 + f.part / 4 * 32;
		for (int i = 0; i < BLOCK; i++)
			q[i] = p[i] >> (f.part % 4 * 2) & 3;
	} else if (type == TENSOR_Q5_K) {
		for (int i = 0; i < BLOCK; i++)
			q[i] = p[16 + i] >> f.part & 1;
	} else {
		p += quants_side_bytes(type);
		for (int i = 0; i < BLOCK; i++)
			q[i] = p[i / 8] >> i % 8 & 1;
	}
}

static void put_low(int type, const unsigned char q[BLOCK], unsigned char *to)
{
	if (type == TENSOR_IQ4_NL) {
		for (int j = 0; j < 4; j++)
			for (int i = 0; i < 2; i++) {
				const unsigned char *a = q + 4 * j + 2 * i, *b = a + BLOCK / 2;

				to[4 * j + i] = (unsigned char)(a[0] | a[1] << 4);
				to[4 * j + 2 + i] = (unsigned char)(b[0] | b[1] << 4);
			}
		return;
	}
	for (int i = 0; i < BLOCK / 2; i++)
		to[i] = (unsigned char)((q[i] | q[i + BLOCK / 2] << 4) ^ (type == TENSOR_Q4_0 ? 0x88 : 0));
}

static void put_high(int type, const unsigned char q[BLOCK], unsigned char *to)
{
	if (type == TENSOR_Q6_K) { /* a word a half */
		for (int i = 0; i < BLOCK / 4; i++) {
			const unsigned char *at = q + i / 4 * 16 + i % 4;

			to[i] = (unsigned char)((at[0] | at[4] << 2 | at[8] << 4 | at[12] << 6) ^ 0xaa);
		}
		return;
	}
	for (int b = 0; b < 4; b++) {
		to[b] = type == TENSOR_Q5_0 ? 0xff : 0;
		for (int w = 0; w < BLOCK / 4; w++)
			to[b] ^= (unsigned char)(q[4 * w + b] << w);
	}
}

static void put_side(int type, struct file_block f, unsigned char *to)
{
	const unsigned char *s = f.bytes + 4;
	const int part = f.part;

	if (type == TENSOR_Q6_K) {
		memcpy(to, f.bytes + 192 + 2 * part, 2);
		return;
	}
	if (!quants_in_parts(type)) {
		memcpy(to, f.bytes, (size_t)quants_side_bytes(type));
		return;
	}
	const int scale = part < 4 ? s[part] & 63 : (s[part + 4] & 15) | s[part - 4] >> 6 << 4;
	const int least = part < 4 ? s[part + 4] & 63 : s[part + 4] >> 4 | s[part] >> 6 << 4;
	const int d_m = f.bytes[part / 2] >> (part % 2 * 4) & 15;
	const uint16_t side = (uint16_t)(scale | least << 6 | d_m << 12);

	memcpy(to, &side, sizeof(side));
}

void cpu_planes(enum tensor_type type, const void *blocks, size_t n_blocks, const struct cpu_planes *to)
{
	unsigned char q[BLOCK];

	for (size_t b = 0; b < n_blocks; b++) {
		const struct file_block f = block_at((int)type, blocks, b);

		read_low((int)type, f, q);
		put_low((int)type, q, to->low + b * 16);
		if (quants_high_bytes((int)type)) {
			read_high((int)type, f, q);
			put_high((int)type, q, to->high + b * (size_t)quants_high_bytes((int)type));
		}
		put_side((int)type, f, to->side + b * (size_t)quants_side_bytes((int)type));
		if (type == TENSOR_Q6_K && f.part == 0)
			memcpy(to->d + b / PARTS * 2, f.bytes + 208, 2);
	}
}

struct cpu_planes cpu_planes_at(enum tensor_type type, void *matrix, size_t n_blocks)
{
	unsigned char *const p = matrix;

	return (struct cpu_planes){
		.low = p,
		.high = p + quants_high_at((long long)n_blocks),
		.side = p + quants_side_at((int)type, (long long)n_blocks),
		.d = p + quants_d_at((int)type, (long long)n_blocks),
	};
}
