/*
 * The kernel of a whole token with weights of TENSOR_QUANT_TYPES, on the processor: from planes as a GPU is given them
 * through the GPU's own tiles, the logits that the host's kernels make of the file's blocks; and those tiles are the
 * host's, byte by byte.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/quant_values.h"
#include "engine/device/device_ops.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "kernels/cuda/quants_geometry.h"
#include "kernels/tiles.h"
#include "tests/emulated/draws.h"
#include "tests/emulated/emulation.h"
#include "tests/emulated/plan.h"
#include "tests/emulated/products.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"
#include "tests/support/three_types.h"

enum { BLOCKS = 4, TOKENS = 2 };

static const double TOLERANCE = 1e-5; /* relative L2 of a row: digits of 23 bits, sums in float32 */

static int plan(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
		struct persistent_copy *copies, struct error *err)
{
	(void)d;
	const char *why = emulated_plan(g, phases, copies, BLOCKS, NULL);
	return why ? error_set(err, ERROR_UNSUPPORTED, "its kernel %s", why) : 0;
}

static bool on_host;
static unsigned seed;

void __wrap_k_persistent(const struct persistent_params *p);
void __real_k_persistent(const struct persistent_params *p);
void __wrap_k_persistent_tile(const struct persistent_tile_params *p);
void __real_k_persistent_tile(const struct persistent_tile_params *p);

void __wrap_k_persistent(const struct persistent_params *p)
{
	if (on_host)
		__real_k_persistent(p);
	else
		emulated_persistent(p, seed++);
}

void __wrap_k_persistent_tile(const struct persistent_tile_params *p)
{
	if (on_host)
		__real_k_persistent_tile(p);
	else
		emulated_persistent_tile(p);
}

/* The caller frees them: (TOKENS, *n_vocab). */
static float *decode(const char *path, bool host, int *n_vocab)
{
	struct device *far, *near;
	struct load_options o;
	struct loaded_model *m;
	struct session *s;
	OK(guarded_open(&far, !host, 1, e));
	OK(guarded_open(&near, false, 1, e));
	const struct device_ops *const before = far->ops;
	struct device_ops ops = *before;
	if (!host)
		ops.plan_persistent = plan;
	far->ops = &ops;
	on_host = host;
	load_options_default(&o);
	o.n_threads = o.batch = 1;
	o.prefill = PREFILL_F32;
	o.k_type = o.v_type = TENSOR_F32;
	o.n_gpu_layers = 999;
	OK(loaded_model_open_on(&m, path, &o, far, near, e));
	OK(session_open_on(&s, m, TOKENS, e));
	session_set_mode(s, GRAPH_MODE_DIRECT);
	session_set_fusion(s, host ? FUSION_FULL : FUSION_PERSISTENT);
	int n = *n_vocab = session_model(s)->n_vocab;
	float *rows = malloc(TOKENS * (size_t)n * sizeof *rows);
	assert_non_null(rows);
	for (int i = 0; i < TOKENS; i++) {
		const float *row;
		OK(session_decode(s, (i * 37 + 5) % n, NULL, e));
		OK(session_logits(s, &row, e));
		memcpy(rows + (size_t)i * (size_t)n, row, (size_t)n * sizeof *row);
	}
	session_close(s);
	loaded_model_close(m);
	far->ops = before;
	device_close(far);
	device_close(near);
	return rows;
}

static void compare_logits(const char *path, const char *name)
{
	int n;
	float *want = decode(path, true, &n), *got = decode(path, false, &n);
	double worst = worst_row(got, want, TOKENS, n);
	print_message("%-32s %.2g of the host's\n", name, worst);
	if (!(worst < TOLERANCE))
		fail_msg("%s: logits are off by %.3g of the host's", name, worst);
	free(want);
	free(got);
}

static void test_logits(void **state)
{
	(void)state;
	for (int i = 0; i < QUANTISED_CASES; i++) {
		struct temp_file t = temp_file_make();
		struct quantised_name name = quantised_name(&quantised_cases[i]);
		quantised_make(&quantised_cases[i], t.path);
		compare_logits(t.path, name.text);
		temp_file_remove(&t);
	}
}

/* Three products in the place of attention's one, and pieces that are larger than the last product's. */
static void test_three_types(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	three_types_make(t.path);
	compare_logits(t.path, "three types");
	temp_file_remove(&t);
}

/* The same matrix as GPUs have it; the caller frees its data. */
static struct weight planes_of(const struct tensor_traits *t, const struct weight *file)
{
	struct weight w = *file;
	size_t n = (size_t)w.n_in * (size_t)w.n_out * (size_t)w.n_expert;
	void *made = products_fresh(n / (size_t)t->block * (size_t)t->block_bytes);
	struct cpu_planes p = cpu_planes_at(t->type, made, n / QUANTS_BLOCK);
	cpu_planes(t->type, file->data, n / QUANTS_BLOCK, &p);
	w.data = made;
	return w;
}

enum { MATRICES = 3, EXPERTS = 2 };

/* A matrix as files have it, and as GPUs do; of any bits. */
static void make_matrix(const struct tensor_traits *t, int n_in, int n_out, struct weight *file, struct weight *planes)
{
	static uint64_t state = 1;
	size_t n = (size_t)n_in * (size_t)n_out * EXPERTS, bytes = n / (size_t)t->block * (size_t)t->block_bytes;
	unsigned char *blocks = malloc(bytes);
	assert_non_null(blocks);
	for (size_t i = 0; i < bytes; i++)
		blocks[i] = (unsigned char)(draw_bits(&state) >> 24);
	*file = (struct weight){
		.data = blocks, .type = (int)t->type, .n_in = n_in, .n_out = n_out, .n_expert = EXPERTS};
	*planes = planes_of(t, file);
}

/* Rows of an expert's: of one matrix, of three below each other, of gate and up in turn. */
static void compare_tiles(const struct tensor_traits *t, int n_in, int way, int more)
{
	static const int outs[MATRICES] = {17, 3, 40};
	struct persistent_tile_params file = {
		.n_w = way == 0   ? 1
		       : way == 1 ? MATRICES
				  : 2,
		.gated = way == 2,
		.tile_bytes = more ? (tile_chunks(n_in) + 1) * tile_unit_bytes((int)t->type)
				   : tile_row_bytes((int)t->type, n_in),
	};
	struct persistent_tile_params planes = file;
	for (int i = 0; i < file.n_w; i++) {
		int n_out = outs[file.gated ? 2 : i];
		make_matrix(t, n_in, n_out, &file.w[i], &planes.w[i]);
		file.first[i] = planes.first[i] = n_out;
		file.rows[i] = planes.rows[i] = n_out - i; /* and one that is left out */
		file.n_tiles += tile_count(n_out);
	}
	if (file.gated)
		file.n_tiles = (outs[2] + 7) / 8;
	planes.n_tiles = file.n_tiles;
	size_t bytes = (size_t)file.tile_bytes * (size_t)file.n_tiles;
	void *want = NULL, *got = NULL;
	assert_int_equal(posix_memalign(&want, 64, bytes), 0);
	assert_int_equal(posix_memalign(&got, 64, bytes), 0);
	memset(want, 0x5a, bytes);
	memset(got, 0xa5, bytes);
	file.y = want;
	planes.y = got;
	__real_k_persistent_tile(&file);
	emulated_persistent_tile(&planes);
	if (memcmp(got, want, bytes))
		fail_msg("%s, n_in %d, way %d: not the host's tiles", t->name, n_in, way);
	free(want);
	free(got);
	for (int i = 0; i < file.n_w; i++) {
		free((void *)(uintptr_t)file.w[i].data);
		free((void *)(uintptr_t)planes.w[i].data);
	}
}

static void test_tiles(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		const struct tensor_traits *t = &tensor_types[i];
		for (int way = 0; t->quants && way < 3; way++) {
			compare_tiles(t, 512, way, 0);
			if (t->block == QUANTS_BLOCK) {
				compare_tiles(t, 32, way, 0);
				compare_tiles(t, 448, way, way == 1);
			}
		}
	}
}

/* ---- rows of which a warp has several chunks, which the models above are too narrow for ---- */

/* Of magnitudes around 2^-6. */
static uint16_t half_of(void *state)
{
	return (uint16_t)(9 << 10 | (draw_bits(state) & 0x83ff));
}

/* As files have it; the caller frees its data. */
static struct weight blocks_of(const struct tensor_traits *t, int n_in, int n_out, uint64_t *state)
{
	size_t n = (size_t)n_in * (size_t)n_out / (size_t)t->block;
	void *blocks = products_fresh(n * (size_t)t->block_bytes);
	quant_fill((int)t->type, blocks, n, draw_bits, half_of, state);
	return (struct weight){.data = blocks, .type = (int)t->type, .n_in = n_in, .n_out = n_out, .n_expert = 1};
}

enum { OF_STREAM, OF_ROWS, WIDE_PHASES, N_EMBD = 11 * TILE_CHUNK, N_WIDE = 21 * TILE_CHUNK, N_OUT = 20 };

/* Products of one type with a wide stream, an embedding, and with a vector that is wider. */
struct wide {
	struct persistent_phase phases[WIDE_PHASES];
	struct weight file[WIDE_PHASES], planes[WIDE_PHASES];
	float *left[WIDE_PHASES], *wide, *table, *h;
};

/*
 * Of a row's product, relative to the root of the squares' sum: of the stream, whose values have either sign, what
 * test_quants has for the host. The vector's are all above 0, where sums are larger than that root.
 */
static const double PRODUCT_THRESHOLDS[WIDE_PHASES] = {[OF_STREAM] = 2e-6, [OF_ROWS] = 4e-6};

static void wide_make(struct wide *w, const struct tensor_traits *t)
{
	static const int shapes[WIDE_PHASES][2] = {{N_EMBD, N_OUT}, {N_WIDE, N_OUT}};
	uint64_t state = 3;
	w->table = products_fresh(N_EMBD * sizeof *w->table);
	w->h = products_fresh(N_EMBD * sizeof *w->h);
	w->wide = products_fresh(N_WIDE * sizeof *w->wide);
	for (int i = 0; i < N_EMBD; i++)
		w->table[i] = (float)draw_uniform(&state);
	products_left(w->wide, N_WIDE, &state);
	for (int i = 0; i < WIDE_PHASES; i++) {
		w->file[i] = blocks_of(t, shapes[i][0], shapes[i][1], &state);
		w->planes[i] = planes_of(t, &w->file[i]);
		w->left[i] = products_fresh(N_OUT * sizeof(float));
		w->phases[i] = (struct persistent_phase){
			.kind = PERSISTENT_PRODUCT,
			.of.product = {.y = {w->left[i]}, .scale = 1, .n_w = 1, .stream = i == OF_STREAM, .trace = -1}};
	}
	w->phases[OF_ROWS].of.product.in = w->wide;
}

static void wide_free(struct wide *w)
{
	for (int i = 0; i < WIDE_PHASES; i++) {
		free((void *)(uintptr_t)w->file[i].data);
		free((void *)(uintptr_t)w->planes[i].data);
		free(w->left[i]);
	}
	free(w->wide);
	free(w->table);
	free(w->h);
}

static void wide_run(struct wide *w, bool host)
{
	struct persistent_copy copies[WIDE_PHASES];
	unsigned number[2] = {1, 0};
	float *scratch = products_fresh(2 * N_EMBD * sizeof *scratch);
	struct persistent_program g =
		products_program(w->phases, WIDE_PHASES, copies, N_EMBD, w->table, w->h, scratch, number);
	for (int i = 0; i < WIDE_PHASES; i++) {
		w->phases[i].of.product.w[0] = host ? w->file[i] : w->planes[i];
		memset(w->left[i], 0, N_OUT * sizeof(float));
	}
	if (host) {
		const struct persistent_params p = products_params(&g);
		__real_k_persistent(&p);
	} else {
		assert_null(emulated_plan(&g, w->phases, copies, 1, NULL));
		assert_int_equal(w->phases[OF_ROWS].of.product.n_chunks, 21);
		products_run(&g, seed++);
	}
	free(scratch);
}

/* The worst error of y, (N_OUT), over the root of the products' squares' sum. x: (w->n_in). */
static double worst_product(const struct tensor_traits *t, const struct weight *w, const double *x, const float *y)
{
	const unsigned char *blocks = w->data;
	double worst = 0;
	for (int r = 0; r < N_OUT; r++) {
		double sum = 0, squares = 0;
		for (int k = 0; k < w->n_in; k++) {
			size_t i = (size_t)r * (size_t)w->n_in + (size_t)k, block = (size_t)t->block;
			double product =
				x[k] * (double)quant_value((int)t->type, blocks + i / block * (size_t)t->block_bytes,
							   (int)(i % block));
			sum += product;
			squares += product * product;
		}
		worst = fmax(worst, fabs((double)y[r] - sum) / sqrt(squares));
	}
	return worst;
}

/* What both kernels left, in float64: of the embedding and of the vector. */
static void wide_errors(const struct tensor_traits *t, const struct wide *w, const float *left[WIDE_PHASES],
			double errors[WIDE_PHASES])
{
	static double stream[N_EMBD], vector[N_WIDE];
	for (int k = 0; k < N_EMBD; k++)
		stream[k] = (double)w->table[k];
	for (int k = 0; k < N_WIDE; k++)
		vector[k] = (double)w->wide[k];
	errors[OF_STREAM] = worst_product(t, &w->file[OF_STREAM], stream, left[OF_STREAM]);
	errors[OF_ROWS] = worst_product(t, &w->file[OF_ROWS], vector, left[OF_ROWS]);
}

static void test_wide(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		const struct tensor_traits *t = &tensor_types[i];
		struct wide w;
		float want[2][N_OUT];
		if (!t->quants)
			continue;
		wide_make(&w, t);
		wide_run(&w, true);
		memcpy(want[0], w.left[OF_STREAM], sizeof want[0]);
		memcpy(want[1], w.left[OF_ROWS], sizeof want[1]);
		wide_run(&w, false);
		double of_stream = worst_row(w.left[OF_STREAM], want[0], 1, N_OUT);
		double of_rows = worst_row(w.left[OF_ROWS], want[1], 1, N_OUT);
		if (!(of_stream < TOLERANCE && of_rows < TOLERANCE))
			fail_msg("%s: wide products are off by %.3g and %.3g of the host's", t->name, of_stream,
				 of_rows);
		double host[WIDE_PHASES], emulated[WIDE_PHASES];
		wide_errors(t, &w, (const float *[]){want[0], want[1]}, host);
		wide_errors(t, &w, (const float *[]){w.left[OF_STREAM], w.left[OF_ROWS]}, emulated);
		for (int k = 0; k < WIDE_PHASES; k++)
			if (!(emulated[k] <= PRODUCT_THRESHOLDS[k] && host[k] <= PRODUCT_THRESHOLDS[k]))
				fail_msg("%s: product %d is off by %.3g, the host's by %.3g", t->name, k, emulated[k],
					 host[k]);
		print_message("%-8s %d wide: off by %.1e, the host by %.1e; %d wide: %.1e, %.1e\n", t->name, N_EMBD,
			      emulated[OF_STREAM], host[OF_STREAM], N_WIDE, emulated[OF_ROWS], host[OF_ROWS]);
		wide_free(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_three_types),
		cmocka_unit_test(test_logits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
