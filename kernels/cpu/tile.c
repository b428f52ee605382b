/* Weights in tiles, element by element: what says where each is (kernels/tiles.h), as it stands there. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"
#include "kernels/tiles.h"

static const struct weight *row_of(const struct persistent_tile_params *p, int tile, int r, size_t *row)
{
	int i = 0;

	if (p->gated) {
		i = r / 8;
		*row = (size_t)tile * 8 + (size_t)r % 8;
	} else {
		while (i + 1 < p->n_w && tile >= tile_count(p->w[i].n_out))
			tile -= tile_count(p->w[i++].n_out);
		*row = (size_t)tile * TILE_ROWS + (size_t)r;
	}
	return *row < (size_t)p->w[i].n_out ? &p->w[i] : NULL;
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

			if (w)
				put_row(w, row, r, tile);
		}
	}
}

void k_persistent_tile(const struct persistent_tile_params *p)
{
	assert(p->tile_bytes >= tile_row_bytes(p->w[0].type, p->w[0].n_in));
	cpu_parallel(p->n_tiles, 1, tile_part, (void *)p);
}
