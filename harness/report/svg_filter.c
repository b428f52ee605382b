#include "harness/report/svg_filter.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int is_one_of(const char *const *names, const char *name, size_t n)
{
	for (; *names; names++)
		if (strlen(*names) == n && !strncmp(*names, name, n))
			return 1;
	return 0;
}

/* One attribute: [name, name_end) and [value, value_end). Returns what is behind it; null: no further one. */
static const char *next_attribute(const char *at, const char **name, const char **name_end, const char **value,
				  const char **value_end)
{
	while (isspace((unsigned char)*at))
		at++;
	*name = at;
	while (isalpha((unsigned char)*at) || *at == '-' || *at == ':')
		at++;
	*name_end = at;
	while (isspace((unsigned char)*at))
		at++;
	if (*name_end == *name || *at != '=')
		return NULL;
	at++;
	while (isspace((unsigned char)*at))
		at++;
	char quote = *at;
	if (quote != '"' && quote != '\'')
		return NULL;
	*value = at + 1;
	*value_end = strchr(*value, quote);
	return *value_end ? *value_end + 1 : NULL;
}

/* The page's word for a colour. */
static void write_colour(FILE *f, const char *value, size_t n)
{
	static const char *const roles[] = {[0x14] = "--grid", [0x15] = "--axis", [0x16] = "--text", [0x17] = "--band"};
	int red, green, number;
	char text[64];
	snprintf(text, sizeof text, "%.*s", (int)n, value);
	if (!strcmp(text, "none"))
		fputs("none", f);
	else if (sscanf(text, "rgb(%d,%d,%d)", &red, &green, &number) == 3 && red == 1 && green == 0 && number >= 1 &&
		 number <= 8)
		fprintf(f, "var(--k%d)", number);
	else if (sscanf(text, "rgb(%d,%d,%d)", &red, &green, &number) == 3 && red == 1 && green == 0 &&
		 number >= 0x14 && number <= 0x17)
		fprintf(f, "var(%s)", roles[number]);
	else
		fputs("currentColor", f);
}

static int is_plain(const char *value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)value[i]) && !isspace((unsigned char)value[i]) &&
		    !strchr(".,()-+%", value[i]))
			return 0;
	return 1;
}

static void write_attributes(FILE *f, const char *at)
{
	static const char *const colours[] = {"stroke", "fill", NULL};
	static const char *const kept[] = {
		"d",           "points",       "transform", "stroke-width",   "stroke-dasharray", "font-size",
		"text-anchor", "fill-opacity", "opacity",   "stroke-linecap", "stroke-linejoin",  NULL};
	const char *name, *name_end, *value, *end;
	while ((at = next_attribute(at, &name, &name_end, &value, &end))) {
		size_t n = (size_t)(name_end - name), bytes = (size_t)(end - value);
		if (is_one_of(colours, name, n)) {
			fprintf(f, " %.*s=\"", (int)n, name);
			write_colour(f, value, bytes);
			fputc('"', f);
		} else if (is_one_of(kept, name, n) && is_plain(value, bytes)) {
			fprintf(f, " %.*s=\"", (int)n, name);
			/* Numbers stand in lines: one space for any. */
			for (size_t i = 0; i < bytes; i++)
				if (!isspace((unsigned char)value[i]))
					fputc(value[i], f);
				else if (i + 1 < bytes && !isspace((unsigned char)value[i + 1]))
					fputc(' ', f);
			fputc('"', f);
		}
	}
}

static void write_text(FILE *f, const char *from, const char *to)
{
	for (; from < to; from++)
		if (isalnum((unsigned char)*from) || strchr(" .,+-%", *from))
			fputc(*from, f);
}

/* A group that is closed at once, as gnuplot writes many, is left out. */
static int is_empty_group(const char *end)
{
	end++;
	while (isspace((unsigned char)*end))
		end++;
	return !strncmp(end, "</g>", 4);
}

int svg_filter(const char *text, FILE *f)
{
	static const char *const known[] = {"g", "path", "polygon", "text", NULL};
	static const char *const left_out[] = {"defs", "title", "desc", "style", "script", NULL};
	const char *at = strstr(text, "<svg");
	at = at ? strchr(at, '>') : NULL;
	if (!at)
		return -1;
	for (at++; (at = strchr(at, '<'));) {
		int closing = at[1] == '/';
		const char *name = at + 1 + closing, *name_end = name, *end = strchr(at, '>');
		while (isalpha((unsigned char)*name_end))
			name_end++;
		size_t n = (size_t)(name_end - name);
		if (!end)
			return -1;
		if (closing && n == 3 && !strncmp(name, "svg", 3))
			return 0;
		if (!closing && is_one_of(left_out, name, n) && end[-1] != '/') {
			char tag[16];
			snprintf(tag, sizeof tag, "</%.*s>", (int)n, name);
			at = strstr(end, tag);
			if (!at)
				return -1;
			at += strlen(tag);
			continue;
		}
		if (!is_one_of(known, name, n)) {
			at = end + 1;
			continue;
		}
		if (!closing && n == 1 && is_empty_group(end)) {
			at = strchr(end + 1, '>') + 1;
			continue;
		}
		fprintf(f, "<%s%.*s", closing ? "/" : "", (int)n, name);
		if (!closing)
			write_attributes(f, name_end);
		fputs(end[-1] == '/' ? "/>" : ">", f);
		at = end + 1;
		if (!closing && n == 4 && !strncmp(name, "text", 4) && end[-1] != '/') {
			const char *to = strchr(at, '<');
			if (!to)
				return -1;
			write_text(f, at, to);
			at = to;
		}
		if (closing)
			fputc('\n', f);
	}
	return -1;
}
