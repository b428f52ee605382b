#include "tests/support/kv_fault_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "engine/model/gguf.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/temp_file.h"

enum { N_TOKENS = 12, MAX_SAID = 3 };

/* One vector of qwen3-tiny, times a factor; cache types; what is said of the logits. Without any: they are numbers. */
struct kv_fault_case {
	const char *vector;
	float factor;
	enum tensor_type k_type, v_type;
	const char *said[MAX_SAID];
	const char *unsaid;
};

/* A layer's norm widens its V (K is normed again), the norm of K its K. */
static const struct kv_fault_case cases[] = {
	{"blk.2.attn_norm.weight",
	 1e7f,
	 TENSOR_F16,
	 TENSOR_F16,
	 {"layer 2 has a V beyond 65504", "f16", "-ctv bf16 or f32"},
	 "-ctk"},
	{"blk.2.attn_norm.weight",
	 1e7f,
	 TENSOR_F32,
	 TENSOR_F16,
	 {"layer 2 has a V beyond 65504", "f16", "-ctv bf16 or f32"},
	 "-ctk"},
	{"blk.2.attn_norm.weight", 1e7f, TENSOR_F16, TENSOR_BF16, {0}, NULL},
	{"blk.2.attn_norm.weight", 1e7f, TENSOR_F16, TENSOR_F32, {0}, NULL},
	{"blk.0.attn_k_norm.weight",
	 1e7f,
	 TENSOR_F16,
	 TENSOR_F16,
	 {"layer 0 has a K beyond 65504", "f16", "-ctk bf16 or f32"},
	 "-ctv"},
	{"blk.0.attn_k_norm.weight", 1e7f, TENSOR_BF16, TENSOR_F16, {0}, NULL},
	{"blk.3.attn_k_norm.weight",
	 1e7f,
	 TENSOR_F16,
	 TENSOR_BF16,
	 {"layer 3 has a K beyond 65504", "f16", "-ctk bf16 or f32"},
	 "-ctv"},
	/* 127 times as far, and said of the type that it is. */
	{"blk.2.attn_norm.weight", 1e4f, TENSOR_Q8_0, TENSOR_Q8_0, {0}, NULL},
	{"blk.2.attn_norm.weight",
	 1e8f,
	 TENSOR_F32,
	 TENSOR_Q8_0,
	 {"layer 2 has a V beyond 8.31901e+06", "q8_0", "-ctv bf16 or f32"},
	 "-ctk"},
	{"blk.3.attn_k_norm.weight",
	 1e8f,
	 TENSOR_Q8_0,
	 TENSOR_F32,
	 {"layer 3 has a K beyond 8.31901e+06", "q8_0", "-ctk bf16 or f32"},
	 "-ctv"},
	/* Not the cache's doing. */
	{"blk.1.attn_norm.weight",
	 NAN,
	 TENSOR_F16,
	 TENSOR_F32,
	 {"holds no numbers is 1 (K, f16)", "-ctk and -ctv bf16 or f32"},
	 "65504"},
	{"blk.1.attn_norm.weight",
	 NAN,
	 TENSOR_Q8_0,
	 TENSOR_Q8_0,
	 {"holds no numbers is 1 (K, q8_0)", "-ctk and -ctv bf16 or f32"},
	 "8.3"},
	{"blk.1.attn_norm.weight", NAN, TENSOR_F32, TENSOR_BF16, {"holds no numbers is 1 (K, f32)"}, "-ct"},
	{"output_norm.weight", NAN, TENSOR_F16, TENSOR_F16, {"nan"}, "layer"},
};

static void write_model(const char *path, const struct kv_fault_case *c)
{
	struct golden g;
	struct gguf file;
	golden_load(&g, "qwen3-tiny.q8_0");
	OK(gguf_open(&file, g.path, e));
	const struct gguf_tensor *t = gguf_find_tensor(&file, c->vector);
	assert_true(t && t->type == TENSOR_F32 && t->n_dims == 1);
	float *values = malloc(t->bytes);
	assert_non_null(values);
	for (int64_t i = 0; i < t->ne[0]; i++)
		values[i] = ((const float *)t->data)[i] * c->factor;
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	size_t before = (size_t)((const unsigned char *)t->data - file.map),
	       behind = file.map_bytes - before - t->bytes;
	assert_int_equal(fwrite(file.map, 1, before, f), before);
	assert_int_equal(fwrite(values, 1, t->bytes, f), t->bytes);
	assert_int_equal(fwrite(file.map + before + t->bytes, 1, behind, f), behind);
	assert_int_equal(fclose(f), 0);
	free(values);
	gguf_close(&file);
	golden_free(&g);
}

static void check_said(const struct kv_fault_case *c, const char *how, int rc, const struct error *err)
{
	int want = c->said[0] ? ERROR_WRONG : 0;
	if (rc != want)
		fail_msg("%s, %s: returned %d (%s), not %d", c->vector, how, rc, err->text, want);
	for (int i = 0; i < MAX_SAID && c->said[i]; i++)
		if (!strstr(err->text, c->said[i]))
			fail_msg("%s, %s: '%s' does not say '%s'", c->vector, how, err->text, c->said[i]);
	if (c->unsaid && strstr(err->text, c->unsaid))
		fail_msg("%s, %s: '%s' says '%s'", c->vector, how, err->text, c->unsaid);
}

static void check_case(const struct kv_fault_case *c, int n_gpu_layers)
{
	static const int tokens[N_TOKENS] = {2, 3, 4, 5, 6, 7, 8, 9, 100, 200, 300, 400};
	struct temp_file file = temp_file_make();
	struct session_options o;
	struct session *s;
	struct error err = {""};
	const float *row;
	write_model(file.path, c);
	session_options_default(&o);
	o.load.n_gpu_layers = n_gpu_layers;
	o.load.n_threads = 1;
	o.load.batch = 8;
	o.load.k_type = c->k_type;
	o.load.v_type = c->v_type;
	o.context = 40;
	OK(session_open(&s, file.path, &o, e));
	size_t vocab = (size_t)session_model(s)->n_vocab;
	float *rows = malloc(N_TOKENS * vocab * sizeof *rows);
	assert_non_null(rows);
	OK(session_prefill(s, tokens, N_TOKENS, rows, e));
	check_said(c, "a prompt's row", session_check_logits(s, rows + 3 * vocab, 3, &err), &err);
	check_said(c, "a prompt's last row", session_logits(s, &row, &err), &err);
	struct sampling_options drawn = {.temperature = 1, .top_p = 0.9};
	int token;
	check_said(c, "a token behind it", session_sample(s, &drawn, &token, &err), &err);
	for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
		OK(session_rewind(s, 0, e));
		session_set_mode(s, (enum graph_mode)mode);
		for (int i = 0; i < 3; i++)
			OK(session_decode(s, tokens[i], NULL, e));
		check_said(c, graph_mode_name((enum graph_mode)mode), session_logits(s, &row, &err), &err);
	}
	OK(session_rewind(s, 0, e));
	int rc = session_queue_begin(s, 2, true, &err);
	assert_true(rc == 0 || rc == ERROR_UNSUPPORTED); /* on two devices */
	if (!rc) {
		OK(session_enqueue(s, tokens[0], NULL, e));
		OK(session_enqueue(s, tokens[1], NULL, e));
		OK(session_queue_end(s, e));
		check_said(c, "a queued token", session_queue_logits(s, 0, &row, &err), &err);
	}
	free(rows);
	session_close(s);
	temp_file_remove(&file);
}

void kv_fault_cases(int n_gpu_layers)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_case(&cases[i], n_gpu_layers);
}
