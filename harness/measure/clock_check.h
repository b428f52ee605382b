/*
 * Which blocks of a sweep ran at a lower SM clock than their peers.
 *
 * A block is what ran next to each other to be compared: the cells of one unit in one
 * repetition. A run's peers are the other repetitions of its cell: cells may differ in
 * the clock that they leave a card at its power limit. A run is low where its clock is
 * below `fraction` of the median of at least two peers'; a block where one of its runs is.
 * It is repeated as a whole, so that what is compared stays next to each other.
 */
#ifndef GEMMARK_HARNESS_MEASURE_CLOCK_CHECK_H
#define GEMMARK_HARNESS_MEASURE_CLOCK_CHECK_H

#include "base/error.h"

struct clock_check {
	double fraction; /* 0: nothing is ever low */
	int retries;     /* of a block, at most */
	int n;
	int repetitions;
	double *mhz;             /* (n, repetitions), of the latest attempt; NAN: unknown */
	unsigned char *attempts; /* (n, repetitions): the latest one's number */
};

enum { CLOCK_CHECK_RETRIES_MAX = 100 };

/* For n cells. Call clock_check_free also after a failure. */
int clock_check_init(struct clock_check *c, double fraction, int retries, int n, int repetitions, struct error *err);
void clock_check_free(struct clock_check *c);

/* A run of the cell at this clock, NAN where it is unknown; attempt: 0 .. retries. */
void clock_check_note(struct clock_check *c, int cell, int repetition, int attempt, double mhz);

/* 1: low; 0: not; negative: not known, or too few peers are. *peers: their median, may be null. */
int clock_check_run(const struct clock_check *c, int cell, int repetition, double *peers);

/* The attempt that the block of these cells (n) is still to be run as; 0: none. Cells that had it already are done. */
int clock_check_block(const struct clock_check *c, const int *cells, int n, int repetition);

#endif
