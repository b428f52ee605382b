#include "tests/support/token_pairs.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"

/* Whether the tokens give the text again. */
static bool same_text(const struct tokenizer *t, const struct token_ids *ids, const char *text, size_t n)
{
	struct text_stream s;
	char piece[TEXT_STREAM_MAX];
	size_t at = 0;
	text_stream_init(&s, t, false);
	for (size_t i = 0; i <= ids->n; i++) {
		size_t size = i < ids->n ? text_stream_token(&s, ids->ids[i], piece) : text_stream_end(&s, piece);
		if (at + size > n || memcmp(text + at, piece, size))
			return false;
		at += size;
	}
	return at == n;
}

static int check_pair(const struct tokenizer *t, const json_t *pair, struct error *err)
{
	const json_t *text = json_array_get(pair, 0), *wanted = json_array_get(pair, 1);
	const char *s = json_string_value(text);
	size_t n = json_string_length(text), k = 0;
	struct token_ids ids = {0};
	if (!s || !json_is_array(wanted))
		return error_set(err, ERROR_INPUT, "no pair of a text and its tokens");
	int rc = tokenizer_encode(t, s, n, false, &ids, err);
	while (!rc && k < ids.n && k < json_array_size(wanted) &&
	       ids.ids[k] == json_integer_value(json_array_get(wanted, k)))
		k++;
	if (!rc && (k < ids.n || k < json_array_size(wanted)))
		rc = error_set(err, ERROR_WRONG, "'%s': token %zu is %d of %zu and should be %lld of %zu",
			       text_show(s, n).text, k, k < ids.n ? ids.ids[k] : -1, ids.n,
			       (long long)json_integer_value(json_array_get(wanted, k)), json_array_size(wanted));
	if (!rc && !same_text(t, &ids, s, n))
		rc = error_set(err, ERROR_WRONG, "'%s': comes back as another text", text_show(s, n).text);
	token_ids_free(&ids);
	return rc;
}

int token_pairs_check(const struct tokenizer *t, const char *path, struct error *err)
{
	json_error_t why;
	json_t *pairs = json_load_file(path, JSON_ALLOW_NUL, &why);
	int n = (int)json_array_size(pairs);
	if (!pairs)
		error_set(err, ERROR_INPUT, "%s:%d: %s", path, why.line, why.text);
	int rc = pairs ? 0 : -1;
	for (int i = 0; i < n && !rc; i++)
		if ((rc = check_pair(t, json_array_get(pairs, (size_t)i), err)))
			error_prefix(err, rc, "%s: pair %d", path, i);
	json_decref(pairs);
	return rc ? -1 : n;
}
