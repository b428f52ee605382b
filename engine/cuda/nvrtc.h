/*
 * NVRTC, NVIDIA's run-time compiler, loaded when it is needed: CUDA C++ in, a cubin out.
 *
 * Looked for as GEMMARK_NVRTC (a path), then libnvrtc.so.13 and .12 where the loader and the toolkits
 * keep them. Needs no GPU.
 */
#ifndef GEMMARK_ENGINE_CUDA_NVRTC_H
#define GEMMARK_ENGINE_CUDA_NVRTC_H

#include <stddef.h>

#include "base/error.h"

struct nvrtc; /* opaque */

struct nvrtc_header {
	const char *name; /* as #include names it */
	const char *text;
};

enum { NVRTC_HEADERS_MAX = 64 };

struct nvrtc_source {
	const char *name; /* "matmul.cu" */
	const char *text;
	const struct nvrtc_header *headers;
	int n_headers;
};

/* ERROR_UNSUPPORTED where no NVRTC is found: the line says where it was looked for. */
int nvrtc_open(struct nvrtc **out, struct error *err);
void nvrtc_close(struct nvrtc *n);

/* 13, 0 */
void nvrtc_version(const struct nvrtc *n, int *major, int *minor);
/* The library that was loaded. */
const char *nvrtc_path(const struct nvrtc *n);

/*
 * Compiles for a real architecture (an option "--gpu-architecture=sm_90"). The cubin is the caller's to
 * free. log, where not null, receives what the compiler said, the caller's to free, also on failure; the
 * error's line quotes its first error.
 */
int nvrtc_compile(struct nvrtc *n, const struct nvrtc_source *source, const char *const *options, int n_options,
		  void **cubin, size_t *bytes, char **log, struct error *err);

#endif
