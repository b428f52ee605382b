#include "harness/sweep/axis_values.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* One item of a list, not zero-terminated. */
struct item {
	const char *text;
	int size;
};

/* The next item of *list, which moves behind it; 0 at the end. An item may be empty. */
static int item_next(const char **list, struct item *out)
{
	if (!*list)
		return 0;
	const char *comma = strchr(*list, ',');
	size_t size = comma ? (size_t)(comma - *list) : strlen(*list);
	*out = (struct item){*list, size > INT_MAX ? INT_MAX : (int)size};
	*list = comma ? comma + 1 : NULL;
	return 1;
}

int axis_ints_append(struct axis_values *a, const char *option, int value, struct error *err)
{
	for (int i = 0; i < a->n; i++)
		if (a->ints[i] == value)
			return 0;
	if (a->n == AXIS_MAX_VALUES)
		return error_set(err, ERROR_INPUT, "%s: more than %d values; use a larger step", option,
				 AXIS_MAX_VALUES);
	int *grown = realloc(a->ints, ((size_t)a->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->ints = grown;
	a->ints[a->n++] = value;
	return 0;
}

/* Digits, with a minus where min allows it. Returns the bytes read, 0 where there is no number of 31 bits. */
static int scan_number(const char *text, int size, int min, long *out)
{
	int i = 0, negative = 0;
	int64_t v = 0;
	if (size > 0 && text[0] == '-' && min < 0) {
		negative = 1;
		i = 1;
	}
	int first = i;
	for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
		v = v * 10 + (text[i] - '0');
		if (v > INT32_MAX)
			return 0;
	}
	if (i == first)
		return 0;
	*out = (long)(negative ? -v : v);
	return i;
}

static int bad_item(struct error *err, const char *option, struct item it, const char *why)
{
	return error_set(err, ERROR_INPUT, "%s: '%s' %s", option, text_show(it.text, (size_t)it.size).text, why);
}

static int int_item_add(struct axis_values *a, const char *option, struct item it, int min, int max, struct error *err)
{
	long first, last, step = 1;
	char op = '+';
	int at = scan_number(it.text, it.size, min, &first);
	if (!at)
		return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
	last = first;
	if (at < it.size) {
		if (it.text[at] != '-')
			return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
		at++;
		int n = scan_number(it.text + at, it.size - at, 0, &last);
		if (!n)
			return bad_item(err, option, it, "has no end of the range (write 1-8)");
		at += n;
		if (at < it.size && (it.text[at] == '+' || it.text[at] == '*')) {
			op = it.text[at++];
			n = scan_number(it.text + at, it.size - at, 0, &step);
			if (!n)
				return bad_item(err, option, it, "has no step (write 0-4096+1024 or 1-64*2)");
			at += n;
		}
		if (at < it.size)
			return bad_item(err, option, it, "is not a number or a range (5, 1-8, 0-4096+1024 or 1-64*2)");
	}
	if (first > last)
		return bad_item(err, option, it, "runs downwards; write the smaller end first");
	if (first < min || last > max)
		return error_set(err, ERROR_INPUT, "%s: '%s' is outside %d to %d", option,
				 text_show(it.text, (size_t)it.size).text, min, max);
	if ((op == '+' && step < 1) || (op == '*' && (step < 2 || first < 1)))
		return bad_item(err, option, it,
				"never reaches its end; a step is at least 1, a factor at least 2 from 1 up");
	for (long v = first; v <= last; v = op == '+' ? v + step : v * step) {
		int rc = axis_ints_append(a, option, (int)v, err);
		if (rc)
			return rc;
	}
	return 0;
}

int axis_ints_add(struct axis_values *a, const char *option, const char *list, int min, int max, struct error *err)
{
	struct item it;
	while (item_next(&list, &it)) {
		if (it.size == 0)
			return error_set(err, ERROR_INPUT, "%s: an empty item in the list; write 1,2,3", option);
		int rc = int_item_add(a, option, it, min, max, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Where AXIS_ALL has no meaning of its own. */
static int all_is_each(const char *const *allowed)
{
	int each = 1;
	for (int i = 0; allowed[i]; i++)
		each = each && strcmp(allowed[i], AXIS_ALL) != 0;
	return each;
}

static int not_allowed(struct error *err, const char *option, struct item it, const char *const *allowed)
{
	char choices[256] = "";
	size_t used = 0;
	for (int i = 0; allowed[i]; i++) {
		int n = snprintf(choices + used, sizeof choices - used, "%s%s", i ? ", " : "", allowed[i]);
		if (n < 0 || (size_t)n >= sizeof choices - used)
			break;
		used += (size_t)n;
	}
	return error_set(err, ERROR_INPUT, "%s: '%s' is none of %s%s", option, text_show(it.text, (size_t)it.size).text,
			 choices, all_is_each(allowed) ? "; " AXIS_ALL " is each of them" : "");
}

static int item_is(struct item it, const char *word)
{
	return strlen(word) == (size_t)it.size && !memcmp(word, it.text, (size_t)it.size);
}

static int words_grow(struct axis_values *a, const char *option, struct item it, struct error *err)
{
	for (int i = 0; i < a->n; i++)
		if (item_is(it, a->words[i]))
			return 0;
	if (a->n == AXIS_MAX_VALUES)
		return error_set(err, ERROR_INPUT, "%s: more than %d values; split the sweep", option, AXIS_MAX_VALUES);
	char **grown = realloc(a->words, ((size_t)a->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->words = grown;
	char *copy = strndup(it.text, (size_t)it.size);
	if (!copy)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the values", option);
	a->words[a->n++] = copy;
	return 0;
}

int axis_words_append(struct axis_values *a, const char *option, const char *word, struct error *err)
{
	size_t size = strlen(word);
	return words_grow(a, option, (struct item){word, size > INT_MAX ? INT_MAX : (int)size}, err);
}

static int word_item_add(struct axis_values *a, const char *option, struct item it, const char *const *allowed,
			 struct error *err)
{
	if (!allowed)
		return words_grow(a, option, it, err);
	int all = item_is(it, AXIS_ALL) && all_is_each(allowed), found = 0, rc = 0;
	for (int i = 0; allowed[i] && !rc; i++)
		if (all || item_is(it, allowed[i])) {
			found = 1;
			rc = axis_words_append(a, option, allowed[i], err);
		}
	return found ? rc : not_allowed(err, option, it, allowed);
}

int axis_words_add(struct axis_values *a, const char *option, const char *list, const char *const *allowed,
		   struct error *err)
{
	struct item it;
	while (item_next(&list, &it)) {
		if (it.size == 0)
			return error_set(err, ERROR_INPUT, "%s: an empty item in the list; write a,b", option);
		int rc = word_item_add(a, option, it, allowed, err);
		if (rc)
			return rc;
	}
	return 0;
}

void axis_ints_free(struct axis_values *a)
{
	free(a->ints);
	*a = (struct axis_values){0};
}

void axis_words_free(struct axis_values *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->words[i]);
	free(a->words);
	*a = (struct axis_values){0};
}
