/*
 * The cubin cache gives back what was stored, and nothing else: an entry that is cut,
 * changed, of another key or of another kind of file counts as absent.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/cuda/cubin_cache.h"

enum { PATH = 512 };

static char root[] = "/tmp/gemmark-cache-XXXXXX";
static char folder[PATH];

static const struct nvrtc_header header = {"params.h", "struct p;"};
static const struct nvrtc_source source = {"a.cu", "kernel text", &header, 1};
static const char *const options[] = {"--gpu-architecture=sm_90", "-DN=1"};

static int make_root(void **state)
{
	(void)state;
	if (!mkdtemp(root))
		return -1;
	snprintf(folder, sizeof folder, "%s/deep/er", root);
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	char command[PATH];
	snprintf(command, sizeof command, "chmod -R u+w '%s' && rm -r '%s'", root, root);
	return system(command);
}

static struct cubin_key usual_key(void)
{
	return cubin_key(&source, options, 2, 13, 0);
}

/* The entry's file: the only one there. */
static void entry(char path[PATH])
{
	struct cubin_key k = usual_key();
	snprintf(path, PATH, "%s/%016llx%016llx.cubin", folder, (unsigned long long)k.high, (unsigned long long)k.low);
}

static void store(void)
{
	struct cubin_key k = usual_key();
	assert_true(cubin_cache_store(folder, &k, "a cubin of 20 bytes", 20));
}

static void expect(const char *want)
{
	struct cubin_key k = usual_key();
	size_t n = 99;
	char *got = cubin_cache_load(folder, &k, &n);
	if (!want) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_int_equal(n, strlen(want) + 1);
	assert_string_equal(got, want);
	free(got);
}

static void test_round_trip(void **state)
{
	(void)state;
	expect(NULL);
	store();
	expect("a cubin of 20 bytes");
	struct cubin_key k = usual_key();
	assert_true(cubin_cache_store(folder, &k, "another", 8)); /* replaces */
	expect("another");
	char command[PATH];
	snprintf(command, sizeof command, "ls '%s' | grep -c part && exit 1; exit 0", folder);
	assert_int_equal(system(command), 0); /* nothing half-written is left */
}

static void expect_other(struct cubin_key k)
{
	struct cubin_key usual = usual_key();
	assert_true(k.high != usual.high || k.low != usual.low);
}

/* Everything that changes what the compiler makes changes the key. */
static void test_key(void **state)
{
	(void)state;
	struct cubin_key again = usual_key(), usual = usual_key();
	assert_true(again.high == usual.high && again.low == usual.low);
	struct nvrtc_source s = source;
	s.text = "kernel texT";
	expect_other(cubin_key(&s, options, 2, 13, 0));
	s = source;
	s.name = "b.cu";
	expect_other(cubin_key(&s, options, 2, 13, 0));
	struct nvrtc_header h = {"params.h", "struct q;"};
	s = source;
	s.headers = &h;
	expect_other(cubin_key(&s, options, 2, 13, 0));
	s.n_headers = 0;
	expect_other(cubin_key(&s, options, 2, 13, 0));
	const char *const arch[] = {"--gpu-architecture=sm_80", "-DN=1"}, *const moved[] = {"--gpu-architecture=sm_90-",
											    "DN=1"};
	expect_other(cubin_key(&source, arch, 2, 13, 0));
	expect_other(cubin_key(&source, moved, 2, 13, 0)); /* the same characters in all */
	expect_other(cubin_key(&source, options, 1, 13, 0));
	expect_other(cubin_key(&source, options, 2, 12, 0));
	expect_other(cubin_key(&source, options, 2, 13, 1));
}

static long file_bytes(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return (long)st.st_size;
}

/* One bit anywhere in the file, header and checksum included. */
static void test_any_changed_byte_is_noticed(void **state)
{
	(void)state;
	char path[PATH];
	store();
	entry(path);
	long n = file_bytes(path);
	for (long i = 0; i < n; i++) {
		int fd = open(path, O_RDWR);
		unsigned char byte;
		assert_int_equal(pread(fd, &byte, 1, i), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		expect(NULL);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		close(fd);
	}
	expect("a cubin of 20 bytes");
}

static void test_any_cut_is_noticed(void **state)
{
	(void)state;
	char path[PATH];
	entry(path);
	store();
	for (long n = file_bytes(path) - 1; n >= 0; n--) {
		assert_int_equal(truncate(path, n), 0);
		expect(NULL);
	}
	store();
	assert_int_equal(truncate(path, file_bytes(path) + 1), 0);
	expect(NULL);
	store(); /* a bad entry is replaced */
	expect("a cubin of 20 bytes");
}

/* An entry renamed to another key's name is not that key's. */
static void test_foreign_entry(void **state)
{
	(void)state;
	char path[PATH];
	struct cubin_key other = cubin_key(&source, options, 1, 13, 0);
	entry(path);
	assert_true(cubin_cache_store(folder, &other, "foreign", 8));
	char from[PATH];
	snprintf(from, sizeof from, "%s/%016llx%016llx.cubin", folder, (unsigned long long)other.high,
		 (unsigned long long)other.low);
	assert_int_equal(rename(from, path), 0);
	expect(NULL);
}

/* A folder or a pipe in its place neither hangs nor crashes. */
static void test_other_kinds_of_file(void **state)
{
	(void)state;
	char path[PATH];
	entry(path);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect(NULL);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	expect(NULL);
	struct cubin_key k = usual_key();
	assert_false(cubin_cache_store(folder, &k, "x", 1)); /* no error, only no entry */
	assert_int_equal(rmdir(path), 0);
}

static void test_folder_that_cannot_be_made(void **state)
{
	(void)state;
	struct cubin_key k = usual_key();
	char file[PATH], under[PATH + 16];
	snprintf(file, sizeof file, "%s/file", root);
	int fd = open(file, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(under, sizeof under, "%s/cache", file);
	assert_false(cubin_cache_store(under, &k, "x", 1));
	size_t n;
	assert_null(cubin_cache_load(under, &k, &n));
}

static void test_folder_from_the_environment(void **state)
{
	(void)state;
	char got[PATH], small[8];
	setenv("XDG_CACHE_HOME", "/x", 1);
	setenv("HOME", "/h", 1);
	assert_true(cubin_cache_folder(got, sizeof got));
	assert_string_equal(got, "/x/gemmark");
	assert_false(cubin_cache_folder(small, sizeof small));
	setenv("XDG_CACHE_HOME", "relative", 1); /* the XDG specification: to be ignored */
	assert_true(cubin_cache_folder(got, sizeof got));
	assert_string_equal(got, "/h/.cache/gemmark");
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	assert_false(cubin_cache_folder(got, sizeof got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_any_changed_byte_is_noticed),
		cmocka_unit_test(test_any_cut_is_noticed),
		cmocka_unit_test(test_foreign_entry),
		cmocka_unit_test(test_other_kinds_of_file),
		cmocka_unit_test(test_folder_that_cannot_be_made),
		cmocka_unit_test(test_folder_from_the_environment),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
