/*
 * gemmark eval: teacher-forced logits of a token sequence, for comparison with other
 * engines and between modes, and the tokens that the engine puts behind it. Logits go to disk row by row; memory holds
 * one chunk.
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
#include "harness/cli/token_list.h"

struct eval {
	struct model_options model; /* first: what model_options.h expects */
	const char *tokens_arg;
	const char *output;
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
	{"-o, --output", "FILE", "write the logits: raw little-endian float32 [n_tokens][n_vocab]", set_output},
	{"--force", NULL, "-o: replace a file that exists; never one that is read", set_force},
	{"--prefill", "N", "prefill the first N tokens, decode the rest (default: all)", set_prefill},
	{"--prefill-rows", "all|last",
	 "of the prefilled tokens: all: every row's logits; last: only the last row's, as a prompt of gemmark bench\n"
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
	.usage = "gemmark eval -m FILE --tokens LIST|FILE [-o OUT.f32] [options]",
	.examples = "gemmark eval -m model.gguf --tokens 2,369,137,41\n"
		    "gemmark eval -m model.gguf --tokens ids.txt -o logits.f32 --prefill 48 --mode graph-device\n"
		    "gemmark eval -m model.gguf --tokens ids.txt --prefill 4096 --snapkv 1024,window=32\n"
		    "gemmark eval -m model.gguf --tokens ids.txt -ctk f32 -ctv f32\n"
		    "gemmark eval -m model.gguf --tokens 2,369,137 --generate 64 --temp 0.8 --top-k 40 --top-p 0.95",
};

/* ---- the run ---- */

static int prefill(struct session *s, const struct eval *ev, int n, struct logits_sink *k, struct error *err)
{
	size_t vocab = (size_t)k->n_vocab;
	const float *last;
	if (n > 0 && ev->rows == PREFILL_ROWS_LAST) {
		int rc = session_prefill(s, ev->tokens.tokens, n, NULL, err);
		if (!rc)
			rc = session_logits(s, &last, err);
		return rc ? rc : logits_sink_row(k, s, last, err);
	}
	int chunk = ev->model.session.load.batch, rc = 0;
	if (chunk > n)
		chunk = n;
	float *rows = n > 0 ? malloc((size_t)chunk * vocab * sizeof *rows) : NULL;
	if (n > 0 && !rows)
		return error_set(err, ERROR_MEMORY, "no memory for %d rows of logits; use a smaller --batch", chunk);
	for (int done = 0; !rc && done < n; done += chunk) {
		int m = n - done < chunk ? n - done : chunk;
		rc = session_prefill(s, ev->tokens.tokens + done, m, rows, err);
		for (int i = 0; !rc && i < m; i++)
			rc = logits_sink_row(k, s, rows + (size_t)i * vocab, err);
	}
	free(rows);
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

/* What a run did beside its logits. */
struct remarks {
	int fallbacks;
	struct session_eviction eviction;
};

static int evaluate(struct session *s, const struct eval *ev, struct logits_sink *k, struct remarks *r,
		    struct error *err)
{
	int n = prefilled(ev);
	int rc = session_observe(s, &ev->model.snapkv, n, err);
	if (!rc)
		rc = prefill(s, ev, n, k, err);
	if (!rc)
		rc = session_evict(s, &r->eviction, err);
	for (int i = n; !rc && i < ev->tokens.n; i++) {
		struct token_timing timing;
		const float *row;
		if ((rc = session_decode(s, ev->tokens.tokens[i], &timing, err)) || (rc = session_logits(s, &row, err)))
			break;
		r->fallbacks += timing.event == GRAPH_EVENT_FALLBACK;
		rc = logits_sink_row(k, s, row, err);
	}
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

static void print_evaluated(const struct session *s, const struct eval *ev, const struct logits_sink *k,
			    const struct remarks *r, uint64_t hash)
{
	printf("tokens      %d (%d prefilled%s)\n", ev->tokens.n, prefilled(ev),
	       ev->rows == PREFILL_ROWS_LAST ? ", of which the last row's logits" : "");
	if (ev->model.snapkv.budget)
		print_eviction(&r->eviction);
	if (ev->tokens.n - first_row(ev) > 1) {
		printf("perplexity  %.6g\n", logits_sink_perplexity(k));
		if (synth_made(&session_model(s)->file))
			puts("note        the weights are random, as the file says: the perplexity means nothing");
	}
	printf("hash        %016llx\n", (unsigned long long)hash);
	if (ev->output)
		printf("logits      %s: float32 [%d][%d]\n", text_show_path(ev->output).text,
		       ev->tokens.n - first_row(ev), k->n_vocab);
}

/* What is to be replaced may be a part of the model that is not named. */
static int check_parts(const struct eval *ev, struct error *err)
{
	struct gguf g;
	int rc = gguf_open(&g, ev->model.model, err);
	for (int i = 0; !rc && i < g.n_parts; i++)
		rc = output_option_check("-o", ev->output, true, (const char *[]){gguf_part_path(&g, i)}, 1, err);
	gguf_close(&g);
	return rc;
}

static int run(struct eval *ev, struct error *err)
{
	const char *inputs[] = {ev->model.model, token_list_is_ids(ev->tokens_arg) ? NULL : ev->tokens_arg};
	int rc = ev->output ? output_option_check("-o", ev->output, ev->force, inputs, 2, err) : 0;
	if (!rc && ev->output && ev->force && !access(ev->output, F_OK))
		rc = check_parts(ev, err);
	if (!rc)
		rc = token_list_read(ev->tokens_arg, &ev->tokens, err);
	if (rc)
		return rc;
	if (ev->prefill > ev->tokens.n)
		return error_set(err, ERROR_INPUT, "--prefill %d is more than the %d tokens given", ev->prefill,
				 ev->tokens.n);
	ev->model.session.context = ev->tokens.n + (ev->n_generated ? ev->n_generated - 1 : 0);
	if ((rc = model_options_layers(&ev->model, "eval", err)))
		return rc;
	struct session *s = NULL;
	struct logits_sink k;
	struct remarks remarks = {0};
	rc = logits_sink_open(&k, ev->output, ev->force, err);
	if (!rc)
		rc = session_open(&s, ev->model.model, &ev->model.session, err);
	if (!rc && ev->stop_token >= session_model(s)->n_vocab)
		rc = error_set(err, ERROR_INPUT, "--stop-token %d is not in the vocabulary of %d", ev->stop_token,
			       session_model(s)->n_vocab);
	/* Before the prompt, which may take long. */
	if (!rc && (ev->n_generated > 1 || prefilled(ev) < ev->tokens.n))
		rc = session_prepare(s, err);
	if (!rc) {
		model_options_remark(&ev->model, s, "eval");
		k.tokens = ev->tokens.tokens;
		k.n_tokens = ev->tokens.n;
		k.first = first_row(ev);
		k.model = &session_model(s)->file;
		k.n_vocab = session_model(s)->n_vocab;
		rc = evaluate(s, ev, &k, &remarks, err);
	}
	uint64_t hash = rc ? 0 : logits_sink_hash(&k);
	rc = logits_sink_close(&k, rc, err);
	if (!rc)
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
	if (!rc && ev.model.model && !ev.tokens_arg)
		rc = error_set(&err, ERROR_INPUT, "--tokens is missing; see gemmark eval --help");
	if (!rc)
		rc = check_sampling(&ev, &err);
	if (!rc)
		rc = model_options_settle(&ev.model, "eval", &err);
	if (!rc)
		rc = run(&ev, &err);
	free(ev.tokens.tokens);
	return rc ? command_fail("eval", rc, &err) : 0;
}
