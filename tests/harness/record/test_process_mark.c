/* Whether a process that wrote something still runs, by /proc of a made-up machine and of this one. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/process_mark.h"
#include "tests/support/folder.h"

static char root[FOLDER_BYTES];

/* Names may hold brackets and spaces; the start is the 22nd field. */
static void put_stat(int pid, char state, long long start)
{
	char path[64], text[256];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	snprintf(text, sizeof text, "%d (a) R (b) %c 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %lld 20 21\n", pid,
		 state, start);
	assert_int_equal(folder_put(root, path, text), 0);
}

static int set_up(void **state)
{
	char link[FOLDER_BYTES + 32];
	(void)state;
	if (folder_make(root, "process-mark") || folder_put(root, "/proc/sys/kernel/hostname", "node7\n") ||
	    folder_put(root, "/proc/sys/kernel/random/boot_id", "b-1\n") || folder_put(root, "/proc/self/ns/mnt", "") ||
	    folder_put(root, "/proc/1/stat", ""))
		return -1;
	snprintf(link, sizeof link, "%s/proc/self/ns/pid", root);
	return symlink("pid:[5]", link);
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(root);
}

static const struct process_mark there = {
	.pid = 321, .start_ticks = 7000, .host = "node7", .boot_id = "b-1", .pid_namespace = "pid:[5]"};

static void test_states(void **state)
{
	(void)state;
	struct process_mark m = there;
	assert_int_equal(process_mark_check(root, &m), PROCESS_GONE);
	put_stat(321, 'S', 7000);
	assert_int_equal(process_mark_check(root, &m), PROCESS_RUNS);
	put_stat(321, 'Z', 7000);
	assert_int_equal(process_mark_check(root, &m), PROCESS_GONE);
	/* The number is another process' now. */
	put_stat(321, 'R', 7001);
	assert_int_equal(process_mark_check(root, &m), PROCESS_GONE);
	put_stat(321, 'R', 7000);
	assert_int_equal(process_mark_check(root, &m), PROCESS_RUNS);
	/* The machine has started again. */
	strcpy(m.boot_id, "b-0");
	assert_int_equal(process_mark_check(root, &m), PROCESS_GONE);
}

static void test_elsewhere(void **state)
{
	(void)state;
	struct process_mark m = there;
	put_stat(321, 'R', 7000);
	strcpy(m.host, "node8");
	assert_int_equal(process_mark_check(root, &m), PROCESS_UNKNOWN);
	m = there;
	strcpy(m.pid_namespace, "pid:[6]");
	assert_int_equal(process_mark_check(root, &m), PROCESS_UNKNOWN);
	m = there;
	m.start_ticks = -1;
	assert_int_equal(process_mark_check(root, &m), PROCESS_UNKNOWN);
	assert_int_equal(process_mark_check("/nonexistent", &there), PROCESS_UNKNOWN);
}

/* This machine, and a child of this process before and after its end. */
static void test_here(void **state)
{
	int out[2];
	struct process_mark m;
	(void)state;
	process_mark_self("", &m);
	assert_int_equal(m.pid, getpid());
	assert_int_equal(process_mark_check("", &m), PROCESS_RUNS);
	m.start_ticks++;
	assert_int_equal(process_mark_check("", &m), PROCESS_GONE);
	assert_int_equal(pipe(out), 0);
	pid_t child = fork();
	if (child == 0) {
		process_mark_self("", &m);
		_exit(write(out[1], &m, sizeof m) != sizeof m || pause());
	}
	assert_int_equal(read(out[0], &m, sizeof m), sizeof m);
	assert_int_equal(process_mark_check("", &m), PROCESS_RUNS);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(process_mark_check("", &m), PROCESS_GONE);
	close(out[0]);
	close(out[1]);
}

static void test_json(void **state)
{
	(void)state;
	struct process_mark m;
	json_t *o = process_mark_json(&there);
	assert_int_equal(process_mark_parse(o, &m), 0);
	assert_int_equal(m.pid, 321);
	assert_int_equal(m.start_ticks, 7000);
	assert_string_equal(m.host, "node7");
	assert_string_equal(m.boot_id, "b-1");
	assert_string_equal(m.pid_namespace, "pid:[5]");
	/* Kept is what a host can be called, and nothing that is too long. */
	char text[200];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	json_object_set_new(o, "host", json_string(text));
	assert_int_equal(process_mark_parse(o, &m), 0);
	assert_string_equal(m.host, "");
	json_object_set_new(o, "pid", json_integer(0));
	assert_int_equal(process_mark_parse(o, &m), -1);
	json_object_set_new(o, "pid", json_integer(1LL << 40));
	assert_int_equal(process_mark_parse(o, &m), -1);
	json_object_set_new(o, "pid", json_string("321"));
	assert_int_equal(process_mark_parse(o, &m), -1);
	json_decref(o);
	assert_int_equal(process_mark_parse(NULL, &m), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_elsewhere, set_up, tear_down),
		cmocka_unit_test(test_here),
		cmocka_unit_test(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
