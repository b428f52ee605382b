#include "tests/support/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

int golden_index[GOLDEN_MODELS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

const char *const golden_names[GOLDEN_MODELS] = {
	"gemma4-e4b-tiny.f32",      "gemma4-e4b-tiny.bf16", "gemma4-e4b-tiny.f16",
	"gemma4-e4b-tiny.q8_0",     "gemma4-e2b-tiny.q8_0", "gemma4-31b-tiny.q8_0",
	"gemma4-26b-a4b-tiny.q8_0", "qwen3-tiny.q8_0",      "gemma3-tiny.q8_0",
};

const char *const golden_variants[GOLDEN_VARIANTS] = {"qwen3-yarn", "gemma4-no-expert-scale"};

static float *read_floats(const char *name, const char *what, size_t n)
{
	char path[512];
	snprintf(path, sizeof path, "golden/%s.%s.f32", name, what);
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("%s is missing", path);
	float *values = malloc(n * sizeof *values);
	assert_non_null(values);
	assert_int_equal(fread(values, sizeof *values, n, f), n);
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	return values;
}

static int append(const json_t *array, int *tokens, int n)
{
	size_t i;
	json_t *item;
	json_array_foreach(array, i, item)
	{
		assert_true(n < GOLDEN_TOKENS_MAX);
		tokens[n++] = (int)json_integer_value(item);
	}
	return n;
}

void golden_load(struct golden *g, const char *name)
{
	*g = (struct golden){0};
	char base[64];
	snprintf(base, sizeof base, "%s", name);
	char *dot = strchr(base, '.');
	assert_non_null(dot);
	*dot = 0;
	const char *type = dot + 1;

	snprintf(g->path, sizeof g->path, "golden/%s.gguf", name);
	if (access(g->path, R_OK))
		snprintf(g->path, sizeof g->path, "%s/%s.gguf", GEMMARK_GOLDEN_DERIVED, name);

	char path[512];
	snprintf(path, sizeof path, "golden/%s.json", base);
	json_error_t why;
	json_t *root = json_load_file(path, 0, &why);
	if (!root)
		fail_msg("%s: %s", path, why.text);
	json_t *entry = json_object_get(json_object_get(root, "types"), type);
	assert_non_null(entry);
	g->n_prompt = append(json_object_get(root, "prompt"), g->tokens, 0);
	g->n_tokens = append(json_object_get(entry, "greedy"), g->tokens, g->n_prompt);
	g->n_vocab = (int)json_integer_value(json_object_get(root, "n_vocab"));
	g->n_layer = (int)json_integer_value(json_object_get(root, "n_layer"));
	g->n_embd = (int)json_integer_value(json_object_get(root, "n_embd"));
	json_decref(root);
	g->logits = read_floats(name, "logits", (size_t)g->n_tokens * (size_t)g->n_vocab);
	g->hidden = read_floats(name, "hidden", ((size_t)g->n_layer + 1) * (size_t)g->n_embd);
}

void golden_variant_load(struct golden *g, const char *name)
{
	*g = (struct golden){.n_vocab = 64, .n_prompt = 20};
	char base[96];
	snprintf(base, sizeof base, "variants/%s", name);
	snprintf(g->path, sizeof g->path, "golden/%s.gguf", base);
	FILE *f = fopen("golden/variants/tokens.txt", "r");
	assert_non_null(f);
	while (g->n_tokens < GOLDEN_TOKENS_MAX && fscanf(f, "%d", &g->tokens[g->n_tokens]) == 1)
		g->n_tokens++;
	fclose(f);
	assert_int_equal(g->n_tokens, 40);
	g->logits = read_floats(base, "logits", (size_t)g->n_tokens * (size_t)g->n_vocab);
}

void golden_free(struct golden *g)
{
	free(g->logits);
	free(g->hidden);
}

double relative_l2(const float *a, const float *b, size_t n)
{
	double num = 0, den = 0;
	for (size_t i = 0; i < n; i++) {
		double d = (double)a[i] - (double)b[i];
		num += d * d;
		den += (double)b[i] * (double)b[i];
	}
	return sqrt(num / den);
}

double worst_row(const float *a, const float *b, int n_rows, size_t n)
{
	double worst = 0;
	for (int i = 0; i < n_rows; i++) {
		double row = relative_l2(a + (size_t)i * n, b + (size_t)i * n, n);
		worst = row > worst || isnan(row) ? row : worst;
	}
	return worst;
}

int argmax(const float *row, int n)
{
	int best = 0;
	for (int i = 1; i < n; i++)
		if (row[i] > row[best])
			best = i;
	return best;
}
