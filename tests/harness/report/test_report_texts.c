/*
 * gemmark report on a directory that somebody sent, with the real gnuplot: whatever its texts say, they are text in the
 * report, HTML and Markdown alike, and nothing of them is run.
 */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/report_case.h"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "report-texts") || chdir(folder);
}

static int tear_down(void **state)
{
	(void)state;
	return chdir("/") || folder_remove(folder);
}

/* Every text of a row is the hostile one, with what tells it apart behind. */
static void hostile(void *ctx, struct run_row *row)
{
	static char texts[64][400], mode[400];
	const char *text = ctx;
	int n = 0;
	const char *was = row->mode;
	snprintf(mode, sizeof mode, "%s%s", text, was);
	for (int i = 0; i < row_n_columns; i++) {
		const char *name = row_columns[i].name;
		if (row_columns[i].type != COLUMN_TEXT || !strcmp(name, "until") || !strcmp(name, "model_hash"))
			continue;
		snprintf(texts[n], sizeof texts[n], "%s%s", text, name);
		assert_int_equal(column_set_text(row, &row_columns[i], texts[n++]), 0);
		assert_true(n < 64);
	}
	static char id[400], snapkv[400];
	/* tokens.csv is read by lines: an id has no end of one. */
	snprintf(id, sizeof id, "%d%s", (int)row->order, text);
	for (char *c = id; *c; c++)
		*c = *c == '\n' || *c == '\r' ? ' ' : *c;
	snprintf(snapkv, sizeof snapkv, "%d,%s", 9 + (int)row->n_depth, text);
	row->run_id = id;
	row->snapkv = snapkv;
	row->mode = !strcmp(was, "direct") ? was : mode;
	row->itl_median_us = !strcmp(was, "direct") ? 1000 : 900;
	row->kv_bytes = 1 << 20;
	row->kl_divergence = 0.25;
	row->bandwidth_share = 0.5;
	if (row->repetition == 2) {
		row->status = RUN_STATUS_FAILED;
		row->itl_median_us = NAN;
	}
}

static void write_run(const char *text)
{
	static const char *const modes[] = {"direct", "graph-device", NULL}, *const fusions[] = {"full", NULL};
	static const int depths[] = {0, 64};
	json_t *env = json_pack("{s:{s:s}, s:{s:s}, s:[{s:s, s:i}], s:[s,s], s:{s:s}}", "cpu", "model", text, "gpu",
				"name", text, "models", "file", text, "bytes", 7, "command_line", "bench", text,
				"build", "flags", text);
	assert_non_null(env);
	char *dumped = json_dumps(env, 0);
	struct report_case c = {.modes = modes,
				.fusions = fusions,
				.depths = depths,
				.n_depths = 2,
				.repetitions = 3,
				.tokens = 4,
				.edit = hostile,
				.ctx = (void *)text,
				.env = dumped};
	report_case_write(&c, "run");
	free(dumped);
	json_decref(env);
}

/* The report's text: the caller frees. */
static char *report(const char *file, const char *gnuplot)
{
	char *words[] = {"report",    "run",           "-o", (char *)file, "--calibration", "none.json",
			 "--gnuplot", (char *)gnuplot, NULL};
	if (command_run(folder, cmd_report, words)) {
		char said[600] = "";
		FILE *errors = folder_open(folder, "errors", "r");
		said[fread(said, 1, sizeof said - 1, errors)] = '\0';
		fclose(errors);
		fail_msg("%s: %s", file, said);
	}
	FILE *f = folder_open(folder, file, "r");
	char *text = calloc(1, 1 << 22);
	assert_non_null(text);
	size_t n = fread(text, 1, (1 << 22) - 1, f);
	fclose(f);
	assert_true(n > 1000 && n < (1 << 22) - 1);
	assert_int_equal(strlen(text), n);
	return text;
}

static int is_one_of(const char *list, const char *name, size_t n)
{
	char word[32];
	snprintf(word, sizeof word, " %.*s ", (int)n, name);
	return strstr(list, word) != NULL;
}

/* The elements and attributes of a report, and no other; each attribute in double quotes. */
static void check_html(const char *text)
{
	static const char elements[] = " html head meta link title style body main header h1 h2 h3 p section div span "
				       "figure figcaption ul li svg g path "
				       "polygon text table thead tbody tr th td details summary pre footer script ";
	static const char attributes[] = " lang charset http-equiv content name rel href class viewBox role aria-label "
					 "aria-hidden d stroke fill points "
					 "transform stroke-width stroke-dasharray stroke-linecap stroke-linejoin "
					 "font-size text-anchor fill-opacity opacity x "
					 "y data-v data-open data-title ";
	int scripts = 0;
	for (const char *at = strchr(text, '>') + 1; (at = strchr(at, '<'));) {
		int closing = at[1] == '/';
		const char *name = at + 1 + closing, *c = name;
		while (isalnum((unsigned char)*c))
			c++;
		size_t n = (size_t)(c - name);
		if (!n || !is_one_of(elements, name, n))
			fail_msg("an element: %.60s", at);
		while (*c != '>' && *c != '/') {
			while (*c == ' ')
				c++;
			const char *attribute = c;
			while (isalpha((unsigned char)*c) || *c == '-')
				c++;
			if (c == attribute || !is_one_of(attributes, attribute, (size_t)(c - attribute)))
				fail_msg("an attribute: %.60s in %.100s", attribute, at);
			if (*c != '=')
				continue;
			assert_int_equal(c[1], '"');
			c = strchr(c + 2, '"') + 1;
		}
		at = c;
		/* Raw text: ours alone. */
		if (!closing && n == 6 && !strncmp(name, "script", n)) {
			scripts++;
			at = strstr(at, "</script>");
			assert_non_null(at);
		} else if (!closing && n == 5 && !strncmp(name, "style", n)) {
			at = strstr(at, "</style>");
			assert_non_null(at);
		}
	}
	assert_int_equal(scripts, 1);
}

static int columns_of(const char *line, size_t n)
{
	int bars = 0;
	for (size_t i = 0; i < n; i++)
		bars += line[i] == '|';
	return bars - 1;
}

/* Of Markdown: elements of our own alone, tables as wide as their heads, fences that close. */
static void check_markdown(const char *text)
{
	static const char *const ours[] = {"<!-- gemmark-report -->",
					   "<details>",
					   "</details>",
					   "<summary>",
					   "</summary>",
					   "<b>",
					   "</b>",
					   "<sub>",
					   "</sub>"};
	size_t fence = 0;
	int columns = 0, tables = 0;
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n"), ticks = strspn(line, "`");
		const char *next = line + n + (line[n] == '\n');
		if (ticks >= 3 && (!fence || (ticks >= fence && ticks == n))) {
			fence = fence ? 0 : ticks;
			line = next;
			continue;
		}
		if (fence) {
			line = next;
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			int known = 0;
			for (size_t k = 0; line[i] == '<' && k < sizeof ours / sizeof *ours && !known; k++)
				known = !strncmp(line + i, ours[k], strlen(ours[k]));
			if (line[i] == '<' && !known)
				fail_msg("an element: %.60s", line + i);
			if (strchr("`$\\{}~", line[i]))
				fail_msg("%c in %.*s", line[i], (int)n, line);
			if (strchr("@#", line[i]) && isalnum((unsigned char)line[i + 1]))
				if (line[i] != '#' || i == 0 || line[i - 1] != '&')
					fail_msg("a mention: %.40s", line + i);
		}
		if (*line == '|') {
			tables += !columns;
			columns = columns ? columns : columns_of(line, n);
			if (columns_of(line, n) != columns)
				fail_msg("a row of %d columns, not %d: %.*s", columns_of(line, n), columns, (int)n,
					 line);
		} else {
			columns = 0;
		}
		line = next;
	}
	assert_int_equal(fence, 0);
	assert_true(tables > 5);
	assert_true(strlen(text) <= 65536);
}

static void expect_not_run(void)
{
	DIR *d = opendir(folder);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (!strcmp(e->d_name, "pwned") || strstr(e->d_name, ".tmp"))
			fail_msg("%s is there", e->d_name);
	closedir(d);
}

static void test_texts(void **state)
{
	(void)state;
	static const struct {
		const char *text, *html, *markdown; /* what is to be seen of it */
	} cases[] = {
		{"</script></title><img src=x onerror=alert(1)>",
		 "&#60;/script&#62;&#60;/title&#62;&#60;img src=x onerror=",
		 "&#60;/script&#62;&#60;/title&#62;&#60;img src=x onerror="},
		{"a|b`c`\n| d |\n\n```mermaid\ngraph TD\n", "a|b`c`\\n| d |\\n\\n```mermaid\\ngraph",
		 "a&#124;b&#96;c&#96;&#92;n&#124; d &#124;"},
		{"`touch pwned`$(touch pwned)\";system(\"touch pwned\");'", "`touch pwned`$(touch pwned)&#34;;system",
		 "&#96;touch pwned&#96;&#36;(touch pwned)"},
		{"\xe2\x80\xae@you #1 :tada: $x$ www.a.b http://a.b\r\n", "\\xe2\\x80\\xae@you #1 :tada:",
		 "&#92;xe2&#92;x80&#92;xae&#64;\xe2\x81\xa0you &#35;\xe2\x81\xa0"
		 "1 :\xe2\x81\xa0tada: &#36;x&#36; www&#46;a.b http&#58;//a.b"},
		{"--></details></summary>*_~[x](javascript:y)![z](q)&lt;\\", "--&#62;&#60;/details&#62;",
		 "--&#62;&#60;/details&#62;&#60;/summary&#62;&#42;&#95;&#126;&#91;x&#93;(javascript"},
	};
	assert_int_equal(folder_put(folder, "/no-gnuplot", "#!/bin/sh\necho '<svg><g></g></svg>'\n"), 0);
	assert_int_equal(chmod("no-gnuplot", 0755), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		write_run(cases[i].text);
		/* gnuplot is given no text; once it shows. */
		char *html = report("report.html", i ? "./no-gnuplot" : "gnuplot");
		check_html(html);
		if (!strstr(html, cases[i].html))
			fail_msg("'%s' is not shown", cases[i].html);
		free(html);
		char *markdown = report("report.md", "none");
		check_markdown(markdown);
		if (!strstr(markdown, cases[i].markdown))
			fail_msg("'%s' is not shown", cases[i].markdown);
		free(markdown);
		expect_not_run();
		assert_int_equal(folder_remove("run"), 0);
	}
}

/* A file is replaced, never written through: what a link names stays. */
static void test_link(void **state)
{
	(void)state;
	char text[8] = "";
	write_run("x");
	assert_int_equal(folder_put(folder, "/kept", "kept"), 0);
	assert_int_equal(symlink("kept", "report.md"), 0);
	free(report("report.md", "none"));
	FILE *f = folder_open(folder, "kept", "r");
	assert_non_null(fgets(text, sizeof text, f));
	fclose(f);
	assert_string_equal(text, "kept");
}

static int refused(char **words, const char *said)
{
	int code = command_run(folder, cmd_report, words);
	assert_false(command_said(folder, "out", "rows of"));
	if (!command_said(folder, "errors", said))
		fail_msg("'%s' is not said", said);
	return code;
}

static void test_usage(void **state)
{
	(void)state;
	write_run("x");
	assert_int_equal(refused((char *[]){"report", "run", NULL}, "-o is missing"), 2);
	assert_int_equal(refused((char *[]){"report", "-o", "x.md", NULL}, "name the results directory"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "-o", "x.pdf", NULL}, "neither FILE.md nor FILE.html"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "-o", ".md", NULL}, "neither FILE.md nor FILE.html"), 2);
	assert_int_equal(refused((char *[]){"report", "none", "-o", "x.md", NULL}, "none"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "-o", "no/x.md", NULL}, "no"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "--paired", "-o", "x.md", NULL}, "there is no --base"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "--across", "mode", "-o", "x.md", NULL},
				 "--across: there is no --base"),
			 2);
	assert_int_equal(
		refused((char *[]){"report", "run", "-o", "x.md", "--images", "javascript:(1)", NULL}, "is no URL"), 2);
	assert_int_equal(refused((char *[]){"report", "run", "-o", "x.html", "--images", "https://x.y/z", NULL},
				 "it is for FILE.md"),
			 2);
	assert_int_equal(refused((char *[]){"report", "run", "-o", "x.html", "--gnuplot", "./none", NULL}, "not found"),
			 2);
	assert_false(folder_has(folder, "x.md"));
	assert_false(folder_has(folder, "x.html"));
}

/* Pictures are linked where they are there, by their names, under the prefix. */
static void test_images(void **state)
{
	(void)state;
	write_run("x");
	assert_int_equal(folder_put(folder, "/run/plots/overhead-fusion-full.png", "x"), 0);
	assert_int_equal(folder_put(folder, "/run/plots/overhead-<b>.png", "x"), 0);
	assert_int_equal(folder_put(folder, "/run/plots/latency.svg", "x"), 0);
	char *words[] = {"report", "run", "-o", "x.md", "--images", "https://x.y/z", NULL};
	assert_int_equal(command_run(folder, cmd_report, words), 0);
	assert_true(command_said(folder, "out", "x.md: 12 rows of 1 directory\n"));
	assert_true(command_said(folder, "x.md", "](<https://x.y/z/overhead-fusion-full.png>)\n"));
	assert_false(command_said(folder, "x.md", "overhead-<b>"));
	assert_false(command_said(folder, "x.md", "latency.svg"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_usage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_images, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
