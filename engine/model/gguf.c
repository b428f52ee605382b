/*
 * Opening and closing GGUF files: the mapping and what belongs to it. The checks are
 * gguf_parse.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "engine/model/gguf_internal.h"

int gguf_open_memory(struct gguf *g, const void *bytes, size_t n_bytes, const char *path, struct error *err)
{
	struct gguf_owned *owned = calloc(1, sizeof *owned);
	*g = (struct gguf){.map = bytes, .map_bytes = n_bytes, .n_parts = 1, .owned = owned};
	if (owned)
		g->path = owned->path = strdup(path);
	int rc = g->path ? gguf_parse(g, err)
			 : error_set(err, ERROR_MEMORY, "%s: no memory to read it; close other programs",
				     text_show_path(path).text);
	if (rc)
		gguf_close(g);
	return rc;
}

static const char *file_kind(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISSOCK(mode))
		return "a socket";
	return "a device";
}

struct gguf_mapping {
	struct gguf_mapping *next;
	void *map; /* null: of an empty file */
	size_t bytes;
	int fd; /* tells whether the file is still what it was */
	struct stat stat;
	struct text_shown path; /* for a message */
};

/* All of the process, for a handler of SIGBUS: the list is whole at every moment. */
static struct gguf_mapping *volatile mappings;
static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;

static void list_mapping(struct gguf_mapping *m)
{
	pthread_mutex_lock(&mappings_lock);
	m->next = mappings;
	mappings = m;
	pthread_mutex_unlock(&mappings_lock);
}

static void unmap(struct gguf_mapping *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&mappings_lock);
	if (mappings == m)
		mappings = m->next;
	for (struct gguf_mapping *at = mappings; at; at = at->next)
		if (at->next == m)
			at->next = m->next;
	pthread_mutex_unlock(&mappings_lock);
	if (m->map)
		munmap(m->map, m->bytes);
	close(m->fd);
	free(m);
}

static uint64_t identity_of(const struct stat *s, uint64_t seed)
{
	const uint64_t parts[] = {(uint64_t)s->st_dev, (uint64_t)s->st_ino, (uint64_t)s->st_size,
				  (uint64_t)s->st_mtim.tv_sec, (uint64_t)s->st_mtim.tv_nsec};
	return hash_bytes(parts, sizeof parts, seed);
}

uint64_t gguf_identity(const struct gguf *g)
{
	const struct gguf_owned *owned = g->owned;
	uint64_t identity = 0;
	for (int i = 0; owned && i < owned->n_parts; i++)
		identity = hash_bytes(&(uint64_t){gguf_identity(&owned->parts[i])}, sizeof identity, identity);
	return owned && owned->mapping ? identity_of(&owned->mapping->stat, identity) : identity;
}

int gguf_check(const struct gguf *g, const char *remedy, struct error *err)
{
	const struct gguf_owned *owned = g->owned;
	struct stat now;
	int rc = 0;
	for (int i = 0; owned && i < owned->n_parts && !rc; i++)
		rc = gguf_check(&owned->parts[i], remedy, err);
	if (rc || !owned || !owned->mapping ||
	    (!fstat(owned->mapping->fd, &now) && identity_of(&now, 0) == identity_of(&owned->mapping->stat, 0)))
		return rc;
	return error_set(err, ERROR_INPUT, "%s: changed while it was read; %s", text_show_path(g->path).text, remedy);
}

const char *gguf_mapped_path(const void *address)
{
	for (const struct gguf_mapping *m = mappings; m; m = m->next)
		if ((uintptr_t)address - (uintptr_t)m->map < m->bytes)
			return m->path.text;
	return NULL;
}

/* Maps a regular file. An empty one gives no mapping and no error. */
static int map_file(struct gguf_mapping *m, const char *path, struct error *err)
{
	m->path = text_show_path(path);
	/* O_NONBLOCK: opening a FIFO that nobody writes would wait forever. */
	m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (m->fd < 0)
		return error_set(err, ERROR_IO, "%s: cannot be opened: %s; check the path", m->path.text,
				 strerror(errno));
	int rc = 0;
	if (fstat(m->fd, &m->stat) != 0)
		rc = error_set(err, ERROR_IO, "%s: cannot be examined: %s", m->path.text, strerror(errno));
	else if (!S_ISREG(m->stat.st_mode))
		rc = error_set(err, ERROR_INPUT, "%s: is %s; give the .gguf file of a model", m->path.text,
			       file_kind(m->stat.st_mode));
	if (!rc && m->stat.st_size) {
		m->bytes = (size_t)m->stat.st_size;
		m->map = mmap(NULL, m->bytes, PROT_READ, MAP_PRIVATE, m->fd, 0);
		if (m->map == MAP_FAILED)
			rc = error_set(
				err, ERROR_IO,
				"%s: %jd bytes cannot be mapped: %s; raise the limit of address space (ulimit -v)",
				m->path.text, (intmax_t)m->stat.st_size, strerror(errno));
	}
	if (rc)
		close(m->fd);
	return rc;
}

int gguf_open_one(struct gguf *g, const char *path, struct error *err)
{
	*g = (struct gguf){0};
	struct gguf_mapping *m = calloc(1, sizeof *m);
	if (!m)
		return error_set(err, ERROR_MEMORY, "%s: no memory to read it; close other programs",
				 text_show_path(path).text);
	int rc = map_file(m, path, err);
	if (rc) {
		free(m);
		return rc;
	}
	list_mapping(m);
	rc = gguf_open_memory(g, m->map, m->bytes, path, err);
	if (rc) {
		unmap(m);
		return rc;
	}
	((struct gguf_owned *)g->owned)->mapping = m;
	return 0;
}

int gguf_open(struct gguf *g, const char *path, struct error *err)
{
	int rc = gguf_open_one(g, path, err);
	return rc ? rc : gguf_join_parts(g, err);
}

void gguf_close(struct gguf *g)
{
	struct gguf_owned *owned = g->owned;
	if (!owned || !owned->parts)
		free(g->kv);
	free(g->tensors);
	if (owned) {
		for (int i = 0; i < owned->n_parts; i++)
			gguf_close(&owned->parts[i]);
		if (!owned->parts)
			free(owned->kv_index);
		free(owned->parts);
		free(owned->path);
		free(owned->tensor_index);
		unmap(owned->mapping);
		free(owned);
	}
	*g = (struct gguf){0};
}
