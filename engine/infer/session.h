/*
 * One model with one cache, on one device or on two: the engine as its users see it.
 *
 * A session owns everything it opens; several can share a model that is loaded already. Positions start at 0; prefill
 * and decode append at the session's position and move it on. One thread per session.
 */
#ifndef GEMMARK_ENGINE_INFER_SESSION_H
#define GEMMARK_ENGINE_INFER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/device/graph.h"
#include "engine/infer/forward.h"
#include "engine/infer/load_options.h"
#include "engine/infer/sampling.h"
#include "engine/infer/snapkv.h"
#include "engine/model/model.h"

struct session_options {
	struct load_options load;
	int context; /* positions that the cache must hold; <= 0: what the model was trained for */
	enum graph_mode mode;
	enum fusion fusion;
};

/* As load_options_default; what the model was trained for, direct, full fusion. */
void session_options_default(struct session_options *o);
/* o->load as session_open loads the model: with room for what o->fusion needs. */
struct load_options session_load_options(const struct session_options *o);

/* Of the last session_decode. Times in microseconds, CLOCK_MONOTONIC_RAW. */
struct token_timing {
	double submit_us; /* in the calls that enqueue the token's work, on both devices */
	double device_us; /* event to event around the work of the first layers' device */
	double host_us;   /* the same of the host device; device_us where it is alone; 0 where it has nothing to do */
	double wall_us;   /* first driver call until the token is known complete */
	int64_t done_ns;  /* CLOCK_MONOTONIC_RAW at completion, for completion-to-completion times */
	enum graph_event event;
	int api_launches;
	int node_updates;
	int kernels;
	int copies;
};

struct session; /* opaque */

struct loaded_model; /* engine/infer/loaded_model.h */

int session_open(struct session **out, const char *model_path, const struct session_options *o, struct error *err);
/*
 * On a model that is loaded and outlives the session, with a context of its own; direct, full fusion. Sessions of one
 * loaded model take turns: what one does waits for what another began.
 */
int session_open_on(struct session **out, struct loaded_model *m, int context, struct error *err);
void session_close(struct session *s);

const struct model *session_model(const struct session *s);
/* The device of the first layers, for what tests and tools need of it (faults, counters). */
struct device *session_device(struct session *s);
/* What the layers run on: "host", "cuda", or "cuda+host". */
const char *session_device_name(const struct session *s);
/* The device of the output head: "host" or "cuda". */
const char *session_head_device_name(const struct session *s);
/* Threads of the host device; 1 where it has nothing to do. */
int session_threads(const struct session *s);
/* Layers on the GPU. */
int session_gpu_layers(const struct session *s);
/* How its model is loaded: what was left open (batch, prefill_weights, their context, the GPU's memory) is resolved. */
const struct load_options *session_loaded_options(const struct session *s);
/* Why n_gpu_layers -1 chose the host: "no GPU: libcuda.so.1 not found; ..."; empty where it did not. */
const char *session_gpu_reason(const struct session *s);
/* Why the GPU's memory was not measured for fusion persistent, which then asks for as much ahead as suits an H100;
 * empty: it was, or nobody asked. */
const char *session_memory_reason(const struct session *s);
int session_position(const struct session *s);

/* Whether the session's devices have the mode: ERROR_UNSUPPORTED says what it needs. Others fall back. */
int session_mode_check(const struct session *s, enum graph_mode mode, struct error *err);
/*
 * Whether a mode that goes on from token to token does so without the host: ERROR_UNSUPPORTED where layers or the head
 * are on it. Then the host goes on itself, one stage behind the other, and the tokens are the same; there is nothing to
 * measure of it.
 */
int session_loop_check(const struct session *s, enum graph_mode mode, struct error *err);
/* Changes mode or fusion between tokens. Captured graphs of other modes stay cached. */
void session_set_mode(struct session *s, enum graph_mode mode);
void session_set_fusion(struct session *s, enum fusion fusion);
/*
 * Allocates what decoding needs in that fusion, which the first token would do otherwise. ERROR_UNSUPPORTED says why
 * this model cannot be decoded in it on its devices.
 */
int session_prepare(struct session *s, struct error *err);

/* Which rows of a prefill whose logits nobody asked for are computed. */
enum prefill_rows {
	PREFILL_ROWS_LAST, /* all that later tokens read, and the last row's logits */
	PREFILL_ROWS_ALL,  /* every row through every layer and the head, as for a perplexity */
};
/* "last", "all"; -1 for neither */
const char *prefill_rows_name(enum prefill_rows r);
int prefill_rows_parse(const char *name);
/*
 * Of the prefills to come; at opening: the last. The cache gets the same bits. ERROR_MEMORY where the logits have no
 * room: nothing has changed.
 */
int session_set_prefill_rows(struct session *s, enum prefill_rows rows, struct error *err);
enum prefill_rows session_prefill_rows(const struct session *s);

/*
 * How the chunks of the prefills to come are run; at opening: direct. A graph serves every chunk of its length,
 * wherever it is. Launched directly all the same: chunks whose rows the caller gets logits of, and those with rows that
 * SnapKV observes. ERROR_UNSUPPORTED on two devices, unless direct, in modes that loop, and as session_mode_check.
 */
int session_set_prefill_mode(struct session *s, enum graph_mode mode, struct error *err);

/*
 * Appends n tokens in chunks of at most `batch`. logits, where not null, receives
 * (n, n_vocab): the row after each token; null: what session_set_prefill_rows says is computed.
 */
int session_prefill(struct session *s, const int *tokens, int n, float *logits, struct error *err);

/* What the last session_prefill did, on both devices, its chunks and the output head behind them together. */
struct prefill_counts {
	int chunks;
	int api_launches;
	int node_updates;
	int kernels;
	int copies;
	int n_direct;      /* chunks that were launched directly, those that fell back among them */
	uint64_t sequence; /* hash of these counts, chunk by chunk; 0 where one was captured or fell back */
};
struct prefill_counts session_prefill_counts(const struct session *s);

/* Appends one token in the session's mode. timing may be null. Waits for completion. */
int session_decode(struct session *s, int token, struct token_timing *timing, struct error *err);

/*
 * When each block of a token's one kernel was where in each phase; (n_blocks, n_phases, PERSISTENT_STAMPS). In the
 * other fusions a phase is a launch, and "block" stands for all blocks of one multiprocessor: the first that entered,
 * the last that left.
 */
struct token_timeline {
	int n_blocks;
	int n_phases;
	struct phase_label *phases; /* (n_phases) */
	int *multiprocessors;       /* (n_blocks): the block's; -1: unknown, as on the host */
	int64_t *ns;                /* since the earliest; -1: the block had nothing to do */
};
/*
 * As session_decode: to the same bits, with time stamps on the way, which take some time themselves. Launched directly
 * or, in a mode that replays graphs and another fusion than persistent, captured anew and replayed as in graph-device.
 * The caller frees *out, also after a failure. ERROR_UNSUPPORTED: the model is on two devices, or the token could not
 * be captured.
 */
int session_decode_stamped(struct session *s, int token, struct token_timeline *out, struct error *err);
/* May be called twice. */
void token_timeline_free(struct token_timeline *t);

/*
 * Tokens behind each other without waiting for each, in the session's mode; see engine/infer/token_queue.h. Between
 * begin and end only session_ahead, session_enqueue and
 * session_queue_* are called. ERROR_UNSUPPORTED on two
 * devices. After a failure: session_rewind.
 */
int session_queue_begin(struct session *s, int n, bool keep_logits, struct error *err);
/*
 * Behind begin, in a mode that loops: the n tokens that will be enqueued, at most the queue's. The device begins, and
 * goes on from one to the next without the host, unless the queue keeps logits. In other modes nothing.
 */
int session_ahead(struct session *s, const int *tokens, int n, struct error *err);
/* Appends one token; of timing, which may be null, everything but device_us, host_us, wall_us and done_ns. */
int session_enqueue(struct session *s, int token, struct token_timing *timing, struct error *err);
/* Of the next token to be enqueued: what was told ahead may have run further. */
int session_queue_position(const struct session *s);
/* Waits until token i, which was enqueued, is complete. */
int session_queue_wait(struct session *s, int i, struct error *err);
/* Waits until all are complete. Tokens told ahead that were not enqueued are stopped, and a few of them may have run.
 */
int session_queue_end(struct session *s, struct error *err);
/* Of token i of the queue that ended last; from completion to completion, the first one from session_queue_begin. */
int session_queue_times(struct session *s, int i, double *device_us, double *itl_us, struct error *err);
/* Where they were kept: token i's logits, (n_vocab), valid until the next queue begins. As session_logits. */
int session_queue_logits(struct session *s, int i, const float **logits, struct error *err);

/*
 * Chooses the token behind the last one, on the device of the output head; the position does not move. The same again
 * for the same options, which sampling_check takes. ERROR_WRONG as session_check_logits.
 */
int session_sample(struct session *s, const struct sampling_options *o, int *token, struct error *err);

/*
 * Generates tokens behind the last one that was run: at most n, each chosen as session_sample does and then run, but
 * for the last; `last`, where it is chosen, is the last one; negative: none is. In a mode that loops, on one device,
 * the device chooses and goes on by itself, many tokens a launch, however slowly they are taken; else each is chosen
 * and run when it is asked for. The tokens are the same. Between begin and end only session_generate_next and
 * session_position are called. After a failure: session_rewind.
 */
int session_generate_begin(struct session *s, const struct sampling_options *o, int n, int last, struct error *err);
/*
 * Waits for the next token; -1 behind the last one. The position is behind the token before it. Of timing, which may be
 * null, what session_enqueue says of the run that chose it; of a loop's, with its first token, what its launch took for
 * all. ERROR_WRONG as session_check_logits.
 */
int session_generate_next(struct session *s, int *token, struct token_timing *timing, struct error *err);
/*
 * Stops it, where it has not ended, and waits. What a loop ran beyond the tokens that were taken is run: the position
 * says so, and the logits are those of the last that was.
 */
int session_generate_end(struct session *s, struct error *err);

/* Brings the last token's logits to the host, where session_logits then finds them. */
int session_fetch_logits(struct session *s, struct error *err);
/* The last token's logits, (n_vocab), valid until the next call on s. As session_check_logits. */
int session_logits(struct session *s, const float **logits, struct error *err);
/*
 * ERROR_WRONG where one of a row that came from s, (n_vocab), is NaN or infinite: it names the logit, `pos`, and the
 * first layer whose cache is to blame; see engine/infer/kv_fault.h.
 */
int session_check_logits(struct session *s, const float *logits, int pos, struct error *err);

/*
 * Marks the current position, so that session_rewind can come back to it however
 * many tokens are decoded in between (the sliding rings are saved).
 */
int session_checkpoint(struct session *s, struct error *err);
/*
 * Back to `pos`: the checkpoint, or any earlier position that the rings still hold and no eviction thinned out;
 * 0 always works, and undoes an eviction.
 */
int session_rewind(struct session *s, int pos, struct error *err);

/*
 * SnapKV, engine/infer/snapkv.h. The prompt that is being prefilled ends at position `end`: from here on the queries of
 * its last `window` tokens are kept. Takes the place of an earlier observation. Options that are off, or a
 * prompt within the budget: nothing is kept, and session_evict has nothing to do.
 */
int session_observe(struct session *s, const struct snapkv_options *o, int end, struct error *err);

struct session_eviction {
	int entries_before; /* of a KV head of a global layer */
	int entries_after;
	double us;            /* the vote, the move and giving memory back */
	size_t memory_before; /* bytes allocated on the first layers' device, the observed queries among them */
	size_t memory_after;
};
/*
 * At the observed prompt's end: keeps what its window votes for and gives the rest of the memory back; the
 * observation ends. Decoding, prefill and checkpoints go on from there. After a failure the session is as it was.
 */
int session_evict(struct session *s, struct session_eviction *out, struct error *err);
/* Entries that an eviction removed in front of the position. */
int session_evicted(const struct session *s);

/* Tokens of the window that session_observe asked for, while it is observed; 0: none. */
int session_observed(const struct session *s);

/* The caches' contents at the position as bytes that any session of the same model can go on from: kv_snapshot.h. */
size_t session_snapshot_bytes(struct session *s);
/* Observed tokens that an eviction behind session_restore needs, as far as they would be among them: all, or 0. */
int session_snapshot_observed(struct session *s);
/* out: (session_snapshot_bytes). */
int session_snapshot(struct session *s, void *out, struct error *err);
/*
 * To the position of a snapshot, from any. ERROR_INPUT where it does not fit this session, and nothing is changed;
 * after another failure the position is 0.
 */
int session_restore(struct session *s, const void *in, size_t bytes, struct error *err);

/* Hidden states for tests: (n_layer + 1, n_embd) of the last token of the next prefill or decode; null stops it. */
void session_trace(struct session *s, float *hidden);

/* Totals since opening. */
struct session_stats {
	struct graph_stats graph;
	struct device_memory memory; /* of the first layers' device; its peak: since the first session open now */
	size_t weight_bytes;         /* on both devices */
	size_t mapped_bytes;         /* the part of it that stays in host memory, read by the GPU */
	int n_narrowed;              /* float32 matrices kept as bfloat16, without loss */
	size_t narrowed_bytes;       /* that this saved */
	size_t kv_bytes;             /* of the cache, all layers, on both devices */
	size_t decode_weight_bytes;  /* weight bytes that one decoded token reads */
	size_t host_decode_bytes;    /* the part of it that the host device reads */
	size_t crossing_bytes;       /* of activations, keys and values between the devices, for a decoded token */
	double load_us;              /* of the model */
};
struct session_stats session_stats(const struct session *s);
/* K/V bytes that decoding at position pos reads. */
size_t session_kv_bytes_read(const struct session *s, int pos);
/* Why the last fallback to direct launches happened; empty if there was none. */
const char *session_fallback_reason(const struct session *s);

#endif
