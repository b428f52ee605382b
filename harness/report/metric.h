/*
 * What of a run is compared: one table. Times: more is worse.
 */
#ifndef GEMMARK_HARNESS_REPORT_METRIC_H
#define GEMMARK_HARNESS_REPORT_METRIC_H

#include "harness/record/row.h"

enum metric_id {
	METRIC_TIME, /* row_time_us: what verdicts are about */
	METRIC_P90,
	METRIC_P99,
	METRIC_SUBMIT,
	METRIC_ONE_OFF,
	METRIC_MEMORY,
	METRIC_ENERGY,
	METRIC_COUNT,
};

struct metric {
	const char *name;  /* "latency" */
	const char *means; /* in a sentence */
	const char *unit;
	double scale; /* of a run's value, to the unit */
	/* A smaller difference of the medians, in the unit, is no change whatever the test says: below what clocks
	 * tell. */
	double floor;
};

extern const struct metric metrics[METRIC_COUNT];

/* Of a run, in the metric's unit; NAN where it has none. */
double metric_of(const struct run_row *row, enum metric_id m);

/* Counts and hashes that two runs of the same work share to the last digit. */
enum exact_id {
	EXACT_LAUNCHES,
	EXACT_NODE_UPDATES,
	EXACT_KERNELS,
	EXACT_COPIES,
	EXACT_PROMPT_LAUNCHES,
	EXACT_PROMPT_NODE_UPDATES,
	EXACT_PROMPT_KERNELS,
	EXACT_PROMPT_COPIES,
	EXACT_NODES,
	EXACT_WEIGHT_BYTES,
	EXACT_KV_BYTES,
	EXACT_CROSSING,
	EXACT_KEPT,
	EXACT_LOGITS,
	EXACT_COUNT,
};

struct exact_quantity {
	const char *name;   /* as --gate-exact has it: "launches" */
	const char *means;  /* "driver calls a token" */
	const char *column; /* of runs.csv */
	int number;         /* more of it is worse; 0: a text, that is equal or not */
};

extern const struct exact_quantity exact_quantities[EXACT_COUNT];

/* Its text in the row, "" where the run does not say. */
const char *exact_text(const struct run_row *row, enum exact_id q, char text[COLUMN_TEXT_SIZE]);

#endif
