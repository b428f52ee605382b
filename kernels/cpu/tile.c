/* Weights in tiles, element by element: what says where each is (kernels/tiles.h), as it stands there. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/inner.h"
#include "kernels/cpu/team.h"
#include "kernels/cuda/quants_geometry.h"
#include "kernels/tiles.h"

static const struct weight *row_of(const struct persistent_tile_params *p, int tile, int r, size_t *row)
{
	int i = 0;

	if (p->gated) {
		i = r / 8;
		*row = (size_t)tile * 8 + (size_t)r % 8;
	} else {
		while (i + 1 < p->n_w && tile >= tile_count(p->rows[i]))
			tile -= tile_count(p->rows[i++]);
		*row = (size_t)tile * TILE_ROWS + (size_t)r;
	}
	const int has = *row < (size_t)p->rows[i];

	*row += (size_t)p->first[i];
	return has ? &p->w[i] : NULL;
}

static void put_byte(char *tile, int at, int bits)
{
	tile[at] = (char)(tile[at] | bits);
}

/* Elements k .. of a row, as many as a block of its file has; p: those, in planes. */
static void put_block(int type, const struct cpu_planes *p, int r, int k, char *unit)
{
	const int side = quants_side_bytes(type), high = quants_high_bytes(type);

	for (int i = 0; i < quants_row_multiple(type); i++) {
		const int b = i / QUANTS_BLOCK, j = i % 16 / 4, half = i / 16 % 2, at = k % TILE_CHUNK + i;
		const int byte = type == TENSOR_IQ4_NL ? 4 * j + half * 2 + i % 4 / 2 : i % 16;
		int bits = p->low[b * 16 + byte] >> tile_low_bit(type, i) & 15;

		if (type == TENSOR_Q6_K)
			bits |= (p->high[b * 8 + half * 4 + i % 4] >> (2 * j) & 3) << 4;
		else if (high)
			bits |= (p->high[b * 4 + i % 4] >> (i % QUANTS_BLOCK / 4) & 1) << 4;
		for (int part = 0; part < TILE_MOST_PARTS; part++) {
			const struct tile_bits to = tile_bits(type, r, at, part);

			put_byte(unit, to.at, (bits >> to.from & ((1 << to.n) - 1)) << to.bit);
		}
	}
	if (type == TENSOR_Q6_K) {
		memcpy(unit + 16 * r, p->side, 16);
		memcpy(unit + tile_d_at(r), p->d, 2);
	}
	for (int i = 0; quants_row_multiple(type) == QUANTS_BLOCK && i < side; i += 2)
		memcpy(unit + i / 2 * TILE_SCALES + tile_scale_at(r, k % TILE_CHUNK), p->side + i, 2);
}

static void put_quants(const struct weight *w, size_t row, int r, char *tile)
{
	enum { MOST = TILE_CHUNK / QUANTS_BLOCK };
	const int each = quants_row_multiple(w->type);
	const size_t bytes = cpu_row_bytes(w->type, (size_t)each, 0), unit = (size_t)tile_unit_bytes(w->type);
	const char *blocks = (const char *)w->data + row * (size_t)(w->n_in / each) * bytes;
	unsigned char low[MOST * 16], high[MOST * 8], side[MOST * 4], d[2];
	const struct cpu_planes p = {low, high, side, d};

	for (int k = 0; k < w->n_in; k += each, blocks += bytes) {
		char *to = tile + (size_t)(k / TILE_CHUNK) * unit;

		cpu_planes((enum tensor_type)w->type, blocks, (size_t)(each / QUANTS_BLOCK), &p);
		put_block(w->type, &p, r, k, to);
		if (quants_in_parts(w->type)) /* as in a file */
			memcpy(to + 16 * r, blocks, 16);
	}
}

static void put_row(const struct weight *w, size_t row, int r, char *tile)
{
	const size_t bytes = (size_t)element_bytes(w->type), unit = (size_t)tile_unit_bytes(w->type);
	const char *block = (const char *)w->data + row * (size_t)(w->n_in / 32) * 34; /* in a file's layout */

	for (int k = 0; k < w->n_in; k++) {
		const size_t at = row * (size_t)w->n_in + (size_t)k;
		char *to = tile + (size_t)(k / TILE_CHUNK) * unit;
		const char *from = (const char *)w->data + at * bytes;

		if (w->type == TENSOR_Q8_0) {
			const char *b = block + (size_t)(k / 32) * 34;

			if (!w->scales)
				from = b + 2 + k % 32;
			memcpy(to + tile_scale_at(r, k % TILE_CHUNK),
			       w->scales ? (const char *)w->scales + at / 32 * 2 : b, 2);
		}
		memcpy(to + tile_element_at(w->type, r, k % TILE_CHUNK), from, bytes);
	}
}

static void tile_part(void *ctx, int begin, int end, int thread)
{
	const struct persistent_tile_params *p = ctx;
	const size_t bytes = (size_t)p->tile_bytes;

	(void)thread;
	for (int i = begin; i < end; i++) {
		char *tile = (char *)p->y + (size_t)i * bytes;

		memset(tile, 0, bytes);
		for (int r = 0; r < TILE_ROWS; r++) {
			size_t row;
			const struct weight *w = row_of(p, i, r, &row);

			if (w && quants_has(w->type))
				put_quants(w, row, r, tile);
			else if (w)
				put_row(w, row, r, tile);
		}
	}
}

void k_persistent_tile(const struct persistent_tile_params *p)
{
	assert(p->tile_bytes >= tile_row_bytes(p->w[0].type, p->w[0].n_in));
	cpu_parallel(p->n_tiles, 1, tile_part, (void *)p);
}
