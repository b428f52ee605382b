/* Texts in HTML and Markdown: what GitHub and a browser would take for more than text stays text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/document.h"
#include "harness/report/markup.h"

static const char *written(void (*write)(FILE *, const char *), const char *text)
{
	static char out[1024];
	memset(out, 0, sizeof out);
	FILE *f = fmemopen(out, sizeof out - 1, "w");
	assert_non_null(f);
	write(f, text);
	assert_int_equal(fclose(f), 0);
	return out;
}

static void expect(void (*write)(FILE *, const char *), const char *text, const char *want)
{
	const char *got = written(write, text);
	if (strcmp(got, want))
		fail_msg("'%s' becomes '%s', not '%s'", text, got, want);
}

static void test_html(void **state)
{
	(void)state;
	expect(markup_html, "</script><b title='x' a=\"y\">&amp;",
	       "&#60;/script&#62;&#60;b title=&#39;x&#39; a=&#34;y&#34;&#62;&#38;amp;");
	expect(markup_html, "tg64 @ d128 \xc2\xb5s \xe2\x96\x88", "tg64 @ d128 \xc2\xb5s \xe2\x96\x88");
	/* Line ends, a turn of the direction, an escape, half a character. */
	expect(markup_html, "a\nb\tc\re", "a\\nb\\tc\\x0de");
	expect(markup_html, "x\xe2\x80\xaey\x1b[1mz\xe2\x80", "x\\xe2\\x80\\xaey\\x1b[1mz\\xe2\\x80");
	expect(markup_html, "a" CHART_LINE "b", "a\\x1fb");
	expect(markup_html_lines, "a" CHART_LINE "b\n<c>", "a\nb\\n&#60;c&#62;");
}

#define JOINER "\xe2\x81\xa0"

static void test_markdown(void **state)
{
	(void)state;
	expect(markup_markdown, "Gemma 4 E4B, 3.2 % (12 cells); x/y = 1", "Gemma 4 E4B, 3.2 % (12 cells); x/y = 1");
	expect(markup_markdown, "a|b `c` *d* _e_ [f](g) <h> &i; \\ ~j~ $k$ {l} ^",
	       "a&#124;b &#96;c&#96; &#42;d&#42; &#95;e&#95; &#91;f&#93;(g) &#60;h&#62; &#38;i; &#92; &#126;j&#126; "
	       "&#36;k&#36; &#123;l&#125; &#94;");
	/* Mentions, issues and emoji are looked for in the text itself. */
	expect(markup_markdown, "x @user #12 :smile: @ # : ",
	       "x &#64;" JOINER "user &#35;" JOINER "12 :" JOINER "smile: &#64; &#35; : ");
	expect(markup_markdown, "see http://a.b or WWW.c.d", "see http&#58;//a.b or WWW&#46;c.d");
	/* What begins a list, a heading, a quote or a rule. */
	expect(markup_markdown, "- x", "&#45; x");
	expect(markup_markdown, "+5.1 %", "&#43;5.1 %");
	expect(markup_markdown, "1. x", "1&#46; x");
	expect(markup_markdown, "12) x", "12&#41; x");
	expect(markup_markdown, "12 of 3.5", "12 of 3.5");
	expect(markup_markdown, "=== x", "&#61;== x");
	expect(markup_markdown, "a\n\n# b", "a&#92;n&#92;n&#35; b");
	/* Inside of a line nothing begins. */
	expect(markup_markdown_inline, "-5.1 %", "-5.1 %");
	expect(markup_markdown_inline, "1. x", "1. x");
	expect(markup_markdown_inline, "a|b", "a&#124;b");
}

static void test_backticks(void **state)
{
	(void)state;
	assert_int_equal(markup_backticks("none"), 0);
	assert_int_equal(markup_backticks("a`b``` c``"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_html),
		cmocka_unit_test(test_markdown),
		cmocka_unit_test(test_backticks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
