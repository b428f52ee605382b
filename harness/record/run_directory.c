/*
 * Names being single, O_NOFOLLOW at each of them is all that openat2's RESOLVE_BENEATH would give, on any kernel.
 */
#include "harness/record/run_directory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char temporary_end[] = ".tmp";

static int failed(const struct run_directory *d, const char *name, const char *what, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s%s%s", d->path, name, what, *what ? ": " : "", strerror(errno));
}

static int cannot_make(const struct run_directory *d, const char *name, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: cannot be made: %s; give another directory", d->path, name,
			 strerror(errno));
}

static void check_name(const char *name)
{
	assert(*name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."));
	(void)name;
}

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link";
	case S_IFDIR:
		return "a folder";
	case S_IFIFO:
		return "a pipe";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "a file";
	}
}

static int set_path(struct run_directory *d, const char *path, struct error *err)
{
	*d = (struct run_directory){.fd = -1};
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof d->path)
		return error_set(err, ERROR_INPUT, "directory: a path of %zu bytes; give another one", n);
	memcpy(d->path, path, n + 1);
	return 0;
}

static int open_path(struct run_directory *d, struct error *err)
{
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd >= 0)
		return 0;
	if (errno == ENOTDIR)
		return error_set(err, ERROR_IO, "%s: is not a folder; give another directory", d->path);
	return error_set(err, ERROR_IO, "%s: %s; give another directory", d->path, strerror(errno));
}

int run_directory_open(struct run_directory *d, const char *path, struct error *err)
{
	int rc = set_path(d, path, err);
	return rc ? rc : open_path(d, err);
}

int run_directory_make(struct run_directory *d, const char *path, struct error *err)
{
	char part[RUN_DIRECTORY_PATH];
	int rc = set_path(d, path, err);
	if (rc)
		return rc;
	size_t n = strlen(path);
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char keep = part[i];
		part[i] = '\0';
		if (mkdir(part, 0777) && errno != EEXIST)
			return error_set(err, ERROR_IO, "%s: %s; give another output directory", part, strerror(errno));
		part[i] = keep;
	}
	return open_path(d, err);
}

int run_directory_make_last(struct run_directory *d, const char *path, struct error *err)
{
	int rc = set_path(d, path, err);
	if (rc)
		return rc;
	if (mkdir(path, 0777) && errno == ENOENT)
		return error_set(
			err, ERROR_INPUT,
			"%s: the folder that it would be in is not there; make that, or name another directory", path);
	return open_path(d, err);
}

int run_directory_below(const struct run_directory *d, const char *name, int make, struct run_directory *out,
			struct error *err)
{
	struct stat s;
	check_name(name);
	*out = (struct run_directory){.fd = -1};
	size_t n = strlen(d->path), n_name = strlen(name);
	if (n + n_name + 2 > sizeof out->path)
		return error_set(err, ERROR_INPUT, "%s: too long a path for a folder in it; give a shorter one",
				 d->path);
	memcpy(out->path, d->path, n);
	out->path[n] = '/';
	memcpy(out->path + n + 1, name, n_name + 1);
	if (make && mkdirat(d->fd, name, 0777) && errno != EEXIST)
		return cannot_make(d, name, err);
	if (!fstatat(d->fd, name, &s, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(s.st_mode))
		return error_set(err, ERROR_IO, "%s: is not a folder but %s; remove it, or name another folder",
				 out->path, kind_name(s.st_mode));
	out->fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return out->fd < 0 ? failed(d, name, "", err) : 0;
}

void run_directory_close(struct run_directory *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

int run_directory_lock(const struct run_directory *d, int seconds, const char *remedy, struct error *err)
{
	enum { TRIES_A_SECOND = 20 };
	const struct timespec between = {.tv_nsec = 1000000000 / TRIES_A_SECOND};
	for (int i = 0; flock(d->fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set(err, ERROR_IO, "%s: cannot be locked: %s", d->path, strerror(errno));
		if (i == seconds * TRIES_A_SECOND)
			return error_set(err, ERROR_IO, "%s: another program has had it locked for %d s; %s", d->path,
					 seconds, remedy);
		nanosleep(&between, NULL);
	}
	return 0;
}

void run_directory_unlock(const struct run_directory *d)
{
	flock(d->fd, LOCK_UN);
}

/* The entries one by one, until visit returns other than 0; that, or ERROR_IO. */
static int each_entry(const struct run_directory *d, int (*visit)(const struct run_directory *d, const char *name),
		      struct error *err)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	if (!entries) {
		rc = error_set(err, ERROR_IO, "%s: %s; give another directory", d->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *e; !rc && (e = readdir(entries));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			rc = visit(d, e->d_name);
	closedir(entries);
	return rc;
}

static int is_there(const struct run_directory *d, const char *name)
{
	(void)d, (void)name;
	return 1;
}

int run_directory_check_new(const char *path, struct error *err)
{
	struct run_directory d;
	struct stat s;
	if (stat(path, &s) && errno == ENOENT)
		return 0;
	int rc = run_directory_open(&d, path, err);
	if (rc)
		return rc;
	rc = run_directory_check_empty(&d, err);
	run_directory_close(&d);
	return rc;
}

int run_directory_check_empty(const struct run_directory *d, struct error *err)
{
	int rc = each_entry(d, is_there, err);
	if (rc <= 0)
		return rc;
	return error_set(err, ERROR_INPUT,
			 "%s: not empty, and results are never overwritten; name a new directory, or go on with a "
			 "sweep that is there by --resume",
			 d->path);
}

static int not_a_file(const struct run_directory *d, const char *name, mode_t mode, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s/%s: is not a file but %s, which is never followed or read; remove it",
			 d->path, name, kind_name(mode));
}

int run_directory_lacks(const struct run_directory *d, const char *name)
{
	struct stat s;
	check_name(name);
	return fstatat(d->fd, name, &s, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

int run_directory_open_file(const struct run_directory *d, const char *name, int flags, struct error *err)
{
	struct stat s;
	check_name(name);
	/* Looked at first: to open a device may do something already. Looked at again: it may have been exchanged. */
	if (fstatat(d->fd, name, &s, AT_SYMLINK_NOFOLLOW))
		return error_set(err, ERROR_IO, "%s/%s: %s%s", d->path, name, strerror(errno),
				 errno == ENOENT ? "; is this the directory of a sweep?" : "");
	if (!S_ISREG(s.st_mode))
		return not_a_file(d, name, s.st_mode, err);
	int fd = openat(d->fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, ERROR_IO, "%s/%s: cannot be opened: %s; check its permissions", d->path, name,
				 strerror(errno));
	int rc = 0;
	if (fstat(fd, &s))
		rc = failed(d, name, "", err);
	else if (!S_ISREG(s.st_mode))
		rc = not_a_file(d, name, s.st_mode, err);
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

int run_directory_create_file(const struct run_directory *d, const char *name, struct error *err)
{
	check_name(name);
	int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	return fd < 0 ? cannot_make(d, name, err) : fd;
}

/* jansson's reader; a failed read is kept in errno. */
static size_t read_some(void *bytes, size_t n, void *ctx)
{
	ssize_t done;
	do
		done = read(*(int *)ctx, bytes, n);
	while (done < 0 && errno == EINTR);
	return done < 0 ? (size_t)-1 : (size_t)done;
}

int run_directory_load_json(const struct run_directory *d, const char *name, json_t **out, struct error *err)
{
	struct stat s;
	json_error_t why;
	*out = NULL;
	int fd = run_directory_open_file(d, name, O_RDONLY, err), rc = 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &s))
		rc = failed(d, name, "", err);
	else if (s.st_size > RUN_DIRECTORY_MAX_JSON)
		rc = error_set(err, ERROR_INPUT, "%s/%s: larger than %d bytes: this is none that gemmark wrote",
			       d->path, name, RUN_DIRECTORY_MAX_JSON);
	else if (!(*out = json_load_callback(read_some, &fd, JSON_REJECT_DUPLICATES, &why)))
		rc = error_set(err, ERROR_INPUT, "%s/%s: line %d, column %d: %s; restore the file, or measure anew",
			       d->path, name, why.line, why.column, why.text);
	close(fd);
	return rc;
}

int run_directory_save_json(const struct run_directory *d, const char *name, const json_t *value, struct error *err)
{
	int fd = run_directory_create_file(d, name, err);
	if (fd < 0)
		return fd;
	FILE *f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return failed(d, name, "", err);
	}
	int bad = json_dumpf(value, f, JSON_INDENT(2)) || fputc('\n', f) == EOF || fflush(f) || fsync(fd);
	int reason = errno;
	bad |= fclose(f);
	return bad ? error_set(err, ERROR_IO, "%s/%s: %s; free some space", d->path, name, strerror(reason)) : 0;
}

int run_file_open(struct run_file *f, const struct run_directory *d, const char *name, struct error *err)
{
	check_name(name);
	*f = (struct run_file){.directory = d, .name = name};
	int n = snprintf(f->temporary, sizeof f->temporary, ".%s.%ld%s", name, (long)getpid(), temporary_end);
	assert(n > 0 && (size_t)n < sizeof f->temporary);
	(void)n;
	/* One is there only where an earlier process of that number was killed. */
	if (unlinkat(d->fd, f->temporary, 0) && errno != ENOENT)
		return failed(d, f->temporary, "cannot be removed", err);
	int fd = run_directory_create_file(d, f->temporary, err);
	if (fd < 0)
		return fd;
	f->stream = fdopen(fd, "w");
	if (f->stream)
		return 0;
	int rc = failed(d, name, "", err);
	close(fd);
	unlinkat(d->fd, f->temporary, 0);
	return rc;
}

int run_file_commit(struct run_file *f, int durable, struct error *err)
{
	const struct run_directory *d = f->directory;
	errno = 0;
	int bad = ferror(f->stream) || fflush(f->stream);
	/* fsync says EINVAL where there is nothing to force. */
	bad = bad || (durable && fsync(fileno(f->stream)) && errno != EINVAL);
	if (bad) {
		int rc = error_set(err, ERROR_IO, "%s/%s: cannot be written: %s", d->path, f->name,
				   errno ? strerror(errno) : "a write failed");
		run_file_discard(f);
		return rc;
	}
	FILE *stream = f->stream;
	f->stream = NULL;
	if (fclose(stream) || renameat(d->fd, f->temporary, d->fd, f->name)) {
		int rc = failed(d, f->name, "cannot be replaced", err);
		unlinkat(d->fd, f->temporary, 0);
		return rc;
	}
	if (durable && fsync(d->fd) && errno != EINVAL)
		return failed(d, f->name, "its name cannot be forced to the disk", err);
	return 0;
}

void run_file_discard(struct run_file *f)
{
	if (!f->stream)
		return;
	fclose(f->stream);
	f->stream = NULL;
	unlinkat(f->directory->fd, f->temporary, 0);
}

static int remove_temporary(const struct run_directory *d, const char *name)
{
	/* .NAME.NUMBER.tmp */
	size_t n = strlen(name), end = sizeof temporary_end - 1, digits = 0;
	while (digits + end < n && strchr("0123456789", name[n - end - digits - 1]))
		digits++;
	if (name[0] == '.' && n > 3 + end + digits && digits && name[n - end - digits - 1] == '.' &&
	    !strcmp(name + n - end, temporary_end))
		unlinkat(d->fd, name, 0);
	return 0;
}

int run_directory_sweep(const struct run_directory *d, struct error *err)
{
	return each_entry(d, remove_temporary, err);
}
