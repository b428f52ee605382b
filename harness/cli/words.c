/*
 * Reads @FILE arguments. The bytes of each file stay in memory until the program ends,
 * because options keep pointers to their values as they keep pointers into argv; the
 * words are cut out of them in place.
 */
#include "harness/cli/words.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum {
	DEPTH_MAX = 8,          /* files that name files */
	FILES_MAX = 256,        /* of one command line, each counted as often as it is named */
	FILE_WORDS_MAX = 65536, /* in all files */
	FILE_MAX = 1 << 20,     /* bytes */
};

struct word_file {
	struct word_file *next;
	const char *path; /* a word's text, which stays */
	char bytes[];
};

/* Every file read, so that a value may outlive the parsing. */
static struct word_file *files;

static int add_word(struct words *w, struct word word, struct error *err)
{
	if (w->n == w->capacity) {
		int capacity = w->capacity ? 2 * w->capacity : 64;
		struct word *v = realloc(w->v, (size_t)capacity * sizeof *v);
		if (!v)
			return error_set(err, ERROR_MEMORY, "out of memory for the command line's words");
		w->v = v;
		w->capacity = capacity;
	}
	w->v[w->n++] = word;
	return 0;
}

/* The whole file, followed by a null byte. */
static int read_bytes(const char *path, char **bytes, struct error *err)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return error_set(err, ERROR_IO, "cannot open %s: %s; name a file of arguments", path, strerror(errno));
	int code = 0;
	struct word_file *file = malloc(sizeof *file + FILE_MAX + 1);
	if (!file) {
		code = error_set(err, ERROR_MEMORY, "out of memory reading %s", path);
		goto out;
	}
	size_t n = fread(file->bytes, 1, FILE_MAX + 1, f);
	if (ferror(f))
		code = error_set(err, ERROR_IO, "cannot read %s: %s", path, strerror(errno));
	else if (n > FILE_MAX)
		code = error_set(err, ERROR_INPUT, "%s is longer than the %d bytes that an option file may have", path,
				 FILE_MAX);
	else if (memchr(file->bytes, 0, n))
		code = error_set(err, ERROR_INPUT, "%s is not text: it holds a null byte", path);
	if (code) {
		free(file);
		goto out;
	}
	file->bytes[n] = 0;
	struct word_file *smaller = realloc(file, sizeof *file + n + 1);
	file = smaller ? smaller : file;
	file->next = files;
	file->path = path;
	files = file;
	*bytes = file->bytes + text_mark(file->bytes, n);
out:
	fclose(f);
	return code;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/*
 * Cuts the word at *in out of the text, in place, and moves *in behind it. Returns false
 * where a quote is not closed on its line. *newline tells whether a line end closed the word.
 */
static bool cut_word(char **in, bool *newline)
{
	char *from = *in, *to = *in;
	char quote = 0;
	for (; *from; from++) {
		if (*from == '\n' || (!quote && is_space(*from)))
			break;
		if (quote == '"' && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
			*to++ = *++from;
		else if (quote && *from == quote)
			quote = 0;
		else if (!quote && (*from == '"' || *from == '\''))
			quote = *from;
		else
			*to++ = *from;
	}
	*newline = *from == '\n';
	*in = *from ? from + 1 : from;
	*to = 0;
	return !quote;
}

static int expand_word(struct words *w, struct word word, int depth, bool *ended, struct error *err);

static int expand_text(struct words *w, char *in, const char *path, int depth, bool *ended, struct error *err)
{
	int line = 1, code = 0;
	while (!code && *in) {
		if (*in == '\n') {
			line++;
			in++;
		} else if (is_space(*in)) {
			in++;
		} else if (*in == '#') {
			in += strcspn(in, "\n");
		} else {
			struct word word = {.text = in, .file = path, .line = line};
			bool newline;
			if (!cut_word(&in, &newline))
				return error_set(err, ERROR_INPUT, "%s:%d: a quote is not closed", path, line);
			code = expand_word(w, word, depth, ended, err);
			line += newline;
		}
	}
	return code;
}

static int expand_word(struct words *w, struct word word, int depth, bool *ended, struct error *err)
{
	if (word.file && ++w->n_file_words > FILE_WORDS_MAX) {
		error_set(err, ERROR_INPUT, "option files hold more than %d words in all", FILE_WORDS_MAX);
		return words_blame(&word, ERROR_INPUT, err);
	}
	if (*ended || word.text[0] != '@' || !word.text[1]) {
		*ended |= strcmp(word.text, "--") == 0;
		return add_word(w, word, err);
	}
	const char *path = word.text + 1;
	char *text = NULL;
	int code;
	if (depth == DEPTH_MAX)
		code = error_set(err, ERROR_INPUT, "%s: option files nested more than %d deep (does one name itself?)",
				 word.text, DEPTH_MAX);
	else if (++w->n_files > FILES_MAX)
		code = error_set(err, ERROR_INPUT, "%s: more than %d option files", word.text, FILES_MAX);
	else
		code = read_bytes(path, &text, err);
	if (code)
		return words_blame(&word, code, err);
	return expand_text(w, text, path, depth + 1, ended, err);
}

int words_expand(struct words *w, int argc, char **argv, struct error *err)
{
	bool ended = false;
	int code = 0;
	for (int i = 1; i < argc && !code; i++)
		code = expand_word(w, (struct word){.text = argv[i]}, 0, &ended, err);
	return code;
}

void words_free(struct words *w)
{
	free(w->v);
	*w = (struct words){0};
}

const char *words_file(int i)
{
	const struct word_file *file = files;
	while (file && i-- > 0)
		file = file->next;
	return file ? file->path : NULL;
}

int words_blame(const struct word *w, int code, struct error *err)
{
	return w->file ? error_prefix(err, code, "%s:%d", w->file, w->line) : code;
}
