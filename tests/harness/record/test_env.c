/* Facts of a machine that is a folder; file hashes against xxhsum's published sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "harness/record/build_info.h"
#include "harness/record/environment.h"
#include "harness/record/run_directory.h"
#include "tests/support/folder.h"

static char root[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(root, "env");
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

static json_t *at(json_t *v, const char *a, const char *b)
{
	json_t *x = json_object_get(v, a);
	return b ? json_object_get(x, b) : x;
}

static void test_known_machine(void **state)
{
	(void)state;
	/* Two packages of two cores with two threads each, though only four lines are told apart by core id. */
	char cpuinfo[2048] = "";
	for (int i = 0; i < 8; i++) {
		char one[128];
		snprintf(one, sizeof one,
			 "processor\t: %d\nmodel name\t: Some CPU: 3 GHz\nphysical id\t: %d\ncore id\t\t: %d\n\n", i,
			 i / 4, i % 2);
		strcat(cpuinfo, one);
	}
	put("/proc/cpuinfo", cpuinfo);
	put("/proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n");
	put("/proc/1/cgroup", "0::/kubepods/pod1\n");
	put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/level", "1\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n");
	put("/sys/devices/system/cpu/cpu0/cache/index1/level", "3\n");
	put("/sys/devices/system/cpu/cpu0/cache/index1/size", "36M\n");
	put("/sys/devices/system/node/node0/cpulist", "0-3\n");
	put("/sys/devices/system/node/node1/cpulist", "4-7\n");
	uint64_t seed = 9;
	struct environment_bandwidth bandwidth[] = {{4, 12.5e9}, {1, 0}};
	static const char *const words[] = {"bench", "-m", "a b"};
	static const struct environment_gpu gpu = {"Some GPU 80GB",    90,    132, (size_t)80 << 30, 12040,
						   "00000000:4e:00.0", "12.9"};
	json_t *nvml = json_pack("{s:s}", "vbios_version", "96.00");
	put("/proc/driver/nvidia/version", "NVRM version: Some Module  580.1.2\nGCC version: 12\n");
	struct environment_inputs in = {.root = root,
					.isa = "avx2",
					.gpu = &gpu,
					.gpu_reason = "as if",
					.nvml = nvml,
					.bandwidth = bandwidth,
					.n_bandwidth = 2,
					.command_line = words,
					.n_words = 3,
					.seed = &seed};
	json_t *env;
	struct error err = {""};
	assert_int_equal(environment_collect(&in, &env, &err), 0);
	assert_string_equal(json_string_value(at(env, "cpu", "model")), "Some CPU: 3 GHz");
	assert_int_equal(json_integer_value(at(env, "cpu", "cores")), 4);
	assert_string_equal(json_string_value(at(env, "cpu", "governor")), "performance");
	assert_string_equal(json_string_value(at(env, "cpu", "isa")), "avx2");
	assert_int_equal(json_array_size(at(env, "cpu", "numa_nodes")), 2);
	json_t *caches = at(env, "cpu", "caches");
	assert_int_equal(json_array_size(caches), 2);
	assert_int_equal(json_integer_value(at(json_array_get(caches, 0), "bytes", NULL)), 48 * 1024);
	assert_true(json_is_null(at(json_array_get(caches, 1), "type", NULL)));
	assert_int_equal(environment_cache_bytes(root), 36 << 20);
	assert_int_equal(json_integer_value(at(env, "memory", "total_bytes")), 1024000);
	assert_int_equal(json_integer_value(at(env, "memory", "available_bytes")), 614400);
	assert_string_equal(json_string_value(at(env, "system", "container")), "kubepods");
	json_t *bands = at(env, "bandwidth", NULL);
	assert_true(json_real_value(at(json_array_get(bands, 0), "read_gb_s", NULL)) == 12.5);
	assert_true(json_is_null(at(json_array_get(bands, 1), "read_gb_s", NULL)));
	assert_string_equal(json_string_value(at(env, "gpu", "name")), "Some GPU 80GB");
	assert_string_equal(json_string_value(at(env, "gpu", "compute_capability")), "9.0");
	assert_string_equal(json_string_value(at(env, "gpu", "driver_cuda_version")), "12.4");
	assert_int_equal(json_integer_value(at(env, "gpu", "memory_bytes")), (json_int_t)80 << 30);
	assert_string_equal(json_string_value(at(env, "gpu", "kernel_module")), "NVRM version: Some Module  580.1.2");
	assert_string_equal(json_string_value(at(env, "gpu", "nvrtc_version")), "12.9");
	assert_string_equal(json_string_value(at(at(env, "gpu", "nvml"), "vbios_version", NULL)), "96.00");
	assert_true(json_is_null(at(env, "gpu", "nvml_reason")));
	json_decref(nvml);
	assert_string_equal(json_string_value(at(env, "gpu_reason", NULL)), "as if");
	assert_string_equal(json_string_value(json_array_get(at(env, "command_line", NULL), 2)), "a b");
	assert_int_equal(json_integer_value(at(env, "seed", NULL)), 9);
	json_decref(env);
}

/* Kernels that were planned, and one that cannot be; where none were asked for the file does not speak of them. */
static void test_persistent(void **state)
{
	(void)state;
	static const struct environment_persistent plans[] = {
		{"some/e4b.gguf", "f16", "q8_0", NULL,  254, 132, 10, 22, 8704, 231000,    "measured", 0.75,
		 0.875,           23040, 71680,  23041, 1,   495, 1,  2,  1,    5000000000},
		{.model = "31b.gguf", .type_k = "f16", .type_v = "f16", .reason = "fusion persistent on a card: why"},
	};
	static const struct {
		const char *name;
		json_int_t value;
	} numbers[] = {{"phases", 254},
		       {"blocks", 132},
		       {"compute_warps", 10},
		       {"stages", 22},
		       {"stage_bytes", 8704},
		       {"shared_bytes", 231000},
		       {"small_bytes", 23040},
		       {"wide_bytes", 71680},
		       {"first_bytes", 23041},
		       {"ahead_cycles", 495},
		       {"stream_chunks", 1},
		       {"slice_chunks", 2},
		       {"tiled_bytes", 5000000000}};
	struct environment_gpu_memory memory = {.bytes_s = 4250e9, .bytes_cycle = 16.5, .latency_cycles = 1012.5};
	struct environment_inputs in = {.root = root, .gpu_memory = &memory, .persistent = plans, .n_persistent = 2};
	json_t *env;
	assert_int_equal(environment_collect(&in, &env, NULL), 0);
	json_t *list = at(env, "persistent", NULL), *first = json_array_get(list, 0), *second = json_array_get(list, 1);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(at(first, "model", NULL)), "e4b.gguf");
	assert_string_equal(json_string_value(at(first, "type_v", NULL)), "q8_0");
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		assert_int_equal(json_integer_value(at(first, numbers[i].name, NULL)), numbers[i].value);
	assert_true(json_is_true(at(first, "ahead_phases", NULL)));
	assert_true(json_is_true(at(first, "far_waits", NULL)));
	assert_string_equal(json_string_value(at(first, "limits", NULL)), "measured");
	assert_true(json_real_value(at(first, "in_flight", NULL)) == 0.75);
	assert_true(json_real_value(at(first, "rate", NULL)) == 0.875);
	assert_true(json_real_value(at(env, "gpu_memory", "read_gb_s")) == 4250);
	assert_true(json_real_value(at(env, "gpu_memory", "bytes_per_cycle")) == 16.5);
	assert_true(json_real_value(at(env, "gpu_memory", "latency_cycles")) == 1012.5);
	assert_null(at(env, "gpu_memory", "reason"));
	assert_null(at(first, "reason", NULL));
	assert_string_equal(json_string_value(at(second, "reason", NULL)), plans[1].reason);
	assert_null(at(second, "blocks", NULL));
	json_decref(env);
	in.n_persistent = 0;
	memory = (struct environment_gpu_memory){.reason = "cuda device: its memory was measured at a rate"};
	assert_int_equal(environment_collect(&in, &env, NULL), 0);
	assert_null(at(env, "persistent", NULL));
	assert_string_equal(json_string_value(at(env, "gpu_memory", "reason")), memory.reason);
	assert_null(at(env, "gpu_memory", "read_gb_s"));
	json_decref(env);
	in.gpu_memory = NULL;
	assert_int_equal(environment_collect(&in, &env, NULL), 0);
	assert_null(at(env, "gpu_memory", NULL));
	json_decref(env);
}

/* A machine that tells nothing: nulls, no failure; and bytes that are no UTF-8. */
static void test_unknown_machine(void **state)
{
	(void)state;
	put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "\xff\xfe\n");
	put("/proc/meminfo", "MemTotal: lots\n");
	struct environment_inputs in = {.root = root};
	json_t *env;
	assert_int_equal(environment_collect(&in, &env, NULL), 0);
	static const char *const nulls[][2] = {{"cpu", "model"},
					       {"cpu", "cores"},
					       {"cpu", "governor"},
					       {"cpu", "isa"},
					       {"gpu", NULL},
					       {"gpu_reason", NULL},
					       {"memory", "total_bytes"},
					       {"seed", NULL},
					       {"command_line", NULL},
					       {"memory", "available_bytes"}};
	for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
		assert_true(json_is_null(at(env, nulls[i][0], nulls[i][1])));
	assert_int_equal(environment_cache_bytes(root), 0);
	assert_true(json_integer_value(at(env, "cpu", "available_cpus")) >= 1);

	/* Saved and loaded it is the same; an existing file is kept. */
	struct run_directory d;
	struct error err = {""};
	json_t *loaded;
	assert_int_equal(run_directory_open(&d, root, &err), 0);
	assert_int_equal(run_directory_save_json(&d, "env.json", env, &err), 0);
	assert_int_equal(run_directory_load_json(&d, "env.json", &loaded, &err), 0);
	assert_true(json_equal(env, loaded));
	assert_int_equal(run_directory_save_json(&d, "env.json", env, &err), ERROR_IO);
	run_directory_close(&d);
	json_decref(loaded);
	json_decref(env);
}

static void test_models(void **state)
{
	(void)state;
	put("/empty", "");
	put("/text", "The quick brown fox jumps over the lazy dog");
	char empty[128], text[128], missing[128];
	snprintf(empty, sizeof empty, "%s/empty", root);
	snprintf(text, sizeof text, "%s/text", root);
	snprintf(missing, sizeof missing, "%s/missing", root);
	const char *models[] = {empty, text};
	struct environment_inputs in = {.root = root, .models = models, .n_models = 2};
	json_t *env;
	struct error err = {""};
	assert_int_equal(environment_collect(&in, &env, &err), 0);
	json_t *list = at(env, "models", NULL);
	/* XXH3_64bits of nothing, as its specification has it. */
	assert_string_equal(json_string_value(at(json_array_get(list, 0), "xxh3_64", NULL)), "2d06800538d394c2");
	assert_string_equal(json_string_value(at(json_array_get(list, 1), "xxh3_64", NULL)), "ce7d19a5418fb365");
	assert_int_equal(json_integer_value(at(json_array_get(list, 1), "bytes", NULL)), 43);
	assert_string_equal(json_string_value(at(json_array_get(list, 1), "file", NULL)), "text");
	json_decref(env);
	models[1] = missing;
	assert_int_equal(environment_collect(&in, &env, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "missing"));
}

/* In pieces it is the hash of the whole, also beyond one read's size. */
static void test_large_file(void **state)
{
	(void)state;
	enum { BYTES = (5 << 20) + 12345 };
	char path[128];
	snprintf(path, sizeof path, "%s/large", root);
	unsigned char *data = malloc(BYTES);
	assert_non_null(data);
	for (int i = 0; i < BYTES; i++)
		data[i] = (unsigned char)(i * 2654435761u >> 13);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, BYTES, f), BYTES);
	assert_int_equal(fclose(f), 0);
	uint64_t hash, bytes;
	assert_int_equal(hash_file(path, &hash, &bytes, NULL), 0);
	assert_true(hash == hash_bytes(data, BYTES, 0));
	assert_int_equal(bytes, BYTES);
	assert_true(hash_bytes(data, BYTES, 1) != hash);
	free(data);
}

static void test_build(void **state)
{
	(void)state;
	const struct build_info *b = build_info();
	size_t n = strlen(b->commit);
	if (strcmp(b->commit, "unknown")) {
		assert_in_range(n, 7, 40);
		assert_int_equal(strspn(b->commit, "0123456789abcdef"), n);
	}
	assert_memory_equal(b->label, b->commit, n);
	assert_string_equal(b->label + n, b->dirty == 1 ? "-dirty" : "");
	assert_true(*b->compiler && *b->version);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_known_machine), TEST(test_persistent), TEST(test_unknown_machine),
		TEST(test_models),        TEST(test_large_file), TEST(test_build),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
