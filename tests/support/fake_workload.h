/*
 * A workload without an engine: scripted costs, events and failures on a clock that
 * only it moves. Tests of the measurement core set the script's fields and read the log.
 */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_WORKLOAD_H
#define GEMMARK_TESTS_SUPPORT_FAKE_WORKLOAD_H

#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "harness/measure/workload.h"

enum { FAKE_ARMS = 16, FAKE_VOCAB = 1000 };

struct fake {
	struct workload_source source;
	struct workload workload;

	/* The script. Modes: null for none, "*" for all. */
	int direct_us, graph_us; /* of a token */
	int submit_us;
	int check_us;   /* of hashing */
	int prefill_us; /* of a prefilled token */
	int fetch_us;   /* of the way of a prefill's logits to the host */
	int capture_us, instantiate_us, upload_us;
	int lose_graphs_pos;    /* above 0: the arm's graphs are gone when this position is decoded */
	int capture_grows_us;   /* above 0: an arm's graph is gone when the arm is set, and costs so much more each time
				 */
	const char *wrong_mode; /* whose logits differ at wrong_pos */
	int wrong_pos;
	const char *nan_mode; /* whose logits are NaN at nan_pos */
	int nan_pos;
	const char *late_mode; /* whose last logits differ in a timed queue, and only there */
	long odd_token;        /* decoded token that launches a kernel more; 0: none */
	long odd_prompt;       /* prefill that launches a kernel more, from 1; 0: none */
	int gpu_layers;        /* that it says to have */
	int no_queue;          /* queue_begin refuses */
	int wrong_stamped;     /* a stamped token's logits differ */
	int no_stamps;         /* the error of a token that is to be stamped */
	int flip_every;        /* nondeterministic: every so many-th hash differs; 0: never */
	const char *oom_mode;  /* whose decode fails */
	const char *unsupported_mode;
	const char *fallback_mode; /* that always falls back */
	const char *silent_mode;   /* that launches directly and does not say so */
	int oom_open_depth;        /* opening for a context above this fails; 0: never */
	long lose_after;           /* decoded tokens after which the device is gone until it is opened anew; 0: never */
	int chunk;                 /* above 0: contexts can be saved and restored, of whole chunks */
	int observed;              /* of the prompt's last tokens, at prompt_end */
	const char *identity;      /* of its contexts, a JSON object; null: none is known */
	int context_bytes;         /* of a context, at least */
	int restore_code;          /* that restoring fails with; 0: it does not */
	int sleep_us;              /* really sleeps, a token */
	const int *text;           /* (n_text), that it wants to be fed; null: any */
	int n_text;
	volatile sig_atomic_t *stop;
	long stop_after; /* decoded tokens after which *stop is set */

	/* State. */
	int64_t now_ns;
	int is_open, is_lost;
	int pos;
	int saved;
	int prompt_end;
	int seen;         /* of the observed tokens */
	uint64_t content; /* of the cache: depends on every token */
	uint64_t contents[1 << 14];
	int64_t device_ns; /* when the device is done with what is queued */
	int64_t queue_ends[1 << 12];
	uint64_t queue_contents[1 << 12];
	int queue_n, queue_at, queue_keep; /* queue_at: position in front of the queue */
	int queue_told;                    /* tokens of the queue that were told ahead */
	int token;
	char mode[32], fusion[16], prefill_mode[32];
	char prompt_graph[32];    /* mode in which prompts were captured last */
	int captured;             /* in the last prefill */
	char arms[FAKE_ARMS][64]; /* that have a graph */
	int n_arms;
	struct workload_totals totals;

	/* What happened. */
	long decoded, prefilled, hashed, queued, told, stamped, stamped_replayed;
	long prompts; /* calls of prefill */
	int context_saves, context_restores;
	long odd_fed; /* tokens that are not the text's at their positions */
	int opened, closed;
	int context;
	char first_arm[64]; /* that decoded first since opening */
};

/* Zero but for costs in which a graph pays: see the source. */
void fake_init(struct fake *f);
/* A runner's clock; ctx: the fake. */
int64_t fake_clock(void *ctx);
/* source.open, for what stands in front of it. */
int fake_open(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err);

#endif
