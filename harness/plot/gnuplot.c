#include "harness/plot/gnuplot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/*
 * The program's absolute path, as the shell would find it from here. PATH may have relative folders, and the folder
 * that the child works in belongs to whoever sent the results. Returns an errno value.
 */
static int find_program(const char *program, char out[PATH_MAX])
{
	char here[PATH_MAX], candidate[PATH_MAX];
	const char *path = getenv("PATH");
	int slash = strchr(program, '/') != NULL;
	if (!getcwd(here, sizeof here))
		return errno;
	for (const char *at = path && !slash ? path : "";; at++) {
		size_t n = slash ? 0 : strcspn(at, ":");
		if ((size_t)snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)n, at, n ? "/" : "", program) <
			    sizeof candidate &&
		    (size_t)snprintf(out, PATH_MAX, "%s%s%s", *candidate == '/' ? "" : here,
				     *candidate == '/' ? "" : "/", candidate) < PATH_MAX &&
		    !access(out, X_OK))
			return 0;
		at += n;
		if (!*at)
			return slash && errno ? errno : ENOENT;
	}
}

/* Child with stdin on /dev/null, stdout into `output` and stderr into `write_end`. Returns an errno value. */
static int start(const char *program, int dir, char *const argv[], int output, int write_end, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t usual; /* what this program ignores, and a child would inherit */
	int code = posix_spawn_file_actions_init(&actions);
	if (code)
		return code;
	if ((code = posix_spawnattr_init(&attributes))) {
		posix_spawn_file_actions_destroy(&actions);
		return code;
	}
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	sigaddset(&usual, SIGXFSZ);
	if ((code = posix_spawnattr_setsigdefault(&attributes, &usual)) ||
	    (code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF)) ||
	    (code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) ||
	    (code = posix_spawn_file_actions_adddup2(&actions, output, 1)) ||
	    (code = posix_spawn_file_actions_adddup2(&actions, write_end, 2)) ||
	    (code = posix_spawn_file_actions_addfchdir_np(&actions, dir)))
		goto done;
	code = posix_spawn(pid, program, &actions, &attributes, argv, environ);
done:
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

/* Reads the child's stderr until it closes; keeps the beginning. Returns 0, or -1 when the time is over. */
static int drain(int fd, char *kept, size_t capacity, double deadline)
{
	size_t used = 0;
	for (;;) {
		double left = deadline - seconds();
		struct pollfd wait_for = {.fd = fd, .events = POLLIN};
		int ready = left > 0 ? poll(&wait_for, 1, (int)(left * 1e3) + 1) : 0;
		if (ready == 0)
			return -1;
		if (ready < 0 && errno != EINTR)
			break;
		if (ready < 0)
			continue;
		char block[512];
		ssize_t n = read(fd, block, sizeof block);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size_t take = (size_t)n < capacity - 1 - used ? (size_t)n : capacity - 1 - used;
		memcpy(kept + used, block, take);
		used += take;
	}
	kept[used] = '\0';
	return 0;
}

/* Lines become one: runs of white space, carets and control bytes turn into one space. */
static void one_line(char *text)
{
	char *out = text;
	for (const char *in = text; *in; in++) {
		int blank = (unsigned char)*in <= ' ' || *in == '^' || *in == 0x7f;
		if (!blank)
			*out++ = *in;
		else if (out > text && out[-1] != ' ')
			*out++ = ' ';
	}
	while (out > text && out[-1] == ' ')
		out--;
	*out = '\0';
}

static int not_found(const char *program, struct error *err)
{
	return error_set(err, ERROR_IO,
			 "%s: not found; install gnuplot (Debian and Ubuntu: apt-get install gnuplot-nox)", program);
}

int gnuplot_run(const char *program, const struct run_directory *dir, const char *script, const char *format,
		int output, int timeout_s, struct error *err)
{
	char assignment[48], path[PATH_MAX];
	snprintf(assignment, sizeof assignment, "to_stdout=1; format='%s'", format);
	char *const argv[] = {(char *)program, "-d", "-e", assignment, (char *)script, NULL};
	int ends[2], code = find_program(program, path);
	pid_t pid;
	if (code == ENOENT)
		return not_found(program, err);
	if (code)
		return error_set(err, ERROR_IO, "%s: cannot start: %s", program, strerror(code));
	if (pipe2(ends, O_CLOEXEC))
		return error_set(err, ERROR_IO, "%s: cannot make a pipe: %s", program, strerror(errno));
	code = start(path, dir->fd, argv, output, ends[1], &pid);
	close(ends[1]);
	if (code) {
		close(ends[0]);
		if (code == ENOENT)
			return not_found(program, err);
		return error_set(err, ERROR_IO, "%s: cannot start: %s", program, strerror(code));
	}

	char said[384];
	int status = 0;
	int late = drain(ends[0], said, sizeof said, seconds() + timeout_s);
	close(ends[0]);
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, ERROR_IO, "%s: cannot wait for it: %s", program, strerror(errno));
	if (late)
		return error_set(err, ERROR_IO, "%s: %s took longer than %d s and was stopped", program, script,
				 timeout_s);
	one_line(said);
	/* How POSIX lets posix_spawn tell that the program could not be executed; so it does under memcheck. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !said[0])
		return not_found(program, err);
	if (WIFSIGNALED(status))
		return error_set(err, ERROR_IO, "%s: %s: ended by signal %d: %s", program, script, WTERMSIG(status),
				 said);
	if (WEXITSTATUS(status))
		return error_set(err, ERROR_IO, "%s: %s: exit status %d: %s", program, script, WEXITSTATUS(status),
				 said);
	return 0;
}

void gnuplot_quote(char *dst, const char *text)
{
	static const char plain[] = " .,:()%+-_/=<>*?!&";
	*dst++ = '"';
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c >= 0x80 || isalnum(c) || strchr(plain, c))
			*dst++ = *text;
		else
			dst += sprintf(dst, "\\%03o", c);
	}
	*dst++ = '"';
	*dst = '\0';
}
