/*
 * Sessions that share a loaded model: each computes what one of its own would, with a cache of its own
 * size; and the sweep's workloads load a model once for all their contexts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "harness/cli/engine_source.h"
#include "tests/support/folder.h"
#include "tests/support/golden.h"

enum { PROMPT = 12, N_DECODE = 20 };

static struct session_options on_the_host(int context)
{
	struct session_options o;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 1;
	o.context = context;
	o.mode = GRAPH_MODE_DEVICE;
	return o;
}

/* Prefill at position 0, then tokens one by one; rows: (N_DECODE, n_vocab). */
static void run(struct session *s, const struct golden *g, float *rows)
{
	struct error err = {""};
	size_t vocab = (size_t)g->n_vocab;
	int rc = session_prefill(s, g->tokens, PROMPT, NULL, &err);
	for (int i = 0; i < N_DECODE && !rc; i++) {
		const float *row;
		rc = session_decode(s, g->tokens[PROMPT + i], NULL, &err);
		if (!rc && !(rc = session_logits(s, &row, &err)))
			memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
	}
	if (rc)
		fail_msg("%s", err.text);
}

static void test_sessions_share(void **state)
{
	(void)state;
	static const int contexts[] = {PROMPT + N_DECODE, 200, 48};
	struct error err = {""};
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t bytes = (size_t)N_DECODE * (size_t)g.n_vocab * sizeof(float);
	float *want = malloc(bytes), *got = malloc(bytes);
	assert_non_null(want);
	assert_non_null(got);

	struct session_options o = on_the_host(0);
	struct loaded_model *m;
	if (loaded_model_open(&m, g.path, &o.load, &err))
		fail_msg("%s", err.text);
	size_t loaded = device_memory(m->parts[0].device).used;
	for (int i = 0; i < 3; i++) {
		struct session *alone, *shared = NULL;
		o = on_the_host(contexts[i]);
		if (session_open(&alone, g.path, &o, &err) || session_open_on(&shared, m, contexts[i], &err))
			fail_msg("%s", err.text);
		session_set_mode(shared, o.mode);
		run(alone, &g, want);
		run(shared, &g, got);
		assert_memory_equal(got, want, bytes);
		struct session_stats a = session_stats(alone), b = session_stats(shared);
		assert_true(b.kv_bytes == a.kv_bytes && b.weight_bytes == a.weight_bytes);
		/* The second context is the largest: the third's peak must not be the second's. Batches are as long
		 * as the context where that is shorter. */
		assert_true(b.memory.peak == a.memory.peak && b.memory.used == a.memory.used);
		assert_true(b.graph.captures == a.graph.captures);
		session_close(alone);
		session_close(shared);
		assert_true(device_memory(m->parts[0].device).used == loaded);
	}

	/* Two at once, turn by turn. */
	struct session *s[2];
	float *rows[2] = {got, want};
	for (int i = 0; i < 2; i++) {
		if (session_open_on(&s[i], m, contexts[i], &err))
			fail_msg("%s", err.text);
		session_set_mode(s[i], GRAPH_MODE_DEVICE);
	}
	for (int i = 0; i < 2; i++)
		run(s[i], &g, rows[i]);
	assert_memory_equal(got, want, bytes);
	for (int i = 0; i < 2; i++)
		session_close(s[i]);
	loaded_model_close(m);
	free(want);
	free(got);
	golden_free(&g);
}

static void copy_file(const char *from, const char *to)
{
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	assert_non_null(in);
	assert_non_null(out);
	char buffer[1 << 16];
	size_t n;
	while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
		assert_int_equal(fwrite(buffer, 1, n, out), n);
	fclose(in);
	assert_int_equal(fclose(out), 0);
}

static int open_workload(struct workload_source *source, const char *path, const char *type, int context,
			 struct workload_facts *facts, struct workload_totals *totals)
{
	struct error err = {""};
	struct workload *w;
	struct cell cell = {.model = path, .type_k = type, .type_v = "f16", .n_threads = 1};
	struct placement p = {.cell = &cell, .context = context};
	int rc = source->open(source, &p, &w, &err);
	if (rc)
		return rc;
	w->ops->facts(w, facts);
	w->ops->totals(w, totals);
	w->ops->close(w);
	return 0;
}

/* The file goes away after the first opening: what opens without it was loaded already. */
static void test_workloads_share(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16];
	assert_int_equal(folder_make(folder, "loaded-model"), 0);
	snprintf(path, sizeof path, "%s/model.gguf", folder);
	copy_file(g.path, path);

	struct engine_settings settings;
	engine_settings_default(&settings);
	struct workload_source *source, *fresh;
	struct error err;
	assert_int_equal(engine_source_open(&source, &settings, &err), 0);
	struct workload_facts facts, alone;
	struct workload_totals totals, alone_totals;
	static const int contexts[] = {40, 300, 64};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(open_workload(source, path, "f16", contexts[i], &facts, &totals), 0);
		if (i == 0)
			assert_int_equal(remove(path), 0);
		assert_int_equal(engine_source_open(&fresh, &settings, &err), 0);
		assert_int_equal(open_workload(fresh, g.path, "f16", contexts[i], &alone, &alone_totals), 0);
		engine_source_close(fresh);
		assert_true(facts.kv_bytes == alone.kv_bytes);
		assert_true(totals.memory_peak_bytes == alone_totals.memory_peak_bytes);
	}
	/* Another cache type is another device on a GPU, so it loads anew; and so does what comes after a failure. */
	assert_int_equal(open_workload(source, path, "f32", 40, &facts, &totals), ERROR_IO);
	assert_int_equal(open_workload(source, path, "f16", 40, &facts, &totals), ERROR_IO);
	engine_source_close(source);
	folder_remove(folder);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions_share),
		cmocka_unit_test(test_workloads_share),
	};
	return cmocka_run_group_tests_name("loaded models", tests, NULL, NULL);
}
