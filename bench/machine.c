#include "bench/machine.h"

#include <stddef.h>
#include <stdio.h>

#include "bench/shim.h"
#include "engine/cuda/device_cuda.h"
#include "engine/cuda/nvrtc.h"
#include "engine/device/device_host.h"
#include "generated/gemmark_version.h"

enum { HOST_BYTES = 256 << 20, HOST_PASSES = 3 };

static void say_version(const char *name, int major, int minor)
{
	char text[32];
	snprintf(text, sizeof text, "%d.%d", major, minor);
	bench_fact(name, text);
}

static void say_number(const char *name, double value, int decimals)
{
	char text[32];
	if (!(value > 0))
		return;
	snprintf(text, sizeof text, "%.*f", decimals, value);
	bench_fact(name, text);
}

static void say_host(struct bench_machine *out)
{
	struct device *d;
	bench_fact("host_isa", device_host_isa());
	if (device_host_open(&d, 0, NULL))
		return;
	const int threads = device_host_threads(d);
	device_close(d);
	out->host_read = device_host_read_bandwidth(HOST_BYTES, threads, HOST_PASSES);
	say_number("host_read_threads", threads, 0);
	say_number("host_read_gb_s", out->host_read * 1e-9, 1);
}

static void say_nvrtc(void)
{
	struct nvrtc *n;
	int major, minor;
	if (nvrtc_open(&n, NULL))
		return;
	nvrtc_version(n, &major, &minor);
	nvrtc_close(n);
	say_version("nvrtc", major, minor);
}

static void say_gpu(struct bench_machine *out)
{
	struct cuda_gpu gpu;
	struct cuda_memory memory;
	if (device_cuda_gpu(&gpu, NULL))
		return;
	bench_fact("gpu", gpu.name);
	say_version("gpu_compute_capability", gpu.compute_capability / 10, gpu.compute_capability % 10);
	say_version("cuda_driver", gpu.driver / 1000, gpu.driver % 1000 / 10);
	say_nvrtc();
	say_number("gpu_max_sm_clock_mhz", gpu.clock_mhz, 0);
	say_number("gpu_max_memory_clock_mhz", gpu.memory_clock_mhz, 0);
	/* The reads first: their first turns are for the clocks to rise. What fails is no fact. */
	if (!device_cuda_measure(&memory, NULL))
		say_number("gpu_read_gb_s", memory.bytes_s * 1e-9, 1);
	if (!device_cuda_measure_copies(&out->gpu_copy, NULL))
		say_number("gpu_copy_gb_s", out->gpu_copy * 1e-9, 1);
}

void bench_machine_say(bool cuda, struct bench_machine *out)
{
	*out = (struct bench_machine){0};
	bench_fact("gemmark_commit", GEMMARK_LABEL);
	say_host(out);
	if (cuda)
		say_gpu(out);
}
