#include "engine/cuda/cubin_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PATH_BYTES = 4096, CUBIN_MAX = 256 << 20 };

static const char magic[8] = {'G', 'M', 'C', 'U', 'B', 'I', 'N', '1'};

struct header {
	char magic[8];
	struct cubin_key key;
	uint64_t bytes;
	uint64_t checksum; /* of the cubin */
};

/* Lengths go in too: otherwise "a" "bc" and "ab" "c" were one key. */
static void add_text(XXH3_state_t *state, const char *text)
{
	uint64_t n = strlen(text);
	XXH3_128bits_update(state, &n, sizeof n);
	XXH3_128bits_update(state, text, n);
}

struct cubin_key cubin_key(const struct nvrtc_source *source, const char *const *options, int n_options, int major,
			   int minor)
{
	XXH3_state_t state;
	XXH3_128bits_reset(&state);
	const int counts[] = {major, minor, n_options, source->n_headers};
	XXH3_128bits_update(&state, counts, sizeof counts);
	add_text(&state, source->name);
	add_text(&state, source->text);
	for (int i = 0; i < source->n_headers; i++) {
		add_text(&state, source->headers[i].name);
		add_text(&state, source->headers[i].text);
	}
	for (int i = 0; i < n_options; i++)
		add_text(&state, options[i]);
	XXH128_hash_t h = XXH3_128bits_digest(&state);
	return (struct cubin_key){.high = h.high64, .low = h.low64};
}

bool cubin_cache_folder(char *folder, size_t bytes)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n = -1;
	if (cache && cache[0] == '/')
		n = snprintf(folder, bytes, "%s/gemmark", cache);
	else if (home && home[0] == '/')
		n = snprintf(folder, bytes, "%s/.cache/gemmark", home);
	return n > 0 && (size_t)n < bytes;
}

static bool entry_path(char *path, const char *folder, const struct cubin_key *key)
{
	int n = snprintf(path, PATH_BYTES, "%s/%016llx%016llx.cubin", folder, (unsigned long long)key->high,
			 (unsigned long long)key->low);
	return n > 0 && n < PATH_BYTES;
}

static bool read_all(int fd, void *to, size_t bytes)
{
	char *p = to;
	while (bytes) {
		ssize_t n = read(fd, p, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		bytes -= (size_t)n;
	}
	return true;
}

static bool write_all(int fd, const void *from, size_t bytes)
{
	const char *p = from;
	while (bytes) {
		ssize_t n = write(fd, p, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		bytes -= (size_t)n;
	}
	return true;
}

static void *read_entry(int fd, const struct cubin_key *key, size_t *bytes)
{
	struct stat st;
	struct header h;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || !read_all(fd, &h, sizeof h))
		return NULL;
	if (memcmp(h.magic, magic, sizeof magic) || h.key.high != key->high || h.key.low != key->low || h.bytes == 0 ||
	    h.bytes > CUBIN_MAX || (uint64_t)st.st_size != sizeof h + h.bytes)
		return NULL;
	void *cubin = malloc(h.bytes);
	if (!cubin)
		return NULL;
	if (!read_all(fd, cubin, h.bytes) || XXH3_64bits(cubin, h.bytes) != h.checksum) {
		free(cubin);
		return NULL;
	}
	*bytes = h.bytes;
	return cubin;
}

void *cubin_cache_load(const char *folder, const struct cubin_key *key, size_t *bytes)
{
	char path[PATH_BYTES];
	*bytes = 0;
	if (!entry_path(path, folder, key))
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	void *cubin = read_entry(fd, key, bytes);
	close(fd);
	return cubin;
}

static bool make_folder(const char *folder)
{
	char path[PATH_BYTES];
	if (snprintf(path, sizeof path, "%s", folder) >= PATH_BYTES)
		return false;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(path, 0700); /* what matters is whether the last one succeeds */
		*p = '/';
	}
	return !mkdir(path, 0700) || errno == EEXIST;
}

bool cubin_cache_store(const char *folder, const struct cubin_key *key, const void *cubin, size_t bytes)
{
	char path[PATH_BYTES], part[PATH_BYTES];
	if (bytes == 0 || bytes > CUBIN_MAX || !make_folder(folder) || !entry_path(path, folder, key) ||
	    snprintf(part, sizeof part, "%s/part-XXXXXX", folder) >= PATH_BYTES)
		return false;
	int fd = mkostemp(part, O_CLOEXEC);
	if (fd < 0)
		return false;
	struct header h = {.key = *key, .bytes = bytes, .checksum = XXH3_64bits(cubin, bytes)};
	memcpy(h.magic, magic, sizeof magic);
	bool written = write_all(fd, &h, sizeof h) && write_all(fd, cubin, bytes);
	if (close(fd))
		written = false;
	if (written && !rename(part, path))
		return true;
	unlink(part);
	return false;
}
