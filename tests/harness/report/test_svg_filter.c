/* gnuplot's picture in a page: what is known comes through, in the page's colours, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/svg_filter.h"

static int filtered(const char *text, char out[2048])
{
	memset(out, 0, 2048);
	FILE *f = fmemopen(out, 2047, "w");
	assert_non_null(f);
	int rc = svg_filter(text, f);
	assert_int_equal(fclose(f), 0);
	return rc;
}

static void expect(const char *text, const char *want)
{
	char out[2048];
	if (filtered(text, out))
		fail_msg("refused: %s", text);
	if (strcmp(out, want))
		fail_msg("'%s', not '%s'", out, want);
}

static void test_known(void **state)
{
	(void)state;
	expect("<?xml version=\"1.0\"?>\n<svg width='4' onload='x()'>\n<title>T</title><defs><g><path "
	       "d='M1'/></g></defs>"
	       "<g fill=\"none\" stroke=\"rgb(  1,   0,  21)\">\n\t<path stroke='rgb(  1,   0,   3)' "
	       "class=\"gridline\" "
	       "d='M1.0,2.0\n\t L3,4  '/></g>\n"
	       "<g><text>-0.5 %</text></g></svg>",
	       "<g fill=\"none\" stroke=\"var(--axis)\"><path stroke=\"var(--k3)\" d=\"M1.0,2.0 L3,4\"/></g>\n"
	       "<g><text>-0.5 %</text>\n</g>\n");
	/* Other colours are the text's; groups with nothing in them go. */
	expect("<svg><g color='black'>\n</g><path fill='red' stroke='rgb(1,0,9)'/><path fill='rgb(  1,   0,  "
	       "23)'/></svg>",
	       "<path fill=\"currentColor\" stroke=\"currentColor\"/><path fill=\"var(--band)\"/>");
}

static void test_hostile(void **state)
{
	(void)state;
	expect("<svg><script>alert(1)</script><style>*{}</style><image href='http://x'/><a xlink:href='http://x'>"
	       "<text onclick='x()' id='y' style='z'>a&lt;b<tspan>c</tspan></text></a><use href='#q'/></svg>",
	       "<text>altb</text>\n");
	expect("<svg><path d='M1\"onload=x' transform='url(#a)' points='1,2'/></svg>", "<path points=\"1,2\"/>");
}

static void test_broken(void **state)
{
	(void)state;
	char out[2048];
	static const char *const broken[] = {
		"",        "no picture",           "<svg",         "<svg><g>",
		"<svg><g", "<svg><defs><g></svg>", "<svg><text>x", "<svg><g><path d='M1/></g>"};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		if (!filtered(broken[i], out))
			fail_msg("taken: %s", broken[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
