/*
 * Every option of llama-bench, of its versions from 2023 to 2026 together, as its users type it: taken, or refused in
 * one line that names it and says what to do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/bench_options.h"
#include "harness/cli/options.h"
#include "harness/report/llama_output.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"

static const struct {
	const char *names[3];
	const char *value;   /* null: a flag */
	const char *refused; /* a part of what to do; null: taken */
} table[] = {
	{{"-r", "--repetitions"}, "3", NULL},
	{{"-o", "--output"}, "md", NULL},
	{{"-o", "--output"}, "jsonl", NULL},
	{{"-oe", "--output-err"}, "csv", NULL},
	{{"-oe", "--output-err"}, "none", NULL},
	{{"--delay"}, "2", NULL},
	{{"--list-devices"}, NULL, NULL},
	{{"--progress"}, NULL, NULL},
	{{"-m", "--model"}, "a.gguf,b.gguf", NULL},
	{{"-p", "--n-prompt"}, "0,64-512*2", NULL},
	{{"-n", "--n-gen"}, "16,32", NULL},
	{{"-d", "--n-depth"}, "0-1024+512", NULL},
	{{"-b", "--batch-size"}, "512,2048", NULL},
	{{"-b", "--batch-size"}, "2048,128", NULL},
	{{"-ub", "--ubatch-size"}, "128-512*2", NULL},
	{{"-ctk", "--cache-type-k"}, "f16,bf16", NULL},
	{{"-ctv", "--cache-type-v"}, "f16", NULL},
	{{"-ctk", "--cache-type-k"}, "q8_0", NULL},
	{{"-ctk", "--cache-type-k"}, "q5_1", "f32, f16, bf16, q8_0"},
	{{"-ctv", "--cache-type-v"}, "f16,q4_0", "f32, f16, bf16, q8_0"},
	{{"-t", "--threads"}, "1,2", NULL},
	{{"-ngl", "--n-gpu-layers"}, "0,99", NULL},
	{{"-dev", "--device"}, "auto", NULL},
	{{"-dev", "--device"}, "none", "-ngl 0"},
	{{"-dev", "--device"}, "CUDA1", "CUDA_VISIBLE_DEVICES"},
	{{"-dev", "--device"}, "CUDA0/CUDA1", "CUDA_VISIBLE_DEVICES"},
	{{"--numa"}, "numactl", NULL},
	{{"--numa"}, "distribute", "numactl --interleave=all"},
	{{"--prio"}, "0", NULL},
	{{"--prio"}, "-1", "nice -n"},
	{{"-v", "--verbose"}, NULL, "gemmark env"},
	{{"--no-warmup"}, NULL, "--warmup 1"},
	{{"-fitt", "--fit-target"}, "1024", "-ngl auto"},
	{{"-fitc", "--fit-ctx"}, "4096", "-ngl auto"},
	{{"-rpc", "--rpc"}, "host:50052", "on that machine"},
	{{"-hf", "-hfr", "--hf-repo"}, "org/model:Q8_0", "-m"},
	{{"-hff", "--hf-file"}, "m.gguf", "-m"},
	{{"-hft", "--hf-token"}, "secret", "-m"},
	{{"--offline"}, NULL, NULL},
	{{"-dt", "--defrag-thold"}, "-1", NULL},
	{{"-dt", "--defrag-thold"}, "0.1", "leave it out"},
	{{"-C", "--cpu-mask"}, "0x0", NULL},
	{{"-C", "--cpu-mask"}, "0xff", "taskset"},
	{{"--cpu-strict"}, "0", NULL},
	{{"--cpu-strict"}, "1", "OMP_PROC_BIND"},
	{{"--poll"}, "50", "OMP_WAIT_POLICY"},
	{{"-ncmoe", "--n-cpu-moe"}, "0", NULL},
	{{"-ncmoe", "--n-cpu-moe"}, "8", "-ngl N"},
	{{"-sm", "--split-mode"}, "none,layer", NULL},
	{{"-sm", "--split-mode"}, "row", "-sm none"},
	{{"-mg", "--main-gpu"}, "0", NULL},
	{{"-mg", "--main-gpu"}, "1", "CUDA_VISIBLE_DEVICES"},
	{{"-nkvo", "--no-kv-offload"}, "0", NULL},
	{{"-nkvo", "--no-kv-offload"}, "0,1", "-ngl N"},
	{{"-fa", "--flash-attn"}, "1", NULL},
	{{"-fa", "--flash-attn"}, "on,auto", NULL},
	{{"-fa", "--flash-attn"}, "0", "leave off and 0 out"},
	{{"-fa", "--flash-attn"}, "1,off", "leave off and 0 out"},
	{{"-fa", "--flash-attn"}, "o", "leave off and 0 out"},
	{{"-lm", "--load-mode"}, "mmap", NULL},
	{{"-lm", "--load-mode"}, "mmap+mlock", "-lm mmap"},
	{{"-mmp", "--mmap"}, "1", NULL},
	{{"-mmp", "--mmap"}, "0", "-lm mmap"},
	{{"-dio", "--direct-io"}, "0", NULL},
	{{"-dio", "--direct-io"}, "1", "-lm mmap"},
	{{"-lzm", "--lazy-mode"}, "off", NULL},
	{{"-lzm", "--lazy-mode"}, "on", "leave it out"},
	{{"-embd", "--embeddings"}, "0", NULL},
	{{"-embd", "--embeddings"}, "1", "gemmark eval"},
	{{"-ts", "--tensor-split"}, "0", NULL},
	{{"-ts", "--tensor-split"}, "3/1", "-ngl N"},
	{{"-ot", "--override-tensor"}, "exps=CPU;attn=CUDA0", "-ngl N"},
	{{"-nopo", "--no-op-offload"}, "1", NULL},
	{{"-nopo", "--no-op-offload"}, "0", "-nopo 1"},
	{{"--no-host"}, "0", NULL},
	{{"--no-host"}, "1", "leave it out"},
	{{"--repack"}, "off", NULL},
	{{"--repack"}, "1", "--repack off"},
	{{"-nr", "--no-repack"}, NULL, NULL},
	{{"-pg"}, "512,128", NULL},
	{{"-pg"}, "512", "-p P or -n G"},
	{{"-pg"}, "512,0", "-p P or -n G"},
	{{"-pg"}, "1,2,3", "-p P or -n G"},
};
enum { N = sizeof table / sizeof *table };

static int parse(struct bench *b, struct error *err, const char *const *words)
{
	char *argv[16] = {(char *)"bench"};
	int argc = 1;
	for (; words[argc - 1]; argc++)
		argv[argc] = (char *)words[argc - 1];
	*err = (struct error){{0}};
	return bench_parse(b, argc, argv, err);
}

/* first: of its names; a message that looks back at all options has that one. */
static void check(const char *first, const char *name, const char *value, const char *refused, int joined)
{
	struct bench b = {0};
	struct error err;
	char one[128];
	snprintf(one, sizeof one, "%s=%s", name, value ? value : "");
	/* What follows is an option again, so the value was taken with it. */
	const char *const apart[] = {name, value ? value : "--seed", value ? "--seed" : "7", value ? "7" : NULL, NULL};
	const char *const together[] = {one, "--seed", "7", NULL};
	int rc = parse(&b, &err, joined ? together : apart);
	if (refused) {
		assert_int_equal(rc, ERROR_INPUT);
		if ((strncmp(err.text, name, strlen(name)) && strncmp(err.text, first, strlen(first))) ||
		    !strstr(err.text, refused) || strchr(err.text, '\n') || strstr(err.text, "did you mean") ||
		    strstr(err.text, "secret"))
			fail_msg("%s: %s", name, err.text);
	} else if (rc || b.runner.seed != 7) {
		fail_msg("%s %s: %s", name, value ? value : "", err.text);
	}
	matrix_free(&b.axes.matrix);
}

static void test_all(void **state)
{
	(void)state;
	for (int i = 0; i < N; i++) {
		for (int n = 0; n < 3 && table[i].names[n]; n++) {
			check(table[i].names[0], table[i].names[n], table[i].value, table[i].refused, 0);
			if (table[i].value)
				check(table[i].names[0], table[i].names[n], table[i].value, table[i].refused, 1);
		}
	}
}

/* Where a value is missing, too, the line says what to do. And llama-bench takes underscores. */
static void test_forms(void **state)
{
	(void)state;
	struct bench b = {0};
	struct error err;
	const char *const alone[] = {"-sm", NULL}, *const followed[] = {"-mg", "-r", "3", NULL},
			  *const flag[] = {"--offline=1", NULL}, *const underscores[] = {"--n_gpu_layers",
											 "0",
											 "--tensor_split",
											 "0",
											 "--split_mode",
											 "row",
											 NULL};
	assert_int_equal(parse(&b, &err, alone), ERROR_INPUT);
	assert_non_null(strstr(err.text, "-sm: one GPU"));
	assert_int_equal(parse(&b, &err, followed), ERROR_INPUT);
	assert_non_null(strstr(err.text, "CUDA_VISIBLE_DEVICES"));
	assert_int_equal(parse(&b, &err, flag), ERROR_INPUT);
	assert_non_null(strstr(err.text, "takes no value"));
	assert_int_equal(parse(&b, &err, underscores), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--split_mode row: "));
	/* A mistyped option is never one of them. */
	const char *const mistyped[] = {"--split-mod", "row", NULL};
	assert_int_equal(parse(&b, &err, mistyped), ERROR_INPUT);
	assert_null(strstr(err.text, "--split-mode"));
	matrix_free(&b.axes.matrix);
}

/* What is taken is in force. */
static void test_taken(void **state)
{
	(void)state;
	struct bench b = {0};
	struct error err;
	const char *const words[] = {"-o", "none", "-oe", "jsonl", "--delay", "2", "--progress", NULL};
	assert_int_equal(parse(&b, &err, words), 0);
	assert_int_equal(b.format, BENCH_FORMAT_NONE);
	assert_int_equal(b.error_format, LLAMA_FORMAT_JSONL);
	assert_int_equal(b.runner.delay_s, 2);
	assert_int_equal(b.progress, 1);
	const char *const none[] = {"-b", "0", NULL}, *const less[] = {"-ub", "64,512,128,256", "-b", "2048,128", NULL};
	assert_int_equal(parse(&b, &err, none), ERROR_INPUT);
	/* A larger chunk is lowered, as llama.cpp lowers it; what is the same then is one. */
	const struct axis_values *chunks = &b.axes.matrix.of[AXIS_UBATCH];
	assert_int_equal(parse(&b, &err, less), 0);
	assert_int_equal(chunks->n, 2);
	assert_int_equal(chunks->ints[0], 64);
	assert_int_equal(chunks->ints[1], 128);
	matrix_free(&b.axes.matrix);
}

static void test_devices(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], *words[] = {(char *)"bench", (char *)"--list-devices", NULL};
	assert_int_equal(folder_make(folder, "devices"), 0);
	assert_int_equal(command_run(folder, cmd_bench, words), 0);
	assert_true(command_said(folder, "out", "Available devices:\n  "));
	assert_true(command_said(folder, "out", "\n  CPU: "));
	/* The memory of this machine, in MiB. */
	char expected[64];
	long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "MemTotal: %lld kB", &kib), 1);
	fclose(f);
	snprintf(expected, sizeof expected, " (%.0f MiB, ", (double)kib / 1024);
	assert_true(command_said(folder, "out", expected));
	assert_int_equal(folder_remove(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_forms),
					   cmocka_unit_test(test_taken), cmocka_unit_test(test_devices)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
