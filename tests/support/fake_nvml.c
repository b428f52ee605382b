/*
 * A stand-in for libnvidia-ml.so: two GPUs, of which tests script the second one through
 * the exported `fake_nvml`. Built twice: with FAKE_NVML_OLD it lacks what older drivers
 * lack, and some more.
 */
#include "tests/support/fake_nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_nvml fake_nvml = {.gpus = 2, .energy_mj = 1000};

struct gpu {
	int index;
};

/* Two more where FAKE_NVML_GPUS in the environment says so; the third is divided into two slices. */
enum { GPUS = 4, DIVIDED = 2, SLICE = 100, SLICES = 2 };
static struct gpu gpus[GPUS + SLICES] = {{0}, {1}, {2}, {3}, {SLICE}, {SLICE + 1}};

enum { NOT_SUPPORTED = 3, NOT_FOUND = 6 };

#define EXPORT(name, ...)      \
	int name(__VA_ARGS__); \
	int name(__VA_ARGS__)

EXPORT(nvmlInit_v2, void)
{
	fake_nvml.opened++;
	return fake_nvml.init_result;
}

EXPORT(nvmlShutdown, void)
{
	fake_nvml.closed++;
	return 0;
}

EXPORT(nvmlDeviceGetCount_v2, unsigned *n)
{
	const char *said = getenv("FAKE_NVML_GPUS");
	*n = said ? (unsigned)atoi(said) : (unsigned)fake_nvml.gpus;
	return 0;
}

EXPORT(nvmlDeviceGetHandleByIndex_v2, unsigned i, struct gpu **out)
{
	*out = &gpus[i];
	return 0;
}

EXPORT(nvmlDeviceGetHandleByPciBusId_v2, const char *id, struct gpu **out)
{
	*out = &gpus[1];
	return strcmp(id, FAKE_NVML_BUS_ID) ? NOT_FOUND : 0;
}

/* What is not supported leaves garbage behind, as it may. */
static int give(struct gpu *g, int supported, unsigned value, unsigned *out)
{
	*out = supported ? value : 0xdead;
	fake_nvml.asked++;
	fake_nvml.wrong_gpu |= g->index != 1 && fake_nvml.gpus > 1;
	return supported ? 0 : NOT_SUPPORTED;
}

EXPORT(nvmlDeviceGetClockInfo, struct gpu *g, int type, unsigned *mhz)
{
	int i = fake_nvml.clock_reads < FAKE_NVML_CLOCKS - 1 ? fake_nvml.clock_reads : FAKE_NVML_CLOCKS - 1;
	fake_nvml.clock_reads += type == 1;
	return type == 1 ? give(g, 1, fake_nvml.sm_clock[i], mhz) : give(g, type == 2, 2619, mhz);
}

EXPORT(nvmlDeviceGetMaxClockInfo, struct gpu *g, int type, unsigned *mhz)
{
	return give(g, 1, type == 1 ? 1980 : 2620, mhz);
}

EXPORT(nvmlDeviceGetPowerUsage, struct gpu *g, unsigned *mw)
{
	return give(g, fake_nvml.power, fake_nvml.power_mw, mw);
}

EXPORT(nvmlDeviceGetTemperature, struct gpu *g, int sensor, unsigned *c)
{
	return give(g, sensor == 0, fake_nvml.temperature, c);
}

EXPORT(nvmlDeviceGetUtilizationRates, struct gpu *g, unsigned out[2])
{
	out[1] = fake_nvml.memory_utilization;
	return give(g, 1, fake_nvml.utilization, &out[0]);
}

EXPORT(nvmlDeviceGetCurrentClocksThrottleReasons, struct gpu *g, unsigned long long *bits)
{
	unsigned unused;
	*bits = 0x4;
	return give(g, 1, 0, &unused);
}

EXPORT(nvmlSystemGetDriverVersion, char *out, unsigned size)
{
	snprintf(out, size, "580.65.06");
	return 0;
}

EXPORT(nvmlDeviceGetVbiosVersion, struct gpu *g, char *out, unsigned size)
{
	unsigned unused;
	snprintf(out, size, "96.00.99");
	return give(g, fake_nvml.power, 0, &unused);
}

EXPORT(nvmlDeviceGetUUID, struct gpu *g, char *out, unsigned size)
{
	unsigned unused;
	if (g->index >= SLICE) {
		snprintf(out, size, "MIG-0000000%d-5555-6666-7777-888888888888", g->index - SLICE);
		return 0;
	}
	snprintf(out, size, "GPU-0000000%d-1111-2222-3333-444444444444", g->index);
	return give(g, fake_nvml.power || getenv("FAKE_NVML_GPUS"), 0, &unused);
}

#ifndef FAKE_NVML_OLD
EXPORT(nvmlDeviceGetName, struct gpu *g, char *out, unsigned size)
{
	snprintf(out, size, g->index >= SLICE ? "Fake 80GB MIG 3g.40gb" : "Fake 80GB");
	return 0;
}

EXPORT(nvmlDeviceGetMemoryInfo, struct gpu *g, unsigned long long out[3])
{
	out[0] = (g->index >= SLICE ? 40ull : 80ull) << 30;
	return 0;
}

EXPORT(nvmlDeviceGetPciInfo_v3, struct gpu *g, char *out)
{
	static const char *const ids[GPUS] = {"00000000:1B:00.0", "00000000:4E:00.0", "00000000:9C:00.0",
					      "00000001:CB:00.0"};
	snprintf(out + 36, 32, "%s", ids[g->index]);
	return 0;
}

/* All that there may be: what is allowed decides. */
EXPORT(nvmlDeviceGetCpuAffinity, struct gpu *g, unsigned words, unsigned long *out)
{
	(void)g;
	memset(out, 0xff, words * sizeof *out);
	return 0;
}

EXPORT(nvmlDeviceGetMigMode, struct gpu *g, unsigned *now, unsigned *pending)
{
	*now = *pending = g->index == DIVIDED;
	return getenv("FAKE_NVML_GPUS") ? 0 : NOT_SUPPORTED;
}

EXPORT(nvmlDeviceGetMaxMigDeviceCount, struct gpu *g, unsigned *n)
{
	(void)g;
	*n = 7;
	return 0;
}

EXPORT(nvmlDeviceGetMigDeviceHandleByIndex, struct gpu *g, unsigned i, struct gpu **out)
{
	/* There are gaps where slices were removed. */
	(void)g;
	*out = &gpus[GPUS + i / 2 % SLICES];
	return i == 0 || i == 2 ? 0 : NOT_FOUND;
}
#endif

EXPORT(nvmlDeviceGetEccMode, struct gpu *g, int *now, int *pending)
{
	unsigned unused;
	*now = *pending = 1;
	return give(g, 1, 0, &unused);
}

EXPORT(nvmlDeviceGetPersistenceMode, struct gpu *g, int *on)
{
	unsigned unused;
	*on = 0;
	return give(g, 1, 0, &unused);
}

EXPORT(nvmlDeviceGetEnforcedPowerLimit, struct gpu *g, unsigned *mw)
{
	return give(g, fake_nvml.power, 700000, mw);
}

EXPORT(nvmlDeviceGetMaxPcieLinkGeneration, struct gpu *g, unsigned *generation)
{
	return give(g, 1, 5, generation);
}

EXPORT(nvmlDeviceGetCurrPcieLinkGeneration, struct gpu *g, unsigned *generation)
{
	return give(g, 1, 1, generation);
}

#ifndef FAKE_NVML_OLD
EXPORT(nvmlDeviceGetTotalEnergyConsumption, struct gpu *g, unsigned long long *mj)
{
	unsigned unused;
	fake_nvml.energy_reads++;
	if (fake_nvml.energy_reads == fake_nvml.energy_reset_at)
		fake_nvml.energy_mj = 0;
	fake_nvml.energy_mj += 500;
	*mj = fake_nvml.energy_mj;
	return give(g, 1, 0, &unused);
}

EXPORT(nvmlDeviceGetCurrentClocksEventReasons, struct gpu *g, unsigned long long *bits)
{
	unsigned unused;
	*bits = fake_nvml.reasons;
	return give(g, 1, 0, &unused);
}
#endif
