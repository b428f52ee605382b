/*
 * Content hashes: XXH3-64 (xxHash, header-only). Not cryptographic: it tells an
 * accident from no change.
 */
#ifndef GEMMARK_BASE_HASH_H
#define GEMMARK_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Chained by giving the hash so far as the seed. */
uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed);

/*
 * The whole file, seed 0: what `xxhsum -H3 FILE` prints. One thread, one pass; it
 * runs at the speed of the page cache, once a sweep. bytes may be null.
 */
int hash_file(const char *path, uint64_t *hash, uint64_t *bytes, struct error *err);

/* In pieces, seed 0. Null where there is no memory. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *h, const void *data, size_t bytes);
uint64_t hash_stream_value(const struct hash_stream *h); /* of all that was added so far */
void hash_stream_free(struct hash_stream *h);

#endif
