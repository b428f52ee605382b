/*
 * Sweeps that are killed, refused the disk, or run twice at once: what is recorded stays
 * whole, and going on finishes it.
 *
 *   test_resume [KILLS]    kills at so many random moments (default 12)
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/measure/past.h"
#include "harness/measure/runner.h"
#include "harness/record/recorder.h"
#include "harness/record/sweep_file.h"
#include "tests/support/fake_workload.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

enum { TOKENS = 12, CELLS = 6, LOOKS = 3 };

static int kills = 12;
static char folder[FOLDER_BYTES];
static char run_path[FOLDER_BYTES + 8];
static struct resume_dropped dropped; /* by the last sweep that went on */

static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "resume");
	snprintf(run_path, sizeof run_path, "%s/run", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static char *in_run(const char *name)
{
	static char path[2][256];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", run_path, name);
	return path[turn];
}

static void make_cells(struct cell cells[CELLS])
{
	for (int i = 0; i < CELLS; i++)
		cells[i] = (struct cell){
			.model = "dir/m.gguf",
			.type_k = "f16",
			.type_v = "f16",
			.fusion = "full",
			.mode = i % 2 ? "graph-device" : "direct",
			.n_gpu_layers = -1,
			.n_depth = 30 * (i / 2),
			.n_gen = TOKENS,
		};
}

static int take_run(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct telemetry_sample looks[LOOKS] = {{.time_us = 1}, {.time_us = 2, .measured = 1}, {.time_us = 3}};
	for (int i = 0; i < LOOKS; i++) {
		gpu_reading_init(&looks[i].gpu);
		looks[i].cpu_mhz = looks[i].load_average = NAN;
	}
	int rc = recorder_telemetry(ctx, row->run_id, looks, LOOKS, err);
	return rc ? rc : recorder_run(ctx, row, tokens, n, err);
}

static int keep_run(void *ctx, const struct run_row *row, struct error *err)
{
	struct run_row kept = *row;
	return past_take(ctx, &kept, err);
}

/* Starts the sweep, or goes on with it; returns the runner's code. stop_after: tokens, 0: never. */
static int sweep(int repetitions, int sleep_us, long stop_after, const char *prefix, struct error *err)
{
	static volatile sig_atomic_t stop;
	struct fake fake;
	struct runner_options o;
	struct runner_summary summary;
	struct recorder *rec = NULL;
	struct past past;
	struct cell cells[CELLS];
	make_cells(cells);
	fake_init(&fake);
	fake.sleep_us = sleep_us;
	fake.stop = &stop;
	fake.stop_after = stop_after;
	runner_options_default(&o);
	o.repetitions = repetitions;
	o.run_prefix = prefix;
	o.stop = &stop;
	stop = 0;
	int rc = past_init(&past, cells, CELLS, repetitions, err), there = access(in_run("runs.csv"), F_OK) == 0;
	if (!rc && there)
		rc = recorder_resume(&rec, run_path, keep_run, &past, &dropped, err);
	else if (!rc)
		rc = recorder_open(&rec, run_path, err);
	o.past = &past.runner;
	struct runner_sink sink = {.ctx = rec, .run = take_run};
	if (!rc)
		rc = runner_run(cells, CELLS, &fake.source, &o, &sink, &summary, err);
	int closed = recorder_close(rec, rc ? NULL : err);
	past_free(&past);
	return rc ? rc : closed;
}

/* The run ids that are there, each with all its tokens; all: nothing else is in the files. */
static int check_files(char ids[][64], int most, int all)
{
	struct csv_rows runs, tokens, looks;
	int n = 0, n_tokens = 0, at = 1, look = 1;
	assert_int_equal(csv_read(&runs, in_run("runs.csv")), 0);
	assert_int_equal(csv_read(&tokens, in_run("tokens.csv")), 0);
	assert_int_equal(csv_read(&looks, in_run("telemetry.csv")), 0);
	for (int r = 1; r < runs.n_rows; r++) {
		/* Only the last line may be unfinished. */
		int whole = csv_width(&runs, r) == csv_width(&runs, 0);
		assert_true(whole || (r + 1 == runs.n_rows && !all));
		if (!whole)
			continue;
		const char *id = csv_at(&runs, r, "run_id");
		/* They stand in the order of the runs. */
		int here = 0;
		while (at < tokens.n_rows && csv_width(&tokens, at) == csv_width(&tokens, 0) &&
		       !strcmp(csv_at(&tokens, at, "run_id"), id)) {
			at++;
			here++;
		}
		if (strcmp(csv_at(&runs, r, "status"), "interrupted"))
			assert_int_equal(here, atoi(csv_at(&runs, r, "warmup_tokens")) + TOKENS);
		n_tokens += here;
		for (int i = 0; i < LOOKS; i++, look++)
			assert_string_equal(csv_at(&looks, look, "run_id"), id);
		for (int i = 0; i < n; i++)
			assert_string_not_equal(ids[i], id);
		assert_true(n < most);
		snprintf(ids[n++], 64, "%s", id);
	}
	for (int t = 1; t + 1 < tokens.n_rows; t++)
		assert_int_equal(csv_width(&tokens, t), csv_width(&tokens, 0));
	if (all)
		assert_int_equal(tokens.n_rows - 1, n_tokens);
	if (all)
		assert_int_equal(looks.n_rows, look);
	csv_rows_free(&looks);
	csv_rows_free(&runs);
	csv_rows_free(&tokens);
	return n;
}

/* Each cell and repetition once, and every one. */
static void check_complete(int repetitions)
{
	struct csv_rows runs;
	static char seen[2][3][1024];
	memset(seen, 0, sizeof seen);
	assert_int_equal(csv_read(&runs, in_run("runs.csv")), 0);
	assert_int_equal(runs.n_rows - 1, CELLS * repetitions);
	for (int r = 1; r < runs.n_rows; r++) {
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_int_equal(atoi(csv_at(&runs, r, "order")), r - 1);
		int depth = atoi(csv_at(&runs, r, "n_depth")) / 30, rep = atoi(csv_at(&runs, r, "repetition"));
		assert_true(depth >= 0 && depth < 3 && rep >= 0 && rep < repetitions && rep < 1024);
		char *here = &seen[!strcmp(csv_at(&runs, r, "mode"), "direct")][depth][rep];
		assert_int_equal(*here, 0);
		*here = 1;
	}
	csv_rows_free(&runs);
}

/* Killed at random moments, of which going on is one: nothing that was finished is lost or done twice. */
static void test_killed(void **state)
{
	(void)state;
	enum { RUNS = CELLS * 500 };
	static char before[RUNS][64], after[RUNS][64];
	uint64_t seed = (uint64_t)time(NULL);
	int n_before = 0, gained = 0, repetitions = 5 + 4 * kills;
	print_message("seed %llu\n", (unsigned long long)seed);
	assert_true(CELLS * repetitions <= RUNS);
	for (int i = 0; i < kills; i++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			/* The same prefix each time: rows must stay apart even so. */
			sweep(repetitions, 40, 0, "s", NULL);
			_exit(0);
		}
		/* Every other time not before it wrote a row, however slow the machine is. */
		struct stat s;
		if (i % 2)
			for (int least = n_before + 1; csv_lines(in_run("runs.csv")) <= least; usleep(500))
				;
		usleep((useconds_t)random_below(&seed, 20000));
		assert_int_equal(kill(child, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		/* So early that there is nothing: started anew next time. */
		if (stat(in_run("runs.csv"), &s) || s.st_size == 0 || stat(in_run("tokens.csv"), &s) ||
		    s.st_size == 0) {
			assert_int_equal(n_before, 0);
			if (!access(run_path, F_OK))
				assert_int_equal(folder_remove(run_path), 0);
			continue;
		}
		int n = check_files(after, RUNS, 0);
		assert_true(n >= n_before);
		for (int k = 0; k < n_before; k++)
			assert_string_equal(before[k], after[k]);
		gained += n - n_before;
		n_before = n;
		memcpy(before, after, sizeof before);
	}
	struct error err = {""};
	int rc = sweep(repetitions, 0, 0, "s", &err);
	if (rc)
		fail_msg("%s", err.text);
	assert_int_equal(check_files(after, RUNS, 1), CELLS * repetitions);
	for (int k = 0; k < n_before; k++)
		assert_string_equal(before[k], after[k]);
	check_complete(repetitions);
	assert_true(gained >= kills / 2);
}

/* Ctrl-C leaves a row that says so; going on replaces it. */
static void test_interrupted(void **state)
{
	(void)state;
	static char ids[CELLS * 4][64];
	assert_int_equal(sweep(4, 0, 140, "a", NULL), 0);
	struct csv_rows runs;
	assert_int_equal(csv_read(&runs, in_run("runs.csv")), 0);
	assert_string_equal(csv_at(&runs, runs.n_rows - 1, "status"), "interrupted");
	csv_rows_free(&runs);
	assert_int_equal(sweep(4, 0, 60, "b", NULL), 0);
	assert_int_equal(sweep(4, 0, 0, "c", NULL), 0);
	assert_int_equal(check_files(ids, CELLS * 4, 1), CELLS * 4);
	check_complete(4);
	/* Nothing is left to do, and nothing is done. */
	assert_int_equal(sweep(4, 0, 0, "d", NULL), 0);
	assert_int_equal(check_files(ids, CELLS * 4, 1), CELLS * 4);
}

static void test_two_writers(void **state)
{
	(void)state;
	struct recorder *rec, *second;
	struct error err = {""};
	struct past past;
	struct cell cells[CELLS];
	make_cells(cells);
	assert_int_equal(recorder_open(&rec, run_path, &err), 0);
	assert_int_equal(recorder_open(&second, run_path, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "another gemmark"));
	assert_int_equal(past_init(&past, cells, CELLS, 4, NULL), 0);
	assert_int_equal(recorder_resume(&second, run_path, keep_run, &past, &dropped, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "another gemmark"));
	assert_null(second);
	assert_int_equal(recorder_close(rec, &err), 0);
	assert_int_equal(recorder_resume(&second, run_path, keep_run, &past, &dropped, &err), 0);
	assert_int_equal(recorder_close(second, &err), 0);
	past_free(&past);
}

/* The disk is full after some rows: those are whole, the rest is cut off, and it goes on when there is room. */
static void test_full_disk(void **state)
{
	(void)state;
	static char ids[CELLS * 4][64];
	for (int limit = 200; limit < 60000; limit += 5000 + limit / 3) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			struct error err = {""};
			struct rlimit most = {(rlim_t)limit, (rlim_t)limit};
			signal(SIGXFSZ, SIG_IGN);
			if (setrlimit(RLIMIT_FSIZE, &most))
				_exit(9);
			int rc = sweep(4, 0, 0, "f", &err);
			_exit(rc == ERROR_IO && strstr(err.text, "free some space") ? 1 : rc ? 8 : 0);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) <= 1);
		struct stat s;
		if (limit < 1000) {
			/* Not even the header fits. */
			assert_int_equal(WEXITSTATUS(status), 1);
			assert_int_equal(folder_remove(run_path), 0);
		} else {
			check_files(ids, CELLS * 4, 1);
			assert_int_equal(stat(in_run("tokens.csv"), &s), 0);
			assert_true(s.st_size <= limit);
		}
	}
	assert_int_equal(sweep(4, 0, 0, "g", NULL), 0);
	assert_int_equal(check_files(ids, CELLS * 4, 1), CELLS * 4);
	check_complete(4);
}

/* As a user without rights, whatever user runs the tests. */
static void test_read_only(void **state)
{
	(void)state;
	assert_int_equal(chmod(folder, 0555), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct error err = {""};
		struct recorder *rec;
		if (geteuid() == 0 && setuid(65534))
			_exit(9);
		int rc = recorder_open(&rec, run_path, &err);
		_exit(rc == ERROR_IO && strstr(err.text, "Permission denied") && !strchr(err.text, '\n') ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in_run(name), "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static char *read_file(const char *name, size_t *n)
{
	static char text[1 << 16];
	FILE *f = fopen(in_run(name), "r");
	assert_non_null(f);
	*n = fread(text, 1, sizeof text - 1, f);
	text[*n] = '\0';
	fclose(f);
	return text;
}

/* Files that are not this sweep's are refused, and not touched. */
static void test_refuses(void **state)
{
	(void)state;
	struct error err = {""};
	size_t n;
	assert_int_equal(sweep(2, 0, 100, "a", &err), 0);
	/* More rows than the sweep has. */
	assert_int_equal(sweep(1, 0, 0, "b", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "none of this sweep's"));
	/* A row twice. */
	static char saved[1 << 16];
	char *text = read_file("runs.csv", &n), *second = strchr(strchr(text, '\n') + 1, '\n') + 1;
	memcpy(saved, text, n + 1);
	static char doubled[1 << 17];
	snprintf(doubled, sizeof doubled, "%.*s%s", (int)(second - text), saved, strchr(saved, '\n') + 1);
	write_file("runs.csv", doubled);
	assert_int_equal(sweep(2, 0, 0, "b", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "the same run_id"));
	/* Other columns. */
	write_file("runs.csv", "a,b,c,d\n1,2,3,4\n5,6");
	assert_int_equal(sweep(2, 0, 0, "b", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "no column 'run_id'"));
	assert_string_equal(read_file("runs.csv", &n), "a,b,c,d\n1,2,3,4\n5,6");
	write_file("runs.csv", "");
	assert_int_equal(sweep(2, 0, 0, "b", &err), ERROR_INPUT);
	write_file("runs.csv", saved);
	assert_int_equal(sweep(2, 0, 0, "b", &err), 0);
	check_complete(2);
}

/* What somebody sent may be no files: nothing is waited for, followed, or written through. */
static void test_entries(void **state)
{
	(void)state;
	static const char *const names[] = {"runs.csv", "tokens.csv", "telemetry.csv", "sweep.json", "env.json"};
	struct error err = {""};
	struct run_directory d;
	struct stat s;
	json_t *empty = json_object(), *described;
	alarm(20); /* what blocks ends the test */
	assert_int_equal(sweep_describe(&(struct matrix){0}, &described, &err), 0);
	assert_int_equal(sweep(2, 0, 100, "a", &err), 0);
	assert_int_equal(run_directory_open(&d, run_path, &err), 0);
	assert_int_equal(run_directory_save_json(&d, "sweep.json", described, &err), 0);
	assert_int_equal(run_directory_save_json(&d, "env.json", empty, &err), 0);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		for (int link = 0; link < 2; link++) {
			assert_int_equal(rename(in_run(names[i]), in_run("aside")), 0);
			assert_int_equal(stat(in_run("aside"), &s), 0);
			off_t size = s.st_size;
			assert_int_equal(link ? symlink("aside", in_run(names[i])) : mkfifo(in_run(names[i]), 0666), 0);
			int rc = strstr(names[i], "json") ? sweep_check(&d, described, empty, &err)
							  : sweep(2, 0, 0, "b", &err);
			assert_int_equal(rc, ERROR_INPUT);
			if (!strstr(err.text, names[i]))
				fail_msg("%s", err.text);
			assert_non_null(strstr(err.text, link ? "a symbolic link" : "a pipe"));
			assert_int_equal(stat(in_run("aside"), &s), 0);
			assert_int_equal(s.st_size, size);
			assert_int_equal(unlink(in_run(names[i])), 0);
			assert_int_equal(rename(in_run("aside"), in_run(names[i])), 0);
		}
	}
	json_decref(described);
	json_decref(empty);
	run_directory_close(&d);
	assert_int_equal(sweep(2, 0, 0, "b", &err), 0);
	check_complete(2);
	alarm(0);
}

static void test_changed(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct runner_options o;
	struct error err = {""};
	json_t *sweep_then, *sweep_now, *env, *env_now;
	runner_options_default(&o);
	struct run_directory d;
	assert_int_equal(run_directory_make(&d, run_path, &err), 0);
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "0,512", NULL), 0);
	assert_int_equal(sweep_describe(&m, &sweep_then, NULL), 0);
	assert_int_equal(json_object_update_new(sweep_then, runner_options_describe(&o)), 0);
	env = json_pack("{s:{s:s, s:i}, s:{s:I, s:I}, s:[f], s:n}", "cpu", "model", "A", "cores", 4, "memory",
			"total_bytes", (json_int_t)9, "available_bytes", (json_int_t)8, "bandwidth", 1.5, "gpu");
	assert_int_equal(sweep_check(&d, sweep_then, env, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "sweep.json"));
	assert_int_equal(json_dump_file(sweep_then, in_run("sweep.json"), 0), 0);
	assert_int_equal(json_dump_file(env, in_run("env.json"), 0), 0);
	assert_int_equal(sweep_check(&d, sweep_then, env, &err), 0);

	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "1024", NULL), 0);
	o.repetitions = 7;
	assert_int_equal(sweep_describe(&m, &sweep_now, NULL), 0);
	assert_int_equal(json_object_update_new(sweep_now, runner_options_describe(&o)), 0);
	assert_int_equal(sweep_check(&d, sweep_now, env, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "n_depth: [0,512] there, [0,512,1024] here"));
	assert_non_null(strstr(err.text, "repetitions: 5 there, 7 here"));

	/* What always moves is no difference; what a result depends on is. */
	env_now = json_deep_copy(env);
	json_object_set_new(json_object_get(env_now, "memory"), "available_bytes", json_integer(1));
	json_object_set_new(env_now, "bandwidth", json_array());
	assert_int_equal(sweep_check(&d, sweep_then, env_now, &err), 0);
	json_object_set_new(json_object_get(env_now, "cpu"), "model", json_string("B"));
	json_object_set_new(env_now, "gpu", json_pack("{s:s}", "name", "H"));
	assert_int_equal(sweep_check(&d, sweep_then, env_now, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "cpu model: \"A\" there, \"B\" here"));
	assert_non_null(strstr(err.text, "gpu: null there, {\"name\":\"H\"} here"));
	json_decref(env_now);

	/* At the end, what is gone is there again, as it was; what is another's is not written over. */
	int written;
	assert_int_equal(sweep_keep(&d, sweep_then, env, &written, &err), 0);
	assert_int_equal(written, 0);
	assert_int_equal(unlink(in_run("sweep.json")), 0);
	assert_int_equal(unlink(in_run("env.json")), 0);
	assert_int_equal(sweep_keep(&d, sweep_then, env, &written, &err), 0);
	assert_int_equal(written, 2);
	assert_int_equal(sweep_check(&d, sweep_then, env, &err), 0);
	assert_int_equal(sweep_keep(&d, sweep_now, env, &written, &err), ERROR_INPUT);
	assert_int_equal(sweep_check(&d, sweep_then, env, &err), 0);
	json_decref(env);
	json_decref(sweep_now);
	json_decref(sweep_then);
	run_directory_close(&d);
	matrix_free(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
	if (argc > 1)
		kills = atoi(argv[1]);
	const struct CMUnitTest tests[] = {
		TEST(test_killed),    TEST(test_interrupted), TEST(test_two_writers), TEST(test_full_disk),
		TEST(test_read_only), TEST(test_refuses),     TEST(test_entries),     TEST(test_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
