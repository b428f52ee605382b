/*
 * Where a token's time goes on the host device, and what the machine allows:
 *
 *   gemmark_host_decode MODEL.gguf [-t N,N,...] [-n TOKENS] [--gib G] [--fusion none|full]
 *
 * For each number of threads: what beginning and ending a loop costs, read rates of memory and of the file's mapping,
 * products with weights in the caches and out of them, and decoded tokens, kernel by kernel. Rates are the best of a
 * few passes, tokens the median: the machine may have neighbours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "bench/thread_list.h"
#include "engine/device/device_host.h"
#include "engine/infer/session.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/inner.h"
#include "kernels/cpu/team.h"

enum { PASSES = 5, LOOPS = 2000, PART = 1 << 17, CONTEXT = 256, WARMUP = 3 };

struct run {
	const char *path;
	struct thread_list threads;
	int n_tokens;
	int gib;
	enum fusion fusion;
};

static int fail(const char *what)
{
	fprintf(stderr, "gemmark_host_decode: %s\n", what);
	return 2;
}

static double seconds_since(int64_t t0)
{
	return (double)(clock_ns() - t0) * 1e-9;
}

/* ---- loops and reads ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

enum { BUSY_NS = 5000 };

/* A part that takes as long whatever the memory does. */
static void busy(void *ctx, int begin, int end, int thread)
{
	(void)ctx;
	(void)thread;
	for (int64_t t0 = clock_ns(); clock_ns() - t0 < (int64_t)(end - begin) * BUSY_NS;)
		;
}

/* Microseconds by which loops of one such part a thread take longer: median. */
static double loop_cost(int threads)
{
	static double us[LOOPS];
	for (int i = 0; i < LOOPS; i++) {
		int64_t t0 = clock_ns();
		cpu_parallel(threads, 1, busy, NULL);
		us[i] = (double)(clock_ns() - t0 - BUSY_NS) * 1e-3;
	}
	qsort(us, LOOPS, sizeof *us, compare);
	return us[LOOPS / 2];
}

static void print_loops(int threads, struct cpu_team *team)
{
	if (threads == 1)
		return;
	cpu_team_use(team);
	printf("  a loop costs          %.2f us\n", loop_cost(threads));
	cpu_team_use(NULL);
}

struct reading {
	const char *p;
	int parts;
	int shares;
	float sums[4096 / sizeof(float)]; /* kept, so that the reads are */
};

static void read_part(void *ctx, int begin, int end, int thread)
{
	struct reading *r = ctx;
	r->sums[thread % (int)(sizeof r->sums / sizeof *r->sums)] +=
		cpu_inner()->read(r->p + (size_t)begin * PART, (size_t)(end - begin) * PART);
}

/* Shares that nobody takes pieces of. */
static void read_share(void *ctx, int begin, int end, int thread)
{
	struct reading *r = ctx;
	read_part(r, (int)((int64_t)r->parts * begin / r->shares), (int)((int64_t)r->parts * end / r->shares), thread);
}

/* GB/s of one pass. */
static double read_rate(struct reading *r, int n, cpu_body *body)
{
	int64_t t0 = clock_ns();
	cpu_parallel(n, 1, body, r);
	return (double)r->parts * PART / seconds_since(t0) * 1e-9;
}

static void print_read(const char *what, const void *p, size_t bytes, int threads, struct cpu_team *team)
{
	struct reading r = {.p = p, .parts = (int)(bytes / PART), .shares = threads};
	double shared = 0, fixed = 0;
	cpu_team_use(team);
	for (int pass = 0; pass < PASSES; pass++) {
		double rate = read_rate(&r, r.parts, read_part);
		shared = rate > shared ? rate : shared;
		rate = read_rate(&r, r.shares, read_share);
		fixed = rate > fixed ? rate : fixed;
	}
	cpu_team_use(NULL);
	printf("  read %-16s shared out %.1f GB/s, in fixed parts %.1f GB/s\n", what, shared, fixed);
}

/* ---- products ---- */

/* Passes over `rows` rows of 2560 weights in file blocks, `repeats` matrices deep. */
static void print_product(const char *what, const char *weights, int rows, int repeats, struct cpu_team *team)
{
	enum { COLUMNS = 2560, BYTES = COLUMNS / 32 * 34 };
	static float x[COLUMNS];
	float *y = malloc((size_t)rows * sizeof *y);
	double best = 0;
	for (int i = 0; i < COLUMNS; i++)
		x[i] = 1.0f / (float)(i + 1);
	cpu_team_use(team);
	for (int pass = 0; pass < PASSES && y; pass++) {
		int64_t t0 = clock_ns();
		for (int i = 0; i < repeats; i++)
			k_matmul(&(struct matmul_params){.w = {.type = TENSOR_Q8_0,
							       .n_in = COLUMNS,
							       .n_out = rows,
							       .n_expert = 1,
							       .data = weights},
							 .x = x,
							 .y = y,
							 .n_tokens = 1,
							 .x_stride = COLUMNS,
							 .y_stride = rows});
		double rate = (double)BYTES * rows * repeats / seconds_since(t0) * 1e-9;
		best = rate > best ? rate : best;
	}
	cpu_team_use(NULL);
	free(y);
	printf("  product %-13s %.1f GB/s, %.1f us each\n", what, best, (double)BYTES * rows / best * 1e-3);
}

/* ---- tokens ---- */

static void print_kernels(const struct device_host_profile *p, int n_tokens)
{
	double all = 0;
	for (int k = 0; k <= KERNEL_COUNT; k++)
		all += (double)p->ns[k];
	for (int k = 0; k <= KERNEL_COUNT; k++)
		if (p->calls[k])
			printf("    %-20s %6.1f calls %9.1f us %5.1f %%  (%.1f us each)\n",
			       k < KERNEL_COUNT ? kernel_name((enum kernel)k) : "copies",
			       (double)p->calls[k] / n_tokens, (double)p->ns[k] * 1e-3 / n_tokens,
			       100 * (double)p->ns[k] / all, (double)p->ns[k] * 1e-3 / (double)p->calls[k]);
}

static int print_tokens(const struct run *r, int threads, struct error *err)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = threads;
	o.context = CONTEXT;
	o.fusion = r->fusion;
	int rc = session_open(&s, r->path, &o, err), n_vocab;
	if (rc)
		return rc;
	struct device_host_profile profile = {0};
	double us[CONTEXT], bytes = (double)session_stats(s).decode_weight_bytes;
	n_vocab = session_model(s)->n_vocab;
	for (int i = 0; i < WARMUP + r->n_tokens && !rc; i++) {
		struct token_timing t;
		if (i == WARMUP)
			device_host_profile(session_device(s), &profile);
		rc = session_decode(s, (int)((unsigned)(i + 1) * 2654435761u % (unsigned)n_vocab), &t, err);
		if (i >= WARMUP)
			us[i - WARMUP] = t.wall_us;
	}
	session_close(s);
	if (rc)
		return rc;
	qsort(us, (size_t)r->n_tokens, sizeof *us, compare);
	double median = us[r->n_tokens / 2];
	printf("  tokens                %.2f a second at the median, %.2f the best; %.1f GB/s of weights\n",
	       1e6 / median, 1e6 / us[0], bytes / median * 1e-3);
	print_kernels(&profile, r->n_tokens);
	return 0;
}

static int one(const struct run *r, int threads, const char *memory, const char *huge, const struct gguf *file)
{
	size_t bytes = (size_t)r->gib << 30;
	struct error err = {""};
	struct cpu_team *team = cpu_team_open(threads);
	if (!team)
		return fail("no memory for a team");
	printf("%d threads\n", threads);
	print_loops(threads, team);
	print_read("memory", memory, bytes, threads, team);
	print_read("huge pages", huge, bytes, threads, team);
	print_read("the file", file->map, file->map_bytes < bytes ? file->map_bytes : bytes, threads, team);
	print_product("in caches", memory, 256 * threads, 200, team);
	print_product("one layer's", memory, 10240, 1, team);
	print_product("from memory", memory, (int)(bytes / 2720), 1, team);
	print_product("huge pages", huge, (int)(bytes / 2720), 1, team);
	cpu_team_close(team);
	return print_tokens(r, threads, &err) ? fail(err.text) : 0;
}

static int parse(struct run *r, int argc, char **argv)
{
	*r = (struct run){.n_tokens = 16, .gib = 2, .fusion = FUSION_FULL};
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (argv[i][0] != '-') {
			r->path = argv[i];
			continue;
		}
		i++;
		if (!strcmp(argv[i - 1], "-n"))
			r->n_tokens = atoi(value);
		else if (!strcmp(argv[i - 1], "--gib"))
			r->gib = atoi(value);
		else if (!strcmp(argv[i - 1], "--fusion"))
			r->fusion = (enum fusion)fusion_parse(value);
		else if (strcmp(argv[i - 1], "-t") || thread_list_add(&r->threads, value))
			return -1;
	}
	return r->path && r->n_tokens > 0 && r->n_tokens <= CONTEXT - WARMUP && r->gib > 0 && (int)r->fusion >= 0 ? 0
														  : -1;
}

/* Not zeros, which a host may share; touched by one thread: the machine is one node. */
static char *fill(size_t bytes, int advice)
{
	char *p = aligned_alloc(2 << 20, bytes);
	if (!p)
		return NULL;
	madvise(p, bytes, advice);
	for (size_t i = 0; i < PART; i++)
		p[i] = (char)(i % 113 % 60);
	for (size_t i = PART; i < bytes; i += PART)
		memcpy(p + i, p, PART);
	return p;
}

int main(int argc, char **argv)
{
	struct run r;
	struct error err = {""};
	struct gguf file;
	if (parse(&r, argc, argv))
		return fail("usage: gemmark_host_decode MODEL.gguf [-t N,N,...] [-n TOKENS] [--gib G] [--fusion "
			    "none|full]");
	if (thread_list_settle(&r.threads, &err))
		return fail(err.text);
	if (gguf_open(&file, r.path, &err))
		return fail(err.text);
	char *memory = fill((size_t)r.gib << 30, MADV_NOHUGEPAGE), *huge = fill((size_t)r.gib << 30, MADV_HUGEPAGE);
	int rc = memory && huge ? 0 : fail("no memory; give a smaller --gib");
	printf("%s, kernels for %s\n", r.path, device_host_isa());
	for (int i = 0; i < r.threads.n && !rc; i++)
		rc = one(&r, r.threads.threads[i], memory, huge, &file);
	free(memory);
	free(huge);
	gguf_close(&file);
	return rc;
}
