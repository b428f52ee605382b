#include "harness/cli/next_command.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+:,./-";

static bool all_printable(const char *word)
{
	for (int n; *word; word += n) {
		n = text_utf8_length(word);
		if (!n || text_control_length(word))
			return false;
	}
	return true;
}

void next_command_quote(FILE *f, const char *word)
{
	if (*word && !word[strspn(word, plain)]) {
		fputs(word, f);
	} else if (all_printable(word)) {
		fputc('\'', f);
		for (; *word; word++)
			*word == '\'' ? fputs("'\\''", f) : fputc(*word, f);
		fputc('\'', f);
	} else {
		fputs("$'", f);
		for (; *word; word++) {
			unsigned char c = (unsigned char)*word;
			if (c < ' ' || c >= 0x7f || c == '\'' || c == '\\')
				fprintf(f, "\\%03o", c);
			else
				fputc(c, f);
		}
		fputc('\'', f);
	}
}

static bool executable(const char *path)
{
	struct stat s;
	return stat(path, &s) == 0 && S_ISREG(s.st_mode) && access(path, X_OK) == 0;
}

bool next_command_finds(const char *program)
{
	const char *folder = getenv("PATH");
	char path[PATH_MAX];
	if (strchr(program, '/'))
		return executable(program);
	while (folder && *folder) {
		int n = (int)strcspn(folder, ":");
		snprintf(path, sizeof path, "%.*s%s%s", n, folder, n ? "/" : "", program);
		if (executable(path))
			return true;
		folder += n + (folder[n] == ':');
	}
	return false;
}

/* As the user called it; where that is not enough, the file that runs. */
static const char *own_program(char path[PATH_MAX])
{
	if (next_command_finds(program_invocation_name))
		return program_invocation_name;
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = '\0';
	return n > 0 ? path : program_invocation_name;
}

static void print_path(FILE *f, const char *path, const char *name)
{
	char *word;
	if (asprintf(&word, "%s%s%s%s", *path == '-' || *path == '@' ? "./" : "", path, *name ? "/" : "", name) < 0)
		return;
	next_command_quote(f, word);
	free(word);
}

static void print_command(FILE *f, const char *label, const char *command)
{
	char program[PATH_MAX];
	fprintf(f, "%s ", label);
	next_command_quote(f, own_program(program));
	fprintf(f, " %s ", command);
}

void next_command_print(FILE *f, const char *label, const char *command, const char *option, const char *path)
{
	print_command(f, label, command);
	if (option)
		fprintf(f, "%s ", option);
	print_path(f, path, "");
	fputc('\n', f);
}

void next_command_print_output(FILE *f, const char *label, const char *command, const char *directory, const char *name)
{
	print_command(f, label, command);
	print_path(f, directory, "");
	fputs(" -o ", f);
	print_path(f, directory, name);
	fputc('\n', f);
}
