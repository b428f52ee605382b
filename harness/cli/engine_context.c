#include "harness/cli/engine_context.h"

#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "engine/cuda/device_cuda.h"
#include "engine/model/tensor_type.h"
#include "harness/cli/engine_machine.h"
#include "harness/measure/progress.h"
#include "harness/record/build_info.h"

enum {
	MEMORY_SHARE = 4,      /* of what the host has available */
	MEMORY_LIMIT_GIB = 16, /* where no limit is said */
};

uint64_t engine_context_program(void)
{
	uint64_t hash;
	return hash_file("/proc/self/exe", &hash, NULL, NULL) ? 0 : hash;
}

/* Files of the library that a prompt's products on the GPU come from; their names have the version. */
struct libraries {
	char text[512];
	size_t used;
};

static int add_library(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct libraries *l = ctx;
	char file[PATH_MAX];
	(void)size;
	if (!strstr(info->dlpi_name, "libcublasLt") || !realpath(info->dlpi_name, file))
		return 0;
	int n = snprintf(l->text + l->used, sizeof l->text - l->used, ", %s", strrchr(file, '/') + 1);
	l->used += (size_t)n < sizeof l->text - l->used ? (size_t)n : sizeof l->text - l->used - 1;
	return 0;
}

json_t *engine_context_identity(const struct loaded_model *m, const char *weights, const char *device, uint64_t program)
{
	const struct load_options *o = &m->options;
	const char *reason;
	const struct environment_gpu *gpu = m->n_gpu_layers ? engine_gpu(&reason) : NULL;
	struct libraries libraries = {.used = 0};
	char chunk[32], layers[64], compilers[128 + sizeof libraries.text], engine[128];
	if (!*weights || !program)
		return NULL;
	snprintf(chunk, sizeof chunk, "%d tokens", o->batch);
	snprintf(layers, sizeof layers, "%d of %d on the GPU", m->n_gpu_layers, m->model.n_layer);
	/* The host's kernels are part of the program, and chosen by what the CPU can do. */
	if (gpu)
		dl_iterate_phdr(add_library, &libraries);
	snprintf(compilers, sizeof compilers, "host %s", engine_isa());
	if (gpu)
		snprintf(compilers, sizeof compilers, "host %s, sm_%d, driver %d, NVRTC %s%s", engine_isa(),
			 gpu->compute_capability, gpu->cuda_version, gpu->nvrtc_version ? gpu->nvrtc_version : "-",
			 libraries.text);
	snprintf(engine, sizeof engine, "%s, program %016" PRIx64, build_info()->label, program);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "model", weights,
			 "K cache type", tensor_type_name(o->k_type), "V cache type", tensor_type_name(o->v_type),
			 "prefill precision", prefill_precision_name(o->prefill), "prefill weights",
			 prefill_weights_name(o->prefill_weights).text, "host products",
			 host_products_name(o->host_products), "chunk", chunk, "placement", layers, "head and tables",
			 o->head_on_host  ? o->ple_on_host ? "head on the host, PLE on the host"
							   : "head on the host, PLE on the device"
			 : o->ple_on_host ? "head on the device, PLE on the host"
					  : "head on the device, PLE on the device",
			 "device", device, "machine code", compilers, "engine", engine);
}

/* kB of /proc/meminfo's MemAvailable; 0: unknown. */
static uint64_t available_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	uint64_t kb = 0;
	char line[128];
	while (f && !kb && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kb) != 1)
			kb = 0;
	if (f)
		fclose(f);
	return kb * 1024;
}

static void note(void *ctx, const char *line)
{
	(void)ctx;
	char shown[640];
	text_escape(shown, sizeof shown, line);
	progress_clear();
	fprintf(stderr, "gemmark bench: --kv-cache: %s\n", shown);
}

int engine_context_open(struct context_store **out, const struct engine_context_options *o, struct error *err)
{
	uint64_t share = available_memory() / MEMORY_SHARE;
	uint64_t limit = o->limit ? o->limit : (uint64_t)MEMORY_LIMIT_GIB << 30;
	const struct context_store_options s = {
		.directory = o->place,
		.limit = o->limit,
		.memory = share < limit ? share : limit,
		.note = note,
	};
	*out = NULL;
	if (o->place && !strcmp(o->place, "off"))
		return 0;
	int rc = context_store_open(out, &s, err);
	return rc ? error_prefix(err, rc, "--kv-cache") : 0;
}
