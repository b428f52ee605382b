/*
 * Opening and closing GGUF files: the mapping and what belongs to it. The checks are
 * gguf_parse.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model/gguf_internal.h"

int gguf_open_memory(struct gguf *g, const void *bytes, size_t n_bytes, const char *path, struct error *err)
{
	struct gguf_owned *owned = calloc(1, sizeof *owned);
	*g = (struct gguf){.map = bytes, .map_bytes = n_bytes, .owned = owned};
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

/* Maps a regular file. An empty one gives no mapping and no error. */
static int map_file(const char *path, void **map, size_t *bytes, struct error *err)
{
	struct text_shown shown = text_show_path(path);
	struct stat st;
	int rc = 0;
	*map = NULL;
	*bytes = 0;
	/* O_NONBLOCK: opening a FIFO that nobody writes would wait forever. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(err, ERROR_IO, "%s: cannot be opened: %s; check the path", shown.text,
				 strerror(errno));
	if (fstat(fd, &st) != 0) {
		rc = error_set(err, ERROR_IO, "%s: cannot be examined: %s", shown.text, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		rc = error_set(err, ERROR_INPUT, "%s: is %s; give the .gguf file of a model", shown.text,
			       file_kind(st.st_mode));
		goto out;
	}
	if (st.st_size == 0)
		goto out;
	*map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (*map == MAP_FAILED) {
		*map = NULL;
		rc = error_set(err, ERROR_IO,
			       "%s: %jd bytes cannot be mapped: %s; raise the limit of address space (ulimit -v)",
			       shown.text, (intmax_t)st.st_size, strerror(errno));
		goto out;
	}
	*bytes = (size_t)st.st_size;
out:
	close(fd);
	return rc;
}

int gguf_open(struct gguf *g, const char *path, struct error *err)
{
	void *map;
	size_t bytes;
	*g = (struct gguf){0};
	int rc = map_file(path, &map, &bytes, err);
	if (rc)
		return rc;
	rc = gguf_open_memory(g, map, bytes, path, err);
	if (rc) {
		if (map)
			munmap(map, bytes);
		return rc;
	}
	struct gguf_owned *owned = g->owned;
	owned->map = map;
	owned->map_bytes = bytes;
	return 0;
}

void gguf_close(struct gguf *g)
{
	struct gguf_owned *owned = g->owned;
	free(g->kv);
	free(g->tensors);
	if (owned) {
		free(owned->path);
		free(owned->kv_index);
		free(owned->tensor_index);
		if (owned->map)
			munmap(owned->map, owned->map_bytes);
		free(owned);
	}
	*g = (struct gguf){0};
}
