/*
 * Text from outside (a file's name, a cell of somebody's CSV), made fit to be shown.
 */
#ifndef GEMMARK_BASE_TEXT_H
#define GEMMARK_BASE_TEXT_H

#include <stddef.h>

/* Bytes of the UTF-8 sequence that begins at s, 1 to 4; 0 where it is none (overlong, surrogate, cut off). */
int text_utf8_length(const char *s);

/*
 * Bytes of the character that begins at s where a terminal would obey it instead of showing it: control characters
 * (C0, DEL, C1) and those that turn the direction of writing. 0: it shows it.
 */
int text_control_length(const char *s);

/*
 * src as one line for a terminal: what a terminal would obey, and bytes that are no UTF-8, as \n, \t or \xNN; cut
 * between characters where dst (size bytes, at least 1) is full. Returns the length.
 */
size_t text_escape(char *dst, size_t size, const char *src);

#endif
