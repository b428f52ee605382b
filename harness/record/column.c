#include "harness/record/column.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const void *member(const void *record, const struct column *c)
{
	return (const char *)record + c->offset;
}

static int64_t int64_of(const void *record, const struct column *c)
{
	int64_t x;
	memcpy(&x, member(record, c), sizeof x);
	return x;
}

static int int_of(const void *record, const struct column *c)
{
	int x;
	memcpy(&x, member(record, c), sizeof x);
	return x;
}

static double real_of(const void *record, const struct column *c)
{
	double x;
	memcpy(&x, member(record, c), sizeof x);
	return x;
}

const char *column_real_text(double x, char text[COLUMN_TEXT_SIZE])
{
	if (!isfinite(x))
		return "";
	snprintf(text, COLUMN_TEXT_SIZE, "%.9g", x);
	return text;
}

static const char *flags_text(int64_t bits, const struct column *c, char text[COLUMN_TEXT_SIZE])
{
	size_t used = 0;
	if (bits < 0)
		return "";
	if (bits == 0)
		return "none";
	for (int i = 0; i < c->n_names; i++)
		if (bits & INT64_C(1) << i)
			used += (size_t)snprintf(text + used, COLUMN_TEXT_SIZE - used, "%s%s", used ? "+" : "",
						 c->names[i]);
	int64_t rest = bits >> c->n_names << c->n_names;
	if (rest)
		used += (size_t)snprintf(text + used, COLUMN_TEXT_SIZE - used, "%s%#" PRIx64, used ? "+" : "", rest);
	assert(used < COLUMN_TEXT_SIZE);
	return text;
}

const char *column_text(const void *record, const struct column *c, char text[COLUMN_TEXT_SIZE])
{
	const char *s;
	int64_t x;
	switch (c->type) {
	case COLUMN_TEXT:
		memcpy(&s, member(record, c), sizeof s);
		return s ? s : "";
	case COLUMN_REAL:
		return column_real_text(real_of(record, c), text);
	case COLUMN_FLAGS:
		return flags_text(int64_of(record, c), c, text);
	case COLUMN_NAME:
		x = int_of(record, c);
		return x >= 0 && x < c->n_names ? c->names[x] : "";
	case COLUMN_COUNT:
		x = int_of(record, c);
		x = x < 0 ? COLUMN_UNKNOWN : x;
		break;
	case COLUMN_INT:
	default:
		x = int64_of(record, c);
	}
	if (x == COLUMN_UNKNOWN)
		return "";
	snprintf(text, COLUMN_TEXT_SIZE, "%" PRId64, x);
	return text;
}

double column_number(const void *record, const struct column *c)
{
	if (c->type == COLUMN_REAL)
		return real_of(record, c);
	if (c->type == COLUMN_INT)
		return int64_of(record, c) == COLUMN_UNKNOWN ? NAN : (double)int64_of(record, c);
	if (c->type == COLUMN_COUNT)
		return int_of(record, c) < 0 ? NAN : int_of(record, c);
	return NAN;
}

static void set_unknown(void *record, const struct column *c)
{
	char *at = (char *)record + c->offset;
	switch (c->type) {
	case COLUMN_TEXT:
		memcpy(at, &(const char *){NULL}, sizeof(const char *));
		break;
	case COLUMN_REAL:
		memcpy(at, &(double){NAN}, sizeof(double));
		break;
	case COLUMN_INT:
		memcpy(at, &(int64_t){COLUMN_UNKNOWN}, sizeof(int64_t));
		break;
	case COLUMN_FLAGS:
		memcpy(at, &(int64_t){-1}, sizeof(int64_t));
		break;
	case COLUMN_COUNT:
	case COLUMN_NAME:
		memcpy(at, &(int){-1}, sizeof(int));
	}
}

/* Neither strtod's nor strtoll's liberties: white space, "+1", "nan", "0x1p3". */
static int parse_real(const char *text, double *out)
{
	char *end;
	if (!isdigit((unsigned char)text[*text == '-']) || strpbrk(text, "xX"))
		return -1;
	*out = strtod(text, &end);
	return *end || !isfinite(*out) ? -1 : 0;
}

static int parse_int(const char *text, int64_t *out)
{
	char *end;
	if (!isdigit((unsigned char)text[*text == '-']))
		return -1;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return *end || errno || *out == COLUMN_UNKNOWN ? -1 : 0;
}

static int find_name(const struct column *c, const char *text, size_t n)
{
	int i = 0;
	while (i < c->n_names && (strncmp(c->names[i], text, n) || c->names[i][n]))
		i++;
	return i < c->n_names ? i : -1;
}

static int parse_flags(const struct column *c, const char *text, int64_t *out)
{
	*out = 0;
	if (!strcmp(text, "none"))
		return 0;
	for (size_t n;; text += n + 1) {
		n = strcspn(text, "+");
		int i = find_name(c, text, n);
		if (i >= 0) {
			*out |= INT64_C(1) << i;
		} else {
			char *end;
			errno = 0;
			long long rest = strncmp(text, "0x", 2) ? -1 : strtoll(text, &end, 16);
			if (rest <= 0 || errno || end != text + n)
				return -1;
			*out |= rest;
		}
		if (!text[n])
			return 0;
	}
}

int column_set_text(void *record, const struct column *c, const char *text)
{
	char *at = (char *)record + c->offset;
	int64_t x;
	double real;
	int i;
	set_unknown(record, c);
	if (!*text && c->type != COLUMN_TEXT)
		return 0;
	switch (c->type) {
	case COLUMN_TEXT:
		memcpy(at, &text, sizeof text);
		return 0;
	case COLUMN_REAL:
		if (parse_real(text, &real) || (c->from_zero && real < 0))
			return -1;
		memcpy(at, &real, sizeof real);
		return 0;
	case COLUMN_FLAGS:
		if (parse_flags(c, text, &x))
			return -1;
		memcpy(at, &x, sizeof x);
		return 0;
	case COLUMN_NAME:
		i = find_name(c, text, strlen(text));
		memcpy(at, &i, sizeof i);
		return i < 0 ? -1 : 0;
	case COLUMN_COUNT:
		if (parse_int(text, &x) || x < 0 || x > INT_MAX)
			return -1;
		i = (int)x;
		memcpy(at, &i, sizeof i);
		return 0;
	case COLUMN_INT:
		if (parse_int(text, &x))
			return -1;
		memcpy(at, &x, sizeof x);
	}
	return 0;
}

int column_same(const void *a, const void *b, const struct column *c)
{
	char x[COLUMN_TEXT_SIZE], y[COLUMN_TEXT_SIZE];
	if (c->type == COLUMN_INT || c->type == COLUMN_FLAGS)
		return int64_of(a, c) == int64_of(b, c);
	if (c->type == COLUMN_REAL)
		return real_of(a, c) == real_of(b, c) || (isnan(real_of(a, c)) && isnan(real_of(b, c)));
	return !strcmp(column_text(a, c, x), column_text(b, c, y));
}

const char *column_wanted(const struct column *c, char text[COLUMN_TEXT_SIZE])
{
	switch (c->type) {
	case COLUMN_REAL:
		return c->from_zero ? "a finite number from 0 up" : "a finite number";
	case COLUMN_INT:
		return "a whole number";
	case COLUMN_COUNT:
		return "a whole number from 0 to 2147483647";
	case COLUMN_TEXT:
		return "text";
	case COLUMN_NAME:
	case COLUMN_FLAGS:
		break;
	}
	size_t used = (size_t)snprintf(text, COLUMN_TEXT_SIZE, "%s",
				       c->type == COLUMN_NAME ? "one of " : "names joined by '+' of ");
	for (int i = 0; i < c->n_names && used < COLUMN_TEXT_SIZE; i++)
		used += (size_t)snprintf(text + used, COLUMN_TEXT_SIZE - used, "%s%s", i ? ", " : "", c->names[i]);
	return text;
}

void columns_init(void *record, const struct column *columns, int n)
{
	for (int i = 0; i < n; i++)
		set_unknown(record, &columns[i]);
}

const struct column *column_find(const struct column *columns, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(columns[i].name, name))
			return &columns[i];
	return NULL;
}
