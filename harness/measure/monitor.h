/*
 * The surroundings of a run: clocks, power, what else the machine did. The runner asks
 * for them around a run's measured phase, never inside of it; who answers is
 * harness/measure/telemetry.c on a real machine, and the simulated workload in tests.
 */
#ifndef GEMMARK_HARNESS_MEASURE_MONITOR_H
#define GEMMARK_HARNESS_MEASURE_MONITOR_H

#include <stdint.h>

/* Over a measured phase. NAN, or negative for integers: unknown. */
struct conditions {
	double sm_clock_mhz; /* median of the looks at it */
	double memory_clock_mhz;
	double power_w;           /* mean */
	double energy_j;          /* of the whole GPU, from the phase's start to its end */
	double temperature_c;     /* highest */
	double utilization;       /* percent, mean */
	double cpu_mhz;           /* mean, of the CPU that the phase began on */
	double load_average;      /* of the last minute, at the end */
	int64_t throttle_reasons; /* of any look: bits as NVML has them */
	int64_t context_switches; /* of this process, the monitor's own left out */
	int64_t involuntary_switches;
	int64_t minor_faults;
	int64_t major_faults;
	int64_t samples; /* looks */
};

/* Everything unknown. */
void conditions_init(struct conditions *c);

/* Implementations put this first. */
struct monitor {
	/* A run begins, with its warm-up. on_gpu: it uses the GPU, whose values are unknown otherwise. */
	void (*begin)(struct monitor *m, int on_gpu);
	/* The measured phase begins as soon as this returns. */
	void (*measure)(struct monitor *m);
	/* It has ended. */
	void (*end)(struct monitor *m, struct conditions *out);
	/* MHz now; NAN: unknown. */
	double (*sm_clock)(struct monitor *m);
};

#endif
