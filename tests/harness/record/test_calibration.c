/* What a machine's comparisons of equal things showed: added up, kept to a bound, and refused where it is damaged. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/record/calibration.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 32];

static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "calibration");
	snprintf(path, sizeof path, "%s/c.json", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void add(const char *machine, int sweeps, int alarms, int cells, double variation)
{
	const struct calibration_entry entry = {.machine = machine,
						.from = "compare",
						.sweeps = sweeps,
						.alarms = alarms,
						.cells = cells,
						.runs = 5,
						.variation = variation,
						.variation_max = 2 * variation};
	OK(calibration_add(path, &entry, e));
}

static void test_sums(void **state)
{
	(void)state;
	struct calibration k;
	OK(calibration_read(path, "m", &k, e));
	assert_int_equal(k.entries, 0);
	add("m", 20, 3, 12, 0.02);
	add("another", 100, 50, 90, 0.5);
	add("m", 7, 2, 5, 0.01);
	add("m", 1, 0, 4, NAN);
	add("m", 2, 1, 4, 0.03);
	OK(calibration_read(path, "m", &k, e));
	assert_int_equal(k.entries, 4);
	assert_int_equal(k.sweeps, 30);
	assert_int_equal(k.alarms, 6);
	assert_int_equal(k.cells, 12);                               /* the most */
	assert_true(k.variation == 0.03 && k.variation_max == 0.06); /* the latest */
	assert_int_equal(strlen(k.utc), 20);
}

/* The oldest go first. */
static void test_bound(void **state)
{
	(void)state;
	struct calibration k;
	json_t *list = json_array();
	for (int i = 0; i < 1001; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:i, s:f, s:f}", "machine",
						      i < 3 ? "old" : "m", "utc", "2026-05-31T10:00:00Z", "sweeps", 1,
						      "alarms", 0, "cells", 1, "variation", 0.0, "variation_max", 0.0));
	assert_int_equal(json_dump_file(list, path, 0), 0);
	json_decref(list);
	add("m", 1, 1, 1, 0);
	list = json_load_file(path, 0, NULL);
	assert_int_equal(json_array_size(list), 1000);
	json_decref(list);
	OK(calibration_read(path, "old", &k, e));
	assert_int_equal(k.entries, 1);
	OK(calibration_read(path, "m", &k, e));
	assert_int_equal(k.entries, 999);
	assert_int_equal(k.alarms, 1);
}

/* Days that some months and years have. */
static void test_dates(void **state)
{
	(void)state;
	static const char *const good[] = {"2024-02-29T00:00:00Z", "2000-02-29T23:59:60Z", "2026-12-31T23:59:59Z"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[256];
		struct calibration k;
		snprintf(text, sizeof text,
			 "[{\"machine\": \"m\", \"utc\": \"%s\", \"sweeps\": 1, \"alarms\": 0, \"cells\": 1, "
			 "\"variation\": 0.01, \"variation_max\": 0.02}]\n",
			 good[i]);
		remove(path);
		assert_int_equal(folder_put(folder, "/c.json", text), 0);
		OK(calibration_read(path, "m", &k, e));
		assert_string_equal(k.utc, good[i]);
	}
}

/* Whoever keeps the lock is named in time, and nothing is written meanwhile. */
static void test_locked(void **state)
{
	(void)state;
	struct error err = {""};
	const struct calibration_entry entry = {.machine = "m", .from = "compare", .sweeps = 1};
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0 && !flock(fd, LOCK_EX));
	alarm(30);
	assert_int_equal(calibration_add(path, &entry, &err), ERROR_IO);
	assert_non_null(strstr(err.text, ": another program has had it locked for 3 s; end that, or name a file"));
	assert_int_not_equal(access(path, F_OK), 0);
	flock(fd, LOCK_UN);
	close(fd);
	OK(calibration_add(path, &entry, e));
	alarm(0);
}

static void test_damaged(void **state)
{
	(void)state;
	/* Each in the place of a good entry's member. */
	static const struct {
		const char *member, *says;
	} cases[] = {
		{"\"utc\": \"\\u001b]0;title\\u0007\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-05-31T10:00:00Z\\u202e\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-99-99T10:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-00-10T10:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-04-31T10:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-02-29T10:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2100-02-29T10:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-05-31T24:00:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-05-31T10:60:00Z\"", "entry 2: utc is no time"},
		{"\"utc\": \"2026-05-31T10:00:61Z\"", "entry 2: utc is no time"},
		{"\"utc\": 5", "entry 2: utc is no time"},
		{"\"sweeps\": 0", "entry 2: sweeps is no number from 1 to 1000000"},
		{"\"sweeps\": 1000001", "entry 2: sweeps"},
		{"\"sweeps\": 4294967297", "entry 2: sweeps"},
		{"\"sweeps\": \"9\"", "entry 2: sweeps"},
		{"\"alarms\": -1", "entry 2: alarms is no number from 0 to its sweeps"},
		{"\"alarms\": 10", "entry 2: alarms"},
		{"\"cells\": 4294967297", "entry 2: cells"},
		{"\"variation\": -0.1", "entry 2: variation or variation_max is no number from 0"},
		{"\"variation\": 1e308", "entry 2: variation"},
		{"\"variation_max\": -1", "entry 2: variation"},
		{"\"variation_max\": null", "entry 2: variation"},
	};
	static const char *const good[] = {"\"utc\": \"2026-05-31T10:00:00Z\"",
					   "\"sweeps\": 9",
					   "\"alarms\": 0",
					   "\"cells\": 3",
					   "\"variation\": 0.01",
					   "\"variation_max\": 0.02"};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[1024] = "[{\"machine\": \"other\"}, {\"machine\": \"m\"";
		size_t name = strcspn(cases[i].member, ":");
		struct error err = {""};
		struct calibration k;
		for (int g = 0; g < 6; g++) {
			strcat(text, ", ");
			strcat(text, strncmp(good[g], cases[i].member, name + 1) ? good[g] : cases[i].member);
		}
		strcat(text, "}]\n");
		remove(path);
		assert_int_equal(folder_put(folder, "/c.json", text), 0);
		assert_int_equal(calibration_read(path, "m", &k, &err), ERROR_INPUT);
		if (!strstr(err.text, "/c.json: ") || !strstr(err.text, cases[i].says) ||
		    !strstr(err.text, "; correct or remove the entry"))
			fail_msg("%s: %s", cases[i].member, err.text);
		/* Another machine's is nobody's business here. */
		OK(calibration_read(path, "n", &k, e));
	}
}

/* More than an int of sweeps. */
static void test_overflow(void **state)
{
	(void)state;
	struct error err = {""};
	struct calibration k;
	json_t *list = json_array();
	for (int i = 0; i < 2200; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:i, s:f, s:f}", "machine", "m", "utc",
						      "2026-05-31T10:00:00Z", "sweeps", 1000000, "alarms", 1, "cells",
						      1, "variation", 0.0, "variation_max", 0.0));
	assert_int_equal(json_dump_file(list, path, 0), 0);
	json_decref(list);
	assert_int_equal(calibration_read(path, "m", &k, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "entry 2148: the sweeps of all entries are more than can be counted"));
}

static void test_names(void **state)
{
	(void)state;
	char name[5000], there[300];
	struct error err = {""};
	struct calibration k;
	const struct calibration_entry entry = {.machine = "m", .from = "compare", .sweeps = 1};
	snprintf(there, sizeof there, "%s/sub", folder);
	assert_int_equal(mkdir(there, 0777), 0);
	static const char *const ends[] = {"", "/", "/.", "/.."};
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "%s%s", there, ends[i]);
		assert_int_equal(calibration_read(name, "m", &k, &err), ERROR_INPUT);
		assert_non_null(strstr(err.text, "is a folder; name a file in it"));
		assert_int_equal(calibration_add(name, &entry, &err), ERROR_INPUT);
	}
	/* What is too long is refused: it would be another name. */
	int n = snprintf(name, sizeof name, "%s/", folder);
	memset(name + n, 'x', 201);
	name[n + 201] = '\0';
	assert_int_equal(calibration_add(name, &entry, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "a name of 201 bytes; give one of at most 200"));
	assert_int_equal(calibration_read(name, "m", &k, &err), ERROR_INPUT);
	name[n + 200] = '\0';
	OK(calibration_add(name, &entry, e));
	OK(calibration_read(name, "m", &k, e));
	assert_int_equal(k.entries, 1);
	memset(name, 'y', 4200);
	memcpy(name + 4200, "/c", 3);
	assert_int_equal(calibration_read(name, "m", &k, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "a folder's path of 4200 bytes"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sums),    TEST(test_bound),    TEST(test_dates), TEST(test_locked),
		TEST(test_damaged), TEST(test_overflow), TEST(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
