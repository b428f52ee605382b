/*
 * The words of a command line, with every @FILE replaced by the words in it.
 *
 * In a file, white space separates words, '...' and "..." hold a word together ("..."
 * knows \" and \\; neither runs over a line's end), and # at the start of a word comments
 * out the rest of the line. A file may name other files, relative to the working
 * directory. Neither "@" alone nor anything after "--" is a file.
 */
#ifndef GEMMARK_HARNESS_CLI_WORDS_H
#define GEMMARK_HARNESS_CLI_WORDS_H

#include "base/error.h"

struct word {
	const char *text; /* lives as long as argv, also where it came from a file */
	const char *file; /* where it was read; null on the command line itself */
	int line;         /* from 1 */
};

struct words {
	struct word *v;
	int n, capacity;
	int n_files, n_file_words; /* read so far: what bounds files that name each other */
};

/* w: zeroed. Adds argv[1] up to argv[argc - 1]. Call words_free also after a failure. */
int words_expand(struct words *w, int argc, char **argv, struct error *err);
void words_free(struct words *w);

/* The path of a file of words that this process has read, the latest one first from 0 on; null behind them. */
const char *words_file(int i);

/* Puts "FILE:LINE: " in front of the error where the word came from a file. Returns code. */
int words_blame(const struct word *w, int code, struct error *err);

#endif
