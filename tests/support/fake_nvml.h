/* What fake_nvml.c is told to say, and what it was asked; `fake_nvml` by dlsym. */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_NVML_H
#define GEMMARK_TESTS_SUPPORT_FAKE_NVML_H

#define FAKE_NVML_BUS_ID "00000000:4e:00.0"

enum { FAKE_NVML_CLOCKS = 8 };

struct fake_nvml {
	int gpus;
	int init_result;
	int power;                           /* whether power and what belongs to it is supported */
	unsigned sm_clock[FAKE_NVML_CLOCKS]; /* one look after the other; the last one stays */
	unsigned power_mw, temperature, utilization, memory_utilization;
	unsigned long long reasons;
	unsigned long long energy_mj; /* half a joule more each time that it is read */
	int energy_reset_at;          /* starts from 0 when it is read for that time; 0: never */
	/* What happened. */
	int opened, closed, asked, clock_reads, energy_reads, wrong_gpu;
};

extern struct fake_nvml fake_nvml;

#endif
