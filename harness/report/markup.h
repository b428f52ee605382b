/*
 * Text into HTML and Markdown. Whatever it says, it stays text: no markup, no link, no mention, no formula comes of it.
 *
 * In both, what text_escape (base/text.h) takes for control (line ends, what turns the direction of writing, bytes that
 * are no UTF-8) becomes visible.
 */
#ifndef GEMMARK_HARNESS_REPORT_MARKUP_H
#define GEMMARK_HARNESS_REPORT_MARKUP_H

#include <stdio.h>

/* Text, or the value of a quoted attribute. */
void markup_html(FILE *f, const char *text);
/* The same of a chart's tip (document.h), whose lines stay lines. */
void markup_html_lines(FILE *f, const char *text);

/*
 * Text of GitHub's Markdown: a paragraph's, from its beginning, or inside of one, a table's cell included. Punctuation
 * with a meaning is written as a character reference, which is text to the parser; and a word joiner (U+2060) is put
 * where GitHub looks for mentions, issues and emoji in the text that comes out of it: behind @, # and : in front of a
 * letter or digit.
 */
void markup_markdown(FILE *f, const char *text);
void markup_markdown_inline(FILE *f, const char *text);

/* The longest run of backticks in the text: the fence of a block with it has more. */
int markup_backticks(const char *text);

#endif
