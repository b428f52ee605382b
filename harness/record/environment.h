/*
 * What this machine is: the facts that a result depends on, as JSON (env.json) and as
 * text. A fact that cannot be read is null; nothing here fails because of one.
 *
 * What only the engine knows (instruction set, bandwidth, GPU) is given by the caller.
 */
#ifndef GEMMARK_HARNESS_RECORD_ENVIRONMENT_H
#define GEMMARK_HARNESS_RECORD_ENVIRONMENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

struct environment_bandwidth {
	int n_threads;
	double bytes_s; /* 0: could not be measured */
};

struct environment_gpu {
	const char *name;
	int compute_capability; /* 90 for 9.0 */
	int n_sm;
	size_t memory_bytes;
	int cuda_version;          /* of the driver: 13000 for 13.0 */
	const char *pci_bus_id;    /* as NVML names GPUs; null: unknown */
	const char *nvrtc_version; /* "13.0"; null: none was found */
};

/* The GPU's memory, as measured. */
struct environment_gpu_memory {
	double bytes_s;        /* that all multiprocessors read together */
	double bytes_cycle;    /* one of them in a cycle of its clock */
	double latency_cycles; /* of a load that misses the L2 */
	const char *reason;    /* why nothing was; null: it was */
};

/* The kernel of a whole token of a model and its caches' types, as planned for this GPU. */
struct environment_persistent {
	const char *model; /* path */
	const char *type_k, *type_v;
	const char *reason; /* why there is none, and what follows is not set; null: there is */
	int phases;
	int blocks;
	int compute_warps;
	int stages, stage_bytes, shared_bytes;
	const char *limits;                       /* "measured" or "constant": what the following come from */
	double in_flight, rate;                   /* of what they were tuned on, 1 */
	int small_bytes, wide_bytes, first_bytes; /* that may be on their way to a block */
	int ahead_phases, ahead_cycles;
	int stream_chunks, slice_chunks;
	int far_waits; /* not 0: its ring is short for a job's pieces */
	long long tiled_bytes;
};

struct environment_inputs {
	const char *root; /* "" or a folder that stands for /: where proc/ and sys/ are read; null: "" */
	const char *isa;  /* of the kernels in use; null: unknown */
	const struct environment_gpu *gpu;             /* null: none */
	const char *gpu_reason;                        /* why there is none */
	json_t *nvml;                                  /* what nvml_describe says, the caller's; null: nothing */
	const char *nvml_reason;                       /* why it says nothing; null or empty: it does */
	const struct environment_bandwidth *bandwidth; /* (n_bandwidth): reads from memory, as measured */
	int n_bandwidth;
	const char *const *models; /* (n_models) paths; each is read and hashed */
	const uint64_t *hashes;    /* (n_models), where they are known already, 0: not; null: none is */
	int n_models;
	const struct environment_gpu_memory
		*gpu_memory; /* null: nobody asked for it, and env.json does not speak of it */
	const struct environment_persistent *persistent; /* (n_persistent); none: env.json does not speak of them */
	int n_persistent;
	const char *const *command_line; /* (n_words) or null */
	int n_words;
	const uint64_t *seed; /* null: none */
};

/* Bytes of the largest cache of this machine, 0 where the system does not say. root as above. */
size_t environment_cache_bytes(const char *root);

/* Logical CPUs that this process may run on. */
int environment_cpus(void);

/* The caller owns *out. ERROR_IO where a model cannot be read, ERROR_MEMORY. */
int environment_collect(const struct environment_inputs *in, json_t **out, struct error *err);

/* For people: a line a fact, "name: value". */
void environment_print(const json_t *env, FILE *f);

#endif
