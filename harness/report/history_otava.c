/*
 * A history for Apache Otava: its CSV importer takes a time column, attributes and metrics of which each row has a
 * number, so that series with gaps have files of their own.
 */
#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/report/history_output.h"

enum { TEST_NAME = 100 };

/* Letters, digits and dots, which need no quotes in YAML, in a file's name or in a shell. */
static void test_name(const struct history_view *v, const struct history_series *s, int number, int part,
		      char out[TEST_NAME])
{
	char label[HISTORY_LABEL_SIZE];
	size_t n = 0;
	history_label(v, s, label);
	for (const char *p = label; *p && n < TEST_NAME - 40; p++) {
		if (isalnum((unsigned char)*p) && (unsigned char)*p < 128)
			out[n++] = *p;
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	n += (size_t)snprintf(out + n, TEST_NAME - n, "%s%d", n ? "-" : "series-", number + 1);
	if (part)
		snprintf(out + n, TEST_NAME - n, "-part-%d", part + 1);
}

static void put_field(FILE *f, const char *text)
{
	char name[HISTORY_TEXT];
	text_name(name, sizeof name, text, strlen(text));
	fputc('"', f);
	for (const char *p = name; *p; p++) {
		if (*p == '"')
			fputc('"', f);
		fputc(*p, f);
	}
	fputc('"', f);
}

static int write_part(const struct history_view *v, const struct history_series *s, int part, const char *name,
		      const struct run_directory *to, struct error *err)
{
	struct run_file f;
	char file[TEST_NAME + 8];
	snprintf(file, sizeof file, "%s.csv", name);
	int rc = run_file_open(&f, to, file, err);
	if (rc)
		return rc;
	fputs("time,commit,run,value\n", f.stream);
	for (int i = s->parts[part]; i < s->parts[part + 1]; i++) {
		const struct history_record *r = &v->history->records[s->points[i].record];
		const struct history_commit *c = &v->commits[s->points[i].commit];
		char date[COMMIT_DATE_SIZE];
		commit_date_text(c->date, date);
		fprintf(f.stream, "%s,", date);
		put_field(f.stream, c->name);
		fputc(',', f.stream);
		put_field(f.stream, r->run);
		fprintf(f.stream, ",%.9g\n", r->median);
	}
	return run_file_commit(&f, 0, err);
}

int history_otava_write(const struct history_view *views, int n_views, const struct run_directory *to, int *n,
			struct error *err)
{
	struct run_file yaml;
	int number = 0, rc = run_file_open(&yaml, to, "otava.yaml", err);
	*n = 0;
	if (rc)
		return rc;
	fputs("tests:\n", yaml.stream);
	for (int i = 0; i < n_views && !rc; i++)
		for (int s = 0; s < views[i].n_series && !rc; s++, number++) {
			const struct history_series *series = &views[i].series[s];
			int up = views[i].history->cells[series->cell].more_is_better;
			for (int k = 0; k < series->n_parts && !rc; k++, ++*n) {
				char name[TEST_NAME];
				test_name(&views[i], series, number, k, name);
				fprintf(yaml.stream,
					"  %s:\n    type: csv\n    file: %s.csv\n    time_column: time\n    "
					"attributes: "
					"[commit, run]\n    metrics:\n      value:\n        column: value\n        "
					"direction: %d\n",
					name, name, up ? 1 : -1);
				rc = write_part(&views[i], series, k, name, to, err);
			}
		}
	if (!rc)
		rc = run_file_commit(&yaml, 0, err);
	run_file_discard(&yaml);
	return rc;
}
