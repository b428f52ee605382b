/*
 * gemmark plot on a directory that somebody sent, with the real gnuplot: whatever its texts say and its entries are,
 * nothing of it is run, waited for or followed, and nothing outside is written.
 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "harness/cli/options.h"
#include "harness/plot/plot.h"
#include "harness/record/recorder.h"
#include "tests/support/check_xml.h"
#include "tests/support/folder.h"

#define BAD "\xef\xbf\xbd"  /* U+FFFD */
#define LINE "\xee\x80\x8a" /* see put_controls */

static char folder[FOLDER_BYTES], run[FOLDER_BYTES + 8];
static char notes[4096];
static int n_pictures;

static char *in_folder(const char *name)
{
	static char path[FOLDER_BYTES + 16];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	alarm(120); /* what blocks ends the test */
	int rc = folder_make(folder, "untrusted");
	snprintf(run, sizeof run, "%s/run", folder);
	/* Where gnuplot's or a shell's commands would leave something. */
	return rc || folder_put(folder, "/here/x", "") || folder_put(folder, "/outside/kept", "kept") ||
	       chdir(in_folder("here"));
}

static int tear_down(void **state)
{
	(void)state;
	return chdir("/") || folder_remove(folder);
}

/* Nothing of that name, anywhere. */
static void expect_not_run(const char *path)
{
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		char below[1024];
		struct stat s;
		snprintf(below, sizeof below, "%s/%s", path, e->d_name);
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || lstat(below, &s))
			continue;
		if (!strcmp(e->d_name, "pwned"))
			fail_msg("%s is there", below);
		if (S_ISDIR(s.st_mode))
			expect_not_run(below);
	}
	closedir(d);
}

static void expect_outside_kept(void)
{
	char text[16];
	FILE *f = folder_open(folder, "outside/kept", "r");
	assert_non_null(fgets(text, sizeof text, f));
	assert_string_equal(text, "kept");
	fclose(f);
	DIR *d = opendir(in_folder("outside"));
	int n = 0;
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	assert_int_equal(n, 3);
}

static void on_path(void *ctx, const char *path)
{
	(void)ctx, (void)path;
	n_pictures++;
}

static void on_note(void *ctx, const char *line)
{
	(void)ctx;
	for (const char *c = line; *c; c++)
		assert_int_equal(text_control_length(c), 0);
	size_t used = strlen(notes);
	snprintf(notes + used, sizeof notes - used, "%s\n", line);
}

static int plot(unsigned formats, struct error *err)
{
	struct plot_request request = {.dir = run,
				       .formats = formats,
				       .gnuplot = "gnuplot",
				       .timeout_s = 60,
				       .wrote = on_path,
				       .note = on_note};
	notes[0] = '\0';
	n_pictures = 0;
	return plot_results(&request, err);
}

/*
 * The recorder writes no controls, but whoever sends a directory may: U+E001 to U+E01F become those bytes, and U+E020
 * U+009B.
 */
static void put_controls(void)
{
	char path[FOLDER_BYTES + 32];
	static char text[1 << 20];
	snprintf(path, sizeof path, "%s/runs.csv", run);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	size_t n = fread(text, 1, sizeof text, f), out = 0;
	fclose(f);
	for (size_t i = 0; i < n; out++) {
		int control = i + 2 < n && text[i] == '\xee' && text[i + 1] == '\x80';
		char c = control ? (char)(text[i + 2] & 0x3f) : text[i];
		if (c == 0x20 && control) {
			text[out++] = '\302';
			c = '\233';
		}
		text[out] = c;
		i += control ? 3 : 1;
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, out, f), out);
	assert_int_equal(fclose(f), 0);
}

/* Runs whose every text column is `text` and the column's name; two modes and two budgets. */
static void record(const char *text)
{
	enum { RUNS = 4, TOKENS = 3, MOST = 64 };
	struct recorder *r;
	struct error err = {""};
	if (recorder_open(&r, run, &err))
		fail_msg("%s", err.text);
	for (int i = 0; i < RUNS; i++) {
		static char texts[MOST][160];
		struct token_record tokens[TOKENS];
		struct run_row row;
		int n = 0;
		row_init(&row);
		for (int c = 0; c < row_n_columns; c++) {
			if (row_columns[c].type != COLUMN_TEXT)
				continue;
			assert_true(n < MOST);
			snprintf(texts[n], sizeof texts[n], "%s%s", text, row_columns[c].name);
			assert_int_equal(column_set_text(&row, &row_columns[c], texts[n++]), 0);
		}
		char id[200], mode[200], snapkv[200];
		snprintf(id, sizeof id, "%d%s", i, text);
		snprintf(mode, sizeof mode, "%s%d", text, i % 2);
		snprintf(snapkv, sizeof snapkv, "%d,%s", 7 + i / 2, text);
		row.run_id = id;
		row.mode = mode;
		row.snapkv = snapkv;
		row.status = RUN_STATUS_OK;
		row.order = i;
		row.repetition = row.attempt = row.n_depth = row.n_prompt = 0;
		row.n_gen = TOKENS;
		row.n_gpu_layers = row.n_threads = 1;
		row.itl_median_us = 100 + i;
		row.submit_median_us = 10;
		row.tokens_per_s = 1e6 / (100 + i);
		row.kv_bytes = 1 << 20;
		row.kl_divergence = 0.25;
		row.top1_agreement = 0.5;
		row.warmup_tokens = 0;
		for (int t = 0; t < TOKENS; t++)
			tokens[t] = (struct token_record){.phase = TOKEN_PHASE_MEASURE,
							  .index = t,
							  .itl_us = 100 + i,
							  .submit_us = 10,
							  .gpu_us = NAN,
							  .wall_us = NAN,
							  .host_us = NAN};
		assert_int_equal(recorder_run(r, &row, tokens, TOKENS, &err), 0);
		if (i == 0) {
			row.run_id = "failed";
			row.status = RUN_STATUS_FAILED;
			assert_int_equal(recorder_run(r, &row, NULL, 0, &err), 0);
		}
	}
	assert_int_equal(recorder_close(r, &err), 0);
	put_controls();
}

/* Every picture is one, and shows the text as a series' name. */
static void check_pictures(const char *shown)
{
	static char text[1 << 20];
	char plots[FOLDER_BYTES + 16];
	snprintf(plots, sizeof plots, "%s/plots", run);
	DIR *d = opendir(plots);
	int n = 0, n_shown = 0;
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		assert_null(strstr(e->d_name, ".tmp"));
		if (!strstr(e->d_name, ".svg"))
			continue;
		FILE *f = folder_open(plots, e->d_name, "r");
		size_t bytes = fread(text, 1, sizeof text - 1, f);
		text[bytes] = '\0';
		fclose(f);
		check_xml(text, bytes);
		n++;
		n_shown += strstr(text, shown) != NULL;
	}
	closedir(d);
	assert_int_equal(n, n_pictures);
	if (n_shown < 4)
		fail_msg("%d of %d pictures show %s", n_shown, n, shown);
}

static void test_texts(void **state)
{
	(void)state;
	static const struct {
		const char *text, *shown; /* the shown one as XML has it */
	} cases[] = {
		{"'`touch pwned`\"`touch pwned`\"$(touch pwned)", "'`touch pwned`\"`touch p\xe2\x80\xa6<"},
		{"\"; system(\"touch pwned\"); \"", "\"; system(\"touch pwned\"\xe2\x80\xa6<"},
		{"'.system('touch pwned').'", "'.system('touch pwned')\xe2\x80\xa6<"},
		{LINE "!touch pwned" LINE "system 'touch pwned'" LINE, BAD "!touch pwned" BAD "system 't\xe2\x80\xa6<"},
		{"%d%s%n%%%5000000d", "%d%s%n%%%5000000d1<"},
		{"@x {/Symbol a} &{b} _^~\\n\\", "@x {/Symbol a} &amp;{b} _^~\xe2\x80\xa6<"},
		{"../../outside/<pwned&]]>", "../../outside/&lt;pwned&amp;]]\xe2\x80\xa6<"},
		{"\xee\x80\xa0"
		 "31m\342\200\256\xee\x80\x89x",
		 BAD "31m" BAD BAD "x1<"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error err = {""};
		record(cases[i].text);
		if (plot(PLOT_FORMAT_SVG, &err))
			fail_msg("%s: %s", cases[i].text, err.text);
		check_pictures(cases[i].shown);
		assert_non_null(strstr(notes, "1 rows"));
		expect_not_run(folder);
		expect_outside_kept();
		assert_int_equal(folder_remove(run), 0);
	}
}

/* What a terminal would obey is refused in a file, and escaped where the line quotes it. */
static void test_control_bytes(void **state)
{
	(void)state;
	struct error err = {""};
	record("x\xee\x80\x9b]0;pwned\xee\x80\x87");
	assert_int_equal(plot(PLOT_FORMAT_SVG, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "runs.csv"));
	assert_null(strpbrk(err.text, "\x1b\x07\n"));
	assert_int_equal(n_pictures, 0);
}

static char *in_run(const char *name)
{
	static char path[2][FOLDER_BYTES + 64];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", run, name);
	return path[turn];
}

static void expect_refused(const char *what)
{
	struct error err = {""};
	char *argv[] = {"plot", run, "--format", "svg", NULL};
	int rc = plot(PLOT_FORMAT_SVG, &err);
	assert_true(rc == ERROR_INPUT || rc == ERROR_IO);
	if (!strstr(err.text, what))
		fail_msg("'%s' lacks '%s'", err.text, what);
	assert_int_equal(n_pictures, 0);
	assert_int_equal(cmd_plot(4, argv), 2);
}

static void test_entries_read(void **state)
{
	(void)state;
	static const char *const names[] = {"runs.csv", "tokens.csv"};
	record("x");
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(rename(in_run(names[i]), in_run("aside")), 0);
		assert_int_equal(mkfifo(in_run(names[i]), 0666), 0);
		expect_refused("a pipe");
		assert_int_equal(unlink(in_run(names[i])), 0);
		assert_int_equal(symlink("aside", in_run(names[i])), 0);
		expect_refused("a symbolic link");
		assert_int_equal(unlink(in_run(names[i])), 0);
		assert_int_equal(mkdir(in_run(names[i]), 0777), 0);
		expect_refused("a folder");
		assert_int_equal(rmdir(in_run(names[i])), 0);
		assert_int_equal(rename(in_run("aside"), in_run(names[i])), 0);
	}
}

static void test_entries_written(void **state)
{
	(void)state;
	struct error err = {""};
	struct stat s;
	record("x");
	assert_int_equal(symlink("../outside", in_run("plots")), 0);
	expect_refused("a symbolic link");
	expect_outside_kept();
	assert_int_equal(unlink(in_run("plots")), 0);
	assert_int_equal(mkfifo(in_run("plots"), 0666), 0);
	expect_refused("a pipe");
	assert_int_equal(unlink(in_run("plots")), 0);

	/* All names are there already, as a link to a file outside, and as a pipe; only what is drawn is replaced. */
	assert_int_equal(plot(PLOT_FORMAT_SVG | PLOT_FORMAT_PNG, &err), 0);
	int n_drawn = n_pictures;
	for (int pipes = 0; pipes < 2; pipes++) {
		int n = 0;
		DIR *d = opendir(in_run("plots"));
		assert_non_null(d);
		for (struct dirent *e; (e = readdir(d));) {
			char name[300];
			if (*e->d_name == '.')
				continue;
			snprintf(name, sizeof name, "plots/%.200s", e->d_name);
			char path[FOLDER_BYTES + 320];
			snprintf(path, sizeof path, "%s/%s", run, name);
			assert_int_equal(unlink(path), 0);
			assert_int_equal(pipes ? mkfifo(path, 0666) : symlink("../../outside/kept", path), 0);
			n++;
		}
		closedir(d);
		assert_true(n > n_drawn);
		if (plot(PLOT_FORMAT_SVG | PLOT_FORMAT_PNG, &err))
			fail_msg("%s", err.text);
		assert_int_equal(n_pictures, n_drawn);
		d = opendir(in_run("plots"));
		for (struct dirent *e; (e = readdir(d));) {
			assert_int_equal(fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW), 0);
			if (*e->d_name != '.' && (!S_ISREG(s.st_mode) || s.st_size == 0))
				fail_msg("%s is no file", e->d_name);
		}
		closedir(d);
		expect_outside_kept();
	}
}

/* A program that lies in the results is not taken for gnuplot, whatever PATH and the option say. */
static void test_programs(void **state)
{
	(void)state;
	static const char script[] = "#!/bin/sh\ntouch pwned\n";
	struct error err = {""};
	char old[4096], path[4200];
	record("x");
	assert_int_equal(folder_put(run, "/plots/gnuplot", script), 0);
	assert_int_equal(folder_put(run, "/plots/bin/gnuplot", script), 0);
	assert_int_equal(folder_put(run, "/plots/.gnuplot", "system 'touch pwned'\n"), 0);
	assert_int_equal(chmod(in_run("plots/gnuplot"), 0755) | chmod(in_run("plots/bin/gnuplot"), 0755), 0);
	snprintf(old, sizeof old, "%s", getenv("PATH"));
	snprintf(path, sizeof path, ".::bin:%s", old);
	assert_int_equal(setenv("PATH", path, 1), 0);
	int rc = plot(PLOT_FORMAT_SVG, &err);
	assert_int_equal(setenv("PATH", old, 1), 0);
	if (rc)
		fail_msg("%s", err.text);
	struct plot_request request = {.dir = run, .formats = PLOT_FORMAT_SVG, .gnuplot = "./gnuplot", .timeout_s = 60};
	assert_int_equal(plot_results(&request, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "./gnuplot: not found"));
	/* One in the user's own folder is. */
	assert_int_equal(folder_put(folder, "/here/gnuplot", "#!/bin/sh\nexec gnuplot \"$@\"\n"), 0);
	assert_int_equal(chmod("gnuplot", 0755), 0);
	if (plot_results(&request, &err))
		fail_msg("%s", err.text);
	expect_not_run(folder);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_texts),           TEST(test_control_bytes), TEST(test_entries_read),
		TEST(test_entries_written), TEST(test_programs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
