/*
 * What is recorded of one decoded token: a row of tokens.csv.
 */
#ifndef GEMMARK_HARNESS_RECORD_TOKEN_RECORD_H
#define GEMMARK_HARNESS_RECORD_TOKEN_RECORD_H

#include <stdint.h>

#include "harness/record/column.h"

/* What a token did about graphs. The names are those of tokens.csv. */
enum token_event {
	TOKEN_EVENT_DIRECT,
	TOKEN_EVENT_CAPTURE,
	TOKEN_EVENT_UPDATE,
	TOKEN_EVENT_REPLAY,
	TOKEN_EVENT_FALLBACK,
};

enum token_phase { TOKEN_PHASE_WARMUP, TOKEN_PHASE_MEASURE };

/* One decoded token. Times in microseconds, CLOCK_MONOTONIC_RAW; NAN where unknown. */
struct token_record {
	/* The workload fills these. */
	int pos;    /* logical position */
	int kv_len; /* entries attended on a global layer, its own included */
	double submit_us;
	double gpu_us;  /* event to event around the token's work; on two devices, the GPU's part of it */
	double host_us; /* the host device's part; NAN where it has none */
	double wall_us;
	int64_t done_ns; /* the clock when the token was known complete */
	enum token_event event;
	int api_launches;
	int node_updates;
	int kernels;
	int copies;
	/* The runner fills these. */
	enum token_phase phase;
	int index;
	double itl_us;
};

/* A row of tokens.csv. */
struct token_row {
	int64_t schema_version;
	const char *run_id;
	struct token_record token;
};

extern const struct column token_columns[];
extern const int token_n_columns;

/* "direct", "capture", "update", "replay", "fallback"; "" where unknown */
const char *token_event_name(enum token_event e);
/* "warmup", "measure"; "" where unknown */
const char *token_phase_name(enum token_phase p);

#endif
