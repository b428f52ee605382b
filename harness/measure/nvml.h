/*
 * What NVML, NVIDIA's management library, says of one GPU. Loaded at run time; every
 * single function may be missing or say "not supported": what it would tell is then
 * unknown, never zero.
 *
 * Calls take tens of microseconds, and block on locks of the driver: none of them belongs
 * into a timed region.
 */
#ifndef GEMMARK_HARNESS_MEASURE_NVML_H
#define GEMMARK_HARNESS_MEASURE_NVML_H

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/record/telemetry_sample.h"

struct nvml; /* opaque */

/*
 * library: null for libnvidia-ml.so.1. pci_bus_id: "00000000:4e:00.0"; null for the only GPU there is.
 * ERROR_UNSUPPORTED where there is no NVML, it does not start, or has no such GPU: the line says which.
 */
int nvml_open(struct nvml **out, const char *library, const char *pci_bus_id, struct error *err);
void nvml_close(struct nvml *n);

/* Any thread, one at a time. */
void nvml_read(struct nvml *n, struct gpu_reading *out);

/*
 * What does not change while a sweep runs, but for the members that end in _now: driver and VBIOS versions, ECC, power
 * limits, PCIe link, persistence, MIG, clocks. What is not known is null. The caller owns it; null without memory.
 */
json_t *nvml_describe(struct nvml *n);

#endif
