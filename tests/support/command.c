#include "tests/support/command.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/folder.h"

int command_run(const char *folder, int (*command)(int, char **), char **words)
{
	static const char *const names[] = {"out", "errors"};
	char path[FOLDER_BYTES + 8];
	int argc = 0, saved[2];
	while (words[argc])
		argc++;
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
		saved[i] = dup(i + 1);
		dup2(file, i + 1);
		close(file);
	}
	int code = command(argc, words);
	fflush(stdout);
	fflush(stderr);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	return code;
}

int command_out(const char *folder, int (*command)(int, char **), const char *name, const char *output, char **more)
{
	char path[FOLDER_BYTES + 64];
	char *words[48] = {(char *)name, (char *)"-t", (char *)"1", (char *)"--out", path};
	snprintf(path, sizeof path, "%s/%s", folder, output);
	for (int i = 0; more[i]; i++)
		words[5 + i] = more[i];
	return command_run(folder, command, words);
}

bool command_said(const char *folder, const char *name, const char *text)
{
	static char buffer[1 << 16];
	FILE *f = folder_open(folder, name, "r");
	buffer[fread(buffer, 1, sizeof buffer - 1, f)] = '\0';
	fclose(f);
	return strstr(buffer, text);
}
