/*
 * The CUDA device: struct device over an NVIDIA GPU, through the driver API.
 *
 * One stream. Kernels are compiled for the card and the model when the device is opened (or come from
 * the cache on disk). Prompts' matrix products go through cuBLASLt; everything else is ours.
 */
#ifndef GEMMARK_ENGINE_CUDA_DEVICE_CUDA_H
#define GEMMARK_ENGINE_CUDA_DEVICE_CUDA_H

#include <stdbool.h>

#include "engine/device/device.h"
#include "kernels/cuda/cuda_kernels.h"

enum prefill_precision {
	/* Weights and activations of a prompt's products rounded to float16; attention's queries and probabilities to
	 * the types of a 16-bit cache. */
	PREFILL_F16,
	PREFILL_F32, /* float32 throughout, no TF32 */
};

/* "f16", "f32"; -1 for neither */
const char *prefill_precision_name(enum prefill_precision p);
int prefill_precision_parse(const char *name);

struct cuda_open_options {
	struct cuda_dims dims;
	bool pdl; /* programmatic dependent launch, on cards of compute capability 9.0 and up */
	enum prefill_precision prefill;
	int batch;                 /* most rows of one matmul */
	int n_in_max;              /* widest matmul input */
	struct cuda_memory memory; /* of the card: what the plan of fusion persistent follows; zeroes: its constants */
};

/* ERROR_UNSUPPORTED where there is no GPU (the line says why) or what its kernels need is missing. */
int device_cuda_open(struct device **out, const struct cuda_open_options *o, struct error *err);

/* 0 where there is a GPU; else the line that says why there is none. */
int device_cuda_probe(struct error *err);

/* The GPU that device_cuda_open would open. */
struct cuda_gpu {
	char name[128];         /* "NVIDIA H100 80GB HBM3" */
	int compute_capability; /* 90 */
	int n_sm;
	size_t memory_bytes;
	int driver;          /* 13000 for CUDA 13.0 */
	char pci_bus_id[32]; /* "00000000:4e:00.0" */
	/* What the card states, not what it reaches; 0 where it does not. */
	double clock_mhz; /* of its multiprocessors, the highest */
	double memory_clock_mhz;
	double bandwidth; /* of its memory, bytes/s */
	double bf16_rate; /* of dense products on its tensor cores, FLOP/s */
};
/* As device_cuda_probe. */
int device_cuda_gpu(struct cuda_gpu *out, struct error *err);

/*
 * Whether its driver has such graphs, as device_can_graph says of the device once it is open; that finds as well which
 * kernels do not load. As device_cuda_probe.
 */
int device_cuda_can_graph(enum device_graph_kind kind, struct error *err);

/*
 * What such a device refuses once it is open, found out without one: the kernels that some drivers and cards refuse are
 * made, or come from the cache, and loaded, alone. Empty where nothing is refused, or was not asked for.
 */
struct cuda_refusals {
	struct error graphs[DEVICE_GRAPH_KINDS]; /* as device_can_graph says */
	struct error persistent;                 /* as device_plan_persistent says of blocks that are not resident */
};
/* What is asked for beside graphs that need no kernels. */
struct cuda_trial {
	struct cuda_dims dims;
	bool graphs;
	int n_blocks; /* of fusion persistent's kernel; 0: it is not asked for */
	int shared_bytes;
};
/* An error, as device_cuda_open's: that would fail too. */
int device_cuda_try(struct cuda_refusals *out, const struct cuda_trial *t, struct error *err);

/* What its kernels' shapes follow from. As device_cuda_probe. */
int device_cuda_card(struct cuda_card *out, struct error *err);

/* Bytes that the GPU's memory has free while nothing of this process is there but a context. As device_cuda_probe. */
int device_cuda_free_memory(size_t *bytes, struct error *err);

/* What device_cuda_open allocates on the GPU for prompts' products. */
struct cuda_prefill_bytes {
	size_t workspace;
	size_t weights; /* dequantised rows */
	size_t activations;
	size_t scales; /* of their rows */
};
struct cuda_prefill_bytes device_cuda_prefill_bytes(const struct cuda_open_options *o);

/*
 * The memory of the GPU that device_cuda_open would open, in about 10 ms beside the context's and, the first time, the
 * kernels' making. Takes 512 MiB meanwhile: before anything is loaded. As device_cuda_probe; ERROR_MEMORY where they
 * are not free, ERROR_DEVICE where what comes out can be no memory's. *out is zeroes after a failure.
 */
int device_cuda_measure(struct cuda_memory *out, struct error *err);

struct cuda_facts {
	char name[128];         /* "NVIDIA H100 80GB HBM3" */
	int compute_capability; /* 90 */
	int n_sm;
	int driver; /* 13000 for CUDA 13.0 */
	int nvrtc_major, nvrtc_minor;
	int compiled; /* sources compiled at opening; the others came from the cache */
	double compile_us;
	bool pdl; /* in use */
	size_t l2_bytes;
};
/*
 * Bandwidth of d's memory in bytes/s, reads and writes both counted: the best of a few large copies.
 * 0 where there is no room for them.
 */
double device_cuda_bandwidth(struct device *d);
/* The same of the GPU that device_cuda_open would open, without one; 0 also after a failure. As device_cuda_probe. */
int device_cuda_measure_copies(double *bytes_s, struct error *err);

/*
 * FLOP/s of cuBLASLt's product of (n_tokens, n_in) rows by a matrix (n_out, n_in), in the precision of d's prompts with
 * both operands of that type, cut into blocks as theirs; n_in up to n_in_max. The best of a few; negative where it
 * cannot be had. Overwrites the prompts' scratch.
 */
double device_cuda_gemm_rate(struct device *d, int n_in, int n_out, int n_tokens);

/* d: a CUDA device. Valid as long as it is. */
const struct cuda_facts *device_cuda_facts(const struct device *d);
/* Programmatic dependent launch of what is launched or captured from now on. Returns whether it is in use. */
bool device_cuda_set_pdl(struct device *d, bool on);

#endif
