#include "harness/cli/device_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

enum { EXIT_NOT_STARTED = 127 };

/* In the child. Returns where that does not go well, with errno; *what: what did not. */
static void become(const struct listed_device *d, char **words, int log, pid_t parent, const char **what)
{
	int nowhere = open("/dev/null", O_WRONLY);
	*what = "standard output cannot be set";
	if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || dup2(log < 0 ? nowhere : log, STDERR_FILENO) < 0)
		return;
	*what = "cannot be tied to this process";
	if (prctl(PR_SET_PDEATHSIG, SIGTERM))
		return;
	if (getppid() != parent)
		_exit(EXIT_NOT_STARTED);
	*what = "cannot be given its cores";
	if (device_list_enter(d))
		return;
	*what = "cannot be started";
	execv("/proc/self/exe", words);
}

pid_t device_process_start(const struct listed_device *d, char **words, const char *log, struct error *err)
{
	int report[2] = {-1, -1}, fd = -1, n = 0;
	struct error why = {""};
	pid_t parent = getpid(), child = -1;
	while (words[n])
		n++;
	char **line = calloc((size_t)n + 2, sizeof *line);
	if (!line)
		return error_set(err, ERROR_MEMORY, "no memory for a command line");
	char program[] = "gemmark";
	line[0] = program;
	memcpy(line + 1, words, (size_t)n * sizeof *words);
	if (log)
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (log && fd < 0) {
		error_set(&why, ERROR_IO, "%s: %s", text_show_path(log).text, strerror(errno));
	} else if (pipe2(report, O_CLOEXEC) || (child = fork()) < 0) {
		error_set(&why, ERROR_IO, "no process for device %s: %s", d->name, strerror(errno));
	} else if (!child) {
		const char *what;
		become(d, line, fd, parent, &what);
		error_set(&why, ERROR_IO, "device %s: its process %s: %s", d->name, what, strerror(errno));
		if (write(report[1], why.text, strlen(why.text)) < 0)
			_exit(EXIT_NOT_STARTED);
		_exit(EXIT_NOT_STARTED);
	}
	if (report[1] >= 0)
		close(report[1]);
	/* Closed by the exec, or written. */
	ssize_t said = child > 0 ? read(report[0], why.text, sizeof why.text - 1) : 0;
	if (said > 0) {
		why.text[said] = '\0';
		waitpid(child, NULL, 0);
		child = -1;
	}
	if (report[0] >= 0)
		close(report[0]);
	if (fd >= 0)
		close(fd);
	free(line);
	return child > 0 ? child : error_set(err, ERROR_IO, "%s", why.text);
}
