/*
 * gemmark kernels: compiles the embedded CUDA kernels for any architecture, with or
 * without a GPU, and prints what each takes of a multiprocessor.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/cuda/cuda_compile.h"
#include "engine/model/tensor_type.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"

enum {
	ARCHS_MAX = 32,
	SOURCES_MAX = 64,
	HEAD_DIMS_MAX = sizeof((struct cuda_dims *)0)->head_dims / sizeof(int),
};

struct kernels {
	bool compile_only;
	int archs[ARCHS_MAX]; /* 90 for sm_90 */
	int n_archs;
	bool only_named;
	bool named[SOURCES_MAX]; /* (cuda_n_sources) */
	bool stamped;
	struct cuda_dims dims;
};

/* What the published models need. */
static const struct cuda_dims every_dim = {
	.n_head_dims = 5,
	.head_dims = {32, 64, 128, 256, 512},
	.k_type = -1,
	.v_type = -1,
};

static int set_compile_only(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct kernels *)ctx)->compile_only = true;
	return 0;
}

/* Copies the next of a list's words, cut at the room there is, and returns what follows it. */
static const char *next_word(const char *list, char *word, size_t bytes)
{
	size_t n = strcspn(list, ",");
	snprintf(word, bytes, "%.*s", (int)(n < bytes ? n : bytes - 1), list);
	return list + n + (list[n] == ',');
}

/* sm_80,sm_90 or 80,90 */
static int set_arch(void *ctx, const char *value, struct error *err)
{
	struct kernels *k = ctx;
	while (*value) {
		char word[16];
		int arch;
		value = next_word(value, word, sizeof word);
		const char *digits = strncmp(word, "sm_", 3) ? word : word + 3;
		if (options_int(digits, "--arch", 70, 999, &arch, NULL))
			return error_set(err, ERROR_INPUT, "'%s' is no architecture; expected sm_80,sm_90 and the like",
					 word);
		if (k->n_archs == ARCHS_MAX)
			return error_set(err, ERROR_INPUT, "more than %d architectures", ARCHS_MAX);
		k->archs[k->n_archs++] = arch;
	}
	return 0;
}

static int set_head_dims(void *ctx, const char *value, struct error *err)
{
	struct cuda_dims *d = &((struct kernels *)ctx)->dims;
	d->n_head_dims = 0;
	while (*value) {
		char word[16];
		int dim;
		value = next_word(value, word, sizeof word);
		if (options_int(word, "--head-dims", 1, 512, &dim, err))
			return ERROR_INPUT;
		char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES];
		const struct cuda_dims alone = {.n_head_dims = 1, .head_dims = {dim}, .k_type = -1, .v_type = -1};
		if (cuda_options(&alone, NULL, options) < 0)
			return error_set(err, ERROR_INPUT, "--head-dims: there are no kernels for heads of %d", dim);
		int i = 0;
		while (i < d->n_head_dims && d->head_dims[i] != dim)
			i++;
		if (i < d->n_head_dims)
			continue;
		if (i == HEAD_DIMS_MAX)
			return error_set(err, ERROR_INPUT, "--head-dims: more than %d", HEAD_DIMS_MAX);
		d->head_dims[d->n_head_dims++] = dim;
	}
	return 0;
}

/* attention,prefill_mma, of kernels/cuda/ *.cu */
static int set_source(void *ctx, const char *value, struct error *err)
{
	struct kernels *k = ctx;
	assert(cuda_n_sources <= SOURCES_MAX);
	k->only_named = true;
	while (*value) {
		char word[32], name[64];
		int i = 0;
		value = next_word(value, word, sizeof word);
		snprintf(name, sizeof name, "kernels/cuda/%s.cu", word);
		while (i < cuda_n_sources && strcmp(cuda_sources[i].name, name) != 0)
			i++;
		if (i == cuda_n_sources)
			return error_set(err, ERROR_INPUT, "there is no %s; expected attention, matvec and the like",
					 text_show_path(name).text);
		k->named[i] = true;
	}
	return 0;
}

static int set_cache_type(void *ctx, const char *value, struct error *err)
{
	struct cuda_dims *d = &((struct kernels *)ctx)->dims;
	enum tensor_type type;
	int rc = options_cache_type(value, &type, err);
	if (!rc)
		d->k_type = d->v_type = (int)type;
	return rc;
}

/* EMBD,WIDEST: of the stream, and of the widest rows of weights */
static int set_widths(void *ctx, const char *value, struct error *err)
{
	struct cuda_dims *d = &((struct kernels *)ctx)->dims;
	char embd[16], widest[16];
	const char *rest = next_word(next_word(value, embd, sizeof embd), widest, sizeof widest);
	if (*rest)
		return error_set(err, ERROR_INPUT, "--widths: expected two numbers, 2560,10240");
	int rc = options_int(embd, "--widths", 1, 1 << 20, &d->n_embd, err);
	return rc ? rc : options_int(widest, "--widths", 1, 1 << 20, &d->n_in_max, err);
}

static int set_weights(void *ctx, const char *value, struct error *err)
{
	struct cuda_dims *d = &((struct kernels *)ctx)->dims;
	d->weights = 0;
	while (*value) {
		char word[16];
		value = next_word(value, word, sizeof word);
		const struct tensor_traits *t = tensor_type_parse(word);
		if (!t)
			return error_set(err, ERROR_INPUT,
					 "--weights: '%s' is no type of weights; expected" TENSOR_TYPE_WORDS, word);
		d->weights |= 1u << t->type;
	}
	return 0;
}

static int set_experts(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct kernels *)ctx)->dims.experts = 1;
	return 0;
}

static int set_timeline(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct kernels *)ctx)->stamped = true;
	return 0;
}

static const struct option_spec kernels_options[] = {
	{"--compile-only", NULL, "compile and report; needs NVRTC and no GPU", set_compile_only},
	{"--arch", "LIST", "architectures to compile for (default: sm_80,sm_86,sm_89,sm_90,sm_100,sm_120)", set_arch},
	{"--head-dims", "LIST", "specialise for these head dimensions only (default: 32,64,128,256,512)",
	 set_head_dims},
	{"--cache-type", "TYPE",
	 "specialise for a KV cache of this type only, one of" TENSOR_CACHE_TYPE_WORDS " (default: each)",
	 set_cache_type},
	{"--widths", "EMBD,WIDEST", "specialise for a stream this wide, and rows of weights up to that (default: any)",
	 set_widths},
	{"--weights", "LIST", "specialise for weights of these types only (default: all)", set_weights},
	{"--experts", NULL, "specialise for a mixture of experts", set_experts},
	{"--timeline", NULL, "with the time stamps that bench --timeline takes", set_timeline},
	{"--source", "LIST", "compile these files of kernels/cuda only: attention,matvec (default: all)", set_source},
	{0},
};

static const struct command kernels_command = {
	.name = "kernels",
	.summary = "Compiles the CUDA kernels and prints registers, shared memory and spills of each.\n"
		   "NVRTC is taken from GEMMARK_NVRTC (a path), or found where the loader and toolkits keep it.",
	.usage = "gemmark kernels --compile-only [--arch LIST] [--head-dims LIST] [--cache-type TYPE]\n"
		 "                [--widths EMBD,WIDEST] [--weights LIST] [--experts] [--timeline] [--source LIST]",
	.examples = "gemmark kernels --compile-only --arch sm_90\n"
		    "gemmark kernels --compile-only --arch sm_80,sm_120 --head-dims 256,512 --cache-type f16",
	.options = kernels_options,
};

/* ---- the run ---- */

struct totals {
	int arch;
	int kernels;
	int spilling;
};

static int print_usage(void *ctx, const struct cuda_usage *u)
{
	struct totals *t = ctx;
	printf("sm_%-4d %-40s %9d %9d %7d %7d\n", t->arch, u->kernel, u->registers, u->shared_bytes, u->stack_bytes,
	       u->spill_bytes);
	t->kernels++;
	t->spilling += u->spill_bytes > 0;
	return 0;
}

static int compile_for(struct nvrtc *n, const struct kernels *k, struct totals *t, struct error *err)
{
	for (int i = 0; i < cuda_n_sources; i++) {
		if (cuda_sources[i].is_header || (k->only_named && !k->named[i]))
			continue;
		const struct cuda_compile_options o = {
			.dims = &k->dims, .arch = t->arch, .report = true, .stamped = k->stamped};
		struct cuda_cubin cubin;
		int rc = cuda_compile(n, &cuda_sources[i], &o, &cubin, err);
		if (rc && cubin.log)
			fprintf(stderr, "%s\n", cubin.log);
		else if (!rc)
			cuda_usage_read(cubin.log, print_usage, t);
		free(cubin.bytes);
		free(cubin.log);
		if (rc)
			return error_prefix(err, rc, "sm_%d", t->arch);
	}
	return 0;
}

static int run(struct kernels *k, struct error *err)
{
	static const int usual[] = {80, 86, 89, 90, 100, 120};
	struct nvrtc *n;
	int rc = nvrtc_open(&n, err), major, minor;
	if (rc)
		return rc;
	if (k->n_archs == 0)
		for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
			k->archs[k->n_archs++] = usual[i];
	nvrtc_version(n, &major, &minor);
	printf("NVRTC %d.%d (%s)\n", major, minor, text_show_path(nvrtc_path(n)).text);
	printf("%-7s %-40s %9s %9s %7s %7s\n", "arch", "kernel", "registers", "shared B", "stack B", "spill B");
	struct totals t = {0};
	for (int i = 0; i < k->n_archs && !rc; i++) {
		t.arch = k->archs[i];
		rc = compile_for(n, k, &t, err);
	}
	if (!rc)
		printf("%d kernels compiled, %d of them spill\n", t.kernels, t.spilling);
	nvrtc_close(n);
	return rc;
}

int cmd_kernels(int argc, char **argv)
{
	struct error err = {0};
	struct kernels k = {.dims = every_dim};
	int rc = options_parse(&kernels_command, argc, argv, &k, &err);
	if (rc > 0)
		return 0;
	if (!rc && !k.compile_only)
		rc = error_set(&err, ERROR_INPUT, "--compile-only is missing: it is all that this command does so far");
	/* A mixture's float32 is its router's. */
	k.dims.streams = k.dims.weights & ~(k.dims.experts ? 1u << TENSOR_F32 : 0);
	if (!rc)
		rc = run(&k, &err);
	return rc ? command_fail("kernels", rc, &err) : 0;
}
