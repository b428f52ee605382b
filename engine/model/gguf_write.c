/*
 * The GGUF writer. The header is built in memory as entries are added, metadata and
 * tensors each in a buffer of their own, since the file counts both in front of them.
 * The data is never held: gguf_writer_begin settles every offset, and whoever makes
 * the bytes writes them there.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/output_file.h"
#include "engine/model/gguf_internal.h"
#include "engine/model/gguf_write.h"

enum { VERSION = 3, ALIGNMENT = 32 };

struct buffer {
	unsigned char *bytes;
	size_t size;
	size_t capacity;
};

struct placed_tensor {
	uint64_t offset; /* from the start of the data section */
	size_t bytes;
};

struct gguf_writer {
	struct output_file file;
	bool no_memory;
	bool too_large;
	bool begun;
	struct buffer metadata;
	struct buffer infos;
	uint64_t n_kv;
	struct placed_tensor *tensors;
	int n_tensors;
	uint64_t data_base;  /* of the data section in the file */
	uint64_t data_bytes; /* so far, padded */
};

static void append(struct gguf_writer *w, struct buffer *b, const void *bytes, size_t n)
{
	if (w->no_memory)
		return;
	if (n > b->capacity - b->size) {
		size_t capacity = b->capacity * 2 + n + 256;
		unsigned char *grown = realloc(b->bytes, capacity);
		if (!grown) {
			w->no_memory = true;
			return;
		}
		b->bytes = grown;
		b->capacity = capacity;
	}
	if (n > 0)
		memcpy(b->bytes + b->size, bytes, n);
	b->size += n;
}

static void append_uint(struct gguf_writer *w, struct buffer *b, uint64_t value, size_t n)
{
	unsigned char bytes[8];
	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)(value >> 8 * i);
	append(w, b, bytes, n);
}

static void append_string(struct gguf_writer *w, struct buffer *b, struct gguf_string s)
{
	append_uint(w, b, s.size, 8);
	append(w, b, s.data, s.size);
}

static void begin_kv(struct gguf_writer *w, const char *key, enum gguf_value_type type)
{
	assert(!w->begun);
	append_string(w, &w->metadata, (struct gguf_string){key, strlen(key)});
	append_uint(w, &w->metadata, type, 4);
	w->n_kv++;
}

static void begin_array(struct gguf_writer *w, const char *key, enum gguf_value_type item_type, size_t n)
{
	begin_kv(w, key, GGUF_ARRAY);
	append_uint(w, &w->metadata, item_type, 4);
	append_uint(w, &w->metadata, n, 8);
}

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
	begin_kv(w, key, GGUF_UINT32);
	append_uint(w, &w->metadata, value, 4);
}

void gguf_writer_f32(struct gguf_writer *w, const char *key, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	begin_kv(w, key, GGUF_FLOAT32);
	append_uint(w, &w->metadata, bits, 4);
}

void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value)
{
	begin_kv(w, key, GGUF_BOOL);
	append_uint(w, &w->metadata, value, 1);
}

void gguf_writer_string(struct gguf_writer *w, const char *key, const char *value)
{
	begin_kv(w, key, GGUF_STRING);
	append_string(w, &w->metadata, (struct gguf_string){value, strlen(value)});
}

void gguf_writer_u32_array(struct gguf_writer *w, const char *key, const uint32_t *values, size_t n)
{
	begin_array(w, key, GGUF_UINT32, n);
	for (size_t i = 0; i < n; i++)
		append_uint(w, &w->metadata, values[i], 4);
}

void gguf_writer_bool_array(struct gguf_writer *w, const char *key, const bool *values, size_t n)
{
	begin_array(w, key, GGUF_BOOL, n);
	for (size_t i = 0; i < n; i++)
		append_uint(w, &w->metadata, values[i], 1);
}

void gguf_writer_copy(struct gguf_writer *w, const struct gguf_kv *kv)
{
	assert(!w->begun);
	append_string(w, &w->metadata, kv->key);
	append_uint(w, &w->metadata, kv->type, 4);
	if (kv->type == GGUF_ARRAY) {
		append_uint(w, &w->metadata, kv->item_type, 4);
		append_uint(w, &w->metadata, kv->n_items, 8);
	}
	append(w, &w->metadata, kv->value, gguf_kv_value_bytes(kv));
	w->n_kv++;
}

/* False where the data section would leave what a file can have. */
static bool place(struct gguf_writer *w, struct placed_tensor *t, enum tensor_type type, int n_dims, const int64_t *ne)
{
	uint64_t n = 1, end;
	for (int i = 0; i < n_dims; i++) {
		assert(ne[i] > 0);
		if (__builtin_mul_overflow(n, (uint64_t)ne[i], &n))
			return false;
	}
	if (n > INT64_MAX / 4)
		return false;
	*t = (struct placed_tensor){.offset = w->data_bytes, .bytes = tensor_type_bytes(type, n)};
	if (__builtin_add_overflow(w->data_bytes, t->bytes, &end) || end > INT64_MAX / 2)
		return false;
	w->data_bytes = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	return true;
}

int gguf_writer_tensor(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims, const int64_t *ne)
{
	assert(!w->begun && n_dims >= 1 && n_dims <= GGUF_MAX_DIMS);
	assert(ne[0] % tensor_type_traits(type)->block == 0);
	struct placed_tensor placed = {0};
	if (!place(w, &placed, type, n_dims, ne))
		w->too_large = true;
	struct placed_tensor *grown = realloc(w->tensors, ((size_t)w->n_tensors + 1) * sizeof *grown);
	if (!grown) {
		w->no_memory = true;
		return w->n_tensors++;
	}
	w->tensors = grown;
	w->tensors[w->n_tensors] = placed;
	append_string(w, &w->infos, (struct gguf_string){name, strlen(name)});
	append_uint(w, &w->infos, (uint64_t)n_dims, 4);
	for (int i = 0; i < n_dims; i++)
		append_uint(w, &w->infos, (uint64_t)ne[i], 8);
	append_uint(w, &w->infos, type, 4);
	append_uint(w, &w->infos, placed.offset, 8);
	return w->n_tensors++;
}

static int fail_io(const struct gguf_writer *w, const char *what, int error, struct error *err)
{
	return error_set(err, ERROR_IO, "%s: %s: %s; %s", text_show_path(w->file.path).text, what, strerror(error),
			 output_file_remedy(error));
}

static int write_at(const struct gguf_writer *w, const void *bytes, size_t n, uint64_t offset, struct error *err)
{
	for (const unsigned char *p = bytes; n > 0;) {
		ssize_t done = pwrite(w->file.fd, p, n, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return fail_io(w, "cannot be written", done < 0 ? errno : ENOSPC, err);
		p += done;
		n -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

static void release(struct gguf_writer *w)
{
	output_file_discard(&w->file);
	free(w->metadata.bytes);
	free(w->infos.bytes);
	free(w->tensors);
	free(w);
}

int gguf_writer_open(struct gguf_writer **out, const char *path, bool replace, struct error *err)
{
	struct stat st;
	*out = NULL;
	/* Sizing it would fail only after all the work. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return error_set(err, ERROR_INPUT, "%s: exists and is not a regular file; choose another name",
				 text_show_path(path).text);
	struct gguf_writer *w = calloc(1, sizeof *w);
	if (!w)
		return error_set(err, ERROR_MEMORY, "%s: no memory to write it; close other programs",
				 text_show_path(path).text);
	int rc = output_file_open(&w->file, path, replace, err);
	if (rc) {
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

/* Claims the space at once where the file system can; else only the length. */
static int size_file(const struct gguf_writer *w, struct error *err)
{
	off_t bytes = (off_t)gguf_writer_file_bytes(w);
	if (ftruncate(w->file.fd, bytes) != 0)
		return fail_io(w, "cannot be sized", errno, err);
	int rc;
	do
		rc = fallocate(w->file.fd, 0, 0, bytes);
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		return fail_io(w, "cannot be sized", errno, err);
	return 0;
}

int gguf_writer_begin(struct gguf_writer *w, struct error *err)
{
	assert(!w->begun);
	struct buffer header = {0};
	append(w, &header, "GGUF", 4);
	append_uint(w, &header, VERSION, 4);
	append_uint(w, &header, (uint64_t)w->n_tensors, 8);
	append_uint(w, &header, w->n_kv, 8);
	append(w, &header, w->metadata.bytes, w->metadata.size);
	append(w, &header, w->infos.bytes, w->infos.size);
	while (!w->no_memory && header.size % ALIGNMENT != 0)
		append_uint(w, &header, 0, 1);

	int rc = 0;
	if (w->no_memory)
		rc = error_set(err, ERROR_MEMORY, "%s: no memory for its header; close other programs",
			       text_show_path(w->file.path).text);
	else if (w->too_large)
		rc = error_set(err, ERROR_INPUT,
			       "%s: the tensors are larger than a file can be; choose a smaller model",
			       text_show_path(w->file.path).text);
	if (rc == 0) {
		w->begun = true;
		w->data_base = header.size;
		rc = size_file(w, err);
	}
	if (rc == 0)
		rc = write_at(w, header.bytes, header.size, 0, err);
	free(header.bytes);
	return rc;
}

int gguf_writer_fd(const struct gguf_writer *w)
{
	assert(w->begun);
	return w->file.fd;
}

uint64_t gguf_writer_offset(const struct gguf_writer *w, int i)
{
	assert(w->begun && i >= 0 && i < w->n_tensors);
	return w->data_base + w->tensors[i].offset;
}

uint64_t gguf_writer_file_bytes(const struct gguf_writer *w)
{
	assert(w->begun);
	return w->data_base + w->data_bytes;
}

int gguf_writer_data(struct gguf_writer *w, int i, const void *data, struct error *err)
{
	return write_at(w, data, w->tensors[i].bytes, gguf_writer_offset(w, i), err);
}

int gguf_writer_end(struct gguf_writer *w, struct error *err)
{
	assert(w->begun);
	int rc = output_file_commit(&w->file, err);
	release(w);
	return rc;
}

void gguf_writer_abort(struct gguf_writer *w)
{
	release(w);
}
