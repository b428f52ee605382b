#include "tests/support/report_said.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/document_markdown.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES];
static struct result_set sets[REPORT_SAID_SETS];
struct result_set *report_said_sets[REPORT_SAID_SETS];
static int n_sets;
struct document report_said_document;
char *report_said_markdown;
struct calibration report_said_calibration;

const char *const report_said_modes[] = {"direct", "graph-update", "graph-device", NULL};
const char *const report_said_two_modes[] = {"direct", "graph-device", NULL};
const char *const report_said_full[] = {"full", NULL};
const int report_said_depths[3] = {0, 64, 256};

int report_said_is_mode(const struct run_row *row, const char *mode)
{
	return !strcmp(row->mode, mode);
}

void report_said_crossing(void *ctx, struct run_row *row)
{
	(void)ctx;
	double change = row->n_depth == 0 ? 0.9 : row->n_depth == 64 ? 0.95 : 1.05;
	/* Every repetition is at another speed, all of it alike: pairs do not see that. */
	row->itl_median_us = (1000 + 10 * (double)row->repetition) * (report_said_is_mode(row, "graph-device") ? change
								      : report_said_is_mode(row, "graph-update") ? 1.2
														 : 1);
	row->submit_median_us = report_said_is_mode(row, "direct") ? 500 : 20;
}

int report_said_set_up(void **state)
{
	(void)state;
	report_said_calibration = (struct calibration){0};
	n_sets = 0;
	document_init(&report_said_document);
	return folder_make(folder, "report");
}

int report_said_tear_down(void **state)
{
	(void)state;
	free(report_said_markdown);
	report_said_markdown = NULL;
	document_free(&report_said_document);
	for (int i = 0; i < n_sets; i++)
		result_set_close(&sets[i]);
	return folder_remove(folder);
}

struct result_set **report_said_add(const struct report_case *c, const char *name)
{
	char path[FOLDER_BYTES + 32];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	report_case_write(c, path);
	assert_true(n_sets < REPORT_SAID_SETS);
	report_said_sets[n_sets] = &sets[n_sets];
	OK(result_set_open(&sets[n_sets], path, e));
	return &report_said_sets[n_sets++];
}

void report_said_make(struct result_set **head, int n_head, struct result_set **base, int n_base,
		      const struct comparison *comparison)
{
	struct report_input in = {.head = head,
				  .n_head = n_head,
				  .base = base,
				  .n_base = n_base,
				  .comparison = comparison,
				  .calibration = &report_said_calibration};
	size_t n;
	OK(report_build(&report_said_document, &in, e));
	FILE *f = open_memstream(&report_said_markdown, &n);
	assert_non_null(f);
	OK(document_markdown(&report_said_document, DOCUMENT_MARKDOWN_MOST, f, e));
	assert_int_equal(fclose(f), 0);
}

void report_said_expect(const char *text)
{
	if (!strstr(report_said_markdown, text))
		fail_msg("'%s' is not in:\n%.4000s", text, report_said_markdown);
}

void report_said_expect_not(const char *text)
{
	if (strstr(report_said_markdown, text))
		fail_msg("'%s' is said", text);
}

void report_said_expect_row(const char *const *texts)
{
	for (const char *line = report_said_markdown; *line;) {
		size_t n = strcspn(line, "\n");
		char *row = strndup(line, n);
		int all = *row == '|';
		for (const char *const *t = texts; *t && all; t++)
			all = strstr(row, *t) != NULL;
		free(row);
		if (all)
			return;
		line += n + (line[n] == '\n');
	}
	fail_msg("no row has '%s', '%s'...", texts[0], texts[1] ? texts[1] : "");
}
