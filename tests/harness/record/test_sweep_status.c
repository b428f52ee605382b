/*
 * What a sweep says of itself, written and read back, and what is told of a directory alone: how many runs of how many,
 * and whether somebody makes the others.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "harness/record/sweep_matrix.h"
#include "harness/record/sweep_status.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/shown_line.h"

static char folder[FOLDER_BYTES], run[FOLDER_BYTES + 8], file[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "sweep-status");
	snprintf(run, sizeof run, "%s/run", folder);
	snprintf(file, sizeof file, "%s/status", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void set_some(struct sweep_status *s)
{
	sweep_status_init(s);
	s->runs = 7;
	s->runs_total = 40;
	s->of_status[RUN_STATUS_OK] = 4;
	s->of_status[RUN_STATUS_SKIPPED] = 2;
	s->of_status[RUN_STATUS_WRONG] = 1;
	s->seconds_left = 12.5;
	s->started_s = 1767268800; /* 2026-01-01 12:00 UTC */
	s->updated_s = 1767268861;
	strcpy(s->cell, "tg4 direct full");
	strcpy(s->reason, "wrong: bits");
	strcpy(s->directory, "/a \"b\"\\c");
	process_mark_self("", &s->process);
}

static void test_json(void **state)
{
	struct sweep_status s, got;
	json_t *o;
	(void)state;
	set_some(&s);
	OK(sweep_status_json(&s, &o, e));
	assert_string_equal(json_string_value(json_object_get(o, "updated_utc")), "2026-01-01T12:01:01Z");
	assert_true(json_is_null(json_object_get(o, "error")));
	OK(sweep_status_parse(o, "f", &got, e));
	json_decref(o);
	assert_int_equal(got.state, SWEEP_STATE_RUNNING);
	assert_int_equal(got.runs, 7);
	assert_int_equal(got.runs_total, 40);
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++)
		assert_int_equal(got.of_status[i], s.of_status[i]);
	assert_true(got.seconds_left == 12.5);
	assert_int_equal(got.started_s, s.started_s);
	assert_int_equal(got.updated_s, s.updated_s);
	assert_string_equal(got.cell, s.cell);
	assert_string_equal(got.reason, s.reason);
	assert_string_equal(got.error, "");
	assert_string_equal(got.directory, s.directory);
	assert_int_equal(got.process.pid, getpid());
	/* What is unknown stays so. */
	sweep_status_init(&s);
	OK(sweep_status_json(&s, &o, e));
	OK(sweep_status_parse(o, "f", &got, e));
	json_decref(o);
	assert_true(isnan(got.seconds_left));
	assert_int_equal(got.runs_total, -1);
	assert_int_equal(got.started_s, -1);
	assert_int_equal(got.process.pid, 0);
}

/* Each member in turn is something else, or not there: refused in one line that names it. */
static void test_members(void **state)
{
	static const char *const keys[] = {"gemmark_status", "state",       "runs",        "seconds_left",
					   "cell",           "started_utc", "updated_utc", "last_reason",
					   "error",          "directory",   "process"};
	struct sweep_status s;
	json_t *o;
	(void)state;
	set_some(&s);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		for (int how = 0; how < 3; how++) {
			struct error err = {""};
			struct sweep_status got;
			OK(sweep_status_json(&s, &o, e));
			if (how == 0)
				json_object_del(o, keys[i]);
			else
				json_object_set_new(o, keys[i], how == 1 ? json_true() : json_pack("[s]", "x"));
			assert_int_equal(sweep_status_parse(o, "f", &got, &err), ERROR_INPUT);
			assert_true(is_shown_line(err.text));
			assert_true(strstr(err.text, keys[i]) || i == 0 || (i == 2 && strstr(err.text, "runs")));
			json_decref(o);
		}
	struct sweep_status got;
	OK(sweep_status_json(&s, &o, e));
	json_object_set_new(json_object_get(o, "runs"), "ok", json_integer(-1));
	assert_int_equal(sweep_status_parse(o, "f", &got, NULL), ERROR_INPUT);
	json_object_set_new(json_object_get(o, "runs"), "ok", json_integer(INT64_MAX));
	assert_int_equal(sweep_status_parse(o, "f", &got, NULL), ERROR_INPUT);
	json_object_set_new(json_object_get(o, "runs"), "ok", json_integer(1));
	/* What a terminal obeys is never kept, and what is too long is cut. */
	char text[2 * SWEEP_STATUS_TEXT];
	memset(text, 'y', sizeof text);
	memcpy(text, "a\033[31m\n", 7);
	text[sizeof text - 1] = 0;
	json_object_set_new(o, "cell", json_string(text));
	OK(sweep_status_parse(o, "f", &got, e));
	assert_true(is_shown_line(got.cell));
	assert_int_equal(strlen(got.cell), SWEEP_STATUS_TEXT - 1);
	json_decref(o);
}

static void write_status(const struct sweep_status *s)
{
	json_t *o;
	OK(sweep_status_json(s, &o, e));
	assert_int_equal(json_dump_file(o, file, 0), 0);
	json_decref(o);
}

/* A planted process: this one, one of its number that began at another time, one of another machine. */
static void test_stale(void **state)
{
	struct sweep_status s, got;
	(void)state;
	set_some(&s);
	write_status(&s);
	OK(sweep_status_read(file, "", &got, e));
	assert_int_equal(got.state, SWEEP_STATE_RUNNING);
	s.process.start_ticks--;
	write_status(&s);
	OK(sweep_status_read(file, "", &got, e));
	assert_int_equal(got.state, SWEEP_STATE_GONE);
	strcpy(s.process.host, "no-machine-of-this-name");
	write_status(&s);
	OK(sweep_status_read(file, "", &got, e));
	assert_int_equal(got.state, SWEEP_STATE_UNKNOWN);
	/* One that has ended is what it says, whoever has its number now. */
	s.state = SWEEP_STATE_DONE;
	write_status(&s);
	OK(sweep_status_read(file, "", &got, e));
	assert_int_equal(got.state, SWEEP_STATE_DONE);
	struct error err = {""};
	assert_int_equal(sweep_status_read("/", "", &got, &err), ERROR_INPUT);
	assert_int_equal(folder_put(folder, "/status", "{\"gemmark_status\": 1"), 0);
	assert_int_equal(sweep_status_read(file, "", &got, &err), ERROR_INPUT);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("/etc/passwd", file), 0);
	assert_int_equal(sweep_status_read(file, "", &got, &err), ERROR_INPUT);
}

/* Two models' worth of axes: 2 depths, pp4 once each, tg2 in two modes, one pair; 3 repetitions: 2 (1 + 2 + 2) 3 runs.
 */
static const char sweep[] = "{\"schema_version\": 1, \"model\": [\"m.gguf\"], \"n_gpu_layers\": [0], \"type_k\": "
			    "[\"f16\"], \"type_v\": [\"f16\"],"
			    "\"n_threads\": [1], \"n_ubatch\": [512], \"snapkv\": [\"off\"], \"n_depth\": [0, 8], "
			    "\"n_prompt\": [4], \"n_gen\": [2],"
			    "\"prefill_rows\": [\"last\"], \"fusion\": [\"full\"], \"sync\": [\"token\"], \"mode\": "
			    "[\"direct\", \"graph-device\"],"
			    "\"n_prompt_n_gen\": [[4, 2]], \"repetitions\": 3%s}";
enum { RUNS = 30 };

static void put_sweep(const char *more)
{
	char text[2048];
	snprintf(text, sizeof text, sweep, more);
	assert_int_equal(folder_put(run, "/sweep.json", text), 0);
}

static struct recorder *recorder;
static int order;

static void put_run(int depth, const char *mode, int repetition, int attempt, enum run_status status)
{
	struct run_row row;
	char id[32];
	row_init(&row);
	struct cell c = {.model = "m.gguf",
			 .type_k = "f16",
			 .type_v = "f16",
			 .n_threads = 1,
			 .n_ubatch = 512,
			 .n_depth = depth,
			 .n_gen = 2,
			 .fusion = "full",
			 .mode = mode};
	row_set_axes(&row, &c);
	snprintf(id, sizeof id, "r-%05d", order);
	row.run_id = id;
	row.status = status;
	row.reason = status == RUN_STATUS_OK ? "" : "why";
	row.order = order++;
	row.repetition = repetition;
	row.attempt = attempt;
	row.test = "tg2";
	row.started_utc = "2026-01-01T12:00:00Z";
	OK(recorder_run(recorder, &row, NULL, 0, e));
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)ctx, (void)row, (void)err;
	return 0;
}

static void check(enum sweep_state state, int runs, int total)
{
	struct sweep_status s;
	OK(sweep_status_of_directory(run, &s, e));
	assert_string_equal(sweep_state_name(s.state), sweep_state_name(state));
	assert_int_equal(s.runs, runs);
	assert_int_equal(s.runs_total, total);
}

static void test_directory(void **state)
{
	struct sweep_status s;
	(void)state;
	order = 0;
	OK(recorder_open(&recorder, run, e));
	/* Between a directory and its description. */
	check(SWEEP_STATE_RUNNING, 0, -1);
	put_sweep("");
	check(SWEEP_STATE_RUNNING, 0, RUNS);
	put_run(0, "direct", 0, 0, RUN_STATUS_OK);
	check(SWEEP_STATE_RUNNING, 1, RUNS);
	/* A block that was run again is one run more. */
	put_run(0, "direct", 0, 1, RUN_STATUS_OK);
	check(SWEEP_STATE_RUNNING, 2, RUNS + 1);
	/* A cell that is not ok is not repeated. */
	put_run(8, "graph-device", 0, 0, RUN_STATUS_OK);
	put_run(8, "graph-device", 1, 0, RUN_STATUS_FAILED);
	check(SWEEP_STATE_RUNNING, 4, RUNS + 1 - 1);
	OK(sweep_status_of_directory(run, &s, e));
	assert_string_equal(s.reason, "failed: why");
	assert_string_equal(s.cell, "tg2 @ d8 graph-device full");
	assert_int_equal(s.started_s, 1767268800);
	/* An interrupted run is made again. */
	put_run(0, "graph-device", 0, 0, RUN_STATUS_INTERRUPTED);
	check(SWEEP_STATE_RUNNING, 5, RUNS + 1);
	OK(recorder_close(recorder, e));
	check(SWEEP_STATE_INTERRUPTED, 5, RUNS + 1);
}

static void test_done(void **state)
{
	(void)state;
	order = 0;
	OK(recorder_open(&recorder, run, e));
	put_sweep("");
	/* pp4 and the pair are left to be skipped: rows of them are of no interest here. */
	char text[2048];
	snprintf(text, sizeof text, sweep, "");
	json_t *o = json_loads(text, 0, NULL);
	json_object_set_new(o, "n_prompt", json_pack("[i]", 0));
	json_object_del(o, "n_prompt_n_gen");
	json_object_set_new(o, "n_depth", json_pack("[i]", 0));
	json_object_set_new(o, "repetitions", json_integer(2));
	snprintf(text, sizeof text, "%s/sweep.json", run);
	assert_int_equal(json_dump_file(o, text, 0), 0);
	json_decref(o);
	for (int i = 0; i < 4; i++)
		put_run(0, i % 2 ? "direct" : "graph-device", i / 2, 0, RUN_STATUS_OK);
	check(SWEEP_STATE_RUNNING, 4, 4);
	OK(recorder_close(recorder, e));
	check(SWEEP_STATE_DONE, 4, 4);
	/* As if it were one of more runs, or of as many as its results say. */
	put_sweep("");
	check(SWEEP_STATE_GONE, 4, RUNS);
	put_sweep(", \"until_error\": 0.005");
	check(SWEEP_STATE_UNKNOWN, 4, -1);
	/* Of a shard it is the cells that it was given. */
	put_sweep(", \"shard\": {\"index\": 2, \"count\": 2, \"cells\": [7, 3]}");
	check(SWEEP_STATE_GONE, 4, 9);
	struct sweep_status s;
	put_sweep(", \"shard\": {\"index\": 3, \"count\": 2, \"cells\": [7, 3]}");
	assert_int_equal(sweep_status_of_directory(run, &s, NULL), ERROR_INPUT);
	put_sweep(", \"shard\": {\"index\": 2, \"count\": 2, \"cells\": [7, 300]}");
	assert_int_equal(sweep_status_of_directory(run, &s, NULL), ERROR_INPUT);
	assert_int_equal(folder_put(run, "/sweep.json", "{\"repetitions\": 3, \"n_depth\": 4}"), 0);
	assert_int_equal(sweep_status_of_directory(run, &s, NULL), ERROR_INPUT);
}

/* Asking takes nothing away from who writes, or from who comes to write while it is asked. */
static void test_lock(void **state)
{
	struct run_directory d;
	(void)state;
	OK(recorder_open(&recorder, run, e));
	OK(run_directory_open(&d, run, e));
	for (int i = 0; i < 3; i++)
		assert_int_equal(recorder_writes(&d), 1);
	OK(recorder_close(recorder, e));
	assert_int_equal(recorder_writes(&d), 0);
	int ready[2];
	char byte;
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		/* For longer than it ever is. */
		int fd = open(run, O_RDONLY | O_DIRECTORY), bad = flock(fd, LOCK_SH);
		bad |= write(ready[1], "x", 1) != 1;
		usleep(2000);
		close(fd);
		_exit(bad != 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	struct resume_dropped dropped;
	OK(recorder_resume(&recorder, run, keep, NULL, &dropped, e));
	OK(recorder_close(recorder, e));
	run_directory_close(&d);
	close(ready[0]);
	close(ready[1]);
}

/* sweep.json is anybody's. */
static void test_matrix(void **state)
{
	static const char *const bad[] = {
		"{\"n_depth\": 3}",
		"{\"n_depth\": [\"3\"]}",
		"{\"n_depth\": [-1]}",
		"{\"n_depth\": [1e300]}",
		"{\"n_gen\": [99999999999]}",
		"{\"mode\": [3]}",
		"{\"mode\": [{\"hex\": \"0\"}]}",
		"{\"n_prompt_n_gen\": [[1]]}",
		"{\"n_prompt_n_gen\": [[0, 4]]}",
		"{\"n_prompt_n_gen\": [[1, 2, 3]]}",
		"{\"n_threads\": [-2]}",
	};
	struct error err;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct matrix m = {0};
		json_t *o = json_loads(bad[i], 0, NULL);
		assert_non_null(o);
		err = (struct error){""};
		if (sweep_matrix_read(o, "d", &m, &err) != ERROR_INPUT || !is_shown_line(err.text))
			fail_msg("%s: %s", bad[i], err.text);
		matrix_free(&m);
		json_decref(o);
	}
	struct matrix m = {0};
	json_t *o = json_loads("{\"n_gpu_layers\": [-2, -1, 3], \"model\": [\"a,b\", {\"hex\": \"ff41\"}]}", 0, NULL);
	OK(sweep_matrix_read(o, "d", &m, e));
	assert_int_equal(m.of[AXIS_GPU_LAYERS].n, 3);
	assert_int_equal(m.of[AXIS_GPU_LAYERS].ints[0], AXIS_LAYERS_AUTO);
	assert_int_equal(m.of[AXIS_MODEL].n, 2);
	assert_string_equal(m.of[AXIS_MODEL].words[0], "a,b");
	assert_string_equal(m.of[AXIS_MODEL].words[1], "\377A");
	matrix_free(&m);
	json_decref(o);
}

/* Names, units and escapes; that all of it is the format a Prometheus parser checks (tests/harness/cli/status.sh). */
static void test_metrics(void **state)
{
	static const char *const wanted[] = {
		"gemmark_sweep_info{directory=\"/a \\\"b\\\"\\\\c\",host=\"",
		"\ngemmark_sweep_state{directory=\"/a \\\"b\\\"\\\\c\",state=\"running\"} 1\n",
		"\",state=\"done\"} 0\n",
		"\ngemmark_sweep_runs{directory=\"/a \\\"b\\\"\\\\c\",status=\"ok\"} 4\n",
		"\",status=\"wrong\"} 1\n",
		"\ngemmark_sweep_runs_planned{directory=\"/a \\\"b\\\"\\\\c\"} 40\n",
		"\ngemmark_sweep_remaining_seconds{directory=\"/a \\\"b\\\"\\\\c\"} 12.5\n",
		"\ngemmark_sweep_start_time_seconds{directory=\"/a \\\"b\\\"\\\\c\"} 1767268800\n",
		"\ngemmark_sweep_update_time_seconds{directory=\"/a \\\"b\\\"\\\\c\"} 1767268861\n",
	};
	struct sweep_status s;
	char *text;
	size_t n;
	(void)state;
	set_some(&s);
	for (int unknown = 0; unknown < 2; unknown++) {
		FILE *f = open_memstream(&text, &n);
		s.seconds_left = unknown ? NAN : 12.5;
		sweep_status_metrics(&s, f);
		fclose(f);
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			assert_true(!strstr(text, wanted[i]) == (unknown && strstr(wanted[i], "remaining")));
		assert_null(strstr(text, "nan"));
		free(text);
	}
}

/* A line's end in a name is none in the file. */
static void test_metrics_line(void **state)
{
	struct sweep_status s;
	char *text;
	size_t n;
	(void)state;
	set_some(&s);
	strcpy(s.directory, "/a\nb");
	FILE *f = open_memstream(&text, &n);
	sweep_status_metrics(&s, f);
	fclose(f);
	assert_non_null(strstr(text, "\ngemmark_sweep_runs_planned{directory=\"/a\\nb\"} 40\n"));
	free(text);
}

/* Of several devices: all runs, the longest time that is left, the worst state, and who says what. */
static void test_devices(void **state)
{
	static const struct {
		enum sweep_state a, b, both;
	} states[] = {
		{SWEEP_STATE_DONE, SWEEP_STATE_RUNNING, SWEEP_STATE_RUNNING},
		{SWEEP_STATE_DONE, SWEEP_STATE_GONE, SWEEP_STATE_GONE},
		{SWEEP_STATE_GONE, SWEEP_STATE_FAILED, SWEEP_STATE_FAILED},
		{SWEEP_STATE_INTERRUPTED, SWEEP_STATE_DONE, SWEEP_STATE_INTERRUPTED},
		{SWEEP_STATE_UNKNOWN, SWEEP_STATE_DONE, SWEEP_STATE_UNKNOWN},
		{SWEEP_STATE_DONE, SWEEP_STATE_DONE, SWEEP_STATE_DONE},
	};
	struct sweep_status all, one;
	(void)state;
	for (size_t i = 0; i < 2 * sizeof states / sizeof *states; i++) {
		sweep_status_init(&all);
		sweep_status_init(&one);
		all.state = i % 2 ? states[i / 2].a : states[i / 2].b;
		one.state = i % 2 ? states[i / 2].b : states[i / 2].a;
		sweep_status_add(&all, &one, "x");
		assert_int_equal(all.state, states[i / 2].both);
	}
	sweep_status_init(&all);
	all.runs_total = 0;
	for (int i = 0; i < 3; i++) {
		static const double left[] = {5, 9, 7};
		sweep_status_init(&one);
		one.runs = i + 1;
		one.runs_total = 10;
		one.of_status[RUN_STATUS_WRONG] = 1;
		one.seconds_left = left[i];
		one.started_s = 100 - i;
		one.updated_s = 200 + i;
		snprintf(one.cell, sizeof one.cell, "c%d", i);
		sweep_status_add(&all, &one, i ? "b" : "a");
	}
	assert_int_equal(all.runs, 6);
	assert_int_equal(all.runs_total, 30);
	assert_int_equal(all.of_status[RUN_STATUS_WRONG], 3);
	assert_true(all.seconds_left == 9);
	assert_int_equal(all.started_s, 98);
	assert_int_equal(all.updated_s, 202);
	assert_string_equal(all.cell, "a: c0; b: c1; b: c2");
	one.runs_total = -1;
	sweep_status_add(&all, &one, "d");
	assert_int_equal(all.runs_total, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_members),
		cmocka_unit_test_setup_teardown(test_stale, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_done, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_metrics_line),
		cmocka_unit_test(test_devices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
