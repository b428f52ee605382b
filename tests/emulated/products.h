/* Products of one block as a whole program: a stream that is an embedding, and vectors that token number 1 has left. */
#ifndef GEMMARK_TESTS_EMULATED_PRODUCTS_H
#define GEMMARK_TESTS_EMULATED_PRODUCTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/emulated/draws.h"
#include "tests/emulated/emulation.h"

/* Zeros; the caller frees them. */
static inline void *products_fresh(size_t bytes)
{
	void *p = NULL;
	assert_int_equal(posix_memalign(&p, 256, bytes), 0);
	memset(p, 0, bytes);
	return p;
}

/* From 1 up to 2: the last bit is what is waited for. */
static inline void products_left(float *x, int n, uint64_t *state)
{
	for (int i = 0; i < n; i++) {
		uint32_t one = (draw_bits(state) >> 9 | 0x3f800000) | 1;
		memcpy(&x[i], &one, sizeof one);
	}
}

/* table, h: (n_embd); scratch: (2, n_embd); number: (2), {1, 0}. Not planned. */
static inline struct persistent_program products_program(const struct persistent_phase *phases, int n_phases,
							 struct persistent_copy *copies, int n_embd, const float *table,
							 float *h, float *scratch, unsigned *number)
{
	return (struct persistent_program){
		.phases = phases,
		.copies = copies,
		.state = number,
		.token_embd = {.data = table, .type = TENSOR_F32, .n_in = n_embd, .n_out = 1, .n_expert = 1},
		.h = h,
		.normed = scratch,
		.sub_norm = scratch + n_embd,
		.n_phases = n_phases,
		.n_embd = n_embd,
		.embed_scale = 1,
		.eps = 1e-6f,
		.n_blocks = 1,
		.k_type = TENSOR_F32,
		.v_type = TENSOR_F32,
	};
}

static inline struct persistent_params products_params(const struct persistent_program *g)
{
	return (struct persistent_params){.program = g,
					  .n_blocks = 1,
					  .shared_bytes = g->shared_bytes,
					  .k_type = TENSOR_F32,
					  .v_type = TENSOR_F32};
}

/* A token of a program that was planned, whose products have a matrix each. */
static inline void products_run(struct persistent_program *g, unsigned seed)
{
	char *tiled = products_fresh((size_t)g->tiled_bytes);
	g->tiled = tiled;
	for (int i = 0; i < g->n_phases; i++) {
		const struct weight *w = &g->phases[i].of.product.w[0];
		const struct persistent_copy *c = &g->copies[i];
		emulated_persistent_tile(&(struct persistent_tile_params){.w = {*w},
									  .y = tiled + c->at,
									  .rows = {w->n_out},
									  .n_w = 1,
									  .n_tiles = c->n_jobs,
									  .tile_bytes = c->job_bytes});
	}
	const struct persistent_params p = products_params(g);
	emulated_persistent(&p, seed);
	g->tiled = NULL;
	free(tiled);
}

#endif
