#include "harness/report/llama_output.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/llama_bench.h"

enum {
	CELL_SIZE = 512, /* bytes of a Markdown cell */
	DIGITS = 9,      /* of a real number in JSON */
	MD_COLUMNS = 17,
};

int llama_format_parse(const char *name)
{
	static const char *const names[] = {"md", "csv", "json", "jsonl", "sql"};
	for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

/* ---- CSV and SQL: a value as text ---- */

/* With the quote doubled, as both want it. */
static void quoted(FILE *f, const char *s, char quote)
{
	fputc(quote, f);
	for (; *s; s++) {
		if (*s == quote)
			fputc(quote, f);
		fputc(*s, f);
	}
	fputc(quote, f);
}

static void number(FILE *f, const json_t *v)
{
	if (json_is_integer(v))
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		fprintf(f, "%.*g", DIGITS, json_real_value(v));
	else
		fputc(json_is_true(v) ? '1' : '0', f);
}

static void write_csv(const json_t *records, FILE *f)
{
	for (int i = 0; i < llama_n_fields; i++)
		fprintf(f, "%s%s", i ? "," : "", llama_fields[i].name);
	fputc('\n', f);
	size_t r;
	json_t *record;
	json_array_foreach(records, r, record)
	{
		for (int i = 0; i < llama_n_fields; i++) {
			const json_t *v = json_object_get(record, llama_fields[i].name);
			if (i)
				fputc(',', f);
			fputs(json_is_string(v) ? "" : "\"", f);
			if (json_is_string(v))
				quoted(f, json_string_value(v), '"');
			else if (!json_is_null(v))
				number(f, v);
			fputs(json_is_string(v) ? "" : "\"", f);
		}
		fputc('\n', f);
	}
}

static void write_sql(const json_t *records, FILE *f)
{
	static const char *const types[] = {
		[LLAMA_TEXT] = "TEXT", [LLAMA_INT] = "INTEGER", [LLAMA_BOOL] = "INTEGER", [LLAMA_REAL] = "REAL"};
	fputs("CREATE TABLE IF NOT EXISTS llama_bench (\n", f);
	for (int i = 0; i < llama_n_fields; i++)
		fprintf(f, "  %s %s%s\n", llama_fields[i].name, types[llama_fields[i].type],
			i + 1 < llama_n_fields ? "," : "");
	fputs(");\n", f);
	size_t r;
	json_t *record;
	json_array_foreach(records, r, record)
	{
		fputs("\nINSERT INTO llama_bench (", f);
		for (int i = 0; i < llama_n_fields; i++)
			fprintf(f, "%s%s", i ? ", " : "", llama_fields[i].name);
		fputs(")\nVALUES (", f);
		for (int i = 0; i < llama_n_fields; i++) {
			const json_t *v = json_object_get(record, llama_fields[i].name);
			if (i)
				fputs(", ", f);
			if (json_is_string(v))
				quoted(f, json_string_value(v), '\'');
			else if (json_is_null(v))
				fputs("NULL", f);
			else
				number(f, v);
		}
		fputs(");\n", f);
	}
}

/* ---- Markdown ---- */

struct md_column {
	const char *name;
	const char *field; /* null: made of several */
	int right;
	enum { MD_ALWAYS, MD_IF_VARIED, MD_IF_NOT_OK } shown; /* where records differ in it; where one is not ok */
};

static const struct md_column md_columns[MD_COLUMNS] = {
	{"model", "model_type", 0, MD_ALWAYS},
	{"size", NULL, 1, MD_ALWAYS},
	{"params", NULL, 1, MD_ALWAYS},
	{"backend", NULL, 0, MD_ALWAYS},
	{"ngl", "n_gpu_layers", 1, MD_ALWAYS},
	{"threads", "n_threads", 1, MD_ALWAYS},
	{"type_k", "type_k", 1, MD_IF_VARIED},
	{"type_v", "type_v", 1, MD_IF_VARIED},
	{"mode", "mode", 0, MD_ALWAYS},
	{"fusion", "fusion", 0, MD_ALWAYS},
	{"snapkv", "snapkv", 0, MD_IF_VARIED},
	{"sync", "sync", 0, MD_IF_VARIED},
	{"settings", "settings", 0, MD_IF_VARIED},
	{"test", "test", 1, MD_ALWAYS},
	{"t/s", NULL, 1, MD_ALWAYS},
	{"status", "status", 0, MD_IF_NOT_OK},
	{"reason", "reason", 0, MD_IF_NOT_OK},
};

static double real_of(const json_t *record, const char *field)
{
	return json_number_value(json_object_get(record, field));
}

/* Of 1024s or of 1000s, as llama-bench has them. */
static void amount(const json_t *record, const char *field, double unit, const char *small, const char *large,
		   char out[CELL_SIZE])
{
	double x = real_of(record, field);
	int known = json_is_number(json_object_get(record, field)), big = x >= unit * unit * unit;
	*out = '\0';
	if (known)
		snprintf(out, CELL_SIZE, "%.2f %s", x / (unit * unit) / (big ? unit : 1), big ? large : small);
}

static void md_cell(const json_t *record, const struct md_column *c, char out[CELL_SIZE])
{
	const json_t *v = c->field ? json_object_get(record, c->field) : NULL;
	*out = '\0';
	if (json_is_string(v)) {
		/* A bar would end the cell; there are no line ends in it. */
		const char *s = json_string_value(v);
		size_t n = 0, length = text_cut(s, CELL_SIZE / 2 - 1);
		for (size_t i = 0; i < length; i++) {
			if (s[i] == '|')
				out[n++] = '\\';
			out[n++] = s[i];
		}
		out[n] = '\0';
	} else if (json_is_integer(v)) {
		snprintf(out, CELL_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	} else if (!strcmp(c->name, "size")) {
		amount(record, "model_size", 1024, "MiB", "GiB", out);
	} else if (!strcmp(c->name, "params")) {
		amount(record, "model_n_params", 1000, "M", "B", out);
	} else if (!strcmp(c->name, "backend")) {
		const char *all = json_string_value(json_object_get(record, "backends"));
		snprintf(out, CELL_SIZE, "%.*s", (int)strcspn(all, " "), all);
	} else if (!strcmp(c->name, "t/s") && json_is_number(json_object_get(record, "avg_ts"))) {
		snprintf(out, CELL_SIZE, "%.2f ± %.2f", real_of(record, "avg_ts"), real_of(record, "stddev_ts"));
	}
}

static int varies(const json_t *records, const char *field)
{
	size_t r;
	json_t *record;
	const json_t *first = json_object_get(json_array_get(records, 0), field);
	json_array_foreach(records, r, record)
	{
		if (!json_equal((json_t *)first, json_object_get(record, field)))
			return 1;
	}
	return 0;
}

static int all_ok(const json_t *records)
{
	size_t r;
	json_t *record;
	json_array_foreach(records, r, record)
	{
		if (strcmp(json_string_value(json_object_get(record, "status")), "ok") != 0)
			return 0;
	}
	return 1;
}

static void md_padded(FILE *f, const char *s, int column_width, int right)
{
	int pad = column_width - text_width(s);
	fprintf(f, " %*s%s%*s |", right ? pad : 0, "", s, right ? 0 : pad, "");
}

static void write_md(const json_t *records, FILE *f)
{
	int widths[MD_COLUMNS], shown[MD_COLUMNS];
	char cell[CELL_SIZE];
	size_t r;
	json_t *record;
	int some_not_ok = !all_ok(records);
	for (int c = 0; c < MD_COLUMNS; c++) {
		shown[c] = md_columns[c].shown == MD_ALWAYS ||
			   (md_columns[c].shown == MD_IF_VARIED ? varies(records, md_columns[c].field) : some_not_ok);
		widths[c] = text_width(md_columns[c].name);
		json_array_foreach(records, r, record)
		{
			md_cell(record, &md_columns[c], cell);
			widths[c] = text_width(cell) > widths[c] ? text_width(cell) : widths[c];
		}
	}
	fputc('|', f);
	for (int c = 0; c < MD_COLUMNS; c++)
		if (shown[c])
			md_padded(f, md_columns[c].name, widths[c], md_columns[c].right);
	fputs("\n|", f);
	for (int c = 0; c < MD_COLUMNS; c++) {
		if (!shown[c])
			continue;
		fputc(' ', f);
		for (int i = 1; i < widths[c]; i++)
			fputc('-', f);
		fprintf(f, "%c |", md_columns[c].right ? ':' : '-');
	}
	fputc('\n', f);
	json_array_foreach(records, r, record)
	{
		fputc('|', f);
		for (int c = 0; c < MD_COLUMNS; c++) {
			if (!shown[c])
				continue;
			md_cell(record, &md_columns[c], cell);
			md_padded(f, cell, widths[c], md_columns[c].right);
		}
		fputc('\n', f);
	}
	record = json_array_get(records, 0);
	if (!record)
		return;
	fprintf(f, "\nbuild: %s", json_string_value(json_object_get(record, "build_commit")));
	const json_t *build = json_object_get(record, "build_number");
	if (json_is_integer(build))
		fprintf(f, " (%" JSON_INTEGER_FORMAT ")", json_integer_value(build));
	fputc('\n', f);
}

/* ---- */

static int write_json(const json_t *records, FILE *f)
{
	return json_dumpf(records, f, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS)) || fputc('\n', f) == EOF;
}

static int write_jsonl(const json_t *records, FILE *f)
{
	size_t r;
	json_t *record;
	json_array_foreach(records, r, record)
	{
		if (json_dumpf(record, f, JSON_REAL_PRECISION(DIGITS)) || fputc('\n', f) == EOF)
			return -1;
	}
	return 0;
}

int llama_output_write(const json_t *records, enum llama_format format, FILE *f, struct error *err)
{
	int failed = 0;
	errno = 0;
	switch (format) {
	case LLAMA_FORMAT_MD:
		write_md(records, f);
		break;
	case LLAMA_FORMAT_CSV:
		write_csv(records, f);
		break;
	case LLAMA_FORMAT_JSON:
		failed = write_json(records, f);
		break;
	case LLAMA_FORMAT_JSONL:
		failed = write_jsonl(records, f);
		break;
	case LLAMA_FORMAT_SQL:
		write_sql(records, f);
		break;
	}
	if (!failed && !fflush(f) && !ferror(f))
		return 0;
	return error_set(err, ERROR_IO, "the output could not be written: %s; the run directory has it all",
			 errno ? strerror(errno) : "the stream has failed");
}
