/* What --devices names, on a machine that a stand-in for NVML and a made-up /sys are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/device_list.h"
#include "harness/measure/cpu_division.h"
#include "harness/measure/nvml.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/shown_line.h"

static char root[FOLDER_BYTES];
static struct device_list l;

static int set_up(void **state)
{
	(void)state;
	unsetenv("CUDA_VISIBLE_DEVICES");
	return setenv("FAKE_NVML_GPUS", "4", 1) || folder_make(root, "device-list") ||
	       folder_put(root, "/sys/bus/pci/devices/0000:4e:00.0/local_cpulist", "0\n") ||
	       folder_put(root, "/sys/bus/pci/devices/0000:4e:00.0/numa_node", "1\n");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(root);
}

static void refused(const char *list, const char *why)
{
	struct error err = {""};
	if (device_list_parse(list, GEMMARK_FAKE_NVML, root, &l, &err) != ERROR_INPUT || !is_shown_line(err.text) ||
	    !strstr(err.text, why))
		fail_msg("'%s': %s", list, err.text);
}

static void test_cards(void **state)
{
	struct nvml_card *cards;
	int n;
	(void)state;
	OK(nvml_list(GEMMARK_FAKE_NVML, &cards, &n, e));
	/* Four, and two slices behind the third, whose numbers have a gap. */
	assert_int_equal(n, 6);
	assert_int_equal(cards[1].index, 1);
	assert_string_equal(cards[1].uuid, "GPU-00000001-1111-2222-3333-444444444444");
	assert_string_equal(cards[1].name, "Fake 80GB");
	assert_string_equal(cards[1].pci_bus_id, "00000000:4E:00.0");
	assert_true(cards[1].memory_bytes == 80ull << 30);
	assert_true(cards[2].divided && cards[2].slice == -1 && !cards[1].divided);
	assert_true(cards[3].slice == 0 && cards[4].slice == 2 && cards[4].index == 2 && !cards[4].divided);
	assert_string_equal(cards[4].uuid, "MIG-00000001-5555-6666-7777-888888888888");
	assert_true(cards[4].memory_bytes == 40ull << 30);
	assert_int_equal(cards[5].index, 3);
	free(cards);
	/* One that knows no UUIDs names none. */
	struct error err = {""};
	int rc = nvml_list("no-such-library.so", &cards, &n, &err);
	assert_int_equal(rc, ERROR_UNSUPPORTED);
	assert_null(cards);
}

static void test_names(void **state)
{
	char cpus[64];
	(void)state;
	OK(device_list_parse("1", GEMMARK_FAKE_NVML, root, &l, e));
	assert_int_equal(l.n, 1);
	assert_string_equal(l.of[0].uuid, "GPU-00000001-1111-2222-3333-444444444444");
	assert_int_equal(l.of[0].node, 1);
	assert_string_equal(cpu_list_text(&l.of[0].cpus, cpus, sizeof cpus), "0");
	OK(device_list_parse("GPU-00000003", GEMMARK_FAKE_NVML, root, &l, e));
	assert_string_equal(l.of[0].name, "3");
	OK(device_list_parse("2:2", GEMMARK_FAKE_NVML, root, &l, e));
	assert_string_equal(l.of[0].uuid, "MIG-00000001-5555-6666-7777-888888888888");
	OK(device_list_parse("MIG-00000000-5555", GEMMARK_FAKE_NVML, root, &l, e));
	assert_string_equal(l.of[0].name, "2:0");
	refused("GPU-0000", "'GPU-0000' begins the UUID of several GPUs");
	refused("GPU-9", "'GPU-9' is no GPU of this machine");
	refused("2", "GPU 2 is divided into slices (MIG), and is no device as a whole; name them: 2:0 or");
	refused("2:1", "is no GPU of this machine");
	refused("4", "is no GPU of this machine");
	refused("1,GPU-00000001-1111", "named twice");
	refused("", "no list of devices");
	refused("0,", "no list of devices");
	refused(",0", "no list of devices");
	refused("CUDA0\n", "is no GPU");
	struct error err = {""};
	assert_int_equal(device_list_parse("0", "no-such-library.so", root, &l, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "there is no GPU: no-such-library.so not found"));
	assert_int_equal(device_list_parse("all", "no-such-library.so", root, &l, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "cpu,cpu divides the processor"));
}

/* GPUs in numbers of CUDA's own are others than NVML's. */
static void test_visible(void **state)
{
	(void)state;
	assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "1", 1), 0);
	refused("all", "CUDA_VISIBLE_DEVICES is set");
	OK(device_list_parse("0", GEMMARK_FAKE_NVML, root, &l, e));
	assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
}

/* One process a core: as many as there are, and their cores are theirs alone. */
static void test_shares(void **state)
{
	cpu_set_t allowed, both;
	(void)state;
	CPU_ZERO(&allowed);
	assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	OK(device_list_parse("cpu", NULL, "", &l, e));
	assert_string_equal(l.of[0].name, "cpu#1");
	assert_true(CPU_EQUAL(&l.of[0].cpus, &allowed));
	if (device_list_parse("cpu,cpu", NULL, "", &l, NULL))
		skip(); /* one core */
	assert_int_equal(l.n, 2);
	assert_string_equal(l.of[1].name, "cpu#2");
	CPU_AND(&both, &l.of[0].cpus, &l.of[1].cpus);
	assert_int_equal(CPU_COUNT(&both), 0);
	pid_t child = fork();
	if (child == 0) {
		cpu_set_t mine;
		CPU_ZERO(&mine);
		int bad = device_list_enter(&l.of[1]) || sched_getaffinity(0, sizeof mine, &mine) ||
			  !CPU_EQUAL(&mine, &l.of[1].cpus) || strcmp(getenv("CUDA_VISIBLE_DEVICES"), "");
		_exit(bad);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* A process that may run on one CPU alone, which is not near the GPU: it measures from there. */
static void test_elsewhere(void **state)
{
	cpu_set_t allowed, one;
	(void)state;
	CPU_ZERO(&allowed);
	assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	int cpu = CPU_SETSIZE - 1;
	while (cpu > 0 && !CPU_ISSET((size_t)cpu, &allowed))
		cpu--;
	if (!cpu)
		skip(); /* the GPU's own is the only one */
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
	struct error err = {""};
	int rc = device_list_parse("1", GEMMARK_FAKE_NVML, root, &l, &err);
	struct device_list got = l;
	/* All: three GPUs and two slices, but not the GPU that they are of. */
	struct error all = {""};
	int rc_all = device_list_parse("all", GEMMARK_FAKE_NVML, root, &l, &all);
	assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
	if (rc)
		fail_msg("%s", err.text);
	assert_true(CPU_EQUAL(&got.of[0].cpus, &one));
	assert_int_equal(rc_all, ERROR_INPUT);
	assert_memory_equal(all.text, "5 devices side by side", 22);
}

static void test_json(void **state)
{
	static struct device_list got;
	(void)state;
	OK(device_list_parse("1", GEMMARK_FAKE_NVML, root, &l, e));
	json_t *o = device_list_json(&l);
	assert_int_equal(device_list_read(o, &got), 0);
	assert_int_equal(got.n, 1);
	assert_string_equal(got.of[0].name, "1");
	assert_string_equal(got.of[0].uuid, l.of[0].uuid);
	assert_string_equal(got.of[0].card, "Fake 80GB");
	assert_int_equal(got.of[0].node, 1);
	assert_true(CPU_EQUAL(&got.of[0].cpus, &l.of[0].cpus));
	static const char *const keys[] = {"name", "uuid", "card", "cpus"};
	for (size_t i = 0; i < 4; i++) {
		char text[200];
		json_t *copy = json_deep_copy(o);
		memset(text, '9', sizeof text);
		text[sizeof text - 1] = 0;
		json_object_set_new(json_array_get(copy, 0), keys[i], json_string(text));
		assert_int_equal(device_list_read(copy, &got), -1);
		json_object_del(json_array_get(copy, 0), keys[i]);
		assert_int_equal(device_list_read(copy, &got), -1);
		json_decref(copy);
	}
	json_t *many = json_array();
	for (int i = 0; i < DEVICE_LIST_MAX + 1; i++)
		json_array_append(many, json_array_get(o, 0));
	assert_int_equal(device_list_read(many, &got), -1);
	json_decref(many);
	json_decref(o);
	assert_int_equal(device_list_read(NULL, &got), -1);
}

static void test_print(void **state)
{
	char *text;
	size_t n;
	(void)state;
	FILE *f = open_memstream(&text, &n);
	device_list_print(GEMMARK_FAKE_NVML, root, f);
	fclose(f);
	assert_non_null(strstr(text, "  1: GPU-00000001-1111-2222-3333-444444444444, Fake 80GB (81920 MiB), "
				     "PCI 00000000:4E:00.0, NUMA node 1, CPUs 0\n"));
	assert_non_null(strstr(text,
			       "divided (MIG): name its slices\n    2:0: MIG-00000000-5555-6666-7777-888888888888, "
			       "Fake 80GB MIG 3g.40gb (40960 MiB)\n    2:2: MIG-00000001-"));
	free(text);
	f = open_memstream(&text, &n);
	device_list_print("no-such-library.so", root, f);
	fclose(f);
	assert_non_null(strstr(text, "  no GPU: no-such-library.so not found"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cards),  cmocka_unit_test(test_names),     cmocka_unit_test(test_visible),
		cmocka_unit_test(test_shares), cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_json),
		cmocka_unit_test(test_print),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
