/* A report's parts: what is put into tables and charts comes out, and what no axis holds is counted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/document.h"

static void test_table(void **state)
{
	(void)state;
	static const struct document_column columns[] = {{"a", 0}, {"b", 1}, {"c", 0}, {"d", 1}};
	struct document d;
	document_init(&d);
	struct document_section *s = document_section(&d, "S");
	struct document_table *t = document_table(&d, s, DOCUMENT_BOTH, columns, 4);
	for (int i = 0; i < 100; i++) {
		struct document_entry *e = document_row(&d, t);
		assert_string_equal(e[3].text, "");
		assert_true(isnan(e[3].number));
		e[0] = (struct document_entry){document_text(&d, "row %d", i), i};
		e[2] = (struct document_entry){i == 57 ? "x" : "", NAN};
		e[3] = (struct document_entry){document_text(&d, "%d", 2 * i), 2 * i};
	}
	document_drop_empty_columns(&d, t);
	assert_int_equal(t->n_columns, 3);
	assert_string_equal(t->columns[1].title, "c");
	assert_string_equal(t->columns[2].title, "d");
	for (int i = 0; i < 100; i++) {
		const struct document_entry *e = t->entries + 3 * i;
		assert_int_equal(atoi(e[0].text + 4), i);
		assert_string_equal(e[1].text, i == 57 ? "x" : "");
		assert_true(e[2].number == 2 * i);
	}
	/* Rows of the new width go on behind them. */
	document_row(&d, t)[2].text = "last";
	assert_int_equal(t->n_rows, 101);
	assert_string_equal(t->entries[3 * 100 + 2].text, "last");
	assert_true(t->entries[3 * 99 + 2].number == 198);
	assert_false(d.failed);
	document_free(&d);
}

static void test_chart(void **state)
{
	(void)state;
	static const double out[] = {INFINITY, -INFINITY, NAN, 1e16, -1e300, 5e-324, -1e-13};
	enum { OUT = sizeof out / sizeof *out };
	struct document d;
	document_init(&d);
	struct chart *c = document_chart(&d, document_section(&d, "S"), DOCUMENT_BOTH, CHART_CURVES, 2, 0);
	assert_int_equal(c->n_series, 2);
	for (int i = 0; i < OUT; i++) {
		chart_add(&d, &c->series[1], (struct chart_point){.x = 1, .y = out[i], .low = NAN, .high = NAN});
		chart_add(&d, &c->series[1], (struct chart_point){.x = out[i], .y = 1, .low = NAN, .high = NAN});
	}
	chart_add(&d, &c->series[1], (struct chart_point){.x = 1, .y = 1, .low = 1, .high = 1e300});
	assert_int_equal(chart_points(c), 0);
	assert_int_equal(chart_left_out(c), 2 * OUT + 1);
	chart_add(&d, &c->series[0], (struct chart_point){.x = 0, .y = -1e15, .low = NAN, .high = NAN});
	chart_add(&d, &c->series[1], (struct chart_point){.x = 16384, .y = 1e-12, .low = 0, .high = 2});
	assert_int_equal(chart_points(c), 2);
	assert_int_equal(chart_left_out(c), 2 * OUT + 1);
	document_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_chart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
