/*
 * Writing GGUF files, version 3, little-endian, alignment 32.
 *
 * Usage: init; add all metadata; add all tensors (shape and type, no data); begin
 * (the header goes out, data offsets are settled); then the data of the tensors, in
 * any order, by gguf_writer_offset and pwrite, or whole with gguf_writer_data; end.
 * The file appears under its name only at gguf_writer_end: until then it is a
 * temporary one beside it (base/output_file.h), which gguf_writer_abort removes.
 */
#ifndef GEMMARK_ENGINE_MODEL_GGUF_WRITE_H
#define GEMMARK_ENGINE_MODEL_GGUF_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/model/gguf.h"

struct gguf_writer; /* opaque */

/* replace: what has the name already. ERROR_INPUT where it has and is not to be replaced, ERROR_IO, ERROR_MEMORY. */
int gguf_writer_open(struct gguf_writer **out, const char *path, bool replace, struct error *err);

/* Strings and arrays are copied. Errors (memory, a shape too large) are kept and reported by begin. */
void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_writer_f32(struct gguf_writer *w, const char *key, float value);
void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_writer_string(struct gguf_writer *w, const char *key, const char *value);
void gguf_writer_u32_array(struct gguf_writer *w, const char *key, const uint32_t *values, size_t n);
void gguf_writer_bool_array(struct gguf_writer *w, const char *key, const bool *values, size_t n);
/* An entry of an open file, whatever its type, byte for byte. */
void gguf_writer_copy(struct gguf_writer *w, const struct gguf_kv *kv);

/* ne[0] innermost. Returns the tensor's index. */
int gguf_writer_tensor(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims, const int64_t *ne);

/*
 * Writes the header and sizes the file, claiming its disk space where the file system
 * can, so that a full disk shows here. After it nothing can be added.
 */
int gguf_writer_begin(struct gguf_writer *w, struct error *err);

/* Valid after begin: the file descriptor, and where tensor i's bytes start in the file. */
int gguf_writer_fd(const struct gguf_writer *w);
uint64_t gguf_writer_offset(const struct gguf_writer *w, int i);
uint64_t gguf_writer_file_bytes(const struct gguf_writer *w);

/* All of tensor i's bytes. */
int gguf_writer_data(struct gguf_writer *w, int i, const void *data, struct error *err);

/* Gives the file its name and frees w. On failure, too; the file is then gone, as output_file_commit has it. */
int gguf_writer_end(struct gguf_writer *w, struct error *err);
void gguf_writer_abort(struct gguf_writer *w);

#endif
