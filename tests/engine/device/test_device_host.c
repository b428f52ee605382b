/* The host device keeps a stream's rules: order, capture, node updates, faults, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "tests/support/self_case.h"

enum { N = 8 };

struct fixture {
	struct device *d;
	float *a, *b, *y;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_int_equal(device_host_open(&f->d, 2, NULL), 0);
	float **all[] = {&f->a, &f->b, &f->y};
	for (int i = 0; i < 3; i++) {
		void *p;
		assert_int_equal(device_alloc(f->d, N * sizeof(float), &p, NULL), 0);
		*all[i] = p;
		for (int j = 0; j < N; j++)
			(*all[i])[j] = (float)(i == 2 ? -1 : (i + 1) * (j + 1));
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	device_close(f->d);
	free(f);
	return 0;
}

static struct add_params add(const struct fixture *f, float scale)
{
	return (struct add_params){.a = f->a, .b = f->b, .y = f->y, .n = N, .scale = scale};
}

static void launch_add(const struct fixture *f, float scale)
{
	struct add_params p = add(f, scale);
	assert_int_equal(device_launch(f->d, KERNEL_add, &p, NULL), 0);
}

static void sync_expect(const struct fixture *f, float factor)
{
	assert_int_equal(device_synchronize(f->d, NULL), 0);
	for (int j = 0; j < N; j++)
		assert_float_equal(f->y[j], factor * (float)(j + 1), 0);
}

static struct device_graph *capture_add(const struct fixture *f, float scale)
{
	struct device_graph *g;
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
	launch_add(f, scale);
	assert_int_equal(device_capture_end(f->d, &g, NULL), 0);
	return g;
}

static void test_launch_only_enqueues(void **state)
{
	struct fixture *f = *state;
	launch_add(f, 1);
	assert_float_equal(f->y[0], -1, 0); /* not run yet */
	sync_expect(f, 3);
	assert_int_equal(device_counters(f->d).api_launches, 1);
	assert_int_equal(device_counters(f->d).kernels, 1);
}

static void test_params_and_sent_bytes_are_copied_at_the_call(void **state)
{
	struct fixture *f = *state;
	struct add_params p = add(f, 1);
	float sent[N] = {10, 10, 10, 10, 10, 10, 10, 10};
	assert_int_equal(device_send(f->d, f->a, sent, sizeof sent, NULL), 0);
	assert_int_equal(device_launch(f->d, KERNEL_add, &p, NULL), 0);
	p.scale = 100;
	memset(sent, 0, sizeof sent);
	assert_int_equal(device_synchronize(f->d, NULL), 0);
	for (int j = 0; j < N; j++)
		assert_float_equal(f->y[j], 10 + 2 * (j + 1), 0);
	assert_int_equal(device_counters(f->d).copies, 1);
	assert_int_equal(device_counters(f->d).api_launches, 2);
}

static void test_work_runs_in_order(void **state)
{
	struct fixture *f = *state;
	launch_add(f, 1); /* y = 3 (j + 1) */
	assert_int_equal(device_copy(f->d, f->a, f->y, N * sizeof(float), NULL), 0);
	launch_add(f, 1); /* y = 3 (j + 1) + 2 (j + 1) */
	sync_expect(f, 5);
}

static void test_capture_records_and_does_not_run(void **state)
{
	struct fixture *f = *state;
	struct device_graph *g = capture_add(f, 1);
	struct device_exec *x;
	assert_int_equal(device_synchronize(f->d, NULL), 0);
	assert_float_equal(f->y[0], -1, 0);
	assert_int_equal(device_counters(f->d).api_launches, 0);
	assert_int_equal(device_graph_nodes(g), 1);
	int kernel;
	const struct add_params *p = device_graph_node(g, 0, &kernel);
	assert_int_equal(kernel, KERNEL_add);
	assert_ptr_equal(p->y, f->y);

	assert_int_equal(device_instantiate(f->d, g, &x, NULL), 0);
	assert_int_equal(device_exec_upload(f->d, x, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(device_replay(f->d, x, NULL), 0);
	sync_expect(f, 3);
	assert_int_equal(device_counters(f->d).api_launches, 2);
	assert_int_equal(device_counters(f->d).kernels, 2);
	device_exec_destroy(f->d, x);
	device_graph_destroy(f->d, g);
}

/* A replay that is already in the stream keeps the params that it was enqueued with. */
static void test_updates_touch_only_later_replays(void **state)
{
	struct fixture *f = *state;
	struct device_graph *g = capture_add(f, 1), *other = capture_add(f, 10);
	struct device_exec *x;
	assert_int_equal(device_instantiate(f->d, g, &x, NULL), 0);
	struct add_params p = add(f, 2);
	assert_int_equal(device_replay(f->d, x, NULL), 0);
	assert_int_equal(device_exec_set_params(f->d, x, 0, &p, NULL), 0);
	assert_float_equal(f->y[0], 3, 0); /* the queued one ran as it was */
	assert_int_equal(device_replay(f->d, x, NULL), 0);
	sync_expect(f, 6);
	assert_int_equal(device_counters(f->d).node_updates, 1);
	assert_int_equal(device_replay(f->d, x, NULL), 0);
	assert_int_equal(device_exec_update(f->d, x, other, NULL), 0);
	assert_float_equal(f->y[0], 6, 0);
	assert_int_equal(device_replay(f->d, x, NULL), 0);
	sync_expect(f, 30);
	struct error err;
	assert_int_equal(device_exec_set_params(f->d, x, 1, &p, &err), ERROR_DEVICE);
	device_exec_destroy(f->d, x);
	device_graph_destroy(f->d, g);
	device_graph_destroy(f->d, other);
}

static void test_update_refuses_another_topology(void **state)
{
	struct fixture *f = *state;
	struct device_graph *g = capture_add(f, 1), *longer;
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
	launch_add(f, 1);
	launch_add(f, 1);
	assert_int_equal(device_capture_end(f->d, &longer, NULL), 0);
	struct device_exec *x;
	assert_int_equal(device_instantiate(f->d, g, &x, NULL), 0);
	assert_int_equal(device_exec_update(f->d, x, longer, NULL), ERROR_UNSUPPORTED);
	assert_int_equal(device_replay(f->d, x, NULL), 0); /* unharmed */
	sync_expect(f, 3);
	device_exec_destroy(f->d, x);
	device_graph_destroy(f->d, g);
	device_graph_destroy(f->d, longer);
}

static void test_capture_refuses_what_cuda_refuses(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->d;
	for (int what = 0; what < 7; what++) {
		struct error err = {0};
		struct device_graph *g;
		struct device_event *e;
		void *p;
		float bytes[2] = {0};
		assert_int_equal(device_capture_begin(d, DEVICE_GRAPH_PLAIN, NULL), 0);
		launch_add(f, 1);
		int rc = 0;
		switch (what) {
		case 0:
			rc = device_alloc(d, 64, &p, &err);
			break;
		case 1:
			rc = device_synchronize(d, &err);
			break;
		case 2:
			rc = device_upload(d, f->a, bytes, sizeof bytes, &err);
			break;
		case 3:
			rc = device_download(d, bytes, f->a, sizeof bytes, &err);
			break;
		case 4:
			rc = device_send(d, f->a, bytes, sizeof bytes, &err);
			break;
		case 5:
			rc = device_event_create(d, &e, &err);
			break;
		case 6:
			device_free(d, f->b); /* says nothing; the capture fails, and b must live on */
			rc = ERROR_DEVICE;
			snprintf(err.text, sizeof err.text, "free while capturing");
			break;
		}
		assert_int_equal(rc, ERROR_DEVICE);
		assert_non_null(strstr(err.text, "capturing"));
		assert_int_equal(device_capture_end(d, &g, &err), ERROR_DEVICE);
		assert_null(g);
	}
	launch_add(f, 1);
	sync_expect(f, 3); /* nothing of the failed captures ran, all memory is there */
}

static void test_events(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->d;
	struct device_event *a, *b;
	double us = -1;
	assert_int_equal(device_event_create(d, &a, NULL), 0);
	assert_int_equal(device_event_create(d, &b, NULL), 0);
	assert_int_equal(device_event_record(d, a, NULL), 0);
	launch_add(f, 1);
	assert_int_equal(device_event_record(d, b, NULL), 0);
	assert_int_equal(device_event_elapsed(d, a, b, &us, NULL), ERROR_DEVICE);
	assert_int_equal(device_synchronize(d, NULL), 0);
	assert_int_equal(device_event_elapsed(d, a, b, &us, NULL), 0);
	assert_true(us > 0 && us < 1e6);
	device_event_destroy(d, a);
	device_event_destroy(d, b);
}

static void test_memory_is_counted(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->d;
	size_t base = device_memory(d).used;
	void *p, *q;
	assert_int_equal(base, 3 * N * sizeof(float));
	assert_int_equal(device_alloc(d, 5 << 20, &p, NULL), 0);
	assert_int_equal((uintptr_t)p % 64, 0);
	assert_int_equal(device_alloc(d, 100, &q, NULL), 0);
	assert_int_equal((uintptr_t)q % 64, 0);
	assert_int_equal(device_memory(d).used, base + (5 << 20) + 100);
	device_free(d, p);
	device_free(d, q);
	assert_int_equal(device_memory(d).used, base);
	assert_int_equal(device_memory(d).peak, base + (5 << 20) + 100);

	struct error err;
	assert_int_equal(device_alloc(d, (size_t)1 << 60, &p, &err), ERROR_MEMORY);
	assert_non_null(strstr(err.text, "1152921504606846976 bytes asked"));
	assert_null(p);
	device_fail(d, DEVICE_FAULT_ALLOC, 1, 1);
	assert_int_equal(device_alloc(d, 64, &p, NULL), 0);
	device_free(d, p);
	assert_int_equal(device_alloc(d, 64, &p, &err), ERROR_MEMORY);
	assert_int_equal(device_memory(d).used, base);
}

static void test_graphs_that_change_themselves(void **state)
{
	struct fixture *f = *state;
	self_case_patch(f->d);
	self_case_loop(f->d, DEVICE_GRAPH_RELAUNCHED);
	self_case_loop_chosen(f->d, DEVICE_GRAPH_RELAUNCHED);
	self_case_loop(f->d, DEVICE_GRAPH_WHILE);
	self_case_loop_chosen(f->d, DEVICE_GRAPH_WHILE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_launch_only_enqueues),
		T(test_params_and_sent_bytes_are_copied_at_the_call),
		T(test_work_runs_in_order),
		T(test_capture_records_and_does_not_run),
		T(test_updates_touch_only_later_replays),
		T(test_update_refuses_another_topology),
		T(test_capture_refuses_what_cuda_refuses),
		T(test_events),
		T(test_graphs_that_change_themselves),
		T(test_memory_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
