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

#include <sched.h>
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

enum { NVML_TEXT_SIZE = 96, NVML_CARDS_MAX = 64, NVML_SLICES_MAX = 16 };

/* A GPU, or a slice of one that is divided (MIG). */
struct nvml_card {
	int index;                       /* as nvidia-smi counts them */
	int slice;                       /* of the GPU; -1: the whole of it */
	int divided;                     /* into slices, so that it cannot be used as a whole */
	char uuid[NVML_TEXT_SIZE];       /* "GPU-...", "MIG-..." */
	char name[NVML_TEXT_SIZE];       /* "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; "": unknown */
	char pci_bus_id[32];             /* "00000000:4e:00.0"; "": unknown */
	unsigned long long memory_bytes; /* 0: unknown */
	cpu_set_t cpus;                  /* that NVML calls near; none: unknown */
};

/*
 * All GPUs of this machine in their order, each one's slices behind it, whatever CUDA_VISIBLE_DEVICES says; those
 * without a UUID are left out. library: as of nvml_open. The caller frees *out. ERROR_UNSUPPORTED, ERROR_MEMORY.
 */
int nvml_list(const char *library, struct nvml_card **out, int *n, struct error *err);

#endif
