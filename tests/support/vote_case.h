/* Cases of SnapKV's kernels, right ones and ones with a fault planted: the host then gets something else. */
#ifndef GEMMARK_TESTS_SUPPORT_VOTE_CASE_H
#define GEMMARK_TESTS_SUPPORT_VOTE_CASE_H

#include <stdbool.h>

#include "tests/support/kernel_case.h"

struct vote_case {
	int type, n_heads, n_kv_heads, head_dim, capacity, n_keys, window;
	int split_len, n_splits;
	float q_scale; /* queries are uniform in -q_scale .. q_scale; keys in -1 .. 1 */
};

enum vote_fault {
	VOTE_RIGHT,
	VOTE_KEY_OFF,     /* a key in the middle is the next one */
	VOTE_ROW_OFF,     /* the last query is half as long */
	VOTE_WINDOW_SLID, /* the softmax: every row attends a key less; a vote: a row too few */
	VOTE_FAULTS,
};

/* One launch each, on both devices, and its comparison. Slots that no row attends hold NaN. */
void vote_case_softmax(struct pair *p, const struct vote_case *c, enum vote_fault fault);
/* The votes are added to others where add is set. */
void vote_case_vote(struct pair *p, const struct vote_case *c, bool add, enum vote_fault fault);

struct select_case {
	int n_kv_heads, n_keys, window, budget, pool;
	int levels; /* distinct scores; 0: any */
};

enum select_fault {
	SELECT_RIGHT,
	SELECT_SCORE_OFF,  /* by the smallest step, of a candidate that has just lost */
	SELECT_POOL_WIDER, /* by one on either side */
	SELECT_TIES,       /* go to the higher index */
	SELECT_FAULTS,
};

/* Pooled scores and kept entries must be the host's bits. SELECT_TIES needs levels and n_kv_heads == 1. */
void select_case(struct pair *p, const struct select_case *c, enum select_fault fault);

struct compact_case {
	int type, v_type, n_kv_heads, head_dim, old_capacity, new_capacity, n_kept;
};

/* planted: one entry is the next slot's. */
void compact_case(struct pair *p, const struct compact_case *c, bool planted);

#endif
