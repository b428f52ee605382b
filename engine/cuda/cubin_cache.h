/*
 * Compiled kernels on disk, so that a second start does not compile.
 *
 * An entry is one file named by its key, written beside and renamed into place. Nothing in it is
 * trusted: a file of another user, of another key, cut short or changed counts as absent. A cache that
 * cannot be written costs time, not correctness, and is no error.
 */
#ifndef GEMMARK_ENGINE_CUDA_CUBIN_CACHE_H
#define GEMMARK_ENGINE_CUDA_CUBIN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cuda/nvrtc.h"

struct cubin_key {
	uint64_t high, low;
};

/* Of all that decides what the compiler makes: source, headers, options (the architecture is one), compiler. */
struct cubin_key cubin_key(const struct nvrtc_source *source, const char *const *options, int n_options, int major,
			   int minor);

/* $XDG_CACHE_HOME/gemmark or ~/.cache/gemmark; false where neither variable gives a path that fits. */
bool cubin_cache_folder(char *folder, size_t bytes);

/* Returns the cubin (the caller's to free) and its size, or null where there is no entry to be trusted. */
void *cubin_cache_load(const char *folder, const struct cubin_key *key, size_t *bytes);

/* Makes the folder where it is missing. Returns whether the entry is there now. */
bool cubin_cache_store(const char *folder, const struct cubin_key *key, const void *cubin, size_t bytes);

#endif
