#include "engine/text/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define TEMPLATE "tokenizer.chat_template"

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

static bool is_any(char c, const char *of)
{
	return c && strchr(of, c);
}

/* Whether the template has the name (n bytes) as a string, or behind the piece that begins a turn. */
static bool names(struct gguf_string s, const char *begin, const char *name, size_t n)
{
	const char *end = s.data + s.size, *at = s.data;
	size_t n_begin = strlen(begin);
	for (; (at = memmem(at, (size_t)(end - at), name, n)); at++) {
		size_t before = (size_t)(at - s.data);
		bool begins = (before && is_any(at[-1], "'\"")) ||
			      (before >= n_begin && !memcmp(at - n_begin, begin, n_begin));
		if (begins && at + n < end && is_any(at[n], "'\"\\\n"))
			return true;
	}
	return false;
}

/* Whether what follows the piece that begins a turn is the message's own role: '<|turn>' + message['role']. */
static bool passes_role_on(struct gguf_string s, const char *begin)
{
	const char *end = s.data + s.size, *at = s.data;
	size_t n_begin = strlen(begin);
	while ((at = memmem(at, (size_t)(end - at), begin, n_begin))) {
		at += n_begin;
		while (at < end && is_any(*at, "'\" +~{(-"))
			at++;
		const char *last = at;
		while (last < end && !is_any(*last, " +~)}|\\\n"))
			last++;
		if (memmem(at, (size_t)(last - at), "role", 4))
			return true;
	}
	return false;
}

struct missing {
	char text[32]; /* empty: nothing */
};

/* What of the turns a template does not have. */
static struct missing find_missing(struct gguf_string template, const struct turns *u)
{
	struct missing m = {""};
	/* Without the line's end. */
	int user = (int)strlen(u->user) - 1, model = (int)strlen(u->model) - 1;
	if (!contains(template, u->begin))
		snprintf(m.text, sizeof m.text, "%s", u->begin);
	else if (!contains(template, u->end))
		snprintf(m.text, sizeof m.text, "%s", u->end);
	else if (!names(template, u->begin, u->user, (size_t)user) && !passes_role_on(template, u->begin))
		snprintf(m.text, sizeof m.text, "role '%.*s'", user, u->user);
	else if (!names(template, u->begin, u->model, (size_t)model))
		snprintf(m.text, sizeof m.text, "role '%.*s'", model, u->model);
	return m;
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

const char *chat_guessed(const struct tokenizer *t, const struct gguf *g)
{
	const struct gguf_kv *kv = gguf_find(g, TEMPLATE);
	struct gguf_string template = {"", 0};
	struct error ignored;
	if (kv && (gguf_get_string(g, TEMPLATE, &template, &ignored) || template.size))
		return NULL;
	const struct turns *u = find_turns(t);
	return u ? u->begin : NULL;
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
	if (gguf_find(g, TEMPLATE) && (rc = gguf_get_string(g, TEMPLATE, &template, err)))
		return rc;
	struct missing missing = find_missing(template, u);
	if (template.size && *missing.text)
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: " TEMPLATE " has no %s, which this program's turns are made of, and "
				 "templates are not run; leave --chat out and write the turns into the prompt, with "
				 "--special",
				 text_show_path(g->path).text, missing.text);
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
