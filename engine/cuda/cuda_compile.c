#include "engine/cuda/cuda_compile.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cubin_cache.h"

int cuda_compile(struct nvrtc *n, const struct cuda_source *source, const struct cuda_compile_options *o,
		 struct cuda_cubin *out, struct error *err)
{
	*out = (struct cuda_cubin){0};
	assert(!source->is_header && !(o->cache && o->report));
	struct nvrtc_header headers[NVRTC_HEADERS_MAX];
	struct nvrtc_source unit = {.name = source->name, .text = source->text, .headers = headers};
	for (int i = 0; i < cuda_n_sources; i++) {
		if (!cuda_sources[i].is_header)
			continue;
		if (unit.n_headers == NVRTC_HEADERS_MAX)
			return error_set(err, ERROR_DEVICE,
					 "cuda device: this build has more than %d headers of kernels",
					 (int)NVRTC_HEADERS_MAX);
		headers[unit.n_headers++] =
			(struct nvrtc_header){.name = cuda_sources[i].name, .text = cuda_sources[i].text};
	}

	char words[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES], arch[64];
	const char *options[CUDA_MAX_OPTIONS + 3];
	int n_options = cuda_options(o->dims, o->card, words);
	if (n_options < 0)
		return error_set(err, ERROR_UNSUPPORTED,
				 "the CUDA kernels do not support this model's head dimensions or cache types");
	for (int i = 0; i < n_options; i++)
		options[i] = words[i];
	snprintf(arch, sizeof arch, "--gpu-architecture=sm_%d", o->arch);
	options[n_options++] = arch;
	if (o->report)
		options[n_options++] = "--ptxas-options=-v";
	if (o->stamped)
		options[n_options++] = "-DTIMELINE";

	int major, minor;
	nvrtc_version(n, &major, &minor);
	struct cubin_key key = cubin_key(&unit, options, n_options, major, minor);
	char folder[4096];
	bool cache = o->cache && cubin_cache_folder(folder, sizeof folder);
	if (cache && (out->bytes = cubin_cache_load(folder, &key, &out->n))) {
		out->cached = true;
		return 0;
	}
	int rc = nvrtc_compile(n, &unit, options, n_options, &out->bytes, &out->n, o->report ? &out->log : NULL, err);
	if (!rc && cache)
		cubin_cache_store(folder, &key, out->bytes, out->n); /* else the next start compiles again */
	return rc;
}

/* The number that stands before text, on one line. */
static int number_before(const char *line, const char *text)
{
	const char *at = strstr(line, text);
	if (!at)
		return 0;
	while (at > line && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return atoi(at);
}

int cuda_usage_read(const char *log, int (*take)(void *ctx, const struct cuda_usage *u), void *ctx)
{
	struct cuda_usage u = {.kernel = ""};
	int n = 0;
	for (const char *from = log; from && *from;) {
		size_t length = strcspn(from, "\n");
		char line[512], *name;
		snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), from);
		from += length + (from[length] == '\n');
		if ((name = strstr(line, "Compiling entry function '"))) {
			name = strchr(name, '\'') + 1;
			u = (struct cuda_usage){.kernel = ""};
			snprintf(u.kernel, sizeof u.kernel, "%.*s", (int)strcspn(name, "'"), name);
		} else if (strstr(line, "bytes stack frame")) {
			u.stack_bytes = number_before(line, " bytes stack frame");
			u.spill_bytes =
				number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
		} else if (u.kernel[0] && strstr(line, "Used ") && strstr(line, " registers")) {
			u.registers = number_before(line, " registers");
			u.shared_bytes = number_before(line, " bytes smem");
			int rc = take(ctx, &u);
			if (rc)
				return rc;
			u.kernel[0] = 0;
			n++;
		}
	}
	return n;
}
