/*
 * Kept contexts on the disk: what is damaged, another's, or no file is refused with the reason and never served; what
 * they take is bounded, also where two processes keep at once.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "harness/measure/context_directory.h"
#include "harness/measure/context_store.h"
#include "tests/support/fake_workload.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

#define IDENTITY "{\"model\": \"m\", \"K cache type\": \"f16\"}"

enum { CHUNK = 16, BYTES = 1000 };

static char folder[FOLDER_BYTES];
static int notes;
static char last_note[640];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "contexts");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void note(void *ctx, const char *line)
{
	(void)ctx;
	snprintf(last_note, sizeof last_note, "%s", line);
	notes++;
}

static struct context_store *open_store(uint64_t limit)
{
	struct context_store *s;
	const struct context_store_options o = {.directory = folder, .limit = limit, .note = note};
	OK(context_store_open(&s, &o, e));
	notes = 0;
	*last_note = '\0';
	return s;
}

static struct workload *open_fake(struct fake *f, const char *identity)
{
	static const struct cell cell;
	struct workload *w;
	fake_init(f);
	f->chunk = CHUNK;
	f->identity = identity;
	f->context_bytes = BYTES;
	OK(fake_open(&f->source, &(struct placement){&cell, 1000, 0}, &w, e));
	return w;
}

static struct token_stream stream_of(uint64_t seed)
{
	struct token_stream t;
	token_stream_init(&t, seed, FAKE_VOCAB);
	return t;
}

/* A context of n tokens of that seed, kept on the disk. */
static void keep(struct context_store *s, const char *identity, uint64_t seed, int n)
{
	struct fake f;
	struct workload *w = open_fake(&f, identity);
	struct token_stream t = stream_of(seed);
	int tokens[1000];
	token_fill(&t, 0, n, tokens);
	OK(w->ops->prefill(w, tokens, n, e));
	OK(context_store_keep(s, w, &t, n, CONTEXT_STORE_DISK, e));
}

/* Tokens that are found of n; the content is then that of these tokens. */
static int find(struct context_store *s, const char *identity, uint64_t seed, int n)
{
	struct fake f, expected;
	struct workload *w = open_fake(&f, identity), *x;
	struct token_stream t = stream_of(seed);
	int tokens[1000], reached;
	enum context_source from = CONTEXT_SOURCE_PREFILL;
	OK(context_store_restore(s, w, &t, n, &reached, &from, e));
	if (!reached)
		return 0;
	assert_int_equal(from, CONTEXT_SOURCE_DISK);
	x = open_fake(&expected, identity);
	token_fill(&t, 0, reached, tokens);
	OK(x->ops->prefill(x, tokens, reached, e));
	assert_int_equal(f.pos, reached);
	assert_true(f.content == expected.content);
	return reached;
}

/* The files of the folder; the only one's path. */
static int files(char path[512])
{
	DIR *d = opendir(folder);
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) {
			snprintf(path, 512, "%s/%s", folder, e->d_name);
			n++;
		}
	closedir(d);
	return n;
}

static void empty(void)
{
	char path[512];
	while (files(path))
		assert_int_equal(remove(path), 0);
}

static unsigned char *slurp(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	unsigned char *bytes = malloc(1 << 16);
	*n = fread(bytes, 1, 1 << 16, f);
	fclose(f);
	return bytes;
}

static void spit(const char *path, const unsigned char *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void expect_refused(struct context_store *s, const char *why)
{
	notes = 0;
	assert_int_equal(find(s, IDENTITY, 1, 64), 0);
	if (notes != 1 || !strstr(last_note, "refused") || !strstr(last_note, ".gkv") || !strstr(last_note, why))
		fail_msg("%d notes, '%s', not '%s'", notes, last_note, why);
}

/* Where head, label and contents are, by the format's description. */
enum { HEAD = 40, VERSION_AT = 8, LABEL_BYTES_AT = 12, CONTENTS_BYTES_AT = 16 };

static void test_damaged(void **state)
{
	(void)state;
	char path[512];
	size_t n;
	uint32_t label, word;
	struct context_store *s = open_store(1 << 20);
	keep(s, IDENTITY, 1, 64);
	assert_int_equal(files(path), 1);
	unsigned char *good = slurp(path, &n), *bad = malloc(n + 1);
	memcpy(&label, good + LABEL_BYTES_AT, 4);
	assert_int_equal(n, HEAD + label + BYTES);
	assert_int_equal(find(s, IDENTITY, 1, 64), 64);
	assert_int_equal(notes, 0);
	for (size_t cut = 0; cut < n; cut += cut < 400 ? 1 : 37) {
		spit(path, good, cut);
		expect_refused(s, cut < HEAD ? "it was cut" : "bytes");
	}
	memcpy(bad, good, n);
	bad[n] = 0;
	spit(path, bad, n + 1);
	expect_refused(s, "bytes");
	/* Each byte of head and label; some of the contents. */
	for (size_t i = 0; i < n; i += i < HEAD + label ? 1 : 61) {
		memcpy(bad, good, n);
		bad[i] ^= 0x20;
		spit(path, bad, n);
		expect_refused(s, i < VERSION_AT              ? "it is no snapshot"
				  : i < LABEL_BYTES_AT        ? "its format is"
				  : i < CONTENTS_BYTES_AT + 8 ? "bytes"
				  : i < HEAD + label          ? "head was altered"
							      : "contents were altered");
	}
	/* Sizes that overflow, and one that would be allocated. */
	static const uint64_t absurd[] = {0, UINT64_MAX, UINT64_MAX - 39, (uint64_t)1 << 63, (uint64_t)1 << 40};
	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
		memcpy(bad, good, n);
		memcpy(bad + CONTENTS_BYTES_AT, &absurd[i], 8);
		spit(path, bad, n);
		expect_refused(s, "bytes");
	}
	static const uint32_t labels[] = {0, UINT32_MAX, 1 << 16, 1 << 20};
	for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
		memcpy(bad, good, n);
		memcpy(bad + LABEL_BYTES_AT, &labels[i], 4);
		spit(path, bad, n);
		expect_refused(s, "bytes");
	}
	word = CONTEXT_FILE_VERSION + 1;
	memcpy(bad, good, n);
	memcpy(bad + VERSION_AT, &word, 4);
	spit(path, bad, n);
	expect_refused(s, "its format is 2, this build's is 1");
	/* Kept again, it takes the damaged one's place. */
	keep(s, IDENTITY, 1, 64);
	assert_int_equal(files(path), 1);
	assert_int_equal(find(s, IDENTITY, 1, 64), 64);
	free(good);
	free(bad);
	context_store_close(s);
	empty();
}

/* Renamed to what is looked for: of other weights, types, tokens. */
static void test_of_others(void **state)
{
	(void)state;
	static const struct {
		const char *identity;
		uint64_t seed;
		int n;
		const char *why;
	} others[] = {
		{"{\"model\": \"other\", \"K cache type\": \"f16\"}", 1, 64,
		 "it is of another model: 'other', not 'm'"},
		{"{\"model\": \"m\", \"K cache type\": \"f32\"}", 1, 64, "another K cache type: 'f32', not 'f16'"},
		{"{\"model\": \"m\"}", 1, 64, "another K cache type: '', not 'f16'"},
		{"{\"model\": \"m\", \"K cache type\": \"f16\", \"more\": \"x\"}", 1, 64, "does not know"},
		{IDENTITY, 2, 64, "it is of other tokens"},
		{IDENTITY, 1, 48, "it is of 48 tokens, not 64"},
	};
	char path[512], name[512];
	struct context_store *s = open_store(1 << 20);
	keep(s, IDENTITY, 1, 64);
	assert_int_equal(files(name), 1);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		empty();
		keep(s, others[i].identity, others[i].seed, others[i].n);
		assert_int_equal(files(path), 1);
		/* Under its own name it is nobody's business. */
		notes = 0;
		assert_int_equal(find(s, IDENTITY, 1, 64), others[i].n == 48 ? 48 : 0);
		assert_int_equal(notes, 0);
		assert_int_equal(rename(path, name), 0);
		expect_refused(s, others[i].why);
	}
	context_store_close(s);
	empty();
}

/* Nothing is followed, nothing blocks, and what is in the way is not removed but for what a rename replaces. */
static void test_hostile_names(void **state)
{
	(void)state;
	char name[512], aside[600];
	struct context_store *s = open_store(1 << 20);
	keep(s, IDENTITY, 1, 64);
	assert_int_equal(files(name), 1);
	snprintf(aside, sizeof aside, "%s-aside", folder);
	assert_int_equal(rename(name, aside), 0);
	alarm(60); /* where something blocks */
	assert_int_equal(symlink(aside, name), 0);
	expect_refused(s, "a symbolic link");
	keep(s, IDENTITY, 1, 64); /* takes the link's place, not the file's behind it */
	struct stat st;
	assert_int_equal(lstat(name, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(remove(name), 0);
	assert_int_equal(mkfifo(name, 0666), 0);
	expect_refused(s, "a pipe");
	assert_int_equal(remove(name), 0);
	assert_int_equal(mkdir(name, 0777), 0);
	expect_refused(s, "a folder");
	notes = 0;
	keep(s, IDENTITY, 1, 64);
	assert_int_equal(notes, 1);
	assert_non_null(strstr(last_note, "context not kept"));
	assert_int_equal(files(name), 1); /* no temporary file is left */
	assert_int_equal(rmdir(name), 0);
	/* The directory's lock is somebody's who does not let go. */
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	keep(s, IDENTITY, 1, 64);
	assert_non_null(strstr(last_note, "another process keeps it locked"));
	struct context_store *late;
	struct error err = {""};
	const struct context_store_options o = {.directory = folder, .limit = 1 << 20, .note = note};
	assert_int_equal(context_store_open(&late, &o, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "another process keeps it locked, and did for 2 s; end that one"));
	close(fd);
	alarm(0);
	assert_int_equal(remove(aside), 0);
	context_store_close(s);
	empty();
}

static uint64_t bytes_of_folder(void)
{
	DIR *d = opendir(folder);
	uint64_t sum = 0;
	struct stat st;
	for (struct dirent *e; (e = readdir(d));)
		if (!fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	closedir(d);
	return sum;
}

static void age(const char *name, int seconds)
{
	const struct timeval t[2] = {{.tv_sec = 1000000 - seconds}, {.tv_sec = 1000000 - seconds}};
	assert_int_equal(utimes(name, t), 0);
}

/* The least recently used go first; what was found counts as used; never more than the limit. */
static void test_limit(void **state)
{
	(void)state;
	char name[512], first[512];
	struct context_store *s = open_store(1 << 20);
	keep(s, IDENTITY, 1, 16);
	assert_int_equal(files(first), 1);
	uint64_t one = bytes_of_folder();
	context_store_close(s);
	s = open_store(3 * one + 10);
	age(first, 30);
	keep(s, IDENTITY, 2, 16);
	keep(s, IDENTITY, 3, 16);
	assert_int_equal(find(s, IDENTITY, 1, 16), 16); /* used now */
	keep(s, IDENTITY, 4, 16);
	assert_true(bytes_of_folder() <= 3 * one + 10);
	assert_int_equal(files(name), 3);
	assert_int_equal(find(s, IDENTITY, 1, 16), 16);
	assert_int_equal(find(s, IDENTITY, 2, 16), 0);
	assert_int_equal(find(s, IDENTITY, 4, 16), 16);
	assert_int_equal(notes, 0);
	/* Replacing one needs no other's room. */
	keep(s, IDENTITY, 1, 16);
	assert_int_equal(files(name), 3);
	context_store_close(s);
	/* A smaller limit holds once the directory is opened, whatever is found or kept in it then. */
	assert_int_equal(files(name), 3);
	s = open_store(one);
	assert_int_equal(files(name), 1);
	assert_int_equal(find(s, IDENTITY, 1, 16), 16); /* kept last */
	keep(s, IDENTITY, 5, 16);
	assert_int_equal(files(name), 1);
	assert_int_equal(find(s, IDENTITY, 5, 16), 16);
	keep(s, "{\"model\": \"of a longer name\", \"K cache type\": \"f16\"}", 6, 16);
	assert_non_null(strstr(last_note, "may take together; raise --kv-cache-limit"));
	assert_int_equal(find(s, IDENTITY, 5, 16), 16); /* nothing was given up for what cannot fit */
	context_store_close(s);
	s = open_store(one - 1);
	assert_int_equal(files(name), 0);
	context_store_close(s);
	/* What a killed writer left counts, and goes; what one is writing counts, and stays. */
	s = open_store(2 * one + 10);
	empty();
	keep(s, IDENTITY, 1, 16);
	assert_int_equal(files(first), 1);
	snprintf(name, sizeof name, "%s/.%s.99999.tmp", folder, strrchr(first, '/') + 1);
	spit(name, (const unsigned char *)"x", 1);
	keep(s, IDENTITY, 2, 16);
	assert_int_not_equal(access(name, F_OK), 0);
	spit(name, (const unsigned char *)"x", 1);
	int fd = open(name, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(ftruncate(fd, (off_t)(2 * one)), 0);
	keep(s, IDENTITY, 3, 16);
	assert_non_null(strstr(last_note, "leaves no room"));
	assert_int_equal(access(name, F_OK), 0);
	assert_true(bytes_of_folder() <= 2 * one + 10);
	close(fd);
	context_store_close(s);
	empty();
}

/* Files that are not ours are never touched. */
static void test_foreign_files(void **state)
{
	(void)state;
	struct context_store *s = open_store(3000);
	assert_int_equal(folder_put(folder, "/notes.txt", "mine"), 0);
	assert_int_equal(folder_put(folder, "/0123456789abcdef-16-0123456789abcdef-0.gkv.bak", "mine"), 0);
	assert_int_equal(folder_put(folder, "/.hidden.tmp", "mine"), 0);
	for (int i = 0; i < 6; i++)
		keep(s, IDENTITY, (uint64_t)i, 16);
	assert_true(folder_has(folder, "notes.txt"));
	assert_true(folder_has(folder, "0123456789abcdef-16-0123456789abcdef-0.gkv.bak"));
	assert_true(folder_has(folder, ".hidden.tmp"));
	context_store_close(s);
	empty();
}

/* Two processes that keep and find in one directory, while a third looks at what it takes. */
static void test_two_processes(void **state)
{
	(void)state;
	const uint64_t limit = 6000;
	pid_t children[2];
	alarm(120);
	for (int c = 0; c < 2; c++) {
		children[c] = fork();
		assert_true(children[c] >= 0);
		if (children[c])
			continue;
		/* cmocka's failures end with a longjmp to the parent's frame: say it by the exit code. */
		struct context_store *s = open_store(limit);
		uint64_t random = (uint64_t)c + 1;
		for (int i = 0; i < 300; i++) {
			uint64_t seed = random_below(&random, 6);
			int n = CHUNK * (1 + (int)random_below(&random, 4));
			if (!find(s, IDENTITY, seed, n))
				keep(s, IDENTITY, seed, n);
		}
		context_store_close(s);
		/* A file may go between its name and its opening; nothing of the kind is damage. */
		_exit(notes && !strstr(last_note, "No such file") && !strstr(last_note, "leaves no room"));
	}
	int left = 2;
	uint64_t most = 0;
	while (left) {
		int code;
		/* Under the lock, so that what is renamed is seen once. */
		int fd = open(folder, O_RDONLY | O_DIRECTORY);
		assert_int_equal(flock(fd, LOCK_EX), 0);
		uint64_t now = bytes_of_folder();
		close(fd);
		usleep(200);
		most = now > most ? now : most;
		pid_t ended = waitpid(-1, &code, WNOHANG);
		if (ended <= 0)
			continue;
		if (!WIFEXITED(code) || WEXITSTATUS(code))
			fail_msg("a process ended with %#x", (unsigned)code);
		left--;
	}
	alarm(0);
	assert_true(most > limit / 2);
	if (most > limit)
		fail_msg("%llu bytes, %llu were allowed", (unsigned long long)most, (unsigned long long)limit);
	empty();
}

static void test_unusable(void **state)
{
	(void)state;
	struct context_store *s;
	struct error err;
	char path[600];
	assert_int_equal(folder_put(folder, "/file", "x"), 0);
	snprintf(path, sizeof path, "%s/file", folder);
	const struct context_store_options o = {.directory = path, .note = note};
	assert_int_equal(context_store_open(&s, &o, &err), ERROR_IO);
	assert_null(s);
	assert_non_null(strstr(err.text, "is not a folder"));
	snprintf(path, sizeof path, "%s/file/below", folder);
	assert_int_equal(context_store_open(&s, &o, &err), ERROR_IO);
	/* Only its last part is made. */
	snprintf(path, sizeof path, "%s/mistyped/below", folder);
	assert_int_equal(context_store_open(&s, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "mistyped/below: the folder that it would be in is not there"));
	assert_false(folder_has(folder, "mistyped"));
	snprintf(path, sizeof path, "%s/made/", folder);
	OK(context_store_open(&s, &o, e));
	context_store_close(s);
	assert_true(folder_has(folder, "made"));
	const struct context_store_options device = {.directory = "/proc/self", .note = note};
	assert_int_equal(context_store_open(&s, &device, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "cannot be made"));
	empty();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged),       cmocka_unit_test(test_of_others),
		cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_limit),
		cmocka_unit_test(test_foreign_files), cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_unusable),
	};
	return cmocka_run_group_tests_name("kept contexts", tests, set_up, tear_down);
}
