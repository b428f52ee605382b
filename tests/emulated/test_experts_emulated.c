/*
 * A mixture of experts in the kernel of a whole token, at widths that the golden models do not have: rows of the router
 * in several pieces, experts of several chunks of which the last is short, jobs of several experts and slices that have
 * fewer of them, or none. Against the host's form, for tokens in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "kernels/cpu/cpu.h"
#include "kernels/tiles.h"
#include "tests/emulated/emulation.h"
#include "tests/emulated/plan.h"
#include "tests/support/golden.h"

enum { ROUTER, SHORT, BESIDE, GATED, DOWN, HEAD, PHASES };
enum { VOCAB = 3, N_EMBD = 2816, N_FEW = 64, N_EXPERT = 9, N_HEAD = 64, BLOCKS = 8 };

static uint64_t seed;

static float uniform(float low, float high)
{
	return low + (high - low) * (float)((double)(random_next(&seed) >> 11) * 0x1p-53);
}

static void *fresh(size_t bytes)
{
	void *p = NULL;
	assert_int_equal(posix_memalign(&p, 256, bytes), 0);
	memset(p, 0, bytes);
	return p;
}

static float *vector(int n, float low, float high)
{
	float *v = fresh((size_t)n * sizeof *v);
	for (int i = 0; i < n; i++)
		v[i] = uniform(low, high);
	return v;
}

static struct weight matrix(int n_in, int n_out, float most)
{
	return (struct weight){.data = vector(n_in * n_out, -most, most),
			       .type = TENSOR_F32,
			       .n_in = n_in,
			       .n_out = n_out,
			       .n_expert = 1};
}

/* Q8_0 as planes; products of as much as x is. */
static struct weight planes(int n_in, int n_out, int n_expert)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert;
	int8_t *data = fresh(n);
	uint16_t *scales = fresh(n / 32 * sizeof *scales);
	const unsigned exponent = n_in > 1024 ? 3 : n_in > 256 ? 4 : 5; /* of 2^-12 and more */
	for (size_t i = 0; i < n; i++)
		data[i] = (int8_t)((int)random_below(&seed, 255) - 127);
	for (size_t i = 0; i < n / 32; i++)
		scales[i] = (uint16_t)(exponent << 10 | random_below(&seed, 1024));
	return (struct weight){.data = data,
			       .scales = scales,
			       .type = TENSOR_Q8_0,
			       .n_in = n_in,
			       .n_out = n_out,
			       .n_expert = n_expert};
}

static void free_weight(struct weight *w)
{
	free((void *)(uintptr_t)w->data);
	free((void *)(uintptr_t)w->scales);
}

/* A layer's mixture behind an embedding, and a head; on the host, what it leaves in vectors of its own. */
struct mixture {
	int n_used, n_ff;
	struct weight table, router, few, beside, gate_up, down, head;
	float *norms[7], *scales;
	float *left[PHASES]; /* of the program that is run */
	float *h, *normed, *sub_norm, *gate_up_out, *out;
	int *ids;
	float *weights;
	struct persistent_phase phases[PHASES];
};

static void make(struct mixture *m, int n_used, int n_ff)
{
	*m = (struct mixture){.n_used = n_used, .n_ff = n_ff};
	m->table = matrix(N_EMBD, VOCAB, 1);
	m->router = matrix(N_EMBD, N_EXPERT, 2);
	/* Equal logits: of an odd number of experts the last one is chosen for its number. */
	float *rows = (float *)(uintptr_t)m->router.data;
	for (int i = 1; i < N_EXPERT; i += 2)
		memcpy(rows + i * N_EMBD, rows + (i - 1) * N_EMBD, N_EMBD * sizeof *rows);
	m->few = planes(N_EMBD, N_FEW, 1);
	m->beside = planes(N_FEW, N_EMBD, 1);
	m->gate_up = planes(N_EMBD, 2 * n_ff, N_EXPERT);
	m->down = planes(n_ff, N_EMBD, N_EXPERT);
	m->head = planes(N_EMBD, N_HEAD, 1);
	for (int i = 0; i < 7; i++)
		m->norms[i] = vector(N_EMBD, 0.5f, 1.5f);
	m->scales = vector(N_EXPERT, 0.5f, 1.5f);
	const size_t longest = (size_t)(n_used * tile_chunks(n_ff) * TILE_CHUNK + N_EMBD * PERSISTENT_SPLITS);
	for (int i = 0; i < PHASES; i++)
		m->left[i] = fresh(longest * sizeof(float));
	m->h = fresh(N_EMBD * sizeof(float));
	m->normed = fresh(N_EMBD * sizeof(float));
	m->sub_norm = fresh(N_EMBD * sizeof(float));
	m->gate_up_out = fresh((size_t)(n_used * 2 * n_ff) * sizeof(float));
	m->out = fresh((size_t)(n_used * N_EMBD) * sizeof(float));
	m->ids = fresh((size_t)n_used * sizeof(int));
	m->weights = fresh((size_t)n_used * sizeof(float));
}

static void drop(struct mixture *m)
{
	struct weight *w[] = {&m->table, &m->router, &m->few, &m->beside, &m->gate_up, &m->down, &m->head};
	void *p[] = {m->h, m->normed, m->sub_norm, m->gate_up_out, m->out, m->ids, m->weights, m->scales};
	for (size_t i = 0; i < sizeof w / sizeof *w; i++)
		free_weight(w[i]);
	for (size_t i = 0; i < sizeof p / sizeof *p; i++)
		free(p[i]);
	for (int i = 0; i < 7; i++)
		free(m->norms[i]);
	for (int i = 0; i < PHASES; i++)
		free(m->left[i]);
}

static void add(struct mixture *m, int i, const struct weight *w, struct persistent_product of)
{
	of.w[0] = *w;
	of.y[0] = m->left[i];
	of.n_w = 1;
	of.scale = 1;
	of.trace = -1;
	m->phases[i] = (struct persistent_phase){.kind = PERSISTENT_PRODUCT, .of.product = of};
}

static struct persistent_program program(struct mixture *m)
{
	float *const *n = m->norms;
	add(m, ROUTER, &m->router,
	    (struct persistent_product){
		    .pre_norm = n[0], .up = m->scales, .output = PERSISTENT_ROUTED, .stream = 1, .n_used = m->n_used});
	add(m, SHORT, &m->few, (struct persistent_product){.pre_norm = n[1], .stream = 1});
	add(m, BESIDE, &m->beside, (struct persistent_product){.in = m->left[SHORT]});
	add(m, GATED, &m->gate_up,
	    (struct persistent_product){
		    .pre_norm = n[2], .output = PERSISTENT_GATED, .stream = 1, .n_used = m->n_used});
	add(m, DOWN, &m->down, (struct persistent_product){.in = m->left[GATED], .n_used = m->n_used});
	add(m, HEAD, &m->head,
	    (struct persistent_product){.in = m->left[DOWN],
					.beside = m->left[BESIDE],
					.beside_norm = n[3],
					.in_norm = n[4],
					.post_norm = n[5],
					.pre_norm = n[6],
					.output = PERSISTENT_LOGITS,
					.stream = 1});
	return (struct persistent_program){
		.phases = m->phases,
		.token_embd = m->table,
		.h = m->h,
		.normed = m->normed,
		.sub_norm = m->sub_norm,
		.ids = m->ids,
		.expert_weights = m->weights,
		.expert_gate_up = m->gate_up_out,
		.expert_out = m->out,
		.n_phases = PHASES,
		.n_embd = N_EMBD,
		.embed_scale = 1,
		.eps = 1e-6f,
		.act = ACTIVATION_GELU_TANH,
		.n_blocks = 1,
	};
}

static void tile(const struct persistent_product *p, const struct persistent_copy *c, char *tiled)
{
	const struct weight *w = &p->w[0];
	const int gated = p->output == PERSISTENT_GATED, n_out = gated ? w->n_out / 2 : w->n_out;
	for (int e = 0; e < w->n_expert; e++) {
		struct persistent_tile_params t = {
			.w = {*w, *w},
			.y = tiled + c->at + e * c->expert_bytes,
			.first = {e * w->n_out, e * w->n_out + w->n_out - n_out},
			.rows = {n_out, n_out},
			.n_w = 1 + gated,
			.gated = gated,
			.n_tiles = tile_count(w->n_out),
			.tile_bytes = c->job_bytes << (w->n_expert > 1 ? 0 : p->shift), /* a job has some experts' */
		};
		k_persistent_tile(&t);
	}
}

static double compare(int n_used, int n_ff, int n_tokens)
{
	struct mixture m;
	struct persistent_copy copies[PHASES];
	unsigned state[2] = {1, 0};
	float want[VOCAB][N_HEAD];
	double worst = 0;
	seed = 7;
	make(&m, n_used, n_ff);
	struct persistent_program g = program(&m);
	for (int i = 0; i < VOCAB; i++) {
		const struct persistent_params params = {.at.host = {.token = i}, .program = &g};
		k_persistent(&params);
		memcpy(want[i], m.left[HEAD], sizeof want[i]);
	}
	for (int i = 0; i < PHASES; i++) /* as they are when a program was built: of token number 0 */
		memset(m.left[i], 0,
		       (size_t)(n_used * tile_chunks(n_ff) * TILE_CHUNK + N_EMBD * PERSISTENT_SPLITS) * sizeof(float));
	g.k_type = g.v_type = TENSOR_F32;
	assert_null(emulated_plan(&g, m.phases, copies, BLOCKS, NULL));
	assert_true(copies[ROUTER].job_bytes > copies[ROUTER].piece_bytes);
	char *tiled = fresh((size_t)g.tiled_bytes);
	for (int i = 0; i < PHASES; i++)
		if (i != ROUTER)
			tile(&m.phases[i].of.product, &copies[i], tiled);
	g.tiled = tiled;
	g.copies = copies;
	g.state = state;
	for (int i = 0; i < n_tokens; i++) {
		const int token = (i * 2 + i / 3) % VOCAB;
		const struct persistent_params params = {.at.host = {.token = token},
							 .program = &g,
							 .n_blocks = g.n_blocks,
							 .shared_bytes = g.shared_bytes,
							 .k_type = TENSOR_F32,
							 .v_type = TENSOR_F32};
		emulated_persistent(&params, (unsigned)(n_used * 100 + i));
		const double off = worst_row(m.left[HEAD], want[token], 1, N_HEAD);
		worst = off > worst || off != off ? off : worst;
	}
	free(tiled);
	drop(&m);
	return worst;
}

static void test_slices(void **state)
{
	(void)state;
	assert_true(compare(5, 544, 2) < 1e-5);  /* slices of three and two experts of three chunks */
	assert_true(compare(3, 1312, 1) < 1e-5); /* of one each, and none */
	assert_true(compare(8, 704, 1) < 1e-5);  /* as 26B-A4B has them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
