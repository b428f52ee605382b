/*
 * gemmark eval: teacher-forced logits of a token sequence, for comparison with other engines and between modes, and the
 * tokens that the engine puts behind it; and the perplexity of a text. Logits go to disk row by row; memory holds one
 * chunk.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "engine/infer/session.h"
#include "engine/model/synth.h"
#include "harness/cli/logits_sink.h"
#include "harness/cli/model_options.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/cli/text_input.h"
#include "harness/cli/text_windows.h"
#include "harness/cli/token_list.h"

struct eval {
	struct model_options model; /* first: what model_options.h expects */
	const char *tokens_arg;     /* null: a text is evaluated */
	const char *text;           /* its file, or "-"; null: tokens are */
	int context;                /* of its windows; 0: not given */
	int stride;                 /* 0: none */
	int most_windows;           /* 0: all */
	const char *output;
	const char *probabilities; /* null: none */
	bool force;
	int prefill; /* -1: not given */
	enum prefill_rows rows;
	struct token_list tokens;
	int n_generated;
	int stop_token; /* that ends them; -1: none */
};

/* ---- options ---- */

static int set_tokens(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct eval *)ctx)->tokens_arg = value;
	return 0;
}

static int set_text(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct eval *)ctx)->text = value;
	return 0;
}

static int set_context(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "-c", TEXT_WINDOWS_CONTEXT_LEAST, TOKEN_LIST_MAX, &((struct eval *)ctx)->context,
			   err);
}

static int set_stride(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--ppl-stride", 0, TOKEN_LIST_MAX, &((struct eval *)ctx)->stride, err);
}

static int set_windows(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--chunks", 1, INT_MAX, &((struct eval *)ctx)->most_windows, err);
}

static int set_probabilities(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct eval *)ctx)->probabilities = value;
	return 0;
}

static int set_output(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct eval *)ctx)->output = value;
	return 0;
}

static int set_force(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct eval *)ctx)->force = true;
	return 0;
}

static int set_prefill(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--prefill", 0, TOKEN_LIST_MAX, &((struct eval *)ctx)->prefill, err);
}

static int set_prefill_rows(void *ctx, const char *value, struct error *err)
{
	return options_prefill_rows(value, &((struct eval *)ctx)->rows, err);
}

static int set_generate(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--generate", 1, TOKEN_LIST_MAX, &((struct eval *)ctx)->n_generated, err);
}

static int set_stop_token(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--stop-token", 0, INT_MAX, &((struct eval *)ctx)->stop_token, err);
}

static const struct option_spec eval_options[] = {
	{"--tokens", "LIST|FILE", "token ids: 2,17,4 or a file of numbers (a JSON array is one too)", set_tokens},
	{"--text", "FILE|-",
	 "the perplexity of a text (-: standard input), by the model's own vocabulary, in windows of which the second "
	 "halves are scored, as llama.cpp's perplexity tool does it",
	 set_text},
	{"-c, --ctx-size", "N", "of --text: tokens of a window (default: 512)", set_context},
	{"--ppl-stride", "N",
	 "of --text: windows of c + N / 2 tokens, one every N tokens, of which the last N are scored; 0: windows next "
	 "to each other (default: 0)",
	 set_stride},
	{"--chunks", "N", "of --text: at most N windows (default: all)", set_windows},
	{"--logprobs", "FILE", "write the log probability of each token that is scored, as CSV", set_probabilities},
	{"-o, --output", "FILE", "write the logits: raw little-endian float32 [n_tokens][n_vocab]", set_output},
	{"--force", NULL, "-o, --logprobs: replace a file that exists; never one that is read", set_force},
	{"--prefill", "N", "prefill the first N tokens (of each window), decode the rest (default: all)", set_prefill},
	{"--prefill-rows", "all|last",
	 "of the prefilled tokens: all: every row's logits; last: only the last row's, as a prompt of gemmark bench "
	 "computes them; -o and the perplexity then begin with it (default: all)",
	 set_prefill_rows},
	{"--generate", "N", "then generate N tokens, each fed back, and print their ids", set_generate},
	{"--stop-token", "ID", "of --generate: the token behind which nothing more is generated (default: none)",
	 set_stop_token},
	{"--sampling-seed", "N", "of draws at a --temp other than 0, which N and the position decide (default: 0)",
	 model_options_sampling_seed},
	{0},
};

static const struct command eval_command = {
	.name = "eval",
	.summary = "teacher-forced logits, perplexity and a hash of them",
	.usage = "gemmark eval -m FILE --tokens LIST|FILE [-o OUT.f32] [options]\n"
		 "       gemmark eval -m FILE --text FILE [--logprobs OUT.csv] [options]",
	.examples = "gemmark eval -m model.gguf --tokens 2,369,137,41\n"
		    "gemmark eval -m model.gguf --tokens ids.txt -o logits.f32 --prefill 48 --mode graph-device\n"
		    "gemmark eval -m model.gguf --tokens ids.txt --prefill 4096 --snapkv 1024,window=32\n"
		    "gemmark eval -m model.gguf --tokens ids.txt -ctk f32 -ctv f32\n"
		    "gemmark eval -m model.gguf --text wiki.test.raw -c 2048 --logprobs tokens.csv\n"
		    "gemmark eval -m model.gguf --tokens 2,369,137 --generate 64 --temp 0.8 --top-k 40 --top-p 0.95",
};

/* ---- the run ---- */

/* What a run did beside its logits. */
struct remarks {
	int fallbacks;
	struct session_eviction eviction;
};

/* Some of the tokens, evaluated by themselves. */
struct stretch {
	const int *tokens; /* (n) */
	int n;
	int prefilled; /* of them; the others are decoded */
	int first;     /* row that is the first one asked for */
};

/* Rows [first, prefilled) of the stretch, and what is in front of them without theirs. */
static int prefill_rows(struct session *s, const struct eval *ev, const struct stretch *t, int first,
			struct logits_sink *k, struct error *err)
{
	size_t vocab = (size_t)k->n_vocab;
	int n = t->prefilled, chunk = ev->model.session.load.batch;
	if (chunk > n - first)
		chunk = n - first;
	float *rows = chunk > 0 ? malloc((size_t)chunk * vocab * sizeof *rows) : NULL;
	if (chunk > 0 && !rows)
		return error_set(err, ERROR_MEMORY, "no memory for %d rows of logits; use a smaller --batch", chunk);
	int rc = first ? session_prefill(s, t->tokens, first, NULL, err) : 0;
	for (int done = first; !rc && done < n; done += chunk) {
		int m = n - done < chunk ? n - done : chunk;
		rc = session_prefill(s, t->tokens + done, m, rows, err);
		for (int i = 0; !rc && i < m; i++)
			rc = logits_sink_row(k, s, rows + (size_t)i * vocab, err);
	}
	free(rows);
	return rc;
}

static int prefill(struct session *s, const struct eval *ev, const struct stretch *t, struct logits_sink *k,
		   struct error *err)
{
	const float *last;
	if (ev->rows == PREFILL_ROWS_ALL)
		return prefill_rows(s, ev, t, t->first < t->prefilled ? t->first : t->prefilled, k, err);
	if (!t->prefilled)
		return 0;
	int rc = session_prefill(s, t->tokens, t->prefilled, NULL, err);
	if (!rc)
		rc = session_logits(s, &last, err);
	return rc ? rc : logits_sink_row(k, s, last, err);
}

static int evaluate(struct session *s, const struct eval *ev, const struct stretch *t, struct logits_sink *k,
		    struct remarks *r, struct error *err)
{
	int rc = session_observe(s, &ev->model.snapkv, t->prefilled, err);
	if (!rc)
		rc = prefill(s, ev, t, k, err);
	if (!rc)
		rc = session_evict(s, &r->eviction, err);
	for (int i = t->prefilled; !rc && i < t->n; i++) {
		struct token_timing timing;
		const float *row;
		if ((rc = session_decode(s, t->tokens[i], &timing, err)) ||
		    (i >= t->first && (rc = session_logits(s, &row, err))))
			break;
		r->fallbacks += timing.event == GRAPH_EVENT_FALLBACK;
		if (i >= t->first)
			rc = logits_sink_row(k, s, row, err);
	}
	return rc;
}

static int prefilled(const struct eval *ev)
{
	return ev->prefill < 0 ? ev->tokens.n : ev->prefill;
}

/* Of the logits. */
static int first_row(const struct eval *ev)
{
	return ev->rows == PREFILL_ROWS_LAST && prefilled(ev) ? prefilled(ev) - 1 : 0;
}

/* Each window by itself, with the token in front that the vocabulary says. */
static int evaluate_windows(struct session *s, const struct eval *ev, const struct text_windows *w, int begin,
			    struct logits_sink *k, struct remarks *r, struct error *err)
{
	int prefill = ev->prefill < 0 || ev->prefill > w->length ? w->length : ev->prefill;
	bool shown = isatty(STDERR_FILENO);
	int rc = 0;
	for (int i = 0; !rc && i < w->n; i++) {
		int start = i * w->step, *tokens = ev->tokens.tokens + start, replaced = tokens[0];
		struct stretch t = {tokens, w->length, prefill, w->first};
		if (begin >= 0)
			tokens[0] = begin;
		logits_sink_tokens(k, tokens, w->length, w->first, i, start);
		rc = i ? session_rewind(s, 0, err) : 0;
		if (!rc)
			rc = evaluate(s, ev, &t, k, r, err);
		tokens[0] = replaced;
		if (!rc && shown)
			fprintf(stderr, "\r%d of %d windows, perplexity %.4f ", i + 1, w->n, logits_sink_perplexity(k));
	}
	if (shown)
		fputs("\r\033[K", stderr);
	return rc;
}

/* Behind evaluate; prints the tokens as they come, as long as they can be written. */
static int generate(struct session *s, const struct eval *ev, struct remarks *r, struct error *err)
{
	fflush(stdout);
	int token = -1, n = 0,
	    rc = session_generate_begin(s, &ev->model.sampling, ev->n_generated, ev->stop_token, err);
	if (rc)
		return rc;
	do {
		struct token_timing timing;
		rc = session_generate_next(s, &token, &timing, err);
		r->fallbacks += timing.event == GRAPH_EVENT_FALLBACK;
		if (token >= 0)
			printf("%s%d", n++ ? "," : "generated   ", token);
		fflush(stdout);
	} while (token >= 0 && !ferror(stdout));
	if (n)
		putchar('\n');
	fflush(stdout);
	return rc ? rc : session_generate_end(s, err);
}

static void print_eviction(const struct session_eviction *v)
{
	if (v->entries_after == v->entries_before)
		printf("evicted     nothing: %d entries are within the budget\n", v->entries_before);
	else
		printf("evicted     %d of %d entries in %.2f ms; device memory %zu bytes before, %zu after\n",
		       v->entries_before - v->entries_after, v->entries_before, v->us / 1e3, v->memory_before,
		       v->memory_after);
}

static void print_perplexity(const struct session *s, const struct logits_sink *k, bool error)
{
	printf("perplexity  %.6g", logits_sink_perplexity(k));
	if (error && k->n_scored > 1)
		printf(" +/- %.4g", logits_sink_perplexity_error(k));
	putchar('\n');
	if (synth_made(&session_model(s)->file))
		puts("note        the weights are random, as the file says: the perplexity means nothing");
}

static void print_windows(const struct session *s, const struct eval *ev, const struct text_windows *w,
			  const struct logits_sink *k, uint64_t hash)
{
	printf("tokens      %d\n", ev->tokens.n);
	printf("windows     %d of %d tokens, one every %d\n", w->n, w->length, w->step);
	printf("scored      %d tokens\n", k->n_scored);
	print_perplexity(s, k, true);
	printf("hash        %016llx\n", (unsigned long long)hash);
}

static void print_evaluated(const struct session *s, const struct eval *ev, const struct logits_sink *k,
			    const struct remarks *r, uint64_t hash)
{
	printf("tokens      %d (%d prefilled%s)\n", ev->tokens.n, prefilled(ev),
	       ev->rows == PREFILL_ROWS_LAST ? ", of which the last row's logits" : "");
	if (ev->model.snapkv.budget)
		print_eviction(&r->eviction);
	if (ev->tokens.n - first_row(ev) > 1)
		print_perplexity(s, k, false);
	printf("hash        %016llx\n", (unsigned long long)hash);
	if (ev->output)
		printf("logits      %s: float32 [%d][%d]\n", text_show_path(ev->output).text,
		       ev->tokens.n - first_row(ev), k->n_vocab);
}

/* What is to be replaced may be a part of the model that is not named. */
static int check_parts(const struct eval *ev, const char *option, const char *path, struct error *err)
{
	struct gguf g;
	int rc = gguf_open(&g, ev->model.model, err);
	for (int i = 0; !rc && i < g.n_parts; i++)
		rc = output_option_check(option, path, true, (const char *[]){gguf_part_path(&g, i)}, 1, err);
	gguf_close(&g);
	return rc;
}

static int check_output(const struct eval *ev, const char *option, const char *path, struct error *err)
{
	bool file = ev->tokens_arg && !token_list_is_ids(ev->tokens_arg);
	const char *inputs[] = {ev->model.model, file ? ev->tokens_arg : NULL,
				ev->text && strcmp(ev->text, "-") ? ev->text : NULL};
	int rc = path ? output_option_check(option, path, ev->force, inputs, 3, err) : 0;
	if (!rc && path && ev->force && !access(path, F_OK))
		rc = check_parts(ev, option, path, err);
	return rc;
}

/* The text's tokens, how they are cut, and the token that each window begins with; -1: none. */
static int read_text(struct eval *ev, struct text_windows *w, struct tokenizer **t, int *begin, struct error *err)
{
	struct text_input text = {0};
	struct token_ids ids = {0};
	int rc = text_input_read(ev->text, "--text", &text, err);
	if (!rc)
		rc = text_input_model_tokens(ev->model.model, &text, (struct text_tokens){.begin = true}, t, &ids, err);
	if (!rc && ids.n > TOKEN_LIST_MAX)
		rc = error_set(err, ERROR_INPUT, "--text: %zu tokens; the most is %d", ids.n, TOKEN_LIST_MAX);
	if (!rc)
		rc = text_windows_plan(ids.n, ev->context ? ev->context : TEXT_WINDOWS_CONTEXT, ev->stride,
				       ev->most_windows, w, err);
	ev->tokens = (struct token_list){ids.ids, (int)ids.n};
	if (!rc)
		*begin = tokenizer_vocabulary(*t)->add_bos ? tokenizer_vocabulary(*t)->bos : -1;
	free(text.bytes);
	return rc;
}

static int read_tokens(struct eval *ev, struct error *err)
{
	int rc = token_list_read(ev->tokens_arg, &ev->tokens, err);
	if (!rc && ev->prefill > ev->tokens.n)
		rc = error_set(err, ERROR_INPUT, "--prefill %d is more than the %d tokens given", ev->prefill,
			       ev->tokens.n);
	return rc;
}

static int run(struct eval *ev, struct error *err)
{
	struct text_windows windows = {0};
	struct tokenizer *tokenizer = NULL;
	int begin = -1, rc = check_output(ev, "-o", ev->output, err);
	if (!rc)
		rc = check_output(ev, "--logprobs", ev->probabilities, err);
	if (!rc)
		rc = ev->text ? read_text(ev, &windows, &tokenizer, &begin, err) : read_tokens(ev, err);
	ev->model.session.context =
		ev->text ? windows.length : ev->tokens.n + (ev->n_generated ? ev->n_generated - 1 : 0);
	if (rc || (rc = model_options_layers(&ev->model, "eval", err))) {
		tokenizer_close(tokenizer);
		return rc;
	}
	struct session *s = NULL;
	struct logits_sink k;
	struct remarks remarks = {0};
	rc = logits_sink_open(&k, ev->output, ev->probabilities, ev->force, err);
	if (!rc)
		rc = session_open(&s, ev->model.model, &ev->model.session, err);
	if (!rc && tokenizer)
		rc = text_input_check(tokenizer, ev->model.model, session_model(s)->n_vocab, err);
	tokenizer_close(tokenizer);
	if (!rc && ev->stop_token >= session_model(s)->n_vocab)
		rc = error_set(err, ERROR_INPUT, "--stop-token %d is not in the vocabulary of %d", ev->stop_token,
			       session_model(s)->n_vocab);
	/* Before the prompt, which may take long. */
	if (!rc && (ev->n_generated > 1 || (ev->text ? ev->prefill >= 0 : prefilled(ev) < ev->tokens.n)))
		rc = session_prepare(s, err);
	if (!rc) {
		struct stretch all = {ev->tokens.tokens, ev->tokens.n, prefilled(ev), first_row(ev)};
		model_options_remark(&ev->model, s, "eval");
		k.model = &session_model(s)->file;
		k.n_vocab = session_model(s)->n_vocab;
		logits_sink_tokens(&k, all.tokens, all.n, all.first, 0, 0);
		rc = ev->text ? evaluate_windows(s, ev, &windows, begin, &k, &remarks, err)
			      : evaluate(s, ev, &all, &k, &remarks, err);
	}
	uint64_t hash = rc ? 0 : logits_sink_hash(&k);
	rc = logits_sink_close(&k, rc, err);
	if (!rc && ev->text)
		print_windows(s, ev, &windows, &k, hash);
	else if (!rc)
		print_evaluated(s, ev, &k, &remarks, hash);
	if (!rc && ev->n_generated)
		rc = generate(s, ev, &remarks, err);
	if (remarks.fallbacks)
		fprintf(stderr, "gemmark eval: %d tokens fell back to direct launches: %s\n", remarks.fallbacks,
			session_fallback_reason(s));
	if (s)
		session_close(s);
	return rc;
}

/* An option that would change nothing. */
static int check_sampling(const struct eval *ev, struct error *err)
{
	if (ev->stop_token >= 0 && !ev->n_generated)
		return error_set(err, ERROR_INPUT, "--stop-token: nothing is generated; add --generate N");
	if (ev->model.sampling_named && !ev->n_generated)
		return error_set(err, ERROR_INPUT, "%s: nothing is generated; add --generate N",
				 ev->model.sampling_named);
	return 0;
}

/* Options that are of a text, or of tokens, alone. */
static int check_source(const struct eval *ev, struct error *err)
{
	const char *of_text = ev->context ? "-c" : ev->stride ? "--ppl-stride" : ev->most_windows ? "--chunks" : NULL;
	const char *of_tokens = ev->output                      ? "-o"
				: ev->n_generated               ? "--generate"
				: ev->rows == PREFILL_ROWS_LAST ? "--prefill-rows last"
								: NULL;
	if (ev->text && ev->tokens_arg)
		return error_set(err, ERROR_INPUT, "--text: --tokens is given already; leave one of both out");
	if (!ev->text && of_text)
		return error_set(err, ERROR_INPUT, "%s: is of the windows of a text; add --text FILE", of_text);
	if (ev->text && of_tokens)
		return error_set(err, ERROR_INPUT,
				 "%s: is of one sequence of tokens, and --text cuts many; give --tokens", of_tokens);
	return 0;
}

int cmd_eval(int argc, char **argv)
{
	struct error err = {0};
	struct eval ev = {.prefill = -1, .rows = PREFILL_ROWS_ALL, .stop_token = -1};
	struct option_spec all[MODEL_OPTIONS_MAX];
	struct command command = eval_command;
	model_options_default(&ev.model);
	model_options_join(eval_options, all);
	command.options = all;
	int rc = options_parse(&command, argc, argv, &ev, &err);
	if (rc > 0)
		return 0;
	if (!rc && ev.model.model && !ev.tokens_arg && !ev.text)
		rc = error_set(&err, ERROR_INPUT, "--tokens or --text is missing; see gemmark eval --help");
	if (!rc)
		rc = check_source(&ev, &err);
	if (!rc)
		rc = check_sampling(&ev, &err);
	if (!rc)
		rc = model_options_settle(&ev.model, "eval", &err);
	if (!rc)
		rc = run(&ev, &err);
	free(ev.tokens.tokens);
	return rc ? command_fail("eval", rc, &err) : 0;
}
