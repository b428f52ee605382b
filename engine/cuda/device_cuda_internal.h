/* The CUDA device's parts, shared by the device_cuda_*.c files alone. */
#ifndef GEMMARK_ENGINE_CUDA_DEVICE_CUDA_INTERNAL_H
#define GEMMARK_ENGINE_CUDA_DEVICE_CUDA_INTERNAL_H

#include "engine/cuda/cublaslt.h"
#include "engine/cuda/cuda_driver.h"
#include "engine/cuda/device_cuda.h"
#include "engine/cuda/nvrtc.h"
#include "engine/device/device_ops.h"

enum {
	SEND_SLOTS = 128, /* sends in flight before one waits */
	STAGING_BYTES = 8 << 20,
	GEMM_MIN_TOKENS = 9, /* fewer rows: our own matmul, which reads the weights once for all of them */
};

struct cuda_allocation {
	uint64_t address;
	void *host; /* mapped host memory; null: memory of the device */
	size_t bytes;
};

/* Recorded behind a node's params. */
struct cuda_node {
	struct cu_function *function; /* null for a copy and a library's product, and so is launch */
	struct cuda_launch launch;
	int n_driver;                 /* nodes that the driver has for it: a product may be several */
	void *updatable;              /* what a patch knows it by; null: it is none of a patch's */
	struct cu_graph_node *handle; /* once instantiated, of the first */
};

struct cuda_graph {
	struct device_graph base;
	struct cu_graph *graph;
	struct cu_graph *nodes; /* that has the recorded nodes: graph itself, or the body of its conditional node */
	bool mapped;            /* nodes have their handles */
	bool persistent;        /* once instantiated: a node is a token's kernel */
};

struct cuda_exec {
	struct device_exec base; /* whose graph's node handles name this one's nodes */
	struct cu_graph_exec *exec;
};

struct device_event {
	struct cu_event *event;
	bool recorded;
};

/* Pinned slots that sends copy from. A half is reused when the event behind its last use was reached. */
struct cuda_ring {
	unsigned char *slots; /* (SEND_SLOTS, DEVICE_SEND_MAX), pinned */
	int next;
	struct cu_event *used[2];
	bool in_use[2];
};

struct cuda_staging {
	unsigned char *buffer[2]; /* STAGING_BYTES each, pinned */
	struct cu_event *free[2];
};

/* What prompts' products need beside the kernels. */
struct cuda_prefill {
	enum prefill_precision precision;
	struct cublaslt *blas; /* null: no matmul of this session is that wide */
	void *weights;         /* dequantised rows */
	size_t weight_elements;
	void *activations; /* (batch, n_in_max) f16; null at float32 */
	size_t activation_elements;
	float *scales; /* (batch), of activations */
	void *workspace;
	size_t workspace_bytes;
};

/* The kernels that leave time stamps. */
struct cuda_stamps {
	struct cu_module **modules;     /* (cuda_n_sources), null where none of its kernels was asked for */
	struct cu_function **functions; /* (cuda_n_entries), likewise */
	void *records;                  /* struct block_stamps and what follows it; null: no stamps are taken */
};

struct cuda_device {
	struct device base;
	struct cuda_driver cu;
	struct cuda_facts facts;
	struct cuda_card card;
	struct cuda_dims dims;                      /* that the kernels were compiled for */
	struct persistent_chunks persistent_chunks; /* and a token's */
	int k_type, v_type;                         /* of the caches that kernels were compiled for; negative: all */
	int ordinal;
	struct cu_context *context;
	struct cu_stream *stream;
	struct cu_module **modules;     /* (cuda_n_sources), null for headers */
	struct cu_function **functions; /* (cuda_n_entries), null where not compiled for this model */
	struct error no_patch;          /* why KERNEL_patch and KERNEL_advance are not there; empty: they are */
	struct error no_loop;
	struct cu_graph *loop_graph; /* of an open capture: what its body is in; null: no conditional node */
	struct cu_graph *loop_body;
	uint64_t loop_condition;
	bool persistent;   /* a token's kernel was enqueued since the stream was last known to be idle */
	bool after_kernel; /* the stream's last operation was a kernel of ours, of the same capture */
	struct cuda_allocation *allocations;
	size_t n_allocations, cap_allocations;
	size_t used, peak;
	struct cuda_ring ring;
	struct cuda_staging staging;
	struct cuda_prefill prefill;
	struct cuda_stamps stamps;
};

static inline struct cuda_device *cuda_of(struct device *d)
{
	return (struct cuda_device *)d;
}

static inline uint64_t address_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* device_cuda.c: the card and a stream on it, without kernels; device_close closes it. */
int cuda_open_bare(struct cuda_device **out, struct error *err);
/* As cuda_driver_error, of calls that also say what earlier work on the stream ended with. */
int cuda_stream_error(const struct cuda_device *c, int result, struct error *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/* device_cuda_memory.c */
int cuda_memory_open(struct cuda_device *c, struct error *err);
void cuda_memory_close(struct cuda_device *c);
int cuda_alloc(struct device *d, size_t bytes, void **out, struct error *err);
int cuda_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err);
void cuda_free(struct device *d, void *p);
struct device_memory cuda_memory(struct device *d);
void cuda_forget_peak(struct device *d);
int cuda_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
int cuda_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
int cuda_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);
int cuda_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err);

/* device_cuda_kernels.c: modules and functions */
int cuda_kernels_open(struct cuda_device *c, const struct cuda_dims *dims, struct error *err);
/* Those that measure the card (memory.cu), and no others; no model's dimensions change them. */
int cuda_kernels_open_measuring(struct cuda_device *c, struct error *err);
/* Those of the sources that are wanted, by their names. */
int cuda_kernels_open_some(struct cuda_device *c, const struct cuda_dims *dims, bool (*wanted)(const char *source),
			   struct error *err);
void cuda_kernels_close(struct cuda_device *c);
/* The entry as it is launched now: with stamps while they are taken. Null: it was not compiled for this model. */
int cuda_function(struct cuda_device *c, int entry, struct cu_function **out, struct error *err);
/* One source, compiled or from the cache, with time stamps or without; n: an open NVRTC. */
int cuda_kernels_load(struct cuda_device *c, struct nvrtc *n, int source, bool stamped, struct cu_module **out,
		      struct error *err);
/* Index of the entry's source; negative: it is not in this build. */
int cuda_kernels_source(int entry);
/* *out stays as it was where the entry is not for this model's dimensions. */
int cuda_kernels_find(struct cuda_device *c, struct cu_module *module, int entry, struct cu_function **out,
		      struct error *err);
/*
 * Enqueues one entry. what: the kernel's name, for the error. updatable: receives what a patch knows the captured node
 * by; null: no patch will set it.
 */
int cuda_enqueue(struct cuda_device *c, const struct cuda_launch *l, const void *params, void **updatable,
		 const char *what, struct error *err);
struct device_splits cuda_splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim);
int cuda_plan_persistent(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			 struct persistent_copy *copies, struct error *err);
/* Whether all blocks of a token's kernel are resident at once; ERROR_UNSUPPORTED says what it lacks. */
int cuda_check_persistent(struct cuda_device *c, const struct persistent_params *p, struct error *err);
int cuda_grid(struct device *d, enum kernel k, const void *params, unsigned grid[3], struct error *err);
int cuda_launch_kernel(struct device *d, enum kernel k, const void *params, struct error *err);

/* device_cuda_stamps.c */
int cuda_stamps_begin(struct device *d, struct error *err);
int cuda_stamps_end(struct device *d, struct device_stamps *out, struct error *err);
/* The entry as it leaves stamps; compiles and loads its source where that was not done. */
int cuda_stamped_function(struct cuda_device *c, int entry, struct cu_function **out, struct error *err);

/* device_cuda_prefill.c: matmul of many rows */
int cuda_prefill_open(struct cuda_device *c, const struct cuda_open_options *o, struct error *err);
void cuda_prefill_close(struct cuda_device *c);
int cuda_prefill_matmul(struct cuda_device *c, const struct matmul_params *p, struct error *err);
int cuda_prefill_product(struct cuda_device *c, const struct prompt_matmul_params *p, struct error *err);

/* device_cuda_graph.c */
/*
 * A node of the open capture; the stream's own capture gets its own from the launch or copy behind it. updatable: where
 * what a patch knows it by belongs, valid until the next node.
 */
int cuda_record_kernel(struct cuda_device *c, enum kernel k, const void *params, const struct cuda_launch *l,
		       void ***updatable, struct error *err);
int cuda_record_copy(struct cuda_device *c, struct error *err);
/* Nodes that the open capture has so far. */
int cuda_captured_nodes(struct cuda_device *c, size_t *n, struct error *err);
/* A product that a library has just captured as n_driver of them; params: the kernel's that asked for it. */
int cuda_record_product(struct cuda_device *c, enum kernel k, const void *params, size_t n_driver, struct error *err);
int cuda_can_graph(const struct device *d, enum device_graph_kind kind, struct error *err);
int cuda_capture_begin(struct device *d, struct error *err);
int cuda_capture_end(struct device *d, struct device_graph *g, struct error *err);
void cuda_capture_abort(struct device *d);
int cuda_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err);
void *cuda_exec_patched(struct device *d, struct device_exec *x, int node);
int cuda_exec_upload(struct device *d, struct device_exec *x, struct error *err);
int cuda_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err);
int cuda_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err);
int cuda_replay(struct device *d, struct device_exec *x, struct error *err);
void cuda_exec_destroy(struct device *d, struct device_exec *x);
void cuda_graph_destroy(struct device *d, struct device_graph *g);

#endif
