/* Cores, quotas and NUMA nodes of machines that are folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/device/cpu_share.h"
#include "tests/support/folder.h"

static char root[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(root, "cpu-share");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(root);
}

static void put(const char *path, const char *text)
{
	assert_int_equal(folder_put(root, path, text), 0);
}

/* CPU c of n: its core's siblings are c % (n / 2) and that + n / 2; the lower half of the cores is node 0. */
static void put_machine(int n)
{
	char path[128], text[64];
	for (int cpu = 0; cpu < n; cpu++) {
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		snprintf(text, sizeof text, "%d,%d\n", cpu % (n / 2), cpu % (n / 2) + n / 2);
		put(path, text);
	}
	int half = n / 2, quarter = n / 4;
	snprintf(text, sizeof text, "0-%d,%d-%d\n", quarter - 1, half, half + quarter - 1);
	put("/sys/devices/system/node/node0/cpulist", text);
	snprintf(text, sizeof text, "%d-%d,%d-%d\n", quarter, half - 1, half + quarter, n - 1);
	put("/sys/devices/system/node/node1/cpulist", text);
}

static cpu_set_t mask(int from, int to)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	for (int cpu = from; cpu <= to; cpu++)
		CPU_SET((size_t)cpu, &set);
	return set;
}

static void expect(cpu_set_t allowed, int cpus, int cores, double quota, int nodes, int threads)
{
	struct cpu_share s = cpu_share_read(root, &allowed);
	assert_int_equal(s.cpus, cpus);
	assert_int_equal(s.cores, cores);
	assert_true(s.quota == quota);
	assert_int_equal(s.numa_nodes, nodes);
	assert_int_equal(cpu_share_threads(&s), threads);
}

static void test_cores(void **state)
{
	(void)state;
	put_machine(16); /* 8 cores of two threads, on two nodes */
	expect(mask(0, 15), 16, 8, 0, 2, 8);
	expect(mask(0, 3), 4, 4, 0, 1, 4);
	expect(mask(8, 11), 4, 4, 0, 1, 4);  /* second threads alone are cores too */
	expect(mask(6, 9), 4, 4, 0, 2, 4);   /* cores 6, 7, 0, 1 */
	expect(mask(15, 15), 1, 1, 0, 1, 1); /* one */
}

static void test_nothing_known(void **state)
{
	(void)state;
	expect(mask(0, 3), 4, 4, 0, 0, 4);
}

static void test_unified_quota(void **state)
{
	(void)state;
	put_machine(16);
	put("/proc/self/cgroup", "0::/box/job\n");
	put("/sys/fs/cgroup/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/box/job/cpu.max", "max 100000\n");
	expect(mask(0, 15), 16, 8, 0, 2, 8);
	put("/sys/fs/cgroup/box/cpu.max", "350000 100000\n");
	expect(mask(0, 15), 16, 8, 3.5, 2, 3);
	put("/sys/fs/cgroup/box/job/cpu.max", "50000 100000\n");
	expect(mask(0, 15), 16, 8, 0.5, 2, 1);
	put("/sys/fs/cgroup/box/job/cpu.max", "1600000 100000\n");
	put("/sys/fs/cgroup/box/cpu.max", "1200000 100000\n");
	expect(mask(0, 15), 16, 8, 12, 2, 8); /* more than there are cores */
}

/* A container that sees its own group as the root, under the older hierarchies. */
static void test_older_quota(void **state)
{
	(void)state;
	put_machine(16);
	put("/proc/self/cgroup", "3:cpuset:/pod\n2:cpuacct,cpu:/pod/x\n0::/pod\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	expect(mask(0, 15), 16, 8, 4, 2, 4);
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	expect(mask(0, 15), 16, 8, 0, 2, 8);
}

static void test_nonsense_is_no_limit(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "nonsense\n0\n1:cpu\n0::/a\n");
	put("/sys/fs/cgroup/a/cpu.max", "much of it\n");
	put("/sys/fs/cgroup/cpu.max", "100000 0\n");
	put("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "-7\n");
	put("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "99999999\n");
	put("/sys/devices/system/node/node0/cpulist", "nonsense\n");
	expect(mask(0, 1), 2, 2, 0, 0, 2);
}

static void test_this_machine(void **state)
{
	(void)state;
	struct cpu_share s = cpu_share_read("", NULL);
	assert_true(s.cpus >= 1 && s.cores >= 1 && s.cores <= s.cpus);
	assert_in_range(cpu_share_threads(&s), 1, s.cores);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_cores),       T(test_nothing_known),        T(test_unified_quota),
		T(test_older_quota), T(test_nonsense_is_no_limit), cmocka_unit_test(test_this_machine),
	};
	return cmocka_run_group_tests_name("a share of the processors", tests, NULL, NULL);
}
