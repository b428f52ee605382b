/*
 * Text from outside (a file's name, a model's, a cell of somebody's CSV, an argument), made fit to be shown and to be
 * recorded: escaped for terminals, made a name that every output can hold, cut between characters.
 *
 * A character is a well-formed UTF-8 sequence (Unicode 15, table 3-7). Controls are those that a terminal obeys
 * instead of showing them: C0, DEL, C1, what separates lines or turns the direction of writing, and what takes no
 * room at all (zero-width characters, byte order marks, tags), by which two texts could differ and look alike.
 */
#ifndef GEMMARK_BASE_TEXT_H
#define GEMMARK_BASE_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Bytes of the character that begins at s, 1 to 4; 0 where it is none (overlong, surrogate, cut off). */
int text_utf8_length(const char *s);

/* Bytes of the character that begins at s where it is a control; 0: a terminal shows it. */
int text_control_length(const char *s);

/* Bytes of the byte order mark that s (n bytes) begins with: 3, or 0 where there is none. */
size_t text_mark(const char *s, size_t n);

/* Characters of well-formed text: columns, of a Latin script. */
int text_width(const char *s);

/* The most bytes of s that are at most max and do not end inside a character. */
size_t text_cut(const char *s, size_t max);

/*
 * src as one line for a terminal: controls, and bytes that are no UTF-8, as \n, \t or \xNN; cut between characters
 * where dst (size bytes, at least 1) is full. Returns the length.
 */
size_t text_escape(char *dst, size_t size, const char *src);
/* The same, all of it, to a stream. */
void text_print(FILE *f, const char *src);

/* A file's bytes (n) in a message: escaped, backslashes too, so that they are known again; "..." for what is too much.
 */
enum { TEXT_SHOWN_SIZE = 104 };
struct text_shown {
	char text[TEXT_SHOWN_SIZE];
};
struct text_shown text_show(const char *s, size_t n);
/* A path, of which the end is the part worth keeping. */
struct text_shown text_show_path(const char *path);

/*
 * Bytes (n) into out (size >= 1) as a name, the same in every output: U+FFFD stands for each control, noncharacter and
 * ill-formed sequence (its maximal subpart, as the standard and most programs have it). What does not fit is left out,
 * whole characters. Returns the length. Of a name it makes the same name.
 */
size_t text_name(char *out, size_t size, const char *s, size_t n);

#endif
