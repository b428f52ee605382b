#include "tests/support/put_record.h"

void put_record(FILE *f, const void *record, const struct column *columns, int n)
{
	char text[COLUMN_TEXT_SIZE];
	for (int i = 0; i < n; i++) {
		const char *value = record ? column_text(record, &columns[i], text) : columns[i].name;
		fputs(i ? "," : "", f);
		if (!*value)
			continue;
		fputc('"', f);
		for (; *value; value++)
			fprintf(f, *value == '"' ? "\"\"" : "%c", *value);
		fputc('"', f);
	}
	fputc('\n', f);
}
