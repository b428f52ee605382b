/* A store's lines as series: order, commits, parts, gaps and changes, all of which were written into the lines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/report/history_series.h"
#include "tests/support/history_sample.h"
#include "tests/support/ok.h"

static struct history history;
static struct history_view view;
static int n_lines;

static void put(struct history_sample s)
{
	char line[SAMPLE_LINE], run[32];
	struct error err = {""};
	snprintf(run, sizeof run, "r%d", n_lines);
	s.run = s.run ? s.run : run;
	history_sample_line(line, s);
	if (history_take(&history, line, strlen(line), (size_t)++n_lines, &err))
		fail_msg("%s: %s", line, err.text);
}

static void make(void)
{
	struct stats_change_options o;
	stats_change_options_default(&o);
	OK(history_view_make(&view, &history, &o, e));
}

static int set_up(void **state)
{
	(void)state;
	history = (struct history){.path = "test"};
	view = (struct history_view){0};
	n_lines = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	history_view_free(&view);
	history_free(&history);
	return 0;
}

/* Of commit i, on day i of May, a value near x. */
static void measure(int i, double x, const char *mode, const char *env, uint64_t *seed)
{
	char commit[16], date[24], runs[32];
	snprintf(commit, sizeof commit, "%07x", 0x1000000 + i);
	snprintf(date, sizeof date, "2026-05-%02d", i + 1);
	snprintf(runs, sizeof runs, "%.9g", x * (1 + 0.004 * ((double)random_below(seed, 1000) / 1000 - 0.5)));
	put((struct history_sample){.commit = commit, .date = date, .mode = mode, .env = env, .runs = runs});
}

/* By date, then as they were added; one that is called by a longer name is the same one. */
static void test_commits(void **state)
{
	(void)state;
	put((struct history_sample){.commit = "ccccccc", .date = "2026-05-03", .more = "\"order\":2,"});
	put((struct history_sample){.commit = "aaaaaaa", .date = "2026-05-03", .more = "\"order\":3,"});
	put((struct history_sample){.commit = "bbbbbbb1234", .date = "2026-05-01T23:00:00Z"});
	put((struct history_sample){.commit = "bbbbbbb", .date = "2026-05-01T23:00:00Z", .run = "again"});
	put((struct history_sample){.commit = "ddddddd-dirty", .date = "2026-05-02T00:30:00+02:00"});
	make();
	static const char *const names[] = {"ddddddd", "bbbbbbb1234", "ccccccc", "aaaaaaa"};
	assert_int_equal(view.n_commits, 4);
	for (int i = 0; i < 4; i++)
		assert_string_equal(view.commits[i].name, names[i]);
	assert_int_equal(view.dirty, 1);
	assert_int_equal(view.series[0].n, 5);
	char text[HISTORY_TEXT];
	history_commit_text(&view.commits[0], text);
	assert_string_equal(text, "ddddddd-dirty");
	/* Two of one commit stand beside its place, one stands on it. */
	assert_true(history_point_x(&view.series[0], 0) == 0);
	assert_true(history_point_x(&view.series[0], 1) == 0.75 && history_point_x(&view.series[0], 2) == 1.25);
}

/* A change by 3 %, in a gap: its range goes over the commits that other series have. */
static void test_gap(void **state)
{
	(void)state;
	uint64_t seed = 5;
	char text[HISTORY_RANGE_SIZE];
	for (int i = 0; i < 24; i++) {
		measure(i, 500, "graph-device", NULL, &seed);
		if (i < 10 || i > 13)
			measure(i, i < 12 ? 1000 : 1030, "direct", NULL, &seed);
	}
	make();
	assert_int_equal(view.n_series, 2);
	const struct history_series *s = &view.series[0], *flat = &view.series[1];
	assert_int_equal(s->gaps, 4);
	assert_int_equal(s->commits, 20);
	assert_int_equal(s->n_changes, 1);
	assert_int_equal(s->changes[0].before, 9);
	assert_int_equal(s->changes[0].after, 14);
	assert_int_equal(s->changes[0].unmeasured, 4);
	assert_true(s->changes[0].worse);
	assert_true(fabs(s->changes[0].shift.effect - 0.03) < 0.002);
	assert_true(s->changes[0].shift.low < 0.03 && s->changes[0].shift.high > 0.03);
	assert_int_equal(s->n_levels, 2);
	assert_true(fabs(s->levels[0].value - 1000) < 1 && fabs(s->levels[1].value - 1030) < 1.5);
	history_range_text(&view, &s->changes[0], text);
	assert_string_equal(text, "1000009..100000e (4 between not measured)");
	assert_int_equal(flat->n_changes, 0);
	assert_int_equal(flat->gaps, 0);
	assert_int_equal(view.n_changes, 1);
	char label[HISTORY_LABEL_SIZE];
	history_label(&view, s, label);
	assert_string_equal(label, "tg32 direct full");
}

/* Another driver splits: what differs across it is no change, and is said. What is not said is no difference. */
static void test_recalibrated(void **state)
{
	(void)state;
	uint64_t seed = 6;
	char text[HISTORY_MARK_SIZE];
	static const char *const env[] = {"\"driver\":\"570\"", "\"driver\":\"570\",\"nvrtc\":\"13.0\"", "",
					  "\"driver\":\"580\",\"nvrtc\":\"13.0\""};
	for (int i = 0; i < 24; i++)
		measure(i, i < 18 ? 1000 : 1100, "direct", env[i / 6], &seed);
	/* The old driver once more, behind the new one. */
	measure(24, 1000, "direct", env[0], &seed);
	make();
	const struct history_series *s = &view.series[0];
	assert_int_equal(s->n_parts, 2);
	assert_int_equal(s->n_changes, 0);
	assert_int_equal(s->parts[1], 19);
	assert_int_equal(s->points[18].commit, 24);
	assert_int_equal(s->n_levels, 2);
	assert_int_equal(view.n_marks, 1);
	history_mark_text(&view, s, 1, text);
	assert_string_equal(text, "driver: 570, then 580");
	assert_int_equal(history_find_part(&view, s, &history.environments[0]), 0);
	assert_int_equal(history_find_part(&view, s, &history.environments[3]), 1);
	char *names[] = {(char *)"driver"}, *values[] = {(char *)"590"};
	const struct history_environment other = {.names = names, .values = values, .n = 1};
	assert_int_equal(history_find_part(&view, s, &other), -1);
}

/* A commit that was measured ten times is one place: two commits of many processes each have a change between. */
static void test_reruns(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (int i = 0; i < 20; i++)
		measure(i / 10, i < 10 ? 1000 : 980, "direct", NULL, &seed);
	make();
	const struct history_series *s = &view.series[0];
	assert_int_equal(s->n, 20);
	assert_int_equal(s->commits, 2);
	assert_int_equal(s->n_changes, 1);
	assert_true(s->changes[0].before == 0 && s->changes[0].after == 1 && !s->changes[0].worse);
}

static void test_empty(void **state)
{
	(void)state;
	struct stats_change_options o;
	struct error err = {""};
	stats_change_options_default(&o);
	assert_int_equal(history_view_make(&view, &history, &o, &err), ERROR_INPUT);
	/* A cell of which all records were left out is no series. */
	put((struct history_sample){.commit = "aaaaaaa", .mode = "direct"});
	put((struct history_sample){.commit = "bbbbbbb", .mode = "graph-device"});
	history_leave_out(&history, "aaaaaaa");
	make();
	assert_int_equal(view.n_series, 1);
	assert_string_equal(history.cells[view.series[0].cell].axes.mode, "graph-device");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_recalibrated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reruns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
