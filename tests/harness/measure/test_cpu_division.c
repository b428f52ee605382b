/* Cores divided among processes side by side: none twice, whole, near, and as many as can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/cpu_division.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/shown_line.h"

static char root[FOLDER_BYTES];

/* 8 cores on two nodes; the second threads of them are 8 to 15, as Linux numbers them. */
static int set_up(void **state)
{
	(void)state;
	if (folder_make(root, "cpu-division"))
		return -1;
	for (int cpu = 0; cpu < 16; cpu++) {
		char path[96], text[32];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		snprintf(text, sizeof text, "%d,%d\n", cpu % 8, cpu % 8 + 8);
		if (folder_put(root, path, text))
			return -1;
	}
	return folder_put(root, "/sys/bus/pci/devices/0000:4e:00.0/local_cpulist", "4-7,12-15\n") ||
	       folder_put(root, "/sys/bus/pci/devices/0000:4e:00.0/numa_node", "1\n") ||
	       folder_put(root, "/sys/bus/pci/devices/0001:cb:00.0/local_cpulist", "\n");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(root);
}

static cpu_set_t set(const char *list)
{
	cpu_set_t s;
	assert_int_equal(cpu_list_parse(list, &s), 0);
	return s;
}

/* What each gets, of those that want `wanted` (n) */
static void check(const char *allowed, int n, const char *const *wanted, const char *const *given)
{
	cpu_set_t want[8], got[8], all = set(allowed);
	char text[64];
	for (int i = 0; i < n; i++)
		want[i] = set(wanted[i]);
	OK(cpu_divide(root, &all, want, n, got, e));
	for (int i = 0; i < n; i++)
		assert_string_equal(cpu_list_text(&got[i], text, sizeof text), given[i]);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__})

static void test_divide(void **state)
{
	(void)state;
	/* One on each node has all of it. */
	check("0-15", 2, LIST("0-3,8-11", "4-7,12-15"), LIST("0-3,8-11", "4-7,12-15"));
	/* Two on one node share it, whole cores with both threads. */
	check("0-15", 2, LIST("0-3,8-11", "0-3,8-11"), LIST("0-1,8-9", "2-3,10-11"));
	check("0-15", 3, LIST("0-3,8-11", "4-7,12-15", "0-3,8-11"), LIST("0-1,8-9", "4-7,12-15", "2-3,10-11"));
	/* A share of the processor beside a GPU: who is bound to a node is served first, and leaves a claim. */
	check("0-15", 2, LIST("0-15", "4-7,12-15"), LIST("0-3,6-11,14-15", "4-5,12-13"));
	/* What does not divide stays over for nobody but the last of them. */
	check("0-2,8-10", 2, LIST("0-15", "0-15"), LIST("0,8", "1-2,9-10"));
	/* Within what is allowed, threads too. */
	check("0-5,8", 2, LIST("0-15", "0-15"), LIST("0-2,8", "3-5"));
	check("0,1", 2, LIST("0-15", "0-15"), LIST("0", "1"));
}

static void test_too_few(void **state)
{
	(void)state;
	struct error err = {""};
	cpu_set_t all = set("0-1,8-9"), want[3] = {set("0-15"), set("0-15"), set("0-15")}, got[3];
	assert_int_equal(cpu_divide(root, &all, want, 3, got, &err), ERROR_INPUT);
	assert_true(is_shown_line(err.text) && strstr(err.text, "2 for 3"));
	/* Two threads of one core are one. */
	all = set("0,8");
	assert_int_equal(cpu_divide(root, &all, want, 2, got, &err), ERROR_INPUT);
	OK(cpu_divide(root, &all, want, 1, got, e));
	assert_int_equal(CPU_COUNT(&got[0]), 2);
}

static void test_pci(void **state)
{
	(void)state;
	cpu_set_t cpus;
	int node;
	char text[64];
	assert_int_equal(cpu_list_of_pci(root, "00000000:4E:00.0", &cpus, &node), 0);
	assert_int_equal(node, 1);
	assert_string_equal(cpu_list_text(&cpus, text, sizeof text), "4-7,12-15");
	assert_int_equal(cpu_list_of_pci(root, "00000001:CB:00.0", &cpus, &node), -1);
	assert_int_equal(cpu_list_of_pci(root, "00000000:1B:00.0", &cpus, &node), -1);
	assert_int_equal(cpu_list_of_pci(root, "../../..", &cpus, &node), -1);
}

static void test_lists(void **state)
{
	static const char *const bad[] = {"a",  "1-", "-1", "3-1", "1,,2", "1,", "0-99999999", "99999999999999999999",
					  "1 2"};
	cpu_set_t s;
	char text[8];
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!cpu_list_parse(bad[i], &s))
			fail_msg("'%s' is taken", bad[i]);
	assert_int_equal(cpu_list_parse("", &s), 0);
	assert_int_equal(CPU_COUNT(&s), 0);
	assert_string_equal(cpu_list_text(&s, text, sizeof text), "");
	assert_int_equal(cpu_list_parse("1,3-5,7", &s), 0);
	assert_int_equal(CPU_COUNT(&s), 5);
	assert_string_equal(cpu_list_text(&s, text, sizeof text), "1,3-5,7");
	assert_int_equal(cpu_list_parse("100-200,300", &s), 0);
	assert_string_equal(cpu_list_text(&s, text, sizeof text), "100-200");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_divide),
		cmocka_unit_test(test_too_few),
		cmocka_unit_test(test_pci),
		cmocka_unit_test(test_lists),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
