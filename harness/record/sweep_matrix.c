#include "harness/record/sweep_matrix.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/record/json_word.h"

static int bad(const char *path, const char *key, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s/sweep.json: %s is no list that gemmark writes; restore the file", path,
			 key);
}

static int add_value(struct matrix *m, enum axis_id a, const json_t *value, const char *path, struct error *err)
{
	if (axes[a].kind == AXIS_INT) {
		json_int_t v = json_integer_value(value);
		int is_auto = a == AXIS_GPU_LAYERS && v == AXIS_LAYERS_AUTO;
		if (!json_is_integer(value) || ((v < axes[a].min || v > axes[a].max) && !is_auto))
			return bad(path, axes[a].name, err);
		return axis_ints_append(&m->of[a], axes[a].name, (int)v, err);
	}
	char *word = json_word_bytes(value);
	if (!word)
		return bad(path, axes[a].name, err);
	int rc = axis_words_append(&m->of[a], axes[a].name, word, err);
	free(word);
	return rc;
}

static int add_pair(struct matrix *m, const json_t *pair, const char *path, struct error *err)
{
	const json_t *prompt = json_array_get(pair, 0), *gen = json_array_get(pair, 1);
	char text[64];
	if (json_array_size(pair) != 2 || !json_is_integer(prompt) || !json_is_integer(gen))
		return bad(path, "n_prompt_n_gen", err);
	snprintf(text, sizeof text, "%lld,%lld", (long long)json_integer_value(prompt),
		 (long long)json_integer_value(gen));
	return matrix_add_pair(m, text, err) ? bad(path, "n_prompt_n_gen", err) : 0;
}

int sweep_matrix_read(const json_t *sweep, const char *path, struct matrix *m, struct error *err)
{
	size_t i;
	json_t *value;
	for (int a = 0; a < AXIS_COUNT; a++) {
		const json_t *list = json_object_get(sweep, axes[a].name);
		if (!list)
			continue;
		if (!json_is_array(list))
			return bad(path, axes[a].name, err);
		json_array_foreach(list, i, value)
		{
			int rc = add_value(m, (enum axis_id)a, value, path, err);
			if (rc)
				return rc;
		}
	}
	const json_t *pairs = json_object_get(sweep, "n_prompt_n_gen");
	json_array_foreach(pairs, i, value)
	{
		int rc = add_pair(m, value, path, err);
		if (rc)
			return rc;
	}
	return 0;
}
