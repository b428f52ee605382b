/* Texts and the tokens that somebody else's tokeniser makes of them, as tests/vectors/make_tokenizer.py writes them. */
#ifndef GEMMARK_TESTS_SUPPORT_TOKEN_PAIRS_H
#define GEMMARK_TESTS_SUPPORT_TOKEN_PAIRS_H

#include "engine/text/tokenizer.h"

/*
 * Compares the tokeniser with the pairs of the file, both ways. Returns how many there are, or -1 with a line about
 * the first that differs, or about the file.
 */
int token_pairs_check(const struct tokenizer *t, const char *path, struct error *err);

#endif
