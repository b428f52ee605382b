#include "tests/support/far_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

enum { N_TOKENS = 20000, N_ROWS = 20, N_VOCAB = 64, PROMPT = N_TOKENS - N_ROWS };

#define NAME "golden/variants/gemma4-far"

static void read_tokens(int *tokens)
{
	FILE *f = fopen(NAME ".tokens.txt", "r");
	assert_non_null(f);
	for (int i = 0; i < N_TOKENS; i++)
		assert_int_equal(fscanf(f, "%d", &tokens[i]), 1);
	fclose(f);
}

static void read_rows(const char *path, float rows[N_ROWS * N_VOCAB])
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fread(rows, sizeof *rows, N_ROWS * N_VOCAB, f), N_ROWS * N_VOCAB);
	fclose(f);
}

void far_case(int n_gpu_layers, double tolerance)
{
	static float float32[N_ROWS * N_VOCAB], float64[N_ROWS * N_VOCAB], got[N_ROWS * N_VOCAB];
	static int tokens[N_TOKENS];
	struct session_options o;
	struct session *s;
	read_tokens(tokens);
	read_rows(NAME ".float32-angle.f32", float32);
	read_rows(NAME ".float64-angle.f32", float64);
	session_options_default(&o);
	o.load.n_gpu_layers = n_gpu_layers;
	o.load.n_threads = 2;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	o.load.prefill = PREFILL_F32;
	o.context = N_TOKENS;
	OK(session_open(&s, NAME ".gguf", &o, e));
	OK(session_prefill(s, tokens, PROMPT, NULL, e));
	OK(session_checkpoint(s, e));
	for (int way = 0; way < FUSION_COUNT * GRAPH_MODE_COUNT; way++) {
		enum fusion fusion = (enum fusion)(way % FUSION_COUNT);
		enum graph_mode mode = (enum graph_mode)(way / FUSION_COUNT);
		OK(session_rewind(s, PROMPT, e));
		session_set_mode(s, mode);
		if (!fusion_set(s, fusion))
			continue;
		for (int i = 0; i < N_ROWS; i++) {
			const float *row;
			OK(session_decode(s, tokens[PROMPT + i], NULL, e));
			OK(session_logits(s, &row, e));
			memcpy(got + (size_t)i * N_VOCAB, row, N_VOCAB * sizeof *row);
		}
		double near = relative_l2(got, float32, N_ROWS * N_VOCAB);
		double away = relative_l2(got, float64, N_ROWS * N_VOCAB);
		/* The references are 3.7e-4 apart. */
		if (!(near <= tolerance) || !(away > 3e-4 && away < 5e-4))
			fail_msg("%s, fusion %s: %.3g of float32 angles, %.3g of float64 ones", graph_mode_name(mode),
				 fusion_name(fusion), near, away);
	}
	session_close(s);
}
