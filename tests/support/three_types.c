#include "tests/support/three_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "tests/support/edited_model.h"
#include "tests/support/golden.h"

/* Per-layer embeddings are as wide as the stream, so that other matrices can stand for theirs. */
enum { LAYERS = 6, WIDTH = 128, VOCAB = 512, EACH = 5, EDITS = LAYERS * EACH + 4, NAME_BYTES = 48 };

static float *floats(size_t n)
{
	uint64_t seed = 7;
	float *x = malloc(n * sizeof *x);
	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = ((float)random_below(&seed, 2001) - 1000.0f) * 1e-4f;
	return x;
}

static uint16_t *upper_halves(const float *x, size_t n)
{
	uint16_t *y = malloc(n * sizeof *y);
	assert_non_null(y);
	for (size_t i = 0; i < n; i++)
		memcpy(&y[i], (const char *)&x[i] + 2, sizeof *y);
	return y;
}

static const char *in_layer(char (*name)[NAME_BYTES], int layer, const char *suffix)
{
	snprintf(*name, NAME_BYTES, "blk.%d.%s", layer, suffix);
	return *name;
}

void three_types_make(const char *path)
{
	struct golden g;
	char names[LAYERS * (EACH + 2)][NAME_BYTES], (*name)[NAME_BYTES] = names;
	float *table = floats((size_t)LAYERS * WIDTH * VOCAB);
	uint16_t *values = upper_halves(table, (size_t)WIDTH * WIDTH);
	const struct edit whole[] = {
		{.kind = EDIT_U32, .name = "gemma4.embedding_length_per_layer_input", .value = WIDTH},
		{.kind = EDIT_TENSOR,
		 .name = "per_layer_token_embd.weight",
		 .type = TENSOR_F32,
		 .ne = {LAYERS * WIDTH, VOCAB},
		 .data = table},
		{.kind = EDIT_TENSOR,
		 .name = "per_layer_model_proj.weight",
		 .type = TENSOR_F32,
		 .ne = {WIDTH, LAYERS * WIDTH},
		 .data = table},
		{.kind = EDIT_TENSOR, .name = "per_layer_proj_norm.weight", .text = "blk.0.attn_norm.weight"},
	};
	struct edit edits[EDITS];
	size_t n = sizeof whole / sizeof *whole;
	memcpy(edits, whole, sizeof whole);
	for (int i = 0; i < LAYERS; i++) {
		const char *matrix = in_layer(name++, i, "ffn_gate.weight");
		edits[n++] = (struct edit){
			.kind = EDIT_TENSOR, .name = in_layer(name++, i, "inp_gate.weight"), .text = matrix};
		edits[n++] =
			(struct edit){.kind = EDIT_TENSOR, .name = in_layer(name++, i, "proj.weight"), .text = matrix};
		const char *norm = in_layer(name++, i, "attn_norm.weight");
		edits[n++] = (struct edit){
			.kind = EDIT_TENSOR, .name = in_layer(name++, i, "post_norm.weight"), .text = norm};
		edits[n++] = (struct edit){.kind = EDIT_TENSOR,
					   .name = in_layer(name++, i, "attn_k.weight"),
					   .type = TENSOR_F32,
					   .ne = {WIDTH, WIDTH},
					   .data = table + (size_t)i * WIDTH * WIDTH};
		edits[n++] = (struct edit){.kind = EDIT_TENSOR,
					   .name = in_layer(name++, i, "attn_v.weight"),
					   .type = TENSOR_BF16,
					   .ne = {WIDTH, WIDTH},
					   .data = values};
	}
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	edited_model(g.path, path, edits, n);
	golden_free(&g);
	free(values);
	free(table);
}
