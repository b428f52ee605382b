/*
 * Decode attention on a device that wants its keys split otherwise than the host does, as a GPU: the host's kernels
 * behind a device that says so. The logits are the host's but for rounding, every mode has the same bits, and
 * what is launched is what the device asked for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "engine/device/device_ops.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

/* Over the third of the host's buckets. */
enum { TOKENS = 300, CONTEXT = TOKENS + 20 };
/* Splits of 32 keys in units of 16; five of a layer at most, of which one is too many for the fused kernel. */
enum { UNIT = 16, KEYS = 32, MOST = 5, FUSED = 4 };

static struct device_ops gpu_like;
static const struct device_ops *real;
static int launched[KERNEL_COUNT];

static struct device_splits splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim)
{
	(void)d;
	assert_true(n_heads % n_kv_heads == 0 && head_dim > 0);
	return (struct device_splits){.unit = UNIT, .keys = KEYS, .most = MOST, .fused = FUSED};
}

/* Four splits while there are 128 keys at most, then five; of a window as many as it has times 32 keys. */
static void check_split(const struct attention_split_params *p, bool fused)
{
	int n_keys = p->at.host.pos + 1;
	int most = n_keys <= 128 ? 4 : MOST, of_window = (p->window + KEYS - 1) / KEYS;
	int expected = p->window && of_window < most ? of_window : most;
	assert_int_equal(p->split_len, UNIT);
	assert_int_equal(p->n_splits, expected);
	assert_int_equal(fused, expected <= FUSED);
}

static int launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	launched[k]++;
	if (k == KERNEL_attention)
		check_split(&((const struct attention_params *)params)->split, true);
	if (k == KERNEL_attention_split)
		check_split(params, false);
	return real->launch(d, k, params, err);
}

static void decode(struct session *s, float *rows, int *captures)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	OK(session_rewind(s, 0, e));
	for (int i = 0; i < TOKENS; i++) {
		const float *row;
		struct token_timing t;
		OK(session_decode(s, (int)((unsigned)i * 2654435761u % (unsigned)vocab), &t, e));
		assert_int_not_equal(t.event, GRAPH_EVENT_FALLBACK);
		*captures += t.event == GRAPH_EVENT_CAPTURE;
		OK(session_logits(s, &row, e));
		memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
	}
}

/* Splits of other lengths round otherwise, and nothing else. */
static void expect_close(const float *a, const float *b, size_t vocab)
{
	for (int i = 0; i < TOKENS; i++) {
		double difference = 0, size = 0;
		for (size_t k = (size_t)i * vocab; k < (size_t)(i + 1) * vocab; k++) {
			difference += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
			size += (double)b[k] * (double)b[k];
		}
		if (!(sqrt(difference) <= 2e-5 * sqrt(size)))
			fail_msg("token %d is %g off", i, sqrt(difference / size));
	}
}

static void check(const char *name)
{
	struct golden g;
	struct device *host;
	struct loaded_model *m;
	struct session *s;
	struct load_options o;
	golden_load(&g, name);
	size_t n = TOKENS * (size_t)g.n_vocab;
	float *rows[2] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))}, *other = malloc(n * sizeof(float));
	load_options_default(&o);
	o.n_gpu_layers = 0;
	o.batch = 16;
	OK(device_host_open(&host, 2, e));
	real = host->ops;
	gpu_like = *real;
	gpu_like.splits = splits;
	gpu_like.launch = launch;
	for (int as_gpu = 0; as_gpu < 2; as_gpu++) {
		int captures = 0;
		host->ops = as_gpu ? &gpu_like : real;
		OK(loaded_model_open_on(&m, g.path, &o, NULL, host, e));
		OK(session_open_on(&s, m, CONTEXT, e));
		memset(launched, 0, sizeof launched);
		decode(s, rows[as_gpu], &captures);
		/* Unfused all are split; fused, those of global layers with more than 128 keys. */
		if (as_gpu)
			assert_true(launched[KERNEL_attention] > 0 && launched[KERNEL_attention_split] > 0);
		assert_int_equal(launched[KERNEL_attention_split], launched[KERNEL_attention_combine]);
		session_set_mode(s, GRAPH_MODE_DEVICE);
		decode(s, other, &captures);
		assert_memory_equal(other, rows[as_gpu], n * sizeof *other);
		/* The host's third bucket has more splits; here five were enough already. */
		assert_int_equal(captures, as_gpu ? 2 : 3);
		session_close(s);
		loaded_model_close(m);
	}
	expect_close(rows[1], rows[0], (size_t)g.n_vocab);
	host->ops = real;
	device_close(host);
	for (int i = 0; i < 2; i++)
		free(rows[i]);
	free(other);
	golden_free(&g);
}

static void test_splits(void **state)
{
	(void)state;
	check("gemma4-e4b-tiny.q8_0");
	check("qwen3-tiny.q8_0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
