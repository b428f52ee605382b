/* Column tables: each type as text and back, what is refused, and that the tables of tokens and telemetry fit theirs.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/row.h"
#include "harness/record/telemetry_sample.h"
#include "harness/record/timeline_stamp.h"
#include "harness/record/token_record.h"

enum color { COLOR_RED, COLOR_BLUE };

struct record {
	const char *text;
	int64_t whole;
	double real, time;
	int count;
	enum color color;
	int64_t bits;
};

static const char *const colors[] = {"red", "blue"};
static const char *const flags[] = {"low", "high"};
static const struct column columns[] = {
	{.name = "text", .type = COLUMN_TEXT, .offset = offsetof(struct record, text)},
	{.name = "whole", .type = COLUMN_INT, .offset = offsetof(struct record, whole)},
	{.name = "real", .type = COLUMN_REAL, .offset = offsetof(struct record, real)},
	{.name = "time", .type = COLUMN_REAL, .offset = offsetof(struct record, time), .from_zero = 1},
	{.name = "count", .type = COLUMN_COUNT, .offset = offsetof(struct record, count)},
	{.name = "color", .type = COLUMN_NAME, .offset = offsetof(struct record, color), .names = colors, .n_names = 2},
	{.name = "bits", .type = COLUMN_FLAGS, .offset = offsetof(struct record, bits), .names = flags, .n_names = 2},
};
enum { N = sizeof columns / sizeof *columns };

static void set(struct record *r, const char *name, const char *text, int expected)
{
	int rc = column_set_text(r, column_find(columns, N, name), text);
	if (rc != expected)
		fail_msg("%s of '%s' is %d", name, text, rc);
}

static void expect(const struct record *r, const char *name, const char *text)
{
	char out[COLUMN_TEXT_SIZE];
	assert_string_equal(column_text(r, column_find(columns, N, name), out), text);
}

static void test_types(void **state)
{
	(void)state;
	struct record r;
	columns_init(&r, columns, N);
	for (int i = 0; i < N; i++) {
		expect(&r, columns[i].name, "");
		assert_true(isnan(column_number(&r, &columns[i])));
	}
	static const char *const same[][2] = {
		{"text", "a, \"b\"\nc"}, {"whole", "-9223372036854775807"},
		{"whole", "0"},          {"real", "1234567.89"},
		{"real", "-2.5e-09"},    {"count", "2147483647"},
		{"color", "blue"},       {"bits", "none"},
		{"bits", "high"},        {"bits", "low+high"},
		{"time", "0"},           {"time", "2.5e-09"},
		{"bits", "low+0x8"},     {"bits", "0x7ffffffffffffffc"},
	};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		set(&r, same[i][0], same[i][1], 0);
		expect(&r, same[i][0], same[i][1]);
	}
	assert_int_equal(r.color, COLOR_BLUE);
	set(&r, "bits", "high+low", 0);
	assert_int_equal(r.bits, 3);
	set(&r, "count", "7", 0);
	assert_true(column_number(&r, column_find(columns, N, "count")) == 7);
	set(&r, "real", "1e3", 0);
	assert_true(column_number(&r, column_find(columns, N, "real")) == 1000);
	/* An empty text takes back what was there. */
	for (int i = 0; i < N; i++) {
		set(&r, columns[i].name, "", 0);
		expect(&r, columns[i].name, "");
	}
	r.real = INFINITY;
	expect(&r, "real", "");
	r.color = (enum color)2;
	expect(&r, "color", "");
}

static void test_refuses(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{"whole", "1.5"},
		{"whole", " 1"},
		{"whole", "+1"},
		{"whole", "1 "},
		{"whole", "-"},
		{"whole", "9223372036854775808"},
		{"whole", "-9223372036854775808"},
		{"real", "nan"},
		{"real", "inf"},
		{"real", "0x1p3"},
		{"real", "1e999"},
		{"real", "1,5"},
		{"real", " 1"},
		{"real", "--1"},
		{"time", "-1"},
		{"time", "-0.5e-9"},
		{"count", "-1"},
		{"count", "2147483648"},
		{"color", "RED"},
		{"color", "re"},
		{"color", "0"},
		{"bits", "low+"},
		{"bits", "+low"},
		{"bits", "low high"},
		{"bits", "none+low"},
		{"bits", "0x"},
		{"bits", "0x0"},
		{"bits", "0xffffffffffffffffff"},
		{"bits", "8"},
	};
	struct record r;
	columns_init(&r, columns, N);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		set(&r, bad[i][0], bad[i][1], -1);
		expect(&r, bad[i][0], "");
	}
	char out[COLUMN_TEXT_SIZE];
	assert_string_equal(column_wanted(column_find(columns, N, "color"), out), "one of red, blue");
	assert_null(column_find(columns, N, "colour"));
}

/* Fills each column of a table with a value of its own, and finds each one where it was put. */
static void check_table(const struct column *table, int n, void *record, size_t size)
{
	static char values[256][32];
	char out[COLUMN_TEXT_SIZE];
	assert_true(n <= 256);
	columns_init(record, table, n);
	for (int i = 0; i < n; i++) {
		assert_true(table[i].offset < size);
		assert_ptr_equal(column_find(table, n, table[i].name), &table[i]);
		const char *text = values[i];
		if (table[i].type == COLUMN_NAME)
			text = table[i].names[i % table[i].n_names];
		else if (table[i].type == COLUMN_FLAGS)
			text = table[i].names[table[i].n_names - 1];
		/* What is wanted in its place is said to the last name. */
		if (table[i].type == COLUMN_NAME)
			assert_non_null(strstr(column_wanted(&table[i], out), table[i].names[table[i].n_names - 1]));
		snprintf(values[i], sizeof values[i], "%s%d", table[i].type == COLUMN_TEXT ? "t" : "1", i);
		assert_int_equal(column_set_text(record, &table[i], text), 0);
	}
	for (int i = 0; i < n; i++) {
		const char *text = column_text(record, &table[i], out);
		if (table[i].type == COLUMN_NAME)
			assert_string_equal(text, table[i].names[i % table[i].n_names]);
		else if (table[i].type == COLUMN_FLAGS)
			assert_string_equal(text, table[i].names[table[i].n_names - 1]);
		else
			assert_string_equal(text, values[i]);
	}
}

static void test_tables(void **state)
{
	(void)state;
	struct run_row row;
	struct token_row token;
	struct telemetry_row look;
	struct timeline_row stamp;
	check_table(row_columns, row_n_columns, &row, sizeof row);
	check_table(token_columns, token_n_columns, &token, sizeof token);
	check_table(telemetry_columns, telemetry_n_columns, &look, sizeof look);
	check_table(timeline_columns, timeline_n_columns, &stamp, sizeof stamp);
	/* A name of the member, not of its neighbour. */
	columns_init(&token, token_columns, token_n_columns);
	token.token.event = TOKEN_EVENT_REPLAY;
	token.token.phase = TOKEN_PHASE_MEASURE;
	token.token.index = 5;
	char out[COLUMN_TEXT_SIZE];
	assert_string_equal(column_text(&token, column_find(token_columns, token_n_columns, "graph_event"), out),
			    "replay");
	assert_string_equal(column_text(&token, column_find(token_columns, token_n_columns, "phase"), out), "measure");
	assert_string_equal(column_text(&token, column_find(token_columns, token_n_columns, "token_index"), out), "5");
	assert_string_equal(column_text(&token, column_find(token_columns, token_n_columns, "pos"), out), "");
	row_init(&row);
	assert_string_equal(run_status_name(row.status), "");
	row.status = RUN_STATUS_INTERRUPTED;
	assert_string_equal(column_text(&row, column_find(row_columns, row_n_columns, "status"), out), "interrupted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
