/*
 * Running a token, or a chunk of a prompt, through the device in one of the modes, and
 * the captured graphs that make it possible.
 *
 * A captured graph belongs to a key: everything that shapes its nodes. A new key
 * captures anew; the least recently used graph makes room. When any step of a mode
 * fails, what it built is freed, the failure is counted with its reason, and the
 * token is launched directly: graph_run still returns 0 and says GRAPH_EVENT_FALLBACK.
 */
#ifndef GEMMARK_ENGINE_DEVICE_GRAPH_H
#define GEMMARK_ENGINE_DEVICE_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"

enum graph_mode {
	GRAPH_MODE_DIRECT, /* every kernel is launched */
	GRAPH_MODE_PARAMS, /* one replay; before it each positional node gets new params */
	GRAPH_MODE_UPDATE, /* the token is re-captured and the executable graph updated */
	GRAPH_MODE_DEVICE, /* one replay; the step is sent to the device, no node is touched */
	GRAPH_MODE_PATCH,  /* one replay, in which a kernel gives each positional node new params */
	/* Tokens behind each other in one launch, each advanced to on the device: */
	GRAPH_MODE_LOOP,  /* a graph that launches itself again */
	GRAPH_MODE_WHILE, /* the body of a conditional node */
	GRAPH_MODE_COUNT,
	GRAPH_MODE_PROMPT_COUNT = GRAPH_MODE_LOOP, /* those of a prompt's chunks: a chunk is no token */
};

enum graph_event {
	GRAPH_EVENT_DIRECT,
	GRAPH_EVENT_CAPTURE, /* captured, instantiated and replayed */
	GRAPH_EVENT_UPDATE,  /* nodes set or executable updated, then replayed */
	GRAPH_EVENT_REPLAY,  /* replayed as it was */
	GRAPH_EVENT_FALLBACK,
};

/* "direct", "graph-params", "graph-update", "graph-device", "graph-patch", "graph-loop", "graph-while"; -1: none */
const char *graph_mode_name(enum graph_mode m);
int graph_mode_parse(const char *name);
/* Whether several tokens are run by one launch. */
bool graph_mode_loops(enum graph_mode m);
/* What its graphs are to be; of direct, which has none, plain. */
enum device_graph_kind graph_mode_kind(enum graph_mode m);
/* Whether the device has the mode: ERROR_UNSUPPORTED says what it needs. */
int graph_mode_check(enum graph_mode m, const struct device *d, struct error *err);
/* "direct", "capture", "update", "replay", "fallback" */
const char *graph_event_name(enum graph_event e);

/* Zeroed before it is filled: compared as bytes. */
struct graph_key {
	int mode;
	int fusion;
	int layer_begin;
	int layer_end;
	int head;            /* whether the head is behind them; the embedding is in front where layer_begin is 0 */
	int bucket;          /* attention length bucket */
	int trace;           /* whether hidden states are copied out */
	int chosen;          /* whether the next token is chosen behind the head */
	int rows;            /* of a chunk; 0: a token */
	int rows_out;        /* of them that are wanted behind the last layer, or in the head */
	uint64_t generation; /* of the cache: changes with its geometry and pointers */
};

enum {
	GRAPH_STEPS = 2,
	GRAPH_LOOP_MAX = 1 << 16, /* tokens that a loop has numbers for */
};

/*
 * Enqueues one token's or chunk's work on the device. Called zero, one or two times for each. Of a chunk at->device,
 * where it is not null, has GRAPH_STEPS steps.
 */
typedef int graph_emit(void *ctx, const struct at *at, struct error *err);

struct graph_stats {
	uint64_t captures;
	uint64_t replays; /* launches: of a loop's tokens there is one */
	uint64_t updates; /* exec updates (graph-update) */
	uint64_t fallbacks;
	uint64_t evictions; /* graphs that the LRU dropped */
	double capture_us;  /* sums over all captures */
	double instantiate_us;
	double upload_us;
	int nodes; /* of the last captured graph */
	int kernel_nodes;
	int positional_nodes;
};

struct graph_cache; /* opaque */

/* capacity: graphs kept. The device outlives the cache. Allocates graph_cache_device_bytes on the device. */
int graph_cache_open(struct graph_cache **out, struct device *d, int capacity, struct error *err);
void graph_cache_close(struct graph_cache *c);
/* What graph_cache_open allocates on the device. */
size_t graph_cache_device_bytes(void);

/* Enqueues one token. Only a failure of the direct launch itself is returned. */
int graph_run(struct graph_cache *c, const struct graph_key *key, const struct step *step, graph_emit *emit, void *ctx,
	      enum graph_event *event, struct error *err);

/*
 * The same for a chunk: steps (GRAPH_STEPS), of its first row, and of the first of those rows that go through its last
 * layers. How far these two are apart follows from the key.
 */
int graph_run_chunk(struct graph_cache *c, const struct graph_key *key, const struct step *steps, graph_emit *emit,
		    void *ctx, enum graph_event *event, struct error *err);

/* What loops share with the host, by token number; in the host's memory, valid until the cache is closed. */
struct graph_ring {
	volatile struct loop_mark *marks; /* (GRAPH_LOOP_MAX), and one behind them for the start */
	volatile int *tokens;             /* (GRAPH_LOOP_MAX): read when the token before is complete */
	volatile int *stop;               /* not 0: no token is begun any more but the first of a launch */
};
/* Allocates it at the first call, and behind what loop modes ran. */
int graph_cache_ring(struct graph_cache *c, struct graph_ring *out, struct error *err);
/* The mark behind the ring's is set when what is enqueued is done. */
int graph_ring_start(struct graph_cache *c, struct error *err);

/* Tokens of one launch. */
struct graph_loop {
	int first; /* number of the first */
	int n;
	/*
	 * On the device: the token behind each, which what is emitted leaves there. Null: the ring has the ids. One
	 * that is wrong, or is `last`, ends the loop; last negative: none is.
	 */
	const struct sampled *sampled;
	int last;
};

/*
 * Tokens behind each other in a mode that loops. step: of the first of them. What emit enqueues is the same for each:
 * so is the key, and sampled. Marks are set as tokens are complete; what cannot be looped over is launched directly,
 * token by token, and sets them too: where tokens are chosen, the first of them alone, and l->n is 1 then.
 */
int graph_run_loop(struct graph_cache *c, const struct graph_key *key, const struct step *step, struct graph_loop *l,
		   graph_emit *emit, void *ctx, enum graph_event *event, struct error *err);

struct graph_stats graph_cache_stats(const struct graph_cache *c);
/* Of the last fallback; empty if there was none. */
const char *graph_cache_fallback_reason(const struct graph_cache *c);
/* Forgets every captured graph. */
void graph_cache_clear(struct graph_cache *c);

#endif
