/*
 * Nothing allocates or frees memory between a run's first and last measured token: not the
 * measurement core, not the engine in any mode, not the looking thread. The allocator's
 * functions are this file's, and count while a measured phase runs.
 */
#include <stdio.h>

#include "tests/support/sanitized.h"

#if SANITIZED_ADDRESS

int main(void)
{
	puts("skipped: the sanitizer has an allocator of its own");
	return 77;
}

#else

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/engine_source.h"
#include "harness/measure/runner.h"
#include "harness/measure/telemetry.h"
#include "tests/support/fake_workload.h"

static volatile int measuring;
static volatile long calls;        /* while measuring */
static volatile long calls_at_all; /* proves that they are ours */

/* glibc's own, behind the names that are taken here. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void __libc_free(void *p);

static void note(void)
{
	__atomic_add_fetch(&calls_at_all, 1, __ATOMIC_RELAXED);
	if (measuring)
		__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

static void *taken(void *p)
{
	note();
	return p;
}

void *malloc(size_t n)
{
	return taken(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return taken(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	return taken(__libc_realloc(p, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
	return taken(__libc_memalign(alignment, n));
}

void *memalign(size_t alignment, size_t n)
{
	return taken(__libc_memalign(alignment, n));
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
	*out = taken(__libc_memalign(alignment, n));
	return *out ? 0 : ENOMEM;
}

void free(void *p)
{
	if (p)
		note();
	__libc_free(p);
}

/* A monitor around the sweep's own: it is told where measured phases begin and end. */
struct counting {
	struct monitor base;
	struct monitor *inner;
	int phases;
};

static struct counting *counting_of(struct monitor *m)
{
	return (struct counting *)m;
}

static void begin(struct monitor *m, int on_gpu)
{
	counting_of(m)->inner->begin(counting_of(m)->inner, on_gpu);
}

static void measure(struct monitor *m)
{
	counting_of(m)->inner->measure(counting_of(m)->inner);
	counting_of(m)->phases++;
	measuring = 1;
}

static void end(struct monitor *m, struct conditions *out)
{
	measuring = 0;
	counting_of(m)->inner->end(counting_of(m)->inner, out);
}

static double sm_clock(struct monitor *m)
{
	return counting_of(m)->inner->sm_clock(counting_of(m)->inner);
}

/* Allocates on purpose: the test must see it. */
static int guilty;

static int take(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)n, (void)err;
	if (row->status != RUN_STATUS_OK)
		fail_msg("%s %s %s: %s %s", row->mode, row->fusion, row->sync, run_status_name(row->status),
			 row->reason);
	if (calls && !guilty)
		fail_msg("%s, fusion %s, sync %s, repetition %d: %ld calls of the allocator while measuring", row->mode,
			 row->fusion, row->sync, (int)row->repetition, calls);
	return 0;
}

static void sweep(struct workload_source *source, const char *model, const char *fusions)
{
	struct matrix m = {0};
	struct runner_options o;
	struct runner_summary summary;
	struct telemetry *t;
	struct cell *cells;
	struct error err = {""};
	int n;
	assert_int_equal(matrix_add(&m, AXIS_MODEL, model, NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_MODE, "direct,graph-params,graph-update,graph-device", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_FUSION, fusions, NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_SYNC, "token,none", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_K, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_TYPE_V, "f16", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "40", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "20", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GPU_LAYERS, "0", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_THREADS, "2", NULL), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	const struct telemetry_options looks = {.interval_ms = 1};
	assert_int_equal(telemetry_open(&t, &looks, NULL), 0);
	struct counting counting = {.base = {begin, measure, end, sm_clock}, .inner = telemetry_monitor(t)};
	const struct runner_sink sink = {.run = take};
	runner_options_default(&o);
	o.repetitions = 2;
	o.monitor = &counting.base;
	calls = 0;
	if (runner_run(cells, n, source, &o, &sink, &summary, &err))
		fail_msg("%s", err.text);
	/* A reference a unit, and two runs a cell. */
	assert_int_equal(counting.phases, n / 4 + 2 * n);
	telemetry_close(t);
	free(cells);
	matrix_free(&m);
}

static void test_fake(void **state)
{
	(void)state;
	static struct fake fake;
	long before = calls_at_all;
	fake_init(&fake);
	sweep(&fake.source, "m", "none,full");
	assert_true(calls_at_all > before);
	assert_int_equal(calls, 0);
}

static void test_engine(void **state)
{
	const char *model = *state;
	struct workload_source *source;
	struct engine_settings settings;
	engine_settings_default(&settings);
	assert_int_equal(engine_source_open(&source, &settings, NULL), 0);
	sweep(source, model, "none,full");
	engine_source_close(source);
	assert_int_equal(calls, 0);
}

/* The counting itself works: a workload that allocates for every token is caught. */
static int (*honest_decode)(struct workload *w, int token, struct token_record *out, struct error *err);
static int (*honest_open)(struct workload_source *s, const struct placement *p, struct workload **out,
			  struct error *err);
static struct workload_ops guilty_ops;

static int guilty_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	char *volatile p = malloc(10);
	free(p);
	return honest_decode(w, token, out, err);
}

static int guilty_open(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err)
{
	int rc = honest_open(s, p, out, err);
	if (rc)
		return rc;
	guilty_ops = *(*out)->ops;
	honest_decode = guilty_ops.decode;
	guilty_ops.decode = guilty_decode;
	(*out)->ops = &guilty_ops;
	return 0;
}

static void test_caught(void **state)
{
	(void)state;
	static struct fake fake;
	fake_init(&fake);
	honest_open = fake.source.open;
	fake.source.open = guilty_open;
	guilty = 1;
	sweep(&fake.source, "m", "full");
	guilty = 0;
	/* 40 tokens of two references and 2 runs of 4 modes; the queued runs of the fake call its own decode. */
	assert_int_equal(calls, 2 * 40 * (2 + 2 * 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fake),
		cmocka_unit_test_prestate(test_engine, (void *)"golden/gemma4-e2b-tiny.q8_0.gguf"),
		cmocka_unit_test_prestate(test_engine, (void *)"golden/gemma4-26b-a4b-tiny.q8_0.gguf"),
		cmocka_unit_test(test_caught),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
