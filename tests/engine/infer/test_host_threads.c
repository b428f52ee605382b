/*
 * The engine's threads are those that it was asked for, in prompts, decoding, SnapKV and writing models alike: no
 * kernel has others of its own, whose number and whose way to wait the device would not know.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "tests/support/eviction.h"
#include "tests/support/ok.h"
#include "tests/support/tasks.h"

enum { THREADS = 3 };

static void test_engine(void **state)
{
	const int model = *(const int *)*state;
	struct session_options o;
	struct session *s;
	struct tasks tasks;
	struct snapkv_options snapkv = eviction_cases[0];
	const char *path = eviction_model(model); /* written by two threads */
	session_options_default(&o);
	eviction_options(&o.load, 0, TENSOR_F16);
	o.load.batch = 128;
	o.load.n_threads = THREADS;
	tasks_begin(&tasks);
	OK(session_open(&s, path, &o, e));
	float *rows = malloc((size_t)EVICTION_AFTER * (size_t)session_model(s)->n_vocab * sizeof *rows);
	assert_non_null(rows);
	eviction_rows(s, &snapkv, rows);
	tasks_end(&tasks);
	assert_int_equal(tasks.n, THREADS);
	assert_true(tasks_rest(&tasks));
	session_close(s);
	assert_true(tasks_gone(&tasks));
	free(rows);
}

static void test_bandwidth(void **state)
{
	(void)state;
	struct tasks tasks;
	tasks_begin(&tasks);
	assert_true(device_host_read_bandwidth(8 << 20, THREADS, 2) > 0);
	assert_true(tasks_gone(&tasks));
}

static int clean(void **state)
{
	(void)state;
	eviction_clean();
	return 0;
}

int main(void)
{
	static int models[] = {2, 4}; /* dense, experts */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_engine, &models[0]),
		cmocka_unit_test_prestate(test_engine, &models[1]),
		cmocka_unit_test(test_bandwidth),
	};
	return cmocka_run_group_tests(tests, NULL, clean);
}
