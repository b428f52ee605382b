/*
 * Tokens that are enqueued one behind the other without the host waiting for each:
 * their events, and where asked a copy of each one's logits.
 *
 * At most TOKEN_QUEUE_DEPTH tokens are in flight: a longer queue would only fill the
 * driver's own, and on the host device grow without end. All times are the device's, read
 * when the queue has run: nothing is asked of the device while it works.
 */
#ifndef GEMMARK_ENGINE_INFER_TOKEN_QUEUE_H
#define GEMMARK_ENGINE_INFER_TOKEN_QUEUE_H

#include <stdbool.h>

#include "engine/infer/pipeline.h"

enum {
	TOKEN_QUEUE_DEPTH = 8,
	TOKEN_QUEUE_MAX = 1 << 16, /* tokens of a queue: two events each */
	TOKEN_QUEUE_LAUNCHES = 32, /* of a loop: a graph serves positions up to the next power of two */
};

struct token_queue {
	struct device *device;
	struct device_event *start;  /* when the queue was ready for its first token */
	struct device_event **begin; /* (capacity) */
	struct device_event **end;
	int capacity;
	int limit; /* tokens of this queue at most */
	int n;     /* enqueued */
	bool keep;
	/* Tokens that the device was told at once and goes on to by itself. */
	int n_ahead;    /* 0: none */
	int n_launched; /* of them, so far */
	struct graph_ring ring;
	struct graph_cache *graphs; /* whose ring it is */
	struct token_queue_launch {
		int first;
		int n;
		struct pipeline_timing timing;
	} launches[TOKEN_QUEUE_LAUNCHES];
	int n_launches;
	size_t n_vocab;
	float *kept_on_device; /* (TOKEN_QUEUE_DEPTH, n_vocab), where logits were ever kept; null before */
	float *kept;           /* the same on the host */
};

/* Also valid on a zeroed struct. */
void token_queue_close(struct token_queue *q);

/*
 * Gets ready for up to n tokens on the pipeline's device: allocates what is missing, waits for what is running, and
 * starts the clock of the first token. ERROR_UNSUPPORTED on two devices: each waits for the other. keep: a copy of each
 * token's logits, n <= TOKEN_QUEUE_DEPTH.
 */
int token_queue_begin(struct token_queue *q, struct pipeline *p, int n, bool keep, struct error *err);
/*
 * In a mode that loops, behind begin: the n tokens to come, of which the device then needs no word from the host.
 * Launches the first of them. Nothing where the queue keeps logits: each token is a launch then, as without this.
 */
int token_queue_ahead(struct token_queue *q, struct pipeline *p, const int *tokens, int n, enum graph_mode mode,
		      struct error *err);
/* Enqueues one token, unless it was told ahead; waits only while TOKEN_QUEUE_DEPTH others are in flight, outside of
 * submit_us. */
int token_queue_add(struct token_queue *q, struct pipeline *p, int token, enum graph_mode mode,
		    struct pipeline_timing *t, struct error *err);
/* Of the next token to be enqueued. */
int token_queue_position(const struct token_queue *q, const struct pipeline *p);
/* Waits until token i is complete, which was enqueued. */
int token_queue_wait(struct token_queue *q, int i, struct error *err);
/* Waits until all are complete. Tokens told ahead that were not enqueued are stopped: a few may have run all the same.
 */
int token_queue_end(struct token_queue *q, struct pipeline *p, struct error *err);
/*
 * Of token i, once ended: event to event around its work, and from the completion before it to its own. Of a loop's
 * tokens both are the latter, by the device's clock: nothing is between two of them.
 */
int token_queue_times(struct token_queue *q, int i, double *device_us, double *itl_us, struct error *err);

#endif
