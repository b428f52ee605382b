/* The CSV reader: what it reads, what it leaves out, what it refuses, and where it says that is. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/csv_reader.h"

static char path[] = "/tmp/gemmark-csv-XXXXXX";
static int file;

static int make_file(void **state)
{
	(void)state;
	file = mkstemp(path);
	return file < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
	(void)state;
	return close(file) | unlink(path);
}

static void put(const char *bytes, size_t n)
{
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(pwrite(file, bytes, n, 0), n);
}

enum { MOST = 32 };

/* What was read: fields joined by '|', and where each record is. */
struct seen {
	char text[MOST][64];
	struct csv_range range[MOST];
	int n;
	int cut;
};

static int read_all(struct seen *s, const struct csv_range *range, size_t width, struct error *err)
{
	struct csv_reader *r;
	struct csv_record record;
	const char *const *fields;
	size_t n;
	memset(s, 0, sizeof *s);
	int rc = csv_reader_open(&r, file, path, range, err);
	if (rc)
		return rc;
	csv_reader_set_width(r, width);
	while ((rc = csv_reader_next(r, &record, err)) > 0 && !(rc = csv_reader_split(r, &fields, &n, err))) {
		assert_true(s->n < MOST);
		for (size_t i = 0; i < n; i++) {
			char whole[64];
			size_t used = strlen(s->text[s->n]);
			snprintf(s->text[s->n] + used, sizeof s->text[0] - used, "%s%.40s", i ? "|" : "", fields[i]);
			/* The same without splitting. */
			assert_int_equal(csv_record_field(&record, i, whole, sizeof whole), 0);
			if (strlen(fields[i]) < sizeof whole)
				assert_string_equal(whole, fields[i]);
		}
		assert_int_equal(csv_record_field(&record, n, (char[4]){0}, 4), -1);
		s->range[s->n++] = record.range;
	}
	s->cut = csv_reader_cut(r);
	csv_reader_close(r);
	return rc;
}

static void test_records(void **state)
{
	(void)state;
	static const char text[] = "\xef\xbb\xbf"
				   "b,a,\"c d\"\r\n1.5,,\"x, \"\"y\"\"\nz\"\r\n\n-2e3,7,\n\"\"\"\",\"\",\"a\"\"\"\n";
	struct seen s;
	struct error err = {0};
	put(text, sizeof text - 1);
	if (read_all(&s, NULL, 0, &err))
		fail_msg("%s", err.text);
	assert_int_equal(s.n, 4);
	assert_string_equal(s.text[0], "b|a|c d");
	assert_string_equal(s.text[1], "1.5||x, \"y\"\nz");
	assert_string_equal(s.text[2], "-2e3|7|");
	assert_string_equal(s.text[3], "\"||a\"");
	assert_false(s.cut);
	/* Lines are those of an editor, though a record may have several. */
	static const size_t lines[] = {1, 2, 5, 6};
	for (int i = 0; i < 4; i++)
		assert_int_equal(s.range[i].line, lines[i]);
	/* A range gives the same record again. */
	struct seen part;
	struct csv_range range = {s.range[1].at, s.range[2].end, 2};
	assert_int_equal(read_all(&part, &range, 3, &err), 0);
	assert_int_equal(part.n, 2);
	assert_string_equal(part.text[0], s.text[1]);
	assert_string_equal(part.text[1], s.text[2]);
	assert_int_equal(part.range[1].line, 5);
	assert_int_equal(part.range[1].at, s.range[2].at);
}

/* Cut anywhere in its last line, a file has its other records, and says that it was cut. */
static void test_unfinished_line(void **state)
{
	(void)state;
	static const char text[] = "a,b,c\n1,\"x\ny\",3\n\"4\",\"f\"\"ive\",\"6\"\n";
	const size_t whole = sizeof text - 1, second = whole - strlen("\"4\",\"f\"\"ive\",\"6\"\n");
	for (size_t n = second; n <= whole; n++) {
		struct seen s;
		struct error err = {0};
		put(text, n);
		assert_int_equal(read_all(&s, NULL, 0, &err), 0);
		/* All its fields are there before the line's end is. */
		int rows = n >= whole - 1 ? 2 : 1;
		assert_int_equal(s.n - 1, rows);
		assert_int_equal(s.cut, n > second && rows == 1);
		assert_string_equal(s.text[1], "1|x\ny|3");
		if (rows == 2)
			assert_string_equal(s.text[2], "4|f\"ive|6");
	}
}

static void expect_error(const char *bytes, size_t n, const char *part)
{
	struct seen s;
	struct error err = {0};
	put(bytes, n);
	assert_int_equal(read_all(&s, NULL, 0, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, part))
		fail_msg("'%s' lacks '%s'", err.text, part);
	assert_null(strchr(err.text, '\n'));
}

static void test_malformed(void **state)
{
	(void)state;
	struct seen s;
	struct error err = {0};
	expect_error("a,b\n1,2\n3\n", 10, "line 3 has 1 fields where the header has 2");
	expect_error("a,b\n\"1\n\n\",2\n\n3\n", 16, "line 6 has 1 fields");
	expect_error("a,b\n1,2,3\n", 10, "line 2 has more than 2 fields");
	/* Not the end of a killed writer's file: a quote that swallowed lines. */
	expect_error("a,b\n1,\"2\n3,4", 12, "line 2: the last quote is not closed");
	expect_error("a,b\n1,\"2\n", 9, "the last quote is not closed");
	expect_error("a,\"b", 4, "the last quote is not closed");
	expect_error("a,b\n1,2\"3\n", 10, "line 2: a quote");
	expect_error("a,b\n1,\"2\"3\n", 11, "line 2: a quote");
	expect_error("a,b\n1\r2,3\n", 10, "line 2 has a carriage return");
	expect_error("a,b\n1,\0\n", 8, "line 2 has a byte 0x00");
	expect_error("\x7f"
		     "ELF\x02\x01\x01",
		     7, "line 1 has a byte 0x7f");
	/* Nothing is no record, and no error here. */
	for (int i = 0; i < 2; i++) {
		put("\n\r\n", i ? 3 : 0);
		assert_int_equal(read_all(&s, NULL, 0, &err), 0);
		assert_int_equal(s.n, 0);
		assert_false(s.cut);
	}
}

static void test_bounds(void **state)
{
	(void)state;
	size_t n = 3 << 20;
	char *text = malloc(n);
	assert_non_null(text);
	memset(text, 'x', n);
	expect_error(text, 200000, "longer than 65536 bytes");
	text[0] = '"'; /* a quote that is never closed */
	expect_error(text, 200000, "longer than 65536 bytes");
	expect_error(text, n, "line 1 begins a record of more than 1048576 bytes");
	memset(text, '\n', n);
	memcpy(text, "a\n\"", 3);
	expect_error(text, n, "line 2 begins a record of more than 1048576 bytes");
	memset(text, ',', n);
	expect_error(text, 200000, "more than 1024 fields");
	/* As large as they may be, across the reader's blocks. */
	struct seen s;
	struct error err = {0};
	size_t at = 2;
	memcpy(text, "a\n", 2);
	for (int i = 0; i < MOST - 1; i++) {
		memset(text + at, 'a' + i % 26, 65536);
		text[at + 65536] = '\n';
		at += 65537;
	}
	put(text, at);
	assert_int_equal(read_all(&s, NULL, 0, &err), 0);
	assert_int_equal(s.n, MOST);
	for (int i = 1; i < MOST; i++)
		assert_int_equal(s.text[i][0], 'a' + (i - 1) % 26);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_unfinished_line),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_bounds),
	};
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
