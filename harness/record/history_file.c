#include "harness/record/history_file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "harness/record/commit_date.h"
#include "harness/record/text_block.h"

enum { LOCK_SECONDS = 10, FILES_MAX = 10000 };

static const char ending[] = ".jsonl", attributes_name[] = ".gitattributes",
		  attributes[] = "# Lines are only added, and their order is irrelevant: a merge takes both sides'.\n"
				 "*.jsonl merge=union text eol=lf\n";

void history_free(struct history *h)
{
	for (int i = 0; i < h->n_records; i++) {
		free(h->records[i].runs);
		free(h->records[i].mads);
	}
	for (int i = 0; i < h->n_environments; i++) {
		free(h->environments[i].names);
		free(h->environments[i].values);
	}
	free(h->records);
	free(h->cells);
	free(h->environments);
	free(h->cell_hashes);
	free(h->environment_hashes);
	free(h->slots);
	text_block_free(&h->texts);
	*h = (struct history){0};
}

void history_leave_out(struct history *h, const char *commit)
{
	int kept = 0;
	for (int i = 0; i < h->n_records; i++) {
		if (!commit_same(h->records[i].commit, commit)) {
			h->records[kept++] = h->records[i];
			continue;
		}
		free(h->records[i].runs);
		free(h->records[i].mads);
	}
	h->n_records = kept;
}

/* ---- reading ---- */

/* A last line without an end that is no whole object is what a killed writer leaves. */
static int is_unfinished(const char *line, size_t n)
{
	while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
		n--;
	if (!n || line[n - 1] != '}')
		return 1;
	json_error_t why;
	json_t *o = n <= HISTORY_LINE_BYTES ? json_loadb(line, n, 0, &why) : NULL;
	int cut = n <= HISTORY_LINE_BYTES && !o && json_error_code(&why) == json_error_premature_end_of_input;
	json_decref(o);
	return cut;
}

static int take_lines(struct history *h, const char *bytes, size_t n, struct error *err)
{
	size_t number = 1, at = 0;
	for (; at < n; number++) {
		const char *end = memchr(bytes + at, '\n', n - at);
		size_t length = end ? (size_t)(end - bytes) - at : n - at, plain = length;
		if (!end && is_unfinished(bytes + at, length)) {
			h->cut = 1;
			break;
		}
		/* What an editor of another system made of it. */
		while (plain && (bytes[at + plain - 1] == '\r' || bytes[at + plain - 1] == ' '))
			plain--;
		int rc = plain ? history_take(h, bytes + at, plain, number, err) : 0;
		if (rc < 0)
			return rc;
		at += length + (end != NULL);
		h->open_line = !end;
	}
	h->end = at;
	return 0;
}

static int read_file(struct history *h, int fd, struct error *err)
{
	struct stat s;
	if (fstat(fd, &s))
		return error_set(err, ERROR_IO, "%s: %s", h->path, strerror(errno));
	if (s.st_size > HISTORY_FILE_BYTES)
		return error_set(err, ERROR_INPUT, "%s: larger than %d bytes, which is all that is read; divide it",
				 h->path, HISTORY_FILE_BYTES);
	size_t size = (size_t)s.st_size, used = 0;
	char *bytes = malloc(size + 1);
	int rc = bytes ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", h->path);
	while (!rc && used < size) {
		ssize_t n = pread(fd, bytes + used, size - used, (off_t)used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = error_set(err, ERROR_IO, "%s: %s", h->path, strerror(errno));
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (!rc)
		rc = take_lines(h, bytes, used, err);
	free(bytes);
	return rc;
}

int history_read(struct history *h, const struct run_directory *store, const char *name,
		 const struct history_join *join, struct error *err)
{
	*h = (struct history){.join = join};
	snprintf(h->path, sizeof h->path, "%.*s/%s", RUN_DIRECTORY_PATH - HISTORY_NAME_SIZE - 2, store->path, name);
	int fd = run_directory_open_file(store, name, O_RDONLY, err);
	if (fd < 0)
		return fd;
	int rc = read_file(h, fd, err);
	close(fd);
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int is_history(const char *name)
{
	size_t n = strlen(name);
	return *name != '.' && n > sizeof ending - 1 && n < HISTORY_NAME_SIZE &&
	       !strcmp(name + n - (sizeof ending - 1), ending);
}

int history_list(const struct run_directory *store, char (**out)[HISTORY_NAME_SIZE], int *n, struct error *err)
{
	int fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), room = 0, rc = 0;
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	*out = NULL;
	*n = 0;
	if (!entries) {
		rc = error_set(err, ERROR_IO, "%s: %s; name another folder", store->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *e; !rc && (e = readdir(entries));) {
		if (!is_history(e->d_name))
			continue;
		if (*n == FILES_MAX) {
			rc = error_set(err, ERROR_INPUT, "%s: more than %d files; divide it", store->path, FILES_MAX);
			break;
		}
		if (*n == room) {
			room = room ? 2 * room : 16;
			void *grown = realloc(*out, (size_t)room * sizeof **out);
			if (!grown) {
				rc = error_set(err, ERROR_MEMORY, "%s: not enough memory to list it", store->path);
				break;
			}
			*out = grown;
		}
		snprintf((*out)[(*n)++], sizeof **out, "%s", e->d_name);
	}
	closedir(entries);
	if (!rc && *n)
		qsort(*out, (size_t)*n, sizeof **out, compare_names);
	return rc;
}

/* Letters, digits and dots; what else is there becomes one '-' each run. Never begins with a dot. */
static size_t slug(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (; *text && n + 1 < size; text++) {
		int plain = (isalnum((unsigned char)*text) && (unsigned char)*text < 128) || *text == '_' ||
			    (*text == '.' && n);
		if (plain)
			out[n++] = *text;
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n && (out[n - 1] == '-' || out[n - 1] == '.'))
		n--;
	if (!n)
		out[n++] = '_';
	out[n] = '\0';
	return n;
}

void history_file_name(const char *machine, const char *model, const char *hash, char out[HISTORY_NAME_SIZE])
{
	char a[90], b[80], c[10] = "";
	slug(a, sizeof a, machine);
	slug(b, sizeof b, model);
	if (*hash)
		snprintf(c, sizeof c, "-%.8s", hash);
	snprintf(out, HISTORY_NAME_SIZE, "%s--%s%s%s", a, b, c, ending);
}

/* ---- adding ---- */

static int make_attributes(const struct run_directory *d, struct error *err)
{
	struct run_file f;
	if (!faccessat(d->fd, attributes_name, F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT)
		return 0;
	int rc = run_file_open(&f, d, attributes_name, err);
	if (rc)
		return rc;
	fputs(attributes, f.stream);
	return run_file_commit(&f, 1, err);
}

static int write_all(int fd, const char *bytes, size_t n, off_t at)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pwrite(fd, bytes + done, n - done, at + (off_t)done);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			errno = k ? errno : ENOSPC;
			return -1;
		}
		done += (size_t)k;
	}
	return 0;
}

/* What is written when nothing fails, or what was there. */
static int write_lines(const struct history *h, int fd, const char *bytes, size_t n, struct error *err)
{
	off_t at = (off_t)h->end;
	if (!n || (!ftruncate(fd, at) && !write_all(fd, bytes, n, at) && !fsync(fd)))
		return 0;
	int reason = errno;
	if (ftruncate(fd, at))
		return error_set(err, ERROR_IO, "%s: %s, and its last line is not whole; free space and add again",
				 h->path, strerror(reason));
	return error_set(err, ERROR_IO, "%s: %s; nothing was added: free space and add again", h->path,
			 strerror(reason));
}

/* The new ones of the lines in one block, which the caller frees. */
static int join_new(struct history *h, const char *const *lines, int n, char **out, size_t *size, int *added,
		    struct error *err)
{
	size_t room = 2;
	for (int i = 0; i < n; i++)
		room += strlen(lines[i]) + 1;
	*size = 0;
	*added = 0;
	*out = malloc(room);
	if (!*out)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory to add to it", h->path);
	if (h->open_line)
		(*out)[(*size)++] = '\n';
	size_t before = *size;
	for (int i = 0; i < n; i++) {
		size_t k = strlen(lines[i]);
		int rc = history_take(h, lines[i], k, (size_t)h->n_records + (size_t)h->repeated + 1, err);
		if (rc < 0)
			return rc;
		if (rc)
			continue;
		memcpy(*out + *size, lines[i], k);
		(*out)[*size + k] = '\n';
		*size += k + 1;
		++*added;
	}
	if (*size == before)
		*size = 0;
	return 0;
}

int history_append(const struct run_directory *store, const char *name, const char *const *lines, int n, int *added,
		   struct error *err)
{
	struct history h = {0};
	char *bytes = NULL;
	size_t size = 0;
	int fd = -1, rc = run_directory_lock(store, LOCK_SECONDS, "end that", err);
	*added = 0;
	if (rc)
		return rc;
	snprintf(h.path, sizeof h.path, "%.*s/%s", RUN_DIRECTORY_PATH - HISTORY_NAME_SIZE - 2, store->path, name);
	rc = make_attributes(store, err);
	if (!rc && faccessat(store->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT) {
		fd = run_directory_create_file(store, name, err);
		rc = fd < 0 ? fd : 0;
	} else if (!rc) {
		fd = run_directory_open_file(store, name, O_RDWR, err);
		rc = fd < 0 ? fd : read_file(&h, fd, err);
	}
	if (!rc)
		rc = join_new(&h, lines, n, &bytes, &size, added, err);
	if (!rc)
		rc = write_lines(&h, fd, bytes, size, err);
	if (rc)
		*added = 0;
	if (fd >= 0)
		close(fd);
	run_directory_unlock(store);
	free(bytes);
	history_free(&h);
	return rc;
}
