/*
 * The GGUF reader on files built byte by byte: what it reads, and what it refuses and
 * how. Real files and the writer are test_gguf_file.c's.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/gguf_bytes.h"
#include "tests/support/gguf_walk.h"

/* Opens a copy of exactly n bytes, so that a sanitizer sees any read behind them. */
static int open_copy(struct gguf *g, const void *p, size_t n, void **copy, struct error *err)
{
	*copy = malloc(n ? n : 1);
	assert_non_null(*copy);
	if (n > 0)
		memcpy(*copy, p, n);
	*err = (struct error){{0}};
	return gguf_open_memory(g, *copy, n, "some.gguf", err);
}

static void open_good(struct gguf *g, const struct bytes *b, void **copy)
{
	struct error err;
	int rc = open_copy(g, b->p, b->n, copy, &err);
	if (rc)
		fail_msg("%s", err.text);
	gguf_walk(g);
}

/* Fails unless opening fails with `code` and a line that holds the path and all of the texts. Frees b. */
static void refuse(struct bytes *b, int code, const char *text, const char *text2)
{
	struct gguf g;
	struct error err;
	void *copy;
	int rc = open_copy(&g, b->p, b->n, &copy, &err);
	if (rc != code)
		fail_msg("expected code %d for \"%s\", not %d: %s", code, text, rc, err.text);
	if (!strstr(err.text, "some.gguf: ") || !strstr(err.text, text) || !strstr(err.text, text2))
		fail_msg("expected \"%s\" and \"%s\" in: %s", text, text2, err.text);
	walk_error(rc, &err);
	assert_null(g.owned);
	gguf_close(&g);
	free(copy);
	bytes_free(b);
}

static int64_t int_of(const struct gguf *g, const char *key)
{
	int64_t v = 0;
	struct error err = {{0}};
	if (gguf_get_int(g, key, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

static void test_types(void **state)
{
	(void)state;
	struct bytes b = {0};
	struct gguf g;
	struct error err;
	void *copy;
	sample_types(&b);
	open_good(&g, &b, &copy);
	assert_int_equal(g.version, 3);
	assert_int_equal(g.n_kv, 14);
	assert_int_equal(g.alignment, 32);
	assert_string_equal(g.path, "some.gguf");

	assert_int_equal(int_of(&g, "uint8"), 255);
	assert_int_equal(int_of(&g, "int8"), -128);
	assert_int_equal(int_of(&g, "uint16"), 65535);
	assert_int_equal(int_of(&g, "int16"), -32768);
	assert_int_equal(int_of(&g, "uint32"), 4294967295);
	assert_int_equal(int_of(&g, "int32"), -2147483648);
	assert_int_equal(int_of(&g, "int64"), INT64_MIN);
	int64_t i;
	assert_int_equal(gguf_get_int(&g, "uint64", &i, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "uint64 holds 18446744073709551615"));

	double d;
	assert_int_equal(gguf_get_float(&g, "float32", &d, &err), 0);
	assert_true(d == -2.5);
	assert_int_equal(gguf_get_float(&g, "float64", &d, &err), 0);
	assert_true(d == 1.5);
	bool yes = false;
	assert_int_equal(gguf_get_bool(&g, "bool", &yes, &err), 0);
	assert_true(yes);
	struct gguf_string s;
	assert_int_equal(gguf_get_string(&g, "string", &s, &err), 0);
	assert_int_equal(s.size, 8);
	assert_memory_equal(s.data, "a string", 8);

	const int64_t items[] = {7, -8, 9};
	for (uint64_t n = 0; n < 3; n++) {
		assert_int_equal(gguf_get_int_at(&g, "array", n, &i, &err), 0);
		assert_int_equal(i, items[n]);
	}
	assert_int_equal(gguf_get_bool_at(&g, "bools", 0, &yes, &err), 0);
	assert_true(yes);
	assert_int_equal(gguf_get_bool_at(&g, "bools", 1, &yes, &err), 0);
	assert_false(yes);
	gguf_close(&g);
	free(copy);
	bytes_free(&b);
}

static void expect_error(int rc, const struct error *err, const char *text)
{
	assert_int_equal(rc, ERROR_INPUT);
	if (!strstr(err->text, text))
		fail_msg("expected \"%s\" in: %s", text, err->text);
}

static void test_getters_refuse(void **state)
{
	(void)state;
	struct bytes b = {0};
	struct gguf g;
	struct error err;
	void *copy;
	int64_t i = 77;
	double d;
	bool yes;
	struct gguf_string s;
	sample_types(&b);
	open_good(&g, &b, &copy);
	expect_error(gguf_get_int(&g, "absent", &i, &err), &err, "some.gguf: metadata key absent is missing");
	expect_error(gguf_get_int(&g, "string", &i, &err), &err, "string holds a string, expected an integer");
	expect_error(gguf_get_int(&g, "float32", &i, &err), &err, "holds a float32, expected an integer");
	expect_error(gguf_get_int(&g, "array", &i, &err), &err, "holds an array of 3 int16, expected an integer");
	expect_error(gguf_get_float(&g, "uint8", &d, &err), &err, "expected a float32 or float64");
	expect_error(gguf_get_bool(&g, "uint8", &yes, &err), &err, "holds a uint8, expected a boolean");
	expect_error(gguf_get_string(&g, "bool", &s, &err), &err, "holds a boolean, expected a string");
	expect_error(gguf_get_int_at(&g, "array", 3, &i, &err), &err, "array has 3 items, expected item 3");
	expect_error(gguf_get_int_at(&g, "array", UINT64_MAX, &i, &err), &err, "array has 3 items");
	expect_error(gguf_get_int_at(&g, "uint8", 0, &i, &err), &err, "holds a uint8, expected an array of integers");
	expect_error(gguf_get_int_at(&g, "bools", 0, &i, &err), &err, "expected an array of integers");
	expect_error(gguf_get_bool_at(&g, "array", 0, &yes, &err), &err, "expected an array of booleans");
	assert_int_equal(i, 77);
	gguf_close(&g);
	free(copy);
	bytes_free(&b);
}

static void test_nested_arrays(void **state)
{
	(void)state;
	struct bytes b = {0};
	struct gguf g;
	void *copy;
	sample_arrays(&b);
	open_good(&g, &b, &copy);
	assert_int_equal(g.version, 2);
	const struct gguf_kv *kv = gguf_find(&g, "nested");
	assert_non_null(kv);
	assert_int_equal(kv->item_type, GGUF_ARRAY);
	assert_int_equal(kv->n_items, 3);
	assert_int_equal(gguf_kv_value_bytes(kv), 12 + 9 + 10 + 12 + 12 + (12 + 2) + (12 + 4));
	kv = gguf_find(&g, "tokens");
	assert_int_equal(kv->n_items, 3);
	assert_int_equal(gguf_kv_value_bytes(kv), 8 + 5 + 8 + 8 + 2);
	assert_int_equal(int_of(&g, "behind"), 4242);
	gguf_close(&g);
	free(copy);
	bytes_free(&b);
}

/* An array of an array of ... `depth` deep, the innermost empty. */
static void put_deep(struct bytes *b, int depth)
{
	put_header(b, 3, 0, 1);
	put_key(b, "deep", GGUF_ARRAY);
	for (int i = 1; i < depth; i++)
		put_array(b, GGUF_ARRAY, 1);
	put_array(b, GGUF_UINT8, 0);
}

static void test_nesting_is_bounded(void **state)
{
	(void)state;
	struct bytes b = {0};
	struct gguf g;
	void *copy;
	put_deep(&b, 8);
	open_good(&g, &b, &copy);
	gguf_close(&g);
	free(copy);
	bytes_free(&b);
	put_deep(&b, 9);
	refuse(&b, ERROR_INPUT, "metadata key deep, at byte", "nested more than 8 deep");
	put_deep(&b, 1000000);
	refuse(&b, ERROR_INPUT, "metadata key deep", "nested more than 8 deep");
}

static void test_tensors(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		enum tensor_type type;
		int n_dims;
		int64_t ne[4];
		size_t bytes;
		unsigned first; /* of the data, which counts up */
	} expected[] = {
		{"f32", TENSOR_F32, 1, {3, 1, 1, 1}, 12, 200},
		{"f16", TENSOR_F16, 2, {2, 3, 1, 1}, 12, 1},
		{"bf16", TENSOR_BF16, 3, {1, 2, 2, 1}, 8, 50},
		{"q8_0", TENSOR_Q8_0, 4, {32, 1, 2, 1}, 68, 100},
	};
	struct bytes b = {0};
	struct gguf g;
	void *copy;
	sample_tensors(&b);
	open_good(&g, &b, &copy);
	assert_int_equal(g.n_tensors, 4);
	for (size_t i = 0; i < 4; i++) {
		const struct gguf_tensor *t = gguf_find_tensor(&g, expected[i].name);
		assert_ptr_equal(t, &g.tensors[i]);
		assert_int_equal(t->type, expected[i].type);
		assert_int_equal(t->n_dims, expected[i].n_dims);
		assert_memory_equal(t->ne, expected[i].ne, sizeof t->ne);
		assert_int_equal(t->bytes, expected[i].bytes);
		for (size_t j = 0; j < t->bytes; j++)
			assert_int_equal(((const unsigned char *)t->data)[j], (expected[i].first + j) & 0xff);
	}
	assert_null(gguf_find_tensor(&g, "f3"));
	assert_null(gguf_find_tensor(&g, "f322"));
	gguf_close(&g);
	free(copy);
	bytes_free(&b);
}

static void test_alignment(void **state)
{
	(void)state;
	struct bytes b = {0};
	struct gguf g;
	void *copy;
	sample_alignment(&b);
	open_good(&g, &b, &copy);
	assert_int_equal(g.alignment, 256);
	assert_ptr_equal(gguf_find_tensor(&g, "first")->data, (unsigned char *)copy + 256);
	assert_ptr_equal(gguf_find_tensor(&g, "second")->data, (unsigned char *)copy + 512);
	gguf_close(&g);
	free(copy);
	bytes_free(&b);

	static const uint32_t bad[] = {0, 1, 4, 33, 48, 1u << 17, 1u << 31};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		put_header(&b, 3, 0, 1);
		put_kv(&b, "general.alignment", GGUF_UINT32, bad[i], 4);
		refuse(&b, ERROR_INPUT, "general.alignment is", "power of two from 8 to 65536");
	}
	put_header(&b, 3, 0, 1);
	put_key(&b, "general.alignment", GGUF_STRING);
	put_string(&b, "32");
	refuse(&b, ERROR_INPUT, "general.alignment holds a string", "expected an integer");
}

static void test_versions(void **state)
{
	(void)state;
	struct bytes b = {0};
	refuse(&b, ERROR_INPUT, "the file is empty", "");
	put(&b, "GGU", 3);
	refuse(&b, ERROR_INPUT, "not a GGUF file", "");
	put(&b,
	    "\x7f"
	    "ELF\2\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
	    24);
	refuse(&b, ERROR_INPUT, "not a GGUF file", "");
	static const uint32_t bad[] = {0, 1, 4, 0x10001};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		put_header(&b, bad[i], 0, 0);
		refuse(&b, ERROR_UNSUPPORTED, "GGUF version", "reads 2 and 3");
	}
	put_header(&b, 0x03000000, 0, 0);
	refuse(&b, ERROR_UNSUPPORTED, "big-endian", "version 3");
}

static void test_metadata_refused(void **state)
{
	(void)state;
	struct bytes b = {0};
	put_header(&b, 3, 0, UINT64_MAX);
	put_data(&b, 0, 100);
	refuse(&b, ERROR_INPUT, "18446744073709551615 metadata keys do not fit", "");
	put_header(&b, 3, 0, 3);
	put_data(&b, 0, 2 * 14);
	refuse(&b, ERROR_INPUT, "3 metadata keys do not fit into the 28 bytes", "");

	put_header(&b, 3, 0, 1);
	put_uint(&b, UINT64_MAX - 7, 8);
	put_data(&b, 0, 100);
	refuse(&b, ERROR_INPUT, "metadata key 0, at byte 32", "claims 18446744073709551608 bytes");
	put_header(&b, 3, 0, 1);
	put_kv(&b, "", GGUF_UINT64, 0, 8);
	refuse(&b, ERROR_INPUT, "a name of 0 bytes", "");
	put_header(&b, 3, 0, 1);
	put_uint(&b, 70000, 8);
	put_data(&b, 1, 70100);
	refuse(&b, ERROR_INPUT, "a name of 70000 bytes", "");
	put_header(&b, 3, 0, 1);
	put_uint(&b, 3, 8);
	put(&b, "a\0b", 3);
	put_uint(&b, GGUF_UINT64, 4);
	put_uint(&b, 0, 8);
	refuse(&b, ERROR_INPUT, "zero byte", "a\\x00b");
	put_header(&b, 3, 0, 1);
	put_kv(&b, "k\n\033[1m\xff", 13, 0, 8);
	refuse(&b, ERROR_INPUT, "k\\n\\x1b[1m\\xff, at byte", "type is 13");

	put_header(&b, 3, 0, 1);
	put_key(&b, "s", GGUF_STRING);
	put_uint(&b, 1ull << 60, 8);
	refuse(&b, ERROR_INPUT, "metadata key s", "claims 1152921504606846976 bytes");
	put_header(&b, 3, 0, 1);
	put_kv(&b, "flag", GGUF_BOOL, 2, 1);
	refuse(&b, ERROR_INPUT, "metadata key flag", "is 2 instead of 0 or 1");
	put_header(&b, 3, 0, 2);
	put_kv(&b, "pad", GGUF_UINT64, 0, 8);
	put_kv(&b, "cut", GGUF_UINT64, 0, 7);
	refuse(&b, ERROR_INPUT, "metadata key cut", "ends inside the value");

	put_header(&b, 3, 0, 1);
	put_key(&b, "a", GGUF_ARRAY);
	put_array(&b, 13, 1);
	refuse(&b, ERROR_INPUT, "metadata key a", "item type is 13");
	static const uint32_t item_types[] = {GGUF_UINT8, GGUF_FLOAT64, GGUF_STRING, GGUF_ARRAY};
	for (size_t i = 0; i < 4; i++) {
		put_header(&b, 3, 0, 1);
		put_key(&b, "a", GGUF_ARRAY);
		put_array(&b, item_types[i], (1ull << 61) + 1); /* times 8 is 8, modulo 2^64 */
		put_data(&b, 0, 64);
		refuse(&b, ERROR_INPUT, "metadata key a", "claims 2305843009213693953 items");
	}

	put_header(&b, 3, 0, 3);
	put_kv(&b, "twin", GGUF_UINT8, 1, 1);
	put_kv(&b, "other", GGUF_UINT8, 1, 1);
	put_kv(&b, "twin", GGUF_UINT16, 1, 2);
	refuse(&b, ERROR_INPUT, "metadata key twin, at byte 67", "there twice, first at byte 32");
}

/* A file with one tensor and 64 bytes of data. */
static void put_one(struct bytes *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
		    uint64_t offset)
{
	put_header(b, 3, 1, 0);
	put_tensor(b, name, n_dims, ne, type, offset);
	put_padding(b, 32);
	put_data(b, 0, 64);
}

static void test_tensors_refused(void **state)
{
	(void)state;
	struct bytes b = {0};
	const uint64_t one[] = {1, 1, 1, 1, 1};
	put_header(&b, 3, 1ull << 63, 0);
	put_data(&b, 0, 100);
	refuse(&b, ERROR_INPUT, "9223372036854775808 tensors do not fit", "");
	put_one(&b, "", 1, one, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "tensor 0, at byte", "a name of 0 bytes");
	put_one(&b, "0123456789012345678901234567890123456789012345678901234567890123x", 1, one, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "a name of 65 bytes", "");
	put_one(&b, "t", 0, one, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "tensor t", "0 dimensions");
	put_one(&b, "t", 5, one, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "tensor t", "5 dimensions");
	put_one(&b, "t", 2, (uint64_t[]){4, 0}, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "dimension 1 is 0", "");
	put_one(&b, "t", 1, (uint64_t[]){UINT64_MAX}, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "dimension 0 is 18446744073709551615", "");
	put_one(&b, "t", 4, (uint64_t[]){1u << 31, 1u << 31, 2, 1}, TENSOR_F32, 0);
	refuse(&b, ERROR_INPUT, "dimension 2 is 2", "");
	put_one(&b, "t", 1, (uint64_t[]){1ull << 62}, TENSOR_F32, 0); /* times 4 is 0, modulo 2^64 */
	refuse(&b, ERROR_INPUT, "tensor t", "more than a file can hold");
	put_one(&b, "t", 2, (uint64_t[]){33, 32}, TENSOR_Q8_0, 0);
	refuse(&b, ERROR_INPUT, "rows of 33 are not whole Q8_0 blocks", "");
	put_one(&b, "t", 2, (uint64_t[]){48, 2}, TENSOR_Q8_0, 0); /* blocks over two rows */
	refuse(&b, ERROR_INPUT, "rows of 48 are not whole Q8_0 blocks", "");

	put_one(&b, "t", 1, one, TENSOR_F32, 16);
	refuse(&b, ERROR_INPUT, "tensor t", "offset 16 is not a multiple of the alignment 32");
	put_one(&b, "t", 1, (uint64_t[]){9}, TENSOR_F32, 32);
	refuse(&b, ERROR_INPUT, "36 bytes of data at offset 32 run past the end", "");
	put_one(&b, "t", 1, one, TENSOR_F32, UINT64_MAX - 31);
	refuse(&b, ERROR_INPUT, "at offset 18446744073709551584 run past", "");

	put_header(&b, 3, 2, 0);
	put_tensor(&b, "low", 1, (uint64_t[]){9}, TENSOR_F32, 0);
	put_tensor(&b, "high", 1, one, TENSOR_F32, 32);
	put_padding(&b, 32);
	put_data(&b, 0, 64);
	refuse(&b, ERROR_INPUT, "tensor high", "overlaps that of low");
	put_header(&b, 3, 2, 0);
	put_tensor(&b, "x", 1, one, TENSOR_F32, 0);
	put_tensor(&b, "x", 1, one, TENSOR_F32, 32);
	put_padding(&b, 32);
	put_data(&b, 0, 64);
	refuse(&b, ERROR_INPUT, "tensor x", "there twice");
}

static void test_foreign_types(void **state)
{
	(void)state;
	static const struct {
		uint32_t type;
		const char *name;
	} foreign[] = {
		{9, "Q8_1"},    {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"}, {16, "IQ2_XXS"},
		{17, "IQ2_XS"}, {19, "IQ1_S"}, {23, "IQ4_XS"}, {24, "I8"},   {28, "F64"},
		{29, "IQ1_M"},  {34, "TQ1_0"}, {39, "MXFP4"},
	};
	struct bytes b = {0};
	char text[64];
	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
		put_one(&b, "blk.0.attn_q.weight", 1, (uint64_t[]){256}, foreign[i].type, 0);
		snprintf(text, sizeof text, "is %s, which this program does not read", foreign[i].name);
		refuse(&b, ERROR_UNSUPPORTED, "tensor blk.0.attn_q.weight", text);
	}
	put_one(&b, "t", 1, (uint64_t[]){256}, 4242, 0);
	refuse(&b, ERROR_INPUT, "type 4242 is not one that GGUF knows", "");
}

/* Every proper prefix of a file whose last byte is data is refused, on one line. */
static void test_truncation(void **state)
{
	(void)state;
	for (int i = 1; i < N_SAMPLES; i++) {
		struct bytes b = {0};
		samples[i].build(&b);
		for (size_t n = 0; n < b.n; n++) {
			struct gguf g;
			struct error err;
			void *copy;
			int rc = open_copy(&g, b.p, n, &copy, &err);
			if (rc != ERROR_INPUT)
				fail_msg("%s cut to %zu of %zu bytes: code %d", samples[i].name, n, b.n, rc);
			walk_error(rc, &err);
			free(copy);
		}
		bytes_free(&b);
	}
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void mutate(unsigned char *p, size_t n, uint64_t *random)
{
	static const uint64_t edges[] = {0, 1, 8, 9, 12, 31, 32, 255, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX};
	for (uint64_t times = next_random(random) % 4 + 1; times > 0; times--) {
		size_t at = next_random(random) % n;
		uint64_t edge = edges[next_random(random) % 12];
		size_t width = n - at < 8 ? 1 : (size_t)1 << next_random(random) % 4;
		if (next_random(random) % 2)
			p[at] ^= (unsigned char)(1u << next_random(random) % 8);
		else
			memcpy(p + at, &edge, width); /* little-endian machines only, as the engine */
	}
}

static void test_mutations(void **state)
{
	(void)state;
	enum { ROUNDS = 2500 }; /* fuzz_gguf has the rest */
	uint64_t random = 20240607;
	int n_opened = 0, n_refused = 0;
	for (int i = 1; i < N_SAMPLES; i++) {
		struct bytes b = {0};
		samples[i].build(&b);
		for (int round = 0; round < ROUNDS; round++) {
			struct gguf g;
			struct error err;
			void *copy = malloc(b.n);
			assert_non_null(copy);
			memcpy(copy, b.p, b.n);
			mutate(copy, b.n, &random);
			err = (struct error){{0}};
			int rc = gguf_open_memory(&g, copy, b.n, "mutated.gguf", &err);
			if (rc == 0) {
				gguf_walk(&g);
				n_opened++;
			} else {
				walk_error(rc, &err);
				n_refused++;
			}
			gguf_close(&g);
			free(copy);
		}
		bytes_free(&b);
	}
	/* Both must be common, or the mutations do not reach far enough. */
	assert_true(n_opened > 1000);
	assert_true(n_refused > 1000);
}

/* Quadratic duplicate detection or lookup would take hours here. */
static void test_many_keys(void **state)
{
	(void)state;
	enum { N = 400000 };
	struct bytes b = {0};
	struct gguf g;
	struct error err;
	void *copy;
	char key[32];
	put_header(&b, 3, 0, N);
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof key, "the.same.prefix.%d", i);
		put_kv(&b, key, GGUF_UINT32, (uint64_t)i, 4);
	}
	if (open_copy(&g, b.p, b.n, &copy, &err))
		fail_msg("%s", err.text);
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof key, "the.same.prefix.%d", i);
		assert_int_equal(int_of(&g, key), i);
	}
	gguf_close(&g);
	free(copy);

	memcpy(b.p + b.n - 4 - 4 - 6, "000000", 6); /* the last key, 399999, becomes 000000 */
	if (open_copy(&g, b.p, b.n, &copy, &err))
		fail_msg("%s", err.text);
	gguf_close(&g);
	free(copy);
	memcpy(b.p + b.n - 4 - 4 - 6, "123456", 6);
	refuse(&b, ERROR_INPUT, "the.same.prefix.123456", "there twice");
}

static void test_close_zeroed(void **state)
{
	(void)state;
	struct gguf g = {0};
	gguf_close(&g);
	assert_null(gguf_find(&g, "key"));
	assert_null(gguf_find_tensor(&g, "name"));
	gguf_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),           cmocka_unit_test(test_getters_refuse),
		cmocka_unit_test(test_nested_arrays),   cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_tensors),         cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_versions),        cmocka_unit_test(test_metadata_refused),
		cmocka_unit_test(test_tensors_refused), cmocka_unit_test(test_foreign_types),
		cmocka_unit_test(test_truncation),      cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_many_keys),       cmocka_unit_test(test_close_zeroed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
