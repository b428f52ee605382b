/*
 * Lines that name the command to run next. What they print runs as it stands, in a shell, from the folder that the
 * user is in: the program as it was called, and words quoted.
 */
#ifndef GEMMARK_HARNESS_CLI_NEXT_COMMAND_H
#define GEMMARK_HARNESS_CLI_NEXT_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

/*
 * "LABEL PROGRAM COMMAND OPTION PATH" and a line end. option may be null. A path that would be taken for an option or
 * an option file gets "./" in front.
 */
void next_command_print(FILE *f, const char *label, const char *command, const char *option, const char *path);
/* "LABEL PROGRAM COMMAND DIRECTORY -o DIRECTORY/NAME", likewise. */
void next_command_print_output(FILE *f, const char *label, const char *command, const char *directory,
			       const char *name);

/*
 * A word for a shell: as it is where no character of it means anything to one, in '...' else, and where something is
 * not printable in $'...' with octal escapes, which bash, zsh and POSIX 2024 know.
 */
void next_command_quote(FILE *f, const char *word);

/* Whether a program of that name can be run by it: found on PATH, or a path itself. */
bool next_command_finds(const char *program);

#endif
