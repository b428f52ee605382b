#include "harness/cli/devices.h"

#include "engine/cuda/device_cuda.h"
#include "harness/cli/device_list.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_machine.h"

enum { MIB = 1 << 20 };

static double mib(const json_t *memory, const char *key)
{
	return json_number_value(json_object_get(memory, key)) / MIB;
}

int devices_print(FILE *f, struct error *err)
{
	struct environment_inputs in = {0};
	json_t *env;
	const char *reason;
	int rc = engine_environment_collect(&in, &env, err);
	if (rc)
		return rc;
	const struct environment_gpu *gpu = engine_gpu(&reason);
	const json_t *cpu = json_object_get(env, "cpu"), *memory = json_object_get(env, "memory");
	const char *model = json_string_value(json_object_get(cpu, "model"));
	size_t bytes;
	fputs("Available devices:\n", f);
	if (!gpu)
		fprintf(f, "  %s\n", reason);
	else if (device_cuda_free_memory(&bytes, err))
		fprintf(f, "  CUDA0: %s (%zu MiB)\n", gpu->name, gpu->memory_bytes / MIB);
	else
		fprintf(f, "  CUDA0: %s (%zu MiB, %zu MiB free)\n", gpu->name, gpu->memory_bytes / MIB, bytes / MIB);
	fprintf(f, "  CPU: %s (%.0f MiB, %.0f MiB free), %d threads by default\n", model ? model : "unknown",
		mib(memory, "total_bytes"), mib(memory, "available_bytes"), engine_default_threads());
	json_decref(env);
	device_list_print(NULL, "", f);
	return 0;
}
