/* Reads small CSV files, well-formed and hostile; the expected cells are written out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/csv_table.h"

static char path[] = "/tmp/gemmark-csv-XXXXXX";

static int make_file(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int read_bytes(struct csv_table *t, const char *bytes, size_t n, struct error *err)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	struct run_directory d;
	assert_int_equal(run_directory_open(&d, "/tmp", err), 0);
	int rc = csv_table_read(t, &d, path + strlen("/tmp/"), err);
	run_directory_close(&d);
	return rc;
}

static void expect_error(const char *bytes, size_t n, const char *part)
{
	struct csv_table t;
	struct error err = {0};
	assert_int_equal(read_bytes(&t, bytes, n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, part))
		fail_msg("'%s' lacks '%s'", err.text, part);
	assert_null(strchr(err.text, '\n'));
	assert_null(t.cells); /* nothing is left to free */
}

static void reads_cells(void **state)
{
	(void)state;
	static const char text[] = "\xef\xbb\xbf"
				   "b,a,\"c d\"\r\n1.5,,\"x, \"\"y\"\"\nz\"\r\n\n-2e3,7,\n";
	struct csv_table t;
	struct error err = {0};
	assert_int_equal(read_bytes(&t, text, sizeof text - 1, &err), 0);
	assert_int_equal(t.n_columns, 3);
	assert_int_equal(t.n_rows, 2);
	int a = csv_table_column(&t, "a", &err), b = csv_table_column(&t, "b", &err);
	int c = csv_table_column(&t, "c d", &err);
	assert_int_equal(a, 1);
	assert_int_equal(b, 0);
	assert_string_equal(csv_table_text(&t, 0, c), "x, \"y\"\nz");
	assert_string_equal(csv_table_text(&t, 1, c), "");

	double x;
	long i;
	assert_int_equal(csv_table_number(&t, 0, b, &x, &err), 0);
	assert_true(x == 1.5);
	assert_int_equal(csv_table_number(&t, 1, b, &x, &err), 0);
	assert_true(x == -2000);
	assert_int_equal(csv_table_number(&t, 0, a, &x, &err), 0);
	assert_true(isnan(x)); /* missing, not zero */
	assert_int_equal(csv_table_integer(&t, 1, a, 0, 7, &i, &err), 0);
	assert_int_equal(i, 7);

	assert_int_equal(csv_table_integer(&t, 1, a, 0, 6, &i, &err), ERROR_INPUT);
	assert_int_equal(csv_table_integer(&t, 0, a, 0, 9, &i, &err), ERROR_INPUT);
	assert_int_equal(csv_table_number(&t, 0, c, &x, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "record 2, column 'c d'"));
	assert_null(strchr(err.text, '\n')); /* though the cell has one */
	assert_int_equal(csv_table_column(&t, "d", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "'d'"));
	csv_table_free(&t);
}

static void refuses_numbers_that_are_none(void **state)
{
	(void)state;
	static const char text[] = "v\nnan\ninf\n1e999\n12x\n0x\n99999999999999999999\n";
	struct csv_table t;
	struct error err = {0};
	assert_int_equal(read_bytes(&t, text, sizeof text - 1, &err), 0);
	for (size_t row = 0; row < t.n_rows; row++) {
		double x;
		long i;
		if (row < 5)
			assert_int_equal(csv_table_number(&t, row, 0, &x, &err), ERROR_INPUT);
		assert_int_equal(csv_table_integer(&t, row, 0, 0, 1000, &i, &err), ERROR_INPUT);
	}
	csv_table_free(&t);
}

/* Cut anywhere in its last line, a file has its other rows, and says that it was cut. */
static void leaves_an_unfinished_line_out(void **state)
{
	(void)state;
	static const char text[] = "a,b,c\n1,\"x\ny\",3\n\"4\",\"f\"\"ive\",\"6\"\n";
	const size_t whole = sizeof text - 1, second = whole - strlen("\"4\",\"f\"\"ive\",\"6\"\n");
	for (size_t n = second; n <= whole; n++) {
		struct csv_table t;
		struct error err = {0};
		assert_int_equal(read_bytes(&t, text, n, &err), 0);
		/* All its fields are there before the line's end is. */
		size_t rows = n >= whole - 1 ? 2 : 1;
		assert_int_equal(t.n_rows, rows);
		assert_int_equal(t.cut, n > second && rows == 1);
		assert_string_equal(csv_table_text(&t, 0, 1), "x\ny");
		if (rows == 2)
			assert_string_equal(csv_table_text(&t, 1, 2), "6");
		csv_table_free(&t);
	}
}

static void refuses_two_columns_of_one_name(void **state)
{
	(void)state;
	struct csv_table t;
	struct error err = {0};
	assert_int_equal(read_bytes(&t, "a,b,a\n", 6, &err), 0);
	assert_int_equal(t.n_rows, 0);
	assert_int_equal(csv_table_column(&t, "a", &err), ERROR_INPUT);
	assert_int_equal(csv_table_column(&t, "b", &err), 1);
	csv_table_free(&t);
}

static void refuses_malformed_files(void **state)
{
	(void)state;
	expect_error("", 0, "empty");
	expect_error("\n\n", 2, "empty");
	expect_error("a,b\n1,2\n3\n", 10, "record 3 has 1 fields where the header has 2");
	expect_error("a,b\n1,2,3\n", 10, "record 2 has more than 2 fields");
	/* Not the end of a killed writer's file: a quote that swallowed lines. */
	expect_error("a,b\n1,\"2\n3,4", 12, "last quote is not closed");
	expect_error("a,b\n1,\"2\n", 9, "last quote is not closed");
	expect_error("a,\"b", 4, "last quote is not closed");
	expect_error("a,b\n1,2\"3\n", 10, "record 2");
	expect_error("a,b\n1,\0\n", 8, "byte 0x00 at offset 6");
	expect_error("\x7f"
		     "ELF\x02\x01\x01",
		     7, "byte 0x7f at offset 0");
}

static void bounds_what_it_holds(void **state)
{
	(void)state;
	size_t n = 200000;
	char *text = malloc(n);
	assert_non_null(text);
	memset(text, 'x', n);
	expect_error(text, n, "longer than 65536 bytes");
	text[0] = '"'; /* a quote that is never closed */
	expect_error(text, n, "longer than 65536 bytes");
	memset(text, ',', n);
	expect_error(text, n, "more than 1024 fields");
	free(text);

	struct csv_table t;
	struct error err = {0};
	struct run_directory d;
	assert_int_equal(run_directory_open(&d, "/tmp", &err), 0);
	assert_int_equal(csv_table_read(&t, &d, "gemmark-not-there.csv", &err), ERROR_IO);
	run_directory_close(&d);
	assert_non_null(strstr(err.text, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_cells),
		cmocka_unit_test(refuses_numbers_that_are_none),
		cmocka_unit_test(leaves_an_unfinished_line_out),
		cmocka_unit_test(refuses_two_columns_of_one_name),
		cmocka_unit_test(refuses_malformed_files),
		cmocka_unit_test(bounds_what_it_holds),
	};
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
