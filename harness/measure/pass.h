/*
 * One pass over a cell: the warm-up, then the tokens that are measured; or the prefill
 * of a prompt test, in a graph mode behind one that is not measured. Where a cell has both, its prompt comes before the
 * warm-up's tokens, unmeasured, and again before the measured ones. Queued tokens (--sync none) are timed without any
 * check but that of the last one's logits, and then run once more, queued likewise, for the hash of each. Rows,
 * references and the order of passes are the runner's.
 */
#ifndef GEMMARK_HARNESS_MEASURE_PASS_H
#define GEMMARK_HARNESS_MEASURE_PASS_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/quality.h"
#include "harness/measure/runner_options.h"
#include "harness/measure/tokens.h"
#include "harness/measure/workload.h"
#include "harness/sweep/matrix.h"

/* What passes run on. Buffers are allocated before, and large enough for every cell. */
struct pass_setup {
	const struct runner_options *o;
	struct workload *w; /* at any position behind the checkpoint at the cells' depth */
	int on_gpu;         /* its model runs there, or a part of it */
	double clock_peak;  /* highest SM clock, MHz, of a run of this group so far; 0: none is known */
	struct token_stream stream;
	int *tokens;                  /* (n_prompt + warmup_max + n_gen) */
	struct quality *quality;      /* of the pass at hand, against the remembered tokens; null: not asked */
	int n_remembered;             /* tokens that the workload remembers */
	struct token_record *records; /* (warmup_max + n_gen), receives the warm-up's tokens, then the measured ones */
};

/* How one pass over a cell went. */
struct pass {
	int n_warmup;
	int n_measured;
	int steady;     /* the warm-up ended because the tokens were steady */
	int fallbacks;  /* tokens of both phases, or the measured prompt's chunks, launched directly in a graph mode */
	int n_hashes;   /* that are known */
	int first_diff; /* first hash that is not the expected one; -1: none, or not compared */
	int stopped;
	uint64_t hash;                /* the chain over the measured prompt and all measured tokens */
	uint64_t last;                /* of the last measured token's logits alone, in a queued timed pass */
	double prefill_us;            /* of the measured prompt; NAN: there is none, or it was not reached */
	double ttft_us;               /* the same until the host has its logits; NAN: unknown, too */
	struct prompt_record prompt;  /* what it launched */
	double prefill_seconds;       /* of all prefills */
	double seconds;               /* all of it */
	struct conditions conditions; /* of the measured phase */
};

/* Of a cell: after its prompt, where it has one, and after each token. */
int pass_hashes(const struct cell *c);

/*
 * hashes: (pass_hashes), receives the chain of logits hashes after the measured prompt and each
 * measured token. Also after a failure *p says how far the pass came.
 */
int pass_run(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err);

/* Sets first_diff. expected, hashes: as pass_run; last: the expected hash of the last token alone. */
void pass_compare(struct pass *p, const struct cell *c, const uint64_t *expected, uint64_t last,
		  const uint64_t *hashes);

/*
 * What a group of cells with SnapKV begins with: the workload stands at the depth of c, and its position is marked.
 * Decodes n tokens (0: none) with the full cache, which the workload remembers, comes back, and evicts. *out says what.
 */
int pass_evict(struct pass_setup *s, const struct cell *c, int n, struct eviction *out, struct error *err);

#endif
