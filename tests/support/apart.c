#include "tests/support/apart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SKIPPED = 77, SECONDS_MAX = 240, JOBS_MAX = 16, TESTS_MAX = 64 };

struct child {
	pid_t pid;
	const char *name;
	FILE *output;
};

static int run_here(const struct apart *a, const char *name)
{
	struct CMUnitTest one[TESTS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++)
		if (!strcmp(a->tests[i].name, name))
			one[n++] = a->tests[i];
	if (!n) {
		printf("there is no test %s\n", name);
		return 2;
	}
	if (a->unavailable())
		return SKIPPED;
	alarm(SECONDS_MAX);
	return _cmocka_run_group_tests(a->what, one, n, NULL, NULL) ? 1 : 0;
}

static bool start(struct child *c, const char *name, bool few)
{
	fflush(NULL);
	*c = (struct child){.name = name, .output = tmpfile()};
	if (!c->output)
		return false;
	c->pid = fork();
	if (c->pid == 0) {
		dup2(fileno(c->output), STDOUT_FILENO);
		dup2(fileno(c->output), STDERR_FILENO);
		execl("/proc/self/exe", "test", few ? "--few" : name, few ? name : NULL, NULL);
		_exit(127);
	}
	return c->pid > 0;
}

/* Prints the child's output without cmocka's frame. Its exit code, 1 for any other end. */
static int finish(struct child *c, int status, bool quiet)
{
	char line[1024];
	rewind(c->output);
	while (!quiet && fgets(line, sizeof line, c->output))
		if (!strstr(line, "=====") && !strstr(line, "PASSED") && strcmp(line, "\n"))
			fputs(line, stdout);
	fclose(c->output);
	c->pid = 0;
	if (WIFSIGNALED(status))
		printf("%s: ended by signal %d (%s)\n", c->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	fflush(stdout);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_all(const struct apart *a, bool few)
{
	struct child children[JOBS_MAX] = {0};
	size_t next = 0;
	int failed = 0, running = 0;
	bool skipped = false;
	char failures[1024] = "";
	while (next < a->n || running) {
		int slot = 0, status;
		while (slot < a->jobs && children[slot].pid)
			slot++;
		if (next < a->n && slot < a->jobs) {
			if (!start(&children[slot], a->tests[next++].name, few))
				return 1;
			running++;
			continue;
		}
		pid_t pid = wait(&status);
		if (pid < 0)
			return 1;
		for (slot = 0; slot < a->jobs && children[slot].pid != pid;)
			slot++;
		if (slot == a->jobs)
			continue;
		running--;
		int rc = finish(&children[slot], status, skipped);
		if (rc == SKIPPED) {
			skipped = true;
			next = a->n;
		} else if (rc) {
			failed++;
			size_t used = strlen(failures);
			snprintf(failures + used, sizeof failures - used, " %s", children[slot].name);
		}
	}
	if (skipped)
		return SKIPPED;
	printf("%s: %zu tests, %d failed%s%s\n", a->what, a->n, failed, failed ? ":" : "", failures);
	return failed > 0;
}

int apart_main(int argc, char **argv, const struct apart *a, bool *few)
{
	int at = 1;
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < a->n; i++)
			puts(a->tests[i].name);
		return 0;
	}
	bool asked = argc > 1 && !strcmp(argv[1], "--few");
	assert_true(a->jobs <= JOBS_MAX && a->n <= TESTS_MAX);
	at += asked;
	if (few)
		*few = asked;
	return at < argc ? run_here(a, argv[at]) : run_all(a, asked);
}
