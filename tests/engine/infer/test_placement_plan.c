/*
 * What placement_plan.h counts against what the devices were really asked for: a session that has
 * prefilled, saved a checkpoint and decoded holds exactly those bytes. Two host devices stand for a
 * GPU and a host (tests/support/guarded.h); the GPU's turn is in test_hybrid_cuda.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/placement_plan.h"
#include "engine/infer/session.h"
#include "engine/model/synth.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"

static const struct variant {
	int context, batch;
	enum tensor_type k_type, v_type;
	bool head_on_host, ple_on_host;
} variants[] = {
	{40, 21, TENSOR_F16, TENSOR_F16, false, false}, /* below and beyond the window, 16 */
	{300, 5, TENSOR_F32, TENSOR_BF16, true, false},
	{13, 512, TENSOR_BF16, TENSOR_F32, false, true}, /* the batch is cut to the context */
	{700, 1, TENSOR_F32, TENSOR_F32, true, true},
};
enum { VARIANTS = sizeof variants / sizeof *variants, PROMPT = 6 };

static struct load_options options(int n, const struct variant *v)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = n;
	o.n_threads = 1;
	o.batch = v->batch;
	o.k_type = v->k_type;
	o.v_type = v->v_type;
	o.head_on_host = v->head_on_host;
	o.ple_on_host = v->ple_on_host;
	static const int weights[] = {PREFILL_WEIGHTS_CONVERT, PREFILL_WEIGHTS_RESIDENT, 2};
	o.prefill_weights = weights[(n + 1 + v->batch) % 3];
	return o;
}

/* Host memory asked for through the far device, which its own books leave out. */
static size_t pinned;
static const struct device_ops *far_ops;

static int count_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err)
{
	int rc = far_ops->alloc_mapped(d, bytes, out, host, err);
	pinned += rc ? 0 : bytes;
	return rc;
}

/* ---- what fusion persistent adds ---- */

/* As many tiles as any that is not smaller. */
static const struct cuda_card card = {
	.n_sm = 8, .compute_capability = 90, .shared_per_sm = 228 << 10, .shared_per_block = 227 << 10};
static struct persistent_chunks chunks;

/* As a GPU's device does it. */
static int plan_persistent(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			   struct persistent_copy *copies, struct error *err)
{
	(void)d;
	cuda_persistent_compiled(g, &chunks);
	const char *why = cuda_persistent_plan(g, phases, copies, &card);
	return why ? error_set(err, ERROR_UNSUPPORTED, "%s", why) : 0;
}

static void run_persistent(struct session *s, const struct placement_plan *p)
{
	struct error err = {""};
	session_set_fusion(s, FUSION_PERSISTENT);
	int rc = session_prepare(s, &err);
	if (rc != (*p->no_persistent.text ? ERROR_UNSUPPORTED : 0))
		fail_msg("%d: %s, where \"%s\" is planned", rc, err.text, p->no_persistent.text);
	if (!rc)
		OK(session_decode(s, 2, NULL, e));
}

static void run(struct session *s)
{
	int tokens[PROMPT] = {3, 1, 4, 1, 5, 9};
	OK(session_prefill(s, tokens, PROMPT, NULL, e));
	OK(session_checkpoint(s, e));
	/* Graphs are not planned: a few KB in those that patch themselves, 1.3 MB pinned once a mode loops. */
	for (int mode = 0; mode < GRAPH_MODE_PATCH; mode++) {
		session_set_mode(s, (enum graph_mode)mode);
		OK(session_decode(s, 2, NULL, e));
	}
	OK(session_rewind(s, PROMPT, e));
}

static void expect(size_t got, size_t planned, const char *side, const char *what)
{
	if (got != planned)
		fail_msg("%s: %zu bytes planned of the %s, %zu allocated", what, planned, side, got);
}

static void one(const char *path, int n, const struct variant *v)
{
	struct load_options o = options(n, v);
	struct device *far = NULL, *near = NULL;
	struct loaded_model *m;
	struct session *s;
	struct placement_plan p;
	struct device_ops ops;
	char what[700];
	snprintf(what, sizeof what, "%s, %d layers, context %d, batch %d", path, n, v->context, v->batch);
	pinned = 0;
	if (n) {
		OK(guarded_open(&far, true, 1, e));
		far_ops = far->ops;
		ops = *far_ops;
		ops.alloc_mapped = count_mapped;
		ops.plan_persistent = plan_persistent;
		far->ops = &ops;
	}
	OK(guarded_open(&near, false, 1, e));
	o.card = card;
	o.persistent = (n + v->context) % 2 ? PERSISTENT_SESSIONS_ALL : PERSISTENT_SESSIONS_NONE;
	OK(loaded_model_open_on(&m, path, &o, far, near, e));
	struct cuda_open_options cuda;
	OK(loaded_model_cuda_options(&m->model, n, &o, &cuda, e));
	chunks = cuda_persistent_chunks(&cuda.dims, NULL);
	OK(placement_plan(&p, &m->model, &o, n, v->context, e));
	OK(session_open_on(&s, m, v->context, e));
	run(s);
	if (o.persistent)
		run_persistent(s, &p);
	/* The books of a device that runs no CUDA lack what is only for cuBLASLt. */
	size_t gpu = p.sum.gpu.bytes - p.items[PLACEMENT_PROMPTS].gpu.bytes;
	expect(far ? device_memory(far).used : 0, gpu, "GPU", what);
	expect(device_memory(near).used, p.sum.host.bytes, "host", what);
	expect(pinned, p.sum.pinned, "pinned host memory", what);
	session_close(s);
	loaded_model_close(m);
	if (far) {
		far->ops = far_ops;
		device_close(far);
	}
	device_close(near);
}

static void every_split(const char *path)
{
	struct model m;
	OK(model_open(&m, path, e));
	int all = m.n_layer;
	model_close(&m);
	for (int n = 0; n <= all; n++)
		for (int i = 0; i < 2; i++)
			one(path, n, &variants[(n + 2 * i + n / VARIANTS) % VARIANTS]);
	for (int v = 0; v < VARIANTS; v++)
		one(path, all, &variants[v]);
}

static void test_golden(void **state)
{
	struct golden g;
	golden_load(&g, golden_names[*(const int *)*state]);
	every_split(g.path);
	golden_free(&g);
}

/* A published file's types: PLE projections in float32 that bfloat16 can hold. */
static void test_narrowed(void **state)
{
	(void)state;
	char dir[] = "/tmp/test_plan_XXXXXX", path[64];
	struct synth_options o;
	struct synth_plan plan;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/m.gguf", dir);
	synth_options_default(&o, "gemma4-e4b-tiny");
	o.type = TENSOR_Q8_0;
	o.ple_type = TENSOR_F32;
	OK(synth_plan_init(&plan, &o, e));
	OK(synth_write(&plan, path, false, 1, NULL, NULL, e));
	synth_plan_free(&plan);
	every_split(path);
	unlink(path);
	rmdir(dir);
}

/* Exactly what N layers need gives N, a byte less fewer; and what is needed never shrinks with N. */
static void test_most(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		struct model m;
		struct placement_plan p;
		golden_load(&g, golden_names[i]);
		OK(model_open(&m, g.path, e));
		for (int v = 0; v < VARIANTS; v++) {
			struct load_options o = options(-1, &variants[v]);
			size_t before = 0;
			for (int n = 1; n <= m.n_layer; n++) {
				OK(placement_plan(&p, &m, &o, n, 100, e));
				size_t need = placement_plan_gpu_need(&p);
				assert_true(need >= before + (n == 1 ? PLACEMENT_RESERVE_BYTES : 0));
				OK(placement_plan_most(&p, &m, &o, 100, need, e));
				assert_true(p.n_gpu_layers >= n);
				assert_true(placement_plan_gpu_need(&p) <= need);
				OK(placement_plan_most(&p, &m, &o, 100, need - 1, e));
				assert_true(p.n_gpu_layers < n || need == before);
				assert_true(placement_plan_gpu_need(&p) < need);
				before = need;
			}
			OK(placement_plan_most(&p, &m, &o, 100, SIZE_MAX, e));
			assert_int_equal(p.n_gpu_layers, m.n_layer);
			OK(placement_plan_most(&p, &m, &o, 100, 0, e));
			assert_int_equal(p.n_gpu_layers, 0);
			assert_int_equal(p.sum.gpu.bytes, 0);
		}
		model_close(&m);
		golden_free(&g);
	}
}

/* A larger context leaves room for fewer layers; one that the host cannot hold is named. */
static void test_context(void **state)
{
	(void)state;
	struct golden g;
	struct model m;
	struct placement_plan p, q;
	struct error err = {""};
	const struct variant v = {0, 16, TENSOR_F16, TENSOR_F16, false, false};
	struct load_options o = options(-1, &v);
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	OK(model_open(&m, g.path, e));
	OK(placement_plan(&p, &m, &o, m.n_layer, 1000, e));
	OK(placement_plan_most(&q, &m, &o, 100000000, placement_plan_gpu_need(&p), e));
	assert_true(q.n_gpu_layers < m.n_layer);
	/* The host's part of a plan: nothing of it is too much for its own size. */
	OK(placement_plan(&p, &m, &o, 2, 1000, e));
	size_t need = p.sum.host.bytes + p.sum.pinned;
	OK(placement_plan_check_host(&p, need, e));
	assert_int_equal(placement_plan_check_host(&p, need - 1, &err), ERROR_MEMORY);
	assert_non_null(strstr(err.text, "1000 positions"));
	model_close(&m);
	golden_free(&g);
}

/* Long chunks where the whole model fits the GPU with them, to the byte; else those of the host. */
static void test_batch(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		struct model m;
		struct placement_plan p;
		struct load_options o;
		golden_load(&g, golden_names[i]);
		OK(model_open(&m, g.path, e));
		load_options_default(&o);
		o.batch = 2048;
		OK(placement_plan(&p, &m, &o, m.n_layer, m.n_context, e));
		size_t need = placement_plan_gpu_need(&p);
		assert_int_equal(placement_plan_batch(&m, &o, 0, 0), 2048);
		o.batch = 0;
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, need), 2048);
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, need - 1), 512);
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, 0), 512);
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer - 1, SIZE_MAX), 512);
		assert_int_equal(placement_plan_batch(&m, &o, 0, SIZE_MAX), 512);
		OK(placement_plan_most(&p, &m, &o, m.n_context, need, e));
		assert_int_equal(p.n_gpu_layers, m.n_layer);
		assert_int_equal(p.batch, m.n_context < 2048 ? m.n_context : 2048);
		/* Layers count for more than long chunks. */
		OK(placement_plan_most(&p, &m, &o, m.n_context, need - 1, e));
		assert_int_equal(p.n_gpu_layers, m.n_layer);
		assert_int_equal(p.batch, m.n_context < 512 ? m.n_context : 512);
		/* What is promised beyond PLACEMENT_CONTEXT takes no room from chunks, unless it is asked for. */
		int promised = m.n_context;
		m.n_context = 4 * PLACEMENT_CONTEXT;
		o.batch = 2048;
		OK(placement_plan(&p, &m, &o, m.n_layer, PLACEMENT_CONTEXT, e));
		o.batch = 0;
		need = placement_plan_gpu_need(&p);
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, need), 2048);
		o.context = PLACEMENT_CONTEXT + 1000;
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, need), 512);
		o.context = 0;
		m.n_context = promised;
		o.head_on_host = true;
		assert_int_equal(placement_plan_batch(&m, &o, m.n_layer, SIZE_MAX), 512);
		model_close(&m);
		golden_free(&g);
	}
}

/* Of a layer's dense matrices in Q8_0. */
static size_t quantised_elements(const struct model_layer *l)
{
	const struct gguf_tensor *of[] = {l->attn_q, l->attn_k,   l->attn_v,   l->attn_output, l->ffn_gate,
					  l->ffn_up, l->ffn_down, l->inp_gate, l->proj};
	size_t n = 0;
	for (size_t t = 0; t < sizeof of / sizeof *of; t++)
		if (of[t] && of[t]->type == TENSOR_Q8_0)
			n += (size_t)(of[t]->ne[0] * of[t]->ne[1]);
	return n;
}

/* Weights for prompts, where nobody asked for them, only where memory is ample; asked for, they are planned. */
static void test_prefill_weights(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		struct model m;
		struct placement_plan p, q;
		struct load_options o;
		golden_load(&g, golden_names[i]);
		OK(model_open(&m, g.path, e));
		load_options_default(&o);
		o.batch = 100;
		OK(placement_plan(&q, &m, &o, m.n_layer, m.n_context, e));
		assert_int_equal(q.items[PLACEMENT_PROMPT_WEIGHTS].gpu.bytes, 0);
		o.prefill_weights = PREFILL_WEIGHTS_RESIDENT;
		OK(placement_plan(&p, &m, &o, m.n_layer, m.n_context, e));
		assert_int_equal(p.sum.gpu.bytes - q.sum.gpu.bytes, p.items[PLACEMENT_PROMPT_WEIGHTS].gpu.bytes);
		/* Layers that run for a prompt's last row alone need none: two bytes an element of the others. */
		size_t n = 0;
		for (int k = 0; k < model_first_reader(&m); k++)
			n += quantised_elements(&m.layers[k]);
		if (strstr(g.path, "q8_0"))
			assert_true(p.items[PLACEMENT_PROMPT_WEIGHTS].gpu.bytes == 2 * n ||
				    (m.n_ple && p.items[PLACEMENT_PROMPT_WEIGHTS].gpu.bytes > 2 * n));
		assert_int_equal(placement_plan_weights(&m, &o, m.n_layer, 0), PREFILL_WEIGHTS_RESIDENT);
		o.prefill_weights = PREFILL_WEIGHTS_AUTO;
		size_t need = placement_plan_gpu_need(&p) + PLACEMENT_AMPLE_BYTES;
		assert_int_equal(placement_plan_weights(&m, &o, m.n_layer, need), PREFILL_WEIGHTS_RESIDENT);
		assert_int_equal(placement_plan_weights(&m, &o, m.n_layer, need - 1), model_first_reader(&m) - 1);
		assert_int_equal(placement_plan_weights(&m, &o, 0, SIZE_MAX), PREFILL_WEIGHTS_CONVERT);
		o.context = m.n_context + 100000;
		assert_int_equal(placement_plan_weights(&m, &o, m.n_layer, need), PREFILL_WEIGHTS_CONVERT);
		o.prefill = PREFILL_F32;
		assert_int_equal(placement_plan_weights(&m, &o, m.n_layer, SIZE_MAX), PREFILL_WEIGHTS_CONVERT);
		model_close(&m);
		golden_free(&g);
	}
}

/*
 * Of some layers: what a number of them takes is two bytes for each of their elements, and auto takes just as many as
 * memory is ample for, from none to all, whatever of the model is on the GPU.
 */
static void some_prefill_weights(const struct golden *g, int n_gpu_layers)
{
	struct model m;
	struct placement_plan p;
	struct load_options o, some;
	OK(model_open(&m, g->path, e));
	load_options_default(&o);
	some = o;
	o.batch = some.batch = 100;
	int most = model_first_reader(&m) < n_gpu_layers ? model_first_reader(&m) : n_gpu_layers;
	size_t before = 0, bytes = 0;
	for (int k = 0; k <= most; k++) {
		int want = k == most ? PREFILL_WEIGHTS_RESIDENT : k;
		some.prefill_weights = k;
		OK(placement_plan(&p, &m, &some, n_gpu_layers, m.n_context, e));
		assert_int_equal(p.prefill_weights, want);
		assert_int_equal(p.n_prompt_layers, k);
		assert_int_equal(placement_plan_weights(&m, &some, n_gpu_layers, 0), want);
		if (k)
			bytes += 2 * quantised_elements(&m.layers[k - 1]);
		if (strstr(g->path, "q8_0") && !m.n_ple)
			assert_int_equal(p.items[PLACEMENT_PROMPT_WEIGHTS].gpu.bytes, bytes);
		assert_int_equal(p.items[PLACEMENT_PROMPT_WEIGHTS].host.bytes, 0);
		size_t need = placement_plan_gpu_need(&p) + PLACEMENT_AMPLE_BYTES;
		assert_true(need > before);
		assert_int_equal(placement_plan_weights(&m, &o, n_gpu_layers, need), want);
		assert_int_equal(placement_plan_weights(&m, &o, n_gpu_layers, need - 1), k ? k - 1 : 0);
		OK(placement_plan_suited(&p, &m, &o, n_gpu_layers, 100, need, e));
		assert_int_equal(p.prefill_weights, want);
		before = need;
	}
	some.prefill_weights = most + 1;
	assert_int_equal(placement_plan_weights(&m, &some, n_gpu_layers, 0), PREFILL_WEIGHTS_RESIDENT);
	assert_int_equal(placement_plan_weights(&m, &o, n_gpu_layers, SIZE_MAX), PREFILL_WEIGHTS_RESIDENT);
	model_close(&m);
}

static void test_some_prefill_weights(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		for (int n = g.n_layer % 3 + 1; n <= g.n_layer; n += (g.n_layer - 1) / 3)
			some_prefill_weights(&g, n);
		golden_free(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GOLDEN_TEST(test_golden, 0),
		GOLDEN_TEST(test_golden, 3),
		GOLDEN_TEST(test_golden, 4),
		GOLDEN_TEST(test_golden, 5),
		GOLDEN_TEST(test_golden, 6),
		GOLDEN_TEST(test_golden, 7),
		GOLDEN_TEST(test_golden, 8),
		cmocka_unit_test(test_narrowed),
		cmocka_unit_test(test_most),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_prefill_weights),
		cmocka_unit_test(test_some_prefill_weights),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
