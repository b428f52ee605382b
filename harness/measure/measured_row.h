/*
 * A row's columns from what was measured: the cell, the tokens, the machine's conditions.
 */
#ifndef GEMMARK_HARNESS_MEASURE_MEASURED_ROW_H
#define GEMMARK_HARNESS_MEASURE_MEASURED_ROW_H

#include "harness/measure/monitor.h"
#include "harness/measure/quality.h"
#include "harness/measure/workload.h"
#include "harness/record/row.h"
#include "harness/sweep/matrix.h"

/* The columns that the cell and, where not null, the workload's facts give. label: as cell_label, kept by the caller.
 */
void row_set_cell(struct run_row *r, const struct cell *c, const char *label, const struct workload_facts *f);

/* The columns of an eviction and of what it cost; quality without tokens leaves its own unknown. */
void row_set_eviction(struct run_row *r, const struct eviction *e, const struct quality *q);
/* The columns that a measured phase of n tokens' conditions give. reasons: their text, kept by the caller. */
void row_set_conditions(struct run_row *r, const struct conditions *c, int n, const char *reasons);

/*
 * The columns that the measured tokens give: rates, order statistics, counts. t: (n),
 * all of phase measure. Returns 0 or -1 when memory is not enough.
 */
int row_set_tokens(struct run_row *r, const struct token_record *t, int n);
/* Behind row_set_tokens, where a measured prompt came before the tokens: the rate of both together. */
void row_add_prompt(struct run_row *r, int n);

/* The columns of what the measured prompt did, and of when the host had its logits. */
void row_set_prompt(struct run_row *r, const struct prompt_record *p, double ttft_us);

/* The columns that the FLOPs of a prompt test give, NAN being unknown; behind prefill_us. */
void row_set_prefill(struct run_row *r, double flops);

/*
 * Hash of what each of the tokens launched: calls, updated nodes, kernels and copies, one by one. t: (n). 0 where they
 * cannot be compared with another run's, because a graph was captured or a token fell back on the way.
 */
uint64_t row_launch_hash(const struct token_record *t, int n);
/* The same of a prompt, whose hash that is, and the tokens behind it; 0 where one of both is. */
uint64_t row_launch_hash_behind(uint64_t prompt, const struct token_record *t, int n);

#endif
