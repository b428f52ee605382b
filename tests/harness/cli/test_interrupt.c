/*
 * A signal at every step of a command, from its first on: one line or a sweep's own end, exit code 130, and either
 * nothing is left or a directory in which the sweep goes on. The steps are calls of functions that the test stands
 * before (see gemmark_wrap); the signal comes within one, so that no step is missed on a machine of any speed.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/output_file.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/options.h"
#include "harness/measure/runner.h"
#include "harness/record/recorder.h"
#include "harness/record/run_directory.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

enum { STEPS_MAX = 40 };

static char folder[FOLDER_BYTES];
static int steps, at, number;

static void step(void)
{
	if (steps++ == at)
		raise(number);
}

#define WRAP(type, name, parameters, arguments)        \
	type __real_##name parameters;                 \
	type __wrap_##name parameters;                 \
	type __wrap_##name parameters                  \
	{                                              \
		step();                                \
		type result = __real_##name arguments; \
		step();                                \
		return result;                         \
	}

WRAP(int, options_parse, (const struct command *c, int argc, char **argv, void *ctx, struct error *err),
     (c, argc, argv, ctx, err))
WRAP(int, engine_source_open, (struct workload_source * *out, const struct engine_settings *s, struct error *err),
     (out, s, err))
WRAP(int, recorder_open, (struct recorder * *out, const char *directory, struct error *err), (out, directory, err))
WRAP(int, run_directory_save_json,
     (const struct run_directory *d, const char *name, const json_t *o, struct error *err), (d, name, o, err))
WRAP(int, runner_run,
     (const struct cell *cells, int n, struct workload_source *source, const struct runner_options *o,
      const struct runner_sink *sink, struct runner_summary *summary, struct error *err),
     (cells, n, source, o, sink, summary, err))
WRAP(int, output_file_open, (struct output_file * o, const char *path, bool replace, struct error *err),
     (o, path, replace, err))
WRAP(int, output_file_commit, (struct output_file * o, struct error *err), (o, err))

/* Of no interest here, and most of the time that a short sweep takes. */
double __wrap_device_host_read_bandwidth(size_t bytes, int n_threads, int passes);
double __wrap_device_host_read_bandwidth(size_t bytes, int n_threads, int passes)
{
	(void)bytes, (void)n_threads, (void)passes;
	return 1e10;
}

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "interrupt");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* The exit code of a child that is as the program is before its command, and gets the signal at step `when`. */
static int run(int (*command)(int, char **), char **words, int when)
{
	pid_t child = fork();
	int status;
	assert_true(child >= 0);
	if (child == 0) {
		at = when;
		interrupt_ends(words[0]);
		_exit(command_run(folder, command, words));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status))
		fail_msg("%s: signal %d at step %d: ended by %d", words[0], number, when, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* Names in the folder, but for what was printed. */
static int names(void)
{
	DIR *d = opendir(folder);
	int n = 0;
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.' && strcmp(e->d_name, "out") && strcmp(e->d_name, "errors");
	closedir(d);
	return n;
}

static void check_line(const char *command, int when)
{
	char want[64], got[256];
	FILE *f = folder_open(folder, "errors", "r");
	got[fread(got, 1, sizeof got - 1, f)] = 0;
	fclose(f);
	snprintf(want, sizeof want, "gemmark %s: interrupted\n", command);
	if (strcmp(got, want))
		fail_msg("%s: signal %d at step %d: it says: %s", command, number, when, got);
}

static void check_rows(const char *path, int wanted)
{
	struct csv_rows r;
	assert_int_equal(csv_read(&r, path), 0);
	assert_int_equal(r.n_rows, 1 + wanted);
	for (int i = 1; i < r.n_rows; i++)
		assert_string_equal(csv_at(&r, i, "status"), "ok");
	csv_rows_free(&r);
}

static void check_sweep(int signal_number)
{
	char path[FOLDER_BYTES + 16], runs[FOLDER_BYTES + 32];
	int kept = 0, gone = 0, i;
	number = signal_number;
	snprintf(path, sizeof path, "%s/run", folder);
	snprintf(runs, sizeof runs, "%s/runs.csv", path);
	char *words[] = {"bench", "-m",     MODEL,    "-t",       "1",    "-p",   "0", "-n",    "2",  "-r",
			 "2",     "--mode", "direct", "--fusion", "full", "-ngl", "0", "--out", path, NULL};
	char *resume[] = {"bench", "--resume", path, NULL};
	for (i = 0; i < STEPS_MAX; i++) {
		int code = run(cmd_bench, words, i);
		if (!code)
			break;
		assert_int_equal(code, EXIT_INTERRUPTED);
		if (access(path, F_OK)) {
			check_line("bench", i);
			gone++;
			continue;
		}
		kept++;
		assert_true(command_said(folder, "out", "; interrupted\n"));
		assert_int_equal(run(cmd_bench, resume, -1), 0);
		check_rows(runs, 2);
		assert_int_equal(folder_remove(path), 0);
	}
	assert_true(i < STEPS_MAX && gone >= 3 && kept >= 6);
	folder_remove(path);
}

static void test_sweep(void **state)
{
	(void)state;
	check_sweep(SIGTERM);
	check_sweep(SIGINT);
	check_sweep(SIGHUP);
}

/* A self-test on the engine, whose directory gets its file of the machine first: all of it is there, or nothing. */
static void test_selftest(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 16];
	int i, gone = 0;
	number = SIGTERM;
	snprintf(path, sizeof path, "%s/aa", folder);
	char *words[] = {"selftest", "--aa",   "--sweeps", "1",    "-m",    MODEL,  "-n",
			 "2",        "-r",     "4",        "-t",   "1",     "-ngl", "0",
			 "--mode",   "direct", "--fusion", "full", "--out", path,   NULL};
	for (i = 0; i < STEPS_MAX; i++) {
		int code = run(cmd_selftest, words, i);
		if (code != EXIT_INTERRUPTED)
			break;
		if (access(path, F_OK)) {
			check_line("selftest", i);
			gone++;
			continue;
		}
		char env[FOLDER_BYTES + 32];
		snprintf(env, sizeof env, "%s/env.json", path);
		json_t *whole = json_load_file(env, 0, NULL);
		assert_non_null(whole);
		json_decref(whole);
		assert_int_equal(folder_remove(path), 0);
	}
	assert_true(i < STEPS_MAX && gone >= 3);
	if (!access(path, F_OK))
		folder_remove(path);
}

/* A file that is not whole is not there, nor what was to become of it. */
static void check_file(int (*command)(int, char **), char **words, const char *path)
{
	int i;
	number = SIGTERM;
	for (i = 0; i < STEPS_MAX; i++) {
		int code = run(command, words, i);
		if (!code)
			break;
		assert_int_equal(code, EXIT_INTERRUPTED);
		check_line(words[0], i);
		if (!access(path, F_OK)) /* it was whole */
			assert_int_equal(unlink(path), 0);
		assert_int_equal(names(), 0);
	}
	assert_in_range(i, 6, STEPS_MAX - 1);
	assert_int_equal(unlink(path), 0);
}

static void test_files(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 16];
	snprintf(path, sizeof path, "%s/file", folder);
	char *eval[] = {"eval", "-m", MODEL, "--tokens", "1,2,3", "-t", "1", "-ngl", "0", "-o", path, NULL};
	char *make[] = {"model", "make", "--arch", "qwen3-tiny", "-t", "2", "-o", path, NULL};
	check_file(cmd_eval, eval, path);
	check_file(cmd_model, make, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sweep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_selftest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
