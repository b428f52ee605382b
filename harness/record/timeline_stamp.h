/*
 * When one block of a token's kernel was where in one of its phases: a row of timeline.csv.
 */
#ifndef GEMMARK_HARNESS_RECORD_TIMELINE_STAMP_H
#define GEMMARK_HARNESS_RECORD_TIMELINE_STAMP_H

#include <stdint.h>

#include "harness/record/column.h"

/* Nanoseconds since the token's earliest stamp; COLUMN_UNKNOWN where the block had nothing to do. */
struct timeline_stamp {
	int block;
	int sm; /* the multiprocessor that ran it; -1: unknown */
	int phase;
	int layer; /* -1: of none */
	int kind;  /* of timeline_kinds */
	int64_t entered_ns;
	int64_t input_ns;
	int64_t worked_ns;
	int64_t published_ns;
};

/* A row of timeline.csv. */
struct timeline_row {
	int64_t schema_version;
	const char *run_id;
	struct timeline_stamp stamp;
};

extern const struct column timeline_columns[];
extern const int timeline_n_columns;

/* What a phase is of the model, in the order in which a token has them: "qkv", "attention", ... */
extern const char *const timeline_kinds[];
extern const int timeline_n_kinds;
/* -1: none is called so */
int timeline_kind_find(const char *name);

#endif
