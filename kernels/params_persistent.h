/*
 * Part of params.h: a whole decoded token as one kernel, --fusion persistent.
 *
 * The kernel runs a program: phases in their order, each of which is by definition the composition of primitives that
 * is named at it. Between them goes the residual stream h, (n_embd), which starts as the token's embedding; a vector
 * that a phase leaves is written by no other phase of the program. Program, phases and vectors are in memory of the
 * device that runs it.
 */
#ifndef GEMMARK_KERNELS_PARAMS_PERSISTENT_H
#define GEMMARK_KERNELS_PARAMS_PERSISTENT_H

#include "kernels/params_operands.h"

enum {
	PERSISTENT_SPLITS = 8, /* most that a plan makes of a product's columns */
	PERSISTENT_ROPES = 2,  /* kinds of layers by their frequencies */
};

enum persistent_kind {
	PERSISTENT_PRODUCT,
	PERSISTENT_PLE,
	PERSISTENT_ATTENTION,
};

/* When a block was where in a phase. */
enum persistent_stamp {
	PERSISTENT_ENTERED,
	PERSISTENT_INPUT,  /* it has what it works on */
	PERSISTENT_WORKED, /* multiplied, or attended */
	PERSISTENT_PUBLISHED,
	PERSISTENT_STAMPS,
};

/* What becomes of the products of a phase. */
enum persistent_output {
	PERSISTENT_STORE,  /* y[i] = w[i] . x */
	PERSISTENT_GATED,  /* y[0] = act(w[0] . x) * (w[1] . x) */
	PERSISTENT_TIMES,  /* y[0] = act(w[0] . x) * up */
	PERSISTENT_LOGITS, /* y[0] = softcap(w[0] . x) */
	PERSISTENT_ROUTED, /* y[0] = w[0] . x / sqrt(n_embd): logits, by which moe_route with the scales up chooses
			      experts */
};

/*
 * stream: h = (h + in) * scale or, with post_norm, (h + rms_norm(in) * post_norm) * scale, where in is not null; then x
 * is h or, with pre_norm, rms_norm(h) * pre_norm. Else x is in. With beside the stream takes rms_norm(beside) *
 * beside_norm + rms_norm(in) * in_norm in the place of in.
 *
 * n_used: of the experts that the last PERSISTENT_ROUTED chose. PERSISTENT_GATED, of the stream: y[0] is
 * experts_gated's. PERSISTENT_STORE: y[0] is moe_sum of what matmul_experts makes of in, each expert's its own.
 */
struct persistent_product {
	const float *in;        /* (n_parts, n_embd) of the stream, or (n_in) */
	const float *post_norm; /* (n_embd) or null */
	const float *pre_norm;  /* (n_embd) or null */
	const float *up;        /* (w[0].n_out) of PERSISTENT_TIMES; of PERSISTENT_ROUTED, or null */
	const float *beside;    /* (n_beside, n_embd) or null */
	const float *beside_norm;
	const float *in_norm;
	struct weight w[3]; /* n_w of them, of one type and one n_in */
	float *y[3];        /* y[i]: (w[i].n_out) */
	float scale;
	int n_w;
	int output; /* enum persistent_output */
	int stream;
	int trace;  /* row of the params' trace that gets h or, of the logits, x; -1: none */
	int n_used; /* 0: all of w */
	/* The device's plan. */
	int n_jobs;    /* a tile of rows each, and a slice of their columns; of PERSISTENT_ROUTED a row */
	int stride;    /* how many blocks they are dealt to */
	int jobs_each; /* of each of those, and one more of the first jobs_rest */
	int jobs_rest;
	int shift;    /* of 1 << shift slices: y is (1 << shift, w.n_out), whose sum is the product */
	int n_chunks; /* of a slice */
	int n_parts;  /* that in is the sum of: (n_parts, n_embd); 0 without a plan */
	int n_beside; /* and beside */
	int rotate;
	int experts_each; /* of n_used: a slice's; what they leave or take is (n_used, expert_chunks * TILE_CHUNK) */
	int expert_chunks;
};

/* y[i] = (table row of the token [i] * table_scale + rms_norm(proj[i]) * norm) * scale, a layer at a time */
struct persistent_ple {
	struct weight table; /* (vocab, n_layer * n_ple) */
	const float *proj;   /* (n_layer, n_ple) */
	const float *norm;   /* (n_ple) */
	float *y;            /* (n_layer, n_ple) */
	float table_scale;
	float scale;
	float eps;
	int n_layer;
	int n_ple;
	int reserved;
};

/* qkv_prepare, where the layer owns the cache; else of q alone. Then attention. */
struct persistent_attention {
	float *q;            /* (n_heads, head_dim) */
	float *k;            /* (n_kv_heads, head_dim): the projection, of the layer whose cache this is */
	float *v;            /* as k */
	const float *v_raw;  /* v's projection: v itself, or k */
	const float *q_norm; /* (head_dim) */
	const float *k_norm; /* (head_dim), of the layer whose cache this is */
	const float *inv_freq;
	float *y; /* (n_heads, head_dim) */
	struct kv kv;
	int n_heads;
	int window;
	float scale;
	int owns;
	int v_norm;
	/* The device's plan. */
	int most_splits;
	int piece_keys; /* of the cache, that are copied at once */
	int angles;     /* where the program's table of them has this layer's */
};

/*
 * What is copied for a phase, in the device's plan: a product's weights to whom they are dealt, or the keys and values
 * that are attended, but for the token's own.
 */
struct persistent_copy {
	int kind;  /* enum persistent_kind */
	int limit; /* pieces that may be on their way */
	/* A product. */
	const void *from; /* null: the program's tiled weights */
	long long at;     /* of these */
	int n_jobs;
	int job_bytes; /* which lie behind each other */
	int piece_bytes;
	int rotate;
	int stride;
	int first_jobs; /* of a block, of which first_limit pieces may be on their way */
	int first_limit;
	/* Of experts. A job is job_bytes of each of experts_each of them. */
	const float *logits; /* (n_expert): not null where they choose */
	const float *scales; /* (n_expert) or null */
	long long expert_bytes;
	int n_expert;
	int n_used;   /* 0: none */
	int n_slices; /* of a tile's jobs */
	int experts_each;
	/* As the attention's. */
	struct kv kv;
	int n_heads;
	int window;
	int most_splits;
	int piece_keys;
	const float *q_norm;
	const float *k_norm;
};

struct persistent_phase { /* whole vectors of 16 bytes: what is copied */
	int kind;         /* enum persistent_kind */
	int reserved;
	union {
		struct persistent_product product;
		struct persistent_ple ple;
		struct persistent_attention attention;
	} of;
};

struct persistent_program {
	const struct persistent_phase *phases; /* (n_phases) */
	unsigned *state;                       /* (2): number of the token from 1 on, blocks that are through with it */
	void *partial;                         /* partial_bytes, of splits: the device's plan */
	struct weight token_embd;
	/* Scratch of a device that runs the primitives. */
	float *h;
	float *normed;         /* (n_embd) */
	float *sub_norm;       /* (n_embd) */
	float *up;             /* as the widest gate */
	float *splits;         /* as attention_split_params.partial, for splits of split_len keys */
	int *ids;              /* (n_used): of experts */
	float *expert_weights; /* (n_used) */
	float *expert_gate_up; /* as experts_gated_params.gate_up */
	float *expert_out;     /* (n_used, n_embd) */
	int split_len;
	int n_phases;
	int n_embd;
	float embed_scale;
	float eps;
	float cap; /* 0: none */
	int act;
	int far_waits; /* its kernel was compiled with FAR_WAITS: of the device's plan, as what follows */
	/* The device's plan. */
	struct persistent_copy *copies; /* (n_phases) */
	void *tiled; /* tiled_bytes: the weights of all products once more, as persistent_tile leaves them */
	long long tiled_bytes;
	const float *inv_freq[PERSISTENT_ROPES]; /* that the table of angles is of */
	int n_angles[PERSISTENT_ROPES];
	int n_blocks;
	int shared_bytes;
	int partial_bytes;
	int corner_bytes; /* of activations, a warp's */
	int angles_bytes;
	int sums_bytes;
	int n_stages;
	int stage_bytes;
	int ahead_cycles; /* between two pieces that the L2 gets while the ring is full */
	int ahead_phases; /* whether it gets those of later products too */
	int k_type;       /* of the caches */
	int v_type;
	/* Of a job, that its kernel was compiled for: of the stream, and of slices of other vectors. */
	int stream_chunks;
	int slice_chunks;
	/* Of shared memory, in bytes: persistent_layout. */
	int x_at;
	int h_at;
	int partial_at;
	int scratch_at;
	int chosen_at;
	int angles_at;
	/* What a kernel's copy has besides, of its token; unset elsewhere. */
	unsigned number;
	int phase; /* that thread 0 is in */
	struct step step;
	unsigned long long *stamps; /* of its block and phase; null elsewhere */
};

/*
 * y = rows of w one below the other in tiles of 16, those of each matrix filled up with rows of zeros, as the plan's
 * device reads them; gated: tiles have 8 rows of w[0], then 8 of w[1]. Rows are filled up with zeros too, to as many
 * units as tile_bytes has room for; the last of them may be short (kernels/tiles.h).
 */
struct persistent_tile_params {
	struct weight w[3]; /* n_w of them, of one type and one n_in */
	void *y;
	int first[3]; /* of w[i], all of whose experts' rows are one below the other, the row that is taken first */
	int rows[3];  /* and how many are */
	int n_w;
	int gated;
	int n_tiles;
	int tile_bytes;
};

struct persistent_params {
	struct at at;
	const struct persistent_program *program;
	float *trace; /* (n_layer + 1, n_embd) or null */
	/*
	 * Null, or (n_blocks, n_phases, PERSISTENT_STAMPS): nanoseconds of a clock that the blocks share. INPUT and
	 * WORKED stay as they were where a block had nothing to do. Then (n_blocks): the number of its multiprocessor.
	 */
	unsigned long long *stamps;
	/* Of the program's plan. */
	int n_blocks;
	int shared_bytes;
	int k_type;
	int v_type;
};

#endif
