/* What vocabulary.c and vocabulary_read.c share. */
#ifndef GEMMARK_ENGINE_TEXT_VOCABULARY_INTERNAL_H
#define GEMMARK_ENGINE_TEXT_VOCABULARY_INTERNAL_H

#include "engine/text/vocabulary.h"

/* Where in the table that text is, or would be. */
size_t vocabulary_slot(const struct vocabulary *v, const char *text, size_t n);
/* The same of a merge. */
size_t vocabulary_merge_slot(const struct vocabulary *v, int left, int right);

#endif
