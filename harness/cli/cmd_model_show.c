/*
 * `gemmark model show`: a GGUF file's shape, what a decoded token reads of its
 * weights, and what its cache takes, as engine/model/model.h has it; with --device, what its layers take of a
 * GPU's memory and the host's, as engine/infer/placement_plan.h has it.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/cuda/device_cuda.h"
#include "engine/device/device_host.h"
#include "engine/model/model.h"
#include "harness/cli/cmd_model.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/sweep/axis_values.h"

enum { MAX_CONTEXTS = 32 };

struct show {
	const char *path;
	int contexts[MAX_CONTEXTS];
	int n_contexts;
	struct load_options load;
	struct axis_values fusions;
	bool device;
	size_t device_memory; /* 0: what the GPU has free */
	bool tensors;
};

static int apply_context(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	for (const char *item = value;; item++) {
		char word[16];
		size_t n = strcspn(item, ",");
		if (n >= sizeof word)
			return error_set(err, ERROR_INPUT, "\"%s\" is no context length", item);
		memcpy(word, item, n);
		word[n] = 0;
		if (s->n_contexts == MAX_CONTEXTS)
			return error_set(err, ERROR_INPUT, "more than %d context lengths", MAX_CONTEXTS);
		int rc = options_int(word, "context", 1, 1 << 30, &s->contexts[s->n_contexts], err);
		if (rc)
			return rc;
		s->n_contexts++;
		item += n;
		if (!*item)
			return 0;
	}
}

static int apply_k_type(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_cache_type(value, &s->load.k_type, err);
}

static int apply_v_type(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_cache_type(value, &s->load.v_type, err);
}

static int apply_device(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	struct show *s = ctx;
	s->device = true;
	return 0;
}

static int apply_device_memory(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	s->device = true;
	return gpu_layers_bytes(value, &s->device_memory, err);
}

static int apply_gpu_layers(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return gpu_layers_parse(value, &s->load.n_gpu_layers, err);
}

static int apply_head(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_head(value, &s->load.head_on_host, err);
}

static int apply_ple(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_ple(value, &s->load.ple_on_host, err);
}

static int apply_prefill_weights(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_prefill_weights(value, &s->load.prefill_weights, err);
}

static int apply_fusion(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return axis_words_add(&s->fusions, "--fusion", value, engine_fusions, err);
}

static int apply_batch(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	return options_int(value, "--batch", 1, 1 << 16, &s->load.batch, err);
}

static int apply_tensors(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	struct show *s = ctx;
	s->tensors = true;
	return 0;
}

static int positional(void *ctx, const char *value, struct error *err)
{
	struct show *s = ctx;
	if (s->path)
		return error_set(err, ERROR_INPUT, "\"%s\": one file at a time, and %s came first", value, s->path);
	s->path = value;
	return 0;
}

static const struct option_spec options[] = {
	{"-c, -d, --context", "N[,N...]",
	 "context lengths to give the cache's size for, default: a ladder; with --device, to plan for, default: as "
	 "trained",
	 apply_context},
	{"-ctk, --cache-type-k", "T", "of keys, one of" TENSOR_CACHE_TYPE_WORDS "; default f16", apply_k_type},
	{"-ctv, --cache-type-v", "T", "of values; default f16", apply_v_type},
	{"--device", NULL, "how many layers fit the GPU beside the cache, and what takes its memory and the host's",
	 apply_device},
	{"--device-memory", "BYTES", "the same for a GPU with so much free: 8G, 512M; needs no GPU",
	 apply_device_memory},
	{"-ngl, --n-gpu-layers", "N|auto", "--device: for so many layers on the GPU; default auto, as many as fit",
	 apply_gpu_layers},
	{"--head", "gpu|cpu", "--device: where the output head runs; default gpu", apply_head},
	{"--ple", "device|host", "--device: where the per-layer embedding table is; default device", apply_ple},
	{"--prefill-weights", "auto|resident|convert|N",
	 "--device: whether prompts have a copy of the layers' weights in f16, or of the first N layers'; default "
	 "auto, "
	 "of as many as leave memory ample",
	 apply_prefill_weights},
	{"--fusion", "none,full,persistent",
	 "--device: for sessions in these fusions, or all, of which persistent keeps the weights once more; default "
	 "full",
	 apply_fusion},
	{"-b, --batch", "N", "--device: longest prefill chunk in tokens; default: as for bench", apply_batch},
	{"--tensors", NULL, "list every tensor: type, shape (innermost first), bytes, offset in the file",
	 apply_tensors},
	{NULL, NULL, NULL, NULL},
};

static const struct command command = {
	.name = "model show",
	.summary = "What a GGUF file holds, what a decoded token reads of it, what its cache takes.",
	.usage = "gemmark model show FILE [options]",
	.examples = "gemmark model show e4b.gguf\n"
		    "gemmark model show e4b.gguf -c 4096,131072 -ctk f32 -ctv f32\n"
		    "gemmark model show e4b.gguf --tensors\n"
		    "gemmark model show e4b.gguf --device-memory 4G -c 8192\n"
		    "gemmark model show e4b.gguf --device-memory 16G -c 8192 --fusion full,persistent\n",
	.options = options,
	.positional = positional,
};

/* A tensor's name, and blanks up to the width. */
static void print_name(struct gguf_string s, int width)
{
	char name[256];
	text_name(name, sizeof name, s.data, s.size);
	printf("%s%*s", name, width > text_width(name) ? width - text_width(name) : 0, "");
}

static int64_t elements(const struct gguf_tensor *t)
{
	int64_t n = 1;
	for (int i = 0; i < t->n_dims; i++)
		n *= t->ne[i];
	return n;
}

static void show_model(const struct model *m)
{
	double parameters = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++)
		parameters += (double)elements(&m->file.tensors[i]);
	printf("%s\n", text_show_path(m->file.path).text);
	printf("  architecture    %s\n", model_arch_name(m->arch));
	printf("  name            %s\n", m->name);
	const char *file_type = model_file_type(m);
	printf("  parameters      %s\n", short_text(parameters, "").text);
	printf("  file type       %s\n", file_type ? file_type : "none given that is known");
	printf("  file            %zu bytes (%s), %zu tensors", m->file.map_bytes,
	       short_text((double)m->file.map_bytes, "B").text, m->file.n_tensors);
	if (m->file.n_parts > 1)
		printf(", in %d parts", m->file.n_parts);
	putchar('\n');
	printf("  layers          %d\n", m->n_layer);
	printf("  width           %d\n", m->n_embd);
	printf("  vocabulary      %d tokens, %s\n", m->n_vocab,
	       m->output == m->token_embd ? "head tied to the embedding" : "head of its own");
	printf("  context         %d positions\n", m->n_context);
	if (m->window)
		printf("  window          %d positions on sliding layers\n", m->window);
	if (m->n_ple)
		printf("  PLE             %d wide, table of %s\n", m->n_ple,
		       short_text((double)m->per_layer_token_embd->bytes, "B").text);
	if (m->n_expert)
		printf("  experts         %d of %d used, %d wide\n", m->n_expert_used, m->n_expert, m->n_ff_expert);
	if (m->softcap > 0)
		printf("  softcap         %g\n", (double)m->softcap);
}

/* Layers of one kind are one row of the table. */
static bool same_kind(const struct model *m, int a, int b)
{
	const struct model_layer *x = &m->layers[a], *y = &m->layers[b];
	bool x_own = x->kv_source == a, y_own = y->kv_source == b;
	return x->sliding == y->sliding && x->n_head == y->n_head && x->n_head_kv == y->n_head_kv &&
	       x->head_dim == y->head_dim && x->n_ff == y->n_ff && x->v_is_k == y->v_is_k && x_own == y_own &&
	       (x_own || x->kv_source == y->kv_source);
}

static void show_layers(const struct model *m)
{
	printf("\n  layers  attention  K/V                q heads  kv heads  head dim     FFN\n");
	for (int i = 0; i < m->n_layer; i++) {
		int count = 0, before = 0;
		for (int j = 0; j < m->n_layer; j++)
			if (same_kind(m, i, j)) {
				count++;
				before += j < i;
			}
		if (before)
			continue;
		const struct model_layer *l = &m->layers[i];
		char kv[32];
		if (l->kv_source != i)
			snprintf(kv, sizeof kv, "of layer %d", l->kv_source);
		else
			snprintf(kv, sizeof kv, "%s", l->v_is_k ? "own, V = K" : "own");
		printf("  %6d  %-9s  %-17s  %7d  %8d  %8d  %6d\n", count, l->sliding ? "sliding" : "global", kv,
		       l->n_head, l->n_head_kv, l->head_dim, l->n_ff);
	}
}

static void show_types(const struct model *m)
{
	printf("\n  type   tensors      parameters           bytes\n");
	for (int k = 0; k < tensor_type_count; k++) {
		long long n = 0, parameters = 0;
		size_t bytes = 0;
		for (size_t i = 0; i < m->file.n_tensors; i++) {
			const struct gguf_tensor *t = &m->file.tensors[i];
			if (t->type != tensor_types[k].type)
				continue;
			n++;
			parameters += elements(t);
			bytes += t->bytes;
		}
		if (n)
			printf("  %-6s %7lld  %14lld  %14zu\n", tensor_types[k].name, n, parameters, bytes);
	}
}

static size_t bytes_of(const struct gguf_tensor *t)
{
	return t ? t->bytes : 0;
}

static void print_share(const char *what, size_t bytes, size_t total)
{
	printf("  %-34s  %14zu  %9s  %5.1f %%\n", what, bytes, short_text((double)bytes, "B").text,
	       total ? 100.0 * (double)bytes / (double)total : 0);
}

static void show_decode(const struct model *m)
{
	size_t total = model_decode_bytes(m), attention = 0, ffn = 0;
	size_t ple = bytes_of(m->per_layer_model_proj) + bytes_of(m->per_layer_proj_norm);
	size_t head = bytes_of(m->output) + bytes_of(m->output_norm);
	for (int i = 0; i < m->n_layer; i++) {
		const struct model_layer *l = &m->layers[i];
		size_t a = bytes_of(l->attn_norm) + bytes_of(l->attn_q) + bytes_of(l->attn_k) + bytes_of(l->attn_v) +
			   bytes_of(l->attn_output) + bytes_of(l->attn_q_norm) + bytes_of(l->attn_k_norm) +
			   bytes_of(l->post_attention_norm);
		size_t e = bytes_of(l->inp_gate) + bytes_of(l->proj) + bytes_of(l->post_norm);
		attention += a;
		ple += e;
		ffn += model_layer_bytes(m, i) - a - e; /* with the layer's output scale, 4 bytes */
	}
	printf("\n  weights read per decoded token\n");
	print_share("attention", attention, total);
	char what[64];
	if (m->n_expert)
		snprintf(what, sizeof what, "FFN and %d of %d experts", m->n_expert_used, m->n_expert);
	else
		snprintf(what, sizeof what, "FFN");
	print_share(what, ffn, total);
	if (m->n_ple)
		print_share("PLE projections", ple, total);
	print_share("head", head, total);
	print_share(m->n_ple ? "rows gathered, embedding and PLE" : "row gathered, embedding",
		    total - attention - ffn - ple - head, total);
	print_share("all", total, total);
}

static void show_cache(const struct model *m, const struct show *s)
{
	enum { LADDER = 7, FIRST = 512 };
	int contexts[MAX_CONTEXTS], n = s->n_contexts;
	memcpy(contexts, s->contexts, sizeof contexts);
	if (n == 0) {
		for (int c = FIRST; n < LADDER && c < m->n_context; c *= 4)
			contexts[n++] = c;
		contexts[n++] = m->n_context;
	}
	printf("\n  K/V cache: keys %s, values %s; prefill adds its batch to each sliding layer\n",
	       tensor_type_name(s->load.k_type), tensor_type_name(s->load.v_type));
	for (int i = 0; i < n; i++) {
		/* slack 1: tokens are appended one by one. */
		size_t bytes = model_kv_bytes(m, contexts[i], 1, s->load.k_type, s->load.v_type);
		printf("  %10d positions %14zu bytes  %9s%s\n", contexts[i], bytes, short_text((double)bytes, "B").text,
		       contexts[i] > m->n_context ? "  beyond the trained context" : "");
	}
}

static void show_tensors(const struct model *m)
{
	printf("\n  %-33s %-6s %-13s %10s %12s\n", "tensor", "type", "shape", "bytes", "offset");
	for (size_t i = 0; i < m->file.n_tensors; i++) {
		const struct gguf_tensor *t = &m->file.tensors[i];
		char shape[96] = "";
		for (int d = 0, n = 0; d < t->n_dims; d++)
			n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", d ? "," : "", (long long)t->ne[d]);
		printf("  ");
		print_name(t->name, 33);
		uint64_t offset;
		int part = gguf_tensor_part(&m->file, t, &offset);
		printf(" %-6s %-13s %10zu %12" PRIu64, tensor_type_name(t->type), shape, t->bytes, offset);
		if (m->file.n_parts > 1)
			printf(" in part %d", part + 1);
		putchar('\n');
	}
}

/* Of the GPU that is there; for one that is made up the constants do. */
static void show_memory(struct show *s)
{
	struct cuda_memory *m = &s->load.memory;
	struct error why;
	if (!s->load.persistent || s->device_memory)
		return;
	if (device_cuda_measure(m, &why))
		printf("\n  the GPU's memory was not measured: %s\n", why.text);
	else
		printf("\n  the GPU's memory, measured: %.0f GB/s, %.2f bytes a cycle of a multiprocessor, a load in "
		       "%.0f cycles\n",
		       m->bytes_s * 1e-9, m->bytes_cycle, m->latency_cycles);
}

static int show_device(const struct model *m, const struct show *s, struct error *err)
{
	size_t bytes = s->device_memory;
	struct error why;
	struct placement_plan plan;
	int n = s->load.n_gpu_layers, rc = 0;
	if (!bytes && device_cuda_free_memory(&bytes, &why))
		return error_set(err, ERROR_INPUT, "--device: %s; or give --device-memory, for example 24G", why.text);
	for (int i = 0; (i == 0 || i < s->n_contexts) && !rc; i++) {
		int context = s->n_contexts ? s->contexts[i] : m->n_context;
		putchar('\n');
		if (n == AXIS_LAYERS_AUTO) {
			rc = gpu_layers_choose(m, &s->load, context, bytes, stdout, &plan, err);
			continue;
		}
		int layers = n < 0 || n > m->n_layer ? m->n_layer : n;
		rc = placement_plan_suited(&plan, m, &s->load, layers, context, bytes, err);
		if (!rc)
			gpu_layers_print(&plan, m, bytes, stdout);
		if (!rc)
			rc = placement_plan_check_host(&plan, device_host_available(), err);
	}
	return rc;
}

int cmd_model_show(int argc, char **argv)
{
	struct show s = {0};
	struct error err = {0};
	load_options_default(&s.load);
	s.load.n_gpu_layers = AXIS_LAYERS_AUTO;
	int rc = options_parse(&command, argc, argv, &s, &err);
	s.load.persistent = engine_persistent(s.fusions.words, s.fusions.n);
	axis_words_free(&s.fusions);
	if (rc > 0)
		return 0;
	if (rc == 0 && !s.path)
		rc = error_set(&err, ERROR_INPUT, "say which file; see gemmark model show --help");
	if (rc)
		return command_fail("model show", rc, &err);
	struct model m;
	rc = model_open(&m, s.path, &err);
	if (rc)
		return command_fail("model show", rc, &err);
	show_model(&m);
	show_layers(&m);
	show_types(&m);
	show_decode(&m);
	show_cache(&m, &s);
	if (s.tensors)
		show_tensors(&m);
	if (s.device) {
		show_memory(&s);
		rc = show_device(&m, &s, &err);
		fflush(stdout); /* in front of what stderr may get */
	}
	model_close(&m);
	return rc ? command_fail("model show", rc, &err) : 0;
}
