/* What fake_nvml.c is told to say, and what it was asked; `fake_nvml` by dlsym. */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_NVML_H
#define GEMMARK_TESTS_SUPPORT_FAKE_NVML_H

#define FAKE_NVML_BUS_ID "00000000:4e:00.0"

enum { FAKE_NVML_CLOCKS = 8 };

/* Atomic: a test changes and looks at it while a thread of telemetry's asks. */
struct fake_nvml {
	_Atomic int gpus;
	_Atomic int init_result;
	_Atomic int power;                           /* whether power and what belongs to it is supported */
	_Atomic unsigned sm_clock[FAKE_NVML_CLOCKS]; /* one look after the other; the last one stays */
	_Atomic unsigned power_mw, temperature, utilization, memory_utilization;
	_Atomic unsigned long long reasons;
	_Atomic unsigned long long energy_mj; /* half a joule more each time that it is read */
	_Atomic int energy_reset_at;          /* starts from 0 when it is read for that time; 0: never */
	/* What happened. */
	_Atomic int opened, closed, asked, clock_reads, energy_reads, wrong_gpu;
};

extern struct fake_nvml fake_nvml;

#endif
