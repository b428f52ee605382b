/*
 * The CUDA device on a real GPU: its stream, graphs, memory and failures. Without a GPU it exits with 77, which
 * ctest counts as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "engine/device/ops.h"
#include "tests/support/apart.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/self_case.h"

enum { N = 1000 };

static struct device *open_device(void)
{
	const struct cuda_open_options o = {
		.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = TENSOR_F32, .v_type = TENSOR_F32},
		.pdl = true,
		.batch = 1,
		.n_in_max = 64,
	};
	struct device *d;
	struct error err;
	if (device_cuda_open(&d, &o, &err))
		fail_msg("%s", err.text);
	return d;
}

static void *allocate(struct device *d, size_t bytes)
{
	struct error err;
	void *p;
	if (device_alloc(d, bytes, &p, &err))
		fail_msg("%s", err.text);
	return p;
}

/* ---- memory ---- */

/* Sizes around the staging buffers' 8 MiB, at odd addresses. */
static void test_upload_and_download(void **state)
{
	(void)state;
	struct device *d = open_device();
	const size_t most = (40 << 20) + 3, sizes[] = {1, 3, 4096, (8 << 20) - 1, (8 << 20) + 1, (24 << 20) + 5, most};
	unsigned char *from = malloc(most), *to = malloc(most);
	for (size_t i = 0; i < most; i++)
		from[i] = (unsigned char)(i * 2654435761u >> 13);
	char *p = allocate(d, most + 1);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		memset(to, 0xa5, most);
		OK(device_upload(d, p + 1, from, sizes[i], e));
		OK(device_download(d, to, p + 1, sizes[i], e));
		assert_memory_equal(from, to, sizes[i]);
	}
	device_free(d, p);
	device_close(d);
	free(from);
	free(to);
}

/* What was never written is NaNs on request, whatever the sizes. */
static void test_poison(void **state)
{
	(void)state;
	struct device *d = open_device();
	const size_t sizes[] = {1, 4097, (3 << 20) + 5};
	unsigned char *to = malloc(sizes[2]);
	setenv("GEMMARK_POISON", "1", 1);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		void *p = allocate(d, sizes[i]);
		memset(to, 0, sizes[i]);
		OK(device_download(d, to, p, sizes[i], e));
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(to[k], 0xff);
		device_free(d, p);
	}
	unsetenv("GEMMARK_POISON");
	device_close(d);
	free(to);
}

/* Far more sends than slots, none waited for: each must carry its own bytes. */
static void test_queued_sends_keep_their_bytes(void **state)
{
	(void)state;
	enum { SENDS = 5000 };
	struct device *d = open_device();
	struct step *to = allocate(d, sizeof *to), *log = allocate(d, SENDS * sizeof *log);
	for (int i = 0; i < SENDS; i++) {
		struct step s = {.token = i, .pos = 3 * i, .evicted = -i};
		OK(device_send(d, to, &s, sizeof s, e));
		OK(device_copy(d, log + i, to, sizeof s, e));
		memset(&s, 0xff, sizeof s);
	}
	struct step *got = malloc(SENDS * sizeof *got);
	OK(device_download(d, got, log, SENDS * sizeof *got, e));
	for (int i = 0; i < SENDS; i++)
		assert_true(got[i].token == i && got[i].pos == 3 * i && got[i].evicted == -i);
	assert_int_equal(device_counters(d).api_launches, 2 * SENDS);
	assert_int_equal(device_counters(d).copies, 2 * SENDS);
	free(got);
	device_free(d, to);
	device_free(d, log);
	device_close(d);
}

static void test_out_of_memory_is_clean(void **state)
{
	(void)state;
	struct device *d = open_device();
	struct error err;
	void *p;
	assert_int_equal(device_alloc(d, (size_t)1 << 50, &p, &err), ERROR_MEMORY);
	assert_null(p);
	assert_non_null(strstr(err.text, "1125899906842624 bytes asked"));
	assert_non_null(strstr(err.text, "free"));
	assert_int_equal(device_memory(d).used, 0);
	p = allocate(d, 1 << 20); /* and the device still works */
	assert_int_equal(device_memory(d).used, 1 << 20);
	device_free(d, p);
	device_close(d);
}

static void test_mapped_memory_is_read_by_kernels(void **state)
{
	(void)state;
	struct device *d = open_device();
	void *x, *host;
	OK(device_alloc_mapped(d, N * sizeof(float), &x, &host, e));
	float *y = allocate(d, N * sizeof *y), got[N], *values = host;
	for (int i = 0; i < N; i++)
		values[i] = (float)i;
	const struct add_params p = {.a = x, .b = x, .y = y, .n = N, .scale = 0.5f};
	OK(device_launch(d, KERNEL_add, &p, e));
	OK(device_download(d, got, y, sizeof got, e));
	for (int i = 0; i < N; i++)
		assert_true(got[i] == (float)i);
	device_free(d, x);
	device_free(d, y);
	device_close(d);
}

/* ---- graphs: y = (x + x) * scale, z = y (copy), y = (y + x) * 1 ---- */

struct chain {
	struct device *d;
	float *x, *y, *z;
};

static struct add_params first_add(const struct chain *c, float scale)
{
	return (struct add_params){.a = c->x, .b = c->x, .y = c->y, .n = N, .scale = scale};
}

static int emit(const struct chain *c, float scale, struct error *err)
{
	struct emitter e = {.device = c->d, .err = err};
	op_add(&e, first_add(c, scale));
	op_copy(&e, c->z, c->y, N * sizeof(float));
	op_add(&e, (struct add_params){.a = c->y, .b = c->x, .y = c->y, .n = N, .scale = 1});
	return e.rc;
}

static struct chain open_chain(void)
{
	struct chain c = {.d = open_device()};
	c.x = allocate(c.d, N * sizeof(float));
	c.y = allocate(c.d, N * sizeof(float));
	c.z = allocate(c.d, N * sizeof(float));
	float x[N];
	for (int i = 0; i < N; i++)
		x[i] = (float)i;
	OK(device_upload(c.d, c.x, x, sizeof x, e));
	return c;
}

static void close_chain(struct chain *c)
{
	device_free(c->d, c->x);
	device_free(c->d, c->y);
	device_free(c->d, c->z);
	device_close(c->d);
}

static void expect_chain(const struct chain *c, float scale)
{
	float y[N], z[N];
	OK(device_download(c->d, y, c->y, sizeof y, e));
	OK(device_download(c->d, z, c->z, sizeof z, e));
	for (int i = 0; i < N; i++) {
		if (z[i] != 2 * (float)i * scale || y[i] != z[i] + (float)i)
			fail_msg("value %d with scale %g: y %g, z %g", i, (double)scale, (double)y[i], (double)z[i]);
	}
}

static struct device_graph *record(const struct chain *c, float scale)
{
	struct device_graph *g;
	OK(device_capture_begin(c->d, DEVICE_GRAPH_PLAIN, e));
	OK(emit(c, scale, e));
	OK(device_capture_end(c->d, &g, e));
	return g;
}

static void test_graph_replays_and_takes_new_params(void **state)
{
	(void)state;
	struct chain c = open_chain();
	struct device *d = c.d;
	struct device_exec *x;
	struct device_graph *g = record(&c, 1);
	assert_int_equal(device_counters(d).kernels + device_counters(d).api_launches, 0); /* recorded is not run */
	int kernel;
	assert_int_equal(device_graph_nodes(g), 3);
	const struct add_params *p = device_graph_node(g, 0, &kernel), want = first_add(&c, 1);
	assert_int_equal(kernel, KERNEL_add);
	assert_memory_equal(p, &want, sizeof want);
	device_graph_node(g, 1, &kernel);
	assert_int_equal(kernel, -1);
	OK(device_instantiate(d, g, &x, e));
	OK(device_exec_upload(d, x, e));
	OK(device_replay(d, x, e));
	expect_chain(&c, 1);
	assert_int_equal(device_counters(d).api_launches, 1);
	assert_int_equal(device_counters(d).kernels, 2);
	assert_int_equal(device_counters(d).copies, 1);
	/* Queued replays keep the params they were enqueued with. */
	for (int i = 2; i < 50; i++) {
		struct add_params new = first_add(&c, (float)i);
		OK(device_exec_set_params(d, x, 0, &new, e));
		OK(device_replay(d, x, e));
	}
	expect_chain(&c, 49);
	assert_int_equal(device_counters(d).node_updates, 48);
	struct error err;
	assert_int_equal(device_exec_set_params(d, x, 1, &want, &err), ERROR_DEVICE);
	/* An update from another graph of the same shape; that graph may go at once. */
	struct device_graph *other = record(&c, 7);
	OK(device_exec_update(d, x, other, e));
	device_graph_destroy(d, other);
	OK(device_replay(d, x, e));
	expect_chain(&c, 7);
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	close_chain(&c);
}

static void test_update_of_another_topology_is_refused(void **state)
{
	(void)state;
	struct chain c = open_chain();
	struct device_graph *g = record(&c, 1), *longer;
	struct device_exec *x;
	struct error err;
	OK(device_instantiate(c.d, g, &x, e));
	OK(device_capture_begin(c.d, DEVICE_GRAPH_PLAIN, e));
	OK(emit(&c, 1, e));
	OK(emit(&c, 1, e));
	OK(device_capture_end(c.d, &longer, e));
	assert_int_equal(device_exec_update(c.d, x, longer, &err), ERROR_UNSUPPORTED);
	device_exec_destroy(c.d, x);
	device_graph_destroy(c.d, longer);
	device_graph_destroy(c.d, g);
	close_chain(&c);
}

/* What a capture refuses, and that the device is usable after each refusal and each fault. */
static void test_refusals_and_faults(void **state)
{
	(void)state;
	struct chain c = open_chain();
	struct device *d = c.d;
	struct device_graph *g;
	struct device_event *event;
	struct error err;
	void *p;
	float x[4] = {0};
	for (int i = 0; i < 7; i++) {
		OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
		OK(emit(&c, 1, e));
		int rc = i == 0   ? device_alloc(d, 64, &p, &err)
			 : i == 1 ? device_synchronize(d, &err)
			 : i == 2 ? device_upload(d, c.x, x, sizeof x, &err)
			 : i == 3 ? device_download(d, x, c.x, sizeof x, &err)
			 : i == 4 ? device_send(d, c.x, x, sizeof x, &err)
			 : i == 5 ? device_event_create(d, &event, &err)
				  : device_capture_begin(d, DEVICE_GRAPH_PLAIN, &err);
		assert_int_equal(rc, ERROR_DEVICE);
		assert_int_equal(device_capture_end(d, &g, &err), ERROR_DEVICE);
		assert_null(g);
		assert_non_null(strstr(err.text, "not allowed while capturing"));
		OK(emit(&c, (float)i, e));
		expect_chain(&c, (float)i);
	}
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	device_capture_abort(d);
	device_capture_abort(d);
	device_fail(d, DEVICE_FAULT_CAPTURE_END, 0, 1);
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	assert_int_equal(device_capture_end(d, &g, &err), ERROR_DEVICE);
	assert_int_equal(device_capture_end(d, &g, &err), ERROR_DEVICE); /* none is open */
	OK(emit(&c, 3, e));
	expect_chain(&c, 3);
	close_chain(&c);
}

static void capture_often(struct chain *c, int times)
{
	for (int i = 0; i < times; i++) {
		struct device_exec *x;
		struct device_graph *g = record(c, 2);
		OK(device_instantiate(c->d, g, &x, e));
		OK(device_exec_upload(c->d, x, e));
		OK(device_replay(c->d, x, e));
		OK(device_synchronize(c->d, e));
		device_exec_destroy(c->d, x);
		device_graph_destroy(c->d, g);
	}
}

/* The free memory is the card's, which other processes take, too. What captures leak is less each time, theirs not. */
static void test_captures_leak_nothing(void **state)
{
	(void)state;
	enum { CAPTURES = 1000, TIMES = 5 };
	struct chain c = open_chain();
	bool lost = true;
	capture_often(&c, 20); /* the driver's own pools have their size by now */
	for (int i = 0; i < TIMES && lost; i++) {
		size_t before = device_memory(c.d).free;
		capture_often(&c, CAPTURES);
		size_t after = device_memory(c.d).free;
		print_message("device memory free before and after %d captures: %zu, %zu\n", CAPTURES, before, after);
		lost = after < before;
	}
	assert_false(lost);
	close_chain(&c);
}

static void test_events(void **state)
{
	(void)state;
	struct chain c = open_chain();
	struct device_event *from, *to;
	struct error err;
	double us = -1;
	OK(device_event_create(c.d, &from, e));
	OK(device_event_create(c.d, &to, e));
	assert_int_equal(device_event_elapsed(c.d, from, to, &us, &err), ERROR_DEVICE);
	OK(device_event_record(c.d, from, e));
	for (int i = 0; i < 1000; i++)
		OK(emit(&c, 1, e));
	OK(device_event_record(c.d, to, e));
	OK(device_synchronize(c.d, e));
	OK(device_event_elapsed(c.d, from, to, &us, e));
	print_message("1000 times two kernels and a copy: %.0f us\n", us);
	assert_true(us > 500 && us < 1e6);
	device_event_destroy(c.d, from);
	device_event_destroy(c.d, to);
	close_chain(&c);
}

/* A ceiling: below what any card can do, above what a mistaken unit would say, and lower in float32. */
static void test_gemm_rate(void **state)
{
	(void)state;
	double rates[2];
	for (int p = 0; p < 2; p++) {
		const struct cuda_open_options o = {
			.dims = {.head_dims = {64}, .n_head_dims = 1, .n_embd = 64},
			.prefill = p ? PREFILL_F32 : PREFILL_F16,
			.batch = 512,
			.n_in_max = 4096,
		};
		struct device *d;
		OK(device_cuda_open(&d, &o, e));
		struct device_memory before = device_memory(d);
		rates[p] = device_cuda_gemm_rate(d, 4096, 8192, 512);
		/* Wider than the scratch: in blocks. */
		assert_true(device_cuda_gemm_rate(d, 4096, 20000, 512) > 0.2 * rates[p]);
		assert_int_equal(device_memory(d).used, before.used);
		device_close(d);
		print_message("products in %s: %.1f TFLOP/s\n", prefill_precision_name(p ? PREFILL_F32 : PREFILL_F16),
			      rates[p] / 1e12);
	}
	assert_true(rates[0] > 5e12 && rates[0] < 5e15);
	assert_true(rates[1] > 1e12 && rates[1] < rates[0]);
	/* Without a prompt's scratch there is nothing to measure. */
	struct device *d = open_device();
	assert_true(device_cuda_gemm_rate(d, 64, 64, 1) < 0);
	device_close(d);
}

/* Twice the same but for noise; below what the card states, and no cache's rate. */
static void test_memory(void **state)
{
	(void)state;
	struct cuda_memory m[2];
	struct cuda_gpu gpu;
	struct persistent_limits limits;
	OK(device_cuda_gpu(&gpu, e));
	for (int i = 0; i < 2; i++) {
		OK(device_cuda_measure(&m[i], e));
		assert_null(cuda_persistent_limits(&limits, &m[i]));
		print_message("memory: %.0f GB/s, %.2f bytes a cycle of a multiprocessor, latency %.0f cycles; limits "
			      "%.2f, rate %.3f\n",
			      m[i].bytes_s / 1e9, m[i].bytes_cycle, m[i].latency_cycles, limits.in_flight, limits.rate);
		/* Cards that do not state theirs are not asked. */
		assert_true(!(gpu.bandwidth > 0) || m[i].bytes_s < 1.02 * gpu.bandwidth);
		assert_true(!(gpu.bandwidth > 0) || m[i].bytes_s > 0.5 * gpu.bandwidth);
		/* Two clocks say the same: that of the events and the multiprocessors', of 0.5 to 4 GHz. */
		double clock = m[i].bytes_s / gpu.n_sm / m[i].bytes_cycle;
		assert_true(clock > 0.5e9 && clock < 4e9);
		assert_true(m[i].latency_cycles > 200 && m[i].latency_cycles < 4000);
	}
	assert_true(m[1].bytes_s > 0.9 * m[0].bytes_s && m[1].bytes_s < 1.1 * m[0].bytes_s);
	assert_true(m[1].latency_cycles > 0.9 * m[0].latency_cycles && m[1].latency_cycles < 1.1 * m[0].latency_cycles);
}

/* What the driver cannot is a reason of its own, and no failure. */
static struct device *device_with(enum device_graph_kind kind)
{
	struct device *d = open_device();
	struct error err;
	if (!device_can_graph(d, kind, &err))
		return d;
	print_message("%s\n", err.text);
	device_close(d);
	skip();
	return NULL;
}

static void test_patched_graph(void **state)
{
	(void)state;
	struct device *d = device_with(DEVICE_GRAPH_PATCHED);
	self_case_patch(d);
	device_close(d);
}

static void test_relaunched_graph(void **state)
{
	(void)state;
	struct device *d = device_with(DEVICE_GRAPH_RELAUNCHED);
	self_case_loop(d, DEVICE_GRAPH_RELAUNCHED);
	self_case_loop_chosen(d, DEVICE_GRAPH_RELAUNCHED);
	device_close(d);
}

static void test_while_graph(void **state)
{
	(void)state;
	struct device *d = device_with(DEVICE_GRAPH_WHILE);
	self_case_loop(d, DEVICE_GRAPH_WHILE);
	self_case_loop_chosen(d, DEVICE_GRAPH_WHILE);
	device_close(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_upload_and_download),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_queued_sends_keep_their_bytes),
		cmocka_unit_test(test_out_of_memory_is_clean),
		cmocka_unit_test(test_mapped_memory_is_read_by_kernels),
		cmocka_unit_test(test_graph_replays_and_takes_new_params),
		cmocka_unit_test(test_update_of_another_topology_is_refused),
		cmocka_unit_test(test_refusals_and_faults),
		cmocka_unit_test(test_captures_leak_nothing),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_gemm_rate),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_patched_graph),
		cmocka_unit_test(test_relaunched_graph),
		cmocka_unit_test(test_while_graph),
	};
	/* One at a time: they watch the GPU's memory. */
	const struct apart apart = {"the CUDA device", tests, sizeof tests / sizeof *tests, 1, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
