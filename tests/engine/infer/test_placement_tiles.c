/*
 * What the tiles of fusion persistent do to placements: how many bytes they are, and who gets the room where there is
 * little. That a session allocates just these is test_placement_plan.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/placement_plan.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

/* As many tiles as any that is not smaller. */
static const struct cuda_card card = {
	.n_sm = 8, .compute_capability = 90, .shared_per_sm = 228 << 10, .shared_per_block = 227 << 10};

/* What placements are decided by, of a model with tiles and without them. */
struct tiles_case {
	struct model m;
	struct load_options o;
	struct placement_plan with, without; /* of all layers */
	size_t need;                         /* with */
};

static void open_tiles(struct tiles_case *c, const char *name)
{
	struct golden g;
	golden_load(&g, name);
	OK(model_open(&c->m, g.path, e));
	golden_free(&g);
	load_options_default(&c->o);
	c->o.batch = 100;
	c->o.card = card;
	OK(placement_plan(&c->without, &c->m, &c->o, c->m.n_layer, c->m.n_context, e));
	c->o.persistent = PERSISTENT_SESSIONS_ALL;
	OK(placement_plan(&c->with, &c->m, &c->o, c->m.n_layer, c->m.n_context, e));
	c->need = placement_plan_gpu_need(&c->with);
}

/* Rows in whole tiles of 16, columns in whole chunks of 256. */
static size_t padded(const struct gguf_tensor *t)
{
	if (!t)
		return 0;
	size_t rows = (size_t)t->ne[1];
	return (rows + 15) / 16 * 16 * ((size_t)(t->ne[0] + 255) / 256 * 256) * (size_t)t->ne[2];
}

/* Every matrix that a token multiplies has its place once, in bfloat16; no norm, table or router has. */
static void test_tiles(void **state)
{
	(void)state;
	struct tiles_case c;
	open_tiles(&c, "gemma4-e4b-tiny.bf16");
	size_t n = padded(c.m.output) + padded(c.m.per_layer_model_proj);
	for (int i = 0; i < c.m.n_layer; i++) {
		const struct model_layer *l = &c.m.layers[i];
		n += padded(l->attn_q) + padded(l->attn_output) + padded(l->ffn_down);
		n += 2 * padded(l->ffn_gate); /* beside up's, whose shape it has */
		n += padded(l->inp_gate) + padded(l->proj);
		if (l->kv_source == i)
			n += padded(l->attn_k) + padded(l->attn_v);
	}
	assert_int_equal(c.with.items[PLACEMENT_TILED].gpu.bytes, 2 * n);
	assert_int_equal(c.without.items[PLACEMENT_TILED].gpu.bytes, 0);
	assert_true(c.with.items[PLACEMENT_ACTIVATIONS].gpu.bytes > c.without.items[PLACEMENT_ACTIVATIONS].gpu.bytes);
	/* The host's copy of the program needs no tiles. */
	OK(placement_plan(&c.with, &c.m, &c.o, 0, 64, e));
	assert_int_equal(c.with.items[PLACEMENT_TILED].host.bytes, 0);
	model_close(&c.m);
}

/* Of a mixture all experts', chosen or not; and the same of every card that is not very small. */
static void test_tiles_of_experts(void **state)
{
	(void)state;
	static const int n_sm[] = {8, 78, 114, 132, 148};
	struct tiles_case c;
	open_tiles(&c, "gemma4-26b-a4b-tiny.q8_0");
	const struct model_layer *l = &c.m.layers[0];
	size_t tiled = c.with.items[PLACEMENT_TILED].gpu.bytes, experts = 0;
	/* A byte an element and two for 32; short rows leave whole blocks of 32 columns out. */
	for (int i = 0; i < c.m.n_layer; i++)
		experts += (size_t)c.m.n_expert * 3 * (size_t)l->ffn_gate_inp->ne[0] * (size_t)c.m.n_ff_expert;
	assert_true(experts > 0);
	assert_true(tiled > experts + experts / 16);
	for (size_t i = 0; i < sizeof n_sm / sizeof *n_sm; i++) {
		c.o.card.n_sm = n_sm[i];
		OK(placement_plan(&c.with, &c.m, &c.o, c.m.n_layer, 64, e));
		assert_int_equal(c.with.items[PLACEMENT_TILED].gpu.bytes, tiled);
	}
	model_close(&c.m);
}

/* Sessions of that fusion alone: all layers or none, and who lacks room is told how much. */
static void test_persistent_alone(void **state)
{
	(void)state;
	static const char *const names[] = {"gemma4-e4b-tiny.q8_0", "gemma4-26b-a4b-tiny.q8_0", "qwen3-tiny.q8_0"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct tiles_case c;
		struct placement_plan p;
		struct error err = {""};
		char numbers[64];
		open_tiles(&c, names[i]);
		assert_true(c.need > placement_plan_gpu_need(&c.without));
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, c.need, e));
		assert_int_equal(p.n_gpu_layers, c.m.n_layer);
		OK(placement_plan_check_persistent(&p, c.need, e));
		/* A byte less: the weights fit once, and still there is no plan of some layers. */
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, c.need - 1, e));
		assert_int_equal(p.n_gpu_layers, c.m.n_layer);
		assert_int_equal(placement_plan_check_persistent(&p, c.need - 1, &err), ERROR_MEMORY);
		snprintf(numbers, sizeof numbers, "%d positions %.1f MiB, %.1f of them tiles, and %.1f MiB are free",
			 c.m.n_context, (double)c.need / (1 << 20),
			 (double)c.with.items[PLACEMENT_TILED].gpu.taken / (1 << 20), (double)(c.need - 1) / (1 << 20));
		assert_non_null(strstr(err.text, numbers));
		assert_int_equal(!!strstr(err.text, "--ple host"), c.m.n_ple > 0);
		assert_null(strstr(err.text, "--prefill-weights"));
		/* Where that would help, it is said. */
		c.o.prefill_weights = PREFILL_WEIGHTS_RESIDENT;
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, c.need - 1, e));
		assert_int_equal(placement_plan_check_persistent(&p, c.need - 1, &err), ERROR_MEMORY);
		assert_non_null(strstr(err.text, "--prefill-weights convert"));
		/* Others need not care. */
		c.o.persistent = PERSISTENT_SESSIONS_NONE;
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, 1 << 20, e));
		assert_int_equal(p.n_gpu_layers, 0);
		OK(placement_plan_check_persistent(&p, 1 << 20, e));
		model_close(&c.m);
	}
}

/* Beside others: room for the tiles where there is some; else the others have their placement, to the byte. */
static void test_persistent_among_others(void **state)
{
	(void)state;
	struct tiles_case c;
	struct placement_plan p, q;
	open_tiles(&c, "gemma4-e4b-tiny.q8_0");
	size_t once = placement_plan_gpu_need(&c.without);
	c.o.persistent = PERSISTENT_SESSIONS_SOME;
	OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, c.need, e));
	assert_int_equal(p.n_gpu_layers, c.m.n_layer);
	assert_int_equal(p.items[PLACEMENT_TILED].gpu.bytes, c.with.items[PLACEMENT_TILED].gpu.bytes);
	assert_string_equal(p.no_persistent.text, "");
	const size_t memory[] = {c.need - 1, once, once - 1, PLACEMENT_RESERVE_BYTES};
	for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
		c.o.persistent = PERSISTENT_SESSIONS_SOME;
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, memory[i], e));
		c.o.persistent = PERSISTENT_SESSIONS_NONE;
		OK(placement_plan_most(&q, &c.m, &c.o, c.m.n_context, memory[i], e));
		assert_int_equal(p.n_gpu_layers, q.n_gpu_layers);
		assert_int_equal(p.n_gpu_layers == c.m.n_layer, memory[i] >= once);
		assert_int_equal(p.sum.gpu.taken, q.sum.gpu.taken);
		if (p.n_gpu_layers == c.m.n_layer)
			assert_non_null(strstr(p.no_persistent.text, "of them tiles"));
		else if (p.n_gpu_layers)
			assert_non_null(strstr(p.no_persistent.text, "on one device"));
	}
	model_close(&c.m);
}

/* Float16 weights and long chunks are for the room that tiles leave; of tiles that no context has room beside, none. */
static void test_prompts_beside_tiles(void **state)
{
	(void)state;
	struct tiles_case c;
	struct placement_plan p;
	open_tiles(&c, "gemma4-e4b-tiny.q8_0");
	int all = c.m.n_layer;
	struct load_options o = c.o, resident = c.o;
	resident.prefill_weights = PREFILL_WEIGHTS_RESIDENT;
	OK(placement_plan(&p, &c.m, &resident, all, c.m.n_context, e));
	size_t need = placement_plan_gpu_need(&p) + PLACEMENT_AMPLE_BYTES;
	for (int s = PERSISTENT_SESSIONS_SOME; s <= PERSISTENT_SESSIONS_ALL; s++) {
		o.persistent = (enum persistent_sessions)s;
		assert_int_equal(placement_plan_weights(&c.m, &o, all, need), PREFILL_WEIGHTS_RESIDENT);
		assert_int_equal(placement_plan_weights(&c.m, &o, all, need - 1), model_first_reader(&c.m) - 1);
	}
	o.persistent = PERSISTENT_SESSIONS_NONE;
	assert_int_equal(placement_plan_weights(&c.m, &o, all, need - 1), PREFILL_WEIGHTS_RESIDENT);

	o.batch = 2048;
	o.persistent = PERSISTENT_SESSIONS_ALL;
	OK(placement_plan(&p, &c.m, &o, all, c.m.n_context, e));
	need = placement_plan_gpu_need(&p);
	o.batch = 0;
	assert_int_equal(placement_plan_batch(&c.m, &o, all, need), 2048);
	assert_int_equal(placement_plan_batch(&c.m, &o, all, need - 1), 512);
	o.persistent = PERSISTENT_SESSIONS_SOME;
	assert_int_equal(placement_plan_batch(&c.m, &o, all, need - 1), 512);
	/* As if the file were a thousand times as large: tiles of 100 GB find no room, whatever the context. */
	struct model huge = c.m;
	struct gguf_tensor head = *c.m.output;
	struct load_options none = o;
	head.ne[1] *= 1 << 20;
	head.bytes *= 1 << 20;
	huge.output = &head;
	none.persistent = PERSISTENT_SESSIONS_NONE;
	OK(placement_plan(&p, &huge, &none, all, huge.n_context, e));
	need = placement_plan_gpu_need(&p) + ((size_t)8 << 30);
	assert_int_equal(placement_plan_batch(&huge, &none, all, need), 2048);
	assert_int_equal(placement_plan_batch(&huge, &o, all, need), 2048);
	assert_int_equal(placement_plan_weights(&huge, &o, all, need), PREFILL_WEIGHTS_RESIDENT);
	o.persistent = PERSISTENT_SESSIONS_ALL;
	assert_int_equal(placement_plan_batch(&huge, &o, all, need), 512);
	assert_int_equal(placement_plan_weights(&huge, &o, all, need), PREFILL_WEIGHTS_CONVERT);
	model_close(&c.m);
}

/* A card or weights that the fusion cannot be had with: no tiles, why, and the placement of any other sweep. */
static void test_persistent_refused(void **state)
{
	(void)state;
	struct tiles_case c;
	struct placement_plan p, q;
	open_tiles(&c, "gemma4-e4b-tiny.q8_0");
	size_t once = placement_plan_gpu_need(&c.without);
	c.o.card.compute_capability = 89;
	for (size_t less = 0; less < 2; less++) {
		c.o.persistent = PERSISTENT_SESSIONS_ALL;
		OK(placement_plan_most(&p, &c.m, &c.o, c.m.n_context, once - less, e));
		c.o.persistent = PERSISTENT_SESSIONS_NONE;
		OK(placement_plan_most(&q, &c.m, &c.o, c.m.n_context, once - less, e));
		assert_int_equal(p.n_gpu_layers, q.n_gpu_layers);
		assert_int_equal(p.sum.gpu.taken, q.sum.gpu.taken);
		assert_non_null(strstr(p.no_persistent.text, less ? "on one device" : "8.9: its kernel needs"));
		OK(placement_plan_check_persistent(&p, once - less, e));
	}
	model_close(&c.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_tiles_of_experts),
		cmocka_unit_test(test_persistent_alone),
		cmocka_unit_test(test_persistent_among_others),
		cmocka_unit_test(test_prompts_beside_tiles),
		cmocka_unit_test(test_persistent_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
