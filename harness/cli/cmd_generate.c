/*
 * gemmark generate: text behind a prompt, as it comes, to standard output; rates to standard error. Everything but
 * text and tokens is what gemmark eval --generate does.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "engine/infer/session.h"
#include "engine/text/chat.h"
#include "harness/cli/changed_file.h"
#include "harness/cli/model_options.h"
#include "harness/cli/options.h"
#include "harness/cli/text_input.h"

enum {
	GENERATED_MAX = 1 << 24,
	GENERATED = 256, /* where -n is not given */
};

struct generate {
	struct model_options model; /* first: what model_options.h expects */
	const char *prompt;         /* the argument; null: none */
	const char *file;           /* -f, or "-"; null: none */
	int n;
	bool chat;
	bool special;    /* control pieces are read and shown */
	bool ignore_end; /* go on behind them */
	struct text_input text;
	struct tokenizer *tokenizer;
	struct token_ids ids;
};

/* What a run came to. */
struct generated {
	int n;            /* tokens, the end among them */
	bool ended;       /* by a token that ends a turn or a text */
	int64_t began_ns; /* the prompt */
	int64_t first_ns; /* the first token was there */
	int64_t last_ns;  /* the last one */
	int fallbacks;
};

/* ---- options ---- */

static int set_file(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct generate *)ctx)->file = value;
	return 0;
}

static int set_n(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "-n", 1, GENERATED_MAX, &((struct generate *)ctx)->n, err);
}

static int set_chat(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct generate *)ctx)->chat = true;
	return 0;
}

static int set_special(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct generate *)ctx)->special = true;
	return 0;
}

static int set_ignore_end(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct generate *)ctx)->ignore_end = true;
	return 0;
}

static int take_prompt(void *ctx, const char *value, struct error *err)
{
	struct generate *g = ctx;
	if (g->prompt)
		return error_set(err, ERROR_INPUT, "a second prompt, '%s': quote a prompt of several words",
				 text_show(value, strlen(value)).text);
	g->prompt = value;
	return 0;
}

static const struct option_spec options[] = {
	{"-f, --file", "FILE",
	 "the prompt is in a file, all of it, the last line's end too; -: on standard input, as a prompt of - is",
	 set_file},
	{"-n, --n-predict", "N", "generate at most N tokens (default: 256)", set_n},
	{"--chat", NULL,
	 "the prompt is what a user says: in the turns of Gemma, Gemma 4 or Qwen, whichever the vocabulary has",
	 set_chat},
	{"--special", NULL, "control pieces (<end_of_turn>) are read in the prompt, and shown", set_special},
	{"--ignore-eos", NULL, "go on behind the end of a turn or of the text", set_ignore_end},
	{"-s, --seed", "N", "of draws at a --temp other than 0, which N and the position decide (default: 0)",
	 model_options_seed},
	{0},
};

static const struct command generate_command = {
	.name = "generate",
	.summary = "text behind a prompt, as it comes; stops at the end of the text or of the model's turn",
	.usage = "gemmark generate -m FILE [options] \"prompt\"",
	.examples = "gemmark generate -m model.gguf \"The capital of France is\"\n"
		    "gemmark generate -m model.gguf --chat \"Why is the sky blue?\" -n 500 --temp 0.8 --top-p 0.95 "
		    "--seed 7\n"
		    "gemmark generate -m model.gguf -f prompt.txt --mode graph-loop --fusion persistent\n"
		    "printf 'int main(' | gemmark generate -m model.gguf -",
	.positional = take_prompt,
};

/* ---- the run ---- */

/* Text to standard output; on a terminal, what would steer it is shown instead. */
static void put_text(const char *s, size_t n, bool terminal)
{
	char shown[8], copy[TEXT_STREAM_MAX + 4] = "";
	memcpy(copy, s, n); /* with zero bytes behind */
	memset(copy + n, 0, 4);
	if (!terminal) {
		fwrite(copy, 1, n, stdout);
		return;
	}
	for (size_t i = 0; i < n;) {
		int control = copy[i] == '\n' || copy[i] == '\t' ? 0 : text_control_length(copy + i);
		int length = control ? control : text_utf8_length(copy + i);
		if (!length)
			length = 1;
		if (control) {
			char one[8] = "";
			memcpy(one, copy + i, (size_t)control);
			text_escape(shown, sizeof shown, one);
			fputs(shown, stdout);
		} else {
			fwrite(copy + i, 1, (size_t)length, stdout);
		}
		i += (size_t)length;
	}
}

static int prompt(struct session *s, const struct generate *g, struct generated *out, struct error *err)
{
	struct session_eviction evicted;
	int n = (int)g->ids.n, rc = session_observe(s, &g->model.snapkv, n, err);
	out->began_ns = clock_ns();
	if (!rc)
		rc = session_prefill(s, g->ids.ids, n, NULL, err);
	return rc ? rc : session_evict(s, &evicted, err);
}

/* One token after the other, as long as somebody reads them. */
static int generate(struct session *s, const struct generate *g, struct generated *out, struct error *err)
{
	const struct vocabulary *v = tokenizer_vocabulary(g->tokenizer);
	bool terminal = isatty(STDOUT_FILENO);
	struct text_stream text;
	char piece[TEXT_STREAM_MAX];
	int token = -1;
	text_stream_init(&text, g->tokenizer, g->special);
	/* Behind a prompt no text begins: its first space is one. */
	text.began = true;
	int rc = session_generate_begin(s, &g->model.sampling, g->n, g->ignore_end ? -1 : v->eos, err);
	if (rc)
		return rc;
	for (;;) {
		struct token_timing timing;
		rc = session_generate_next(s, &token, &timing, err);
		out->fallbacks += timing.event == GRAPH_EVENT_FALLBACK;
		if (rc || token < 0)
			break;
		out->last_ns = clock_ns();
		if (!out->n++)
			out->first_ns = out->last_ns;
		out->ended = !g->ignore_end && tokenizer_is_end(g->tokenizer, token);
		if (!out->ended || g->special)
			put_text(piece, text_stream_token(&text, token, piece), terminal);
		fflush(stdout);
		if (out->ended || ferror(stdout))
			break;
	}
	put_text(piece, text_stream_end(&text, piece), terminal);
	if (terminal)
		putchar('\n');
	fflush(stdout);
	return rc ? rc : session_generate_end(s, err);
}

static double rate(int n, int64_t ns)
{
	return ns > 0 ? n / (ns / 1e9) : 0;
}

static void print_rates(const struct generate *g, const struct generated *r)
{
	fprintf(stderr, "gemmark generate: prompt of %zu token%s, %.1f tokens/s to the first one; generated %d, ",
		g->ids.n, g->ids.n == 1 ? "" : "s", rate((int)g->ids.n, r->first_ns - r->began_ns), r->n);
	if (r->n > 1)
		fprintf(stderr, "%.1f tokens/s; ", rate(r->n - 1, r->last_ns - r->first_ns));
	fprintf(stderr, "%s\n",
		r->ended      ? "the model ended"
		: r->n < g->n ? "standard output takes no more"
			      : "as many as -n says");
}

/* The prompt's tokens. */
static int read_prompt(struct generate *g, struct error *err)
{
	struct text_tokens how = {.begin = true, .control = g->special, .chat = g->chat};
	const struct text_input given = {(char *)g->prompt, g->prompt ? strlen(g->prompt) : 0};
	int rc = g->file ? text_input_read(g->file, "-f", &g->text, err) : 0;
	if (!rc && g->file && !g->text.n)
		rc = error_set(err, ERROR_INPUT, "-f: %s is empty; give a text to go on from",
			       strcmp(g->file, "-") ? text_show_path(g->file).text : "standard input");
	if (!rc)
		rc = text_input_model_tokens(g->model.model, g->file ? &g->text : &given, how, &g->tokenizer, &g->ids,
					     err);
	if (!rc && !g->ids.n)
		rc = error_set(err, ERROR_INPUT, "the prompt is empty: there is nothing to go on from");
	if (!rc && g->ids.n > GENERATED_MAX)
		rc = error_set(err, ERROR_INPUT, "a prompt of %zu tokens; the most is %d", g->ids.n, GENERATED_MAX);
	return rc;
}

static void remark_turns(const struct generate *g, const struct gguf *file)
{
	const char *turn = g->chat ? chat_guessed(g->tokenizer, file) : NULL;
	if (turn)
		fprintf(stderr,
			"gemmark generate: no tokenizer.chat_template in the file: the turns are those of its "
			"vocabulary's %s, and nothing says that the model knows them; without --chat the prompt is "
			"taken as it is\n",
			turn);
}

static int run(struct generate *g, struct error *err)
{
	struct session *s = NULL;
	struct generated result = {0};
	int rc = read_prompt(g, err);
	if (rc)
		return rc;
	g->model.session.context = (int)g->ids.n + g->n - 1;
	if (!(rc = model_options_layers(&g->model, "generate", err)))
		rc = session_open(&s, g->model.model, &g->model.session, err);
	if (!rc)
		rc = text_input_check(g->tokenizer, g->model.model, session_model(s)->n_vocab, err);
	/* Before the prompt, which may take long. */
	if (!rc && g->n > 1)
		rc = session_prepare(s, err);
	if (!rc) {
		model_options_remark(&g->model, s, "generate");
		remark_turns(g, &session_model(s)->file);
		rc = prompt(s, g, &result, err);
	}
	if (!rc)
		rc = generate(s, g, &result, err);
	if (!rc)
		rc = gguf_check(&session_model(s)->file, changed_file_remedy(), err);
	if (!rc)
		print_rates(g, &result);
	if (result.fallbacks)
		fprintf(stderr, "gemmark generate: %d tokens fell back to direct launches: %s\n", result.fallbacks,
			session_fallback_reason(s));
	if (s)
		session_close(s);
	return rc;
}

int cmd_generate(int argc, char **argv)
{
	struct error err = {0};
	struct generate g = {.n = GENERATED};
	struct option_spec all[MODEL_OPTIONS_MAX];
	struct command command = generate_command;
	model_options_default(&g.model);
	model_options_join(options, all);
	command.options = all;
	int rc = options_parse(&command, argc, argv, &g, &err);
	if (rc > 0)
		return 0;
	if (!rc && g.prompt && g.file)
		rc = error_set(&err, ERROR_INPUT, "-f: the prompt is given already; leave one of both out");
	if (!rc && g.prompt && !strcmp(g.prompt, "-")) {
		g.file = g.prompt;
		g.prompt = NULL;
	}
	if (!rc && g.model.model && !g.prompt && !g.file)
		rc = error_set(&err, ERROR_INPUT,
			       "a prompt is missing: give \"some text\", -f FILE, or - for standard input");
	if (!rc)
		rc = model_options_settle(&g.model, "generate", &err);
	if (!rc)
		rc = run(&g, &err);
	tokenizer_close(g.tokenizer);
	token_ids_free(&g.ids);
	free(g.text.bytes);
	return rc ? command_fail("generate", rc, &err) : 0;
}
