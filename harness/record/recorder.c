#include "harness/record/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <csv.h>

#include "base/text.h"

struct file {
	const char *name;
	int fd;     /* negative: not open */
	off_t size; /* of what is whole */
	off_t end;  /* of what was written for the run to come; 0: nothing was */
};

struct recorder {
	struct run_directory directory; /* its descriptor has the lock */
	struct file runs;
	struct file tokens;
	struct file telemetry;
	struct file timeline;
};

/* One field and what follows it. Unknown values are nothing at all, not "". Returns 0 or -1. */
static int put(FILE *f, const char *text, int last)
{
	if (*text && csv_fwrite(f, text, strlen(text)))
		return -1;
	return fputc(last ? '\n' : ',', f) == EOF ? -1 : 0;
}

/* Names and messages, of any bytes: the file is UTF-8. */
static int put_text(FILE *f, const char *text, int last)
{
	size_t n = strlen(text), size = 3 * n + 1;
	char *name = malloc(size);
	if (!name)
		return -1;
	text_name(name, size, text, n);
	int rc = put(f, name, last);
	free(name);
	return rc;
}

static int put_record(FILE *f, const void *record, const struct column *columns, int n)
{
	char text[COLUMN_TEXT_SIZE];
	int bad = 0;
	for (int i = 0; i < n; i++) {
		const char *value = column_text(record, &columns[i], text);
		bad |= columns[i].type == COLUMN_TEXT ? put_text(f, value, i == n - 1) : put(f, value, i == n - 1);
	}
	return bad;
}

static int io_failed(const struct recorder *r, const char *file, const char *remedy, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s; %s", r->directory.path, file, strerror(errno), remedy);
}

static const char give_another[] = "give another output directory";
static const char free_space[] = "free some space, the runs so far are kept";

const struct run_directory *recorder_directory(const struct recorder *r)
{
	return &r->directory;
}

static int write_all(int fd, const char *text, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t done = pwrite(fd, text, n, at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			errno = done ? errno : ENOSPC;
			return -1;
		}
		text += done;
		n -= (size_t)done;
		at += done;
	}
	return 0;
}

/* Cuts off what was written behind the last whole run. That frees space, so it works on a full disk. */
static void cut_back(const struct file *f)
{
	/* Where even that fails, readers leave the unfinished line out. */
	if (f->fd >= 0 && ftruncate(f->fd, f->size))
		return;
}

/* What is to be appended, in memory first: a failed write leaves nothing half done in a buffer. */
struct text {
	FILE *stream;
	char *bytes;
	size_t n;
};

static int text_open(struct text *t, const struct recorder *r, struct error *err)
{
	*t = (struct text){0};
	t->stream = open_memstream(&t->bytes, &t->n);
	return t->stream ? 0 : error_set(err, ERROR_MEMORY, "%s: no memory for the recorder", r->directory.path);
}

/* Appends t behind f's whole part and forces it to the disk, without counting it as whole yet. Frees t. */
static int text_append(struct text *t, int bad, const struct recorder *r, const struct file *f, off_t *end,
		       struct error *err)
{
	int rc = 0;
	bad |= fclose(t->stream);
	if (bad)
		rc = error_set(err, ERROR_MEMORY, "%s/%s: no memory for a run's text", r->directory.path, f->name);
	else if (write_all(f->fd, t->bytes, t->n, f->size))
		rc = io_failed(r, f->name, free_space, err);
	/* fsync says EINVAL where there is nothing to force, as on a pipe. */
	else if (fsync(f->fd) && errno != EINVAL)
		rc = io_failed(r, f->name, free_space, err);
	*end = f->size + (off_t)t->n;
	free(t->bytes);
	return rc;
}

int recorder_writes(const struct run_directory *d)
{
	/* Of a descriptor of its own: what the caller may have locked by his stays so. */
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int locked = flock(fd, LOCK_SH | LOCK_NB) ? (errno == EWOULDBLOCK ? 1 : -1) : 0;
	close(fd);
	return locked;
}

static int lock_directory(const struct recorder *r, struct error *err)
{
	const struct timespec moment = {.tv_nsec = 5000000};
	int failed = flock(r->directory.fd, LOCK_EX | LOCK_NB);
	/* Who only asks whether it is locked has it for less than that. */
	for (int i = 0; failed && errno == EWOULDBLOCK && i < 4; i++) {
		nanosleep(&moment, NULL);
		failed = flock(r->directory.fd, LOCK_EX | LOCK_NB);
	}
	if (!failed)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(err, ERROR_IO,
				 "%s: another gemmark is writing there; wait until it ends, or name another directory",
				 r->directory.path);
	return error_set(err, ERROR_IO, "%s: cannot be locked: %s; %s", r->directory.path, strerror(errno),
			 give_another);
}

static int open_file(const struct recorder *r, struct file *f, int create, struct error *err)
{
	f->fd = create ? run_directory_create_file(&r->directory, f->name, err)
		       : run_directory_open_file(&r->directory, f->name, O_RDWR, err);
	return f->fd < 0 ? f->fd : 0;
}

static int make_recorder(struct recorder **out, struct error *err)
{
	struct recorder *r = malloc(sizeof *r);
	*out = r;
	if (!r)
		return error_set(err, ERROR_MEMORY, "no memory for the recorder");
	*r = (struct recorder){.directory = {.fd = -1},
			       .runs = {"runs.csv", -1, 0, 0},
			       .tokens = {"tokens.csv", -1, 0, 0},
			       .telemetry = {"telemetry.csv", -1, 0, 0},
			       .timeline = {"timeline.csv", -1, 0, 0}};
	return 0;
}

/* Frees r after a failure. */
static int give_up(struct recorder **r, int rc)
{
	recorder_close(*r, NULL);
	*r = NULL;
	return rc;
}

static int put_header(const struct recorder *r, struct file *f, const struct column *columns, int n, struct error *err)
{
	struct text t;
	int rc = text_open(&t, r, err), bad = 0;
	for (int i = 0; i < n && !rc; i++)
		bad |= put(t.stream, columns[i].name, i == n - 1);
	return rc ? rc : text_append(&t, bad, r, f, &f->size, err);
}

static int sync_directory(const struct recorder *r, struct error *err)
{
	if (!fsync(r->directory.fd) || errno == EINVAL)
		return 0;
	return error_set(err, ERROR_IO, "%s: %s; %s", r->directory.path, strerror(errno), give_another);
}

int recorder_open(struct recorder **out, const char *path, struct error *err)
{
	int rc = make_recorder(out, err);
	if (rc)
		return give_up(out, rc);
	struct recorder *r = *out;
	rc = run_directory_make(&r->directory, path, err);
	if (!rc)
		rc = lock_directory(r, err);
	if (!rc)
		rc = run_directory_check_empty(&r->directory, err);
	if (!rc)
		rc = open_file(r, &r->runs, 1, err);
	if (!rc)
		rc = open_file(r, &r->tokens, 1, err);
	if (!rc)
		rc = open_file(r, &r->telemetry, 1, err);
	if (!rc)
		rc = put_header(r, &r->telemetry, telemetry_columns, telemetry_n_columns, err);
	if (!rc)
		rc = put_header(r, &r->tokens, token_columns, token_n_columns, err);
	if (!rc)
		rc = put_header(r, &r->runs, row_columns, row_n_columns, err);
	if (!rc)
		rc = sync_directory(r, err);
	return rc ? give_up(out, rc) : 0;
}

int recorder_check(const struct recorder *r, struct error *err)
{
	const struct file *files[] = {&r->runs, &r->tokens, &r->telemetry, &r->timeline};
	struct stat s, named;
	if (r->directory.fd < 0)
		return 0;
	if (!fstat(r->directory.fd, &s) && !s.st_nlink)
		return error_set(
			err, ERROR_IO,
			"%s: was removed while the sweep ran, and its rows with it; measure again, into another "
			"directory",
			r->directory.path);
	for (int i = 0; i < 4; i++) {
		const off_t written = files[i]->end ? files[i]->end : files[i]->size;
		if (files[i]->fd < 0 || fstat(files[i]->fd, &s))
			continue;
		if (!s.st_nlink || fstatat(r->directory.fd, files[i]->name, &named, AT_SYMLINK_NOFOLLOW) ||
		    named.st_dev != s.st_dev || named.st_ino != s.st_ino)
			return error_set(
				err, ERROR_IO,
				"%s/%s: was removed or replaced while the sweep ran, and the rows since then with it; "
				"restore what it held and go on with --resume, or measure again",
				r->directory.path, files[i]->name);
		/* What is not a regular file has no size. */
		if (S_ISREG(s.st_mode) && s.st_size != written)
			return error_set(
				err, ERROR_IO,
				"%s/%s: was changed while the sweep ran: %lld bytes were written and %lld are there; "
				"runs that are whole are kept: restore its header if that is gone, and go on with "
				"--resume, which measures the others again",
				r->directory.path, files[i]->name, (long long)written, (long long)s.st_size);
	}
	return 0;
}

int recorder_moved(const struct recorder *r, char place[RUN_DIRECTORY_PATH])
{
	struct stat now, there;
	char link[32];
	if (r->directory.fd < 0 || fstat(r->directory.fd, &now) || !now.st_nlink)
		return 0;
	if (!stat(r->directory.path, &there) && there.st_dev == now.st_dev && there.st_ino == now.st_ino)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", r->directory.fd);
	ssize_t n = readlink(link, place, RUN_DIRECTORY_PATH - 1);
	if (n < 0)
		n = snprintf(place, RUN_DIRECTORY_PATH, "an unknown place");
	place[n] = '\0';
	return 1;
}

/* What was written for a run that is recorded now, or never will be. */
static void settle_ahead(struct file *f, bool recorded)
{
	if (!recorded)
		cut_back(f);
	else if (f->end)
		f->size = f->end;
	f->end = 0;
}

/* What belongs to the run to come; where it fails, nothing does. Frees t. */
static int append_ahead(struct text *t, int bad, struct recorder *r, struct file *f, struct error *err)
{
	int rc = text_append(t, bad, r, f, &f->end, err);
	if (rc) {
		settle_ahead(&r->telemetry, false);
		settle_ahead(&r->timeline, false);
	}
	return rc;
}

static int begin_ahead(struct text *t, const struct recorder *r, struct error *err)
{
	int rc = recorder_check(r, err);
	return rc ? rc : text_open(t, r, err);
}

int recorder_telemetry(struct recorder *r, const char *run_id, const struct telemetry_sample *samples, int n,
		       struct error *err)
{
	struct text t;
	int bad = 0, rc = begin_ahead(&t, r, err);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++) {
		struct telemetry_row look = {SCHEMA_VERSION, run_id, samples[i]};
		bad |= put_record(t.stream, &look, telemetry_columns, telemetry_n_columns);
	}
	return append_ahead(&t, bad, r, &r->telemetry, err);
}

/* Of sweeps that ask for it alone. */
static int make_timeline(struct recorder *r, struct error *err)
{
	int rc = open_file(r, &r->timeline, 1, err);
	if (!rc)
		rc = put_header(r, &r->timeline, timeline_columns, timeline_n_columns, err);
	return rc ? rc : sync_directory(r, err);
}

int recorder_timeline(struct recorder *r, const char *run_id, const struct timeline_stamp *stamps, int n,
		      struct error *err)
{
	struct text t;
	int bad = 0, rc = r->timeline.fd < 0 ? make_timeline(r, err) : 0;
	if (!rc)
		rc = begin_ahead(&t, r, err);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++) {
		struct timeline_row row = {SCHEMA_VERSION, run_id, stamps[i]};
		bad |= put_record(t.stream, &row, timeline_columns, timeline_n_columns);
	}
	return append_ahead(&t, bad, r, &r->timeline, err);
}

int recorder_run(struct recorder *r, const struct run_row *row, const struct token_record *tokens, int n,
		 struct error *err)
{
	off_t tokens_end, runs_end;
	struct text t;
	/* First of all: behind what somebody cut off, a write would leave a hole. */
	int bad = 0, rc = recorder_check(r, err);
	if (!rc)
		rc = text_open(&t, r, err);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++) {
		struct token_row token = {row->schema_version, row->run_id, tokens[i]};
		bad |= put_record(t.stream, &token, token_columns, token_n_columns);
	}
	rc = text_append(&t, bad, r, &r->tokens, &tokens_end, err);
	if (!rc)
		rc = text_open(&t, r, err);
	if (!rc) {
		bad = put_record(t.stream, row, row_columns, row_n_columns);
		rc = text_append(&t, bad, r, &r->runs, &runs_end, err);
	}
	if (rc) {
		cut_back(&r->runs);
		cut_back(&r->tokens);
	}
	settle_ahead(&r->telemetry, !rc);
	settle_ahead(&r->timeline, !rc);
	if (rc)
		return rc;
	r->tokens.size = tokens_end;
	r->runs.size = runs_end;
	return recorder_check(r, err);
}

int recorder_close(struct recorder *r, struct error *err)
{
	char place[RUN_DIRECTORY_PATH];
	if (!r)
		return 0;
	int rc = recorder_check(r, err);
	if (!rc && recorder_moved(r, place))
		rc = error_set(err, ERROR_IO, "%s: was moved while the sweep ran; all rows are in %s",
			       r->directory.path, place);
	struct file *files[] = {&r->timeline, &r->telemetry, &r->tokens, &r->runs};
	for (int i = 0; i < 4; i++)
		if (files[i]->fd >= 0 && close(files[i]->fd))
			rc = io_failed(r, files[i]->name, free_space, err);
	run_directory_close(&r->directory);
	free(r);
	return rc;
}

/* Opens the file and goes on behind what is in it. */
static int reopen_file(const struct recorder *r, struct file *f, struct error *err)
{
	struct stat s;
	int rc = open_file(r, f, 0, err);
	if (!rc && fstat(f->fd, &s))
		return io_failed(r, f->name, "it cannot be resumed", err);
	if (!rc)
		f->size = s.st_size;
	return rc;
}

int recorder_resume(struct recorder **out, const char *path,
		    int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx,
		    struct resume_dropped *dropped, struct error *err)
{
	int rc = make_recorder(out, err);
	if (rc)
		return give_up(out, rc);
	struct recorder *r = *out;
	rc = run_directory_open(&r->directory, path, err);
	if (!rc)
		rc = lock_directory(r, err);
	if (!rc)
		rc = run_directory_sweep(&r->directory, err);
	if (!rc)
		rc = resume_directory(&r->directory, keep, ctx, dropped, err);
	if (!rc)
		rc = reopen_file(r, &r->runs, err);
	if (!rc)
		rc = reopen_file(r, &r->tokens, err);
	if (!rc)
		rc = reopen_file(r, &r->telemetry, err);
	if (!rc && !faccessat(r->directory.fd, r->timeline.name, F_OK, AT_SYMLINK_NOFOLLOW))
		rc = reopen_file(r, &r->timeline, err);
	return rc ? give_up(out, rc) : 0;
}
