#include "harness/report/document.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void document_init(struct document *d)
{
	*d = (struct document){.title = "", .sentence = ""};
}

void document_free(struct document *d)
{
	for (size_t i = 0; i < d->n_owned; i++)
		free(d->owned[i]);
	free(d->owned);
	document_init(d);
}

void *document_take(struct document *d, size_t bytes)
{
	if (d->n_owned == d->owned_room) {
		size_t room = d->owned_room ? 2 * d->owned_room : 64;
		void **grown = realloc(d->owned, room * sizeof *grown);
		if (!grown) {
			d->failed = 1;
			return NULL;
		}
		d->owned = grown;
		d->owned_room = room;
	}
	void *block = calloc(1, bytes ? bytes : 1);
	if (block)
		d->owned[d->n_owned++] = block;
	else
		d->failed = 1;
	return block;
}

static const char *text_of(struct document *d, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	char *text = n < 0 ? NULL : document_take(d, (size_t)n + 1);
	if (!text)
		return "";
	vsnprintf(text, (size_t)n + 1, format, args);
	return text;
}

const char *document_text(struct document *d, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	const char *text = text_of(d, format, args);
	va_end(args);
	return text;
}

/* Room for one more of n items; the old block stays until the document goes. */
static void *grow(struct document *d, void *items, int n, int *room, size_t size)
{
	if (n < *room)
		return items;
	int more = *room ? 2 * *room : 8;
	void *grown = document_take(d, (size_t)more * size);
	if (!grown)
		return NULL;
	if (n)
		memcpy(grown, items, (size_t)n * size);
	*room = more;
	return grown;
}

struct document_section *document_section(struct document *d, const char *title)
{
	struct document_section *s = document_take(d, sizeof *s);
	void *grown = grow(d, d->sections, d->n, &d->room, sizeof *d->sections);
	if (!s || !grown)
		return &d->lost_section;
	d->sections = grown;
	d->sections[d->n++] = s;
	*s = (struct document_section){.title = title, .finding = ""};
	return s;
}

struct document_block *document_block(struct document *d, struct document_section *s, enum document_kind kind,
				      unsigned formats)
{
	struct document_block *b = document_take(d, sizeof *b);
	void *grown = b ? grow(d, s->blocks, s->n, &s->room, sizeof *s->blocks) : NULL;
	if (!b)
		b = &d->lost_block;
	*b = (struct document_block){.kind = kind, .formats = formats, .text = "", .url = ""};
	if (grown) {
		s->blocks = grown;
		s->blocks[s->n++] = b;
	}
	return b;
}

void document_say(struct document *d, struct document_section *s, const char *format, ...)
{
	va_list args;
	struct document_block *b = document_block(d, s, DOCUMENT_TEXT, DOCUMENT_BOTH);
	va_start(args, format);
	b->text = text_of(d, format, args);
	va_end(args);
}

void document_item(struct document *d, struct document_section *s, const char *format, ...)
{
	va_list args;
	struct document_block *b = document_block(d, s, DOCUMENT_ITEM, DOCUMENT_BOTH);
	va_start(args, format);
	b->text = text_of(d, format, args);
	va_end(args);
}

struct document_table *document_table(struct document *d, struct document_section *s, unsigned formats,
				      const struct document_column *columns, int n)
{
	struct document_table *t = &document_block(d, s, DOCUMENT_TABLE, formats)->table;
	assert(n <= DOCUMENT_COLUMNS_MAX);
	*t = (struct document_table){.title = "", .columns = columns, .n_columns = n, .open = 0x7fffffff, .source = ""};
	return t;
}

struct document_entry *document_row(struct document *d, struct document_table *t)
{
	struct document_entry *row = d->lost_row;
	void *grown = grow(d, t->entries, t->n_rows, &t->room, (size_t)t->n_columns * sizeof *t->entries);
	if (grown) {
		t->entries = grown;
		row = t->entries + (size_t)t->n_rows++ * (size_t)t->n_columns;
	}
	for (int i = 0; i < t->n_columns; i++)
		row[i] = (struct document_entry){.text = "", .number = NAN};
	return row;
}

void document_drop_empty_columns(struct document *d, struct document_table *t)
{
	struct document_column *columns = document_take(d, (size_t)t->n_columns * sizeof *columns);
	int kept[DOCUMENT_COLUMNS_MAX], n = 0;
	for (int i = 0; i < t->n_columns; i++) {
		int filled = 0;
		for (int r = 0; r < t->n_rows && !filled; r++)
			filled = *t->entries[(size_t)r * (size_t)t->n_columns + (size_t)i].text != '\0';
		if (filled)
			kept[n++] = i;
	}
	if (!columns || n == t->n_columns)
		return;
	for (int i = 0; i < n; i++)
		columns[i] = t->columns[kept[i]];
	/* Rows move to the front, each into place that was read before. */
	for (int r = 0; r < t->n_rows; r++)
		for (int i = 0; i < n; i++)
			t->entries[(size_t)r * (size_t)n + (size_t)i] =
				t->entries[(size_t)r * (size_t)t->n_columns + (size_t)kept[i]];
	t->columns = columns;
	t->n_columns = n;
	t->room = t->n_rows; /* counted in rows of the new width, of which more would fit */
}

struct chart *document_chart(struct document *d, struct document_section *s, unsigned formats, enum chart_kind kind,
			     int n_series, int n_places)
{
	struct chart *c = &document_block(d, s, DOCUMENT_CHART, formats)->chart;
	*c = (struct chart){.kind = kind,
			    .title = "",
			    .x_text = "",
			    .y_text = "",
			    .marks = "",
			    .source = "",
			    .band = NAN,
			    .series = document_take(d, (size_t)n_series * sizeof *c->series),
			    .places = document_take(d, (size_t)n_places * sizeof *c->places)};
	c->n_series = c->series ? n_series : 0;
	c->n_places = c->places ? n_places : 0;
	for (int i = 0; i < c->n_series; i++)
		c->series[i].name = "";
	for (int i = 0; i < c->n_places; i++)
		c->places[i] = "";
	return c;
}

static int fits(double x)
{
	return x == 0 || (fabs(x) >= 1e-12 && fabs(x) <= 1e15);
}

void chart_add(struct document *d, struct chart_series *s, struct chart_point p)
{
	int has_bar = !isnan(p.low) && !isnan(p.high);
	if (!fits(p.x) || !fits(p.y) || (has_bar && (!fits(p.low) || !fits(p.high)))) {
		s->left_out++;
		return;
	}
	void *grown = grow(d, s->points, s->n, &s->room, sizeof *s->points);
	if (!grown)
		return;
	s->points = grown;
	s->points[s->n++] = p;
}

int chart_points(const struct chart *c)
{
	int n = 0;
	for (int i = 0; i < c->n_series; i++)
		n += c->series[i].n;
	return n;
}

int document_section_is_empty(const struct document_section *s)
{
	return !s->n;
}

int chart_left_out(const struct chart *c)
{
	int n = 0;
	for (int i = 0; i < c->n_series; i++)
		n += c->series[i].left_out;
	return n;
}
