/*
 * One snapshot of a context as a file: a fixed head, a label in JSON that says what it is of, and the bytes.
 *
 * A file is untrusted: it may be of another model, of another build, cut, altered, or nothing of ours. Every size that
 * it states is held against its length before anything is allocated, head and label have a hash, the bytes another one.
 */
#ifndef GEMMARK_HARNESS_MEASURE_CONTEXT_FILE_H
#define GEMMARK_HARNESS_MEASURE_CONTEXT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

enum { CONTEXT_FILE_VERSION = 1 };

struct context_label {
	const json_t *identity; /* names to texts, of struct context_facts */
	int tokens;             /* of the context */
	uint64_t tokens_hash;
	int observed; /* as in struct context_facts */
};

/* Bytes of the file; 0 without memory. */
uint64_t context_file_bytes(const struct context_label *l, size_t bytes);
/* From the stream's start. ERROR_IO with the system's word, ERROR_MEMORY. */
int context_file_write(FILE *f, const struct context_label *l, const void *contents, size_t bytes, struct error *err);

/*
 * fd: a regular file, at its start. The caller frees *contents. ERROR_INPUT says why it is not what the label says: the
 * first that is another's, the format, a size, what was altered. ERROR_IO, ERROR_MEMORY.
 */
int context_file_read(int fd, const struct context_label *l, void **contents, size_t *bytes, struct error *err);

#endif
