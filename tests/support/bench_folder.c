#include "tests/support/bench_folder.h"

#include <stdio.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"

char bench_folder[FOLDER_BYTES];

int bench_folder_set_up(void **state)
{
	(void)state;
	return folder_make(bench_folder, "bench");
}

int bench_folder_tear_down(void **state)
{
	(void)state;
	return folder_remove(bench_folder);
}

void bench_folder_path(const char *name, char out[BENCH_FOLDER_PATH])
{
	snprintf(out, BENCH_FOLDER_PATH, "%s/%s", bench_folder, name);
}

int bench_folder_call(int (*command)(int, char **), char **words)
{
	return command_run(bench_folder, command, words);
}

bool bench_folder_said(const char *name, const char *text)
{
	return command_said(bench_folder, name, text);
}

int bench_folder_run(const char *output, char **more)
{
	return command_out(bench_folder, cmd_bench, "bench", output, more);
}
