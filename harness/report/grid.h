/*
 * A table for people: its columns as wide as they must be, or as Markdown. Texts of files are escaped. And numbers as
 * its cells have them.
 */
#ifndef GEMMARK_HARNESS_REPORT_GRID_H
#define GEMMARK_HARNESS_REPORT_GRID_H

#include <stdio.h>

enum { GRID_COLUMNS = 16, GRID_CELL = 64 };

struct grid {
	int markdown;
	int columns;              /* up to GRID_COLUMNS */
	char (*cells)[GRID_CELL]; /* (rows, columns) */
	int rows, room;
	unsigned left;  /* columns that begin at the left */
	int drop_empty; /* columns without any text but their heads are left out */
};

/* Texts (columns), cut where they are too long. -1: no memory. */
int grid_add(struct grid *g, const char *const *row);
/* The first row is the head. */
void grid_write(const struct grid *g, FILE *f);
void grid_free(struct grid *g);

/* Five digits at least; "-" where it is not finite. */
void grid_number(char out[GRID_CELL], double x);
/* A share in percent with its sign, and an interval of two: "+1.00 %", "+0.50 to +1.50". */
void grid_percent(char out[GRID_CELL], double x);
void grid_percent_interval(char out[GRID_CELL], double low, double high);

#endif
