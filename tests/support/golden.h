/* The golden models: which there are, where, and what they must give. See tests/golden/README.md. */
#ifndef GEMMARK_TESTS_SUPPORT_GOLDEN_H
#define GEMMARK_TESTS_SUPPORT_GOLDEN_H

#include <stddef.h>

enum { GOLDEN_MODELS = 9, GOLDEN_TOKENS_MAX = 256 };

struct golden {
	char path[512]; /* of the GGUF file */
	int tokens[GOLDEN_TOKENS_MAX];
	int n_prompt;
	int n_tokens; /* prompt and greedy continuation */
	int n_vocab;
	int n_layer;
	int n_embd;
	float *logits; /* (n_tokens, n_vocab) */
	float *hidden; /* (n_layer + 1, n_embd) at the last prompt token */
};

/* "gemma4-e4b-tiny.q8_0", ... */
extern const char *const golden_names[GOLDEN_MODELS];

/* Fails the running test where anything is missing. */
void golden_load(struct golden *g, const char *name);
void golden_free(struct golden *g);

/* Models of tests/golden/variants, each one thing away from a golden one; without hidden states. */
enum { GOLDEN_VARIANTS = 2 };
extern const char *const golden_variants[GOLDEN_VARIANTS];
void golden_variant_load(struct golden *g, const char *name);

/* A cmocka test of one golden model, *(int *)*state in golden_names. */
extern int golden_index[GOLDEN_MODELS];
#define GOLDEN_TEST(function, i)                                                                    \
	{                                                                                           \
		.name = #function "_" #i, .test_func = function, .initial_state = &golden_index[i], \
	}

/* |a - b| / |b| over n values, in double. */
double relative_l2(const float *a, const float *b, size_t n);
/* The largest of the rows, (n_rows, n) each; NaN where one is. */
double worst_row(const float *a, const float *b, int n_rows, size_t n);
int argmax(const float *row, int n);

#endif
