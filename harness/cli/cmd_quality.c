/*
 * gemmark quality: what evicting entries of a prompt's cache does to a trained model's next tokens, by policy and
 * budget. The study is harness/measure/quality_study.h, what it comes to harness/report/quality_summary.h.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "engine/infer/session.h"
#include "engine/model/synth.h"
#include "harness/cli/changed_file.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/engine_quality.h"
#include "harness/cli/model_facts.h"
#include "harness/cli/model_options.h"
#include "harness/cli/options.h"
#include "harness/cli/results_directory.h"
#include "harness/cli/text_input.h"
#include "harness/measure/needle.h"
#include "harness/measure/quality_study.h"
#include "harness/plot/plot.h"
#include "harness/record/build_info.h"
#include "harness/record/run_directory.h"
#include "harness/report/quality_summary.h"

enum { CONTEXT_MAX = 1 << 20, SEEDS_MAX = 256, SINKS_MAX = 1024 };

struct quality_command {
	struct model_options model; /* first: what model_options.h expects */
	const char *text;
	const char *out; /* null: one of its own */
	struct quality_list contexts;
	struct quality_study study;
	struct text_input bytes;
	struct tokenizer *tokenizer;
	struct token_ids ids;
	struct quality_file file;
	const char *const *words; /* (n_words): of the command line */
	int n_words;
	int64_t began_ns;
	int steps, done; /* rows of texts, for the progress */
};

/* ---- options ---- */

/* Numbers from least to most, separated by commas, each once. */
static int set_list(const char *value, int least, int most, struct quality_list *out, struct error *err)
{
	char word[16];
	out->n = 0;
	for (;;) {
		size_t n = strcspn(value, ",");
		int v;
		if (n >= sizeof word || out->n == QUALITY_BUDGETS)
			return error_set(err, ERROR_INPUT, "'%s' is no list of at most %d numbers, as 64,128,256",
					 text_show(value, strlen(value)).text, QUALITY_BUDGETS);
		memcpy(word, value, n);
		word[n] = '\0';
		int rc = options_int(word, "each", least, most, &v, err);
		if (rc)
			return rc;
		for (int i = 0; i < out->n; i++)
			if (out->at[i] == v)
				return error_set(err, ERROR_INPUT, "%d is there twice; leave one out", v);
		out->at[out->n++] = v;
		if (!value[n])
			return 0;
		value += n + 1;
	}
}

static struct quality_command *command_of(void *ctx)
{
	return ctx;
}

static int set_text(void *ctx, const char *value, struct error *err)
{
	(void)err;
	command_of(ctx)->text = value;
	return 0;
}

static int set_out(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "the folder's name is empty");
	command_of(ctx)->out = value;
	return 0;
}

static int set_budgets(void *ctx, const char *value, struct error *err)
{
	return set_list(value, 1, CONTEXT_MAX, &command_of(ctx)->study.budgets, err);
}

static int set_windows(void *ctx, const char *value, struct error *err)
{
	return set_list(value, 1, SNAPKV_MAX_WINDOW, &command_of(ctx)->study.windows, err);
}

static int set_pools(void *ctx, const char *value, struct error *err)
{
	struct quality_list *l = &command_of(ctx)->study.pools;
	int rc = set_list(value, 1, SNAPKV_MAX_POOL, l, err);
	for (int i = 0; i < l->n && !rc; i++)
		if (l->at[i] % 2 == 0)
			rc = error_set(err, ERROR_INPUT, "a pool of %d is not centred on a key: take an odd one",
				       l->at[i]);
	return rc;
}

static int set_contexts(void *ctx, const char *value, struct error *err)
{
	return set_list(value, 1, CONTEXT_MAX, &command_of(ctx)->contexts, err);
}

static int set_policies(void *ctx, const char *value, struct error *err)
{
	struct quality_list *l = &command_of(ctx)->study.policies;
	l->n = 0;
	for (;; value++) {
		size_t n = strcspn(value, ",");
		int p = QUALITY_SNAPKV;
		while (p < QUALITY_POLICIES &&
		       (strlen(quality_policies[p]) != n || strncmp(value, quality_policies[p], n) != 0))
			p++;
		if (p == QUALITY_POLICIES)
			return error_set(err, ERROR_INPUT, "'%s' is no policy: snapkv, recency, random, stride",
					 text_show(value, n).text);
		for (int i = 0; i < l->n; i++)
			if (l->at[i] == p)
				return error_set(err, ERROR_INPUT, "%s is there twice; leave one out",
						 quality_policies[p]);
		l->at[l->n++] = p;
		value += n;
		if (!*value)
			return 0;
	}
}

static int set_continuation(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--continuation", 1, QUALITY_CONTINUATION_MAX, &command_of(ctx)->study.continuation,
			   err);
}

static int set_seeds(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--seeds", 1, SEEDS_MAX, &command_of(ctx)->study.n_seeds, err);
}

static int set_needles(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--needles", 0, NEEDLES_MAX, &command_of(ctx)->study.n_needles, err);
}

static int set_sinks(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--sinks", 0, SINKS_MAX, &command_of(ctx)->study.sinks, err);
}

static int set_seed(void *ctx, const char *value, struct error *err)
{
	int seed, rc = options_int(value, "--seed", 0, 1 << 30, &seed, err);
	command_of(ctx)->study.seed = (uint64_t)seed;
	return rc;
}

static const struct option_spec own_options[] = {
	{"--text", "FILE|-", "English text (-: standard input), by the model's own vocabulary: prompts are cut from it",
	 set_text},
	{"--budgets", "LIST", "entries kept of a KV head of a global layer (default: 64,128,256)", set_budgets},
	{"--policies", "LIST",
	 "of snapkv; recency: the first and the last entries; random: some of each layer and KV head;\n"
	 "stride: evenly spaced ones (default: all)",
	 set_policies},
	{"--windows", "LIST", "last tokens of a prompt, which vote, and which every policy keeps (default: 32)",
	 set_windows},
	{"--pools", "LIST", "snapkv: keys over which scores are pooled, odd (default: 7)", set_pools},
	{"--sinks", "N", "first entries that the other policies keep (default: 4)", set_sinks},
	{"--contexts", "LIST", "tokens of a prompt (default: 1024)", set_contexts},
	{"--continuation", "N", "tokens of the text that are fed behind it and scored, at most 512 (default: 64)",
	 set_continuation},
	{"--seeds", "N", "pieces of the text, each a prompt (default: 8)", set_seeds},
	{"--needles", "N",
	 "sentences hidden in a second prompt of each, and asked for before the eviction and behind it; at most 16\n"
	 "(default: 3)",
	 set_needles},
	{"--seed", "N", "of what is drawn: pieces, needles, the random policy (default: 1)", set_seed},
	{"-o, --out", "DIR", "where the results go: absent or empty (default: a new one in results)", set_out},
	{0},
};

static const struct command quality_command = {
	.name = "quality",
	.summary = "what KV eviction does to a trained model: divergence, perplexity, needles, by policy and budget",
	.usage = "gemmark quality -m FILE --text FILE [options]",
	.examples =
		"gemmark quality -m model.gguf --text book.txt\n"
		"gemmark quality -m model.gguf --text book.txt --budgets 128,512 --contexts 4096 --seeds 16\n"
		"gemmark quality -m model.gguf --text book.txt --policies snapkv,recency --windows 16,64 --pools 1,7",
};

/* What chooses tokens, evicts by itself or is of decoded tokens has nothing to do here. */
static bool applies(const char *names)
{
	static const char *const others[] = {"--snapkv", "--temp", "--top-k", "--top-p",
					     "--min-p",  "--mode", "--fusion"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (!strcmp(names, others[i]))
			return false;
	return true;
}

static void join_options(struct option_spec all[MODEL_OPTIONS_MAX])
{
	int n = 0;
	model_options_join(own_options, all);
	for (int i = 0; all[i].names; i++)
		if (applies(all[i].names))
			all[n++] = all[i];
	all[n] = (struct option_spec){0};
}

/* ---- the run ---- */

static void show_progress(const struct quality_command *q)
{
	double left = (double)(clock_ns() - q->began_ns) * 1e-9 * (q->steps - q->done) / (q->done ? q->done : 1);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%d of %d evictions of texts; %.0f s to go \033[K", q->done, q->steps, left);
}

static int found_text(void *ctx, const struct quality_text_row *row, struct error *err)
{
	struct quality_command *q = ctx;
	q->done++;
	show_progress(q);
	return quality_file_text(&q->file, row, err);
}

static int found_needle(void *ctx, const struct quality_needle_row *row, struct error *err)
{
	return quality_file_needle(&((struct quality_command *)ctx)->file, row, err);
}

static json_t *list_json(const struct quality_list *l)
{
	json_t *list = json_array();
	for (int i = 0; i < l->n; i++)
		json_array_append_new(list, json_integer(l->at[i]));
	return list;
}

/* The texts and what is done to them. */
static json_t *asked_json(const struct quality_command *q)
{
	const struct quality_study *t = &q->study;
	char text[17];
	snprintf(text, sizeof text, "%016llx", (unsigned long long)hash_bytes(q->bytes.bytes, q->bytes.n, 0));
	json_t *policies = json_array();
	for (int i = 0; i < t->policies.n; i++)
		json_array_append_new(policies, json_string(quality_policies[t->policies.at[i]]));
	return json_pack("{s:s, s:I, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:o, s:o, s:o}", "text_hash", text,
			 "text_tokens", (json_int_t)q->ids.n, "continuation", t->continuation, "seeds", t->n_seeds,
			 "needles", t->n_needles, "sinks", t->sinks, "seed", (json_int_t)t->seed, "contexts",
			 list_json(&q->contexts), "budgets", list_json(&t->budgets), "windows", list_json(&t->windows),
			 "pools", list_json(&t->pools), "policies", policies);
}

/* The model, and how it is computed. env: has the model's file and hash. */
static json_t *conditions_json(const struct quality_command *q, const struct session *s, const json_t *env)
{
	const struct model *m = session_model(s);
	const struct load_options *o = session_loaded_options(s);
	const json_t *file = json_array_get(json_object_get(env, "models"), 0);
	const int n_gpu = session_gpu_layers(s);
	char device[160], head[160];
	return json_pack("{s:s, s:O, s:O, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:o, s:s, s:s, "
			 "s:s}",
			 "model", m->name, "model_path_name", json_object_get(file, "file"), "model_hash",
			 json_object_get(file, "xxh3_64"), "weight_type", model_weight_type(m), "device",
			 engine_device_label(session_device_name(s), device, sizeof device), "head_device",
			 engine_device_label(session_head_device_name(s), head, sizeof head), "commit",
			 build_info()->label, "n_gpu_layers", n_gpu, "threads", session_threads(s), "cache_k",
			 tensor_type_name(o->k_type), "cache_v", tensor_type_name(o->v_type), "mode",
			 graph_mode_name(q->model.session.mode), "fusion", fusion_name(q->model.session.fusion),
			 "n_ubatch", o->batch, "prefill_precision", prefill_precision_name(o->prefill),
			 "prefill_weights",
			 n_gpu ? json_string(prefill_weights_name(o->prefill_weights).text) : json_null(),
			 "host_products", host_products_name(o->host_products), "ple",
			 o->ple_on_host ? "host" : "device", "pdl", o->pdl ? "on" : "off");
}

/* What the rows are of: study.json, and env.json of the machine. */
static int save_study(const struct quality_command *q, const struct session *s, const struct run_directory *d,
		      const json_t *env, struct error *err)
{
	json_t *o = conditions_json(q, s, env), *asked = asked_json(q);
	int rc = !o || json_object_update(o, asked) ? error_set(err, ERROR_MEMORY, "no memory for study.json")
						    : run_directory_save_json(d, "study.json", o, err);
	json_decref(o);
	json_decref(asked);
	return rc ? rc : run_directory_save_json(d, "env.json", env, err);
}

static int study(struct quality_command *q, struct session *s, const struct run_directory *d, const json_t *env,
		 struct error *err)
{
	struct engine_quality engine;
	int rc = save_study(q, s, d, env, err);
	if (!rc)
		rc = quality_file_open(&q->file, d, err);
	engine_quality_init(&engine, s, q->tokenizer);
	q->began_ns = clock_ns();
	q->steps = q->contexts.n * q->study.n_seeds * (1 + quality_study_choices(&q->study));
	for (int i = 0; i < q->contexts.n && !rc; i++) {
		q->study.context = q->contexts.at[i];
		rc = quality_study_run(&q->study, &engine.subject, err);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	engine_quality_free(&engine);
	int closed = quality_file_close(&q->file, rc ? NULL : err);
	return rc ? rc : closed;
}

static int summarize(const struct quality_command *q, const struct run_directory *d, struct error *err)
{
	struct quality_summary_row *rows;
	int n, rc = quality_summary_make(&q->file.rows, &rows, &n, err);
	if (!rc)
		rc = quality_summary_write(d, rows, n, err);
	if (!rc)
		quality_summary_print(stdout, rows, n);
	free(rows);
	return rc;
}

static void print_note(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "gemmark quality: %s\n", line);
}

/* The rows are there whatever gnuplot does. */
static void draw(const struct run_directory *d)
{
	struct error err = {""};
	const struct plot_request request = {.dir = d->path,
					     .formats = PLOT_FORMAT_SVG | PLOT_FORMAT_PNG,
					     .gnuplot = "gnuplot",
					     .timeout_s = 60,
					     .note = print_note};
	if (plot_results(&request, &err))
		fprintf(stderr, "gemmark quality: no figures: %s; gemmark plot %s draws them\n", err.text,
			text_show_path(d->path).text);
}

static int read_text(struct quality_command *q, struct error *err)
{
	int rc = text_input_read(q->text, "--text", &q->bytes, err);
	if (!rc)
		rc = text_input_model_tokens(q->model.model, &q->bytes, (struct text_tokens){.begin = false},
					     &q->tokenizer, &q->ids, err);
	if (!rc && q->ids.n > 1 << 30)
		rc = error_set(err, ERROR_INPUT, "--text: %zu tokens are too many; give a shorter one", q->ids.n);
	q->study.text = q->ids.ids;
	q->study.n_text = (int)q->ids.n;
	for (int i = 0; i < q->contexts.n && !rc; i++) {
		q->study.context = q->contexts.at[i];
		rc = quality_study_check(&q->study, err);
	}
	return rc;
}

static int make_directory(struct quality_command *q, struct run_directory *d, struct error *err)
{
	char path[RESULTS_DIRECTORY_SIZE];
	int number, rc = q->out ? run_directory_check_new(q->out, err)
				: results_directory_make("results", "quality", path, &number, err);
	if (rc == ERROR_INPUT && q->out)
		rc = error_set(err, ERROR_INPUT,
			       "%s is no empty folder, and results are never overwritten; name a new one",
			       text_show_path(q->out).text);
	return rc ? rc : run_directory_make(d, q->out ? q->out : path, err);
}

/* The model is read and hashed. */
static int collect_environment(const struct quality_command *q, json_t **env, struct error *err)
{
	const struct environment_inputs in = {.models = &q->model.model,
					      .n_models = 1,
					      .command_line = q->words,
					      .n_words = q->n_words,
					      .seed = &q->study.seed};
	return engine_environment_collect(&in, env, err);
}

static int run(struct quality_command *q, struct error *err)
{
	struct session *s = NULL;
	json_t *env = NULL;
	struct run_directory d = {.fd = -1};
	int longest = 0, rc = read_text(q, err);
	for (int i = 0; i < q->contexts.n; i++)
		longest = q->contexts.at[i] > longest ? q->contexts.at[i] : longest;
	q->model.session.context = longest + QUALITY_BEHIND_MAX;
	if (!rc && !(rc = model_options_layers(&q->model, "quality", err)))
		rc = session_open(&s, q->model.model, &q->model.session, err);
	if (!rc)
		rc = text_input_check(q->tokenizer, q->model.model, session_model(s)->n_vocab, err);
	if (!rc)
		rc = collect_environment(q, &env, err);
	if (!rc)
		rc = make_directory(q, &d, err);
	if (!rc) {
		model_options_remark(&q->model, s, "quality");
		if (synth_made(&session_model(s)->file))
			fputs("gemmark quality: the weights are random, as the file says: what is found means "
			      "nothing\n",
			      stderr);
		rc = study(q, s, &d, env, err);
	}
	if (!rc)
		rc = gguf_check(&session_model(s)->file, changed_file_remedy(), err);
	if (!rc)
		rc = summarize(q, &d, err);
	if (!rc) {
		draw(&d);
		fprintf(stderr, "gemmark quality: results in %s\n", text_show_path(d.path).text);
	}
	quality_rows_free(&q->file.rows);
	json_decref(env);
	run_directory_close(&d);
	if (s)
		session_close(s);
	return rc;
}

int cmd_quality(int argc, char **argv)
{
	struct error err = {0};
	struct quality_command q = {
		.words = (const char *const *)argv,
		.n_words = argc,
		.contexts = {1, {1024}},
		.study = {.continuation = 64,
			  .n_seeds = 8,
			  .n_needles = 3,
			  .sinks = 4,
			  .seed = 1,
			  .budgets = {3, {64, 128, 256}},
			  .windows = {1, {32}},
			  .pools = {1, {SNAPKV_POOL}},
			  .policies = {4, {QUALITY_SNAPKV, QUALITY_RECENCY, QUALITY_RANDOM, QUALITY_STRIDE}},
			  .found_text = found_text,
			  .found_needle = found_needle}};
	struct option_spec all[MODEL_OPTIONS_MAX];
	struct command command = quality_command;
	q.study.ctx = &q;
	model_options_default(&q.model);
	join_options(all);
	command.options = all;
	int rc = options_parse(&command, argc, argv, &q, &err);
	if (rc > 0)
		return 0;
	if (!rc && q.model.model && !q.text)
		rc = error_set(&err, ERROR_INPUT, "--text FILE is missing: prompts are cut from it");
	if (!rc)
		rc = model_options_settle(&q.model, "quality", &err);
	if (!rc)
		rc = run(&q, &err);
	tokenizer_close(q.tokenizer);
	token_ids_free(&q.ids);
	free(q.bytes.bytes);
	return rc ? command_fail("quality", rc, &err) : 0;
}
