/*
 * Makes the F16, BF16 and Q8_0 files of the golden E4B model from its F32 file, so that
 * the repository need not carry them: golden_derive IN.f32.gguf OUT_DIR.
 *
 * As the converter that made the originals: a tensor of two or more dimensions is
 * converted, the others stay F32; metadata is copied but for general.file_type. F16 and
 * BF16 round to nearest even; a Q8_0 block of 32 has the scale max|x| / 127 in fp16, and
 * its quants are x divided by the unrounded scale, ties away from zero. The results are
 * the originals byte for byte, which derived.sha256 proves after every run.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"

enum { BLOCK = 32, BLOCK_BYTES = 34 };

struct target {
	enum tensor_type type;
	const char *suffix;
	uint32_t file_type; /* general.file_type, llama.cpp's number for "mostly this" */
};

static const struct target targets[] = {
	{TENSOR_F16, "f16", 1},
	{TENSOR_BF16, "bf16", 32},
	{TENSOR_Q8_0, "q8_0", 7},
};

static void store_u16(unsigned char *p, uint16_t v)
{
	p[0] = (unsigned char)(v & 0xff);
	p[1] = (unsigned char)(v >> 8);
}

/* Drops the low n bits (1 to 31) of v, to nearest, ties to even. */
static uint32_t shift_round(uint32_t v, int n)
{
	uint32_t rest = v & ((1u << n) - 1), half = 1u << (n - 1);
	v >>= n;
	return v + (rest > half || (rest == half && (v & 1)));
}

static uint16_t to_bf16(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	return (uint16_t)shift_round(bits, 16);
}

/* Finite x. A carry out of the mantissa raises the exponent, up to infinity, as it must. */
static uint16_t to_f16(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	int exponent = (int)(bits >> 23 & 0xff) - 127;
	uint32_t mantissa = bits & 0x7fffff;
	if (exponent > 15)
		return sign | 0x7c00;
	if (exponent >= -14)
		return sign | (uint16_t)shift_round((uint32_t)(exponent + 15) << 23 | mantissa, 13);
	if (exponent < -25)
		return sign;
	return sign | (uint16_t)shift_round(mantissa | 0x800000, 13 + (-14 - exponent));
}

static void to_q8_0(const float *x, unsigned char *out)
{
	float largest = 0.0f;
	for (int i = 0; i < BLOCK; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	float scale = largest / 127.0f;
	float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
	store_u16(out, to_f16(scale));
	for (int i = 0; i < BLOCK; i++)
		out[2 + i] = (unsigned char)(int8_t)roundf(x[i] * inverse);
}

static void convert(const float *x, size_t n, enum tensor_type type, unsigned char *out)
{
	switch (type) {
	case TENSOR_F32:
		memcpy(out, x, n * sizeof *x);
		break;
	case TENSOR_F16:
		for (size_t i = 0; i < n; i++)
			store_u16(out + 2 * i, to_f16(x[i]));
		break;
	case TENSOR_BF16:
		for (size_t i = 0; i < n; i++)
			store_u16(out + 2 * i, to_bf16(x[i]));
		break;
	case TENSOR_Q8_0:
		for (size_t i = 0; i < n / BLOCK; i++)
			to_q8_0(x + i * BLOCK, out + i * BLOCK_BYTES);
		break;
	default:
		assert(!"a type of the golden files");
	}
}

static void add_metadata(struct gguf_writer *w, const struct gguf *source, uint32_t file_type)
{
	const struct gguf_kv *skipped = gguf_find(source, "general.file_type");
	for (size_t i = 0; i < source->n_kv; i++) {
		if (&source->kv[i] == skipped)
			gguf_writer_u32(w, "general.file_type", file_type);
		else
			gguf_writer_copy(w, &source->kv[i]);
	}
}

static enum tensor_type target_type(const struct gguf_tensor *t, enum tensor_type type)
{
	return t->n_dims > 1 ? type : TENSOR_F32;
}

static int write_tensors(struct gguf_writer *w, const struct gguf *source, enum tensor_type type, struct error *err)
{
	for (size_t i = 0; i < source->n_tensors; i++) {
		const struct gguf_tensor *t = &source->tensors[i];
		unsigned char *bytes = malloc(t->bytes); /* no type here is wider than F32 */
		if (!bytes)
			return error_set(err, ERROR_MEMORY, "no memory for a tensor of %zu bytes", t->bytes);
		convert(t->data, t->bytes / sizeof(float), target_type(t, type), bytes);
		int rc = gguf_writer_data(w, (int)i, bytes, err);
		free(bytes);
		if (rc)
			return rc;
	}
	return 0;
}

static int derive(const struct gguf *source, const struct target *target, const char *dir, struct error *err)
{
	char path[4096];
	int n = snprintf(path, sizeof path, "%s/gemma4-e4b-tiny.%s.gguf", dir, target->suffix);
	if (n < 0 || (size_t)n >= sizeof path)
		return error_set(err, ERROR_INPUT, "the output folder's name is too long; choose a shorter one");
	struct gguf_writer *w;
	int rc = gguf_writer_open(&w, path, true, err);
	if (rc)
		return rc;
	add_metadata(w, source, target->file_type);
	for (size_t i = 0; i < source->n_tensors; i++) {
		const struct gguf_tensor *t = &source->tensors[i];
		char name[65];
		snprintf(name, sizeof name, "%.*s", (int)t->name.size, t->name.data);
		gguf_writer_tensor(w, name, target_type(t, target->type), t->n_dims, t->ne);
	}
	rc = gguf_writer_begin(w, err);
	if (rc == 0)
		rc = write_tensors(w, source, target->type, err);
	if (rc) {
		gguf_writer_abort(w);
		return rc;
	}
	return gguf_writer_end(w, err);
}

int main(int argc, char **argv)
{
	struct gguf source;
	struct error err = {{0}};
	if (argc != 3) {
		fprintf(stderr, "usage: golden_derive IN.f32.gguf OUT_DIR\n");
		return 2;
	}
	int rc = gguf_open(&source, argv[1], &err);
	for (size_t i = 0; i < source.n_tensors && rc == 0; i++) {
		if (source.tensors[i].type != TENSOR_F32)
			rc = error_set(&err, ERROR_INPUT, "%s: has tensors that are not F32; give the F32 file",
				       argv[1]);
	}
	for (size_t i = 0; i < sizeof targets / sizeof *targets && rc == 0; i++)
		rc = derive(&source, &targets[i], argv[2], &err);
	gguf_close(&source);
	if (rc)
		fprintf(stderr, "golden_derive: %s\n", err.text);
	return rc ? 2 : 0;
}
