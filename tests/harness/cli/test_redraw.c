/* Lines that are redrawn: on a terminal that takes escape sequences, and nowhere else. */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/folder.h"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "redraw");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* What the command writes to a terminal that is its standard error, into said. null: no such variable. */
static void run(int (*command)(int, char **), char **words, const char *term, const char *no_color, char *said,
		size_t size)
{
	int terminal, own, argc = 0, status;
	while (words[argc])
		argc++;
	assert_int_equal(openpty(&terminal, &own, NULL, NULL, NULL), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		term ? setenv("TERM", term, 1) : unsetenv("TERM");
		no_color ? setenv("NO_COLOR", no_color, 1) : unsetenv("NO_COLOR");
		int nothing = open("/dev/null", O_WRONLY);
		dup2(nothing, 1);
		dup2(own, 2);
		int code = command(argc, words);
		fflush(NULL);
		_exit(code);
	}
	close(own);
	size_t used = 0;
	for (ssize_t n; used + 1 < size && (n = read(terminal, said + used, size - 1 - used)) > 0;)
		used += (size_t)n;
	said[used] = '\0';
	close(terminal);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("%s %s: status %d: %s", words[0], words[1], status, said);
}

static void expect(const char *term, const char *no_color, int redrawn)
{
	static char said[1 << 16];
	static int n;
	char model[FOLDER_BYTES + 16], out[FOLDER_BYTES + 16];
	n++;
	snprintf(model, sizeof model, "%s/m%d.gguf", folder, n);
	snprintf(out, sizeof out, "%s/run%d", folder, n);
	char *make[] = {"model", "make", "--arch", "qwen3-tiny", "-t", "1", "-o", model, NULL};
	char *bench[] = {"bench", "-m", model, "-ngl",   "0",      "-t",          "1", "-p",    "0", "-n",
			 "1",     "-r", "2",   "--mode", "direct", "--telemetry", "0", "--out", out, NULL};
	char *selftest[] = {"selftest", "--aa", "--sweeps", "2", "-d", "0", "-n", "2", "-r", "12", NULL};
	const struct {
		int (*command)(int, char **);
		char **words;
	} all[] = {{cmd_model, make}, {cmd_bench, bench}, {cmd_selftest, selftest}};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		run(all[i].command, all[i].words, term, no_color, said, sizeof said);
		if (!strchr(said, '\033') != !redrawn)
			fail_msg("TERM=%s NO_COLOR=%s: %s: %s", term, no_color, all[i].words[0], said);
		/* The terminal itself ends lines with one before \n. */
		for (const char *c = said; (c = strchr(c, '\r')) && !redrawn; c++)
			if (c[1] != '\n')
				fail_msg("TERM=%s NO_COLOR=%s: %s: %s", term, no_color, all[i].words[0], said);
	}
}

static void test_redraw(void **state)
{
	(void)state;
	expect("xterm", NULL, 1);
	expect("xterm", "", 1);
	expect("dumb", NULL, 0);
	expect(NULL, NULL, 0);
	expect("xterm", "1", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_redraw, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
