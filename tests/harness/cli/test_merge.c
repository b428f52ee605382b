/*
 * gemmark merge: shards of a sweep are the sweep, but for times; what does not belong together, overlaps, lacks
 * something or is nobody's honest directory is refused, and nothing is left half.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"
enum { CELLS = 9, REPETITIONS = 2 };

static void shell(const char *command)
{
	char line[1024];
	snprintf(line, sizeof line, "cd %s && %s", bench_folder, command);
	if (system(line))
		fail_msg("%s", line);
}

static char *const sweep_words[] = {
	"-m", MODEL, "-p", "4", "-n", "3", "-d", "0,8,16", "-r", "2", "--mode", "direct,graph-device", NULL};

static int run(const char *output, const char *shard)
{
	char *words[24];
	int n = 0;
	for (; sweep_words[n]; n++)
		words[n] = sweep_words[n];
	if (shard) {
		words[n++] = "--shard";
		words[n++] = (char *)shard;
	}
	words[n] = NULL;
	return bench_folder_run(output, words);
}

/* Once for all tests: the sweep as a whole, and in two shards. */
static int set_up(void **state)
{
	return bench_folder_set_up(state) || run("whole", NULL) || run("one", "1/2") || run("two", "2/2");
}

/* The exit code. Directories are names in the folder, apart by spaces. */
static int merge(const char *directories, const char *out, char *option)
{
	static char paths[8][BENCH_FOLDER_PATH], names[256];
	char *words[16] = {"merge"};
	int n = 1;
	snprintf(names, sizeof names, "%s %s", directories, out);
	for (char *rest = NULL, *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
		bench_folder_path(name, paths[n]);
		words[n] = paths[n];
		n++;
	}
	words[n] = words[n - 1];
	words[n - 1] = "--out";
	words[n + 1] = option;
	return bench_folder_call(cmd_merge, words);
}

static bool is_there(const char *name)
{
	char path[BENCH_FOLDER_PATH];
	struct stat s;
	bench_folder_path(name, path);
	return !lstat(path, &s);
}

/* Nothing under the name, and nothing beside it. */
static void refused(const char *directories, char *option, const char *why)
{
	assert_int_equal(merge(directories, "refused", option), 2);
	if (!bench_folder_said("errors", why)) {
		shell("cat errors");
		fail_msg("did not say: %s", why);
	}
	assert_false(is_there("refused"));
	shell("! ls | grep merging");
}

/* What is measured, and what depends on what else the process did. */
static bool moves(const char *column)
{
	static const char *const names[] = {"run_id",
					    "order",
					    "started_utc",
					    "tokens_per_s",
					    "prefill_tokens_per_s",
					    "achieved_gb_s",
					    "bandwidth_gb_s",
					    "bandwidth_share",
					    "prefill_tflop_s",
					    "gemm_tflop_s",
					    "gemm_share",
					    "break_even_tokens",
					    "cpu_mhz",
					    "load_average",
					    "context_switches",
					    "involuntary_switches",
					    "minor_faults",
					    "major_faults",
					    "telemetry_samples",
					    "context_source",
					    "context_prefilled_tokens"};
	size_t n = strlen(column);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(column, names[i]))
			return true;
	return n > 3 && !strcmp(column + n - 3, "_us");
}

static bool is_same_run(const struct csv_rows *a, int i, const struct csv_rows *b, int j)
{
	static const char *const key[] = {"test", "n_depth", "mode", "repetition"};
	for (size_t k = 0; k < sizeof key / sizeof *key; k++)
		if (strcmp(csv_at(a, i, key[k]), csv_at(b, j, key[k])))
			return false;
	return true;
}

static void is_the_unsharded_sweep_but_for_times(void **state)
{
	(void)state;
	char path[BENCH_FOLDER_PATH];
	struct csv_rows whole, merged;
	int compared = 0;
	/* Whatever order they are named in. */
	assert_int_equal(merge("two one", "merged", NULL), 0);
	assert_true(bench_folder_said("out", "18 runs of 9 cells, from 2 of 2 shards\n"));
	bench_folder_path("whole/runs.csv", path);
	assert_int_equal(csv_read(&whole, path), 0);
	bench_folder_path("merged/runs.csv", path);
	assert_int_equal(csv_read(&merged, path), 0);
	assert_int_equal(whole.n_rows - 1, CELLS * REPETITIONS);
	assert_int_equal(merged.n_rows, whole.n_rows);
	assert_int_equal(csv_width(&merged, 0), csv_width(&whole, 0));
	for (int i = 1; i < whole.n_rows; i++) {
		int found = 0;
		for (int j = 1; j < merged.n_rows; j++) {
			if (!is_same_run(&whole, i, &merged, j))
				continue;
			found++;
			for (int c = 0; c < csv_width(&whole, 0); c++) {
				const char *column = whole.fields[c];
				if (moves(column))
					continue;
				if (strcmp(csv_at(&whole, i, column), csv_at(&merged, j, column)))
					fail_msg("%s: %s and %s", column, csv_at(&whole, i, column),
						 csv_at(&merged, j, column));
				compared++;
			}
		}
		assert_int_equal(found, 1);
	}
	assert_true(compared > 40 * CELLS * REPETITIONS);
	csv_rows_free(&merged);
	csv_rows_free(&whole);
	/* As many tokens, and each once; every environment. */
	shell("test $(wc -l < merged/tokens.csv) = $(cat one/tokens.csv two/tokens.csv | wc -l | awk '{print $1 - "
	      "1}')");
	shell("sort merged/tokens.csv > a && cat one/tokens.csv two/tokens.csv | sort -u > b && cmp a b");
	shell("sort merged/telemetry.csv > a && cat one/telemetry.csv two/telemetry.csv | sort -u > b && cmp a b");
	shell("test $(grep -c '\"environment\":' merged/env.json) = 2");
}

/* What reads a directory reads a merged one. */
static void passes_the_readers(void **state)
{
	(void)state;
	char merged[BENCH_FOLDER_PATH], whole[BENCH_FOLDER_PATH], report[BENCH_FOLDER_PATH];
	assert_int_equal(merge("one two", "read", NULL), 0);
	bench_folder_path("read", merged);
	bench_folder_path("whole", whole);
	bench_folder_path("report.md", report);
	char *reported[] = {"report", merged, "-o", report, NULL};
	assert_int_equal(bench_folder_call(cmd_report, reported), 0);
	assert_false(bench_folder_said("report.md", " machines"));
	/* Too few runs for a verdict on times; every quantity that is exact, the bits of the logits among them. */
	char *compared[] = {"compare", whole, merged, NULL};
	bench_folder_call(cmd_compare, compared);
	assert_true(bench_folder_said("out", "bits of the logits): the same"));
}

static void names_machines_that_differ(void **state)
{
	(void)state;
	char merged[BENCH_FOLDER_PATH], whole[BENCH_FOLDER_PATH], report[BENCH_FOLDER_PATH];
	shell("cp -r two elsewhere && name=$(uname -n) &&"
	      " sed -i \"s/\\\"$name\\\",/\\\"elsewhere\\\",/\" elsewhere/runs.csv &&"
	      " grep -q elsewhere elsewhere/runs.csv &&"
	      " sed -i \"s/\\\"host\\\": \\\"$name\\\"/\\\"host\\\": \\\"elsewhere\\\"/\" elsewhere/env.json");
	assert_int_equal(merge("one elsewhere", "both", NULL), 0);
	assert_true(bench_folder_said("out", "on 2 machines"));
	assert_true(bench_folder_said("both/env.json", "\"host\": null"));
	bench_folder_path("both", merged);
	bench_folder_path("whole", whole);
	bench_folder_path("report.md", report);
	char *reported[] = {"report", merged, "-o", report, NULL};
	assert_int_equal(bench_folder_call(cmd_report, reported), 0);
	assert_true(bench_folder_said("report.md", "on 2 machines"));
	assert_true(bench_folder_said("report.md", "| elsewhere |"));
	/* Cells of another machine than base's are not compared unless that is asked for. */
	char *compared[] = {"compare", whole, merged, NULL};
	assert_int_equal(bench_folder_call(cmd_compare, compared), 2);
	assert_true(bench_folder_said("errors", " in base, elsewhere in head"));
	char *allowed[] = {"compare", "--allow-env-diff", whole, merged, NULL};
	assert_int_not_equal(bench_folder_call(cmd_compare, allowed), 2);
	char *itself[] = {"compare", merged, merged, NULL};
	bench_folder_call(cmd_compare, itself);
	assert_false(bench_folder_said("errors", "machine of merged cells"));
}

static void refuses_what_does_not_belong_together(void **state)
{
	(void)state;
	refused("one", NULL, "shard 2 of 2 is not there");
	refused("one one", NULL, "overlap: both are shard 1 of 2");
	refused("one two one", NULL, "overlap");
	refused("whole two", NULL, "is no shard but a whole sweep");
	shell("rm -rf x && cp -r two x && sed -i 's/\"repetitions\": 2/\"repetitions\": 3/' x/sweep.json");
	refused("one x", NULL, "repetitions: 2 there, 3 here");
	shell("rm -rf x && cp -r two x && sed -i 's/\"division\": \"./\"division\": \"x/' x/sweep.json");
	refused("one x", "--partial", "shard division");
	shell("rm -rf x && cp -r two x && sed -i 's/\"commit\": \"./\"commit\": \"x/' x/env.json");
	refused("one x", NULL, "is of commit");
	shell("rm -rf x && cp -r two x && sed -i 's/\"xxh3_64\": \"../\"xxh3_64\": \"zz/' x/env.json");
	refused("one x", NULL, "their models have other contents");
	shell("rm -rf x && cp -r two x && sed -i 's/\"dirty\": false/\"dirty\": tmp/;s/\"dirty\": true/\"dirty\": "
	      "false/;"
	      "s/\"dirty\": tmp/\"dirty\": true/' x/env.json");
	refused("one x", "--partial", "one is of a clean build, one of a changed one");
	/* The last row's repetition, which is the second of two: a third one; the first one, measured again (column
	 * attempt).
	 */
	shell("rm -rf x && cp -r two x && sed -i '$s/^\\(\"1\",\"[^\"]*\",\"ok\",,\"[0-9]*\"\\),\"1\",/\\1,\"2\",/' "
	      "x/runs.csv");
	refused("one x", "--partial", "is of a repetition that the sweep does not have");
	shell("rm -rf x && cp -r two x && sed -i -E '$s/^(\"1\",\"[^\"]*\",\"ok\",,\"[0-9]*\"),\"1\",/\\1,\"0\",/;"
	      "$s/^(((\"[^\"]*\")?,){106})\"0\",/\\1\"1\",/' x/runs.csv");
	refused("one x", NULL, "lacks 1 run of 1 cell");
	/* Runs of the other's names, with all that belongs to them. */
	shell("rm -rf x && cp -r two x && id=$(sed -n '2s/^\"1\",\"\\(.*\\)-00000\".*/\\1/p' one/runs.csv) && "
	      "sed -i \"s/\\\"[0-9TZ]*-s2-/\\\"$id-/\" x/*.csv");
	refused("one x", "--partial", ": both have a run ");
	/* The same shard under another number. */
	shell("rm -rf x && cp -r one x && sed -i 's/\"index\": 1/\"index\": 2/' x/sweep.json");
	refused("one x", "--partial", "repetition 0 of ");
	shell("grep -q ' direct none$' errors || grep -q ' direct full$' errors");
	assert_int_equal(merge("one two", "again", NULL), 0);
	refused("again two", NULL, "is merged already");
	assert_int_equal(merge("one two", "again", NULL), 2);
	assert_true(bench_folder_said("errors", "not empty"));
	char *nothing[] = {"merge", "--out", "x", NULL};
	assert_int_equal(bench_folder_call(cmd_merge, nothing), 2);
	char *nowhere[] = {"merge", "x", NULL};
	assert_int_equal(bench_folder_call(cmd_merge, nowhere), 2);
}

/* What was recorded of one GPU's memory is no word for all. */
static void keeps_what_all_recorded(void **state)
{
	(void)state;
	for (int same = 0; same < 2; same++) {
		shell("rm -rf x y z && cp -r one x && cp -r two y && sed -i '1s/{/{\"device_memory\": 5,/' "
		      "x/sweep.json");
		shell(same ? "sed -i '1s/{/{\"device_memory\": 5,/' y/sweep.json"
			   : "sed -i '1s/{/{\"device_memory\": 6,/' y/sweep.json");
		assert_int_equal(merge("x y", "z", NULL), 0);
		assert_int_equal(bench_folder_said("z/sweep.json", "device_memory"), same);
	}
}

/* Too little room for the tokens: what was begun beside the place is gone again. */
static void leaves_nothing_on_a_full_disk(void **state)
{
	(void)state;
	struct rlimit was, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = (struct rlimit){.rlim_cur = 4096, .rlim_max = was.rlim_max};
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int code = merge("one two", "refused", NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, handler);
	assert_int_equal(code, 2);
	assert_true(bench_folder_said("errors", "nothing is merged"));
	assert_false(is_there("refused"));
	shell("! ls | grep merging");
}

static void merges_a_part_where_that_is_asked_for(void **state)
{
	(void)state;
	shell("rm -rf x && cp -r two x && sed -i '$d' x/runs.csv");
	refused("one x", NULL, "lacks 1 run of 1 cell");
	assert_int_equal(merge("one x", "part", "--partial"), 0);
	assert_true(bench_folder_said("out", "missing: shard 2 ("));
	assert_true(bench_folder_said("part/sweep.json", "lacks 1 run of 1 cell"));
	shell("test $(wc -l < part/runs.csv) = 18"); /* and the header */
	assert_int_equal(merge("two", "part-2", "--partial"), 0);
	assert_true(bench_folder_said("out", "shard 1 of 2 is not there"));
	char path[BENCH_FOLDER_PATH], report[BENCH_FOLDER_PATH];
	bench_folder_path("part-2", path);
	bench_folder_path("part.md", report);
	char *reported[] = {"report", path, "-o", report, NULL};
	assert_int_equal(bench_folder_call(cmd_report, reported), 0);
	assert_true(bench_folder_said("part.md", "not all of the sweep"));
	/* A shard that the division left empty is nobody's. */
	assert_int_equal(run("empty", "4/4"), 0);
	assert_false(is_there("empty"));
	assert_true(bench_folder_said("out", "shard 4/4 has nothing to measure"));
	assert_int_equal(run("q1", "1/4") | run("q2", "2/4") | run("q3", "3/4"), 0);
	assert_int_equal(merge("q1 q2 q3", "quarters", NULL), 0);
	assert_true(bench_folder_said("out", "18 runs of 9 cells, from 3 of 4 shards (the others have no cells)"));
}

static void trusts_no_directory(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{"rm x/runs.csv && ln -s ../two/runs.csv x/runs.csv", "a symbolic link"},
		{"rm x/env.json && ln -s ../two/env.json x/env.json", "a symbolic link"},
		{"mv x/tokens.csv t && mkfifo x/tokens.csv", "a pipe"},
		{"rm x/tokens.csv", "tokens.csv"},
		{"sed -i '$d' x/tokens.csv", "gemmark bench --resume measures such runs again"},
		{"head -c 300 two/runs.csv > x/runs.csv", "runs.csv"},
		{": > x/runs.csv", "empty"},
		{"echo '{' > x/sweep.json", "sweep.json"},
		{"echo '[]' > x/sweep.json", "is no shard"},
		{"rm x/sweep.json", "has no sweep.json"},
		{"sed -i 's/\"index\": 2/\"index\": 3/' x/sweep.json", "says no shard I of N"},
		{"sed -i 's/\"index\": 2/\"index\": -9223372036854775808/' x/sweep.json", "says no shard I of N"},
		{"sed -i 's/\"count\": 2/\"count\": 1000000000/' x/sweep.json", "says no shard I of N"},
		{"sed -i 's/\"cells\": \\[/\"cells\": [[],/' x/sweep.json", "says no shard I of N"},
		{"sed -i 's/\"repetition\"/\"repetition\\x01\"/' x/runs.csv", "runs.csv"},
		{"sed -i '$s/-s2-/-s1-/;$s/\"[^\"]*-s1-/\"evil-s1-/' x/runs.csv", "run evil"},
		{"rm -r x && touch x", "x"},
		{"rm -r x", "x"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		shell("rm -rf x && cp -r two x");
		shell(bad[i][0]);
		refused("one x", NULL, bad[i][1]);
		refused("one x", "--partial", bad[i][1]);
	}
	shell("rm -rf x");
}

/* kill -9 of a shard loses at most the run at hand. */
static void goes_on_behind_a_killed_shard(void **state)
{
	(void)state;
	char path[BENCH_FOLDER_PATH], runs[BENCH_FOLDER_PATH];
	bench_folder_path("killed", path);
	bench_folder_path("killed/runs.csv", runs);
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(run("killed", "2/2"));
	while (csv_lines(runs) < 3)
		usleep(500);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	int before = csv_lines(runs);
	if (merge("one killed", "early", NULL))
		assert_true(bench_folder_said("errors", "--resume"));
	char *words[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, words), 0);
	char there[64];
	snprintf(there, sizeof there, "%d were there already", before - 1);
	assert_true(bench_folder_said("out", there));
	assert_int_equal(merge("one killed", "resumed", NULL), 0);
	assert_true(bench_folder_said("out", "18 runs of 9 cells"));
	/* Another shard of the same sweep is no continuation. */
	char *other[] = {"bench",
			 "--resume",
			 path,
			 "--shard",
			 "1/2",
			 "-m",
			 MODEL,
			 "-p",
			 "4",
			 "-n",
			 "3",
			 "-d",
			 "0,8,16",
			 "-r",
			 "2",
			 "--mode",
			 "direct,graph-device",
			 "-t",
			 "1",
			 NULL};
	assert_int_equal(bench_folder_call(cmd_bench, other), 2);
	assert_true(bench_folder_said("errors", "shard index: 2 there, 1 here"));
}

/* Killed at any moment: nothing under the name, or all. */
static void leaves_nothing_half(void **state)
{
	(void)state;
	int whole = 0, nothing = 0;
	for (int i = 0; i < 24; i++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (!child)
			_exit(merge("one two", "sudden", NULL));
		usleep((useconds_t)(1000 * i));
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		if (is_there("sudden")) {
			shell("test $(wc -l < sudden/runs.csv) = 19 && grep -q '^}' sudden/env.json && test -f "
			      "sudden/sweep.json");
			whole++;
		} else {
			nothing++;
		}
		shell("rm -rf sudden sudden.merging-*");
	}
	assert_true(nothing > 0);
	(void)whole;
}

static void reads_what_shard_is_meant(void **state)
{
	(void)state;
	static const char *const bad[] = {"0/2", "3/2", "1", "/2", "1/", "1/2/3", "-1/2", "1/5000", "a/b", "1/2x", ""};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(run("bad", bad[i]), 2);
		assert_true(bench_folder_said("errors", "is not I/N"));
	}
	char *until[] = {"-m", MODEL, "--until", "stable", "--shard", "1/2", NULL};
	assert_int_equal(bench_folder_run("bad", until), 2);
	char *alike[] = {"-m", MODEL, "-t", "0,1-4", "--shard", "1/2", NULL};
	assert_int_equal(bench_folder_run("bad", alike), 2);
	assert_true(bench_folder_said("errors", "come to the same on this machine"));
	assert_false(is_there("bad"));
	char *dry[] = {"bench", "-m", MODEL, "-t", "1", "-d", "0,8,16", "--shard", "2/2", "--dry-run", NULL};
	assert_int_equal(bench_folder_call(cmd_bench, dry), 0);
	assert_true(bench_folder_said("out", "15 cells in 2 shards"));
	assert_true(bench_folder_said("out", "<- this one"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_shard_is_meant),
		cmocka_unit_test(is_the_unsharded_sweep_but_for_times),
		cmocka_unit_test(passes_the_readers),
		cmocka_unit_test(names_machines_that_differ),
		cmocka_unit_test(refuses_what_does_not_belong_together),
		cmocka_unit_test(merges_a_part_where_that_is_asked_for),
		cmocka_unit_test(trusts_no_directory),
		cmocka_unit_test(goes_on_behind_a_killed_shard),
		cmocka_unit_test(leaves_nothing_half),
		cmocka_unit_test(leaves_nothing_on_a_full_disk),
		cmocka_unit_test(keeps_what_all_recorded),
	};
	return cmocka_run_group_tests(tests, set_up, bench_folder_tear_down);
}
