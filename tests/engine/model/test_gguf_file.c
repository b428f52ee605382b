/*
 * GGUF files on disk: opening what is no model, the writer and what it leaves behind
 * when it fails, and the golden files, which other programs wrote.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/model/gguf_write.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/gguf_walk.h"

static char folder[] = "/tmp/gemmark-gguf-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static bool there(const char *name)
{
	struct stat st;
	return lstat(in_folder(name), &st) == 0;
}

/* Is there a file that is being written? */
static bool part_there(void)
{
	DIR *d = opendir(folder);
	bool found = false;
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		found |= strstr(e->d_name, ".part") != NULL;
	closedir(d);
	return found;
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

/* Fails where a test left anything behind. */
static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static void refuse(const char *path, int code, const char *text)
{
	struct gguf g;
	struct error err = {{0}};
	int rc = gguf_open(&g, path, &err);
	if (rc != code || !strstr(err.text, text))
		fail_msg("%s: expected code %d and \"%s\", not %d: %s", path, code, text, rc, err.text);
	walk_error(rc, &err);
	gguf_close(&g);
}

static void test_no_model(void **state)
{
	(void)state;
	refuse(in_folder("missing.gguf"), ERROR_IO, "missing.gguf: cannot be opened: No such file");
	refuse(folder, ERROR_INPUT, "is a directory");
	refuse("/dev/null", ERROR_INPUT, "is a device");

	assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
	refuse(in_folder("fifo"), ERROR_INPUT, "is a FIFO");
	assert_int_equal(unlink(in_folder("fifo")), 0);

	int fd = open(in_folder("two\nlines"), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	refuse(in_folder("two\nlines"), ERROR_INPUT, "two\\nlines: the file is empty");
	assert_int_equal(write(fd, "text\n", 5), 5);
	close(fd);
	refuse(in_folder("two\nlines"), ERROR_INPUT, "not a GGUF file");
	assert_int_equal(unlink(in_folder("two\nlines")), 0);

	char path[600];
	memset(path, 'x', sizeof path);
	memcpy(path + sizeof path - 10, "/end.gguf", 10);
	refuse(path, ERROR_IO, "/end.gguf: cannot be opened");
}

/* What every test of the writer writes: an F16 tensor of 3, a Q8_0 one of 2 x 32. */
static struct gguf_writer *begin_file(const char *path)
{
	struct gguf_writer *w;
	struct error err = {{0}};
	if (gguf_writer_open(&w, path, false, &err))
		fail_msg("%s", err.text);
	gguf_writer_u32(w, "u32", 4000000000u);
	gguf_writer_f32(w, "f32", -0.1f);
	gguf_writer_bool(w, "bool", true);
	gguf_writer_string(w, "string", "text");
	gguf_writer_u32_array(w, "u32s", (const uint32_t[]){5, 4000000001u}, 2);
	gguf_writer_bool_array(w, "bools", (const bool[]){false, true, true}, 3);
	assert_int_equal(gguf_writer_tensor(w, "a", TENSOR_F16, 1, (const int64_t[]){3}), 0);
	assert_int_equal(gguf_writer_tensor(w, "b", TENSOR_Q8_0, 2, (const int64_t[]){32, 2}), 1);
	return w;
}

static void test_round_trip(void **state)
{
	(void)state;
	struct error err = {{0}};
	unsigned char a[6], b[68];
	memset(a, 0xa1, sizeof a);
	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (unsigned char)i;
	struct gguf_writer *w = begin_file(in_folder("w.gguf"));
	assert_int_equal(gguf_writer_begin(w, &err), 0);
	uint64_t bytes = gguf_writer_file_bytes(w);
	assert_int_equal(bytes % 32, 0);
	assert_int_equal(gguf_writer_offset(w, 1) % 32, 0);
	assert_int_equal(gguf_writer_data(w, 1, b, &err), 0);
	assert_int_equal(pwrite(gguf_writer_fd(w), a, sizeof a, (off_t)gguf_writer_offset(w, 0)), sizeof a);
	assert_false(there("w.gguf"));
	assert_true(part_there());
	assert_int_equal(gguf_writer_end(w, &err), 0);
	assert_false(part_there());

	struct gguf g;
	if (gguf_open(&g, in_folder("w.gguf"), &err))
		fail_msg("%s", err.text);
	gguf_walk(&g);
	assert_int_equal(g.version, 3);
	assert_int_equal(g.map_bytes, bytes);
	assert_int_equal(g.n_kv, 6);
	int64_t i;
	double d;
	bool yes;
	struct gguf_string s;
	assert_int_equal(gguf_get_int(&g, "u32", &i, &err), 0);
	assert_int_equal(i, 4000000000);
	assert_int_equal(gguf_get_float(&g, "f32", &d, &err), 0);
	assert_true((float)d == -0.1f);
	assert_int_equal(gguf_get_bool(&g, "bool", &yes, &err), 0);
	assert_true(yes);
	assert_int_equal(gguf_get_string(&g, "string", &s, &err), 0);
	assert_int_equal(s.size, 4);
	assert_memory_equal(s.data, "text", 4);
	assert_int_equal(gguf_get_int_at(&g, "u32s", 1, &i, &err), 0);
	assert_int_equal(i, 4000000001);
	assert_int_equal(gguf_get_bool_at(&g, "bools", 0, &yes, &err), 0);
	assert_false(yes);
	assert_int_equal(gguf_get_bool_at(&g, "bools", 2, &yes, &err), 0);
	assert_true(yes);
	assert_int_equal(g.n_tensors, 2);
	const struct gguf_tensor *t = gguf_find_tensor(&g, "b");
	assert_int_equal(t->type, TENSOR_Q8_0);
	assert_int_equal(t->ne[0], 32);
	assert_int_equal(t->ne[1], 2);
	assert_memory_equal(t->data, b, sizeof b);
	t = gguf_find_tensor(&g, "a");
	assert_int_equal(t->bytes, sizeof a);
	assert_memory_equal(t->data, a, sizeof a);
	gguf_close(&g);
	assert_int_equal(unlink(in_folder("w.gguf")), 0);
}

/* What a handler of SIGBUS asks: which open file is mapped at an address. */
static void test_mapped_path(void **state)
{
	(void)state;
	struct error err = {{0}};
	struct gguf a, b, memory;
	struct bytes bytes = {0};
	samples[0].build(&bytes);
	for (int i = 0; i < 2; i++) {
		struct gguf_writer *w = begin_file(in_folder(i ? "b\x1b" : "a"));
		assert_int_equal(gguf_writer_begin(w, &err), 0);
		assert_int_equal(gguf_writer_end(w, &err), 0);
	}
	assert_int_equal(gguf_open(&a, in_folder("a"), &err), 0);
	assert_int_equal(gguf_open(&b, in_folder("b\x1b"), &err), 0);
	assert_int_equal(gguf_open_memory(&memory, bytes.p, bytes.n, "sample", &err), 0);
	const unsigned char *in_a = a.map, *in_b = b.map;
	assert_string_equal(gguf_mapped_path(in_a), in_folder("a"));
	assert_string_equal(gguf_mapped_path(in_a + a.map_bytes - 1), in_folder("a"));
	assert_string_equal(gguf_mapped_path(in_b), in_folder("b\\x1b"));
	assert_null(gguf_mapped_path(bytes.p));
	assert_null(gguf_mapped_path(NULL));
	size_t n = a.map_bytes;
	if ((size_t)(in_b - in_a) != n)
		assert_null(gguf_mapped_path(in_a + n));
	gguf_close(&a);
	assert_null(gguf_mapped_path(in_a));
	assert_string_equal(gguf_mapped_path(in_b), in_folder("b\\x1b"));
	gguf_close(&b);
	assert_null(gguf_mapped_path(in_b));
	gguf_close(&memory);
	bytes_free(&bytes);
	assert_int_equal(unlink(in_folder("a")), 0);
	assert_int_equal(unlink(in_folder("b\x1b")), 0);
}

/* gguf_writer_copy carries every type: metadata bytes behind the header come out as they went in. */
static void test_copy(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct bytes b = {0};
		struct error err = {{0}};
		struct gguf source, copy;
		struct gguf_writer *w;
		samples[i].build(&b);
		assert_int_equal(gguf_open_memory(&source, b.p, b.n, "sample", &err), 0);
		assert_int_equal(gguf_writer_open(&w, in_folder("copy.gguf"), false, &err), 0);
		for (size_t k = 0; k < source.n_kv; k++)
			gguf_writer_copy(w, &source.kv[k]);
		assert_int_equal(gguf_writer_begin(w, &err), 0);
		assert_int_equal(gguf_writer_end(w, &err), 0);
		assert_int_equal(gguf_open(&copy, in_folder("copy.gguf"), &err), 0);
		assert_true(copy.map_bytes >= b.n && copy.map_bytes < b.n + 32);
		assert_memory_equal(copy.map + 8, b.p + 8, b.n - 8);
		gguf_close(&copy);
		gguf_close(&source);
		bytes_free(&b);
		assert_int_equal(unlink(in_folder("copy.gguf")), 0);
	}
}

static void test_writer_refuses(void **state)
{
	(void)state;
	struct gguf_writer *w;
	struct error err = {{0}};
	assert_int_equal(gguf_writer_open(&w, in_folder("none/w.gguf"), false, &err), ERROR_IO);
	assert_null(w);
	assert_non_null(strstr(err.text, "none/w.gguf: cannot be created: No such file or directory"));
	assert_int_equal(gguf_writer_open(&w, folder, true, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "is a folder"));
	assert_int_equal(gguf_writer_open(&w, "/dev/null", true, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "not a regular file"));

	w = begin_file(in_folder("w.gguf"));
	gguf_writer_tensor(w, "huge", TENSOR_F32, 2, (const int64_t[]){INT64_MAX / 2, 4});
	assert_int_equal(gguf_writer_begin(w, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "larger than a file can be"));
	gguf_writer_abort(w);
	assert_false(part_there());

	/* The name is taken by a folder while the file is written. */
	w = begin_file(in_folder("w.gguf"));
	assert_int_equal(gguf_writer_begin(w, &err), 0);
	assert_int_equal(mkdir(in_folder("w.gguf"), 0700), 0);
	assert_int_equal(gguf_writer_end(w, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "w.gguf: has come to exist meanwhile; what was written is "));
	const char *kept = strstr(err.text, " is ") + 4;
	assert_int_equal(unlink(kept), 0);
	assert_int_equal(rmdir(in_folder("w.gguf")), 0);
}

/* A file size limit stands in for a full disk: both refuse to size the file, or to write to it. */
static void test_disk_full(void **state)
{
	(void)state;
	struct rlimit old, limit;
	struct error err = {{0}};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 256;

	struct gguf_writer *w = begin_file(in_folder("w.gguf"));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int rc = gguf_writer_begin(w, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(rc, ERROR_IO);
	assert_non_null(strstr(err.text, "w.gguf: cannot be sized: File too large; "));
	gguf_writer_abort(w);
	assert_false(part_there());

	unsigned char b[68] = {0};
	w = begin_file(in_folder("w.gguf"));
	assert_int_equal(gguf_writer_begin(w, &err), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rc = gguf_writer_data(w, 1, b, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(rc, ERROR_IO);
	assert_non_null(strstr(err.text, "w.gguf: cannot be written: File too large; "));
	gguf_writer_abort(w);
	assert_false(part_there());
}

/* The fuzzer's seeds are what tests/fuzz/seed_gguf.c makes of the samples. */
static void test_seeds(void **state)
{
	(void)state;
	for (int i = 0; i < N_SAMPLES; i++) {
		struct bytes b = {0};
		char path[128];
		unsigned char seed[8192];
		samples[i].build(&b);
		assert_true(b.n < sizeof seed);
		snprintf(path, sizeof path, "fuzz/corpus/gguf/%s.gguf", samples[i].name);
		FILE *f = fopen(path, "rb");
		assert_non_null(f);
		assert_int_equal(fread(seed, 1, sizeof seed, f), b.n);
		fclose(f);
		assert_memory_equal(seed, b.p, b.n);
		bytes_free(&b);
	}
}

static size_t count_type(const struct gguf *g, const char *type)
{
	size_t n = 0;
	for (size_t i = 0; i < g->n_tensors; i++)
		n += strcmp(tensor_type_name(g->tensors[i].type), type) == 0;
	return n;
}

/* A file's shape and types against the JSON that was written beside it. */
static void check_golden(const char *path, const char *arch, json_t *model, const char *type)
{
	struct gguf g;
	struct error err = {{0}};
	if (gguf_open(&g, path, &err))
		fail_msg("%s", err.text);
	gguf_walk(&g);

	struct gguf_string s;
	assert_int_equal(gguf_get_string(&g, "general.architecture", &s, &err), 0);
	assert_int_equal(s.size, strlen(arch));
	assert_memory_equal(s.data, arch, s.size);
	char key[64];
	int64_t value;
	snprintf(key, sizeof key, "%s.embedding_length", arch);
	assert_int_equal(gguf_get_int(&g, key, &value, &err), 0);
	assert_int_equal(value, json_integer_value(json_object_get(model, "n_embd")));
	snprintf(key, sizeof key, "%s.block_count", arch);
	assert_int_equal(gguf_get_int(&g, key, &value, &err), 0);
	assert_int_equal(value, json_integer_value(json_object_get(model, "n_layer")));
	snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
	double eps;
	assert_int_equal(gguf_get_float(&g, key, &eps, &err), 0);
	assert_true((float)eps == 1e-6f);
	const struct gguf_tensor *embd = gguf_find_tensor(&g, "token_embd.weight");
	assert_non_null(embd);
	assert_int_equal(embd->ne[0], json_integer_value(json_object_get(model, "n_embd")));
	assert_int_equal(embd->ne[1], json_integer_value(json_object_get(model, "n_vocab")));
	assert_int_equal(gguf_find(&g, "tokenizer.ggml.tokens")->n_items, embd->ne[1]);

	/* tensor_types leaves out the "unmapped" ones, which are F32 */
	json_t *entry = json_object_get(json_object_get(model, "types"), type);
	size_t unmapped = json_array_size(json_object_get(entry, "unmapped")), total = unmapped;
	const char *name;
	json_t *count;
	json_object_foreach(json_object_get(entry, "tensor_types"), name, count)
	{
		size_t n = (size_t)json_integer_value(count);
		total += n;
		assert_int_equal(count_type(&g, name), n + (strcmp(name, "F32") == 0 ? unmapped : 0));
	}
	assert_int_equal(g.n_tensors, total);
	gguf_close(&g);
}

static void test_golden(void **state)
{
	(void)state;
	static const char *const names[] = {"gemma4-e4b-tiny",     "gemma4-e2b-tiny", "gemma4-31b-tiny",
					    "gemma4-26b-a4b-tiny", "gemma3-tiny",     "qwen3-tiny"};
	int n_files = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[512];
		snprintf(path, sizeof path, "golden/%s.json", names[i]);
		char arch[16];
		snprintf(arch, sizeof arch, "%.*s", (int)strcspn(names[i], "-"), names[i]);
		json_error_t error;
		json_t *model = json_load_file(path, 0, &error);
		if (!model)
			fail_msg("%s: %s", path, error.text);
		const char *type;
		json_t *entry;
		json_object_foreach(json_object_get(model, "types"), type, entry)
		{
			snprintf(path, sizeof path, "golden/%s.%s.gguf", names[i], type);
			if (access(path, F_OK) != 0)
				snprintf(path, sizeof path, "%s/%s.%s.gguf", GEMMARK_GOLDEN_DERIVED, names[i], type);
			check_golden(path, arch, model, type);
			n_files++;
		}
		json_decref(model);
	}
	assert_int_equal(n_files, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_model),       cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_copy),
		cmocka_unit_test(test_writer_refuses), cmocka_unit_test(test_disk_full),   cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_golden),         cmocka_unit_test(test_mapped_path),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
