/*
 * What is recorded of one look at the machine: a row of telemetry.csv.
 */
#ifndef GEMMARK_HARNESS_RECORD_TELEMETRY_SAMPLE_H
#define GEMMARK_HARNESS_RECORD_TELEMETRY_SAMPLE_H

#include <stdint.h>

#include "harness/record/column.h"

/* NAN, or negative for integers: unknown. */
struct gpu_reading {
	double sm_clock_mhz;
	double memory_clock_mhz;
	double power_w;
	double energy_j; /* counter, since the driver was loaded */
	double temperature_c;
	double utilization; /* percent of the time since the last look that a kernel ran */
	double memory_utilization;
	int64_t throttle_reasons; /* bits of nvmlClocksEventReasons */
};

/* Everything unknown. */
void gpu_reading_init(struct gpu_reading *r);

/* One look. NAN: unknown. */
struct telemetry_sample {
	int measured;   /* in the measured phase, its ends included; else in the warm-up */
	double time_us; /* since the run began */
	struct gpu_reading gpu;
	double cpu_mhz;
	double load_average;
};

/* A row of telemetry.csv. */
struct telemetry_row {
	int64_t schema_version;
	const char *run_id;
	struct telemetry_sample sample;
};

extern const struct column telemetry_columns[];
extern const int telemetry_n_columns;

/*
 * "none", "sw_power_cap+hw_slowdown"; bits without a name in hexadecimal; "" where bits is negative. The text may be
 * in `out`.
 */
const char *throttle_reasons_text(int64_t bits, char out[COLUMN_TEXT_SIZE]);

#endif
