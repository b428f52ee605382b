/*
 * Words of any bytes in JSON, and back: those of a command line, and paths. One that is UTF-8 is a string; any other
 * one, which JSON cannot hold, is an object with its bytes in hexadecimal: {"hex": "612fff"}.
 */
#ifndef GEMMARK_HARNESS_RECORD_JSON_WORD_H
#define GEMMARK_HARNESS_RECORD_JSON_WORD_H

#include <jansson.h>

/* Null where there is no memory. */
json_t *json_word(const char *word);
/* The caller's to free. Null where it is no word that json_word makes, or there is no memory. */
char *json_word_bytes(const json_t *word);

#endif
