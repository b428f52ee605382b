/*
 * Parses a command's arguments against its table of options, prints its help, and finds
 * the name that a mistyped one was meant to be. Reading @FILE is words.c's.
 */
#include "harness/cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "harness/cli/words.h"

enum {
	WIDTH = 96,          /* columns of the help text */
	COLUMN_MAX = 34,     /* where the second column starts at the latest */
	NAME_MAX_CHARS = 64, /* longest name that is compared with others */
	NAMES_MAX = 128,     /* names in one command's table */
};

static const struct option_spec help_option = {"-h, --help", NULL, "print this help and exit", NULL};

/* ---- names ---- */

/* The next name in a list like "-m, --model": sets its length, and moves *list behind it. Null at the end. */
static const char *next_name(const char **list, size_t *length)
{
	const char *name = *list + strspn(*list, ", ");
	*length = strcspn(name, ", ");
	*list = name + *length;
	return *length ? name : NULL;
}

static const char *without_dashes(const char *name)
{
	return name + strspn(name, "-");
}

/* Equal bytes; an underscore of the second stands for a dash, too. */
static bool same_name(const char *name, const char *typed, size_t n)
{
	size_t i = 0;
	while (i < n && (name[i] == typed[i] || (name[i] == '-' && typed[i] == '_')))
		i++;
	return i == n;
}

/* Is `word`, one or two dashes and a name of `length` bytes in all, one of the list's names? */
static bool has_name(const char *list, const char *word, size_t length)
{
	const char *bare = without_dashes(word);
	size_t bare_length = length - (size_t)(bare - word), n;
	const char *name;
	while ((name = next_name(&list, &n))) {
		const char *bare_name = without_dashes(name);
		size_t bare_n = n - (size_t)(bare_name - name);
		if (bare_n == bare_length && same_name(bare_name, bare, bare_n))
			return true;
	}
	return false;
}

/* An option, known or not, as opposed to a value, a lone dash, or "--"? */
static bool looks_like_option(const char *word)
{
	return word[0] == '-' && *without_dashes(word);
}

static const struct option_spec *find_option(const struct command *c, const char *word, size_t length)
{
	if (!looks_like_option(word) || strspn(word, "-") > 2)
		return NULL;
	for (const struct option_spec *o = c->options; o->names; o++)
		if (has_name(o->names, word, length))
			return o;
	return has_name(help_option.names, word, length) ? &help_option : NULL;
}

static const struct option_elsewhere *find_elsewhere(const struct command *c, const char *word, size_t length)
{
	if (!c->elsewhere || !looks_like_option(word) || strspn(word, "-") > 2)
		return NULL;
	for (const struct option_elsewhere *o = c->elsewhere; o->names; o++)
		if (has_name(o->names, word, length))
			return o;
	return NULL;
}

/* Does the word name an option, so that it is no value? */
static bool names_option(const struct command *c, const char *word)
{
	size_t length = strcspn(word, "=");
	return find_option(c, word, length) || find_elsewhere(c, word, length);
}

/* ---- near names ---- */

static int min3(int a, int b, int c)
{
	int least = a < b ? a : b;
	return least < c ? least : c;
}

/* Edit distance (insert, delete, replace, swap of neighbours), letters' case ignored. */
static int edit_distance(const char *a, const char *b)
{
	int n = (int)strlen(a), m = (int)strlen(b);
	int row[3][NAME_MAX_CHARS + 1];
	int *before = row[0], *last = row[1], *now = row[2];
	for (int j = 0; j <= m; j++)
		last[j] = j;
	for (int i = 1; i <= n; i++) {
		now[0] = i;
		for (int j = 1; j <= m; j++) {
			int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		int *oldest = before;
		before = last;
		last = now;
		now = oldest;
	}
	return last[m];
}

const char *options_nearest(const char *word, const char *const *names, int n)
{
	const char *bare = without_dashes(word), *nearest = NULL;
	size_t length = strlen(bare);
	int least = NAME_MAX_CHARS;
	if (length == 0 || length > NAME_MAX_CHARS)
		return NULL;
	for (int i = 0; i < n; i++) {
		const char *name = without_dashes(names[i]);
		size_t name_length = strlen(name);
		if (name_length == 0 || name_length > NAME_MAX_CHARS)
			continue;
		int distance = edit_distance(bare, name);
		/* At most 3 edits, and at most half of the longer name; the start of a name is near too. */
		size_t longer = length > name_length ? length : name_length;
		bool near = distance <= 3 && 2 * (size_t)distance <= longer;
		if (!near && length >= 3 && strncasecmp(bare, name, length) == 0)
			near = true;
		if (near && distance < least) {
			nearest = names[i];
			least = distance;
		}
	}
	return nearest;
}

static int unknown_option(const struct command *c, const char *word, size_t length, struct error *err)
{
	char storage[NAMES_MAX][NAME_MAX_CHARS];
	const char *names[NAMES_MAX];
	int n = 0;
	const struct option_spec *o = c->options;
	for (bool last = false; !last; o++) {
		last = !o->names;
		const char *list = last ? help_option.names : o->names, *name;
		size_t name_length;
		while ((name = next_name(&list, &name_length)) && n < NAMES_MAX) {
			snprintf(storage[n], sizeof storage[n], "%.*s", (int)name_length, name);
			names[n] = storage[n];
			n++;
		}
	}
	struct text_shown typed = text_show(word, length);
	const char *nearest = options_nearest(typed.text, names, n);
	if (nearest)
		return error_set(err, ERROR_INPUT, "unknown option %s (did you mean %s?)", typed.text, nearest);
	return error_set(err, ERROR_INPUT, "unknown option %s (gemmark %s --help lists them)", typed.text, c->name);
}

/* ---- help ---- */

static void print_wrapped(const char *text, int column, int start)
{
	int at = start;
	while (*text) {
		if (*text == '\n') {
			putchar('\n');
			at = 0;
			text++;
			continue;
		}
		/* Spaces at the start of a line are kept: they indent a list. */
		int spaces = (int)strspn(text, " ");
		text += spaces;
		int length = (int)strcspn(text, " \n");
		if (at == 0) {
			printf("%*s", column, "");
			at = column;
		} else if (at > column && at + spaces + length > WIDTH) {
			printf("\n%*s", column, "");
			at = column;
			spaces = 0;
		}
		printf("%*s%.*s", spaces, "", length, text);
		at += spaces + length;
		text += length;
	}
	putchar('\n');
}

static int option_width(const struct option_spec *o)
{
	return 2 + (int)strlen(o->names) + (o->argument ? 1 + (int)strlen(o->argument) : 0) + 2;
}

static void print_option(const struct option_spec *o, int column)
{
	int at = printf("  %s%s%s", o->names, o->argument ? " " : "", o->argument ? o->argument : "");
	if (at + 2 > column) {
		putchar('\n');
		at = 0;
	}
	printf("%*s", column - at, "");
	print_wrapped(o->help, column, column);
}

static void print_help(const struct command *c)
{
	printf("usage: %s\n\n", c->usage);
	print_wrapped(c->summary, 0, 0);
	int column = option_width(&help_option);
	for (const struct option_spec *o = c->options; o->names; o++) {
		int width = option_width(o);
		if (width > column && width <= COLUMN_MAX)
			column = width;
	}
	printf("\noptions:\n");
	for (const struct option_spec *o = c->options; o->names; o++)
		print_option(o, column);
	print_option(&help_option, column);
	printf("\nOne dash or two; --name VALUE or --name=VALUE; @FILE reads arguments from a file.\n"
	       "Of an option given again the last value counts, unless the help says that it may be repeated.\n");
	if (!c->examples)
		return;
	printf("\nexamples:\n");
	for (const char *line = c->examples; *line;) {
		int length = (int)strcspn(line, "\n");
		int indent = (int)strspn(line, " ");
		printf("%*s%.*s\n", length && indent < 2 ? 2 - indent : 0, "", length, line);
		line += length + (line[length] == '\n');
	}
}

/* ---- parsing ---- */

static bool asks_for_help(const struct command *c, const char *word)
{
	return find_option(c, word, strlen(word)) == &help_option;
}

/* "--help" as a word of its own before any "--", in argv or in a file that it names. */
static bool help_wanted(const struct command *c, int argc, char **argv, const struct words *w)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (asks_for_help(c, argv[i]))
			return true;
	for (int i = 0; i < w->n && strcmp(w->v[i].text, "--") != 0; i++)
		if (asks_for_help(c, w->v[i].text))
			return true;
	return false;
}

static int missing_value(const struct option_spec *o, const char *word, const struct word *next, struct error *err)
{
	if (!next)
		return error_set(err, ERROR_INPUT, "option %s needs a value: %s", word, o->argument);
	return error_set(err, ERROR_INPUT,
			 "option %s needs a value: %s (%s is an option; %s=%s would make it the value)", word,
			 o->argument, next->text, word, next->text);
}

/* Puts the option in front of what apply said, unless it said so itself. */
static int blame_option(const char *word, size_t length, int code, struct error *err)
{
	const char *name = without_dashes(word);
	length -= (size_t)(name - word);
	const char *text = err ? without_dashes(err->text) : "";
	bool named = strncmp(text, name, length) == 0 && strchr(": ", text[length]);
	return named ? code : error_prefix(err, code, "-%s%.*s", name - word == 2 ? "-" : "", (int)length, name);
}

/* Is each item of the list one of those? */
static bool all_in(const char *list, const char *of)
{
	for (const char *item = list; item; item = strchr(item, ',') ? strchr(item, ',') + 1 : NULL) {
		size_t n = strcspn(item, ","), m;
		const char *at = of;
		while ((m = strcspn(at, ",")) != n || memcmp(at, item, n) != 0) {
			at += m;
			if (!*at++)
				return false;
		}
	}
	return true;
}

/* As take_option, of an option that only another program has. value: behind '=', or null. */
static int take_elsewhere(const struct command *c, const struct option_elsewhere *o, const struct words *w, int *at,
			  const char *value, struct error *err)
{
	const char *word = w->v[*at].text;
	size_t length = strcspn(word, "=");
	const struct word *next = *at + 1 < w->n ? &w->v[*at + 1] : NULL;
	if (o->argument && !value && next && strcmp(next->text, "--") != 0 && !names_option(c, next->text)) {
		value = next->text;
		++*at;
	}
	if (o->anyway && (o->argument ? value && all_in(value, o->anyway) : !value))
		return 0;
	/* What is refused whatever it is may be a secret. */
	bool shown = value && o->anyway;
	struct text_shown text = text_show(shown ? value : "", shown ? strlen(value) : 0);
	return error_set(err, ERROR_INPUT, "%.*s%s%s: %s", (int)length, word, shown ? " " : "", text.text, o->instead);
}

/* Takes the option at w->v[*at], and its value; leaves *at on the last word taken. */
static int take_option(const struct command *c, const struct words *w, int *at, void *ctx, struct error *err)
{
	const char *word = w->v[*at].text, *value = strchr(word, '=');
	size_t length = value ? (size_t)(value - word) : strlen(word);
	const struct option_spec *o = find_option(c, word, length);
	const struct option_elsewhere *other = o ? NULL : find_elsewhere(c, word, length);
	if (value)
		value++;
	if (other)
		return take_elsewhere(c, other, w, at, value, err);
	if (!o)
		return unknown_option(c, word, length, err);
	if (!o->argument && value)
		return error_set(err, ERROR_INPUT, "option %.*s takes no value, but got '%s'", (int)length, word,
				 value);
	if (o->argument && !value) {
		const struct word *next = *at + 1 < w->n ? &w->v[*at + 1] : NULL;
		if (!next || strcmp(next->text, "--") == 0 || names_option(c, next->text))
			return missing_value(o, word, next, err);
		value = next->text;
		++*at;
	}
	int code = o->apply(ctx, value, err);
	return code ? blame_option(word, length, code, err) : 0;
}

static int take_positional(const struct command *c, const char *word, void *ctx, struct error *err)
{
	if (!c->positional)
		return error_set(err, ERROR_INPUT, "unexpected argument '%s' (gemmark %s --help tells what is taken)",
				 word, c->name);
	return c->positional(ctx, word, err);
}

int options_parse(const struct command *c, int argc, char **argv, void *ctx, struct error *err)
{
	struct words w = {0};
	int code = words_expand(&w, argc, argv, err);
	/* Help comes before any complaint, also before one about a file of options. */
	if (help_wanted(c, argc, argv, &w)) {
		print_help(c);
		code = 1;
		goto out;
	}
	bool ended = false;
	for (int i = 0; i < w.n && !code; i++) {
		const struct word *word = &w.v[i];
		if (!ended && strcmp(word->text, "--") == 0)
			ended = true;
		else if (!ended && looks_like_option(word->text))
			code = take_option(c, &w, &i, ctx, err);
		else
			code = take_positional(c, word->text, ctx, err);
		if (code)
			words_blame(word, code, err);
	}
out:
	words_free(&w);
	return code;
}

int options_int(const char *value, const char *what, long min, long max, int *out, struct error *err)
{
	assert(INT_MIN <= min && max <= INT_MAX);
	char *end;
	errno = 0;
	long n = strtol(value, &end, 10);
	/* strtol alone would take leading white space. */
	bool number = end != value && !*end && !isspace((unsigned char)*value);
	if (!number || errno == ERANGE || n < min || n > max)
		return error_set(err, ERROR_INPUT, "%s: '%s' is not a whole number from %ld to %ld", what, value, min,
				 max);
	*out = (int)n;
	return 0;
}

int options_share(const char *value, double min, double max, double *out, struct error *err)
{
	char *end;
	errno = 0;
	double x = strtod(value, &end);
	if (*end == '%')
		end++;
	if (end == value || *end || errno || !(x >= 100 * min && x <= 100 * max))
		return error_set(err, ERROR_INPUT, "'%s' is not a percentage from %g to %g", value, 100 * min,
				 100 * max);
	*out = x / 100;
	return 0;
}

int command_fail(const char *name, int code, const struct error *err)
{
	fprintf(stderr, "gemmark %s: %s\n", name, err->text);
	return code == ERROR_WRONG ? 4 : 2;
}
