#include "engine/cuda/nvrtc.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_library.h"

struct program; /* NVRTC's */

#define NVRTC_FUNCTIONS(X)                                                                          \
	X(Version, (int *major, int *minor))                                                        \
	X(CreateProgram, (struct program * *p, const char *source, const char *name, int n_headers, \
			  const char *const *headers, const char *const *names))                    \
	X(DestroyProgram, (struct program * *p))                                                    \
	X(CompileProgram, (struct program * p, int n_options, const char *const *options))          \
	X(GetCUBINSize, (struct program * p, size_t * bytes))                                       \
	X(GetCUBIN, (struct program * p, char *cubin))                                              \
	X(GetProgramLogSize, (struct program * p, size_t * bytes))                                  \
	X(GetProgramLog, (struct program * p, char *log))

struct nvrtc {
	void *library;
	char path[512];
	int major, minor;
	const char *(*error_string)(int result);
#define X(name, params) int(*name) params;
	NVRTC_FUNCTIONS(X)
#undef X
};

static int find_functions(struct nvrtc *n, struct error *err)
{
	const struct {
		const char *name;
		void *slot;
	} wanted[] = {
#define X(name, params) {"nvrtc" #name, &n->name},
		NVRTC_FUNCTIONS(X)
#undef X
			{"nvrtcGetErrorString", &n->error_string},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *function = dlsym(n->library, wanted[i].name);
		if (!function)
			return error_set(err, ERROR_UNSUPPORTED, "%s has no %s; use NVRTC 12 or 13", n->path,
					 wanted[i].name);
		memcpy(wanted[i].slot, &function, sizeof function);
	}
	return 0;
}

int nvrtc_open(struct nvrtc **out, struct error *err)
{
	*out = NULL;
	struct nvrtc *n = calloc(1, sizeof *n);
	if (!n)
		return error_set(err, ERROR_MEMORY, "no memory for NVRTC");
	const char *chosen = getenv("GEMMARK_NVRTC");
	int rc = 0, result;
	if (chosen && *chosen) {
		snprintf(n->path, sizeof n->path, "%s", chosen);
		n->library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
		if (!n->library)
			rc = error_set(err, ERROR_UNSUPPORTED, "GEMMARK_NVRTC: %s", dlerror());
	} else {
		n->library = cuda_library_open("libnvrtc.so", n->path, sizeof n->path);
		if (!n->library)
			rc = error_set(err, ERROR_UNSUPPORTED,
				       "no NVRTC: neither libnvrtc.so.13 nor .12 is in the loader's path or under "
				       "/usr/local/cuda; install the CUDA toolkit or name the file in GEMMARK_NVRTC");
	}
	if (!rc)
		rc = find_functions(n, err);
	if (!rc && (result = n->Version(&n->major, &n->minor)))
		rc = error_set(err, ERROR_UNSUPPORTED, "%s: nvrtcVersion: %s", n->path, n->error_string(result));
	if (!rc && n->major < 12)
		rc = error_set(err, ERROR_UNSUPPORTED, "%s is NVRTC %d.%d; 12.0 is the oldest that works", n->path,
			       n->major, n->minor);
	if (rc) {
		nvrtc_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

void nvrtc_close(struct nvrtc *n)
{
	/* The library stays mapped: it has threads and exit handlers of its own. */
	free(n);
}

void nvrtc_version(const struct nvrtc *n, int *major, int *minor)
{
	*major = n->major;
	*minor = n->minor;
}

const char *nvrtc_path(const struct nvrtc *n)
{
	return n->path;
}

static char *read_log(struct nvrtc *n, struct program *p)
{
	size_t bytes = 0;
	if (n->GetProgramLogSize(p, &bytes) || bytes == 0)
		return NULL;
	char *log = malloc(bytes + 1);
	if (!log)
		return NULL;
	if (n->GetProgramLog(p, log)) {
		free(log);
		return NULL;
	}
	log[bytes] = 0;
	return log;
}

/* The line with the first error, or the first line; without its end. */
static void first_error(const char *log, char *line, size_t line_bytes)
{
	const char *at = log ? strstr(log, "error") : NULL;
	const char *from = at ? at : log ? log : "";
	while (from > (log ? log : from) && from[-1] != '\n')
		from--;
	size_t n = strcspn(from, "\n");
	snprintf(line, line_bytes, "%.*s", (int)(n < line_bytes ? n : line_bytes - 1), from);
}

int nvrtc_compile(struct nvrtc *n, const struct nvrtc_source *source, const char *const *options, int n_options,
		  void **cubin, size_t *bytes, char **log, struct error *err)
{
	const char *texts[NVRTC_HEADERS_MAX], *names[NVRTC_HEADERS_MAX];
	*cubin = NULL;
	*bytes = 0;
	if (log)
		*log = NULL;
	if (source->n_headers > NVRTC_HEADERS_MAX)
		return error_set(err, ERROR_UNSUPPORTED, "%s includes more than %d headers", source->name,
				 (int)NVRTC_HEADERS_MAX);
	for (int i = 0; i < source->n_headers; i++) {
		texts[i] = source->headers[i].text;
		names[i] = source->headers[i].name;
	}
	struct program *p = NULL;
	const char *call = "nvrtcCreateProgram";
	int rc = 0, result = n->CreateProgram(&p, source->text, source->name, source->n_headers, texts, names);
	char *said = NULL;
	if (!result) {
		call = "nvrtcCompileProgram";
		result = n->CompileProgram(p, n_options, options);
		said = read_log(n, p);
	}
	if (!result) {
		call = "nvrtcGetCUBIN";
		result = n->GetCUBINSize(p, bytes);
		if (!result && *bytes == 0)
			rc = error_set(err, ERROR_DEVICE, "%s: NVRTC gave no cubin; name a real architecture (sm_90)",
				       source->name);
		else if (!result && !(*cubin = malloc(*bytes)))
			rc = error_set(err, ERROR_MEMORY, "no memory for a cubin of %zu bytes", *bytes);
		else if (!result)
			result = n->GetCUBIN(p, *cubin);
	}
	if (!rc && result) {
		char line[320];
		first_error(said, line, sizeof line);
		rc = error_set(err, ERROR_DEVICE, "NVRTC %d.%d: %s: %s: %s: %s", n->major, n->minor, source->name, call,
			       n->error_string(result), line);
	}
	if (p)
		n->DestroyProgram(&p);
	if (rc) {
		free(*cubin);
		*cubin = NULL;
	}
	if (log)
		*log = said;
	else
		free(said);
	return rc;
}
