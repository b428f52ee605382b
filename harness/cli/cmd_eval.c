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
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "engine/model/synth.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/logits_sink.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/cli/sampling_values.h"
#include "harness/cli/token_list.h"
#include "harness/cli/trained_context.h"

struct eval {
	const char *model;
	const char *tokens_arg;
	const char *output;
	bool force;
	int prefill; /* -1: not given */
	enum prefill_rows rows;
	struct snapkv_options snapkv;
	struct session_options session;
	int batch, ubatch; /* 0: not given */
	bool prefill_named;
	size_t device_memory; /* that -ngl auto plans for; 0: what the GPU has free */
	struct token_list tokens;
	struct sampling_options sampling;
	const char *sampling_named; /* an option of it that was given; null: none */
	int n_generated;
	int stop_token; /* that ends them; -1: none */
};

/* ---- options ---- */

static int set_model(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct eval *)ctx)->model = value;
	return 0;
}

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

static int set_snapkv(void *ctx, const char *value, struct error *err)
{
	return snapkv_parse(value, &((struct eval *)ctx)->snapkv, err);
}

static int set_batch(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--batch", 1, 1 << 16, &((struct eval *)ctx)->batch, err);
}

static int set_ubatch(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--ubatch-size", 1, 1 << 16, &((struct eval *)ctx)->ubatch, err);
}

static int set_threads(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--threads", 0, 4096, &((struct eval *)ctx)->session.load.n_threads, err);
}

static int set_gpu_layers(void *ctx, const char *value, struct error *err)
{
	return gpu_layers_parse(value, &((struct eval *)ctx)->session.load.n_gpu_layers, err);
}

static int set_device_memory(void *ctx, const char *value, struct error *err)
{
	return gpu_layers_bytes(value, &((struct eval *)ctx)->device_memory, err);
}

static int set_mode(void *ctx, const char *value, struct error *err)
{
	return options_mode(value, &((struct eval *)ctx)->session.mode, err);
}

static int set_fusion(void *ctx, const char *value, struct error *err)
{
	return options_fusion(value, &((struct eval *)ctx)->session.fusion, err);
}

static int set_k_type(void *ctx, const char *value, struct error *err)
{
	return options_cache_type(value, &((struct eval *)ctx)->session.load.k_type, err);
}

static int set_v_type(void *ctx, const char *value, struct error *err)
{
	return options_cache_type(value, &((struct eval *)ctx)->session.load.v_type, err);
}

static int set_head(void *ctx, const char *value, struct error *err)
{
	return options_head(value, &((struct eval *)ctx)->session.load.head_on_host, err);
}

static int set_ple(void *ctx, const char *value, struct error *err)
{
	return options_ple(value, &((struct eval *)ctx)->session.load.ple_on_host, err);
}

static int set_pdl(void *ctx, const char *value, struct error *err)
{
	return options_pdl(value, &((struct eval *)ctx)->session.load.pdl, err);
}

static int set_prefill_precision(void *ctx, const char *value, struct error *err)
{
	((struct eval *)ctx)->prefill_named = true;
	return options_prefill_precision(value, &((struct eval *)ctx)->session.load.prefill, err);
}

static int set_prefill_weights(void *ctx, const char *value, struct error *err)
{
	return options_prefill_weights(value, &((struct eval *)ctx)->session.load.prefill_weights, err);
}

static int set_host_products(void *ctx, const char *value, struct error *err)
{
	return options_host_products(value, &((struct eval *)ctx)->session.load.host_products, err);
}

static int set_generate(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--generate", 1, TOKEN_LIST_MAX, &((struct eval *)ctx)->n_generated, err);
}

static int set_stop_token(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--stop-token", 0, INT_MAX, &((struct eval *)ctx)->stop_token, err);
}

static int set_temperature(void *ctx, const char *value, struct error *err)
{
	struct eval *ev = ctx;
	if (!ev->sampling_named)
		ev->sampling_named = "--temp";
	return sampling_temperature(value, &ev->sampling, err);
}

static int set_top_k(void *ctx, const char *value, struct error *err)
{
	struct eval *ev = ctx;
	ev->sampling_named = "--top-k";
	return sampling_top_k(value, &ev->sampling, err);
}

static int set_top_p(void *ctx, const char *value, struct error *err)
{
	struct eval *ev = ctx;
	ev->sampling_named = "--top-p";
	return sampling_top_p(value, &ev->sampling, err);
}

static int set_min_p(void *ctx, const char *value, struct error *err)
{
	struct eval *ev = ctx;
	ev->sampling_named = "--min-p";
	return sampling_min_p(value, &ev->sampling, err);
}

static int set_sampling_seed(void *ctx, const char *value, struct error *err)
{
	struct eval *ev = ctx;
	ev->sampling_named = "--sampling-seed";
	return sampling_seed(value, &ev->sampling, err);
}

static const struct option_spec eval_options[] = {
	{"-m, --model", "FILE", "the GGUF file", set_model},
	{"--tokens", "LIST|FILE", "token ids: 2,17,4 or a file of numbers (a JSON array is one too)", set_tokens},
	{"-o, --output", "FILE", "write the logits: raw little-endian float32 [n_tokens][n_vocab]", set_output},
	{"--force", NULL, "-o: replace a file that exists; never one that is read", set_force},
	{"--prefill", "N", "prefill the first N tokens, decode the rest (default: all)", set_prefill},
	{"--prefill-rows", "all|last",
	 "of the prefilled tokens: all: every row's logits; last: only the last row's, as a prompt of gemmark bench\n"
	 "computes them; -o and the perplexity then begin with it (default: all)",
	 set_prefill_rows},
	{"--snapkv", "off|BUDGET[,window=W][,pool=P]",
	 "of the prefilled tokens keep BUDGET entries, the last W among them; scores pooled over P keys "
	 "(default: off; 64, 7)",
	 set_snapkv},
	{"--generate", "N", "then generate N tokens, each fed back, and print their ids", set_generate},
	{"--stop-token", "ID", "of --generate: the token behind which nothing more is generated (default: none)",
	 set_stop_token},
	{"--temp", "T", "of --generate: the temperature; 0: always the token of the greatest logit (default: 0)",
	 set_temperature},
	{"--top-k", "K", "first, of those the K most probable; 0: all (default: 0)", set_top_k},
	{"--top-p", "P", "then the fewest, the most probable, whose probabilities add up to P (default: 1)", set_top_p},
	{"--min-p", "P", "then those P times as probable as the most probable one, or more (default: 0)", set_min_p},
	{"--sampling-seed", "N", "of the draw among what is left, which N and the position decide (default: 0)",
	 set_sampling_seed},
	{"--mode", "MODE",
	 "how decoded tokens run: direct, graph-params, graph-update, graph-device,\ngraph-patch, graph-loop, "
	 "graph-while (default: direct)",
	 set_mode},
	{"--fusion", "none|full|persistent",
	 "primitives, fused kernels or one kernel for a decoded token (default: full)", set_fusion},
	{"-b, --batch", "N", "longest prefill chunk in tokens (default: 512)", set_batch},
	{"-ub, --ubatch-size", "N", "the same, as gemmark bench calls it; of both the smaller", set_ubatch},
	{"-ngl, --n-gpu-layers", "N|auto",
	 "layers on the GPU, the first ones; the others run on the host; -1: all where there is a GPU;\n"
	 "auto: as many as its free memory takes (default: -1)",
	 set_gpu_layers},
	{"--device-memory", "BYTES", "of the GPU, for -ngl auto: 8G, 512M (default: what it has free)",
	 set_device_memory},
	{"--head", "gpu|cpu", "GPU: where the output head runs (default: gpu)", set_head},
	{"-ctk, --cache-type-k", "TYPE", "K cache, one of" TENSOR_CACHE_TYPE_WORDS " (default: f16)", set_k_type},
	{"-ctv, --cache-type-v", "TYPE", "V cache, one of" TENSOR_CACHE_TYPE_WORDS " (default: f16)", set_v_type},
	{"-t, --threads", "N", "host threads; 0: one a physical core, within the CPU quota (default: 0)", set_threads},
	{"--prefill-precision", "f16|f32", "GPU: of a prompt's matrix products, for 9 tokens and more (default: f16)",
	 set_prefill_precision},
	{"--prefill-weights", "auto|resident|convert|N",
	 "GPU: these products' weights: a copy in f16 that stays, or one made for each chunk; N: the first N layers' "
	 "stay; auto: of as many as leave memory ample (default: auto)",
	 set_prefill_weights},
	{"--host-products", "f32|bf16",
	 "host: of a prompt's matrix products with Q8_0 and BF16 weights, for 9 tokens and more; bf16 takes a\n"
	 "CPU with AVX512_BF16 (default: f32)",
	 set_host_products},
	{"--ple", "device|host", "GPU: where the per-layer embedding table is (default: device)", set_ple},
	{"--pdl", "on|off", "GPU: programmatic dependent launch, on cards that have it (default: on)", set_pdl},
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
	.options = eval_options,
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
	int chunk = ev->session.load.batch, rc = 0;
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
	int rc = session_observe(s, &ev->snapkv, n, err);
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
	int token = -1, n = 0, rc = session_generate_begin(s, &ev->sampling, ev->n_generated, ev->stop_token, err);
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
	if (ev->snapkv.budget)
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

/* -ngl auto to a number. */
static int settle_layers(struct eval *ev, struct error *err)
{
	struct placement_plan plan = {0};
	struct model m;
	struct error why;
	size_t bytes;
	int rc = 0;
	if (device_cuda_free_memory(&bytes, &why)) {
		fprintf(stderr, "gemmark eval: -ngl auto: all layers on the host: %s\n", why.text);
	} else if (!(rc = model_open(&m, ev->model, err))) {
		rc = gpu_layers_choose(&m, &ev->session.load, ev->session.context,
				       ev->device_memory ? ev->device_memory : bytes, stderr, &plan, err);
		model_close(&m);
	}
	ev->session.load.n_gpu_layers = plan.n_gpu_layers;
	return rc;
}

/* What is to be replaced may be a part of the model that is not named. */
static int check_parts(const struct eval *ev, struct error *err)
{
	struct gguf g;
	int rc = gguf_open(&g, ev->model, err);
	for (int i = 0; !rc && i < g.n_parts; i++)
		rc = output_option_check("-o", ev->output, true, (const char *[]){gguf_part_path(&g, i)}, 1, err);
	gguf_close(&g);
	return rc;
}

static int run(struct eval *ev, struct error *err)
{
	const char *inputs[] = {ev->model, token_list_is_ids(ev->tokens_arg) ? NULL : ev->tokens_arg};
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
	ev->session.context = ev->tokens.n + (ev->n_generated ? ev->n_generated - 1 : 0);
	if (ev->session.load.n_gpu_layers == AXIS_LAYERS_AUTO && (rc = settle_layers(ev, err)))
		return rc;
	struct session *s = NULL;
	struct logits_sink k;
	struct remarks remarks = {0};
	rc = logits_sink_open(&k, ev->output, ev->force, err);
	if (!rc)
		rc = session_open(&s, ev->model, &ev->session, err);
	if (!rc && ev->stop_token >= session_model(s)->n_vocab)
		rc = error_set(err, ERROR_INPUT, "--stop-token %d is not in the vocabulary of %d", ev->stop_token,
			       session_model(s)->n_vocab);
	/* Before the prompt, which may take long. */
	if (!rc && (ev->n_generated > 1 || prefilled(ev) < ev->tokens.n))
		rc = session_prepare(s, err);
	if (!rc) {
		if (*session_gpu_reason(s))
			fprintf(stderr, "gemmark eval: on the host: %s\n", session_gpu_reason(s));
		if (ev->prefill_named && !session_gpu_layers(s))
			engine_settings_no_gpu("eval");
		k.tokens = ev->tokens.tokens;
		k.n_tokens = ev->tokens.n;
		k.first = first_row(ev);
		k.model = &session_model(s)->file;
		k.n_vocab = session_model(s)->n_vocab;
		trained_context_warn("eval", ev->model, session_model(s)->n_context, ev->session.context, "");
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

/* Not more where nobody asks: every row has logits, a megabyte of them. */
static void settle_chunk(struct eval *ev)
{
	int *chunk = &ev->session.load.batch;
	*chunk = ev->ubatch ? ev->ubatch : ev->batch ? ev->batch : LOADED_MODEL_BATCH;
	if (ev->batch && *chunk > ev->batch) {
		fprintf(stderr, "gemmark eval: -ub %d: lowered to %d, as -b says\n", *chunk, ev->batch);
		*chunk = ev->batch;
	}
}

/* An option that would change nothing. */
static int check_sampling(const struct eval *ev, struct error *err)
{
	if (ev->stop_token >= 0 && !ev->n_generated)
		return error_set(err, ERROR_INPUT, "--stop-token: nothing is generated; add --generate N");
	if (ev->sampling_named && !ev->n_generated)
		return error_set(err, ERROR_INPUT, "%s: nothing is generated; add --generate N", ev->sampling_named);
	if (ev->sampling_named && strcmp(ev->sampling_named, "--temp") != 0 && ev->sampling.temperature == 0)
		return error_set(err, ERROR_INPUT,
				 "%s: at temperature 0 the greatest logit's token is taken anyway; add --temp, as 1",
				 ev->sampling_named);
	return 0;
}

int cmd_eval(int argc, char **argv)
{
	struct error err = {0};
	struct eval ev = {.prefill = -1, .rows = PREFILL_ROWS_ALL, .stop_token = -1};
	session_options_default(&ev.session);
	sampling_options_default(&ev.sampling);
	int rc = options_parse(&eval_command, argc, argv, &ev, &err);
	if (rc > 0)
		return 0;
	if (!rc && (!ev.model || !ev.tokens_arg))
		rc = error_set(&err, ERROR_INPUT, "%s is missing; see gemmark eval --help",
			       ev.model ? "--tokens" : "-m FILE");
	if (!rc)
		rc = check_sampling(&ev, &err);
	if (!rc) {
		settle_chunk(&ev);
		rc = run(&ev, &err);
	}
	free(ev.tokens.tokens);
	return rc ? command_fail("eval", rc, &err) : 0;
}
