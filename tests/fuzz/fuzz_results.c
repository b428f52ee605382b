/*
 * libFuzzer target: a run directory of any bytes, read whole and gone on in. The input is runs.csv, tokens.csv,
 * telemetry.csv and timeline.csv, each ended by a NUL but the last, which none of them may hold; the last one is not
 * there where it is empty.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/result_walk.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct run_directory directory;
static const char *const names[] = {"runs.csv", "tokens.csv", "telemetry.csv", "timeline.csv"};
enum { FILES = sizeof names / sizeof *names };

static void remove_directory(void)
{
	for (int i = 0; i < FILES; i++)
		remove(strcat(strcat(strcpy((char[RUN_DIRECTORY_PATH + 16]){""}, directory.path), "/"), names[i]));
	remove(directory.path);
}

/* In memory where the system has a folder for that: each input is written. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char memory[] = "/dev/shm/gemmark-fuzz-XXXXXX", disk[] = "/tmp/gemmark-fuzz-XXXXXX";
	(void)argc, (void)argv;
	const char *path = mkdtemp(memory) ? memory : mkdtemp(disk);
	walk_promise(path && !run_directory_open(&directory, path, NULL), "there is a folder to write to");
	atexit(remove_directory);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int i = 0; i < FILES; i++) {
		const uint8_t *end = i + 1 < FILES && size ? memchr(data, 0, size) : NULL;
		size_t n = end ? (size_t)(end - data) : size;
		if (i + 1 == FILES && !n) {
			unlinkat(directory.fd, names[i], 0);
			continue;
		}
		walk_promise(!walk_put(&directory, names[i], data, n), "the file can be written");
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
	walk_directory(&directory);
	return 0;
}
