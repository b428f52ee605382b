/*
 * Rows of a CSV file by its table of columns, without a recorder, which forces each row to the disk.
 */
#ifndef GEMMARK_TESTS_SUPPORT_PUT_RECORD_H
#define GEMMARK_TESTS_SUPPORT_PUT_RECORD_H

#include <stdio.h>

#include "harness/record/column.h"

/* columns: (n). record null: the header. */
void put_record(FILE *f, const void *record, const struct column *columns, int n);

#endif
