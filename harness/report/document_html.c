#include "harness/report/document_html.h"

#include <math.h>
#include <string.h>

#include "harness/record/build_info.h"
#include "harness/report/markup.h"

/* Made by the build from page.css and page.js, in this order. */
enum page_text { PAGE_CSS, PAGE_JS };
extern const char *const page_texts[], *const page_texts_sha256[];

/* Characters, from which an entry may be broken into lines; and from which it takes them whatever room there is. */
enum { WORDS_ENTRY = 24, LONG_ENTRY = 60 };

static void write_element(FILE *f, const char *open, const char *text, const char *close)
{
	fputs(open, f);
	markup_html(f, text);
	fputs(close, f);
}

static void write_source(FILE *f, const char *source)
{
	if (*source)
		write_element(f, "<p class=\"source\">", source, "</p>\n");
}

/* ---- tables ---- */

/* stacked: on a narrow screen a row is a block of its own, in which each entry has its column's title. */
static void write_table(FILE *f, const struct document_table *t, int stacked)
{
	fputs(stacked ? "<div class=\"table stack\">\n" : "<div class=\"table\">\n", f);
	if (*t->title)
		write_element(f, "<h3>", t->title, "</h3>\n");
	fputs("<div class=\"scroll\"><table", f);
	if (t->open < t->n_rows)
		fprintf(f, " data-open=\"%d\"", t->open);
	fputs("><thead><tr>", f);
	for (int i = 0; i < t->n_columns; i++)
		write_element(f, t->columns[i].number ? "<th class=\"n\">" : "<th>", t->columns[i].title, "</th>");
	fputs("</tr></thead><tbody>\n", f);
	for (int r = 0; r < t->n_rows; r++) {
		fputs("<tr>", f);
		for (int i = 0; i < t->n_columns; i++) {
			const struct document_entry *e = &t->entries[(size_t)r * (size_t)t->n_columns + (size_t)i];
			const char *class = t->columns[i].number            ? " class=\"n\""
					    : strlen(e->text) > LONG_ENTRY  ? " class=\"long\""
					    : strlen(e->text) > WORDS_ENTRY ? " class=\"words\""
									    : "";
			fprintf(f, "<td%s", class);
			if (stacked)
				write_element(f, " data-title=\"", t->columns[i].title, "\"");
			if (isfinite(e->number))
				fprintf(f, " data-v=\"%.9g\"", e->number);
			write_element(f, ">", e->text, "</td>");
		}
		fputs("</tr>\n", f);
	}
	fputs("</tbody></table></div>\n", f);
	write_source(f, t->source);
	fputs("</div>\n", f);
}

/* ---- charts ---- */

static int is_drawn(const struct document_block *b)
{
	return (b->formats & DOCUMENT_HTML) && b->kind == DOCUMENT_CHART && chart_points(&b->chart) > 0;
}

static void write_legend(FILE *f, const struct chart *c)
{
	fputs("<ul class=\"legend\">", f);
	for (int i = 0; i < c->n_series; i++) {
		int named = !c->series[i].n;
		/* Of a history's levels there are several. */
		for (int k = 0; k < i && !named; k++)
			named = c->series[k].n && c->series[k].style == c->series[i].style &&
				!strcmp(c->series[k].name, c->series[i].name);
		if (named)
			continue;
		fputs("<li>", f);
		figure_legend_mark(f, c->series[i].style);
		write_element(f, "<span>", c->series[i].name, "</span></li>");
	}
	fputs("</ul>\n", f);
}

/* wide: it has the page's width, and another picture for narrow screens. */
static int write_chart(FILE *f, const struct chart *c, int wide, struct figure_maker *m, struct error *err)
{
	fputs(wide ? "<figure class=\"one\"><figcaption>" : "<figure><figcaption>", f);
	markup_html(f, c->title);
	write_element(f, "<span class=\"y\">", c->y_text, "");
	fprintf(f, "%s</span></figcaption>\n", figure_axis_note(c));
	write_legend(f, c);
	if (wide)
		fputs("<div class=\"wide\">", f);
	int rc = figure_svg(m, c, wide ? FIGURE_WIDE : FIGURE_HALF, f, err);
	if (!rc && wide) {
		fputs("</div><div class=\"narrow\">", f);
		rc = figure_svg(m, c, FIGURE_NARROW, f, err);
		fputs("</div>", f);
	}
	write_element(f, "<p class=\"source\">", c->marks, "");
	if (chart_left_out(c))
		fprintf(f, "; %d values that no axis holds are left out", chart_left_out(c));
	write_element(f, *c->marks && *c->source ? ". " : "", c->source, "</p></figure>\n");
	return rc;
}

/* ---- blocks and sections ---- */

static int is_shown(const struct document_block *b)
{
	if (b->kind == DOCUMENT_CHART)
		return is_drawn(b);
	return (b->formats & DOCUMENT_HTML) && !(b->kind == DOCUMENT_TABLE && !b->table.n_rows);
}

/* Neighbours of a list, or of charts, stand in an element of their own: it begins and ends with them. */
static void write_between(FILE *f, const struct document_block *before, const struct document_block *after)
{
	int was = before ? (int)before->kind : -1, is = after ? (int)after->kind : -1;
	if (was == is)
		return;
	if (was == DOCUMENT_ITEM)
		fputs("</ul>\n", f);
	if (was == DOCUMENT_CHART)
		fputs("</div>\n", f);
	if (is == DOCUMENT_ITEM)
		fputs("<ul>\n", f);
	if (is == DOCUMENT_CHART)
		fputs("<div class=\"charts\">\n", f);
}

/* wide: a chart that has the page's width; first: of the first screen. */
static int write_block(FILE *f, const struct document_block *b, int wide, int first, struct figure_maker *m,
		       struct error *err)
{
	switch (b->kind) {
	case DOCUMENT_TEXT:
		write_element(f, "<p>", b->text, "</p>\n");
		break;
	case DOCUMENT_ITEM:
		write_element(f, "<li>", b->text, "</li>\n");
		break;
	case DOCUMENT_COMMAND:
		write_element(f, "<pre>", b->text, "</pre>\n");
		break;
	case DOCUMENT_TABLE:
		write_table(f, &b->table, first);
		break;
	case DOCUMENT_CHART:
		return write_chart(f, &b->chart, wide, m, err);
	case DOCUMENT_IMAGE:
		break; /* of Markdown */
	}
	return 0;
}

static int write_section(FILE *f, const struct document_section *s, int first, struct figure_maker *m,
			 struct error *err)
{
	const struct document_block *last = NULL;
	int rc = 0;
	if (!first) {
		write_element(f, "<details class=\"section\"><summary><h2>", s->title, "</h2>");
		if (*s->finding)
			write_element(f, " <span>", s->finding, "</span>");
		fputs("</summary>\n<div>\n", f);
	}
	for (int i = 0; i < s->n && !rc; i++) {
		const struct document_block *b = s->blocks[i];
		if (!is_shown(b))
			continue;
		write_between(f, last, b);
		/* A chart of many rows of names needs the width. */
		rc = write_block(f, b, first || b->chart.kind == CHART_FOREST, first, m, err);
		last = b;
	}
	write_between(f, last, NULL);
	if (!first)
		fputs("</div></details>\n", f);
	return rc;
}

static int has_blocks(const struct document_section *s)
{
	for (int i = 0; i < s->n; i++)
		if (is_shown(s->blocks[i]))
			return 1;
	return 0;
}

int document_html(const struct document *d, struct figure_maker *m, FILE *f, struct error *err)
{
	int rc = 0;
	fprintf(f,
		"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-%s'; "
		"script-src 'sha256-%s'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		"<meta name=\"generator\" content=\"gemmark %s\">\n<link rel=\"icon\" href=\"data:,\">\n",
		page_texts_sha256[PAGE_CSS], page_texts_sha256[PAGE_JS], build_info()->version);
	write_element(f, "<title>Gemmark: ", d->title, "</title>\n");
	fprintf(f, "<style>%s</style>\n</head>\n<body>\n<main>\n", page_texts[PAGE_CSS]);
	write_element(f, "<header>\n<h1>Gemmark: ", d->title, "</h1>\n");
	write_element(f, "<p class=\"verdict\">", d->sentence, "</p>\n</header>\n");
	for (int s = 0; s < d->n && !rc; s++)
		if (has_blocks(d->sections[s]))
			rc = write_section(f, d->sections[s], !s, m, err);
	fprintf(f, "<footer>gemmark %s</footer>\n</main>\n<script>%s</script>\n</body>\n</html>\n",
		build_info()->version, page_texts[PAGE_JS]);
	return rc;
}
