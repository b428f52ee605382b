/*
 * The FLOPs of a prefill against those of the products and attentions that a prefill really launches, counted at the
 * device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "engine/device/device_ops.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "engine/model/model_flops.h"

static double counted;
static struct device_ops counting;
static const struct device_ops *real;

/* Key by key: the test's own idea of who attends whom. */
static double attention(const struct attention_prefill_params *p)
{
	double pairs = 0;
	for (int t = 0; t < p->n_tokens; t++)
		for (int key = 0; key <= p->at.host.pos + t; key++)
			pairs += !p->window || key > p->at.host.pos + t - p->window;
	return 4 * pairs * p->n_heads * p->kv.head_dim;
}

static int launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	const struct matmul_params *m = params;
	const struct matmul_experts_params *x = params;
	if (k == KERNEL_matmul)
		counted += 2.0 * m->w.n_in * m->w.n_out * m->n_tokens;
	else if (k == KERNEL_matmul_experts)
		counted += 2.0 * x->w.n_in * x->w.n_out * x->n_tokens * x->n_used;
	else if (k == KERNEL_attention_prefill)
		counted += attention(params);
	return real->launch(d, k, params, err);
}

static void check(const char *model, int batch, enum prefill_rows rows, const int *prompts, int n_prompts)
{
	struct device *host;
	struct loaded_model *m;
	struct session *s = NULL;
	struct load_options o;
	struct error err = {""};
	int tokens[400];
	for (int i = 0; i < 400; i++)
		tokens[i] = 3 + i % 90;
	load_options_default(&o);
	o.n_gpu_layers = 0;
	o.batch = batch;
	assert_int_equal(device_host_open(&host, 2, &err), 0);
	real = host->ops;
	counting = *real;
	counting.launch = launch;
	host->ops = &counting;
	if (loaded_model_open_on(&m, model, &o, NULL, host, &err) || session_open_on(&s, m, 500, &err))
		fail_msg("%s", err.text);
	assert_int_equal(session_set_prefill_rows(s, rows, &err), 0);
	for (int i = 0, pos = 0; i < n_prompts; pos += prompts[i++]) {
		counted = 0;
		if (session_prefill(s, tokens, prompts[i], NULL, &err))
			fail_msg("%s", err.text);
		double expected = model_prefill_flops(&m->model, pos, prompts[i], batch, rows == PREFILL_ROWS_ALL);
		if (counted != expected)
			fail_msg("%s: %d tokens from %d on, chunks of %d: %.0f are launched, %.0f foretold", model,
				 prompts[i], pos, batch, counted, expected);
	}
	session_close(s);
	loaded_model_close(m);
	host->ops = real;
	device_close(host);
}

static void test_launched(void **state)
{
	(void)state;
	static const char *const models[] = {
		"golden/gemma4-e2b-tiny.q8_0.gguf",     "golden/gemma4-e4b-tiny.f32.gguf",
		"golden/gemma4-26b-a4b-tiny.q8_0.gguf", "golden/gemma4-31b-tiny.q8_0.gguf",
		"golden/qwen3-tiny.q8_0.gguf",          "golden/gemma3-tiny.q8_0.gguf",
	};
	/* Across windows, and with one row alone in a chunk. */
	static const int prompts[] = {1, 2, 37, 129, 64};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		for (int rows = PREFILL_ROWS_LAST; rows <= PREFILL_ROWS_ALL; rows++) {
			check(models[i], 64, (enum prefill_rows)rows, prompts, 5);
			check(models[i], 512, (enum prefill_rows)rows, prompts, 5);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_launched)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
