/*
 * `gemmark model`: picks make or show, and is make: a random-weight GGUF file of a
 * published shape. show is cmd_model_show.c's.
 */
#include "harness/cli/cmd_model.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "engine/device/cpu_share.h"
#include "engine/model/synth.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/cli/progress.h"

enum { MAX_ARCHS = 32 };

static int parse_type(const char *value, enum tensor_type *out, struct error *err)
{
	const struct tensor_traits *t = tensor_type_parse(value);
	if (!t)
		return error_set(err, ERROR_INPUT, "\"%s\" is no type; take one of" TENSOR_TYPE_WORDS, value);
	*out = t->type;
	return 0;
}

struct short_text short_text(double value, const char *unit)
{
	static const char prefixes[] = " KMGTPE";
	int prefix = 0;
	while (value >= 999.5 && prefixes[prefix + 1]) {
		value /= 1000;
		prefix++;
	}
	int decimals = prefix == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
	struct short_text s;
	if (prefix)
		snprintf(s.text, sizeof s.text, "%.*f %c%s", decimals, value, prefixes[prefix], unit);
	else
		snprintf(s.text, sizeof s.text, "%.0f %s", value, unit);
	return s;
}

/* ---- make ---- */

struct make {
	struct synth_options synth;
	bool ple_type_given;
	const char *output;
	bool force;
	int n_threads;
};

static int apply_arch(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	const char *names[MAX_ARCHS];
	int n = 0;
	for (; n < MAX_ARCHS && synth_arch_name(n); n++) {
		names[n] = synth_arch_name(n);
		if (strcmp(value, names[n]) == 0) {
			m->synth.arch = names[n];
			return 0;
		}
	}
	const char *near = options_nearest(value, names, n);
	if (near)
		return error_set(err, ERROR_INPUT, "\"%s\" is no known architecture; did you mean %s?", value, near);
	return error_set(err, ERROR_INPUT, "\"%s\" is no known architecture; gemmark model make --help lists them",
			 value);
}

static int apply_type(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	m->synth.mix = synth_mix_parse(value, &m->synth.type);
	if (m->synth.mix || !parse_type(value, &m->synth.type, err))
		return 0;
	return error_set(err, ERROR_INPUT, "\"%s\" is no type; take one of" TENSOR_TYPE_WORDS SYNTH_MIX_WORDS, value);
}

static int apply_ple_type(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	m->ple_type_given = true;
	return parse_type(value, &m->synth.ple_type, err);
}

static int apply_seed(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	int seed;
	int rc = options_int(value, "seed", 0, INT_MAX, &seed, err);
	if (rc == 0)
		m->synth.seed = (uint64_t)seed;
	return rc;
}

static int apply_layers(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	return options_int(value, "layers", 1, 1024, &m->synth.n_layer, err);
}

static int apply_vocab(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	return options_int(value, "vocab", 1, 1 << 24, &m->synth.n_vocab, err);
}

static int apply_context(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	return options_int(value, "context", 1, 1 << 30, &m->synth.n_context, err);
}

static int apply_window(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	return options_int(value, "window", 1, 1 << 30, &m->synth.window, err);
}

static int apply_output(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	if (!*value)
		return error_set(err, ERROR_INPUT, "an empty file name; give the file to write");
	m->output = value;
	return 0;
}

static int apply_force(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct make *)ctx)->force = true;
	return 0;
}

static int apply_threads(void *ctx, const char *value, struct error *err)
{
	struct make *m = ctx;
	return options_int(value, "threads", 1, 1024, &m->n_threads, err);
}

static const struct option_spec make_options[] = {
	{"--arch", "NAME",
	 "the shape:\n"
	 "gemma4-e2b, gemma4-e4b, gemma4-12b, gemma4-26b-a4b, gemma4-31b,\n"
	 "gemma3-270m, gemma3-1b, gemma3-4b, gemma3-12b, gemma3-27b, qwen3-8b;\n"
	 "or, for tests: gemma4-e2b-tiny, gemma4-e4b-tiny, gemma4-26b-a4b-tiny,\n"
	 "gemma4-31b-tiny, gemma3-tiny, qwen3-tiny",
	 apply_arch},
	{"-o, --output", "FILE", "the file to write; it appears when it is complete", apply_output},
	{"--force", NULL, "replace a file that exists", apply_force},
	{"--type", "T",
	 "of the matrices, one of" TENSOR_TYPE_WORDS "\n"
	 "or a mixture:" SYNTH_MIX_WORDS "; default q8_0.\n"
	 "As in published files, below 8 bits the head's matrix is q6_k, and of q4_k,\n"
	 "q5_k and q6_k rows that are no multiple of 256 are q5_0, q5_1 and q8_0",
	 apply_type},
	{"--ple-type", "T",
	 "of the per-layer embeddings' projections; default: as --type.\n"
	 "Published q8_0 files of the E models hold them in f32",
	 apply_ple_type},
	{"--seed", "N", "same seed, same file, on every machine; default 1", apply_seed},
	{"--layers", "N",
	 "depth, in whole periods of sliding and global layers where the published one is; default: that",
	 apply_layers},
	{"--vocab", "N", "tokens in the vocabulary; default: as published", apply_vocab},
	{"--context", "N", "context length that the file promises; default: as published", apply_context},
	{"--window", "N", "positions that sliding layers see; default: as published", apply_window},
	{"-t, --threads", "N", "default: one a physical core, within the CPU quota", apply_threads},
	{NULL, NULL, NULL, NULL},
};

static const struct command make_command = {
	.name = "model make",
	.summary = "Write a GGUF file of a published shape with random weights.",
	.usage = "gemmark model make --arch NAME -o FILE [options]",
	.examples = "gemmark model make --arch gemma4-e4b -o e4b.gguf\n"
		    "gemmark model make --arch gemma4-e4b --ple-type f32 -o e4b.gguf    types as published\n"
		    "gemmark model make --arch gemma4-31b --layers 6 -o 31b-6.gguf      real width, less depth\n"
		    "gemmark model make --arch gemma4-e4b-tiny --type f32 --context 65536 -o tiny.gguf\n",
	.options = make_options,
};

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
	progress_update(ctx, done, total);
	return 0;
}

static int make_run(const struct make *m, struct error *err)
{
	struct synth_plan plan;
	int rc = synth_plan_init(&plan, &m->synth, err);
	if (rc)
		return rc;
	struct progress bar;
	progress_start(&bar, m->synth.arch);
	struct cpu_share cpus = cpu_share_read("", NULL);
	rc = synth_write(&plan, m->output, m->force, m->n_threads ? m->n_threads : cpu_share_threads(&cpus),
			 on_progress, &bar, err);
	progress_end(&bar);
	if (rc == 0) {
		double seconds = progress_seconds(&bar), bytes = (double)synth_plan_bytes(&plan);
		printf("%s: %s %s, %s parameters, %s, seed %llu (%.1f s, %.0f MB/s)\n", text_show_path(m->output).text,
		       plan.shape.name, synth_mix_name(m->synth.mix, m->synth.type),
		       short_text((double)synth_plan_parameters(&plan), "").text, short_text(bytes, "B").text,
		       (unsigned long long)m->synth.seed, seconds, bytes / seconds / 1e6);
	}
	synth_plan_free(&plan);
	return rc;
}

static int make(int argc, char **argv)
{
	struct make m = {0};
	struct error err = {0};
	synth_options_default(&m.synth, NULL);
	int rc = options_parse(&make_command, argc, argv, &m, &err);
	if (rc > 0)
		return 0;
	if (rc == 0 && !m.synth.arch)
		rc = error_set(&err, ERROR_INPUT, "--arch is missing; gemmark model make --help lists the names");
	if (rc == 0 && !m.output)
		rc = error_set(&err, ERROR_INPUT, "-o is missing; give the file to write");
	if (!m.ple_type_given)
		m.synth.ple_type = m.synth.type;
	if (rc == 0)
		rc = output_option_check("-o", m.output, m.force, NULL, 0, &err);
	if (rc == 0)
		rc = make_run(&m, &err);
	return rc ? command_fail("model make", rc, &err) : 0;
}

/* ---- dispatch ---- */

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{"make", make},
	{"show", cmd_model_show},
};

enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void print_help(void)
{
	printf("usage: gemmark model make --arch NAME -o FILE [options]\n"
	       "       gemmark model show FILE [options]\n\n"
	       "  make   write a GGUF file of a published shape with random weights\n"
	       "  show   what a GGUF file holds, what a token reads of it, what its cache takes\n\n"
	       "gemmark model make --help and gemmark model show --help list the options.\n\n"
	       "examples:\n"
	       "  gemmark model make --arch gemma4-e4b --type q8_0 --seed 1 -o e4b.gguf\n"
	       "  gemmark model make --arch gemma4-e4b-tiny --type f32 -o tiny.gguf\n"
	       "  gemmark model show e4b.gguf -c 4096,131072\n"
	       "  gemmark model show e4b.gguf --tensors\n");
}

int cmd_model(int argc, char **argv)
{
	struct error err = {0};
	if (argc < 2)
		return command_fail("model", error_set(&err, ERROR_INPUT, "say make or show; see gemmark model --help"),
				    &err);
	const char *names[N_SUBCOMMANDS];
	for (int i = 0; i < N_SUBCOMMANDS; i++) {
		names[i] = subcommands[i].name;
		if (strcmp(argv[1], names[i]) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help();
		return 0;
	}
	const char *near = options_nearest(argv[1], names, N_SUBCOMMANDS);
	int rc = near ? error_set(&err, ERROR_INPUT, "\"%s\" is neither make nor show; did you mean %s?", argv[1], near)
		      : error_set(&err, ERROR_INPUT, "\"%s\" is neither make nor show; see gemmark model --help",
				  argv[1]);
	return command_fail("model", rc, &err);
}
