#include "harness/record/csv_columns.h"

#include <string.h>

#include "base/text.h"

int csv_columns_read(struct csv_columns *c, const struct column *table, int n, const char *const *required,
		     const char *const *fields, size_t width, const char *path, struct error *err)
{
	*c = (struct csv_columns){.table = table, .n = n, .width = width, .same = width == (size_t)n};
	for (size_t i = 0; i < width; i++) {
		c->of[i] = column_find(table, n, fields[i]);
		c->same = c->same && c->of[i] == &table[i];
		for (size_t k = 0; k < i && c->of[i]; k++)
			if (c->of[k] == c->of[i])
				return error_set(err, ERROR_INPUT,
						 "%s: two columns are called '%s'; restore the file, or take one out",
						 path, fields[i]);
	}
	for (; *required; required++)
		if (csv_columns_field(c, *required) < 0)
			return error_set(err, ERROR_INPUT,
					 "%s: no column '%s': is this a file that `gemmark bench` wrote?", path,
					 *required);
	return 0;
}

int csv_columns_field(const struct csv_columns *c, const char *name)
{
	for (size_t i = 0; i < c->width; i++)
		if (c->of[i] && !strcmp(c->of[i]->name, name))
			return (int)i;
	return -1;
}

static int bad_field(const struct column *c, const char *field, const char *path, size_t line, struct error *err)
{
	char wanted[COLUMN_TEXT_SIZE];
	return error_set(err, ERROR_INPUT,
			 "%s: line %zu, column '%s': '%s' is not %s; restore the line, or take it out", path, line,
			 c->name, text_show(field, strlen(field)).text, column_wanted(c, wanted));
}

int csv_columns_fill(const struct csv_columns *c, void *record, const char *const *fields, const char *path,
		     size_t line, struct error *err)
{
	columns_init(record, c->table, c->n);
	for (int i = 0; i < c->n; i++)
		if (c->table[i].absent)
			column_set_text(record, &c->table[i], c->table[i].absent);
	for (size_t i = 0; i < c->width; i++)
		if (c->of[i] && column_set_text(record, c->of[i], fields[i]))
			return bad_field(c->of[i], fields[i], path, line, err);
	return 0;
}
