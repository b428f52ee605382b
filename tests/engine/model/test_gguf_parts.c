/*
 * Models split into several files: whichever is named, they are the model that was split; and what is wrong with a set
 * of parts is said. The test splits a golden file itself, and one of few bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/model/gguf_write.h"
#include "engine/model/model.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

enum { N_PARTS = 3, PATH_BYTES = FOLDER_BYTES + 64 };

static char folder[FOLDER_BYTES];

static const char *part_path(char out[PATH_BYTES], int i)
{
	snprintf(out, PATH_BYTES, "%s/m-%05d-of-%05d.gguf", folder, i + 1, N_PARTS);
	return out;
}

/* Parts at the end that hold tensors: the first one may have none. */
static int holders = N_PARTS;

/* Whether part i holds tensor k. */
static bool holds(int i, size_t k)
{
	return i >= N_PARTS - holders && k % (size_t)holders == (size_t)(i - (N_PARTS - holders));
}

/* A part as gguf-split writes it: the keys in the first, tensors in turn. */
static void write_part(const struct gguf *g, const char *path, int i, unsigned no, unsigned total, const char *extra)
{
	struct gguf_writer *w;
	char name[96];
	int n = 0;
	OK(gguf_writer_open(&w, path, true, e));
	for (size_t k = 0; k < g->n_kv && i == 0; k++)
		gguf_writer_copy(w, &g->kv[k]);
	gguf_writer_u32(w, "split.no", no);
	gguf_writer_u32(w, "split.count", N_PARTS);
	gguf_writer_u32(w, "split.tensors.count", total);
	for (size_t k = 0; k < g->n_tensors; k++) {
		const struct gguf_tensor *t = &g->tensors[k];
		if (!holds(i, k))
			continue;
		snprintf(name, sizeof name, "%.*s", (int)t->name.size, t->name.data);
		gguf_writer_tensor(w, name, t->type, t->n_dims, t->ne);
	}
	const struct gguf_tensor *norm = gguf_find_tensor(g, "output_norm.weight");
	if (extra)
		gguf_writer_tensor(w, extra, norm->type, norm->n_dims, norm->ne);
	OK(gguf_writer_begin(w, e));
	for (size_t k = 0; k < g->n_tensors; k++)
		if (holds(i, k))
			OK(gguf_writer_data(w, n++, g->tensors[k].data, e));
	if (extra)
		OK(gguf_writer_data(w, n, norm->data, e));
	OK(gguf_writer_end(w, e));
}

static struct gguf split_file(const char *from)
{
	struct gguf g;
	char path[PATH_BYTES];
	OK(gguf_open(&g, from, e));
	for (int i = 0; i < N_PARTS; i++)
		write_part(&g, part_path(path, i), i, (unsigned)i, (unsigned)g.n_tensors, NULL);
	return g;
}

static struct gguf split(void)
{
	struct golden golden;
	golden_load(&golden, "qwen3-tiny.q8_0");
	struct gguf g = split_file(golden.path);
	golden_free(&golden);
	return g;
}

static void test_any_part_is_the_model(void **state)
{
	(void)state;
	struct gguf g = split();
	for (int i = 0; i < N_PARTS; i++) {
		struct model m;
		struct error err;
		char path[PATH_BYTES];
		if (model_open(&m, part_path(path, i), &err))
			fail_msg("%s", err.text);
		assert_string_equal(m.file.path, path);
		assert_int_equal(m.file.n_parts, N_PARTS);
		assert_int_equal(m.file.n_tensors, g.n_tensors);
		for (size_t k = 0; k < g.n_tensors; k++) {
			char name[96], held[4];
			uint64_t offset;
			snprintf(name, sizeof name, "%.*s", (int)g.tensors[k].name.size, g.tensors[k].name.data);
			const struct gguf_tensor *t = gguf_find_tensor(&m.file, name);
			assert_non_null(t);
			assert_int_equal(t->bytes, g.tensors[k].bytes);
			assert_memory_equal(t->data, g.tensors[k].data, t->bytes);
			/* and it is where it is said to be */
			int part = gguf_tensor_part(&m.file, t, &offset);
			assert_true(holds(part, k));
			FILE *f = fopen(gguf_part_path(&m.file, part), "rb");
			assert_non_null(f);
			assert_int_equal(fseek(f, (long)offset, SEEK_SET), 0);
			assert_int_equal(fread(held, 1, sizeof held, f), sizeof held);
			assert_memory_equal(held, t->data, sizeof held);
			fclose(f);
		}
		model_close(&m);
	}
	gguf_close(&g);
}

static void test_a_first_part_of_keys_alone(void **state)
{
	holders = N_PARTS - 1;
	test_any_part_is_the_model(state);
	holders = N_PARTS;
}

static void refused(const char *path, const char *says, const char *says_too)
{
	struct gguf g;
	struct error err = {{0}};
	assert_int_equal(gguf_open(&g, path, &err), ERROR_INPUT);
	if (!strstr(err.text, says) || !strstr(err.text, says_too))
		fail_msg("said '%s', not '%s' and '%s'", err.text, says, says_too);
}

static void test_what_is_wrong_is_said(void **state)
{
	(void)state;
	struct gguf g = split();
	char first[PATH_BYTES], second[PATH_BYTES], third[PATH_BYTES], other[PATH_BYTES];
	unsigned total = (unsigned)g.n_tensors;
	part_path(first, 0);
	part_path(second, 1);
	part_path(third, 2);
	snprintf(other, sizeof other, "%s/other.gguf", folder);

	assert_int_equal(rename(second, other), 0);
	refused(third, "m-00003-of-00003.gguf: is part 3 of 3 of a model", "m-00002-of-00003.gguf, is missing");
	refused(other, "other.gguf: is part 2 of 3 of a model", "name it ...-00002-of-00003.gguf");

	/* one that is another part, or of another model */
	write_part(&g, second, 1, 2, total, NULL);
	refused(first, "m-00002-of-00003.gguf: is not part 2 of 3", "m-00001-of-00003.gguf");
	write_part(&g, second, 1, 1, total + 1, NULL);
	refused(first, "m-00002-of-00003.gguf: is not part 2 of 3", "m-00001-of-00003.gguf");

	/* a tensor too many, and one that is there twice */
	write_part(&g, second, 1, 1, total, "blk.9.attn_norm.weight");
	refused(first, "tensors, but split.tensors.count is", "");
	char elsewhere[96];
	snprintf(elsewhere, sizeof elsewhere, "%.*s", (int)g.tensors[0].name.size, g.tensors[0].name.data);
	write_part(&g, second, 1, 1, total, elsewhere);
	refused(first, "two of the 3 parts of the model have the tensor ", elsewhere);
	write_part(&g, second, 1, 1, total, "blk.0.attn_k.weight"); /* the first of all names */
	refused(first, "two of the 3 parts of the model have the tensor ", "blk.0.attn_k.weight");

	write_part(&g, second, 1, 7, total, NULL);
	refused(second, "split.no is 7, expected 0 to 2", "");
	gguf_close(&g);
	assert_int_equal(rename(other, second), 0);
	OK(gguf_open(&g, first, e));
	gguf_close(&g);
}

/* A part that is written to while the model is open is a model that changed, whichever part it is. */
/* A part whose whole name is shorter than a part's ending. */
static void test_a_short_name(void **state)
{
	(void)state;
	struct gguf g = split();
	char first[PATH_BYTES], *before = getcwd(NULL, 0);
	assert_non_null(before);
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(rename(part_path(first, 0), "m"), 0);
	refused("m", "m: is part 1 of 3 of a model", "name it ...-00001-of-00003.gguf");
	assert_int_equal(rename("m", first), 0);
	assert_int_equal(chdir(before), 0);
	free(before);
	gguf_close(&g);
}

/* A model that says it is one part of one needs no number. */
static void test_one_part(void **state)
{
	(void)state;
	struct gguf g = split(), one;
	struct gguf_writer *w;
	char path[PATH_BYTES];
	snprintf(path, sizeof path, "%s/one.gguf", folder);
	OK(gguf_writer_open(&w, path, true, e));
	gguf_writer_u32(w, "split.count", 1);
	OK(gguf_writer_begin(w, e));
	OK(gguf_writer_end(w, e));
	OK(gguf_open(&one, path, e));
	assert_int_equal(one.n_parts, 1);
	gguf_close(&one);
	gguf_close(&g);
	assert_int_equal(remove(path), 0);
}

static void test_a_changed_part_is_noticed(void **state)
{
	(void)state;
	struct gguf whole = split(), g;
	gguf_close(&whole);
	for (int i = 0; i < N_PARTS; i++) {
		char path[PATH_BYTES];
		struct error err = {{0}};
		OK(gguf_open(&g, part_path(path, 0), e));
		uint64_t before = gguf_identity(&g);
		OK(gguf_check(&g, "wait", e));
		FILE *f = fopen(part_path(path, i), "ab");
		assert_non_null(f);
		assert_int_equal(fputc(0, f), 0);
		assert_int_equal(fclose(f), 0);
		assert_int_equal(gguf_check(&g, "wait", &err), ERROR_INPUT);
		assert_non_null(strstr(err.text, path));
		assert_non_null(strstr(err.text, "; wait"));
		gguf_close(&g);
		/* Opened again it is another one, and twice the same. */
		OK(gguf_open(&g, part_path(path, 0), e));
		uint64_t after = gguf_identity(&g);
		assert_true(before && after && before != after);
		gguf_close(&g);
		OK(gguf_open(&g, part_path(path, i), e));
		assert_true(gguf_identity(&g) == after);
		gguf_close(&g);
	}
}

/* So is one that changed between two looks: a sweep opens a model more than once. */
static void test_a_part_changed_between_two_looks(void **state)
{
	(void)state;
	struct gguf whole = split(), before, after;
	gguf_close(&whole);
	for (int i = 0; i < N_PARTS; i++) {
		char path[PATH_BYTES];
		OK(gguf_open(&before, part_path(path, 0), e));
		OK(gguf_open(&after, part_path(path, 0), e));
		assert_true(gguf_identity(&before) == gguf_identity(&after));
		gguf_close(&after);
		FILE *f = fopen(part_path(path, i), "ab");
		assert_non_null(f);
		assert_int_equal(fputc(0, f), 0);
		assert_int_equal(fclose(f), 0);
		OK(gguf_open(&after, part_path(path, 0), e));
		assert_false(gguf_identity(&before) == gguf_identity(&after));
		gguf_close(&after);
		gguf_close(&before);
	}
}

/* Logits go onto no part, whichever of them is named, and all stay as they were. */
static void test_no_part_is_written(void **state)
{
	(void)state;
	struct gguf whole = split(), g;
	gguf_close(&whole);
	char named[PATH_BYTES], out[PATH_BYTES], name[FOLDER_BYTES + 16];
	OK(gguf_open(&g, part_path(named, 0), e));
	snprintf(name, sizeof name, "%s/link", folder);
	for (int i = 0; i < N_PARTS; i++) {
		unlink(name);
		assert_int_equal(link(part_path(out, i), name), 0);
		char *by_name[] = {"eval", "-m", named, "-ngl", "0", "--tokens", "1,2", "-o", out, "--force", NULL};
		char *by_link[] = {"eval", "-m", named, "-ngl", "0", "--tokens", "1,2", "-o", name, "--force", NULL};
		part_path(named, (i + 1) % N_PARTS);
		assert_int_equal(command_run(folder, cmd_eval, by_name), 2);
		assert_true(command_said(folder, "errors", "is read"));
		assert_int_equal(command_run(folder, cmd_eval, by_link), 2);
		assert_true(command_said(folder, "errors", "is read"));
	}
	OK(gguf_check(&g, "wait", e));
	gguf_close(&g);
}

/* Tensors of several types, those of a layer in all parts: a prompt and tokens have the bits of the whole file's. */
static void test_parts_decode_as_the_whole(void **state)
{
	(void)state;
	static const struct quantised_case few_bits = {"qwen3-tiny", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M};
	struct temp_file whole = temp_file_make();
	int n, also;
	quantised_make(&few_bits, whole.path);
	struct gguf g = split_file(whole.path);
	gguf_close(&g);
	float *want = quantised_logits(whole.path, 0, FUSION_FULL, GRAPH_MODE_DEVICE, &n);
	temp_file_remove(&whole);
	for (int i = 0; i < N_PARTS; i += N_PARTS - 1) {
		char path[PATH_BYTES];
		float *got = quantised_logits(part_path(path, i), 0, FUSION_FULL, GRAPH_MODE_DEVICE, &also);
		assert_int_equal(also, n);
		assert_memory_equal(got, want, (size_t)QUANTISED_ROWS * (size_t)n * sizeof *got);
		free(got);
	}
	free(want);
}

static int make(void **state)
{
	(void)state;
	return folder_make(folder, "parts");
}

static int remove_all(void **state)
{
	(void)state;
	return folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_part_is_the_model),
		cmocka_unit_test(test_parts_decode_as_the_whole),
		cmocka_unit_test(test_a_first_part_of_keys_alone),
		cmocka_unit_test(test_what_is_wrong_is_said),
		cmocka_unit_test(test_a_short_name),
		cmocka_unit_test(test_one_part),
		cmocka_unit_test(test_a_changed_part_is_noticed),
		cmocka_unit_test(test_a_part_changed_between_two_looks),
		cmocka_unit_test(test_no_part_is_written),
	};
	return cmocka_run_group_tests(tests, make, remove_all);
}
