/*
 * Several devices of one GPU in one thread, on the driver that tests/support/fake_cuda.c makes up: closing one, or
 * asking what is free, leaves the others their context; the last one leaves none.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "engine/device/device_ops.h"
#include "kernels/cuda/memory_geometry.h"
#include "tests/support/fake_gpu.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

enum { N = 5 };

static char cache[FOLDER_BYTES];
static int (*contexts)(bool *is_current);

static struct device *open_device(void)
{
	const struct cuda_open_options o = {
		.dims = {.n_head_dims = 1, .head_dims = {256}, .k_type = TENSOR_F16, .v_type = TENSOR_F16},
		.pdl = true,
		.batch = 1,
		.n_in_max = 32,
	};
	struct device *d;
	OK(device_cuda_open(&d, &o, e));
	return d;
}

/* Memory, launches and graphs of it. */
static void check_works(struct device *d)
{
	const float a[N] = {1, 2, 3, 4, 5};
	float y[N];
	struct device_graph *g;
	struct device_exec *x;
	void *on_device, *sum;
	OK(device_alloc(d, sizeof a, &on_device, e));
	OK(device_alloc(d, sizeof y, &sum, e));
	OK(device_upload(d, on_device, a, sizeof a, e));
	const struct add_params p = {.a = on_device, .b = on_device, .y = sum, .n = N, .scale = 1};
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	OK(device_launch(d, KERNEL_add, &p, e));
	OK(device_capture_end(d, &g, e));
	OK(device_instantiate(d, g, &x, e));
	OK(device_replay(d, x, e));
	OK(device_download(d, y, sum, sizeof y, e));
	for (int i = 0; i < N; i++)
		assert_true(y[i] == 2 * a[i]);
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	device_free(d, on_device);
	device_free(d, sum);
}

static void check_contexts(int retained, bool is)
{
	bool is_current;
	assert_int_equal(contexts(&is_current), retained);
	assert_int_equal(is_current, is);
}

/* Closed in either order. */
static void test_two(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) {
		struct device *d[2] = {open_device(), open_device()};
		check_works(d[0]);
		check_works(d[1]);
		device_close(d[first]);
		check_contexts(1, true);
		check_works(d[!first]);
		device_close(d[!first]);
		check_contexts(0, false);
	}
}

static void test_free_memory(void **state)
{
	(void)state;
	size_t bytes;
	OK(device_cuda_free_memory(&bytes, e));
	assert_true(bytes > 0);
	check_contexts(0, false);
	struct device *d = open_device();
	OK(device_cuda_free_memory(&bytes, e));
	check_contexts(1, true);
	check_works(d);
	device_close(d);
	check_contexts(0, false);
}

/* Leaves nothing, whether it can be measured or not. */
static void test_measure(void **state)
{
	(void)state;
	struct cuda_memory m;
	struct error err;
	double copies;
	OK(device_cuda_measure(&m, e));
	check_contexts(0, false);
	struct device *d = open_device();
	OK(device_cuda_measure(&m, e));
	OK(device_cuda_measure_copies(&copies, e));
	assert_true(copies > 4e11 && copies <= 0.751 * MEMORY_TUNED_BYTES_S);
	check_contexts(1, true);
	check_works(d);
	device_close(d);
	/* fake_cuda.c's */
	assert_true(m.bytes_cycle > 0.749 * MEMORY_TUNED_BYTES_CYCLE &&
		    m.bytes_cycle < 0.751 * MEMORY_TUNED_BYTES_CYCLE);
	assert_true(m.latency_cycles == MEMORY_TUNED_LATENCY_CYCLES);
	assert_true(m.bytes_s > 4e11 && m.bytes_s <= 0.751 * MEMORY_TUNED_BYTES_S);
	setenv("FAKE_CUDA", "no-memory", 1);
	assert_int_equal(device_cuda_measure(&m, &err), ERROR_DEVICE);
	unsetenv("FAKE_CUDA");
	assert_non_null(strstr(err.text, "its memory was measured at a rate that no memory has"));
	assert_true(m.bytes_s == 0 && m.bytes_cycle == 0 && m.latency_cycles == 0);
	check_contexts(0, false);
}

/* A device plans for the memory that it is told of. */
static void test_plan(void **state)
{
	(void)state;
	static const struct cuda_memory memories[] = {
		{0}, {0.5 * MEMORY_TUNED_BYTES_S, 0.5 * MEMORY_TUNED_BYTES_CYCLE, MEMORY_TUNED_LATENCY_CYCLES}};
	for (int i = 0; i < 2; i++) {
		struct cuda_open_options o = {
			.dims = {.n_head_dims = 1, .head_dims = {256}, .k_type = TENSOR_F16, .v_type = TENSOR_F16},
			.batch = 1,
			.n_in_max = 2048,
			.memory = memories[i],
		};
		struct persistent_copy copy;
		struct persistent_phase phase = {
			.of.product = {.w = {{.type = TENSOR_BF16, .n_in = 2048, .n_out = 2048, .n_expert = 1}},
				       .n_w = 1}};
		struct persistent_program g = {
			.n_embd = 2048, .n_phases = 1, .k_type = TENSOR_F16, .v_type = TENSOR_F16};
		struct device *d;
		OK(device_cuda_open(&d, &o, e));
		OK(device_plan_persistent(d, &g, &phase, &copy, e));
		assert_int_equal(copy.limit, i ? 1 : 2);          /* of 8 KiB each, of 18 KiB and of half as much */
		assert_int_equal(g.ahead_cycles, i ? 1000 : 500); /* 2 MiB each */
		device_close(d);
	}
}

/* The error that d waits into: says whether a token's kernel may have ended by itself. how: of fake_cuda.c. */
static bool may_have_waited(struct device *d, const char *how, int (*wait)(struct device *d, struct error *err))
{
	static const char hint[] = "; the kernel of fusion persistent ends like this where a block waits for more than "
				   "10 s: let no other program and no debugger use the GPU meanwhile, or use --fusion "
				   "full";
	struct error err;
	setenv("FAKE_CUDA", how, 1);
	assert_int_equal(wait(d, &err), ERROR_DEVICE);
	unsetenv("FAKE_CUDA");
	assert_non_null(strstr(err.text, "CUDA_ERROR_FAKE 7"));
	const char *end = strstr(err.text, hint);
	assert_true(!end || end[sizeof hint - 1] == '\0'); /* whole */
	return end;
}

static void *waited_for; /* of the device, a float */

static int wait_download(struct device *d, struct error *err)
{
	float x;
	return device_download(d, &x, waited_for, sizeof x, err);
}

static int wait_query(struct device *d, struct error *err)
{
	int rc = d->ops->running(d, err);
	assert_true(rc <= 0);
	return rc;
}

static struct device_event *passed;

static int wait_event(struct device *d, struct error *err)
{
	return device_event_wait(d, passed, err);
}

/* What is launched, or captured. */
static void enqueue(struct device *d, bool token, bool sum)
{
	const struct persistent_params p = {
		.n_blocks = 4, .shared_bytes = 1 << 16, .k_type = TENSOR_F16, .v_type = TENSOR_F16};
	const struct add_params a = {.a = waited_for, .b = waited_for, .y = waited_for, .n = 1, .scale = 1};
	if (token)
		OK(device_launch(d, KERNEL_persistent, &p, e));
	if (sum)
		OK(device_launch(d, KERNEL_add, &a, e));
}

/* Launched or replayed, alone or before others; not where it is known to be done, and not for others' failures. */
static void test_waiting_in_vain(void **state)
{
	(void)state;
	int (*const waits[])(struct device * d, struct error * err) = {device_synchronize, wait_download, wait_query,
								       wait_event};
	struct device *d = open_device();
	OK(device_alloc(d, sizeof(float), &waited_for, e));
	OK(device_event_create(d, &passed, e));
	OK(device_event_record(d, passed, e));
	for (int i = 0; i < 4; i++) {
		enqueue(d, false, true);
		assert_false(may_have_waited(d, "trap", waits[i]));
		enqueue(d, true, i % 2);
		assert_true(may_have_waited(d, i % 2 ? "trap" : "illegal", waits[i]));
		OK(device_synchronize(d, e));
		assert_false(may_have_waited(d, "trap", waits[i]));
	}
	for (int token = 0; token < 2; token++) {
		struct device_graph *g;
		struct device_exec *x;
		OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
		enqueue(d, token, true);
		OK(device_capture_end(d, &g, e));
		OK(device_instantiate(d, g, &x, e));
		OK(device_exec_upload(d, x, e));
		assert_false(may_have_waited(d, "trap", device_synchronize)); /* captured alone */
		OK(device_replay(d, x, e));
		assert_int_equal(may_have_waited(d, "trap", device_synchronize), token);
		OK(device_synchronize(d, e));
		device_exec_destroy(d, x);
		device_graph_destroy(d, g);
	}
	device_event_destroy(d, passed);
	device_free(d, waited_for);
	device_close(d);
}

static int set_up(void **state)
{
	(void)state;
	void *fake = folder_make(cache, "cuda_context") ? NULL : fake_gpu_load(cache);
	void *symbol = fake ? dlsym(fake, "fake_cuda_contexts") : NULL;
	memcpy(&contexts, &symbol, sizeof contexts);
	return !symbol;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two),  cmocka_unit_test(test_free_memory),     cmocka_unit_test(test_measure),
		cmocka_unit_test(test_plan), cmocka_unit_test(test_waiting_in_vain),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
