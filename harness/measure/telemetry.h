/*
 * Looks at the machine while runs are measured: the GPU by NVML, the CPU and this
 * process by what Linux says.
 *
 * A thread of its own looks every `interval_ms` from a run's beginning to its end, and
 * the measuring thread once right before and right after the measured phase. Nothing
 * of it is between two measured tokens. The thread neither allocates nor writes files.
 */
#ifndef GEMMARK_HARNESS_MEASURE_TELEMETRY_H
#define GEMMARK_HARNESS_MEASURE_TELEMETRY_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/monitor.h"
#include "harness/record/telemetry_sample.h"

struct telemetry_options {
	int interval_ms;
	int gpu;                /* look at it; 0 where there is none */
	const char *pci_bus_id; /* of the GPU that is measured; null: the only one */
	const char *library;    /* null: NVML's own name */
	const char *root;       /* null, or a folder that stands for /: where proc/ and sys/ are read */
};

struct telemetry; /* opaque */

/* ERROR_MEMORY, ERROR_IO where no thread can be had. Without NVML the GPU's values are unknown: nvml_open says why. */
int telemetry_open(struct telemetry **out, const struct telemetry_options *o, struct error *err);
/* t may be null. */
void telemetry_close(struct telemetry *t);

/* For struct runner_options; lives as long as t. */
struct monitor *telemetry_monitor(struct telemetry *t);
/* Of the run that began last, in the order of time: (*n), valid until the next one begins. Ends looking. */
const struct telemetry_sample *telemetry_samples(struct telemetry *t, int *n);

#endif
