/* The table of types against what GGUF says of each, and everything that lists types against the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/tensor_type.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/option_values.h"
#include "harness/sweep/axis.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/entries.h"

/* ggml's numbers, block sizes and general.file_type (docs/gguf.md, ggml.h) */
static const struct {
	const char *name;
	uint32_t number;
	int block, block_bytes, file_type;
	bool cache;
} known[] = {
	{"F32", 0, 1, 4, 0, true},         {"F16", 1, 1, 2, 1, true},         {"BF16", 30, 1, 2, 32, true},
	{"Q8_0", 8, 32, 34, 7, true},      {"Q4_0", 2, 32, 18, 2, false},     {"Q4_1", 3, 32, 20, 3, false},
	{"Q5_0", 6, 32, 22, 8, false},     {"Q5_1", 7, 32, 24, 9, false},     {"IQ4_NL", 20, 32, 18, 25, false},
	{"Q4_K", 12, 256, 144, 14, false}, {"Q5_K", 13, 256, 176, 16, false}, {"Q6_K", 14, 256, 210, 18, false},
};
enum { N_KNOWN = sizeof known / sizeof *known };

static void test_rows_are_what_gguf_says(void **state)
{
	(void)state;
	assert_int_equal(tensor_type_count, N_KNOWN);
	for (int i = 0; i < N_KNOWN; i++) {
		const struct tensor_traits *t = tensor_type_find(known[i].number);
		assert_non_null(t);
		assert_string_equal(t->name, known[i].name);
		assert_string_equal(tensor_type_name(t->type), known[i].name);
		assert_ptr_equal(tensor_type_parse(known[i].name), t);
		assert_ptr_equal(tensor_type_parse(t->word), t);
		assert_int_equal(t->block, known[i].block);
		assert_int_equal(t->block_bytes, known[i].block_bytes);
		assert_int_equal(t->file_type, known[i].file_type);
		assert_int_equal(t->cache, known[i].cache);
		size_t blocks = 7;
		assert_int_equal(tensor_type_bytes(t->type, blocks * (size_t)t->block),
				 blocks * (size_t)known[i].block_bytes);
	}
	assert_null(tensor_type_parse("q8"));
	assert_null(tensor_type_parse(""));
}

static void test_a_number_is_of_one_type_or_of_none(void **state)
{
	(void)state;
	assert_string_equal(tensor_type_foreign_name(10), "Q2_K");
	assert_string_equal(tensor_type_foreign_name(17), "IQ2_XS");
	assert_string_equal(tensor_type_foreign_name(39), "MXFP4");
	for (uint32_t n = 0; n < 64; n++)
		assert_false(tensor_type_find(n) && tensor_type_foreign_name(n));
	assert_null(tensor_type_foreign_name(63));
	assert_null(tensor_type_foreign_name(UINT32_MAX));
	assert_null(tensor_type_find(UINT32_MAX));
}

static void test_no_size_overflows(void **state)
{
	(void)state;
	assert_true(tensor_type_fits(TENSOR_F32, SIZE_MAX / 4));
	assert_false(tensor_type_fits(TENSOR_F32, SIZE_MAX / 4 + 1));
	assert_true(tensor_type_fits(TENSOR_F16, SIZE_MAX / 2));
	assert_false(tensor_type_fits(TENSOR_F16, SIZE_MAX / 2 + 1));
	assert_true(tensor_type_fits(TENSOR_Q8_0, SIZE_MAX / 34 * 32));
	assert_false(tensor_type_fits(TENSOR_Q8_0, (SIZE_MAX / 34 + 1) * 32));
}

/* Every type is read: a block of zeros is zeros. */
static void test_the_host_reads_every_type(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		const struct tensor_traits *t = &tensor_types[i];
		unsigned char block[256] = {0};
		float out[256];
		memset(out, 0x7f, sizeof out);
		assert_true(t->block <= 256 && t->block_bytes <= 256);
		cpu_to_f32(block, t->type, out, (size_t)t->block);
		for (int j = 0; j < t->block; j++)
			assert_true(out[j] == 0);
	}
}

static void test_lists_are_the_tables(void **state)
{
	(void)state;
	int n_cache = 0;
	for (int i = 0; i < tensor_type_count; i++) {
		const struct tensor_traits *t = &tensor_types[i];
		struct error err = {0};
		enum tensor_type type = TENSOR_Q8_0;
		assert_int_equal(cuda_type_index((int)t->type), i);
		assert_non_null(strstr(TENSOR_TYPE_WORDS, t->word));
		assert_non_null(strstr(TENSOR_TYPE_NAMES, t->name));
		assert_int_equal(options_cache_type(t->word, &type, &err), t->cache ? 0 : ERROR_INPUT);
		if (!t->cache) {
			assert_int_equal(cuda_cache_type_index((int)t->type), -1);
			assert_null(strstr(TENSOR_CACHE_TYPE_WORDS, t->word));
			continue;
		}
		assert_int_equal(type, t->type);
		assert_int_equal(cuda_cache_type_index((int)t->type), n_cache);
		assert_non_null(strstr(TENSOR_CACHE_TYPE_WORDS, t->word));
		assert_string_equal(engine_cache_types[n_cache++], t->word);
		assert_non_null(strstr(axes[AXIS_TYPE_K].help, t->word));
		assert_non_null(strstr(axes[AXIS_TYPE_V].help, t->word));
	}
	assert_null(engine_cache_types[n_cache]);
	assert_int_equal(n_cache, CUDA_N_CACHE_TYPES);
	assert_int_equal(cuda_type_index(39), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_what_gguf_says),
		cmocka_unit_test(test_a_number_is_of_one_type_or_of_none),
		cmocka_unit_test(test_no_size_overflows),
		cmocka_unit_test(test_the_host_reads_every_type),
		cmocka_unit_test(test_lists_are_the_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
