#include "base/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { RANDOM_LETTERS = 6, ATTEMPTS = 100 };

static const char suffix[] = ".part";

/* Those whose temporary file is there. */
static struct output_file *volatile unfinished;

void output_file_abandon_all(void)
{
	for (const struct output_file *o = unfinished; o; o = o->next)
		unlink(o->part);
}

static void hold_signals(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static void release_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void forget(const struct output_file *o)
{
	if (unfinished == o) {
		unfinished = o->next;
		return;
	}
	for (struct output_file *at = unfinished; at; at = at->next)
		if (at->next == o)
			at->next = o->next;
}

/* Files that writing would harm. A terminal may be read and written, and so may a pipe. */
static bool holds_data(const struct stat *s)
{
	return S_ISREG(s->st_mode) || S_ISBLK(s->st_mode);
}

static bool in_place(const struct stat *s)
{
	return !S_ISREG(s->st_mode) && !S_ISDIR(s->st_mode);
}

int output_file_check(const char *path, bool replace, const char *const *inputs, int n, struct error *err)
{
	struct text_shown shown = text_show_path(path);
	struct stat named, file, input;
	bool there = lstat(path, &named) == 0, known = there && stat(path, &file) == 0;
	if (!*path)
		return error_set(err, ERROR_INPUT, "an empty file name; name the file to write");
	if (!strcmp(path, "-"))
		return error_set(err, ERROR_INPUT, "-: standard output is /dev/stdout here; name that or a file");
	for (int i = 0; i < n && known; i++) {
		if (stat(inputs[i], &input) || !holds_data(&input) || input.st_dev != file.st_dev ||
		    input.st_ino != file.st_ino)
			continue;
		if (!strcmp(path, inputs[i]))
			return error_set(err, ERROR_INPUT, "%s: is read, and cannot be written; name another file",
					 shown.text);
		return error_set(err, ERROR_INPUT, "%s: is the same file as %s, which is read; name another file",
				 shown.text, text_show_path(inputs[i]).text);
	}
	if (known && S_ISDIR(file.st_mode))
		return error_set(err, ERROR_INPUT, "%s: is a folder; name a file", shown.text);
	if (there && !replace && !(known && in_place(&file)))
		return error_set(err, ERROR_INPUT, "%s: exists; name another file, or replace it with --force",
				 shown.text);
	return 0;
}

const char *output_file_remedy(int error)
{
	return error == ENOSPC || error == EDQUOT ? "free space or write elsewhere"
	       : error == EFBIG                   ? "raise the file size limit (ulimit -f) or write elsewhere"
						  : "write elsewhere";
}

static int failed(struct output_file *o, const char *what, struct error *err)
{
	int reason = errno;
	struct text_shown shown = text_show_path(o->path);
	output_file_discard(o);
	return error_set(err, ERROR_IO, "%s: %s: %s; %s", shown.text, what, strerror(reason),
			 output_file_remedy(reason));
}

/* NAME.RANDOM.part, of a name that is too long the beginning. */
static void name_part(const struct output_file *o, char *part, size_t size)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const char *slash = strrchr(o->path, '/'), *name = slash ? slash + 1 : o->path;
	unsigned char bytes[RANDOM_LETTERS];
	char random[RANDOM_LETTERS + 1] = "";
	if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes)
		for (int i = 0; i < RANDOM_LETTERS; i++)
			bytes[i] = (unsigned char)rand();
	for (int i = 0; i < RANDOM_LETTERS; i++)
		random[i] = letters[bytes[i] % (sizeof letters - 1)];
	snprintf(part, size, "%.*s%.*s.%s%s", (int)(name - o->path), o->path,
		 (int)text_cut(name, NAME_MAX - RANDOM_LETTERS - sizeof suffix), name, random, suffix);
}

int output_file_open(struct output_file *o, const char *path, bool replace, struct error *err)
{
	struct stat s;
	size_t size = strlen(path) + RANDOM_LETTERS + sizeof suffix + 1;
	*o = (struct output_file){.fd = -1, .replace = replace};
	int rc = output_file_check(path, replace, NULL, 0, err);
	if (rc)
		return rc;
	o->path = strdup(path);
	if (o->path && stat(path, &s) == 0 && in_place(&s)) {
		o->fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
		/* It may have become another file since. */
		if (o->fd >= 0 && (fstat(o->fd, &s) || !in_place(&s))) {
			errno = EEXIST;
			return failed(o, "cannot be written", err);
		}
		return o->fd < 0 ? failed(o, "cannot be opened", err) : 0;
	}
	o->part = malloc(size);
	if (!o->path || !o->part) {
		output_file_discard(o);
		return error_set(err, ERROR_MEMORY, "%s: no memory to write it", text_show_path(path).text);
	}
	sigset_t before;
	hold_signals(&before);
	for (int i = 0; i < ATTEMPTS && o->fd < 0; i++) {
		name_part(o, o->part, size);
		o->fd = open(o->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (o->fd < 0 && errno != EEXIST)
			break;
	}
	if (o->fd >= 0) {
		o->next = unfinished;
		unfinished = o;
	}
	release_signals(&before);
	if (o->fd >= 0)
		return 0;
	/* It is nobody's of ours. */
	int reason = errno;
	free(o->part);
	o->part = NULL;
	errno = reason;
	return failed(o, "cannot be created", err);
}

int output_file_stream(const struct output_file *o, FILE **out, struct error *err)
{
	int fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0), reason = errno;
	*out = fd < 0 ? NULL : fdopen(fd, "wb");
	if (*out)
		return 0;
	if (fd >= 0) {
		reason = errno;
		close(fd);
	}
	return error_set(err, ERROR_IO, "%s: cannot be written: %s", text_show_path(o->path).text, strerror(reason));
}

/* Under its name unless something has that. 0, or -1 with errno. */
static int rename_new(const char *part, const char *path)
{
	struct stat s;
	if (!renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* Of a file system that cannot tell. */
	if (lstat(path, &s) == 0) {
		errno = EEXIST;
		return -1;
	}
	return rename(part, path);
}

int output_file_commit(struct output_file *o, struct error *err)
{
	sigset_t before;
	int fd = o->fd, rc = 0;
	if (o->part && fsync(fd) && errno != EINVAL)
		return failed(o, "cannot be written", err);
	o->fd = -1;
	if (close(fd))
		return failed(o, "cannot be written", err);
	if (!o->part) {
		output_file_discard(o);
		return 0;
	}
	hold_signals(&before);
	int renamed = o->replace ? rename(o->part, o->path) : rename_new(o->part, o->path), reason = errno;
	int kept = renamed && reason == EEXIST && !o->replace;
	if (kept)
		rc = error_set(err, ERROR_IO, "%s: has come to exist meanwhile; what was written is %s",
			       text_show_path(o->path).text, text_show_path(o->part).text);
	if (!renamed || kept) {
		forget(o);
		free(o->part);
		o->part = NULL;
	}
	release_signals(&before);
	errno = reason;
	if (renamed && !kept)
		return failed(o, "cannot be given its name", err);
	output_file_discard(o);
	return rc;
}

void output_file_discard(struct output_file *o)
{
	sigset_t before;
	if (o->fd >= 0)
		close(o->fd);
	if (o->part) {
		hold_signals(&before);
		unlink(o->part);
		forget(o);
		release_signals(&before);
	}
	free(o->part);
	free(o->path);
	*o = (struct output_file){.fd = -1};
}
