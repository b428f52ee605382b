#include "harness/record/json_word.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char key[] = "hex", digits[] = "0123456789abcdef";

json_t *json_word(const char *word)
{
	json_t *s = json_string(word);
	size_t n = strlen(word);
	char *hex = s ? NULL : malloc(2 * n + 1);
	if (!hex)
		return s;
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[(unsigned char)word[i] >> 4];
		hex[2 * i + 1] = digits[(unsigned char)word[i] & 15];
	}
	hex[2 * n] = '\0';
	s = json_pack("{s:s}", key, hex);
	free(hex);
	return s;
}

static int digit(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

char *json_word_bytes(const json_t *word)
{
	if (json_is_string(word))
		return strlen(json_string_value(word)) == json_string_length(word) ? strdup(json_string_value(word))
										   : NULL;
	const char *hex = json_string_value(json_object_get(word, key));
	size_t n = hex ? strlen(hex) / 2 : 0;
	char *bytes = hex && strlen(hex) % 2 == 0 ? malloc(n + 1) : NULL;
	if (!bytes)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
		bytes[i] = (char)(high < 0 || low < 0 ? 0 : high * 16 + low);
		if (!bytes[i]) {
			free(bytes);
			return NULL;
		}
	}
	bytes[n] = '\0';
	return bytes;
}
