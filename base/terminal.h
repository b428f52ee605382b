/* What may be written to a descriptor beside text. */
#ifndef GEMMARK_BASE_TERMINAL_H
#define GEMMARK_BASE_TERMINAL_H

#include <stdbool.h>

/*
 * Whether lines can be redrawn in place: it is a terminal, of a TERM that is not empty or "dumb", and nobody asked for
 * plain text by a NO_COLOR that is not empty.
 */
bool terminal_redraws(int fd);

#endif
