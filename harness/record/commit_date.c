#include "harness/record/commit_date.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

extern char **environ;

enum { FIRST_YEAR = 1970, DAY = 86400, SHORTEST_NAME = 7 };

/* Of so many digits at *s, which goes on; -1: they are none. */
static int take_number(const char **s, int digits)
{
	int x = 0;
	for (int i = 0; i < digits; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		x = 10 * x + (**s - '0');
	}
	return x;
}

static int is_leap(int year)
{
	return !(year % 4) && (year % 100 || !(year % 400));
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return days[month - 1] + (month == 2 && is_leap(year));
}

/* "10:00:00.25", seconds and what is below them or not; what is below is left out. Seconds of the day, or -1. */
static int take_time(const char **s)
{
	int hour = take_number(s, 2), minute = -1, second = 0;
	if (hour < 0 || hour > 23 || *(*s)++ != ':' || (minute = take_number(s, 2)) < 0 || minute > 59)
		return -1;
	if (**s == ':') {
		(*s)++;
		second = take_number(s, 2);
		if (second < 0 || second > 60)
			return -1;
		if (**s == '.') {
			size_t n = strspn(*s + 1, "0123456789");
			if (!n)
				return -1;
			*s += n + 1;
		}
	}
	return 3600 * hour + 60 * minute + second;
}

/* "Z", "+02:00", "-0500", nothing; seconds east of UTC. Returns 0 or -1. */
static int take_offset(const char **s, int *east)
{
	*east = 0;
	if (**s == 'Z') {
		(*s)++;
		return 0;
	}
	if (**s == ' ' && ((*s)[1] == '+' || (*s)[1] == '-'))
		(*s)++;
	if (**s != '+' && **s != '-')
		return **s ? -1 : 0;
	int sign = *(*s)++ == '-' ? -1 : 1, hours = take_number(s, 2);
	if (**s == ':')
		(*s)++;
	int minutes = take_number(s, 2);
	*east = sign * (3600 * hours + 60 * minutes);
	return hours < 0 || hours > 14 || minutes < 0 || minutes > 59 ? -1 : 0;
}

int commit_date_parse(const char *text, int64_t *seconds)
{
	const char *s = text;
	int year = take_number(&s, 4), month = -1, day = -1, time = 0, east = 0;
	if (year < FIRST_YEAR || *s++ != '-' || (month = take_number(&s, 2)) < 1 || month > 12 || *s++ != '-' ||
	    (day = take_number(&s, 2)) < 1 || day > days_of(year, month))
		return -1;
	if (*s == 'T' || *s == ' ') {
		s++;
		if ((time = take_time(&s)) < 0 || take_offset(&s, &east))
			return -1;
	}
	if (*s)
		return -1;
	int64_t days = day - 1;
	for (int m = 1; m < month; m++)
		days += days_of(year, m);
	for (int y = FIRST_YEAR; y < year; y++)
		days += 365 + is_leap(y);
	int64_t all = days * DAY + time - east;
	if (all < 0)
		return -1;
	*seconds = all;
	return 0;
}

void commit_date_text(int64_t seconds, char out[COMMIT_DATE_SIZE])
{
	int64_t days = seconds / DAY, left = seconds % DAY;
	int year = FIRST_YEAR, month = 1;
	for (; days >= 365 + is_leap(year); year++)
		days -= 365 + is_leap(year);
	for (; days >= days_of(year, month); month++)
		days -= days_of(year, month);
	snprintf(out, COMMIT_DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, (int)days + 1,
		 (int)(left / 3600), (int)(left / 60 % 60), (int)(left % 60));
}

int commit_is_name(const char *commit, int *digits, int *dirty)
{
	size_t n = strspn(commit, "0123456789abcdef");
	*digits = (int)n;
	*dirty = !strcmp(commit + n, "-dirty");
	return n >= 4 && n <= 64 && (!commit[n] || *dirty);
}

int commit_same(const char *a, const char *b)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;
	if (n == m)
		return !strcmp(a, b);
	return least >= SHORTEST_NAME && !strncmp(a, b, least) && strspn(a, digits) == n && strspn(b, digits) == m;
}

/* git's standard output, cut at size. Returns 0, an errno value, or -1 where git did not end well. */
static int run_git(char *const argv[], char *out, size_t size)
{
	posix_spawn_file_actions_t actions;
	int ends[2], code, status = 0;
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC))
		return errno;
	if (!(code = posix_spawn_file_actions_init(&actions))) {
		if (!(code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) &&
		    !(code = posix_spawn_file_actions_adddup2(&actions, ends[1], 1)) &&
		    !(code = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)))
			code = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	size_t used = 0;
	for (ssize_t n = 1; !code && n && used + 1 < size;) {
		n = read(ends[0], out + used, size - 1 - used);
		if (n < 0 && errno != EINTR)
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	out[used] = '\0';
	close(ends[0]);
	while (!code && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return code ? code : WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

int commit_date_ask(const char *folder, const char *commit, char out[COMMIT_DATE_SIZE], struct error *err)
{
	static const char remedy[] = "name its repository with --repo, or its date with --date";
	char name[80], said[80];
	int digits, dirty;
	int64_t seconds;
	if (!commit_is_name(commit, &digits, &dirty))
		return error_set(err, ERROR_INPUT, "commit %s: is no name of a commit; name its date with --date",
				 text_show(commit, strlen(commit)).text);
	/* Hexadecimal digits: no option, and no name of a branch that happens to be there. */
	snprintf(name, sizeof name, "%.*s^{commit}", digits, commit);
	char *const argv[] = {"git",          "-C", (char *)folder, "show", "-s", "--no-show-signature",
			      "--format=%cI", name, "--",           NULL};
	int code = run_git(argv, said, sizeof said);
	if (code == ENOENT)
		return error_set(err, ERROR_INPUT,
				 "commit %.20s: there is no git to ask for its date; name it with --date", commit);
	if (code > 0)
		return error_set(err, ERROR_IO, "commit %.20s: git cannot be asked: %s", commit, strerror(code));
	said[strcspn(said, "\r\n")] = '\0';
	if (code || commit_date_parse(said, &seconds))
		return error_set(err, ERROR_INPUT, "commit %.20s: git in %s does not know it; %s", commit,
				 text_show_path(folder).text, remedy);
	commit_date_text(seconds, out);
	return 0;
}
