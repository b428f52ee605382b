/* Synthetic models in quantised types, and their logits. Each call fails the running test where it cannot. */
#ifndef GEMMARK_TESTS_SUPPORT_QUANTISED_CASE_H
#define GEMMARK_TESTS_SUPPORT_QUANTISED_CASE_H

#include "engine/infer/session.h"
#include "engine/model/synth.h"

/* Of the tiny models, every type of TENSOR_QUANT_TYPES and every mixture; and of experts. */
struct quantised_case {
	const char *arch;
	enum tensor_type type;
	enum synth_mix mix;
};
enum { QUANTISED_CASES = 15 };
extern const struct quantised_case quantised_cases[QUANTISED_CASES];

/* "gemma4-e4b-tiny Q4_K_M" */
struct quantised_name {
	char text[64];
};
struct quantised_name quantised_name(const struct quantised_case *c);

void quantised_make(const struct quantised_case *c, const char *path);
/* The same model, its matrices' values in float32; `but`, where it is not null: all but those with that in their names.
 */
void quantised_to_float32(const char *from, const char *path, const char *but);
/* Likewise; all but those of layers from n on. */
void quantised_front_to_float32(const char *from, const char *path, int n);

enum { QUANTISED_PROMPT = 20, QUANTISED_ROWS = 26 }; /* of a prompt's tokens; and of those behind it */

/*
 * (QUANTISED_ROWS, *n_vocab), float32 caches and prompts; the caller frees it. gpu_layers: 0 on the host, -1 all. A
 * graph that falls back fails the test.
 */
float *quantised_logits(const char *path, int gpu_layers, enum fusion fusion, enum graph_mode mode, int *n_vocab);
/* (QUANTISED_PROMPT, *n_vocab), all layers on a GPU and the prompt in float16; the caller frees it. */
float *quantised_prompt_logits(const char *path, int *n_vocab);

#endif
