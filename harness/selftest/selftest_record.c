#include "harness/selftest/selftest_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/record/recorder.h"

enum { SIDES = 2 };

struct selftest_record {
	const struct cell *cells;
	int n;
	int runs;
	struct recorder *sides[SIDES];
	struct run_directory directory; /* of the kind */
	FILE *verdicts;
};

static int verdicts_failed(const struct selftest_record *r, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/verdicts.csv: %s", r->directory.path,
			 errno ? strerror(errno) : "write error");
}

static int put_header(FILE *f)
{
	fputs("schema_version,sweep,test", f);
	for (int a = 0; a < AXIS_COUNT; a++)
		if (a != AXIS_MODEL)
			fprintf(f, ",%s", axes[a].column);
	fputs(",runs,slowed,verdict,effect,low,high,p,p_holm,p_least,variability,detectable\n", f);
	return ferror(f);
}

int selftest_record_open(struct selftest_record **out, const char *directory, const char *kind,
			 const struct cell *cells, int n, int runs, struct error *err)
{
	static const char *const names[SIDES] = {"A", "B"};
	struct selftest_record *r = calloc(1, sizeof *r);
	if (!r)
		return error_set(err, ERROR_MEMORY, "no memory for a self-test's records");
	*r = (struct selftest_record){.cells = cells, .n = n, .runs = runs, .directory = {.fd = -1}};
	int rc = 0, fd = -1;
	char path[RUN_DIRECTORY_PATH];
	for (int i = 0; i < SIDES && !rc; i++) {
		snprintf(path, sizeof path, "%s/%s/%s", directory, kind, names[i]);
		rc = recorder_open(&r->sides[i], path, err);
	}
	snprintf(path, sizeof path, "%s/%s", directory, kind);
	if (!rc)
		rc = run_directory_open(&r->directory, path, err);
	if (!rc && (fd = run_directory_create_file(&r->directory, "verdicts.csv", err)) < 0)
		rc = fd;
	errno = 0;
	if (!rc && (!(r->verdicts = fdopen(fd, "w")) || put_header(r->verdicts)))
		rc = verdicts_failed(r, err);
	if (rc) {
		selftest_record_close(r, NULL);
		r = NULL;
	}
	*out = r;
	return rc;
}

int selftest_record_run(struct selftest_record *r, int sweep, int side, const struct run_row *row,
			const struct token_record *tokens, int n, struct error *err)
{
	struct run_row kept = *row;
	char id[128];
	snprintf(id, sizeof id, "%05d-%s", sweep, row->run_id);
	kept.run_id = id;
	kept.repetition += (int64_t)sweep * r->runs;
	return recorder_run(r->sides[side], &kept, tokens, n, err);
}

int selftest_record_verdicts(struct selftest_record *r, int sweep, const struct verdict *v, int slowed,
			     struct error *err)
{
	errno = 0;
	for (int i = 0; i < r->n; i++) {
		const struct cell *c = &r->cells[i];
		const double numbers[] = {v[i].effect, v[i].low,     v[i].high,        v[i].p,
					  v[i].p_holm, v[i].p_least, v[i].variability, v[i].detectable};
		char label[CELL_LABEL_SIZE], text[COLUMN_TEXT_SIZE], value[AXIS_TEXT_SIZE];
		cell_label(c, label);
		fprintf(r->verdicts, "\"%d\",\"%d\",\"%s\"", SCHEMA_VERSION, sweep, label);
		for (int a = 0; a < AXIS_COUNT; a++)
			if (a != AXIS_MODEL)
				fprintf(r->verdicts, ",\"%s\"", cell_text(c, (enum axis_id)a, value));
		fprintf(r->verdicts, ",\"%d\",\"%d\",\"%s\"", r->runs, i == slowed, verdict_name(v[i].kind));
		for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
			fprintf(r->verdicts, ",\"%s\"", column_real_text(numbers[k], text));
		fputc('\n', r->verdicts);
	}
	return fflush(r->verdicts) || ferror(r->verdicts) ? verdicts_failed(r, err) : 0;
}

int selftest_record_close(struct selftest_record *r, struct error *err)
{
	int rc = 0;
	if (!r)
		return 0;
	errno = 0;
	if (r->verdicts && fclose(r->verdicts))
		rc = verdicts_failed(r, err);
	run_directory_close(&r->directory);
	for (int i = 0; i < SIDES; i++) {
		struct error why = {""};
		if (recorder_close(r->sides[i], &why) && !rc)
			rc = error_set(err, ERROR_IO, "%s", why.text);
	}
	free(r);
	return rc;
}
