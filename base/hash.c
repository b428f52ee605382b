#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHUNK = 1 << 20 };

uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, bytes, seed);
}

struct hash_stream {
	XXH3_state_t state;
};

/* At its alignment from the allocator itself: XXH3_createState keeps a pointer into its block alone, and a leak
 * checker of a process that a signal ended takes the block for lost. */
struct hash_stream *hash_stream_new(void)
{
	struct hash_stream *h = aligned_alloc(_Alignof(struct hash_stream), sizeof *h);
	if (h) {
		XXH3_INITSTATE(&h->state);
		XXH3_64bits_reset(&h->state);
	}
	return h;
}

void hash_stream_add(struct hash_stream *h, const void *data, size_t bytes)
{
	XXH3_64bits_update(&h->state, data, bytes);
}

uint64_t hash_stream_value(const struct hash_stream *h)
{
	return XXH3_64bits_digest(&h->state);
}

void hash_stream_free(struct hash_stream *h)
{
	free(h);
}

int hash_file(const char *path, uint64_t *hash, uint64_t *bytes, struct error *err)
{
	int rc = 0;
	uint64_t total = 0;
	struct hash_stream *state = hash_stream_new();
	unsigned char *buffer = malloc(CHUNK);
	int fd = -1;
	if (!state || !buffer) {
		rc = error_set(err, ERROR_MEMORY, "%s: no memory to hash it; free some and run again", path);
		goto done;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = error_set(err, ERROR_IO, "%s: %s; check the path", path, strerror(errno));
		goto done;
	}
	for (;;) {
		ssize_t n = read(fd, buffer, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = error_set(err, ERROR_IO, "%s: read at byte %llu: %s; check the disk", path,
				       (unsigned long long)total, strerror(errno));
			goto done;
		}
		if (n == 0)
			break;
		hash_stream_add(state, buffer, (size_t)n);
		total += (uint64_t)n;
	}
	*hash = hash_stream_value(state);
	if (bytes)
		*bytes = total;
done:
	if (fd >= 0)
		close(fd);
	free(buffer);
	hash_stream_free(state);
	return rc;
}
