/*
 * What the measurement core measures. It knows no engine: a workload decodes tokens
 * at a position, in an arm (a mode and a fusion), and says what each cost.
 *
 * The engine's workload is harness/cli/engine_workload.c; the tests script one.
 * Failures are codes of base/error.h: ERROR_MEMORY and ERROR_DEVICE end a run as
 * failed, ERROR_UNSUPPORTED as skipped, ERROR_WRONG as wrong.
 */
#ifndef GEMMARK_HARNESS_MEASURE_WORKLOAD_H
#define GEMMARK_HARNESS_MEASURE_WORKLOAD_H

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/record/timeline_stamp.h"
#include "harness/record/token_record.h"
#include "harness/sweep/axis.h"

enum { WORKLOAD_QUEUE_KEEP = 8 };

/* Where a workload is opened. */
struct placement {
	const struct cell
		*cell; /* of the group: its axes up to the depth are the workload's business; as long as the sweep */
	int context;   /* positions that will be used at most */
	int prompt;    /* tokens that are prefilled before anything is decoded, or evicted */
};

/* Constant while open. Strings are the workload's. Negative or NAN: unknown. */
struct workload_facts {
	const char *model; /* the model's own name */
	const char *arch;
	const char *weight_type; /* of most weight bytes */
	const char *file_type;   /* as the file itself says: of a mixture, its name; null: it does not */
	int64_t model_bytes;     /* of all tensors of the file */
	int64_t model_parameters;
	const char *device;          /* "A+B": the model's first layers on A, the rest on B */
	const char *head_device;     /* where the output head runs */
	const char *prefill_weights; /* of a GPU: "resident", "convert" or a number of layers; null elsewhere */
	int n_vocab;
	int n_context_trained; /* positions that the model was trained for; 0: unknown, too */
	int n_threads;
	int n_gpu_layers;                    /* on the GPU, after -1 was resolved */
	int64_t weight_bytes_per_token;      /* read by one decoded token */
	int64_t host_weight_bytes_per_token; /* the part of it that the host reads, and the GPU's */
	int64_t gpu_weight_bytes_per_token;
	int64_t crossing_bytes_per_token; /* between two devices */
	int64_t kv_bytes;                 /* of the whole cache */
	double bandwidth_bytes_s;         /* of the device's memory, as measured in this process */
	double gemm_flop_s;               /* of its matrix products alone, likewise */
	/* Tokens (n_text) that it is to be fed, those at positions from 0 on; null: any. */
	const int *text;
	int n_text;
	const char *text_name; /* of what they are of, for messages */
	const char *text_hash; /* its content's, 16 hexadecimal digits */
};

/* Running totals since opening: differences are what rows record. */
struct workload_totals {
	int64_t captures;
	double capture_us; /* sums over all captures */
	double instantiate_us;
	double upload_us;
	int graph_nodes; /* of the last captured graph */
	int kernel_nodes;
	int positional_nodes;
	int64_t memory_peak_bytes; /* of the device, since opening */
	int64_t memory_bytes;      /* allocated on it now; negative: unknown */
};

/* What SnapKV did at the prompt's end. */
struct eviction {
	int64_t entries; /* removed, of a KV head of a global layer; 0: the prompt is within the budget */
	double us;
	int64_t memory_before_bytes; /* allocated on the device */
	int64_t memory_after_bytes;
};

/* What a prefill did, its chunks together; negative: unknown. */
struct prompt_record {
	int64_t api_launches;
	int64_t node_updates;
	int64_t kernels;
	int64_t copies;
	int64_t chunks;
	int64_t n_direct;  /* of them, that were launched directly */
	uint64_t sequence; /* hash of what each chunk did, one by one; 0: not to be compared with another prefill's */
};

struct agreement; /* harness/measure/quality.h */
struct workload;

/* What a filled context's bits depend on, beside its tokens. */
struct context_facts {
	json_t *identity; /* names to texts; the caller's; null: unknown, and no snapshot may be taken or given */
	int chunk;        /* tokens are prefilled so many at a time: longer contexts go on from whole chunks */
	int observed;     /* of the prompt's last tokens more is kept than their entries, for an eviction; 0: none */
};

/*
 * The context at the position as bytes, that a workload of equal facts, whatever its placement's context, goes on from
 * with the same bits; harness/measure/context_store.h keeps them.
 */
struct context_ops {
	void (*facts)(struct workload *w, struct context_facts *out);
	/* What of `observed` a snapshot taken now would have: all of them, or 0. */
	int (*observed)(struct workload *w);
	size_t (*bytes)(struct workload *w);
	/* out: (bytes) */
	int (*save)(struct workload *w, void *out, struct error *err);
	/* ERROR_INPUT where they are none of this workload's: nothing has changed. After another failure: at 0. */
	int (*restore)(struct workload *w, const void *in, size_t bytes, struct error *err);
};

struct workload_ops {
	void (*close)(struct workload *w);
	void (*facts)(struct workload *w, struct workload_facts *out);
	/* The mode ("direct", "graph-device", ...) and fusion of the tokens to come. */
	int (*set_arm)(struct workload *w, const char *mode, const char *fusion, struct error *err);
	/* Rows of the prefills to come, "last" as at opening or "all"; null: the last alone. */
	int (*set_prefill_rows)(struct workload *w, const char *rows, struct error *err);
	/*
	 * How the chunks of the prefills to come are launched, a mode's name, "direct" as at opening; null: directly
	 * alone. ERROR_UNSUPPORTED where this placement cannot.
	 */
	int (*set_prefill_mode)(struct workload *w, const char *mode, struct error *err);
	/* Appends n tokens at the position. Returns when they are done. */
	int (*prefill)(struct workload *w, const int *tokens, int n, struct error *err);
	/*
	 * Behind a prefill: returns when the host has its last row's logits, where hash finds them, and says what it
	 * did. Null: neither is known.
	 */
	int (*fetch)(struct workload *w, struct prompt_record *out, struct error *err);
	/* Marks the position for rewind, which comes back to it from anywhere behind it; both return when done. */
	int (*checkpoint)(struct workload *w, struct error *err);
	int (*rewind)(struct workload *w, int pos, struct error *err);
	/* Appends one token and waits until it is complete. No allocation, no I/O once its graph exists. */
	int (*decode)(struct workload *w, int token, struct token_record *out, struct error *err);
	/*
	 * Tokens without waiting for each, where the workload can; all null where it never can. Between begin and
	 * end only enqueue is called; what begin returned has allocated all that n tokens need, and the first token's
	 * itl starts there. keep: the logits of each are kept for queue_hash, n <= WORKLOAD_QUEUE_KEEP.
	 * ERROR_UNSUPPORTED where this placement cannot.
	 */
	int (*queue_begin)(struct workload *w, int n, int keep, struct error *err);
	/*
	 * Behind queue_begin, in a mode whose tokens follow each other on the device: all n that will be enqueued.
	 * Null: there are no such modes.
	 */
	int (*queue_ahead)(struct workload *w, const int *tokens, int n, struct error *err);
	/* Returns when token i, which was enqueued, is complete; null as queue_ahead. */
	int (*queue_wait)(struct workload *w, int i, struct error *err);
	/* Appends one token; out as decode's, but for the times that only queue_end knows. */
	int (*enqueue)(struct workload *w, int token, struct token_record *out, struct error *err);
	/* Waits for all. out: (n), the records of the tokens since begin; gives them gpu_us and itl_us. */
	int (*queue_end)(struct workload *w, struct token_record *out, int n, struct error *err);
	/* As hash, of token i of the queue that ended last. */
	int (*queue_hash)(struct workload *w, int i, uint64_t seed, uint64_t *out, struct error *err);
	/* Hash of the last token's logits, chained from `seed`. ERROR_WRONG where one is NaN or infinite. */
	int (*hash)(struct workload *w, uint64_t seed, uint64_t *out, struct error *err);
	/*
	 * SnapKV, called where the placement has it alone. evict: at the prompt's end, of whose tokens all were
	 * prefilled; facts may change. remember: the last token's logits are row i of n of a reference. compare: the
	 * last token's with row i.
	 */
	int (*evict)(struct workload *w, struct eviction *out, struct error *err);
	int (*remember)(struct workload *w, int i, int n, struct error *err);
	int (*compare)(struct workload *w, int i, struct agreement *out, struct error *err);
	/*
	 * As decode, to the same bits: with time stamps within the token, *out (*n), the caller's to free also after
	 * a failure. In a mode other than "direct" replayed, where the fusion has more than one launch.
	 * ERROR_UNSUPPORTED where the arm has none. Null: none has.
	 */
	int (*timeline)(struct workload *w, int token, struct timeline_stamp **out, int *n, struct error *err);
	void (*totals)(struct workload *w, struct workload_totals *out);
	/* Floating-point operations of a prefill of n tokens from pos on; NAN: unknown. */
	double (*prefill_flops)(struct workload *w, int pos, int n);
	/* K/V bytes that decoding at pos reads; negative: unknown. */
	int64_t (*kv_bytes_read)(struct workload *w, int pos);
	/* Why the last fallback happened; empty if there was none. */
	const char *(*fallback_reason)(struct workload *w);
	const struct context_ops *context; /* null: every context is prefilled */
};

/* Implementations put this first. */
struct workload {
	const struct workload_ops *ops;
};

/* What opens workloads, one at a time; implementations put this first. */
struct workload_source {
	int (*open)(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err);
};

#endif
