/*
 * From the embedded CUDA sources to cubins, through the cache on disk. Needs no GPU.
 */
#ifndef GEMMARK_ENGINE_CUDA_CUDA_COMPILE_H
#define GEMMARK_ENGINE_CUDA_CUDA_COMPILE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/cuda/nvrtc.h"
#include "kernels/cuda/cuda_kernels.h"

struct cuda_cubin {
	void *bytes; /* the caller's to free */
	size_t n;
	bool cached; /* it came from the cache */
	char *log;   /* what the compiler said, with report; the caller's to free */
};

struct cuda_compile_options {
	const struct cuda_dims *dims;
	const struct cuda_card *card; /* null: any */
	int arch;                     /* 90: for sm_90 */
	bool cache;                   /* look in the cache and store there */
	bool report;                  /* have the compiler report registers, shared memory and spills; excludes cache */
	bool stamped;                 /* their blocks leave time stamps (kernels/params_stamps.h) */
};

/* source: one that is no header. */
int cuda_compile(struct nvrtc *n, const struct cuda_source *source, const struct cuda_compile_options *o,
		 struct cuda_cubin *out, struct error *err);

/* What a kernel takes of a multiprocessor, as the compiler reported it. */
struct cuda_usage {
	char kernel[64];
	int registers;
	int shared_bytes; /* static */
	int stack_bytes;
	int spill_bytes; /* stores and loads */
};

/* Calls take for every kernel in a log. Returns how many there were, or what take returned where it is not 0. */
int cuda_usage_read(const char *log, int (*take)(void *ctx, const struct cuda_usage *u), void *ctx);

#endif
