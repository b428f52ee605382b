/*
 * What the CUDA device needs to know about the CUDA kernels: their sources, how to
 * compile them, and which entry with which geometry runs a kernel on given params.
 *
 * Plain C and no CUDA: everything here works on a machine without a GPU or a toolkit.
 *
 * Programmatic dependent launch: every entry waits (griddepcontrol.wait) before it
 * touches what an earlier kernel wrote or may still read, and before it ends, and
 * triggers its dependents early. So the launch attribute may be set or left out freely
 * (compute capability 9.0 and up), kernel by kernel; with or without, the results
 * have the same bits. Weights are read before the wait: an upload of weights must have
 * completed before the first launch, which a synchronous copy has.
 */
#ifndef GEMMARK_KERNELS_CUDA_CUDA_KERNELS_H
#define GEMMARK_KERNELS_CUDA_CUDA_KERNELS_H

#include <stddef.h>

#include "kernels/params.h"

/* ---- compiling ---- */

/* A source as embedded in the program. Headers are there under the name by which others include them. */
struct cuda_source {
	const char *name; /* "kernels/cuda/matvec.cu", "kernels/params.h" */
	const char *text;
	int is_header; /* hand it to nvrtcCreateProgram as a header, under its name; the others are compiled */
};
extern const struct cuda_source cuda_sources[];
extern const int cuda_n_sources;

/* What the kernels are specialised for. */
struct cuda_dims {
	int n_head_dims;
	int head_dims[8]; /* distinct, of all layers; multiples of 32, at most 512 */
	int k_type;       /* enum tensor_type of the cache; negative: each of them with v_type = k_type */
	int v_type;
	int n_embd;       /* 0: unknown, any */
	int n_in_max;     /* of all rows */
	unsigned weights; /* 1 << enum tensor_type of matrices; 0: unknown, any */
	unsigned streams; /* the same of those that products stream, which a router's is not; 0: unknown */
	int experts;      /* 1: a mixture of them */
};

struct cuda_card;

enum { CUDA_MAX_OPTIONS = 32, CUDA_OPTION_BYTES = 192 };

/*
 * Writes the options for one source (all but --gpu-architecture, which the caller adds: sm_NN
 * for a cubin). card: null, any. Returns how many, or negative where the dims are not supported.
 */
int cuda_options(const struct cuda_dims *dims, const struct cuda_card *card,
		 char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES]);

/* ---- launching ---- */

/* Every entry there may be. Those for head dims or cache types that were not asked for are not compiled. */
struct cuda_entry {
	const char *name;   /* extern "C" */
	const char *source; /* of cuda_sources */
};
extern const struct cuda_entry cuda_entries[];
extern const int cuda_n_entries;

/* A card's memory as measured (device_cuda_measure); zeroes: it was not. */
struct cuda_memory {
	double bytes_s;        /* that all multiprocessors read together */
	double bytes_cycle;    /* of it one multiprocessor's, in a cycle of its clock */
	double latency_cycles; /* of a load that misses the L2, alone on its multiprocessor */
};

struct cuda_card {
	int n_sm;
	int compute_capability;  /* 90 for 9.0 */
	size_t shared_per_sm;    /* bytes: CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR */
	size_t shared_per_block; /* bytes: CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */
	struct cuda_memory memory;
};

struct cuda_launch {
	unsigned grid[3];
	unsigned block[3];
	unsigned shared_bytes; /* dynamic; beyond 48 KB the function's limit must be raised, once, to the card's */
	const char *entry;
	int entry_id;    /* index in cuda_entries: for a table of loaded functions */
	int pdl;         /* 1: may be launched with the programmatic-serialization attribute */
	int cooperative; /* 1: all of the grid must be resident at once */
};

enum cuda_geometry_result {
	CUDA_GEOMETRY_OK = 0,
	CUDA_GEOMETRY_NOTHING = -1,     /* nothing to do: launch nothing, succeed */
	CUDA_GEOMETRY_UNSUPPORTED = -2, /* no kernel for these params */
};

/* params: the kernel's struct. Depends on shapes, types and alignment only, never on the position. */
int cuda_geometry(enum kernel k, const void *params, const struct cuda_card *card, struct cuda_launch *out);

/*
 * KERNEL_attention_prefill with operands rounded to the caches' 16-bit types, on tensor cores; unsupported for other
 * caches, and then cuda_geometry's entry has float32 throughout.
 */
int cuda_geometry_attention_mma(const struct attention_prefill_params *p, const struct cuda_card *card,
				struct cuda_launch *out);

/*
 * Fills the plan of a token's program, of its phases, and of the copies of those that are products
 * (params_persistent.h). Null, or why its kernel cannot run
 * there, to follow "its kernel".
 */
const char *cuda_persistent_plan(struct persistent_program *g, struct persistent_phase *phases,
				 struct persistent_copy *copies, const struct cuda_card *card);

/*
 * How much memory is asked for ahead by that plan. in_flight and rate: how much of what must be on its way on the card
 * that the constants were tuned on, for its memory to be busy, this card needs, and how much of what a multiprocessor
 * reads there; in steps of a quarter and of an eighth, from a half to 1, which is any faster card's too.
 */
struct persistent_limits {
	double in_flight, rate; /* 1 without a measurement */
	/* That may be on their way to a block: in a phase that needs little, in a wide one, and at a wide one's start.
	 */
	int small_bytes, wide_bytes, first_bytes;
	/* Of a block, in a phase on average: from there on the memory is what a token waits for. */
	int busy_bytes;
	int busy_cycles, waiting_cycles; /* between two pieces that the L2 gets, where it is and where it is not */
};

/* Of a card; the same with any number of multiprocessors. Null, or why its measurement says nothing, and *out is as
 * without one; to follow "its memory". */
const char *cuda_persistent_limits(struct persistent_limits *out, const struct cuda_memory *m);

/* What that kernel is compiled for: chunks of a job that a warp has. */
struct persistent_chunks {
	int stream; /* where the job multiplies the stream */
	int slice;  /* where it has a slice of another vector */
	int far;    /* 1: rings that are short for a job's pieces (await_piece) */
};

/* card: null, one with as much shared memory as an H100. */
struct persistent_chunks cuda_persistent_chunks(const struct cuda_dims *dims, const struct cuda_card *card);
/* What a plan must know of it before it is made. */
void cuda_persistent_compiled(struct persistent_program *g, const struct persistent_chunks *c);

/* What a plan comes to, for records and people. */
struct persistent_shape {
	int n_phases;
	int n_blocks; /* one a multiprocessor */
	int n_warps;  /* of a block, that compute */
	int n_stages; /* of its ring */
	int stage_bytes;
	int shared_bytes; /* of a block, the ring's among them */
	struct persistent_limits limits;
	int ahead_phases; /* whether the L2 gets weights of later products while the ring is full */
	int ahead_cycles; /* between two pieces of what it gets */
	struct persistent_chunks chunks;
	long long tiled_bytes;
};

/* Of a program that cuda_persistent_plan has planned for the card. */
struct persistent_shape cuda_persistent_shape(const struct persistent_program *g, const struct cuda_card *card);

/* What measures a card's memory (memory_geometry.h); block i of a grid has place i of what it leaves. */
int cuda_memory_read_launch(const struct cuda_card *card, struct cuda_launch *out);
int cuda_memory_chain_launch(const struct cuda_card *card, struct cuda_launch *out);

/* How many splits of a global layer's keys fill the card, one token's attention. */
int cuda_attention_splits(int n_heads, int n_kv_heads, int head_dim, int k_type, int v_type,
			  const struct cuda_card *card);

#endif
