#include "harness/report/document_markdown.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/build_info.h"
#include "harness/report/figure_text.h"
#include "harness/report/markup.h"

enum {
	ENTRY_MOST = 400, /* bytes of a table's entry; a text that needs more says nothing in it */
	TEXT_MOST = 1500, /* of a paragraph */
	FINDING_MOST = 240,
	FIRST_SHARE = 8192, /* of the first screen's blocks, each before all others */
	RESERVE = 400,      /* for the last lines */
};

/* A block, what it takes in whole and at least, and what it gets; dropped: nothing. */
struct piece {
	const struct document_block *block;
	int section;
	size_t full, least, get;
	int dropped;
};

static void write_inline(FILE *f, const char *text, size_t most)
{
	char *cut = strndup(text, text_cut(text, most));
	markup_markdown_inline(f, cut ? cut : "");
	if (cut && strlen(cut) < strlen(text))
		fputs("...", f);
	free(cut);
}

static void write_paragraph(FILE *f, const char *text)
{
	char *cut = strndup(text, text_cut(text, TEXT_MOST));
	markup_markdown(f, cut ? cut : "");
	if (cut && strlen(cut) < strlen(text))
		fputs("...", f);
	free(cut);
}

static void write_source(FILE *f, const char *source)
{
	if (!*source)
		return;
	fputs("<sub>", f);
	write_inline(f, source, TEXT_MOST);
	fputs("</sub>\n\n", f);
}

/* ---- tables ---- */

static void write_header(FILE *f, const struct document_table *t)
{
	fputc('|', f);
	for (int i = 0; i < t->n_columns; i++) {
		fputc(' ', f);
		write_inline(f, t->columns[i].title, ENTRY_MOST);
		fputs(" |", f);
	}
	fputs("\n|", f);
	for (int i = 0; i < t->n_columns; i++)
		fputs(t->columns[i].number ? " --: |" : " :-- |", f);
	fputc('\n', f);
}

static void write_row(FILE *f, const struct document_table *t, int row)
{
	fputc('|', f);
	for (int i = 0; i < t->n_columns; i++) {
		fputc(' ', f);
		write_inline(f, t->entries[(size_t)row * (size_t)t->n_columns + (size_t)i].text, ENTRY_MOST);
		fputs(" |", f);
	}
	fputc('\n', f);
}

/* rows: how many at most; folds: whether those behind `open` are folded. */
static void write_table(FILE *f, const struct document_table *t, int rows, int folds)
{
	int open = folds && t->open < rows ? t->open : rows;
	if (*t->title) {
		fputs("**", f);
		write_inline(f, t->title, ENTRY_MOST);
		fputs("**\n\n", f);
	}
	if (open) {
		write_header(f, t);
		for (int i = 0; i < open; i++)
			write_row(f, t, i);
		fputc('\n', f);
	}
	if (open < rows) {
		fprintf(f, "<details><summary>%d more</summary>\n\n", rows - open);
		write_header(f, t);
		for (int i = open; i < rows; i++)
			write_row(f, t, i);
		fputs("\n</details>\n\n", f);
	}
	if (rows < t->n_rows)
		fprintf(f,
			"%d of %d rows are left out here, where there is no room for them; the HTML report has "
			"all.\n\n",
			t->n_rows - rows, t->n_rows);
	write_source(f, t->source);
}

/* ---- charts ---- */

static void write_chart(FILE *f, const struct chart *c)
{
	int fence = 3;
	for (int i = 0; i < c->n_places; i++)
		fence = markup_backticks(c->places[i]) >= fence ? markup_backticks(c->places[i]) + 1 : fence;
	fputs("**", f);
	write_inline(f, c->title, ENTRY_MOST);
	fputs("**: ", f);
	write_inline(f, c->y_text, ENTRY_MOST);
	fputs("\n\n", f);
	for (int i = 0; i < fence; i++)
		fputc('`', f);
	fputs("text\n", f);
	figure_forest(f, c);
	for (int i = 0; i < fence; i++)
		fputc('`', f);
	fputs("\n\n<sub>", f);
	write_inline(f, c->marks, ENTRY_MOST);
	if (chart_left_out(c))
		fprintf(f, "; %d values that no axis holds are left out", chart_left_out(c));
	fputs(*c->source ? ". " : "", f);
	write_inline(f, c->source, TEXT_MOST);
	fputs("</sub>\n\n", f);
}

static void write_image(FILE *f, const struct document_block *b)
{
	fputs("![", f);
	write_inline(f, b->text, ENTRY_MOST);
	fprintf(f, "](<%s>)\n\n", b->url); /* of characters that a URL has, the command looks at it */
}

/* rows: of a table, at most. list_ends: of an item, no other follows. */
static void write_block(FILE *f, const struct document_block *b, int rows, int folds, int list_ends)
{
	switch (b->kind) {
	case DOCUMENT_TEXT:
		write_paragraph(f, b->text);
		fputs("\n\n", f);
		break;
	case DOCUMENT_ITEM:
		fputs("- ", f);
		write_paragraph(f, b->text);
		fputs(list_ends ? "\n\n" : "\n", f);
		break;
	case DOCUMENT_COMMAND: {
		char *cut = strndup(b->text, text_cut(b->text, TEXT_MOST));
		int fence = cut && markup_backticks(cut) >= 3 ? markup_backticks(cut) + 1 : 3;
		fprintf(f, "%.*s\n", fence, "````````````````````````````````");
		text_print(f, cut ? cut : "");
		fprintf(f, "\n%.*s\n\n", fence, "````````````````````````````````");
		free(cut);
		break;
	}
	case DOCUMENT_TABLE:
		write_table(f, &b->table, rows < b->table.n_rows ? rows : b->table.n_rows, folds);
		break;
	case DOCUMENT_CHART:
		write_chart(f, &b->chart);
		break;
	case DOCUMENT_IMAGE:
		write_image(f, b);
		break;
	}
}

static int is_shown(const struct document_block *b)
{
	return (b->formats & DOCUMENT_MARKDOWN) && !(b->kind == DOCUMENT_TABLE && !b->table.n_rows) &&
	       !(b->kind == DOCUMENT_CHART && (b->chart.kind != CHART_FOREST || !chart_points(&b->chart)));
}

/* The block's text; the caller frees. Null: no memory. */
static char *block_text(const struct document_block *b, int rows, int folds, int list_ends, size_t *n)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, n);
	if (!f)
		return NULL;
	write_block(f, b, rows, folds, list_ends);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* The most rows of a table with which it takes at most `bytes`, for which 0 rows are few enough. -1: no memory. */
static int rows_within(const struct piece *p, size_t bytes)
{
	int low = 0, high = p->block->table.n_rows;
	while (low < high) {
		int middle = low + (high - low + 1) / 2;
		size_t n;
		char *text = block_text(p->block, middle, !p->section, 1, &n);
		if (!text)
			return -1;
		free(text);
		if (n <= bytes)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* ---- the budget ---- */

static int compare_demands(const void *a, const void *b)
{
	const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
	size_t p = x->full - x->get, q = y->full - y->get;
	return p < q ? -1 : p > q;
}

/* Gives each piece what it needs, or of what is left an equal share. Returns how many pieces are dropped. */
static int share(struct piece *pieces, struct piece **order, int n, size_t budget)
{
	size_t used = 0;
	int dropped = 0, waiting = 0;
	for (int i = 0; i < n; i++) {
		pieces[i].dropped = used + pieces[i].least > budget;
		pieces[i].get = pieces[i].dropped ? 0 : pieces[i].least;
		used += pieces[i].get;
		dropped += pieces[i].dropped;
	}
	for (int i = 0; i < n && !pieces[i].section; i++) {
		size_t more = pieces[i].dropped ? 0 : pieces[i].full - pieces[i].get;
		more = more > FIRST_SHARE ? FIRST_SHARE : more;
		more = more > budget - used ? budget - used : more;
		pieces[i].get += more;
		used += more;
	}
	for (int i = 0; i < n; i++)
		if (!pieces[i].dropped && pieces[i].get < pieces[i].full)
			order[waiting++] = &pieces[i];
	qsort(order, (size_t)waiting, sizeof *order, compare_demands);
	for (int i = 0; i < waiting; i++) {
		size_t fair = (budget - used) / (size_t)(waiting - i), wants = order[i]->full - order[i]->get;
		order[i]->get += wants < fair ? wants : fair;
		used += wants < fair ? wants : fair;
	}
	return dropped;
}

static void write_head(FILE *f, const struct document *d)
{
	fputs(DOCUMENT_MARKER "\n### Gemmark: ", f);
	write_inline(f, d->title, ENTRY_MOST);
	fputs("\n\n**", f);
	write_inline(f, d->sentence, TEXT_MOST);
	fputs("**\n\n", f);
}

static void write_section_head(FILE *f, const struct document_section *s)
{
	/* The summary is HTML, in which what is escaped for Markdown is text as well. */
	fputs("<details><summary><b>", f);
	write_inline(f, s->title, FINDING_MOST);
	fputs("</b>", f);
	if (*s->finding) {
		fputs(": ", f);
		write_inline(f, s->finding, FINDING_MOST);
	}
	fputs("</summary>\n\n", f);
}

static const char SECTION_END[] = "</details>\n\n";

static int write_pieces(const struct document *d, const struct piece *pieces, int n, FILE *f)
{
	int section = 0;
	for (int i = 0; i < n; i++) {
		const struct piece *p = &pieces[i];
		int rows = p->block->kind == DOCUMENT_TABLE ? p->block->table.n_rows : 0;
		if (p->section != section) {
			if (section)
				fputs(SECTION_END, f);
			section = p->section;
			write_section_head(f, d->sections[section]);
		}
		if (p->dropped)
			continue;
		if (p->get < p->full)
			rows = rows_within(p, p->get);
		if (rows < 0)
			return -1;
		int list_ends = i + 1 == n || pieces[i + 1].section != section ||
				pieces[i + 1].block->kind != DOCUMENT_ITEM || pieces[i + 1].dropped;
		write_block(f, p->block, rows, !section, list_ends);
	}
	if (section)
		fputs(SECTION_END, f);
	return 0;
}

/* Bytes of the head and of the sections' frames; or -1: no memory. */
static long frame_bytes(const struct document *d, const struct piece *pieces, int n)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	int section = 0;
	if (!f)
		return -1;
	write_head(f, d);
	for (int i = 0; i < n; i++) {
		if (pieces[i].section != section) {
			section = pieces[i].section;
			write_section_head(f, d->sections[section]);
			fputs(SECTION_END, f);
		}
	}
	int failed = fclose(f);
	free(text);
	return failed ? -1 : (long)bytes;
}

static int measure(struct piece *p)
{
	size_t n;
	char *text = block_text(p->block, 0x7fffffff, !p->section, 1, &n);
	if (!text)
		return -1;
	free(text);
	p->full = p->least = n;
	if (p->block->kind != DOCUMENT_TABLE)
		return 0;
	text = block_text(p->block, 0, !p->section, 1, &n);
	if (!text)
		return -1;
	free(text);
	p->least = n < p->full ? n : p->full;
	return 0;
}

int document_markdown(const struct document *d, size_t most, FILE *f, struct error *err)
{
	int n = 0, room = 0, rc = 0, dropped = 0;
	for (int s = 0; s < d->n; s++)
		room += d->sections[s]->n;
	struct piece *pieces = calloc((size_t)room + 1, sizeof *pieces);
	struct piece **order = calloc((size_t)room + 1, sizeof *order);
	if (!pieces || !order)
		rc = -1;
	for (int s = 0; s < d->n && !rc; s++) {
		for (int i = 0; i < d->sections[s]->n && !rc; i++) {
			if (!is_shown(d->sections[s]->blocks[i]))
				continue;
			pieces[n] = (struct piece){.block = d->sections[s]->blocks[i], .section = s};
			rc = measure(&pieces[n++]);
		}
	}
	long frames = rc ? -1 : frame_bytes(d, pieces, n);
	if (frames < 0)
		rc = -1;
	if (!rc) {
		size_t fixed = (size_t)frames + RESERVE;
		dropped = share(pieces, order, n, most > fixed ? most - fixed : 0);
		write_head(f, d);
		rc = write_pieces(d, pieces, n, f);
	}
	if (!rc && dropped)
		fprintf(f,
			"%d of %d tables and paragraphs are left out here, where there is no room for them; the HTML "
			"report "
			"has all.\n\n",
			dropped, n);
	if (!rc)
		fprintf(f, "<sub>gemmark %s</sub>\n", build_info()->version);
	free(order);
	free(pieces);
	return rc ? error_set(err, ERROR_MEMORY, "no memory for the report") : 0;
}
