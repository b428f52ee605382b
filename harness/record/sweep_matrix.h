/* A sweep's matrix from its sweep.json, which may be anybody's: what it was to measure, as far as names and numbers
 * say. */
#ifndef GEMMARK_HARNESS_RECORD_SWEEP_MATRIX_H
#define GEMMARK_HARNESS_RECORD_SWEEP_MATRIX_H

#include <jansson.h>

#include "base/error.h"
#include "harness/sweep/matrix.h"

/*
 * m: zeroed; the caller calls matrix_free also after a failure. Axes that the file does not have stay without values,
 * which is their absence. path: of the directory, for messages. ERROR_INPUT, ERROR_MEMORY.
 */
int sweep_matrix_read(const json_t *sweep, const char *path, struct matrix *m, struct error *err);

#endif
