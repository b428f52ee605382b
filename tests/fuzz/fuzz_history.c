/*
 * libFuzzer target: a file of a history's store of any bytes, read whole; then a line is added to it, and it is read
 * again: what was there is there.
 */
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "tests/support/history_sample.h"
#include "tests/support/history_walk.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct run_directory store;
static const char name[] = "f.jsonl";
static char line[SAMPLE_LINE];

static void remove_store(void)
{
	unlinkat(store.fd, name, 0);
	unlinkat(store.fd, ".gitattributes", 0);
	rmdir(store.path);
}

/* In memory where the system has a folder for that: each input is written. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char memory[] = "/dev/shm/gemmark-fuzz-XXXXXX", disk[] = "/tmp/gemmark-fuzz-XXXXXX";
	(void)argc, (void)argv;
	const char *path = mkdtemp(memory) ? memory : mkdtemp(disk);
	history_promise(path && !run_directory_open(&store, path, NULL), "there is a folder to write to");
	history_sample_line(line, (struct history_sample){.commit = "fuzzed"});
	atexit(remove_store);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct history h;
	struct error err;
	int fd = openat(store.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600), added;
	history_promise(fd >= 0 && write(fd, data, size) == (ssize_t)size && !close(fd), "the file can be written");
	int rc = history_read(&h, &store, name, NULL, &err), before = h.n_records;
	if (!rc)
		history_walk(&h);
	history_free(&h);
	int code = history_append(&store, name, (const char *const[]){line}, 1, &added, &err);
	history_promise(rc ? code != 0 : 1, "what cannot be read is not added to");
	if (rc || code)
		return 0;
	history_promise(!history_read(&h, &store, name, NULL, &err), "what was added to can be read");
	history_promise(h.n_records == before + added && !h.cut, "and has all that it had");
	history_walk(&h);
	history_free(&h);
	return 0;
}
