#include "harness/report/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* What is larger than anything measured is shown with an exponent. */
static const double LARGE = 1e6;

int grid_add(struct grid *g, const char *const *row)
{
	if (g->rows == g->room) {
		int room = g->room ? 2 * g->room : 32;
		void *grown = realloc(g->cells, (size_t)room * (size_t)g->columns * sizeof *g->cells);
		if (!grown)
			return -1;
		g->cells = grown;
		g->room = room;
	}
	for (int i = 0; i < g->columns; i++) {
		char *to = g->cells[g->rows * g->columns + i];
		text_escape(to, sizeof *g->cells, row[i]);
		/* Of Markdown, what would end a cell or begin markup. */
		for (char *p = to; g->markdown && *p; p++)
			if (strchr("|<>`*_[]", *p))
				*p = *p == '|'                ? '/'
				     : *p == '<' || *p == '>' ? '\''
				     : *p == '_' || *p == '*' ? '-'
							      : '\'';
	}
	g->rows++;
	return 0;
}

/* Whether the column is shown; its width. */
static int measure(const struct grid *g, int column, int *width)
{
	int any = !g->drop_empty;
	*width = 0;
	for (int r = 0; r < g->rows; r++) {
		const char *text = g->cells[r * g->columns + column];
		int w = text_width(text);
		*width = w > *width ? w : *width;
		any |= r && *text;
	}
	return any;
}

void grid_write(const struct grid *g, FILE *f)
{
	int widths[GRID_COLUMNS], columns[GRID_COLUMNS], n = 0;
	for (int i = 0; i < g->columns; i++)
		if (measure(g, i, &widths[n]))
			columns[n++] = i;
	for (int r = 0; r < g->rows; r++) {
		if (g->markdown)
			fputs("| ", f);
		for (int i = 0; i < n; i++) {
			const char *text = g->cells[r * g->columns + columns[i]];
			int pad = widths[i] - text_width(text), left = g->left >> columns[i] & 1;
			const char *end = g->markdown ? " | " : i + 1 < n ? "  " : "";
			if (i + 1 == n && left && !g->markdown)
				pad = 0;
			fprintf(f, "%*s%s%*s%s", left ? 0 : pad, "", text, left ? pad : 0, "", end);
		}
		fputc('\n', f);
		if (g->markdown && !r) {
			fputc('|', f);
			for (int i = 0; i < n; i++)
				fputs(g->left >> columns[i] & 1 ? " :-- |" : " --: |", f);
			fputc('\n', f);
		}
	}
}

void grid_free(struct grid *g)
{
	free(g->cells);
	g->cells = NULL;
	g->rows = g->room = 0;
}

void grid_number(char out[GRID_CELL], double x)
{
	if (!isfinite(x))
		snprintf(out, GRID_CELL, "-");
	else if (fabs(x) >= LARGE)
		snprintf(out, GRID_CELL, "%.3e", x);
	else
		snprintf(out, GRID_CELL, "%.*f", fabs(x) >= 1000 ? 0 : fabs(x) >= 100 ? 1 : fabs(x) >= 1 ? 2 : 4, x);
}

void grid_percent(char out[GRID_CELL], double x)
{
	if (isfinite(x))
		snprintf(out, GRID_CELL, fabs(x) >= LARGE ? "%+.3e %%" : "%+.2f %%", 100 * x);
	else
		snprintf(out, GRID_CELL, "-");
}

void grid_percent_interval(char out[GRID_CELL], double low, double high)
{
	double most = fmax(fabs(low), fabs(high));
	if (isfinite(most))
		snprintf(out, GRID_CELL, most >= LARGE ? "%+.3e to %+.3e" : "%+.2f to %+.2f", 100 * low, 100 * high);
	else
		snprintf(out, GRID_CELL, "-");
}
