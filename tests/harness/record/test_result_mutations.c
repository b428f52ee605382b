/*
 * A run directory with bytes changed, lines moved, taken out or doubled: it is read or refused, and gone on in, without
 * breaking a promise (tests/support/result_walk.h).
 *
 *   test_result_mutations [N]    so many (default 400)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/random.h"
#include "tests/support/folder.h"
#include "tests/support/result_sample.h"
#include "tests/support/result_walk.h"

enum { FILES = 4, MOST = 1 << 16 };
static const char *const names[FILES] = {"runs.csv", "tokens.csv", "telemetry.csv", "timeline.csv"};
static int mutations = 400;

/* The disk is not what is tested (gemmark_wrap). */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return fd < 0 ? -1 : 0;
}

/* Changes text (n bytes) in one of several ways; returns its new length. */
static size_t mutate(char text[MOST], size_t n, uint64_t *seed)
{
	static const char bytes[] = "\"\",,\n\n\r01-9.eEx \x1b\xff\xc2+";
	size_t at = (size_t)random_below(seed, n), other = (size_t)random_below(seed, n);
	/* Whole lines: the one that `at` is in. */
	size_t from = at, to = at;
	while (from && text[from - 1] != '\n')
		from--;
	while (to < n && text[to++] != '\n')
		;
	size_t length = to - from;
	switch (random_below(seed, 5)) {
	case 0:
		text[at] = bytes[random_below(seed, sizeof bytes - 1)];
		return n;
	case 1: /* a piece of it is gone */
		length = 1 + (size_t)random_below(seed, 8);
		length = length < n - at ? length : n - at;
		memmove(text + at, text + at + length, n - at - length);
		return n - length;
	case 2: /* so is a line */
		memmove(text + from, text + to, n - to);
		return n - length;
	case 3: /* one is there twice, perhaps in the middle of another */
		if (n + length > MOST)
			return n;
		while (at % 2 && other && text[other - 1] != '\n')
			other--;
		memmove(text + other + length, text + other, n - other);
		/* What was copied from may have moved. */
		memmove(text + other, text + (from >= other ? from + length : from), length);
		return n + length;
	default: /* cut off */
		return at;
	}
}

static void test_mutations(void **state)
{
	(void)state;
	static char whole[FILES][MOST], text[MOST];
	size_t sizes[FILES];
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 8];
	struct error err = {""};
	struct run_directory d;
	uint64_t seed = (uint64_t)time(NULL);
	print_message("seed %llu\n", (unsigned long long)seed);
	assert_int_equal(folder_make(folder, "mutations"), 0);
	snprintf(path, sizeof path, "%s/run", folder);
	if (sample_write(path, &err))
		fail_msg("%s", err.text);
	assert_int_equal(run_directory_open(&d, path, &err), 0);
	for (int f = 0; f < FILES; f++) {
		FILE *file = folder_open(path, names[f], "r");
		sizes[f] = fread(whole[f], 1, MOST, file);
		assert_true(sizes[f] < MOST / 2);
		fclose(file);
	}
	for (int i = 0; i < mutations; i++) {
		for (int f = 0; f < FILES; f++) {
			size_t n = sizes[f];
			memcpy(text, whole[f], n);
			/* Of one file mostly, and not often of all. */
			int changes = (int)random_below(&seed, f == i % FILES ? 3 : 2);
			for (int k = 0; k < changes && n; k++)
				n = mutate(text, n, &seed);
			assert_int_equal(walk_put(&d, names[f], text, n), 0);
		}
		walk_directory(&d);
	}
	/* The sample itself: one run that was interrupted goes. */
	for (int f = 0; f < FILES; f++)
		assert_int_equal(walk_put(&d, names[f], whole[f], sizes[f]), 0);
	struct resume_dropped dropped;
	size_t kept = 0;
	assert_int_equal(resume_directory(&d, walk_keep, &kept, &dropped, &err), 0);
	assert_true(kept == 7 && dropped.interrupted == 1 && !dropped.damaged && !dropped.lines);
	run_directory_close(&d);
	assert_int_equal(folder_remove(folder), 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		mutations = atoi(argv[1]);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
