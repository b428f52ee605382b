#include "harness/cli/engine_machine.h"

#include <stdio.h>
#include <string.h>

#include "engine/cuda/device_cuda.h"
#include "engine/cuda/nvrtc.h"
#include "engine/device/device_host.h"

int engine_default_threads(void)
{
	struct device *d;
	if (device_host_open(&d, 0, NULL))
		return environment_cpus();
	int n = device_host_threads(d);
	device_close(d);
	return n;
}

const char *engine_isa(void)
{
	return device_host_isa();
}

const struct environment_gpu *engine_gpu(const char **reason)
{
	/* Kept: callers hold the texts while they collect. */
	static struct error why;
	static struct cuda_gpu card;
	static struct environment_gpu gpu;
	static char nvrtc_text[16];
	*reason = NULL;
	if (device_cuda_gpu(&card, &why)) {
		*reason = why.text;
		return NULL;
	}
	gpu = (struct environment_gpu){.name = card.name,
				       .compute_capability = card.compute_capability,
				       .n_sm = card.n_sm,
				       .memory_bytes = card.memory_bytes,
				       .cuda_version = card.driver,
				       .pci_bus_id = card.pci_bus_id};
	struct nvrtc *nvrtc;
	if (!nvrtc_open(&nvrtc, NULL)) {
		int major, minor;
		nvrtc_version(nvrtc, &major, &minor);
		snprintf(nvrtc_text, sizeof nvrtc_text, "%d.%d", major, minor);
		gpu.nvrtc_version = nvrtc_text;
		nvrtc_close(nvrtc);
	}
	return &gpu;
}

const char *engine_device_label(const char *name, char *label, size_t bytes)
{
	const char *reason, *host = strstr(name, "host");
	const struct environment_gpu *gpu = host == name ? NULL : engine_gpu(&reason);
	snprintf(label, bytes, "%s%s%s", gpu ? gpu->name : name, gpu && host ? "+" : "", gpu && host ? host : "");
	return label;
}
