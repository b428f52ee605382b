#include "harness/record/process_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { PATH_SIZE = 512, STAT_SIZE = 1024 };

/* What is there of a small file of /proc, without its line's end. 0, or -1 with errno. */
static int read_text(const char *path, char *out, size_t size)
{
	*out = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, out, size - 1);
	int reason = errno;
	close(fd);
	errno = reason;
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return n > 0 ? 0 : -1;
}

/* The state's letter and the start of a process; 0, or -1 with errno, ENOENT where there is none of that number. */
static int read_process(const char *root, long long pid, char *state, long long *start)
{
	char path[PATH_SIZE], text[STAT_SIZE];
	snprintf(path, sizeof path, "%s/proc/%lld/stat", root, pid);
	if (read_text(path, text, sizeof text))
		return -1;
	/* Behind the name, which may hold anything: the state is the third field, the start the twenty-second. */
	const char *at = strrchr(text, ')');
	errno = EINVAL;
	if (!at || sscanf(at, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld",
			  state, start) != 2)
		return -1;
	return 0;
}

/* What does not fit, or is not printable, is unknown. */
static void keep(char out[PROCESS_TEXT_SIZE], const char *text)
{
	text_name(out, PROCESS_TEXT_SIZE, text, strlen(text));
	if (strcmp(out, text))
		*out = '\0';
}

/* host, boot_id and pid_namespace of whoever asks. */
static void read_place(const char *root, struct process_mark *out)
{
	char path[PATH_SIZE], text[PATH_SIZE];
	snprintf(path, sizeof path, "%s/proc/sys/kernel/hostname", root);
	if (!read_text(path, text, sizeof text))
		keep(out->host, text);
	snprintf(path, sizeof path, "%s/proc/sys/kernel/random/boot_id", root);
	if (!read_text(path, text, sizeof text))
		keep(out->boot_id, text);
	snprintf(path, sizeof path, "%s/proc/self/ns/pid", root);
	ssize_t n = readlink(path, text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	keep(out->pid_namespace, text);
}

void process_mark_self(const char *root, struct process_mark *out)
{
	char state;
	*out = (struct process_mark){.pid = getpid(), .start_ticks = -1};
	if (read_process(root, out->pid, &state, &out->start_ticks))
		out->start_ticks = -1;
	read_place(root, out);
}

enum process_state process_mark_check(const char *root, const struct process_mark *m)
{
	struct process_mark here = {0};
	long long start;
	char state, path[PATH_SIZE];
	struct stat s;
	read_place(root, &here);
	if (m->pid <= 0 || m->start_ticks < 0 || !*m->host || strcmp(m->host, here.host) || !*m->boot_id)
		return PROCESS_UNKNOWN;
	if (strcmp(m->boot_id, here.boot_id))
		return *here.boot_id ? PROCESS_GONE : PROCESS_UNKNOWN;
	if (!*m->pid_namespace || strcmp(m->pid_namespace, here.pid_namespace))
		return PROCESS_UNKNOWN;
	if (!read_process(root, m->pid, &state, &start))
		return start == m->start_ticks && state != 'Z' && state != 'X' ? PROCESS_RUNS : PROCESS_GONE;
	int none = errno == ENOENT || errno == ESRCH;
	/* Mounted with hidepid, it shows nothing of others' processes. */
	snprintf(path, sizeof path, "%s/proc/1", root);
	return none && !stat(path, &s) ? PROCESS_GONE : PROCESS_UNKNOWN;
}

json_t *process_mark_json(const struct process_mark *m)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:s}", "pid", (json_int_t)m->pid, "start_ticks",
			 (json_int_t)m->start_ticks, "host", m->host, "boot_id", m->boot_id, "pid_namespace",
			 m->pid_namespace);
}

static int take_text(const json_t *o, const char *key, char out[PROCESS_TEXT_SIZE])
{
	const char *text = json_string_value(json_object_get(o, key));
	if (text)
		keep(out, text);
	return text ? 0 : -1;
}

int process_mark_parse(const json_t *o, struct process_mark *out)
{
	const json_t *pid = json_object_get(o, "pid"), *start = json_object_get(o, "start_ticks");
	*out = (struct process_mark){.pid = json_integer_value(pid), .start_ticks = json_integer_value(start)};
	if (!json_is_integer(pid) || !json_is_integer(start) || out->pid < 1 || out->pid > INT_MAX)
		return -1;
	return take_text(o, "host", out->host) || take_text(o, "boot_id", out->boot_id) ||
			       take_text(o, "pid_namespace", out->pid_namespace)
		       ? -1
		       : 0;
}
