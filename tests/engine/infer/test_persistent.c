/*
 * The program of fusion persistent on the host, and who is refused it. Its logits in every mode are test_golden.c's
 * and test_modes.c's, its kernel is test_persistent_cuda.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/persistent_geometry.h"
#include "kernels/cuda/quants_geometry.h"
#include "tests/support/alternating.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/stamped.h"
#include "tests/support/temp_file.h"
#include "tests/support/three_types.h"

#include "engine/infer/loaded_model.h"

static void test_alternating(void **state)
{
	(void)state;
	alternating_check("gemma4-e4b-tiny.q8_0", 0, FUSION_PERSISTENT, 160); /* each mode twice */
	alternating_check("gemma4-e4b-tiny.q8_0", 0, FUSION_FULL, 160);
	alternating_check("gemma4-26b-a4b-tiny.q8_0", 0, FUSION_PERSISTENT, 60);
	alternating_check("gemma3-tiny.q8_0", 0, FUSION_PERSISTENT, 60);
	alternating_check("qwen3-tiny.q8_0", 0, FUSION_PERSISTENT, 60);
}

/* The most phases that a layer can have: their number is the file's, and there must be room for all. */
static void test_most_phases(void **state)
{
	(void)state;
	int n, n_vocab;
	struct temp_file t = temp_file_make();
	three_types_make(t.path);
	float *want = quantised_logits(t.path, 0, FUSION_FULL, GRAPH_MODE_DIRECT, &n_vocab);
	float *got = quantised_logits(t.path, 0, FUSION_PERSISTENT, GRAPH_MODE_DIRECT, &n);
	assert_int_equal(n, 512);
	assert_int_equal(n, n_vocab);
	assert_true(worst_row(got, want, QUANTISED_ROWS, n) < 1e-5);
	free(want);
	free(got);
	temp_file_remove(&t);
}

static void expect_refused(struct session *s, const char *why)
{
	struct error err;
	session_set_fusion(s, FUSION_PERSISTENT);
	assert_int_equal(session_prepare(s, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(session_decode(s, 3, NULL, &err), ERROR_UNSUPPORTED);
	assert_int_equal(session_position(s), 0);
	/* Nothing is left of it. */
	session_set_fusion(s, FUSION_FULL);
	OK(session_decode(s, 3, NULL, e));
}

/* What a GPU's kernel needs of a mixture; the numbers are 26B-A4B's. */
static void test_experts(void **state)
{
	(void)state;
	enum { ROUTER, GATED, DOWN, TAKEN, PHASES };
	static float left[4];
	struct persistent_copy copies[PHASES];
	struct persistent_phase phases[PHASES] = {
		[ROUTER] = {.of.product = {.w = {{.data = left, .type = TENSOR_F32, .n_in = 2816, .n_out = 128}},
					   .y = {&left[0]},
					   .up = &left[3],
					   .output = PERSISTENT_ROUTED,
					   .stream = 1,
					   .n_used = 8}},
		[GATED] = {.of.product = {.w = {{.type = TENSOR_Q8_0,
						 .scales = left,
						 .n_in = 2816,
						 .n_out = 1408,
						 .n_expert = 128}},
					  .y = {&left[1]},
					  .output = PERSISTENT_GATED,
					  .stream = 1,
					  .n_used = 8}},
		[DOWN] = {.of.product = {.in = &left[1],
					 .w = {{.type = TENSOR_Q8_0,
						.scales = left,
						.n_in = 704,
						.n_out = 2816,
						.n_expert = 128}},
					 .y = {&left[2]},
					 .n_used = 8}},
		[TAKEN] = {.of.product = {.in = &left[2],
					  .beside = &left[2],
					  .w = {{.type = TENSOR_Q8_0, .scales = left, .n_in = 2816, .n_out = 4096}},
					  .stream = 1}},
	};
	struct persistent_program g = {.n_embd = 2816, .n_phases = PHASES, .stream_chunks = 2, .slice_chunks = 2};
	struct cuda_card card = {.n_sm = 132, .compute_capability = 90, .shared_per_block = 232448};
	for (int i = 0; i < PHASES; i++)
		phases[i].of.product.n_w = 1;
	assert_null(cuda_persistent_plan(&g, phases, copies, &card));
	const struct persistent_product *p = &phases[ROUTER].of.product;
	assert_int_equal(p->n_jobs, 128);
	assert_ptr_equal(copies[ROUTER].from, left);
	assert_int_equal(copies[ROUTER].job_bytes, 2816 * 4);
	assert_int_equal(copies[ROUTER].piece_bytes, g.stage_bytes); /* else a stage would be as large as a row */
	assert_int_equal(g.stage_bytes, 2 * (16 * 256 + 256));
	/* 88 tiles of 8 rows of each, 11 chunks of a row, of 8 experts. */
	p = &phases[GATED].of.product;
	assert_int_equal(p->n_jobs, 88 * 8);
	assert_int_equal(p->expert_chunks, 3); /* of what a row of down has */
	assert_int_equal(p->rotate, 128);      /* behind the blocks that have a row of the router */
	assert_int_equal(copies[GATED].job_bytes, 11 * 4352);
	assert_int_equal(copies[GATED].expert_bytes, 88 * 11 * 4352);
	assert_int_equal(copies[GATED].n_slices, 8);
	assert_ptr_equal(copies[GATED].logits, &left[0]);
	assert_ptr_equal(copies[GATED].scales, &left[3]);
	/* Four slices of two experts: one that ten warps have six chunks of. */
	p = &phases[DOWN].of.product;
	assert_int_equal(p->n_jobs, 176 * 4);
	assert_int_equal(p->shift, 2);
	assert_int_equal(p->experts_each, 2);
	assert_int_equal(p->n_chunks, 6);
	assert_int_equal(p->stride % 4, 0);
	assert_int_equal(p->rotate, (128 + 704) % 132);
	assert_int_equal(copies[DOWN].job_bytes, 2 * 4352 + 256 + 6 * 512); /* no bytes for columns that are none */
	assert_null(copies[DOWN].logits);                                   /* they are chosen once */
	assert_int_equal(copies[DOWN].at, 128ll * 88 * 11 * 4352);
	assert_int_equal(phases[TAKEN].of.product.n_parts, 4);
	assert_int_equal(phases[TAKEN].of.product.n_beside, 4);
	assert_int_equal(copies[TAKEN].at, 128ll * 88 * 11 * 4352 + 128ll * 176 * copies[DOWN].job_bytes);
	assert_int_equal(g.ahead_phases, 0);
	assert_int_equal(g.ahead_cycles, 500); /* 64 MB, of them 51 of eight experts */
	assert_true(g.sums_bytes >= 2 * 2816 * 4);
	assert_true(g.n_stages >= 19 && g.shared_bytes <= 232448);

	phases[ROUTER].of.product.w[0].n_out = 129;
	assert_non_null(strstr(cuda_persistent_plan(&g, phases, copies, &card), "16 of 128 experts"));
	phases[ROUTER].of.product.w[0] = phases[TAKEN].of.product.w[0];
	assert_non_null(strstr(cuda_persistent_plan(&g, phases, copies, &card), "a router of F32, F16 or BF16"));
	phases[ROUTER].of.product.w[0].type = TENSOR_Q4_0;
	assert_non_null(strstr(cuda_persistent_plan(&g, phases, copies, &card), "a router of F32, F16 or BF16"));
}

static void test_two_devices_are_refused(void **state)
{
	(void)state;
	struct golden g;
	struct device *far, *near;
	struct load_options o;
	struct loaded_model *m;
	struct session *s;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	load_options_default(&o);
	o.n_gpu_layers = 5;
	o.n_threads = o.batch = 1;
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	OK(session_open_on(&s, m, 8, e));
	expect_refused(s, "on one device");
	struct token_timeline t;
	struct error err;
	session_set_fusion(s, FUSION_FULL);
	assert_int_equal(session_decode_stamped(s, 3, &t, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "one device only"));
	token_timeline_free(&t);
	OK(session_decode(s, 3, NULL, e));
	session_close(s);
	loaded_model_close(m);
	device_close(far);
	device_close(near);
	golden_free(&g);
}

/* What the CUDA kernel needs of a card, and a program that no card has room for. */
static void test_cards_are_refused(void **state)
{
	(void)state;
	struct persistent_phase phase = {.kind = PERSISTENT_PRODUCT};
	struct persistent_copy copy;
	struct persistent_program g = {.n_embd = 2560, .n_phases = 1, .stream_chunks = 1, .slice_chunks = 1};
	struct cuda_card card = {.n_sm = 132, .compute_capability = 89, .shared_per_block = 232448};
	struct weight w = {.type = TENSOR_Q8_0, .n_in = 2560, .n_out = 2560, .n_expert = 1};
	phase.of.product = (struct persistent_product){.w = {w}, .n_w = 1};
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "compute capability 9.0"));
	card.compute_capability = 90;
	/* Planes are what the device reads. */
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "16-byte vectors"));
	phase.of.product.w[0].type = TENSOR_BF16;
	assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
	assert_int_equal(g.n_blocks, 132);
	assert_true(g.n_stages >= 2 && (size_t)g.shared_bytes <= card.shared_per_block);
	assert_int_equal(phase.of.product.n_jobs, 160);
	assert_int_equal(phase.of.product.shift, 0);
	assert_int_equal(phase.of.product.n_chunks, 10);
	assert_int_equal(copy.job_bytes, 16 * 2560 * 2);
	assert_int_equal(g.tiled_bytes, (long long)2560 * 2560 * 2);
	assert_true(copy.limit > 1 && copy.limit < g.n_stages); /* or nothing is ever copied ahead */
	/* A block's part of 13 MB keeps the memory busy, of 10 not. */
	assert_int_equal(g.ahead_phases, 1);
	assert_int_equal(g.ahead_cycles, 500);
	phase.of.product.w[0].n_out = 2048;
	assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
	assert_int_equal(g.ahead_cycles, 680);
	/* Eight slices, of which each warp has a chunk. */
	phase.of.product.w[0].n_in = PERSISTENT_SPLITS * PERSISTENT_WARPS * TILE_CHUNK;
	assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
	phase.of.product.w[0].n_in += TILE_CHUNK;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "rows as wide as these"));
	phase.of.product.w[0].n_in = 2560;
	phase.of.product.n_w = 2;
	phase.of.product.w[1] = phase.of.product.w[0];
	assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
	phase.of.product.w[1].type = TENSOR_F32;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "of one type"));
	phase.of.product.n_w = 1;
	card.shared_per_block = 48 << 10;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "no shared memory"));
	g.n_embd = 2564;
	assert_non_null(strstr(cuda_persistent_plan(&g, &phase, &copy, &card), "2560"));
}

/* Bytes on their way in a wide product, in pieces: of types below 8 bits three quarters. */
static void test_wide_limits(void **state)
{
	(void)state;
	static const struct {
		enum tensor_type type;
		int pieces;
	} wanted[] = {{TENSOR_BF16, 7}, {TENSOR_Q4_0, 4}, {TENSOR_Q4_K, 4}, {TENSOR_Q6_K, 6}};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		struct cuda_card card = {.n_sm = 132, .compute_capability = 90, .shared_per_block = 232448};
		struct persistent_copy copy;
		struct persistent_program g = {.n_embd = 2560, .n_phases = 1, .stream_chunks = 1, .slice_chunks = 1};
		struct persistent_phase phase = {
			.kind = PERSISTENT_PRODUCT,
			.of.product = {.w = {{.type = wanted[i].type, .n_in = 2560, .n_out = 2560, .n_expert = 1}},
				       .n_w = 1,
				       .output = PERSISTENT_LOGITS}};
		assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
		assert_int_equal(copy.limit, wanted[i].pieces);
	}
}

/* What attention leaves of its warps may be more than a product's sums: of the widest heads. */
static void test_room_for_heads(void **state)
{
	(void)state;
	static float left[4];
	static const int widths[] = {32, 64, 128, 256, 512};
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		struct cuda_card card = {.n_sm = 132, .compute_capability = 90, .shared_per_block = 232448};
		struct persistent_copy copies[2];
		struct persistent_program g = {.n_embd = 2560, .n_phases = 2, .stream_chunks = 1, .slice_chunks = 1};
		struct kv kv = {.type = TENSOR_F16,
				.v_type = TENSOR_F16,
				.n_kv_heads = 2,
				.head_dim = widths[i],
				.capacity = 64};
		struct persistent_phase phases[2] = {
			{.kind = PERSISTENT_ATTENTION,
			 .of.attention = {.inv_freq = left, .y = left, .kv = kv, .n_heads = 8}},
			{.kind = PERSISTENT_PRODUCT,
			 .of.product = {.w = {{.type = TENSOR_BF16, .n_in = 2560, .n_out = 2560, .n_expert = 1}},
					.n_w = 1}}};
		assert_null(cuda_persistent_plan(&g, phases, copies, &card));
		assert_true(g.sums_bytes >= PERSISTENT_WARPS * (widths[i] * 4 + 8)); /* sums, and two numbers more */
		assert_true(g.sums_bytes >= 2 * PERSISTENT_GROUP * PERSISTENT_WARPS * TILE_ROWS * 4);
		assert_true(g.angles_bytes >= widths[i] / 2 * 8);
		assert_true(g.partial_bytes >= 8 * phases[0].of.attention.most_splits * (widths[i] + 2) * 8);
		assert_true(copies[0].piece_keys * widths[i] * 4 <= g.stage_bytes && copies[0].piece_keys > 0);
		assert_true(copies[0].limit <= g.n_stages - 5); /* teams of two warps: each has every fifth piece */
		assert_true(g.scratch_at >= g.partial_at + g.sums_bytes);
	}
}

/* Slices of rows of any length are whole chunks, no warp has more of them than it was compiled for, and all of a
 * block's jobs are of one slice. */
static void test_slices(void **state)
{
	(void)state;
	static const int widths[] = {256,  1536, 2048,  2560,  2816,  3840,  4096, 5376,
				     6144, 8192, 10240, 12288, 15360, 16384, 21504};
	static const int embds[] = {1536, 2560, 3840, 4096, 5376};
	for (size_t i = 0; i < sizeof widths / sizeof *widths * 5 * 3; i++) {
		int n_in = widths[i / 15], n_embd = embds[i / 3 % 5], n_sm = (int[]){132, 114, 148}[i % 3];
		const struct cuda_dims dims = {.n_embd = n_embd, .n_in_max = n_in, .streams = 1u << TENSOR_BF16};
		struct persistent_copy copy;
		struct persistent_phase phase = {.kind = PERSISTENT_PRODUCT};
		struct persistent_program g = {.n_embd = n_embd, .n_phases = 1};
		struct cuda_card card = {.n_sm = n_sm, .compute_capability = 90, .shared_per_block = 232448};
		struct persistent_chunks chunks = cuda_persistent_chunks(&dims, NULL);
		cuda_persistent_compiled(&g, &chunks);
		phase.of.product = (struct persistent_product){
			.w = {{.type = TENSOR_BF16, .n_in = n_in, .n_out = n_embd, .n_expert = 1}}, .n_w = 1};
		const struct persistent_product *p = &phase.of.product;
		assert_null(cuda_persistent_plan(&g, &phase, &copy, &card));
		assert_true(g.n_blocks <= n_sm && g.n_blocks > n_sm - 4);
		assert_int_equal(p->stride % (1 << p->shift), 0);
		assert_true(p->stride <= g.n_blocks && p->stride > g.n_blocks - (1 << p->shift));
		assert_true(p->n_chunks << p->shift >= (n_in + 255) / 256);
		assert_true((p->n_chunks - 1) << p->shift < (n_in + 255) / 256);
		assert_true(p->n_chunks <= PERSISTENT_WARPS * g.slice_chunks);
		assert_int_equal(p->n_jobs, n_embd / 16 << p->shift);
		assert_int_equal(p->jobs_each * p->stride + p->jobs_rest, p->n_jobs);
		assert_int_equal(g.tiled_bytes, (long long)p->n_jobs * copy.job_bytes);
		assert_true(g.shared_bytes <= 232448);
	}
}

/* Of a short row Q8_0 leaves blocks out, and no element or scale of the row. */
static void test_short_tiles(void **state)
{
	(void)state;
	assert_int_equal(tile_row_bytes(TENSOR_Q8_0, 256), 4352);
	assert_int_equal(tile_row_bytes(TENSOR_Q8_0, 704), 2 * 4352 + 256 + 6 * 512);
	assert_int_equal(tile_row_bytes(TENSOR_BF16, 704), 3 * 8192);
	for (int n_in = 32; n_in <= 256; n_in += 32)
		for (int row = 0; row < TILE_ROWS; row++)
			for (int k = 0; k < n_in; k++) {
				assert_true(tile_element_at(TENSOR_Q8_0, row, k) < tile_row_bytes(TENSOR_Q8_0, n_in));
				assert_true(tile_scale_at(row, k) + 2 <= tile_row_bytes(TENSOR_Q8_0, n_in));
			}
}

/* Every element and every scale of a unit has its own place in it, and nothing else is there. */
static void test_tiles(void **state)
{
	(void)state;
	static const int types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		int type = types[i], bytes = tile_unit_bytes(type);
		char *taken = calloc(1, (size_t)bytes);
		for (int row = 0; row < TILE_ROWS; row++) {
			for (int k = 0; k < TILE_CHUNK; k++) {
				for (int b = 0; b < element_bytes(type); b++)
					taken[tile_element_at(type, row, k) + b]++;
				for (int b = 0; type == TENSOR_Q8_0 && k % 32 == 0 && b < 2; b++)
					taken[tile_scale_at(row, k) + b]++;
			}
		}
		for (int b = 0; b < bytes; b++)
			assert_int_equal(taken[b], 1);
		free(taken);
	}
}

/* The same of types of fewer bits, bit by bit; as many bytes as a file's blocks. Sides are of blocks and rows. */
static void test_tiles_of_few_bits(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		const struct tensor_traits *t = &tensor_types[i];
		int type = (int)t->type, bytes = tile_unit_bytes(type), side = tile_side_bytes(type);
		if (!t->quants)
			continue;
		assert_int_equal(bytes, TILE_ROWS * TILE_CHUNK / t->block * t->block_bytes);
		assert_int_equal(bytes % 16, 0);
		assert_true(persistent_piece_units(type) >= 2);
		unsigned char *taken = calloc(1, (size_t)bytes);
		int high_bits = quants_high_bytes(type) * 8 / QUANTS_BLOCK;
		for (int row = 0; row < TILE_ROWS; row++)
			for (int k = 0; k < TILE_CHUNK; k++) {
				int element = 0;
				for (int n = 0; n < TILE_MOST_PARTS; n++) {
					struct tile_bits p = tile_bits(type, row, k, n);
					int bits = (1 << p.n) - 1;
					assert_true(p.bit + p.n <= 8 && p.at < bytes);
					assert_true((element & bits << p.from) == 0);
					element |= bits << p.from;
					assert_true((taken[p.at] & bits << p.bit) == 0);
					taken[p.at] = (unsigned char)(taken[p.at] | bits << p.bit);
				}
				assert_int_equal(element, (1 << (4 + high_bits)) - 1);
			}
		for (int b = 0; b < bytes; b++)
			assert_int_equal(taken[b], b < side ? 0 : 255);
		free(taken);
		/* Of a short row nothing that is left out. */
		for (int n_in = t->block; n_in <= TILE_CHUNK; n_in += t->block)
			for (int row = 0; row < TILE_ROWS; row++)
				for (int k = 0; k < n_in; k++)
					assert_true(tile_element_at(type, row, k) < tile_row_bytes(type, n_in));
	}
}

/* A device of its own memory with a GPU's plan, and little of it free. */
static const struct device_ops *far_ops;
static size_t far_free;

static struct device_memory little_memory(struct device *d)
{
	struct device_memory memory = far_ops->memory(d);
	memory.free = far_free;
	return memory;
}

static int plan_for_gpu(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			struct persistent_copy *copies, struct error *err)
{
	const struct cuda_card card = {.n_sm = 132, .compute_capability = 90, .shared_per_block = 232448};
	(void)d;
	g->stream_chunks = g->slice_chunks = 1;
	const char *why = cuda_persistent_plan(g, phases, copies, &card);
	return why ? error_set(err, ERROR_UNSUPPORTED, "%s", why) : 0;
}

/* Who lacks room for the tiles is told so before anything is allocated, and goes on in another fusion. */
static void test_no_room(void **state)
{
	(void)state;
	struct golden g;
	struct device *far, *near;
	struct load_options o;
	struct loaded_model *m;
	struct session *s;
	struct error err;
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	far_ops = far->ops;
	struct device_ops ops = *far_ops;
	ops.memory = little_memory;
	ops.plan_persistent = plan_for_gpu;
	far->ops = &ops;
	far_free = (size_t)1 << 30;
	load_options_default(&o);
	o.n_gpu_layers = g.n_layer;
	o.n_threads = o.batch = 1;
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	size_t loaded = device_memory(far).used;
	OK(session_open_on(&s, m, 8, e));
	session_set_fusion(s, FUSION_PERSISTENT);
	far_free = 1 << 20; /* half of them */
	size_t before = device_memory(far).used;
	assert_int_equal(session_prepare(s, &err), ERROR_MEMORY);
	assert_non_null(strstr(err.text, "has 1048576 free; use a smaller context, --prefill-weights convert"));
	assert_int_equal(device_memory(far).used, before);
	session_set_fusion(s, FUSION_FULL);
	OK(session_decode(s, 3, NULL, e));
	session_set_fusion(s, FUSION_PERSISTENT);
	far_free = (size_t)1 << 30;
	OK(session_decode(s, 3, NULL, e));
	assert_true(device_memory(far).used > before + ((size_t)2 << 20));
	session_close(s);
	assert_int_equal(device_memory(far).used, loaded);
	loaded_model_close(m);
	far->ops = far_ops;
	device_close(far);
	device_close(near);
	golden_free(&g);
}

static void test_stamps(void **state)
{
	(void)state;
	stamped_check("gemma4-e4b-tiny.q8_0", 0, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
	stamped_check("gemma4-e4b-tiny.q8_0", 0, FUSION_PERSISTENT, GRAPH_MODE_DEVICE);
	stamped_check("qwen3-tiny.q8_0", 0, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
	stamped_check("gemma4-26b-a4b-tiny.q8_0", 0, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
}

/* The other fusions' kernels, launched one by one and replayed. */
static void test_stamps_of_kernels(void **state)
{
	(void)state;
	static const char *const models[] = {"gemma4-e4b-tiny.q8_0", "qwen3-tiny.q8_0", "gemma4-26b-a4b-tiny.q8_0",
					     "gemma3-tiny.q8_0"};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		stamped_check(models[i], 0, FUSION_FULL, GRAPH_MODE_DIRECT);
		stamped_check(models[i], 0, FUSION_NONE, GRAPH_MODE_DEVICE);
	}
	stamped_check("gemma4-e4b-tiny.q8_0", 0, FUSION_FULL, GRAPH_MODE_DEVICE);
}

/* What cannot be captured has no stamps; nothing is lost but them, and what the session has goes on. */
static void test_stamps_not_captured(void **state)
{
	(void)state;
	static const enum device_fault steps[] = {DEVICE_FAULT_CAPTURE_BEGIN, DEVICE_FAULT_CAPTURE_END,
						  DEVICE_FAULT_INSTANTIATE, DEVICE_FAULT_UPLOAD, DEVICE_FAULT_REPLAY};
	struct golden g;
	struct session *s;
	struct session_options o;
	struct token_timeline t;
	struct error err;
	golden_load(&g, "qwen3-tiny.q8_0");
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.context = 8;
	o.mode = GRAPH_MODE_DEVICE;
	OK(session_open(&s, g.path, &o, e));
	session_set_fusion(s, FUSION_FULL);
	OK(session_decode(s, g.tokens[0], NULL, e));
	size_t used = session_stats(s).memory.used;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct token_timing timing;
		device_fail(session_device(s), steps[i], 0, 1);
		assert_int_equal(session_decode_stamped(s, g.tokens[1], &t, &err), ERROR_UNSUPPORTED);
		assert_non_null(strstr(err.text, "a graph with time stamps: "));
		token_timeline_free(&t);
		assert_int_equal(session_stats(s).memory.used, used);
		OK(session_rewind(s, 1, e));
		OK(session_decode_stamped(s, g.tokens[1], &t, e));
		token_timeline_free(&t);
		OK(session_rewind(s, 1, e));
		OK(session_decode(s, g.tokens[1], &timing, e));
		assert_int_equal(timing.event, GRAPH_EVENT_REPLAY);
		OK(session_rewind(s, 1, e));
	}
	session_close(s);
	golden_free(&g);
}

/* Behind a prompt whose rows' logits were asked for, the last of them in another row than a token's. */
static void test_stamps_behind_rows(void **state)
{
	(void)state;
	enum { PROMPT = 5 };
	struct golden g;
	struct session *s;
	struct session_options o;
	struct token_timeline t;
	const float *row;
	golden_load(&g, "qwen3-tiny.q8_0");
	size_t bytes = (size_t)g.n_vocab * sizeof(float);
	float *want = malloc(bytes), *rows = malloc(PROMPT * bytes);
	assert_non_null(want);
	assert_non_null(rows);
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.context = PROMPT + 1;
	OK(session_open(&s, g.path, &o, e));
	for (int stamped = 0; stamped < 2; stamped++) {
		OK(session_rewind(s, 0, e));
		OK(session_prefill(s, g.tokens, PROMPT, rows, e));
		if (stamped)
			OK(session_decode_stamped(s, g.tokens[PROMPT], &t, e));
		else
			OK(session_decode(s, g.tokens[PROMPT], NULL, e));
		OK(session_logits(s, &row, e));
		if (stamped)
			assert_memory_equal(row, want, bytes);
		else
			memcpy(want, row, bytes);
	}
	token_timeline_free(&t);
	session_close(s);
	free(rows);
	free(want);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alternating),
		cmocka_unit_test(test_most_phases),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_stamps_not_captured),
		cmocka_unit_test(test_stamps_behind_rows),
		cmocka_unit_test(test_stamps_of_kernels),
		cmocka_unit_test(test_experts),
		cmocka_unit_test(test_two_devices_are_refused),
		cmocka_unit_test(test_cards_are_refused),
		cmocka_unit_test(test_wide_limits),
		cmocka_unit_test(test_room_for_heads),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_short_tiles),
		cmocka_unit_test(test_tiles_of_few_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
