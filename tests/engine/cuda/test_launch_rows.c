/* From what blocks left of their launches to rows of multiprocessors; without a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/launch_rows.h"

/* Two launches, of three blocks on multiprocessors 7, 2 and 7 again, and of one on 2. */
static const struct device_launched launches[] = {{{1, 0}, 3}, {{2, 0}, 1}};
static const struct block_stamp records[] = {
	{1000, 1010, 1040, 7, 3},
	{1002, 1011, 1030, 2, 3},
	{1001, 1012, 1055, 7, 3},
	{1035, 1060, 1070, 2, 1},
};
enum { N = sizeof records / sizeof *records };

static int rows_of(struct device_stamps *s, const struct block_stamp *r, size_t n, struct error *err)
{
	*s = (struct device_stamps){.n_launches = 2};
	return launch_rows(s, launches, r, n, err);
}

static void expect(const struct device_stamps *s, int row, int launch, int64_t entered, int64_t input, int64_t left)
{
	const int64_t *ns = s->ns + ((size_t)row * 2 + (size_t)launch) * DEVICE_STAMPS;
	assert_int_equal(ns[DEVICE_STAMP_ENTERED], entered);
	assert_int_equal(ns[DEVICE_STAMP_INPUT], input);
	assert_int_equal(ns[DEVICE_STAMP_LEFT], left);
}

/* The first that entered, the first that had its input, the last that left; nothing where none was. */
static void test_rows(void **state)
{
	(void)state;
	struct device_stamps s;
	assert_int_equal(rows_of(&s, records, N, NULL), 0);
	assert_int_equal(s.n_rows, 2);
	assert_int_equal(s.multiprocessors[0], 2);
	assert_int_equal(s.multiprocessors[1], 7);
	expect(&s, 0, 0, 2, 11, 30);
	expect(&s, 0, 1, 35, 60, 70);
	expect(&s, 1, 0, 0, 10, 55);
	expect(&s, 1, 1, -1, -1, -1);
	device_stamps_free(&s);
}

static void refused(const struct block_stamp *r, size_t n, const char *why)
{
	struct device_stamps s;
	struct error err;
	assert_int_equal(rows_of(&s, r, n, &err), ERROR_WRONG);
	if (!strstr(err.text, why))
		fail_msg("'%s' lacks '%s'", err.text, why);
	device_stamps_free(&s);
}

/* Of other launches than these: one more, one less, in another order, not finished, impossible. */
static void test_others(void **state)
{
	(void)state;
	struct block_stamp r[N + 1];
	memcpy(r, records, sizeof records);
	r[N] = records[N - 1];
	refused(r, N + 1, "5 blocks left time stamps, and 4 were launched");
	refused(r, N - 1, "launch 1 of 2 left no");
	refused(r, 0, "launch 0 of 2 left no");
	r[2].n_blocks = 1;
	refused(r, N, "launch 0 of 2 are not in order");
	memcpy(r, records, sizeof records);
	r[3].left = 0;
	refused(r, N, "launch 1 of 2 are not in order");
	r[3].left = 1059;
	refused(r, N, "launch 1 of 2 are not in order");
	memcpy(r, records, sizeof records);
	r[0].input = 999;
	refused(r, N, "launch 0 of 2 are not in order");
}

static void test_nothing(void **state)
{
	(void)state;
	struct device_stamps s = {0};
	assert_int_equal(launch_rows(&s, NULL, NULL, 0, NULL), 0);
	assert_int_equal(s.n_rows, 0);
	device_stamps_free(&s);
	device_stamps_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
