#include "engine/text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct turns {
	const char *begin, *end; /* control pieces */
	const char *user, *model;
	bool trims; /* white space around what the user says is left out */
};

static const struct turns known[] = {
	{"<start_of_turn>", "<end_of_turn>", "user\n", "model\n", true},
	{"<|turn>", "<turn|>", "user\n", "model\n", true},
	{"<|im_start|>", "<|im_end|>", "user\n", "assistant\n", false},
};

/* Gemma 4's larger models say that they have not thought, where they are not to. */
#define THOUGHT_BEGIN "<|channel>"
#define THOUGHT "thought\n"
#define THOUGHT_END "<channel|>"
#define THOUGHT_IN_TEMPLATE THOUGHT_BEGIN "thought\\n" THOUGHT_END

static const struct turns *find_turns(const struct tokenizer *t)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (tokenizer_special(t, known[i].begin) >= 0 && tokenizer_special(t, known[i].end) >= 0)
			return &known[i];
	return NULL;
}

static bool contains(struct gguf_string s, const char *what)
{
	return memmem(s.data, s.size, what, strlen(what));
}

static bool is_white(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int add_special(const struct tokenizer *t, const char *piece, struct token_ids *out, struct error *err)
{
	return token_ids_add(out, tokenizer_special(t, piece), err);
}

static int add_text(const struct tokenizer *t, const char *text, struct token_ids *out, struct error *err)
{
	return tokenizer_encode(t, text, strlen(text), false, out, err);
}

/* The user's words merge with what names the user. */
static int add_user(const struct tokenizer *t, const struct turns *u, const char *text, size_t n, struct token_ids *out,
		    struct error *err)
{
	size_t name = strlen(u->user);
	for (; u->trims && n && is_white(*text); n--)
		text++;
	while (u->trims && n && is_white(text[n - 1]))
		n--;
	char *said = malloc(name + n);
	if (!said)
		return error_set(err, ERROR_MEMORY, "no memory for a text of %zu bytes", n);
	memcpy(said, u->user, name);
	memcpy(said + name, text, n);
	int rc = tokenizer_encode(t, said, name + n, false, out, err);
	free(said);
	return rc;
}

int chat_encode(const struct tokenizer *t, const struct gguf *g, const char *text, size_t n, struct token_ids *out,
		struct error *err)
{
	const struct turns *u = find_turns(t);
	struct gguf_string template = {"", 0};
	int rc = 0;
	if (!u)
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: its vocabulary has none of the turns that this program knows (<start_of_turn>, "
				 "<|turn>, <|im_start|>); leave --chat out",
				 text_show_path(g->path).text);
	if (gguf_find(g, "tokenizer.chat_template") &&
	    (rc = gguf_get_string(g, "tokenizer.chat_template", &template, err)))
		return rc;
	if (template.size && !contains(template, u->begin))
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: tokenizer.chat_template has no %s, which this program's turns are made of, and "
				 "templates are not run; leave --chat out and write the turns into the prompt",
				 text_show_path(g->path).text, u->begin);
	bool thought = contains(template, THOUGHT_IN_TEMPLATE) && tokenizer_special(t, THOUGHT_BEGIN) >= 0 &&
		       tokenizer_special(t, THOUGHT_END) >= 0;
	if ((rc = tokenizer_begin(t, out, err)) || (rc = add_special(t, u->begin, out, err)) ||
	    (rc = add_user(t, u, text, n, out, err)) || (rc = add_special(t, u->end, out, err)) ||
	    (rc = add_text(t, "\n", out, err)) || (rc = add_special(t, u->begin, out, err)) ||
	    (rc = add_text(t, u->model, out, err)) || !thought)
		return rc;
	if ((rc = add_special(t, THOUGHT_BEGIN, out, err)) || (rc = add_text(t, THOUGHT, out, err)))
		return rc;
	return add_special(t, THOUGHT_END, out, err);
}
