/*
 * Where a prompt's time goes on the host device, as a share of the processor's float32 peak:
 *
 *   gemmark_host_prefill MODEL.gguf [-t N,N,...] [-p TOKENS] [-r RUNS] [--products f32|bf16] [--rows last|all]
 *
 * For each number of threads: the float32 peak, measured between the prompts, one prefill into an empty cache, and its
 * time kernel by kernel. Two shares: of the wall clock, and, for a machine with neighbours, of the processor time that
 * the process had. Peak and prompt are each the best of the runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "bench/thread_list.h"
#include "engine/device/device_host.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "engine/model/model_flops.h"
#include "kernels/cpu/cpu.h"

enum { MAX_TOKENS = 1 << 17, MAX_RUNS = 1000, PEAK_PASSES = 100 };

struct run {
	const char *path;
	struct thread_list threads;
	int n_tokens;
	int n_runs;
	enum host_products products;
	enum prefill_rows rows;
};

/* The best of some prompts. */
struct best {
	double peak; /* FLOP/s */
	int64_t wall_ns;
	int64_t processor_ns;
	struct device_host_profile profile; /* of the run that took least */
};

static int fail(const char *what)
{
	fprintf(stderr, "gemmark_host_prefill: %s\n", what);
	return 2;
}

static int64_t processor_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int prompt(struct session *s, const int *tokens, int n, struct best *best, struct error *err)
{
	struct device_host_profile profile = {0};
	int rc = session_rewind(s, 0, err);
	if (rc)
		return rc;
	device_host_profile(session_device(s), &profile);
	int64_t wall = clock_ns(), processor = processor_ns();
	rc = session_prefill(s, tokens, n, NULL, err);
	processor = processor_ns() - processor;
	wall = clock_ns() - wall;
	device_host_profile(session_device(s), NULL);
	if (!best->processor_ns || processor < best->processor_ns)
		best->processor_ns = processor;
	if (!best->wall_ns || wall < best->wall_ns) {
		best->wall_ns = wall;
		best->profile = profile;
	}
	return rc;
}

static void print_kernels(const struct device_host_profile *p)
{
	double all = 0;
	for (int k = 0; k <= KERNEL_COUNT; k++)
		all += (double)p->ns[k];
	for (int k = 0; k <= KERNEL_COUNT; k++)
		if (p->calls[k])
			printf("    %-20s %6llu calls %10.1f us %5.1f %%\n",
			       k < KERNEL_COUNT ? kernel_name((enum kernel)k) : "copies",
			       (unsigned long long)p->calls[k], (double)p->ns[k] * 1e-3, 100 * (double)p->ns[k] / all);
}

static void print_best(const struct best *b, int threads, int n_tokens, double flops)
{
	double core = b->peak / threads;
	printf("%d threads: float32 peak %.1f GFLOP/s a core\n", threads, core * 1e-9);
	printf("  %d tokens: %.3f GFLOP in %.1f ms, %.1f a second: %.1f GFLOP/s, %.1f %% of the peak\n", n_tokens,
	       flops * 1e-9, (double)b->wall_ns * 1e-6, n_tokens / (double)b->wall_ns * 1e9, flops / (double)b->wall_ns,
	       100 * flops / ((double)b->wall_ns * 1e-9 * b->peak));
	printf("  processor time %.1f ms: %.1f %% of a core's peak\n", (double)b->processor_ns * 1e-6,
	       100 * flops / ((double)b->processor_ns * 1e-9 * core));
	print_kernels(&b->profile);
}

static int one(const struct run *r, int threads, struct error *err)
{
	struct session_options o;
	struct session *s;
	struct best best = {0};
	static int tokens[MAX_TOKENS];
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = threads;
	o.load.host_products = r->products;
	o.context = r->n_tokens;
	int rc = session_open(&s, r->path, &o, err);
	if (rc)
		return rc;
	const struct model *m = session_model(s);
	for (int i = 0; i < r->n_tokens; i++)
		tokens[i] = (int)((unsigned)(i + 1) * 2654435761u % (unsigned)m->n_vocab);
	double flops = model_prefill_flops(m, 0, r->n_tokens, loaded_model_batch(&o.load, r->n_tokens),
					   r->rows == PREFILL_ROWS_ALL);
	rc = session_set_prefill_rows(s, r->rows, err);
	if (!rc)
		rc = prompt(s, tokens, r->n_tokens, &(struct best){0}, err); /* pages the weights in */
	for (int i = 0; i < r->n_runs && !rc; i++) {
		double peak = cpu_peak_flops(threads, PEAK_PASSES);
		best.peak = peak > best.peak ? peak : best.peak;
		rc = prompt(s, tokens, r->n_tokens, &best, err);
	}
	session_close(s);
	if (!rc)
		print_best(&best, threads, r->n_tokens, flops);
	return rc;
}

static int parse(struct run *r, int argc, char **argv)
{
	int products = HOST_PRODUCTS_F32, rows = PREFILL_ROWS_LAST;
	*r = (struct run){.n_tokens = 512, .n_runs = 5};
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (argv[i][0] != '-') {
			r->path = argv[i];
			continue;
		}
		i++;
		if (!strcmp(argv[i - 1], "-p"))
			r->n_tokens = atoi(value);
		else if (!strcmp(argv[i - 1], "-r"))
			r->n_runs = atoi(value);
		else if (!strcmp(argv[i - 1], "--products"))
			products = host_products_parse(value);
		else if (!strcmp(argv[i - 1], "--rows"))
			rows = prefill_rows_parse(value);
		else if (strcmp(argv[i - 1], "-t") || thread_list_add(&r->threads, value))
			return -1;
	}
	if (products < 0 || rows < 0)
		return -1;
	r->products = (enum host_products)products;
	r->rows = (enum prefill_rows)rows;
	return r->path && r->n_tokens > 0 && r->n_tokens <= MAX_TOKENS && r->n_runs > 0 && r->n_runs <= MAX_RUNS ? 0
														 : -1;
}

int main(int argc, char **argv)
{
	struct run r;
	struct error err = {""};
	if (parse(&r, argc, argv))
		return fail("usage: gemmark_host_prefill MODEL.gguf [-t N,N,...] [-p TOKENS] [-r RUNS] "
			    "[--products f32|bf16] [--rows last|all]");
	if (thread_list_settle(&r.threads, &err))
		return fail(err.text);
	printf("%s, kernels for %s, products in %s\n", r.path, device_host_isa(), host_products_name(r.products));
	for (int i = 0; i < r.threads.n; i++)
		if (one(&r, r.threads.threads[i], &err))
			return fail(err.text);
	return 0;
}
