#include "harness/measure/context_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"

enum {
	LOCK_SECONDS = 2, /* making room takes milliseconds */
	LOCK_WAIT_NS = 20000000,
	LOCK_TRIES = LOCK_SECONDS * (1000000000 / LOCK_WAIT_NS),
};

static const char end_of_name[] = ".gkv";
static const uint64_t default_limit = (uint64_t)16 << 30;

/* ---- names ---- */

const char *context_name_text(const struct context_name *n, char out[CONTEXT_NAME_SIZE])
{
	snprintf(out, CONTEXT_NAME_SIZE, "%016" PRIx64 "-%d-%016" PRIx64 "-%d%s", n->identity, n->tokens,
		 n->tokens_hash, n->observed, end_of_name);
	return out;
}

/* Whether it is a snapshot's. */
static int parse_name(const char *text, struct context_name *out)
{
	char again[CONTEXT_NAME_SIZE];
	*out = (struct context_name){0};
	return sscanf(text, "%16" SCNx64 "-%9d-%16" SCNx64 "-%9d", &out->identity, &out->tokens, &out->tokens_hash,
		      &out->observed) == 4 &&
	       out->tokens > 0 && out->observed >= 0 && !strcmp(context_name_text(out, again), text);
}

/* Whether it is that of a snapshot while it is written: run_file_open's. */
static int is_unfinished(const char *text)
{
	size_t n = strlen(text);
	return *text == '.' && n > 4 && !strcmp(text + n - 4, ".tmp") && strstr(text, ".gkv.");
}

int context_name_of(const struct context_label *l, struct context_name *out)
{
	char *text = json_dumps(l->identity, JSON_COMPACT | JSON_SORT_KEYS);
	*out = (struct context_name){.tokens = l->tokens, .tokens_hash = l->tokens_hash, .observed = l->observed};
	if (text)
		out->identity = hash_bytes(text, strlen(text), 0);
	free(text);
	return text != NULL;
}

/* ---- what is there ---- */

struct entry {
	char name[CONTEXT_NAME_SIZE];
	uint64_t bytes;
	struct timespec used;
};

struct entries {
	struct entry *of;
	int n;
	uint64_t bytes; /* unfinished ones too */
};

static int refused(const struct context_directory *c, const char *what, struct error *err)
{
	return error_set(err, ERROR_IO, "%s: %s: %s", c->d.path, what, strerror(errno));
}

/* One whose writer is gone holds no lock: it is removed. Called under the directory's lock alone. */
static int remove_abandoned(const struct context_directory *c, const char *name)
{
	int fd = run_directory_open_file(&c->d, name, O_RDONLY, NULL);
	int gone = fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB) && !unlinkat(c->d.fd, name, 0);
	if (fd >= 0)
		close(fd);
	return gone;
}

/* Each regular file of ours. visit's result other than 0 ends it. */
static int each(const struct context_directory *c,
		int (*visit)(void *ctx, const char *name, const struct stat *s, struct error *err), void *ctx,
		struct error *err)
{
	int fd = openat(c->d.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		rc = refused(c, "cannot be listed", err);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *e; !rc && (e = readdir(d));) {
		struct context_name parsed;
		struct stat s;
		if ((parse_name(e->d_name, &parsed) || is_unfinished(e->d_name)) &&
		    !fstatat(c->d.fd, e->d_name, &s, AT_SYMLINK_NOFOLLOW))
			rc = visit(ctx, e->d_name, &s, err);
	}
	closedir(d);
	return rc;
}

struct counting {
	const struct context_directory *c;
	struct entries *out;
	int capacity;
};

static int count_entry(void *ctx, const char *name, const struct stat *s, struct error *err)
{
	struct counting *k = ctx;
	struct entries *out = k->out;
	if (!S_ISREG(s->st_mode) || (is_unfinished(name) && remove_abandoned(k->c, name)))
		return 0;
	out->bytes += (uint64_t)s->st_size;
	if (is_unfinished(name))
		return 0;
	if (out->n == k->capacity) {
		int capacity = k->capacity ? 2 * k->capacity : 64;
		struct entry *grown = realloc(out->of, (size_t)capacity * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "no memory for the names of %d snapshots", capacity);
		out->of = grown;
		k->capacity = capacity;
	}
	struct entry *e = &out->of[out->n++];
	*e = (struct entry){.bytes = (uint64_t)s->st_size, .used = s->st_mtim};
	snprintf(e->name, sizeof e->name, "%s", name);
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct timespec *x = &((const struct entry *)a)->used, *y = &((const struct entry *)b)->used;
	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Under the lock. out->of is the caller's, also after a failure. */
static int count(const struct context_directory *c, struct entries *out, struct error *err)
{
	struct counting k = {.c = c, .out = out};
	*out = (struct entries){0};
	int rc = each(c, count_entry, &k, err);
	if (out->n)
		qsort(out->of, (size_t)out->n, sizeof *out->of, by_use);
	return rc;
}

struct listing {
	uint64_t identity;
	struct context_name *of;
	int n;
};

static int list_entry(void *ctx, const char *name, const struct stat *s, struct error *err)
{
	struct listing *l = ctx;
	struct context_name parsed;
	(void)s;
	if (!parse_name(name, &parsed) || parsed.identity != l->identity)
		return 0;
	struct context_name *grown = realloc(l->of, ((size_t)l->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "no memory for the names of %d snapshots", l->n + 1);
	l->of = grown;
	l->of[l->n++] = parsed;
	return 0;
}

int context_directory_list(const struct context_directory *c, uint64_t identity, struct context_name **out, int *n,
			   struct error *err)
{
	struct listing l = {.identity = identity};
	int rc = each(c, list_entry, &l, err);
	if (rc) {
		free(l.of);
		l = (struct listing){0};
	}
	*out = l.of;
	*n = l.n;
	return rc;
}

/* ---- the lock ---- */

/* Not for ever: whoever holds it may never let go. */
static int lock(const struct context_directory *c, struct error *err)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(c->d.fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return refused(c, "cannot be locked", err);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
	}
	return error_set(
		err, ERROR_IO,
		"%s: another process keeps it locked, and did for %d s; end that one, or name another directory",
		c->d.path, LOCK_SECONDS);
}

static void unlock(const struct context_directory *c)
{
	flock(c->d.fd, LOCK_UN);
}

/* ---- opening ---- */

/* By making a file: permissions alone do not say it of a disk that is read-only. */
static int probe(const struct context_directory *c, struct error *err)
{
	static const char name[] = "probe.gkv";
	struct run_file f;
	struct error why;
	int rc = run_file_open(&f, &c->d, name, &why);
	if (rc)
		return error_set(err, rc, "%s; name a directory that can be written to", why.text);
	run_file_discard(&f);
	return 0;
}

/* there: bytes of the snapshots in it */
static int default_for(const struct context_directory *c, uint64_t there, uint64_t *limit, struct error *err)
{
	struct statvfs s;
	if (fstatvfs(c->d.fd, &s))
		return refused(c, "its free space is unknown", err);
	uint64_t share = ((uint64_t)s.f_bavail * s.f_frsize + there) / 2;
	*limit = share < default_limit ? share : default_limit;
	return 0;
}

static void remove_entry(const struct context_directory *c, struct entries *all, int i)
{
	if (!unlinkat(c->d.fd, all->of[i].name, 0))
		all->bytes -= all->of[i].bytes;
}

/* It holds from now on, also where nothing will be written: the least recently used go that are beyond it. */
static int settle_limit(struct context_directory *c, struct error *err)
{
	struct entries there;
	int rc = lock(c, err);
	if (rc)
		return rc;
	rc = count(c, &there, err);
	if (!rc && !c->limit)
		rc = default_for(c, there.bytes, &c->limit, err);
	for (int i = 0; i < there.n && !rc && there.bytes > c->limit; i++)
		remove_entry(c, &there, i);
	unlock(c);
	free(there.of);
	return rc;
}

int context_directory_open(struct context_directory *c, const char *path, uint64_t limit, struct error *err)
{
	*c = (struct context_directory){.limit = limit, .d.fd = -1};
	int rc = run_directory_make_last(&c->d, path, err);
	if (rc)
		return rc;
	rc = probe(c, err);
	if (!rc)
		rc = settle_limit(c, err);
	if (rc)
		context_directory_close(c);
	return rc;
}

void context_directory_close(struct context_directory *c)
{
	run_directory_close(&c->d);
}

/* ---- files ---- */

int context_directory_load(const struct context_directory *c, const struct context_name *n,
			   const struct context_label *l, void **contents, size_t *bytes, struct error *err)
{
	char name[CONTEXT_NAME_SIZE];
	*contents = NULL;
	int fd = run_directory_open_file(&c->d, context_name_text(n, name), O_RDONLY, err);
	if (fd < 0)
		return fd;
	int rc = context_file_read(fd, l, contents, bytes, err);
	if (rc)
		error_prefix(err, rc, "%s/%s", c->d.path, name);
	else
		futimens(fd, (struct timespec[2]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}});
	close(fd);
	return rc;
}

/* Its own older version goes, and then the least recently used until so many bytes fit. Under the lock. */
static int make_room(const struct context_directory *c, const char *name, uint64_t bytes, struct error *err)
{
	struct entries there;
	int rc = count(c, &there, err);
	for (int i = 0; i < there.n && !rc; i++)
		if (!strcmp(there.of[i].name, name))
			remove_entry(c, &there, i);
	for (int i = 0; i < there.n && !rc && there.bytes + bytes > c->limit; i++)
		if (strcmp(there.of[i].name, name))
			remove_entry(c, &there, i);
	if (!rc && there.bytes + bytes > c->limit)
		rc = error_set(err, ERROR_UNSUPPORTED,
			       "%s: of the %" PRIu64
			       " bytes that all snapshots may take together, what is being written "
			       "there leaves no room for %" PRIu64,
			       c->d.path, c->limit, bytes);
	free(there.of);
	return rc;
}

/* Its whole length is there, and counted by others, before the lock is let go; its own lock says that it is alive. */
static int reserve(const struct context_directory *c, struct run_file *f, const char *name, uint64_t bytes,
		   struct error *err)
{
	int rc = lock(c, err);
	if (rc)
		return rc;
	rc = make_room(c, name, bytes, err);
	if (!rc && !(rc = run_file_open(f, &c->d, name, err))) {
		int bad = flock(fileno(f->stream), LOCK_EX | LOCK_NB)
				  ? errno
				  : posix_fallocate(fileno(f->stream), 0, (off_t)bytes);
		if (bad) {
			rc = error_set(err, ERROR_IO, "%s: %s", c->d.path, strerror(bad));
			run_file_discard(f);
		}
	}
	unlock(c);
	return rc;
}

int context_directory_save(const struct context_directory *c, const struct context_name *n,
			   const struct context_label *l, const void *contents, size_t bytes, struct error *err)
{
	char name[CONTEXT_NAME_SIZE];
	struct run_file f = {0};
	uint64_t length = context_file_bytes(l, bytes);
	context_name_text(n, name);
	if (!length)
		return error_set(err, ERROR_MEMORY, "no memory for the label of %s", name);
	if (length > c->limit)
		return error_set(err, ERROR_UNSUPPORTED,
				 "%s: a snapshot of %" PRIu64 " bytes is more than the %" PRIu64
				 " that all of them may take together; raise --kv-cache-limit",
				 c->d.path, length, c->limit);
	int rc = reserve(c, &f, name, length, err);
	if (rc)
		return rc;
	rc = context_file_write(f.stream, l, contents, bytes, err);
	if (rc)
		error_prefix(err, rc, "%s/%s", c->d.path, name);
	/* Renamed while others count, it might be counted twice, or not at all. */
	if (!rc && !(rc = lock(c, err))) {
		rc = run_file_commit(&f, 0, err);
		unlock(c);
	}
	run_file_discard(&f);
	return rc;
}
