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

int hash_file(const char *path, uint64_t *hash, uint64_t *bytes, struct error *err)
{
	int rc = 0;
	uint64_t total = 0;
	XXH3_state_t *state = XXH3_createState();
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
	XXH3_64bits_reset(state);
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
		XXH3_64bits_update(state, buffer, (size_t)n);
		total += (uint64_t)n;
	}
	*hash = XXH3_64bits_digest(state);
	if (bytes)
		*bytes = total;
done:
	if (fd >= 0)
		close(fd);
	free(buffer);
	XXH3_freeState(state);
	return rc;
}
