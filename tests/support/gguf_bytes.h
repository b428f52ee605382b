/*
 * Builds GGUF files byte by byte, valid or not, for tests of the reader. Knows the
 * format from its specification and shares nothing with engine/model/gguf_write.c.
 */
#ifndef GEMMARK_TESTS_SUPPORT_GGUF_BYTES_H
#define GEMMARK_TESTS_SUPPORT_GGUF_BYTES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf.h"

struct bytes {
	unsigned char *p; /* freed by bytes_free */
	size_t n;
	size_t capacity;
};

static inline void put(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n > b->capacity) {
		b->capacity = 2 * (b->n + n) + 64;
		b->p = realloc(b->p, b->capacity);
		if (!b->p)
			abort();
	}
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static inline void put_uint(struct bytes *b, uint64_t v, int n)
{
	for (int i = 0; i < n; i++)
		put(b, &(unsigned char){(unsigned char)(v >> 8 * i)}, 1);
}

static inline void put_string(struct bytes *b, const char *s)
{
	put_uint(b, strlen(s), 8);
	put(b, s, strlen(s));
}

static inline void put_header(struct bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
	put(b, "GGUF", 4);
	put_uint(b, version, 4);
	put_uint(b, n_tensors, 8);
	put_uint(b, n_kv, 8);
}

static inline void put_key(struct bytes *b, const char *key, uint32_t type)
{
	put_string(b, key);
	put_uint(b, type, 4);
}

static inline void put_kv(struct bytes *b, const char *key, uint32_t type, uint64_t value, int n)
{
	put_key(b, key, type);
	put_uint(b, value, n);
}

static inline void put_array(struct bytes *b, uint32_t item_type, uint64_t n)
{
	put_uint(b, item_type, 4);
	put_uint(b, n, 8);
}

static inline void put_tensor(struct bytes *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
			      uint64_t offset)
{
	put_string(b, name);
	put_uint(b, n_dims, 4);
	for (uint32_t i = 0; i < n_dims; i++)
		put_uint(b, ne[i], 8);
	put_uint(b, type, 4);
	put_uint(b, offset, 8);
}

static inline void put_padding(struct bytes *b, size_t alignment)
{
	while (b->n % alignment != 0)
		put_uint(b, 0, 1);
}

/* n bytes that count up from `first`. */
static inline void put_data(struct bytes *b, unsigned first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put_uint(b, (first + i) & 0xff, 1);
}

static inline void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){0};
}

/* ---- valid files of each feature; also the fuzzer's seeds ---- */

static inline void sample_empty(struct bytes *b)
{
	put_header(b, 3, 0, 0);
}

/* One entry of every type, by the name of the type. */
static inline void sample_types(struct bytes *b)
{
	put_header(b, 3, 0, 14);
	put_kv(b, "uint8", GGUF_UINT8, 255, 1);
	put_kv(b, "int8", GGUF_INT8, 0x80, 1);
	put_kv(b, "uint16", GGUF_UINT16, 65535, 2);
	put_kv(b, "int16", GGUF_INT16, 0x8000, 2);
	put_kv(b, "uint32", GGUF_UINT32, 0xffffffff, 4);
	put_kv(b, "int32", GGUF_INT32, 0x80000000, 4);
	put_kv(b, "float32", GGUF_FLOAT32, 0xc0200000, 4); /* -2.5 */
	put_kv(b, "bool", GGUF_BOOL, 1, 1);
	put_key(b, "string", GGUF_STRING);
	put_string(b, "a string");
	put_key(b, "array", GGUF_ARRAY);
	put_array(b, GGUF_INT16, 3);
	put_uint(b, 7, 2);
	put_uint(b, 0xfff8, 2); /* -8 */
	put_uint(b, 9, 2);
	put_kv(b, "uint64", GGUF_UINT64, UINT64_MAX, 8);
	put_kv(b, "int64", GGUF_INT64, (uint64_t)INT64_MIN, 8);
	put_kv(b, "float64", GGUF_FLOAT64, 0x3ff8000000000000, 8); /* 1.5 */
	put_key(b, "bools", GGUF_ARRAY);
	put_array(b, GGUF_BOOL, 2);
	put_uint(b, 0x0001, 2);
}

/* [["a", "bc"], [], [[1, 2], [3]]], strings, and an entry behind that shows where they end. */
static inline void sample_arrays(struct bytes *b)
{
	put_header(b, 2, 0, 3);
	put_key(b, "nested", GGUF_ARRAY);
	put_array(b, GGUF_ARRAY, 3);
	put_array(b, GGUF_STRING, 2);
	put_string(b, "a");
	put_string(b, "bc");
	put_array(b, GGUF_FLOAT64, 0);
	put_array(b, GGUF_ARRAY, 2);
	put_array(b, GGUF_UINT8, 2);
	put_uint(b, 0x0201, 2);
	put_array(b, GGUF_UINT32, 1);
	put_uint(b, 3, 4);
	put_key(b, "tokens", GGUF_ARRAY);
	put_array(b, GGUF_STRING, 3);
	put_string(b, "<pad>");
	put_string(b, "");
	put_string(b, "t\n");
	put_kv(b, "behind", GGUF_UINT16, 4242, 2);
}

/* A tensor of each type: data in another order than the descriptions, with a hole. */
static inline void sample_tensors(struct bytes *b)
{
	put_header(b, 3, 4, 1);
	put_key(b, "general.architecture", GGUF_STRING);
	put_string(b, "test");
	put_tensor(b, "f32", 1, (uint64_t[]){3}, TENSOR_F32, 160);
	put_tensor(b, "f16", 2, (uint64_t[]){2, 3}, TENSOR_F16, 0);
	put_tensor(b, "bf16", 3, (uint64_t[]){1, 2, 2}, TENSOR_BF16, 32);
	put_tensor(b, "q8_0", 4, (uint64_t[]){32, 1, 2, 1}, TENSOR_Q8_0, 64);
	put_padding(b, 32);
	put_data(b, 1, 12); /* f16 at 0 */
	put_padding(b, 32);
	put_data(b, 50, 8); /* bf16 at 32 */
	put_padding(b, 32);
	put_data(b, 100, 68); /* q8_0 at 64 */
	put_padding(b, 32);
	put_data(b, 200, 12); /* f32 at 160 */
}

static inline void sample_alignment(struct bytes *b)
{
	put_header(b, 3, 2, 1);
	put_kv(b, "general.alignment", GGUF_UINT32, 256, 4);
	put_tensor(b, "first", 1, (uint64_t[]){2}, TENSOR_F32, 0);
	put_tensor(b, "second", 1, (uint64_t[]){1}, TENSOR_F32, 256);
	put_padding(b, 256);
	put_data(b, 10, 8);
	put_padding(b, 256);
	put_data(b, 20, 4);
}

/* A whole model, the smallest that engine/model/model.c accepts: one sliding and one global layer, PLE, K = V. */
static inline void sample_model(struct bytes *b)
{
	static const struct {
		const char *name;
		uint32_t value;
	} ints[] = {
		{"gemma4.block_count", 2},
		{"gemma4.context_length", 8},
		{"gemma4.embedding_length", 4},
		{"gemma4.feed_forward_length", 2},
		{"gemma4.attention.head_count", 2},
		{"gemma4.attention.head_count_kv", 1},
		{"gemma4.attention.key_length", 2},
		{"gemma4.attention.key_length_swa", 2},
		{"gemma4.attention.sliding_window", 2},
		{"gemma4.attention.shared_kv_layers", 0},
		{"gemma4.embedding_length_per_layer_input", 2},
	};
	static const struct {
		const char *name;
		uint64_t ne[2]; /* ne[1] 0: a vector */
	} global[] = {{"token_embd.weight", {4, 3}},
		      {"output_norm.weight", {4}},
		      {"per_layer_token_embd.weight", {4, 3}},
		      {"per_layer_model_proj.weight", {4, 4}},
		      {"per_layer_proj_norm.weight", {2}}},
	  layer[] = {
		  {"attn_norm.weight", {4}},           {"attn_q.weight", {4, 4}},   {"attn_q_norm.weight", {2}},
		  {"attn_k.weight", {4, 2}},           {"attn_k_norm.weight", {2}}, {"attn_output.weight", {4, 4}},
		  {"post_attention_norm.weight", {4}}, {"ffn_norm.weight", {4}},    {"ffn_gate.weight", {4, 2}},
		  {"ffn_up.weight", {4, 2}},           {"ffn_down.weight", {2, 4}}, {"post_ffw_norm.weight", {4}},
		  {"inp_gate.weight", {4, 2}},         {"proj.weight", {2, 4}},     {"post_norm.weight", {4}},
		  {"attn_v.weight", {4, 2}}, /* last: the global layer goes without */
	  };
	enum {
		N_INTS = sizeof ints / sizeof *ints,
		N_GLOBAL = sizeof global / sizeof *global,
		N_LAYER = sizeof layer / sizeof *layer,
	};
	const uint64_t n_tensors = N_GLOBAL + 2 * N_LAYER - 1;
	put_header(b, 3, n_tensors, N_INTS + 5);
	put_key(b, "general.architecture", GGUF_STRING);
	put_string(b, "gemma4");
	for (int i = 0; i < N_INTS; i++)
		put_kv(b, ints[i].name, GGUF_UINT32, ints[i].value, 4);
	put_kv(b, "gemma4.rope.freq_base", GGUF_FLOAT32, 0x461c4000, 4); /* 10000 */
	put_kv(b, "gemma4.rope.freq_base_swa", GGUF_FLOAT32, 0x461c4000, 4);
	put_kv(b, "gemma4.attention.layer_norm_rms_epsilon", GGUF_FLOAT32, 0x358637bd, 4); /* 1e-6 */
	put_key(b, "gemma4.attention.sliding_window_pattern", GGUF_ARRAY);
	put_array(b, GGUF_BOOL, 2);
	put_uint(b, 0x0001, 2);
	uint64_t offset = 0;
	for (int i = 0; i < N_GLOBAL; i++, offset += 64)
		put_tensor(b, global[i].name, global[i].ne[1] ? 2 : 1, global[i].ne, TENSOR_F32, offset);
	for (int l = 0; l < 2; l++) {
		for (int i = 0; i < N_LAYER - l; i++, offset += 64) {
			char name[64];
			snprintf(name, sizeof name, "blk.%d.%s", l, layer[i].name);
			put_tensor(b, name, layer[i].ne[1] ? 2 : 1, layer[i].ne, TENSOR_F32, offset);
		}
	}
	put_padding(b, 32);
	put_data(b, 1, (n_tensors - 1) * 64 + 16); /* the last: blk.1.post_norm.weight, 4 floats */
}

struct sample {
	const char *name;
	void (*build)(struct bytes *b);
};

static const struct sample samples[] = {
	{"empty", sample_empty},     {"types", sample_types},         {"arrays", sample_arrays},
	{"tensors", sample_tensors}, {"alignment", sample_alignment}, {"model", sample_model},
};

enum { N_SAMPLES = sizeof samples / sizeof *samples };

#endif
